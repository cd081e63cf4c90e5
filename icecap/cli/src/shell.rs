//! The interactive shell: what a person types at the prompt, run statement by statement.
//!
//! A failure is told and the session goes on. What is typed is cut into [`text`] pieces only to know when a
//! statement is complete and what may be completed; what it means is the engine's to say.

mod complete;
mod editor;
mod keywords;
mod terminal;
mod text;
mod vocabulary;

use std::io::{self, Write};
use std::rc::Rc;

use icecap::sql::split_script;
use icecap_table::{Error, Result};

use crate::args::SqlCommand;
use crate::failure::Failure;
use crate::interrupt::{self, Running};
use crate::run::{Runner, Turn, open, runtime};
use editor::{LineEditor, Typed};
use terminal::Terminal;
use text::Command;
use vocabulary::Vocabulary;

const HELP: &str = "\
A statement ends with ; and may take several lines. Some to begin with:
  SHOW TABLES;                     the tables of the default namespace
  DESCRIBE trips;                  a table's columns
  CREATE TABLE trips AS SELECT * FROM read_csv('trips.csv.gz');
  INSERT INTO trips SELECT * FROM read_parquet('more/*.parquet');

Keys:
  Tab        completes keywords, tables and columns; twice lists what is possible
  Up, Down   earlier statements; Ctrl-R searches them
  Ctrl-C     stops the running statement, or clears what is typed
  Ctrl-D     leaves

Commands:
  \\?  help   this text
  \\q  quit   leaves
";

/// Runs the shell until the person leaves.
///
/// # Errors
/// When the warehouse or the terminal cannot be opened; a statement's failure is told, not returned.
pub(crate) fn run(command: &SqlCommand) -> Result<(), Failure> {
    if command.token.is_some() {
        return Err(Error::invalid(
            "--id is for statements that are run again as they are: give them with -e, -f or a pipe",
        )
        .into());
    }
    let runtime = runtime(command.threads)?;
    let running = Running::interactive();
    let terminal = Terminal::of_stdin();
    let engine = runtime.block_on(open(command))?;
    let vocabulary = Rc::new(Vocabulary::new(engine.session(), runtime.handle().clone()));
    let mut editor = LineEditor::open(Rc::clone(&vocabulary))?;
    // Behind the editor, which takes SIGINT for itself when it is made.
    interrupt::watch(running.clone(), None, move || terminal.restore())?;
    let mut runner = Runner::new(command, &engine, running.clone());
    tell(&greeting(command));
    while !running.is_terminated() {
        let text = match editor.read()? {
            Typed::Text(text) => text,
            Typed::Cleared => continue,
            Typed::End => break,
        };
        editor.remember(&text);
        match Command::parse(&text) {
            Some(Command::Quit) => break,
            Some(Command::Help) => tell(HELP),
            Some(Command::Unknown) => tell("there is no such command; \\? lists them\n"),
            None => {
                let outcome = statements(&text, |turn| {
                    let changes_names = turn.changes_names();
                    let outcome = runtime.block_on(runner.run(turn));
                    // A failed one may have had its effect all the same.
                    if changes_names {
                        vocabulary.forget();
                    }
                    outcome
                });
                if let Err(failure) = outcome {
                    failure.tell();
                }
            }
        }
    }
    // Tasks of a cancelled statement may still hold threads; the process does not wait for them.
    runtime.shutdown_background();
    Ok(())
}

/// Runs what was typed, one statement after another, until one fails. Every result is shown.
fn statements(text: &str, mut run: impl FnMut(Turn) -> Result<(), Failure>) -> Result<(), Failure> {
    let statements = split_script(text)?;
    for (at, statement) in statements.iter().enumerate() {
        let turn = Turn::parse(statement, at + 1, statements.len(), None)?;
        run(Turn { last: true, ..turn })?;
    }
    Ok(())
}

fn greeting(command: &SqlCommand) -> String {
    let version = env!("CARGO_PKG_VERSION");
    format!(
        "Icecap {version}, warehouse {}. End a statement with ; and leave with Ctrl-D. \\? tells more.\n",
        command.warehouse
    )
}

/// Tells the person something; whoever closed the terminal is not told.
fn tell(text: &str) {
    let mut out = io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
