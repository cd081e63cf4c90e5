//! Files below a table's location that nothing names: what failed writes and crashed commits left.
//!
//! A file is deleted only when it is old, is not named by the table as it is *after* the file was listed, and belongs
//! to no active write. The order makes it safe: whoever commits a listed file either is active when the ledger is read
//! (then the file stays), or committed before (then the table, loaded after that, names it), or began later (then the
//! file was not there to be listed).

use std::collections::{HashMap, HashSet};

use futures::StreamExt;
use icecap::sql::Name;
use icecap_table::Result;
use icecap_table::catalog::LoadedTable;
use icecap_table::id::WriteId;
use icecap_table::storage::StoredObject;
use uuid::Uuid;

use super::reach::{self, Locations};
use super::sweep::Job;
use super::tally::Kind;

/// Files of which it is not known who wrote them stay so long whatever the table's age limit is: a commit of any
/// engine may be about to name them.
const UNKNOWN_MS: i64 = 24 * 60 * 60 * 1000;

/// A UUID's length as text.
const UUID_CHARS: usize = 36;

/// Deletes the orphans of a table. `named` is what the table named before they were listed.
///
/// # Errors
/// `Unavailable` when storage or the ledger cannot be read; `Corrupt` when the table's manifests cannot be.
pub(super) async fn delete(
    job: &Job<'_>,
    name: &Name,
    table: &LoadedTable,
    mut named: Locations,
) -> Result<()> {
    let mut suspects = Vec::new();
    let mut objects = job.storage.objects(job.home.root())?;
    while let Some(object) = objects.next().await {
        let object = object?;
        if named.contains(&object.location) || is_never_an_orphan(&object.location) {
            continue;
        }
        if object.modified_ms >= job.policy.older_than_ms {
            keep(job, &object, "is younger than the table's age limit");
        } else {
            suspects.push(object);
        }
    }
    drop(objects);
    if suspects.is_empty() {
        return Ok(());
    }
    let active = job.upkeep.active_writes().await?;
    let latest = job.upkeep.load(name).await?;
    let metadata = latest.document.metadata();
    if metadata.uuid() != table.document.metadata().uuid() {
        return Ok(());
    }
    named.insert(&latest.metadata_location);
    for entry in metadata.metadata_log() {
        named.insert(&entry.metadata_file);
    }
    for statistics in reach::statistics(metadata) {
        named.insert(statistics);
    }
    let known = table.document.metadata();
    let newer =
        metadata.snapshots().filter(|snapshot| known.snapshot_by_id(snapshot.snapshot_id()).is_none());
    reach::add_snapshots(&job.storage, metadata, newer.cloned().collect(), &mut named).await?;

    let mut busy = HashSet::new();
    for write in &active {
        // A dead one could still be taken over by its token: fenced it cannot.
        if write.is_alive || !job.upkeep.fence(write).await? {
            busy.insert(write.write_id);
        }
    }
    let mut ended: HashMap<WriteId, bool> = HashMap::new();
    let mut orphans = Vec::new();
    for object in suspects {
        if named.contains(&object.location) {
            continue;
        }
        let write = write_of(&object.location);
        if write.is_some_and(|write| busy.contains(&write)) {
            keep(job, &object, "belongs to a write that is running");
            continue;
        }
        let is_known = match write {
            None => false,
            Some(write) => match ended.get(&write) {
                Some(known) => *known,
                None => {
                    let known = job.upkeep.has_ended(write).await?;
                    ended.insert(write, known);
                    known
                }
            },
        };
        let age_ms = job.policy.now_ms.saturating_sub(object.modified_ms);
        if !is_known && age_ms < UNKNOWN_MS {
            keep(job, &object, "was written within a day by nobody knows whom");
            continue;
        }
        orphans.push((Kind::Orphan, object.location));
    }
    job.delete_all(orphans).await;
    Ok(())
}

fn keep(job: &Job<'_>, object: &StoredObject, why: &str) {
    tracing::info!(location = %object.location, "a file that the table does not name {why}, and stays");
    job.tally.kept_orphan();
}

/// Hadoop's hint to the current version is named by nothing.
fn is_never_an_orphan(location: &str) -> bool {
    location.rsplit('/').next().is_some_and(|name| name.starts_with("version-hint"))
}

/// The write whose id a file's base name begins with.
fn write_of(location: &str) -> Option<WriteId> {
    let name = location.rsplit('/').next()?;
    let (id, rest) = name.split_at_checked(UUID_CHARS)?;
    rest.starts_with('-').then(|| Uuid::try_parse(id).ok().map(WriteId::new)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_staged_file_tells_its_write() {
        let write = WriteId::from_token("t", 0, 0);
        assert_eq!(write_of(&format!("file:///w/t/data/p=1/{write}-0-0-0-x-0.parquet")), Some(write));
        for other in [
            format!("file:///w/t/data/{write}.parquet"),
            "file:///w/t/data/00000-1-abc.parquet".to_owned(),
            "file:///w/t/metadata/v1.metadata.json".to_owned(),
            format!("file:///w/t/metadata/00001-{write}.metadata.json"),
        ] {
            assert_eq!(write_of(&other), None, "{other}");
        }
        assert!(is_never_an_orphan("file:///w/t/metadata/version-hint.text"));
        assert!(!is_never_an_orphan("file:///w/t/metadata/v1.metadata.json"));
    }
}
