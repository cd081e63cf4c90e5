//! Sizes and durations as people write them: `512MB`, `1GiB`, `30s`, `1h30m`.

use std::time::Duration;

use icecap_table::{Error, Result};

/// Suffixes of sizes, in lower case, with their factor. Powers of ten and of two are told apart.
const SIZES: [(&str, u64); 9] = [
    ("b", 1),
    ("kb", 1_000),
    ("mb", 1_000_000),
    ("gb", 1_000_000_000),
    ("tb", 1_000_000_000_000),
    ("kib", 1 << 10),
    ("mib", 1 << 20),
    ("gib", 1 << 30),
    ("tib", 1 << 40),
];

/// Units of durations with their length in seconds.
const DURATIONS: [(&str, f64); 5] = [("ms", 0.001), ("s", 1.0), ("m", 60.0), ("h", 3600.0), ("d", 86_400.0)];

/// Reads a size in bytes: a number with `B`, `kB`, `MB`, `GB`, `TB` (powers of ten) or `KiB`, `MiB`, `GiB`,
/// `TiB` (powers of two); a bare number is bytes.
///
/// # Errors
/// `Invalid` for anything else, for zero, and for what does not fit.
pub fn parse_bytes(text: &str) -> Result<u64> {
    let wrong = || {
        Error::invalid(format!(
            "'{text}' is not a size: write a number and a unit, such as 512MB (10^6) or 1GiB (2^30)"
        ))
    };
    let (number, suffix) = split_number(text.trim());
    let suffix = suffix.trim_start().to_ascii_lowercase();
    let factor = match suffix.as_str() {
        "" => 1,
        suffix => SIZES.iter().find(|(name, _)| *name == suffix).ok_or_else(wrong)?.1,
    };
    let bytes = match number.parse::<u64>() {
        Ok(whole) => whole.checked_mul(factor).ok_or_else(wrong)?,
        Err(_) => {
            let bytes = number.parse::<f64>().map_err(|_| wrong())? * factor as f64;
            // Beyond 2^53 a float no longer tells bytes apart; nobody has that much memory.
            if !(bytes.is_finite() && bytes < 9e15) {
                return Err(wrong());
            }
            bytes as u64
        }
    };
    if bytes == 0 { Err(wrong()) } else { Ok(bytes) }
}

/// Reads a duration: numbers with `ms`, `s`, `m`, `h` or `d`, one after another.
///
/// # Errors
/// `Invalid` for anything else, for zero, and for what is longer than a hundred years.
pub fn parse_duration(text: &str) -> Result<Duration> {
    let wrong = || {
        Error::invalid(format!(
            "'{text}' is not a duration: write a number and a unit, such as 30s, 5m or 1h30m"
        ))
    };
    let mut rest = text.trim();
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let (number, after) = split_number(rest);
        let end = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
        let (unit, next) = after.split_at(end);
        let length = DURATIONS.iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?.1;
        seconds += number.parse::<f64>().map_err(|_| wrong())? * length;
        rest = next;
    }
    if seconds <= 0.0 || seconds > 100.0 * 366.0 * 86_400.0 {
        return Err(wrong());
    }
    Duration::try_from_secs_f64(seconds).map_err(|_| wrong())
}

fn split_number(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    text.split_at(end)
}

/// A size as a person reads it: `842 bytes`, `12.3 kB`, `1.0 GB` (powers of ten).
pub fn show_bytes(bytes: u64) -> String {
    match bytes {
        1 => "1 byte".to_owned(),
        0..1_000 => format!("{bytes} bytes"),
        _ => {
            let (mut value, mut unit) = (bytes as f64 / 1e3, "kB");
            for next in ["MB", "GB", "TB", "PB"] {
                // 999.95 would be printed as 1000.0.
                if value < 999.95 {
                    break;
                }
                value /= 1e3;
                unit = next;
            }
            format!("{value:.1} {unit}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_tell_powers_of_ten_from_powers_of_two() {
        for (text, bytes) in [
            ("512MB", 512_000_000),
            ("512mb", 512_000_000),
            ("1GiB", 1 << 30),
            ("1.5 GB", 1_500_000_000),
            ("0.5KiB", 512),
            ("64kB", 64_000),
            ("4096", 4096),
            ("7B", 7),
            ("2TiB", 2 << 40),
        ] {
            assert_eq!(parse_bytes(text).unwrap(), bytes, "{text}");
        }
    }

    #[test]
    fn a_size_that_is_none_is_refused() {
        for text in
            ["", "MB", "0", "0MB", "-1MB", "1M", "1e9", "1.2.3MB", "99999999999999TB", "9e99", "1 2MB"]
        {
            let error = parse_bytes(text).unwrap_err();
            assert_eq!(error.kind(), icecap_table::ErrorKind::Invalid, "{text}");
        }
    }

    #[test]
    fn durations_add_up() {
        for (text, ms) in
            [("30s", 30_000), ("5m", 300_000), ("1h30m", 5_400_000), ("250ms", 250), ("1.5s", 1500)]
        {
            assert_eq!(parse_duration(text).unwrap(), Duration::from_millis(ms), "{text}");
        }
    }

    #[test]
    fn a_duration_that_is_none_is_refused() {
        for text in ["", "30", "s", "0s", "-5s", "5 m", "5min", "1h30", "999999d", "."] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn bytes_are_shown_with_one_digit() {
        for (bytes, text) in [
            (0, "0 bytes"),
            (1, "1 byte"),
            (999, "999 bytes"),
            (1_000, "1.0 kB"),
            (12_345, "12.3 kB"),
            (999_949, "999.9 kB"),
            (999_999, "1.0 MB"),
            (1_000_000_000, "1.0 GB"),
        ] {
            assert_eq!(show_bytes(bytes), text);
        }
    }
}
