//! Brings a file's bytes to storage as they come: one put for a small file, a multipart upload otherwise.
//!
//! A file appears under its name only when [`Upload::finish`] returns. An upload that is dropped before
//! is aborted in the background, and leaves nothing where the store can abort.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Bytes, BytesMut};
use icecap_table::storage::{Storage, store_error};
use icecap_table::{Error, Result};
use object_store::path::Path;
use object_store::{MultipartUpload, ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload};
use tokio::task::{JoinError, JoinSet};

/// Bytes of one part. S3 wants at least 5 MiB and at most 10,000 parts.
pub(crate) const PART_BYTES: usize = 8 << 20;

/// Parts of one file on their way at a time.
const PARTS_IN_FLIGHT: usize = 2;

/// Collects what the Parquet writer writes, cut into parts; clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct PartBuffer(Arc<Mutex<Collected>>);

#[derive(Debug, Default)]
struct Collected {
    full: Vec<Bytes>,
    current: BytesMut,
}

impl PartBuffer {
    fn collected(&self) -> std::sync::MutexGuard<'_, Collected> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The full parts since the last call.
    pub(crate) fn take_full(&self) -> Vec<Bytes> {
        std::mem::take(&mut self.collected().full)
    }

    /// What is left when all is written: less than a part.
    pub(crate) fn take_rest(&self) -> Bytes {
        self.collected().current.split().freeze()
    }

    /// Bytes held.
    pub(crate) fn held_bytes(&self) -> usize {
        let collected = self.collected();
        collected.full.len() * PART_BYTES + collected.current.len()
    }
}

impl io::Write for PartBuffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut collected = self.collected();
        let taken = bytes.len().min(PART_BYTES - collected.current.len());
        collected.current.extend_from_slice(&bytes[..taken]);
        if collected.current.len() == PART_BYTES {
            // A file of several parts will most likely fill this one, too: it need not grow, and be copied, on the way.
            let next = BytesMut::with_capacity(PART_BYTES);
            let part = std::mem::replace(&mut collected.current, next).freeze();
            collected.full.push(part);
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A file on its way to storage.
pub(crate) struct Upload {
    location: String,
    store: Arc<dyn ObjectStore>,
    path: Path,
    parts: Option<Parts>,
    sent_bytes: u64,
}

struct Parts {
    /// Absent once it is complete or aborted.
    upload: Option<Box<dyn MultipartUpload>>,
    in_flight: JoinSet<object_store::Result<()>>,
}

impl Upload {
    /// Begins; nothing is sent yet.
    ///
    /// # Errors
    /// As [`Storage::object_store`].
    pub(crate) fn new(storage: &Storage, location: String) -> Result<Self> {
        let (store, path) = storage.object_store(&location)?;
        Ok(Self { location, store, path, parts: None, sent_bytes: 0 })
    }

    /// Where the file will be.
    pub(crate) fn location(&self) -> &str {
        &self.location
    }

    /// Bytes on their way.
    pub(crate) fn held_bytes(&self) -> usize {
        self.parts.as_ref().map_or(0, |parts| parts.in_flight.len() * PART_BYTES)
    }

    /// Sends one part; waits while too many are on their way. All parts but the last have [`PART_BYTES`].
    pub(crate) async fn send(&mut self, part: Bytes) -> Result<()> {
        if self.parts.is_none() {
            let begun = self.store.put_multipart_opts(&self.path, PutMultipartOptions::default()).await;
            let upload = begun.map_err(|e| failed(&self.location, e))?;
            self.parts = Some(Parts { upload: Some(upload), in_flight: JoinSet::new() });
        }
        let closed = || Error::bug("a finished upload is written to");
        let parts = self.parts.as_mut().ok_or_else(closed)?;
        while parts.in_flight.len() >= PARTS_IN_FLIGHT {
            landed(&self.location, parts.in_flight.join_next().await)?;
        }
        self.sent_bytes += part.len() as u64;
        let sending = parts.upload.as_mut().ok_or_else(closed)?.put_part(PutPayload::from_bytes(part));
        parts.in_flight.spawn(sending);
        Ok(())
    }

    /// Waits until no part is on its way.
    pub(crate) async fn settle(&mut self) -> Result<()> {
        if let Some(parts) = self.parts.as_mut() {
            while let Some(result) = parts.in_flight.join_next().await {
                landed(&self.location, Some(result))?;
            }
        }
        Ok(())
    }

    /// Completes the file with its last bytes; it is durable under its name when this returns. Returns its size in bytes.
    ///
    /// # Errors
    /// When the store fails; the upload is aborted then.
    pub(crate) async fn finish(mut self, rest: Bytes) -> Result<u64> {
        if self.parts.is_none() {
            let size = rest.len() as u64;
            let options = PutOptions::from(PutMode::Create);
            let put = self.store.put_opts(&self.path, PutPayload::from_bytes(rest), options).await;
            put.map_err(|e| failed(&self.location, e))?;
            return Ok(size);
        }
        if !rest.is_empty() {
            self.send(rest).await?;
        }
        self.settle().await?;
        if let Some(parts) = self.parts.as_mut() {
            // Taken only when complete, so that a failure or a cancellation here still aborts.
            if let Some(upload) = parts.upload.as_mut() {
                upload.complete().await.map_err(|e| failed(&self.location, e))?;
            }
            parts.upload = None;
        }
        Ok(self.sent_bytes)
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        let Some(parts) = self.parts.take() else { return };
        let Parts { upload: Some(mut upload), mut in_flight } = parts else { return };
        let location = std::mem::take(&mut self.location);
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(async move {
            // A part that lands after the abort would stay behind.
            in_flight.shutdown().await;
            if let Err(error) = upload.abort().await {
                tracing::warn!(%location, %error, "an unfinished upload could not be aborted");
            }
        });
    }
}

fn landed(
    location: &str,
    result: Option<std::result::Result<object_store::Result<()>, JoinError>>,
) -> Result<()> {
    match result {
        None | Some(Ok(Ok(()))) => Ok(()),
        Some(Ok(Err(error))) => Err(failed(location, error)),
        Some(Err(error)) => {
            Err(Error::unavailable("an upload was stopped").with("location", location).with_source(error))
        }
    }
}

fn failed(location: &str, error: object_store::Error) -> Error {
    store_error("write", location, error)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn location(folder: &tempfile::TempDir, name: &str) -> String {
        format!("file://{}/{name}", folder.path().display())
    }

    fn files(folder: &tempfile::TempDir) -> Vec<String> {
        let entries = std::fs::read_dir(folder.path()).unwrap();
        entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[tokio::test]
    async fn small_and_large_files_arrive_whole() {
        let folder = tempfile::tempdir().unwrap();
        for (name, size) in [("empty", 0), ("small", 10), ("part", PART_BYTES), ("large", 3 * PART_BYTES + 7)]
        {
            let content: Vec<u8> = (0..size).map(|at| (at % 251) as u8).collect();
            let mut upload = Upload::new(&Storage::local(), location(&folder, name)).unwrap();
            let mut buffer = PartBuffer::default();
            for chunk in content.chunks(1_000_003) {
                buffer.write_all(chunk).unwrap();
                for part in buffer.take_full() {
                    upload.send(part).await.unwrap();
                }
            }
            assert_eq!(upload.finish(buffer.take_rest()).await.unwrap(), size as u64);
            assert_eq!(std::fs::read(folder.path().join(name)).unwrap(), content);
        }
        assert_eq!(files(&folder).len(), 4);
    }

    #[tokio::test]
    async fn a_name_that_exists_is_not_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("x"), "old").unwrap();
        let upload = Upload::new(&Storage::local(), location(&folder, "x")).unwrap();
        assert_eq!(
            upload.finish(Bytes::from_static(b"new")).await.unwrap_err().kind(),
            icecap_table::ErrorKind::AlreadyExists
        );
        assert_eq!(std::fs::read(folder.path().join("x")).unwrap(), b"old");
    }

    #[tokio::test]
    async fn a_dropped_upload_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let mut upload = Upload::new(&Storage::local(), location(&folder, "x")).unwrap();
        upload.send(vec![1; PART_BYTES].into()).await.unwrap();
        upload.send(vec![1; PART_BYTES].into()).await.unwrap();
        drop(upload);
        for _ in 0..6000 {
            if files(&folder).is_empty() {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        panic!("left behind: {:?}", files(&folder));
    }
}
