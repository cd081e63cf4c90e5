//! Staged files as manifest entries say them, every value checked: they come over the wire.

use std::collections::{BTreeMap, HashMap};

use iceberg::spec::{
    DataContentType, DataFile, DataFileBuilder, DataFileFormat, Datum, FormatVersion, Literal, PrimitiveType,
    Schema, Struct, TableMetadata, Type,
};

use crate::error::{Error, Result};
use crate::id::WriteId;
use crate::location::Location;
use crate::properties::WriteSettings;
use crate::staged_file::{FileContent, StagedFile};

/// The reserved field ids of a position delete file's columns (spec, "Reserved field ids").
const PATH_COLUMN: i32 = 2_147_483_546;
const POSITION_COLUMN: i32 = 2_147_483_545;

/// Checks that the files of a write lie where only that write may put them: below the table's data location,
/// with a base name that begins with the write id.
///
/// # Errors
/// `Denied`, naming the path.
pub fn check_staged_paths(metadata: &TableMetadata, write_id: WriteId, files: &[StagedFile]) -> Result<()> {
    let folder = WriteSettings::from_properties(metadata.properties())?.data_location(metadata.location());
    let folder = Location::parse(&folder)?;
    let prefix = write_id.to_string();
    for file in files {
        let denied = |why: &str| Error::denied(format!("staged file {why}")).with("path", &file.path);
        let location = Location::parse(&file.path)?;
        location.check_characters()?;
        if !location.is_below(&folder) {
            return Err(
                denied("lies outside the table's data location").with("data location", folder.to_uri())
            );
        }
        if file.path != location.to_uri() {
            return Err(denied("is not named by its canonical location"));
        }
        if !file.path.rsplit('/').next().is_some_and(|name| name.starts_with(&prefix)) {
            return Err(denied("has a name that does not begin with its write id").with("write", &prefix));
        }
    }
    Ok(())
}

/// A staged file as its manifest entry, without sequence numbers.
///
/// # Errors
/// `Invalid` when it does not fit the table (unknown partition spec or column, a delete file of another
/// format version); `Corrupt` when its values break their encoding.
pub fn data_file(file: &StagedFile, schema: &Schema, metadata: &TableMetadata) -> Result<DataFile> {
    convert(file, schema, metadata).map_err(|error| error.with("path", &file.path))
}

fn convert(file: &StagedFile, schema: &Schema, metadata: &TableMetadata) -> Result<DataFile> {
    let (content, format) = content_of(file, metadata.format_version())?;
    let columns = Columns { schema, is_delete: content != DataContentType::Data };
    check_numbers(file)?;
    let mut builder = DataFileBuilder::default();
    builder
        .content(content)
        .file_path(file.path.clone())
        .file_format(format)
        .partition(partition(file, schema, metadata)?)
        .partition_spec_id(file.spec_id)
        .record_count(file.record_count)
        .file_size_in_bytes(file.file_size_bytes)
        .column_sizes(columns.numbers("column size", &file.column_sizes)?)
        .value_counts(columns.numbers("value count", &file.value_counts)?)
        .null_value_counts(columns.numbers("null count", &file.null_counts)?)
        .nan_value_counts(columns.numbers("NaN count", &file.nan_counts)?)
        .lower_bounds(columns.bounds(&file.lower_bounds)?)
        .upper_bounds(columns.bounds(&file.upper_bounds)?)
        .split_offsets((!file.split_offsets.is_empty()).then(|| file.split_offsets.clone()))
        .first_row_id(file.first_row_id)
        .referenced_data_file(file.referenced_data_file.clone())
        .content_offset(file.content_range.map(|(offset, _)| offset))
        .content_size_in_bytes(file.content_range.map(|(_, length)| length));
    if let Some(order) = file.sort_order_id {
        if metadata.sort_order_by_id(i64::from(order)).is_none() {
            return Err(Error::invalid(format!("the table has no sort order {order}")));
        }
        builder.sort_order_id(order);
    }
    let built = builder.build().map_err(|e| Error::bug("manifest entry is incomplete").with_source(e))?;
    for (id, lower) in built.lower_bounds() {
        if built.upper_bounds().get(id).is_some_and(|upper| lower > upper) {
            return Err(Error::corrupt(format!("lower bound of column {id} is above its upper bound")));
        }
    }
    Ok(built)
}

fn content_of(file: &StagedFile, version: FormatVersion) -> Result<(DataContentType, DataFileFormat)> {
    let is_v3 = version >= FormatVersion::V3;
    match file.content {
        FileContent::Data if file.content_range.is_some() || file.referenced_data_file.is_some() => {
            Err(Error::invalid("a data file refers to nothing"))
        }
        FileContent::Data if file.first_row_id.is_some() && !is_v3 => {
            Err(Error::invalid("row ids need format version 3"))
        }
        FileContent::Data => Ok((DataContentType::Data, DataFileFormat::Parquet)),
        _ if file.first_row_id.is_some() || file.sort_order_id.is_some() => {
            Err(Error::invalid("a delete file has no row ids and no sort order"))
        }
        FileContent::PositionDeletes if is_v3 => {
            Err(Error::invalid("position delete files are not added to a table of format version 3"))
        }
        FileContent::PositionDeletes if file.content_range.is_some() => {
            Err(Error::invalid("a position delete file has no content range"))
        }
        FileContent::PositionDeletes => Ok((DataContentType::PositionDeletes, DataFileFormat::Parquet)),
        FileContent::DeletionVector if !is_v3 => {
            Err(Error::invalid("deletion vectors need format version 3"))
        }
        FileContent::DeletionVector
            if file.content_range.is_none() || file.referenced_data_file.is_none() =>
        {
            Err(Error::invalid("a deletion vector names its data file and its place"))
        }
        FileContent::DeletionVector => Ok((DataContentType::PositionDeletes, DataFileFormat::Puffin)),
    }
}

fn check_numbers(file: &StagedFile) -> Result<()> {
    let bad = |what: &str| Err(Error::invalid(format!("staged file has a bad {what}")));
    let size = match i64::try_from(file.file_size_bytes) {
        Ok(size) if size > 0 => size,
        _ => return bad("size"),
    };
    if i64::try_from(file.record_count).is_err() {
        return bad("record count");
    }
    if file.first_row_id.is_some_and(|id| id < 0) {
        return bad("first row id");
    }
    let ascending = file.split_offsets.windows(2).all(|pair| pair[0] < pair[1]);
    let inside = file.split_offsets.iter().all(|offset| (0..size).contains(offset));
    if !(ascending && inside) {
        return bad("split offset");
    }
    if let Some((offset, length)) = file.content_range
        && !(offset >= 0 && length > 0 && offset.checked_add(length).is_some_and(|end| end <= size))
    {
        return bad("content range");
    }
    let null_counts = file.null_counts.iter().chain(&file.nan_counts);
    for (id, count) in null_counts {
        if file.value_counts.get(id).is_some_and(|values| count > values) {
            return bad(&format!("count of column {id}: more NULLs or NaNs than values"));
        }
    }
    Ok(())
}

/// The partition tuple, typed by its spec.
fn partition(file: &StagedFile, schema: &Schema, metadata: &TableMetadata) -> Result<Struct> {
    let spec = metadata
        .partition_spec_by_id(file.spec_id)
        .ok_or_else(|| Error::invalid(format!("the table has no partition spec {}", file.spec_id)))?;
    let tuple = spec.partition_type(schema).map_err(|e| {
        Error::invalid(format!("partition spec {} does not fit the schema", file.spec_id)).with_source(e)
    })?;
    if tuple.fields().len() != file.partition.len() {
        return Err(Error::invalid(format!(
            "partition tuple has {} values, its spec has {} fields",
            file.partition.len(),
            tuple.fields().len()
        )));
    }
    let value = |(field, bytes): (&iceberg::spec::NestedFieldRef, &Option<Vec<u8>>)| match bytes {
        None => Ok(None),
        Some(bytes) => {
            let datum =
                datum(&field.field_type, bytes).map_err(|e| e.with("partition field", &field.name))?;
            Ok(Some(Literal::Primitive(datum.literal().clone())))
        }
    };
    let values = tuple.fields().iter().zip(&file.partition).map(value).collect::<Result<Vec<_>>>()?;
    Ok(Struct::from_iter(values))
}

/// The columns that a file's metrics may speak of.
struct Columns<'a> {
    schema: &'a Schema,
    is_delete: bool,
}

impl Columns<'_> {
    fn type_of(&self, id: i32) -> Result<&Type> {
        const PATH: &Type = &Type::Primitive(PrimitiveType::String);
        const POSITION: &Type = &Type::Primitive(PrimitiveType::Long);
        match id {
            PATH_COLUMN if self.is_delete => Ok(PATH),
            POSITION_COLUMN if self.is_delete => Ok(POSITION),
            _ => match self.schema.field_by_id(id) {
                Some(field) => Ok(&field.field_type),
                None => Err(Error::invalid(format!("the schema has no column {id}"))),
            },
        }
    }

    fn numbers(&self, what: &str, numbers: &BTreeMap<i32, u64>) -> Result<HashMap<i32, u64>> {
        let checked = numbers.iter().map(|(id, number)| {
            self.type_of(*id)?;
            match i64::try_from(*number) {
                Ok(_) => Ok((*id, *number)),
                Err(_) => Err(Error::invalid(format!("{what} of column {id} is out of range"))),
            }
        });
        checked.collect()
    }

    fn bounds(&self, bounds: &BTreeMap<i32, Vec<u8>>) -> Result<HashMap<i32, Datum>> {
        let typed = bounds.iter().map(|(id, bytes)| {
            let datum =
                datum(self.type_of(*id)?, bytes).map_err(|e| e.with("bound of column", id.to_string()))?;
            if datum.is_nan() {
                return Err(Error::corrupt(format!("bound of column {id} is NaN")));
            }
            Ok((*id, datum))
        });
        typed.collect()
    }
}

/// A single value from its binary serialisation, exactly as long as its type demands.
///
/// # Errors
/// `Corrupt` when the bytes are no value of the type; `Invalid` for a type that is not primitive.
pub(crate) fn datum(kind: &Type, bytes: &[u8]) -> Result<Datum> {
    let Type::Primitive(kind) = kind else {
        return Err(Error::invalid("a column of a nested type has no single value"));
    };
    let fits = match kind {
        PrimitiveType::Boolean => matches!(bytes, [0 | 1]),
        PrimitiveType::Int | PrimitiveType::Float | PrimitiveType::Date => bytes.len() == 4,
        PrimitiveType::Long
        | PrimitiveType::Double
        | PrimitiveType::Time
        | PrimitiveType::Timestamp
        | PrimitiveType::Timestamptz
        | PrimitiveType::TimestampNs
        | PrimitiveType::TimestamptzNs => bytes.len() == 8,
        PrimitiveType::Uuid => bytes.len() == 16,
        PrimitiveType::Decimal { .. } => (1..=16).contains(&bytes.len()),
        PrimitiveType::Fixed(length) => u64::try_from(bytes.len()).is_ok_and(|own| own == *length),
        PrimitiveType::String | PrimitiveType::Binary => true,
    };
    if !fits {
        return Err(Error::corrupt(format!("a value of type {kind} has {} bytes", bytes.len())));
    }
    Datum::try_from_bytes(bytes, kind.clone())
        .map_err(|e| Error::corrupt(format!("bytes are no value of type {kind}")).with_source(e))
}
