//! [`IcecapScanExec`]: the leaf of every plan that reads an Iceberg table.
//!
//! It is the unit that travels: files, slices, columns and predicate. What runs inside it (DataFusion's
//! Parquet source, see [`super::parquet`]) is built where it runs.

use std::fmt::{self, Formatter};
use std::sync::Arc;

use datafusion::arrow::datatypes::{Schema as ArrowSchema, SchemaRef};
use datafusion::common::config::ConfigOptions;
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
use datafusion::physical_plan::metrics::MetricsSet;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::statistics::StatisticsArgs;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties};
use icecap_table::storage::Storage;
use icecap_table::{Error, Result};

use super::hidden::HiddenColumn;
use super::late;
use super::message::{DataFile, ScanInput};
use super::parquet::ParquetScan;
use super::split::deal;
use crate::arrow_schema::arrow_schema;
use crate::plan::error::to_datafusion;

/// The columns that a scan can give: the table's, then the hidden ones in the order of
/// [`HIDDEN_COLUMNS`](crate::sql::HIDDEN_COLUMNS).
///
/// # Errors
/// `Unsupported` for a type without an Arrow counterpart.
pub fn full_schema(input: &ScanInput) -> Result<SchemaRef> {
    let table = arrow_schema(&input.schema)?;
    let mut fields: Vec<_> = table.fields().iter().cloned().collect();
    for hidden in HiddenColumn::ALL {
        fields.push(Arc::new(hidden.field(&input.partition_type)?));
    }
    Ok(Arc::new(ArrowSchema::new(fields)))
}

/// Reads slices of an Iceberg table's data files.
#[derive(Debug, Clone)]
pub struct IcecapScanExec {
    input: Arc<ScanInput>,
    storage: Storage,
    /// All columns that there are.
    full: SchemaRef,
    /// The columns given, as indices into `full`.
    columns: Vec<usize>,
    /// What rows are wanted, over `full`: prunes row groups and pages, filters nothing.
    predicate: Option<Arc<dyn PhysicalExpr>>,
    /// Whether rows are chosen by the predicate before the other columns are decoded.
    late: bool,
    limit: Option<usize>,
    partitions: usize,
    /// Of `full`, before predicate and limit.
    statistics: Option<Arc<Statistics>>,
    properties: Arc<PlanProperties>,
    inner: ParquetScan,
}

impl IcecapScanExec {
    /// A scan of `columns` (indices into [`full_schema`]) in `partitions` partitions.
    ///
    /// # Errors
    /// `Unsupported` for storage or types that are not; `Bug` for a column that is not there.
    pub fn try_new(
        input: Arc<ScanInput>,
        storage: Storage,
        columns: Vec<usize>,
        partitions: usize,
    ) -> Result<Self> {
        let full = full_schema(&input)?;
        Self::build(input, storage, full, columns, (None, false), None, partitions.max(1), None)
    }

    #[expect(clippy::too_many_arguments, reason = "the one place where a node is put together")]
    fn build(
        input: Arc<ScanInput>,
        storage: Storage,
        full: SchemaRef,
        columns: Vec<usize>,
        (predicate, late): (Option<Arc<dyn PhysicalExpr>>, bool),
        limit: Option<usize>,
        partitions: usize,
        statistics: Option<Arc<Statistics>>,
    ) -> Result<Self> {
        if columns.iter().any(|at| *at >= full.fields().len()) {
            return Err(Error::bug("a scan of a column that is not there"));
        }
        let schema = Arc::new(
            full.project(&columns).map_err(|error| Error::bug("a scan's columns").with_source(error))?,
        );
        let filter = predicate.as_ref().map(|predicate| (predicate, late));
        let inner = ParquetScan::try_new(&input, &storage, &schema, &columns, filter, limit, partitions)?;
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema),
            Partitioning::UnknownPartitioning(partitions),
            EmissionType::Incremental,
            Boundedness::Bounded,
        )
        .with_scheduling_type(SchedulingType::Cooperative);
        let properties = Arc::new(properties);
        Ok(Self {
            input,
            storage,
            full,
            columns,
            predicate,
            late,
            limit,
            partitions,
            statistics,
            properties,
            inner,
        })
    }

    fn rebuilt(
        &self,
        columns: Vec<usize>,
        predicate: Option<Arc<dyn PhysicalExpr>>,
        late: bool,
        limit: Option<usize>,
    ) -> DfResult<Self> {
        Self::build(
            Arc::clone(&self.input),
            self.storage.clone(),
            Arc::clone(&self.full),
            columns,
            (predicate, late),
            limit,
            self.partitions,
            self.statistics.clone(),
        )
        .map_err(to_datafusion)
    }

    /// The same scan, which stops early once each partition gave `limit` rows.
    ///
    /// # Errors
    /// As [`try_new`](Self::try_new).
    pub fn with_limit(&self, limit: Option<usize>) -> Result<Self> {
        self.rebuilt(self.columns.clone(), self.predicate.clone(), self.late, limit)
            .map_err(crate::plan::error::from_datafusion)
    }

    /// The same scan with a predicate over [`full_schema`], for pruning; where `late`, rows are also chosen by it
    /// before the other columns are decoded.
    ///
    /// # Errors
    /// As [`try_new`](Self::try_new).
    pub fn with_predicate(&self, predicate: Option<Arc<dyn PhysicalExpr>>, late: bool) -> Result<Self> {
        self.rebuilt(self.columns.clone(), predicate, late, self.limit)
            .map_err(crate::plan::error::from_datafusion)
    }

    /// The same scan with statistics over [`full_schema`] of all that its files hold.
    #[must_use]
    pub fn with_statistics(mut self, statistics: Statistics) -> Self {
        self.statistics = Some(Arc::new(statistics));
        self
    }

    /// The same scan of one of `parts` parts: every slice is in exactly one of them, and a part holds only the
    /// files that its slices are of. It has as many partitions.
    ///
    /// # Errors
    /// `Bug` when there is no such part.
    pub fn part(&self, part: usize, parts: usize) -> Result<Self> {
        let own = deal(&self.input.slices, &self.input.files, parts).into_iter().nth(part);
        let own = own.ok_or_else(|| Error::bug("a part of a scan that is not there"))?;
        let input = self.input.part(own);
        Self::build(
            Arc::new(input),
            self.storage.clone(),
            Arc::clone(&self.full),
            self.columns.clone(),
            (self.predicate.clone(), self.late),
            self.limit,
            self.partitions,
            None,
        )
    }

    /// What it reads.
    pub fn input(&self) -> &Arc<ScanInput> {
        &self.input
    }

    /// The columns given, as indices into [`full_schema`].
    pub fn columns(&self) -> &[usize] {
        &self.columns
    }

    /// The predicate, over [`full_schema`].
    pub fn predicate(&self) -> Option<&Arc<dyn PhysicalExpr>> {
        self.predicate.as_ref()
    }

    /// Whether rows are chosen by the predicate before the other columns are decoded.
    pub fn is_late(&self) -> bool {
        self.late
    }

    /// The number of partitions.
    pub fn partition_count(&self) -> usize {
        self.partitions
    }

    /// Rewrites an expression over the output to one over [`full_schema`].
    fn over_full(&self, expr: Arc<dyn PhysicalExpr>) -> DfResult<Arc<dyn PhysicalExpr>> {
        expr.transform(|expr| match expr.downcast_ref::<Column>() {
            Some(column) => {
                let at = *self.columns.get(column.index()).ok_or_else(|| {
                    DataFusionError::Internal(format!("a filter on a column that is not scanned: {column}"))
                })?;
                Ok(Transformed::yes(Arc::new(Column::new(self.full.field(at).name(), at)) as _))
            }
            None => Ok(Transformed::no(expr)),
        })
        .data()
    }

    fn bytes(&self) -> u64 {
        self.input.files.iter().map(|file| file.file_size_bytes).sum()
    }
}

impl DisplayAs for IcecapScanExec {
    fn fmt_as(&self, t: DisplayFormatType, f: &mut Formatter<'_>) -> fmt::Result {
        let schema = self.properties.eq_properties.schema();
        let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        match t {
            DisplayFormatType::Default | DisplayFormatType::Verbose => {
                write!(
                    f,
                    "IcecapScanExec: table={}, files={}, slices={}, bytes={}, projection=[{}]",
                    self.input.table,
                    self.input.files.len(),
                    self.input.slices.len(),
                    self.bytes(),
                    names.join(", ")
                )?;
                if self.input.files.iter().any(DataFile::has_deletes) {
                    write!(f, ", deletes={}", self.input.deletes.len())?;
                }
                if let Some(predicate) = &self.predicate {
                    write!(f, ", predicate={predicate}")?;
                }
                if self.late {
                    write!(f, ", late")?;
                }
                if let Some(limit) = self.limit {
                    write!(f, ", limit={limit}")?;
                }
                Ok(())
            }
            DisplayFormatType::TreeRender => {
                writeln!(f, "table={}", self.input.table)?;
                writeln!(f, "files={}", self.input.files.len())
            }
        }
    }
}

impl ExecutionPlan for IcecapScanExec {
    fn name(&self) -> &'static str {
        "IcecapScanExec"
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
        Ok(Arc::new(self.rebuilt(self.columns.clone(), self.predicate.clone(), self.late, self.limit)?))
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
        self.inner.execute(partition, &context)
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.inner.metrics())
    }

    fn statistics_from_inputs(
        &self,
        _inputs: &[Arc<Statistics>],
        args: &StatisticsArgs,
    ) -> DfResult<Arc<Statistics>> {
        // Partitions take slices from one another, so what one of them will read is not known.
        let Some(statistics) = self.statistics.as_ref().filter(|_| args.partition().is_none()) else {
            return Ok(Arc::new(Statistics::new_unknown(&self.schema())));
        };
        let mut statistics = statistics.as_ref().clone().project(Some(&self.columns));
        if self.limit.is_some() {
            statistics = statistics.with_fetch(self.limit, 0, self.partitions)?;
        }
        if self.predicate.is_some() || self.limit.is_some() {
            statistics = statistics.to_inexact();
        }
        Ok(Arc::new(statistics))
    }

    fn with_fetch(&self, limit: Option<usize>) -> Option<Arc<dyn ExecutionPlan>> {
        let scan = self.rebuilt(self.columns.clone(), self.predicate.clone(), self.late, limit).ok()?;
        Some(Arc::new(scan))
    }

    fn fetch(&self) -> Option<usize> {
        self.limit
    }

    /// Takes in a projection that only picks columns.
    fn try_swapping_with_projection(
        &self,
        projection: &ProjectionExec,
    ) -> DfResult<Option<Arc<dyn ExecutionPlan>>> {
        let mut columns = Vec::with_capacity(projection.expr().len());
        for picked in projection.expr() {
            let Some(column) = picked.expr.downcast_ref::<Column>() else { return Ok(None) };
            let Some(at) = self.columns.get(column.index()).copied() else { return Ok(None) };
            if picked.alias != *self.full.field(at).name() || columns.contains(&at) {
                return Ok(None);
            }
            columns.push(at);
        }
        Ok(Some(Arc::new(self.rebuilt(columns, self.predicate.clone(), self.late, self.limit)?)))
    }

    /// Keeps every filter for pruning, and answers that none is applied: the rows that remain are exact
    /// only above.
    fn handle_child_pushdown_result(
        &self,
        _phase: FilterPushdownPhase,
        result: ChildPushdownResult,
        _config: &ConfigOptions,
    ) -> DfResult<FilterPushdownPropagation<Arc<dyn ExecutionPlan>>> {
        let answers = vec![PushedDown::No; result.parent_filters.len()];
        let answer = FilterPushdownPropagation::with_parent_pushdown_result(answers);
        if result.parent_filters.is_empty() {
            return Ok(answer);
        }
        let filters = result
            .parent_filters
            .into_iter()
            .map(|filter| self.over_full(filter.filter))
            .collect::<DfResult<Vec<_>>>()?;
        let predicate = conjunction(self.predicate.iter().cloned().chain(filters));
        let late = self
            .statistics
            .as_ref()
            .is_some_and(|known| late::pays(&predicate, known, &self.full, &self.columns));
        let scan = self.rebuilt(self.columns.clone(), Some(predicate), late, self.limit)?;
        Ok(answer.with_updated_node(Arc::new(scan)))
    }
}
