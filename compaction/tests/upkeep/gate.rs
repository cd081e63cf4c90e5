//! A way to the commit service with a gate before it: a test opens it, and does first what others do meanwhile.

use std::sync::Arc;

use async_trait::async_trait;
use icecap::engine::{Cancel, Engine, StatementResult, WriteSummary};
use icecap::sql::parse_script;
use icecap_table::Result;
use icecap_table::commit::{
    BeginWrite, Begun, CommitClient, CommitOutcome, CommitRequest, RunningWrite, WriteState,
};
use icecap_table::id::WriteId;
use tokio::sync::{mpsc, oneshot};

/// Commits that wait before the gate; sending to one lets it through.
pub type Waiting = mpsc::UnboundedReceiver<oneshot::Sender<()>>;

#[derive(Debug)]
struct Gate {
    inner: Arc<dyn CommitClient>,
    waiting: mpsc::UnboundedSender<oneshot::Sender<()>>,
    is_blind: bool,
}

/// The engine whose commits wait until they are let through; when `Waiting` is dropped, all are.
pub fn gated(engine: &Engine) -> (Engine, Waiting) {
    let (waiting, commits) = mpsc::unbounded_channel();
    (engine.with_commit(|inner| Arc::new(Gate { inner, waiting, is_blind: false })), commits)
}

/// Runs one statement, a write.
pub async fn run_one(engine: &Engine, sql: &str) -> Result<WriteSummary> {
    match engine.session().run(&parse_script(sql)?[0], &Cancel::default()).await? {
        StatementResult::Written(summary) => Ok(summary),
        other => panic!("{sql} is no write: {other:?}"),
    }
}

/// Runs a statement; before each of its first `times` commits, `meanwhile` happens.
pub async fn raced(
    engine: &Engine,
    sql: &str,
    times: usize,
    mut meanwhile: impl AsyncFnMut(usize),
) -> Result<WriteSummary> {
    let (engine, mut waiting) = gated(engine);
    let sql = sql.to_owned();
    let running = tokio::spawn(async move { run_one(&engine, &sql).await });
    for time in 0..times {
        // None: the statement ended without another commit, and its result says why.
        let Some(go) = waiting.recv().await else { break };
        meanwhile(time).await;
        go.send(()).unwrap();
    }
    drop(waiting);
    running.await.unwrap()
}

/// A way to the commit service that shows nobody else's writes: upkeep waits for none.
pub fn blind(inner: Arc<dyn CommitClient>) -> Arc<dyn CommitClient> {
    let (waiting, _) = mpsc::unbounded_channel();
    Arc::new(Gate { inner, waiting, is_blind: true })
}

#[async_trait]
impl CommitClient for Gate {
    async fn begin(&self, write: BeginWrite) -> Result<Begun> {
        self.inner.begin(write).await
    }

    async fn heartbeat(&self, write_id: WriteId, round: u32, deadline_ms: i64) -> Result<()> {
        self.inner.heartbeat(write_id, round, deadline_ms).await
    }

    async fn commit(&self, request: CommitRequest) -> Result<CommitOutcome> {
        let (go, wait) = oneshot::channel();
        if self.waiting.send(go).is_ok() {
            // Dropped unsent: nobody holds the gate any more.
            let _ = wait.await;
        }
        self.inner.commit(request).await
    }

    async fn outcome(&self, write_id: WriteId) -> Result<Option<WriteState>> {
        self.inner.outcome(write_id).await
    }

    async fn abandon(&self, write_id: WriteId, round: u32) -> Result<WriteState> {
        self.inner.abandon(write_id, round).await
    }

    async fn active_writes(&self) -> Result<Vec<RunningWrite>> {
        if self.is_blind {
            return Ok(Vec::new());
        }
        self.inner.active_writes().await
    }
}
