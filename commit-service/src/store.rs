//! S3 behind the table crate's storage seam, and the one place that knows the AWS SDK's settings.
//!
//! `object_store`'s client sends the requests; this module puts around it what production needs: settings and
//! credentials by AWS's chain (`settings`, `credentials`), loaded with the first request and not before, so
//! that a process that stays on its disk pays nothing; counting and retrying of every request in one place
//! (`http`); what an answer means to a user (`refusal`); writes whose answer was lost (`bucket`, `upload`);
//! and the unfinished uploads of writes that failed (`leftover`), by AWS's own client.
//!
//! No secret leaves this module: bodies of refusals are never passed on, for they repeat what was signed.

mod bucket;
mod credentials;
mod http;
mod leftover;
mod refusal;
mod settings;
#[cfg(test)]
mod tests;
mod upload;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use icecap_table::clock::{Clock, IdSource};
use icecap_table::storage::{RequestCounts, Storage, StoreFactory};
use icecap_table::{Error, Result};
use object_store::ObjectStore;
use object_store::path::Path;
use tokio::sync::OnceCell;

use self::bucket::Bucket;
use self::http::Meter;
pub use self::settings::S3Access;
use self::settings::Setup;

/// Opens S3's buckets, all with one set of settings.
#[derive(Debug)]
pub struct S3Stores {
    shared: Arc<Shared>,
    buckets: Mutex<BTreeMap<String, Bucket>>,
}

/// What all buckets share.
#[derive(Debug)]
struct Shared {
    /// Fixed settings; by AWS's chain when absent.
    access: Option<S3Access>,
    setup: OnceCell<Setup>,
    meter: Arc<Meter>,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn IdSource>,
}

impl Shared {
    async fn setup(&self) -> Result<&Setup> {
        self.setup.get_or_try_init(|| Setup::load(self.access.as_ref(), Arc::clone(&self.clock))).await
    }
}

impl S3Stores {
    /// Buckets reached with the settings of AWS's chain: environment, profile, SSO, role. They are looked up with the
    /// first request.
    pub fn new(clock: Arc<dyn Clock>, ids: Arc<dyn IdSource>) -> Self {
        Self::of(None, clock, ids)
    }

    /// Buckets reached with given settings.
    pub fn with_access(access: S3Access, clock: Arc<dyn Clock>, ids: Arc<dyn IdSource>) -> Self {
        Self::of(Some(access), clock, ids)
    }

    fn of(access: Option<S3Access>, clock: Arc<dyn Clock>, ids: Arc<dyn IdSource>) -> Self {
        let shared = Shared { access, setup: OnceCell::new(), meter: Arc::default(), clock, ids };
        Self { shared: Arc::new(shared), buckets: Mutex::default() }
    }

    fn bucket(&self, name: &str) -> Result<Bucket> {
        // Longer ones, and other characters, would become other hosts or paths; what is left is S3's to judge.
        let is_fine = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
        if !(1..=255).contains(&name.len()) || !name.bytes().all(is_fine) || name.starts_with('.') {
            return Err(Error::invalid("this cannot be a bucket's name").with("bucket", name));
        }
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let bucket = buckets.entry(name.to_owned());
        Ok(bucket.or_insert_with(|| Bucket::new(name.to_owned(), Arc::clone(&self.shared))).clone())
    }
}

#[async_trait]
impl StoreFactory for S3Stores {
    fn store(&self, bucket: &str) -> Result<Arc<dyn ObjectStore>> {
        Ok(Arc::new(self.bucket(bucket)?))
    }

    async fn abort_uploads(&self, bucket: &str, folder: &Path, base_name: &str) -> Result<Vec<Path>> {
        let bucket = self.bucket(bucket)?;
        leftover::abort_below(&bucket, folder, base_name).await
    }

    fn requests(&self) -> RequestCounts {
        self.shared.meter.counts()
    }
}

/// The local disk and, for `s3://` locations, S3 by AWS's chain: the storage of a process.
pub fn storage(clock: Arc<dyn Clock>, ids: Arc<dyn IdSource>) -> Storage {
    Storage::local().with_factory("s3", Arc::new(S3Stores::new(clock, ids)))
}
