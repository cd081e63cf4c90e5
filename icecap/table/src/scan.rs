//! What a scan reads: the data files of a snapshot that may hold rows of a filter, and what is deleted of them.
//!
//! [`plan_files`] walks manifest list and manifests, skips what the filter excludes, and hands out
//! [`ScanFile`]s with everything inherited that Iceberg leaves to the manifest (sequence numbers, row ids), each with
//! the [`DeleteFile`]s that apply to it. [`TableStatistics`] sums them up. What it cannot read truly it refuses:
//! encrypted files, formats other than Parquet (and Puffin, for deletion vectors).
//!
//! No data or delete file is opened here and no row is read; splitting files among workers is the engine's.

mod delete_index;
mod delete_manifest;
mod deletes;
mod manifest;
mod plan;
mod statistics;

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::BTreeMap;

use iceberg::spec::{Datum, Literal, PrimitiveType, Transform};

pub use deletes::{DeleteFile, DeleteKind};
pub use plan::{MetricsKept, ScanRequest, plan_files};
pub use statistics::{ColumnStatistics, Exactness, TableStatistics};

use crate::expr::{FileMetrics, PartitionValue};

/// A live data file of a snapshot.
#[derive(Debug, Clone, PartialEq)]
pub struct ScanFile {
    /// Its location, byte for byte as in its manifest.
    pub path: String,
    /// Size in bytes.
    pub file_size_bytes: u64,
    /// Rows.
    pub record_count: u64,
    /// The partition spec that [`partition`](Self::partition) belongs to.
    pub spec_id: i32,
    /// The partition tuple in the spec's order.
    pub partition: Vec<Option<Literal>>,
    /// The sequence number that delete files are compared with.
    pub data_sequence_number: i64,
    /// The sequence number of the snapshot that added the file.
    pub file_sequence_number: i64,
    /// The row id of the file's first row, where the table keeps row ids (V3).
    pub first_row_id: Option<i64>,
    /// The sort order that the rows follow, where they follow one.
    pub sort_order_id: Option<i32>,
    /// First byte of each row group, ascending; perhaps empty.
    pub split_offsets: Vec<i64>,
    /// Whether metadata alone shows that every row satisfies the filter.
    pub all_rows_match: bool,
    /// The delete files that apply to it, as indices into [`ScanPlan::deletes`], ascending. Sequence numbers,
    /// specs and partitions are seen to; beside a deletion vector there are no position deletes.
    pub deletes: Vec<usize>,
    /// NULLs per field id.
    pub null_counts: BTreeMap<i32, u64>,
    /// Values, NULLs included, per field id.
    pub value_counts: BTreeMap<i32, u64>,
    /// NaNs per field id.
    pub nan_counts: BTreeMap<i32, u64>,
    /// Lower bounds per field id, perhaps truncated, in the type that the column had in the manifest.
    pub lower_bounds: BTreeMap<i32, Datum>,
    /// Upper bounds per field id, perhaps truncated, in the type that the column had in the manifest.
    pub upper_bounds: BTreeMap<i32, Datum>,
}

impl FileMetrics for ScanFile {
    fn spec_id(&self) -> i32 {
        self.spec_id
    }

    fn record_count(&self) -> u64 {
        self.record_count
    }

    fn partition_value(&self, index: usize, _: &Transform, _: &PrimitiveType) -> PartitionValue {
        PartitionValue::of_tuple(&self.partition, index)
    }

    fn value_count(&self, field_id: i32) -> Option<u64> {
        self.value_counts.get(&field_id).copied()
    }

    fn null_count(&self, field_id: i32) -> Option<u64> {
        self.null_counts.get(&field_id).copied()
    }

    fn nan_count(&self, field_id: i32) -> Option<u64> {
        self.nan_counts.get(&field_id).copied()
    }

    fn lower_bound(&self, field_id: i32, _: &PrimitiveType) -> Option<Cow<'_, Datum>> {
        self.lower_bounds.get(&field_id).map(Cow::Borrowed)
    }

    fn upper_bound(&self, field_id: i32, _: &PrimitiveType) -> Option<Cow<'_, Datum>> {
        self.upper_bounds.get(&field_id).map(Cow::Borrowed)
    }
}

/// The files that a scan must read, and what planning it skipped.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ScanPlan {
    /// The files, in the order of the manifests.
    pub files: Vec<ScanFile>,
    /// The delete files that apply to one of them at least.
    pub deletes: Vec<DeleteFile>,
    /// Whether every row of every file satisfies the filter, so that it need not be evaluated again.
    pub filter_is_exact: bool,
    /// Data manifests with live files.
    pub manifests_total: u64,
    /// Those that were read; the others were excluded by their partition summaries.
    pub manifests_read: u64,
    /// Delete manifests with live files.
    pub delete_manifests_total: u64,
    /// Those that were read; the others were excluded by their partition summaries.
    pub delete_manifests_read: u64,
    /// Live files in all of them, where the manifest list counts those of the manifests not read.
    pub files_total: u64,
    /// Files excluded with their whole manifest.
    pub files_pruned_by_manifest: u64,
    /// Files excluded by their partition tuple.
    pub files_pruned_by_partition: u64,
    /// Files excluded by bounds and counts.
    pub files_pruned_by_metrics: u64,
    /// Rows of the files kept, those that are deleted included.
    pub rows: u64,
    /// Bytes of the files kept.
    pub bytes: u64,
}
