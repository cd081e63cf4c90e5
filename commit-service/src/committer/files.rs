//! Changes of rows: validated against what was committed since their base, and rebased.
//!
//! An attempt takes the change as it was planned, never as an earlier attempt rebased it. What a rebase makes itself,
//! deletion vectors that take in another's, belongs to the attempt and goes with it.

use std::collections::{BTreeSet, HashMap, HashSet};

use bytes::Bytes;
use icecap_table::commit::{
    Change, CommitOutcome, FileChanges, RemovedFile, RowCounts, StatementKind, TableChange,
};
use icecap_table::deletes::{PositionSet, PuffinWriter, deletion_vector};
use icecap_table::iceberg::spec::{Operation, TableMetadata};
use icecap_table::id::WriteId;
use icecap_table::metadata::TableDocument;
use icecap_table::snapshot::{History, HistoryRequest, locate_data_files, operation_of};
use icecap_table::staged_file::{FileContent, Positions, StagedFile};
use icecap_table::validate::{
    FilesVerdict, Rebase, Unite, VectorPlace, conflict_judge, needs_partitions, touched_data_files,
    validate_files,
};
use icecap_table::{Error, ErrorKind, Result};

use super::attempt::{Applied, Attempt, Objects, Working, outcome};
use super::content::{Content, Step};
use super::{Committer, check};

/// A change as it is applied to the table as it is now.
#[derive(Debug, Default)]
struct Rebased {
    added: Vec<StagedFile>,
    removed: Vec<RemovedFile>,
    rows: RowCounts,
    /// Files that the rebase made, to be stored.
    objects: Vec<(String, Bytes)>,
    /// Staged files that the table will not name.
    unused: Vec<String>,
}

impl Committer {
    /// Applies a change of rows: validated, rebased, and with a snapshot unless it names no file at all.
    pub(super) async fn apply_files(
        &self,
        step: Step<'_>,
        files: &FileChanges,
        table: &mut Working,
        document: TableDocument,
        attempt: &mut Attempt,
        objects: &mut Objects,
    ) -> Result<Applied> {
        let Step { request, change, .. } = step;
        check::writable(&change.ident, document.metadata())?;
        check::files(request.write_id, document.metadata(), &files.added, &self.policy)?;
        self.upload_before(table, attempt, objects).await?;
        let rebased = self.rebase(request.kind, request.write_id, change, document.metadata()).await?;
        let Rebased { added, removed, rows, objects: made, unused } = match rebased {
            Ok(rebased) => rebased,
            Err(why) => return Ok(Err(CommitOutcome::Conflict { why })),
        };
        let mut applied = outcome(&change.ident, &added);
        applied.removed_data_files =
            removed.iter().filter(|file| file.content == FileContent::Data).count() as u64;
        applied.rows = rows;
        if files.added.is_empty() && files.removed.is_empty() {
            table.document = Some(document);
            return Ok(Ok(applied));
        }
        let operation = match &change.change {
            Change::Rewrite(_) => Operation::Replace,
            _ => operation_of(&added, &removed),
        };
        let content = Content {
            schema_id: files.schema_id,
            operation,
            added: &added,
            removed: &removed,
            data_sequence_number: files.data_sequence_number,
        };
        objects.extend(made);
        attempt.given_up.extend(unused);
        match self.make_snapshot(step, content, table, document, attempt, objects).await {
            Ok(snapshot_id) => applied.snapshot_id = Some(snapshot_id),
            // A file that it names is not as it was planned on, for a reason that no history tells.
            Err(error) if error.kind() == ErrorKind::Conflict => {
                return Ok(Err(CommitOutcome::Conflict { why: error.to_string() }));
            }
            Err(error) => return Err(error),
        }
        Ok(Ok(applied))
    }

    /// Validates `change` against everything committed since its base, and rebases it.
    ///
    /// The inner error says why it is a conflict.
    ///
    /// # Errors
    /// `Invalid` for a change that no state of the table could take; `Corrupt` when what is in the table cannot be
    /// read.
    async fn rebase(
        &self,
        kind: StatementKind,
        write_id: WriteId,
        change: &TableChange,
        metadata: &TableMetadata,
    ) -> Result<Result<Rebased, String>> {
        let Some(files) = change.change.file_changes() else {
            return Err(Error::bug("a change of no files was to be rebased"));
        };
        check_sequence_number(change, files, metadata)?;
        let judge = conflict_judge(&change.change, metadata);
        let request = HistoryRequest {
            metadata,
            reference: &change.reference,
            base: change.base,
            added_data: judge.as_ref(),
        };
        // Other engines' commits are among them.
        let storage = self.storage.clone().within(&self.policy);
        let since = match History::load(&storage, request).await? {
            History::Since(since) => since,
            History::Unknown => {
                return Ok(Err(format!(
                    "cannot determine the history of table {} since snapshot {}: it has expired or was rolled back",
                    change.ident,
                    change.base.map_or_else(|| "none".to_owned(), |base| base.to_string())
                )));
            }
        };
        let mut partitions = HashMap::new();
        if let Some(base) = change.base.and_then(|base| metadata.snapshot_by_id(base))
            && needs_partitions(&since)
        {
            partitions = locate_data_files(&storage, metadata, base, touched_data_files(files)).await?;
        }
        match validate_files(kind, &change.change, metadata, &since, judge.as_ref(), &partitions) {
            FilesVerdict::Conflict(why) => Ok(Err(why)),
            FilesVerdict::Apply(rebase) => self.applied(kind, write_id, files, rebase).await,
        }
    }

    /// The change with `rebase` done to it.
    async fn applied(
        &self,
        kind: StatementKind,
        write_id: WriteId,
        files: &FileChanges,
        rebase: Rebase,
    ) -> Result<Result<Rebased, String>> {
        let mut rebased = Rebased { rows: files.rows, ..Rebased::default() };
        let mut deleted_by_others = 0;
        let mut united: HashMap<usize, PositionSet> = HashMap::new();
        let mut superseded: HashSet<RemovedFile> = rebase.replaced;
        for unite in &rebase.unite {
            let ours = self.positions_of(&files.added[unite.added]).await?;
            let base = match &unite.base {
                Some(place) => Some(self.vector(place).await?),
                None => None,
            };
            let current = self.vector(&unite.current).await?;
            match unite.union(&ours, base.as_ref(), &current) {
                Ok(union) => {
                    deleted_by_others += union.twice;
                    united.insert(unite.added, union.positions);
                    rebased.removed.push(unite.current_key.clone());
                    superseded.insert(unite.current_key.clone());
                }
                Err(why) => return Ok(Err(why)),
            }
        }
        let is_gone = |path: &str| rebase.gone.contains(path);
        for (at, file) in files.added.iter().enumerate() {
            if united.contains_key(&at) {
                continue;
            }
            let targets = targets(file);
            if !targets.is_empty() && targets.iter().all(|path| is_gone(path)) {
                deleted_by_others += file.record_count;
                continue;
            }
            rebased.added.push(file.clone());
        }
        self.write_unions(write_id, files, &rebase.unite, &united, &mut rebased)?;
        for removed in &files.removed {
            let is_gone = removed.content == FileContent::Data && is_gone(&removed.path);
            if !is_gone && !superseded.contains(removed) {
                rebased.removed.push(removed.clone());
            }
        }
        if kind == StatementKind::Delete {
            rebased.rows.deleted = rebased.rows.deleted.saturating_sub(deleted_by_others);
        }
        let named: BTreeSet<&str> = rebased.added.iter().map(|file| file.path.as_str()).collect();
        let unused: BTreeSet<&str> =
            files.added.iter().map(|file| file.path.as_str()).filter(|path| !named.contains(path)).collect();
        rebased.unused = unused.into_iter().map(str::to_owned).collect();
        Ok(Ok(rebased))
    }

    /// One Puffin file of all unions, beside the first of the vectors that it replaces.
    fn write_unions(
        &self,
        write_id: WriteId,
        files: &FileChanges,
        unite: &[Unite],
        united: &HashMap<usize, PositionSet>,
        rebased: &mut Rebased,
    ) -> Result<()> {
        let Some(first) = unite.first().and_then(|unite| files.added.get(unite.added)) else {
            return Ok(());
        };
        let folder = first.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        // Not named by its write: what begins with its id and did not win is deleted when it is committed.
        let path = format!("{folder}/dv-{write_id}-{}.puffin", self.ids.uuid().hyphenated());
        self.policy.check(&path)?;
        let mut puffin = PuffinWriter::new();
        let mut vectors = Vec::with_capacity(unite.len());
        for unite in unite {
            let Some(positions) = united.get(&unite.added) else { continue };
            let mut file = files.added[unite.added].clone();
            file.content_range = Some(puffin.add_deletion_vector(&unite.data_file, positions));
            file.record_count = positions.len();
            file.deleted_positions.clear();
            file.path.clone_from(&path);
            vectors.push(file);
        }
        let bytes = puffin.finish();
        for file in &mut vectors {
            file.file_size_bytes = bytes.len() as u64;
        }
        rebased.added.extend(vectors);
        rebased.objects.push((path, bytes));
        Ok(())
    }

    /// The positions of a staged deletion vector: those that it carries, else its own blob.
    async fn positions_of(&self, file: &StagedFile) -> Result<PositionSet> {
        let positions = match file.deleted_positions.first().map(|deleted| &deleted.positions) {
            Some(Positions::Inline(bytes)) => PositionSet::from_portable(bytes),
            Some(Positions::Range { path, offset, length }) => {
                self.policy.check_readable(path)?;
                let end = offset.checked_add(*length).ok_or_else(|| {
                    Error::invalid("the positions of a staged file lie nowhere").with("path", path)
                })?;
                PositionSet::from_portable(&self.storage.read_range(path, *offset..end).await?)
            }
            None => {
                let (offset, length) = file.content_range.unwrap_or_default();
                let place = VectorPlace { path: file.path.clone(), offset, length, count: file.record_count };
                return self.vector(&place).await;
            }
        };
        let positions = positions.map_err(|error| error.with("path", &file.path))?;
        if positions.len() != file.record_count {
            return Err(Error::invalid(format!(
                "a staged deletion vector carries {} positions and counts {}",
                positions.len(),
                file.record_count
            ))
            .with("path", &file.path));
        }
        Ok(positions)
    }

    /// A deletion vector's positions, from its blob.
    async fn vector(&self, place: &VectorPlace) -> Result<PositionSet> {
        self.policy.check_readable(&place.path)?;
        let bounds = u64::try_from(place.offset).ok().zip(u64::try_from(place.length).ok());
        let range = bounds.and_then(|(offset, length)| Some(offset..offset.checked_add(length)?));
        let range = range.ok_or_else(|| {
            Error::corrupt("a deletion vector's entry has no place for its blob").with("path", &place.path)
        })?;
        let blob = self.storage.read_range(&place.path, range).await?;
        deletion_vector::decode(&blob, Some(place.count)).map_err(|error| error.with("path", &place.path))
    }
}

/// The data files that a staged delete file concerns; none of a data file.
fn targets(file: &StagedFile) -> Vec<&str> {
    if file.content == FileContent::Data {
        return Vec::new();
    }
    let named = file.deleted_positions.iter().map(|deleted| deleted.data_file.as_str());
    named.chain(file.referenced_data_file.as_deref()).collect()
}

/// Rows that are written again keep the sequence number of the state that they were read from: an older one would let
/// deletes take them that they outlived.
fn check_sequence_number(change: &TableChange, files: &FileChanges, metadata: &TableMetadata) -> Result<()> {
    let Some(number) = files.data_sequence_number else { return Ok(()) };
    let base = change.base.and_then(|base| metadata.snapshot_by_id(base));
    // Of a base that is gone the history will say so.
    let is_base = base.is_none_or(|base| base.sequence_number() == number);
    if change.base.is_none() || !is_base || !matches!(change.change, Change::Rewrite(_)) {
        return Err(Error::invalid(
            "only a rewrite gives its files a sequence number, and that of its base snapshot",
        )
        .with("sequence number", number.to_string()));
    }
    Ok(())
}
