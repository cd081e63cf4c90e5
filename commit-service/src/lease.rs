//! The lease: who tries next. Politeness only, so it never fails and never refuses: a caller that waited
//! long enough goes on without it, and the pointer's swap decides.

mod flock;

use std::time::Duration;

use async_trait::async_trait;
use icecap_table::id::TableIdent;

pub use flock::FlockLease;
pub(crate) use flock::{lock_path, open_lock};

/// A lease on some tables, given back when dropped.
pub struct LeaseGuard {
    held: bool,
    _release: Option<Box<dyn Send>>,
}

impl LeaseGuard {
    /// A lease that is held until `release` is dropped.
    pub fn held(release: impl Send + 'static) -> Self {
        Self { held: true, _release: Some(Box::new(release)) }
    }

    /// No lease: the wait was too long, or the lock does not work.
    pub fn without() -> Self {
        Self { held: false, _release: None }
    }

    /// Whether the lease is held.
    pub fn is_held(&self) -> bool {
        self.held
    }
}

impl std::fmt::Debug for LeaseGuard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LeaseGuard").field("held", &self.held).finish_non_exhaustive()
    }
}

/// Best-effort exclusivity between committers.
#[async_trait]
pub trait Lease: Send + Sync + std::fmt::Debug {
    /// Waits for the lease on `tables`, at most for `wait`.
    async fn acquire(&self, tables: &[TableIdent], wait: Duration) -> LeaseGuard;
}
