//! [`ExchangeReadExec`]: the leaf of a plan that reads what the stage below it stored.

use std::fmt::{self, Formatter};
use std::sync::Arc;

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::Result as DfResult;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::metrics::{
    BaselineMetrics, ExecutionPlanMetricsSet, MetricBuilder, MetricsSet,
};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties};
use futures::StreamExt;
use icecap_table::Error;
use icecap_table::storage::Storage;

use super::message::ExchangeInput;
use super::read;
use crate::plan::to_datafusion;

/// The metric that counts bytes read from the store.
pub(crate) const BYTES_READ: &str = "exchange_bytes_read";
/// The metric that counts the requests for them.
pub(crate) const REQUESTS: &str = "exchange_requests";

/// Reads the rows of another stage. It is planned without them: which ranges a task reads is known only when the
/// stage below has ended, so they travel beside the plan, and are joined with it where it is decoded.
#[derive(Debug)]
pub struct ExchangeReadExec {
    stage: u32,
    input: Option<Arc<ExchangeInput>>,
    storage: Storage,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl ExchangeReadExec {
    /// A reader of what `stage` produced. Without `input` it can be shown and encoded, not executed.
    pub fn new(
        stage: u32,
        schema: SchemaRef,
        partitioning: Partitioning,
        input: Option<Arc<ExchangeInput>>,
        storage: Storage,
    ) -> Self {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema),
            partitioning,
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        Self { stage, input, storage, properties: Arc::new(properties), metrics: Default::default() }
    }

    /// The stage whose rows it reads.
    pub fn stage(&self) -> u32 {
        self.stage
    }

    /// What it reads, where that is known.
    pub fn input(&self) -> Option<&Arc<ExchangeInput>> {
        self.input.as_ref()
    }
}

impl DisplayAs for ExchangeReadExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut Formatter<'_>) -> fmt::Result {
        let partitioning = &self.properties.partitioning;
        write!(f, "ExchangeReadExec: stage={}, partitioning={partitioning}", self.stage)
    }
}

impl ExecutionPlan for ExchangeReadExec {
    fn name(&self) -> &'static str {
        "ExchangeReadExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn with_new_children(
        self: Arc<Self>,
        _: Vec<Arc<dyn ExecutionPlan>>,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> DfResult<TreeNodeRecursion>,
    ) -> DfResult<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn execute(&self, partition: usize, _: Arc<TaskContext>) -> DfResult<SendableRecordBatchStream> {
        let bug = |why: &str| to_datafusion(Error::bug(format!("stage {} {why}", self.stage)));
        let input = self.input.as_ref().ok_or_else(|| bug("is read, and its exchange is not in the task"))?;
        let number = u32::try_from(partition).map_err(|_| bug("has too many partitions"))?;
        let schema = self.schema();
        let rows = read::rows(input, number, Arc::clone(&schema), &self.storage);
        let metrics = BaselineMetrics::new(&self.metrics, partition);
        let bytes_read = MetricBuilder::new(&self.metrics).counter(BYTES_READ, partition);
        let requests = MetricBuilder::new(&self.metrics).counter(REQUESTS, partition);
        let rows = rows.map(move |item| {
            let (batch, taken) = item.map_err(to_datafusion)?;
            metrics.record_output(batch.num_rows());
            bytes_read.add(taken.bytes);
            requests.add(taken.requests);
            Ok(batch)
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, rows)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }
}
