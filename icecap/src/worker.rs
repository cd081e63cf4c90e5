//! What runs a task, wherever it runs: in this process, in a child process, in a Lambda function.
//!
//! A [`Worker`] runs a task's bytes. A [`WorkerHost`] answers a [`TaskRequest`] with a [`TaskReply`], both as
//! bytes: it is what child processes and Lambda functions are made of, so that they differ in how bytes come
//! and go and in nothing else. Which task runs when, and what is tried again, is not decided here.

mod event;
mod failure;
#[cfg(test)]
pub(crate) mod fixture;
mod host;
mod payload;
mod policy;
mod reply;
mod request;
mod run;

pub use event::{ReplyEvent, RequestEvent};
pub use host::{HostSettings, WorkerHost};
pub use payload::{INLINE_REPLY_BYTES, INLINE_TASK_BYTES, Payload, StoredObject};
pub use policy::TaskPolicy;
pub use reply::{REPLY_VERSION, TaskReply, WorkerUsage};
pub use request::{REQUEST_VERSION, TaskRequest};
pub(crate) use run::lost;
pub use run::{Worker, WorkerSettings};
