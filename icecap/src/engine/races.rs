//! The races that a statement lost, so that its user learns why it took longer.

use std::sync::{Arc, Mutex, PoisonError};

/// What lost races cost a statement.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Races {
    /// How often another write was published first in a way that the statement's changes did not bear.
    pub lost: u64,
    /// Data files that were planned again because of it, all times together.
    pub replanned_files: u64,
    /// Data files that the statement looked at each of those times.
    pub files: u64,
}

/// The races of one statement under way.
#[derive(Debug, Clone, Default)]
pub(super) struct LostRaces(Arc<Mutex<Races>>);

impl LostRaces {
    /// Another one is lost.
    pub(super) fn lost(&self) {
        self.change(|races| races.lost += 1);
    }

    /// For the last one lost, `again` of `files` data files were planned again.
    pub(super) fn planned_again(&self, again: usize, files: usize) {
        self.change(|races| {
            races.replanned_files += again as u64;
            races.files += files as u64;
        });
    }

    /// What they came to; nothing when none was lost.
    pub(super) fn told(&self) -> Option<Races> {
        let races = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (races.lost > 0).then_some(races)
    }

    fn change(&self, change: impl FnOnce(&mut Races)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}
