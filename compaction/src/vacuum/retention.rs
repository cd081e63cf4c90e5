//! Which snapshots and references expire: the specification's retention policy ("Snapshot Retention Policy"), and
//! nothing that a running write reads.

use std::collections::{BTreeMap, HashSet};

use icecap_table::Result;
use icecap_table::iceberg::spec::{MAIN_BRANCH, SnapshotReference, SnapshotRetention, TableMetadata};
use icecap_table::metadata::TableDocument;
use icecap_table::properties::RetentionSettings;

/// The policy of one run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// The time, in milliseconds since the epoch.
    pub now_ms: i64,
    /// Snapshots from before this time expire, in branches that set no age of their own.
    pub older_than_ms: i64,
    /// How many snapshots of a branch stay at least, in branches that set no number of their own.
    pub min_snapshots: u64,
    /// How old references get that set no age of their own, in milliseconds.
    pub max_ref_age_ms: i64,
}

impl Policy {
    /// What a table's properties say, with what a statement says in their place.
    pub fn new(
        settings: &RetentionSettings,
        now_ms: i64,
        older_than_ms: Option<i64>,
        retain_last: Option<u64>,
    ) -> Self {
        Self {
            now_ms,
            older_than_ms: older_than_ms
                .unwrap_or_else(|| now_ms.saturating_sub(settings.max_snapshot_age_ms)),
            min_snapshots: retain_last.unwrap_or(settings.min_snapshots_to_keep),
            max_ref_age_ms: settings.max_ref_age_ms,
        }
    }
}

/// What goes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Expiry {
    /// Snapshots, in the order of their ids.
    pub snapshots: Vec<i64>,
    /// References, in the order of their names.
    pub references: Vec<String>,
}

impl Expiry {
    /// Whether nothing goes.
    pub fn is_empty(&self) -> bool {
        self.snapshots.is_empty() && self.references.is_empty()
    }
}

/// What a table lets go under `policy`. Snapshots in `pinned` stay.
///
/// A snapshot that no reference leads to (one that was staged and never published, say) stays until it is old.
///
/// # Errors
/// `Corrupt` when a reference breaks the specification.
pub fn expiry(document: &TableDocument, policy: &Policy, pinned: &HashSet<i64>) -> Result<Expiry> {
    let metadata = document.metadata();
    let mut references = document.references()?;
    if let Some(current) = metadata.current_snapshot_id() {
        // Old files do not spell it out.
        references
            .entry(MAIN_BRANCH.to_owned())
            .or_insert_with(|| SnapshotReference::new(current, SnapshotRetention::branch(None, None, None)));
    }
    Ok(expiry_of(metadata, &references, policy, pinned))
}

fn expiry_of(
    metadata: &TableMetadata,
    references: &BTreeMap<String, SnapshotReference>,
    policy: &Policy,
    pinned: &HashSet<i64>,
) -> Expiry {
    let mut gone = Vec::new();
    let mut kept: HashSet<i64> = pinned.clone();
    let mut led_to = HashSet::new();
    for (name, reference) in references {
        if name != MAIN_BRANCH && is_old(metadata, reference, policy) {
            gone.push(name.clone());
            continue;
        }
        kept.insert(reference.snapshot_id);
        led_to.insert(reference.snapshot_id);
        if let SnapshotRetention::Branch { min_snapshots_to_keep, max_snapshot_age_ms, .. } =
            reference.retention
        {
            let min = min_snapshots_to_keep.and_then(|min| u64::try_from(min).ok());
            let older_than = max_snapshot_age_ms.map(|age| policy.now_ms.saturating_sub(age));
            let (min, older_than) =
                (min.unwrap_or(policy.min_snapshots), older_than.unwrap_or(policy.older_than_ms));
            let mut stays = true;
            for (place, (id, timestamp_ms)) in (0_u64..).zip(ancestors(metadata, reference.snapshot_id)) {
                // The first that goes takes all before it along.
                stays &= place < min || timestamp_ms >= older_than;
                if stays {
                    kept.insert(id);
                }
                led_to.insert(id);
            }
        }
    }
    let mut snapshots: Vec<i64> = metadata
        .snapshots()
        .filter(|snapshot| {
            let id = snapshot.snapshot_id();
            let waits = !led_to.contains(&id) && snapshot.timestamp_ms() >= policy.older_than_ms;
            !kept.contains(&id) && !waits
        })
        .map(|snapshot| snapshot.snapshot_id())
        .collect();
    snapshots.sort_unstable();
    Expiry { snapshots, references: gone }
}

/// Whether a reference is past its age, or leads to nothing.
fn is_old(metadata: &TableMetadata, reference: &SnapshotReference, policy: &Policy) -> bool {
    let own = match reference.retention {
        SnapshotRetention::Branch { max_ref_age_ms, .. } | SnapshotRetention::Tag { max_ref_age_ms } => {
            max_ref_age_ms
        }
    };
    match metadata.snapshot_by_id(reference.snapshot_id) {
        Some(snapshot) => {
            let age = policy.now_ms.saturating_sub(snapshot.timestamp_ms());
            age > own.unwrap_or(policy.max_ref_age_ms)
        }
        None => true,
    }
}

/// A snapshot and what it was made on, back to the first that is there: ids and times.
fn ancestors(metadata: &TableMetadata, head: i64) -> impl Iterator<Item = (i64, i64)> {
    let mut next = Some(head);
    // A chain that leads round in a circle ends where it began.
    let mut seen = HashSet::new();
    std::iter::from_fn(move || {
        let snapshot = metadata.snapshot_by_id(next.take()?)?;
        next = snapshot.parent_snapshot_id();
        seen.insert(snapshot.snapshot_id()).then(|| (snapshot.snapshot_id(), snapshot.timestamp_ms()))
    })
}

#[cfg(test)]
mod tests;
