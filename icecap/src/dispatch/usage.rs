//! Metering: one [`AttemptUsage`] for every attempt of a task, whatever became of it. What a statement cost is
//! their sum, losers and failures included.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use icecap_table::id::WriteId;
use icecap_table::{ErrorKind, Result};
use prost::Message;

use crate::worker::WorkerUsage;

/// Records that nobody took: the oldest go then.
const MAX_KEPT: usize = 10_000;

/// Where an attempt ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In this process.
    InProcess,
    /// In a child process.
    Child,
    /// In a Lambda function.
    Lambda,
}

impl Place {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InProcess => "in-process",
            Self::Child => "child",
            Self::Lambda => "lambda",
        }
    }
}

/// What became of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It gave a report.
    Succeeded,
    /// It gave an error, or none could be had.
    Failed(ErrorKind),
    /// Nobody waited for its end: it was cancelled, or another attempt was first.
    Abandoned,
}

/// What one attempt took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptUsage {
    /// Whose write it was; nothing when the task's bytes did not say.
    pub write_id: Option<WriteId>,
    /// The stage.
    pub stage: u32,
    /// The task within the stage.
    pub task: u32,
    /// Which try it was.
    pub attempt: u32,
    /// Where it ran.
    pub place: Place,
    /// What became of it.
    pub outcome: Outcome,
    /// From its start to its end as seen from here, in milliseconds.
    pub wall_ms: u64,
    /// What else is known.
    pub finish: Finish,
    /// What it moved through an exchange, where its report came.
    pub exchange: ExchangeUsage,
}

/// What attempts moved through exchanges.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ExchangeUsage {
    /// Bytes of the objects that were stored.
    pub bytes_written: u64,
    /// Bytes that were read.
    pub bytes_read: u64,
    /// Requests to the store for both, repetitions of the store's own client left out.
    pub requests: u64,
}

impl ExchangeUsage {
    /// Of a report's bytes; nothing of what is none.
    fn of(report: &[u8]) -> Self {
        let moved = report.get(1..).and_then(|message| Moved::decode(message).ok()).unwrap_or_default();
        Self {
            bytes_written: moved.exchange.map_or(0, |object| object.size_bytes),
            bytes_read: moved.bytes_read,
            requests: moved.requests,
        }
    }

    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            bytes_written: self.bytes_written + other.bytes_written,
            bytes_read: self.bytes_read + other.bytes_read,
            requests: self.requests + other.requests,
        }
    }
}

/// What is known of an attempt at its end only; what is not known is absent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Finish {
    /// Time that is paid for, in milliseconds.
    pub billed_ms: Option<u64>,
    /// Memory that is paid for, in MB (2^20 bytes, as Lambda counts).
    pub memory_mb: Option<u64>,
    /// Whether a process had to be started for it.
    pub cold: Option<bool>,
    /// What the worker saw.
    pub worker: Option<WorkerUsage>,
    /// Bytes of the request as it was sent.
    pub request_bytes: u64,
    /// Bytes of the reply as it came.
    pub reply_bytes: u64,
}

impl AttemptUsage {
    /// GB-seconds that are paid for, where that is known.
    pub fn gb_seconds(&self) -> Option<f64> {
        let (ms, mb) = (self.finish.billed_ms?, self.finish.memory_mb?);
        #[allow(clippy::cast_precision_loss)] // milliseconds and megabytes of one attempt are small numbers
        Some(ms as f64 / 1000.0 * (mb as f64 / 1024.0))
    }
}

/// Collects usage records; every clone is the same collection.
#[derive(Debug, Clone, Default)]
pub struct Meter(Arc<Mutex<VecDeque<AttemptUsage>>>);

impl Meter {
    /// Begins to meter an attempt at these task bytes.
    pub fn start(&self, place: Place, task: &[u8]) -> Metered {
        let identity = Identity::of(task);
        let usage = AttemptUsage {
            write_id: write_of(task),
            stage: identity.stage,
            task: identity.task,
            attempt: identity.attempt,
            place,
            outcome: Outcome::Abandoned,
            wall_ms: 0,
            finish: Finish::default(),
            exchange: ExchangeUsage::default(),
        };
        Metered { meter: self.clone(), started: Instant::now(), usage: Some(usage) }
    }

    /// The records of a write so far, taken out.
    pub fn take(&self, write_id: WriteId) -> Vec<AttemptUsage> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (taken, rest): (Vec<_>, Vec<_>) =
            kept.drain(..).partition(|usage| usage.write_id == Some(write_id));
        *kept = rest.into();
        taken
    }

    /// Whether an attempt of a write moved something through an exchange.
    pub fn crossed(&self, write_id: WriteId) -> bool {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().any(|usage| usage.write_id == Some(write_id) && usage.exchange.requests > 0)
    }

    fn record(&self, usage: AttemptUsage) {
        tracing::info!(
            place = usage.place.as_str(),
            stage = usage.stage,
            task = usage.task,
            attempt = usage.attempt,
            outcome = ?usage.outcome,
            wall_ms = usage.wall_ms,
            billed_ms = usage.finish.billed_ms,
            memory_mb = usage.finish.memory_mb,
            cold = usage.finish.cold,
            process = usage.finish.worker.map(|worker| worker.process),
            peak_bytes = usage.finish.worker.map(|worker| worker.peak_memory_bytes),
            request_bytes = usage.finish.request_bytes,
            reply_bytes = usage.finish.reply_bytes,
            exchange_bytes_written = usage.exchange.bytes_written,
            exchange_bytes_read = usage.exchange.bytes_read,
            exchange_requests = usage.exchange.requests,
            "attempt ended"
        );
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.push_back(usage);
        if kept.len() > MAX_KEPT {
            kept.pop_front();
        }
    }
}

/// The write that a task's bytes belong to, where they say so.
pub(super) fn write_of(task: &[u8]) -> Option<WriteId> {
    Identity::of(task).write_id.parse().ok()
}

/// An attempt that is being metered: recorded as abandoned when it is dropped unfinished.
#[derive(Debug)]
pub struct Metered {
    meter: Meter,
    started: Instant,
    usage: Option<AttemptUsage>,
}

impl Metered {
    /// Records the attempt's end, and what its report tells; hands the result on.
    ///
    /// # Errors
    /// The result's own.
    pub fn finish(mut self, result: Result<Bytes>, finish: Finish) -> Result<Bytes> {
        if let Some(usage) = &mut self.usage {
            usage.outcome = match &result {
                Ok(_) => Outcome::Succeeded,
                Err(error) if error.kind() == ErrorKind::Cancelled => Outcome::Abandoned,
                Err(error) => Outcome::Failed(error.kind()),
            };
            usage.finish = finish;
            usage.exchange =
                result.as_ref().map_or_else(|_| ExchangeUsage::default(), |report| ExchangeUsage::of(report));
        }
        result
    }
}

impl Drop for Metered {
    fn drop(&mut self) {
        if let Some(mut usage) = self.usage.take() {
            usage.wall_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
            self.meter.record(usage);
        }
    }
}

/// Which attempt of which task some bytes are: the fields of a [`WriteTask`](crate::plan::WriteTask) that say
/// so, read without its plan.
#[derive(Clone, PartialEq, Message)]
struct Identity {
    #[prost(string, tag = "2")]
    write_id: String,
    #[prost(uint32, tag = "4")]
    stage: u32,
    #[prost(uint32, tag = "5")]
    task: u32,
    #[prost(uint32, tag = "6")]
    attempt: u32,
}

/// The fields of a [`TaskReport`](crate::plan::TaskReport) that tell of an exchange, read without its files.
#[derive(Clone, Copy, PartialEq, Message)]
struct Moved {
    #[prost(message, optional, tag = "10")]
    exchange: Option<MovedObject>,
    #[prost(uint64, tag = "11")]
    bytes_read: u64,
    #[prost(uint64, tag = "16")]
    requests: u64,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct MovedObject {
    #[prost(uint64, tag = "2")]
    size_bytes: u64,
}

impl Identity {
    fn of(task: &[u8]) -> Self {
        task.get(1..).and_then(|message| Self::decode(message).ok()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use icecap_table::Error;
    use uuid::Uuid;

    use super::*;
    use crate::exchange::ExchangeObject;
    use crate::plan::task::BUILD_ID;
    use crate::plan::{TaskOutput, TaskReport, WriteTask};

    fn task(write: u128, attempt: u32) -> Vec<u8> {
        WriteTask {
            build_id: BUILD_ID.to_owned(),
            write_id: WriteId::new(Uuid::from_u128(write)),
            round: 1,
            stage: 2,
            task: 3,
            task_count: 4,
            attempt,
            nonce: "n".to_owned(),
            plan: vec![0; 100],
            inputs: Vec::new(),
            output: TaskOutput::Rows,
            memory_bytes: None,
            deadline_ms: None,
        }
        .encode()
    }

    #[test]
    fn every_attempt_leaves_a_record_whatever_becomes_of_it() {
        let meter = Meter::default();
        let object = ExchangeObject { location: "x".into(), size_bytes: 300, ..ExchangeObject::default() };
        let report = TaskReport {
            exchange: Some(object),
            exchange_bytes_read: 20,
            exchange_requests: 3,
            ..TaskReport::default()
        };
        let report = Bytes::from(report.encode());
        let ok = meter.start(Place::Child, &task(1, 0)).finish(Ok(report.clone()), Finish::default());
        assert_eq!(ok.unwrap(), report);
        let failed = Err(Error::unavailable("gone"));
        let finish = Finish { billed_ms: Some(500), memory_mb: Some(2048), ..Finish::default() };
        assert!(meter.start(Place::Lambda, &task(1, 1)).finish(failed, finish).is_err());
        drop(meter.start(Place::InProcess, &task(1, 2)));
        drop(meter.start(Place::InProcess, &task(2, 0)));
        drop(meter.start(Place::InProcess, b"no task"));

        let taken = meter.take(WriteId::new(Uuid::from_u128(1)));
        let outcomes: Vec<_> =
            taken.iter().map(|usage| (usage.attempt, usage.place, usage.outcome)).collect();
        assert_eq!(
            outcomes,
            [
                (0, Place::Child, Outcome::Succeeded),
                (1, Place::Lambda, Outcome::Failed(ErrorKind::Unavailable)),
                (2, Place::InProcess, Outcome::Abandoned),
            ]
        );
        assert_eq!((taken[0].stage, taken[0].task), (2, 3));
        let moved = ExchangeUsage { bytes_written: 300, bytes_read: 20, requests: 3 };
        assert_eq!((taken[0].exchange, taken[1].exchange), (moved, ExchangeUsage::default()));
        assert_eq!(taken[1].gb_seconds(), Some(1.0));
        assert!(meter.take(WriteId::new(Uuid::from_u128(1))).is_empty());
        assert_eq!(meter.take(WriteId::new(Uuid::from_u128(2))).len(), 1);
    }
}
