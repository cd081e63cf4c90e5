//! [`DeleteFile`]: what a manifest says of a file that deletes rows of others.

use std::collections::BTreeMap;

use iceberg::spec::{Datum, Literal};

/// How a delete file tells which rows it deletes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeleteKind {
    /// By pairs of data file and position.
    PositionDeletes,
    /// By a bitmap of positions in the one data file that it refers to.
    DeletionVector,
    /// By the values of the columns of these field ids, in which NULL equals NULL.
    EqualityDeletes {
        /// The columns.
        field_ids: Vec<i32>,
    },
}

/// A live delete file of a snapshot.
#[derive(Debug, Clone, PartialEq)]
pub struct DeleteFile {
    /// How it tells which rows it deletes.
    pub kind: DeleteKind,
    /// Its location, byte for byte as in its manifest. Several deletion vectors may share one file.
    pub path: String,
    /// Size of the whole file in bytes.
    pub file_size_bytes: u64,
    /// Its rows, or the positions of a deletion vector.
    pub record_count: u64,
    /// Where a deletion vector's blob begins, and its length in bytes.
    pub content_range: Option<(i64, i64)>,
    /// The partition spec that [`partition`](Self::partition) belongs to.
    pub spec_id: i32,
    /// The partition tuple in the spec's order.
    pub partition: Vec<Option<Literal>>,
    /// The sequence number that data files' are compared with.
    pub data_sequence_number: i64,
    /// The only data file that it takes rows from, where it says so.
    pub referenced_data_file: Option<String>,
    /// Texts between which the locations of all data files lie that position deletes take rows from.
    pub path_bounds: Option<(String, String)>,
    /// NULLs per field id of the columns of equality deletes.
    pub null_counts: BTreeMap<i32, u64>,
    /// Lower bounds per field id of the columns of equality deletes, perhaps truncated.
    pub lower_bounds: BTreeMap<i32, Datum>,
    /// Upper bounds per field id of the columns of equality deletes, perhaps truncated.
    pub upper_bounds: BTreeMap<i32, Datum>,
}

impl DeleteFile {
    /// Whether it is a deletion vector.
    pub fn is_deletion_vector(&self) -> bool {
        self.kind == DeleteKind::DeletionVector
    }

    /// Whether it deletes by values.
    pub fn is_equality(&self) -> bool {
        matches!(self.kind, DeleteKind::EqualityDeletes { .. })
    }

    /// Whether position deletes may name the data file at `path`.
    pub(super) fn may_name(&self, path: &str) -> bool {
        self.path_bounds.as_ref().is_none_or(|(low, high)| low.as_str() <= path && path <= high.as_str())
    }
}
