//! Partition values as people read them, in paths: as Iceberg Java prints them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use datafusion::arrow::array::{Array, AsArray};
use datafusion::arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int32Type, Int64Type,
    Time64MicrosecondType, TimeUnit, TimestampMicrosecondType, TimestampNanosecondType,
};
use icecap_table::iceberg::spec::{PrimitiveType, Transform};

use crate::write::transform::{civil, map_bytes};

/// The text of row `row` of `array`, a result of `transform` of type `ty`.
pub(crate) fn human(transform: Transform, ty: &PrimitiveType, array: &dyn Array, row: usize) -> String {
    if array.is_null(row) {
        return "null".to_owned();
    }
    match (transform, array.data_type()) {
        (Transform::Year, DataType::Int32) => format!("{:04}", 1970 + i64::from(int(array, row))),
        (Transform::Month, DataType::Int32) => {
            let months = i64::from(int(array, row));
            format!("{:04}-{:02}", 1970 + months.div_euclid(12), months.rem_euclid(12) + 1)
        }
        (Transform::Hour, DataType::Int32) => {
            let hours = int(array, row);
            format!("{}-{:02}", date(hours.div_euclid(24)), hours.rem_euclid(24))
        }
        (_, DataType::Boolean) => array.as_boolean().value(row).to_string(),
        (_, DataType::Int32) => int(array, row).to_string(),
        (_, DataType::Int64) => array.as_primitive::<Int64Type>().value(row).to_string(),
        (_, DataType::Float32) => format!("{:?}", array.as_primitive::<Float32Type>().value(row)),
        (_, DataType::Float64) => format!("{:?}", array.as_primitive::<Float64Type>().value(row)),
        (_, DataType::Date32) => date(array.as_primitive::<Date32Type>().value(row)),
        (_, DataType::Time64(TimeUnit::Microsecond)) => {
            time(array.as_primitive::<Time64MicrosecondType>().value(row), 1_000_000)
        }
        (_, DataType::Timestamp(TimeUnit::Microsecond, zone)) => {
            timestamp(array.as_primitive::<TimestampMicrosecondType>().value(row), 1_000_000, zone.is_some())
        }
        (_, DataType::Timestamp(TimeUnit::Nanosecond, zone)) => timestamp(
            array.as_primitive::<TimestampNanosecondType>().value(row),
            1_000_000_000,
            zone.is_some(),
        ),
        (_, DataType::Decimal128(_, scale)) => {
            decimal(array.as_primitive::<Decimal128Type>().value(row), usize::from(scale.unsigned_abs()))
        }
        _ => bytes(ty, array, row),
    }
}

fn int(array: &dyn Array, row: usize) -> i32 {
    array.as_primitive::<Int32Type>().value(row)
}

fn date(day: i32) -> String {
    let (year, month, day) = civil(day);
    format!("{year:04}-{month:02}-{day:02}")
}

fn time(of_day: i64, per_second: i64) -> String {
    let (seconds, fraction) = (of_day.div_euclid(per_second), of_day.rem_euclid(per_second));
    let mut text = format!("{:02}:{:02}:{:02}", seconds / 3_600, seconds / 60 % 60, seconds % 60);
    if fraction != 0 {
        let digits = if per_second == 1_000_000 { 6 } else { 9 };
        text.push_str(&format!(".{fraction:0digits$}"));
    }
    text
}

fn timestamp(value: i64, per_second: i64, zoned: bool) -> String {
    let per_day = per_second * 86_400;
    // i64 microseconds span less than 2^28 days.
    let day = value.div_euclid(per_day) as i32;
    let zone = if zoned { "Z" } else { "" };
    format!("{}T{}{zone}", date(day), time(value.rem_euclid(per_day), per_second))
}

fn decimal(unscaled: i128, scale: usize) -> String {
    let digits = format!("{:0width$}", unscaled.unsigned_abs(), width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    let sign = if unscaled < 0 { "-" } else { "" };
    if scale == 0 { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") }
}

fn bytes(ty: &PrimitiveType, array: &dyn Array, row: usize) -> String {
    let value = map_bytes(array.slice(row, 1).as_ref(), |values| values.next().flatten().map(<[u8]>::to_vec))
        .flatten()
        .unwrap_or_default();
    match ty {
        PrimitiveType::String => String::from_utf8_lossy(&value).into_owned(),
        PrimitiveType::Uuid => match uuid::Uuid::from_slice(&value) {
            Ok(uuid) => uuid.hyphenated().to_string(),
            Err(_) => BASE64.encode(&value),
        },
        _ => BASE64.encode(&value),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use datafusion::arrow::array::*;

    use super::*;

    fn one(transform: Transform, ty: PrimitiveType, array: impl Array + 'static) -> String {
        human(transform, &ty, &(Arc::new(array) as ArrayRef), 0)
    }

    #[test]
    fn values_print_as_in_iceberg_java() {
        use PrimitiveType as T;
        let int = |v: i32| Int32Array::from(vec![v]);
        assert_eq!(one(Transform::Year, T::Int, int(-1)), "1969");
        assert_eq!(one(Transform::Month, T::Int, int(-1)), "1969-12");
        assert_eq!(one(Transform::Day, T::Date, Date32Array::from(vec![-1])), "1969-12-31");
        assert_eq!(one(Transform::Hour, T::Int, int(-1)), "1969-12-31-23");
        assert_eq!(one(Transform::Bucket(4), T::Int, int(3)), "3");
        assert_eq!(
            one(Transform::Identity, T::Time, Time64MicrosecondArray::from(vec![61_000_001])),
            "00:01:01.000001"
        );
        let stamp = TimestampMicrosecondArray::from(vec![-1]).with_timezone("UTC");
        assert_eq!(one(Transform::Identity, T::Timestamptz, stamp), "1969-12-31T23:59:59.999999Z");
        let stamp = TimestampNanosecondArray::from(vec![0]);
        assert_eq!(one(Transform::Identity, T::TimestampNs, stamp), "1970-01-01T00:00:00");
        let decimal = |v: i128| Decimal128Array::from(vec![v]).with_precision_and_scale(9, 2).unwrap();
        let ty = || T::Decimal { precision: 9, scale: 2 };
        assert_eq!(one(Transform::Identity, ty(), decimal(-5)), "-0.05");
        assert_eq!(one(Transform::Identity, ty(), decimal(12345)), "123.45");
        assert_eq!(one(Transform::Identity, T::Boolean, BooleanArray::from(vec![true])), "true");
        assert_eq!(one(Transform::Identity, T::Double, Float64Array::from(vec![f64::NAN])), "NaN");
        assert_eq!(one(Transform::Identity, T::Binary, BinaryArray::from(vec![&[1_u8, 2, 3][..]])), "AQID");
        assert_eq!(one(Transform::Identity, T::String, StringArray::from(vec!["é/"])), "é/");
        assert_eq!(one(Transform::Void, T::Int, Int32Array::from(vec![None])), "null");
    }
}
