//! The line editor: what rustyline needs to know of SQL, and the history file.

use std::borrow::Cow;
use std::ffi::OsString;
use std::fs::DirBuilder;
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::rc::Rc;

use icecap_table::{Error, Result};
use rustyline::completion::Completer;
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::FileHistory;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{ColorMode, CompletionType, Config, Context, Editor, Helper};

use super::complete::complete;
use super::text::is_complete;
use super::vocabulary::Vocabulary;
use crate::colour;

/// The prompt.
const PROMPT: &str = "icecap> ";
/// Statements kept in the history.
const HISTORY_ENTRIES: usize = 5_000;
/// A history file larger than this is somebody's mistake and is not read.
const HISTORY_BYTES: u64 = 64 << 20;

/// What a person did at the prompt.
#[derive(Debug)]
pub(super) enum Typed {
    /// Text, complete.
    Text(String),
    /// Ctrl-C: the line is gone.
    Cleared,
    /// Ctrl-D: the end.
    End,
}

/// Reads statements from the terminal.
pub(super) struct LineEditor {
    editor: Editor<Assistant, FileHistory>,
    history: Option<PathBuf>,
}

impl LineEditor {
    /// An editor on standard input and output, both terminals. Without a usable history file there is none.
    ///
    /// # Errors
    /// `Unavailable` when the terminal cannot be set up.
    pub(super) fn open(vocabulary: Rc<Vocabulary>) -> Result<Self> {
        let coloured = colour::on_stdout();
        let config = Config::builder()
            .max_history_size(HISTORY_ENTRIES)
            .and_then(|config| config.history_ignore_dups(true))
            .map_err(broken)?
            // A statement with a secret is kept out by a space before it, as in other shells.
            .history_ignore_space(true)
            .completion_type(CompletionType::List)
            .tab_stop(4)
            .color_mode(if coloured { ColorMode::Enabled } else { ColorMode::Disabled })
            .build();
        let mut editor = Editor::with_config(config).map_err(broken)?;
        editor.set_helper(Some(Assistant { vocabulary, coloured }));
        let history = history_file(|name| std::env::var_os(name));
        if let Some(path) = &history
            && std::fs::metadata(path).is_ok_and(|file| file.is_file() && file.len() <= HISTORY_BYTES)
        {
            let _ = editor.load_history(path);
        }
        Ok(Self { editor, history })
    }

    /// Waits for text.
    ///
    /// # Errors
    /// `Unavailable` when the terminal is gone.
    pub(super) fn read(&mut self) -> Result<Typed> {
        loop {
            return match self.editor.readline(PROMPT) {
                Ok(text) => Ok(Typed::Text(text)),
                Err(ReadlineError::Interrupted) => Ok(Typed::Cleared),
                Err(ReadlineError::Eof) => Ok(Typed::End),
                Err(ReadlineError::Signal(_)) => {
                    // The Ctrl-C that stopped the statement before: the editor hears of it only now and gives its
                    // line up, which is taken back from the screen.
                    let mut out = io::stdout().lock();
                    let _ = out.write_all(b"\x1b[A\r\x1b[K").and_then(|()| out.flush());
                    continue;
                }
                Err(error) => Err(broken(error)),
            };
        }
    }

    /// Keeps text for the arrow keys, here and in the file; a file that cannot be written is no failure.
    pub(super) fn remember(&mut self, text: &str) {
        if !matches!(self.editor.add_history_entry(text.trim_end()), Ok(true)) {
            return;
        }
        let Some(path) = &self.history else { return };
        if let Some(folder) = path.parent() {
            let _ = DirBuilder::new().recursive(true).mode(0o700).create(folder);
        }
        let fits = match std::fs::metadata(path) {
            Ok(file) => file.is_file() && file.len() <= HISTORY_BYTES,
            Err(_) => true,
        };
        if fits {
            let _ = self.editor.append_history(path);
        }
    }
}

fn broken(error: ReadlineError) -> Error {
    Error::unavailable("cannot read from the terminal").with_source(error)
}

/// `ICECAP_HISTORY`, where nothing means no history; else a file among the user's state.
fn history_file(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    if let Some(path) = variable("ICECAP_HISTORY") {
        return Some(PathBuf::from(path)).filter(|path| !path.as_os_str().is_empty());
    }
    let absolute = |name: &str| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = absolute("XDG_STATE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".local/state")));
    state.map(|state| state.join("icecap").join("history"))
}

/// What the editor asks while a person types.
struct Assistant {
    vocabulary: Rc<Vocabulary>,
    coloured: bool,
}

impl Helper for Assistant {}

impl Completer for Assistant {
    type Candidate = String;

    fn complete(&self, line: &str, pos: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<String>)> {
        Ok(complete(line, pos, self.vocabulary.as_ref()))
    }
}

impl Hinter for Assistant {
    type Hint = String;
}

impl Highlighter for Assistant {
    fn highlight_prompt<'b, 's: 'b, 'p: 'b>(&'s self, prompt: &'p str, _default: bool) -> Cow<'b, str> {
        if self.coloured { Cow::Owned(colour::bold_cyan(prompt)) } else { Cow::Borrowed(prompt) }
    }
}

impl Validator for Assistant {
    fn validate(&self, context: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        Ok(match is_complete(context.input()) {
            true => ValidationResult::Valid(None),
            false => ValidationResult::Incomplete,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(variables: &[(&str, &str)]) -> Option<PathBuf> {
        history_file(|name| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into()))
    }

    #[test]
    fn the_history_lies_in_the_state_folder_unless_said_otherwise() {
        assert_eq!(file(&[("HOME", "/h")]), Some("/h/.local/state/icecap/history".into()));
        assert_eq!(file(&[("HOME", "/h"), ("XDG_STATE_HOME", "/s")]), Some("/s/icecap/history".into()));
        assert_eq!(file(&[("HOME", "/h"), ("XDG_STATE_HOME", "relative")]), file(&[("HOME", "/h")]));
        assert_eq!(file(&[("HOME", "/h"), ("ICECAP_HISTORY", "x")]), Some("x".into()));
        assert_eq!(file(&[("HOME", "/h"), ("ICECAP_HISTORY", "")]), None);
        assert_eq!(file(&[]), None);
    }
}
