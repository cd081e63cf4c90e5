//! Bugs planted on purpose, to prove that the tests would find them (feature `testing` only).
//!
//! Code that has a bug to plant asks [`is_planted`] in a statement of its own behind `#[cfg(feature = "testing")]`: without the
//! feature nothing of it is left. What is planted holds for the process: only a process that tests itself plants.

use std::sync::atomic::{AtomicU8, Ordering};

static PLANTED: AtomicU8 = AtomicU8::new(0);

/// A bug.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Mutation {
    /// A condition that is NULL counts as true.
    NullIsTrue = 1,
    /// Of several clauses of a MERGE that hold, the last one is done.
    LastClauseWins,
    /// A new deletion vector lacks what the older one deleted.
    OldDeletesForgotten,
    /// Every position is one too high.
    PositionOffByOne,
    /// Positions are those of another data file.
    WrongFile,
    /// Two source rows may change one target row.
    NoCardinalityCheck,
    /// A statement's target shows rows that were deleted before.
    DeletedRowsSeen,
    /// Copy-on-write loses one of the rows that stay.
    CarriedRowLost,
    /// Rewritten rows get new row ids.
    LineageLost,
    /// A statement is not checked against what others committed meanwhile.
    NarrowConflictFilter,
    /// Files decided by metadata alone are decided wrongly where the partition is NULL.
    NullPartitionsIgnored,
    /// Deletes do not apply to the data of the commit before theirs.
    SequenceOffByOne,
}

impl Mutation {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::NullIsTrue,
        Self::LastClauseWins,
        Self::OldDeletesForgotten,
        Self::PositionOffByOne,
        Self::WrongFile,
        Self::NoCardinalityCheck,
        Self::DeletedRowsSeen,
        Self::CarriedRowLost,
        Self::LineageLost,
        Self::NarrowConflictFilter,
        Self::NullPartitionsIgnored,
        Self::SequenceOffByOne,
    ];

    /// The bug of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|bug| format!("{bug:?}") == name)
    }
}

/// Plants a bug, or takes it out again.
pub fn plant(bug: Option<Mutation>) {
    PLANTED.store(bug.map_or(0, |bug| bug as u8), Ordering::Relaxed);
}

/// Whether this is the bug that is planted.
pub fn is_planted(bug: Mutation) -> bool {
    PLANTED.load(Ordering::Relaxed) == bug as u8
}
