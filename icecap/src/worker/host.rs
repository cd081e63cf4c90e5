//! [`WorkerHost`]: request bytes in, reply bytes out, whatever carries them.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use icecap_commit_service::store;
use icecap_table::clock::{IdSource, SystemClock, SystemIds};
use icecap_table::storage::Storage;
use icecap_table::{Error, Result};

use super::failure::secrets_of_environment;
use super::payload::Payload;
use super::policy::TaskPolicy;
use super::reply::{TaskReply, WorkerUsage};
use super::request::TaskRequest;
use super::run::{Worker, WorkerSettings, lost};

/// What a host gives to tasks that ask for nothing else.
#[derive(Debug, Clone, Default)]
pub struct HostSettings {
    /// Threads of the process.
    pub threads: usize,
    /// Bound of what operators and writers hold; unbounded when absent.
    pub memory_bytes: Option<u64>,
}

/// Answers task requests, one process's worth of them. Cheap to clone.
#[derive(Debug, Clone)]
pub struct WorkerHost(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    storage: Storage,
    settings: HostSettings,
    ids: Arc<dyn IdSource>,
    secrets: Vec<String>,
    answered: AtomicU64,
    /// The worker of the last request: the next one mostly has the same limits.
    worker: Mutex<Option<(Limits, Arc<Worker>)>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Limits {
    memory_bytes: Option<u64>,
    temp_dir: Option<String>,
    policy: Option<TaskPolicy>,
}

impl WorkerHost {
    /// A host that reaches what a process of its own reaches: the local disk, and S3 by AWS's chain.
    pub fn of_a_process(settings: HostSettings) -> Self {
        Self::new(store::storage(Arc::new(SystemClock), Arc::new(SystemIds)), settings)
    }

    /// A host whose tasks read and write through `storage`.
    pub fn new(storage: Storage, settings: HostSettings) -> Self {
        Self(Arc::new(Parts {
            storage,
            settings,
            ids: Arc::new(SystemIds),
            secrets: secrets_of_environment(),
            answered: AtomicU64::new(0),
            worker: Mutex::default(),
        }))
    }

    /// Runs the task of an encoded [`TaskRequest`], `within` a time (and the request's own limit); gives the
    /// encoded [`TaskReply`], whatever happens. When the future is dropped, the work stops.
    pub async fn answer(&self, request: Bytes, within: Option<Duration>) -> Bytes {
        let started = Instant::now();
        let host = self.clone();
        // A task of its own, so that a panic is caught wherever it comes from; dropped with this future.
        let mut running = tokio::task::JoinSet::new();
        running.spawn(async move { host.run(&request, within).await });
        let outcome = match running.join_next().await {
            Some(Ok(outcome)) => outcome,
            Some(Err(error)) => Err(lost(error)),
            None => Err(Error::bug("a task was never started")),
        };
        let usage = WorkerUsage {
            elapsed_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
            peak_memory_bytes: peak_memory_bytes(),
            earlier_requests: self.0.answered.fetch_add(1, Ordering::Relaxed),
            process: std::process::id(),
        };
        Bytes::from(TaskReply { outcome, usage }.encode_without(&self.0.secrets))
    }

    async fn run(&self, request: &[u8], within: Option<Duration>) -> Result<Payload> {
        let request = TaskRequest::decode(request)?;
        let limit = [within, request.limit].into_iter().flatten().min();
        let work = self.run_request(&request);
        match limit {
            Some(limit) => tokio::time::timeout(limit, work).await.unwrap_or_else(|_| {
                Err(Error::exhausted(format!(
                    "the task did not end within {:.1} s: allow it more time, or cut the statement into more tasks",
                    limit.as_secs_f64()
                )))
            }),
            None => work.await,
        }
    }

    async fn run_request(&self, request: &TaskRequest) -> Result<Payload> {
        let task = request.task.fetch(&self.0.storage).await?;
        let report = self.worker(request)?.run_task(&task).await?;
        let inline = usize::try_from(request.inline_bytes).unwrap_or(usize::MAX);
        match &request.reply_folder {
            Some(folder) if report.len() > inline => {
                // Its own name: a request that was delivered twice is answered twice.
                let name = self.0.ids.uuid().simple();
                Payload::store(&self.0.storage, format!("{folder}/reply-{name}"), report).await
            }
            _ => Ok(Payload::Inline(report)),
        }
    }

    fn worker(&self, request: &TaskRequest) -> Result<Arc<Worker>> {
        let limits = Limits {
            memory_bytes: request.memory_bytes.or(self.0.settings.memory_bytes),
            temp_dir: request.temp_dir.clone(),
            policy: request.policy.clone(),
        };
        let mut kept = self.0.worker.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, worker)) = kept.as_ref()
            && *known == limits
        {
            return Ok(Arc::clone(worker));
        }
        let settings = WorkerSettings {
            threads: self.0.settings.threads,
            memory_bytes: limits.memory_bytes,
            temp_dir: limits.temp_dir.clone().map(PathBuf::from),
            policy: limits.policy.clone(),
            ..WorkerSettings::default()
        };
        let worker = Arc::new(Worker::new(self.0.storage.clone(), settings)?);
        *kept = Some((limits, Arc::clone(&worker)));
        Ok(worker)
    }
}

/// The most memory that this process had in use, where the system tells (Linux).
fn peak_memory_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib =
        line.and_then(|rest| rest.split_whitespace().next()).and_then(|number| number.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

#[cfg(test)]
mod tests;
