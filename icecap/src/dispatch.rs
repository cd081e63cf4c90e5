//! Running tasks: the seam between who plans and who executes.
//!
//! An [`Executor`] is dumb: one attempt of one task, bytes in, bytes out. Which task runs when, and what is
//! tried again, is not decided here. [`InProcess`], [`LocalPool`] and [`LambdaExec`] differ in how the bytes travel;
//! all run the same [`Worker`](crate::worker::Worker). Each meters its attempts ([`usage`]).

mod in_process;
mod lambda;
pub mod local_pool;
pub mod usage;

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use datafusion::execution::TaskContext;
use icecap_table::Result;

pub use in_process::InProcess;
pub use lambda::{LambdaExec, LambdaSettings};
pub use local_pool::{ChildProgram, LocalPool, LocalPoolSettings};
pub use usage::{AttemptUsage, Meter};

use crate::engine::Cancel;
use crate::plan::Shelf;

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
    /// The task's own; `Cancelled` after `cancel`; `Bug` when the task panicked; `Unavailable` and `Throttled` when
    /// it could not be run, or its answer was lost: an attempt may be running still then.
    async fn run(&self, task: Bytes, cancel: Cancel) -> Result<Bytes>;

    /// A context to run a query's plan here, under the same limits.
    fn task_context(&self) -> Arc<TaskContext>;

    /// Where tasks find rows that this process holds; `None` when they run elsewhere.
    fn shelf(&self) -> Option<&Shelf> {
        None
    }

    /// Waits until attempts whose futures were dropped have really ended, as far as that can be known here, for
    /// a bounded time. Files that they stage until then are there to be deleted afterwards.
    async fn settle(&self) {}
}
