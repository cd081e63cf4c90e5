//! [`IcebergDeltaExec`]: the plan node at the root of a stage that deletes, changes and inserts rows.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BooleanArray, RecordBatch, StringArray,
};
use datafusion::arrow::compute::{cast, filter_record_batch};
use datafusion::arrow::datatypes::{DataType, Int32Type, Int64Type, Schema, SchemaRef};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::{DataFusionError, Result as DataFusionResult};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, Partitioning, PlanProperties,
};
use futures::{StreamExt, stream};
use icecap_table::deletes::PositionSet;
use icecap_table::storage::Storage;
use icecap_table::{Error, ErrorKind, Result};

use super::exec::IcebergWriteExec;
use super::positions::{ActedRows, FilePositions, KIND_POSITIONS, KIND_ROWS};
use super::target::WriteTarget;
use crate::plan::to_datafusion;
use crate::sql::lower::{DELETE, INSERT, UPDATE};

/// The columns before a row's own: what is done, and where the row is.
const LEADING: usize = 3;

/// What [`matched_twice`] says.
const MATCHED_TWICE: &str = "a row of the target is matched by more than one row of the source, and can be changed or deleted once only";

/// The error of a row that two rows of the source would change.
pub(super) fn matched_twice(data_file: &str, position: u64) -> Error {
    Error::invalid(MATCHED_TWICE).with("file", data_file.to_owned()).with("position", position.to_string())
}

/// The data file and position of the row that an error of two matches is about.
pub(crate) fn is_matched_twice(error: &Error) -> Option<(String, u64)> {
    let of = |wanted: &str| error.context().iter().find(|(key, _)| key == wanted).map(|(_, value)| value);
    if error.kind() != ErrorKind::Invalid || error.message() != MATCHED_TWICE {
        return None;
    }
    Some((of("file")?.to_string(), of("position")?.parse().ok()?))
}

/// Takes the rows of a lowered statement ([`DeltaColumns`](crate::sql::lower::DeltaColumns)) apart: gathers the
/// positions of the rows that go, and writes the rows that come as [`IcebergWriteExec`] does.
///
/// Gives rows `(kind, payload)`: `data` with a staged file, `positions` with a [`FilePositions`], one for each data
/// file, and `rows` with [`ActedRows`]. Positions and counts come from the partition that ends last. A position that
/// comes twice is an error. In memory are, beside the writers' rows, compressed bitmaps of the positions.
pub struct IcebergDeltaExec {
    input: Arc<dyn ExecutionPlan>,
    target: WriteTarget,
    storage: Storage,
    matched: Arc<Matched>,
    /// What rows go through.
    routed: Arc<RouteExec>,
    writer: Option<Arc<IcebergWriteExec>>,
    properties: Arc<PlanProperties>,
}

impl fmt::Debug for IcebergDeltaExec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IcebergDeltaExec").field("input", &self.input).finish_non_exhaustive()
    }
}

/// What all partitions found.
#[derive(Debug)]
struct Matched(Mutex<Found>);

#[derive(Debug)]
struct Found {
    files: HashMap<String, PositionSet>,
    acted: ActedRows,
    /// Partitions that have not ended.
    running: usize,
}

impl IcebergDeltaExec {
    /// A node over `input`, whose columns are those of a lowered statement; `rows` says whether the table's are among
    /// them.
    ///
    /// # Errors
    /// As [`IcebergWriteExec::new`].
    pub fn new(
        input: Arc<dyn ExecutionPlan>,
        target: WriteTarget,
        rows: bool,
        storage: Storage,
    ) -> Result<Self> {
        let partitions = input.output_partitioning().partition_count();
        let found = Found { files: HashMap::new(), acted: ActedRows::default(), running: partitions };
        let matched = Arc::new(Matched(Mutex::new(found)));
        let routed = Arc::new(RouteExec::new(Arc::clone(&input), Arc::clone(&matched))?);
        let writer = match rows {
            true => {
                let rows: Arc<dyn ExecutionPlan> = Arc::clone(&routed) as _;
                Some(Arc::new(IcebergWriteExec::new(rows, target.clone(), storage.clone())?))
            }
            false => None,
        };
        let properties = PlanProperties::new(
            EquivalenceProperties::new(IcebergWriteExec::output_schema()),
            Partitioning::UnknownPartitioning(partitions),
            EmissionType::Final,
            Boundedness::Bounded,
        );
        Ok(Self { input, target, storage, matched, routed, writer, properties: Arc::new(properties) })
    }

    /// The table and the task.
    pub fn target(&self) -> &WriteTarget {
        &self.target
    }

    /// The plan whose rows are taken apart.
    pub fn input(&self) -> &Arc<dyn ExecutionPlan> {
        &self.input
    }

    /// Whether rows come.
    pub fn has_rows(&self) -> bool {
        self.writer.is_some()
    }

    /// What writes them.
    pub fn writer(&self) -> Option<&Arc<IcebergWriteExec>> {
        self.writer.as_ref()
    }
}

impl Matched {
    fn found(&self) -> std::sync::MutexGuard<'_, Found> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in what a batch of a lowered statement says.
    fn take(&self, actions: &[i32], files: &StringArray, positions: &[i64]) -> Result<()> {
        let mut found = self.found();
        let mut at = 0;
        while at < actions.len() {
            match actions[at] {
                INSERT => found.acted.inserted += 1,
                UPDATE => found.acted.updated += 1,
                DELETE => found.acted.deleted += 1,
                other => return Err(Error::bug(format!("a statement's row has action {other}"))),
            }
            if actions[at] == INSERT {
                at += 1;
                continue;
            }
            if files.is_null(at) {
                return Err(Error::bug("a row to be changed has no place"));
            }
            let file = files.value(at);
            if !found.files.contains_key(file) {
                found.files.insert(file.to_owned(), PositionSet::new());
            }
            let Found { files: known, acted, .. } = &mut *found;
            let Some(set) = known.get_mut(file) else { continue };
            // Neighbours are of one file mostly.
            let first = at;
            while at < actions.len() && (at == first || is_same(files, file, actions, at)) {
                let position = u64::try_from(positions[at])
                    .map_err(|_| Error::bug("a row to be changed has a negative position"))?;
                #[cfg(feature = "testing")]
                let position =
                    if icecap_table::testing::is_planted(icecap_table::testing::Mutation::PositionOffByOne) {
                        position + 1
                    } else {
                        position
                    };
                let is_new = set.insert(position);
                #[cfg(feature = "testing")]
                let is_new = is_new
                    || icecap_table::testing::is_planted(icecap_table::testing::Mutation::NoCardinalityCheck);
                if !is_new {
                    return Err(matched_twice(file, position));
                }
                if at > first {
                    match actions[at] {
                        UPDATE => acted.updated += 1,
                        _ => acted.deleted += 1,
                    }
                }
                at += 1;
            }
        }
        Ok(())
    }

    /// Ends a partition; after the last one, what all found.
    fn end(&self) -> DataFusionResult<Option<RecordBatch>> {
        let mut found = self.found();
        found.running = found.running.saturating_sub(1);
        if found.running > 0 {
            return Ok(None);
        }
        let mut files: Vec<(String, PositionSet)> = std::mem::take(&mut found.files).into_iter().collect();
        files.sort_by(|a, b| a.0.cmp(&b.0));
        #[cfg(feature = "testing")]
        if icecap_table::testing::is_planted(icecap_table::testing::Mutation::WrongFile)
            && let [(_, first), .., (_, last)] = files.as_mut_slice()
        {
            std::mem::swap(first, last);
        }
        let mut kinds = vec![KIND_POSITIONS; files.len()];
        kinds.push(KIND_ROWS);
        let payloads = files
            .iter()
            .map(|(file, positions)| FilePositions::new(file.as_str(), positions).encode())
            .chain([found.acted.encode()]);
        let payloads: BinaryArray = payloads.map(Some).collect();
        let columns: Vec<ArrayRef> = vec![Arc::new(StringArray::from(kinds)), Arc::new(payloads)];
        Ok(Some(RecordBatch::try_new(IcebergWriteExec::output_schema(), columns)?))
    }
}

fn is_same(files: &StringArray, file: &str, actions: &[i32], at: usize) -> bool {
    matches!(actions[at], UPDATE | DELETE) && !files.is_null(at) && files.value(at) == file
}

impl DisplayAs for IcebergDeltaExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IcebergDeltaExec: ")?;
        match &self.writer {
            Some(_) => write!(f, "rows to data={}", self.target.data_location),
            None => write!(f, "positions only"),
        }
    }
}

impl ExecutionPlan for IcebergDeltaExec {
    fn name(&self) -> &'static str {
        "IcebergDeltaExec"
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
            (Some(input), true) => {
                let new = Self::new(input, self.target.clone(), self.has_rows(), self.storage.clone());
                Ok(Arc::new(new.map_err(to_datafusion)?))
            }
            _ => Err(DataFusionError::Internal("IcebergDeltaExec has exactly one input".to_owned())),
        }
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> DataFusionResult<SendableRecordBatchStream> {
        let rows = match &self.writer {
            Some(writer) => writer.execute(partition, context)?,
            None => {
                // Rows without columns are for nobody.
                let rows = self.routed.execute(partition, context)?;
                let rows = rows.filter_map(|batch| std::future::ready(batch.err().map(Err)));
                Box::pin(RecordBatchStreamAdapter::new(IcebergWriteExec::output_schema(), rows))
            }
        };
        let matched = Arc::clone(&self.matched);
        let rows = stream::unfold(Some((rows, false)), move |state| {
            let matched = Arc::clone(&matched);
            async move {
                let (mut rows, failed) = state?;
                match rows.next().await {
                    Some(batch) => {
                        let failed = failed || batch.is_err();
                        Some((batch, Some((rows, failed))))
                    }
                    None if failed => None,
                    None => matched.end().transpose().map(|batch| (batch, None)),
                }
            }
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(IcebergWriteExec::output_schema(), rows)))
    }
}

/// Gives the rows that come, without what is done and where, and tells [`Matched`] of all.
struct RouteExec {
    input: Arc<dyn ExecutionPlan>,
    matched: Arc<Matched>,
    properties: Arc<PlanProperties>,
}

impl fmt::Debug for RouteExec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RouteExec").field("input", &self.input).finish_non_exhaustive()
    }
}

impl RouteExec {
    fn new(input: Arc<dyn ExecutionPlan>, matched: Arc<Matched>) -> Result<Self> {
        let fields = input.schema().fields().iter().skip(LEADING).cloned().collect::<Vec<_>>();
        if input.schema().fields().len() < LEADING {
            return Err(Error::bug("a statement's rows lack their place"));
        }
        let properties = PlanProperties::new(
            EquivalenceProperties::new(Arc::new(Schema::new(fields))),
            Partitioning::UnknownPartitioning(input.output_partitioning().partition_count()),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        Ok(Self { input, matched, properties: Arc::new(properties) })
    }
}

/// The rows of a batch that come, after the others were told of.
fn route(batch: &RecordBatch, matched: &Matched, schema: &SchemaRef) -> DataFusionResult<RecordBatch> {
    let whole = |column: usize, name: &str| match batch.column(column).null_count() {
        0 => Ok(()),
        _ => Err(to_datafusion(Error::bug(format!("a statement's row has no {name}")))),
    };
    whole(0, "action")?;
    let actions = batch.column(0).as_primitive_opt::<Int32Type>();
    let positions = batch.column(2).as_primitive_opt::<Int64Type>();
    let (Some(actions), Some(positions)) = (actions, positions) else {
        return Err(to_datafusion(Error::bug("a statement's rows have other columns than expected")));
    };
    let files = cast(batch.column(1), &DataType::Utf8)?;
    matched.take(actions.values(), files.as_string::<i32>(), positions.values()).map_err(to_datafusion)?;
    let indices: Vec<usize> = (LEADING..batch.num_columns()).collect();
    let rows = batch.project(&indices)?;
    let coming: BooleanArray = actions.values().iter().map(|action| Some(*action != DELETE)).collect();
    let rows = if coming.true_count() == coming.len() { rows } else { filter_record_batch(&rows, &coming)? };
    let options = datafusion::arrow::array::RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
    Ok(RecordBatch::try_new_with_options(Arc::clone(schema), rows.columns().to_vec(), &options)?)
}

impl DisplayAs for RouteExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RouteExec")
    }
}

impl ExecutionPlan for RouteExec {
    fn name(&self) -> &'static str {
        "RouteExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
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
            (Some(input), true) => {
                let new = Self::new(input, Arc::clone(&self.matched));
                Ok(Arc::new(new.map_err(to_datafusion)?))
            }
            _ => Err(DataFusionError::Internal("RouteExec has exactly one input".to_owned())),
        }
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> DataFusionResult<SendableRecordBatchStream> {
        let rows = self.input.execute(partition, context)?;
        let (matched, schema) = (Arc::clone(&self.matched), self.schema());
        let routed = {
            let schema = Arc::clone(&schema);
            rows.map(move |batch| route(&batch?, &matched, &schema))
        };
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, routed)))
    }
}
