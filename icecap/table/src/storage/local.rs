//! A durable `ObjectStore` on the local disk.
//!
//! A write goes to a temporary name in its directory, is synced, gets its final name by a hard link (which
//! never overwrites), and then the directory is synced. A crash leaves the whole object or a temporary file,
//! recognisable by [`TEMPORARY_PREFIX`] and never listed. `object_store`'s own `LocalFileSystem` syncs
//! nothing and percent-encodes names, so it is not used.

mod read;
mod write;

use std::fs::File;
use std::io;
use std::path::{Path as FsPath, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use object_store::path::Path;
use object_store::{
    CopyMode, CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

use self::write::{IfExists, Upload, WriteJob};

/// What the name of every temporary file begins with.
pub const TEMPORARY_PREFIX: &str = ".icecap-tmp-";

const STORE: &str = "local disk";

/// How bytes and names are forced to the disk.
pub trait DiskSync: Send + Sync + std::fmt::Debug {
    /// Returns when the file's content is on the disk.
    fn sync_file(&self, file: &File) -> io::Result<()>;

    /// Returns when the names in a directory are on the disk.
    fn sync_directory(&self, directory: &FsPath) -> io::Result<()>;
}

#[derive(Debug)]
struct Fsync;

impl DiskSync for Fsync {
    fn sync_file(&self, file: &File) -> io::Result<()> {
        file.sync_all()
    }

    fn sync_directory(&self, directory: &FsPath) -> io::Result<()> {
        File::open(directory)?.sync_all()
    }
}

/// The store; see the module's documentation. Paths are absolute paths without their leading slash.
#[derive(Debug)]
pub struct LocalStore {
    sync: Arc<dyn DiskSync>,
    /// Makes temporary names differ within the process; between processes the exclusive create does.
    sequence: Arc<AtomicU64>,
}

impl LocalStore {
    pub(super) fn new() -> Self {
        Self::with_sync(Arc::new(Fsync))
    }

    pub(super) fn with_sync(sync: Arc<dyn DiskSync>) -> Self {
        Self { sync, sequence: Arc::new(AtomicU64::new(0)) }
    }

    fn job(&self, location: &Path, if_exists: IfExists) -> WriteJob {
        WriteJob {
            sync: Arc::clone(&self.sync),
            sequence: Arc::clone(&self.sequence),
            target: file_path(location),
            if_exists,
        }
    }

    /// Writes and names a new object; returns its directory, which the caller has to sync.
    pub(super) async fn put_unsynced(&self, location: &Path, bytes: Bytes) -> Result<PathBuf> {
        let job = self.job(location, IfExists::Fail);
        blocking(move || {
            job.write(|file| io::Write::write_all(file, &bytes))?;
            Ok(job.directory().to_owned())
        })
        .await
    }

    pub(super) async fn sync_directory(&self, directory: PathBuf) -> Result<()> {
        let sync = Arc::clone(&self.sync);
        blocking(move || sync.sync_directory(&directory).map_err(|e| io_error(&directory, e))).await
    }
}

impl std::fmt::Display for LocalStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LocalStore")
    }
}

/// The path on the disk, byte for byte.
fn file_path(location: &Path) -> PathBuf {
    PathBuf::from(format!("/{location}"))
}

/// Runs a blocking piece of work away from the reactor.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await?
}

/// A failure of the disk as `object_store` says it.
fn io_error(path: &FsPath, error: io::Error) -> Error {
    let path = path.display().to_string();
    let source = Box::new(error);
    match source.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::IsADirectory => {
            Error::NotFound { path, source }
        }
        io::ErrorKind::AlreadyExists => Error::AlreadyExists { path, source },
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            Error::PermissionDenied { path, source }
        }
        _ => Error::Generic { store: STORE, source },
    }
}

/// Whether the disk, or the user's share of it, is full.
pub(super) fn is_full(error: &Error) -> bool {
    let Error::Generic { source, .. } = error else { return false };
    source.downcast_ref::<io::Error>().is_some_and(|e| {
        matches!(
            e.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
        )
    })
}

#[async_trait]
impl ObjectStore for LocalStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        let if_exists = match opts.mode {
            PutMode::Create => IfExists::Fail,
            PutMode::Overwrite => IfExists::Replace,
            PutMode::Update(_) => {
                return Err(Error::NotImplemented {
                    operation: "conditional put".into(),
                    implementer: STORE.into(),
                });
            }
        };
        let job = self.job(location, if_exists);
        blocking(move || {
            job.write(|file| payload.iter().try_for_each(|chunk| io::Write::write_all(file, chunk)))?;
            job.sync_directory()
        })
        .await?;
        Ok(PutResult { e_tag: None, version: None })
    }

    /// Names of multipart uploads are unique here, so completing one does not overwrite either.
    async fn put_multipart_opts(
        &self,
        location: &Path,
        _: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let job = self.job(location, IfExists::Fail);
        blocking(move || Ok(Box::new(Upload::start(job)?) as Box<dyn MultipartUpload>)).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let location = location.clone();
        blocking(move || read::get(&location, &options)).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[std::ops::Range<u64>]) -> Result<Vec<Bytes>> {
        let (path, ranges) = (file_path(location), ranges.to_vec());
        blocking(move || read::ranges(&path, &ranges)).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        locations
            .map(|location| async move {
                let location = location?;
                blocking(move || {
                    let path = file_path(&location);
                    std::fs::remove_file(&path).map_err(|e| io_error(&path, e))?;
                    Ok(location)
                })
                .await
            })
            .buffered(8)
            .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let prefix = prefix.cloned().unwrap_or_default();
        stream::once(blocking(move || read::walk(&prefix)))
            .map(|listed| match listed {
                Ok(objects) => stream::iter(objects).map(Ok).boxed(),
                Err(error) => stream::once(async { Err(error) }).boxed(),
            })
            .flatten()
            .boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let prefix = prefix.cloned().unwrap_or_default();
        blocking(move || read::directory(&prefix)).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let if_exists = match options.mode {
            CopyMode::Create => IfExists::Fail,
            CopyMode::Overwrite => IfExists::Replace,
        };
        let (source, job) = (file_path(from), self.job(to, if_exists));
        blocking(move || {
            let mut reader = File::open(&source).map_err(|e| io_error(&source, e))?;
            job.write(|file| io::copy(&mut reader, file).map(|_| ()))?;
            job.sync_directory()
        })
        .await
    }
}
