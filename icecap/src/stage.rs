//! The distributed tier: a write's plan cut into stages, their tasks run until each has one winner.
//!
//! [`cut`] lets `datafusion-distributed` decide where a plan is parted and into how many tasks, and turns what it
//! decided into plain plans whose leaves read exchanges. [`StageRunner`] gives the tasks to an
//! [`Executor`](crate::dispatch::Executor): a stage begins when all that it reads is stored; so many tasks run at
//! once; what failed for a reason that passes is tried again; the first report of a task counts.
//!
//! What a task does is not decided here but in its plan; how it is run is the executor's.

mod cut;
mod input;
mod part;
mod policy;
mod runner;

pub use cut::{Output, Reads, Stage, StageInput, TaskCount, cut};
pub use policy::RetryPolicy;
pub use runner::{Job, Outcome, StageRunner};

#[cfg(test)]
mod tests;
