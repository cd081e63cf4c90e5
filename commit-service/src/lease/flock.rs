//! The lease between processes on one disk: a lock on `<catalog>.lock`.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use icecap_table::id::TableIdent;
use tokio::sync::{Mutex, oneshot};

use super::{Lease, LeaseGuard};

/// A file lock, one for the whole catalog. In one process waiters stand in line for a mutex first; between
/// processes the kernel wakes waiters in the order in which they came.
#[derive(Debug)]
pub struct FlockLease {
    path: PathBuf,
    line: Arc<Mutex<()>>,
}

impl FlockLease {
    /// The lease of the catalog in the file `catalog`.
    pub fn beside(catalog: &Path) -> Self {
        Self { path: lock_path(catalog), line: Arc::new(Mutex::new(())) }
    }
}

/// The lock file of a catalog file.
pub(crate) fn lock_path(catalog: &Path) -> PathBuf {
    let mut name = catalog.as_os_str().to_owned();
    name.push(".lock");
    PathBuf::from(name)
}

/// Opens a lock file, making it where it is missing.
pub(crate) fn open_lock(path: &Path) -> std::io::Result<File> {
    // A fresh opening each time: locks belong to the opening, and a second lock on the same one succeeds.
    OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)
}

#[async_trait]
impl Lease for FlockLease {
    async fn acquire(&self, _tables: &[TableIdent], wait: Duration) -> LeaseGuard {
        let waited = tokio::time::timeout(wait, async {
            let place = Arc::clone(&self.line).lock_owned().await;
            let file = lock(&self.path).await?;
            std::io::Result::Ok((file, place))
        })
        .await;
        match waited {
            // The file first: it is closed, and so unlocked, before the next in line may try.
            Ok(Ok(held)) => LeaseGuard::held(held),
            Ok(Err(error)) => {
                tracing::warn!(path = %self.path.display(), %error, "no lease: the lock file cannot be locked");
                LeaseGuard::without()
            }
            Err(_) => {
                tracing::debug!(path = %self.path.display(), "no lease within the wait, going on without");
                LeaseGuard::without()
            }
        }
    }
}

async fn lock(path: &Path) -> std::io::Result<File> {
    let file = open_lock(path)?;
    match file.try_lock() {
        Ok(()) => return Ok(file),
        Err(TryLockError::WouldBlock) => {}
        Err(TryLockError::Error(error)) => return Err(error),
    }
    // Blocking, because only a blocked waiter has a place in the kernel's line. In a thread of its own,
    // because a runtime waits for its blocking tasks when it ends, and this one may block for long. A
    // caller that gave up drops the receiver, the file comes back from `send` and is closed.
    let (send, receive) = oneshot::channel();
    std::thread::Builder::new().name("icecap-lease".into()).spawn(move || {
        let locked = file.lock().map(|()| file);
        let _ = send.send(locked);
    })?;
    receive.await.map_err(|_| std::io::Error::other("the waiting thread ended"))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_holds_it_at_a_time_and_a_waiter_goes_on_without() {
        let folder = tempfile::tempdir().unwrap();
        let catalog = folder.path().join("catalog.db");
        let (ours, theirs) = (FlockLease::beside(&catalog), FlockLease::beside(&catalog));
        let first = ours.acquire(&[], Duration::from_secs(5)).await;
        assert!(first.is_held());
        assert!(!theirs.acquire(&[], Duration::from_millis(30)).await.is_held());
        assert!(!ours.acquire(&[], Duration::from_millis(30)).await.is_held());
        drop(first);
        assert!(theirs.acquire(&[], Duration::from_secs(5)).await.is_held());
        assert!(ours.acquire(&[], Duration::from_secs(5)).await.is_held());
    }

    #[tokio::test]
    async fn a_lock_file_that_cannot_be_made_means_no_lease() {
        let lease = FlockLease::beside(Path::new("/nonexistent/folder/catalog.db"));
        assert!(!lease.acquire(&[], Duration::from_secs(5)).await.is_held());
    }
}
