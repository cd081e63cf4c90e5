//! Numbers to numbers. A whole number, a decimal's digits and a magnitude are never lost; that a binary fraction
//! keeps so many digits and no more is its nature, and no error.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, Decimal128Array};
use datafusion::arrow::datatypes::{
    DataType, Decimal128Type, Decimal256Type, Float32Type, Float64Type, i256,
};
use icecap_table::{Error, Result};

use super::cast::{arrow_cast, bad_value, checked};
use crate::sql::assign::type_name;

/// Stores numbers as numbers of type `to`.
pub(super) fn convert(array: &ArrayRef, to: &DataType, path: &str) -> Result<ArrayRef> {
    use DataType as D;
    let array = &widened(array)?;
    let from = array.data_type();
    let range = format!("does not fit {}", type_name(to));
    match (from, to) {
        _ if from == to => Ok(Arc::clone(array)),
        (D::Float32 | D::Float64, D::Int32 | D::Int64) => {
            no_fraction(array, path)?;
            checked(array, to, path, &range)
        }
        (D::Float64, D::Float32) => {
            let stored = checked(array, to, path, &range)?;
            let (wide, narrow) = (array.as_primitive::<Float64Type>(), stored.as_primitive::<Float32Type>());
            let lost = (0..wide.len()).find(|&row| {
                wide.is_valid(row) && wide.value(row).is_finite() && !narrow.value(row).is_finite()
            });
            match lost {
                Some(row) => Err(bad_value(wide, row, path, &range)),
                None => Ok(stored),
            }
        }
        (D::Float32, D::Decimal128(precision, scale)) => {
            let values = array.as_primitive::<Float32Type>();
            decimals(
                array,
                values.iter().map(|value| value.map(|value| format!("{value:e}"))),
                *precision,
                *scale,
                path,
            )
        }
        (D::Float64, D::Decimal128(precision, scale)) => {
            let values = array.as_primitive::<Float64Type>();
            decimals(
                array,
                values.iter().map(|value| value.map(|value| format!("{value:e}"))),
                *precision,
                *scale,
                path,
            )
        }
        (D::Decimal128(_, scale) | D::Decimal256(_, scale), D::Int32 | D::Int64) => {
            no_digits(array, *scale, 0, path)?;
            checked(array, to, path, &range)
        }
        (D::Decimal128(_, given) | D::Decimal256(_, given), D::Decimal128(_, kept)) => {
            no_digits(array, *given, *kept, path)?;
            checked(array, to, path, &range)
        }
        _ => checked(array, to, path, &range),
    }
}

/// Small floats and decimals as those that the checks read.
fn widened(array: &ArrayRef) -> Result<ArrayRef> {
    match array.data_type() {
        DataType::Float16 => arrow_cast(array, &DataType::Float32),
        DataType::Decimal32(precision, scale) | DataType::Decimal64(precision, scale) => {
            arrow_cast(array, &DataType::Decimal128(*precision, *scale))
        }
        _ => Ok(Arc::clone(array)),
    }
}

fn no_fraction(array: &ArrayRef, path: &str) -> Result<()> {
    let wide = arrow_cast(array, &DataType::Float64)?;
    let wide = wide.as_primitive::<Float64Type>();
    let lost = (0..wide.len()).find(|&row| {
        let value = wide.value(row);
        wide.is_valid(row) && value.is_finite() && value.fract() != 0.0
    });
    match lost {
        Some(row) => Err(bad_value(array, row, path, "has a fraction, which the column cannot hold")),
        None => Ok(()),
    }
}

/// Whether every decimal keeps all its digits at scale `kept`.
fn no_digits(array: &ArrayRef, given: i8, kept: i8, path: &str) -> Result<()> {
    let Some(dropped) =
        given.checked_sub(kept).and_then(|dropped| u32::try_from(dropped).ok()).filter(|d| *d > 0)
    else {
        return Ok(());
    };
    let lost = match array.data_type() {
        DataType::Decimal128(..) => {
            let values = array.as_primitive::<Decimal128Type>();
            // A divisor beyond the type leaves nothing but zero whole.
            let divisor = 10i128.checked_pow(dropped);
            (0..values.len()).find(|&row| {
                let value = values.value(row);
                values.is_valid(row) && divisor.map_or(value, |divisor| value % divisor) != 0
            })
        }
        _ => {
            let values = array.as_primitive::<Decimal256Type>();
            let divisor = i256::from_i128(10).checked_pow(dropped);
            (0..values.len()).find(|&row| {
                let value = values.value(row);
                let rest = divisor.map_or(Some(value), |divisor| value.checked_rem(divisor));
                values.is_valid(row) && rest != Some(i256::ZERO)
            })
        }
    };
    match lost {
        Some(row) if kept == 0 => {
            Err(bad_value(array, row, path, "has a fraction, which the column would lose"))
        }
        Some(row) => {
            Err(bad_value(array, row, path, &format!("has more than {kept} digits after the point")))
        }
        None => Ok(()),
    }
}

/// Binary fractions as decimals, by the shortest digits that mean the same binary fraction.
fn decimals(
    array: &ArrayRef,
    values: impl Iterator<Item = Option<String>>,
    precision: u8,
    scale: i8,
    path: &str,
) -> Result<ArrayRef> {
    let mut out: Vec<Option<i128>> = Vec::with_capacity(array.len());
    for (row, value) in values.enumerate() {
        out.push(match value {
            None => None,
            Some(text) => match exact(&text, precision, scale) {
                Ok(value) => Some(value),
                Err(Lost::Range) => {
                    return Err(bad_value(
                        array,
                        row,
                        path,
                        &format!("does not fit decimal({precision}, {scale})"),
                    ));
                }
                Err(Lost::Digits) => {
                    return Err(bad_value(
                        array,
                        row,
                        path,
                        &format!("has more than {scale} digits after the point"),
                    ));
                }
            },
        });
    }
    let decimals = Decimal128Array::from(out).with_precision_and_scale(precision, scale);
    match decimals {
        Ok(decimals) => Ok(Arc::new(decimals)),
        Err(error) => Err(Error::bug(format!("decimal({precision}, {scale})")).with_source(error)),
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Lost {
    Range,
    Digits,
}

/// `1.25e3` at a scale, exactly.
fn exact(text: &str, precision: u8, scale: i8) -> Result<i128, Lost> {
    let (mantissa, exponent) = text.split_once('e').ok_or(Lost::Range)?;
    let exponent: i32 = exponent.parse().map_err(|_| Lost::Range)?;
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits: i128 = format!("{whole}{fraction}").parse().map_err(|_| Lost::Range)?;
    if digits == 0 {
        return Ok(0);
    }
    let places = i32::try_from(fraction.len()).map_err(|_| Lost::Range)?;
    let power = exponent - places + i32::from(scale);
    let value = if let Ok(power) = u32::try_from(power) {
        10i128.checked_pow(power).and_then(|factor| digits.checked_mul(factor)).ok_or(Lost::Range)?
    } else {
        match 10i128.checked_pow(power.unsigned_abs()) {
            Some(divisor) if digits % divisor == 0 => digits / divisor,
            _ => return Err(Lost::Digits),
        }
    };
    let limit = 10i128.checked_pow(u32::from(precision)).ok_or(Lost::Range)?;
    if value.abs() < limit { Ok(value) } else { Err(Lost::Range) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_exact_or_not_at_all() {
        assert_eq!(exact("1.25e0", 10, 2), Ok(125));
        assert_eq!(exact("-1.25e3", 10, 2), Ok(-125_000));
        assert_eq!(exact("5e-1", 10, 0), Err(Lost::Digits));
        assert_eq!(exact("1e2", 2, 0), Err(Lost::Range));
        assert_eq!(exact("1e300", 38, 0), Err(Lost::Range));
        assert_eq!(exact("1e-300", 38, 38), Err(Lost::Digits));
        assert_eq!(exact("0e0", 1, 1), Ok(0));
        assert_eq!(exact("NaN", 1, 1), Err(Lost::Range));
        assert_eq!(exact("inf", 1, 1), Err(Lost::Range));
        assert_eq!(exact("1e1", 3, 1), Ok(100));
    }
}
