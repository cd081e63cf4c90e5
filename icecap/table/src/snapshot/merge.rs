//! Merging manifests, so that a table of many small commits has few: as Iceberg Java's merge append does it.
//!
//! The new manifests come first, then the base's. Those of one partition spec and content are packed from the
//! end into bins of the target size, so that the bin that is not full is the first, which grows by the next
//! commits. A bin of several manifests becomes one; the first bin only when it has enough of them, so that a
//! commit mostly writes its own small manifest and nothing else.
//!
//! Otherwise than in Java, the first bin is merged in tiers: a manifest that is far larger than all newer ones
//! together stays as it is until they have grown. So an entry is written again a number of times that grows with
//! the logarithm of the commits, not with their number.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use iceberg::spec::{
    FormatVersion, ManifestContentType, ManifestFile, ManifestMetadata, ManifestStatus, PartitionSpec,
    SchemaRef, TableMetadata,
};
use uuid::Uuid;

use super::filter::own_row_id;
use super::manifests::{LiveEntry, ManifestBuilder, ManifestReader, entries_of};
use crate::error::{Error, ErrorKind, Result};
use crate::manifest::{ManifestEncoder, UNASSIGNED};
use crate::properties::CommitSettings;

/// Bins that are merged at once; each is about the target size.
const BINS_AT_ONCE: usize = 4;
/// How many manifests of a bin are read at a time.
const MANIFESTS_AT_ONCE: usize = 16;
/// A manifest of more than so many times the entries of all newer ones is not merged with them yet. 2,000 one-row
/// appends write 8,600 entries again with 4, as against 21,000 where everything is merged each time.
const TIER_FACTOR: u64 = 4;

/// The manifests of the new snapshot, and how many of older snapshots they replace.
pub(super) struct Merged {
    pub(super) manifests: Vec<ManifestFile>,
    pub(super) replaced: usize,
}

/// Merges `manifests`, new ones first, where the table's properties ask for it.
pub(super) async fn merge(
    reader: ManifestReader<'_>,
    metadata: &TableMetadata,
    builder: &mut ManifestBuilder<'_>,
    settings: &CommitSettings,
    manifests: Vec<ManifestFile>,
) -> Result<Merged> {
    if !settings.manifest_merge {
        return Ok(Merged { manifests, replaced: 0 });
    }
    let mut merged = Merged { manifests: Vec::new(), replaced: 0 };
    let mut jobs = Vec::new();
    for bin in bins(manifests, settings) {
        match bin {
            Bin::Kept(manifests) => merged.manifests.extend(manifests),
            Bin::Merged(manifests) => {
                // Its place in the list; what becomes of it is known when it is merged.
                jobs.push((merged.manifests.len(), manifests));
            }
        }
    }
    let names = builder.reserve(jobs.len());
    let mut running = Vec::new();
    for ((at, manifests), location) in jobs.into_iter().zip(names) {
        let own = manifests.iter().map(|manifest| builder.find(&manifest.manifest_path)).collect();
        let bin = Unmerged { at, manifests, own, location };
        running.push(merge_bin(reader, metadata, builder.snapshot_id(), builder.uuid(), bin));
    }
    let done: Vec<_> = stream::iter(running).buffered(BINS_AT_ONCE).try_collect().await?;
    // From the end, so that the places before stay what they are.
    for (at, manifests, written) in done.into_iter().rev() {
        let Some((bytes, written)) = written else {
            merged.manifests.splice(at..at, manifests);
            continue;
        };
        for manifest in manifests {
            if manifest.added_snapshot_id != builder.snapshot_id() {
                merged.replaced += 1;
            }
            builder.take_back(&manifest.manifest_path);
        }
        builder.add(written.manifest_path.clone(), bytes);
        merged.manifests.insert(at, written);
    }
    Ok(merged)
}

/// A bin that is to become one manifest.
struct Unmerged {
    /// Its place in the list.
    at: usize,
    manifests: Vec<ManifestFile>,
    /// The bytes of those that are not stored yet.
    own: Vec<Option<Bytes>>,
    /// Where the merged manifest goes.
    location: String,
}

/// A bin, its place, and the manifest that takes its place, unless it stays as it is.
type Done = (usize, Vec<ManifestFile>, Option<(Bytes, ManifestFile)>);

async fn merge_bin(
    reader: ManifestReader<'_>,
    metadata: &TableMetadata,
    snapshot_id: i64,
    uuid: Uuid,
    bin: Unmerged,
) -> Result<Done> {
    let Unmerged { at, manifests, own, location } = bin;
    let merged = match Job::load(reader, metadata, snapshot_id, uuid, &manifests, own).await {
        Ok(job) => job.run(location).await,
        Err(error) => Err(error),
    };
    match merged {
        Ok(written) => Ok((at, manifests, Some(written))),
        // An append does not need what older manifests say. They stay as they are.
        Err(error) if keeps_apart(&error) => {
            tracing::warn!(%error, "manifests could not be merged and are left as they are");
            Ok((at, manifests, None))
        }
        Err(error) => Err(error),
    }
}

/// Whether an error says that manifests cannot be merged (or may not be read), rather than that storage fails.
fn keeps_apart(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Corrupt | ErrorKind::Unsupported | ErrorKind::Invalid | ErrorKind::Denied
    )
}

#[derive(Debug, PartialEq)]
enum Bin {
    Kept(Vec<ManifestFile>),
    Merged(Vec<ManifestFile>),
}

/// Packs manifests: data before deletes, newer partition specs before older ones.
fn bins(manifests: Vec<ManifestFile>, settings: &CommitSettings) -> Vec<Bin> {
    let mut groups: BTreeMap<(bool, Reverse<i32>), Vec<ManifestFile>> = BTreeMap::new();
    let mut first = [None, None];
    for manifest in manifests {
        let is_deletes = manifest.content == ManifestContentType::Deletes;
        first[usize::from(is_deletes)].get_or_insert_with(|| manifest.manifest_path.clone());
        groups.entry((is_deletes, Reverse(manifest.partition_spec_id))).or_default().push(manifest);
    }
    let mut all = Vec::new();
    for ((is_deletes, _), group) in groups {
        let first = first[usize::from(is_deletes)].as_deref();
        for bin in packed_from_end(group, settings.manifest_target_bytes) {
            let holds_first = bin.iter().any(|manifest| Some(manifest.manifest_path.as_str()) == first);
            let is_kept = bin.len() == 1 || (holds_first && bin.len() < settings.manifest_min_count_to_merge);
            match (is_kept, holds_first) {
                (true, _) => all.push(Bin::Kept(bin)),
                (false, false) => all.push(Bin::Merged(bin)),
                (false, true) => {
                    let mut merged = bin;
                    let kept = merged.split_off(newest_tier(&merged));
                    all.push(Bin::Merged(merged));
                    if !kept.is_empty() {
                        all.push(Bin::Kept(kept));
                    }
                }
            }
        }
    }
    all
}

/// How many of a bin's manifests, newest first, are worth merging: up to the first that has more than
/// [`TIER_FACTOR`] times the entries of all newer ones. Two at least.
fn newest_tier(bin: &[ManifestFile]) -> usize {
    let mut newer = 0_u64;
    for (at, manifest) in bin.iter().enumerate() {
        let entries = entries(manifest);
        if at >= 2 && entries > newer.saturating_mul(TIER_FACTOR) {
            return at;
        }
        newer = newer.saturating_add(entries);
    }
    bin.len()
}

/// The entries of a manifest; one where the list does not count them.
fn entries(manifest: &ManifestFile) -> u64 {
    let counts = [manifest.added_files_count, manifest.existing_files_count, manifest.deleted_files_count];
    counts.into_iter().flatten().map(u64::from).sum::<u64>().max(1)
}

/// Bins of consecutive manifests, each of at most `target` bytes, filled from the last one on.
fn packed_from_end(group: Vec<ManifestFile>, target: u64) -> Vec<Vec<ManifestFile>> {
    let mut bins: Vec<Vec<ManifestFile>> = Vec::new();
    let mut filled = 0_u64;
    for manifest in group.into_iter().rev() {
        let length = u64::try_from(manifest.manifest_length).unwrap_or(0);
        match bins.last_mut() {
            Some(bin) if filled.saturating_add(length) <= target => {
                filled = filled.saturating_add(length);
                bin.push(manifest);
            }
            _ => {
                filled = length;
                bins.push(vec![manifest]);
            }
        }
    }
    bins.iter_mut().for_each(|bin| bin.reverse());
    bins.reverse();
    bins
}

async fn read_input(
    reader: ManifestReader<'_>,
    manifest: ManifestFile,
    own: Option<Bytes>,
) -> Result<(ManifestFile, Bytes)> {
    let bytes = match own {
        Some(bytes) => bytes,
        None => reader.bytes(&manifest).await?,
    };
    Ok((manifest, bytes))
}

/// Several manifests that become one; owned, so that it runs on a thread for blocking work.
struct Job {
    version: FormatVersion,
    snapshot_id: i64,
    uuid: Uuid,
    /// The table's schema and the bin's spec, as the table has them now.
    schema: SchemaRef,
    spec: Arc<PartitionSpec>,
    inputs: Vec<(ManifestFile, Bytes)>,
}

impl Job {
    async fn load(
        reader: ManifestReader<'_>,
        metadata: &TableMetadata,
        snapshot_id: i64,
        uuid: Uuid,
        manifests: &[ManifestFile],
        own: Vec<Option<Bytes>>,
    ) -> Result<Self> {
        let spec_id = manifests.first().map_or(0, |manifest| manifest.partition_spec_id);
        let spec = metadata.partition_spec_by_id(spec_id).ok_or_else(|| {
            Error::corrupt(format!(
                "a manifest is of partition spec {spec_id}, which the table does not have"
            ))
        })?;
        let mut reads = Vec::with_capacity(manifests.len());
        for (manifest, own) in manifests.iter().cloned().zip(own) {
            reads.push(read_input(reader, manifest, own));
        }
        let inputs = stream::iter(reads).buffered(MANIFESTS_AT_ONCE).try_collect().await?;
        Ok(Self {
            version: metadata.format_version(),
            snapshot_id,
            uuid,
            schema: Arc::clone(metadata.current_schema()),
            spec: Arc::clone(spec),
            inputs,
        })
    }

    async fn run(self, location: String) -> Result<(Bytes, ManifestFile)> {
        let done = tokio::task::spawn_blocking(move || self.written(location)).await;
        done.map_err(|e| Error::cancelled("the commit was stopped").with_source(e))?
    }

    fn written(self, location: String) -> Result<(Bytes, ManifestFile)> {
        let parsed: Vec<(ManifestFile, Vec<LiveEntry>, ManifestMetadata)> = self
            .inputs
            .iter()
            .map(|(manifest, bytes)| {
                let (entries, header) = entries_of(manifest, bytes)?;
                Ok((manifest.clone(), entries, header))
            })
            .collect::<Result<_>>()?;
        let content = parsed.first().map_or(ManifestContentType::Data, |(manifest, ..)| manifest.content);
        let schema = self.schema_for(&parsed);
        let mut encoder =
            ManifestEncoder::new(self.version, content, self.snapshot_id, schema, &self.spec, self.uuid)?;
        let is_v3 = self.version >= FormatVersion::V3 && content == ManifestContentType::Data;
        // Whether every file has its row id in its own entry.
        let mut all_have_ids = is_v3;
        for (manifest, entries, _) in &parsed {
            let is_own = manifest.added_snapshot_id == self.snapshot_id;
            for entry in entries {
                let is_this = is_own && entry.snapshot_id == self.snapshot_id;
                let file = if is_v3 { &own_row_id(entry)? } else { &entry.file };
                let (number, file_number) = (entry.sequence_number, entry.file_sequence_number);
                match entry.status {
                    // What older snapshots removed is told in their own lists.
                    ManifestStatus::Deleted if !is_this => continue,
                    ManifestStatus::Deleted => encoder.deleted(file, number, file_number)?,
                    ManifestStatus::Added if is_this => {
                        all_have_ids &= file.first_row_id().is_some();
                        encoder.added(file, Some(number).filter(|number| *number != UNASSIGNED))?;
                    }
                    ManifestStatus::Added | ManifestStatus::Existing => {
                        all_have_ids &= file.first_row_id().is_some();
                        encoder.existing(file, entry.snapshot_id, number, file_number)?;
                    }
                }
            }
        }
        let (bytes, mut written) = encoder.finish(location)?;
        if all_have_ids {
            // No file takes one of it; keeping one saves handing out a range for nothing.
            written.first_row_id = parsed.iter().filter_map(|(manifest, ..)| manifest.first_row_id).min();
        }
        Ok((bytes.into(), written))
    }

    /// The schema of the new manifest's header: the table's, unless it no longer has a column that the spec
    /// needs.
    fn schema_for<'a>(
        &'a self,
        parsed: &'a [(ManifestFile, Vec<LiveEntry>, ManifestMetadata)],
    ) -> &'a SchemaRef {
        match (self.spec.partition_type(&self.schema), parsed.first()) {
            (Err(_), Some((.., header))) => header.schema(),
            _ => &self.schema,
        }
    }
}

#[cfg(test)]
mod tests;
