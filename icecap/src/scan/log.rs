//! What the scans of one statement were planned to read, for whoever explains the statement.

use std::sync::{Arc, Mutex, PoisonError};

use icecap_table::scan::{DeleteKind, ScanPlan};

/// One planned scan.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PlannedScan {
    /// The table.
    pub table: String,
    /// The snapshot read; `None`: the table has none.
    pub snapshot: Option<i64>,
    /// The filter that files were judged by, where there is one.
    pub filter: Option<String>,
    /// Data manifests with live files.
    pub manifests_total: u64,
    /// Those that were read.
    pub manifests_read: u64,
    /// Live files.
    pub files_total: u64,
    /// Files to read.
    pub files: u64,
    /// Files excluded with their whole manifest.
    pub pruned_by_manifest: u64,
    /// Files excluded by their partition tuple.
    pub pruned_by_partition: u64,
    /// Files excluded by bounds and counts.
    pub pruned_by_metrics: u64,
    /// Deletion vectors of the files to read.
    pub deletion_vectors: u64,
    /// Position delete files of the files to read.
    pub position_delete_files: u64,
    /// Equality delete files of the files to read.
    pub equality_delete_files: u64,
    /// Rows of the files to read.
    pub rows: u64,
    /// Bytes of the files to read.
    pub bytes: u64,
}

impl PlannedScan {
    pub(super) fn of(table: String, snapshot: i64, filter: Option<String>, plan: &ScanPlan) -> Self {
        let count =
            |is: fn(&DeleteKind) -> bool| plan.deletes.iter().filter(|file| is(&file.kind)).count() as u64;
        Self {
            table,
            snapshot: Some(snapshot),
            filter,
            manifests_total: plan.manifests_total,
            manifests_read: plan.manifests_read,
            files_total: plan.files_total,
            files: plan.files.len() as u64,
            pruned_by_manifest: plan.files_pruned_by_manifest,
            pruned_by_partition: plan.files_pruned_by_partition,
            pruned_by_metrics: plan.files_pruned_by_metrics,
            deletion_vectors: count(|kind| *kind == DeleteKind::DeletionVector),
            position_delete_files: count(|kind| *kind == DeleteKind::PositionDeletes),
            equality_delete_files: count(|kind| matches!(kind, DeleteKind::EqualityDeletes { .. })),
            rows: plan.rows,
            bytes: plan.bytes,
        }
    }
}

/// Collects planned scans, in the order of planning; clones share one list.
#[derive(Debug, Clone, Default)]
pub struct ScanLog {
    scans: Arc<Mutex<Vec<PlannedScan>>>,
}

impl ScanLog {
    /// What was collected.
    pub fn scans(&self) -> Vec<PlannedScan> {
        self.scans.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn add(&self, scan: PlannedScan) {
        self.scans.lock().unwrap_or_else(PoisonError::into_inner).push(scan);
    }
}
