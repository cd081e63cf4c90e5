//! The table specification's invariants, checked over a stored table of any engine.
//!
//! [`check_metadata`] reads everything that a metadata file names, but for the content of Parquet files, and says what
//! is wrong. Nothing is written. It shares the manifest reader with production code, but none of its arithmetic.

mod deletes;
mod files;
mod log;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use iceberg::spec::{
    DataContentType, FormatVersion, ManifestContentType, ManifestEntry, ManifestFile, ManifestMetadata,
    ManifestStatus, SnapshotRef,
};
use uuid::Uuid;

use self::files::{Counts, Live, check_file, check_live};
use crate::error::{ErrorKind, Result};
use crate::manifest::Manifest;
use crate::metadata::TableDocument;
use crate::snapshot::{LiveEntry, load_entries, load_manifest_list};
use crate::storage::Storage;

/// What a check looked at, and what it found wrong.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MetadataReport {
    /// One sentence for each violation, in the order of the check.
    pub violations: Vec<String>,
    /// Snapshots that were looked at.
    pub snapshots: usize,
    /// Manifests of them.
    pub manifests: usize,
    /// Files of them: data files and delete files, each counted once.
    pub files: usize,
    /// Rows of the current snapshot's data files, before deletes.
    pub rows: u64,
}

/// Checks the table whose metadata file lies at `metadata_location`: its logs, every snapshot that it
/// retains, every manifest, and that every file exists with its recorded length.
///
/// Returns one sentence for each violation.
pub async fn check_table(storage: &Storage, metadata_location: &str) -> Vec<String> {
    check_unseen(storage, metadata_location, &mut Seen::default()).await
}

/// Checks as [`check_table`] does, but of the snapshots only the current one and those that are not in `seen`,
/// which is told of them: a history that is checked again after every commit costs each snapshot once.
pub async fn check_unseen(storage: &Storage, metadata_location: &str, seen: &mut Seen) -> Vec<String> {
    match TableDocument::load(storage, metadata_location).await {
        Ok(document) => check_document(storage, &document, seen).await.violations,
        Err(error) => vec![format!("metadata file cannot be loaded: {error}")],
    }
}

/// Checks as [`check_table`] does, a table whose metadata is loaded, and counts what it looked at.
pub async fn check_metadata(storage: &Storage, document: &TableDocument) -> MetadataReport {
    check_document(storage, document, &mut Seen::default()).await
}

/// The snapshots that earlier checks looked at, and what their manifests hold. Neither ever changes.
#[derive(Debug, Default)]
pub struct Seen {
    /// By table and id.
    snapshots: HashSet<(Uuid, i64)>,
    /// By location.
    /// By name and by the row id that the list gives out: an upgrade gives one to manifests of before.
    manifests: HashMap<(String, Option<u64>), Arc<Parsed>>,
}

impl Seen {
    /// How many snapshots were looked at.
    pub fn snapshots(&self) -> usize {
        self.snapshots.len()
    }
}

async fn check_document(storage: &Storage, document: &TableDocument, seen: &mut Seen) -> MetadataReport {
    // What is really stored, not what is remembered of it.
    let storage = &storage.clone().with_cache_bytes(0);
    let table = document.metadata().uuid();
    let current = document.metadata().current_snapshot_id();
    let mut snapshots: Vec<SnapshotRef> = document
        .metadata()
        .snapshots()
        .filter(|snapshot| {
            let id = snapshot.snapshot_id();
            !seen.snapshots.contains(&(table, id)) || current == Some(id)
        })
        .cloned()
        .collect();
    snapshots.sort_by_key(|snapshot| snapshot.sequence_number());
    let mut check = Check {
        storage,
        document,
        seen,
        sizes: HashMap::new(),
        manifests: HashSet::new(),
        files: HashSet::new(),
        vectors: HashMap::new(),
        current_rows: 0,
        violations: Vec::new(),
    };
    log::check(&mut check).await;
    for snapshot in &snapshots {
        check.seen.snapshots.insert((table, snapshot.snapshot_id()));
        if let Err(error) = check.snapshot(snapshot).await {
            let causes: Vec<String> =
                std::iter::successors(std::error::Error::source(&error), |cause| cause.source())
                    .map(|cause| format!(": {cause}"))
                    .collect();
            check.says(format!("snapshot {}: {error}{}", snapshot.snapshot_id(), causes.concat()));
        }
    }
    MetadataReport {
        violations: once_each(check.violations),
        snapshots: snapshots.len(),
        manifests: check.manifests.len(),
        files: check.files.len(),
        rows: check.current_rows,
    }
}

/// Without repetitions: a manifest is looked at for each snapshot that has it.
fn once_each(violations: Vec<String>) -> Vec<String> {
    let mut told = HashSet::new();
    violations.into_iter().filter(|violation| told.insert(violation.clone())).collect()
}

/// A check under way.
struct Check<'a> {
    storage: &'a Storage,
    document: &'a TableDocument,
    seen: &'a mut Seen,
    /// Sizes that were looked up already; `None` for what does not exist.
    sizes: HashMap<String, Option<u64>>,
    /// Manifests whose files were looked at: a snapshot names those of all snapshots before it.
    manifests: HashSet<String>,
    /// The live files met so far.
    files: HashSet<String>,
    /// The greatest position of each deletion vector that could be read, by its file and place.
    vectors: HashMap<(String, Option<i64>), Option<u64>>,
    /// The rows of the current snapshot's data files.
    current_rows: u64,
    violations: Vec<String>,
}

/// A manifest's entries as they are stored, its header, and its live entries with what they inherit.
#[derive(Debug)]
struct Parsed {
    entries: Vec<ManifestEntry>,
    header: ManifestMetadata,
    live: Vec<LiveEntry>,
    /// Of the live ones, added up once: every later snapshot has them.
    counts: Counts,
    /// The least and the greatest sequence number of the live ones.
    sequence_numbers: Option<(i64, i64)>,
}

impl Check<'_> {
    fn says(&mut self, violation: impl Into<String>) {
        self.violations.push(violation.into());
    }

    fn expect(&mut self, holds: bool, violation: impl FnOnce() -> String) {
        if !holds {
            self.violations.push(violation());
        }
    }

    /// Reports an object that is missing or has another length; `None` accepts any length.
    async fn object(&mut self, what: &str, location: &str, length: Option<u64>) {
        if !self.sizes.contains_key(location) {
            let size = self.storage.size(location).await;
            if let Err(error) = &size
                && error.kind() == ErrorKind::Denied
            {
                self.says(format!("{what} {location} cannot be looked at: {error}"));
            }
            self.sizes.insert(location.to_owned(), size.ok());
        }
        let size = self.sizes[location];
        self.expect(size.is_some() && (length.is_none() || size == length), || {
            format!("{what} {location} has size {size:?}, recorded is {length:?}")
        });
    }

    async fn snapshot(&mut self, snapshot: &SnapshotRef) -> Result<()> {
        let id = snapshot.snapshot_id();
        let metadata = self.document.metadata();
        self.object("manifest list", snapshot.manifest_list(), None).await;
        let manifests = load_manifest_list(self.storage, metadata, snapshot).await?;
        let mut paths = BTreeMap::new();
        let mut live = Live::default();
        for manifest in &manifests {
            let times = paths.entry(manifest.manifest_path.clone()).or_insert(0);
            *times += 1;
            let length = u64::try_from(manifest.manifest_length).ok();
            self.object("manifest", &manifest.manifest_path, length).await;
            self.expect(manifest.sequence_number <= snapshot.sequence_number(), || {
                format!("snapshot {id}: manifest {} is from a later sequence number", manifest.manifest_path)
            });
            self.expect(metadata.partition_spec_by_id(manifest.partition_spec_id).is_some(), || {
                format!("snapshot {id}: manifest {} has an unknown spec", manifest.manifest_path)
            });
            self.manifest(snapshot, manifest, &mut live).await?;
        }
        for (path, times) in paths {
            self.expect(times == 1, || format!("snapshot {id}: manifest {path} is listed {times} times"));
        }
        if metadata.current_snapshot_id() == Some(id) {
            self.current_rows = live.counts().records();
        }
        check_live(self, snapshot, &live);
        deletes::check_live(self, snapshot, &live);
        self.row_range(snapshot, &manifests);
        Ok(())
    }

    async fn parsed(&mut self, manifest: &ManifestFile) -> Result<Arc<Parsed>> {
        let name = &manifest.manifest_path;
        let key = (name.clone(), manifest.first_row_id);
        if let Some(parsed) = self.seen.manifests.get(&key) {
            return Ok(Arc::clone(parsed));
        }
        let bytes = self.storage.read(name).await?;
        let Manifest { entries, header } = Manifest::parse(&bytes, name)?;
        let (live, _) = load_entries(self.storage, manifest).await?;
        let counts = Counts::of(live.iter().map(|entry| &entry.file));
        let numbers = || live.iter().map(|entry| entry.sequence_number);
        let sequence_numbers = numbers().min().zip(numbers().max());
        let parsed = Arc::new(Parsed { entries, header, live, counts, sequence_numbers });
        self.seen.manifests.insert(key, Arc::clone(&parsed));
        Ok(parsed)
    }

    /// One manifest of a snapshot; its entries only the first time that it is met.
    async fn manifest(
        &mut self,
        snapshot: &SnapshotRef,
        manifest: &ManifestFile,
        live: &mut Live,
    ) -> Result<()> {
        let name = &manifest.manifest_path;
        let parsed = self.parsed(manifest).await?;
        live.manifests.push(Arc::clone(&parsed));
        if manifest.added_snapshot_id == snapshot.snapshot_id() {
            let deleted = parsed.entries.iter().filter(|entry| entry.status() == ManifestStatus::Deleted);
            live.deleted_now.extend(deleted.map(|entry| entry.data_file().clone()));
        }
        let (least, most) = parsed.sequence_numbers.unzip();
        self.expect(least.is_none_or(|least| least >= manifest.min_sequence_number), || {
            format!(
                "manifest {name}: an entry is older than the least sequence number {}",
                manifest.min_sequence_number
            )
        });
        self.expect(most.is_none_or(|most| most <= snapshot.sequence_number()), || {
            let later = parsed.live.iter().find(|entry| entry.sequence_number > snapshot.sequence_number());
            let path = later.map_or("", |entry| entry.file.file_path());
            format!("{path} has sequence number {}, after its snapshot's", most.unwrap_or_default())
        });
        if self.manifests.insert(name.clone()) {
            self.entries(snapshot, manifest, &parsed).await;
        }
        Ok(())
    }

    /// What a manifest says by itself.
    async fn entries(&mut self, snapshot: &SnapshotRef, manifest: &ManifestFile, parsed: &Parsed) {
        let name = &manifest.manifest_path;
        let version = self.document.metadata().format_version();
        self.expect(*parsed.header.content() == manifest.content, || {
            format!("manifest {name}: content differs from its list")
        });
        let mut files = BTreeMap::new();
        let mut rows = BTreeMap::new();
        for entry in &parsed.entries {
            *files.entry(entry.status() as i32).or_insert(0_u32) += 1;
            *rows.entry(entry.status() as i32).or_insert(0_u64) += entry.record_count();
            let is_data = entry.content_type() == DataContentType::Data;
            self.expect(is_data == (manifest.content == ManifestContentType::Data), || {
                format!("manifest {name}: {} does not belong into it", entry.file_path())
            });
            if entry.status() == ManifestStatus::Deleted {
                self.expect(entry.sequence_number().is_some() || version == FormatVersion::V1, || {
                    format!("manifest {name}: DELETED without sequence")
                });
            }
        }
        for (status, file_count, row_count) in [
            (ManifestStatus::Added, manifest.added_files_count, manifest.added_rows_count),
            (ManifestStatus::Existing, manifest.existing_files_count, manifest.existing_rows_count),
            (ManifestStatus::Deleted, manifest.deleted_files_count, manifest.deleted_rows_count),
        ] {
            let at = status as i32;
            let counted = (files.get(&at).copied().unwrap_or(0), rows.get(&at).copied().unwrap_or(0));
            let recorded = (file_count.unwrap_or(counted.0), row_count.unwrap_or(counted.1));
            self.expect(counted == recorded, || {
                format!("manifest {name}: {status:?} counts (files, rows) are {counted:?}, the list says {recorded:?}")
            });
        }
        for entry in &parsed.live {
            self.files.insert(entry.file.file_path().to_owned());
            check_file(self, &parsed.header, entry).await;
            deletes::check_file(self, &entry.file).await;
            let lineage = version >= FormatVersion::V3 && manifest.content == ManifestContentType::Data;
            let has_rows = snapshot.row_range().is_some();
            self.expect(!lineage || !has_rows || entry.first_row_id.is_some(), || {
                format!("manifest {name}: {} has no first row id", entry.file.file_path())
            });
        }
    }

    /// A snapshot's row range holds what its own manifests gave out.
    fn row_range(&mut self, snapshot: &SnapshotRef, manifests: &[ManifestFile]) {
        let Some((first, added)) = snapshot.row_range() else { return };
        let id = snapshot.snapshot_id();
        let end = first.saturating_add(added);
        let next = self.document.metadata().next_row_id();
        self.expect(end <= next, || {
            format!("snapshot {id}: row ids end at {end}, the table's next is {next}")
        });
        for manifest in manifests.iter().filter(|manifest| manifest.content == ManifestContentType::Data) {
            let start = manifest.first_row_id;
            self.expect(start.is_some_and(|start| start <= end), || {
                format!("snapshot {id}: manifest {} begins at row id {start:?}", manifest.manifest_path)
            });
        }
    }
}

#[cfg(test)]
mod tests;
