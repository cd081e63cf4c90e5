//! The snapshot producer: staged files and a base become manifests, a manifest list and a snapshot.
//!
//! [`prepare`] encodes everything in memory, so that a committer can store it, together with the metadata
//! file, in one parallel step; [`produce`] also stores it. New entries carry no sequence numbers and no row
//! ids: those are assigned in the manifest list, so that a rebase rewrites the list alone. Nothing here
//! decides whether the change is allowed; that is [`validate`](crate::validate).

mod cache;
mod convert;
mod filter;
mod history;
mod manifests;
mod merge;
pub(crate) mod scope;
mod summary;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use iceberg::TableUpdate;
use iceberg::spec::{
    DataFile, FormatVersion, MAIN_BRANCH, ManifestContentType, ManifestFile, Operation, SchemaRef, Snapshot,
    SnapshotRef, SnapshotReference, SnapshotRetention, Summary, TableMetadata,
};
use uuid::Uuid;

pub use self::cache::FreshManifests;
pub(crate) use self::convert::datum as datum_of_bytes;
pub use self::convert::{check_staged_paths, data_file};
pub use self::history::{ChangedFile, History, HistoryRequest, SnapshotChanges, locate_data_files};
pub(crate) use self::manifests::ManifestReader;
use self::manifests::{Encoded, ManifestBuilder};
pub use self::manifests::{LiveEntry, load_entries, load_manifest_list};
use self::summary::Totals;
pub use crate::commit::RemovedFile;
use crate::error::{Error, Result};
use crate::id::WriteId;
use crate::location::{Policy, join};
use crate::metadata::TableDocument;
use crate::properties::CommitSettings;
use crate::staged_file::{FileContent, StagedFile};
use crate::storage::Storage;

/// The summary key that names the write which made a snapshot; the evidence where there is no ledger.
pub const WRITE_ID_KEY: &str = "icecap.write-id";

/// What a snapshot is made of.
#[derive(Debug, Clone)]
pub struct SnapshotRequest<'a> {
    /// The state that it follows.
    pub document: &'a TableDocument,
    /// The write that makes it.
    pub write_id: WriteId,
    /// The write's part; enters the snapshot id.
    pub step: &'a str,
    /// The branch that it becomes the head of.
    pub reference: &'a str,
    /// The schema that the files were written with.
    pub schema_id: i32,
    /// The operation that its summary names.
    pub operation: Operation,
    /// The files that it adds.
    pub added: &'a [StagedFile],
    /// The files that it removes; what deletes rows in removed data files alone goes with them.
    pub removed: &'a [RemovedFile],
    /// The data sequence number of the added data files, where it is not the snapshot's own.
    pub data_sequence_number: Option<i64>,
    /// More entries of its summary; they win over computed ones.
    pub extra_summary: BTreeMap<String, String>,
    /// The time, in milliseconds since the epoch.
    pub now_ms: i64,
    /// Makes the names of manifests and list unique; a new one for every attempt.
    pub uuid: Uuid,
}

/// A snapshot whose manifests and list are not stored yet.
#[derive(Debug, Clone)]
pub struct PreparedSnapshot {
    /// The snapshot.
    pub snapshot: Snapshot,
    /// What makes it the head of its branch.
    pub updates: Vec<TableUpdate>,
    /// Its manifests and its list, to be stored before the pointer moves.
    pub objects: Vec<(String, Bytes)>,
    /// The same, for a cache, once the snapshot is published.
    pub fresh: FreshManifests,
}

/// A snapshot whose manifests and list are stored.
#[derive(Debug, Clone)]
pub struct ProducedSnapshot {
    /// The snapshot.
    pub snapshot: Snapshot,
    /// What makes it the head of its branch.
    pub updates: Vec<TableUpdate>,
    /// The locations of its manifests and its list, for clean-up.
    pub written: Vec<String>,
}

/// Makes a snapshot and stores its manifests and its manifest list.
///
/// # Errors
/// As [`prepare`] and [`Storage::put_all_new`]; what was stored before the failure is removed.
pub async fn produce(storage: &Storage, request: SnapshotRequest<'_>) -> Result<ProducedSnapshot> {
    let prepared = prepare(storage, request).await?;
    let written: Vec<String> = prepared.objects.iter().map(|(location, _)| location.clone()).collect();
    if let Err(error) = storage.put_all_new(prepared.objects).await {
        for location in &written {
            // The names are this attempt's own. Leftovers are orphans.
            let _ = storage.delete(location).await;
        }
        return Err(error);
    }
    Ok(ProducedSnapshot { snapshot: prepared.snapshot, updates: prepared.updates, written })
}

/// Makes a snapshot in memory; reads the base's manifest list, and manifests only where files are removed or
/// manifests are merged.
///
/// # Errors
/// `Unsupported` for a table of format version 1 and for encrypted ones; `Invalid` for staged files that do not
/// fit the table; `NotFound` for a branch or schema that is not there; `Conflict` when a file to remove is
/// not live; `Corrupt` when the base's manifests cannot be read.
pub async fn prepare(storage: &Storage, request: SnapshotRequest<'_>) -> Result<PreparedSnapshot> {
    prepare_within(storage, None, request).await
}

/// [`prepare`] for a table that anyone may have written: of the base only those manifest lists and manifests are read
/// that lie where `policy` lets tables lie. Manifests that lie elsewhere are not merged.
///
/// # Errors
/// As [`prepare`]; `Denied` where what lies elsewhere has to be read.
pub async fn prepare_within(
    storage: &Storage,
    policy: Option<&Policy>,
    request: SnapshotRequest<'_>,
) -> Result<PreparedSnapshot> {
    let metadata = request.document.metadata();
    check_request(&request)?;
    let branch = Branch::of(request.document, request.reference)?;
    let schema = schema(metadata, request.schema_id)?;
    let added = added_files(&request, &schema)?;
    let snapshot_id =
        request.write_id.derive_snapshot_id(request.step, metadata.uuid(), request.reference, 0);
    if metadata.snapshot_by_id(snapshot_id).is_some() {
        return Err(Error::conflict("this write's snapshot is in the table already")
            .with("snapshot", snapshot_id.to_string()));
    }
    let settings = CommitSettings::from_properties(metadata.properties())?;
    let reader = ManifestReader::new(storage).within(policy);
    let base = match &branch.parent {
        Some(parent) => reader.list(metadata, parent).await?.to_vec(),
        None => Vec::new(),
    };
    let mut builder =
        ManifestBuilder::new(request.document.metadata_folder(), request.uuid, snapshot_id, metadata);
    let mut changed = summary::Changes::default();
    for ((spec_id, _), files) in &added {
        files.iter().for_each(|file| changed.add(*spec_id, file));
    }
    let mut new = Vec::new();
    let removal = filter::Removal::new(
        request.removed,
        added.iter().flat_map(|((spec_id, _), files)| files.iter().map(|file| (*spec_id, file))),
    );
    for ((spec_id, content), files) in added {
        let number = request.data_sequence_number.filter(|_| content == ManifestOrder::Data);
        new.extend(builder.added(&schema, spec_id, content, number, files).await?);
    }
    let filtered = filter::remove(reader, metadata, &mut builder, base, removal).await?;
    filtered.removed.iter().for_each(|(spec_id, file)| changed.remove(*spec_id, file));
    if request.operation == Operation::Replace && changed.adds_records() {
        return Err(Error::invalid("a rewrite adds more rows than the files have that it replaces"));
    }
    let before = match &branch.parent {
        Some(parent) => Totals::of_parent(reader, metadata, parent).await?,
        None => Totals::default(),
    };
    let mut properties = changed.properties(before)?;
    properties.insert(WRITE_ID_KEY.to_owned(), request.write_id.to_string());
    properties.insert("engine-name".to_owned(), "icecap".to_owned());
    properties.insert("engine-version".to_owned(), env!("CARGO_PKG_VERSION").to_owned());
    properties.extend(request.extra_summary.clone());

    let sequence_number = metadata.last_sequence_number() + 1;
    let list = join(
        &request.document.metadata_folder(),
        &format!("snap-{snapshot_id}-1-{}.avro", request.uuid.hyphenated()),
    );
    let parent_id = branch.parent.as_ref().map(|parent| parent.snapshot_id());
    // A manifest of nothing live told an older snapshot what that one removed.
    let is_of_use = |manifest: &ManifestFile| {
        manifest.added_snapshot_id == snapshot_id
            || manifest.has_added_files()
            || manifest.has_existing_files()
    };
    let manifests = new.into_iter().chain(filtered.manifests).filter(is_of_use).collect();
    let merged = merge::merge(reader, metadata, &mut builder, &settings, manifests).await?;
    let created =
        merged.manifests.iter().filter(|manifest| manifest.added_snapshot_id == snapshot_id).count();
    for (key, count) in [
        ("manifests-created", created),
        ("manifests-kept", merged.manifests.len() - created),
        ("manifests-replaced", merged.replaced + filtered.rewritten),
    ] {
        properties.entry(key.to_owned()).or_insert_with(|| count.to_string());
    }
    let encoded = builder.list(merged.manifests, parent_id, sequence_number).await?;
    let mut objects = builder.into_objects();
    let fresh =
        FreshManifests { list: (list.clone(), Arc::clone(&encoded.manifests)), manifests: objects.clone() };
    objects.push((list.clone(), encoded.bytes.clone()));

    let snapshot = Snapshot::builder()
        .with_snapshot_id(snapshot_id)
        .with_parent_snapshot_id(parent_id)
        .with_sequence_number(sequence_number)
        .with_timestamp_ms(request.document.next_timestamp_ms(request.now_ms))
        .with_manifest_list(list)
        .with_summary(Summary { operation: request.operation.clone(), additional_properties: properties })
        .with_schema_id(schema.schema_id());
    let snapshot = match row_range(metadata, &encoded) {
        Some((first, added)) => snapshot.with_row_range(first, added).build(),
        None => snapshot.build(),
    };
    let updates = vec![
        TableUpdate::AddSnapshot { snapshot: snapshot.clone() },
        TableUpdate::SetSnapshotRef {
            ref_name: request.reference.to_owned(),
            reference: SnapshotReference::new(snapshot_id, branch.retention),
        },
    ];
    Ok(PreparedSnapshot { snapshot, updates, objects, fresh })
}

/// The row ids that the list gave out: the first, and how many.
fn row_range(metadata: &TableMetadata, encoded: &Encoded) -> Option<(u64, u64)> {
    let first = metadata.next_row_id();
    (metadata.format_version() >= FormatVersion::V3)
        .then(|| (first, encoded.next_row_id.unwrap_or(first).saturating_sub(first)))
}

fn check_request(request: &SnapshotRequest<'_>) -> Result<()> {
    let metadata = request.document.metadata();
    if metadata.format_version() == FormatVersion::V1 {
        return Err(Error::unsupported(
            "writing to a table of format version 1 is not supported: \
             set its property format-version to 2 first",
        )
        .with("table", metadata.location()));
    }
    if metadata.properties().contains_key("encryption.key-id") {
        return Err(Error::unsupported("writing encrypted tables is not supported yet")
            .with("table", metadata.location()));
    }
    let only_data = request.added.iter().all(|file| file.content == FileContent::Data);
    if request.operation == Operation::Append && !(only_data && request.removed.is_empty()) {
        return Err(Error::bug("an append adds data files and removes nothing"));
    }
    Ok(())
}

fn schema(metadata: &TableMetadata, schema_id: i32) -> Result<SchemaRef> {
    metadata.schema_by_id(schema_id).cloned().ok_or_else(|| {
        Error::not_found(format!("the table has no schema {schema_id} any more"))
            .with("table", metadata.location())
    })
}

/// The operation that a snapshot's summary names, as Iceberg Java chooses it: what it did, not who asked for it.
pub fn operation_of(added: &[StagedFile], removed: &[RemovedFile]) -> Operation {
    let is_data = |content: FileContent| content == FileContent::Data;
    let adds_data = added.iter().any(|file| is_data(file.content));
    let adds_deletes = added.iter().any(|file| !is_data(file.content));
    let removes = !removed.is_empty();
    match (adds_data, adds_deletes || removes) {
        (true, false) => Operation::Append,
        (false, _) => Operation::Delete,
        (true, true) => Operation::Overwrite,
    }
}

/// The staged files as manifest entries say them, by partition spec and manifest content.
fn added_files(
    request: &SnapshotRequest<'_>,
    schema: &SchemaRef,
) -> Result<BTreeMap<(i32, ManifestOrder), Vec<DataFile>>> {
    let mut groups: BTreeMap<_, Vec<DataFile>> = BTreeMap::new();
    let mut seen = HashSet::new();
    let mut vectors = HashSet::new();
    for file in request.added {
        if file.content == FileContent::DeletionVector
            && !vectors.insert(file.referenced_data_file.as_deref())
        {
            return Err(Error::invalid("two deletion vectors of one data file are in one request")
                .with("path", file.referenced_data_file.clone().unwrap_or_default()));
        }
        if !seen.insert((file.path.as_str(), file.content_range)) {
            return Err(
                Error::invalid("a staged file is named twice in one request").with("path", &file.path)
            );
        }
        let content =
            if file.content == FileContent::Data { ManifestOrder::Data } else { ManifestOrder::Deletes };
        let converted = data_file(file, schema, request.document.metadata())?;
        groups.entry((file.spec_id, content)).or_default().push(converted);
    }
    Ok(groups)
}

/// A manifest's content, in the order in which manifests are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ManifestOrder {
    Data,
    Deletes,
}

impl From<ManifestOrder> for ManifestContentType {
    fn from(order: ManifestOrder) -> Self {
        match order {
            ManifestOrder::Data => Self::Data,
            ManifestOrder::Deletes => Self::Deletes,
        }
    }
}

/// The branch that is written.
struct Branch {
    parent: Option<SnapshotRef>,
    /// Kept as it is when the head moves.
    retention: SnapshotRetention,
}

impl Branch {
    fn of(document: &TableDocument, name: &str) -> Result<Self> {
        let metadata = document.metadata();
        let fresh = SnapshotRetention::branch(None, None, None);
        let parent = metadata.snapshot_for_ref(name).cloned();
        match (document.reference(name)?, parent) {
            (Some(reference), Some(parent)) => {
                if !reference.is_branch() {
                    return Err(
                        Error::invalid("cannot write to a tag: it names one snapshot").with("ref", name)
                    );
                }
                Ok(Self { parent: Some(parent), retention: reference.retention })
            }
            // Main is there from the beginning, and old files do not spell it out.
            (None, parent) if name == MAIN_BRANCH => {
                Ok(Self { parent: metadata.current_snapshot().cloned().or(parent), retention: fresh })
            }
            _ => Err(Error::not_found("the table has no such branch").with("ref", name)),
        }
    }
}

#[cfg(test)]
pub(crate) mod fixture;
#[cfg(test)]
mod tests;
