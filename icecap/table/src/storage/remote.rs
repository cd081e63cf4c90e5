//! The seam behind which remote stores are: one [`StoreFactory`] for each scheme.
//!
//! This crate knows no cloud: a factory is handed in by whoever assembles a process.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use object_store::ObjectStore;
use object_store::path::Path;

use crate::error::Result;

/// What serves the buckets of one scheme, such as `s3`.
#[async_trait]
pub trait StoreFactory: fmt::Debug + Send + Sync {
    /// The store of a bucket; the same one whenever the bucket is asked for. Nothing is sent yet: credentials and
    /// connections come with its first request.
    ///
    /// # Errors
    /// `Invalid` for what cannot be a bucket.
    fn store(&self, bucket: &str) -> Result<Arc<dyn ObjectStore>>;

    /// Aborts the unfinished uploads below the folder `folder` of a bucket whose base names begin with `base_name`;
    /// returns the paths that they would have had. Done again, it finds none.
    ///
    /// # Errors
    /// When they cannot be listed, or one cannot be aborted; the others are.
    async fn abort_uploads(&self, bucket: &str, folder: &Path, base_name: &str) -> Result<Vec<Path>>;

    /// What was asked of all buckets so far.
    fn requests(&self) -> RequestCounts;
}

/// Requests to remote stores, each attempt counted: what a store bills.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RequestCounts {
    /// Objects, or ranges of them, read.
    pub get: u64,
    /// Objects looked up.
    pub head: u64,
    /// Objects stored by one request.
    pub put: u64,
    /// Pages listed.
    pub list: u64,
    /// Requests that delete one or several objects.
    pub delete: u64,
    /// Steps of uploads in parts: begin, part, complete, abort.
    pub multipart: u64,
    /// Of all these, those that repeat one that failed.
    pub retried: u64,
    /// Bytes of bodies sent.
    pub bytes_sent: u64,
    /// Bytes of bodies received, as their lengths were announced.
    pub bytes_received: u64,
}

impl RequestCounts {
    /// All requests.
    pub fn total(&self) -> u64 {
        self.get + self.head + self.put + self.list + self.delete + self.multipart
    }

    /// What came since `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        self.combined(earlier, u64::saturating_sub)
    }

    /// Both together.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        self.combined(other, u64::saturating_add)
    }

    fn combined(&self, other: &Self, with: impl Fn(u64, u64) -> u64) -> Self {
        Self {
            get: with(self.get, other.get),
            head: with(self.head, other.head),
            put: with(self.put, other.put),
            list: with(self.list, other.list),
            delete: with(self.delete, other.delete),
            multipart: with(self.multipart, other.multipart),
            retried: with(self.retried, other.retried),
            bytes_sent: with(self.bytes_sent, other.bytes_sent),
            bytes_received: with(self.bytes_received, other.bytes_received),
        }
    }
}

impl fmt::Display for RequestCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} (get {}, head {}, put {}, list {}, delete {}, multipart {}; retried {}; {} bytes sent, {} received)",
            self.total(),
            self.get,
            self.head,
            self.put,
            self.list,
            self.delete,
            self.multipart,
            self.retried,
            self.bytes_sent,
            self.bytes_received
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_told_apart_and_by_statement() {
        let before = RequestCounts { get: 1, put: 2, bytes_sent: 10, ..RequestCounts::default() };
        let after = RequestCounts { get: 4, put: 2, retried: 1, bytes_sent: 15, ..RequestCounts::default() };
        let statement = after.since(&before);
        assert_eq!(
            statement,
            RequestCounts { get: 3, retried: 1, bytes_sent: 5, ..RequestCounts::default() }
        );
        assert_eq!(before.plus(&statement), after);
        assert_eq!(
            statement.to_string(),
            "3 (get 3, head 0, put 0, list 0, delete 0, multipart 0; retried 1; 5 bytes sent, 0 received)"
        );
    }
}
