//! What a statement without rows tells its user.

use std::time::Duration;

use icecap_table::commit::{Committed, StatementKind};

use super::races::Races;
use crate::dispatch::usage::{AttemptUsage, ExchangeUsage, Outcome, Place};

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
    /// What its tasks cost; nothing when none was run for it now.
    pub cost: Option<Cost>,
    /// What races cost that it lost; nothing when it lost none.
    pub races: Option<Races>,
}

/// What a statement's tasks took, all attempts together.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cost {
    /// Where they ran.
    pub place: Place,
    /// Attempts, whatever became of them.
    pub attempts: u64,
    /// Those of them that gave no result that was used.
    pub failed_attempts: u64,
    /// Those of them that a process had to be started for.
    pub cold_starts: u64,
    /// The attempts' time as seen from here, added up, in milliseconds.
    pub wall_ms: u64,
    /// Time that is paid for, in milliseconds, where that is known.
    pub billed_ms: Option<u64>,
    /// GB-seconds that are paid for, where that is known.
    pub gb_seconds: Option<f64>,
    /// What they moved through exchanges.
    pub exchange: ExchangeUsage,
}

impl Cost {
    /// The sum of some attempts; nothing of none.
    pub(crate) fn of(attempts: &[AttemptUsage]) -> Option<Self> {
        let first = attempts.first()?;
        let count =
            |wanted: fn(&AttemptUsage) -> bool| attempts.iter().filter(|usage| wanted(usage)).count() as u64;
        // What is known of some attempts only is told of those.
        let billed = attempts.iter().filter_map(|usage| usage.finish.billed_ms).reduce(|a, b| a + b);
        Some(Self {
            place: first.place,
            attempts: attempts.len() as u64,
            failed_attempts: count(|usage| usage.outcome != Outcome::Succeeded),
            cold_starts: count(|usage| usage.finish.cold == Some(true)),
            wall_ms: attempts.iter().map(|usage| usage.wall_ms).sum(),
            billed_ms: billed,
            gb_seconds: attempts.iter().filter_map(AttemptUsage::gb_seconds).reduce(|a, b| a + b),
            exchange: attempts
                .iter()
                .map(|usage| usage.exchange)
                .fold(ExchangeUsage::default(), ExchangeUsage::plus),
        })
    }
}

/// What a statement without rows and files did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DoneSummary {
    /// Athena's SubstatementType word.
    pub statement: String,
    /// The table or namespace concerned.
    pub table: Option<String>,
    /// What else it counted, in this order: `snapshots_expired`, say.
    pub counts: Vec<(&'static str, u64)>,
}

impl WriteSummary {
    /// The summary of a write that changed one table.
    pub(crate) fn of(committed: &Committed, elapsed: Duration, cost: Option<Cost>) -> Self {
        let table = committed.tables.first();
        let sum =
            |of: fn(&icecap_table::commit::CommittedTable) -> u64| committed.tables.iter().map(of).sum();
        let kind = StatementKind::parse(&committed.statement);
        // What changes rows counts them; of what adds rows, they are those of its files.
        let (inserted, updated, deleted) = match kind {
            Some(StatementKind::Delete) => (None, None, Some(sum(|t| t.rows.deleted))),
            Some(StatementKind::Update) => (None, Some(sum(|t| t.rows.updated)), None),
            Some(StatementKind::Merge) => {
                (Some(sum(|t| t.rows.inserted)), Some(sum(|t| t.rows.updated)), Some(sum(|t| t.rows.deleted)))
            }
            _ => (Some(sum(|t| t.added_rows)), None, None),
        };
        let writes_deletes =
            matches!(kind, Some(StatementKind::Delete | StatementKind::Update | StatementKind::Merge));
        Self {
            statement: committed.statement.clone(),
            table: table.map_or_else(String::new, |t| match t.name.is_empty() {
                true => t.namespace.join("."),
                false => format!("{}.{}", t.namespace.join("."), t.name),
            }),
            rows_inserted: inserted,
            rows_updated: updated,
            rows_deleted: deleted,
            data_files: sum(|t| t.added_data_files),
            delete_files: writes_deletes.then(|| sum(|t| t.added_delete_files)),
            bytes_written: sum(|t| t.added_bytes),
            snapshot_id: table.and_then(|t| t.snapshot_id),
            seconds: elapsed.as_secs_f64(),
            cost,
            races: None,
        }
    }
}
