//! [`HoldExec`]: below a join, keeps the columns that it does not compare.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use datafusion::arrow::array::{Array, ArrayRef, RecordBatch, UInt64Array};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::utils::memory::RecordBatchMemoryCounter;
use datafusion::error::{DataFusionError, Result as DfResult};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryPool, MemoryReservation};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties};
use futures::StreamExt;

/// The column with a row's place.
const PLACE: &str = "#place";

/// The columns of the rows that are held, batch by batch, counted in the engine's memory pool.
#[derive(Debug, Default)]
pub(super) struct Held(Mutex<Rows>);

#[derive(Debug, Default)]
struct Rows {
    batches: Vec<Arc<[ArrayRef]>>,
    reservation: Option<MemoryReservation>,
    /// Of buffers that several batches may share, those that are counted. All of them are held.
    shared: RecordBatchMemoryCounter,
}

impl Rows {
    /// What holding a batch takes beyond what is held already.
    fn bytes_of(&mut self, batch: &RecordBatch) -> DfResult<usize> {
        let (flat, shared): (Vec<usize>, Vec<usize>) =
            (0..batch.num_columns()).partition(|column| is_flat(batch.column(*column).data_type()));
        let own =
            flat.iter().map(|column| batch.column(*column).to_data().get_slice_memory_size().unwrap_or(0));
        Ok(own.sum::<usize>() + self.shared.count_batch(&batch.project(&shared)?))
    }
}

/// Whether a slice of an array of this type tells what it takes of the array's buffers. Views do not tell of their
/// texts, and slices of lists count all elements of the whole.
fn is_flat(data_type: &DataType) -> bool {
    data_type.is_primitive()
        || matches!(
            data_type,
            DataType::Boolean
                | DataType::Utf8
                | DataType::LargeUtf8
                | DataType::Binary
                | DataType::LargeBinary
                | DataType::FixedSizeBinary(_)
        )
}

impl Held {
    fn rows(&self) -> std::sync::MutexGuard<'_, Rows> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Holds a batch's columns; gives its number.
    pub(super) fn push(&self, held: &RecordBatch, pool: &Arc<dyn MemoryPool>) -> DfResult<u32> {
        let mut rows = self.rows();
        let bytes = rows.bytes_of(held)?;
        rows.reservation
            .get_or_insert_with(|| MemoryConsumer::new("HeldRows").register(pool))
            .try_grow(bytes)?;
        let number = u32::try_from(rows.batches.len());
        let number = number.map_err(|_| DataFusionError::Internal("too many batches to hold".to_owned()))?;
        rows.batches.push(held.columns().into());
        Ok(number)
    }

    /// All batches so far.
    pub(super) fn batches(&self) -> Vec<Arc<[ArrayRef]>> {
        self.rows().batches.clone()
    }
}

/// A row's place: the number of its batch, and its own in it.
pub(super) fn place(batch: u32, row: u32) -> u64 {
    u64::from(batch) << 32 | u64::from(row)
}

/// The batch and row of a place.
pub(super) fn batch_and_row(place: u64) -> (usize, usize) {
    ((place >> 32) as usize, (place & u64::from(u32::MAX)) as usize)
}

/// Gives some columns of its input and the place of each row; holds others in [`Held`].
#[derive(Debug)]
pub(super) struct HoldExec {
    input: Arc<dyn ExecutionPlan>,
    given: Vec<usize>,
    held: Vec<usize>,
    rows: Arc<Held>,
    properties: Arc<PlanProperties>,
}

impl HoldExec {
    /// `partitioning` is the input's, over the columns that are given.
    ///
    /// # Errors
    /// When the input has no such columns.
    pub(super) fn new(
        input: Arc<dyn ExecutionPlan>,
        given: &[usize],
        held: &[usize],
        rows: Arc<Held>,
        partitioning: Partitioning,
    ) -> DfResult<Self> {
        let mut fields = input.schema().project(given)?.fields().to_vec();
        fields.push(Arc::new(Field::new(PLACE, DataType::UInt64, false)));
        let inner = input.properties();
        let properties = PlanProperties::new(
            EquivalenceProperties::new(Arc::new(Schema::new(fields))),
            partitioning,
            inner.emission_type,
            inner.boundedness,
        )
        .with_scheduling_type(inner.scheduling_type);
        let properties = Arc::new(properties);
        Ok(Self { input, given: given.to_vec(), held: held.to_vec(), rows, properties })
    }
}

fn split(
    batch: &RecordBatch,
    given: &[usize],
    held: &[usize],
    rows: &Held,
    pool: &Arc<dyn MemoryPool>,
    schema: &SchemaRef,
) -> DfResult<RecordBatch> {
    let number = rows.push(&batch.project(held)?, pool)?;
    let count = u32::try_from(batch.num_rows());
    let count =
        count.map_err(|_| DataFusionError::Internal("a batch has too many rows to hold".to_owned()))?;
    let mut columns = batch.project(given)?.columns().to_vec();
    columns.push(Arc::new(UInt64Array::from_iter_values((0..count).map(|row| place(number, row)))));
    Ok(RecordBatch::try_new(Arc::clone(schema), columns)?)
}

impl DisplayAs for HoldExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let schema = self.input.schema();
        let names: Vec<&str> = self.held.iter().map(|at| schema.field(*at).name().as_str()).collect();
        write!(f, "HoldExec: [{}]", names.join(", "))
    }
}

impl ExecutionPlan for HoldExec {
    fn name(&self) -> &'static str {
        "HoldExec"
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
                let (rows, partitioning) = (Arc::clone(&self.rows), self.properties.partitioning.clone());
                Ok(Arc::new(Self::new(input, &self.given, &self.held, rows, partitioning)?))
            }
            _ => Err(DataFusionError::Internal("HoldExec has exactly one input".to_owned())),
        }
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> DfResult<SendableRecordBatchStream> {
        let pool = Arc::clone(context.memory_pool());
        let input = self.input.execute(partition, context)?;
        let (given, held, rows) = (self.given.clone(), self.held.clone(), Arc::clone(&self.rows));
        let schema = self.schema();
        let rows = {
            let schema = Arc::clone(&schema);
            input.map(move |batch| split(&batch?, &given, &held, &rows, &pool, &schema))
        };
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, rows)))
    }
}
