//! Cutting a script into statements, by character, before anything is parsed.

use icecap_table::{Error, Result};

/// The longest statement that is read, in bytes.
pub const MAX_STATEMENT_BYTES: usize = 4 << 20;

/// One statement's text and where it starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatementText<'a> {
    /// The text, without the `;` and without surrounding white space and comments before it.
    pub text: &'a str,
    /// The line on which it starts, counted from 1.
    pub line: u64,
    /// The column at which it starts, in characters, counted from 1.
    pub column: u64,
}

/// Cuts a script at each `;` that stands outside quotes and comments. Empty statements are left out.
///
/// # Errors
/// `Invalid` for a quote or comment that is never closed, naming where it opens, and for a statement
/// longer than [`MAX_STATEMENT_BYTES`].
pub fn split_script(script: &str) -> Result<Vec<StatementText<'_>>> {
    let mut statements = Vec::new();
    let mut scanner = Scanner { rest: script.char_indices().peekable(), line: 1, column: 1 };
    // Where the statement's first token stands; none while only white space and comments were seen.
    let mut start: Option<(usize, u64, u64)> = None;
    let mut end = 0;
    loop {
        let (line, column) = (scanner.line, scanner.column);
        let Some((at, ch)) = scanner.next() else { break };
        match ch {
            ';' => {
                statements.extend(cut(script, start.take(), end)?);
                continue;
            }
            '-' if scanner.peek() == Some('-') => {
                while scanner.peek().is_some_and(|next| next != '\n') {
                    scanner.next();
                }
                continue;
            }
            '/' if scanner.peek() == Some('*') => {
                scanner.next();
                scanner.block_comment().ok_or_else(|| unclosed("a comment", "*/", line, column))?;
                continue;
            }
            '\'' | '"' | '`' => {
                scanner.quoted(ch).ok_or_else(|| {
                    unclosed(if ch == '\'' { "a string" } else { "a quoted name" }, ch, line, column)
                })?;
            }
            _ if ch.is_whitespace() => continue,
            _ => {}
        }
        start.get_or_insert((at, line, column));
        end = scanner.offset(script.len());
    }
    statements.extend(cut(script, start, end)?);
    Ok(statements)
}

fn unclosed(what: &str, by: impl std::fmt::Display, line: u64, column: u64) -> Error {
    Error::invalid(format!("line {line}:{column}: {what} starts here and is never closed: add {by}"))
}

fn cut(script: &str, start: Option<(usize, u64, u64)>, end: usize) -> Result<Option<StatementText<'_>>> {
    let Some((from, line, column)) = start else { return Ok(None) };
    let text = script.get(from..end).ok_or_else(|| Error::bug("a statement was cut inside a character"))?;
    if text.len() > MAX_STATEMENT_BYTES {
        return Err(Error::invalid(format!(
            "line {line}:{column}: the statement is {} bytes long and at most {MAX_STATEMENT_BYTES} are read: \
             load large data from a file with read_parquet or read_csv",
            text.len()
        )));
    }
    Ok(Some(StatementText { text, line, column }))
}

struct Scanner<'a> {
    rest: std::iter::Peekable<std::str::CharIndices<'a>>,
    line: u64,
    column: u64,
}

impl Scanner<'_> {
    fn next(&mut self) -> Option<(usize, char)> {
        let (at, ch) = self.rest.next()?;
        if ch == '\n' {
            self.line += 1;
            self.column = 1;
        } else {
            self.column += 1;
        }
        Some((at, ch))
    }

    fn peek(&mut self) -> Option<char> {
        self.rest.peek().map(|(_, ch)| *ch)
    }

    fn offset(&mut self, end: usize) -> usize {
        self.rest.peek().map_or(end, |(at, _)| *at)
    }

    /// Skips to after the closing quote. A doubled quote closes and opens again, which is the same.
    fn quoted(&mut self, quote: char) -> Option<()> {
        while let Some((_, ch)) = self.next() {
            if ch == quote {
                return Some(());
            }
        }
        None
    }

    fn block_comment(&mut self) -> Option<()> {
        while let Some((_, ch)) = self.next() {
            if ch == '*' && self.peek() == Some('/') {
                self.next();
                return Some(());
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(script: &str) -> Vec<&str> {
        split_script(script).unwrap().into_iter().map(|statement| statement.text).collect()
    }

    #[test]
    fn statements_end_at_semicolons_outside_quotes_and_comments() {
        assert_eq!(
            texts("select 1; select ';' ; select \"a;b\", `c;d`"),
            ["select 1", "select ';'", "select \"a;b\", `c;d`"]
        );
        assert_eq!(texts("select 1 -- a; b\n+ 1; -- the end"), ["select 1 -- a; b\n+ 1"]);
        assert_eq!(texts("/* ; */ select /* ; */ 2 /* tail */;;\n;"), ["select /* ; */ 2"]);
        assert_eq!(texts("select 'it''s; fine'; select 1"), ["select 'it''s; fine'", "select 1"]);
        assert_eq!(texts("select 1 - 2 / 3; "), ["select 1 - 2 / 3"]);
        assert_eq!(texts(" \n ; -- nothing"), Vec::<&str>::new());
    }

    #[test]
    fn a_statement_knows_where_it_starts() {
        let script = "-- é\nselect 1;\n  select 'é'; select 2";
        let at: Vec<_> = split_script(script).unwrap().iter().map(|s| (s.line, s.column)).collect();
        assert_eq!(at, [(2, 1), (3, 3), (3, 15)]);
    }

    #[test]
    fn what_is_never_closed_is_named_where_it_opens() {
        let message = |script| split_script(script).unwrap_err().to_string();
        assert_eq!(message("select\n 'a; b"), "line 2:2: a string starts here and is never closed: add '");
        assert_eq!(message("select \"a"), "line 1:8: a quoted name starts here and is never closed: add \"");
        assert_eq!(message("select /* a"), "line 1:8: a comment starts here and is never closed: add */");
    }

    #[test]
    fn a_statement_that_is_too_long_is_refused() {
        let script = format!("select '{}'", "x".repeat(MAX_STATEMENT_BYTES));
        let message = split_script(&script).unwrap_err().to_string();
        assert!(message.starts_with("line 1:1: the statement is 4194313 bytes long"), "{message}");
    }
}
