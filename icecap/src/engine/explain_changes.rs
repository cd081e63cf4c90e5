//! `EXPLAIN` of statements that change rows, and `EXPLAIN (DRY RUN)` of every write.

use std::sync::{Arc, Mutex, PoisonError};

use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::display::DisplayableExecutionPlan;
use icecap_table::commit::{FileChanges, RowCounts, StatementKind};
use icecap_table::id::WriteId;
use icecap_table::properties::RowLevelMode;
use icecap_table::scan::ScanPlan;
use icecap_table::staged_file::{FileContent, StagedFile};

use super::StatementResult;
use super::explain::{Lines, add_plan, estimate, size};
use super::insert::data_location;
use super::row_level::{Attempt, Planned, RowChange};
use super::session::Run;
use super::write::Intent;
use crate::sql::Statement;
use crate::{Error, Result};

impl Run {
    /// Runs `EXPLAIN` of a statement that changes rows.
    pub(super) async fn explain_change(&self, change: RowChange<'_>) -> Result<StatementResult> {
        let planned = self.plan_change(change).await?;
        let mut lines = Lines::default();
        lines.add(format!("{} of {}", title(change.kind()), planned.loaded.ident));
        for (name, value) in decided(&planned) {
            lines.below(name, value);
        }
        if planned.settings.mode == RowLevelMode::CopyOnWrite {
            let bytes = planned.scan.files.iter().map(|file| file.file_size_bytes).sum();
            lines.below("written again", format!("those with such rows, at most {}", size(bytes)));
        }
        let write = WriteId::new(self.parts.ids.uuid());
        let Some(root) = self.delta_plan(write, &planned, planned.sort_merge).await? else {
            let (name, value) = NOTHING_READ;
            lines.below(name, value);
            return lines.rows();
        };
        lines.below("join", join(root.input()));
        lines.below("estimated", estimate(root.input())?);
        let root: Arc<dyn ExecutionPlan> = root;
        self.add_scans(&mut lines, Some(&root));
        add_plan(&mut lines, &DisplayableExecutionPlan::new(root.as_ref()));
        lines.rows()
    }

    /// Runs a write but for its commit: what it would change. What it staged is deleted again.
    pub(super) async fn dry_run(&self, statement: &Statement) -> Result<StatementResult> {
        match statement {
            Statement::Delete(delete) => self.dry_change(RowChange::Delete(delete)).await,
            Statement::Update(update) => self.dry_change(RowChange::Update(update)).await,
            Statement::Merge(merge) => self.dry_change(RowChange::Merge(merge)).await,
            Statement::Insert(insert) => {
                let (loaded, source) = self.limited(self.plan_insert(insert)).await?;
                let metadata = loaded.document.metadata();
                let intent = Intent {
                    kind: StatementKind::Insert,
                    target: insert.table.normalised().join("."),
                    bases: metadata
                        .current_snapshot_id()
                        .map(|id| (metadata.uuid(), id))
                        .into_iter()
                        .collect(),
                    prefixes: vec![data_location(metadata)?],
                };
                let staged = Mutex::default();
                self.write_replanned(intent, |write, _| {
                    let (staged, source) = (&staged, &source);
                    async move {
                        keep(staged, self.stage(write, metadata, source).await?);
                        Ok(Vec::new())
                    }
                })
                .await?;
                tried(StatementKind::Insert, &loaded.ident.to_string(), &inserted(taken(staged)))
            }
            Statement::CreateTable(create) => {
                let Some(planned) = self.limited(self.plan_create(create)).await? else {
                    let mut lines = Lines::default();
                    lines.add("Nothing: the table exists already");
                    return lines.rows();
                };
                let metadata = planned.document.metadata();
                let kind = StatementKind::CreateTableAsSelect;
                let intent = Intent {
                    kind,
                    target: create.name.normalised().join("."),
                    bases: Vec::new(),
                    prefixes: vec![data_location(metadata)?],
                };
                let staged = Mutex::default();
                self.write_replanned(intent, |write, _| {
                    let (staged, rows) = (&staged, &planned.rows);
                    async move {
                        if let Some(rows) = rows {
                            keep(staged, self.stage(write, metadata, rows).await?);
                        }
                        Ok(Vec::new())
                    }
                })
                .await?;
                tried(kind, &planned.ident.to_string(), &inserted(taken(staged)))
            }
            _ => Err(Error::bug("a dry run of what writes nothing")),
        }
    }

    async fn dry_change(&self, change: RowChange<'_>) -> Result<StatementResult> {
        let planned = self.limited(self.plan_change(change)).await?;
        let metadata = planned.metadata();
        let table = planned.loaded.ident.to_string();
        let intent = Intent {
            kind: change.kind(),
            target: change.table().normalised().join("."),
            bases: planned.base().map(|snapshot| (metadata.uuid(), snapshot)).into_iter().collect(),
            prefixes: vec![data_location(metadata)?],
        };
        let changed = Mutex::default();
        self.write(intent, |write| {
            let changed = &changed;
            async move {
                let mut attempt = Attempt::first(planned);
                self.perform(write, &mut attempt, change).await?;
                keep(changed, self.changes(write, &attempt).await?);
                Ok(Vec::new())
            }
        })
        .await?;
        tried(change.kind(), &table, &taken(changed))
    }
}

fn keep<T>(place: &Mutex<T>, value: T) {
    *place.lock().unwrap_or_else(PoisonError::into_inner) = value;
}

fn taken<T>(place: Mutex<T>) -> T {
    place.into_inner().unwrap_or_else(PoisonError::into_inner)
}

fn inserted(added: Vec<StagedFile>) -> FileChanges {
    let rows =
        RowCounts { inserted: added.iter().map(|file| file.record_count).sum(), ..RowCounts::default() };
    FileChanges { added, rows, ..FileChanges::default() }
}

fn title(kind: StatementKind) -> &'static str {
    match kind {
        StatementKind::Delete => "Delete",
        StatementKind::Update => "Update",
        _ => "Merge",
    }
}

/// What a write would change.
fn tried(kind: StatementKind, table: &str, changes: &FileChanges) -> Result<StatementResult> {
    let mut lines = Lines::default();
    lines.add(format!("{} of {table}, tried and not committed", kind.as_str()));
    lines.below("rows inserted", changes.rows.inserted);
    lines.below("rows updated", changes.rows.updated);
    lines.below("rows deleted", changes.rows.deleted);
    let is_data = |content: FileContent| content == FileContent::Data;
    let added = changes.added.iter();
    lines.below("data files", added.clone().filter(|file| is_data(file.content)).count());
    lines.below("delete files", added.clone().filter(|file| !is_data(file.content)).count());
    lines.below("data files removed", changes.removed.iter().filter(|file| is_data(file.content)).count());
    // Several deletion vectors share a file.
    let mut sizes: Vec<(&str, u64)> = added.map(|file| (file.path.as_str(), file.file_size_bytes)).collect();
    sizes.sort_unstable();
    sizes.dedup();
    lines.below("bytes", size(sizes.iter().map(|(_, bytes)| bytes).sum()));
    lines.rows()
}

/// Told of a statement that reads nothing.
pub(super) const NOTHING_READ: (&str, &str) = ("read", "nothing: metadata decides");

/// What is decided before a statement runs: how its rows are deleted, and which files it reads.
pub(super) fn decided(planned: &Planned) -> [(&'static str, String); 3] {
    [
        ("mode", mode(planned)),
        ("isolation", format!("{:?}", planned.settings.isolation).to_lowercase()),
        ("files", files(planned)),
    ]
}

fn mode(planned: &Planned) -> String {
    let mode = planned.settings.mode;
    match mode {
        RowLevelMode::CopyOnWrite => mode.as_str().to_owned(),
        RowLevelMode::MergeOnRead if planned.is_v3() => format!("{} (deletion vectors)", mode.as_str()),
        RowLevelMode::MergeOnRead => format!("{} (position delete files)", mode.as_str()),
    }
}

fn files(planned: &Planned) -> String {
    let ScanPlan { files, files_total, .. } = planned.scan.as_ref();
    let pruned = files_total.saturating_sub(files.len() as u64);
    format!(
        "{} of {files_total} to read, {} go whole without being read, {pruned} pruned",
        files.len() - planned.whole.len(),
        planned.whole.len(),
    )
}

/// How a plan joins.
pub(super) fn join(plan: &Arc<dyn ExecutionPlan>) -> &'static str {
    first_join(plan).unwrap_or("none")
}

fn first_join(plan: &Arc<dyn ExecutionPlan>) -> Option<&'static str> {
    let own = match plan.name() {
        "HashJoinExec" => Some("hash join, one side in memory"),
        "SortMergeJoinExec" => Some("sort-merge join, which spills"),
        "NestedLoopJoinExec" => Some("nested loops: no equality of columns in the condition"),
        "CrossJoinExec" => Some("every row with every row"),
        _ => None,
    };
    own.or_else(|| plan.children().into_iter().find_map(first_join))
}
