//! [`Worker`]: decodes a task, runs all its partitions, and reports.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use datafusion::arrow::array::{Array, BinaryArray};
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::{
    FairSpillPool, MemoryPool, TrackConsumersPool, UnboundedMemoryPool,
};
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::{SessionState, TaskContext};
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};
use futures::StreamExt;
use icecap_table::clock::{IdSource, SystemIds};
use icecap_table::staged_file::StagedFile;
use icecap_table::storage::Storage;
use icecap_table::{Error, Result};
use tokio::task::{JoinError, JoinSet};

use crate::engine::Progress;
use crate::plan::session::{BATCH_ROWS, planner_state};
use crate::plan::{IcecapCodec, TaskReport, WriteTask, from_datafusion, session_config, to_datafusion};
use crate::write::{IcebergWriteExec, WriteTarget};

/// Consumers that an out-of-memory error names.
const LARGEST_CONSUMERS: usize = 5;

/// How a [`Worker`] runs tasks.
#[derive(Debug, Clone, Default)]
pub struct WorkerSettings {
    /// Partitions of a plan that is made here.
    pub threads: usize,
    /// Bound of what operators and writers hold; unbounded when absent.
    pub memory_bytes: Option<u64>,
    /// Where operators spill; the system's by default.
    pub temp_dir: Option<PathBuf>,
    /// Who looks on.
    pub progress: Progress,
}

/// Runs tasks in this process. Whatever its transport, a task runs through this and nothing else.
#[derive(Debug)]
pub struct Worker {
    storage: Storage,
    state: SessionState,
    settings: WorkerSettings,
    ids: Arc<dyn IdSource>,
}

impl Worker {
    /// A worker over `storage`.
    ///
    /// # Errors
    /// `Invalid` when the settings make no runtime, such as a temporary directory that cannot be used.
    pub fn new(storage: Storage, settings: WorkerSettings) -> Result<Self> {
        let runtime = runtime(settings.memory_bytes, settings.temp_dir.clone())?;
        let state = planner_state(session_config(settings.threads, BATCH_ROWS), runtime);
        Ok(Self { storage, state, settings, ids: Arc::new(SystemIds) })
    }

    /// A state to plan with, of the same configuration as tasks are run with.
    pub fn planner_state(&self) -> SessionState {
        self.state.clone()
    }

    /// A context to run a query's plan in, under the same limits.
    pub fn task_context(&self) -> Arc<TaskContext> {
        self.state.task_ctx()
    }

    /// Runs an encoded [`WriteTask`]; gives the encoded [`TaskReport`].
    ///
    /// The names of staged files are this execution's own, so that the same bytes may run any number of times,
    /// at once too. When the future is dropped the work stops; what was staged by then stays.
    ///
    /// # Errors
    /// The task's own; `Bug` when it panicked.
    pub async fn run_task(&self, task: &[u8]) -> Result<Bytes> {
        let started = Instant::now();
        let task = WriteTask::decode(task)?;
        let context = self.task_context();
        let plan = task.plan(&context, &IcecapCodec::new(self.storage.clone()))?;
        let plan = self.with_own_names(plan, task.attempt)?;
        self.settings.progress.watch(&plan);
        let staged_files = run_all(&plan, &context).await?;
        let report = TaskReport {
            stage: task.stage,
            task: task.task,
            attempt: task.attempt,
            rows_read: rows_read(&plan),
            rows_written: staged_files.iter().map(|file| file.record_count).sum(),
            bytes_written: staged_files.iter().map(|file| file.file_size_bytes).sum(),
            staged_files,
            elapsed_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
            peak_memory_bytes: 0,
        };
        Ok(Bytes::from(report.encode()))
    }

    /// The plan, its writers naming files as no other execution of these bytes does. A message may be delivered
    /// twice, and on an object store the later file would take the place of the earlier.
    fn with_own_names(&self, plan: Arc<dyn ExecutionPlan>, attempt: u32) -> Result<Arc<dyn ExecutionPlan>> {
        let nonce = self.ids.uuid().simple().to_string();
        let renamed = plan.transform(|node| {
            let Some(write) = node.downcast_ref::<IcebergWriteExec>() else {
                return Ok(Transformed::no(node));
            };
            let target = WriteTarget { attempt, nonce: nonce.clone(), ..write.target().clone() };
            let write = IcebergWriteExec::new(Arc::clone(write.input()), target, self.storage.clone());
            Ok(Transformed::yes(Arc::new(write.map_err(to_datafusion)?) as Arc<dyn ExecutionPlan>))
        });
        Ok(renamed.map_err(from_datafusion)?.data)
    }
}

fn runtime(memory_bytes: Option<u64>, temp_dir: Option<PathBuf>) -> Result<Arc<RuntimeEnv>> {
    let pool: Arc<dyn MemoryPool> = match memory_bytes {
        Some(bytes) => {
            let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
            let consumers = std::num::NonZeroUsize::new(LARGEST_CONSUMERS)
                .ok_or_else(|| Error::bug("no consumer would be named"))?;
            Arc::new(TrackConsumersPool::new(FairSpillPool::new(bytes), consumers))
        }
        None => Arc::new(UnboundedMemoryPool::default()),
    };
    let mode = match temp_dir {
        Some(directory) => DiskManagerMode::Directories(vec![directory]),
        None => DiskManagerMode::OsTmpDirectory,
    };
    RuntimeEnvBuilder::new()
        .with_memory_pool(pool)
        .with_disk_manager_builder(DiskManagerBuilder::default().with_mode(mode))
        .build_arc()
        .map_err(|error| from_datafusion(error).with_kind(icecap_table::ErrorKind::Invalid))
}

/// Runs every partition of a plan whose rows are `(kind, staged_file)`; the first error stops all.
async fn run_all(plan: &Arc<dyn ExecutionPlan>, context: &Arc<TaskContext>) -> Result<Vec<StagedFile>> {
    let mut running: JoinSet<Result<(usize, Vec<StagedFile>)>> = JoinSet::new();
    // All begin before one runs: writers that share partitions know each other then.
    let streams = (0..plan.output_partitioning().partition_count())
        .map(|partition| plan.execute(partition, Arc::clone(context)).map_err(from_datafusion))
        .collect::<Result<Vec<_>>>()?;
    for (partition, mut rows) in streams.into_iter().enumerate() {
        running.spawn(async move {
            let mut files = Vec::new();
            while let Some(batch) = rows.next().await {
                files.extend(staged_files(&batch.map_err(from_datafusion)?)?);
            }
            Ok((partition, files))
        });
    }
    let mut by_partition = Vec::new();
    while let Some(finished) = running.join_next().await {
        by_partition.push(finished.map_err(lost)??);
    }
    by_partition.sort_by_key(|(partition, _)| *partition);
    Ok(by_partition.into_iter().flat_map(|(_, files)| files).collect())
}

pub(super) fn lost(error: JoinError) -> Error {
    match error.try_into_panic() {
        Ok(panic) => {
            let said = panic
                .downcast_ref::<&str>()
                .map(ToString::to_string)
                .or_else(|| panic.downcast_ref::<String>().cloned())
                .unwrap_or_else(|| "nothing".to_owned());
            Error::bug(format!("a task panicked, saying: {said}"))
        }
        Err(_) => Error::cancelled("a task was stopped"),
    }
}

fn staged_files(batch: &RecordBatch) -> Result<Vec<StagedFile>> {
    let column = batch
        .column_by_name("staged_file")
        .and_then(|column| column.as_any().downcast_ref::<BinaryArray>())
        .ok_or_else(|| Error::bug("a task's plan does not end in a writer"))?;
    column
        .iter()
        .map(|bytes| StagedFile::decode(bytes.ok_or_else(|| Error::bug("a writer staged no file"))?))
        .collect()
}

/// Rows that the plan's leaves gave.
fn rows_read(plan: &Arc<dyn ExecutionPlan>) -> u64 {
    let children = plan.children();
    if children.is_empty() {
        return plan.metrics().and_then(|metrics| metrics.output_rows()).unwrap_or(0) as u64;
    }
    children.into_iter().map(rows_read).sum()
}

#[cfg(test)]
mod tests;
