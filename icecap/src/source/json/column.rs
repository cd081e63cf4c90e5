//! JSON values of one place in many objects as one array.

use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayRef, BooleanArray, Date32Array, Float32Array, Float64Array, Int32Array, Int64Array, ListArray,
    StringArray, StructArray, TimestampMicrosecondArray,
};
use datafusion::arrow::buffer::{NullBuffer, OffsetBuffer};
use datafusion::arrow::datatypes::{DataType, TimeUnit};
use serde_json::{Number, Value};

use crate::source::csv::value;

/// A value that is not of its column's type.
pub(super) struct Misfit {
    /// The row among those given.
    pub(super) row: usize,
    /// The type.
    pub(super) ty: String,
    /// The value, shortened.
    pub(super) value: String,
}

fn misfit(row: usize, ty: &DataType, value: &Value) -> Misfit {
    const SHOWN: usize = 80;
    Misfit { row, ty: ty.to_string(), value: value.to_string().chars().take(SHOWN).collect() }
}

/// A number as the double that it is; `None` for an integer that no double holds.
pub(super) fn double(number: &Number) -> Option<f64> {
    let double = number.as_f64().filter(|double| double.is_finite())?;
    let integer = number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from));
    integer.is_none_or(|integer| double as i128 == integer).then_some(double)
}

type Values<'a> = [Option<&'a Value>];

/// The array of values; an absent one and `null` are NULL.
pub(super) fn column(ty: &DataType, values: &Values<'_>) -> Result<ArrayRef, Misfit> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    Ok(match ty {
        DataType::Boolean => Arc::new(BooleanArray::from(each(ty, values, Value::as_bool)?)),
        DataType::Int32 => {
            let int = |value: &Value| value.as_i64().and_then(|value| i32::try_from(value).ok());
            Arc::new(Int32Array::from(each(ty, values, int)?))
        }
        DataType::Int64 => Arc::new(Int64Array::from(each(ty, values, Value::as_i64)?)),
        DataType::Float32 => {
            let float = |value: &Value| {
                let double = double(value.as_number()?)?;
                Some(double as f32).filter(|float| float.is_finite())
            };
            Arc::new(Float32Array::from(each(ty, values, float)?))
        }
        DataType::Float64 => {
            Arc::new(Float64Array::from(each(ty, values, |value| double(value.as_number()?))?))
        }
        DataType::Utf8 => {
            let text = |value: &Value| text(value).or_else(|| Some(value.to_string()));
            Arc::new(StringArray::from(each(ty, values, text)?))
        }
        DataType::Date32 => {
            Arc::new(Date32Array::from(each(ty, values, |value| value::date(value.as_str()?))?))
        }
        DataType::Timestamp(TimeUnit::Microsecond, zone) => {
            let parse = if zone.is_some() { value::timestamptz } else { value::timestamp };
            let values = each(ty, values, |value| parse(value.as_str()?))?;
            Arc::new(TimestampMicrosecondArray::from(values).with_timezone_opt(zone.clone()))
        }
        DataType::List(element) => {
            let mut lengths = Vec::with_capacity(values.len());
            let mut nulls = Vec::with_capacity(values.len());
            let (mut inner, mut owners) = (Vec::new(), Vec::new());
            for (row, value) in values.iter().enumerate() {
                let list = match present(*value) {
                    None => None,
                    Some(Value::Array(list)) => Some(list),
                    Some(other) => return Err(misfit(row, ty, other)),
                };
                nulls.push(list.is_some());
                lengths.push(list.map_or(0, Vec::len));
                for value in list.into_iter().flatten() {
                    inner.push(Some(value));
                    owners.push(row);
                }
            }
            let inner = column(element.data_type(), &inner).map_err(|mut misfit| {
                misfit.row = owners.get(misfit.row).copied().unwrap_or_default();
                misfit
            })?;
            let offsets = OffsetBuffer::from_lengths(lengths);
            let nulls = NullBuffer::from(nulls);
            Arc::new(ListArray::new(Arc::clone(element), offsets, inner, Some(nulls)))
        }
        DataType::Struct(fields) => {
            let mut objects = Vec::with_capacity(values.len());
            for (row, value) in values.iter().enumerate() {
                objects.push(match present(*value) {
                    None => None,
                    Some(Value::Object(object)) => Some(object),
                    Some(other) => return Err(misfit(row, ty, other)),
                });
            }
            let columns = fields
                .iter()
                .map(|field| {
                    let inner: Vec<Option<&Value>> = objects
                        .iter()
                        .map(|object| object.and_then(|object| object.get(field.name())))
                        .collect();
                    column(field.data_type(), &inner)
                })
                .collect::<Result<Vec<_>, _>>()?;
            let nulls: NullBuffer = objects.iter().map(Option::is_some).collect();
            Arc::new(StructArray::new(fields.clone(), columns, Some(nulls)))
        }
        // Types that are read are checked when they are given.
        other => datafusion::arrow::array::new_null_array(other, values.len()),
    })
}

fn present(value: Option<&Value>) -> Option<&Value> {
    value.filter(|value| !value.is_null())
}

fn each<T>(
    ty: &DataType,
    values: &Values<'_>,
    take: impl Fn(&Value) -> Option<T>,
) -> Result<Vec<Option<T>>, Misfit> {
    values
        .iter()
        .enumerate()
        .map(|(row, value)| match present(*value) {
            None => Ok(None),
            Some(value) => take(value).map(Some).ok_or_else(|| misfit(row, ty, value)),
        })
        .collect()
}
