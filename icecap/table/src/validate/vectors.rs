//! Two deletion vectors of one data file, made by two statements, as one.

use crate::commit::RemovedFile;
use crate::deletes::PositionSet;

/// A deletion vector of ours that has to take in the one that the data file got meanwhile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unite {
    /// The data file.
    pub data_file: String,
    /// Ours: its index among the files added.
    pub added: usize,
    /// The one at the base, which both took in; absent when there was none.
    pub base: Option<VectorPlace>,
    /// The one that is live now, and that the union replaces.
    pub current: VectorPlace,
    /// How a removal names it.
    pub current_key: RemovedFile,
    /// Whether the rows that either statement deleted must be different ones.
    pub disjoint: bool,
}

/// Where the blob of a deletion vector lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VectorPlace {
    /// The Puffin file.
    pub path: String,
    /// First byte.
    pub offset: i64,
    /// Length in bytes.
    pub length: i64,
    /// Its positions.
    pub count: u64,
}

/// A union of deletion vectors.
#[derive(Debug, Clone, PartialEq)]
pub struct United {
    /// All positions.
    pub positions: PositionSet,
    /// How many rows both statements deleted.
    pub twice: u64,
}

impl Unite {
    /// The union of `ours` and `current`, each of which holds `base`.
    ///
    /// # Errors
    /// Why it is a conflict: both statements changed a row, and one of them did more than delete it.
    pub fn union(
        &self,
        ours: &PositionSet,
        base: Option<&PositionSet>,
        current: &PositionSet,
    ) -> Result<United, String> {
        let mut new = ours.clone();
        if let Some(base) = base {
            new.subtract(base);
        }
        let both = new.intersection(current);
        if self.disjoint
            && let Some(position) = both.min()
        {
            return Err(format!(
                "row {position} of data file {} was changed by another statement",
                self.data_file
            ));
        }
        let mut positions = current.clone();
        positions.union_with(ours);
        Ok(United { positions, twice: both.len() })
    }
}
