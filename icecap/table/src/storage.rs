//! Stored objects by location: one [`Storage`] for every reader and writer.
//!
//! Behind it are `object_store` implementations, chosen by scheme and bucket. On a local disk it is our own
//! store: whatever was reported as written is on the disk, under its final name, also after a power cut.
//! Remote ones come from a [`StoreFactory`] that whoever assembles the process hands in.
//! Nothing overwrites. Locations are raw bytes; see [`location`](crate::location).

mod kernel;
mod local;
mod remote;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::join_all;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutPayload};

pub use self::local::{DiskSync, LocalStore, TEMPORARY_PREFIX};
pub use self::remote::{RequestCounts, StoreFactory};
use crate::cache::ObjectCache;
use crate::error::{Error, Result};
use crate::location::{Location, Policy};

/// What the cache of a storage takes at most, unless it is told otherwise.
const CACHE_BYTES: usize = 128 << 20;

/// A stored object as a listing tells of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredObject {
    /// Its location.
    pub location: String,
    /// Its length.
    pub bytes: u64,
    /// When it was written, in milliseconds since the epoch, by the store's clock.
    pub modified_ms: i64,
}

/// Reads and writes objects by location; cheap to clone.
#[derive(Clone, Debug)]
pub struct Storage {
    local: Arc<LocalStore>,
    /// By root (`s3://bucket`).
    remote: Arc<BTreeMap<String, Arc<dyn ObjectStore>>>,
    /// By scheme: what opens the buckets that are not in `remote`.
    factories: Arc<BTreeMap<String, Arc<dyn StoreFactory>>>,
    cache: Arc<ObjectCache>,
    /// Where what is read and written has to lie.
    policy: Option<Arc<Policy>>,
}

impl Storage {
    /// The local disk, durable: data and directories are synced before a write returns.
    pub fn local() -> Self {
        Self::of_local(LocalStore::new())
    }

    /// The local disk with another way to sync, for tests that count or fail it.
    pub fn local_with_sync(sync: Arc<dyn DiskSync>) -> Self {
        Self::of_local(LocalStore::with_sync(sync))
    }

    fn of_local(local: LocalStore) -> Self {
        Self {
            local: Arc::new(local),
            remote: Arc::default(),
            factories: Arc::default(),
            cache: Arc::new(ObjectCache::new(CACHE_BYTES)),
            policy: None,
        }
    }

    /// The same storage that also serves the locations below `root` (`s3://bucket`) from `store`.
    #[must_use]
    pub fn with_store(mut self, root: impl Into<String>, store: Arc<dyn ObjectStore>) -> Self {
        Arc::make_mut(&mut self.remote).insert(root.into(), store);
        self
    }

    /// The same storage of those locations alone that `policy` lets a table name: for readers of what anyone may have
    /// written. Any other is `Denied`.
    #[must_use]
    pub fn within(mut self, policy: &Policy) -> Self {
        self.policy = Some(Arc::new(policy.clone()));
        self
    }

    /// Whether a location may be looked at.
    ///
    /// # Errors
    /// As [`Policy::check_readable`].
    pub(crate) fn check(&self, location: &str) -> Result<()> {
        self.policy.as_ref().map_or(Ok(()), |policy| policy.check_readable(location))
    }

    /// The same storage, remembering at most `capacity_bytes` of what is parsed of its objects, apart from what
    /// others remember. 0: nothing, for checks of what is really stored.
    #[must_use]
    pub fn with_cache_bytes(mut self, capacity_bytes: usize) -> Self {
        self.cache = Arc::new(ObjectCache::new(capacity_bytes));
        self
    }

    /// What is remembered of objects that never change; shared by all clones of this storage.
    pub fn cache(&self) -> &Arc<ObjectCache> {
        &self.cache
    }

    /// The same storage that also serves the locations of `scheme` (`s3`), its buckets opened by `factory`.
    #[must_use]
    pub fn with_factory(mut self, scheme: impl Into<String>, factory: Arc<dyn StoreFactory>) -> Self {
        Arc::make_mut(&mut self.factories).insert(scheme.into(), factory);
        self
    }

    /// The store that holds a location, and its path there. Its `put` and `put_multipart` are durable.
    ///
    /// # Errors
    /// `Invalid` for what is no location; `Unsupported` for a scheme or bucket that is not set up; `Denied` as
    /// [`within`](Self::within) says.
    pub fn object_store(&self, location: &str) -> Result<(Arc<dyn ObjectStore>, Path)> {
        self.check(location)?;
        let parsed = Location::parse(location)?;
        let path = Path::parse(parsed.path()).map_err(|e| {
            Error::invalid("location is no object's path").with("location", location).with_source(e)
        })?;
        if parsed.scheme() == "file" {
            return Ok((Arc::clone(&self.local) as Arc<dyn ObjectStore>, path));
        }
        if let Some(store) = self.remote.get(&parsed.root()) {
            return Ok((Arc::clone(store), path));
        }
        match self.factories.get(parsed.scheme()) {
            Some(factory) => Ok((factory.store(parsed.authority())?, path)),
            None => Err(Error::unsupported(format!("storage at {} is not supported yet", parsed.root()))
                .with("location", location)),
        }
    }

    /// Aborts the unfinished uploads below the folder `prefix` whose base names begin with `base_name`; returns the
    /// locations that they would have had. Stores of a local disk leave none.
    ///
    /// # Errors
    /// As [`StoreFactory::abort_uploads`].
    pub async fn abort_uploads(&self, prefix: &str, base_name: &str) -> Result<Vec<String>> {
        let parsed = Location::parse(prefix)?;
        let Some(factory) = self.factories.get(parsed.scheme()) else { return Ok(Vec::new()) };
        let (_, folder) = self.object_store(prefix)?;
        let aborted = factory.abort_uploads(parsed.authority(), &folder, base_name).await?;
        Ok(aborted.into_iter().map(|path| format!("{}/{path}", parsed.root())).collect())
    }

    /// What was asked of remote stores so far, by everyone who shares this storage.
    pub fn requests(&self) -> RequestCounts {
        let counts = self.factories.values().map(|factory| factory.requests());
        counts.fold(RequestCounts::default(), |sum, counts| sum.plus(&counts))
    }

    /// The whole object.
    ///
    /// # Errors
    /// `NotFound` when there is none.
    pub async fn read(&self, location: &str) -> Result<Bytes> {
        let (store, path) = self.object_store(location)?;
        let result = store.get(&path).await.map_err(|e| store_error("read", location, e))?;
        result.bytes().await.map_err(|e| store_error("read", location, e))
    }

    /// The whole object, unless it is larger than `max_bytes`: then nothing is read.
    ///
    /// # Errors
    /// `NotFound` when there is none; `Corrupt` when it is larger.
    pub async fn read_at_most(&self, location: &str, max_bytes: u64) -> Result<Bytes> {
        let (store, path) = self.object_store(location)?;
        let result = store.get(&path).await.map_err(|e| store_error("read", location, e))?;
        if result.meta.size > max_bytes {
            return Err(Error::corrupt(format!(
                "file of {} bytes is too large: {max_bytes} at most",
                result.meta.size
            ))
            .with("location", location));
        }
        result.bytes().await.map_err(|e| store_error("read", location, e))
    }

    /// The bytes of `range`; fewer when the object ends before it does.
    ///
    /// # Errors
    /// `NotFound` when there is no object.
    pub async fn read_range(&self, location: &str, range: Range<u64>) -> Result<Bytes> {
        let (store, path) = self.object_store(location)?;
        store.get_range(&path, range).await.map_err(|e| store_error("read", location, e))
    }

    /// The object's length in bytes.
    ///
    /// # Errors
    /// `NotFound` when there is none.
    pub async fn size(&self, location: &str) -> Result<u64> {
        let (store, path) = self.object_store(location)?;
        Ok(store.head(&path).await.map_err(|e| store_error("look up", location, e))?.size)
    }

    /// Stores a new object. It is durable, and complete under its name, when this returns.
    ///
    /// # Errors
    /// `AlreadyExists`, and nothing is changed, when there is an object of that name.
    pub async fn put_new(&self, location: &str, bytes: Bytes) -> Result<()> {
        let (store, path) = self.object_store(location)?;
        store
            .put_opts(&path, PutPayload::from_bytes(bytes), PutMode::Create.into())
            .await
            .map_err(|e| store_error("write", location, e))?;
        Ok(())
    }

    /// Stores several new objects at once; all are durable when this returns. On a local disk each
    /// directory is synced once.
    ///
    /// # Errors
    /// As [`put_new`](Self::put_new), of the first that failed. Every other one has ended by then, so that a
    /// caller that gives up can delete them all.
    pub async fn put_all_new(&self, objects: Vec<(String, Bytes)>) -> Result<()> {
        let writes = objects.into_iter().map(|(location, bytes)| self.put_unsynced(location, bytes));
        let written: Result<Vec<Option<PathBuf>>> = join_all(writes).await.into_iter().collect();
        let directories: BTreeSet<PathBuf> = written?.into_iter().flatten().collect();
        let syncs = directories.into_iter().map(|directory| async move {
            let shown = directory.display().to_string();
            self.local.sync_directory(directory).await.map_err(|e| store_error("sync", &shown, e))
        });
        join_all(syncs).await.into_iter().collect()
    }

    /// Writes one object; returns the directory that is still to be synced, on a local disk.
    async fn put_unsynced(&self, location: String, bytes: Bytes) -> Result<Option<PathBuf>> {
        if Location::parse(&location)?.scheme() != "file" {
            self.put_new(&location, bytes).await?;
            return Ok(None);
        }
        let (_, path) = self.object_store(&location)?;
        self.local.put_unsynced(&path, bytes).await.map(Some).map_err(|e| store_error("write", &location, e))
    }

    /// Removes an object. That there is none is fine.
    pub async fn delete(&self, location: &str) -> Result<()> {
        let (store, path) = self.object_store(location)?;
        match store.delete(&path).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(e) => Err(store_error("delete", location, e)),
        }
    }

    /// The locations of all objects below the folder `prefix`, in order. None, when there is no such folder.
    pub async fn list(&self, prefix: &str) -> Result<Vec<String>> {
        let root = Location::parse(prefix)?.root();
        let (store, path) = self.object_store(prefix)?;
        let listed = store.list(Some(&path)).map_ok(|object| format!("{root}/{}", object.location));
        let mut locations: Vec<String> =
            listed.try_collect().await.map_err(|e| store_error("list", prefix, e))?;
        locations.sort_unstable();
        Ok(locations)
    }

    /// The locations of the objects in the folder `prefix` whose base names begin with `base_name`, in order. A
    /// remote store, which lists by name, is asked for them alone, whatever else the folder holds.
    pub async fn list_named(&self, prefix: &str, base_name: &str) -> Result<Vec<String>> {
        let parsed = Location::parse(prefix)?;
        let is_named =
            |location: &str| location.rsplit('/').next().is_some_and(|name| name.starts_with(base_name));
        if parsed.scheme() == "file" {
            let mut locations = self.list(prefix).await?;
            locations.retain(|location| is_named(location));
            return Ok(locations);
        }
        let (store, path) = self.object_store(prefix)?;
        let failed = |error| store_error("list", prefix, error);
        let before = Path::parse(format!("{path}/{base_name}")).map_err(|e| {
            Error::invalid("no object has such a name").with("name", base_name).with_source(e)
        })?;
        let listed = store
            .list_with_offset(Some(&path), &before)
            .map_ok(|object| format!("{}/{}", parsed.root(), object.location))
            .try_take_while(|location| std::future::ready(Ok(is_named(location))));
        listed.try_collect().await.map_err(failed)
    }

    /// All objects below the folder `prefix` as they are found, in no order. None, when there is no such folder.
    ///
    /// # Errors
    /// `Invalid` for what is no location; items fail with what the store says.
    pub fn objects(&self, prefix: &str) -> Result<BoxStream<'static, Result<StoredObject>>> {
        let root = Location::parse(prefix)?.root();
        let (store, path) = self.object_store(prefix)?;
        let prefix = prefix.to_owned();
        let listed = store.list(Some(&path)).map(move |object| {
            let object = object.map_err(|e| store_error("list", &prefix, e))?;
            Ok(StoredObject {
                location: format!("{root}/{}", object.location),
                bytes: object.size,
                modified_ms: object.last_modified.timestamp_millis(),
            })
        });
        Ok(listed.boxed())
    }

    /// The same storage as the kernel's file interface. Its writes do not overwrite either.
    pub fn file_io(&self) -> iceberg::io::FileIO {
        kernel::file_io(self.clone())
    }
}

/// What a store's failure means to a caller: `what` (a verb) could not be done at `location`.
pub fn store_error(what: &str, location: &str, error: object_store::Error) -> Error {
    use object_store::Error as E;
    let of = |make: fn(String) -> Error, message: String| make(message).with("location", location);
    if let Some(told) = told(&error) {
        let mut known = Error::new(told.kind(), format!("cannot {what}: {}", told.message()));
        for (key, value) in told.context() {
            known = known.with(key.clone(), value.clone());
        }
        if let Some(after) = told.retry_after() {
            known = known.with_retry_after(after);
        }
        return known.with("location", location);
    }
    match error {
        E::NotFound { .. } => of(Error::not_found, format!("cannot {what}: there is no such object")),
        E::AlreadyExists { .. } => {
            of(Error::already_exists, format!("cannot {what}: the object exists already"))
        }
        E::PermissionDenied { .. } | E::Unauthenticated { .. } => {
            of(Error::denied, format!("cannot {what}: access is denied")).with_source(error)
        }
        E::InvalidPath { .. } => {
            of(Error::invalid, format!("cannot {what}: not an object's path")).with_source(error)
        }
        E::NotSupported { .. } | E::NotImplemented { .. } => {
            of(Error::unsupported, format!("cannot {what}: the store does not support it")).with_source(error)
        }
        error if local::is_full(&error) => {
            of(Error::exhausted, format!("cannot {what}: no space is left on the disk")).with_source(error)
        }
        error => of(Error::unavailable, format!("cannot {what}")).with_source(error),
    }
}

/// What a store of ours says itself, wrapped as `object_store` wants it.
fn told<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a Error> {
    let mut at = Some(error);
    while let Some(error) = at {
        if let Some(told) = error.downcast_ref::<Error>() {
            return Some(told);
        }
        at = error.source();
    }
    None
}

#[cfg(test)]
mod tests;
