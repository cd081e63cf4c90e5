//! The text of one field as a value: exact, or nothing.

use chrono::{NaiveDate, NaiveDateTime, NaiveTime};

/// `true` or `false`, in any case.
pub(in crate::source) fn boolean(text: &str) -> Option<bool> {
    if text.eq_ignore_ascii_case("true") {
        Some(true)
    } else if text.eq_ignore_ascii_case("false") {
        Some(false)
    } else {
        None
    }
}

/// A whole number as it would be printed: no `+`, no leading zeros.
pub(in crate::source) fn integer(text: &str) -> Option<i64> {
    let digits = text.strip_prefix('-').unwrap_or(text).as_bytes();
    let canonical = match digits {
        [b'0'] => text.len() == 1,
        [b'1'..=b'9', ..] => digits.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    if canonical { text.parse().ok() } else { None }
}

/// A number that a double holds without losing a digit.
pub(in crate::source) fn float(text: &str) -> Option<f64> {
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    match unsigned {
        "NaN" | "nan" | "inf" | "Infinity" | "infinity" => return text.parse().ok(),
        _ => {}
    }
    let (mantissa, exponent) = unsigned.split_once(['e', 'E']).unwrap_or((unsigned, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let is_number = |digits: &str| digits.bytes().all(|b| b.is_ascii_digit());
    let exponent_digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
    if (whole.is_empty() && fraction.is_empty())
        || !is_number(whole)
        || !is_number(fraction)
        || exponent_digits.is_empty()
        || !is_number(exponent_digits)
        || (whole.len() > 1 && whole.starts_with('0'))
    {
        return None;
    }
    let value: f64 = text.parse().ok()?;
    if !value.is_finite() {
        return None;
    }
    let digits = significant(whole, fraction);
    // Fifteen digits always survive a double; more do when the double prints as they were.
    if digits.len() <= 15 {
        let zero = digits.is_empty();
        return (zero == (value == 0.0)).then_some(value);
    }
    let printed = format!("{value:e}");
    let (mantissa, _) = printed.split_once('e')?;
    let mantissa = mantissa.strip_prefix('-').unwrap_or(mantissa);
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    (significant(whole, fraction) == digits).then_some(value)
}

fn significant(whole: &str, fraction: &str) -> String {
    format!("{whole}{fraction}").trim_start_matches('0').trim_end_matches('0').to_owned()
}

/// Days since 1970 of a `YYYY-MM-DD`.
pub(in crate::source) fn date(text: &str) -> Option<i32> {
    i32::try_from(naive_date(text)?.signed_duration_since(NaiveDate::default()).num_days()).ok()
}

fn naive_date(text: &str) -> Option<NaiveDate> {
    let bytes = text.as_bytes();
    if bytes.len() != 10 || bytes[4] != b'-' || bytes[7] != b'-' {
        return None;
    }
    let number = |range: std::ops::Range<usize>| -> Option<u32> {
        let digits = text.get(range)?;
        if digits.bytes().all(|b| b.is_ascii_digit()) { digits.parse().ok() } else { None }
    };
    NaiveDate::from_ymd_opt(number(0..4)?.cast_signed(), number(5..7)?, number(8..10)?)
}

/// Microseconds since 1970 of a `YYYY-MM-DD HH:MM[:SS[.ffffff]]` (or with `T`).
pub(in crate::source) fn timestamp(text: &str) -> Option<i64> {
    Some(naive(text)?.and_utc().timestamp_micros())
}

/// Microseconds since 1970 of a timestamp followed by `Z`, `+HH`, `+HHMM` or `+HH:MM`.
pub(in crate::source) fn timestamptz(text: &str) -> Option<i64> {
    if let Some(local) = text.strip_suffix(['Z', 'z']) {
        return timestamp(local);
    }
    let at = text.get(16..)?.find(['+', '-'])? + 16;
    let (local, offset) = (text.get(..at)?.trim_end(), text.get(at..)?);
    let digits: String = offset[1..].chars().filter(|c| *c != ':').collect();
    if !matches!(digits.len(), 2 | 4) || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let minutes = digits[..2].parse::<i64>().ok()? * 60
        + digits.get(2..4).filter(|d| !d.is_empty()).unwrap_or("0").parse::<i64>().ok()?;
    let sign = if offset.starts_with('-') { -1 } else { 1 };
    timestamp(local)?.checked_sub(sign * minutes * 60_000_000)
}

fn naive(text: &str) -> Option<NaiveDateTime> {
    let date = naive_date(text.get(..10)?)?;
    let time = text.get(10..)?.strip_prefix(['T', ' '])?;
    let (clock, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let parts: Vec<&str> = clock.split(':').collect();
    let two = |digits: &str| -> Option<u32> {
        (digits.len() == 2 && digits.bytes().all(|b| b.is_ascii_digit())).then(|| digits.parse().ok())?
    };
    let (hour, minute, second) = match parts.as_slice() {
        [hour, minute] if fraction == "0" && !time.contains('.') => (two(hour)?, two(minute)?, 0),
        [hour, minute, second] => (two(hour)?, two(minute)?, two(second)?),
        _ => return None,
    };
    // A seventh digit would be lost.
    let kept = fraction.trim_end_matches('0');
    if fraction.is_empty() || kept.len() > 6 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let micros: u32 = format!("{kept:0<6}").parse().ok()?;
    Some(date.and_time(NaiveTime::from_hms_micro_opt(hour, minute, second, micros)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reference(text: &str) -> i64 {
        chrono::DateTime::parse_from_rfc3339(text).unwrap().timestamp_micros()
    }

    #[test]
    fn numbers_that_would_lose_something_are_no_numbers() {
        assert_eq!(integer("0"), Some(0));
        assert_eq!(integer("-12"), Some(-12));
        assert_eq!(integer("9223372036854775807"), Some(i64::MAX));
        for text in ["007", "+1", "-0", "", "-", "1.0", "9223372036854775808", "1 ", "٣"] {
            assert_eq!(integer(text), None, "{text}");
        }
        assert_eq!(float("1.50"), Some(1.5));
        assert_eq!(float("-1e3"), Some(-1000.0));
        assert_eq!(float(".5"), Some(0.5));
        assert_eq!(float("0.30000000000000004"), Some(0.1 + 0.2));
        assert_eq!(float("-0.30000000000000004"), Some(-0.1 - 0.2));
        assert!(float("NaN").unwrap().is_nan());
        for text in [
            "0.30000000000000001",
            "00.5",
            "1e999",
            "1e-999",
            "",
            ".",
            "1e",
            "1_0",
            "0x1",
            "12345678901234567890",
        ] {
            assert_eq!(float(text), None, "{text}");
        }
        assert_eq!(float("0.000"), Some(0.0));
    }

    #[test]
    fn dates_and_times() {
        assert_eq!(date("1970-01-02"), Some(1));
        assert_eq!(date("0001-01-01"), Some(-719_162));
        for text in ["2024-02-30", "2024-2-3", "24-02-03", "2024/02/03", "2024-02-03 "] {
            assert_eq!(date(text), None, "{text}");
        }
        assert_eq!(timestamp("1970-01-01 00:00:01"), Some(1_000_000));
        assert_eq!(timestamp("1970-01-01T00:01"), Some(60_000_000));
        assert_eq!(timestamp("1970-01-01 00:00:00.0000010"), Some(1));
        for text in ["1970-01-01", "1970-01-01 25:00:00", "1970-01-01 00:00:00.0000001", "1970-01-01 00:00.5"]
        {
            assert_eq!(timestamp(text), None, "{text}");
        }
        assert_eq!(timestamptz("1970-01-01T00:00:00Z"), Some(0));
        for text in ["2024-05-06T07:08:09.123456+02:00", "2024-05-06T07:08:09-11:30"] {
            assert_eq!(timestamptz(text), Some(reference(text)), "{text}");
        }
        assert_eq!(timestamptz("2024-05-06 07:08:09+02"), Some(reference("2024-05-06T07:08:09+02:00")));
        assert_eq!(timestamptz("2024-05-06 07:08:09"), None);
        assert_eq!(timestamptz("2024-05-06 07:08:09+1"), None);
    }
}
