//! Reading and encoding manifests and manifest lists.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use iceberg::io::FileWrite;
use iceberg::spec::{
    DataFile, FormatVersion, ManifestContentType, ManifestFile, ManifestList, ManifestListWriter,
    ManifestMetadata, ManifestStatus, PartitionSpec, SchemaRef, Snapshot, TableMetadata,
};
use uuid::Uuid;

use super::ManifestOrder;
use super::cache;
use crate::avro;
use crate::error::{Error, ErrorKind, Result};
use crate::location::{Policy, join};
use crate::manifest::{Manifest, ManifestEncoder, UNASSIGNED};
use crate::storage::Storage;

/// Fewer added files than twice so many are not worth a second manifest.
const FILES_PER_MANIFEST: usize = 1_000;
/// The manifests of added files that are encoded at once, and so the most that a commit makes of one spec.
const MANIFESTS_AT_ONCE: usize = 8;

/// The largest manifest or manifest list that is read, in bytes.
const MANIFEST_MAX_BYTES: u64 = 1 << 30;

/// Loads the manifest list of a snapshot.
///
/// # Errors
/// `Corrupt` when it is missing or breaks the specification.
pub async fn load_manifest_list(
    storage: &Storage,
    metadata: &TableMetadata,
    snapshot: &Snapshot,
) -> Result<Vec<ManifestFile>> {
    Ok(ManifestReader::new(storage).list(metadata, snapshot).await?.to_vec())
}

/// Loads a manifest's live entries.
///
/// # Errors
/// `Corrupt` when it is missing or breaks the specification.
pub async fn load_entries(
    storage: &Storage,
    manifest: &ManifestFile,
) -> Result<(Vec<LiveEntry>, ManifestMetadata)> {
    ManifestReader::new(storage).live_entries(manifest).await
}

/// Reads manifests and manifest lists, from the storage's cache where they are in it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ManifestReader<'a> {
    storage: &'a Storage,
    policy: Option<&'a Policy>,
}

impl<'a> ManifestReader<'a> {
    pub(crate) fn new(storage: &'a Storage) -> Self {
        Self { storage, policy: None }
    }

    /// A reader of what lies where `policy` lets tables lie: a table may name anything.
    pub(crate) fn within(self, policy: Option<&'a Policy>) -> Self {
        Self { policy, ..self }
    }

    /// Asked before the cache is, which others may have filled.
    fn check(&self, location: &str) -> Result<()> {
        self.storage.check(location)?;
        self.policy.map_or(Ok(()), |policy| policy.check_readable(location))
    }

    /// As [`load_manifest_list`].
    pub(crate) async fn list(
        &self,
        metadata: &TableMetadata,
        snapshot: &Snapshot,
    ) -> Result<Arc<[ManifestFile]>> {
        let location = snapshot.manifest_list();
        self.check(location)?;
        if let Some(list) = cache::list(self.storage.cache(), location) {
            return Ok(list);
        }
        let bytes = self.read(location).await?;
        let parse =
            |version| avro::parse(&bytes, location, |bytes| ManifestList::parse_with_version(bytes, version));
        // A list from before an upgrade may lack the counts that later versions require.
        let list =
            parse(metadata.format_version()).or_else(|error| parse(FormatVersion::V1).map_err(|_| error))?;
        let list: Arc<[ManifestFile]> = list.consume_entries().into_iter().collect();
        cache::keep_list(self.storage.cache(), location, Arc::clone(&list));
        Ok(list)
    }

    /// As [`load_entries`].
    pub(super) async fn live_entries(
        &self,
        manifest: &ManifestFile,
    ) -> Result<(Vec<LiveEntry>, ManifestMetadata)> {
        let (mut entries, header) = entries_of(manifest, &self.bytes(manifest).await?)?;
        entries.retain(|entry| entry.status != ManifestStatus::Deleted);
        Ok((entries, header))
    }

    /// A manifest as it is stored.
    pub(crate) async fn bytes(&self, manifest: &ManifestFile) -> Result<Bytes> {
        let location = &manifest.manifest_path;
        self.check(location)?;
        if manifest.key_metadata.as_ref().is_some_and(|key| !key.is_empty()) {
            return Err(Error::unsupported("reading encrypted manifests is not supported yet")
                .with("manifest", location));
        }
        if let Some(bytes) = cache::manifest(self.storage.cache(), location) {
            return Ok(bytes);
        }
        let bytes = self.read(location).await?;
        cache::keep_manifest(self.storage.cache(), location, bytes.clone());
        Ok(bytes)
    }

    async fn read(&self, location: &str) -> Result<Bytes> {
        self.storage.read_at_most(location, MANIFEST_MAX_BYTES).await.map_err(|e| missing(e, location))
    }
}

/// A live file as one manifest tells of it, with everything that it inherits filled in.
#[derive(Debug, Clone)]
pub struct LiveEntry {
    /// The file. A data file of a format-3 table has its first row id.
    pub file: DataFile,
    /// Whether this manifest's snapshot added it (or carried it over).
    pub status: ManifestStatus,
    /// The snapshot that added it.
    pub snapshot_id: i64,
    /// Its data sequence number.
    pub sequence_number: i64,
    /// Its file sequence number.
    pub file_sequence_number: Option<i64>,
    /// Its first row id, inherited where its entry has none.
    pub first_row_id: Option<i64>,
}

/// A manifest's entries, the DELETED ones too, with what they inherit.
pub(super) fn entries_of(
    manifest: &ManifestFile,
    bytes: &[u8],
) -> Result<(Vec<LiveEntry>, ManifestMetadata)> {
    let location = &manifest.manifest_path;
    let Manifest { entries, header } = Manifest::parse(bytes, location)?;
    let mut next_row_id = manifest.first_row_id.and_then(|id| i64::try_from(id).ok());
    let mut all = Vec::with_capacity(entries.len());
    for entry in entries {
        let is_new = entry.status() == ManifestStatus::Added;
        let inherited = |own: Option<i64>| {
            own.or((is_new || manifest.sequence_number == 0).then_some(manifest.sequence_number))
        };
        // What a DELETED entry does not say nobody asks.
        let unsaid = (!entry.is_alive()).then_some(0);
        let sequence_number = inherited(entry.sequence_number()).or(unsaid).ok_or_else(|| {
            Error::corrupt("manifest entry has no sequence number").with("manifest", location)
        })?;
        let file = entry.data_file().clone();
        let first_row_id = match (file.first_row_id(), next_row_id) {
            (None, Some(next)) if manifest.content == ManifestContentType::Data && entry.is_alive() => {
                next_row_id = i64::try_from(file.record_count()).ok().and_then(|rows| next.checked_add(rows));
                Some(next)
            }
            (own, _) => own,
        };
        all.push(LiveEntry {
            file,
            status: entry.status(),
            snapshot_id: entry.snapshot_id().unwrap_or(manifest.added_snapshot_id),
            sequence_number,
            file_sequence_number: inherited(entry.file_sequence_number),
            first_row_id,
        });
    }
    Ok((all, header))
}

fn missing(error: Error, location: &str) -> Error {
    // What a snapshot names has to be there.
    let kind = if error.kind() == ErrorKind::NotFound { ErrorKind::Corrupt } else { error.kind() };
    error.with_kind(kind).with("named by a snapshot", location)
}

/// A manifest list, and the row id after the last that it gave out.
pub(super) struct Encoded {
    pub(super) bytes: Bytes,
    /// As a reader of `bytes` finds them.
    pub(super) manifests: Arc<[ManifestFile]>,
    pub(super) next_row_id: Option<u64>,
}

/// Encodes the manifests and the list of one snapshot in memory.
pub(super) struct ManifestBuilder<'a> {
    folder: String,
    uuid: Uuid,
    snapshot_id: i64,
    metadata: &'a TableMetadata,
    objects: Vec<(String, Bytes)>,
    /// How many names were given out.
    named: usize,
}

impl<'a> ManifestBuilder<'a> {
    pub(super) fn new(folder: String, uuid: Uuid, snapshot_id: i64, metadata: &'a TableMetadata) -> Self {
        Self { folder, uuid, snapshot_id, metadata, objects: Vec::new(), named: 0 }
    }

    pub(super) fn snapshot_id(&self) -> i64 {
        self.snapshot_id
    }

    pub(super) fn uuid(&self) -> Uuid {
        self.uuid
    }

    /// A manifest of this snapshot.
    pub(super) fn find(&self, location: &str) -> Option<Bytes> {
        self.objects.iter().find(|(name, _)| name == location).map(|(_, bytes)| bytes.clone())
    }

    fn location(&self, number: usize) -> String {
        join(&self.folder, &format!("{}-m{number}.avro", self.uuid.hyphenated()))
    }

    pub(super) fn into_objects(self) -> Vec<(String, Bytes)> {
        self.objects
    }

    /// Manifests of added files, in their order: one, or several of about the same number of files, encoded at once,
    /// when there are many. Snapshot id set; row ids are inherited, and sequence numbers, but for the data sequence
    /// number where one is given.
    pub(super) async fn added(
        &mut self,
        schema: &SchemaRef,
        spec_id: i32,
        content: ManifestOrder,
        sequence_number: Option<i64>,
        mut files: Vec<DataFile>,
    ) -> Result<Vec<ManifestFile>> {
        let spec = self
            .metadata
            .partition_spec_by_id(spec_id)
            .ok_or_else(|| Error::invalid(format!("the table has no partition spec {spec_id}")))?;
        let count = (files.len() / FILES_PER_MANIFEST).clamp(1, MANIFESTS_AT_ONCE);
        if count == 1 {
            let spec = PartitionSpec::clone(spec);
            let fill = |encoder: &mut ManifestEncoder| {
                files.iter().try_for_each(|file| encoder.added(file, sequence_number))
            };
            return Ok(vec![self.write(schema, &spec, content.into(), fill)?]);
        }
        let of_each = files.len().div_ceil(count);
        let mut parts = Vec::with_capacity(count);
        for location in self.reserve(count) {
            let rest = files.split_off(of_each.min(files.len()));
            parts.push((location, std::mem::replace(&mut files, rest)));
        }
        let (schema, spec) = (Arc::clone(schema), Arc::clone(spec));
        let (version, snapshot_id, uuid) = (self.metadata.format_version(), self.snapshot_id, self.uuid);
        let encoded = at_once(parts, move |(location, files): (String, Vec<DataFile>)| {
            let mut encoder =
                ManifestEncoder::new(version, content.into(), snapshot_id, &schema, &spec, uuid)?;
            files.iter().try_for_each(|file| encoder.added(file, sequence_number))?;
            encoder.finish(location)
        });
        let mut manifests = Vec::with_capacity(count);
        for (bytes, manifest) in encoded.await? {
            self.add(manifest.manifest_path.clone(), bytes.into());
            manifests.push(manifest);
        }
        Ok(manifests)
    }

    /// Any manifest; `fill` adds its entries.
    pub(super) fn write(
        &mut self,
        schema: &SchemaRef,
        spec: &PartitionSpec,
        content: ManifestContentType,
        fill: impl FnOnce(&mut ManifestEncoder) -> Result<()>,
    ) -> Result<ManifestFile> {
        let location = self.location(self.named);
        self.named += 1;
        let version = self.metadata.format_version();
        let mut encoder = ManifestEncoder::new(version, content, self.snapshot_id, schema, spec, self.uuid)?;
        fill(&mut encoder)?;
        let (bytes, manifest) = encoder.finish(location.clone())?;
        self.objects.push((location, bytes.into()));
        Ok(manifest)
    }

    /// The names of `count` more manifests, of which the caller brings the bytes.
    pub(super) fn reserve(&mut self, count: usize) -> Vec<String> {
        let first = self.named;
        self.named += count;
        (first..self.named).map(|number| self.location(number)).collect()
    }

    pub(super) fn add(&mut self, location: String, bytes: Bytes) {
        self.objects.push((location, bytes));
    }

    /// Takes back a manifest that was made and will be in no list.
    pub(super) fn take_back(&mut self, location: &str) {
        self.objects.retain(|(name, _)| name != location);
    }

    /// The list of all of a snapshot's manifests; assigns sequence numbers and first row ids.
    pub(super) async fn list(
        &self,
        mut manifests: Vec<ManifestFile>,
        parent: Option<i64>,
        sequence_number: i64,
    ) -> Result<Encoded> {
        let sink = Sink::default();
        let writer: Box<dyn FileWrite> = Box::new(sink.clone());
        let is_v3 = self.metadata.format_version() >= FormatVersion::V3;
        let first_row_id = is_v3.then(|| self.metadata.next_row_id());
        let next_row_id = assign(&mut manifests, sequence_number, first_row_id)?;
        let mut writer = if is_v3 {
            ManifestListWriter::v3(writer, self.snapshot_id, parent, sequence_number, first_row_id)
        } else {
            ManifestListWriter::v2(writer, self.snapshot_id, parent, sequence_number)
        };
        let cannot = |e| Error::corrupt("manifest list cannot be written").with_source(e);
        writer.add_manifests(manifests.iter().cloned()).map_err(cannot)?;
        writer.close().await.map_err(cannot)?;
        let bytes = sink.0.lock().unwrap_or_else(PoisonError::into_inner).split().freeze();
        Ok(Encoded { bytes, manifests: manifests.into(), next_row_id })
    }
}

/// Gives new manifests their sequence number, and data manifests without one their first row id: a manifest's
/// range is as long as it has rows, whether or not its files have ids of their own (spec, "First Row ID
/// Assignment"). Returns the row id after the last.
fn assign(
    manifests: &mut [ManifestFile],
    sequence_number: i64,
    mut next_row_id: Option<u64>,
) -> Result<Option<u64>> {
    for manifest in manifests {
        for number in [&mut manifest.sequence_number, &mut manifest.min_sequence_number] {
            if *number == UNASSIGNED {
                *number = sequence_number;
            }
        }
        if let Some(next) = next_row_id
            && manifest.content == ManifestContentType::Data
            && manifest.first_row_id.is_none()
        {
            let rows = [manifest.existing_rows_count, manifest.added_rows_count];
            let after = rows.iter().flatten().try_fold(next, |next, rows| next.checked_add(*rows));
            manifest.first_row_id = Some(next);
            next_row_id = Some(after.ok_or_else(|| Error::invalid("the table's row ids are used up"))?);
        }
    }
    Ok(next_row_id)
}

/// What `work` makes of each item, in their order; all at once, each on a thread for blocking work.
///
/// # Errors
/// The first item's that failed.
async fn at_once<T, R>(items: Vec<T>, work: impl Fn(T) -> Result<R> + Send + Sync + 'static) -> Result<Vec<R>>
where
    T: Send + 'static,
    R: Send + 'static,
{
    let work = Arc::new(work);
    let running: Vec<_> = items
        .into_iter()
        .map(|item| {
            let work = Arc::clone(&work);
            tokio::task::spawn_blocking(move || work(item))
        })
        .collect();
    let mut done = Vec::with_capacity(running.len());
    for task in running {
        done.push(task.await.map_err(|e| Error::cancelled("the commit was stopped").with_source(e))??);
    }
    Ok(done)
}

/// A file in memory.
#[derive(Debug, Clone, Default)]
struct Sink(Arc<Mutex<BytesMut>>);

#[async_trait]
impl FileWrite for Sink {
    async fn write(&mut self, bs: Bytes) -> iceberg::Result<()> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(&bs);
        Ok(())
    }

    async fn close(&mut self) -> iceberg::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
