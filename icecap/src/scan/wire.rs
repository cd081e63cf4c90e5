//! A scan's encoding.
//!
//! It is part of the task's versioned bytes ([`crate::plan::task`]); it has no version of its own.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::common::ScalarValue;
use icecap_table::deletes::PositionSet;
use icecap_table::iceberg::spec::{NameMapping, Schema, StructType, Type};
use icecap_table::scan::DeleteKind;
use icecap_table::{Error, Result};
use prost::Message;

use super::message::{DataFile, DeleteSource, FileSlice, ScanInput};
use super::value::{scalar_of_bytes, scalar_or_null, single_value};

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
    /// Indices of delete files. (Tag 8 was kept for something else.)
    #[prost(uint32, repeated, tag = "9")]
    deletes: Vec<u32>,
    #[prost(bytes = "vec", optional, tag = "10")]
    extra_deletes: Option<Vec<u8>>,
    /// By the fields of the partition type; `field_id` is not used.
    #[prost(message, repeated, tag = "11")]
    partition: Vec<ConstantMessage>,
}

#[derive(Clone, PartialEq, Message)]
struct ConstantMessage {
    #[prost(int32, tag = "1")]
    field_id: i32,
    #[prost(bytes = "vec", optional, tag = "2")]
    value: Option<Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
struct DeleteMessage {
    /// 1: position deletes, 2: a deletion vector, 3: equality deletes.
    #[prost(uint32, tag = "1")]
    kind: u32,
    #[prost(string, tag = "2")]
    path: String,
    #[prost(uint64, tag = "3")]
    file_size_bytes: u64,
    #[prost(uint64, tag = "4")]
    record_count: u64,
    #[prost(int64, optional, tag = "5")]
    content_offset: Option<i64>,
    #[prost(int64, optional, tag = "6")]
    content_length: Option<i64>,
    #[prost(int32, repeated, tag = "7")]
    equality_ids: Vec<i32>,
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
    #[prost(message, repeated, tag = "11")]
    deletes: Vec<DeleteMessage>,
    /// A struct type in Iceberg's JSON, where it has fields.
    #[prost(string, optional, tag = "12")]
    partition_type: Option<String>,
    /// A struct type in Iceberg's JSON, where it has fields.
    #[prost(string, optional, tag = "13")]
    dropped: Option<String>,
}

fn json<T: serde::Serialize>(value: &T) -> Result<String> {
    serde_json::to_string(value)
        .map_err(|error| Error::bug("a schema cannot be written as JSON").with_source(error))
}

fn parsed<T: serde::de::DeserializeOwned>(text: &str, what: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|error| broken(what).with_source(error))
}

fn struct_json(fields: &StructType) -> Result<Option<String>> {
    if fields.fields().is_empty() { Ok(None) } else { json(fields).map(Some) }
}

fn struct_of(text: Option<&String>, what: &str) -> Result<StructType> {
    text.map_or_else(|| Ok(StructType::default()), |text| parsed(text, what))
}

fn broken(what: &str) -> Error {
    Error::corrupt(format!("a scan in a task is broken: {what}"))
}

fn narrow(index: usize) -> Result<u32> {
    u32::try_from(index).map_err(|_| Error::bug("too many files in one scan"))
}

impl ScanMessage {
    /// The message of an input; columns, predicate, limit and partitions are the caller's to fill in.
    ///
    /// # Errors
    /// `Bug` when a schema cannot be encoded.
    pub(crate) fn of(input: &ScanInput) -> Result<Self> {
        let slices = input
            .slices
            .iter()
            .map(|slice| Ok(SliceMessage { file: narrow(slice.file)?, start: slice.start, end: slice.end }));
        Ok(Self {
            table: input.table.clone(),
            schema: json(input.schema.as_ref())?,
            name_mapping: input.name_mapping.as_deref().map(json).transpose()?,
            files: input.files.iter().map(file_message).collect::<Result<_>>()?,
            slices: slices.collect::<Result<_>>()?,
            deletes: input.deletes.iter().map(delete_message).collect(),
            partition_type: struct_json(&input.partition_type)?,
            dropped: struct_json(&StructType::new(input.dropped.clone()))?,
            ..Self::default()
        })
    }

    /// The input that the message holds.
    ///
    /// # Errors
    /// `Corrupt` when it is broken.
    pub(crate) fn input(&self) -> Result<ScanInput> {
        let schema: Schema = parsed(&self.schema, "its schema")?;
        let name_mapping = match &self.name_mapping {
            Some(text) => Some(Arc::new(parsed::<NameMapping>(text, "its name mapping")?)),
            None => None,
        };
        let partition_type = struct_of(self.partition_type.as_ref(), "its partition type")?;
        let dropped = struct_of(self.dropped.as_ref(), "its dropped columns")?;
        let deletes = self.deletes.iter().map(delete_source).collect::<Result<Vec<_>>>()?;
        let mut input = ScanInput {
            name_mapping,
            deletes,
            partition_type: Arc::new(partition_type),
            dropped: dropped.fields().to_vec(),
            ..ScanInput::new(self.table.clone(), Arc::new(schema))
        };
        input.files = self.files.iter().map(|file| data_file(file, &input)).collect::<Result<Vec<_>>>()?;
        input.slices = self
            .slices
            .iter()
            .map(|slice| {
                let file = slice.file as usize;
                if file >= input.files.len() || slice.end.is_some_and(|end| end < slice.start) {
                    return Err(broken("a slice"));
                }
                Ok(FileSlice { file, start: slice.start, end: slice.end })
            })
            .collect::<Result<_>>()?;
        Ok(input)
    }
}

fn file_message(file: &DataFile) -> Result<FileMessage> {
    let value = |field_id: i32, value: &ScalarValue| ConstantMessage { field_id, value: single_value(value) };
    Ok(FileMessage {
        path: file.path.clone(),
        file_size_bytes: file.file_size_bytes,
        record_count: file.record_count,
        spec_id: file.spec_id,
        data_sequence_number: file.data_sequence_number,
        first_row_id: file.first_row_id,
        constants: file.constants.iter().map(|(id, constant)| value(*id, constant)).collect(),
        deletes: file.deletes.iter().map(|at| narrow(*at)).collect::<Result<_>>()?,
        extra_deletes: file.extra_deletes.as_ref().map(|positions| positions.to_portable()),
        partition: file.partition.iter().map(|part| value(0, part)).collect(),
    })
}

fn constant(message: &ConstantMessage, ty: &Type, what: &str) -> Result<ScalarValue> {
    let Type::Primitive(ty) = ty else { return Err(broken(what)) };
    match &message.value {
        Some(bytes) => scalar_of_bytes(bytes, ty),
        None => scalar_or_null(None, ty),
    }
}

fn data_file(file: &FileMessage, input: &ScanInput) -> Result<DataFile> {
    let mut constants = BTreeMap::new();
    for message in &file.constants {
        let field = input.field(message.field_id).map_err(|_| broken("a constant column"))?;
        let value = constant(message, &field.field_type, "a constant column's type")?;
        constants.insert(message.field_id, value);
    }
    let fields = input.partition_type.fields();
    if !file.partition.is_empty() && file.partition.len() != fields.len() {
        return Err(broken("a partition tuple"));
    }
    let partition = file.partition.iter().zip(fields);
    let partition = partition.map(|(part, field)| constant(part, &field.field_type, "a partition's type"));
    let deletes: Vec<usize> = file.deletes.iter().map(|at| *at as usize).collect();
    if deletes.iter().any(|at| *at >= input.deletes.len()) {
        return Err(broken("a delete file"));
    }
    let extra_deletes = file.extra_deletes.as_deref().map(PositionSet::from_portable).transpose()?;
    Ok(DataFile {
        path: file.path.clone(),
        file_size_bytes: file.file_size_bytes,
        record_count: file.record_count,
        spec_id: file.spec_id,
        data_sequence_number: file.data_sequence_number,
        first_row_id: file.first_row_id,
        constants,
        partition: partition.collect::<Result<_>>()?,
        deletes,
        extra_deletes: extra_deletes.map(Arc::new),
    })
}

fn delete_message(delete: &DeleteSource) -> DeleteMessage {
    let (kind, equality_ids) = match &delete.kind {
        DeleteKind::PositionDeletes => (1, Vec::new()),
        DeleteKind::DeletionVector => (2, Vec::new()),
        DeleteKind::EqualityDeletes { field_ids } => (3, field_ids.clone()),
    };
    DeleteMessage {
        kind,
        path: delete.path.clone(),
        file_size_bytes: delete.file_size_bytes,
        record_count: delete.record_count,
        content_offset: delete.content_range.map(|(offset, _)| offset),
        content_length: delete.content_range.map(|(_, length)| length),
        equality_ids,
    }
}

fn delete_source(message: &DeleteMessage) -> Result<DeleteSource> {
    let kind = match message.kind {
        1 => DeleteKind::PositionDeletes,
        2 => DeleteKind::DeletionVector,
        3 => DeleteKind::EqualityDeletes { field_ids: message.equality_ids.clone() },
        _ => return Err(broken("a delete file's kind")),
    };
    Ok(DeleteSource {
        kind,
        path: message.path.clone(),
        file_size_bytes: message.file_size_bytes,
        record_count: message.record_count,
        content_range: message.content_offset.zip(message.content_length),
    })
}
