//! What can be asked of a file without opening it.

use std::borrow::Cow;

use iceberg::spec::{DataFile, Datum, Literal, PrimitiveLiteral, PrimitiveType, Transform, Type};

use crate::staged_file::StagedFile;

/// One field of a file's partition tuple.
#[derive(Debug, Clone, PartialEq)]
pub enum PartitionValue {
    /// The transform gave NULL.
    Null,
    /// The transform gave this.
    Value(PrimitiveLiteral),
    /// The tuple does not say, or says what its type cannot hold.
    Unknown,
}

impl PartitionValue {
    /// Field `index` of a tuple.
    pub fn of_tuple(tuple: &[Option<Literal>], index: usize) -> Self {
        match tuple.get(index) {
            Some(None) => Self::Null,
            Some(Some(Literal::Primitive(value))) => Self::Value(value.clone()),
            Some(Some(_)) | None => Self::Unknown,
        }
    }
}

/// A file as the evaluators see it: its partition tuple and its column metrics, each perhaps missing.
///
/// Metrics are never trusted further than the specification makes them: bounds may be truncated, counts
/// may be missing, and both may be of the type that the column had when the file was written.
pub trait FileMetrics {
    /// The partition spec that the tuple belongs to.
    fn spec_id(&self) -> i32;
    /// How many rows the file has.
    fn record_count(&self) -> u64;
    /// Field `index` of the partition tuple, which `transform` made of a column of type `source`.
    fn partition_value(&self, index: usize, transform: &Transform, source: &PrimitiveType) -> PartitionValue;
    /// Values of the column, NULLs included.
    fn value_count(&self, field_id: i32) -> Option<u64>;
    /// NULLs of the column.
    fn null_count(&self, field_id: i32) -> Option<u64>;
    /// NaNs of the column.
    fn nan_count(&self, field_id: i32) -> Option<u64>;
    /// A value not above any of the column's; `column` is the column's type today.
    fn lower_bound(&self, field_id: i32, column: &PrimitiveType) -> Option<Cow<'_, Datum>>;
    /// A value not below any of the column's; `column` is the column's type today.
    fn upper_bound(&self, field_id: i32, column: &PrimitiveType) -> Option<Cow<'_, Datum>>;
}

/// A data file as a manifest names it. The kernel keeps a data file's spec id to itself, so it comes along.
#[derive(Debug, Clone, Copy)]
pub struct ListedFile<'a> {
    /// The spec of the manifest that names the file.
    pub spec_id: i32,
    /// The file.
    pub file: &'a DataFile,
}

impl FileMetrics for ListedFile<'_> {
    fn spec_id(&self) -> i32 {
        self.spec_id
    }

    fn record_count(&self) -> u64 {
        self.file.record_count()
    }

    fn partition_value(&self, index: usize, _: &Transform, _: &PrimitiveType) -> PartitionValue {
        PartitionValue::of_tuple(self.file.partition().fields(), index)
    }

    fn value_count(&self, field_id: i32) -> Option<u64> {
        self.file.value_counts().get(&field_id).copied()
    }

    fn null_count(&self, field_id: i32) -> Option<u64> {
        self.file.null_value_counts().get(&field_id).copied()
    }

    fn nan_count(&self, field_id: i32) -> Option<u64> {
        self.file.nan_value_counts().get(&field_id).copied()
    }

    fn lower_bound(&self, field_id: i32, _: &PrimitiveType) -> Option<Cow<'_, Datum>> {
        self.file.lower_bounds().get(&field_id).map(Cow::Borrowed)
    }

    fn upper_bound(&self, field_id: i32, _: &PrimitiveType) -> Option<Cow<'_, Datum>> {
        self.file.upper_bounds().get(&field_id).map(Cow::Borrowed)
    }
}

impl FileMetrics for StagedFile {
    fn spec_id(&self) -> i32 {
        self.spec_id
    }

    fn record_count(&self) -> u64 {
        self.record_count
    }

    fn partition_value(&self, index: usize, transform: &Transform, source: &PrimitiveType) -> PartitionValue {
        let Some(field) = self.partition.get(index) else { return PartitionValue::Unknown };
        let Some(bytes) = field else { return PartitionValue::Null };
        let Ok(Type::Primitive(ty)) = transform.result_type(&Type::Primitive(source.clone())) else {
            return PartitionValue::Unknown;
        };
        match Datum::try_from_bytes(bytes, ty) {
            Ok(datum) => PartitionValue::Value(datum.literal().clone()),
            Err(_) => PartitionValue::Unknown,
        }
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

    fn lower_bound(&self, field_id: i32, column: &PrimitiveType) -> Option<Cow<'_, Datum>> {
        staged_bound(self.lower_bounds.get(&field_id)?, column)
    }

    fn upper_bound(&self, field_id: i32, column: &PrimitiveType) -> Option<Cow<'_, Datum>> {
        staged_bound(self.upper_bounds.get(&field_id)?, column)
    }
}

fn staged_bound(bytes: &[u8], column: &PrimitiveType) -> Option<Cow<'static, Datum>> {
    Datum::try_from_bytes(bytes, column.clone()).ok().map(Cow::Owned)
}
