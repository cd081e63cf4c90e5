//! What a scan reads: files, slices of them, what is deleted of them, columns. It travels in a task (see [`super::wire`]).

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::arrow::array::{Array, StructArray};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use icecap_table::deletes::PositionSet;
use icecap_table::iceberg::spec::{NameMapping, NestedFieldRef, Schema, StructType, Type};
use icecap_table::scan::{DeleteFile, DeleteKind};
use icecap_table::{Error, Result};

use super::hidden::{is_lineage, lineage_field};
use crate::arrow_schema::arrow_type;
use crate::plan::error::from_datafusion;

/// A data file that a scan reads.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct DataFile {
    /// Its location, byte for byte as the manifest has it.
    pub path: String,
    /// Its length.
    pub file_size_bytes: u64,
    /// Its rows.
    pub record_count: u64,
    /// The partition spec that it was written under.
    pub spec_id: i32,
    /// Its data sequence number.
    pub data_sequence_number: i64,
    /// The row id of its first row (V3).
    pub first_row_id: Option<i64>,
    /// The columns that have one value in the whole file, because its spec partitions by their identity.
    pub constants: BTreeMap<i32, ScalarValue>,
    /// Its partition tuple in the fields of [`ScanInput::partition_type`]; empty where nobody asks for it.
    pub partition: Vec<ScalarValue>,
    /// The delete files that apply to it, as indices into [`ScanInput::deletes`].
    pub deletes: Vec<usize>,
    /// Positions that are gone beside those of the delete files.
    pub extra_deletes: Option<Arc<PositionSet>>,
}

impl DataFile {
    /// Whether rows of it may be deleted.
    pub fn has_deletes(&self) -> bool {
        !self.deletes.is_empty() || self.extra_deletes.is_some()
    }
}

/// A delete file that a scan reads.
#[derive(Debug, Clone, PartialEq)]
pub struct DeleteSource {
    /// How it tells which rows it deletes.
    pub kind: DeleteKind,
    /// Its location, byte for byte as the manifest has it.
    pub path: String,
    /// Its length.
    pub file_size_bytes: u64,
    /// Its rows, or the positions of a deletion vector.
    pub record_count: u64,
    /// Where a deletion vector's blob begins, and its length in bytes.
    pub content_range: Option<(i64, i64)>,
}

impl DeleteSource {
    /// What a scan has to know of a planned delete file.
    pub fn of(file: &DeleteFile) -> Self {
        Self {
            kind: file.kind.clone(),
            path: file.path.clone(),
            file_size_bytes: file.file_size_bytes,
            record_count: file.record_count,
            content_range: file.content_range,
        }
    }

    /// Whether it deletes by values.
    pub fn is_equality(&self) -> bool {
        matches!(self.kind, DeleteKind::EqualityDeletes { .. })
    }
}

/// A part of a data file: the row groups that begin in `start..end`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileSlice {
    /// Index of the file in the scan.
    pub file: usize,
    /// First byte.
    pub start: u64,
    /// First byte after; `None`: to the file's end.
    pub end: Option<u64>,
}

impl FileSlice {
    /// As DataFusion has it; `None`: the whole file.
    pub(crate) fn range(&self) -> Option<(i64, i64)> {
        let position = |at: u64| i64::try_from(at).unwrap_or(i64::MAX);
        (self.start > 0 || self.end.is_some())
            .then(|| (position(self.start), self.end.map_or(i64::MAX, position)))
    }
}

/// What a scan reads, without how (columns, predicate, limit).
#[derive(Debug, Clone)]
pub struct ScanInput {
    /// The table's name, for messages and EXPLAIN.
    pub table: String,
    /// The schema to read as.
    pub schema: Arc<Schema>,
    /// Ids for the columns of files that carry none.
    pub name_mapping: Option<Arc<NameMapping>>,
    /// The files.
    pub files: Vec<DataFile>,
    /// The parts of them to read.
    pub slices: Vec<FileSlice>,
    /// The delete files that apply to the files.
    pub deletes: Vec<DeleteSource>,
    /// The type of `_partition`: the fields of all partition specs.
    pub partition_type: Arc<StructType>,
    /// Columns that equality deletes look at and that the schema no longer has.
    pub dropped: Vec<NestedFieldRef>,
    /// Whether a file without one of the columns is broken, as delete files are. It does not travel.
    pub every_column_is_stored: bool,
}

impl ScanInput {
    /// The locations of all that is read: data files and delete files.
    pub fn locations(&self) -> impl Iterator<Item = &str> {
        let deletes = self.deletes.iter().map(|delete| delete.path.as_str());
        self.files.iter().map(|file| file.path.as_str()).chain(deletes)
    }

    /// A scan of no file.
    pub fn new(table: String, schema: Arc<Schema>) -> Self {
        Self {
            table,
            schema,
            name_mapping: None,
            files: Vec::new(),
            slices: Vec::new(),
            deletes: Vec::new(),
            partition_type: Arc::default(),
            dropped: Vec::new(),
            every_column_is_stored: false,
        }
    }

    /// The column of a field id: the schema's, a dropped one, or one that stores row lineage.
    ///
    /// # Errors
    /// `Unsupported` for any other, which only equality deletes can ask for.
    pub(super) fn field(&self, id: i32) -> Result<NestedFieldRef> {
        let mut known = self.schema.as_struct().fields().iter().chain(&self.dropped);
        match known.find(|field| field.id == id) {
            Some(field) => Ok(Arc::clone(field)),
            None if is_lineage(id) => lineage_field(id),
            None => Err(Error::unsupported(format!(
                "equality deletes on the field of id {id}, which is no column of the table itself, are not supported yet"
            ))),
        }
    }

    /// The columns that equality deletes of a file look at, ascending.
    pub(super) fn equality_fields(&self, file: &DataFile) -> Vec<i32> {
        let deletes = file.deletes.iter().filter_map(|at| self.deletes.get(*at));
        let mut ids: Vec<i32> = deletes
            .flat_map(|delete| match &delete.kind {
                DeleteKind::EqualityDeletes { field_ids } => field_ids.as_slice(),
                _ => &[],
            })
            .copied()
            .collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    /// A file's `_partition`.
    ///
    /// # Errors
    /// `Bug` when the file was planned without it.
    pub(super) fn partition_of(&self, file: &DataFile) -> Result<ScalarValue> {
        let DataType::Struct(fields) = arrow_type(&Type::Struct(self.partition_type.as_ref().clone()))?
        else {
            return Err(Error::bug("a partition tuple is no struct"));
        };
        if file.partition.len() != fields.len() {
            return Err(Error::bug("a file was planned without its partition"));
        }
        if fields.is_empty() {
            return Ok(ScalarValue::Struct(Arc::new(StructArray::new_empty_fields(1, None))));
        }
        let values = file.partition.iter().map(|value| value.to_array().map_err(from_datafusion));
        let tuple = StructArray::try_new(fields, values.collect::<Result<_>>()?, None)
            .map_err(|error| Error::bug("a partition tuple is not of its type").with_source(error))?;
        debug_assert_eq!(tuple.len(), 1);
        Ok(ScalarValue::Struct(Arc::new(tuple)))
    }

    /// The same scan of some of its slices, holding the files and delete files of these alone.
    #[must_use]
    pub(super) fn part(&self, slices: Vec<FileSlice>) -> Self {
        let kept = distinct(slices.iter().map(|slice| slice.file));
        let mut files: Vec<DataFile> = kept.iter().filter_map(|at| self.files.get(*at).cloned()).collect();
        let kept_deletes = distinct(files.iter().flat_map(|file| file.deletes.iter().copied()));
        for file in &mut files {
            file.deletes.iter_mut().for_each(|at| *at = place(&kept_deletes, *at));
        }
        let slices =
            slices.into_iter().map(|slice| FileSlice { file: place(&kept, slice.file), ..slice }).collect();
        let deletes = kept_deletes.iter().filter_map(|at| self.deletes.get(*at).cloned()).collect();
        Self {
            table: self.table.clone(),
            schema: Arc::clone(&self.schema),
            name_mapping: self.name_mapping.clone(),
            files,
            slices,
            deletes,
            partition_type: Arc::clone(&self.partition_type),
            dropped: self.dropped.clone(),
            every_column_is_stored: self.every_column_is_stored,
        }
    }
}

fn distinct(indices: impl Iterator<Item = usize>) -> Vec<usize> {
    let mut all: Vec<usize> = indices.collect();
    all.sort_unstable();
    all.dedup();
    all
}

fn place(kept: &[usize], index: usize) -> usize {
    kept.binary_search(&index).unwrap_or_default()
}
