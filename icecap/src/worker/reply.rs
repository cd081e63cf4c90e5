//! [`TaskReply`]: what a worker in another process answers.

use icecap_table::{Error, Result};
use prost::Message;

use super::failure::FailureMessage;
use super::payload::{Payload, PayloadMessage};
use crate::plan::task::{unversioned, versioned};

/// The version byte of a reply.
pub const REPLY_VERSION: u8 = 1;

/// What became of a task, and what it took.
#[derive(Debug)]
pub struct TaskReply {
    /// The encoded [`TaskReport`](crate::plan::TaskReport), or the error.
    pub outcome: Result<Payload>,
    /// What it took.
    pub usage: WorkerUsage,
}

/// What an attempt took, as the worker saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WorkerUsage {
    /// From the request's arrival to the reply, in milliseconds.
    pub elapsed_ms: u64,
    /// The most memory that the process had in use since it started, in bytes; 0 where that is not known.
    pub peak_memory_bytes: u64,
    /// Requests that this process had answered before: 0 is a cold start.
    pub earlier_requests: u64,
    /// The process's number.
    pub process: u32,
}

#[derive(Clone, PartialEq, Message)]
struct ReplyMessage {
    #[prost(oneof = "Outcome", tags = "1, 2")]
    outcome: Option<Outcome>,
    #[prost(message, optional, tag = "3")]
    usage: Option<UsageMessage>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Outcome {
    #[prost(message, tag = "1")]
    Report(PayloadMessage),
    #[prost(message, tag = "2")]
    Failure(FailureMessage),
}

#[derive(Clone, Copy, PartialEq, Message)]
struct UsageMessage {
    #[prost(uint64, tag = "1")]
    elapsed_ms: u64,
    #[prost(uint64, tag = "2")]
    peak_memory_bytes: u64,
    #[prost(uint64, tag = "3")]
    earlier_requests: u64,
    #[prost(uint32, tag = "4")]
    process: u32,
}

impl TaskReply {
    /// The reply's bytes; `secrets` are texts that must not be in them.
    pub(super) fn encode_without(&self, secrets: &[String]) -> Vec<u8> {
        let outcome = match &self.outcome {
            Ok(report) => Outcome::Report(report.message()),
            Err(error) => Outcome::Failure(FailureMessage::of(error, secrets)),
        };
        let usage = UsageMessage {
            elapsed_ms: self.usage.elapsed_ms,
            peak_memory_bytes: self.usage.peak_memory_bytes,
            earlier_requests: self.usage.earlier_requests,
            process: self.usage.process,
        };
        versioned(REPLY_VERSION, &ReplyMessage { outcome: Some(outcome), usage: Some(usage) })
    }

    /// The reply of bytes.
    ///
    /// # Errors
    /// `Corrupt` when they are broken.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let message: ReplyMessage = unversioned("task reply", REPLY_VERSION, bytes)?;
        let usage = message.usage.unwrap_or_default();
        let outcome = match message.outcome {
            Some(Outcome::Report(report)) => Ok(Payload::of_message(Some(report))?),
            Some(Outcome::Failure(failure)) => Err(failure.error()),
            None => return Err(Error::corrupt("a task reply says nothing")),
        };
        let usage = WorkerUsage {
            elapsed_ms: usage.elapsed_ms,
            peak_memory_bytes: usage.peak_memory_bytes,
            earlier_requests: usage.earlier_requests,
            process: usage.process,
        };
        Ok(Self { outcome, usage })
    }
}

#[cfg(test)]
mod tests {
    use icecap_table::ErrorKind;

    use super::*;

    const USAGE: WorkerUsage =
        WorkerUsage { elapsed_ms: 5, peak_memory_bytes: 300, earlier_requests: 2, process: 7 };

    #[test]
    fn the_encoding_of_a_reply_is_frozen() {
        let done = TaskReply { outcome: Ok(Payload::Inline(vec![1, 2].into())), usage: USAGE };
        let expected: &[u8] = b"\x01\x0a\x04\x0a\x02\x01\x02\x1a\x09\x08\x05\x10\xac\x02\x18\x02\x20\x07";
        assert_eq!(done.encode_without(&[]), expected);
        let failed = TaskReply { outcome: Err(Error::exhausted("full")), usage: WorkerUsage::default() };
        let expected: &[u8] = b"\x01\x12\x11\x0a\x09exhausted\x12\x04full\x1a\x00";
        assert_eq!(failed.encode_without(&[]), expected);
    }

    #[test]
    fn a_reply_survives_the_round_trip() {
        let done = TaskReply { outcome: Ok(Payload::Inline(vec![1, 2].into())), usage: USAGE };
        let back = TaskReply::decode(&done.encode_without(&[])).unwrap();
        assert_eq!(back.usage, USAGE);
        assert_eq!(back.outcome.unwrap(), done.outcome.unwrap());
        for bytes in [&b""[..], b"\x01", b"\x02\x0a\x00", b"\x01\x0a\x00"] {
            assert_eq!(TaskReply::decode(bytes).unwrap_err().kind(), ErrorKind::Corrupt, "{bytes:?}");
        }
    }
}
