//! What a partition value says of its source column: the transforms, read backwards.
//!
//! A row predicate is not projected onto partition values; the partition value is taken back to the range
//! (or prefix, or buckets) of source values that it stands for, and the row predicate is judged over that.
//! One step serves the inclusive and the strict judgment, any number of transforms of one column, and bounds.

use iceberg::spec::{PrimitiveLiteral, PrimitiveType, Transform};

use super::facts::Facts;
use super::value::Value;

/// The facts of a source column of type `ty` whose values `transform` takes into `low ..= high`.
///
/// `None` where the transform tells nothing of its source. NULL and NaN are the caller's to add: the facts
/// returned are of proper values only.
pub(crate) fn source_facts(
    transform: &Transform,
    ty: &PrimitiveType,
    low: &PrimitiveLiteral,
    high: &PrimitiveLiteral,
) -> Option<Facts> {
    let facts = Facts::all_values();
    match transform {
        Transform::Identity => {
            let (low, high) = (Value::of_literal(low, ty)?, Value::of_literal(high, ty)?);
            Some(facts.with_bounds(Some(low), Some(high)))
        }
        Transform::Truncate(width) => Some(truncated(ty, *width, low, high)),
        Transform::Bucket(count) => match (low, high) {
            (PrimitiveLiteral::Int(low), PrimitiveLiteral::Int(high)) if low <= high => {
                Some(facts.with_buckets(*count, *low, *high))
            }
            _ => Some(facts),
        },
        Transform::Year | Transform::Month | Transform::Day | Transform::Hour => {
            let (PrimitiveLiteral::Int(low), PrimitiveLiteral::Int(high)) = (low, high) else {
                return Some(facts);
            };
            // Iceberg before 0.11 rounded times before 1970 towards 1970, so partition `p` may hold rows
            // of `p - 1` there. Days of dates were never affected.
            let exact = matches!((transform, ty), (Transform::Day, PrimitiveType::Date));
            let first = i128::from(*low) - i128::from(*low <= 0 && !exact);
            let start = period_start(transform, ty, first).map(Value::Int);
            let end = period_start(transform, ty, i128::from(*high) + 1).map(|next| Value::Int(next - 1));
            Some(facts.with_bounds(start, end))
        }
        Transform::Void | Transform::Unknown => None,
    }
}

fn truncated(ty: &PrimitiveType, width: u32, low: &PrimitiveLiteral, high: &PrimitiveLiteral) -> Facts {
    let facts = Facts::all_values();
    let (Some(low), Some(high)) = (Value::of_literal(low, ty), Value::of_literal(high, ty)) else {
        return facts;
    };
    match (low, high) {
        (Value::Int(low), Value::Int(high)) => {
            let end = high + i128::from(width.max(1)) - 1;
            // Truncating the least integers wraps round to the greatest.
            let wrapped = match ty {
                PrimitiveType::Int => end > i128::from(i32::MAX),
                PrimitiveType::Long => end > i128::from(i64::MAX),
                _ => false,
            };
            if wrapped { facts } else { facts.with_bounds(Some(Value::Int(low)), Some(Value::Int(end))) }
        }
        (Value::Bytes(low), Value::Bytes(high)) => {
            let whole = |bytes: &[u8]| match ty {
                // Widths count code points; engines that count anything else agree on ASCII.
                PrimitiveType::String => bytes.is_ascii() && bytes.len() < width as usize,
                _ => bytes.len() < width as usize,
            };
            if low == high && !whole(&low) {
                return facts.with_prefix(low);
            }
            let below_next = Facts::all_values().with_prefix(high.clone());
            let from_low = facts.with_bounds(Some(Value::Bytes(low)), None);
            let high_is_whole = whole(&high);
            let up_to_high = Facts::all_values().with_bounds(None, Some(Value::Bytes(high)));
            from_low.and(if high_is_whole { up_to_high } else { below_next.without_lower() })
        }
        _ => facts,
    }
}

/// The first value of period `index` (years, months, days or hours from 1970), in `ty`'s unit.
fn period_start(transform: &Transform, ty: &PrimitiveType, index: i128) -> Option<i128> {
    const MICROS_PER_HOUR: i128 = 3_600_000_000;
    let days = match transform {
        Transform::Year => Some(days_from_civil(1970 + index, 1)),
        Transform::Month => Some(days_from_civil(1970 + index.div_euclid(12), 1 + index.rem_euclid(12))),
        Transform::Day => Some(index),
        _ => None,
    };
    let micros = days.map_or(index * MICROS_PER_HOUR, |days| days * 24 * MICROS_PER_HOUR);
    match ty {
        PrimitiveType::Date => days,
        PrimitiveType::Timestamp | PrimitiveType::Timestamptz => Some(micros),
        PrimitiveType::TimestampNs | PrimitiveType::TimestamptzNs => Some(micros * 1000),
        _ => None,
    }
}

/// Days from 1970-01-01 to the first of `month` (1 to 12) in the proleptic Gregorian calendar.
fn days_from_civil(year: i128, month: i128) -> i128 {
    // Years begin in March, so that the leap day is the last.
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use chrono::NaiveDate;

    use super::*;

    #[test]
    fn the_calendar_agrees_with_chrono() {
        let epoch = NaiveDate::from_ymd_opt(1970, 1, 1).unwrap();
        for year in (-9999..9999).step_by(7) {
            for month in 1..=12u32 {
                let first = NaiveDate::from_ymd_opt(year, month, 1).unwrap();
                let days = days_from_civil(i128::from(year), i128::from(month));
                assert_eq!(days, i128::from((first - epoch).num_days()), "{year}-{month}");
            }
        }
    }

    #[test]
    fn periods_begin_where_they_should() {
        let start = |transform, index| period_start(&transform, &PrimitiveType::Timestamp, index);
        assert_eq!(start(Transform::Year, 30), Some(946_684_800_000_000));
        assert_eq!(start(Transform::Month, -1), Some(-31 * 86_400_000_000));
        assert_eq!(start(Transform::Day, 1), Some(86_400_000_000));
        assert_eq!(start(Transform::Hour, 2), Some(7_200_000_000));
        assert_eq!(period_start(&Transform::Month, &PrimitiveType::Date, 1), Some(31));
        assert_eq!(period_start(&Transform::Hour, &PrimitiveType::Date, 1), None);
        assert_eq!(period_start(&Transform::Day, &PrimitiveType::TimestampNs, 1), Some(86_400_000_000_000));
    }
}
