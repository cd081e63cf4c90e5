//! Iceberg's partition transforms, a whole Arrow column at a time.
//!
//! The results are those of the specification and of Iceberg Java; the kernel's own transforms (other Arrow
//! version) serve planning, and tests hold both against each other.

use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, BinaryArray, Int32Array, PrimitiveArray, StringArray,
    new_null_array,
};
use datafusion::arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int32Type, Int64Type,
    Time64MicrosecondType, TimeUnit, TimestampMicrosecondType, TimestampNanosecondType,
};
use icecap_table::iceberg::spec::Transform;
use icecap_table::{Error, Result};

mod murmur3;
mod temporal;

pub(crate) use temporal::civil;

/// Applies `transform` to every value of `array`; NULL stays NULL.
///
/// # Errors
/// `Invalid` when the transform is not defined on the array's type, `Unsupported` when it is not known.
pub(crate) fn apply(transform: Transform, array: &ArrayRef) -> Result<ArrayRef> {
    match transform {
        Transform::Identity => Ok(canonical_floats(array)),
        Transform::Bucket(buckets) => bucket(array, buckets),
        Transform::Truncate(width) => truncate(array, width),
        Transform::Year => dates(array, transform, temporal::year_of_day),
        Transform::Month => dates(array, transform, temporal::month_of_day),
        Transform::Day => {
            let days = dates(array, transform, |day| day)?;
            Ok(Arc::new(days.as_primitive::<Int32Type>().reinterpret_cast::<Date32Type>()))
        }
        Transform::Hour => hours(array),
        Transform::Void => Ok(new_null_array(array.data_type(), array.len())),
        Transform::Unknown => {
            Err(Error::unsupported("the table has a partition transform that this release does not know"))
        }
    }
}

/// The bucket transform's hash of a text, which the object-storage layout spreads files by.
pub(crate) fn hash_text(text: &str) -> i32 {
    murmur3::hash_bytes(text.as_bytes())
}

fn undefined(transform: Transform, array: &dyn Array) -> Error {
    Error::invalid(format!(
        "partition transform {transform} is not defined on a column of type {}",
        array.data_type()
    ))
}

/// All NaNs are one partition, as for Java's boxed floats; -0.0 and 0.0 stay two.
fn canonical_floats(array: &ArrayRef) -> ArrayRef {
    match array.data_type() {
        DataType::Float32 => {
            let values = array.as_primitive::<Float32Type>();
            Arc::new(values.unary::<_, Float32Type>(|v| if v.is_nan() { f32::NAN } else { v }))
        }
        DataType::Float64 => {
            let values = array.as_primitive::<Float64Type>();
            Arc::new(values.unary::<_, Float64Type>(|v| if v.is_nan() { f64::NAN } else { v }))
        }
        _ => Arc::clone(array),
    }
}

/// The fewest bytes of a big-endian two's complement number that keep its value (spec, appendix D).
pub(crate) fn minimal_twos_complement(bytes: &[u8]) -> &[u8] {
    let redundant = bytes
        .windows(2)
        .take_while(|pair| (pair[0] == 0 && pair[1] < 0x80) || (pair[0] == 0xff && pair[1] >= 0x80))
        .count();
    &bytes[redundant..]
}

fn bucket(array: &ArrayRef, buckets: u32) -> Result<ArrayRef> {
    let count = i32::try_from(buckets)
        .ok()
        .filter(|count| *count > 0)
        .ok_or_else(|| Error::invalid(format!("bucket[{buckets}] is out of range")))?;
    let of = |hash: i32| (hash & i32::MAX) % count;
    let micros = |value: i64, unit| of(murmur3::hash_long(temporal::floor_to_micros(value, unit)));
    let bytes = |value: &[u8]| of(murmur3::hash_bytes(value));
    Ok(match array.data_type() {
        DataType::Int32 => unary::<Int32Type>(array, |v| of(murmur3::hash_long(i64::from(v)))),
        DataType::Date32 => unary::<Date32Type>(array, |v| of(murmur3::hash_long(i64::from(v)))),
        DataType::Int64 => unary::<Int64Type>(array, |v| of(murmur3::hash_long(v))),
        DataType::Time64(TimeUnit::Microsecond) => {
            unary::<Time64MicrosecondType>(array, |v| of(murmur3::hash_long(v)))
        }
        DataType::Timestamp(unit @ TimeUnit::Microsecond, _) => {
            unary::<TimestampMicrosecondType>(array, |v| micros(v, *unit))
        }
        DataType::Timestamp(unit @ TimeUnit::Nanosecond, _) => {
            unary::<TimestampNanosecondType>(array, |v| micros(v, *unit))
        }
        DataType::Decimal128(_, _) => unary::<Decimal128Type>(array, |v| of(murmur3::hash_decimal(v))),
        _ => {
            let hashed = map_bytes(array.as_ref(), |values| {
                values.map(|value| value.map(bytes)).collect::<Int32Array>()
            });
            Arc::new(hashed.ok_or_else(|| undefined(Transform::Bucket(buckets), array.as_ref()))?)
        }
    })
}

fn unary<T: ArrowPrimitiveType>(array: &ArrayRef, f: impl Fn(T::Native) -> i32) -> ArrayRef {
    let result: PrimitiveArray<Int32Type> = array.as_primitive::<T>().unary(f);
    Arc::new(result)
}

/// Hands the values of a string or binary array of any layout to `f`, as bytes.
pub(crate) fn map_bytes<R>(
    array: &dyn Array,
    f: impl FnOnce(&mut dyn Iterator<Item = Option<&[u8]>>) -> R,
) -> Option<R> {
    Some(match array.data_type() {
        DataType::Utf8 => f(&mut array.as_string::<i32>().iter().map(|v| v.map(str::as_bytes))),
        DataType::LargeUtf8 => f(&mut array.as_string::<i64>().iter().map(|v| v.map(str::as_bytes))),
        DataType::Utf8View => f(&mut array.as_string_view().iter().map(|v| v.map(str::as_bytes))),
        DataType::Binary => f(&mut array.as_binary::<i32>().iter()),
        DataType::LargeBinary => f(&mut array.as_binary::<i64>().iter()),
        DataType::BinaryView => f(&mut array.as_binary_view().iter()),
        DataType::FixedSizeBinary(_) => f(&mut array.as_fixed_size_binary().iter()),
        _ => return None,
    })
}

fn truncate(array: &ArrayRef, width: u32) -> Result<ArrayRef> {
    let transform = Transform::Truncate(width);
    let signed = i32::try_from(width)
        .ok()
        .filter(|width| *width > 0)
        .ok_or_else(|| Error::invalid(format!("truncate[{width}] is out of range")))?;
    // `width` fits i32, hence usize.
    let length = width as usize;
    Ok(match array.data_type() {
        // At the lowest values the result does not fit; it wraps, as in Java.
        DataType::Int32 => {
            let values = array.as_primitive::<Int32Type>();
            Arc::new(values.unary::<_, Int32Type>(|v| v.wrapping_sub(v.rem_euclid(signed))))
        }
        DataType::Int64 => {
            let values = array.as_primitive::<Int64Type>();
            let signed = i64::from(signed);
            Arc::new(values.unary::<_, Int64Type>(|v| v.wrapping_sub(v.rem_euclid(signed))))
        }
        DataType::Decimal128(_, _) => {
            let values = array.as_primitive::<Decimal128Type>();
            let signed = i128::from(signed);
            let result: PrimitiveArray<Decimal128Type> =
                values.unary(|v| v.wrapping_sub(v.rem_euclid(signed)));
            Arc::new(result.with_data_type(array.data_type().clone()))
        }
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {
            let cut = |value: &[u8]| {
                let text = std::str::from_utf8(value).unwrap_or_default();
                let end = text.char_indices().nth(length).map_or(text.len(), |(at, _)| at);
                text[..end].to_owned()
            };
            let result =
                map_bytes(array.as_ref(), |values| values.map(|v| v.map(cut)).collect::<StringArray>());
            Arc::new(result.ok_or_else(|| undefined(transform, array.as_ref()))?)
        }
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => {
            let result = map_bytes(array.as_ref(), |values| {
                values.map(|v| v.map(|v| &v[..v.len().min(length)])).collect::<BinaryArray>()
            });
            Arc::new(result.ok_or_else(|| undefined(transform, array.as_ref()))?)
        }
        _ => return Err(undefined(transform, array.as_ref())),
    })
}

fn dates(array: &ArrayRef, transform: Transform, of_day: impl Fn(i32) -> i32) -> Result<ArrayRef> {
    Ok(match array.data_type() {
        DataType::Date32 => unary::<Date32Type>(array, of_day),
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            unary::<TimestampMicrosecondType>(array, |v| of_day(temporal::day_of_micros(v)))
        }
        DataType::Timestamp(unit @ TimeUnit::Nanosecond, _) => unary::<TimestampNanosecondType>(array, |v| {
            of_day(temporal::day_of_micros(temporal::floor_to_micros(v, *unit)))
        }),
        _ => return Err(undefined(transform, array.as_ref())),
    })
}

fn hours(array: &ArrayRef) -> Result<ArrayRef> {
    Ok(match array.data_type() {
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            unary::<TimestampMicrosecondType>(array, temporal::hour_of_micros)
        }
        DataType::Timestamp(unit @ TimeUnit::Nanosecond, _) => unary::<TimestampNanosecondType>(array, |v| {
            temporal::hour_of_micros(temporal::floor_to_micros(v, *unit))
        }),
        _ => return Err(undefined(Transform::Hour, array.as_ref())),
    })
}

#[cfg(test)]
mod tests;
