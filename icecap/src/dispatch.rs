//! Running tasks: the seam between who plans and who executes.
//!
//! An [`Executor`] is dumb: one attempt of one task, bytes in, bytes out. Which task runs when, and what is
//! tried again, is not decided here.

mod in_process;

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use datafusion::execution::TaskContext;
use icecap_table::Result;

pub(crate) use in_process::lost;
pub use in_process::{InProcess, InProcessSettings};

use crate::engine::Cancel;

/// Runs one attempt of one task.
///
/// Promise: the report tells of every file that the attempt staged. After an error, or when the future is
/// dropped, files of the attempt may remain; their names begin with the write's id.
#[async_trait]
pub trait Executor: Send + Sync + std::fmt::Debug {
    /// Runs the encoded [`WriteTask`](crate::plan::WriteTask); returns the encoded
    /// [`TaskReport`](crate::plan::TaskReport). Running the same bytes again stages other files with the
    /// same rows.
    ///
    /// # Errors
    /// The task's own; `Cancelled` after `cancel`; `Bug` when the task panicked.
    async fn run(&self, task: Bytes, cancel: Cancel) -> Result<Bytes>;

    /// A context to run a query's plan here, under the same limits.
    fn task_context(&self) -> Arc<TaskContext>;

    /// Whether an attempt certainly does nothing more once [`run`](Self::run) has failed or was dropped. Only
    /// then may files that it left behind be deleted.
    fn ends_with_call(&self) -> bool {
        false
    }
}
