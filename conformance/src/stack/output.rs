//! What a run of the command answered.

use std::time::Duration;

use serde_json::Value;

use crate::{Failure, Result};

/// The end of a run of `icecap`.
#[derive(Debug, Clone)]
pub struct Output {
    /// The exit status; `None` when a signal ended it.
    pub status: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    /// From start to end of the process.
    pub took: Duration,
}

impl Output {
    /// Itself, when the command succeeded.
    ///
    /// # Errors
    /// With what it printed, when it did not.
    pub fn success(self) -> Result<Self> {
        if self.status == Some(0) {
            return Ok(self);
        }
        Err(Failure::new(format!("icecap ended with {:?}: {}{}", self.status, self.stderr, self.stdout)))
    }

    /// The objects on standard output, one a line.
    ///
    /// # Errors
    /// When the command failed, or a line is not a JSON object.
    pub fn objects(self) -> Result<Vec<Value>> {
        let output = self.success()?;
        let parse = |line: &str| match serde_json::from_str(line)? {
            object @ Value::Object(_) => Ok(object),
            other => Err(Failure::new(format!("icecap printed {other}, which is no object"))),
        };
        output.stdout.lines().map(parse).collect()
    }

    /// The kind in `error[<kind>]: …`, when the command failed with exit status 1.
    pub fn error_kind(&self) -> Option<&str> {
        let line = self.error_line()?;
        line.strip_prefix("error[")?.split_once("]: ").map(|(kind, _)| kind)
    }

    /// The line that begins with `error[`, of a command that failed.
    pub fn error_line(&self) -> Option<&str> {
        (self.status != Some(0))
            .then(|| self.stderr.lines().find(|line| line.starts_with("error[")))
            .flatten()
    }

    /// Checks that the command failed as expected: status 1, this kind, this text in the message.
    ///
    /// # Errors
    /// With what it did instead.
    pub fn fails_with(&self, kind: &str, text: &str) -> Result<()> {
        let line = self.error_line().unwrap_or_default();
        if self.status == Some(1) && self.error_kind() == Some(kind) && line.contains(text) {
            return Ok(());
        }
        Err(Failure::new(format!(
            "expected error[{kind}] with {text:?}; got status {:?}: {}{}",
            self.status, self.stderr, self.stdout
        )))
    }
}
