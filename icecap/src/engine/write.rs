//! The way of every write: begin in the ledger, do the work, commit, and clean up after what certainly failed.
//!
//! Files are deleted only after the write is fenced: a failed call alone proves nothing.

use std::collections::HashSet;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use icecap_table::commit::{
    BeginWrite, Begun, CommitOutcome, CommitRequest, Committed, StatementKind, TableChange, WriteState,
};
use icecap_table::id::WriteId;
use icecap_table::{Applied, ErrorKind};
use uuid::Uuid;

use super::session::Run;
use super::{Cost, Parts, StatementResult, WriteSummary};
use crate::write::is_staged_by;
use crate::{Error, Result};

/// How long a write without a sign of life counts as alive.
const HEARTBEAT_BOUND: Duration = Duration::from_secs(60);
const HEARTBEAT_EVERY: Duration = Duration::from_secs(15);
/// How many fenced tries under one token are looked through for the first that may still commit.
const MAX_TOKEN_RETRIES: u32 = 1000;

/// How often a write is planned that loses its races.
const MAX_PLANS: u32 = 4;

/// What a write declares before it starts.
pub(super) struct Intent {
    pub(super) kind: StatementKind,
    /// What it writes to, as the statement names it: part of the intent's hash.
    pub(super) target: String,
    /// The snapshot that it reads, so that it does not expire meanwhile.
    pub(super) bases: Vec<(Uuid, i64)>,
    /// Where it uploads.
    pub(super) prefixes: Vec<String>,
}

/// A write that the ledger holds as active.
#[derive(Debug, Clone, Copy)]
pub(super) struct ActiveWrite {
    pub(super) id: WriteId,
    pub(super) round: u32,
}

impl Run {
    /// Runs a write. `work` gets the active write and returns its changes; this publishes them.
    ///
    /// # Errors
    /// `Cancelled` and `Exhausted` only before the swap was sent; `CommitStateUnknown` when its answer was lost.
    pub(super) async fn write<W>(
        &self,
        intent: Intent,
        work: impl FnOnce(ActiveWrite) -> W,
    ) -> Result<StatementResult>
    where
        W: Future<Output = Result<Vec<TableChange>>>,
    {
        let mut work = Some(work);
        let once = |write, _| {
            let work = work.take().map(|work| work(write));
            async move {
                match work {
                    Some(work) => work.await,
                    None => Err(Error::bug("a write that is not planned again was to be")),
                }
            }
        };
        self.write_in_tries(intent, 1, once).await
    }

    /// Runs a write that is planned again when it lost a race: `work` is then called once more, with why, some times
    /// at most and within the statement's time. No changes: there is nothing to do (any more), and nothing is published.
    ///
    /// # Errors
    /// As [`write`](Self::write); `Conflict` when every try lost.
    pub(super) async fn write_replanned<W>(
        &self,
        intent: Intent,
        work: impl FnMut(ActiveWrite, Option<String>) -> W,
    ) -> Result<StatementResult>
    where
        W: Future<Output = Result<Vec<TableChange>>>,
    {
        self.write_in_tries(intent, MAX_PLANS, work).await
    }

    async fn write_in_tries<W>(
        &self,
        mut intent: Intent,
        tries: u32,
        mut work: impl FnMut(ActiveWrite, Option<String>) -> W,
    ) -> Result<StatementResult>
    where
        W: Future<Output = Result<Vec<TableChange>>>,
    {
        if self.parts.tier.is_distributed() {
            intent.prefixes.push(self.parts.exchange_folder());
        }
        let (write, begun) = self.begin(&intent).await?;
        let round = match begun {
            Begun::Committed(committed) => return Ok(self.written(&committed, write)),
            Begun::Active { round } => round,
        };
        let active = ActiveWrite { id: write, round };
        let heartbeat = Heartbeat::start(Arc::clone(&self.parts), active);
        let mut lost = None;
        let mut left = tries;
        let result = loop {
            let changes = match self.limited(work(active, lost.take())).await {
                Ok(changes) if changes.is_empty() => break Ok(None),
                Ok(changes) => changes,
                // Nothing was sent, whatever the error says of itself.
                Err(error) => break Err((error, false)),
            };
            left = left.saturating_sub(1);
            match self.publish(active, intent.kind, changes).await {
                Ok(Published::Done(committed)) => break Ok(Some(committed)),
                Ok(Published::Lost(why)) if left > 0 => {
                    tracing::info!(write = %write, %why, "the statement lost a race and is planned again");
                    self.races.lost();
                    lost = Some(why);
                }
                Ok(Published::Lost(why)) => {
                    let times = if tries > 1 { format!(" {tries} times") } else { String::new() };
                    let why = format!("the statement lost a race{times}: {why}; run it again");
                    break Err((Error::conflict(why), true));
                }
                Err(error) => break Err((error, true)),
            }
        };
        drop(heartbeat);
        match result {
            Ok(Some(committed)) => {
                self.delete_losers(active, &intent).await;
                Ok(self.written(&committed, active.id))
            }
            Ok(None) => self.give_up(active, &intent).await,
            Err((error, was_sent)) => self.clean_up(active, &intent, error, was_sent).await,
        }
    }

    /// What a statement answers that found nothing to do, before it began a write: under a token it may have been
    /// published before, so the ledger is asked.
    pub(super) async fn nothing_to_do(&self, kind: StatementKind, target: String) -> Result<StatementResult> {
        let intent = Intent { kind, target, bases: Vec::new(), prefixes: Vec::new() };
        if self.parts.settings.token.is_none() {
            return Ok(self.nothing_written(&intent));
        }
        match self.begin(&intent).await? {
            (id, Begun::Committed(committed)) => Ok(self.written(&committed, id)),
            (id, Begun::Active { round }) => self.give_up(ActiveWrite { id, round }, &intent).await,
        }
    }

    /// Fences a write that has nothing to publish.
    async fn give_up(&self, write: ActiveWrite, intent: &Intent) -> Result<StatementResult> {
        match self.parts.commit.abandon(write.id, write.round).await? {
            WriteState::Committed(committed) => Ok(self.written(&committed, write.id)),
            WriteState::Fenced => {
                self.parts.executor.settle().await;
                self.parts.delete_staged(write.id, &intent.prefixes, &HashSet::new()).await;
                Ok(self.nothing_written(intent))
            }
            // Another process took it over, and tells of it.
            WriteState::Active { .. } => Ok(self.nothing_written(intent)),
        }
    }

    fn nothing_written(&self, intent: &Intent) -> StatementResult {
        let nothing = Committed { statement: intent.kind.as_str().to_owned(), tables: Vec::new() };
        let mut summary = WriteSummary::of(&nothing, self.started.elapsed(), None);
        summary.table.clone_from(&intent.target);
        summary.races = self.races.told();
        StatementResult::Written(summary)
    }

    /// Deletes what attempts left that did not win: the write is committed without it. A message that was delivered
    /// twice is nobody's failure, so what stages stored for one another is looked for in any case; there is little
    /// to list, and no data file is ever there.
    async fn delete_losers(&self, write: ActiveWrite, intent: &Intent) {
        let winners = self.winners.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(winners) = winners {
            self.parts.executor.settle().await;
            self.parts.delete_staged(write.id, &intent.prefixes, &winners).await;
        } else if self.parts.meter.crossed(write.id) {
            self.parts.delete_exchange(write.id).await;
        }
    }

    /// For a write that could not be planned. Under a token it may have been published before (and what it needs
    /// may be gone since), so the ledger is asked; else `error` it is.
    pub(super) async fn replay_or(
        &self,
        kind: StatementKind,
        target: String,
        error: Error,
    ) -> Result<StatementResult> {
        if self.parts.settings.token.is_none() {
            return Err(error);
        }
        let intent = Intent { kind, target, bases: Vec::new(), prefixes: Vec::new() };
        match self.begin(&intent).await? {
            (id, Begun::Committed(committed)) => Ok(self.written(&committed, id)),
            (id, Begun::Active { round }) => {
                self.parts.commit.abandon(id, round).await?;
                Err(error)
            }
        }
    }

    async fn begin(&self, intent: &Intent) -> Result<(WriteId, Begun)> {
        for retry in 0..MAX_TOKEN_RETRIES {
            let id = match &self.parts.settings.token {
                Some(token) => WriteId::from_token(token, self.ordinal, retry),
                None => WriteId::new(self.parts.ids.uuid()),
            };
            let begin = BeginWrite {
                write_id: id,
                kind: intent.kind,
                intent_hash: self.intent_hash(intent),
                deadline_ms: self.parts.deadline_ms(),
                bases: intent.bases.clone(),
                prefixes: intent.prefixes.clone(),
            };
            match self.limited(self.parts.commit.begin(begin)).await {
                Ok(begun) => return Ok((id, begun)),
                Err(error) if error.kind() == ErrorKind::Fenced && self.parts.settings.token.is_some() => {}
                Err(error) => return Err(error),
            }
        }
        Err(Error::fenced(format!(
            "{MAX_TOKEN_RETRIES} tries under this token were fenced: use another --id"
        )))
    }

    fn intent_hash(&self, intent: &Intent) -> [u8; 32] {
        icecap_table::id::intent_hash(&[intent.kind.as_str(), &self.text, &intent.target])
    }

    async fn publish(
        &self,
        write: ActiveWrite,
        kind: StatementKind,
        changes: Vec<TableChange>,
    ) -> Result<Published> {
        let request = CommitRequest { write_id: write.id, round: write.round, kind, changes };
        match self.parts.commit.commit(request).await? {
            CommitOutcome::Committed(committed) => Ok(Published::Done(committed)),
            CommitOutcome::Conflict { why } => Ok(Published::Lost(why)),
            CommitOutcome::Rejected { requirement } => Err(rejected(kind, &requirement)),
        }
    }

    /// Fences a failed write, then deletes what it uploaded. When the ledger shows that it did commit, it did.
    /// `was_sent`: whether it was asked to be published.
    async fn clean_up(
        &self,
        write: ActiveWrite,
        intent: &Intent,
        error: Error,
        was_sent: bool,
    ) -> Result<StatementResult> {
        if (was_sent && error.applied() == Applied::Unknown) || error.kind() == ErrorKind::Fenced {
            return Err(self.advise(write, error));
        }
        match self.parts.commit.abandon(write.id, write.round).await {
            Ok(WriteState::Committed(committed)) => Ok(self.written(&committed, write.id)),
            Ok(WriteState::Fenced) => {
                self.parts.executor.settle().await;
                self.parts.delete_staged(write.id, &intent.prefixes, &HashSet::new()).await;
                Err(error)
            }
            // Still active under another round, or no answer: its files are not ours to delete.
            Ok(WriteState::Active { .. }) | Err(_) => Err(error),
        }
    }

    fn written(&self, committed: &Committed, write: WriteId) -> StatementResult {
        let cost = Cost::of(&self.parts.meter.take(write));
        let mut summary = WriteSummary::of(committed, self.started.elapsed(), cost);
        summary.races = self.races.told();
        StatementResult::Written(summary)
    }

    fn advise(&self, write: ActiveWrite, error: Error) -> Error {
        if error.kind() != ErrorKind::CommitStateUnknown {
            return error;
        }
        let advice = match &self.parts.settings.token {
            Some(token) => format!("run the same statements again with --id {token} to learn the outcome"),
            None => "look for this write id in the table's snapshot summaries (icecap.write-id)".to_owned(),
        };
        error.with("write", write.id.to_string()).with("advice", advice)
    }
}

/// How a publication ended.
enum Published {
    Done(Committed),
    /// The base moved, and why that matters.
    Lost(String),
}

fn rejected(kind: StatementKind, requirement: &str) -> Error {
    match kind {
        StatementKind::CreateTable
        | StatementKind::CreateTableAsSelect
        | StatementKind::CreateNamespace
        | StatementKind::Call => Error::already_exists(requirement.to_owned()),
        StatementKind::AlterTable => Error::conflict(format!(
            "another change of the table came first ({requirement}): run the statement again"
        )),
        _ => Error::conflict(requirement.to_owned()),
    }
}

impl Parts {
    fn deadline_ms(&self) -> i64 {
        let bound = i64::try_from(HEARTBEAT_BOUND.as_millis()).unwrap_or(i64::MAX);
        self.clock.now_ms().saturating_add(bound)
    }

    /// Deletes what a write's stages stored for one another, which no commit can name.
    async fn delete_exchange(&self, write: WriteId) {
        let (folder, wanted) = (self.exchange_folder(), write.to_string());
        if let Err(error) = self.storage.abort_uploads(&folder, &wanted).await {
            tracing::warn!(%write, %error, "unfinished uploads of an exchange may be left behind");
        }
        let left = match self.storage.list_named(&folder, &wanted).await {
            Ok(left) => left,
            Err(error) => {
                tracing::warn!(%write, %error, "objects of an exchange may be left behind");
                return;
            }
        };
        for location in left {
            match self.storage.delete(&location).await {
                Ok(()) => tracing::info!(%location, "an exchange's object that nobody read was deleted"),
                Err(error) => tracing::warn!(%location, %error, "an exchange's object was left behind"),
            }
        }
    }

    /// Deletes the files whose base names begin with the write's id, but for those to `keep`, and aborts its unfinished
    /// uploads. What cannot be deleted stays an orphan with a known name.
    async fn delete_staged(&self, write: WriteId, prefixes: &[String], keep: &HashSet<String>) {
        let wanted = write.to_string();
        for prefix in prefixes {
            match self.storage.abort_uploads(prefix, &wanted).await {
                Ok(aborted) => {
                    for location in aborted {
                        tracing::info!(%location, "an unfinished upload of a failed write was aborted");
                    }
                }
                Err(error) => tracing::warn!(%prefix, %error, "unfinished uploads may be left behind"),
            }
            let Ok(locations) = self.storage.list(prefix).await else { continue };
            for location in locations {
                if is_staged_by(&location, write)
                    && !keep.contains(&location)
                    && let Err(error) = self.storage.delete(&location).await
                {
                    tracing::warn!(%location, %error, "a staged file of a failed write was left behind");
                }
            }
        }
    }
}

/// Says that a write is alive while it is held.
struct Heartbeat(tokio::task::JoinHandle<()>);

impl Heartbeat {
    fn start(parts: Arc<Parts>, write: ActiveWrite) -> Self {
        Self(tokio::spawn(async move {
            loop {
                tokio::time::sleep(HEARTBEAT_EVERY).await;
                if let Err(error) = parts.commit.heartbeat(write.id, write.round, parts.deadline_ms()).await {
                    // The commit will be refused if it matters; until then the work goes on.
                    tracing::warn!(write = %write.id, %error, "heartbeat failed");
                }
            }
        }))
    }
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        self.0.abort();
    }
}
