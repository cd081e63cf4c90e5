//! [`TaskRequest`]: what a worker in another process is sent.

use std::time::Duration;

use icecap_table::Result;
use prost::Message;

use super::payload::{Payload, PayloadMessage};
use super::policy::{PolicyMessage, TaskPolicy};
use crate::plan::task::{unversioned, versioned};

/// The version byte of a request.
pub const REQUEST_VERSION: u8 = 1;

/// A task, and what is needed to run it elsewhere. Credentials are not in it: a worker has its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskRequest {
    /// The encoded [`WriteTask`](crate::plan::WriteTask).
    pub task: Payload,
    /// Bound of what operators and writers hold; `None`: the worker's own.
    pub memory_bytes: Option<u64>,
    /// Where operators spill; `None`: the worker's own.
    pub temp_dir: Option<String>,
    /// How long the attempt may take; `None`: as long as the worker may.
    pub limit: Option<Duration>,
    /// The largest report that is wanted in the reply, in bytes.
    pub inline_bytes: u64,
    /// A folder's location: larger reports are stored in it. `None`: they come in the reply all the same.
    pub reply_folder: Option<String>,
    /// Where its plan may read and write; `None`: wherever the worker can.
    pub policy: Option<TaskPolicy>,
}

#[derive(Clone, PartialEq, Message)]
struct RequestMessage {
    #[prost(message, optional, tag = "1")]
    task: Option<PayloadMessage>,
    #[prost(uint64, optional, tag = "2")]
    memory_bytes: Option<u64>,
    #[prost(string, optional, tag = "3")]
    temp_dir: Option<String>,
    #[prost(uint64, optional, tag = "4")]
    limit_ms: Option<u64>,
    #[prost(uint64, tag = "5")]
    inline_bytes: u64,
    #[prost(string, optional, tag = "6")]
    reply_folder: Option<String>,
    #[prost(message, optional, tag = "7")]
    policy: Option<PolicyMessage>,
}

impl TaskRequest {
    /// A request of a task alone: everything else is the worker's choice, and the report comes in the reply.
    pub fn new(task: Payload) -> Self {
        Self {
            task,
            memory_bytes: None,
            temp_dir: None,
            limit: None,
            inline_bytes: u64::MAX,
            reply_folder: None,
            policy: None,
        }
    }

    /// The request's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let message = RequestMessage {
            task: Some(self.task.message()),
            memory_bytes: self.memory_bytes,
            temp_dir: self.temp_dir.clone(),
            limit_ms: self.limit.map(|limit| u64::try_from(limit.as_millis()).unwrap_or(u64::MAX)),
            inline_bytes: self.inline_bytes,
            reply_folder: self.reply_folder.clone(),
            policy: self.policy.as_ref().map(TaskPolicy::message),
        };
        versioned(REQUEST_VERSION, &message)
    }

    /// The request of bytes.
    ///
    /// # Errors
    /// `Corrupt` when they are broken.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let message: RequestMessage = unversioned("task request", REQUEST_VERSION, bytes)?;
        Ok(Self {
            task: Payload::of_message(message.task)?,
            memory_bytes: message.memory_bytes,
            temp_dir: message.temp_dir,
            limit: message.limit_ms.map(Duration::from_millis),
            inline_bytes: message.inline_bytes,
            reply_folder: message.reply_folder,
            policy: message.policy.map(TaskPolicy::of_message),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::payload::StoredObject;
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn the_encoding_of_a_request_is_frozen() {
        let inline = TaskRequest::new(Payload::Inline(vec![1, 2, 3].into()));
        assert_eq!(hex(&inline.encode()), "010a050a0301020328ffffffffffffffffff01");
        assert_eq!(TaskRequest::decode(&inline.encode()).unwrap(), inline);
        let object = StoredObject { location: "s3://b/k".into(), len: 300, sha256: [7; 32] };
        let stored = TaskRequest {
            task: Payload::Object(object),
            memory_bytes: Some(512),
            temp_dir: Some("/t".into()),
            limit: Some(Duration::from_secs(1)),
            inline_bytes: 1000,
            reply_folder: Some("s3://b/r".into()),
            policy: None,
        };
        let expected = [
            "01",
            "0a31122f0a0873333a2f2f622f6b10ac021a20",
            &"07".repeat(32),
            "108004",
            "1a022f74",
            "20e807",
            "28e807",
            "320873333a2f2f622f72",
        ];
        assert_eq!(hex(&stored.encode()), expected.concat());
        assert_eq!(TaskRequest::decode(&stored.encode()).unwrap(), stored);
        let held = TaskRequest {
            policy: Some(TaskPolicy {
                warehouse: "s3://b/w".into(),
                allow_location: vec!["s3://c".into()],
                allow_read: Some(vec!["s3://d".into()]),
            }),
            ..TaskRequest::new(Payload::Inline(vec![1].into()))
        };
        let expected = [
            "010a030a010128ffffffffffffffffff01",
            "3a1c",
            "0a0873333a2f2f622f77",
            "120673333a2f2f63",
            "1a080a0673333a2f2f64",
        ];
        assert_eq!(hex(&held.encode()), expected.concat());
        assert_eq!(TaskRequest::decode(&held.encode()).unwrap(), held);
    }

    #[test]
    fn broken_requests_are_corrupt() {
        for bytes in [&b""[..], b"\x02", b"\x01", b"\x01\x0a\x00", b"\x01\xff"] {
            let error = TaskRequest::decode(bytes).unwrap_err();
            assert_eq!(error.kind(), icecap_table::ErrorKind::Corrupt, "{bytes:?}");
        }
    }
}
