//! Write defaults of a schema as literals.

use datafusion::common::ScalarValue;
use icecap_table::iceberg::spec::{Literal, NestedField, PrimitiveLiteral, PrimitiveType, Type};
use icecap_table::{Error, Result};

use crate::arrow_schema::UTC;

/// The write default of `field`.
pub(super) fn scalar(value: &Literal, field: &NestedField) -> Result<ScalarValue> {
    let (Type::Primitive(ty), Literal::Primitive(value)) = (field.field_type.as_ref(), value) else {
        return Err(Error::unsupported(format!(
            "the write default of the nested column {} is not supported yet: give the column a value",
            field.name
        )));
    };
    use PrimitiveLiteral as L;
    use PrimitiveType as T;
    let utc = || Some(UTC.into());
    Ok(match (ty, value) {
        (T::Boolean, L::Boolean(value)) => ScalarValue::Boolean(Some(*value)),
        (T::Int, L::Int(value)) => ScalarValue::Int32(Some(*value)),
        (T::Long, L::Long(value)) => ScalarValue::Int64(Some(*value)),
        (T::Float, L::Float(value)) => ScalarValue::Float32(Some(value.0)),
        (T::Double, L::Double(value)) => ScalarValue::Float64(Some(value.0)),
        (T::Date, L::Int(value)) => ScalarValue::Date32(Some(*value)),
        (T::Time, L::Long(value)) => ScalarValue::Time64Microsecond(Some(*value)),
        (T::Timestamp, L::Long(value)) => ScalarValue::TimestampMicrosecond(Some(*value), None),
        (T::Timestamptz, L::Long(value)) => ScalarValue::TimestampMicrosecond(Some(*value), utc()),
        (T::TimestampNs, L::Long(value)) => ScalarValue::TimestampNanosecond(Some(*value), None),
        (T::TimestamptzNs, L::Long(value)) => ScalarValue::TimestampNanosecond(Some(*value), utc()),
        (T::String, L::String(value)) => ScalarValue::Utf8(Some(value.clone())),
        (T::Uuid, L::UInt128(value)) => ScalarValue::FixedSizeBinary(16, Some(value.to_be_bytes().to_vec())),
        (T::Binary, L::Binary(value)) => ScalarValue::Binary(Some(value.clone())),
        (T::Fixed(length), L::Binary(value)) if value.len() as u64 == *length => {
            let length = i32::try_from(*length).map_err(|_| wrong(field))?;
            ScalarValue::FixedSizeBinary(length, Some(value.clone()))
        }
        (T::Decimal { precision, scale }, L::Int128(value)) => {
            let precision = u8::try_from(*precision).map_err(|_| wrong(field))?;
            let scale = i8::try_from(*scale).map_err(|_| wrong(field))?;
            ScalarValue::Decimal128(Some(*value), precision, scale)
        }
        _ => return Err(wrong(field)),
    })
}

fn wrong(field: &NestedField) -> Error {
    Error::corrupt(format!(
        "the write default of column {} is not of its type {}",
        field.name, field.field_type
    ))
}
