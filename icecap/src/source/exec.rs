//! [`SourceScanExec`]: the leaf of every plan that reads files which are no table.

use std::fmt::{self, Formatter};
use std::sync::Arc;

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::config::ConfigOptions;
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::common::{DataFusionError, Result as DfResult, Statistics};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr, conjunction};
use datafusion::physical_plan::execution_plan::{
    Boundedness, EmissionType, ReplaceChildrenOptions, SchedulingType,
};
use datafusion::physical_plan::filter_pushdown::{
    ChildPushdownResult, FilterPushdownPhase, FilterPushdownPropagation, PushedDown,
};
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet};
use datafusion::physical_plan::statistics::StatisticsArgs;
use datafusion::physical_plan::stream::{RecordBatchReceiverStreamBuilder, RecordBatchStreamAdapter};
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties};
use futures::StreamExt;
use icecap_table::storage::Storage;
use icecap_table::{Error, Result};

use super::parquet::{ParquetFiles, data_files, project, source_slices};
use super::rows::FileRows;
use super::table::{SourceFormat, SourceInput};
use crate::plan::error::to_datafusion;
use crate::scan::{deal, guarded, of_part};

/// More readers than any file is cut for.
const FINEST: usize = 1 << 20;
/// Batches decoded ahead of whoever reads.
const BATCHES_AHEAD: usize = 4;

/// Reads a source's files.
#[derive(Debug, Clone)]
pub struct SourceScanExec {
    input: Arc<SourceInput>,
    storage: Storage,
    /// The columns given, as indices into the source's schema.
    columns: Vec<usize>,
    /// What rows are wanted, over the source's schema: prunes, filters nothing.
    predicate: Option<Arc<dyn PhysicalExpr>>,
    limit: Option<usize>,
    /// As it was asked for; the partitioning may be coarser.
    target_partitions: usize,
    properties: Arc<PlanProperties>,
    inner: Inner,
    metrics: ExecutionPlanMetricsSet,
}

#[derive(Debug, Clone)]
enum Inner {
    Parquet(ParquetFiles),
    /// One list of files per partition.
    Rows(Arc<Vec<Vec<usize>>>),
}

impl SourceScanExec {
    /// A scan of `columns` (indices into the input's schema) in at most `partitions` partitions.
    ///
    /// # Errors
    /// `Bug` for a column that is not there; `Unsupported` for storage that is not.
    pub fn try_new(
        input: Arc<SourceInput>,
        storage: Storage,
        columns: Vec<usize>,
        predicate: Option<Arc<dyn PhysicalExpr>>,
        limit: Option<usize>,
        partitions: usize,
    ) -> Result<Self> {
        let schema = project(&input.schema, &columns)
            .map_err(|error| Error::bug("a scan of a column that is not there").with_source(error))?;
        let target_partitions = partitions.max(1);
        let (inner, partitions) = match &input.format {
            SourceFormat::Parquet => {
                let slices = source_slices(&input, target_partitions);
                let partitions = target_partitions.min(slices.len()).max(1);
                let predicate = predicate.as_ref();
                let files =
                    ParquetFiles::try_new(&input, &storage, &slices, &columns, predicate, limit, partitions)?;
                (Inner::Parquet(files), partitions)
            }
            SourceFormat::Csv(_) | SourceFormat::Json(_) => {
                let partitions = target_partitions.min(input.files.len()).max(1);
                (Inner::Rows(Arc::new(balanced(&input, partitions))), partitions)
            }
        };
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema),
            Partitioning::UnknownPartitioning(partitions),
            EmissionType::Incremental,
            Boundedness::Bounded,
        )
        .with_scheduling_type(SchedulingType::Cooperative);
        Ok(Self {
            input,
            storage,
            columns,
            predicate,
            limit,
            target_partitions,
            properties: Arc::new(properties),
            inner,
            metrics: ExecutionPlanMetricsSet::new(),
        })
    }

    /// How many parts the scan can be parted into: Parquet files by their row groups, others as they are.
    pub fn pieces(&self) -> usize {
        match self.input.format {
            SourceFormat::Parquet => source_slices(&self.input, FINEST).len(),
            SourceFormat::Csv(_) | SourceFormat::Json(_) => self.input.files.len(),
        }
    }

    /// The same scan of one of `parts` parts: every row is in exactly one of them. It has at most as many
    /// partitions.
    ///
    /// # Errors
    /// As [`try_new`](Self::try_new); `Bug` when there is no such part.
    pub fn part(&self, part: usize, parts: usize) -> Result<Self> {
        let missing = || Error::bug("a part of a source that is not there");
        let (files, slices) = match self.input.format {
            SourceFormat::Parquet => {
                // All parts cut alike.
                let all = source_slices(&self.input, self.target_partitions.saturating_mul(parts));
                let own = deal(&all, &data_files(&self.input), parts).into_iter().nth(part);
                of_part(&own.ok_or_else(missing)?)
            }
            SourceFormat::Csv(_) | SourceFormat::Json(_) => {
                let own = balanced(&self.input, parts).into_iter().nth(part);
                (own.ok_or_else(missing)?, Vec::new())
            }
        };
        let files = files.iter().filter_map(|at| self.input.files.get(*at).cloned()).collect();
        Self::try_new(
            Arc::new(SourceInput { files, slices, ..self.input.as_ref().clone() }),
            self.storage.clone(),
            self.columns.clone(),
            self.predicate.clone(),
            self.limit,
            self.target_partitions,
        )
    }

    /// What it reads.
    pub fn input(&self) -> &Arc<SourceInput> {
        &self.input
    }

    /// The columns given.
    pub fn columns(&self) -> &[usize] {
        &self.columns
    }

    /// The predicate, over the input's schema.
    pub fn predicate(&self) -> Option<&Arc<dyn PhysicalExpr>> {
        self.predicate.as_ref()
    }

    /// The partitions that were asked for.
    pub fn target_partitions(&self) -> usize {
        self.target_partitions
    }

    fn rebuilt(&self, predicate: Option<Arc<dyn PhysicalExpr>>, limit: Option<usize>) -> DfResult<Self> {
        Self::try_new(
            Arc::clone(&self.input),
            self.storage.clone(),
            self.columns.clone(),
            predicate,
            limit,
            self.target_partitions,
        )
        .map_err(to_datafusion)
    }

    fn over_input(&self, expr: Arc<dyn PhysicalExpr>) -> DfResult<Arc<dyn PhysicalExpr>> {
        expr.transform(|expr| match expr.downcast_ref::<Column>() {
            Some(column) => {
                let at = *self.columns.get(column.index()).ok_or_else(|| {
                    DataFusionError::Internal(format!("a filter on a column that is not scanned: {column}"))
                })?;
                Ok(Transformed::yes(Arc::new(Column::new(self.input.schema.field(at).name(), at)) as _))
            }
            None => Ok(Transformed::no(expr)),
        })
        .data()
    }
}

/// The files of each partition.
fn balanced(input: &SourceInput, partitions: usize) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..input.files.len()).collect();
    order.sort_by_key(|at| std::cmp::Reverse(input.files[*at].size_bytes));
    let mut groups = vec![(0_u64, Vec::new()); partitions];
    for at in order {
        let file = &input.files[at];
        if let Some(least) = groups.iter_mut().min_by_key(|(bytes, _)| *bytes) {
            least.0 += file.size_bytes.max(1);
            least.1.push(at);
        }
    }
    groups.into_iter().map(|(_, files)| files).collect()
}

/// Decodes a partition's files on a blocking thread, ahead of whoever reads.
fn read_rows(
    files: Vec<usize>,
    input: Arc<SourceInput>,
    storage: Storage,
    columns: Vec<usize>,
    schema: SchemaRef,
    limit: Option<usize>,
    batch_rows: usize,
) -> SendableRecordBatchStream {
    let mut builder = RecordBatchReceiverStreamBuilder::new(Arc::clone(&schema), BATCHES_AHEAD);
    let sender = builder.tx();
    builder.spawn_blocking(move || {
        let mut left = limit.unwrap_or(usize::MAX);
        for file in files {
            let schema = Arc::clone(&schema);
            let mut reader = FileRows::open(&input, &storage, file, &columns, schema, batch_rows)
                .map_err(to_datafusion)?;
            while left > 0 {
                let Some(batch) = reader.next().map_err(to_datafusion)? else { break };
                let batch = if batch.num_rows() > left { batch.slice(0, left) } else { batch };
                left -= batch.num_rows();
                if sender.blocking_send(Ok(batch)).is_err() {
                    // Nobody reads any more.
                    return Ok(());
                }
            }
        }
        Ok(())
    });
    builder.build()
}

impl DisplayAs for SourceScanExec {
    fn fmt_as(&self, t: DisplayFormatType, f: &mut Formatter<'_>) -> fmt::Result {
        let schema = self.properties.eq_properties.schema();
        let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        let bytes: u64 = self.input.files.iter().map(|file| file.size_bytes).sum();
        match t {
            DisplayFormatType::Default | DisplayFormatType::Verbose => {
                write!(
                    f,
                    "SourceScanExec: format={}, files={}, bytes={bytes}, projection=[{}]",
                    self.input.format.as_str(),
                    self.input.files.len(),
                    names.join(", ")
                )?;
                if let Some(predicate) = &self.predicate {
                    write!(f, ", predicate={predicate}")?;
                }
                if let Some(limit) = self.limit {
                    write!(f, ", limit={limit}")?;
                }
                Ok(())
            }
            DisplayFormatType::TreeRender => {
                writeln!(f, "format={}", self.input.format.as_str())?;
                writeln!(f, "files={}", self.input.files.len())
            }
        }
    }
}

impl ExecutionPlan for SourceScanExec {
    fn name(&self) -> &'static str {
        "SourceScanExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn replace_children(
        self: Arc<Self>,
        _children: Vec<Arc<dyn ExecutionPlan>>,
        _options: ReplaceChildrenOptions,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn with_new_children(
        self: Arc<Self>,
        _children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn reset_state(self: Arc<Self>) -> DfResult<Arc<dyn ExecutionPlan>> {
        Ok(Arc::new(self.rebuilt(self.predicate.clone(), self.limit)?))
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> DfResult<TreeNodeRecursion>,
    ) -> DfResult<TreeNodeRecursion> {
        match &self.predicate {
            Some(predicate) => f(predicate),
            None => Ok(TreeNodeRecursion::Continue),
        }
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> DfResult<SendableRecordBatchStream> {
        match &self.inner {
            Inner::Parquet(files) => {
                let batches = files.exec.execute(partition, context)?;
                let batches = guarded(batches, Arc::clone(&files.open), partition);
                Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), batches.boxed())))
            }
            Inner::Rows(groups) => {
                let files = groups.get(partition).cloned().unwrap_or_default();
                let batch_rows = context.session_config().batch_size();
                let batches = read_rows(
                    files,
                    Arc::clone(&self.input),
                    self.storage.clone(),
                    self.columns.clone(),
                    self.schema(),
                    self.limit,
                    batch_rows,
                );
                let metrics = BaselineMetrics::new(&self.metrics, partition);
                let counted = batches.inspect(move |batch| {
                    if let Ok(batch) = batch {
                        metrics.record_output(batch.num_rows());
                    }
                });
                Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), counted)))
            }
        }
    }

    fn metrics(&self) -> Option<MetricsSet> {
        match &self.inner {
            Inner::Parquet(files) => files.exec.metrics(),
            Inner::Rows(..) => Some(self.metrics.clone_inner()),
        }
    }

    fn statistics_from_inputs(
        &self,
        _inputs: &[Arc<Statistics>],
        args: &StatisticsArgs,
    ) -> DfResult<Arc<Statistics>> {
        let mut statistics = Statistics::new_unknown(&self.schema());
        if args.partition().is_some() {
            return Ok(Arc::new(statistics));
        }
        let rows = self.input.files.iter().try_fold(0_u64, |sum, file| Some(sum + file.rows?));
        // Files' rows are known, slices' are not.
        let rows = rows.filter(|_| self.input.slices.is_empty());
        if let Some(rows) = rows.and_then(|rows| usize::try_from(rows).ok()) {
            statistics.num_rows = Precision::Exact(rows);
        }
        let bytes: u64 = self.input.files.iter().map(|file| file.size_bytes).sum();
        statistics.total_byte_size = Precision::Inexact(usize::try_from(bytes).unwrap_or(usize::MAX));
        if self.predicate.is_some() || self.limit.is_some() {
            statistics = statistics.to_inexact();
        }
        Ok(Arc::new(statistics))
    }

    fn with_fetch(&self, limit: Option<usize>) -> Option<Arc<dyn ExecutionPlan>> {
        Some(Arc::new(self.rebuilt(self.predicate.clone(), limit).ok()?))
    }

    fn fetch(&self) -> Option<usize> {
        self.limit
    }

    fn handle_child_pushdown_result(
        &self,
        _phase: FilterPushdownPhase,
        result: ChildPushdownResult,
        _config: &ConfigOptions,
    ) -> DfResult<FilterPushdownPropagation<Arc<dyn ExecutionPlan>>> {
        let answers = vec![PushedDown::No; result.parent_filters.len()];
        let answer = FilterPushdownPropagation::with_parent_pushdown_result(answers);
        if result.parent_filters.is_empty() || matches!(self.inner, Inner::Rows(..)) {
            return Ok(answer);
        }
        let filters = result
            .parent_filters
            .into_iter()
            .map(|filter| self.over_input(filter.filter))
            .collect::<DfResult<Vec<_>>>()?;
        let predicate = conjunction(self.predicate.iter().cloned().chain(filters));
        Ok(answer.with_updated_node(Arc::new(self.rebuilt(Some(predicate), self.limit)?)))
    }
}
