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
use crate::avro;
use crate::error::{Error, ErrorKind, Result};
use crate::location::join;
use crate::manifest::{Manifest, ManifestEncoder};
use crate::storage::Storage;

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
    let location = snapshot.manifest_list();
    let bytes = storage.read_at_most(location, MANIFEST_MAX_BYTES).await.map_err(|e| missing(e, location))?;
    let parse = |version| {
        avro::parse(&bytes, "manifest list", location, |bytes| {
            ManifestList::parse_with_version(bytes, version)
        })
    };
    // A list from before an upgrade may lack the counts that later versions require.
    let list =
        parse(metadata.format_version()).or_else(|error| parse(FormatVersion::V1).map_err(|_| error))?;
    Ok(list.consume_entries().into_iter().collect())
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

/// Loads a manifest's live entries.
///
/// # Errors
/// `Corrupt` when it is missing or breaks the specification.
pub async fn load_entries(
    storage: &Storage,
    manifest: &ManifestFile,
) -> Result<(Vec<LiveEntry>, ManifestMetadata)> {
    let location = &manifest.manifest_path;
    if manifest.key_metadata.as_ref().is_some_and(|key| !key.is_empty()) {
        return Err(
            Error::unsupported("reading encrypted manifests is not supported yet").with("manifest", location)
        );
    }
    let bytes = storage.read_at_most(location, MANIFEST_MAX_BYTES).await.map_err(|e| missing(e, location))?;
    let Manifest { entries, header } = Manifest::parse(&bytes, location)?;
    let mut next_row_id = manifest.first_row_id.and_then(|id| i64::try_from(id).ok());
    let mut live = Vec::with_capacity(entries.len());
    for entry in entries {
        if !entry.is_alive() {
            continue;
        }
        let is_new = entry.status() == ManifestStatus::Added;
        let inherited = |own: Option<i64>| {
            own.or((is_new || manifest.sequence_number == 0).then_some(manifest.sequence_number))
        };
        let sequence_number = inherited(entry.sequence_number()).ok_or_else(|| {
            Error::corrupt("manifest entry has no sequence number").with("manifest", location)
        })?;
        let file = entry.data_file().clone();
        let first_row_id = match (file.first_row_id(), next_row_id) {
            (None, Some(next)) if manifest.content == ManifestContentType::Data => {
                next_row_id = i64::try_from(file.record_count()).ok().and_then(|rows| next.checked_add(rows));
                Some(next)
            }
            (own, _) => own,
        };
        live.push(LiveEntry {
            file,
            status: entry.status(),
            snapshot_id: entry.snapshot_id().unwrap_or(manifest.added_snapshot_id),
            sequence_number,
            file_sequence_number: inherited(entry.file_sequence_number),
            first_row_id,
        });
    }
    Ok((live, header))
}

fn missing(error: Error, location: &str) -> Error {
    // What a snapshot names has to be there.
    let kind = if error.kind() == ErrorKind::NotFound { ErrorKind::Corrupt } else { error.kind() };
    error.with_kind(kind).with("named by a snapshot", location)
}

/// A manifest list's bytes, and the row id after the last that it gave out.
pub(super) struct Encoded {
    pub(super) bytes: Bytes,
    pub(super) next_row_id: Option<u64>,
}

/// Encodes the manifests and the list of one snapshot in memory.
pub(super) struct ManifestBuilder<'a> {
    folder: String,
    uuid: Uuid,
    snapshot_id: i64,
    metadata: &'a TableMetadata,
    objects: Vec<(String, Bytes)>,
}

impl<'a> ManifestBuilder<'a> {
    pub(super) fn new(folder: String, uuid: Uuid, snapshot_id: i64, metadata: &'a TableMetadata) -> Self {
        Self { folder, uuid, snapshot_id, metadata, objects: Vec::new() }
    }

    pub(super) fn into_objects(self) -> Vec<(String, Bytes)> {
        self.objects
    }

    /// A manifest of added files. Snapshot id set; sequence numbers and row ids are inherited.
    pub(super) fn added(
        &mut self,
        schema: &SchemaRef,
        spec_id: i32,
        content: ManifestOrder,
        files: Vec<DataFile>,
    ) -> Result<ManifestFile> {
        let spec = self
            .metadata
            .partition_spec_by_id(spec_id)
            .ok_or_else(|| Error::invalid(format!("the table has no partition spec {spec_id}")))?;
        let spec = PartitionSpec::clone(spec);
        self.write(schema, &spec, content.into(), |encoder| {
            files.iter().try_for_each(|file| encoder.added(file))
        })
    }

    /// Any manifest; `fill` adds its entries.
    pub(super) fn write(
        &mut self,
        schema: &SchemaRef,
        spec: &PartitionSpec,
        content: ManifestContentType,
        fill: impl FnOnce(&mut ManifestEncoder) -> Result<()>,
    ) -> Result<ManifestFile> {
        let location =
            join(&self.folder, &format!("{}-m{}.avro", self.uuid.hyphenated(), self.objects.len()));
        let version = self.metadata.format_version();
        let mut encoder = ManifestEncoder::new(version, content, self.snapshot_id, schema, spec, self.uuid)?;
        fill(&mut encoder)?;
        let (bytes, manifest) = encoder.finish(location.clone())?;
        self.objects.push((location, bytes.into()));
        Ok(manifest)
    }

    /// The list of all of a snapshot's manifests; assigns sequence numbers and first row ids.
    pub(super) async fn list(
        &self,
        manifests: Vec<ManifestFile>,
        parent: Option<i64>,
        sequence_number: i64,
    ) -> Result<Encoded> {
        let sink = Sink::default();
        let writer: Box<dyn FileWrite> = Box::new(sink.clone());
        let mut writer = if self.metadata.format_version() >= FormatVersion::V3 {
            let first_row_id = Some(self.metadata.next_row_id());
            ManifestListWriter::v3(writer, self.snapshot_id, parent, sequence_number, first_row_id)
        } else {
            ManifestListWriter::v2(writer, self.snapshot_id, parent, sequence_number)
        };
        let cannot = |e| Error::corrupt("manifest list cannot be written").with_source(e);
        writer.add_manifests(manifests.into_iter()).map_err(cannot)?;
        let next_row_id = writer.next_row_id();
        writer.close().await.map_err(cannot)?;
        let bytes = sink.0.lock().unwrap_or_else(PoisonError::into_inner).split().freeze();
        Ok(Encoded { bytes, next_row_id })
    }
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
