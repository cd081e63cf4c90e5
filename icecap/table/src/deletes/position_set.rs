//! [`PositionSet`]: positions of rows in one data file.

use std::fmt;
use std::ops::Range;

use roaring::{RoaringBitmap, RoaringTreemap};

use crate::error::{Error, Result};

/// Positions from here on are in no file: keys of Iceberg's bitmaps are positive 32-bit numbers.
const KEYS: u32 = 1 << 31;

/// A set of row positions in one data file, counted from 0; a compressed bitmap.
#[derive(Clone, PartialEq, Default)]
pub struct PositionSet(RoaringTreemap);

impl PositionSet {
    /// The empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a position (below 2⁶³); `true` when it is new.
    pub fn insert(&mut self, position: u64) -> bool {
        self.0.insert(position)
    }

    /// Adds all positions of a range; returns how many of them are new.
    pub fn insert_range(&mut self, range: Range<u64>) -> u64 {
        if range.is_empty() { 0 } else { self.0.insert_range(range) }
    }

    /// Whether a position is in the set.
    pub fn contains(&self, position: u64) -> bool {
        self.0.contains(position)
    }

    /// Adds all positions of `other`.
    pub fn union_with(&mut self, other: &Self) {
        self.0 |= &other.0;
    }

    /// Takes out all positions of `other`.
    pub fn subtract(&mut self, other: &Self) {
        self.0 -= &other.0;
    }

    /// The positions of both.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        Self(&self.0 & &other.0)
    }

    /// Whether no position is in both.
    pub fn is_disjoint(&self, other: &Self) -> bool {
        self.0.is_disjoint(&other.0)
    }

    /// How many positions are in both.
    pub fn intersection_len(&self, other: &Self) -> u64 {
        self.0.intersection_len(&other.0)
    }

    /// How many positions there are.
    pub fn len(&self) -> u64 {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The least position.
    pub fn min(&self) -> Option<u64> {
        self.0.min()
    }

    /// The greatest position.
    pub fn max(&self) -> Option<u64> {
        self.0.max()
    }

    /// How many positions are in a range.
    pub fn count_in(&self, range: Range<u64>) -> u64 {
        if range.is_empty() { 0 } else { self.0.range_cardinality(range) }
    }

    /// The positions, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u64> + '_ {
        self.0.iter()
    }

    /// The longest ranges of positions that follow one another, ascending.
    pub fn ranges(&self) -> impl Iterator<Item = Range<u64>> + '_ {
        self.ranges_in(0..u64::MAX)
    }

    /// The same of the positions in `within` alone.
    pub fn ranges_in(&self, within: Range<u64>) -> impl Iterator<Item = Range<u64>> + '_ {
        let mut pieces = self.0.bitmaps().flat_map(move |(key, bitmap)| {
            let base = u64::from(key) << 32;
            // Both ends as positions in this bitmap, which is wholly inside but for the outermost two.
            let first = within.start.saturating_sub(base).min(u64::from(u32::MAX) + 1);
            let end = within.end.saturating_sub(base).min(u64::from(u32::MAX) + 1);
            let mut values = match (u32::try_from(first), u32::try_from(end)) {
                (Ok(first), Ok(end)) => bitmap.range(first..end.max(first)),
                (Ok(first), Err(_)) => bitmap.range(first..),
                (Err(_), _) => bitmap.range(0..0),
            };
            std::iter::from_fn(move || {
                let range = values.next_range()?;
                Some(base + u64::from(*range.start())..base + u64::from(*range.end()) + 1)
            })
        });
        let mut pending = pieces.next();
        std::iter::from_fn(move || {
            let mut range = pending.take()?;
            for piece in pieces.by_ref() {
                // A range may go on in the next piece.
                if piece.start == range.end {
                    range.end = piece.end;
                } else {
                    pending = Some(piece);
                    break;
                }
            }
            Some(range)
        })
    }

    /// What it takes in memory and stored, in bytes, roughly.
    pub fn size_bytes(&self) -> usize {
        self.0.serialized_size()
    }

    /// The 64-bit portable roaring format: a deletion vector's payload, without its framing.
    pub fn to_portable(&self) -> Vec<u8> {
        let mut packed = self.0.clone();
        packed.optimize();
        let mut bytes = Vec::with_capacity(packed.serialized_size());
        // Writing to memory cannot fail.
        let written = packed.serialize_into(&mut bytes);
        debug_assert!(written.is_ok(), "{written:?}");
        bytes
    }

    /// The set of a 64-bit portable roaring bitmap, which anybody may have written: it takes not much more memory than
    /// the bytes do.
    ///
    /// # Errors
    /// `Corrupt` when the bytes are none, hold a position of 2⁶³ or more, or go on after the bitmap.
    pub fn from_portable(bytes: &[u8]) -> Result<Self> {
        let broken = |what: &str| Error::corrupt(format!("bitmap of positions is broken: {what}"));
        let mut rest = bytes;
        let (count, after) = rest.split_first_chunk::<8>().ok_or_else(|| broken("it ends early"))?;
        rest = after;
        let count = u64::from_le_bytes(*count);
        let mut parts: Vec<(u32, RoaringBitmap)> = Vec::new();
        let mut last = None;
        for _ in 0..count {
            let (key, after) = rest.split_first_chunk::<4>().ok_or_else(|| broken("it ends early"))?;
            rest = after;
            let key = u32::from_le_bytes(*key);
            if key >= KEYS {
                return Err(broken("a position is out of range"));
            }
            if last.replace(key).is_some_and(|last| key <= last) {
                return Err(broken("its keys do not ascend"));
            }
            let part = RoaringBitmap::deserialize_from(&mut rest)
                .map_err(|error| broken("a part of it cannot be read").with_source(error))?;
            if !part.is_empty() {
                parts.push((key, part));
            }
        }
        if !rest.is_empty() {
            return Err(broken("bytes follow it"));
        }
        Ok(Self(RoaringTreemap::from_bitmaps(parts)))
    }
}

impl fmt::Debug for PositionSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 16;
        let mut list = f.debug_set();
        list.entries(self.ranges().take(SHOWN));
        if self.ranges().nth(SHOWN).is_some() { list.finish_non_exhaustive() } else { list.finish() }
    }
}

impl FromIterator<u64> for PositionSet {
    fn from_iter<I: IntoIterator<Item = u64>>(positions: I) -> Self {
        Self(positions.into_iter().collect())
    }
}

impl Extend<u64> for PositionSet {
    fn extend<I: IntoIterator<Item = u64>>(&mut self, positions: I) {
        self.0.extend(positions);
    }
}
