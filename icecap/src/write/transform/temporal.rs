//! Calendar arithmetic of the year, month, day and hour transforms, floored before the epoch.

use datafusion::arrow::datatypes::TimeUnit;

const MICROS_PER_DAY: i64 = 86_400_000_000;
const MICROS_PER_HOUR: i64 = 3_600_000_000;
const NANOS_PER_MICRO: i64 = 1_000;

/// How many of `unit` make a microsecond step, as a floor division of a value of that unit.
pub(super) fn floor_to_micros(value: i64, unit: TimeUnit) -> i64 {
    match unit {
        TimeUnit::Nanosecond => value.div_euclid(NANOS_PER_MICRO),
        TimeUnit::Microsecond => value,
        TimeUnit::Millisecond => value.saturating_mul(1_000),
        TimeUnit::Second => value.saturating_mul(1_000_000),
    }
}

/// Days since the epoch of microseconds since the epoch.
pub(super) fn day_of_micros(micros: i64) -> i32 {
    // i64 microseconds span less than 2^28 days.
    micros.div_euclid(MICROS_PER_DAY) as i32
}

/// Hours since the epoch of microseconds since the epoch.
///
/// Beyond i32's hours (year 246,953) it wraps, as Iceberg Java's cast does.
pub(super) fn hour_of_micros(micros: i64) -> i32 {
    micros.div_euclid(MICROS_PER_HOUR) as i32
}

/// Years since 1970 of days since the epoch.
pub(super) fn year_of_day(day: i32) -> i32 {
    civil(day).0 - 1970
}

/// Months since 1970-01 of days since the epoch.
pub(super) fn month_of_day(day: i32) -> i32 {
    let (year, month, _) = civil(day);
    (year - 1970) * 12 + month - 1
}

/// (year, month 1-12, day 1-31) of days since the epoch, in the proleptic Gregorian calendar.
///
/// The usual algorithm over eras of 400 years that begin on 1 March.
pub(crate) fn civil(day: i32) -> (i32, i32, i32) {
    let days = i64::from(day) + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let of_month = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    // i32 days span less than 2^23 years.
    (year as i32, month as i32, of_month as i32)
}

#[cfg(test)]
mod tests {
    use chrono::{Datelike, NaiveDate};
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_epoch_and_the_day_before() {
        assert_eq!(civil(0), (1970, 1, 1));
        assert_eq!(civil(-1), (1969, 12, 31));
        assert_eq!((year_of_day(-1), month_of_day(-1)), (-1, -1));
        assert_eq!((day_of_micros(-1), hour_of_micros(-1)), (-1, -1));
        assert_eq!(floor_to_micros(-1, TimeUnit::Nanosecond), -1);
        assert_eq!(civil(i32::MAX).0, 5_881_580);
        assert_eq!(civil(i32::MIN).0, -5_877_641);
    }

    proptest! {
        #[test]
        fn it_agrees_with_a_calendar_library(day in -90_000_000_i32..90_000_000) {
            let date = NaiveDate::from_num_days_from_ce_opt(day + 719_163).unwrap();
            prop_assert_eq!(
                civil(day),
                (date.year(), date.month().cast_signed(), date.day().cast_signed())
            );
        }
    }
}
