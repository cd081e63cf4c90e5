//! How far the running statement is, for whoever shows it to a person.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::statistics::StatisticsArgs;

use crate::write::{IcebergDeltaExec, IcebergWriteExec};

/// Looks at the plan that an engine runs now. Every clone sees the same; the latest plan is the one.
#[derive(Debug, Clone, Default)]
pub struct Progress(Arc<Mutex<Watched>>);

#[derive(Debug, Default)]
struct Watched {
    /// Weak: looking on keeps no statement's memory.
    plan: Option<Weak<dyn ExecutionPlan>>,
    rows_expected: Option<u64>,
}

/// How far a statement is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reading {
    /// Rows that its sources have given.
    pub rows_read: u64,
    /// About how many they will give; nothing where a source cannot say.
    pub rows_expected: Option<u64>,
    /// Rows handed to the writers; nothing for a query.
    pub rows_written: Option<u64>,
}

impl Progress {
    /// How far the running plan is; nothing while none runs.
    pub fn reading(&self) -> Option<Reading> {
        let watched = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let plan = watched.plan.as_ref()?.upgrade()?;
        Some(Reading {
            rows_read: leaves(&plan).iter().map(rows).sum(),
            rows_expected: watched.rows_expected,
            rows_written: (plan.is::<IcebergWriteExec>() || plan.is::<IcebergDeltaExec>())
                .then(|| plan.children().into_iter().map(rows).sum()),
        })
    }

    /// Takes from this plan how many rows are to be read: it still knows what a task's bytes do not carry.
    pub(crate) fn expect(&self, plan: &Arc<dyn ExecutionPlan>) {
        let rows = leaves(plan).into_iter().map(|leaf| {
            let statistics = leaf.statistics_from_inputs(&[], &StatisticsArgs::new()).ok()?;
            statistics.num_rows.get_value().map(|rows| *rows as u64)
        });
        let watched = Watched { plan: None, rows_expected: rows.sum() };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = watched;
    }

    /// Watches this plan from now on.
    pub(crate) fn watch(&self, plan: &Arc<dyn ExecutionPlan>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).plan = Some(Arc::downgrade(plan));
    }
}

/// The plan's sources.
fn leaves(plan: &Arc<dyn ExecutionPlan>) -> Vec<Arc<dyn ExecutionPlan>> {
    let children = plan.children();
    if children.is_empty() {
        return vec![Arc::clone(plan)];
    }
    children.into_iter().flat_map(leaves).collect()
}

/// Rows that a node has given so far.
fn rows(plan: &Arc<dyn ExecutionPlan>) -> u64 {
    plan.metrics().and_then(|metrics| metrics.output_rows()).unwrap_or(0) as u64
}
