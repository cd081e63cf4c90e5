//! A process's log: its last lines for the caller who asks for them, with Lambda's own lines around them.

use std::collections::VecDeque;
use std::fmt::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};

/// What `X-Amz-Log-Type: Tail` gives, in bytes.
pub(super) const TAIL_BYTES: usize = 4096;

/// The end of what a process has written since its invocation began. Clones are the same log.
#[derive(Debug, Clone, Default)]
pub(super) struct Log(Arc<Mutex<VecDeque<u8>>>);

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
    /// Gathers what comes through a pipe, until it ends.
    pub(super) async fn gather(self, mut pipe: impl AsyncRead + Unpin, process: u32) {
        let mut buffer = vec![0; TAIL_BYTES];
        while let Ok(count @ 1..) = pipe.read(&mut buffer).await {
            for line in String::from_utf8_lossy(&buffer[..count]).lines() {
                tracing::debug!(process, "{line}");
            }
            let mut kept = self.kept();
            kept.extend(&buffer[..count]);
            let surplus = kept.len().saturating_sub(TAIL_BYTES);
            kept.drain(..surplus);
        }
    }

    /// Forgets what was written before an invocation.
    pub(super) fn begin(&self) {
        self.kept().clear();
    }

    /// The last lines of an invocation and what it took, as Lambda tells it.
    pub(super) fn tail(&self, request_id: &str, took: &Took) -> Vec<u8> {
        let mut text = format!("START RequestId: {request_id} Version: $LATEST\n").into_bytes();
        text.extend(self.kept().iter());
        if !text.ends_with(b"\n") {
            text.push(b'\n');
        }
        text.extend(report(request_id, took).into_bytes());
        text.split_off(text.len().saturating_sub(TAIL_BYTES))
    }

    fn kept(&self) -> MutexGuard<'_, VecDeque<u8>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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
    use super::*;

    #[tokio::test]
    async fn the_tail_has_the_last_lines_and_the_report() {
        let log = Log::default();
        log.clone().gather(&b"before"[..], 1).await;
        log.begin();
        log.clone().gather(&b"one\ntwo"[..], 1).await;
        let took = Took {
            duration: Duration::from_micros(1500),
            init: Some(Duration::from_millis(20)),
            memory_mb: 512,
            peak_mb: 40,
        };
        assert_eq!(
            String::from_utf8(log.tail("r1", &took)).unwrap(),
            "START RequestId: r1 Version: $LATEST\none\ntwo\nEND RequestId: r1\nREPORT RequestId: r1\t\
             Duration: 1.50 ms\tBilled Duration: 22 ms\tMemory Size: 512 MB\tMax Memory Used: 40 MB\t\
             Init Duration: 20.00 ms\t\n"
        );
    }

    #[tokio::test]
    async fn a_long_log_is_cut_at_its_begin() {
        let log = Log::default();
        log.clone().gather("x".repeat(10_000).as_bytes(), 1).await;
        let took = Took { duration: Duration::ZERO, init: None, memory_mb: 1, peak_mb: 1 };
        let tail = log.tail("r1", &took);
        assert_eq!(tail.len(), TAIL_BYTES);
        assert!(tail.starts_with(b"xxx") && tail.ends_with(b"\t\n"));
    }
}
