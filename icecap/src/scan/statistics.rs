//! A table's statistics from its manifests, exact where they are.
//!
//! DataFusion answers `count(*)`, `min` and `max` from exact statistics without reading, so nothing is
//! called exact that could differ from the rows: a bound of a text or binary column may be truncated, one
//! of a float column ignores NaN and the sign of zero, and a count that one file lacks is no count.

use std::cmp::Ordering;

use datafusion::common::stats::Precision;
use datafusion::common::{ColumnStatistics, ScalarValue, Statistics};
use icecap_table::iceberg::spec::{PrimitiveType, Schema, Type};
use icecap_table::scan::ScanFile;

use super::message::DataFile;
use super::value::scalar_of_bound;

/// Statistics of all rows of `files`, for the schema's columns followed by `_file` and `_pos`.
pub(super) fn statistics(schema: &Schema, files: &[ScanFile], scanned: &[DataFile]) -> Statistics {
    let rows: u64 = files.iter().map(|file| file.record_count).sum();
    let bytes: u64 = files.iter().map(|file| file.file_size_bytes).sum();
    let mut columns: Vec<ColumnStatistics> = schema
        .as_struct()
        .fields()
        .iter()
        .map(|field| match &*field.field_type {
            Type::Primitive(ty) => column(field.id, ty, files, scanned),
            _ => ColumnStatistics::new_unknown(),
        })
        .collect();
    let never_null = ColumnStatistics { null_count: Precision::Exact(0), ..ColumnStatistics::new_unknown() };
    columns.extend([never_null.clone(), never_null]);
    Statistics {
        num_rows: Precision::Exact(count(rows)),
        total_byte_size: Precision::Inexact(count(bytes)),
        column_statistics: columns,
    }
}

fn count(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

fn column(id: i32, ty: &PrimitiveType, files: &[ScanFile], scanned: &[DataFile]) -> ColumnStatistics {
    let per_file: Vec<Option<FileColumn>> =
        files.iter().zip(scanned).map(|(file, scanned)| file_column(id, ty, file, scanned)).collect();
    let nulls = per_file.iter().try_fold(0_u64, |sum, file| Some(sum + file.as_ref()?.nulls?));
    let mut statistics = ColumnStatistics::new_unknown();
    if let Some(nulls) = nulls {
        statistics.null_count = Precision::Exact(count(nulls));
    }
    // A file whose every value is NULL takes no part in the bounds.
    let bounded: Vec<_> = per_file.iter().filter(|file| !file.as_ref().is_some_and(|f| f.all_null)).collect();
    let exact = bounds_are_exact(ty) && nulls.is_some();
    let fold = |wanted: Ordering, get: fn(&FileColumn) -> Option<&ScalarValue>| -> Option<ScalarValue> {
        let mut best: Option<ScalarValue> = None;
        for file in &bounded {
            let value = get(file.as_ref()?)?;
            let better = match &best {
                Some(best) => value.partial_cmp(best)? == wanted,
                None => true,
            };
            if better {
                best = Some(value.clone());
            }
        }
        best
    };
    let precision = |value: Option<ScalarValue>| match value {
        Some(value) if exact => Precision::Exact(value),
        Some(value) => Precision::Inexact(value),
        None => Precision::Absent,
    };
    statistics.min_value = precision(fold(Ordering::Less, |file| file.lower.as_ref()));
    statistics.max_value = precision(fold(Ordering::Greater, |file| file.upper.as_ref()));
    statistics
}

fn bounds_are_exact(ty: &PrimitiveType) -> bool {
    match ty {
        PrimitiveType::Boolean
        | PrimitiveType::Int
        | PrimitiveType::Long
        | PrimitiveType::Decimal { .. }
        | PrimitiveType::Date
        | PrimitiveType::Time
        | PrimitiveType::Timestamp
        | PrimitiveType::Timestamptz
        | PrimitiveType::TimestampNs
        | PrimitiveType::TimestamptzNs => true,
        PrimitiveType::Float
        | PrimitiveType::Double
        | PrimitiveType::String
        | PrimitiveType::Uuid
        | PrimitiveType::Fixed(_)
        | PrimitiveType::Binary => false,
    }
}

struct FileColumn {
    nulls: Option<u64>,
    all_null: bool,
    lower: Option<ScalarValue>,
    upper: Option<ScalarValue>,
}

fn file_column(id: i32, ty: &PrimitiveType, file: &ScanFile, scanned: &DataFile) -> Option<FileColumn> {
    if let Some(value) = scanned.constants.get(&id) {
        let null = value.is_null();
        let bound = (!null).then(|| value.clone());
        let nulls = Some(if null { file.record_count } else { 0 });
        return Some(FileColumn { nulls, all_null: null, lower: bound.clone(), upper: bound });
    }
    let nulls = file.null_counts.get(&id).copied();
    Some(FileColumn {
        nulls,
        all_null: file.record_count == 0 || nulls == Some(file.record_count),
        lower: file.lower_bounds.get(&id).and_then(|bound| scalar_of_bound(bound, ty)),
        upper: file.upper_bounds.get(&id).and_then(|bound| scalar_of_bound(bound, ty)),
    })
}

#[cfg(test)]
mod tests;
