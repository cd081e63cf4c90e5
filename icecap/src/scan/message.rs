//! What a scan reads, as it travels in a task: files, slices of them, columns.
//!
//! The encoding is part of the task's versioned bytes ([`crate::plan::task`]); it has no version of its own.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::common::ScalarValue;
use icecap_table::iceberg::spec::{NameMapping, Schema, Type};
use icecap_table::{Error, Result};
use prost::Message;

use super::value::{scalar_of_bytes, scalar_or_null, single_value};

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
}

impl ScanInput {
    /// The locations of all that is read.
    pub fn locations(&self) -> impl Iterator<Item = &str> {
        self.files.iter().map(|file| file.path.as_str())
    }
}

#[derive(Clone, PartialEq, Message)]
struct FileMessage {
    #[prost(string, tag = "1")]
    path: String,
    #[prost(uint64, tag = "2")]
    file_size_bytes: u64,
    #[prost(uint64, tag = "3")]
    record_count: u64,
    #[prost(int32, tag = "4")]
    spec_id: i32,
    #[prost(int64, tag = "5")]
    data_sequence_number: i64,
    #[prost(int64, optional, tag = "6")]
    first_row_id: Option<i64>,
    #[prost(message, repeated, tag = "7")]
    constants: Vec<ConstantMessage>,
    /// Delete files; none are produced yet, and a reader refuses them rather than skip them.
    #[prost(bytes = "vec", repeated, tag = "8")]
    deletes: Vec<Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
struct ConstantMessage {
    #[prost(int32, tag = "1")]
    field_id: i32,
    #[prost(bytes = "vec", optional, tag = "2")]
    value: Option<Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
struct SliceMessage {
    #[prost(uint32, tag = "1")]
    file: u32,
    #[prost(uint64, tag = "2")]
    start: u64,
    #[prost(uint64, optional, tag = "3")]
    end: Option<u64>,
}

/// A whole scan node.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct ScanMessage {
    #[prost(string, tag = "1")]
    table: String,
    #[prost(string, tag = "2")]
    schema: String,
    #[prost(string, optional, tag = "3")]
    name_mapping: Option<String>,
    #[prost(message, repeated, tag = "4")]
    files: Vec<FileMessage>,
    #[prost(message, repeated, tag = "5")]
    slices: Vec<SliceMessage>,
    #[prost(uint32, repeated, tag = "6")]
    pub(crate) columns: Vec<u32>,
    /// DataFusion's own encoding of the predicate, over all of the table's columns.
    #[prost(bytes = "vec", optional, tag = "7")]
    pub(crate) predicate: Option<Vec<u8>>,
    #[prost(uint64, optional, tag = "8")]
    pub(crate) limit: Option<u64>,
    #[prost(uint32, tag = "9")]
    pub(crate) partitions: u32,
    /// Whether the predicate chooses rows before the other columns are decoded.
    #[prost(bool, tag = "10")]
    pub(crate) late: bool,
}

fn json<T: serde::Serialize>(value: &T) -> Result<String> {
    serde_json::to_string(value)
        .map_err(|error| Error::bug("a schema cannot be written as JSON").with_source(error))
}

fn broken(what: &str) -> Error {
    Error::corrupt(format!("a scan in a task is broken: {what}"))
}

impl ScanMessage {
    /// The message of an input; columns, predicate, limit and partitions are the caller's to fill in.
    ///
    /// # Errors
    /// `Bug` when a schema cannot be encoded.
    pub(crate) fn of(input: &ScanInput) -> Result<Self> {
        Ok(Self {
            table: input.table.clone(),
            schema: json(input.schema.as_ref())?,
            name_mapping: input.name_mapping.as_deref().map(json).transpose()?,
            files: input.files.iter().map(file_message).collect(),
            slices: input
                .slices
                .iter()
                .map(|slice| {
                    let file =
                        u32::try_from(slice.file).map_err(|_| Error::bug("too many files in one scan"))?;
                    Ok(SliceMessage { file, start: slice.start, end: slice.end })
                })
                .collect::<Result<_>>()?,
            ..Self::default()
        })
    }

    /// The input that the message holds.
    ///
    /// # Errors
    /// `Corrupt` when it is broken; `Unsupported` when it names delete files.
    pub(crate) fn input(&self) -> Result<ScanInput> {
        let schema: Schema =
            serde_json::from_str(&self.schema).map_err(|error| broken("its schema").with_source(error))?;
        let name_mapping = match &self.name_mapping {
            Some(text) => {
                let parsed: NameMapping = serde_json::from_str(text)
                    .map_err(|error| broken("its name mapping").with_source(error))?;
                Some(Arc::new(parsed))
            }
            None => None,
        };
        let files = self.files.iter().map(|file| data_file(file, &schema)).collect::<Result<Vec<_>>>()?;
        let slices = self
            .slices
            .iter()
            .map(|slice| {
                let file = slice.file as usize;
                if file >= files.len() || slice.end.is_some_and(|end| end < slice.start) {
                    return Err(broken("a slice"));
                }
                Ok(FileSlice { file, start: slice.start, end: slice.end })
            })
            .collect::<Result<_>>()?;
        Ok(ScanInput { table: self.table.clone(), schema: Arc::new(schema), name_mapping, files, slices })
    }
}

fn file_message(file: &DataFile) -> FileMessage {
    FileMessage {
        path: file.path.clone(),
        file_size_bytes: file.file_size_bytes,
        record_count: file.record_count,
        spec_id: file.spec_id,
        data_sequence_number: file.data_sequence_number,
        first_row_id: file.first_row_id,
        constants: file
            .constants
            .iter()
            .map(|(field_id, value)| ConstantMessage { field_id: *field_id, value: single_value(value) })
            .collect(),
        deletes: Vec::new(),
    }
}

fn data_file(file: &FileMessage, schema: &Schema) -> Result<DataFile> {
    if !file.deletes.is_empty() {
        return Err(Error::unsupported("reading a table with delete files is not supported yet")
            .with("file", file.path.clone()));
    }
    let mut constants = BTreeMap::new();
    for constant in &file.constants {
        let field = schema.field_by_id(constant.field_id).ok_or_else(|| broken("a constant column"))?;
        let Type::Primitive(ty) = &*field.field_type else { return Err(broken("a constant column's type")) };
        let value = match &constant.value {
            Some(bytes) => scalar_of_bytes(bytes, ty)?,
            None => scalar_or_null(None, ty)?,
        };
        constants.insert(constant.field_id, value);
    }
    Ok(DataFile {
        path: file.path.clone(),
        file_size_bytes: file.file_size_bytes,
        record_count: file.record_count,
        spec_id: file.spec_id,
        data_sequence_number: file.data_sequence_number,
        first_row_id: file.first_row_id,
        constants,
    })
}
