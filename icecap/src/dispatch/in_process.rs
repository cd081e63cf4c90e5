//! The executor that runs tasks in this process, all partitions at once.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use datafusion::execution::{SessionState, TaskContext};
use icecap_table::storage::Storage;
use icecap_table::{Error, Result};

use super::Executor;
use super::usage::{Finish, Meter, Place};
use crate::engine::Cancel;
use crate::plan::Shelf;
use crate::worker::{Worker, WorkerSettings};

/// Runs tasks in this process.
#[derive(Debug)]
pub struct InProcess {
    worker: Worker,
    meter: Meter,
}

impl InProcess {
    /// An executor over `storage`, its attempts metered by `meter`.
    ///
    /// # Errors
    /// As [`Worker::new`].
    pub fn new(storage: Storage, settings: WorkerSettings, meter: Meter) -> Result<Self> {
        Ok(Self { worker: Worker::new(storage, settings)?, meter })
    }

    /// A state to plan with, of the same configuration as tasks are run with.
    pub fn planner_state(&self) -> SessionState {
        self.worker.planner_state()
    }
}

#[async_trait]
impl Executor for InProcess {
    async fn run(&self, task: Bytes, cancel: Cancel) -> Result<Bytes> {
        let metered = self.meter.start(Place::InProcess, &task);
        let outcome = tokio::select! {
            biased;
            () = cancel.cancelled() => Err(Error::cancelled("the statement was stopped before it committed")),
            report = self.worker.run_task(&task) => report,
        };
        metered.finish(outcome, Finish::default())
    }

    fn task_context(&self) -> Arc<TaskContext> {
        self.worker.task_context()
    }

    fn shelf(&self) -> Option<&Shelf> {
        Some(self.worker.shelf())
    }
}

#[cfg(test)]
mod tests;
