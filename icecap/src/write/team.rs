//! [`Team`]: the writers that share partitions, and when all their rows are in.

use std::sync::Arc;

use tokio::sync::watch;

use icecap_table::{Error, Result};

use super::slots::Slots;
use crate::plan::error::copy;

/// Writers that share partitions.
pub(crate) struct Team {
    pub(crate) slots: Arc<Slots>,
    count: watch::Sender<Count>,
}

#[derive(Debug, Clone, Default)]
struct Count {
    /// How many joined.
    members: usize,
    /// How many of them still read rows.
    reading: usize,
    /// Why one of them stopped before its rows were in.
    failed: Option<Arc<Error>>,
}

/// A place in a team; whoever drops it before its rows are in fails the team.
pub(crate) struct Member {
    pub(crate) team: Arc<Team>,
    reads: bool,
}

impl Team {
    pub(crate) fn new(slots: Slots) -> Self {
        Self { slots: Arc::new(slots), count: watch::Sender::new(Count::default()) }
    }

    /// How many still read rows.
    pub(crate) fn reading(&self) -> usize {
        self.count.borrow().reading
    }

    /// How many write what is left.
    pub(crate) fn members(&self) -> usize {
        self.count.borrow().members
    }
}

impl Member {
    pub(crate) fn join(team: Arc<Team>) -> Self {
        team.count.send_modify(|count| {
            count.members += 1;
            count.reading += 1;
        });
        Self { team, reads: true }
    }

    /// Says that all rows of this writer are in, and waits for those of the others.
    ///
    /// # Errors
    /// What another writer failed with.
    pub(crate) async fn all_are_in(&mut self) -> Result<()> {
        self.reads = false;
        self.team.count.send_modify(|count| count.reading -= 1);
        let mut count = self.team.count.subscribe();
        let ended = count.wait_for(|count| count.reading == 0 || count.failed.is_some()).await;
        match ended.map(|count| count.failed.clone()) {
            Ok(None) => Ok(()),
            // Whichever writer's error is seen first, it says the same.
            Ok(Some(error)) => Err(copy(&error)),
            Err(_) => Err(Error::bug("writers that share partitions lost each other")),
        }
    }

    /// Says why this writer stops, to those who wait for its rows.
    pub(crate) fn fail(mut self, error: &Error) {
        self.stop(copy(error));
    }

    fn stop(&mut self, error: Error) {
        if std::mem::take(&mut self.reads) {
            self.team.count.send_modify(|count| {
                count.reading -= 1;
                count.failed.get_or_insert(Arc::new(error));
            });
        }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.stop(Error::cancelled("another writer of the same partitions was stopped"));
    }
}
