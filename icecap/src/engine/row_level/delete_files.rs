//! Merge-on-read: positions become deletion vectors (V3) or position delete files (V2).

use std::collections::BTreeMap;

use bytes::Bytes;
use icecap_table::commit::RemovedFile;
use icecap_table::deletes::{PositionSet, PuffinWriter};
use icecap_table::iceberg::spec::{TableMetadata, Type};
use icecap_table::properties::{DeleteGranularity, WriteSettings};
use icecap_table::scan::{DeleteFile, ScanFile};
use icecap_table::staged_file::{DeletedPositions, FileContent, Positions, StagedFile};

use super::part::Fate;
use super::plan::Planned;
use super::position_file::encode_position_deletes;
use crate::engine::insert::data_location;
use crate::engine::session::Run;
use crate::engine::write::ActiveWrite;
use crate::scan::{bytes_of_literal, deleted_positions};
use crate::write::file_location;
use crate::{Error, Result};

/// Positions of a data file up to this size travel in the commit request; larger ones are read from a file.
const MAX_INLINE_BYTES: usize = 64 * 1000;
/// A Puffin file that is longer gets no further deletion vector.
const PUFFIN_BYTES: usize = 64 << 20;
/// What frames a deletion vector's bitmap: length and magic word before it, a checksum behind.
const FRAME: (u64, u64) = (8, 12);

/// A data file, and all positions that its new delete file holds.
pub(super) struct Gone<'a> {
    pub(super) file: &'a ScanFile,
    pub(super) positions: &'a PositionSet,
}

impl Run {
    /// What becomes of a data file with rows that were found. One of which no row is left goes itself.
    pub(super) async fn fate(&self, planned: &Planned, at: usize, positions: PositionSet) -> Result<Fate> {
        let file = planned.file(at)?;
        let older = self.older_deletes(planned, at, positions.len()).await?;
        let mut all = older.unwrap_or_default();
        if let Some(position) = all.intersection(&positions).min() {
            return Err(Error::bug("a row that is deleted was found again")
                .with("file", &file.path)
                .with("position", position.to_string()));
        }
        all.union_with(&positions);
        #[cfg(feature = "testing")]
        if icecap_table::testing::is_planted(icecap_table::testing::Mutation::OldDeletesForgotten) {
            all = positions.clone();
        }
        Ok(if all.len() >= file.record_count {
            Fate::Removed
        } else if planned.is_v3() {
            Fate::Deletes { positions: all, replaced: replaced(planned, file) }
        } else {
            Fate::Deletes { positions, replaced: Vec::new() }
        })
    }

    /// Writes the delete files of all rows that go.
    pub(super) async fn delete_files(
        &self,
        write: ActiveWrite,
        planned: &Planned,
        gone: &[Gone<'_>],
    ) -> Result<Vec<StagedFile>> {
        let mut names = Names::new(self, write, planned.metadata())?;
        match planned.is_v3() {
            true => self.vectors(planned, gone, &mut names).await,
            false => self.position_files(planned, gone, &mut names).await,
        }
    }

    /// The positions that are deleted in a data file already. V2 adds to them and does not need them, but to see whether
    /// a row is left.
    async fn older_deletes(&self, planned: &Planned, at: usize, new: u64) -> Result<Option<PositionSet>> {
        let file = planned.file(at)?;
        let older = file.deletes.iter().filter_map(|at| planned.scan.deletes.get(*at));
        let older =
            older.filter(|delete| !delete.is_equality()).map(|delete| delete.record_count).sum::<u64>();
        if older == 0 || (!planned.is_v3() && new + older < file.record_count) {
            return Ok(None);
        }
        let (storage, policy) = (&self.parts.storage, Some(&self.parts.policy));
        let context = self.parts.executor.task_context();
        deleted_positions(storage, &planned.scan, at, policy, &context).await.map(Some)
    }

    async fn vectors(
        &self,
        planned: &Planned,
        gone: &[Gone<'_>],
        names: &mut Names,
    ) -> Result<Vec<StagedFile>> {
        let mut written = Vec::new();
        let mut rest = gone.iter().peekable();
        while rest.peek().is_some() {
            let location = names.next("puffin");
            let mut puffin = PuffinWriter::new();
            let mut staged = Vec::new();
            while puffin.len() < PUFFIN_BYTES
                && let Some(Gone { file, positions }) = rest.next()
            {
                let (offset, length) = puffin.add_deletion_vector(&file.path, positions);
                let mut vector = staged_delete(planned, FileContent::DeletionVector, &location, file)?;
                vector.record_count = positions.len();
                vector.referenced_data_file = Some(file.path.clone());
                vector.content_range = Some((offset, length));
                let bitmap = positions.to_portable();
                let at = || {
                    Some(Positions::Range {
                        path: location.clone(),
                        offset: u64::try_from(offset).ok()? + FRAME.0,
                        length: u64::try_from(length).ok()?.checked_sub(FRAME.1)?,
                    })
                };
                let positions_at = match bitmap.len() <= MAX_INLINE_BYTES {
                    true => Positions::Inline(bitmap),
                    false => at().ok_or_else(|| Error::bug("a deletion vector has no place"))?,
                };
                vector.deleted_positions = vec![DeletedPositions {
                    data_file: file.path.clone(),
                    count: positions.len(),
                    positions: positions_at,
                }];
                staged.push(vector);
            }
            let bytes = puffin.finish();
            staged.iter_mut().for_each(|vector| vector.file_size_bytes = bytes.len() as u64);
            self.parts.storage.put_new(&location, bytes).await?;
            written.extend(staged);
        }
        Ok(written)
    }

    async fn position_files(
        &self,
        planned: &Planned,
        gone: &[Gone<'_>],
        names: &mut Names,
    ) -> Result<Vec<StagedFile>> {
        let mut written = Vec::new();
        let mut groups: BTreeMap<_, Vec<&Gone<'_>>> = BTreeMap::new();
        for one in gone {
            let partition = partition_bytes(planned.metadata(), one.file)?;
            let own = match planned.settings.granularity {
                DeleteGranularity::File => Some(one.file.path.as_str()),
                DeleteGranularity::Partition => None,
            };
            groups.entry((one.file.spec_id, partition, own)).or_default().push(one);
        }
        for mut group in groups.into_values() {
            group.sort_by(|a, b| a.file.path.cmp(&b.file.path));
            let Some(first) = group.first() else { continue };
            let location = names.next("parquet");
            let mut staged = staged_delete(planned, FileContent::PositionDeletes, &location, first.file)?;
            let bytes = encode_position_deletes(&group, &mut staged)?;
            for Gone { file, positions } in &group {
                let bitmap = positions.to_portable();
                let positions_at = match bitmap.len() <= MAX_INLINE_BYTES {
                    true => Positions::Inline(bitmap),
                    false => {
                        let (path, length) = (names.next("pos"), bitmap.len() as u64);
                        self.parts.storage.put_new(&path, Bytes::from(bitmap)).await?;
                        Positions::Range { path, offset: 0, length }
                    }
                };
                staged.deleted_positions.push(DeletedPositions {
                    data_file: file.path.clone(),
                    count: positions.len(),
                    positions: positions_at,
                });
            }
            if let [only] = group.as_slice() {
                staged.referenced_data_file = Some(only.file.path.clone());
            }
            self.parts.storage.put_new(&location, bytes).await?;
            written.push(staged);
        }
        Ok(written)
    }
}

/// The delete files of a data file that its new deletion vector takes the place of.
fn replaced(planned: &Planned, file: &ScanFile) -> Vec<RemovedFile> {
    let older = file.deletes.iter().filter_map(|at| planned.scan.deletes.get(*at));
    older.filter_map(|delete| replaced_by_vector(delete, &file.path)).collect()
}

fn replaced_by_vector(delete: &DeleteFile, data_file: &str) -> Option<RemovedFile> {
    if delete.is_equality() {
        return None;
    }
    if delete.is_deletion_vector() {
        let (offset, _) = delete.content_range?;
        return Some(RemovedFile::deletion_vector(&delete.path, offset));
    }
    // Position deletes of other data files too stay; a deletion vector goes before them.
    let own = delete.referenced_data_file.as_deref() == Some(data_file)
        || delete.path_bounds.as_ref().is_some_and(|(low, high)| low == data_file && high == data_file);
    own.then(|| RemovedFile::delete_file(&delete.path))
}

/// A delete file of the partition that a data file is of.
fn staged_delete(
    planned: &Planned,
    content: FileContent,
    location: &str,
    file: &ScanFile,
) -> Result<StagedFile> {
    let mut staged = StagedFile::data(location, file.spec_id, partition_bytes(planned.metadata(), file)?);
    staged.content = content;
    Ok(staged)
}

/// A data file's partition tuple, single-value serialised.
fn partition_bytes(metadata: &TableMetadata, file: &ScanFile) -> Result<Vec<Option<Vec<u8>>>> {
    let broken = |what: &str| Error::corrupt(what.to_owned()).with("file", &file.path);
    let spec = metadata
        .partition_spec_by_id(file.spec_id)
        .ok_or_else(|| broken("a data file names a partition spec that is not there"))?;
    let mut bytes = Vec::with_capacity(spec.fields().len());
    for (at, field) in spec.fields().iter().enumerate() {
        let Some(value) = file.partition.get(at).and_then(Option::as_ref) else {
            bytes.push(None);
            continue;
        };
        let source = metadata
            .schemas_iter()
            .find_map(|schema| schema.field_by_id(field.source_id))
            .ok_or_else(|| broken("a partition's column is not there"))?;
        let ty = field
            .transform
            .result_type(&source.field_type)
            .map_err(|error| broken("a partition has no type").with_source(error))?;
        let Type::Primitive(ty) = ty else { return Err(broken("a partition value is nested")) };
        bytes.push(Some(bytes_of_literal(value, &ty)?));
    }
    Ok(bytes)
}

/// Names for the delete files of a write.
pub(super) struct Names {
    folder: String,
    prefix: String,
    object_storage: bool,
    next: u32,
}

impl Names {
    pub(super) fn new(run: &Run, write: ActiveWrite, metadata: &TableMetadata) -> Result<Self> {
        let nonce = run.parts.ids.uuid().as_u128() as u32;
        Ok(Self {
            folder: data_location(metadata)?,
            prefix: format!("{}-deletes-{nonce:08x}", write.id),
            object_storage: WriteSettings::from_properties(metadata.properties())?.object_storage,
            next: 0,
        })
    }

    fn next(&mut self, extension: &str) -> String {
        let name = format!("{}-{}.{extension}", self.prefix, self.next);
        self.next += 1;
        file_location(&self.folder, "", &name, self.object_storage)
    }
}
