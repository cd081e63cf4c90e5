//! [`TaskReport`]: the versioned message of what one attempt of a task did.

use icecap_table::Result;
use icecap_table::staged_file::StagedFile;
use prost::Message;

use super::task::{unversioned, versioned};
use crate::exchange::{ExchangeObject, ObjectMessage};
use crate::write::{ActedRows, FilePositions};

/// The version byte of a report. (1 was of single-stage writes only.)
pub const REPORT_VERSION: u8 = 2;

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
    /// The rows that it found to be deleted or changed, by data file.
    pub positions: Vec<FilePositions>,
    /// How many rows it inserts, changes and deletes, where its statement changes rows.
    pub acted: ActedRows,
    /// The object that it stored for the stages above, where its task asked for one.
    pub exchange: Option<ExchangeObject>,
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
    /// Bytes that it read of earlier stages' objects.
    pub exchange_bytes_read: u64,
    /// Requests that it made of the exchange's store, to write and to read.
    pub exchange_requests: u64,
    /// Bytes that its operators spilled to disk.
    pub spilled_bytes: u64,
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
    #[prost(message, optional, tag = "10")]
    exchange: Option<ObjectMessage>,
    #[prost(uint64, tag = "11")]
    exchange_bytes_read: u64,
    #[prost(uint64, tag = "12")]
    spilled_bytes: u64,
    /// Each in its own encoding.
    #[prost(bytes = "vec", repeated, tag = "13")]
    positions: Vec<Vec<u8>>,
    #[prost(uint64, tag = "14")]
    inserted: u64,
    #[prost(uint64, tag = "15")]
    updated: u64,
    #[prost(uint64, tag = "17")]
    deleted: u64,
    #[prost(uint64, tag = "16")]
    exchange_requests: u64,
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
            exchange: self.exchange.as_ref().map(ObjectMessage::of),
            exchange_bytes_read: self.exchange_bytes_read,
            spilled_bytes: self.spilled_bytes,
            positions: self.positions.iter().map(FilePositions::encode).collect(),
            inserted: self.acted.inserted,
            updated: self.acted.updated,
            deleted: self.acted.deleted,
            exchange_requests: self.exchange_requests,
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
            exchange: message.exchange.as_ref().map(ObjectMessage::object).transpose()?,
            exchange_bytes_read: message.exchange_bytes_read,
            spilled_bytes: message.spilled_bytes,
            positions: message
                .positions
                .iter()
                .map(|positions| FilePositions::decode(positions))
                .collect::<Result<_>>()?,
            acted: ActedRows {
                inserted: message.inserted,
                updated: message.updated,
                deleted: message.deleted,
            },
            exchange_requests: message.exchange_requests,
        })
    }
}
