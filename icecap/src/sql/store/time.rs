//! Dates, times and timestamps to each other. Without a zone means UTC, the zone of every session.

use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, Date32Array, Time64MicrosecondArray, TimestampMicrosecondArray,
    TimestampNanosecondArray,
};
use datafusion::arrow::datatypes::{DataType, Int64Type, TimeUnit};
use icecap_table::{Error, Result};

use super::cast::{arrow_cast, bad_value};
use crate::sql::assign::type_name;

const DAY: i64 = 86_400_000_000_000;

/// Stores temporal values as values of the temporal type `to`.
pub(super) fn convert(array: &ArrayRef, to: &DataType, path: &str) -> Result<ArrayRef> {
    let bug = || Error::bug(format!("column {path}: {} to {to}", array.data_type()));
    let given = nanoseconds(array.data_type()).ok_or_else(bug)?;
    let kept = nanoseconds(to).ok_or_else(bug)?;
    let numbers = match array.data_type() {
        DataType::Date32 | DataType::Time32(_) => {
            arrow_cast(&arrow_cast(array, &DataType::Int32)?, &DataType::Int64)?
        }
        _ => arrow_cast(array, &DataType::Int64)?,
    };
    let numbers = numbers.as_primitive::<Int64Type>();
    let too_far = |row| bad_value(array, row, path, &format!("is out of the range of {}", type_name(to)));
    let mut out = Vec::with_capacity(numbers.len());
    for row in 0..numbers.len() {
        if numbers.is_null(row) {
            out.push(0);
            continue;
        }
        let value = numbers.value(row);
        out.push(if given >= kept {
            value.checked_mul(given / kept).ok_or_else(|| too_far(row))?
        } else if value % (kept / given) == 0 {
            value / (kept / given)
        } else {
            let trouble = match to {
                DataType::Date32 => "has a time of day, which a date cannot hold",
                _ => "has digits below a microsecond, which the column cannot hold",
            };
            return Err(bad_value(array, row, path, trouble));
        });
    }
    let nulls = numbers.nulls().cloned();
    Ok(match to {
        DataType::Date32 => {
            let mut days = Vec::with_capacity(out.len());
            for (row, value) in out.into_iter().enumerate() {
                days.push(i32::try_from(value).map_err(|_| too_far(row))?);
            }
            Arc::new(Date32Array::new(days.into(), nulls))
        }
        DataType::Time64(TimeUnit::Microsecond) => Arc::new(Time64MicrosecondArray::new(out.into(), nulls)),
        DataType::Timestamp(TimeUnit::Microsecond, zone) => {
            Arc::new(TimestampMicrosecondArray::new(out.into(), nulls).with_timezone_opt(zone.clone()))
        }
        DataType::Timestamp(TimeUnit::Nanosecond, zone) => {
            Arc::new(TimestampNanosecondArray::new(out.into(), nulls).with_timezone_opt(zone.clone()))
        }
        _ => return Err(bug()),
    })
}

/// How many nanoseconds a unit of the type is.
fn nanoseconds(data_type: &DataType) -> Option<i64> {
    Some(match data_type {
        DataType::Date32 => DAY,
        DataType::Date64 => 1_000_000,
        DataType::Timestamp(unit, _) | DataType::Time32(unit) | DataType::Time64(unit) => match unit {
            TimeUnit::Second => 1_000_000_000,
            TimeUnit::Millisecond => 1_000_000,
            TimeUnit::Microsecond => 1_000,
            TimeUnit::Nanosecond => 1,
        },
        _ => return None,
    })
}
