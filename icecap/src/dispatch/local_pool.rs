//! The executor that runs tasks in child processes of this machine.
//!
//! A child is the same program; it gets framed requests on its standard input and answers on its standard
//! output (`frame`), one task at a time. It may die at any moment: the attempt is lost then, and the next gets a new
//! child. A child ends when its standard input does, so none outlives its parent, however that ends.

mod child;
mod frame;
mod serve;

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use datafusion::execution::{SessionState, TaskContext};
use icecap_table::storage::Storage;
use icecap_table::{Error, Result};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use self::child::Child;
pub use self::serve::serve_stdio;
use super::Executor;
use super::usage::{Finish, Meter, Metered, Place};
use crate::engine::Cancel;
use crate::worker::{Payload, TaskPolicy, TaskReply, TaskRequest, Worker, WorkerSettings};

/// How long [`LocalPool::settle`] waits: longer than a child has to end.
const SETTLE_WITHIN: Duration = Duration::from_secs(10);

/// What a child process is started from: it must end up in [`serve_stdio`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChildProgram {
    /// The program.
    pub path: PathBuf,
    /// Its arguments.
    pub args: Vec<OsString>,
}

/// How a [`LocalPool`] runs tasks.
#[derive(Debug, Clone)]
pub struct LocalPoolSettings {
    /// Children at most; started when they are needed.
    pub slots: usize,
    /// What they are.
    pub program: ChildProgram,
    /// Bound of what one child's operators and writers hold.
    pub memory_bytes: Option<u64>,
    /// Where they spill; the system's temporary folder by default.
    pub temp_dir: Option<PathBuf>,
    /// Where tasks may read and write; `None`: wherever this process can.
    pub policy: Option<TaskPolicy>,
}

/// Runs tasks in child processes.
#[derive(Debug)]
pub struct LocalPool {
    pool: Arc<Pool>,
    settings: LocalPoolSettings,
    storage: Storage,
    /// For queries, which run in this process.
    here: Worker,
    meter: Meter,
}

#[derive(Debug)]
struct Pool {
    slots: Arc<Semaphore>,
    idle: Mutex<Vec<Child>>,
    /// Children that were given up and have not ended yet.
    ending: watch::Sender<usize>,
}

impl LocalPool {
    /// A pool without children yet. `here` is how queries run in this process.
    ///
    /// # Errors
    /// `Invalid` without a slot; as [`Worker::new`].
    pub fn new(
        storage: Storage,
        here: WorkerSettings,
        settings: LocalPoolSettings,
        meter: Meter,
    ) -> Result<Self> {
        if settings.slots == 0 || settings.slots > Semaphore::MAX_PERMITS {
            return Err(Error::invalid("the number of writer processes must be at least 1"));
        }
        let pool = Pool {
            slots: Arc::new(Semaphore::new(settings.slots)),
            idle: Mutex::default(),
            ending: watch::Sender::new(0),
        };
        let here = Worker::new(storage.clone(), here)?;
        Ok(Self { pool: Arc::new(pool), settings, storage, here, meter })
    }

    /// A state to plan with, of the same configuration as tasks are run with.
    pub fn planner_state(&self) -> SessionState {
        self.here.planner_state()
    }

    async fn attempt(&self, task: Bytes, finish: &mut Finish) -> Result<Bytes> {
        let mut busy = self.pool.busy(&self.settings.program).await?;
        let request = TaskRequest {
            memory_bytes: self.settings.memory_bytes,
            temp_dir: self.settings.temp_dir.as_ref().map(|folder| folder.to_string_lossy().into_owned()),
            policy: self.settings.policy.clone(),
            ..TaskRequest::new(Payload::Inline(task))
        };
        let request = request.encode();
        finish.request_bytes = request.len() as u64;
        let reply = busy.child()?.call(&request).await?;
        finish.reply_bytes = reply.len() as u64;
        let reply = TaskReply::decode(&reply)?;
        busy.release();
        finish.cold = Some(reply.usage.earlier_requests == 0);
        finish.worker = Some(reply.usage);
        reply.outcome?.fetch(&self.storage).await
    }
}

impl Pool {
    /// A child for one task: an idle one, or a new one when a slot is free.
    async fn busy(self: &Arc<Self>, program: &ChildProgram) -> Result<Busy> {
        let slot = Arc::clone(&self.slots)
            .acquire_owned()
            .await
            .map_err(|_| Error::bug("the pool of writer processes was shut"))?;
        let mut busy = Busy { child: None, slot: Some(slot), pool: Arc::clone(self) };
        loop {
            let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            match idle {
                Some(mut child) => {
                    // One that died while it had nothing to do is no attempt's failure.
                    if !child.has_ended() {
                        busy.child = Some(child);
                        break;
                    }
                }
                None => {
                    busy.child = Some(Child::start(program)?);
                    busy.child()?.greet().await?;
                    break;
                }
            }
        }
        Ok(busy)
    }
}

/// A child at work. When it is dropped unreleased, the child is ended.
#[derive(Debug)]
struct Busy {
    child: Option<Child>,
    slot: Option<OwnedSemaphorePermit>,
    pool: Arc<Pool>,
}

impl Busy {
    fn child(&mut self) -> Result<&mut Child> {
        self.child.as_mut().ok_or_else(|| Error::bug("a writer process was used after it was given back"))
    }

    /// Gives the child back, ready for another task.
    fn release(mut self) {
        if let Some(child) = self.child.take() {
            self.pool.idle.lock().unwrap_or_else(PoisonError::into_inner).push(child);
        }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let (Some(child), Ok(runtime)) = (self.child.take(), tokio::runtime::Handle::try_current()) else {
            // Without a runtime the child is killed when it is dropped.
            return;
        };
        // The slot stays taken until the child is gone: it still uses memory and cores.
        let (slot, pool) = (self.slot.take(), Arc::clone(&self.pool));
        pool.ending.send_modify(|count| *count += 1);
        runtime.spawn(async move {
            child.end().await;
            drop(slot);
            pool.ending.send_modify(|count| *count = count.saturating_sub(1));
        });
    }
}

#[async_trait]
impl Executor for LocalPool {
    async fn run(&self, task: Bytes, cancel: Cancel) -> Result<Bytes> {
        let metered: Metered = self.meter.start(Place::Child, &task);
        let mut finish = Finish::default();
        let outcome = tokio::select! {
            biased;
            () = cancel.cancelled() => Err(Error::cancelled("the statement was stopped before it committed")),
            report = self.attempt(task, &mut finish) => report,
        };
        if cancel.is_cancelled() {
            self.settle().await;
        }
        metered.finish(outcome, finish)
    }

    fn task_context(&self) -> Arc<TaskContext> {
        self.here.task_context()
    }

    async fn settle(&self) {
        let mut ending = self.pool.ending.subscribe();
        // Children that do not end in time are no longer ours to wait for.
        let _ = tokio::time::timeout(SETTLE_WITHIN, ending.wait_for(|count| *count == 0)).await;
    }
}

#[cfg(test)]
mod tests;
