//! [`IcebergWriteExec`]: the plan node at the root of a writing stage.

use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use datafusion::arrow::array::{Array, ArrayData, BinaryArray, RecordBatch, StringArray};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::{DataFusionError, Result as DataFusionResult};
use datafusion::execution::disk_manager::DiskManager;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::metrics::{Count, ExecutionPlanMetricsSet, MetricBuilder, MetricsSet};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, Partitioning, PlanProperties,
};
use futures::StreamExt;
use icecap_table::staged_file::StagedFile;
use icecap_table::storage::Storage;
use icecap_table::{Error, Result};

use super::ahead::ahead;
use super::budget::Budget;
use super::layout::FileLayout;
use super::slots::Slots;
use super::target::WriteTarget;
use super::team::{Member, Team};
use super::writer::{ALONE_BYTES, Begun, CHUNK_BYTES, PartitionWriter};
use crate::plan::from_datafusion;

/// The `kind` of a row that carries a data file.
pub const KIND_DATA: &str = "data";

/// The metric that counts, for each writer, the rows that it encoded.
pub const ROWS_ENCODED: &str = "rows_encoded";

/// Batches between the source and the encoder of one input partition.
const QUEUED_BATCHES: usize = 2;

/// Rows that are gathered before they are split by partition or encoded on several threads.
const CHUNK_ROWS: usize = 1 << 16;

/// Rows that are gathered, unless they have [`ALONE_BYTES`] before, when one thread encodes them, a column after the
/// other. The encoders of a table's columns do not fit the processor's cache together: each is fetched once for so many
/// values.
const ALONE_ROWS: usize = 1 << 17;

/// Writes its input to data files of a table, and gives one row `(kind, staged_file)` for each file.
///
/// Input partition *i* is read by writer *i*. Rows in a sort order stay in it, file by file; of a partitioned table
/// they then come partition by partition. Otherwise no order is asked for: unless the table's
/// `write.distribution-mode` is `none`, the writers of a partitioned table share its partitions, so that each has
/// one file and not one of every writer; who writes it is seen when its rows come, so that a partition that has
/// most of the rows keeps all cores busy too. The rows of a writer come when all its files are durable. When a
/// writer fails it deletes its own files; what other writers have finished stays, and
/// [`begun_files`](Self::begun_files) names it.
#[derive(Debug)]
pub struct IcebergWriteExec {
    input: Arc<dyn ExecutionPlan>,
    layout: Arc<FileLayout>,
    budget: Arc<Budget>,
    begun: Begun,
    /// The writers at work, where they share partitions.
    team: SharedTeam,
    metrics: ExecutionPlanMetricsSet,
    properties: Arc<PlanProperties>,
}

#[derive(Default)]
struct SharedTeam(Mutex<Weak<Team>>);

impl fmt::Debug for SharedTeam {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedTeam").finish_non_exhaustive()
    }
}

impl IcebergWriteExec {
    /// A node that writes `input`, whose columns are the target schema's in its order.
    ///
    /// # Errors
    /// `Invalid` or `Unsupported` when the target's schema or properties cannot be written.
    pub fn new(input: Arc<dyn ExecutionPlan>, target: WriteTarget, storage: Storage) -> Result<Self> {
        let layout = Arc::new(FileLayout::new(target, storage)?);
        Ok(Self::with_layout(input, layout))
    }

    /// The schema of the rows that the node gives.
    pub fn output_schema() -> SchemaRef {
        Arc::new(Schema::new(vec![
            Field::new("kind", DataType::Utf8, false),
            Field::new("staged_file", DataType::Binary, false),
        ]))
    }

    /// The table and the task.
    pub fn target(&self) -> &WriteTarget {
        &self.layout.target
    }

    /// The plan whose rows are written.
    pub fn input(&self) -> &Arc<dyn ExecutionPlan> {
        &self.input
    }

    /// The locations of all files that this node's writers have begun, complete or not: what a failed
    /// attempt may have left behind.
    pub fn begun_files(&self) -> Vec<String> {
        self.begun.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns when no writer of this node is at work any more, in the background neither: what it names in
    /// storage is then as it stays.
    pub(crate) async fn writers_gone(&self) {
        self.layout.present.gone().await;
    }

    /// The writers that the next one belongs to.
    fn team(&self, context: &TaskContext) -> Arc<Team> {
        let begin = || {
            let share = self.budget.share(context.memory_pool());
            Arc::new(Team::new(Slots::new(Arc::clone(&self.layout), share)))
        };
        if !self.layout.shares_partitions() {
            return begin();
        }
        let mut team = self.team.0.lock().unwrap_or_else(PoisonError::into_inner);
        team.upgrade().unwrap_or_else(|| {
            let new = begin();
            *team = Arc::downgrade(&new);
            new
        })
    }

    fn with_layout(input: Arc<dyn ExecutionPlan>, layout: Arc<FileLayout>) -> Self {
        let partitions = input.output_partitioning().partition_count();
        let properties = PlanProperties::new(
            EquivalenceProperties::new(Self::output_schema()),
            Partitioning::UnknownPartitioning(partitions),
            EmissionType::Final,
            Boundedness::Bounded,
        );
        Self {
            budget: Budget::new(layout.target.memory_bytes),
            input,
            layout,
            begun: Begun::default(),
            team: SharedTeam::default(),
            metrics: ExecutionPlanMetricsSet::new(),
            properties: Arc::new(properties),
        }
    }
}

impl DisplayAs for IcebergWriteExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let target = &self.layout.target;
        write!(f, "IcebergWriteExec: data={}", target.data_location)?;
        let fields = target.partition_spec.fields();
        if !fields.is_empty() {
            let names: Vec<_> = fields.iter().map(|field| field.name.as_str()).collect();
            write!(f, ", partition=[{}]", names.join(", "))?;
            let mode = match (self.layout.shares_partitions(), self.layout.is_sorted()) {
                (true, _) => "shared",
                (false, true) => "sorted",
                (false, false) => "none",
            };
            write!(f, ", distribution={mode}")?;
        }
        if let Some(order) = target.sort_order_id.filter(|_| target.is_sorted()) {
            write!(f, ", sort_order={order}")?;
        }
        Ok(())
    }
}

impl ExecutionPlan for IcebergWriteExec {
    fn name(&self) -> &'static str {
        "IcebergWriteExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> DataFusionResult<TreeNodeRecursion>,
    ) -> DataFusionResult<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        match (children.pop(), children.is_empty()) {
            (Some(input), true) => Ok(Arc::new(Self::with_layout(input, Arc::clone(&self.layout)))),
            _ => Err(DataFusionError::Internal("IcebergWriteExec has exactly one input".to_owned())),
        }
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> DataFusionResult<SendableRecordBatchStream> {
        let member = Member::join(self.team(&context));
        let disk = Arc::clone(&context.runtime_env().disk_manager);
        let writers = self.input.output_partitioning().partition_count();
        let batch_rows = context.session_config().batch_size();
        let rows = self.input.execute(partition, context)?;
        // The source runs beside the encoder. Where that gathers a chunk for several threads, the next chunk is read
        // meanwhile: nobody but the source would have anything to do until it is there.
        let input = if writers < worker_threads() {
            ahead(rows, CHUNK_ROWS.div_ceil(batch_rows.max(1)).max(QUEUED_BATCHES), CHUNK_BYTES)
        } else {
            ahead(rows, QUEUED_BATCHES, usize::MAX)
        };
        let job = Job {
            layout: Arc::clone(&self.layout),
            budget: Arc::clone(&self.budget),
            begun: Arc::clone(&self.begun),
            number: partition,
            disk,
            encoded: MetricBuilder::new(&self.metrics).counter(ROWS_ENCODED, partition),
        };
        let rows = futures::stream::once(job.run(input, member));
        // A writer without rows gives no batch.
        let rows = rows.filter_map(|result| std::future::ready(result.transpose()));
        Ok(Box::pin(RecordBatchStreamAdapter::new(Self::output_schema(), rows)))
    }
}

fn worker_threads() -> usize {
    tokio::runtime::Handle::current().metrics().num_workers()
}

/// What one writer works with.
struct Job {
    layout: Arc<FileLayout>,
    budget: Arc<Budget>,
    begun: Begun,
    number: usize,
    disk: Arc<DiskManager>,
    encoded: Count,
}

impl Job {
    async fn run(
        self,
        input: SendableRecordBatchStream,
        mut member: Member,
    ) -> DataFusionResult<Option<RecordBatch>> {
        let layout = Arc::clone(&self.layout);
        let begun = Arc::clone(&self.begun);
        let slots = Arc::clone(&member.team.slots);
        let disk = Arc::clone(&self.disk);
        let encoded = self.encoded.clone();
        let mut writer =
            PartitionWriter::new(layout, self.number, slots, disk, begun, encoded).map_err(external)?;
        match self.write_all(&mut writer, input, &mut member).await {
            Ok(staged) if staged.is_empty() => Ok(None),
            Ok(staged) => rows_of(&staged).map(Some),
            Err(error) => {
                let error = from_datafusion(error);
                member.fail(&error);
                writer.abandon().await;
                Err(external(error))
            }
        }
    }

    /// How many threads each of `writers` may use: its part of those that are there.
    fn parallel(&self, writers: usize) -> usize {
        worker_threads().div_ceil(writers.max(self.budget.writers()).max(1))
    }

    async fn write_all(
        &self,
        writer: &mut PartitionWriter,
        mut input: SendableRecordBatchStream,
        member: &mut Member,
    ) -> DataFusionResult<Vec<StagedFile>> {
        let mut chunk = Chunk::default();
        while let Some(batch) = input.next().await {
            chunk.push(batch?);
            let parallel = self.parallel(member.team.reading());
            let (rows, bytes) = if parallel > 1 || writer.is_partitioned() {
                (CHUNK_ROWS, CHUNK_BYTES)
            } else {
                (ALONE_ROWS, ALONE_BYTES.min(self.budget.part() / 8))
            };
            if chunk.rows >= rows || chunk.bytes >= bytes {
                let batches = std::mem::take(&mut chunk).batches;
                writer.write(&batches, parallel).await.map_err(external)?;
            }
        }
        let batches = chunk.batches;
        let parallel = self.parallel(member.team.reading());
        writer.write(&batches, parallel).await.map_err(external)?;
        drop(batches);
        member.all_are_in().await.map_err(external)?;
        writer.finish(self.parallel(member.team.members())).await.map_err(external)
    }
}

/// Batches that are gathered.
#[derive(Default)]
struct Chunk {
    batches: Vec<RecordBatch>,
    rows: usize,
    bytes: usize,
    /// The buffers that are counted: batches of one source share them.
    buffers: HashSet<usize>,
}

impl Chunk {
    fn push(&mut self, batch: RecordBatch) {
        self.rows += batch.num_rows();
        for column in batch.columns() {
            self.count(&column.to_data());
        }
        self.batches.push(batch);
    }

    fn count(&mut self, data: &ArrayData) {
        for buffer in data.buffers() {
            if self.buffers.insert(buffer.data_ptr().as_ptr() as usize) {
                self.bytes += buffer.capacity();
            }
        }
        data.child_data().iter().for_each(|child| self.count(child));
    }
}

fn rows_of(staged: &[StagedFile]) -> DataFusionResult<RecordBatch> {
    let kinds = StringArray::from(vec![KIND_DATA; staged.len()]);
    let files: BinaryArray = staged.iter().map(|file| Some(file.encode())).collect();
    Ok(RecordBatch::try_new(IcebergWriteExec::output_schema(), vec![Arc::new(kinds), Arc::new(files)])?)
}

fn external(error: Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}
