//! Whether changes of files may be applied after the commits since their base, and how they have to be rebased.
//!
//! What Iceberg Java checks for each kind of change and isolation level, and in two places more: a DELETE is held
//! against rows that an UPDATE has moved elsewhere, and so is a data file that is dropped whole. In one place less: two
//! changes of one data file with deletion vectors become the union of both, where that loses nothing.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use iceberg::spec::{DataContentType, DataFile, Operation, Struct, TableMetadata};

use super::vectors::{Unite, VectorPlace};
use crate::commit::{Change, FileChanges, Isolation, RemovedFile, StatementKind};
use crate::expr::{Judge, ListedFile};
use crate::snapshot::scope::{is_deletion_vector, key_of, may_name, only_data_file};
use crate::snapshot::{ChangedFile, SnapshotChanges};
use crate::staged_file::FileContent;

/// What validating files found.
#[derive(Debug, Clone, PartialEq)]
pub enum FilesVerdict {
    /// The change may be applied, so rebased.
    Apply(Rebase),
    /// It may not, for this reason.
    Conflict(String),
}

/// How a change that was planned on an older state has to be changed for the newer one.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Rebase {
    /// Data files that concurrent deletes took out whole: nothing is left to be deleted in them.
    pub gone: BTreeSet<String>,
    /// Delete files among those to be removed that are gone already, and rightly so.
    pub replaced: HashSet<RemovedFile>,
    /// Deletion vectors that have to take in another.
    pub unite: Vec<Unite>,
}

/// The judge of a change's conflict filter; `None` where rows that came in meanwhile do not matter to it.
pub fn conflict_judge(change: &Change, metadata: &TableMetadata) -> Option<Judge> {
    let files = match change {
        Change::RowDelta(files) | Change::Overwrite(files) => files,
        _ => return None,
    };
    if files.validation.isolation == Isolation::Snapshot {
        return None;
    }
    #[cfg(feature = "testing")]
    if crate::testing::is_planted(crate::testing::Mutation::NarrowConflictFilter) {
        return None;
    }
    // A change whose schema is gone is refused before.
    let schema = metadata.schema_by_id(files.schema_id)?;
    let filter = files.validation.filter.clone().unwrap_or(iceberg::expr::Predicate::AlwaysTrue);
    Some(Judge::for_table(&filter, schema, metadata))
}

/// The data files that a change deletes rows in or removes.
pub fn touched_data_files(files: &FileChanges) -> BTreeSet<&str> {
    Touched::of(files).files.into_keys().collect()
}

/// Whether a history holds delete files of which only a partition tells what they concern: then the partitions of the
/// data files touched have to be known.
pub fn needs_partitions(since: &[SnapshotChanges]) -> bool {
    let mut added = since.iter().flat_map(|snapshot| &snapshot.added);
    added.any(|added| {
        added.file.content_type() != DataContentType::Data && only_data_file(&added.file).is_none()
    })
}

/// Validates changes of files.
///
/// `since` are the commits since the base; `judge` is [`conflict_judge`]'s; `partitions` are those of the data files
/// touched, as far as they are known.
pub fn validate_files(
    kind: StatementKind,
    change: &Change,
    metadata: &TableMetadata,
    since: &[SnapshotChanges],
    judge: Option<&Judge>,
    partitions: &HashMap<String, (i32, Struct)>,
) -> FilesVerdict {
    let (shape, files) = match change {
        Change::RowDelta(files) => (Shape::Delta, files),
        Change::Overwrite(files) => (Shape::Overwrite, files),
        Change::Rewrite(files) => (Shape::Rewrite, files),
        _ => return FilesVerdict::Apply(Rebase::default()),
    };
    let rules = Rules { kind, shape, files, metadata, judge, partitions, touched: Touched::of(files) };
    match rules.run(since) {
        Ok(rebase) => FilesVerdict::Apply(rebase),
        Err(why) => FilesVerdict::Conflict(why),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    Delta,
    Overwrite,
    Rewrite,
}

/// What a change does to one data file.
#[derive(Debug, Clone, Copy, Default)]
struct Touch {
    /// It is removed.
    removed: bool,
    /// The index of the added deletion vector of it.
    vector: Option<usize>,
}

struct Touched<'a> {
    files: BTreeMap<&'a str, Touch>,
}

impl<'a> Touched<'a> {
    fn of(files: &'a FileChanges) -> Self {
        let mut touched: BTreeMap<&str, Touch> = BTreeMap::new();
        for (at, added) in files.added.iter().enumerate() {
            let named = added.deleted_positions.iter().map(|deleted| deleted.data_file.as_str());
            for path in named.chain(added.referenced_data_file.as_deref()) {
                let touch = touched.entry(path).or_default();
                if added.content == FileContent::DeletionVector {
                    touch.vector = Some(at);
                }
            }
        }
        for removed in files.removed.iter().filter(|removed| removed.content == FileContent::Data) {
            touched.entry(&removed.path).or_default().removed = true;
        }
        Self { files: touched }
    }
}

struct Rules<'a> {
    kind: StatementKind,
    shape: Shape,
    files: &'a FileChanges,
    metadata: &'a TableMetadata,
    judge: Option<&'a Judge>,
    partitions: &'a HashMap<String, (i32, Struct)>,
    touched: Touched<'a>,
}

/// What was found so far.
#[derive(Default)]
struct Found {
    rebase: Rebase,
    /// Touched data files that got a deletion vector meanwhile, and whether ours must not meet it.
    united: BTreeMap<String, bool>,
    /// The deletion vectors of touched data files now, as far as they changed.
    vectors: HashMap<String, Option<(RemovedFile, VectorPlace)>>,
    /// Delete files that went, with the data file that they concerned alone.
    gone: HashMap<RemovedFile, (Option<String>, VectorPlace)>,
}

impl Rules<'_> {
    fn run(&self, since: &[SnapshotChanges]) -> Result<Rebase, String> {
        let mut found = Found::default();
        for snapshot in since {
            self.removed(snapshot, &mut found)?;
            self.added(snapshot, &mut found)?;
        }
        self.removals(&mut found)?;
        let Found { mut rebase, united, mut vectors, gone } = found;
        for (data_file, disjoint) in united {
            if rebase.gone.contains(&data_file) {
                continue;
            }
            let added = self.touched.files.get(data_file.as_str()).and_then(|touch| touch.vector);
            let (Some(added), Some((current, place))) = (added, vectors.remove(&data_file).flatten()) else {
                return Err(format!("the deletion vector of {data_file} came and went"));
            };
            let mut older = self.files.removed.iter().filter_map(|removed| {
                let (concerns, place) = gone.get(removed)?;
                (removed.content == FileContent::DeletionVector && concerns.as_deref() == Some(&*data_file))
                    .then(|| place.clone())
            });
            let base = older.next();
            rebase.unite.push(Unite {
                data_file,
                added,
                base,
                current: place,
                current_key: current,
                disjoint,
            });
        }
        Ok(rebase)
    }

    /// Holds the change against the files that a snapshot removed.
    fn removed(&self, snapshot: &SnapshotChanges, found: &mut Found) -> Result<(), String> {
        for removed in &snapshot.removed {
            let file = &removed.file;
            let path = file.file_path();
            if file.content_type() != DataContentType::Data {
                let scope = only_data_file(file).map(|scope| scope.into_owned());
                let key = key_of(file);
                if let Some(scope) = &scope
                    && found
                        .vectors
                        .get(scope)
                        .is_some_and(|now| now.as_ref().is_some_and(|now| now.0 == key))
                {
                    found.vectors.insert(scope.clone(), None);
                }
                found.gone.insert(key, (scope, VectorPlace::of(file)));
                continue;
            }
            if let Some(touch) = self.touched.files.get(path) {
                // Its rows are all gone and nowhere else: what a DELETE wanted of them is done. Of a file that was
                // rewritten that is not so: the rewritten file holds the rows that were left.
                let is_done = self.kind == StatementKind::Delete
                    && self.shape == Shape::Delta
                    && !moves_rows(snapshot)
                    && snapshot.operation != Operation::Replace;
                if !is_done {
                    let what = if touch.removed { "to be replaced" } else { "with rows to be deleted" };
                    return Err(format!(
                        "data file {path}, {what}, was removed by snapshot {}",
                        told(snapshot)
                    ));
                }
                found.rebase.gone.insert(path.to_owned());
            } else if let Some(judge) = self.judge.filter(|_| self.kind == StatementKind::Merge)
                && snapshot.operation != Operation::Replace
                && judge.may_match(&listed(removed))
            {
                // A source row that met a row there may now meet none.
                return Err(format!(
                    "data file {path}, which the MERGE looked at, was removed by snapshot {}",
                    told(snapshot)
                ));
            }
        }
        Ok(())
    }

    /// Holds the change against the files that a snapshot added.
    fn added(&self, snapshot: &SnapshotChanges, found: &mut Found) -> Result<(), String> {
        for added in &snapshot.added {
            let file = &added.file;
            if file.content_type() == DataContentType::Data {
                if let Some(judge) = self.judge
                    && snapshot.operation != Operation::Replace
                    && judge.may_match(&listed(added))
                {
                    return Err(format!(
                        "data file {}, which may hold rows that the statement would have looked at, was added by \
                         snapshot {}",
                        file.file_path(),
                        told(snapshot)
                    ));
                }
                continue;
            }
            // A DELETE commutes with deletes of other rows; what else reads the rows does not.
            let reads = match self.shape {
                Shape::Delta => self.kind != StatementKind::Delete,
                Shape::Overwrite => self.kind == StatementKind::Merge,
                Shape::Rewrite => false,
            };
            if let Some(judge) = self.judge.filter(|_| reads)
                && judge.partition_may_match(&listed(added))
            {
                return Err(format!(
                    "rows that the statement looked at were deleted by snapshot {} (delete file {})",
                    told(snapshot),
                    file.file_path()
                ));
            }
            for (path, touch) in &self.touched.files {
                if self.concerns(added, path) {
                    self.rows_deleted(snapshot, added, path, *touch, found)?;
                }
            }
        }
        Ok(())
    }

    /// Holds the change against a delete file of a touched data file.
    fn rows_deleted(
        &self,
        snapshot: &SnapshotChanges,
        added: &ChangedFile,
        path: &str,
        touch: Touch,
        found: &mut Found,
    ) -> Result<(), String> {
        let is_equality = added.file.content_type() == DataContentType::EqualityDeletes;
        let is_delete = self.kind == StatementKind::Delete;
        let conflict =
            |what: &str| Err(format!("data file {path}, {what}, lost rows to snapshot {}", told(snapshot)));
        match self.shape {
            // Rows keep the sequence number that those deletes apply to.
            Shape::Rewrite if is_equality && self.files.data_sequence_number.is_some() => return Ok(()),
            Shape::Rewrite | Shape::Overwrite if touch.removed => {
                return conflict("whose rows were rewritten");
            }
            _ => {}
        }
        if is_equality {
            return if is_delete { Ok(()) } else { conflict("whose rows were changed") };
        }
        let commutes = is_delete && !moves_rows(snapshot);
        if touch.removed {
            return if commutes { Ok(()) } else { conflict("which is to be dropped whole") };
        }
        match (touch.vector, is_deletion_vector(&added.file)) {
            (Some(_), true) => {
                *found.united.entry(path.to_owned()).or_default() |= !commutes;
                let place = (key_of(&added.file), VectorPlace::of(&added.file));
                found.vectors.insert(path.to_owned(), Some(place));
                Ok(())
            }
            // Both position delete files stay.
            (None, false) if commutes => Ok(()),
            _ => conflict("whose rows were changed"),
        }
    }

    /// Delete files to be removed that others removed before.
    fn removals(&self, found: &mut Found) -> Result<(), String> {
        for removed in self.files.removed.iter().filter(|removed| removed.content != FileContent::Data) {
            let Some((scope, _)) = found.gone.get(removed) else { continue };
            let is_settled = scope.as_deref().is_some_and(|data_file| {
                found.rebase.gone.contains(data_file)
                    || found.united.contains_key(data_file)
                    || self.touched.files.get(data_file).is_some_and(|touch| touch.removed)
            });
            if !is_settled {
                return Err(format!("delete file {} is no longer in the table", removed.path));
            }
            found.rebase.replaced.insert(removed.clone());
        }
        Ok(())
    }

    /// Whether a delete file may hold deletes of a touched data file. All in the history are newer than it.
    fn concerns(&self, added: &ChangedFile, path: &str) -> bool {
        let in_partition = match self.partitions.get(path) {
            Some((spec_id, partition)) => *spec_id == added.spec_id && partition == added.file.partition(),
            None => true,
        };
        match added.file.content_type() {
            DataContentType::EqualityDeletes => in_partition || self.is_unpartitioned(added.spec_id),
            _ => may_name(&added.file, path) && (in_partition || only_data_file(&added.file).is_some()),
        }
    }

    /// Of an unpartitioned spec, equality deletes are of the whole table.
    fn is_unpartitioned(&self, spec_id: i32) -> bool {
        self.metadata.partition_spec_by_id(spec_id).is_none_or(|spec| spec.is_unpartitioned())
    }
}

/// Whether rows that a snapshot deleted may live on elsewhere, with other values: it is more than a delete.
fn moves_rows(snapshot: &SnapshotChanges) -> bool {
    snapshot.adds_data && snapshot.operation != Operation::Replace
}

fn listed(changed: &ChangedFile) -> ListedFile<'_> {
    ListedFile { spec_id: changed.spec_id, file: &changed.file }
}

fn told(snapshot: &SnapshotChanges) -> String {
    format!("{} ({})", snapshot.snapshot_id, snapshot.operation.as_str())
}

impl VectorPlace {
    fn of(file: &DataFile) -> Self {
        Self {
            path: file.file_path().to_owned(),
            offset: file.content_offset().unwrap_or(0),
            length: file.content_size_in_bytes().unwrap_or(0),
            count: file.record_count(),
        }
    }
}

#[cfg(test)]
mod tests;
