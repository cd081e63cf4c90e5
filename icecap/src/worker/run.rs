//! [`Worker`]: decodes a task, runs all its partitions, and reports.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use datafusion::arrow::array::{Array, BinaryArray, StringArray};
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::{
    FairSpillPool, MemoryPool, TrackConsumersPool, UnboundedMemoryPool,
};
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::{SessionState, TaskContext};
use datafusion::physical_plan::metrics::MetricsSet;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties, displayable};
use futures::StreamExt;
use icecap_table::clock::{Clock, IdSource, SystemClock, SystemIds};
use icecap_table::staged_file::StagedFile;
use icecap_table::storage::Storage;
use icecap_table::{Error, Result};
use tokio::task::{JoinError, JoinSet};

use super::policy::TaskPolicy;
use crate::engine::Progress;
use crate::exchange::{self, ExchangeReadExec};
use crate::lean_join::lean;
use crate::plan::session::{BATCH_ROWS, planner_state};
use crate::plan::{IcecapCodec, Shelf, TaskOutput, TaskReport, WriteTask, from_datafusion, session_config};
use crate::write::{
    ActedRows, FilePositions, IcebergDeltaExec, IcebergWriteExec, KIND_DATA, KIND_POSITIONS, KIND_ROWS,
};

/// With less than that for each thread, batches have fewer rows: a merge of spilled runs holds some of each.
const LITTLE_MEMORY: u64 = 64 << 20;
/// Each sort sets aside that part of the memory for merging what it spilled. A join by sorting has two sorts in each
/// partition, so that DataFusion's own 10 MB each would leave nothing of little memory.
const SORT_RESERVATIONS: u64 = 32;
/// Memory for each spilled run that a merge reads at once: without a bound the first merge takes all there is, and the
/// other sorts of the same join have none.
const BYTES_PER_RUN: u64 = 16 << 20;
/// Runs that a merge reads at once, at least.
const FEWEST_RUNS: u64 = 3;
/// Consumers that an out-of-memory error names.
const LARGEST_CONSUMERS: usize = 5;
/// How long the writers of a failed task are waited for.
const END_WITHIN: Duration = Duration::from_secs(10);

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
    /// Where tasks may read and write; `None`: wherever this process can.
    pub policy: Option<TaskPolicy>,
}

/// Runs tasks in this process. Whatever its transport, a task runs through this and nothing else.
#[derive(Debug)]
pub struct Worker {
    storage: Storage,
    state: SessionState,
    shelf: Shelf,
    settings: WorkerSettings,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn IdSource>,
}

impl Worker {
    /// A worker over `storage`.
    ///
    /// # Errors
    /// `Invalid` when the settings make no runtime, such as a temporary directory that cannot be used.
    pub fn new(storage: Storage, settings: WorkerSettings) -> Result<Self> {
        let runtime = runtime(settings.memory_bytes, settings.temp_dir.clone())?;
        let threads = settings.threads.max(1) as u64;
        let is_little = settings.memory_bytes.is_some_and(|bytes| bytes / threads < LITTLE_MEMORY);
        let mut config =
            session_config(settings.threads, if is_little { BATCH_ROWS / 4 } else { BATCH_ROWS });
        if let Some(bytes) = settings.memory_bytes {
            let share = usize::try_from(bytes / SORT_RESERVATIONS).unwrap_or(usize::MAX);
            let own = &mut config.options_mut().execution.sort_spill_reservation_bytes;
            *own = share.min(*own);
        }
        let state = planner_state(config, runtime);
        Ok(Self {
            storage,
            state,
            shelf: Shelf::default(),
            settings,
            clock: Arc::new(SystemClock),
            ids: Arc::new(SystemIds),
        })
    }

    /// A state to plan with, of the same configuration as tasks are run with.
    pub fn planner_state(&self) -> SessionState {
        self.state.clone()
    }

    /// A context to run a query's plan in, under the same limits.
    pub fn task_context(&self) -> Arc<TaskContext> {
        self.state.task_ctx()
    }

    /// Where tasks that are run here find rows that this process holds.
    pub fn shelf(&self) -> &Shelf {
        &self.shelf
    }

    /// Runs an encoded [`WriteTask`]; gives the encoded [`TaskReport`].
    ///
    /// The names of staged files are this execution's own, so that the same bytes may run any number of times,
    /// at once too. When the future is dropped the work stops; what was staged by then stays.
    ///
    /// # Errors
    /// The task's own; `Bug` when it panicked.
    pub async fn run_task(&self, task: &[u8]) -> Result<Bytes> {
        let mut task = WriteTask::decode(task)?;
        // A message may be delivered twice, and on an object store the later file would take the place of the
        // earlier.
        task.nonce = format!("{}{:08x}", task.nonce, self.ids.uuid().as_u128() as u32);
        let work = self.work(&task);
        let report = match task.deadline_ms {
            None => work.await?,
            Some(deadline) => {
                let left = u64::try_from(deadline.saturating_sub(self.clock.now_ms())).unwrap_or(0);
                tokio::time::timeout(Duration::from_millis(left), work).await.unwrap_or_else(|_| {
                    Err(Error::exhausted("a task ran out of time: use more tasks, or raise --timeout"))
                })?
            }
        };
        Ok(Bytes::from(report.encode()))
    }

    async fn work(&self, task: &WriteTask) -> Result<TaskReport> {
        let started = Instant::now();
        let context = self.task_context();
        let codec = IcecapCodec::new(self.storage.clone()).with_shelf(self.shelf.clone());
        let plan = task.plan(&context, &codec)?;
        if let Some(policy) = &self.settings.policy {
            policy.check(task, &plan)?;
        }
        // The source of a MERGE, above all.
        let plan = if plan.is::<IcebergDeltaExec>() { lean(plan)? } else { plan };
        tracing::debug!(
            stage = task.stage,
            task = task.task,
            "runs\n{}",
            displayable(plan.as_ref()).indent(false)
        );
        self.settings.progress.watch(&plan);
        let mut exchange_requests = 0;
        let (emitted, exchange) = match &task.output {
            TaskOutput::Rows => (run_all(&plan, &context).await?, None),
            TaskOutput::Exchange { location, .. } => {
                let location = format!("{location}/{}.exchange", task.file_prefix());
                let (object, requests) =
                    exchange::write_all(&plan, &context, &self.storage, location).await?;
                exchange_requests += requests;
                (Emitted::default(), Some(object))
            }
        };
        let Emitted { staged_files, positions, acted } = emitted;
        let sum = |name: &str| sum_of(&plan, &|metrics| metrics.sum_by_name(name).map(|sum| sum.as_usize()));
        Ok(TaskReport {
            stage: task.stage,
            task: task.task,
            attempt: task.attempt,
            rows_read: rows_read(&plan),
            rows_written: staged_files.iter().map(|file| file.record_count).sum(),
            bytes_written: staged_files.iter().map(|file| file.file_size_bytes).sum(),
            staged_files,
            positions,
            acted,
            exchange,
            elapsed_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
            peak_memory_bytes: 0,
            exchange_bytes_read: sum(exchange::BYTES_READ),
            exchange_requests: exchange_requests + sum(exchange::REQUESTS),
            spilled_bytes: sum_of(&plan, &MetricsSet::spilled_bytes),
        })
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
    let mut disks = DiskManagerBuilder::default().with_mode(mode);
    if let Some(bytes) = memory_bytes {
        let runs = (bytes / BYTES_PER_RUN).max(FEWEST_RUNS);
        disks = disks.with_max_spill_merge_fan_in(usize::try_from(runs).unwrap_or(usize::MAX));
    }
    RuntimeEnvBuilder::new()
        .with_memory_pool(pool)
        .with_disk_manager_builder(disks)
        .build_arc()
        .map_err(|error| from_datafusion(error).with_kind(icecap_table::ErrorKind::Invalid))
}

/// What the rows of a writing plan say.
#[derive(Default)]
struct Emitted {
    staged_files: Vec<StagedFile>,
    positions: Vec<FilePositions>,
    acted: ActedRows,
}

impl Emitted {
    fn append(&mut self, other: Self) {
        self.staged_files.extend(other.staged_files);
        self.positions.extend(other.positions);
        self.acted.add(other.acted);
    }

    /// Takes rows `(kind, payload)`.
    fn take(&mut self, batch: &RecordBatch) -> Result<()> {
        let no_writer = || Error::bug("a task's plan does not end in a writer");
        let kinds =
            batch.column_by_name("kind").and_then(|kinds| kinds.as_any().downcast_ref::<StringArray>());
        let payloads = batch
            .column_by_name("staged_file")
            .and_then(|payloads| payloads.as_any().downcast_ref::<BinaryArray>());
        let (kinds, payloads) = kinds.zip(payloads).ok_or_else(no_writer)?;
        for (kind, payload) in kinds.iter().zip(payloads) {
            let (kind, payload) = kind.zip(payload).ok_or_else(no_writer)?;
            match kind {
                KIND_DATA => self.staged_files.push(StagedFile::decode(payload)?),
                KIND_POSITIONS => self.positions.push(FilePositions::decode(payload)?),
                KIND_ROWS => self.acted.add(ActedRows::decode(payload)?),
                other => return Err(Error::bug(format!("a writer gave a row of kind {other}"))),
            }
        }
        Ok(())
    }
}

/// The writer at the root of a plan.
fn writer(plan: &Arc<dyn ExecutionPlan>) -> Option<&IcebergWriteExec> {
    match plan.downcast_ref::<IcebergDeltaExec>() {
        Some(delta) => delta.writer().map(AsRef::as_ref),
        None => plan.downcast_ref::<IcebergWriteExec>(),
    }
}

/// Runs every partition of a plan whose rows are `(kind, payload)`; the first error stops all. Before it is
/// returned the writers have ended, and removed what they had not reported: afterwards this process may stand still
/// or end, and whoever looks for left files must find them all.
async fn run_all(plan: &Arc<dyn ExecutionPlan>, context: &Arc<TaskContext>) -> Result<Emitted> {
    let mut running: JoinSet<Result<(usize, Emitted)>> = JoinSet::new();
    // All begin before one runs: writers that share partitions know each other then.
    let streams = (0..plan.output_partitioning().partition_count())
        .map(|partition| plan.execute(partition, Arc::clone(context)).map_err(from_datafusion))
        .collect::<Result<Vec<_>>>()?;
    for (partition, mut rows) in streams.into_iter().enumerate() {
        running.spawn(async move {
            let mut emitted = Emitted::default();
            while let Some(batch) = rows.next().await {
                emitted.take(&batch.map_err(from_datafusion)?)?;
            }
            Ok((partition, emitted))
        });
    }
    let mut by_partition = Vec::new();
    while let Some(finished) = running.join_next().await {
        match finished.map_err(lost).flatten() {
            Ok(emitted) => by_partition.push(emitted),
            Err(error) => {
                running.shutdown().await;
                if let Some(write) = writer(plan)
                    && tokio::time::timeout(END_WITHIN, write.writers_gone()).await.is_err()
                {
                    tracing::warn!("the writers of a failed task did not end in time");
                }
                return Err(error);
            }
        }
    }
    by_partition.sort_by_key(|(partition, _)| *partition);
    let mut all = Emitted::default();
    by_partition.into_iter().for_each(|(_, emitted)| all.append(emitted));
    Ok(all)
}

pub(crate) fn lost(error: JoinError) -> Error {
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

/// The sum of a metric over a plan's nodes.
fn sum_of(plan: &Arc<dyn ExecutionPlan>, metric: &dyn Fn(&MetricsSet) -> Option<usize>) -> u64 {
    let own = plan.metrics().and_then(|metrics| metric(&metrics)).unwrap_or(0) as u64;
    own + plan.children().into_iter().map(|child| sum_of(child, metric)).sum::<u64>()
}

/// Rows that the plan's sources gave; those of earlier stages were counted there.
fn rows_read(plan: &Arc<dyn ExecutionPlan>) -> u64 {
    let children = plan.children();
    if plan.is::<ExchangeReadExec>() {
        return 0;
    }
    if children.is_empty() {
        return plan.metrics().and_then(|metrics| metrics.output_rows()).unwrap_or(0) as u64;
    }
    children.into_iter().map(rows_read).sum()
}

#[cfg(test)]
mod tests;
