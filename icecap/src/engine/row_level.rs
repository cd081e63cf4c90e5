//! DELETE, UPDATE and MERGE: rows are found, gathered by data file, and taken out; new rows are written.
//!
//! A statement is planned on one snapshot (`plan`): its files pruned, those that go whole told apart (`whole`), a
//! MERGE's source looked at first (`source`). Then the delta stage runs, whose root is
//! [`IcebergDeltaExec`](crate::write::IcebergDeltaExec). What it found becomes deletion vectors or position delete
//! files (`delete_files`), or new data files without the rows (`rewrite`). One commit publishes all; a statement that
//! lost a race is planned again.

mod delete_files;
mod plan;
mod position_file;
mod rewrite;
mod source;
mod twice;
mod whole;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError};

use icecap_table::commit::{
    Change, FileChanges, RemovedFile, RowCounts, StatementKind, TableChange, Validation,
};
use icecap_table::deletes::PositionSet;
use icecap_table::iceberg::spec::FormatVersion;
use icecap_table::properties::RowLevelMode;
use icecap_table::scan::ScanFile;

pub(super) use self::plan::Planned;
use super::StatementResult;
use super::explain_changes::{NOTHING_READ, decided, join};
use super::insert::{MAIN, data_location};
use super::session::Run;
use super::write::{ActiveWrite, Intent};
use crate::sql::{Delete, Merge, Name, Update};
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
        let mut first = Some(planned);
        self.write_replanned(intent, |write, lost| {
            let planned = first.take();
            async move {
                let planned = match planned {
                    Some(planned) => planned,
                    None => self.plan_change(change).await?,
                };
                let changed = self.perform(write, &planned, change).await?;
                if changed.left_files || lost.is_some() {
                    self.keep_only(changed.files.added.iter().map(|file| file.path.clone()));
                }
                Ok(vec![changed.into_table_change(&planned)])
            }
        })
        .await
    }

    /// Runs everything but the commit.
    pub(super) async fn perform(
        &self,
        write: ActiveWrite,
        planned: &Planned,
        change: RowChange<'_>,
    ) -> Result<Changed> {
        let (mut outcome, joined) = match self.delta(write, planned).await {
            Ok(ran) => ran,
            Err(error) if is_matched_twice(&error).is_some() => {
                return Err(self.name_the_row(planned, change, error).await);
            }
            Err(error) => return Err(error),
        };
        let by_path: BTreeMap<&str, usize> =
            planned.scan.files.iter().enumerate().map(|(at, file)| (file.path.as_str(), at)).collect();
        let mut touched = Vec::with_capacity(outcome.positions.len());
        for (path, positions) in std::mem::take(&mut outcome.positions) {
            let at = by_path.get(path.as_str()).copied();
            let at = at.ok_or_else(|| Error::bug("rows of a file that is not read").with("file", &path))?;
            touched.push(Touched { at, positions });
        }
        let mut rows = RowCounts {
            inserted: outcome.acted.inserted,
            updated: outcome.acted.updated,
            deleted: outcome.acted.deleted,
        };
        let mut removed = Vec::new();
        for at in &planned.whole {
            rows.deleted += self.live_rows(planned, *at).await?;
            removed.push(RemovedFile::data(&planned.file(*at)?.path));
        }
        let mut left_files = outcome.left_files;
        let mut added = outcome.staged_files;
        let rewrites = planned.settings.mode == RowLevelMode::CopyOnWrite && !touched.is_empty();
        if rewrites {
            let rewritten = self.rewrite(write, planned, touched).await?;
            left_files |= rewritten.left_files;
            added.extend(rewritten.added);
            removed.extend(rewritten.removed);
        } else {
            let deletes = self.delete_files(write, planned, touched).await?;
            added.extend(deletes.added);
            removed.extend(deletes.removed);
        }
        *self.notes.lock().unwrap_or_else(PoisonError::into_inner) =
            decided(planned).into_iter().chain([joined]).collect();
        let removed: BTreeSet<RemovedFile> = removed.into_iter().collect();
        let files = FileChanges {
            added,
            removed: removed.into_iter().collect(),
            schema_id: planned.metadata().current_schema_id(),
            data_sequence_number: None,
            rows,
            validation: Validation { isolation: planned.settings.isolation, filter: planned.filter.clone() },
        };
        Ok(Changed { files, rewrites, left_files })
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

/// A data file, and the rows of it that a statement deletes or changes.
struct Touched {
    /// Its place in the plan.
    at: usize,
    positions: PositionSet,
}

/// What a statement changes.
pub(super) struct Changed {
    pub(super) files: FileChanges,
    /// Whether data files were written again.
    rewrites: bool,
    left_files: bool,
}

impl Changed {
    fn into_table_change(self, planned: &Planned) -> TableChange {
        TableChange {
            ident: planned.loaded.ident.clone(),
            uuid: Some(planned.metadata().uuid()),
            reference: MAIN.to_owned(),
            base: planned.base(),
            change: match self.rewrites {
                true => Change::Overwrite(self.files),
                false => Change::RowDelta(self.files),
            },
        }
    }
}

impl Planned {
    fn file(&self, at: usize) -> Result<&ScanFile> {
        self.scan.files.get(at).ok_or_else(|| Error::bug("a file that is not in the plan"))
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
