//! Lower and upper bounds of a column: merged over row groups, truncated, and serialised as Iceberg's
//! single values (spec, appendix D).

use std::cmp::Ordering;

use icecap_table::iceberg::spec::PrimitiveType;
use parquet::data_type::{ByteArray, FixedLenByteArray};
use parquet::file::statistics::Statistics;

use super::transform::minimal_twos_complement;

/// A least or greatest value as Parquet's statistics hold it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Extreme {
    Boolean(bool),
    Int(i32),
    Long(i64),
    Float(f32),
    Double(f64),
    /// Unscaled.
    Decimal(i128),
    /// Compared as unsigned bytes, which for UTF-8 is the order of code points.
    Bytes(Vec<u8>),
}

impl Extreme {
    fn order(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Boolean(a), Self::Boolean(b)) => Some(a.cmp(b)),
            (Self::Int(a), Self::Int(b)) => Some(a.cmp(b)),
            (Self::Long(a), Self::Long(b)) => Some(a.cmp(b)),
            (Self::Float(a), Self::Float(b)) => Some(a.total_cmp(b)),
            (Self::Double(a), Self::Double(b)) => Some(a.total_cmp(b)),
            (Self::Decimal(a), Self::Decimal(b)) => Some(a.cmp(b)),
            (Self::Bytes(a), Self::Bytes(b)) => Some(a.cmp(b)),
            _ => None,
        }
    }

    fn serialise(&self) -> Vec<u8> {
        match self {
            Self::Boolean(value) => vec![u8::from(*value)],
            Self::Int(value) => value.to_le_bytes().into(),
            Self::Long(value) => value.to_le_bytes().into(),
            Self::Float(value) => value.to_le_bytes().into(),
            Self::Double(value) => value.to_le_bytes().into(),
            Self::Decimal(unscaled) => minimal_twos_complement(&unscaled.to_be_bytes()).into(),
            Self::Bytes(bytes) => bytes.clone(),
        }
    }
}

/// The extremes of the row groups seen so far.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) enum Extremes {
    /// No value yet.
    #[default]
    None,
    /// The least and the greatest.
    Known(Extreme, Extreme),
    /// A row group has values but no statistics: nothing can be said.
    Unknown,
}

impl Extremes {
    /// Takes in the statistics of one more row group, which holds `values` that are neither NULL nor NaN.
    pub(crate) fn absorb(&mut self, ty: &PrimitiveType, statistics: Option<&Statistics>, values: bool) {
        let found = statistics.and_then(|statistics| extremes(ty, statistics));
        let merged = match (std::mem::take(self), found) {
            (Self::Unknown, _) => Self::Unknown,
            (known, None) => {
                if values {
                    Self::Unknown
                } else {
                    known
                }
            }
            (Self::None, Some((least, greatest))) => Self::Known(least, greatest),
            (Self::Known(least, greatest), Some((low, high))) => {
                match (low.order(&least), high.order(&greatest)) {
                    (Some(below), Some(above)) => Self::Known(
                        if below.is_lt() { low } else { least },
                        if above.is_gt() { high } else { greatest },
                    ),
                    _ => Self::Unknown,
                }
            }
        };
        *self = merged;
    }

    /// The serialised lower and upper bound, strings cut to `length` code points and bytes to `length`.
    pub(crate) fn bounds(
        &self,
        ty: &PrimitiveType,
        length: Option<usize>,
    ) -> (Option<Vec<u8>>, Option<Vec<u8>>) {
        let Self::Known(least, greatest) = self else { return (None, None) };
        let lower = least.serialise();
        let upper = greatest.serialise();
        let Some(length) = length else { return (Some(lower), Some(upper)) };
        match ty {
            PrimitiveType::String => (lower_text(lower, length), upper_text(upper, length)),
            PrimitiveType::Binary | PrimitiveType::Fixed(_) => {
                (Some(lower_bytes(lower, length)), upper_bytes(upper, length))
            }
            _ => (Some(lower), Some(upper)),
        }
    }
}

fn extremes(ty: &PrimitiveType, statistics: &Statistics) -> Option<(Extreme, Extreme)> {
    fn pair<T>(
        least: Option<&T>,
        greatest: Option<&T>,
        make: impl Fn(&T) -> Option<Extreme>,
    ) -> Option<(Extreme, Extreme)> {
        Some((make(least?)?, make(greatest?)?))
    }
    let decimal = matches!(ty, PrimitiveType::Decimal { .. });
    match statistics {
        Statistics::Boolean(s) => pair(s.min_opt(), s.max_opt(), |v| Some(Extreme::Boolean(*v))),
        Statistics::Int32(s) if decimal => {
            pair(s.min_opt(), s.max_opt(), |v| Some(Extreme::Decimal(i128::from(*v))))
        }
        Statistics::Int32(s) => pair(s.min_opt(), s.max_opt(), |v| Some(Extreme::Int(*v))),
        Statistics::Int64(s) if decimal => {
            pair(s.min_opt(), s.max_opt(), |v| Some(Extreme::Decimal(i128::from(*v))))
        }
        Statistics::Int64(s) => pair(s.min_opt(), s.max_opt(), |v| Some(Extreme::Long(*v))),
        // A zero's sign is not kept by every writer: the bounds take the one that covers both.
        Statistics::Float(s) => {
            let least = s.min_opt().map(|v| if *v == 0.0 { -0.0 } else { *v });
            let greatest = s.max_opt().map(|v| if *v == 0.0 { 0.0 } else { *v });
            let make = |v: &f32| (!v.is_nan()).then_some(Extreme::Float(*v));
            pair(least.as_ref(), greatest.as_ref(), make)
        }
        Statistics::Double(s) => {
            let least = s.min_opt().map(|v| if *v == 0.0 { -0.0 } else { *v });
            let greatest = s.max_opt().map(|v| if *v == 0.0 { 0.0 } else { *v });
            let make = |v: &f64| (!v.is_nan()).then_some(Extreme::Double(*v));
            pair(least.as_ref(), greatest.as_ref(), make)
        }
        Statistics::ByteArray(s) => {
            pair(s.min_opt(), s.max_opt(), |v: &ByteArray| Some(Extreme::Bytes(v.data().to_vec())))
        }
        Statistics::FixedLenByteArray(s) if decimal => {
            pair(s.min_opt(), s.max_opt(), |v: &FixedLenByteArray| decimal_of(v.data()))
        }
        Statistics::FixedLenByteArray(s) => {
            pair(s.min_opt(), s.max_opt(), |v: &FixedLenByteArray| Some(Extreme::Bytes(v.data().to_vec())))
        }
        Statistics::Int96(_) => None,
    }
}

fn decimal_of(bytes: &[u8]) -> Option<Extreme> {
    let negative = bytes.first()? & 0x80 != 0;
    let mut wide = if negative { [0xff; 16] } else { [0; 16] };
    let start = wide.len().checked_sub(bytes.len())?;
    wide[start..].copy_from_slice(bytes);
    Some(Extreme::Decimal(i128::from_be_bytes(wide)))
}

/// The byte at which code point number `length` begins, if the text is longer.
fn cut_at(text: &str, length: usize) -> Option<usize> {
    text.char_indices().nth(length).map(|(at, _)| at)
}

fn lower_text(mut bytes: Vec<u8>, length: usize) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(&bytes).ok()?;
    if let Some(end) = cut_at(text, length) {
        bytes.truncate(end);
    }
    Some(bytes)
}

/// A text that is cut is raised to the next greater one of at most that length; there may be none.
fn upper_text(bytes: Vec<u8>, length: usize) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(&bytes).ok()?;
    let Some(end) = cut_at(text, length) else { return Some(bytes) };
    let mut kept: Vec<char> = text[..end].chars().collect();
    while let Some(last) = kept.pop() {
        if let Some(next) = next_char(last) {
            kept.push(next);
            return Some(kept.into_iter().collect::<String>().into_bytes());
        }
    }
    None
}

fn next_char(c: char) -> Option<char> {
    match c {
        // Surrogates are no code points of a text.
        '\u{d7ff}' => Some('\u{e000}'),
        _ => char::from_u32(u32::from(c) + 1),
    }
}

fn lower_bytes(mut bytes: Vec<u8>, length: usize) -> Vec<u8> {
    bytes.truncate(length);
    bytes
}

fn upper_bytes(mut bytes: Vec<u8>, length: usize) -> Option<Vec<u8>> {
    if bytes.len() <= length {
        return Some(bytes);
    }
    bytes.truncate(length);
    while let Some(last) = bytes.pop() {
        if let Some(next) = last.checked_add(1) {
            bytes.push(next);
            return Some(bytes);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn text_is_cut_by_code_points_and_raised() {
        let cut = |text: &str| {
            (lower_text(text.into(), 2), upper_text(text.into(), 2).map(|b| String::from_utf8(b).unwrap()))
        };
        assert_eq!(cut("ab"), (Some(b"ab".to_vec()), Some("ab".into())));
        assert_eq!(cut("abc"), (Some(b"ab".to_vec()), Some("ac".into())));
        assert_eq!(cut("a\u{10ffff}c"), (Some("a\u{10ffff}".into()), Some("b".into())));
        assert_eq!(cut("a\u{d7ff}c"), (Some("a\u{d7ff}".into()), Some("a\u{e000}".into())));
        assert_eq!(cut("\u{10ffff}\u{10ffff}c"), (Some("\u{10ffff}\u{10ffff}".into()), None));
        assert_eq!(cut("a\u{7f}c").1, Some("a\u{80}".into()));
    }

    #[test]
    fn bytes_are_cut_and_raised() {
        assert_eq!(upper_bytes(vec![1, 0xff, 3], 2), Some(vec![2]));
        assert_eq!(upper_bytes(vec![0xff, 0xff, 3], 2), None);
        assert_eq!(upper_bytes(vec![0xff, 0xff], 2), Some(vec![0xff, 0xff]));
        assert_eq!(lower_bytes(vec![1, 2, 3], 2), vec![1, 2]);
    }

    #[test]
    fn decimals_are_widened_and_serialised_in_the_fewest_bytes() {
        for (unscaled, bytes) in
            [(0_i128, vec![0]), (-1, vec![0xff]), (128, vec![0, 0x80]), (-129, vec![0xff, 0x7f])]
        {
            let extreme = Extreme::Decimal(unscaled);
            assert_eq!(extreme.serialise(), bytes);
            assert_eq!(decimal_of(&bytes), Some(extreme));
        }
        assert_eq!(decimal_of(&[]), None);
        assert_eq!(decimal_of(&[0; 17]), None);
    }

    #[test]
    fn a_row_group_without_statistics_spoils_the_bounds_only_when_it_has_values() {
        let statistics = Statistics::int32(Some(1), Some(2), None, Some(0), false);
        let mut extremes = Extremes::default();
        extremes.absorb(&PrimitiveType::Int, Some(&statistics), true);
        extremes.absorb(&PrimitiveType::Int, None, false);
        let low_high = (Some(vec![1, 0, 0, 0]), Some(vec![2, 0, 0, 0]));
        assert_eq!(extremes.bounds(&PrimitiveType::Int, Some(16)), low_high);
        extremes.absorb(&PrimitiveType::Int, None, true);
        assert_eq!(extremes.bounds(&PrimitiveType::Int, Some(16)), (None, None));
    }

    #[test]
    fn zeros_are_bounded_on_both_sides() {
        let statistics = Statistics::double(Some(0.0), Some(-0.0), None, Some(0), false);
        let mut extremes = Extremes::default();
        extremes.absorb(&PrimitiveType::Double, Some(&statistics), true);
        let expected = (Some((-0.0_f64).to_le_bytes().to_vec()), Some(0.0_f64.to_le_bytes().to_vec()));
        assert_eq!(extremes.bounds(&PrimitiveType::Double, None), expected);
    }

    proptest! {
        #[test]
        fn truncated_text_still_bounds_the_text(text in "\\PC{0,24}", length in 1_usize..20) {
            let lower = lower_text(text.clone().into_bytes(), length).unwrap();
            prop_assert!(lower.as_slice() <= text.as_bytes());
            if let Some(upper) = upper_text(text.clone().into_bytes(), length) {
                prop_assert!(upper.as_slice() >= text.as_bytes());
                prop_assert!(std::str::from_utf8(&upper).unwrap().chars().count() <= length.max(1));
            }
        }

        #[test]
        fn truncated_bytes_still_bound_the_bytes(bytes: Vec<u8>, length in 1_usize..20) {
            prop_assert!(lower_bytes(bytes.clone(), length) <= bytes);
            if let Some(upper) = upper_bytes(bytes.clone(), length) {
                prop_assert!(upper >= bytes);
            }
        }
    }
}
