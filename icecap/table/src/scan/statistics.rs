//! Statistics of all rows of a set of files.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use iceberg::spec::{Datum, PrimitiveType, Schema};

use super::{ScanFile, ScanPlan};
use crate::expr::FileMetrics;
use crate::expr::value::Value;

/// Whether a statistic is the value itself or only a limit to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exactness {
    /// It is the value.
    Exact,
    /// The true value lies on the inner side of it, or is it.
    Limit,
}

/// Statistics of one column; what is `None` is not known.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ColumnStatistics {
    /// How many rows are NULL, deleted ones included.
    pub null_count: Option<u64>,
    /// The least value that is not NULL; a limit where bounds may be truncated or NaN may occur.
    pub min: Option<(Datum, Exactness)>,
    /// The greatest value that is not NULL; a limit where bounds may be truncated or NaN may occur. No NaN
    /// is counted, though engines may hold it to be greatest.
    pub max: Option<(Datum, Exactness)>,
}

/// Statistics of all rows of some files, NULL and absent ones included, by the columns of a schema.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TableStatistics {
    /// Whether no row of the files is deleted. Else every count is only the most that there may be.
    pub all_rows_live: bool,
    /// Rows, deleted ones included.
    pub row_count: u64,
    /// Bytes.
    pub byte_count: u64,
    /// Statistics of the row's own columns of primitive type, by field id.
    pub columns: BTreeMap<i32, ColumnStatistics>,
}

impl ScanPlan {
    /// The statistics of the plan's files, in the types of `schema`. They are those of the filter's rows
    /// only when [`filter_is_exact`](Self::filter_is_exact).
    pub fn statistics(&self, schema: &Schema) -> TableStatistics {
        TableStatistics::of(&self.files, schema)
    }
}

impl TableStatistics {
    /// Sums up `files`, in the types of `schema`.
    pub fn of(files: &[ScanFile], schema: &Schema) -> Self {
        let columns = schema.as_struct().fields().iter().filter_map(|field| {
            let ty = field.field_type.as_primitive_type()?;
            Some((field.id, column(files, field.id, ty)))
        });
        Self {
            all_rows_live: files.iter().all(|file| file.deletes.is_empty()),
            row_count: files.iter().fold(0, |sum, file| sum.saturating_add(file.record_count)),
            byte_count: files.iter().fold(0, |sum, file| sum.saturating_add(file.file_size_bytes)),
            columns: columns.collect(),
        }
    }
}

fn column(files: &[ScanFile], id: i32, ty: &PrimitiveType) -> ColumnStatistics {
    let null_count = files
        .iter()
        .filter(|file| file.record_count > 0)
        .try_fold(0u64, |sum, file| sum.checked_add(nulls(file, id)?));
    ColumnStatistics {
        null_count,
        min: extreme(files, id, ty, Ordering::Less),
        max: extreme(files, id, ty, Ordering::Greater),
    }
}

/// The file's NULLs in the column, where it says so credibly.
fn nulls(file: &ScanFile, id: i32) -> Option<u64> {
    let values = file.value_count(id).is_none_or(|values| values == file.record_count);
    file.null_count(id).filter(|nulls| values && *nulls <= file.record_count)
}

/// The outermost of all files' bounds on one side, unless some file with values has none.
fn extreme(files: &[ScanFile], id: i32, ty: &PrimitiveType, side: Ordering) -> Option<(Datum, Exactness)> {
    let mut outermost: Option<Value> = None;
    let mut exact = true;
    for file in files {
        if file.record_count == 0 || nulls(file, id) == Some(file.record_count) {
            continue;
        }
        let of = |bound: Option<std::borrow::Cow<'_, Datum>>| Value::of_datum(bound?.as_ref(), ty);
        let (lower, upper) = (of(file.lower_bound(id, ty)), of(file.upper_bound(id, ty)));
        // The row with the value may be deleted.
        exact &= file.deletes.is_empty() && bounds_are_values(file, id, ty, lower.as_ref(), upper.as_ref());
        let bound = if side == Ordering::Less { lower? } else { upper? };
        if bound.is_nan() {
            return None;
        }
        outermost = Some(match outermost {
            Some(other) if bound.order(&other) != side => other,
            _ => bound,
        });
    }
    let datum = outermost?.to_datum(ty)?;
    Some((datum, if exact { Exactness::Exact } else { Exactness::Limit }))
}

/// Whether a file's bounds are values that occur in it.
fn bounds_are_values(
    file: &ScanFile,
    id: i32,
    ty: &PrimitiveType,
    lower: Option<&Value>,
    upper: Option<&Value>,
) -> bool {
    let zero = |bound: Option<&Value>| matches!(bound, Some(Value::Float(v)) if *v == 0.0);
    match ty {
        // Perhaps truncated, unless both are the same: a cut upper bound lies above every value.
        PrimitiveType::String | PrimitiveType::Binary | PrimitiveType::Fixed(_) => {
            lower.is_some() && lower == upper
        }
        // Writers order them in two ways.
        PrimitiveType::Uuid => lower.is_some() && lower == upper,
        // A zero bound stands for both zeros.
        PrimitiveType::Float | PrimitiveType::Double => {
            file.nan_count(id) == Some(0) && !zero(lower) && !zero(upper)
        }
        _ => true,
    }
}
