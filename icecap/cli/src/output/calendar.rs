//! Dates, times and timestamps as text, for every value that Arrow can hold.
//!
//! Calendar libraries end at some year; these functions do not, so no value of a table is unprintable.

use std::fmt::Write;

const SECONDS_PER_DAY: i64 = 86_400;

/// How a fraction of a second is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fraction {
    /// Six digits (nine for nanoseconds), always.
    Full,
    /// As many digits as needed, none for a whole second.
    Short,
}

/// Ticks of a time unit: how many make a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ticks(pub i64);

/// Appends a date, given in days since 1970-01-01: `2026-01-02`.
pub(super) fn write_date(days: i64, out: &mut String) {
    let (year, month, day) = civil_from_days(days);
    // ISO 8601: a year of other than four digits carries its sign.
    let _ = match year {
        0..=9999 => write!(out, "{year:04}-{month:02}-{day:02}"),
        _ => write!(out, "{year:+05}-{month:02}-{day:02}"),
    };
}

/// Appends a time of day, given in ticks since midnight: `03:04:05.000001`.
pub(super) fn write_time(value: i64, ticks: Ticks, fraction: Fraction, out: &mut String) {
    let seconds = value.div_euclid(ticks.0);
    let _ = write!(out, "{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
    let digits = if ticks.0 > 1_000_000 { 9 } else { 6 };
    let rest = value.rem_euclid(ticks.0) * (10_i64.pow(digits) / ticks.0);
    match fraction {
        Fraction::Full => {
            let _ = write!(out, ".{rest:0digits$}", digits = digits as usize);
        }
        Fraction::Short if rest == 0 => {}
        Fraction::Short => {
            let _ = write!(out, ".{rest:0digits$}", digits = digits as usize);
            out.truncate(out.trim_end_matches('0').len());
        }
    }
}

/// Appends a timestamp, given in ticks since 1970-01-01T00:00:00, with `separator` between date and time.
pub(super) fn write_timestamp(
    value: i64,
    ticks: Ticks,
    separator: char,
    fraction: Fraction,
    out: &mut String,
) {
    let per_day = SECONDS_PER_DAY * ticks.0;
    write_date(value.div_euclid(per_day), out);
    out.push(separator);
    write_time(value.rem_euclid(per_day), ticks, fraction, out);
}

/// Year, month and day of a day number, in the proleptic Gregorian calendar.
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    // Years are counted from March here, so that the leap day is the last of its year; an era is 400 years.
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn date(days: i64) -> String {
        let mut out = String::new();
        write_date(days, &mut out);
        out
    }

    fn timestamp(value: i64, per_second: i64, fraction: Fraction) -> String {
        let mut out = String::new();
        write_timestamp(value, Ticks(per_second), 'T', fraction, &mut out);
        out
    }

    #[test]
    fn dates_hold_over_the_whole_range() {
        assert_eq!(date(0), "1970-01-01");
        assert_eq!(date(-1), "1969-12-31");
        assert_eq!(date(20_455), "2026-01-02");
        assert_eq!(date(11_016), "2000-02-29");
        assert_eq!(date(2_932_896), "9999-12-31");
        assert_eq!(date(2_932_897), "+10000-01-01");
        assert_eq!(date(-719_528), "0000-01-01");
        assert_eq!(date(-719_529), "-0001-12-31");
        assert_eq!(date(i64::from(i32::MAX)), "+5881580-07-11");
        assert_eq!(date(i64::from(i32::MIN)), "-5877641-06-23");
    }

    #[test]
    fn every_day_follows_the_day_before() {
        let mut last = civil_from_days(-800_000);
        for days in -799_999..800_000 {
            let next = civil_from_days(days);
            let same_month = (last.0, last.1, last.2 + 1);
            let first = if last.1 == 12 { (last.0 + 1, 1, 1) } else { (last.0, last.1 + 1, 1) };
            assert!(next == same_month || next == first, "{last:?} then {next:?}");
            assert!(next.2 <= 31 && next.1 <= 12);
            last = next;
        }
    }

    #[test]
    fn fractions_have_six_or_nine_digits_or_what_is_needed() {
        let micros = 1_767_323_045_000_001;
        assert_eq!(timestamp(micros, 1_000_000, Fraction::Full), "2026-01-02T03:04:05.000001");
        assert_eq!(timestamp(1_767_323_045, 1, Fraction::Full), "2026-01-02T03:04:05.000000");
        assert_eq!(timestamp(1_767_323_045_120, 1_000, Fraction::Full), "2026-01-02T03:04:05.120000");
        assert_eq!(
            timestamp(micros * 1000 + 7, 1_000_000_000, Fraction::Full),
            "2026-01-02T03:04:05.000001007"
        );
        assert_eq!(timestamp(1_767_323_045_120, 1_000, Fraction::Short), "2026-01-02T03:04:05.12");
        assert_eq!(timestamp(1_767_323_040, 1, Fraction::Short), "2026-01-02T03:04:00");
        assert_eq!(timestamp(-1, 1_000_000, Fraction::Full), "1969-12-31T23:59:59.999999");
    }

    #[test]
    fn the_last_timestamps_print() {
        assert_eq!(timestamp(i64::MAX, 1_000_000, Fraction::Full), "+294247-01-10T04:00:54.775807");
        assert_eq!(timestamp(i64::MIN, 1_000_000, Fraction::Full), "-290308-12-21T19:59:05.224192");
        assert_eq!(timestamp(i64::MAX, 1, Fraction::Short), "+292277026596-12-04T15:30:07");
    }
}
