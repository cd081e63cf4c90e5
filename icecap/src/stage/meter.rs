//! What every attempt took, winners and losers alike: the lines that a statement's cost is summed from.

use icecap_table::ErrorKind;

use crate::plan::TaskReport;

/// One attempt of one task.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AttemptRecord {
    /// The stage.
    pub stage: u32,
    /// The task within it.
    pub task: u32,
    /// Which try it was.
    pub attempt: u32,
    /// Why it failed; nothing when it reported.
    pub failed: Option<ErrorKind>,
    /// From handing it to the executor until its answer.
    pub elapsed_ms: u64,
    /// Bytes of the task as it was sent.
    pub task_bytes: u64,
    /// Rows that it read from tables and sources.
    pub rows_read: u64,
    /// Rows of the files that it staged.
    pub rows_written: u64,
    /// Bytes of them.
    pub bytes_written: u64,
    /// Bytes that it read of earlier stages.
    pub exchange_bytes_read: u64,
    /// Bytes that it stored for later stages.
    pub exchange_bytes_written: u64,
    /// Bytes that its operators spilled.
    pub spilled_bytes: u64,
    /// The most memory that it held, as far as its executor saw.
    pub peak_memory_bytes: u64,
}

impl AttemptRecord {
    /// The same attempt with what its report says.
    pub(super) fn reported(mut self, report: &TaskReport) -> Self {
        self.rows_read = report.rows_read;
        self.rows_written = report.rows_written;
        self.bytes_written = report.bytes_written;
        self.exchange_bytes_read = report.exchange_bytes_read;
        self.exchange_bytes_written = report.exchange.as_ref().map_or(0, |object| object.size_bytes);
        self.spilled_bytes = report.spilled_bytes;
        self.peak_memory_bytes = report.peak_memory_bytes;
        self
    }
}
