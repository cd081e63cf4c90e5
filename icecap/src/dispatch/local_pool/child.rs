//! A child process, seen from its parent.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use bytes::Bytes;
use icecap_table::{Error, Result};
use tokio::io::BufReader;
use tokio::process::{Child as Process, ChildStdin, ChildStdout, Command};

use super::ChildProgram;
use super::frame::{self, Kind};
use crate::plan::task::BUILD_ID;

/// How long a child may take to say hello.
const HELLO_WITHIN: Duration = Duration::from_secs(30);
/// How long a child that is given up may take to clear away what it has on the disk.
const END_WITHIN: Duration = Duration::from_secs(3);

/// A running child. Killed when it is dropped.
#[derive(Debug)]
pub(super) struct Child {
    process: Process,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    number: u32,
}

impl Child {
    /// Starts one.
    ///
    /// # Errors
    /// `NotFound` when there is no such program; `Unavailable` when the system starts none.
    pub(super) fn start(program: &ChildProgram) -> Result<Self> {
        let mut command = Command::new(&program.path);
        command.args(&program.args).stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        // A Ctrl-C at the terminal is the parent's to judge.
        command.process_group(0);
        let failed = |error: io::Error| {
            let make = match error.kind() {
                io::ErrorKind::NotFound => Error::not_found,
                io::ErrorKind::PermissionDenied => Error::denied,
                _ => Error::unavailable,
            };
            make("a writer process cannot be started".to_owned())
                .with("program", program.path.display().to_string())
                .with_source(error)
        };
        let mut process = command.spawn().map_err(failed)?;
        let number = process.id().unwrap_or_default();
        let pipes = (process.stdin.take(), process.stdout.take());
        let (Some(stdin), Some(stdout)) = pipes else {
            return Err(Error::bug("a writer process has no pipes"));
        };
        tracing::debug!(process = number, "writer process started");
        Ok(Self { process, stdin, stdout: BufReader::new(stdout), number })
    }

    /// Waits for its first word.
    ///
    /// # Errors
    /// `Invalid` when it is of another build; `Unavailable` when it says nothing.
    pub(super) async fn greet(&mut self) -> Result<()> {
        let hello = frame::receive(&mut self.stdout, Kind::Hello);
        match tokio::time::timeout(HELLO_WITHIN, hello).await {
            Ok(Ok(build)) if build == BUILD_ID.as_bytes() => Ok(()),
            Ok(Ok(build)) => Err(Error::invalid(format!(
                "the writer process is of build {:?} and this is {BUILD_ID:?}: the program was replaced while \
                 it ran; start it again",
                String::from_utf8_lossy(&build)
            ))),
            Ok(Err(error)) => Err(self.lost("before it was ready", error).await),
            Err(_) => Err(Error::unavailable("a writer process did not become ready")
                .with("process", self.number.to_string())),
        }
    }

    /// Sends it a request; gives its reply.
    ///
    /// # Errors
    /// `Unavailable` when it ended meanwhile.
    pub(super) async fn call(&mut self, request: &[u8]) -> Result<Bytes> {
        // A child that dies while it reads is found out by the read.
        let sent = frame::send(&mut self.stdin, Kind::Request, request).await;
        match frame::receive(&mut self.stdout, Kind::Reply).await {
            Ok(reply) => Ok(reply),
            Err(error) => Err(self.lost("while it ran a task", sent.err().unwrap_or(error)).await),
        }
    }

    /// Whether it has ended by itself.
    pub(super) fn has_ended(&mut self) -> bool {
        !matches!(self.process.try_wait(), Ok(None))
    }

    /// Ends it: asks first, by closing its input, so that it clears away what it spilled and uploaded.
    pub(super) async fn end(self) {
        let Self { mut process, stdin, stdout, number } = self;
        drop(stdin);
        drop(stdout);
        if tokio::time::timeout(END_WITHIN, process.wait()).await.is_err() {
            tracing::warn!(process = number, "a writer process did not end when it was asked to");
            // It has ended already when this fails.
            let _ = process.kill().await;
        }
    }

    async fn lost(&mut self, when: &str, error: io::Error) -> Error {
        let how = match tokio::time::timeout(END_WITHIN, self.process.wait()).await {
            Ok(Ok(status)) => ending(status),
            _ => "its pipe is broken".to_owned(),
        };
        Error::unavailable(format!("a writer process was lost {when}: {how}"))
            .with("process", self.number.to_string())
            .with_source(error)
    }
}

fn ending(status: ExitStatus) -> String {
    match (status.signal(), status.code()) {
        (Some(9), _) => "it was killed (signal 9; by the system when memory is short)".to_owned(),
        (Some(signal), _) => format!("it was ended by signal {signal}"),
        (None, Some(code)) => format!("it ended with status {code}"),
        (None, None) => "it ended".to_owned(),
    }
}
