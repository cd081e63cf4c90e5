//! Memory of a task's writers: one limit for all of them, and DataFusion's pool for the whole engine.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use datafusion::execution::memory_pool::{MemoryConsumer, MemoryPool, MemoryReservation};

/// What the writers of one task may hold together.
#[derive(Debug)]
pub(crate) struct Budget {
    limit: usize,
    used: AtomicUsize,
    writers: AtomicUsize,
}

impl Budget {
    /// A budget of `limit` bytes; absent: as the pool allows.
    pub(crate) fn new(limit: Option<u64>) -> Arc<Self> {
        let limit = limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
        Arc::new(Self { limit, used: AtomicUsize::new(0), writers: AtomicUsize::new(0) })
    }

    /// Lets one more writer in.
    pub(crate) fn share(self: &Arc<Self>, pool: &Arc<dyn MemoryPool>) -> Share {
        self.writers.fetch_add(1, Ordering::Relaxed);
        let reservation = MemoryConsumer::new("IcebergWrite").with_can_spill(true).register(pool);
        Share { budget: Arc::clone(self), reservation, held: 0 }
    }

    /// Bytes that each writer may always hold: an equal part of the limit.
    pub(crate) fn part(&self) -> usize {
        self.limit / self.writers().max(1)
    }

    /// How many writers there are.
    pub(crate) fn writers(&self) -> usize {
        self.writers.load(Ordering::Relaxed)
    }
}

/// One writer's part of the budget; given back when dropped.
#[derive(Debug)]
pub(crate) struct Share {
    budget: Arc<Budget>,
    reservation: MemoryReservation,
    held: usize,
}

impl Share {
    /// Says how many bytes the writer holds now. Returns whether that is fine; if not, the writer has to
    /// hold less.
    ///
    /// A writer may always hold its [`part`](Budget::part), so that one of them cannot starve the others.
    pub(crate) fn hold(&mut self, bytes: usize) -> bool {
        let budget = &self.budget;
        let before = budget.used.fetch_add(bytes, Ordering::Relaxed);
        budget.used.fetch_sub(self.held, Ordering::Relaxed);
        let used = before.saturating_add(bytes).saturating_sub(self.held);
        self.held = bytes;
        (used <= budget.limit || bytes <= budget.part()) && self.reservation.try_resize(bytes).is_ok()
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.held, Ordering::Relaxed);
        self.budget.writers.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use datafusion::execution::memory_pool::{GreedyMemoryPool, UnboundedMemoryPool};

    use super::*;

    #[test]
    fn a_writer_may_use_what_the_others_leave_but_never_less_than_its_part() {
        let pool: Arc<dyn MemoryPool> = Arc::new(UnboundedMemoryPool::default());
        let budget = Budget::new(Some(100));
        let (mut one, mut other) = (budget.share(&pool), budget.share(&pool));
        assert!(one.hold(90));
        assert!(other.hold(50));
        assert!(!one.hold(90));
        assert!(one.hold(50));
        drop(other);
        assert!(one.hold(100));
        assert!(!one.hold(101));
        assert_eq!(budget.writers(), 1);
        drop(one);
        assert_eq!(budget.used.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn the_pool_has_a_say_too() {
        let pool: Arc<dyn MemoryPool> = Arc::new(GreedyMemoryPool::new(100));
        let budget = Budget::new(None);
        let mut share = budget.share(&pool);
        assert!(share.hold(100));
        assert!(!share.hold(101));
        assert_eq!(pool.reserved(), 100);
        drop(share);
        assert_eq!(pool.reserved(), 0);
    }
}
