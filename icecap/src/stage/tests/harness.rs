//! An engine on a folder of its own, and an executor that looks on and fails where it is told to.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::execution::TaskContext;
use futures::StreamExt;

use crate::dispatch::Executor;
use crate::engine::{Cancel, Engine, EngineSettings, StatementResult, WriteSummary};
use crate::plan::{TaskReport, WriteTask};
use crate::sql::parse_script;
use crate::{Error, Result};

/// What an executor does with an attempt beside running it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// It fails before anything is done.
    Before,
    /// All is done, and the answer is lost.
    ReplyLost,
    /// It is run twice, one after the other.
    Twice,
    /// The service asks to slow down.
    Throttled,
    /// It cannot be done, ever.
    Refused,
    /// It never answers.
    Hangs,
}

type Plan = dyn Fn(&WriteTask) -> Option<Fault> + Send + Sync;

/// Looks on.
pub(super) struct Spy {
    inner: Arc<dyn Executor>,
    plan: Box<Plan>,
    running: AtomicUsize,
    pub(super) most_at_once: AtomicUsize,
    /// Every attempt that reported, with its report; those that were kept from the runner too.
    pub(super) ran: Mutex<Vec<(WriteTask, TaskReport)>>,
    /// Attempts by stage and task.
    pub(super) attempts: Mutex<BTreeMap<(u32, u32), u32>>,
}

impl std::fmt::Debug for Spy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Spy").finish_non_exhaustive()
    }
}

impl Spy {
    pub(super) fn ran(&self) -> Vec<(WriteTask, TaskReport)> {
        self.ran.lock().unwrap().clone()
    }

    async fn once(&self, task: &Bytes, cancel: &Cancel) -> Result<Bytes> {
        let report = self.inner.run(task.clone(), cancel.clone()).await?;
        self.ran
            .lock()
            .unwrap()
            .push((WriteTask::decode(task).unwrap(), TaskReport::decode(&report).unwrap()));
        Ok(report)
    }

    async fn answer(&self, task: Bytes, cancel: Cancel) -> Result<Bytes> {
        let message = WriteTask::decode(&task).unwrap();
        *self.attempts.lock().unwrap().entry((message.stage, message.task)).or_default() += 1;
        match (self.plan)(&message) {
            None => self.once(&task, &cancel).await,
            Some(Fault::Before) => Err(Error::unavailable("the worker was gone before it began")),
            Some(Fault::ReplyLost) => {
                self.once(&task, &cancel).await?;
                Err(Error::unavailable("the worker's answer was lost"))
            }
            Some(Fault::Twice) => {
                self.once(&task, &cancel).await?;
                self.once(&task, &cancel).await
            }
            Some(Fault::Throttled) => Err(Error::new(crate::ErrorKind::Throttled, "slow down")),
            Some(Fault::Refused) => Err(Error::invalid("the value 7 is out of range")),
            Some(Fault::Hangs) => {
                tokio::time::sleep(Duration::from_secs(600)).await;
                Err(Error::bug("it was not stopped"))
            }
        }
    }
}

#[async_trait]
impl Executor for Spy {
    async fn run(&self, task: Bytes, cancel: Cancel) -> Result<Bytes> {
        let now = self.running.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_at_once.fetch_max(now, Ordering::SeqCst);
        let answer = self.answer(task, cancel).await;
        self.running.fetch_sub(1, Ordering::SeqCst);
        answer
    }

    fn task_context(&self) -> Arc<TaskContext> {
        self.inner.task_context()
    }

    async fn settle(&self) {
        self.inner.settle().await;
    }
}

/// Engines on one warehouse: one as users have it by default, others that part their writes.
pub(super) struct Bench {
    dir: tempfile::TempDir,
    pub(super) plain: Engine,
}

impl Bench {
    pub(super) async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let plain = Engine::open(Self::settings(&dir)).await.unwrap();
        Self { dir, plain }
    }

    fn settings(dir: &tempfile::TempDir) -> EngineSettings {
        let warehouse = dir.path().join("w").display().to_string();
        EngineSettings { threads: Some(2), ..EngineSettings::new(warehouse) }
    }

    /// An engine that parts writes into `tasks` tasks, two of which run at once.
    pub(super) async fn parted(
        &self,
        tasks: usize,
        plan: impl Fn(&WriteTask) -> Option<Fault> + Send + Sync + 'static,
    ) -> (Engine, Arc<Spy>) {
        let settings = EngineSettings { slots: Some(2), tasks: Some(tasks), ..Self::settings(&self.dir) };
        let mut spy = None;
        let engine = Engine::open(settings).await.unwrap().with_executor(|inner| {
            let made = Arc::new(Spy {
                inner,
                plan: Box::new(plan),
                running: AtomicUsize::new(0),
                most_at_once: AtomicUsize::new(0),
                ran: Mutex::default(),
                attempts: Mutex::default(),
            });
            spy = Some(Arc::clone(&made));
            made
        });
        (engine, spy.unwrap())
    }

    /// The folder that everything is in.
    pub(super) fn folder(&self) -> String {
        self.dir.path().display().to_string()
    }

    /// All files below the warehouse with this in their path.
    pub(super) fn files(&self, part: &str) -> Vec<String> {
        fn walk(dir: &std::path::Path, found: &mut Vec<String>) {
            for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
                let path = entry.path();
                if path.is_dir() { walk(&path, found) } else { found.push(path.display().to_string()) }
            }
        }
        let mut found = Vec::new();
        walk(self.dir.path(), &mut found);
        found.retain(|path| path.contains(part));
        found
    }

    /// `numbers (k bigint, v bigint, t varchar)`: 3000 rows, 48 files, 30 keys; and `names (k, name)`: 30 rows.
    pub(super) async fn with_numbers(self) -> Self {
        let digits = "(VALUES (0), (1), (2), (3), (4), (5), (6), (7), (8), (9))";
        run(
            &self.plain,
            &format!(
                "CREATE TABLE numbers (k bigint, v bigint, t varchar) PARTITIONED BY (bucket(48, v))
                     TBLPROPERTIES ('table_type'='ICEBERG');
                 INSERT INTO numbers SELECT n % 30, n, 'text ' || CAST(n % 7 AS varchar) FROM
                     (SELECT a.x + 10 * b.x + 100 * c.x + 1000 * d.x AS n
                      FROM {digits} a(x), {digits} b(x), {digits} c(x), (VALUES (0), (1), (2)) d(x));
                 CREATE TABLE names AS SELECT CAST(k AS bigint) AS k, 'name ' || CAST(k AS varchar) AS name FROM
                     (SELECT a.x + 10 * b.x AS k FROM {digits} a(x), (VALUES (0), (1), (2)) b(x))"
            ),
        )
        .await
        .unwrap();
        self
    }
}

/// Runs statements; the last one's rows, each as text, in order.
pub(super) async fn run(engine: &Engine, sql: &str) -> Result<Vec<String>> {
    let mut rows = Vec::new();
    let session = engine.session();
    for statement in parse_script(sql)? {
        rows.clear();
        if let StatementResult::Rows(mut stream) = session.run(&statement, &Cancel::new()).await? {
            while let Some(batch) = stream.next().await {
                let batch = batch.map_err(crate::plan::from_datafusion)?;
                let options = FormatOptions::default().with_null("NULL");
                let columns: Vec<_> = batch
                    .columns()
                    .iter()
                    .map(|column| ArrayFormatter::try_new(column.as_ref(), &options).unwrap())
                    .collect();
                for row in 0..batch.num_rows() {
                    let cells: Vec<String> =
                        columns.iter().map(|column| column.value(row).to_string()).collect();
                    rows.push(cells.join("|"));
                }
            }
        }
    }
    rows.sort();
    Ok(rows)
}

/// Runs one write.
pub(super) async fn write(engine: &Engine, sql: &str) -> Result<WriteSummary> {
    let statement = parse_script(sql)?.remove(0);
    match engine.session().run(&statement, &Cancel::new()).await? {
        StatementResult::Written(summary) => Ok(summary),
        other => panic!("{sql} is no write: {other:?}"),
    }
}
