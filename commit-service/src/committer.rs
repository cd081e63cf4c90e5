//! One request, committed: replay, prepare on the current state, publish, and again when the race was lost.
//!
//! Rebase is by construction: each attempt is prepared from the table as it is then, so an append never
//! conflicts with an append. A change of rows is validated at each attempt against all that was committed since its
//! base (`files`). What an attempt wrote is deleted only when its swap can certainly never land.

mod attempt;
mod check;
mod content;
mod create;
mod files;
mod metadata;
mod namespace;

use std::sync::Arc;
use std::time::Duration;

use icecap_table::clock::{Clock, IdSource};
use icecap_table::commit::{Change, CommitOutcome, CommitRequest, Committed, WriteState};
use icecap_table::id::TableIdent;
use icecap_table::location::Policy;
use icecap_table::storage::Storage;
use icecap_table::{Error, ErrorKind, Result};

use crate::lease::Lease;
use crate::ledger::Ledger;
use crate::pointer::sqlite::{superseded, unknown_write};
use crate::pointer::{Expect, LedgerCommit, Next, Publish, Publisher};
use attempt::{Attempt, Preparation};

/// How often a publication without an answer is sent again before the caller is told.
const UNKNOWN_RETRIES: u32 = 3;
/// The first pause after a lost race; each further one is twice as long, up to the last.
const FIRST_PAUSE: Duration = Duration::from_millis(4);
const LAST_PAUSE: Duration = Duration::from_millis(500);

/// What a committer works with.
#[derive(Debug)]
pub(crate) struct Committer {
    pub(crate) publisher: Arc<dyn Publisher>,
    pub(crate) ledger: Arc<dyn Ledger>,
    pub(crate) lease: Arc<dyn Lease>,
    pub(crate) storage: Storage,
    pub(crate) policy: Policy,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) ids: Arc<dyn IdSource>,
    pub(crate) lease_wait: Duration,
    pub(crate) timeout: Option<Duration>,
}

/// What is known of a request's earlier attempts.
#[derive(Debug, Default)]
struct Effort {
    turns: u32,
    /// Attempts whose swap was sent without an answer.
    doubtful: Vec<Attempt>,
}

impl Effort {
    fn written(&self) -> Vec<String> {
        self.doubtful.iter().flat_map(|attempt| attempt.written.clone()).collect()
    }
}

impl Committer {
    /// Commits a request whose turn has come.
    pub(crate) async fn commit(&self, request: &CommitRequest) -> Result<CommitOutcome> {
        check::request(request)?;
        let began_ms = self.clock.now_ms();
        let tables: Vec<TableIdent> = request.changes.iter().map(|change| change.ident.clone()).collect();
        let mut effort = Effort::default();
        loop {
            match self.standing(request, &effort).await? {
                Standing::Go => {}
                Standing::Committed(committed) => return Ok(self.told(&effort, committed).await),
                Standing::Never(error) => {
                    // Its row keeps every attempt's swap from landing, now and later.
                    self.discard(effort.written()).await;
                    return Err(error);
                }
            }
            let lease = self.lease.acquire(&tables, self.lease_wait).await;
            let turn = self.turn(request, &mut effort).await;
            drop(lease);
            effort.turns += 1;
            match turn {
                Ok(Turn::Committed(committed)) => return Ok(self.told(&effort, committed).await),
                Ok(Turn::Refused(outcome)) if effort.doubtful.is_empty() => {
                    return Ok(self.meanwhile(request, &effort).await.unwrap_or(outcome));
                }
                // The refusal may be an attempt's own effect, seen late: only the ledger can tell.
                Ok(Turn::Refused(_)) => return self.settle(request, &effort, None).await,
                Ok(Turn::Unanswered(error)) => {
                    if effort.doubtful.len() > UNKNOWN_RETRIES as usize {
                        return self.settle(request, &effort, Some(error)).await;
                    }
                }
                Ok(Turn::Lost { bound }) => {
                    let bound = self.timeout.map_or(bound, |timeout| timeout.min(bound));
                    let spent = self.clock.now_ms().saturating_sub(began_ms);
                    if u128::try_from(spent).unwrap_or(0) >= bound.as_millis() {
                        if effort.doubtful.is_empty() {
                            return Ok(CommitOutcome::Conflict {
                                why: timed_out(&tables, effort.turns, bound),
                            });
                        }
                        return self.settle(request, &effort, None).await;
                    }
                }
                Err(error) if effort.doubtful.is_empty() => {
                    return self.meanwhile(request, &effort).await.ok_or(error);
                }
                Err(error) => return self.settle(request, &effort, Some(error)).await,
            }
            tokio::time::sleep(self.pause(effort.turns)).await;
        }
    }

    /// The outcome of the same write, when another copy of it has committed since this one looked: what refused this
    /// attempt was then that one's effect.
    async fn meanwhile(&self, request: &CommitRequest, effort: &Effort) -> Option<CommitOutcome> {
        match self.ledger.state(request.write_id).await {
            Ok(Some(WriteState::Committed(committed))) => Some(self.told(effort, committed).await),
            // No answer is no news: the refusal stands.
            _ => None,
        }
    }

    /// What the ledger says of going on.
    async fn standing(&self, request: &CommitRequest, effort: &Effort) -> Result<Standing> {
        let state = match self.ledger.state(request.write_id).await {
            Ok(state) => state,
            Err(error) if effort.doubtful.is_empty() => return Err(error),
            Err(error) => return Err(state_unknown(request, Some(error))),
        };
        Ok(match state {
            None if effort.doubtful.is_empty() => Standing::Never(unknown_write(request.write_id)),
            None => return Err(state_unknown(request, None)),
            Some(WriteState::Committed(committed)) => Standing::Committed(committed),
            Some(WriteState::Active { round }) if round == request.round => Standing::Go,
            Some(state) => Standing::Never(superseded(request.write_id, request.round, &state)),
        })
    }

    /// One attempt.
    async fn turn(&self, request: &CommitRequest, effort: &mut Effort) -> Result<Turn> {
        let mut attempt = Attempt::default();
        match self.prepare(request, &mut attempt).await {
            Ok(Preparation::Ready) => {}
            Ok(Preparation::Refused(outcome)) => {
                self.discard(attempt.written).await;
                return Ok(Turn::Refused(outcome));
            }
            Err(error) => {
                self.discard(attempt.written).await;
                return Err(error);
            }
        }
        let committed =
            Committed { statement: request.kind.as_str().to_owned(), tables: attempt.tables.clone() };
        let row =
            LedgerCommit { write_id: request.write_id, round: request.round, committed: committed.clone() };
        match self.publisher.publish(attempt.swaps.clone(), vec![row]).await {
            Ok(Publish::Published) => {
                let cache = self.storage.cache();
                for swap in &attempt.swaps {
                    if let Expect::Location(superseded) = &swap.expect
                        && swap.next != Next::Same
                    {
                        cache.forget(superseded);
                    }
                }
                for (location, document) in attempt.documents {
                    document.keep_in(cache, &location);
                }
                for manifests in attempt.manifests {
                    manifests.keep_in(cache);
                }
                self.discard(attempt.given_up).await;
                Ok(Turn::Committed(committed))
            }
            // Refused too: the ledger, read again, says why.
            Ok(Publish::Lost | Publish::Refused) => {
                self.discard(attempt.written).await;
                Ok(Turn::Lost { bound: attempt.retry_timeout })
            }
            Ok(Publish::Unknown(error)) => {
                effort.doubtful.push(attempt);
                Ok(Turn::Unanswered(error))
            }
            Err(error) if error.kind() == ErrorKind::CommitStateUnknown => {
                effort.doubtful.push(attempt);
                Ok(Turn::Unanswered(error))
            }
            Err(error) => {
                self.discard(attempt.written).await;
                Err(error)
            }
        }
    }

    /// The last word on a request some of whose swaps have no answer.
    async fn settle(
        &self,
        request: &CommitRequest,
        effort: &Effort,
        cause: Option<Error>,
    ) -> Result<CommitOutcome> {
        match self.standing(request, effort).await? {
            Standing::Committed(committed) => Ok(self.told(effort, committed).await),
            Standing::Never(error) => {
                self.discard(effort.written()).await;
                Err(error)
            }
            Standing::Go => Err(state_unknown(request, cause)),
        }
    }

    /// The outcome of a committed write; the attempts that did not become it are cleared away.
    async fn told(&self, effort: &Effort, committed: Committed) -> CommitOutcome {
        let unused = effort.doubtful.iter().filter(|attempt| attempt.tables != committed.tables);
        let unused = unused.flat_map(|attempt| attempt.written.clone()).collect();
        self.discard(unused).await;
        CommitOutcome::Committed(committed)
    }

    /// Deletes files that are certainly in no table: what attempts wrote, and what tables gave up. A file that
    /// stays is an orphan.
    async fn discard(&self, written: Vec<String>) {
        for location in written {
            if let Err(error) = self.storage.delete(&location).await {
                tracing::debug!(%location, %error, "an unused file is left as an orphan");
            }
        }
    }

    /// A pause with jitter: between half and all of what the number of turns asks for.
    fn pause(&self, turns: u32) -> Duration {
        let full = FIRST_PAUSE.saturating_mul(1 << turns.min(10)).min(LAST_PAUSE);
        let [low, high, ..] = self.ids.uuid().as_u128().to_le_bytes();
        full / 2 + full.mul_f64(f64::from(u16::from_le_bytes([low, high])) / f64::from(u16::MAX) / 2.0)
    }
}

enum Standing {
    Go,
    Committed(Committed),
    Never(Error),
}

enum Turn {
    Committed(Committed),
    Refused(CommitOutcome),
    Lost { bound: Duration },
    Unanswered(Error),
}

fn state_unknown(request: &CommitRequest, cause: Option<Error>) -> Error {
    let error = Error::commit_state_unknown(
        "the commit was sent and its outcome is not known: ask again under the same id",
    )
    .with("write", request.write_id.to_string());
    match cause {
        Some(cause) => error.with_source(cause),
        None => error,
    }
}

fn timed_out(tables: &[TableIdent], turns: u32, bound: Duration) -> String {
    let names: Vec<String> = tables.iter().map(ToString::to_string).collect();
    format!(
        "other commits to {} were faster {turns} times within {} ms: run the statement again, or raise \
         commit.retry.total-timeout-ms",
        names.join(", "),
        bound.as_millis()
    )
}

/// Whether a change may upload files.
fn files_of(change: &Change) -> &[icecap_table::staged_file::StagedFile] {
    match change {
        Change::Create { files, .. } | Change::Append { files, .. } => files,
        Change::RowDelta(files) | Change::Overwrite(files) | Change::Rewrite(files) => &files.added,
        Change::Drop
        | Change::Metadata { .. }
        | Change::Register { .. }
        | Change::CreateNamespace { .. }
        | Change::DropNamespace { .. } => &[],
    }
}

#[cfg(test)]
mod tests;
