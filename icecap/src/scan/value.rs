//! Iceberg values as DataFusion scalars and back.
//!
//! Both directions are exact or refused: a value that the other side cannot hold is `None` (for pruning,
//! where the caller widens) or an error (for values that become rows).

use datafusion::arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::ScalarValue;
use icecap_table::iceberg::spec::{Datum, Literal, PrimitiveLiteral, PrimitiveType};
use icecap_table::{Error, Result};

use crate::arrow_schema::UTC;

/// The scalar of a primitive literal of type `ty`, in the Arrow type of [`crate::arrow_schema`].
///
/// # Errors
/// `Corrupt` when the literal is not of that type.
pub(super) fn scalar_of(literal: &PrimitiveLiteral, ty: &PrimitiveType) -> Result<ScalarValue> {
    use PrimitiveLiteral as L;
    use PrimitiveType as T;
    let zone = || Some(UTC.into());
    Ok(match (literal, ty) {
        (L::Boolean(v), T::Boolean) => ScalarValue::Boolean(Some(*v)),
        (L::Int(v), T::Int) => ScalarValue::Int32(Some(*v)),
        (L::Int(v), T::Long) => ScalarValue::Int64(Some(i64::from(*v))),
        (L::Long(v), T::Long) => ScalarValue::Int64(Some(*v)),
        (L::Float(v), T::Float) => ScalarValue::Float32(Some(v.0)),
        (L::Float(v), T::Double) => ScalarValue::Float64(Some(f64::from(v.0))),
        (L::Double(v), T::Double) => ScalarValue::Float64(Some(v.0)),
        (L::Int128(v), T::Decimal { precision, scale }) => {
            let digits = |d: &u32| u8::try_from(*d).map_err(|_| mismatch(ty));
            ScalarValue::Decimal128(Some(*v), digits(precision)?, digits(scale)?.cast_signed())
        }
        (L::Int(v), T::Date) => ScalarValue::Date32(Some(*v)),
        (L::Long(v), T::Time) => ScalarValue::Time64Microsecond(Some(*v)),
        (L::Long(v), T::Timestamp) => ScalarValue::TimestampMicrosecond(Some(*v), None),
        (L::Long(v), T::Timestamptz) => ScalarValue::TimestampMicrosecond(Some(*v), zone()),
        (L::Long(v), T::TimestampNs) => ScalarValue::TimestampNanosecond(Some(*v), None),
        (L::Long(v), T::TimestamptzNs) => ScalarValue::TimestampNanosecond(Some(*v), zone()),
        (L::String(v), T::String) => ScalarValue::Utf8(Some(v.clone())),
        (L::UInt128(v), T::Uuid) => ScalarValue::FixedSizeBinary(16, Some(v.to_be_bytes().to_vec())),
        (L::Binary(v), T::Binary) => ScalarValue::Binary(Some(v.clone())),
        (L::Binary(v), T::Uuid) if v.len() == 16 => ScalarValue::FixedSizeBinary(16, Some(v.clone())),
        (L::Binary(v), T::Fixed(length)) if v.len() as u64 == *length => {
            let length = i32::try_from(*length).map_err(|_| mismatch(ty))?;
            ScalarValue::FixedSizeBinary(length, Some(v.clone()))
        }
        _ => return Err(mismatch(ty)),
    })
}

fn mismatch(ty: &PrimitiveType) -> Error {
    Error::corrupt(format!("the table's metadata holds a value that is not of its type {ty}"))
}

/// The scalar of a literal (or of its absence) of primitive type `ty`.
///
/// # Errors
/// `Corrupt` when the literal is not of that type; `Unsupported` when it is nested.
pub(crate) fn scalar_or_null(literal: Option<&Literal>, ty: &PrimitiveType) -> Result<ScalarValue> {
    match literal {
        None => {
            let data_type =
                crate::arrow_schema::arrow_type(&icecap_table::iceberg::spec::Type::Primitive(ty.clone()))?;
            ScalarValue::try_from(&data_type)
                .map_err(|error| Error::bug(format!("no NULL of type {data_type}: {error}")))
        }
        Some(Literal::Primitive(literal)) => scalar_of(literal, ty),
        Some(_) => Err(mismatch(ty)),
    }
}

/// The scalar of a bound, in the Arrow type of the column as it is now.
pub(crate) fn scalar_of_bound(bound: &Datum, ty: &PrimitiveType) -> Option<ScalarValue> {
    scalar_of(bound.literal(), ty).ok()
}

/// Iceberg's binary single-value serialisation (spec, appendix D) of a scalar; `None` for NULL and for
/// types that no Iceberg column has.
pub(super) fn single_value(value: &ScalarValue) -> Option<Vec<u8>> {
    use ScalarValue as S;
    Some(match value {
        S::Boolean(Some(v)) => vec![u8::from(*v)],
        S::Int32(Some(v)) | S::Date32(Some(v)) => v.to_le_bytes().to_vec(),
        S::Int64(Some(v))
        | S::Time64Microsecond(Some(v))
        | S::TimestampMicrosecond(Some(v), _)
        | S::TimestampNanosecond(Some(v), _) => v.to_le_bytes().to_vec(),
        S::Float32(Some(v)) => v.to_le_bytes().to_vec(),
        S::Float64(Some(v)) => v.to_le_bytes().to_vec(),
        S::Decimal128(Some(v), _, _) => v.to_be_bytes().to_vec(),
        S::Utf8(Some(v)) => v.as_bytes().to_vec(),
        S::Binary(Some(v)) | S::FixedSizeBinary(_, Some(v)) => v.clone(),
        _ => return None,
    })
}

/// Iceberg's binary single-value serialisation of a literal of type `ty`.
///
/// # Errors
/// `Corrupt` when the literal is not of that type.
pub(crate) fn bytes_of_literal(literal: &Literal, ty: &PrimitiveType) -> Result<Vec<u8>> {
    single_value(&scalar_or_null(Some(literal), ty)?).ok_or_else(|| mismatch(ty))
}

/// The scalar of a single-value serialisation.
///
/// # Errors
/// `Corrupt` when the bytes are not a value of `ty`.
pub(super) fn scalar_of_bytes(bytes: &[u8], ty: &PrimitiveType) -> Result<ScalarValue> {
    let datum = Datum::try_from_bytes(bytes, ty.clone())?;
    scalar_of(datum.literal(), ty)
}

/// The datum of type `ty` that equals `value` exactly; `None` when there is none.
///
/// A NULL, a NaN and a value that would lose digits or range have none.
pub(super) fn datum_of(value: &ScalarValue, ty: &PrimitiveType) -> Option<Datum> {
    let exact = exact_scalar(value, ty)?;
    Datum::try_from_bytes(&single_value(&exact)?, ty.clone()).ok()
}

fn exact_scalar(value: &ScalarValue, ty: &PrimitiveType) -> Option<ScalarValue> {
    use PrimitiveType as T;
    use ScalarValue as S;
    Some(match ty {
        T::Boolean => match value {
            S::Boolean(Some(v)) => S::Boolean(Some(*v)),
            _ => return None,
        },
        T::Int => S::Int32(Some(i32::try_from(integer(value)?).ok()?)),
        T::Long => S::Int64(Some(i64::try_from(integer(value)?).ok()?)),
        T::Float => {
            let wide = float(value)?;
            #[expect(clippy::cast_possible_truncation, reason = "kept only when nothing is lost")]
            let narrow = wide as f32;
            (f64::from(narrow) == wide).then_some(S::Float32(Some(narrow)))?
        }
        T::Double => S::Float64(Some(float(value)?)),
        T::Decimal { precision, scale } => decimal(value, *precision, *scale)?,
        T::Date => match value {
            S::Date32(Some(v)) => S::Date32(Some(*v)),
            S::Date64(Some(v)) => S::Date32(Some(i32::try_from(exact_div(*v, 86_400_000)?).ok()?)),
            S::TimestampSecond(..)
            | S::TimestampMillisecond(..)
            | S::TimestampMicrosecond(..)
            | S::TimestampNanosecond(..) => {
                let (nanos, zoned) = nanoseconds(value)?;
                let days =
                    (!zoned && nanos % 86_400_000_000_000 == 0).then_some(nanos / 86_400_000_000_000)?;
                S::Date32(Some(i32::try_from(days).ok()?))
            }
            _ => return None,
        },
        T::Time => match value {
            S::Time64Microsecond(Some(v)) => S::Time64Microsecond(Some(*v)),
            S::Time64Nanosecond(Some(v)) => S::Time64Microsecond(Some(exact_div(*v, 1000)?)),
            S::Time32Millisecond(Some(v)) => S::Time64Microsecond(Some(i64::from(*v) * 1000)),
            S::Time32Second(Some(v)) => S::Time64Microsecond(Some(i64::from(*v) * 1_000_000)),
            _ => return None,
        },
        T::Timestamp | T::Timestamptz | T::TimestampNs | T::TimestamptzNs => timestamp(value, ty)?,
        T::String => match value {
            S::Utf8(Some(v)) | S::LargeUtf8(Some(v)) | S::Utf8View(Some(v)) => S::Utf8(Some(v.clone())),
            _ => return None,
        },
        T::Binary => S::Binary(Some(bytes(value)?)),
        T::Uuid => {
            let value = bytes(value)?;
            (value.len() == 16).then_some(S::FixedSizeBinary(16, Some(value)))?
        }
        T::Fixed(length) => {
            let value = bytes(value)?;
            let size = i32::try_from(*length).ok()?;
            (value.len() as u64 == *length).then_some(S::FixedSizeBinary(size, Some(value)))?
        }
    })
}

fn integer(value: &ScalarValue) -> Option<i128> {
    use ScalarValue as S;
    Some(match value {
        S::Int8(Some(v)) => i128::from(*v),
        S::Int16(Some(v)) => i128::from(*v),
        S::Int32(Some(v)) => i128::from(*v),
        S::Int64(Some(v)) => i128::from(*v),
        S::UInt8(Some(v)) => i128::from(*v),
        S::UInt16(Some(v)) => i128::from(*v),
        S::UInt32(Some(v)) => i128::from(*v),
        S::UInt64(Some(v)) => i128::from(*v),
        S::Decimal128(Some(v), _, scale) => {
            let unit = 10_i128.checked_pow(u32::try_from(*scale).ok()?)?;
            (v % unit == 0).then(|| v / unit)?
        }
        _ => return None,
    })
}

fn float(value: &ScalarValue) -> Option<f64> {
    use ScalarValue as S;
    let value = match value {
        S::Float32(Some(v)) => f64::from(*v),
        S::Float64(Some(v)) => *v,
        other => {
            let whole = i64::try_from(integer(other)?).ok()?;
            // Beyond 2^53 not every whole number is a double.
            (whole.unsigned_abs() <= 1 << 53).then(|| {
                #[expect(clippy::cast_precision_loss, reason = "the range was checked")]
                let float = whole as f64;
                float
            })?
        }
    };
    (!value.is_nan()).then_some(value)
}

fn decimal(value: &ScalarValue, precision: u32, scale: u32) -> Option<ScalarValue> {
    let (digits, from) = match value {
        ScalarValue::Decimal128(Some(v), _, from) => (*v, u32::try_from(*from).ok()?),
        other => (integer(other)?, 0),
    };
    let digits = if from <= scale {
        digits.checked_mul(10_i128.checked_pow(scale - from)?)?
    } else {
        let unit = 10_i128.checked_pow(from - scale)?;
        (digits % unit == 0).then(|| digits / unit)?
    };
    (digits.unsigned_abs() < 10_u128.checked_pow(precision)?).then_some(ScalarValue::Decimal128(
        Some(digits),
        u8::try_from(precision).ok()?,
        u8::try_from(scale).ok()?.cast_signed(),
    ))
}

/// Nanoseconds since the epoch, and whether the value has a zone.
fn nanoseconds(value: &ScalarValue) -> Option<(i128, bool)> {
    use ScalarValue as S;
    Some(match value {
        S::TimestampSecond(Some(v), zone) => (i128::from(*v) * 1_000_000_000, zone.is_some()),
        S::TimestampMillisecond(Some(v), zone) => (i128::from(*v) * 1_000_000, zone.is_some()),
        S::TimestampMicrosecond(Some(v), zone) => (i128::from(*v) * 1_000, zone.is_some()),
        S::TimestampNanosecond(Some(v), zone) => (i128::from(*v), zone.is_some()),
        S::Date32(Some(v)) => (i128::from(*v) * 86_400_000_000_000, false),
        _ => return None,
    })
}

fn timestamp(value: &ScalarValue, ty: &PrimitiveType) -> Option<ScalarValue> {
    let (nanos, zoned) = nanoseconds(value)?;
    let micros = || -> Option<i64> { i64::try_from((nanos % 1000 == 0).then_some(nanos / 1000)?).ok() };
    Some(match ty {
        PrimitiveType::Timestamp if !zoned => ScalarValue::TimestampMicrosecond(Some(micros()?), None),
        PrimitiveType::Timestamptz if zoned => ScalarValue::TimestampMicrosecond(Some(micros()?), None),
        PrimitiveType::TimestampNs if !zoned => {
            ScalarValue::TimestampNanosecond(Some(i64::try_from(nanos).ok()?), None)
        }
        PrimitiveType::TimestamptzNs if zoned => {
            ScalarValue::TimestampNanosecond(Some(i64::try_from(nanos).ok()?), None)
        }
        _ => return None,
    })
}

fn exact_div(value: i64, unit: i64) -> Option<i64> {
    (value % unit == 0).then(|| value / unit)
}

fn bytes(value: &ScalarValue) -> Option<Vec<u8>> {
    use ScalarValue as S;
    match value {
        S::Binary(v) | S::LargeBinary(v) | S::BinaryView(v) | S::FixedSizeBinary(_, v) => v.clone(),
        _ => None,
    }
}

/// Whether a comparison of a column of type `ty` cast to `to` orders the same as the column itself, so
/// that the cast may be taken off when the literal converts exactly.
pub(super) fn cast_keeps_order(ty: &PrimitiveType, to: &DataType) -> bool {
    use PrimitiveType as T;
    match (ty, to) {
        (T::Int, DataType::Int64 | DataType::Float64) | (T::Float, DataType::Float64) => true,
        (T::Int | T::Long, DataType::Decimal128(p, s)) => {
            let whole = i16::from(*p) - i16::from(*s);
            *s >= 0 && whole >= if matches!(ty, T::Int) { 10 } else { 19 }
        }
        (T::Decimal { precision, scale }, DataType::Decimal128(p, s)) => u32::try_from(*s).is_ok_and(|s| {
            s >= *scale && u32::from(*p).saturating_sub(s) >= precision.saturating_sub(*scale)
        }),
        (T::Date, DataType::Timestamp(TimeUnit::Microsecond | TimeUnit::Nanosecond, None)) => true,
        (T::Timestamp, DataType::Timestamp(TimeUnit::Nanosecond, None)) => true,
        (T::Timestamptz, DataType::Timestamp(TimeUnit::Nanosecond, Some(_))) => true,
        (T::String, DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8) => true,
        (T::Binary | T::Fixed(_) | T::Uuid, DataType::Binary | DataType::BinaryView) => true,
        _ => false,
    }
}
