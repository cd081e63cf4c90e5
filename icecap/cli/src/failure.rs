//! How a failure is printed and which exit status it gives.

use std::fmt;
use std::io::{self, Write};

use icecap_table::error::Applied;
use icecap_table::{Error, ErrorKind};

use crate::colour;

/// The exit status of a failure that had no effect.
pub const STATUS_FAILED: u8 = 1;
/// The exit status when it is not known whether a statement took effect.
pub const STATUS_UNKNOWN: u8 = 2;

/// The longest part of a statement that is shown, in characters.
const SHOWN_CHARS: usize = 100;

/// An error, and the statement that it stopped.
#[derive(Debug)]
pub struct Failure {
    error: Error,
    statement: Option<Place>,
    token: Option<String>,
}

/// A statement among those of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Its number, from 1.
    pub number: usize,
    /// How many there are.
    pub total: usize,
    /// Its text.
    pub text: String,
    /// Whether it may change something.
    pub writes: bool,
}

impl Failure {
    /// A failure of this statement, in a run with this token.
    pub fn of_statement(error: Error, place: Place, token: Option<String>) -> Self {
        Self { error, statement: Some(place), token }
    }

    /// 2 when the statement may have taken effect, else 1.
    pub fn status(&self) -> u8 {
        let writes = self.statement.as_ref().is_some_and(|place| place.writes);
        match (self.error.kind(), self.error.applied()) {
            (ErrorKind::CommitStateUnknown, _) => STATUS_UNKNOWN,
            // A broken invariant cannot vouch for what a write did; a query does nothing.
            (_, Applied::Unknown) if writes => STATUS_UNKNOWN,
            _ => STATUS_FAILED,
        }
    }

    /// Tells it on standard error; nobody is left to tell when that is closed.
    pub fn tell(&self) {
        let text = self.to_string();
        let text = match text.split_once(']') {
            Some((kind, rest)) if colour::on_stderr() => {
                format!("{}{rest}", colour::bold_red(&format!("{kind}]")))
            }
            _ => text,
        };
        let _ = writeln!(io::stderr(), "{text}");
    }

    /// The error.
    pub fn error(&self) -> &Error {
        &self.error
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self { error, statement: None, token: None }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error[{}]: {}", self.error.kind(), self.error)?;
        if let Some(place) = self.statement.as_ref().filter(|place| place.total > 1) {
            write!(f, "\n  in statement {} of {}: {}", place.number, place.total, first_line(&place.text))?;
        }
        if self.status() == STATUS_UNKNOWN {
            match &self.token {
                Some(token) => write!(
                    f,
                    "\n  to learn whether it took effect, run the same statements again with --id {token}: \
                     what is done is not repeated"
                )?,
                None => f.write_str(
                    "\n  look at the table before running it again; with --id TOKEN a run can be repeated safely",
                )?,
            }
        }
        Ok(())
    }
}

fn first_line(text: &str) -> String {
    let line = text.trim_start().lines().next().unwrap_or_default().trim_end();
    let whole = line.len() == text.trim().len();
    let clean: String = line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    match clean.char_indices().nth(SHOWN_CHARS) {
        Some((end, _)) => format!("{} …", &clean[..end]),
        None if whole => clean,
        None => format!("{clean} …"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(number: usize, total: usize, text: &str, writes: bool) -> Place {
        Place { number, total, text: text.into(), writes }
    }

    #[test]
    fn the_only_statement_needs_no_number() {
        let failure =
            Failure::of_statement(Error::not_found("no table t"), place(1, 1, "SELECT", false), None);
        assert_eq!(failure.to_string(), "error[not-found]: no table t");
        assert_eq!(failure.status(), 1);
    }

    #[test]
    fn one_of_several_is_named_by_number_and_first_line() {
        let text = "\n  INSERT INTO t\n SELECT 1";
        let failure = Failure::of_statement(Error::invalid("bad"), place(2, 3, text, true), None);
        assert_eq!(failure.to_string(), "error[invalid]: bad\n  in statement 2 of 3: INSERT INTO t …");
        let long = "x".repeat(500);
        let failure = Failure::of_statement(Error::invalid("bad"), place(2, 3, &long, true), None);
        assert_eq!(
            failure.to_string().lines().last().unwrap(),
            format!("  in statement 2 of 3: {} …", "x".repeat(100))
        );
    }

    #[test]
    fn an_unknown_outcome_says_how_to_ask() {
        let unknown = || Error::commit_state_unknown("no answer");
        let failure = Failure::of_statement(unknown(), place(1, 1, "INSERT", true), Some("n7".into()));
        assert_eq!(failure.status(), 2);
        assert_eq!(
            failure.to_string(),
            "error[commit-state-unknown]: no answer\n  to learn whether it took effect, run the same statements \
             again with --id n7: what is done is not repeated"
        );
        let failure = Failure::of_statement(unknown(), place(1, 1, "INSERT", true), None);
        assert!(failure.to_string().contains("--id TOKEN"), "{failure}");
    }

    #[test]
    fn a_bug_leaves_a_write_unknown_and_a_query_failed() {
        let failure = |writes| Failure::of_statement(Error::bug("x"), place(1, 1, "X", writes), None);
        assert_eq!(failure(true).status(), 2);
        assert_eq!(failure(false).status(), 1);
        assert_eq!(Failure::from(Error::cancelled("x")).status(), 1);
    }
}
