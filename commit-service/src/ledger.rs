//! The ledger: one row per write, `active (round) | committed | fenced`. It makes a write happen at most
//! once, keeps a zombie from committing, and answers "did it happen?" with one read.
//!
//! The row turns committed only inside [`Publisher::publish`](crate::pointer::Publisher::publish); here are
//! the other transitions. Why `begin` need not survive a power cut: `docs/decisions/0002-ledger-durability.md`.

pub mod owner;

use std::time::Duration;

use async_trait::async_trait;
use icecap_table::Result;
use icecap_table::commit::{BeginWrite, Begun, RunningWrite, WriteState};
use icecap_table::id::WriteId;

/// A write whose last sign of life is older counts as dead.
pub const HEARTBEAT_BOUND: Duration = Duration::from_secs(60);

/// How often a running write should give a sign of life.
pub const HEARTBEAT_EVERY: Duration = Duration::from_secs(15);

/// Who runs a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// This process: its death is seen at once, by the lock that it no longer holds.
    ThisProcess,
    /// Somebody behind a network: only heartbeats tell.
    Remote,
}

/// A store of ledger rows.
#[async_trait]
pub trait Ledger: Send + Sync + std::fmt::Debug {
    /// Registers a write, or takes a dead one over under the next round.
    ///
    /// # Errors
    /// `Unavailable` while the write is alive elsewhere or the store cannot be reached; `Invalid` when the id
    /// belongs to another intent; `Fenced` when the row is fenced.
    async fn begin(&self, write: BeginWrite, owner: Owner) -> Result<Begun>;

    /// Records a sign of life; on a committed row it has no effect.
    ///
    /// # Errors
    /// `Fenced` when the row is not active in this round; `Unavailable`.
    async fn heartbeat(&self, write_id: WriteId, round: u32, deadline_ms: i64) -> Result<()>;

    /// The state of a write; `None` when there is no row.
    ///
    /// # Errors
    /// `Unavailable`; `Corrupt` when the row cannot be read.
    async fn state(&self, write_id: WriteId) -> Result<Option<WriteState>>;

    /// Fences a row that is active in this round (or absent), and returns the state after it: a row that
    /// another round owns, or that is committed, stays as it is.
    ///
    /// # Errors
    /// `Unavailable`; `Corrupt` when the row cannot be read.
    async fn abandon(&self, write_id: WriteId, round: u32) -> Result<WriteState>;
    /// The active rows, in the order of their ids.
    ///
    /// # Errors
    /// `Unavailable`; `Corrupt` when a row cannot be read.
    async fn active(&self) -> Result<Vec<RunningWrite>>;
}
