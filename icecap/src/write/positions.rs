//! What a stage that changes rows tells beside its files: which rows of which data files, and how many.

use std::collections::BTreeMap;

use icecap_table::deletes::PositionSet;
use icecap_table::{Error, Result};
use prost::Message;

use super::delta::matched_twice;

/// The `kind` of a row that carries a [`FilePositions`].
pub const KIND_POSITIONS: &str = "positions";
/// The `kind` of a row that carries [`ActedRows`].
pub const KIND_ROWS: &str = "rows";

/// Positions in one data file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FilePositions {
    /// The data file's location, byte for byte as its manifest has it.
    pub data_file: String,
    /// A 64-bit portable roaring bitmap.
    bitmap: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct FileMessage {
    #[prost(string, tag = "1")]
    data_file: String,
    #[prost(bytes = "vec", tag = "2")]
    bitmap: Vec<u8>,
}

impl FilePositions {
    /// The positions of a data file.
    pub fn new(data_file: impl Into<String>, positions: &PositionSet) -> Self {
        Self { data_file: data_file.into(), bitmap: positions.to_portable() }
    }

    /// Which they are.
    ///
    /// # Errors
    /// `Corrupt` when the bytes that came in hold none.
    pub fn positions(&self) -> Result<PositionSet> {
        PositionSet::from_portable(&self.bitmap)
    }

    /// The bytes.
    pub fn encode(&self) -> Vec<u8> {
        FileMessage { data_file: self.data_file.clone(), bitmap: self.bitmap.clone() }.encode_to_vec()
    }

    /// Reads [`encode`](Self::encode)'s bytes back.
    ///
    /// # Errors
    /// `Corrupt` for other bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let message = FileMessage::decode(bytes)
            .map_err(|e| Error::corrupt("a task's positions cannot be decoded").with_source(e))?;
        Ok(Self { data_file: message.data_file, bitmap: message.bitmap })
    }
}

/// How many rows were acted on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ActedRows {
    /// New rows.
    pub inserted: u64,
    /// Rows with new values.
    pub updated: u64,
    /// Rows that go.
    pub deleted: u64,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct RowsMessage {
    #[prost(uint64, tag = "1")]
    inserted: u64,
    #[prost(uint64, tag = "2")]
    updated: u64,
    #[prost(uint64, tag = "3")]
    deleted: u64,
}

impl ActedRows {
    /// Adds others.
    pub fn add(&mut self, other: Self) {
        self.inserted += other.inserted;
        self.updated += other.updated;
        self.deleted += other.deleted;
    }

    /// The bytes.
    pub fn encode(self) -> Vec<u8> {
        RowsMessage { inserted: self.inserted, updated: self.updated, deleted: self.deleted }.encode_to_vec()
    }

    /// Reads [`encode`](Self::encode)'s bytes back.
    ///
    /// # Errors
    /// `Corrupt` for other bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let RowsMessage { inserted, updated, deleted } = RowsMessage::decode(bytes)
            .map_err(|e| Error::corrupt("a task's row counts cannot be decoded").with_source(e))?;
        Ok(Self { inserted, updated, deleted })
    }
}

/// Adds positions of a data file to those that other tasks found: none may have been found twice.
///
/// # Errors
/// `Invalid` when one was.
pub(crate) fn unite(
    all: &mut BTreeMap<String, PositionSet>,
    data_file: &str,
    positions: &PositionSet,
) -> Result<()> {
    match all.get_mut(data_file) {
        Some(known) => {
            if let Some(position) = known.intersection(positions).min() {
                return Err(matched_twice(data_file, position));
            }
            known.union_with(positions);
        }
        None => {
            all.insert(data_file.to_owned(), positions.clone());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::delta::is_matched_twice;
    use super::*;

    #[test]
    fn what_travels_comes_back() {
        let positions: PositionSet = [1, 5, 1 << 40].into_iter().collect();
        let file = FilePositions::new("file:///a b", &positions);
        let back = FilePositions::decode(&file.encode()).unwrap();
        assert_eq!(back, file);
        assert_eq!(back.positions().unwrap(), positions);
        let acted = ActedRows { inserted: 1, updated: 2, deleted: u64::MAX };
        assert_eq!(ActedRows::decode(&acted.encode()).unwrap(), acted);
        for cut in 0..file.encode().len() {
            if let Ok(file) = FilePositions::decode(&file.encode()[..cut]) {
                let _ = file.positions();
            }
        }
    }

    #[test]
    fn tasks_that_found_one_row_are_told_apart_from_tasks_that_found_one_file() {
        let mut all = BTreeMap::new();
        unite(&mut all, "a", &[1, 2].into_iter().collect()).unwrap();
        unite(&mut all, "a", &[3].into_iter().collect()).unwrap();
        unite(&mut all, "b", &[1].into_iter().collect()).unwrap();
        assert_eq!(all["a"].len(), 3);
        let error = unite(&mut all, "a", &[0, 2, 3].into_iter().collect()).unwrap_err();
        assert_eq!(is_matched_twice(&error), Some(("a".to_owned(), 2)));
    }
}
