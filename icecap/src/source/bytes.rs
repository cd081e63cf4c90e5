//! A file's bytes from first to last, for formats that are read row by row on a blocking thread.
//!
//! A remote object is fetched in ranges, the next one while the last one is decoded: two of them are held, and no
//! answer stays open while whoever decodes is slow.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use bytes::{Buf, Bytes};
use datafusion::datasource::file_format::file_compression_type::FileCompressionType;
use icecap_table::location::Location;
use icecap_table::storage::{Storage, store_error};
use icecap_table::{Error, Result};
use object_store::{ObjectStore, ObjectStoreExt, path::Path as ObjectPath};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use super::files::{Listed, shown};
use super::table::SourceFile;
use crate::plan::error::copy;

/// Bytes decoded at once.
const CHUNK_BYTES: usize = 256 * 1024;
/// Bytes of a remote object fetched by one request.
const RANGE_BYTES: u64 = 4 << 20;

/// A file of a source, where it is.
#[derive(Debug, Clone, Copy)]
pub(super) struct FileAt<'a> {
    storage: &'a Storage,
    location: &'a str,
    size_bytes: u64,
}

impl<'a> FileAt<'a> {
    pub(super) fn listed(storage: &'a Storage, file: &'a Listed) -> Self {
        Self { storage, location: &file.location, size_bytes: file.size }
    }

    pub(super) fn of(storage: &'a Storage, file: &'a SourceFile) -> Self {
        Self { storage, location: &file.location, size_bytes: file.size_bytes }
    }

    /// Its name, for messages.
    pub(super) fn name(&self) -> &'a str {
        shown(self.location)
    }

    /// Opens it, decompressed when its name ends in `.gz`, and past a byte-order mark. To be called, and read, on a
    /// blocking thread of the runtime.
    ///
    /// # Errors
    /// `NotFound`, `Denied` or `Unavailable` as the place says.
    pub(super) fn open(&self) -> Result<BufReader<Box<dyn Read + Send>>> {
        let location = Location::parse(self.location)?;
        let compression = match self.name().ends_with(".gz") {
            true => FileCompressionType::GZIP,
            false => FileCompressionType::UNCOMPRESSED,
        };
        let bytes = if location.scheme() == "file" {
            let file =
                File::open(Path::new(location.path())).map_err(|error| self.failed("opened", &error))?;
            compression.convert_read(file)
        } else {
            compression.convert_read(Ranges::new(self)?)
        };
        let bytes = bytes.map_err(crate::plan::from_datafusion)?;
        let mut bytes = BufReader::with_capacity(CHUNK_BYTES, bytes);
        let start = bytes.fill_buf().map_err(|error| self.failed("read", &error))?;
        if start.starts_with(b"\xEF\xBB\xBF") {
            bytes.consume(3);
        }
        Ok(bytes)
    }

    fn failed(&self, what: &str, error: &io::Error) -> Error {
        if let Some(told) = told(error) {
            return told;
        }
        let kind = match error.kind() {
            io::ErrorKind::NotFound => icecap_table::ErrorKind::NotFound,
            io::ErrorKind::PermissionDenied => icecap_table::ErrorKind::Denied,
            _ => icecap_table::ErrorKind::Unavailable,
        };
        Error::new(kind, format!("the file cannot be {what}: {error}")).with("file", self.name())
    }
}

/// What it means that a file could not be read on: what its place said, else that its content is broken.
pub(super) fn unreadable(error: &io::Error, file: &str) -> Error {
    told(error).unwrap_or_else(|| {
        Error::corrupt(format!("the file cannot be read: {error}")).with("file", file.to_owned())
    })
}

/// The Icecap error that a reader of ours wrapped.
fn told(error: &io::Error) -> Option<Error> {
    let mut at: Option<&(dyn std::error::Error + 'static)> = Some(error.get_ref()?);
    while let Some(error) = at {
        if let Some(told) = error.downcast_ref::<Error>() {
            return Some(copy(told));
        }
        let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        at = wrapped.map(|inner| inner as &(dyn std::error::Error + 'static)).or_else(|| error.source());
    }
    None
}

/// A remote object, range by range.
struct Ranges {
    store: Arc<dyn ObjectStore>,
    path: ObjectPath,
    location: String,
    size_bytes: u64,
    runtime: Handle,
    current: Bytes,
    /// Where the range after the one on its way begins.
    next_offset: u64,
    on_its_way: Option<JoinHandle<object_store::Result<Bytes>>>,
}

impl Ranges {
    fn new(file: &FileAt<'_>) -> Result<Self> {
        let (store, path) = file.storage.object_store(file.location)?;
        let runtime = Handle::try_current()
            .map_err(|error| Error::bug("a remote file is read outside a runtime").with_source(error))?;
        let mut ranges = Self {
            store,
            path,
            location: file.location.to_owned(),
            size_bytes: file.size_bytes,
            runtime,
            current: Bytes::new(),
            next_offset: 0,
            on_its_way: None,
        };
        ranges.fetch();
        Ok(ranges)
    }

    /// Sends for the next range, if there is one.
    fn fetch(&mut self) {
        let range: Range<u64> = self.next_offset..(self.next_offset + RANGE_BYTES).min(self.size_bytes);
        if range.is_empty() {
            return;
        }
        self.next_offset = range.end;
        let (store, path) = (Arc::clone(&self.store), self.path.clone());
        self.on_its_way = Some(self.runtime.spawn(async move { store.get_range(&path, range).await }));
    }
}

impl Read for Ranges {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.current.is_empty()
            && let Some(coming) = self.on_its_way.take()
        {
            let arrived = self.runtime.block_on(coming).map_err(io::Error::other)?;
            self.current =
                arrived.map_err(|error| io::Error::other(store_error("read", &self.location, error)))?;
            self.fetch();
        }
        let taken = buffer.len().min(self.current.len());
        self.current.split_to(taken).copy_to_slice(&mut buffer[..taken]);
        Ok(taken)
    }
}

impl Drop for Ranges {
    fn drop(&mut self) {
        if let Some(coming) = self.on_its_way.take() {
            coming.abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use object_store::memory::InMemory;

    use super::*;

    #[tokio::test]
    async fn a_remote_file_is_read_whole_range_by_range() {
        let store = Arc::new(InMemory::new());
        let storage = Storage::local().with_store("s3://b", Arc::clone(&store) as _);
        for size in [0, 10, RANGE_BYTES, 2 * RANGE_BYTES + 7] {
            let content: Vec<u8> = (0..size).map(|at| (at % 251) as u8).collect();
            store.put(&ObjectPath::from("f"), content.clone().into()).await.unwrap();
            let storage = storage.clone();
            let read = tokio::task::spawn_blocking(move || {
                let mut all = Vec::new();
                let file = FileAt { storage: &storage, location: "s3://b/f", size_bytes: size };
                file.open().unwrap().read_to_end(&mut all).unwrap();
                all
            });
            assert!(read.await.unwrap() == content, "{size} bytes");
        }
    }

    #[tokio::test]
    async fn what_the_place_says_keeps_its_kind() {
        let storage = Storage::local().with_store("s3://b", Arc::new(InMemory::new()));
        let opened = tokio::task::spawn_blocking(move || {
            FileAt { storage: &storage, location: "s3://b/none.csv.gz", size_bytes: 9 }.open().map(drop)
        });
        assert_eq!(opened.await.unwrap().unwrap_err().kind(), icecap_table::ErrorKind::NotFound);
    }
}
