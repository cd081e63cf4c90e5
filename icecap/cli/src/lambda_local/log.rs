//! A process's log: its last lines for the caller who asks for them, with Lambda's own lines around them.

use std::collections::VecDeque;
use std::fmt::Write;
use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::unix::pipe::Receiver;

/// What `X-Amz-Log-Type: Tail` gives, in bytes.
pub(super) const TAIL_BYTES: usize = 4096;

/// The end of what a process has written since its invocation began. Clones are the same log.
#[derive(Debug, Clone, Default)]
pub(super) struct Log(Arc<Mutex<Written>>);

#[derive(Debug, Default)]
struct Written {
    /// The last [`TAIL_BYTES`].
    kept: VecDeque<u8>,
    /// The reading ends of what the process writes to.
    pipes: Vec<Arc<Receiver>>,
}

/// What one invocation took.
#[derive(Debug, Clone, Copy)]
pub(super) struct Took {
    pub(super) duration: Duration,
    /// Of the process's start, when it was started for this invocation.
    pub(super) init: Option<Duration>,
    pub(super) memory_mb: u64,
    pub(super) peak_mb: u64,
}

impl Log {
    /// Reads along what comes through a pipe, until it ends.
    ///
    /// # Errors
    /// When the system does not let the pipe be watched.
    pub(super) fn follow(&self, pipe: OwnedFd, process: u32) -> std::io::Result<()> {
        let pipe = Arc::new(Receiver::from_owned_fd(pipe)?);
        self.written().pipes.push(Arc::clone(&pipe));
        let log = self.clone();
        tokio::spawn(async move {
            while pipe.readable().await.is_ok() {
                match log.written().read(process, |buffer| pipe.try_read(buffer)) {
                    Ok(0) => break,
                    Err(error) if !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                        break;
                    }
                    _ => {}
                }
            }
        });
        Ok(())
    }

    /// Forgets what was written before an invocation.
    pub(super) fn begin(&self, process: u32) {
        let mut written = self.written();
        written.catch_up(process);
        written.kept.clear();
    }

    /// The last lines of an invocation and what it took, as Lambda tells it: all that the process had written
    /// when it answered, though its answer, which comes another way, may have been here first.
    pub(super) fn tail(&self, request_id: &str, process: u32, took: &Took) -> Vec<u8> {
        let mut text = format!("START RequestId: {request_id} Version: $LATEST\n").into_bytes();
        let mut written = self.written();
        written.catch_up(process);
        text.extend(&written.kept);
        if !text.ends_with(b"\n") {
            text.push(b'\n');
        }
        text.extend(report(request_id, took).into_bytes());
        text.split_off(text.len().saturating_sub(TAIL_BYTES))
    }

    fn written(&self) -> MutexGuard<'_, Written> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Written {
    /// Takes what the pipes hold now, whether or not the runtime has heard of it yet. One that is written to
    /// without end is left after as much as a pipe holds.
    fn catch_up(&mut self, process: u32) {
        const AT_MOST: usize = 16;
        for pipe in self.pipes.clone() {
            let more = |read: std::io::Result<usize>| match read {
                Ok(count) => count > 0,
                Err(error) => error.kind() == ErrorKind::Interrupted,
            };
            let mut reads = 0..AT_MOST;
            while reads.next().is_some()
                && more(self.read(process, |buffer| Ok(rustix::io::read(&pipe, buffer)?)))
            {}
        }
    }

    /// Takes some of what one pipe holds: how many bytes, none at its end.
    fn read(
        &mut self,
        process: u32,
        read: impl FnOnce(&mut [u8]) -> std::io::Result<usize>,
    ) -> std::io::Result<usize> {
        let mut buffer = [0; TAIL_BYTES];
        let count = read(&mut buffer)?;
        for line in String::from_utf8_lossy(&buffer[..count]).lines() {
            tracing::debug!(process, "{line}");
        }
        self.kept.extend(&buffer[..count]);
        let surplus = self.kept.len().saturating_sub(TAIL_BYTES);
        self.kept.drain(..surplus);
        Ok(count)
    }
}

fn report(request_id: &str, took: &Took) -> String {
    let ms = |time: Duration| time.as_secs_f64() * 1000.0;
    // The start of a process is paid for too.
    let billed = ms(took.duration + took.init.unwrap_or_default()).ceil();
    let mut text = format!(
        "END RequestId: {request_id}\nREPORT RequestId: {request_id}\tDuration: {:.2} ms\tBilled Duration: {billed:.0} ms\t\
         Memory Size: {} MB\tMax Memory Used: {} MB\t",
        ms(took.duration),
        took.memory_mb,
        took.peak_mb,
    );
    if let Some(init) = took.init {
        let _ = write!(text, "Init Duration: {:.2} ms\t", ms(init));
    }
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    /// A log, and where to write what it is to hold.
    fn followed() -> (Log, std::io::PipeWriter) {
        let (reader, writer) = std::io::pipe().unwrap();
        let log = Log::default();
        log.follow(reader.into(), 1).unwrap();
        (log, writer)
    }

    // On one thread nothing is read along before the test waits: `begin` and `tail` read what is there.
    #[tokio::test]
    async fn the_tail_has_the_last_lines_and_the_report() {
        let (log, mut process) = followed();
        process.write_all(b"before").unwrap();
        log.begin(1);
        process.write_all(b"one\ntwo").unwrap();
        let took = Took {
            duration: Duration::from_micros(1500),
            init: Some(Duration::from_millis(20)),
            memory_mb: 512,
            peak_mb: 40,
        };
        assert_eq!(
            String::from_utf8(log.tail("r1", 1, &took)).unwrap(),
            "START RequestId: r1 Version: $LATEST\none\ntwo\nEND RequestId: r1\nREPORT RequestId: r1\t\
             Duration: 1.50 ms\tBilled Duration: 22 ms\tMemory Size: 512 MB\tMax Memory Used: 40 MB\t\
             Init Duration: 20.00 ms\t\n"
        );
    }

    #[tokio::test]
    async fn a_long_log_is_cut_at_its_begin() {
        let (log, mut process) = followed();
        process.write_all("x".repeat(10_000).as_bytes()).unwrap();
        let took = Took { duration: Duration::ZERO, init: None, memory_mb: 1, peak_mb: 1 };
        let tail = log.tail("r1", 1, &took);
        assert_eq!(tail.len(), TAIL_BYTES);
        assert!(tail.starts_with(b"xxx") && tail.ends_with(b"\t\n"));
    }

    #[tokio::test]
    async fn a_process_that_writes_more_than_a_pipe_holds_is_not_held_up() {
        let (log, mut process) = followed();
        let writer = tokio::task::spawn_blocking(move || process.write_all("y".repeat(1 << 20).as_bytes()));
        writer.await.unwrap().unwrap();
        let took = Took { duration: Duration::ZERO, init: None, memory_mb: 1, peak_mb: 1 };
        assert!(log.tail("r1", 1, &took).starts_with(b"yyy"));
    }
}
