//! One array to one column.

use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, FixedSizeBinaryBuilder, make_array, new_null_array,
};
use datafusion::arrow::buffer::NullBuffer;
use datafusion::arrow::compute::{CastOptions, cast, cast_with_options};
use datafusion::arrow::datatypes::{DataType, Field};
use datafusion::arrow::util::display::{FormatOptions, array_value_to_string};
use icecap_table::{Error, Result};
use uuid::Uuid;

use super::{nested, number, time};

/// Stores `array` as the column `to`. `outside` tells where an enclosing struct is NULL: nothing there counts.
pub(super) fn store(
    array: &ArrayRef,
    to: &Field,
    path: &str,
    outside: Option<&NullBuffer>,
) -> Result<ArrayRef> {
    let array = masked(array, outside)?;
    let nulls = array.logical_null_count() - outside.map_or(0, NullBuffer::null_count);
    if !to.is_nullable() && nulls > 0 {
        return Err(Error::invalid(format!("column {path} is required and a value for it is NULL")));
    }
    convert(&array, to.data_type(), path)
}

fn masked(array: &ArrayRef, outside: Option<&NullBuffer>) -> Result<ArrayRef> {
    let Some(outside) = outside.filter(|outside| outside.null_count() > 0) else {
        return Ok(Arc::clone(array));
    };
    if *array.data_type() == DataType::Null {
        return Ok(Arc::clone(array));
    }
    let plain = plain(array)?;
    let nulls = NullBuffer::union(plain.logical_nulls().as_ref(), Some(outside));
    let data = plain.to_data().into_builder().nulls(nulls).build();
    data.map(make_array)
        .map_err(|error| Error::bug("NULLs of a struct could not be passed on").with_source(error))
}

/// The array without a dictionary or runs.
fn plain(array: &ArrayRef) -> Result<ArrayRef> {
    match array.data_type() {
        DataType::Dictionary(_, value) => arrow_cast(array, value),
        DataType::RunEndEncoded(_, value) => arrow_cast(array, value.data_type()),
        _ => Ok(Arc::clone(array)),
    }
}

fn convert(array: &ArrayRef, to: &DataType, path: &str) -> Result<ArrayRef> {
    use DataType as D;
    if array.data_type() == to {
        return Ok(Arc::clone(array));
    }
    let array = &plain(array)?;
    let from = array.data_type();
    match (from, to) {
        _ if from == to => Ok(Arc::clone(array)),
        (D::Null, _) => Ok(new_null_array(to, array.len())),
        (D::Utf8 | D::LargeUtf8 | D::Utf8View, D::Utf8 | D::LargeUtf8 | D::Utf8View)
        | (D::Binary | D::LargeBinary | D::BinaryView, D::Binary | D::LargeBinary | D::BinaryView)
        | (D::FixedSizeBinary(_), D::Binary) => arrow_cast(array, to),
        (D::Utf8 | D::LargeUtf8 | D::Utf8View, D::FixedSizeBinary(16)) => uuids(array, path),
        (D::Binary | D::LargeBinary | D::BinaryView, D::FixedSizeBinary(length)) => {
            fixed(array, *length, path)
        }
        (D::Binary | D::LargeBinary | D::BinaryView, D::Utf8) => {
            checked(array, to, path, "is not valid UTF-8 text")
        }
        (_, D::List(element)) => nested::list(array, element, path),
        (D::Map(..), D::Map(entries, sorted)) => nested::map(array, entries, *sorted, path),
        (D::Struct(_), D::Struct(fields)) => nested::structure(array, fields, path),
        (_, D::Utf8) => text(array, path),
        (D::Date32 | D::Date64 | D::Timestamp(..), D::Date32 | D::Timestamp(..))
        | (D::Time32(_) | D::Time64(_), D::Time64(_)) => time::convert(array, to, path),
        _ if from.is_numeric() && to.is_numeric() => number::convert(array, to, path),
        _ => Err(Error::bug(format!("column {path}: {from} to {to} was let through to the rows"))),
    }
}

/// Arrow's cast where nothing can go wrong with a single value.
pub(super) fn arrow_cast(array: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
    cast(array, to).map_err(|error| Error::bug(format!("{} to {to}", array.data_type())).with_source(error))
}

/// Arrow's cast; a value that it cannot convert is an error.
pub(super) fn checked(array: &ArrayRef, to: &DataType, path: &str, trouble: &str) -> Result<ArrayRef> {
    let options = CastOptions { safe: true, format_options: FormatOptions::new() };
    let converted = cast_with_options(array, to, &options).map_err(|error| {
        Error::bug(format!("column {path}: {} to {to}", array.data_type())).with_source(error)
    })?;
    if converted.null_count() > array.null_count() {
        let lost = (0..array.len()).find(|&row| array.is_valid(row) && converted.is_null(row)).unwrap_or(0);
        return Err(bad_value(array, lost, path, trouble));
    }
    Ok(converted)
}

/// The error of the value in `row`.
pub(super) fn bad_value(array: &dyn Array, row: usize, path: &str, trouble: &str) -> Error {
    const MOST: usize = 60;
    let value = array_value_to_string(array, row).unwrap_or_else(|_| "?".to_owned());
    let mut shown: String = value.chars().take(MOST).collect();
    if shown.len() < value.len() {
        shown.push('…');
    }
    Error::invalid(format!("column {path}: the value {shown} {trouble}"))
}

/// Any plain value as text, as SQL writes it.
fn text(array: &ArrayRef, path: &str) -> Result<ArrayRef> {
    let array = match array.data_type() {
        DataType::Timestamp(unit, Some(_)) => {
            arrow_cast(array, &DataType::Timestamp(*unit, Some("UTC".into())))?
        }
        _ => Arc::clone(array),
    };
    let format_options = FormatOptions::new()
        .with_timestamp_format(Some("%Y-%m-%d %H:%M:%S%.f"))
        .with_timestamp_tz_format(Some("%Y-%m-%d %H:%M:%S%.f UTC"));
    let options = CastOptions { safe: false, format_options };
    cast_with_options(&array, &DataType::Utf8, &options).map_err(|error| {
        Error::invalid(format!("column {path}: a value cannot be written as text")).with_source(error)
    })
}

fn uuids(array: &ArrayRef, path: &str) -> Result<ArrayRef> {
    let texts = arrow_cast(array, &DataType::Utf8)?;
    let texts = texts.as_string::<i32>();
    let mut out = FixedSizeBinaryBuilder::with_capacity(texts.len(), 16);
    for (row, text) in texts.iter().enumerate() {
        match text.map(Uuid::try_parse) {
            None => out.append_null(),
            Some(Ok(uuid)) => out
                .append_value(uuid.as_bytes())
                .map_err(|error| Error::bug("a UUID has 16 bytes").with_source(error))?,
            Some(Err(_)) => return Err(bad_value(texts, row, path, "is not a UUID")),
        }
    }
    Ok(Arc::new(out.finish()))
}

fn fixed(array: &ArrayRef, length: i32, path: &str) -> Result<ArrayRef> {
    let values = arrow_cast(array, &DataType::LargeBinary)?;
    let values = values.as_binary::<i64>();
    let mut out = FixedSizeBinaryBuilder::with_capacity(values.len(), length);
    for (row, value) in values.iter().enumerate() {
        match value {
            None => out.append_null(),
            Some(value) => {
                if out.append_value(value).is_err() {
                    let trouble = format!("has {} bytes and not {length}", value.len());
                    return Err(bad_value(values, row, path, &trouble));
                }
            }
        }
    }
    Ok(Arc::new(out.finish()))
}
