//! [`WriteTask`]: the versioned message from a planner to whoever executes.
//!
//! A task is self-contained: one stage's plan for one task, what it reads of earlier stages, where its rows go,
//! and its limits. The statement's text is not in it. It is a version byte and a protobuf message; what comes
//! back is a [`TaskReport`](super::TaskReport).

use std::sync::Arc;

use datafusion::execution::TaskContext;
use datafusion::physical_plan::ExecutionPlan;
use datafusion_proto::bytes::{
    physical_plan_from_bytes_with_proto_converter, physical_plan_to_bytes_with_proto_converter,
};
use datafusion_proto::physical_plan::DeduplicatingProtoConverter;
use icecap_table::id::WriteId;
use icecap_table::{Error, Result};
use prost::Message;

use super::codec::IcecapCodec;
use super::error::from_datafusion;
use crate::exchange::{ExchangeInput, InputMessage};

/// The version byte of a task. (1 was of single-stage writes only.)
pub const TASK_VERSION: u8 = 2;

/// What both ends of a task must share: a plan's encoding changes with the engine's version.
pub const BUILD_ID: &str = concat!("icecap-", env!("CARGO_PKG_VERSION"), "+datafusion-55.2");

/// One task of a write: a stage's physical plan, and how to run it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriteTask {
    /// The build that made it.
    pub build_id: String,
    /// The write it belongs to.
    pub write_id: WriteId,
    /// The write's round in the ledger.
    pub round: u32,
    /// The stage, from 0.
    pub stage: u32,
    /// The task within the stage, from 0.
    pub task: u32,
    /// How many tasks the stage has.
    pub task_count: u32,
    /// Which try of the task this is, from 0.
    pub attempt: u32,
    /// A word of letters and digits that no other attempt has. Whoever runs the task adds one of its own, so that
    /// bytes that are delivered twice stage different files.
    pub nonce: String,
    /// The plan, in DataFusion's encoding with [`IcecapCodec`].
    pub plan: Vec<u8>,
    /// What it reads of earlier stages.
    pub inputs: Vec<ExchangeInput>,
    /// Where its rows go.
    pub output: TaskOutput,
    /// The memory that its operators may take; `None`: the executor's own limit.
    pub memory_bytes: Option<u64>,
    /// When it has to have ended, in milliseconds since the Unix epoch; whoever runs it stops it then.
    pub deadline_ms: Option<i64>,
}

/// Where a task's rows go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TaskOutput {
    /// Into the report: the plan ends in a writer, and its rows describe staged files.
    Rows,
    /// Into one object of an exchange.
    Exchange {
        /// The folder for the object. Its name is the attempt's prefix and `exchange`.
        location: String,
        /// How many partitions the task has.
        partitions: u32,
        /// Whether every consumer reads all of it. It is stored once all the same.
        replicate: bool,
    },
}

#[derive(Clone, PartialEq, Message)]
struct TaskMessage {
    #[prost(string, tag = "1")]
    build_id: String,
    #[prost(string, tag = "2")]
    write_id: String,
    #[prost(uint32, tag = "3")]
    round: u32,
    #[prost(uint32, tag = "4")]
    stage: u32,
    #[prost(uint32, tag = "5")]
    task: u32,
    #[prost(uint32, tag = "6")]
    attempt: u32,
    #[prost(bytes = "vec", tag = "7")]
    plan: Vec<u8>,
    #[prost(uint64, optional, tag = "8")]
    memory_bytes: Option<u64>,
    #[prost(uint32, tag = "9")]
    task_count: u32,
    #[prost(string, tag = "10")]
    nonce: String,
    #[prost(message, repeated, tag = "11")]
    inputs: Vec<InputMessage>,
    /// Absent: into the report.
    #[prost(message, optional, tag = "12")]
    exchange: Option<OutputMessage>,
    #[prost(int64, optional, tag = "13")]
    deadline_ms: Option<i64>,
}

#[derive(Clone, PartialEq, Message)]
struct OutputMessage {
    #[prost(string, tag = "1")]
    location: String,
    #[prost(uint32, tag = "2")]
    partitions: u32,
    #[prost(bool, tag = "3")]
    replicate: bool,
}

impl WriteTask {
    /// The only task of a single-stage write.
    ///
    /// # Errors
    /// `Unsupported` when the plan holds an operator that cannot travel.
    pub fn single(
        write_id: WriteId,
        round: u32,
        nonce: impl Into<String>,
        root: Arc<dyn ExecutionPlan>,
        codec: &IcecapCodec,
    ) -> Result<Self> {
        Ok(Self {
            build_id: BUILD_ID.to_owned(),
            write_id,
            round,
            stage: 0,
            task: 0,
            task_count: 1,
            attempt: 0,
            nonce: nonce.into(),
            plan: encode_plan(root, codec)?,
            inputs: Vec::new(),
            output: TaskOutput::Rows,
            memory_bytes: None,
            deadline_ms: None,
        })
    }

    /// What the base names of all that this attempt stores begin with.
    pub fn file_prefix(&self) -> String {
        let Self { write_id, stage, task, attempt, nonce, .. } = self;
        format!("{write_id}-{stage}-{task}-{attempt}-{nonce}")
    }

    /// The plan, to be run in `context`: its readers know their inputs, its writers the attempt.
    ///
    /// # Errors
    /// `Corrupt` when it cannot be decoded.
    pub fn plan(&self, context: &TaskContext, codec: &IcecapCodec) -> Result<Arc<dyn ExecutionPlan>> {
        let codec = codec.clone().for_task(self);
        physical_plan_from_bytes_with_proto_converter(
            &self.plan,
            context,
            &codec,
            &DeduplicatingProtoConverter {},
        )
        .map_err(from_datafusion)
    }

    /// The task's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let message = TaskMessage {
            build_id: self.build_id.clone(),
            write_id: self.write_id.to_string(),
            round: self.round,
            stage: self.stage,
            task: self.task,
            attempt: self.attempt,
            plan: self.plan.clone(),
            memory_bytes: self.memory_bytes,
            task_count: self.task_count,
            nonce: self.nonce.clone(),
            inputs: self.inputs.iter().map(InputMessage::of).collect(),
            exchange: match &self.output {
                TaskOutput::Rows => None,
                TaskOutput::Exchange { location, partitions, replicate } => Some(OutputMessage {
                    location: location.clone(),
                    partitions: *partitions,
                    replicate: *replicate,
                }),
            },
            deadline_ms: self.deadline_ms,
        };
        versioned(TASK_VERSION, &message)
    }

    /// The task of bytes.
    ///
    /// # Errors
    /// `Invalid` when another build made it; `Corrupt` when it is broken.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let message: TaskMessage = unversioned("task", TASK_VERSION, bytes)?;
        if message.build_id != BUILD_ID {
            return Err(Error::invalid(format!(
                "the task was made by build {:?} and this is {BUILD_ID:?}: deploy the same version everywhere",
                message.build_id
            )));
        }
        if message.nonce.is_empty() || !message.nonce.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(Error::corrupt("a task's nonce is not of letters and digits"));
        }
        Ok(Self {
            write_id: message.write_id.parse()?,
            build_id: message.build_id,
            round: message.round,
            stage: message.stage,
            task: message.task,
            attempt: message.attempt,
            plan: message.plan,
            memory_bytes: message.memory_bytes,
            task_count: message.task_count,
            nonce: message.nonce,
            inputs: message.inputs.iter().map(InputMessage::input).collect::<Result<_>>()?,
            output: match message.exchange {
                None => TaskOutput::Rows,
                Some(OutputMessage { location, partitions, replicate }) => {
                    TaskOutput::Exchange { location, partitions, replicate }
                }
            },
            deadline_ms: message.deadline_ms,
        })
    }
}

/// A plan's bytes.
///
/// # Errors
/// `Unsupported` when the plan holds an operator that cannot travel.
pub fn encode_plan(root: Arc<dyn ExecutionPlan>, codec: &IcecapCodec) -> Result<Vec<u8>> {
    physical_plan_to_bytes_with_proto_converter(root, codec, &DeduplicatingProtoConverter {})
        .map(|bytes| bytes.to_vec())
        .map_err(from_datafusion)
}

pub(crate) fn versioned(version: u8, message: &impl Message) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(1 + message.encoded_len());
    bytes.push(version);
    bytes.extend(message.encode_to_vec());
    bytes
}

pub(crate) fn unversioned<M: Message + Default>(what: &str, version: u8, bytes: &[u8]) -> Result<M> {
    match bytes.split_first() {
        Some((first, rest)) if *first == version => M::decode(rest)
            .map_err(|error| Error::corrupt(format!("a {what} cannot be read")).with_source(error)),
        Some((first, _)) => {
            Err(Error::corrupt(format!("a {what} of version {first}: version {version} is known")))
        }
        None => Err(Error::corrupt(format!("an empty {what}"))),
    }
}

#[cfg(test)]
mod tests;
