//! The assembled commit service: what an engine in the same process calls, and what a server wraps.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use icecap_table::Result;
use icecap_table::clock::{Clock, IdSource};
use icecap_table::commit::{
    BeginWrite, Begun, CommitClient, CommitOutcome, CommitRequest, RunningWrite, WriteState,
};
use icecap_table::id::{TableIdent, WriteId};
use icecap_table::location::Policy;
use icecap_table::storage::Storage;

use crate::committer::Committer;
use crate::lease::{FlockLease, Lease};
use crate::ledger::{Ledger, Owner};
use crate::pointer::Publisher;
use crate::pointer::sqlite::SqliteStore;
use crate::queue::TableQueues;

/// The components of a [`CommitService`].
#[derive(Debug, Clone)]
pub struct Parts {
    /// The pointer store.
    pub publisher: Arc<dyn Publisher>,
    /// The ledger; its rows turn committed in the publisher's atomic step, so it lies in the same store.
    pub ledger: Arc<dyn Ledger>,
    /// Keeps other processes from wasting work.
    pub lease: Arc<dyn Lease>,
    /// Where manifests and metadata are written. A catalog in the same process best gets a clone: it then finds
    /// what was committed in their cache.
    pub storage: Storage,
    /// Which locations may be read and written.
    pub policy: Policy,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Names of files, and the jitter of pauses.
    pub ids: Arc<dyn IdSource>,
}

impl Parts {
    /// The embedded default: everything beside one SQLite file, `flock` between processes.
    pub fn embedded(
        store: &SqliteStore,
        storage: Storage,
        policy: Policy,
        clock: Arc<dyn Clock>,
        ids: Arc<dyn IdSource>,
    ) -> Self {
        Self {
            publisher: Arc::new(store.clone()),
            ledger: Arc::new(store.clone()),
            lease: Arc::new(FlockLease::beside(store.path())),
            storage,
            policy,
            clock,
            ids,
        }
    }
}

/// How a [`CommitService`] behaves.
#[derive(Debug, Clone)]
pub struct CommitServiceSettings {
    /// Who runs the writes that begin here.
    pub owner: Owner,
    /// How long a commit waits for the lease before it goes on without.
    pub lease_wait: Duration,
    /// How long a commit that loses races is tried at most; `None` leaves it to the table's
    /// `commit.retry.total-timeout-ms`, else the lesser of the two holds.
    pub timeout: Option<Duration>,
}

impl Default for CommitServiceSettings {
    fn default() -> Self {
        Self { owner: Owner::ThisProcess, lease_wait: Duration::from_secs(10), timeout: None }
    }
}

/// Commits requests: queue → lease → committer.
#[derive(Debug)]
pub struct CommitService {
    queues: TableQueues,
    committer: Committer,
    owner: Owner,
}

impl CommitService {
    /// The embedded service over one SQLite file.
    pub fn new(
        store: SqliteStore,
        storage: Storage,
        clock: Arc<dyn Clock>,
        ids: Arc<dyn IdSource>,
        policy: Policy,
        settings: CommitServiceSettings,
    ) -> Self {
        Self::assemble(Parts::embedded(&store, storage, policy, clock, ids), settings)
    }

    /// A service of any parts.
    pub fn assemble(parts: Parts, settings: CommitServiceSettings) -> Self {
        Self {
            queues: TableQueues::default(),
            owner: settings.owner,
            committer: Committer {
                publisher: parts.publisher,
                ledger: parts.ledger,
                lease: parts.lease,
                storage: parts.storage,
                policy: parts.policy,
                clock: parts.clock,
                ids: parts.ids,
                lease_wait: settings.lease_wait,
                timeout: settings.timeout,
            },
        }
    }
}

#[async_trait]
impl CommitClient for CommitService {
    async fn begin(&self, write: BeginWrite) -> Result<Begun> {
        self.committer.ledger.begin(write, self.owner).await
    }

    async fn heartbeat(&self, write_id: WriteId, round: u32, deadline_ms: i64) -> Result<()> {
        self.committer.ledger.heartbeat(write_id, round, deadline_ms).await
    }

    async fn commit(&self, request: CommitRequest) -> Result<CommitOutcome> {
        let tables: Vec<TableIdent> = request.changes.iter().map(|change| change.ident.clone()).collect();
        let _turn = self.queues.turn(&tables).await;
        self.committer.commit(&request).await
    }

    async fn outcome(&self, write_id: WriteId) -> Result<Option<WriteState>> {
        self.committer.ledger.state(write_id).await
    }

    async fn abandon(&self, write_id: WriteId, round: u32) -> Result<WriteState> {
        self.committer.ledger.abandon(write_id, round).await
    }

    async fn active_writes(&self) -> Result<Vec<RunningWrite>> {
        self.committer.ledger.active().await
    }
}
