//! The commit service: the only code that makes a write visible.
//!
//! A request goes queue → lease → committer → pointer. [`queue`] orders the requests of one process by table,
//! [`lease`] keeps other processes from wasting work, [`committer`] turns a request into manifests, metadata
//! and swaps, and [`pointer`](mod@pointer) publishes them with the write's row of the [`ledger`] in one atomic step.
//! [`service`] assembles them into a `CommitClient`.
//!
//! Only the pointer's conditional swap makes a commit correct. The lease is politeness: every test passes
//! with one that always says yes. No SQL engine and no Parquet reading may come in here.

pub mod committer;
pub mod lease;
pub mod ledger;
pub mod pointer;
pub mod queue;
pub mod service;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

pub use lease::{FlockLease, Lease, LeaseGuard};
pub use ledger::{Ledger, Owner};
pub use pointer::sqlite::SqliteStore;
pub use pointer::{Expect, LedgerCommit, Next, ObjectKind, Pointer, Publish, Publisher, Swap};
pub use service::{CommitService, CommitServiceSettings, Parts};
