//! DELETE, UPDATE and MERGE: rows are found, gathered by data file, and taken out; new rows are written.
//!
//! A statement is planned on one snapshot (`plan`): its files pruned, those that go whole told apart (`whole`), a
//! MERGE's source looked at first (`source`). Then the delta stage runs, whose root is
//! [`IcebergDeltaExec`](crate::write::IcebergDeltaExec). What it found becomes deletion vectors or position delete
//! files (`delete_files`), or new data files without the rows (`rewrite`). What was done is kept
//! in parts (`part`), and one commit publishes all. A statement that lost a race is planned again, where that can be only
//! for what changed (`again`).

mod again;
mod delete_files;
mod pairs;
mod part;
mod plan;
mod position_file;
mod rewrite;
mod source;
mod twice;
mod whole;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use icecap_table::commit::{
    Change, FileChanges, RemovedFile, RowCounts, StatementKind, TableChange, Validation,
};
use icecap_table::iceberg::spec::FormatVersion;
use icecap_table::properties::RowLevelMode;
use icecap_table::scan::ScanFile;

use self::delete_files::Gone;
use self::part::{Fate, Part, Touched};
pub(super) use self::plan::Planned;
use super::StatementResult;
use super::explain_changes::{NOTHING_READ, decided, join};
use super::insert::{MAIN, data_location};
use super::session::Run;
use super::write::{ActiveWrite, Intent};
use crate::sql::{Delete, MatchKind, Merge, Name, Update};
use crate::stage::Outcome;
use crate::write::{IcebergDeltaExec, is_matched_twice};
use crate::{Error, ErrorKind, Result};

/// A statement that changes rows.
#[derive(Debug, Clone, Copy)]
pub(super) enum RowChange<'a> {
    Delete(&'a Delete),
    Update(&'a Update),
    Merge(&'a Merge),
}

impl RowChange<'_> {
    pub(super) fn kind(self) -> StatementKind {
        match self {
            Self::Delete(_) => StatementKind::Delete,
            Self::Update(_) => StatementKind::Update,
            Self::Merge(_) => StatementKind::Merge,
        }
    }

    pub(super) fn table(&self) -> &Name {
        match self {
            Self::Delete(delete) => &delete.table,
            Self::Update(update) => &update.table,
            Self::Merge(merge) => &merge.table,
        }
    }

    /// Whether it inserts rows of its source that match none of the target: what it does with one follows from the
    /// whole table.
    fn inserts_unmatched(self) -> bool {
        match self {
            Self::Merge(merge) => merge.clauses.iter().any(|clause| clause.kind == MatchKind::NotMatched),
            Self::Delete(_) | Self::Update(_) => false,
        }
    }

    /// What properties call it.
    fn command(self) -> &'static str {
        match self {
            Self::Delete(_) => "delete",
            Self::Update(_) => "update",
            Self::Merge(_) => "merge",
        }
    }
}

impl Run {
    /// Runs a statement that changes rows.
    pub(super) async fn change_rows(&self, change: RowChange<'_>) -> Result<StatementResult> {
        let kind = change.kind();
        let target = change.table().normalised().join(".");
        let planned = match self.limited(self.plan_change(change)).await {
            Ok(planned) => planned,
            Err(error) => return self.replay_or(kind, target, error).await,
        };
        let metadata = planned.metadata();
        let intent = Intent {
            kind,
            target,
            bases: planned.base().map(|snapshot| (metadata.uuid(), snapshot)).into_iter().collect(),
            prefixes: vec![data_location(metadata)?],
        };
        let attempt = Mutex::new(Some(Attempt::first(planned)));
        self.write_replanned(intent, |write, lost| {
            let attempt = &attempt;
            async move {
                let place = || attempt.lock().unwrap_or_else(PoisonError::into_inner);
                let before = place().take();
                let before = before.ok_or_else(|| Error::bug("a statement's plan is gone"))?;
                let mut now = match &lost {
                    Some(_) => self.plan_again(before, change).await?,
                    None => before,
                };
                self.perform(write, &mut now, change).await?;
                let files = self.changes(write, &now).await?;
                if now.left_files {
                    self.keep_only(files.added.iter().map(|file| file.path.clone()));
                }
                let change = now.table_change(files);
                *place() = Some(now);
                Ok(vec![change])
            }
        })
        .await
    }

    /// Runs everything of a plan but the commit, and adds what it came to to the parts.
    pub(super) async fn perform(
        &self,
        write: ActiveWrite,
        attempt: &mut Attempt,
        change: RowChange<'_>,
    ) -> Result<()> {
        let planned = &attempt.planned;
        let (mut outcome, joined) = match self.delta(write, planned).await {
            Ok(ran) => ran,
            Err(error) if is_matched_twice(&error).is_some() => {
                return Err(self.name_the_row(planned, change, error).await);
            }
            Err(error) => return Err(error),
        };
        let by_path = planned.places();
        let mut found = Vec::with_capacity(outcome.positions.len());
        for (path, positions) in std::mem::take(&mut outcome.positions) {
            let at = by_path.get(path.as_str()).copied();
            let at = at.ok_or_else(|| Error::bug("rows of a file that is not read").with("file", &path))?;
            found.push((at, positions));
        }
        let mut part = Part {
            rows: RowCounts {
                inserted: outcome.acted.inserted,
                updated: outcome.acted.updated,
                deleted: outcome.acted.deleted,
            },
            staged: outcome.staged_files,
            rewrites: planned.settings.mode == RowLevelMode::CopyOnWrite && !found.is_empty(),
            touched: BTreeMap::new(),
        };
        for at in &planned.whole {
            let rows = self.live_rows(planned, *at).await?;
            part.rows.deleted += rows;
            part.touched.insert(planned.file(*at)?.path.clone(), Touched { rows, fate: Fate::Removed });
        }
        let mut left_files = outcome.left_files;
        if part.rewrites {
            for (at, positions) in &found {
                let touched = Touched { rows: positions.len(), fate: Fate::Removed };
                part.touched.insert(planned.file(*at)?.path.clone(), touched);
            }
            let rewritten = self.rewrite(write, planned, found).await?;
            left_files |= rewritten.left_files;
            part.staged.extend(rewritten.added);
        } else {
            for (at, positions) in found {
                let rows = positions.len();
                let touched = Touched { rows, fate: self.fate(planned, at, positions).await? };
                part.touched.insert(planned.file(at)?.path.clone(), touched);
            }
        }
        *self.notes.lock().unwrap_or_else(PoisonError::into_inner) =
            decided(planned).into_iter().chain([joined]).collect();
        attempt.left_files |= left_files;
        attempt.parts.push(part);
        Ok(())
    }

    /// What all parts change together: their delete files are written here.
    pub(super) async fn changes(&self, write: ActiveWrite, attempt: &Attempt) -> Result<FileChanges> {
        let Attempt { planned, parts, .. } = attempt;
        let by_path = planned.places();
        let (mut added, mut removed, mut gone) = (Vec::new(), BTreeSet::new(), Vec::new());
        let mut rows = RowCounts::default();
        for part in parts {
            added.extend(part.staged.iter().cloned());
            rows.inserted += part.rows.inserted;
            rows.updated += part.rows.updated;
            rows.deleted += part.rows.deleted;
            for (path, touched) in &part.touched {
                match &touched.fate {
                    Fate::Removed => removed.extend([RemovedFile::data(path)]),
                    Fate::Deletes { positions, replaced } => {
                        let at = by_path.get(path.as_str()).copied();
                        let at = at.ok_or_else(|| Error::bug("rows of a file that is not in the plan"))?;
                        gone.push(Gone { file: planned.file(at)?, positions });
                        removed.extend(replaced.iter().cloned());
                    }
                }
            }
        }
        added.extend(self.delete_files(write, planned, &gone).await?);
        Ok(FileChanges {
            added,
            removed: removed.into_iter().collect(),
            schema_id: planned.metadata().current_schema_id(),
            data_sequence_number: None,
            rows,
            validation: Validation { isolation: planned.settings.isolation, filter: planned.filter.clone() },
        })
    }

    /// Runs the stage that finds rows and writes the new ones; and how it joined, to be told.
    async fn delta(
        &self,
        write: ActiveWrite,
        planned: &Planned,
    ) -> Result<(Outcome, (&'static str, String))> {
        let Some(root) = self.delta_plan(write.id, planned, planned.sort_merge).await? else {
            let (name, value) = NOTHING_READ;
            return Ok((Outcome::default(), (name, value.to_owned())));
        };
        let joined = join(root.input()).to_owned();
        let stages = self.cut(root).await?;
        match self.run_stages(write, stages).await {
            // A hash join holds one of its sides in memory; a sort-merge join needs neither there.
            Err(error) if planned.may_sort_merge(&error, self) => {
                tracing::info!(%error, "the statement is run again with a join that spills");
                let root = self.delta_plan(write.id, planned, true).await?;
                let root = root.ok_or_else(|| Error::bug("a statement lost its plan"))?;
                let joined = format!("{}: a hash join had no room in memory", join(root.input()));
                let stages = self.cut(root).await?;
                let outcome = self.run_stages(write, stages).await?;
                Ok((Outcome { left_files: true, ..outcome }, ("join", joined)))
            }
            result => result.map(|outcome| (outcome, ("join", joined))),
        }
    }

    async fn cut(&self, root: Arc<IcebergDeltaExec>) -> Result<Vec<crate::stage::Stage>> {
        crate::stage::cut(root, &self.parts.planner, &self.parts.storage, self.parts.tier.tasks).await
    }
}

/// A plan, and what was done of the statement so far: by it, and by those before it whose commit lost a race.
pub(super) struct Attempt {
    planned: Planned,
    parts: Vec<Part>,
    /// Whether there are staged files of which nothing came.
    left_files: bool,
}

impl Attempt {
    /// A plan of which nothing is done yet.
    pub(super) fn first(planned: Planned) -> Self {
        Self { planned, parts: Vec::new(), left_files: false }
    }

    fn table_change(&self, files: FileChanges) -> TableChange {
        let planned = &self.planned;
        TableChange {
            ident: planned.loaded.ident.clone(),
            uuid: Some(planned.metadata().uuid()),
            reference: MAIN.to_owned(),
            base: planned.base(),
            change: match self.parts.iter().any(|part| part.rewrites) {
                true => Change::Overwrite(files),
                false => Change::RowDelta(files),
            },
        }
    }
}

impl Planned {
    fn file(&self, at: usize) -> Result<&ScanFile> {
        self.scan.files.get(at).ok_or_else(|| Error::bug("a file that is not in the plan"))
    }

    /// Where its files stand, by location.
    fn places(&self) -> BTreeMap<&str, usize> {
        self.scan.files.iter().enumerate().map(|(at, file)| (file.path.as_str(), at)).collect()
    }

    pub(super) fn is_v3(&self) -> bool {
        self.metadata().format_version() >= FormatVersion::V3
    }

    /// Whether a failure of memory may pass with a join that spills.
    fn may_sort_merge(&self, error: &Error, run: &Run) -> bool {
        let in_time = run.parts.settings.timeout.is_none_or(|limit| run.started.elapsed() < limit);
        error.kind() == ErrorKind::Exhausted && self.joins && !self.sort_merge && in_time
    }
}
