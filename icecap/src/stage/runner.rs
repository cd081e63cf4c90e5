//! [`StageRunner`]: the order of stages, the slots, the winners.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::future::{join_all, try_join_all};
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use icecap_table::clock::IdSource;
use icecap_table::deletes::PositionSet;
use icecap_table::id::WriteId;
use icecap_table::staged_file::StagedFile;
use icecap_table::storage::Storage;
use icecap_table::{Error, ErrorKind, Result};
use tokio::sync::{Semaphore, watch};

use super::cut::{Output, Stage};
use super::input::input;
use super::part::part;
use super::policy::RetryPolicy;
use crate::dispatch::Executor;
use crate::engine::Cancel;
use crate::exchange::ExchangeObject;
use crate::plan::task::{BUILD_ID, encode_plan};
use crate::plan::{IcecapCodec, TaskOutput, TaskReport, WriteTask};
use crate::write::{ActedRows, unite};

/// Runs the stages of writes on one executor.
#[derive(Debug, Clone)]
pub struct StageRunner {
    executor: Arc<dyn Executor>,
    storage: Storage,
    ids: Arc<dyn IdSource>,
    slots: usize,
    policy: RetryPolicy,
}

/// One write's stages, and what all its tasks share.
#[derive(Debug, Clone)]
pub struct Job {
    /// The write.
    pub write_id: WriteId,
    /// Its round in the ledger.
    pub round: u32,
    /// The stages, producers before consumers; the last one writes.
    pub stages: Vec<Stage>,
    /// The folder of exchange objects.
    pub exchange: String,
    /// The memory of each task; `None`: as its executor allows.
    pub memory_bytes: Option<u64>,
    /// When tasks stop themselves, in milliseconds since the Unix epoch.
    pub deadline_ms: Option<i64>,
}

/// What a job came to.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Outcome {
    /// The files of the winners.
    pub staged_files: Vec<StagedFile>,
    /// The rows that the winners found to be deleted or changed, by data file.
    pub positions: BTreeMap<String, PositionSet>,
    /// How many rows the winners insert, change and delete.
    pub acted: ActedRows,
    /// Whether attempts that did not win may have left files, whose names begin with the write's id.
    pub left_files: bool,
}

impl StageRunner {
    /// A runner of at most `slots` attempts at once.
    pub fn new(
        executor: Arc<dyn Executor>,
        storage: Storage,
        ids: Arc<dyn IdSource>,
        slots: usize,
        policy: RetryPolicy,
    ) -> Self {
        Self { executor, storage, ids, slots: slots.max(1), policy }
    }

    /// The same runner on another executor.
    #[must_use]
    pub fn with_executor(&self, executor: Arc<dyn Executor>) -> Self {
        Self { executor, ..self.clone() }
    }

    /// The same runner with another policy.
    #[must_use]
    pub fn with_policy(&self, policy: RetryPolicy) -> Self {
        Self { policy, ..self.clone() }
    }

    /// Runs a job to its end. The objects of its exchanges are deleted when it ends well; after a failure, or when
    /// the future is dropped, they and staged files may remain, and their names begin with the write's id.
    ///
    /// # Errors
    /// The first of a task that cannot be tried again, or not once more; the rest is stopped then.
    pub async fn run(&self, job: &Job, cancel: &Cancel) -> Result<Outcome> {
        let run = Run {
            runner: self,
            job,
            cancel,
            slots: Semaphore::new(self.slots),
            stored: job.stages.iter().map(|_| watch::Sender::new(None)).collect(),
            log: Mutex::default(),
        };
        let reports = try_join_all(job.stages.iter().map(|stage| run.stage(stage))).await?;
        let log = run.log.into_inner().unwrap_or_else(PoisonError::into_inner);
        join_all(log.objects.iter().map(|location| async move {
            if let Err(error) = self.storage.delete(location).await {
                tracing::warn!(%location, %error, "an exchange's object was left behind");
            }
        }))
        .await;
        let mut outcome = Outcome { left_files: log.left_files, ..Outcome::default() };
        for report in reports.into_iter().flatten() {
            outcome.staged_files.extend(report.staged_files);
            outcome.acted.add(report.acted);
            for file in report.positions {
                unite(&mut outcome.positions, &file.data_file, &file.positions()?)?;
            }
        }
        Ok(outcome)
    }
}

#[derive(Debug, Default)]
struct Log {
    /// Exchange objects, of winners and others.
    objects: Vec<String>,
    left_files: bool,
}

/// The objects of a stage, one per task.
type Stored = Arc<Vec<ExchangeObject>>;

struct Run<'a> {
    runner: &'a StageRunner,
    job: &'a Job,
    cancel: &'a Cancel,
    slots: Semaphore,
    /// What each stage stored, once all its tasks have a winner.
    stored: Vec<watch::Sender<Option<Stored>>>,
    log: Mutex<Log>,
}

impl Run<'_> {
    fn log(&self) -> std::sync::MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn random(&self) -> u32 {
        self.runner.ids.uuid().as_u128() as u32
    }

    /// Runs one stage when all that it reads is stored; the reports of its winners, by task.
    async fn stage(&self, stage: &Stage) -> Result<Vec<TaskReport>> {
        let mut inputs = Vec::with_capacity(stage.inputs.len());
        for wanted in &stage.inputs {
            let sender = self.stored.get(wanted.stage as usize);
            let mut stored =
                sender.ok_or_else(|| Error::bug("a stage reads one that is not there"))?.subscribe();
            // The sender lives as long as the run.
            let objects = stored.wait_for(Option::is_some).await.ok().and_then(|objects| objects.clone());
            inputs.push(objects.ok_or_else(|| Error::bug("a stage ended without its objects"))?);
        }
        let tasks = (0..stage.tasks).map(|task| self.task(stage, task, &inputs).boxed());
        let reports = try_join_all(tasks).await?;
        if matches!(stage.output, Output::Exchange { .. }) {
            let objects = reports.iter().map(|report| report.exchange.clone());
            let objects: Option<Vec<ExchangeObject>> = objects.collect();
            let objects = objects.ok_or_else(|| Error::bug("a task's report names no exchange"))?;
            if let Some(stored) = self.stored.get(stage.number as usize) {
                stored.send_replace(Some(Arc::new(objects)));
            }
        }
        Ok(reports)
    }

    /// Runs one task until an attempt of it reports. That one has won: whatever others do is not looked at.
    async fn task(&self, stage: &Stage, task: usize, inputs: &[Stored]) -> Result<TaskReport> {
        let policy = self.runner.policy;
        let mut tries = policy.begin();
        let mut next = 0;
        let mut running = FuturesUnordered::new();
        let mut pause = Duration::ZERO;
        loop {
            if running.is_empty() {
                tokio::time::sleep(pause).await;
                running.push(self.attempt(stage, task, inputs, next));
                next += 1;
            }
            // A straggler gets a second attempt beside it, where the policy says so.
            let ended = match policy.speculate_after {
                Some(after) if running.len() == 1 => tokio::time::timeout(after, running.next()).await.ok(),
                _ => Some(running.next().await),
            };
            let Some(ended) = ended else {
                running.push(self.attempt(stage, task, inputs, next));
                next += 1;
                continue;
            };
            match ended.unwrap_or_else(|| Err(Error::bug("a task without an attempt"))) {
                Ok(report) => {
                    if !running.is_empty() {
                        self.log().left_files = true;
                    }
                    return Ok(report);
                }
                Err(error) => {
                    self.log().left_files = true;
                    match tries.after(&error, self.random()) {
                        Some(next) => pause = next,
                        None => return Err(described(error, stage, task, tries.failures())),
                    }
                }
            }
        }
    }

    /// The message of an attempt.
    fn message(&self, stage: &Stage, task: usize, stored: &[Stored], attempt: u32) -> Result<WriteTask> {
        let number = |n: usize| u32::try_from(n).map_err(|_| Error::bug("a stage has too many tasks"));
        let mut inputs = Vec::with_capacity(stored.len());
        for (wanted, objects) in stage.inputs.iter().zip(stored) {
            let producer = self.job.stages.get(wanted.stage as usize);
            let produced = match producer.map(|stage| stage.output) {
                Some(Output::Exchange { partitions, .. }) => partitions,
                _ => return Err(Error::bug("a stage reads one that stores nothing")),
            };
            inputs.push(input(*wanted, task, produced, objects)?);
        }
        let codec = IcecapCodec::new(self.runner.storage.clone());
        Ok(WriteTask {
            build_id: BUILD_ID.to_owned(),
            write_id: self.job.write_id,
            round: self.job.round,
            stage: stage.number,
            task: number(task)?,
            task_count: number(stage.tasks)?,
            attempt,
            nonce: format!("{:08x}", self.random()),
            plan: encode_plan(part(&stage.plan, task, stage.tasks)?, &codec)?,
            inputs,
            output: match stage.output {
                Output::Rows => TaskOutput::Rows,
                Output::Exchange { partitions, replicate } => TaskOutput::Exchange {
                    location: self.job.exchange.clone(),
                    partitions: number(partitions)?,
                    replicate,
                },
            },
            memory_bytes: self.job.memory_bytes,
            deadline_ms: self.job.deadline_ms,
        })
    }

    /// One attempt, when there is a slot for it. Its message is made only then: those of thousands of waiting
    /// tasks would fill the memory.
    async fn attempt(
        &self,
        stage: &Stage,
        task: usize,
        stored: &[Stored],
        attempt: u32,
    ) -> Result<TaskReport> {
        let _slot = self.slots.acquire().await.map_err(|_| Error::bug("the slots are gone"))?;
        let task = self.message(stage, task, stored, attempt)?;
        let bytes = Bytes::from(task.encode());
        let result = self.runner.executor.run(bytes, self.cancel.clone()).await;
        let report = result.and_then(|report| TaskReport::decode(&report)).and_then(|report| {
            let same = (report.stage, report.task, report.attempt) == (task.stage, task.task, task.attempt);
            if same { Ok(report) } else { Err(Error::bug("an executor answered with another task's report")) }
        });
        match &report {
            Ok(report) => {
                let object = report.exchange.as_ref().map(|object| object.location.clone());
                self.log().objects.extend(object);
            }
            Err(error) => {
                tracing::debug!(stage = task.stage, task = task.task, attempt = task.attempt, %error, "attempt failed");
            }
        }
        report
    }
}

/// An error of a task as its statement's: what is the machinery's says where it happened.
fn described(error: Error, stage: &Stage, task: usize, failures: u32) -> Error {
    match error.kind() {
        ErrorKind::Unavailable | ErrorKind::Throttled if failures > 1 => error
            .with("stage", stage.number.to_string())
            .with("task", task.to_string())
            .with("attempts", failures.to_string()),
        _ => error,
    }
}
