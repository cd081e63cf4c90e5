//! The executor that runs tasks as invocations of a Lambda function.
//!
//! One attempt is one synchronous invocation, never repeated here: the SDK's own retries are off. A large task goes
//! through the store, and so does a large report. The client is made with the first attempt.

mod client;
mod judge;
mod report;

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use datafusion::execution::{SessionState, TaskContext};
use icecap_table::clock::{IdSource, SystemIds};
use icecap_table::storage::Storage;
use icecap_table::{Error, Result};
use tokio::sync::OnceCell;

use self::client::{Invocation, LambdaClient};
use self::judge::Refusal;
use super::Executor;
use super::usage::{Finish, Meter, Place, write_of};
use crate::engine::Cancel;
use crate::worker::{
    INLINE_REPLY_BYTES, INLINE_TASK_BYTES, Payload, ReplyEvent, RequestEvent, TaskPolicy, TaskReply,
    TaskRequest, Worker, WorkerSettings,
};

/// How a [`LambdaExec`] runs tasks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LambdaSettings {
    /// The function: name, `name:qualifier` or ARN.
    pub function: String,
    /// A folder's location: messages that are too large lie in it while they are needed.
    pub messages: String,
    /// How long one attempt may take; `None`: as long as the function may.
    pub limit: Option<Duration>,
    /// Where tasks may read and write; `None`: wherever the function can.
    pub policy: Option<TaskPolicy>,
}

/// Runs tasks in a Lambda function.
#[derive(Debug)]
pub struct LambdaExec {
    settings: LambdaSettings,
    storage: Storage,
    client: OnceCell<LambdaClient>,
    /// For queries, which run in this process.
    here: Worker,
    meter: Meter,
    ids: SystemIds,
}

impl LambdaExec {
    /// An executor; nothing is asked of AWS yet. `here` is how queries run in this process.
    ///
    /// # Errors
    /// As [`Worker::new`].
    pub fn new(
        storage: Storage,
        here: WorkerSettings,
        settings: LambdaSettings,
        meter: Meter,
    ) -> Result<Self> {
        let here = Worker::new(storage.clone(), here)?;
        Ok(Self { settings, storage, client: OnceCell::new(), here, meter, ids: SystemIds })
    }

    /// A state to plan with, of the same configuration as tasks are run with.
    pub fn planner_state(&self) -> SessionState {
        self.here.planner_state()
    }

    async fn attempt(&self, task: Bytes, finish: &mut Finish) -> Result<Bytes> {
        let mut stored = None;
        let outcome = self.invoke(task, &mut stored, finish).await;
        if let Some(stored) = stored {
            stored.delete().await;
        }
        outcome
    }

    async fn invoke(&self, task: Bytes, stored: &mut Option<Stored>, finish: &mut Finish) -> Result<Bytes> {
        let is_local = self.settings.messages.starts_with("file:");
        let client = self.client.get_or_try_init(|| LambdaClient::load(is_local)).await?;
        // What stays behind is known by its write.
        let write = write_of(&task).map(|id| format!("{id}-")).unwrap_or_default();
        let folder = format!("{}/{write}{}", self.settings.messages, self.ids.uuid().simple());
        if task.len() > INLINE_TASK_BYTES {
            *stored = Some(Stored::put(&self.storage, &folder, task.clone()).await?);
        }
        let invocation = loop {
            let payload = match stored {
                Some(stored) => stored.payload.clone(),
                None => Payload::Inline(task.clone()),
            };
            let request = TaskRequest {
                limit: self.settings.limit,
                inline_bytes: INLINE_REPLY_BYTES as u64,
                reply_folder: Some(folder.clone()),
                policy: self.settings.policy.clone(),
                ..TaskRequest::new(payload)
            };
            let event = RequestEvent::new(&request.encode()).json();
            finish.request_bytes = event.len() as u64;
            match client.invoke(&self.settings.function, event.into()).await {
                Ok(invocation) => break invocation,
                // It was refused before anything was done, so this is still the same attempt.
                Err(Refusal::TooLarge(error)) if stored.is_none() => {
                    tracing::debug!(%error, "a task goes through the store");
                    *stored = Some(Stored::put(&self.storage, &folder, task.clone()).await?);
                }
                Err(Refusal::TooLarge(error) | Refusal::Failed(error)) => return Err(error),
            }
        };
        self.report(invocation, finish).await
    }

    /// What the function answered, and what it took.
    async fn report(&self, invocation: Invocation, finish: &mut Finish) -> Result<Bytes> {
        let Invocation { payload, is_error, log } = invocation;
        finish.reply_bytes = payload.len() as u64;
        let bill = report::Bill::of(&log);
        finish.billed_ms = bill.billed_ms;
        finish.memory_mb = bill.memory_mb;
        finish.cold = bill.told().then_some(bill.is_cold);
        if is_error {
            return Err(judge::function_error(&self.settings.function, &payload, &bill));
        }
        let reply = TaskReply::decode(&ReplyEvent::reply_of(&payload)?)?;
        finish.cold = finish.cold.or(Some(reply.usage.earlier_requests == 0));
        finish.worker = Some(reply.usage);
        let report = reply.outcome?;
        let bytes = report.fetch(&self.storage).await?;
        if let Payload::Object(object) = &report {
            remove(&self.storage, &object.location).await;
        }
        Ok(bytes)
    }
}

/// A task in the store; deleted when its attempt is over, however it ends.
#[derive(Debug)]
struct Stored {
    storage: Storage,
    location: Option<String>,
    payload: Payload,
}

impl Stored {
    async fn put(storage: &Storage, folder: &str, task: Bytes) -> Result<Self> {
        let location = format!("{folder}/task");
        let payload = Payload::store(storage, location.clone(), task).await?;
        Ok(Self { storage: storage.clone(), location: Some(location), payload })
    }

    async fn delete(mut self) {
        if let Some(location) = self.location.take() {
            remove(&self.storage, &location).await;
        }
    }
}

impl Drop for Stored {
    fn drop(&mut self) {
        // Only of an attempt that nobody waited for.
        let (Some(location), Ok(runtime)) = (self.location.take(), tokio::runtime::Handle::try_current())
        else {
            return;
        };
        let storage = self.storage.clone();
        runtime.spawn(async move { remove(&storage, &location).await });
    }
}

async fn remove(storage: &Storage, location: &str) {
    if let Err(error) = storage.delete(location).await {
        tracing::warn!(location, %error, "a message was left behind");
    }
}

#[async_trait]
impl Executor for LambdaExec {
    async fn run(&self, task: Bytes, cancel: Cancel) -> Result<Bytes> {
        let metered = self.meter.start(Place::Lambda, &task);
        let mut finish = Finish::default();
        let outcome = tokio::select! {
            biased;
            // The function goes on to its end; nobody takes what it stages.
            () = cancel.cancelled() => Err(Error::cancelled("the statement was stopped before it committed")),
            report = self.attempt(task, &mut finish) => report,
        };
        metered.finish(outcome, finish)
    }

    fn task_context(&self) -> std::sync::Arc<TaskContext> {
        self.here.task_context()
    }
}
