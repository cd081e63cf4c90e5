//! The engine as a process that stays (`examples/engine_host.rs`): thousands of statements without thousands of starts.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::Value;

use super::host_binary;
use crate::{Failure, Result};

/// Longest wait for an answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(120);

/// A running engine, which ends with this value.
pub struct Host {
    child: Child,
    requests: ChildStdin,
    answers: Receiver<String>,
}

impl Host {
    /// Starts one on a warehouse folder; `options` are those of the example.
    ///
    /// # Errors
    /// When it is not built, or does not start.
    pub fn start(warehouse: &Path, options: &[&str]) -> Result<Self> {
        let mut command = Command::new(host_binary()?);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("ICECAP_") || name.to_string_lossy().starts_with("AWS_") {
                command.env_remove(name);
            }
        }
        let mut child =
            command.arg(warehouse).args(options).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let gone = || Failure::new("a pipe that was asked for is missing");
        let requests = child.stdin.take().ok_or_else(gone)?;
        let output = child.stdout.take().ok_or_else(gone)?;
        let (sender, answers) = channel();
        std::thread::spawn(move || {
            let lines = BufReader::new(output).lines().map_while(std::result::Result::ok);
            lines.take_while(|line| sender.send(line.clone()).is_ok()).for_each(drop);
        });
        Ok(Self { child, requests, answers })
    }

    /// Sends a statement without waiting for its answer.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn send(&mut self, sql: &str) -> Result<()> {
        let sent = writeln!(self.requests, "{}", Value::from(sql)).and_then(|()| self.requests.flush());
        sent.map_err(|error| Failure::from(error).at("the engine's process is gone"))
    }

    /// The answer to the statement sent before: objects as `icecap sql --format json` prints them, or the text of the
    /// statement's error, which begins with `error[`.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn answer(&mut self) -> Result<std::result::Result<Vec<Value>, String>> {
        let line = self.answers.recv_timeout(ANSWER_WITHIN);
        let line = line.map_err(|_| Failure::new("the engine's process does not answer"))?;
        let mut answer: Value = serde_json::from_str(&line)?;
        if let Some(error) = answer["error"].as_str() {
            return Ok(Err(error.to_owned()));
        }
        match answer["objects"].take() {
            Value::Array(objects) => Ok(Ok(objects)),
            other => Err(Failure::new(format!("the engine's process answered {other}"))),
        }
    }

    /// Runs a statement.
    ///
    /// # Errors
    /// When there is no answer. A statement that fails is one.
    pub fn run(&mut self, sql: &str) -> Result<std::result::Result<Vec<Value>, String>> {
        self.send(sql)?;
        self.answer()
    }

    /// Runs a statement that must succeed.
    ///
    /// # Errors
    /// When it does not.
    pub fn objects(&mut self, sql: &str) -> Result<Vec<Value>> {
        self.run(sql)?.map_err(|error| Failure::new(format!("{error}\n  in {sql}")))
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // Already gone is fine.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
