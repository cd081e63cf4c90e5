//! `icecap sql --session` on a warehouse: one process for all statements of a test, its writers warm.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::{Failure, Result};

/// Longest wait for an answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(120);
/// Longest wait for the process's end.
const END_WITHIN: Duration = Duration::from_secs(10);

/// A running process that answers statements; ended when dropped.
pub struct Session {
    process: Child,
    stdin: Option<ChildStdin>,
    answers: Receiver<std::io::Result<String>>,
}

/// What a statement was answered.
#[derive(Debug, Clone, PartialEq)]
pub enum Said {
    /// A query's rows, an object each.
    Rows(Vec<Value>),
    /// What a statement without rows did.
    Summary(Value),
    /// `error[<kind>]: …`, the first line.
    Error(String),
}

impl Session {
    /// Starts `command`, which must be an `icecap sql` of a warehouse.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(super) fn start(mut command: Command) -> Result<Self> {
        command.arg("--session").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn()?;
        let stdout = process.stdout.take().ok_or_else(|| Failure::new("a session without its output"))?;
        let stdin = process.stdin.take();
        let (sender, answers) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines() {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Ok(Self { process, stdin, answers })
    }

    /// The process's number.
    pub fn process(&self) -> u32 {
        self.process.id()
    }

    /// Runs a statement.
    ///
    /// # Errors
    /// When there is no answer; that the statement fails is one.
    pub fn run(&mut self, sql: &str) -> Result<Said> {
        let request = format!("{}\n", Value::from(sql));
        let stdin = self.stdin.as_mut().ok_or_else(|| Failure::new("the session has ended"))?;
        stdin.write_all(request.as_bytes())?;
        let line = match self.answers.recv_timeout(ANSWER_WITHIN) {
            Ok(line) => line?,
            Err(RecvTimeoutError::Timeout) => {
                return Err(Failure::new(format!("no answer within {} s: {sql}", ANSWER_WITHIN.as_secs())));
            }
            Err(RecvTimeoutError::Disconnected) => {
                return Err(Failure::new(format!("the session ended without an answer: {sql}")));
            }
        };
        let mut answer: Value = serde_json::from_str(&line)?;
        if let Some(error) = answer["error"].as_str() {
            return Ok(Said::Error(error.lines().next().unwrap_or_default().to_owned()));
        }
        match (answer["rows"].take(), answer["summary"].take()) {
            (Value::Array(rows), _) => Ok(Said::Rows(rows)),
            (_, summary @ Value::Object(_)) => Ok(Said::Summary(summary)),
            _ => Err(Failure::new(format!("no answer is this: {line}"))),
        }
    }

    /// A query's rows.
    ///
    /// # Errors
    /// When it fails.
    pub fn rows(&mut self, sql: &str) -> Result<Vec<Value>> {
        match self.run(sql)? {
            Said::Rows(rows) => Ok(rows),
            other => Err(Failure::new(format!("{sql}: {other:?}"))),
        }
    }

    /// A write's summary.
    ///
    /// # Errors
    /// When it fails.
    pub fn summary(&mut self, sql: &str) -> Result<Value> {
        match self.run(sql)? {
            Said::Summary(summary) => Ok(summary),
            other => Err(Failure::new(format!("{sql}: {other:?}"))),
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // It ends when its input does, and its writers with it.
        drop(self.stdin.take());
        let asked = Instant::now();
        while asked.elapsed() < END_WITHIN {
            if !matches!(self.process.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
