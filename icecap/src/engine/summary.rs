//! What a statement without rows tells its user.

use std::time::Duration;

use icecap_table::commit::Committed;

/// What a write did.
#[derive(Debug, Clone, PartialEq)]
pub struct WriteSummary {
    /// Athena's SubstatementType word.
    pub statement: String,
    /// The full name of the table, or of the namespace.
    pub table: String,
    /// Rows added, where the statement adds rows.
    pub rows_inserted: Option<u64>,
    /// Rows changed, where the statement changes rows.
    pub rows_updated: Option<u64>,
    /// Rows removed, where the statement removes rows.
    pub rows_deleted: Option<u64>,
    /// Data files written.
    pub data_files: u64,
    /// Delete files written, where the statement writes them.
    pub delete_files: Option<u64>,
    /// Bytes of all files written.
    pub bytes_written: u64,
    /// The snapshot made, where one was.
    pub snapshot_id: Option<i64>,
    /// From the statement's start to its publication.
    pub seconds: f64,
}

/// What a statement without rows and files did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DoneSummary {
    /// Athena's SubstatementType word.
    pub statement: String,
    /// The table or namespace concerned.
    pub table: Option<String>,
}

impl WriteSummary {
    /// The summary of a write that changed one table.
    pub(crate) fn of(committed: &Committed, elapsed: Duration) -> Self {
        let table = committed.tables.first();
        let sum =
            |of: fn(&icecap_table::commit::CommittedTable) -> u64| committed.tables.iter().map(of).sum();
        Self {
            statement: committed.statement.clone(),
            table: table.map_or_else(String::new, |t| match t.name.is_empty() {
                true => t.namespace.join("."),
                false => format!("{}.{}", t.namespace.join("."), t.name),
            }),
            rows_inserted: Some(sum(|t| t.added_rows)),
            rows_updated: None,
            rows_deleted: None,
            data_files: sum(|t| t.added_data_files),
            delete_files: None,
            bytes_written: sum(|t| t.added_bytes),
            snapshot_id: table.and_then(|t| t.snapshot_id),
            seconds: elapsed.as_secs_f64(),
        }
    }
}
