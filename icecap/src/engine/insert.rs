//! `INSERT INTO`, and the work that every statement which adds rows does: a write plan is cut into stages, their
//! tasks' bytes go to the executor, staged files come back.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::statistics::{StatisticsArgs, StatisticsContext};
use icecap_table::catalog::LoadedTable;
use icecap_table::commit::{Change, StatementKind, TableChange};
use icecap_table::iceberg::spec::{FormatVersion, TableMetadata};
use icecap_table::id::WriteId;
use icecap_table::properties::WriteSettings;
use icecap_table::staged_file::StagedFile;

use super::session::Run;
use super::write::{ActiveWrite, Intent};
use super::{Parts, StatementResult};
use crate::sql::{self, Insert};
use crate::stage::{self, Job, Outcome, Stage};
use crate::write::{IcebergWriteExec, WriteTarget, by_partition, ordered};
use crate::{Error, Result};

/// From a statement's time limit to that of its tasks, so that it is the statement that tells of it.
const DEADLINE_GRACE: Duration = Duration::from_secs(5);

/// The branch that statements write.
pub(super) const MAIN: &str = "main";

impl Run {
    /// Runs `INSERT INTO`.
    pub(super) async fn insert(&self, insert: &Insert) -> Result<StatementResult> {
        let planned = self.limited(self.plan_insert(insert)).await;
        let target = insert.table.normalised().join(".");
        let (loaded, source) = match planned {
            Ok(planned) => planned,
            Err(error) => return self.replay_or(StatementKind::Insert, target, error).await,
        };
        let metadata = loaded.document.metadata();
        let base = metadata.current_snapshot_id();
        let intent = Intent {
            kind: StatementKind::Insert,
            target,
            bases: base.map(|snapshot| (metadata.uuid(), snapshot)).into_iter().collect(),
            prefixes: vec![data_location(metadata)?],
        };
        self.write(intent, |write| async move {
            let LoadedTable { ident, document, .. } = loaded;
            let metadata = document.metadata();
            let files = self.stage(write, metadata, &source).await?;
            Ok(vec![TableChange {
                ident,
                uuid: Some(metadata.uuid()),
                reference: MAIN.to_owned(),
                base,
                change: Change::Append { files, schema_id: metadata.current_schema_id() },
            }])
        })
        .await
    }

    pub(super) async fn plan_insert(&self, insert: &Insert) -> Result<(LoadedTable, LogicalPlan)> {
        let loaded = self.parts.load(&insert.table).await?;
        let metadata = loaded.document.metadata();
        check_format(&loaded)?;
        let source = self.logical_plan(&insert.source).await?;
        let assigned =
            sql::assign::assign(source, metadata.current_schema(), &insert.columns, insert.by_name)?;
        Ok((loaded, assigned))
    }

    /// Executes `source`, whose columns are the table's, into staged files.
    pub(super) async fn stage(
        &self,
        write: ActiveWrite,
        metadata: &TableMetadata,
        source: &LogicalPlan,
    ) -> Result<Vec<StagedFile>> {
        let root = self.write_plan(write.id, metadata, source).await?;
        let stages = self.stages(root).await?;
        let outcome = self.run_stages(write, stages).await?;
        if outcome.left_files {
            self.keep_only(outcome.staged_files.iter().map(|file| file.path.clone()));
        }
        Ok(outcome.staged_files)
    }

    /// Runs the stages of a write.
    pub(super) async fn run_stages(&self, write: ActiveWrite, stages: Vec<Stage>) -> Result<Outcome> {
        let job = Job {
            write_id: write.id,
            round: write.round,
            stages,
            exchange: self.parts.exchange_folder(),
            memory_bytes: None,
            deadline_ms: self.deadline_ms(),
        };
        self.parts.runner.run(&job, &self.cancel).await
    }

    /// Has every other file of the write deleted once it is committed: attempts that did not win left some.
    pub(super) fn keep_only(&self, winners: impl Iterator<Item = String>) {
        *self.winners.lock().unwrap_or_else(PoisonError::into_inner) = Some(winners.collect());
    }

    /// The stages of a write, with an exchange by partition where that saves small files.
    pub(super) async fn stages(&self, root: Arc<IcebergWriteExec>) -> Result<Vec<Stage>> {
        let Parts { planner, storage, tier, .. } = self.parts.as_ref();
        let (target, rows) = (root.target().clone(), Arc::clone(root.input()));
        let stages = stage::cut(root, planner, storage, tier.tasks).await?;
        let writers = stages.last().map_or(1, |stage| stage.tasks);
        // Rows in a sort order have been brought to their writers below the sort.
        if writers == 1 || target.is_sorted() {
            return Ok(stages);
        }
        match by_partition(&rows, &target, writers, estimated_bytes(&rows))? {
            Some(rows) => {
                let root = IcebergWriteExec::new(rows, target, storage.clone())?;
                stage::cut(Arc::new(root), planner, storage, tier.tasks).await
            }
            None => Ok(stages),
        }
    }

    /// When tasks that nobody waits for any more stop by themselves: a little after the statement's own limit.
    pub(super) fn deadline_ms(&self) -> Option<i64> {
        let limit = i64::try_from((self.parts.settings.timeout? + DEADLINE_GRACE).as_millis()).ok()?;
        Some(self.started_ms.saturating_add(limit))
    }

    /// The plan that [`stage`](Self::stage) executes.
    pub(super) async fn write_plan(
        &self,
        write: WriteId,
        metadata: &TableMetadata,
        source: &LogicalPlan,
    ) -> Result<Arc<IcebergWriteExec>> {
        let physical = self.physical_plan(source).await?;
        self.parts.progress.expect(&physical);
        let target = self.write_target(write, metadata, false)?;
        let (rows, target) = ordered(physical, target, metadata.default_sort_order())?;
        Ok(Arc::new(IcebergWriteExec::new(rows, target, self.parts.storage.clone())?))
    }

    /// What writers of a table need to know of it; `lineage`: whether their rows bring their ids along.
    pub(super) fn write_target(
        &self,
        write: WriteId,
        metadata: &TableMetadata,
        lineage: bool,
    ) -> Result<WriteTarget> {
        Ok(WriteTarget {
            schema: Arc::clone(metadata.current_schema()),
            partition_spec: Arc::clone(metadata.default_partition_spec()),
            sort_order_id: None,
            format_version: metadata.format_version(),
            data_location: data_location(metadata)?,
            properties: metadata.properties().clone(),
            write_id: write,
            stage: 0,
            task: 0,
            attempt: 0,
            // Whoever runs an attempt puts its own here.
            nonce: "planned".to_owned(),
            memory_bytes: self.parts.settings.task_memory_bytes().map(writers_part),
            lineage,
        })
    }
}

/// Refuses a table whose format is not written.
pub(super) fn check_format(loaded: &LoadedTable) -> Result<()> {
    if loaded.document.metadata().format_version() == FormatVersion::V1 {
        return Err(Error::unsupported(
            "writing to a table of format version 1 is not supported: upgrade it first, in Spark with \
             ALTER TABLE … SET TBLPROPERTIES ('format-version'='2')",
        )
        .with("table", loaded.ident.to_string()));
    }
    Ok(())
}

/// What writers may hold of a statement's memory. The rest is the source's, which counts only what operators
/// gather, and the allocator's between many small buffers.
fn writers_part(memory_bytes: u64) -> u64 {
    memory_bytes / 10 * 7
}

/// Bytes of a plan's rows, as far as it knows.
pub(super) fn estimated_bytes(plan: &Arc<dyn ExecutionPlan>) -> Option<u64> {
    let statistics = StatisticsContext::new().compute(plan.as_ref(), &StatisticsArgs::new()).ok()?;
    statistics.total_byte_size.get_value().map(|bytes| *bytes as u64)
}

/// Where a table's data files go.
pub(super) fn data_location(metadata: &TableMetadata) -> Result<String> {
    Ok(WriteSettings::from_properties(metadata.properties())?.data_location(metadata.location()))
}
