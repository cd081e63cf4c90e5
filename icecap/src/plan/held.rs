//! Rows that a statement has read already and that stay in this process: a plan's bytes only name them.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use async_trait::async_trait;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Result as DfResult, Statistics};
use datafusion::datasource::{MemTable, TableType};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::Expr;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, ReplaceChildrenOptions, StatisticsArgs,
};

/// Where an executor that runs tasks in this process finds held rows. It keeps none alive: plans do.
#[derive(Clone, Default)]
pub struct Shelf(Arc<Mutex<Places>>);

#[derive(Default)]
struct Places {
    next: u64,
    rows: HashMap<u64, Weak<dyn ExecutionPlan>>,
}

impl fmt::Debug for Shelf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shelf").field("places", &self.places().rows.len()).finish()
    }
}

impl Shelf {
    fn places(&self) -> MutexGuard<'_, Places> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, rows: &Arc<dyn ExecutionPlan>) -> u64 {
        let mut places = self.places();
        places.rows.retain(|_, rows| rows.strong_count() > 0);
        let place = places.next;
        places.next += 1;
        places.rows.insert(place, Arc::downgrade(rows));
        place
    }

    /// The rows at a place, while a plan holds them.
    pub fn get(&self, place: u64) -> Option<Arc<dyn ExecutionPlan>> {
        self.places().rows.get(&place).and_then(Weak::upgrade)
    }
}

/// A table of rows in memory, for plans whose tasks run in this process.
#[derive(Debug)]
pub struct HeldRows {
    rows: MemTable,
    shelf: Shelf,
}

impl HeldRows {
    /// Rows for the executor that has `shelf`.
    pub fn new(rows: MemTable, shelf: Shelf) -> Self {
        Self { rows, shelf }
    }
}

#[async_trait]
impl TableProvider for HeldRows {
    fn schema(&self) -> SchemaRef {
        self.rows.schema()
    }

    fn table_type(&self) -> TableType {
        self.rows.table_type()
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        let rows = self.rows.scan(state, projection, filters, limit).await?;
        let place = self.shelf.put(&rows);
        Ok(Arc::new(HeldRowsExec { rows, place }))
    }
}

/// Gives held rows. It travels as their place on the shelf.
#[derive(Debug)]
pub struct HeldRowsExec {
    rows: Arc<dyn ExecutionPlan>,
    place: u64,
}

impl HeldRowsExec {
    /// Where the rows are on the shelf of the executor that they are for.
    pub fn place(&self) -> u64 {
        self.place
    }
}

impl DisplayAs for HeldRowsExec {
    fn fmt_as(&self, kind: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HeldRowsExec: ")?;
        self.rows.fmt_as(kind, f)
    }
}

impl ExecutionPlan for HeldRowsExec {
    fn name(&self) -> &'static str {
        "HeldRowsExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.rows.properties()
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

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> DfResult<TreeNodeRecursion>,
    ) -> DfResult<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> DfResult<SendableRecordBatchStream> {
        self.rows.execute(partition, context)
    }

    fn statistics_from_inputs(
        &self,
        inputs: &[Arc<Statistics>],
        args: &StatisticsArgs,
    ) -> DfResult<Arc<Statistics>> {
        self.rows.statistics_from_inputs(inputs, args)
    }
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::{Int64Array, RecordBatch};
    use datafusion::physical_plan::collect;
    use datafusion::prelude::SessionContext;
    use icecap_table::storage::Storage;

    use super::*;
    use crate::plan::IcecapCodec;
    use crate::plan::task::{WriteTask, encode_plan};

    fn rows() -> MemTable {
        let numbers: Arc<Int64Array> = Arc::new((0..1000).collect());
        let batch = RecordBatch::try_from_iter([("n", numbers as _)]).unwrap();
        MemTable::try_new(batch.schema(), vec![vec![batch]]).unwrap()
    }

    fn task(plan: Vec<u8>) -> WriteTask {
        let id = icecap_table::id::WriteId::new(uuid::Uuid::nil());
        let codec = IcecapCodec::new(Storage::local());
        let empty = datafusion::physical_plan::empty::EmptyExec::new(Arc::new(
            datafusion::arrow::datatypes::Schema::empty(),
        ));
        WriteTask { plan, ..WriteTask::single(id, 1, "n", Arc::new(empty), &codec).unwrap() }
    }

    #[tokio::test]
    async fn rows_are_found_by_whoever_has_the_shelf_while_a_plan_holds_them() {
        let shelf = Shelf::default();
        let context = SessionContext::new();
        let held = HeldRows::new(rows(), shelf.clone());
        let plan = held.scan(&context.state(), None, &[], None).await.unwrap();
        drop(held);
        let bytes = encode_plan(Arc::clone(&plan), &IcecapCodec::new(Storage::local())).unwrap();
        assert!(bytes.len() < 200, "{} bytes", bytes.len());

        let there = IcecapCodec::new(Storage::local()).with_shelf(shelf.clone());
        let elsewhere = IcecapCodec::new(Storage::local());
        let task = task(bytes);
        let found = task.plan(&context.task_ctx(), &there).unwrap();
        let batches = collect(found, context.task_ctx()).await.unwrap();
        assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), 1000);
        assert!(task.plan(&context.task_ctx(), &elsewhere).is_err());

        drop((batches, plan));
        assert!(task.plan(&context.task_ctx(), &there).is_err());
        let other = HeldRows::new(rows(), shelf.clone());
        let _other = other.scan(&context.state(), None, &[], None).await.unwrap();
        assert_eq!(shelf.places().rows.len(), 1);
    }
}
