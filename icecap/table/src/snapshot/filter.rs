//! Taking files out: manifests that hold a removed file are written again without it, the others carried.
//!
//! With a data file goes what deletes rows in it alone: a deletion vector that dangles breaks the specification, and
//! a position delete file that dangles is read for nothing.

use std::collections::{HashMap, HashSet};

use futures::{StreamExt, TryStreamExt, stream};
use iceberg::spec::{
    DataContentType, DataFile, DataFileBuilder, ManifestContentType, ManifestFile, ManifestMetadata,
    TableMetadata,
};

use super::RemovedFile;
use super::manifests::{LiveEntry, ManifestBuilder, ManifestReader};
use super::scope::{is_deletion_vector, key_of, only_data_file};
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

/// What is to be taken out of the base, and what must not be left in it.
pub(super) struct Removal {
    named: HashSet<RemovedFile>,
    /// Data files that go, with the partition specs under which their delete files are found.
    gone: HashMap<String, i32>,
    /// Data files that get a deletion vector, with its partition spec: they may have no other.
    vectors: HashMap<String, i32>,
}

impl Removal {
    /// Of the named files; `added` may hold deletion vectors.
    pub(super) fn new<'a>(removed: &[RemovedFile], added: impl Iterator<Item = (i32, &'a DataFile)>) -> Self {
        let vectors = added
            .filter(|(_, file)| is_deletion_vector(file))
            .filter_map(|(spec_id, file)| Some((file.referenced_data_file()?, spec_id)))
            .collect();
        Self { named: removed.iter().cloned().collect(), gone: HashMap::new(), vectors }
    }

    fn names(&self, content: ManifestContentType) -> bool {
        self.named
            .iter()
            .any(|file| (file.content == FileContent::Data) == (content == ManifestContentType::Data))
    }

    /// Whether a manifest may hold something that is concerned.
    fn concerns(&self, manifest: &ManifestFile) -> bool {
        let of_spec = |specs: &HashMap<String, i32>| {
            specs.values().any(|spec_id| *spec_id == manifest.partition_spec_id)
        };
        self.names(manifest.content)
            || (manifest.content == ManifestContentType::Deletes
                && (of_spec(&self.gone) || of_spec(&self.vectors)))
    }

    /// Whether an entry goes.
    ///
    /// # Errors
    /// `Conflict` when it stays and may not.
    fn takes(&mut self, spec_id: i32, file: &DataFile) -> Result<bool> {
        let named = self.named.remove(&key_of(file));
        if file.content_type() == DataContentType::Data {
            if named {
                self.gone.insert(file.file_path().to_owned(), spec_id);
            }
            return Ok(named);
        }
        let Some(data_file) = only_data_file(file) else { return Ok(named) };
        let takes = named || self.gone.contains_key(data_file.as_ref());
        if !takes && is_deletion_vector(file) && self.vectors.contains_key(data_file.as_ref()) {
            return Err(Error::conflict(
                "a data file has a deletion vector already, which the new one does not replace",
            )
            .with("path", data_file.as_ref()));
        }
        Ok(takes)
    }
}

/// Takes files out of the base's manifests, those of data files first.
pub(super) async fn remove(
    reader: ManifestReader<'_>,
    metadata: &TableMetadata,
    builder: &mut ManifestBuilder<'_>,
    base: Vec<ManifestFile>,
    mut removal: Removal,
) -> Result<Filtered> {
    let mut filtered = Filtered { manifests: Vec::new(), removed: Vec::new(), rewritten: 0 };
    // Each at its place; what is left of it, if anything, takes the place.
    let mut places: Vec<Option<ManifestFile>> = base.into_iter().map(Some).collect();
    for content in [ManifestContentType::Data, ManifestContentType::Deletes] {
        let concerned: Vec<(usize, ManifestFile)> = places
            .iter()
            .enumerate()
            .filter_map(|(at, manifest)| Some((at, manifest.clone()?)))
            .filter(|(_, manifest)| manifest.content == content && removal.concerns(manifest))
            .collect();
        let mut loaded = stream::iter(concerned)
            .map(|(at, manifest)| async move {
                let entries = reader.live_entries(&manifest).await?;
                Ok::<_, Error>((at, manifest, entries))
            })
            .buffered(MANIFESTS_AT_ONCE);
        while let Some((at, manifest, entries)) = loaded.try_next().await? {
            places[at] = filter_one(metadata, builder, &mut removal, &mut filtered, manifest, entries)?;
            // The rest holds nothing that is looked for.
            if content == ManifestContentType::Data && !removal.names(content) {
                break;
            }
        }
    }
    filtered.manifests = places.into_iter().flatten().collect();
    match removal.named.into_iter().min() {
        None => Ok(filtered),
        Some(missing) => {
            Err(Error::conflict("a file to remove is no longer in the table").with("path", &missing.path))
        }
    }
}

/// What is left of one manifest.
fn filter_one(
    metadata: &TableMetadata,
    builder: &mut ManifestBuilder<'_>,
    removal: &mut Removal,
    filtered: &mut Filtered,
    manifest: ManifestFile,
    (entries, header): Loaded,
) -> Result<Option<ManifestFile>> {
    // A manifest with nothing live told an older snapshot what that one removed.
    if entries.is_empty() {
        return Ok(None);
    }
    let (mut gone, mut kept) = (Vec::new(), Vec::new());
    for entry in entries {
        let goes = removal.takes(manifest.partition_spec_id, &entry.file)?;
        if goes { gone.push(entry) } else { kept.push(entry) }
    }
    if gone.is_empty() {
        return Ok(Some(manifest));
    }
    filtered.removed.extend(gone.iter().map(|entry| (manifest.partition_spec_id, entry.file.clone())));
    filtered.rewritten += 1;
    rewrite(metadata, builder, &manifest, header, kept, gone).map(Some)
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
