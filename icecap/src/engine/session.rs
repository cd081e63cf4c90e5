//! A session: statements run one after another, each through the same steps.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use datafusion::execution::SendableRecordBatchStream;
use tokio::time::Instant;

use super::races::LostRaces;
use super::row_level::RowChange;
use super::{Cancel, DoneSummary, OptimizeRequest, Parts, VacuumRequest, WriteSummary};
use crate::scan::ScanLog;
use crate::sql::{ParsedStatement, Statement};
use crate::{Error, Result};

/// What a statement gives back.
#[allow(clippy::large_enum_variant)] // one a statement
pub enum StatementResult {
    /// Rows, as they come. The statement's time limit and cancellation hold while they are read.
    Rows(SendableRecordBatchStream),
    /// A write's summary.
    Written(WriteSummary),
    /// A statement that has neither rows nor files.
    Done(DoneSummary),
}

impl std::fmt::Debug for StatementResult {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Rows(stream) => f.debug_tuple("Rows").field(&stream.schema()).finish(),
            Self::Written(summary) => f.debug_tuple("Written").field(summary).finish(),
            Self::Done(summary) => f.debug_tuple("Done").field(summary).finish(),
        }
    }
}

/// Runs statements in order. The n-th statement of a session has ordinal n, by which a token tells it apart.
#[derive(Clone)]
pub struct Session {
    parts: Arc<Parts>,
    ordinal: Arc<AtomicU32>,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("ordinal", &self.ordinal).finish_non_exhaustive()
    }
}

impl Session {
    pub(super) fn new(parts: Arc<Parts>) -> Self {
        Self { parts, ordinal: Arc::default() }
    }

    /// Runs one statement.
    ///
    /// # Errors
    /// Of any kind; [`Error::applied`] says whether the statement may have taken effect. `Cancelled` when `cancel`
    /// was raised before the swap was sent, `Exhausted` when the time limit passed before it.
    pub async fn run(&self, statement: &ParsedStatement, cancel: &Cancel) -> Result<StatementResult> {
        let ordinal = self.ordinal.fetch_add(1, Ordering::Relaxed);
        let run = Run {
            parts: Arc::clone(&self.parts),
            text: statement.text.clone(),
            ordinal,
            cancel: cancel.clone(),
            started: Instant::now(),
            scans: ScanLog::default(),
            started_ms: self.parts.clock.now_ms(),
            winners: Arc::default(),
            notes: Arc::default(),
            races: LostRaces::default(),
        };
        match &statement.statement {
            Statement::CreateTable(create) => run.create_table(create).await,
            Statement::Insert(insert) => run.insert(insert).await,
            Statement::DropTable { name, if_exists, purge } => run.drop_table(name, *if_exists, *purge).await,
            Statement::CreateNamespace { name, if_not_exists, comment, location, properties } => {
                run.create_namespace(
                    name,
                    *if_not_exists,
                    comment.as_deref(),
                    location.as_deref(),
                    properties,
                )
                .await
            }
            Statement::DropNamespace { name, if_exists, cascade } => {
                run.drop_namespace(name, *if_exists, *cascade).await
            }
            Statement::Call { procedure, args } => run.call(procedure, args).await,
            Statement::Optimize { name, filter } => {
                run.optimize(&OptimizeRequest { table: name.clone(), filter: filter.clone() }).await
            }
            Statement::Vacuum { name } => {
                let request = VacuumRequest {
                    table: name.clone(),
                    older_than_ms: None,
                    retain_last: None,
                    orphans: true,
                };
                run.vacuum(&request).await
            }
            Statement::Delete(delete) => run.change_rows(RowChange::Delete(delete)).await,
            Statement::Update(update) => run.change_rows(RowChange::Update(update)).await,
            Statement::Merge(merge) => run.change_rows(RowChange::Merge(merge)).await,
            Statement::Explain { analyze, dry_run, statement } => {
                run.explain(*analyze, *dry_run, statement).await
            }
            Statement::AlterTable(alter) => run.alter_table(alter).await,
            other => run.limited(run.read(other)).await,
        }
    }
}

/// One statement under way.
#[derive(Clone)]
pub(super) struct Run {
    pub(super) parts: Arc<Parts>,
    pub(super) text: String,
    pub(super) ordinal: u32,
    pub(super) cancel: Cancel,
    pub(super) started: Instant,
    /// What its scans were planned to read.
    pub(super) scans: ScanLog,
    /// The statement's `current_timestamp`.
    pub(super) started_ms: i64,
    /// The winners' files, where other attempts may have left some.
    pub(super) winners: Arc<Mutex<Option<HashSet<String>>>>,
    /// What `EXPLAIN ANALYZE` tells beside the summary: how rows were found and changed.
    pub(super) notes: Arc<Mutex<Vec<(&'static str, String)>>>,
    /// The races that it lost.
    pub(super) races: LostRaces,
}

impl std::fmt::Debug for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Run").field("text", &self.text).finish_non_exhaustive()
    }
}

impl Run {
    /// Runs a step that publishes nothing, under the time limit and the cancellation.
    pub(super) async fn limited<T>(&self, step: impl Future<Output = Result<T>>) -> Result<T> {
        let limit = async {
            match self.parts.settings.timeout {
                Some(limit) => tokio::time::sleep_until(self.started + limit).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = self.cancel.cancelled() => Err(Error::cancelled("the statement was cancelled before it published anything")),
            result = step => result,
            () = limit => Err(Error::exhausted(
                "the statement ran out of time before it published anything: raise --timeout",
            )),
        }
    }

    async fn read(&self, statement: &Statement) -> Result<StatementResult> {
        match statement {
            Statement::Query(query) => self.query(query).await,
            Statement::ShowTables { namespace, pattern } => {
                self.show_tables(namespace.as_ref(), pattern.as_deref()).await
            }
            Statement::ShowNamespaces { pattern } => self.show_namespaces(pattern.as_deref()).await,
            Statement::ShowProperties { name, key } => self.show_properties(name, key.as_deref()).await,
            Statement::ShowCreateTable { name } => self.show_create_table(name).await,
            Statement::ShowColumns { name } => self.show_columns(name).await,
            Statement::ShowPartitions { name } => self.show_partitions(name).await,
            Statement::Describe { name, extended } => self.describe(name, *extended).await,
            Statement::CreateTable(_)
            | Statement::Insert(_)
            | Statement::DropTable { .. }
            | Statement::CreateNamespace { .. }
            | Statement::DropNamespace { .. }
            | Statement::Call { .. }
            | Statement::Delete(_)
            | Statement::Update(_)
            | Statement::Merge(_)
            | Statement::Optimize { .. }
            | Statement::Vacuum { .. }
            | Statement::AlterTable(_)
            | Statement::Explain { .. } => {
                Err(Error::bug("a write reached the path of statements that publish nothing"))
            }
        }
    }
}
