//! Cancellation: a flag that can be raised once and waited for.

use tokio::sync::watch;

/// Raised by a person (Ctrl-C) or a deadline; every clone sees it.
#[derive(Debug, Clone)]
pub struct Cancel {
    sender: watch::Sender<bool>,
}

impl Default for Cancel {
    fn default() -> Self {
        Self::new()
    }
}

impl Cancel {
    /// A flag that is not raised.
    pub fn new() -> Self {
        Self { sender: watch::Sender::new(false) }
    }

    /// Raises it. Calling it again changes nothing.
    pub fn cancel(&self) {
        self.sender.send_replace(true);
    }

    /// Whether it is raised.
    pub fn is_cancelled(&self) -> bool {
        *self.sender.borrow()
    }

    /// Completes when it is raised.
    pub async fn cancelled(&self) {
        let mut receiver = self.sender.subscribe();
        // The sender lives in self, so the channel cannot close while this waits.
        let _ = receiver.wait_for(|raised| *raised).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_raised_flag_is_seen_by_clones_before_and_after() {
        let cancel = Cancel::new();
        let clone = cancel.clone();
        assert!(!clone.is_cancelled());
        let waiter = tokio::spawn({
            let clone = clone.clone();
            async move { clone.cancelled().await }
        });
        cancel.cancel();
        waiter.await.unwrap();
        clone.cancelled().await;
        assert!(clone.is_cancelled());
    }
}
