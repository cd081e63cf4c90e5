//! [`WriteTask`] and [`TaskReport`]: the versioned messages between a planner and whoever executes.
//!
//! A task is self-contained: one stage's plan, and how to run it. The statement's text is not in it. Each
//! message is a version byte and a protobuf message.

use std::sync::Arc;

use datafusion::execution::TaskContext;
use datafusion::physical_plan::ExecutionPlan;
use datafusion_proto::bytes::{
    physical_plan_from_bytes_with_proto_converter, physical_plan_to_bytes_with_proto_converter,
};
use datafusion_proto::physical_plan::DeduplicatingProtoConverter;
use icecap_table::id::WriteId;
use icecap_table::staged_file::StagedFile;
use icecap_table::{Error, Result};
use prost::Message;

use super::codec::IcecapCodec;
use super::error::from_datafusion;

/// The version byte of a task.
pub const TASK_VERSION: u8 = 1;
/// The version byte of a report.
pub const REPORT_VERSION: u8 = 1;

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
    /// Which try of the task this is, from 0.
    pub attempt: u32,
    /// The plan, in DataFusion's encoding with [`IcecapCodec`].
    pub plan: Vec<u8>,
    /// The memory that its operators may take; `None`: the executor's own limit.
    pub memory_bytes: Option<u64>,
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
}

impl WriteTask {
    /// The only task of a single-stage write.
    ///
    /// # Errors
    /// `Unsupported` when the plan holds an operator that cannot travel.
    pub fn single(
        write_id: WriteId,
        round: u32,
        root: Arc<dyn ExecutionPlan>,
        codec: &IcecapCodec,
    ) -> Result<Self> {
        let plan = physical_plan_to_bytes_with_proto_converter(root, codec, &DeduplicatingProtoConverter {})
            .map_err(from_datafusion)?;
        Ok(Self {
            build_id: BUILD_ID.to_owned(),
            write_id,
            round,
            stage: 0,
            task: 0,
            attempt: 0,
            plan: plan.to_vec(),
            memory_bytes: None,
        })
    }

    /// The plan, to be run in `context`.
    ///
    /// # Errors
    /// `Corrupt` when it cannot be decoded.
    pub fn plan(&self, context: &TaskContext, codec: &IcecapCodec) -> Result<Arc<dyn ExecutionPlan>> {
        physical_plan_from_bytes_with_proto_converter(
            &self.plan,
            context,
            codec,
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
        Ok(Self {
            write_id: message.write_id.parse()?,
            build_id: message.build_id,
            round: message.round,
            stage: message.stage,
            task: message.task,
            attempt: message.attempt,
            plan: message.plan,
            memory_bytes: message.memory_bytes,
        })
    }
}

/// What one attempt of a task did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TaskReport {
    /// The stage it ran.
    pub stage: u32,
    /// The task it ran.
    pub task: u32,
    /// Which try it was.
    pub attempt: u32,
    /// The files that it staged.
    pub staged_files: Vec<StagedFile>,
    /// Rows that it read from tables and sources.
    pub rows_read: u64,
    /// Rows in the staged files.
    pub rows_written: u64,
    /// Bytes of the staged files.
    pub bytes_written: u64,
    /// How long it ran.
    pub elapsed_ms: u64,
    /// The most memory that its operators held at once, as far as the executor saw.
    pub peak_memory_bytes: u64,
}

#[derive(Clone, PartialEq, Message)]
struct ReportMessage {
    #[prost(uint32, tag = "1")]
    stage: u32,
    #[prost(uint32, tag = "2")]
    task: u32,
    #[prost(uint32, tag = "3")]
    attempt: u32,
    /// Each in its own versioned encoding.
    #[prost(bytes = "vec", repeated, tag = "4")]
    staged_files: Vec<Vec<u8>>,
    #[prost(uint64, tag = "5")]
    rows_read: u64,
    #[prost(uint64, tag = "6")]
    rows_written: u64,
    #[prost(uint64, tag = "7")]
    bytes_written: u64,
    #[prost(uint64, tag = "8")]
    elapsed_ms: u64,
    #[prost(uint64, tag = "9")]
    peak_memory_bytes: u64,
}

impl TaskReport {
    /// The report's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let message = ReportMessage {
            stage: self.stage,
            task: self.task,
            attempt: self.attempt,
            staged_files: self.staged_files.iter().map(StagedFile::encode).collect(),
            rows_read: self.rows_read,
            rows_written: self.rows_written,
            bytes_written: self.bytes_written,
            elapsed_ms: self.elapsed_ms,
            peak_memory_bytes: self.peak_memory_bytes,
        };
        versioned(REPORT_VERSION, &message)
    }

    /// The report of bytes.
    ///
    /// # Errors
    /// `Corrupt` when they are broken.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let message: ReportMessage = unversioned("task report", REPORT_VERSION, bytes)?;
        Ok(Self {
            stage: message.stage,
            task: message.task,
            attempt: message.attempt,
            staged_files: message
                .staged_files
                .iter()
                .map(|file| StagedFile::decode(file))
                .collect::<Result<_>>()?,
            rows_read: message.rows_read,
            rows_written: message.rows_written,
            bytes_written: message.bytes_written,
            elapsed_ms: message.elapsed_ms,
            peak_memory_bytes: message.peak_memory_bytes,
        })
    }
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
