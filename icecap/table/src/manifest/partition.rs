//! Partition values in manifests, each in the Avro type of its Iceberg type.

use iceberg::spec::{Literal, PrimitiveLiteral, PrimitiveType, Struct, StructType, Type};
use uuid::Uuid;

use super::Broken;
use super::schema::decimal_bytes;
use super::value::{Value, put_bytes, put_long, put_optional};
use crate::error::{Error, Result};

/// A tuple as it was read; a field that the file does not have is NULL.
pub(super) fn tuple(value: &Value<'_>, types: &StructType) -> Result<Struct, Broken> {
    let values =
        types.fields().iter().map(|field| match (value.field(field.id), field.field_type.as_ref()) {
            (Value::Null, _) => Ok(None),
            (value, Type::Primitive(kind)) => match literal(value, kind) {
                Some(literal) => Ok(Some(Literal::Primitive(literal))),
                None => Err(Broken::Bytes(format!("partition {}: not a value of type {kind}", field.name))),
            },
            _ => Err(Broken::Bytes(format!("partition {}: not of a primitive type", field.name))),
        });
    Ok(Struct::from_iter(values.collect::<Result<Vec<_>, _>>()?))
}

fn literal(value: &Value<'_>, kind: &PrimitiveType) -> Option<PrimitiveLiteral> {
    use PrimitiveLiteral as L;
    use PrimitiveType as P;
    Some(match (kind, value) {
        (P::Boolean, Value::Boolean(value)) => L::Boolean(*value),
        (P::Int | P::Date, Value::Long(value)) => L::Int(i32::try_from(*value).ok()?),
        (
            P::Long | P::Time | P::Timestamp | P::Timestamptz | P::TimestampNs | P::TimestamptzNs,
            Value::Long(value),
        ) => L::Long(*value),
        (P::Float, Value::Float(value)) => L::Float((*value).into()),
        (P::Double, Value::Float(value)) => L::Double(f64::from(*value).into()),
        (P::Double, Value::Double(value)) => L::Double((*value).into()),
        (P::String, Value::Bytes(value)) => L::String(std::str::from_utf8(value).ok()?.to_owned()),
        (P::Uuid, Value::Bytes(value)) => L::UInt128(uuid(value)?.as_u128()),
        (P::Binary, Value::Bytes(value)) => L::Binary(value.to_vec()),
        (P::Fixed(length), Value::Bytes(value)) if value.len() as u64 == *length => L::Binary(value.to_vec()),
        (P::Decimal { .. }, Value::Bytes(value)) => L::Int128(unscaled(value)?),
        _ => return None,
    })
}

/// Sixteen bytes; some writers put the text.
fn uuid(value: &[u8]) -> Option<Uuid> {
    match Uuid::from_slice(value) {
        Ok(uuid) => Some(uuid),
        Err(_) => Uuid::try_parse_ascii(value).ok(),
    }
}

/// A big-endian number in two's complement.
fn unscaled(value: &[u8]) -> Option<i128> {
    let negative = value.first().is_some_and(|byte| byte & 0x80 != 0);
    let mut bytes = [if negative { 0xff } else { 0 }; 16];
    let at = bytes.len().checked_sub(value.len())?;
    bytes[at..].copy_from_slice(value);
    (!value.is_empty()).then(|| i128::from_be_bytes(bytes))
}

/// Encodes a tuple.
///
/// # Errors
/// `Invalid` when it is not of these types.
pub(super) fn put_tuple(out: &mut Vec<u8>, tuple: &Struct, types: &StructType) -> Result<()> {
    if tuple.fields().len() != types.fields().len() {
        return Err(Error::invalid("a partition tuple has not as many values as its spec has fields"));
    }
    for (value, field) in tuple.iter().zip(types.fields()) {
        let wrong =
            || Error::invalid("a partition value is not of its type").with("partition field", &field.name);
        match (value, field.field_type.as_ref()) {
            (None, _) => put_long(out, 0),
            (Some(Literal::Primitive(value)), Type::Primitive(kind)) => {
                let mut encoded = Vec::new();
                put_literal(&mut encoded, value, kind).ok_or_else(wrong)?;
                put_optional(out, Some(encoded), |out, encoded| out.extend(encoded));
            }
            _ => return Err(wrong()),
        }
    }
    Ok(())
}

fn put_literal(out: &mut Vec<u8>, value: &PrimitiveLiteral, kind: &PrimitiveType) -> Option<()> {
    use PrimitiveLiteral as L;
    use PrimitiveType as P;
    match (kind, value) {
        (P::Boolean, L::Boolean(value)) => out.push(u8::from(*value)),
        (P::Int | P::Date, L::Int(value)) => put_long(out, i64::from(*value)),
        (
            P::Long | P::Time | P::Timestamp | P::Timestamptz | P::TimestampNs | P::TimestamptzNs,
            L::Long(value),
        ) => put_long(out, *value),
        (P::Float, L::Float(value)) => out.extend(value.0.to_le_bytes()),
        (P::Double, L::Double(value)) => out.extend(value.0.to_le_bytes()),
        (P::String, L::String(value)) => put_bytes(out, value.as_bytes()),
        (P::Uuid, L::UInt128(value)) => out.extend(value.to_be_bytes()),
        (P::Binary, L::Binary(value)) => put_bytes(out, value),
        (P::Fixed(length), L::Binary(value)) if value.len() as u64 == *length => out.extend(value),
        (P::Decimal { precision, .. }, L::Int128(value)) => {
            let bytes = value.to_be_bytes();
            let (cut, kept) = bytes.split_at(bytes.len() - decimal_bytes(*precision));
            let sign = if *value < 0 { 0xff } else { 0 };
            let fits = cut.iter().all(|byte| *byte == sign) && (kept[0] & 0x80 == sign & 0x80);
            fits.then(|| out.extend(kept))?;
        }
        _ => return None,
    }
    Some(())
}
