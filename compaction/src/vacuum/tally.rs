//! What a `VACUUM` did, counted while it does it.

use std::sync::atomic::{AtomicU64, Ordering};

/// What a deleted file was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Data,
    Deletes,
    Manifest,
    ManifestList,
    Statistics,
    Orphan,
}

/// The counts.
#[derive(Debug, Default)]
pub(super) struct Tally {
    snapshots: AtomicU64,
    references: AtomicU64,
    deleted: [AtomicU64; 6],
    orphans_kept: AtomicU64,
    left: AtomicU64,
    stopped: AtomicU64,
}

impl Tally {
    pub(super) fn expired(&self, snapshots: usize, references: usize) {
        self.snapshots.fetch_add(snapshots as u64, Ordering::Relaxed);
        self.references.fetch_add(references as u64, Ordering::Relaxed);
    }

    pub(super) fn deleted(&self, kind: Kind) {
        self.deleted[kind as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// A file that nothing names and that may still be needed.
    pub(super) fn kept_orphan(&self) {
        self.orphans_kept.fetch_add(1, Ordering::Relaxed);
    }

    /// A file that is not needed and could not be deleted, or is not the table's to delete.
    pub(super) fn left(&self) {
        self.left.fetch_add(1, Ordering::Relaxed);
    }

    /// The run ended before it was done.
    pub(super) fn stopped(&self) {
        self.stopped.store(1, Ordering::Relaxed);
    }

    /// All counts by name. What hardly ever happens is told only when it did.
    pub(super) fn counts(&self) -> Vec<(&'static str, u64)> {
        let of = |kind: Kind| self.deleted[kind as usize].load(Ordering::Relaxed);
        let always = [
            ("snapshots_expired", self.snapshots.load(Ordering::Relaxed)),
            ("references_removed", self.references.load(Ordering::Relaxed)),
            ("data_files_deleted", of(Kind::Data)),
            ("delete_files_deleted", of(Kind::Deletes)),
            ("manifests_deleted", of(Kind::Manifest)),
            ("manifest_lists_deleted", of(Kind::ManifestList)),
            ("statistics_files_deleted", of(Kind::Statistics)),
            ("orphans_deleted", of(Kind::Orphan)),
        ];
        let seldom = [
            ("orphans_kept", self.orphans_kept.load(Ordering::Relaxed)),
            ("files_left", self.left.load(Ordering::Relaxed)),
            ("stopped_early", self.stopped.load(Ordering::Relaxed)),
        ];
        always.into_iter().chain(seldom.into_iter().filter(|(_, count)| *count > 0)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_counted_is_told_by_name() {
        let tally = Tally::default();
        tally.expired(3, 1);
        tally.deleted(Kind::Data);
        tally.deleted(Kind::Orphan);
        tally.left();
        let counts = tally.counts();
        let of = |name| counts.iter().find(|(known, _)| *known == name).map(|(_, count)| *count);
        assert_eq!((of("snapshots_expired"), of("references_removed")), (Some(3), Some(1)));
        assert_eq!((of("data_files_deleted"), of("delete_files_deleted")), (Some(1), Some(0)));
        assert_eq!((of("orphans_deleted"), of("files_left")), (Some(1), Some(1)));
        assert_eq!((of("orphans_kept"), of("stopped_early")), (None, None));
    }
}
