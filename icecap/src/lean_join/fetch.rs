//! [`FetchExec`]: above a join, gives rows back what [`HoldExec`](super::hold::HoldExec) held.

use std::fmt;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, RecordBatch, UInt64Array, new_null_array};
use datafusion::arrow::compute::interleave;
use datafusion::arrow::datatypes::{SchemaRef, UInt64Type};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::{DataFusionError, Result as DfResult};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};
use futures::StreamExt;

use super::hold::{Held, batch_and_row};

/// Where a column of the rows that come out is from.
#[derive(Debug, Clone, Copy)]
pub(super) enum Origin {
    /// That column of the input.
    Through(usize),
    /// That column of what is held.
    Held(usize),
}

/// Puts the rows of a join together again. The input's last column is the place of the row of the build side; rows
/// without one have NULL in what is held.
#[derive(Debug)]
pub(super) struct FetchExec {
    input: Arc<dyn ExecutionPlan>,
    origins: Arc<[Origin]>,
    rows: Arc<Held>,
    properties: Arc<PlanProperties>,
}

impl FetchExec {
    /// `properties` are those of the join that nothing was held back of.
    pub(super) fn new(
        input: Arc<dyn ExecutionPlan>,
        origins: Vec<Origin>,
        rows: Arc<Held>,
        properties: Arc<PlanProperties>,
    ) -> Self {
        Self { input, origins: origins.into(), rows, properties }
    }
}

/// One partition's work: the batches known so far, each column's after an array with a NULL.
struct Fetch {
    origins: Arc<[Origin]>,
    rows: Arc<Held>,
    schema: SchemaRef,
    /// By column of what is held.
    known: Vec<Vec<ArrayRef>>,
    batches: usize,
}

impl Fetch {
    fn new(origins: Arc<[Origin]>, rows: Arc<Held>, schema: SchemaRef) -> Self {
        let held = origins.iter().zip(schema.fields()).filter_map(|(origin, field)| match origin {
            Origin::Held(column) => Some((*column, new_null_array(field.data_type(), 1))),
            Origin::Through(_) => None,
        });
        let mut known = Vec::new();
        for (column, null) in held {
            known.resize_with(known.len().max(column + 1), Vec::new);
            known[column] = vec![null];
        }
        Self { origins, rows, schema, known, batches: 0 }
    }

    /// The rows' places among the known arrays.
    fn indices(&mut self, places: &UInt64Array) -> Vec<(usize, usize)> {
        let mut most = 0;
        let indices = places
            .iter()
            .map(|place| match place.map(batch_and_row) {
                Some((batch, row)) => {
                    most = most.max(batch + 1);
                    (batch + 1, row)
                }
                None => (0, 0),
            })
            .collect();
        if most > self.batches {
            for batch in self.rows.batches().iter().skip(self.batches) {
                self.batches += 1;
                self.known
                    .iter_mut()
                    .zip(batch.iter())
                    .for_each(|(known, array)| known.push(Arc::clone(array)));
            }
        }
        indices
    }

    fn fetch(&mut self, batch: &RecordBatch) -> DfResult<RecordBatch> {
        let missing = || DataFusionError::Internal("the rows of a join lack what was held".to_owned());
        let places = batch.columns().last().and_then(|places| places.as_primitive_opt::<UInt64Type>());
        let indices = self.indices(places.ok_or_else(missing)?);
        if indices.iter().any(|(batch, _)| *batch > self.batches) {
            return Err(missing());
        }
        let columns = self.origins.iter().map(|origin| match origin {
            Origin::Through(column) => Ok(Arc::clone(batch.column(*column))),
            Origin::Held(column) => {
                let known = self.known.get(*column).ok_or_else(missing)?;
                let known: Vec<&dyn Array> = known.iter().map(AsRef::as_ref).collect();
                Ok(interleave(&known, &indices)?)
            }
        });
        let columns = columns.collect::<DfResult<Vec<_>>>()?;
        Ok(RecordBatch::try_new(Arc::clone(&self.schema), columns)?)
    }
}

impl DisplayAs for FetchExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let schema = self.schema();
        let held = self.origins.iter().zip(schema.fields());
        let held = held.filter(|(origin, _)| matches!(origin, Origin::Held(_)));
        let names: Vec<&str> = held.map(|(_, field)| field.name().as_str()).collect();
        write!(f, "FetchExec: [{}]", names.join(", "))
    }
}

impl ExecutionPlan for FetchExec {
    fn name(&self) -> &'static str {
        "FetchExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> DfResult<TreeNodeRecursion>,
    ) -> DfResult<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        match (children.pop(), children.is_empty()) {
            (Some(input), true) => {
                let (rows, properties) = (Arc::clone(&self.rows), Arc::clone(&self.properties));
                Ok(Arc::new(Self::new(input, self.origins.to_vec(), rows, properties)))
            }
            _ => Err(DataFusionError::Internal("FetchExec has exactly one input".to_owned())),
        }
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> DfResult<SendableRecordBatchStream> {
        let rows = self.input.execute(partition, context)?;
        let schema = self.schema();
        let mut fetch = Fetch::new(Arc::clone(&self.origins), Arc::clone(&self.rows), Arc::clone(&schema));
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, rows.map(move |batch| fetch.fetch(&batch?)))))
    }
}
