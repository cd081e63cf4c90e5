//! Cuts a physical plan into stages.
//!
//! Where to cut, what to broadcast, and how many tasks a stage gets is `datafusion-distributed`'s decision: its
//! planner is run over the finished plan, and its network boundaries become [`ExchangeReadExec`]s. Nothing else of
//! it is used (its workers hold plans and results in memory while others pull them; ours may be gone by then).

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::common::Result as DfResult;
use datafusion::execution::context::QueryPlanner;
use datafusion::execution::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder};
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::joins::{CrossJoinExec, NestedLoopJoinExec, PiecewiseMergeJoinExec};
use datafusion::physical_plan::{
    ChildrenPropertiesMode, ExecutionPlan, ExecutionPlanProperties, ReplaceChildrenOptions,
};
use datafusion_distributed::{
    BroadcastExec, DesiredTaskCountEvent, DesiredTaskCountEventResponse, DistributedExec, DistributedExt,
    NetworkBoundary, NetworkBoundaryExt, NetworkBroadcastExec, NetworkCoalesceExec, NetworkShuffleExec,
    SessionStateBuilderExt, Stage as PlannedStage,
};
use icecap_table::storage::Storage;
use icecap_table::{Error, Result};

use super::part::{Work, work};
use crate::exchange::ExchangeReadExec;
use crate::plan::from_datafusion;

/// A task that reads less costs more to start than it saves.
const TASK_BYTES: u64 = 16 << 20;
/// Tasks of a stage for each slot, where there is work for so many: what is left at the end is shared better.
const TASKS_PER_SLOT: usize = 4;
/// A task that shares the rest better has to read so much: each writes files of its own, and small files cost every
/// later reader.
const SHARED_TASK_BYTES: u64 = 128 << 20;

/// One stage: the same plan in so many tasks, each over its own part of the scans.
#[derive(Debug, Clone)]
pub struct Stage {
    /// Its number: stages read only of those with smaller ones.
    pub number: u32,
    /// The plan of all its tasks.
    pub plan: Arc<dyn ExecutionPlan>,
    /// How many tasks.
    pub tasks: usize,
    /// What it reads of other stages.
    pub inputs: Vec<StageInput>,
    /// Where its rows go.
    pub output: Output,
}

/// Where a stage's rows go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// Into the tasks' reports.
    Rows,
    /// Into an exchange.
    Exchange {
        /// Partitions of each task, at most.
        partitions: usize,
        /// Whether each consumer reads all of it.
        replicate: bool,
    },
}

/// How a stage reads another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StageInput {
    /// The stage that produces.
    pub stage: u32,
    /// Which of its partitions are read.
    pub reads: Reads,
    /// The partitions of each consuming task.
    pub partitions: usize,
}

/// Which partitions of a producing stage a task reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reads {
    /// Its own range of hash partitions, of every producer.
    Hash,
    /// All, of every producer; every task does.
    All,
    /// All, each producer's partitions as partitions of their own; there is one task only.
    Gather,
}

/// How many tasks a stage that scans may get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaskCount {
    /// As many as there is work for, where so many run at once.
    Slots(usize),
    /// Exactly so many wherever a scan can be parted, however small it is: for tests.
    Exactly(usize),
}

impl TaskCount {
    /// No stage gets more.
    pub(crate) fn limit(self) -> usize {
        match self {
            // One task at a time is not parted at all.
            Self::Slots(slots) if slots <= 1 => 1,
            Self::Slots(slots) => slots.saturating_mul(TASKS_PER_SLOT),
            Self::Exactly(count) => count.max(1),
        }
    }

    /// How many tasks read so much.
    fn for_work(self, work: Work) -> usize {
        let slots = match self {
            Self::Slots(slots) => slots,
            Self::Exactly(count) => return count.max(1),
        };
        let each = |bytes| usize::try_from(work.bytes.div_ceil(bytes)).unwrap_or(usize::MAX);
        let busy = each(TASK_BYTES).min(slots);
        work.pieces.min(busy.max(each(SHARED_TASK_BYTES))).clamp(1, self.limit())
    }

    fn of(self, leaf: &Arc<dyn ExecutionPlan>) -> DesiredTaskCountEventResponse {
        // What has one partition already may have been planned as all of its rows (a sum without a second
        // step, say): it can be in one task only.
        match work(leaf) {
            Some(work) if leaf.output_partitioning().partition_count() > 1 => {
                DesiredTaskCountEventResponse::desired(self.for_work(work))
            }
            _ => DesiredTaskCountEventResponse::maximum(1),
        }
    }
}

/// Gives a plan that is there already to a planner that wraps another one.
#[derive(Debug)]
struct Given(Arc<dyn ExecutionPlan>);

#[async_trait]
impl QueryPlanner for Given {
    async fn create_physical_plan(
        &self,
        _: &LogicalPlan,
        _: &dyn Session,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        Ok(Arc::clone(&self.0))
    }
}

/// The stages of a plan, in an order in which they can run. The last one has the plan's root and gives its rows
/// in reports. A plan that is not worth parting is one stage of one task, unchanged.
///
/// # Errors
/// `Unsupported` when the plan holds what cannot be parted; `Bug` when it was parted in a way that is not known.
pub async fn cut(
    root: Arc<dyn ExecutionPlan>,
    state: &SessionState,
    storage: &Storage,
    tasks: TaskCount,
) -> Result<Vec<Stage>> {
    if tasks.limit() == 1 || pairs_without_keys(&root) {
        return Ok(vec![whole(root)]);
    }
    let planned = distribute(Arc::clone(&root), state, tasks).await.map_err(from_datafusion)?;
    let Some(distributed) = planned.downcast_ref::<DistributedExec>() else { return Ok(vec![whole(root)]) };
    let head = distributed
        .children()
        .first()
        .map(|plan| Arc::clone(*plan))
        .ok_or_else(|| Error::bug("a distributed plan without a head"))?;
    let (top, tasks) = top(head)?;
    let mut cutter = Cutter { storage, stages: Vec::new() };
    cutter.stage(&top, tasks, Output::Rows)?;
    Ok(cutter.stages)
}

/// Whether the plan pairs rows other than by equal keys. The planner parts both sides of such a join by task, and a pair
/// whose rows are in two tasks would be lost.
fn pairs_without_keys(plan: &Arc<dyn ExecutionPlan>) -> bool {
    plan.is::<CrossJoinExec>()
        || plan.is::<NestedLoopJoinExec>()
        || plan.is::<PiecewiseMergeJoinExec>()
        || plan.children().into_iter().any(pairs_without_keys)
}

fn whole(plan: Arc<dyn ExecutionPlan>) -> Stage {
    Stage { number: 0, plan, tasks: 1, inputs: Vec::new(), output: Output::Rows }
}

async fn distribute(
    root: Arc<dyn ExecutionPlan>,
    state: &SessionState,
    tasks: TaskCount,
) -> DfResult<Arc<dyn ExecutionPlan>> {
    let desired = move |event: DesiredTaskCountEvent<'_>| {
        event.plan.children().is_empty().then(|| Ok(tasks.of(event.plan)))
    };
    let state = SessionStateBuilder::new_from_existing(state.clone())
        .with_query_planner(Arc::new(Given(root)))
        .with_distributed_planner()
        .with_distributed_max_tasks_per_stage(tasks.limit())?
        // Each task of a union has its part of every branch.
        .with_distributed_children_isolator_unions(false)?
        .with_distributed_metrics_collection(false)?
        .with_distributed_desired_task_count_handler(desired)
        .build();
    let nothing = LogicalPlanBuilder::empty(false).build()?;
    state.query_planner().create_physical_plan(&nothing, &state).await
}

/// The plan of the last stage, and its tasks: the head that gathers the rows of several tasks is left out,
/// because reports do that.
fn top(head: Arc<dyn ExecutionPlan>) -> Result<(Arc<dyn ExecutionPlan>, usize)> {
    let Some(gather) = head.downcast_ref::<CoalescePartitionsExec>() else { return Ok((head, 1)) };
    let input = gather.input();
    match input.downcast_ref::<NetworkCoalesceExec>() {
        Some(_) => below(input),
        None => Ok((Arc::clone(input), 1)),
    }
}

/// The plan below a boundary, and its tasks.
fn below(boundary: &Arc<dyn ExecutionPlan>) -> Result<(Arc<dyn ExecutionPlan>, usize)> {
    match boundary.as_network_boundary().map(NetworkBoundary::input_stage) {
        Some(PlannedStage::Local(stage)) => Ok((Arc::clone(&stage.plan), stage.tasks)),
        _ => Err(Error::bug(format!("{} has no stage below it", boundary.name()))),
    }
}

struct Cutter<'a> {
    storage: &'a Storage,
    stages: Vec<Stage>,
}

impl Cutter<'_> {
    /// Adds the stage of `plan`, those that it reads before it; returns its number.
    fn stage(&mut self, plan: &Arc<dyn ExecutionPlan>, tasks: usize, output: Output) -> Result<u32> {
        let mut inputs = Vec::new();
        let plan = self.lower(plan, tasks, &mut inputs)?;
        let number = u32::try_from(self.stages.len()).map_err(|_| Error::bug("too many stages"))?;
        self.stages.push(Stage { number, plan, tasks, inputs, output });
        Ok(number)
    }

    /// `plan` with its boundaries replaced by readers.
    fn lower(
        &mut self,
        plan: &Arc<dyn ExecutionPlan>,
        tasks: usize,
        inputs: &mut Vec<StageInput>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        if plan.is_network_boundary() {
            return self.reader(plan, tasks, inputs);
        }
        if plan.children().is_empty() {
            return Ok(Arc::clone(plan));
        }
        if let Some(broadcast) = plan.downcast_ref::<BroadcastExec>() {
            // Its boundary was left out, because both sides are one task.
            return self.lower(broadcast.input(), tasks, inputs);
        }
        let mut children = Vec::new();
        for child in plan.children() {
            children.push(self.lower(child, tasks, inputs)?);
        }
        let options = ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute);
        Arc::clone(plan).replace_children(children, options).map_err(from_datafusion)
    }

    fn reader(
        &mut self,
        boundary: &Arc<dyn ExecutionPlan>,
        tasks: usize,
        inputs: &mut Vec<StageInput>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let (producer, producers) = below(boundary)?;
        let (reads, producer) = if boundary.is::<NetworkShuffleExec>() {
            (Reads::Hash, producer)
        } else if boundary.is::<NetworkBroadcastExec>() {
            // It has a copy of its partitions for every consumer; ours is stored once.
            let broadcast = producer.downcast_ref::<BroadcastExec>();
            let broadcast = broadcast.ok_or_else(|| Error::bug("a broadcast of what is none"))?;
            (Reads::All, Arc::clone(broadcast.input()))
        } else if boundary.is::<NetworkCoalesceExec>() && tasks == 1 {
            (Reads::Gather, producer)
        } else {
            return Err(Error::bug(format!("a plan was parted at {} in {tasks} tasks", boundary.name())));
        };
        let output = Output::Exchange {
            partitions: producer.output_partitioning().partition_count(),
            replicate: reads == Reads::All,
        };
        let schema = producer.schema();
        let stage = self.stage(&producer, producers, output)?;
        let partitioning = boundary.output_partitioning().clone();
        inputs.push(StageInput { stage, reads, partitions: partitioning.partition_count() });
        Ok(Arc::new(ExchangeReadExec::new(stage, schema, partitioning, None, self.storage.clone())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_as_many_tasks_as_there_is_work_for() {
        const MB: u64 = 1 << 20;
        let tasks = |slots, bytes| TaskCount::Slots(slots).for_work(Work { pieces: 10_000, bytes });
        assert_eq!(tasks(2, 0), 1);
        assert_eq!(tasks(2, 16 * MB), 1);
        assert_eq!(tasks(2, 17 * MB), 2);
        // Not one more than there are slots while it would only make small files.
        assert_eq!(tasks(2, 256 * MB), 2);
        assert_eq!(tasks(2, 512 * MB), 4);
        assert_eq!(tasks(2, 100_000 * MB), 8);
        assert_eq!(tasks(200, 256 * MB), 16);
        assert_eq!(tasks(1, 100_000 * MB), 1);
        assert_eq!(TaskCount::Slots(200).for_work(Work { pieces: 3, bytes: 256 * MB }), 3);
        assert_eq!(TaskCount::Exactly(8).for_work(Work { pieces: 1, bytes: 0 }), 8);
    }
}
