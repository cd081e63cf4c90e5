//! A manifest's entries out of Avro values.

use std::collections::HashMap;

use iceberg::spec::{
    DataContentType, DataFile, DataFileBuilder, DataFileFormat, Datum, ManifestEntry, ManifestMetadata,
    ManifestStatus, PrimitiveType, Schema, StructType, Type,
};

use super::Broken;
use super::partition::tuple;
use super::value::Value;

/// The reserved field ids of a position delete file's columns (spec, "Reserved field ids").
const PATH_COLUMN: i32 = 2_147_483_546;
const POSITION_COLUMN: i32 = 2_147_483_545;

/// Reads the entries of one manifest.
pub(super) struct EntryReader<'a> {
    schema: &'a Schema,
    spec_id: i32,
    partition: StructType,
}

impl<'a> EntryReader<'a> {
    pub(super) fn new(header: &'a ManifestMetadata) -> Result<Self, Broken> {
        let schema = header.schema().as_ref();
        let spec = header.partition_spec();
        let partition = spec
            .partition_type(schema)
            .map_err(|error| Broken::Bytes(format!("its partition spec does not fit its schema: {error}")))?;
        Ok(Self { schema, spec_id: spec.spec_id(), partition })
    }

    pub(super) fn entry(&self, value: &Value<'_>) -> Result<ManifestEntry, Broken> {
        let status = match value.field(0) {
            Value::Long(0) => ManifestStatus::Existing,
            Value::Long(1) => ManifestStatus::Added,
            Value::Long(2) => ManifestStatus::Deleted,
            _ => return Err("an entry's status is none".into()),
        };
        Ok(ManifestEntry::builder()
            .status(status)
            .snapshot_id_opt(optional_long(value.field(1))?)
            .sequence_number_opt(optional_long(value.field(3))?)
            .file_sequence_number_opt(optional_long(value.field(4))?)
            .data_file(self.file(value.field(2))?)
            .build())
    }

    fn file(&self, value: &Value<'_>) -> Result<DataFile, Broken> {
        let content = match value.field(134) {
            // Format version 1 has data files only.
            Value::Null | Value::Long(0) => DataContentType::Data,
            Value::Long(1) => DataContentType::PositionDeletes,
            Value::Long(2) => DataContentType::EqualityDeletes,
            _ => return Err("a file's content is none".into()),
        };
        let format: DataFileFormat =
            text(value.field(101))?.parse().map_err(|_| "a file's format is not known")?;
        let mut builder = DataFileBuilder::default();
        builder
            .content(content)
            .file_path(text(value.field(100))?.to_owned())
            .file_format(format)
            .partition(tuple(value.field(102), &self.partition)?)
            .partition_spec_id(self.spec_id)
            .record_count(count(value.field(103))?)
            .file_size_in_bytes(count(value.field(104))?)
            .column_sizes(counts(value.field(108)))
            .value_counts(counts(value.field(109)))
            .null_value_counts(counts(value.field(110)))
            .nan_value_counts(counts(value.field(137)))
            .lower_bounds(self.bounds(value.field(125))?)
            .upper_bounds(self.bounds(value.field(128))?)
            .key_metadata(bytes(value.field(131)).map(<[u8]>::to_vec))
            .split_offsets(longs(value.field(132))?)
            .equality_ids(match longs(value.field(135))? {
                Some(ids) => Some(ids.into_iter().map(int).collect::<Result<_, _>>()?),
                None => None,
            })
            .first_row_id(optional_long(value.field(142))?)
            .referenced_data_file(match value.field(143) {
                Value::Null => None,
                path => Some(text(path)?.to_owned()),
            })
            .content_offset(optional_long(value.field(144))?)
            .content_size_in_bytes(optional_long(value.field(145))?);
        if let Some(order) = optional_long(value.field(140))? {
            builder.sort_order_id(int(order)?);
        }
        builder.build().map_err(|_| "a file's entry is incomplete".into())
    }

    /// Bounds by column. Columns that the schema has not, or not of a primitive type, are left out.
    fn bounds(&self, value: &Value<'_>) -> Result<HashMap<i32, Datum>, Broken> {
        let mut bounds = HashMap::new();
        for (id, value) in pairs(value) {
            let (Some(kind), Some(bytes)) = (self.type_of(id), bytes(value)) else { continue };
            let datum = Datum::try_from_bytes(bytes, kind)
                .map_err(|_| Broken::Bytes(format!("a bound of column {id} is no value of its type")))?;
            bounds.insert(id, datum);
        }
        Ok(bounds)
    }

    fn type_of(&self, id: i32) -> Option<PrimitiveType> {
        match id {
            PATH_COLUMN => Some(PrimitiveType::String),
            POSITION_COLUMN => Some(PrimitiveType::Long),
            _ => match self.schema.field_by_id(id)?.field_type.as_ref() {
                Type::Primitive(kind) => Some(kind.clone()),
                _ => None,
            },
        }
    }
}

fn optional_long(value: &Value<'_>) -> Result<Option<i64>, Broken> {
    match value {
        Value::Null => Ok(None),
        Value::Long(value) => Ok(Some(*value)),
        _ => Err("a number is none".into()),
    }
}

fn int(value: i64) -> Result<i32, Broken> {
    i32::try_from(value).map_err(|_| "an id is out of range".into())
}

fn count(value: &Value<'_>) -> Result<u64, Broken> {
    match value {
        Value::Long(value) => u64::try_from(*value).map_err(|_| "a count is negative".into()),
        _ => Err("a count is missing".into()),
    }
}

fn bytes<'a>(value: &Value<'a>) -> Option<&'a [u8]> {
    match value {
        Value::Bytes(bytes) => Some(bytes),
        _ => None,
    }
}

fn text<'a>(value: &Value<'a>) -> Result<&'a str, Broken> {
    bytes(value).and_then(|bytes| std::str::from_utf8(bytes).ok()).ok_or_else(|| "a text is none".into())
}

fn longs(value: &Value<'_>) -> Result<Option<Vec<i64>>, Broken> {
    match value {
        Value::Null => Ok(None),
        Value::Array(items) => items
            .iter()
            .map(|item| match item {
                Value::Long(value) => Ok(*value),
                _ => Err("a list holds no numbers".into()),
            })
            .collect::<Result<_, _>>()
            .map(Some),
        _ => Err("a list is none".into()),
    }
}

/// The pairs of a map from column ids, which is an array of records of two fields.
fn pairs<'v, 'a>(value: &'v Value<'a>) -> impl Iterator<Item = (i32, &'v Value<'a>)> {
    let items = match value {
        Value::Array(items) => items.as_slice(),
        _ => &[],
    };
    items.iter().filter_map(|item| match item {
        Value::Record(fields) => match fields.as_slice() {
            [(_, Value::Long(key)), (_, value)] => Some((i32::try_from(*key).ok()?, value)),
            _ => None,
        },
        _ => None,
    })
}

/// Counts by column. Negative ones mean nothing.
fn counts(value: &Value<'_>) -> HashMap<i32, u64> {
    pairs(value)
        .filter_map(|(id, value)| match value {
            Value::Long(count) => Some((id, u64::try_from(*count).ok()?)),
            _ => None,
        })
        .collect()
}
