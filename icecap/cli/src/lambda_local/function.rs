//! A function: its processes, from none to its limit and back, and one invocation through one of them.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::body::Bytes;
use icecap_table::clock::{Clock, IdSource, SystemClock, SystemIds};
use icecap_table::{Error, Result};
use serde_json::{Value, json};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::instance::{Ended, Instance, reason};
use super::log::Took;
use super::runtime_api::{Answer, Event, MAX_RESPONSE_BYTES};
use super::{Limits, ServiceSettings};

/// The region and the account of functions that have none.
pub(super) const REGION: &str = "us-east-1";
const ACCOUNT: &str = "000000000000";

/// How often idle processes are looked at.
const REAP_EVERY: Duration = Duration::from_millis(100);

/// A function and its processes.
#[derive(Debug)]
pub(super) struct Function {
    name: String,
    program: PathBuf,
    settings: ServiceSettings,
    slots: Arc<Semaphore>,
    idle: Mutex<Vec<Idle>>,
    counts: Counts,
}

#[derive(Debug)]
struct Idle {
    instance: Instance,
    since: Instant,
}

#[derive(Debug, Default)]
struct Counts {
    invocations: AtomicU64,
    cold_starts: AtomicU64,
    throttles: AtomicU64,
    errors: AtomicU64,
}

/// The right to run one invocation.
pub(super) type Slot = OwnedSemaphorePermit;

/// What an invocation gave.
#[derive(Debug)]
pub(super) struct Invoked {
    pub(super) request_id: String,
    pub(super) payload: Bytes,
    /// Whether the payload is an error.
    pub(super) is_error: bool,
    /// The end of its log.
    pub(super) log: Vec<u8>,
}

impl Function {
    pub(super) fn new(name: String, program: PathBuf, settings: &ServiceSettings) -> Self {
        Self {
            name,
            program,
            slots: Arc::new(Semaphore::new(settings.limits.concurrency)),
            settings: settings.clone(),
            idle: Mutex::default(),
            counts: Counts::default(),
        }
    }

    /// Its ARN.
    pub(super) fn arn(&self) -> String {
        format!("arn:aws:lambda:{REGION}:{ACCOUNT}:function:{}", self.name)
    }

    /// A slot, when one is free.
    pub(super) fn slot(&self) -> Option<Slot> {
        let slot = Arc::clone(&self.slots).try_acquire_owned().ok();
        if slot.is_none() {
            self.throttled();
        }
        slot
    }

    /// Counts an invocation that was refused.
    pub(super) fn throttled(&self) {
        self.counts.throttles.fetch_add(1, Ordering::Relaxed);
    }

    /// Runs one invocation in a slot.
    ///
    /// # Errors
    /// `Unavailable` when no process can be started.
    pub(super) async fn invoke(
        self: &Arc<Self>,
        slot: Slot,
        payload: Bytes,
        client_context: Option<String>,
        kill_after: Option<Duration>,
    ) -> Result<Invoked> {
        self.counts.invocations.fetch_add(1, Ordering::Relaxed);
        let request_id = SystemIds.uuid().to_string();
        let (instance, ended, duration) = match self.instance().await? {
            Ok(mut instance) => {
                let event = Event {
                    request_id: request_id.clone(),
                    deadline_ms: SystemClock.now_ms() + milliseconds(self.limits().timeout),
                    function_arn: self.arn(),
                    client_context,
                    payload,
                };
                let started = Instant::now();
                let ended = instance.run(event, kill_after).await;
                (Some(instance), ended, started.elapsed())
            }
            Err(ended) => (None, ended, Duration::ZERO),
        };
        let took = |instance: &mut Instance| Took {
            duration,
            init: instance.take_init(),
            memory_mb: self.limits().memory_mb,
            peak_mb: instance.peak_mb(),
        };
        let mut log = Vec::new();
        let mut instance = instance;
        if let Some(instance) = &mut instance {
            let mut took = took(instance);
            if matches!(ended, Ended::OutOfMemory) {
                took.peak_mb = took.memory_mb;
            }
            log = instance.log_tail(&request_id, &took);
        }
        let (payload, is_error) = told(&request_id, &ended, self.limits().timeout);
        if is_error {
            self.counts.errors.fetch_add(1, Ordering::Relaxed);
        }
        if let (Some(instance), Ended::Answered(_)) = (instance, &ended) {
            self.give_back(instance).await;
        }
        drop(slot);
        Ok(Invoked { request_id, payload, is_error, log })
    }

    /// A process that is ready: one that has nothing to do, or a new one.
    async fn instance(&self) -> Result<std::result::Result<Instance, Ended>> {
        loop {
            let idle = self.idle().pop();
            match idle {
                Some(mut idle) => {
                    if !idle.instance.has_ended() {
                        return Ok(Ok(idle.instance));
                    }
                }
                None => break,
            }
        }
        self.counts.cold_starts.fetch_add(1, Ordering::Relaxed);
        let mut instance = Instance::start(&self.name, &self.program, &self.settings).await?;
        let ended = match instance.initialise().await {
            Ok(()) => return Ok(Ok(instance)),
            Err(ended) => ended,
        };
        if !matches!(ended, Ended::TimedOut) {
            return Ok(Err(ended));
        }
        // As Lambda does: once more, on the invocation's own time.
        drop(instance);
        let mut instance = Instance::start(&self.name, &self.program, &self.settings).await?;
        let again = tokio::time::timeout(self.limits().timeout, instance.initialise()).await;
        Ok(match again {
            Ok(Ok(())) => Ok(instance),
            Ok(Err(ended)) => Err(ended),
            Err(_) => Err(Ended::TimedOut),
        })
    }

    async fn give_back(self: &Arc<Self>, instance: Instance) {
        if self.settings.freeze {
            // Frozen only once it has asked for its next event, for which the caller does not wait.
            let function = Arc::clone(self);
            tokio::spawn(async move {
                if instance.freeze().await {
                    function.idle().push(Idle { instance, since: Instant::now() });
                }
            });
        } else {
            self.idle().push(Idle { instance, since: Instant::now() });
        }
    }

    /// Ends processes that had nothing to do for too long, again and again.
    pub(super) async fn reap(self: Arc<Self>) {
        loop {
            tokio::time::sleep(REAP_EVERY).await;
            let ttl = self.limits().idle_ttl;
            let gone = self.idle().extract_if(.., |idle| idle.since.elapsed() >= ttl).count();
            if gone > 0 {
                tracing::info!(function = self.name, gone, "idle processes ended");
            }
        }
    }

    /// Ends all processes that have nothing to do.
    pub(super) fn stop(&self) {
        self.idle().clear();
    }

    /// Its state, for people and tests.
    pub(super) fn status(&self) -> Value {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        json!({
            "function": self.name,
            "running": self.limits().concurrency - self.slots.available_permits(),
            "idle": self.idle().len(),
            "invocations": count(&self.counts.invocations),
            "cold_starts": count(&self.counts.cold_starts),
            "throttles": count(&self.counts.throttles),
            "errors": count(&self.counts.errors),
        })
    }

    fn limits(&self) -> &Limits {
        &self.settings.limits
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the caller is told, and whether it is an error.
fn told(request_id: &str, ended: &Ended, timeout: Duration) -> (Bytes, bool) {
    let error = |kind: &str, message: String| {
        let object = json!({"errorType": kind, "errorMessage": message});
        (Bytes::from(object.to_string()), true)
    };
    let with_id = |message: String| format!("RequestId: {request_id} Error: {message}");
    match ended {
        Ended::Answered(Answer::Response(payload)) => (payload.clone(), false),
        Ended::Answered(Answer::Error(payload)) | Ended::InitFailed(payload) => (payload.clone(), true),
        Ended::Answered(Answer::TooLarge(size)) => error(
            "Function.ResponseSizeTooLarge",
            format!(
                "Response payload size ({size} bytes) exceeded maximum allowed payload size ({MAX_RESPONSE_BYTES} bytes)."
            ),
        ),
        Ended::Exited(status) => error("Runtime.ExitError", with_id(reason(*status))),
        Ended::OutOfMemory => {
            error("Runtime.ExitError", with_id("Runtime exited with error: signal: killed".to_owned()))
        }
        Ended::TimedOut => error(
            "Sandbox.Timedout",
            with_id(format!("Task timed out after {:.2} seconds", timeout.as_secs_f64())),
        ),
    }
}

fn milliseconds(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX / 2)
}

/// A failure of this machine, as the service tells it.
pub(super) fn broken(error: &Error) -> Value {
    json!({"Type": "Service", "Message": error.to_string()})
}
