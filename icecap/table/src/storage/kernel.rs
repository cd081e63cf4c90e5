//! [`Storage`] as the kernel's `FileIO`.

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use futures::stream::BoxStream;
use iceberg::io::{
    FileIO, FileIOBuilder, FileMetadata, FileRead, FileWrite, InputFile, OutputFile,
    Storage as KernelStorage, StorageConfig, StorageFactory,
};
use iceberg::{Error as KernelError, ErrorKind as KernelErrorKind, Result as KernelResult};
use serde::{Deserialize, Serialize};

use super::Storage;
use crate::error::{Error, ErrorKind};

/// The adapter. It is serialised as nothing: a process that reads it back gets its own local storage.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Adapter {
    #[serde(skip, default = "Storage::local")]
    storage: Storage,
}

pub(super) fn file_io(storage: Storage) -> FileIO {
    FileIOBuilder::new(Arc::new(Adapter { storage })).build()
}

fn kernel_error(error: Error) -> KernelError {
    let kind = match error.kind() {
        ErrorKind::Unsupported => KernelErrorKind::FeatureUnsupported,
        ErrorKind::Invalid | ErrorKind::Corrupt => KernelErrorKind::DataInvalid,
        _ => KernelErrorKind::Unexpected,
    };
    KernelError::new(kind, error.to_string()).with_source(error)
}

#[typetag::serde(name = "icecap")]
impl StorageFactory for Adapter {
    fn build(&self, _: &StorageConfig) -> KernelResult<Arc<dyn KernelStorage>> {
        Ok(Arc::new(self.clone()))
    }
}

#[async_trait]
#[typetag::serde(name = "icecap")]
impl KernelStorage for Adapter {
    async fn exists(&self, path: &str) -> KernelResult<bool> {
        match self.storage.size(path).await {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(kernel_error(error)),
        }
    }

    async fn metadata(&self, path: &str) -> KernelResult<FileMetadata> {
        Ok(FileMetadata { size: self.storage.size(path).await.map_err(kernel_error)? })
    }

    async fn read(&self, path: &str) -> KernelResult<Bytes> {
        self.storage.read(path).await.map_err(kernel_error)
    }

    async fn reader(&self, path: &str) -> KernelResult<Box<dyn FileRead>> {
        Ok(Box::new(Reader { storage: self.storage.clone(), location: path.to_owned() }))
    }

    async fn write(&self, path: &str, bs: Bytes) -> KernelResult<()> {
        self.storage.put_new(path, bs).await.map_err(kernel_error)
    }

    async fn writer(&self, path: &str) -> KernelResult<Box<dyn FileWrite>> {
        Ok(Box::new(Writer {
            storage: self.storage.clone(),
            location: path.to_owned(),
            buffer: Some(BytesMut::new()),
        }))
    }

    async fn delete(&self, path: &str) -> KernelResult<()> {
        self.storage.delete(path).await.map_err(kernel_error)
    }

    async fn delete_prefix(&self, path: &str) -> KernelResult<()> {
        for location in self.storage.list(path).await.map_err(kernel_error)? {
            self.delete(&location).await?;
        }
        Ok(())
    }

    async fn delete_stream(&self, mut paths: BoxStream<'static, String>) -> KernelResult<()> {
        while let Some(path) = paths.next().await {
            self.delete(&path).await?;
        }
        Ok(())
    }

    fn new_input(&self, path: &str) -> KernelResult<InputFile> {
        Ok(InputFile::new(Arc::new(self.clone()), path.to_owned()))
    }

    fn new_output(&self, path: &str) -> KernelResult<OutputFile> {
        Ok(OutputFile::new(Arc::new(self.clone()), path.to_owned()))
    }
}

#[derive(Debug)]
struct Reader {
    storage: Storage,
    location: String,
}

#[async_trait]
impl FileRead for Reader {
    async fn read(&self, range: Range<u64>) -> KernelResult<Bytes> {
        self.storage.read_range(&self.location, range).await.map_err(kernel_error)
    }
}

/// Gathers what the kernel writes (manifests, Puffin files: small) into one put at the close.
#[derive(Debug)]
struct Writer {
    storage: Storage,
    location: String,
    buffer: Option<BytesMut>,
}

impl Writer {
    fn closed() -> KernelError {
        KernelError::new(KernelErrorKind::Unexpected, "the file is closed already")
    }
}

#[async_trait]
impl FileWrite for Writer {
    async fn write(&mut self, bs: Bytes) -> KernelResult<()> {
        self.buffer.as_mut().ok_or_else(Self::closed)?.extend_from_slice(&bs);
        Ok(())
    }

    async fn close(&mut self) -> KernelResult<()> {
        let bytes = self.buffer.take().ok_or_else(Self::closed)?.freeze();
        self.storage.put_new(&self.location, bytes).await.map_err(kernel_error)
    }
}
