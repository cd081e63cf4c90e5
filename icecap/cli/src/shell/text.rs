//! What was typed, as pieces: enough of SQL's spelling to know words, quotes and comments apart.
//!
//! This reads text in the middle of being typed, so nothing here is an error.

use icecap::sql::{StatementText, split_script};

/// What a piece of text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A name or keyword, with its dots and quoted parts (`ns."My Table"`); also a number.
    Word,
    /// A string in single quotes; open when its closing quote is missing.
    Text { open: bool },
    /// A comment; open when more of it may follow on the same line.
    Comment { open: bool },
    /// Any other character.
    Mark(char),
}

/// A piece of what was typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Piece<'a> {
    pub(super) kind: Kind,
    pub(super) text: &'a str,
    /// Where it starts, in bytes.
    pub(super) start: usize,
}

impl Piece<'_> {
    /// Where it ends, in bytes.
    pub(super) fn end(&self) -> usize {
        self.start + self.text.len()
    }

    /// Whether it is one of these keywords.
    pub(super) fn is_one_of(&self, keywords: &[&str]) -> bool {
        self.kind == Kind::Word && keywords.iter().any(|keyword| self.text.eq_ignore_ascii_case(keyword))
    }
}

/// Cuts text into pieces; white space is left out.
pub(super) fn pieces(text: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let mut at = 0;
    while let Some(ch) = text.get(at..).and_then(|rest| rest.chars().next()) {
        let rest = &text[at..];
        let (kind, length) = match ch {
            _ if ch.is_whitespace() => {
                at += ch.len_utf8();
                continue;
            }
            '-' if rest.starts_with("--") => match rest.find('\n') {
                Some(end) => (Kind::Comment { open: false }, end),
                None => (Kind::Comment { open: true }, rest.len()),
            },
            '/' if rest.starts_with("/*") => match rest[2..].find("*/") {
                Some(end) => (Kind::Comment { open: false }, end + 4),
                None => (Kind::Comment { open: true }, rest.len()),
            },
            '\'' => match rest[1..].find('\'') {
                Some(end) => (Kind::Text { open: false }, end + 2),
                None => (Kind::Text { open: true }, rest.len()),
            },
            _ if starts_word(ch) => (Kind::Word, word_length(rest)),
            _ => (Kind::Mark(ch), ch.len_utf8()),
        };
        pieces.push(Piece { kind, text: &rest[..length], start: at });
        at += length;
    }
    pieces
}

fn starts_word(ch: char) -> bool {
    ch.is_alphanumeric() || matches!(ch, '_' | '"' | '`')
}

/// The length of a dotted word; a quote that is not closed reaches to the end.
fn word_length(rest: &str) -> usize {
    let mut at = 0;
    while let Some(ch) = rest[at..].chars().next() {
        at += match ch {
            '"' | '`' => match rest[at + 1..].find(ch) {
                Some(end) => end + 2,
                None => return rest.len(),
            },
            _ if ch.is_alphanumeric() || matches!(ch, '_' | '.' | '$') => ch.len_utf8(),
            _ => break,
        };
    }
    at
}

/// The parts of a dotted word, without their quotes.
pub(super) fn parts(word: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut quote = None;
    for ch in word.chars() {
        match (quote, ch) {
            (None, '.') => parts.push(String::new()),
            (None, '"' | '`') => quote = Some(ch),
            (Some(open), _) if open == ch => quote = None,
            _ => {
                if let Some(part) = parts.last_mut() {
                    part.push(ch);
                }
            }
        }
    }
    parts
}

/// Whether Enter runs this text: it ends with `;` outside quotes and comments, is a command of the shell, or
/// holds nothing.
pub(super) fn is_complete(text: &str) -> bool {
    let text = text.trim();
    if text.is_empty() || Command::parse(text).is_some() {
        return true;
    }
    // A word put behind it becomes a statement of its own only when what was typed is closed.
    let count = |text: &str| split_script(text).map(|found: Vec<StatementText<'_>>| found.len());
    match (count(text), count(&format!("{text}\nx"))) {
        (Ok(typed), Ok(longer)) => longer > typed && ends_closed(text),
        // Not closed yet, or too long: only the second is told by running it.
        (Err(_), _) | (_, Err(_)) => text.len() > icecap::sql::MAX_STATEMENT_BYTES,
    }
}

/// Whether a `;` stands behind the last word; a comment alone waits for its statement.
fn ends_closed(text: &str) -> bool {
    let pieces = pieces(text);
    let last = pieces.iter().rev().find(|piece| !matches!(piece.kind, Kind::Comment { .. }));
    last.is_some_and(|piece| piece.kind == Kind::Mark(';'))
}

/// What the shell itself does, not the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Command {
    /// `\q`, `quit`, `exit`.
    Quit,
    /// `\?`, `help`.
    Help,
    /// Something else behind a backslash.
    Unknown,
}

impl Command {
    /// The command that this whole text is, if it is one.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let word = text.trim().trim_end_matches(';').trim_end().to_ascii_lowercase();
        match word.as_str() {
            "\\q" | "quit" | "exit" => Some(Self::Quit),
            "\\?" | "\\h" | "help" => Some(Self::Help),
            _ if word.starts_with('\\') => Some(Self::Unknown),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn enter_runs_what_ends_with_a_semicolon_outside_quotes_and_comments() {
        for text in ["", "  ", "SELECT 1;", "SELECT 1; -- done", "SELECT 1; SELECT 2;", ";", "SELECT 'a;';"] {
            assert!(is_complete(text), "{text}");
        }
        for text in [
            "SELECT 1",
            "SELECT ';",
            "SELECT ';'",
            "SELECT 1 -- ;",
            "SELECT 1 /* ;",
            "-- a comment",
            "SELECT 1; SELECT 2",
            "SELECT \"a;",
        ] {
            assert!(!is_complete(text), "{text}");
        }
        assert!(is_complete(&"x".repeat(icecap::sql::MAX_STATEMENT_BYTES + 1)));
    }

    #[test]
    fn commands_need_no_semicolon() {
        for (text, command) in [
            ("\\q", Command::Quit),
            ("quit;", Command::Quit),
            (" EXIT ", Command::Quit),
            ("help", Command::Help),
            ("\\?", Command::Help),
            ("\\d t", Command::Unknown),
        ] {
            assert_eq!(Command::parse(text), Some(command), "{text}");
            assert!(is_complete(text), "{text}");
        }
        assert_eq!(Command::parse("SELECT quit"), None);
    }

    #[test]
    fn text_in_the_middle_of_being_typed_is_cut_into_pieces() {
        let texts = |text| pieces(text).into_iter().map(|piece| piece.text).collect::<Vec<_>>();
        assert_eq!(texts("SELECT a.\"b c\", 'x;' FROM é"), ["SELECT", "a.\"b c\"", ",", "'x;'", "FROM", "é"]);
        assert_eq!(texts("a--b\nc/* d */e"), ["a", "--b", "c", "/* d */", "e"]);
        let last = |text| pieces(text).last().unwrap().kind;
        assert_eq!(last("SELECT 'é"), Kind::Text { open: true });
        assert_eq!(last("SELECT \"é"), Kind::Word);
        assert_eq!(last("SELECT /*"), Kind::Comment { open: true });
    }

    #[test]
    fn a_words_parts_lose_their_quotes() {
        assert_eq!(parts("a.\"B c\".`d`"), ["a", "B c", "d"]);
        assert_eq!(parts("a."), ["a", ""]);
        assert_eq!(parts("\"op.en"), ["op.en"]);
    }
}
