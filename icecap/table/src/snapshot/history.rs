//! What the commits since a base did to a table's files: what a change planned on the base is validated against.
//!
//! Only manifests that those commits wrote themselves are read, and of them only those that a check asks for.

use std::collections::{BTreeSet, HashMap};

use futures::{StreamExt, TryStreamExt, stream};
use iceberg::spec::{
    DataFile, ManifestContentType, ManifestFile, ManifestStatus, Operation, Snapshot, SnapshotRef, Struct,
    TableMetadata,
};

use super::manifests::{ManifestReader, entries_of};
use crate::error::{Error, Result};
use crate::expr::Judge;
use crate::storage::Storage;

/// How many snapshots, and how many manifests of all of them, are read at a time.
const SNAPSHOTS_AT_ONCE: usize = 8;
const MANIFESTS_AT_ONCE: usize = 4;

/// What to find out.
#[derive(Debug, Clone, Copy)]
pub struct HistoryRequest<'a> {
    /// The table as it is now.
    pub metadata: &'a TableMetadata,
    /// The branch.
    pub reference: &'a str,
    /// The snapshot after which the history begins; `None`: the empty table.
    pub base: Option<i64>,
    /// Which added data files are of interest; `None`: none of them.
    pub added_data: Option<&'a Judge>,
}

/// What happened to a branch since a base.
#[derive(Debug, Clone)]
pub enum History {
    /// These snapshots, oldest first; none when the base is the head.
    Since(Vec<SnapshotChanges>),
    /// It cannot be told: the base is no ancestor of the head, or one in between has expired.
    Unknown,
}

/// What one snapshot did.
#[derive(Debug, Clone)]
pub struct SnapshotChanges {
    /// Its id.
    pub snapshot_id: i64,
    /// Its operation, as its summary names it.
    pub operation: Operation,
    /// Whether it added data files at all.
    pub adds_data: bool,
    /// Data files that it added, where they were asked for, and all delete files that it added.
    pub added: Vec<ChangedFile>,
    /// Files that it removed.
    pub removed: Vec<ChangedFile>,
}

/// A file that a snapshot added or removed.
#[derive(Debug, Clone)]
pub struct ChangedFile {
    /// Its partition spec.
    pub spec_id: i32,
    /// Its entry.
    pub file: DataFile,
}

impl History {
    /// Reads the history that `request` asks for.
    ///
    /// # Errors
    /// `Corrupt` when manifests are missing or cannot be parsed; `Unsupported` for encrypted ones, and for snapshots
    /// without a manifest list.
    pub async fn load(storage: &Storage, request: HistoryRequest<'_>) -> Result<Self> {
        let Some(snapshots) = since(request.metadata, request.reference, request.base) else {
            return Ok(Self::Unknown);
        };
        let reader = ManifestReader::new(storage);
        let changes = stream::iter(snapshots)
            .map(|snapshot| async move { changes_of(reader, request, &snapshot).await })
            .buffered(SNAPSHOTS_AT_ONCE)
            .try_collect()
            .await?;
        Ok(Self::Since(changes))
    }
}

/// The snapshots of a branch after `base`, oldest first; `None` where the walk back does not end there.
fn since(metadata: &TableMetadata, reference: &str, base: Option<i64>) -> Option<Vec<SnapshotRef>> {
    let mut snapshots = Vec::new();
    let mut at = metadata.snapshot_for_ref(reference).cloned();
    if at.is_none() && reference == iceberg::spec::MAIN_BRANCH {
        at = metadata.current_snapshot().cloned();
    }
    while let Some(snapshot) = at {
        if base == Some(snapshot.snapshot_id()) {
            snapshots.reverse();
            return Some(snapshots);
        }
        at = match snapshot.parent_snapshot_id() {
            Some(parent) => Some(metadata.snapshot_by_id(parent)?.clone()),
            None => None,
        };
        snapshots.push(snapshot);
    }
    snapshots.reverse();
    base.is_none().then_some(snapshots)
}

async fn changes_of(
    reader: ManifestReader<'_>,
    request: HistoryRequest<'_>,
    snapshot: &Snapshot,
) -> Result<SnapshotChanges> {
    let id = snapshot.snapshot_id();
    if snapshot.manifest_list().is_empty() {
        return Err(Error::unsupported("reading a snapshot without a manifest list is not supported yet")
            .with("snapshot", id.to_string()));
    }
    let operation = snapshot.summary().operation.clone();
    let list = reader.list(request.metadata, snapshot).await?;
    let own = || list.iter().filter(|manifest| manifest.added_snapshot_id == id);
    let adds_data =
        own().any(|manifest| manifest.content == ManifestContentType::Data && manifest.has_added_files());
    let is_wanted = |manifest: &&ManifestFile| match manifest.content {
        ManifestContentType::Deletes => manifest.has_added_files() || manifest.has_deleted_files(),
        ManifestContentType::Data => {
            let judge = request.added_data.filter(|_| operation != Operation::Replace);
            manifest.has_deleted_files()
                || (manifest.has_added_files()
                    && judge.is_some_and(|judge| judge.manifest_may_match(manifest)))
        }
    };
    let wanted: Vec<ManifestFile> = own().filter(is_wanted).cloned().collect();
    let mut changes =
        SnapshotChanges { snapshot_id: id, operation, adds_data, added: Vec::new(), removed: Vec::new() };
    let mut read = stream::iter(wanted)
        .map(|manifest| async move {
            let bytes = reader.bytes(&manifest).await?;
            let (entries, _) = entries_of(&manifest, &bytes)?;
            Ok::<_, Error>((manifest.partition_spec_id, entries))
        })
        .buffered(MANIFESTS_AT_ONCE);
    while let Some((spec_id, entries)) = read.try_next().await? {
        for entry in entries {
            if entry.snapshot_id != id {
                continue;
            }
            let changed = ChangedFile { spec_id, file: entry.file };
            match entry.status {
                ManifestStatus::Added => changes.added.push(changed),
                ManifestStatus::Deleted => changes.removed.push(changed),
                ManifestStatus::Existing => {}
            }
        }
    }
    Ok(changes)
}

/// The partition spec and the partition of live data files, by path; files that are not live are left out.
///
/// # Errors
/// As [`History::load`].
pub async fn locate_data_files(
    storage: &Storage,
    metadata: &TableMetadata,
    snapshot: &Snapshot,
    paths: BTreeSet<&str>,
) -> Result<HashMap<String, (i32, Struct)>> {
    let reader = ManifestReader::new(storage);
    let mut found = HashMap::new();
    for manifest in reader.list(metadata, snapshot).await?.iter() {
        if found.len() == paths.len() {
            break;
        }
        if manifest.content != ManifestContentType::Data {
            continue;
        }
        let (entries, _) = reader.live_entries(manifest).await?;
        for entry in entries {
            if paths.contains(entry.file.file_path()) {
                let place = (manifest.partition_spec_id, entry.file.partition().clone());
                found.insert(entry.file.file_path().to_owned(), place);
            }
        }
    }
    Ok(found)
}
