//! [`Presence`]: who still has a hand in a task's files, so that the last one's end can be waited for.

use tokio::sync::watch;

/// How many writers and background removals of a task there are.
#[derive(Debug)]
pub(crate) struct Count(watch::Sender<usize>);

impl Default for Count {
    fn default() -> Self {
        Self(watch::Sender::new(0))
    }
}

impl Count {
    /// One more, until it is dropped.
    pub(crate) fn enter(&self) -> Presence {
        self.0.send_modify(|count| *count += 1);
        Presence(self.0.clone())
    }

    /// Returns when there is none.
    pub(crate) async fn gone(&self) {
        // The sender is held here, so that this cannot fail.
        let _ = self.0.subscribe().wait_for(|count| *count == 0).await;
    }
}

/// One of them.
#[derive(Debug)]
pub(crate) struct Presence(watch::Sender<usize>);

impl Clone for Presence {
    fn clone(&self) -> Self {
        self.0.send_modify(|count| *count += 1);
        Self(self.0.clone())
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count = count.saturating_sub(1));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn the_last_one_is_waited_for() {
        let count = Count::default();
        count.gone().await;
        let first = count.enter();
        let second = first.clone();
        drop(first);
        assert!(tokio::time::timeout(Duration::from_millis(20), count.gone()).await.is_err());
        let ended = tokio::spawn(async move { drop(second) });
        count.gone().await;
        ended.await.unwrap();
    }
}
