//! Taking files out: manifests that hold a removed file are written again without it, the others carried.

use std::collections::HashSet;

use futures::{StreamExt, TryStreamExt, stream};
use iceberg::spec::{
    DataContentType, DataFile, DataFileBuilder, ManifestContentType, ManifestFile, ManifestMetadata,
    TableMetadata,
};

use super::RemovedFile;
use super::manifests::{LiveEntry, ManifestBuilder, ManifestReader};
use crate::error::{Error, Result};
use crate::staged_file::FileContent;

/// How many manifests are read at a time.
const MANIFESTS_AT_ONCE: usize = 16;

/// A manifest's live entries, and its header.
type Loaded = (Vec<LiveEntry>, ManifestMetadata);

/// What is left of the base's manifests, and what was taken out of them.
pub(super) struct Filtered {
    pub(super) manifests: Vec<ManifestFile>,
    /// With the partition spec of each.
    pub(super) removed: Vec<(i32, DataFile)>,
    /// How many of the base's manifests were written again.
    pub(super) rewritten: usize,
}

/// Takes `removed` out of the base's manifests.
pub(super) async fn remove(
    reader: ManifestReader<'_>,
    metadata: &TableMetadata,
    builder: &mut ManifestBuilder<'_>,
    base: Vec<ManifestFile>,
    removed: &[RemovedFile],
) -> Result<Filtered> {
    if removed.is_empty() {
        return Ok(Filtered { manifests: base, removed: Vec::new(), rewritten: 0 });
    }
    let mut wanted: HashSet<&RemovedFile> = removed.iter().collect();
    let holds_data = removed.iter().any(|file| file.content == FileContent::Data);
    let holds_deletes = removed.iter().any(|file| file.content != FileContent::Data);
    let is_concerned = |manifest: &ManifestFile| match manifest.content {
        ManifestContentType::Data => holds_data,
        ManifestContentType::Deletes => holds_deletes,
    };
    let loaded: Vec<(ManifestFile, Option<Loaded>)> = stream::iter(base.into_iter().map(|manifest| async {
        let entries = match is_concerned(&manifest) {
            true => Some(reader.live_entries(&manifest).await?),
            false => None,
        };
        Ok::<_, Error>((manifest, entries))
    }))
    .buffered(MANIFESTS_AT_ONCE)
    .try_collect()
    .await?;

    let mut filtered = Filtered { manifests: Vec::new(), removed: Vec::new(), rewritten: 0 };
    for (manifest, entries) in loaded {
        let Some((entries, header)) = entries else {
            filtered.manifests.push(manifest);
            continue;
        };
        // A manifest with nothing live told an older snapshot what that one removed.
        if entries.is_empty() {
            continue;
        }
        let (gone, kept): (Vec<_>, Vec<_>) =
            entries.into_iter().partition(|entry| wanted.contains(&key(&entry.file)));
        if gone.is_empty() {
            filtered.manifests.push(manifest);
            continue;
        }
        for entry in &gone {
            wanted.remove(&key(&entry.file));
            filtered.removed.push((manifest.partition_spec_id, entry.file.clone()));
        }
        filtered.rewritten += 1;
        filtered.manifests.push(rewrite(metadata, builder, &manifest, header, kept, gone)?);
    }
    match wanted.into_iter().next() {
        None => Ok(filtered),
        Some(missing) => {
            Err(Error::conflict("a file to remove is no longer in the table").with("path", &missing.path))
        }
    }
}

/// How a removal names a live file.
fn key(file: &DataFile) -> RemovedFile {
    let content = match (file.content_type(), file.content_offset()) {
        (DataContentType::Data, _) => FileContent::Data,
        (_, Some(_)) => FileContent::DeletionVector,
        (_, None) => FileContent::PositionDeletes,
    };
    let content_offset = file.content_offset().filter(|_| content == FileContent::DeletionVector);
    RemovedFile { content, path: file.file_path().to_owned(), content_offset }
}

/// The manifest without `gone`: those become DELETED entries, the others EXISTING ones, each with the
/// sequence numbers and the first row id that it had. Older DELETED entries are dropped.
fn rewrite(
    metadata: &TableMetadata,
    builder: &mut ManifestBuilder<'_>,
    manifest: &ManifestFile,
    header: ManifestMetadata,
    kept: Vec<LiveEntry>,
    gone: Vec<LiveEntry>,
) -> Result<ManifestFile> {
    let is_v3 = metadata.format_version() >= iceberg::spec::FormatVersion::V3;
    let with_row_id = |entry: &LiveEntry| if is_v3 { own_row_id(entry) } else { Ok(entry.file.clone()) };
    let kept = kept.iter().map(|entry| Ok((with_row_id(entry)?, entry))).collect::<Result<Vec<_>>>()?;
    let gone = gone.iter().map(|entry| Ok((with_row_id(entry)?, entry))).collect::<Result<Vec<_>>>()?;
    let mut written = builder.write(&header.schema, &header.partition_spec, manifest.content, |encoder| {
        for (file, entry) in &kept {
            let (number, file_number) = (entry.sequence_number, entry.file_sequence_number);
            encoder.existing(file, entry.snapshot_id, number, file_number)?;
        }
        for (file, entry) in &gone {
            encoder.deleted(file, entry.sequence_number, entry.file_sequence_number)?;
        }
        Ok(())
    })?;
    // Every entry has its own row id now; keeping the manifest's saves handing out a range for nothing.
    written.first_row_id = manifest.first_row_id;
    Ok(written)
}

/// The file with the first row id that it inherited written into it.
pub(super) fn own_row_id(entry: &LiveEntry) -> Result<DataFile> {
    let file = &entry.file;
    if file.first_row_id() == entry.first_row_id {
        return Ok(file.clone());
    }
    let mut builder = DataFileBuilder::default();
    builder
        .content(file.content_type())
        .file_path(file.file_path().to_owned())
        .file_format(file.file_format())
        .partition(file.partition().clone())
        .record_count(file.record_count())
        .file_size_in_bytes(file.file_size_in_bytes())
        .column_sizes(file.column_sizes().clone())
        .value_counts(file.value_counts().clone())
        .null_value_counts(file.null_value_counts().clone())
        .nan_value_counts(file.nan_value_counts().clone())
        .lower_bounds(file.lower_bounds().clone())
        .upper_bounds(file.upper_bounds().clone())
        .key_metadata(file.key_metadata().map(<[u8]>::to_vec))
        .split_offsets(file.split_offsets().map(<[i64]>::to_vec))
        .equality_ids(file.equality_ids())
        .first_row_id(entry.first_row_id)
        .referenced_data_file(file.referenced_data_file())
        .content_offset(file.content_offset())
        .content_size_in_bytes(file.content_size_in_bytes());
    if let Some(order) = file.sort_order_id() {
        builder.sort_order_id(order);
    }
    builder.build().map_err(|e| Error::bug("data file cannot be copied").with_source(e))
}
