//! Chooses the columns that are written without a dictionary.
//!
//! Parquet's encoder tries a dictionary on every column and gives up when its page is full: for a column of
//! mostly different values that is work for nothing, and for one of slowly growing values (keys in order)
//! it never gives up although plain values compress better. A sample of the first rows tells them apart.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

use datafusion::arrow::array::{Array, ArrayRef};
use datafusion::arrow::datatypes::DataType;
use icecap_table::properties::Codec;

use super::transform::map_bytes;

/// Fewer values tell nothing.
const MIN_SAMPLE_VALUES: usize = 1024;

/// More do not tell more.
const MAX_SAMPLE_VALUES: usize = 32_768;

/// The greatest share of a row group's rows whose values may differ for a dictionary to pay.
const MAX_DISTINCT_SHARE: f64 = 0.2;

/// The same for values of up to eight bytes whose pages an entropy coder compresses. It brings such values down to
/// what a position in a large dictionary takes, and the dictionary would have to be written and looked up besides.
const MAX_DISTINCT_SHARE_OF_NUMBERS: f64 = 0.1;

/// Whether a column of which `arrays` are the first values should have no dictionary of up to `dict_bytes`
/// in row groups of `rows`, compressed with `codec`.
pub(crate) fn is_better_plain(arrays: &[&ArrayRef], rows: usize, dict_bytes: u64, codec: Codec) -> bool {
    let state = RandomState::new();
    let mut sample = Sample::default();
    for array in arrays {
        let Some(hashes) = hashes(array, &state, MAX_SAMPLE_VALUES - sample.hashes.len(), &mut sample.bytes)
        else {
            return false;
        };
        sample.hashes.extend(hashes);
        if sample.hashes.len() >= MAX_SAMPLE_VALUES {
            break;
        }
    }
    sample.is_better_plain(rows, dict_bytes, codec)
}

#[derive(Default)]
struct Sample {
    hashes: Vec<u64>,
    /// What the values take in a dictionary page.
    bytes: usize,
}

impl Sample {
    fn is_better_plain(&self, rows: usize, dict_bytes: u64, codec: Codec) -> bool {
        let values = self.hashes.len();
        if values < MIN_SAMPLE_VALUES {
            return false;
        }
        let mut seen: HashSet<u64> = HashSet::with_capacity(values);
        seen.extend(&self.hashes[..values / 2]);
        let half = seen.len() as f64;
        seen.extend(&self.hashes[values / 2..]);
        let distinct = distinct_in_all(half, seen.len() as f64).min(rows as f64);
        let width = self.bytes as f64 / values as f64;
        let has_entropy_coder = matches!(codec, Codec::Zstd | Codec::Gzip | Codec::Brotli);
        let share = match has_entropy_coder && width <= 8.0 {
            true => MAX_DISTINCT_SHARE_OF_NUMBERS,
            false => MAX_DISTINCT_SHARE,
        };
        distinct > rows as f64 * share || distinct * width > dict_bytes as f64
    }
}

/// How many different values there are, when half of a sample has `half` of them and the sample `whole`.
///
/// Values drawn evenly from D make `half = D (1 - x)` and `whole = D (1 - x²)`. Growth that does not slow
/// down means that there is no end.
fn distinct_in_all(half: f64, whole: f64) -> f64 {
    let x = whole / half - 1.0;
    if x >= 1.0 { f64::INFINITY } else { half / (1.0 - x) }
}

/// Hashes of the first `limit` values that are not NULL; `None` for types that are left to the encoder.
fn hashes(array: &ArrayRef, state: &RandomState, limit: usize, bytes: &mut usize) -> Option<Vec<u64>> {
    let width = match array.data_type() {
        DataType::Boolean => return None,
        ty => ty.primitive_width(),
    };
    let Some(width) = width else {
        return map_bytes(array.as_ref(), |values| {
            let present = values.flatten().take(limit);
            present
                .map(|value| {
                    *bytes += value.len() + 4;
                    state.hash_one(value)
                })
                .collect()
        });
    };
    let data = array.to_data();
    let values = data.buffers().first()?.as_slice();
    let start = array.offset().checked_mul(width)?;
    let present = (0..array.len()).filter(|row| array.is_valid(*row)).take(limit);
    let hashes: Option<Vec<u64>> = present
        .map(|row| Some(state.hash_one(values.get(start + row * width..start + (row + 1) * width)?)))
        .collect();
    *bytes += hashes.as_ref().map_or(0, Vec::len) * width.min(8);
    hashes
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use datafusion::arrow::array::{BooleanArray, Int64Array, StringArray};

    use super::*;

    const MIB: u64 = 1 << 20;

    fn decided(values: impl Iterator<Item = i64>) -> bool {
        let array: ArrayRef = Arc::new(Int64Array::from_iter_values(values));
        is_better_plain(&[&array], 1 << 20, 2 * MIB, Codec::Zstd)
    }

    /// Evenly spread over `among`.
    fn spread(rows: u64, among: u64) -> impl Iterator<Item = i64> {
        (0..rows).map(move |i| {
            let mixed = (i + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let mixed = (mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            ((mixed ^ (mixed >> 32)) % among) as i64
        })
    }

    #[test]
    fn few_values_have_a_dictionary_and_many_have_none() {
        assert!(!decided(spread(8192, 3)));
        assert!(!decided(spread(8192, 10_000)));
        assert!(!decided(spread(500, u64::MAX)));
        assert!(decided(spread(8192, 2_000_000)));
    }

    #[test]
    fn how_many_different_numbers_are_too_many_depends_on_the_codec() {
        let array: ArrayRef = Arc::new(Int64Array::from_iter_values(spread(32_768, 150_000)));
        assert!(is_better_plain(&[&array], 1 << 20, 2 * MIB, Codec::Zstd));
        assert!(!is_better_plain(&[&array], 1 << 20, 2 * MIB, Codec::Snappy));
        let texts: ArrayRef =
            Arc::new(StringArray::from_iter_values(spread(32_768, 150_000).map(|v| format!("{v:012}"))));
        assert!(!is_better_plain(&[&texts], 1 << 20, 4 * MIB, Codec::Zstd));
    }

    #[test]
    fn keys_in_order_have_none() {
        assert!(decided((0..8192).map(|i| i / 4)));
        assert!(decided(0..8192));
    }

    #[test]
    fn long_texts_must_fit_the_dictionary_page() {
        let texts = |length: usize| -> ArrayRef {
            Arc::new(StringArray::from_iter_values(spread(8192, 5000).map(|v| format!("{v:0length$}"))))
        };
        assert!(!is_better_plain(&[&texts(20)], 1 << 20, 2 * MIB, Codec::Zstd));
        assert!(is_better_plain(&[&texts(2000)], 1 << 20, 2 * MIB, Codec::Zstd));
    }

    #[test]
    fn the_slice_decides_and_not_what_lies_around_it() {
        let array: ArrayRef =
            Arc::new(Int64Array::from_iter_values((0..8192).chain(std::iter::repeat_n(7, 8192))));
        assert!(!is_better_plain(&[&array.slice(8192, 8192)], 1 << 20, 2 * MIB, Codec::Zstd));
        assert!(is_better_plain(&[&array.slice(0, 8192)], 1 << 20, 2 * MIB, Codec::Zstd));
    }

    #[test]
    fn other_types_are_left_to_the_encoder() {
        let array: ArrayRef = Arc::new(BooleanArray::from(vec![true; 5000]));
        assert!(!is_better_plain(&[&array], 1 << 20, 2 * MIB, Codec::Zstd));
    }
}
