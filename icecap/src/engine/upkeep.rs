//! `OPTIMIZE`, `VACUUM` and their procedures: the seam to whoever knows how they are done, and what that one may use.
//!
//! Which files are rewritten and which snapshots expire is not decided here but by a [`Maintenance`], which a process
//! hands to its engine. It works through an [`Upkeep`]: the same catalog, storage, executors and commit service as
//! every other statement's.

mod condition;
mod procedures;
mod rewrite;
mod yielding;

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::sql::sqlparser::ast::Query;
use icecap_table::catalog::LoadedTable;
use icecap_table::commit::{RunningWrite, StatementKind, TableChange, WriteState};
use icecap_table::iceberg::expr::Predicate;
use icecap_table::id::{TableIdent, WriteId};
use icecap_table::location::Policy;
use icecap_table::storage::Storage;
use uuid::Uuid;

pub(super) use self::procedures::{expire_snapshots, rewrite_data_files};
pub use self::rewrite::Rewritten;
use super::session::Run;
use super::write::{ActiveWrite, Intent};
use super::{DoneSummary, Engine, Parts, StatementResult, WriteSummary};
use crate::sql::Name;
use crate::{Error, Result};

/// Who knows how tables are kept healthy.
#[async_trait]
pub trait Maintenance: Send + Sync + std::fmt::Debug {
    /// Rewrites a table's data files into fewer and better ones. The rows stay what they are.
    ///
    /// # Errors
    /// Of any kind, as those of a write.
    async fn optimize(&self, upkeep: &Upkeep, request: &OptimizeRequest) -> Result<StatementResult>;

    /// Lets old snapshots go, and deletes the files that nothing reaches any more.
    ///
    /// # Errors
    /// Of any kind, as those of a write.
    async fn vacuum(&self, upkeep: &Upkeep, request: &VacuumRequest) -> Result<StatementResult>;
}

/// What `OPTIMIZE` asks for.
#[derive(Debug, Clone, PartialEq)]
pub struct OptimizeRequest {
    /// The table.
    pub table: Name,
    /// Which files: those that may hold a row of this query, `SELECT * FROM table WHERE condition`. Absent: any.
    pub filter: Option<Box<Query>>,
}

/// What `VACUUM` asks for.
#[derive(Debug, Clone, PartialEq)]
pub struct VacuumRequest {
    /// The table.
    pub table: Name,
    /// Snapshots from before this time (milliseconds since the epoch) expire; absent: as the table's properties say.
    pub older_than_ms: Option<i64>,
    /// How many snapshots of a branch stay at least; absent: as the table's properties say.
    pub retain_last: Option<u64>,
    /// Whether files that no snapshot ever named are looked for too.
    pub orphans: bool,
}

/// What a write of a [`Maintenance`] declares before it starts.
#[derive(Debug, Clone)]
pub struct UpkeepIntent {
    /// The statement.
    pub kind: StatementKind,
    /// The table, as the statement names it.
    pub target: Name,
    /// The snapshots that it reads, so that they do not expire meanwhile: (table, snapshot).
    pub bases: Vec<(Uuid, i64)>,
    /// Where it uploads.
    pub prefixes: Vec<String>,
}

/// A write of an upkeep statement that the ledger holds as active.
#[derive(Debug, Clone, Copy)]
pub struct UpkeepWrite(ActiveWrite);

impl UpkeepWrite {
    /// Its id: every file that it stages has it in its name.
    pub fn id(self) -> WriteId {
        self.0.id
    }
}

/// One statement under way, as a [`Maintenance`] sees it.
#[derive(Debug, Clone)]
pub struct Upkeep {
    run: Run,
}

impl Engine {
    /// The same engine that also runs `OPTIMIZE` and `VACUUM`, as `maintenance` knows how. Without one they are
    /// `unsupported`.
    #[must_use]
    pub fn with_maintenance(&self, maintenance: Arc<dyn Maintenance>) -> Self {
        let mut parts = self.parts.as_ref().clone();
        parts.maintenance = Some(maintenance);
        Self { parts: Arc::new(parts) }
    }
}

impl Run {
    /// Runs `OPTIMIZE`.
    pub(super) async fn optimize(&self, request: &OptimizeRequest) -> Result<StatementResult> {
        let maintenance = self.parts.maintenance("OPTIMIZE")?;
        maintenance.optimize(&Upkeep { run: self.clone() }, request).await
    }

    /// Runs `VACUUM`.
    pub(super) async fn vacuum(&self, request: &VacuumRequest) -> Result<StatementResult> {
        let maintenance = self.parts.maintenance("VACUUM")?;
        maintenance.vacuum(&Upkeep { run: self.clone() }, request).await
    }
}

impl Parts {
    fn maintenance(&self, statement: &str) -> Result<Arc<dyn Maintenance>> {
        self.maintenance.clone().ok_or_else(|| {
            Error::unsupported(format!(
                "{statement} is not supported here: this engine was opened without the part that compacts tables"
            ))
        })
    }
}

impl Upkeep {
    /// Loads the table that `name` names.
    ///
    /// # Errors
    /// `NotFound`; `Corrupt`.
    pub async fn load(&self, name: &Name) -> Result<LoadedTable> {
        self.run.limited(self.run.parts.load(name)).await
    }

    /// The names of all tables of the catalog whose metadata file lies below the folder `location`.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn tables_below(&self, location: &str) -> Result<Vec<TableIdent>> {
        let folder = format!("{}/", location.trim_end_matches('/'));
        let catalog = &self.run.parts.catalog;
        let mut found = Vec::new();
        for namespace in catalog.list_namespaces().await? {
            for ident in catalog.list_tables(&namespace).await? {
                let pointer = catalog.table_location(&ident).await?;
                if pointer.is_some_and(|pointer| pointer.starts_with(&folder)) {
                    found.push(ident);
                }
            }
        }
        Ok(found)
    }

    /// Where everything is stored.
    pub fn storage(&self) -> &Storage {
        &self.run.parts.storage
    }

    /// Which locations may be read and written.
    pub fn policy(&self) -> &Policy {
        &self.run.parts.policy
    }

    /// The time, in milliseconds since the epoch.
    pub fn now_ms(&self) -> i64 {
        self.run.parts.clock.now_ms()
    }

    /// The writes that are active now.
    ///
    /// # Errors
    /// `Unavailable`; `Corrupt` when the ledger cannot be read.
    pub async fn active_writes(&self) -> Result<Vec<RunningWrite>> {
        self.run.parts.commit.active_writes().await
    }

    /// Fences a write that gave no sign of life. Returns whether it can never commit now.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn fence(&self, write: &RunningWrite) -> Result<bool> {
        let state = self.run.parts.commit.abandon(write.write_id, write.round).await?;
        Ok(state == WriteState::Fenced)
    }

    /// What the ledger says of a write: whether it can add no file to any table any more, because it is committed or
    /// fenced. False too when it is not known.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn has_ended(&self, write: WriteId) -> Result<bool> {
        let state = self.run.parts.commit.outcome(write).await?;
        Ok(matches!(state, Some(WriteState::Committed(_) | WriteState::Fenced)))
    }

    /// Tells that, for a race that was lost, `again` of `files` data files were planned again.
    pub fn planned_again(&self, again: usize, files: usize) {
        self.run.races.planned_again(again, files);
    }

    /// What planning can judge files by, of the condition of `query`, which is one of all rows of a table.
    ///
    /// # Errors
    /// `Invalid` for a condition that no file's metadata can be held to, naming it.
    pub async fn condition(&self, table: &LoadedTable, query: &Query) -> Result<Predicate> {
        self.run.limited(condition::condition(&self.run, table, query)).await
    }

    /// Runs a step that publishes nothing, under the statement's time limit and its cancellation.
    ///
    /// # Errors
    /// Those of the step; `Cancelled`, `Exhausted`.
    pub async fn limited<T>(&self, step: impl Future<Output = Result<T>>) -> Result<T> {
        self.run.limited(step).await
    }

    /// Runs what follows a publication: it is dropped when the statement is cancelled or its time is over, and gives
    /// nothing then.
    pub async fn while_allowed<T>(&self, step: impl Future<Output = T>) -> Option<T> {
        self.run.limited(async { Ok(step.await) }).await.ok()
    }

    /// Runs a write: `work` gets it and gives its changes, which are published. When that lost a race, `work` is
    /// called again, with why. Without changes nothing is published.
    ///
    /// # Errors
    /// As those of any write.
    pub async fn write<W>(
        &self,
        intent: UpkeepIntent,
        mut work: impl FnMut(UpkeepWrite, Option<String>) -> W,
    ) -> Result<StatementResult>
    where
        W: Future<Output = Result<Vec<TableChange>>>,
    {
        let intent = Intent {
            kind: intent.kind,
            target: intent.target.normalised().join("."),
            bases: intent.bases,
            prefixes: intent.prefixes,
        };
        let done = self.run.write_replanned(intent, |write, lost| work(UpkeepWrite(write), lost)).await?;
        Ok(without_rows(done))
    }

    /// What a statement answers that has nothing to do. Under a token, what it did when it was run before.
    ///
    /// # Errors
    /// As those of a write's beginning.
    pub async fn nothing_to_do(&self, kind: StatementKind, target: &Name) -> Result<StatementResult> {
        self.run.nothing_to_do(kind, target.normalised().join(".")).await.map(without_rows)
    }

    /// The answer of a statement that tells what it counted, in the order told.
    pub fn done(
        &self,
        kind: StatementKind,
        table: &TableIdent,
        counts: impl IntoIterator<Item = (&'static str, u64)>,
    ) -> StatementResult {
        StatementResult::Done(DoneSummary {
            statement: kind.as_str().to_owned(),
            table: Some(table.to_string()),
            counts: counts.into_iter().collect(),
        })
    }
}

/// Upkeep writes rows, and neither inserts nor changes any.
fn without_rows(result: StatementResult) -> StatementResult {
    match result {
        StatementResult::Written(summary) => StatementResult::Written(WriteSummary {
            rows_inserted: None,
            rows_updated: None,
            rows_deleted: None,
            ..summary
        }),
        other => other,
    }
}
