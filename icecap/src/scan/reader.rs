//! Reads a data file's bytes and footer through the table's own storage.
//!
//! Three things differ from DataFusion's reader. The footer of a file that is read in several slices is
//! fetched once per scan, and that of a table's file stays in the storage's cache. The Arrow schema that some writers embed is dropped: types and field ids come
//! from Parquet's own schema, so that a file cannot name one column in two ways. And the footer's row
//! count must be the manifest's, because statistics are answered from the manifest.

use std::collections::HashMap;
use std::ops::Range;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use datafusion::common::{DataFusionError, Result as DfResult};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{ParquetFileMetrics, ParquetFileReaderFactory};
use datafusion::physical_plan::metrics::{Count, ExecutionPlanMetricsSet};
use futures::FutureExt;
use futures::future::BoxFuture;
use icecap_table::cache::ObjectCache;
use icecap_table::storage::store_error;
use icecap_table::{Error, Result};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use parquet::arrow::ARROW_SCHEMA_META_KEY;
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use parquet::arrow::async_reader::{AsyncFileReader, MetadataFetch};
use parquet::errors::{ParquetError, Result as ParquetResult};
use parquet::file::metadata::{
    FileMetaData, PageIndexPolicy, ParquetMetaData, ParquetMetaDataBuilder, ParquetMetaDataReader,
};
use tokio::sync::OnceCell;

use super::deletes::FileDeletes;
use crate::plan::error::from_datafusion;

/// Bytes read from a file's end in the first request for its footer: enough for most footers.
const FOOTER_BYTES: usize = 64 * 1024;

/// What a slice's reader must know of its file; travels as an extension of [`PartitionedFile`].
#[derive(Debug, Clone)]
pub(crate) struct FileHandle {
    /// The file's location, for messages.
    pub(crate) location: String,
    /// Where it is stored.
    pub(crate) store: Arc<dyn ObjectStore>,
    /// Rows, as the manifest says; `None` where nobody has said.
    pub(crate) record_count: Option<u64>,
    /// Whether the Arrow schema that a writer embedded is to be dropped.
    pub(crate) drop_arrow_schema: bool,
    /// The footer, once it was read.
    pub(crate) footer: Arc<OnceCell<Arc<ParquetMetaData>>>,
    /// Where footers are kept: of files that never change.
    pub(crate) cache: Option<Arc<ObjectCache>>,
    /// What is deleted of the file.
    pub(crate) deletes: Option<Arc<FileDeletes>>,
}

/// A footer in the cache.
struct Footer {
    /// The length of the file that it was read from.
    size: u64,
    metadata: Arc<ParquetMetaData>,
}

impl FileHandle {
    pub(crate) fn new(location: String, store: Arc<dyn ObjectStore>) -> Self {
        Self {
            location,
            store,
            record_count: None,
            drop_arrow_schema: false,
            footer: Arc::default(),
            cache: None,
            deletes: None,
        }
    }

    /// The file's footer, read once; the bytes that it takes are counted in `bytes`.
    ///
    /// # Errors
    /// `Corrupt` when the file is no Parquet, not there, or has not as many rows as are recorded.
    pub(crate) async fn footer(
        &self,
        path: &Path,
        size: u64,
        bytes: Option<&Count>,
    ) -> ParquetResult<Arc<ParquetMetaData>> {
        let footer = self.footer.get_or_try_init(|| self.checked_footer(path, size, bytes)).await?;
        Ok(Arc::clone(footer))
    }

    /// The footer, from the cache where it is in it; with as many rows as are recorded.
    async fn checked_footer(
        &self,
        path: &Path,
        size: u64,
        bytes: Option<&Count>,
    ) -> ParquetResult<Arc<ParquetMetaData>> {
        let location = self.location.as_str();
        let known = self.cache.as_ref().and_then(|cache| cache.get::<Footer>(location));
        let footer = match known.filter(|known| known.size == size) {
            Some(known) => Arc::clone(&known.metadata),
            None => {
                let fetch = Fetch { location, store: &self.store, path, size, bytes };
                let footer = load_footer(fetch).await?;
                let metadata =
                    Arc::new(if self.drop_arrow_schema { without_arrow_schema(footer) } else { footer });
                if let Some(cache) = &self.cache {
                    let footer = Footer { size, metadata: Arc::clone(&metadata) };
                    cache.put(location, Arc::new(footer), metadata.memory_size());
                }
                metadata
            }
        };
        self.check_rows(&footer)?;
        Ok(footer)
    }

    fn check_rows(&self, footer: &ParquetMetaData) -> ParquetResult<()> {
        let location = self.location.as_str();
        let Some(expected) = self.record_count else { return Ok(()) };
        let mut rows: u64 = 0;
        for group in footer.row_groups() {
            let count = u64::try_from(group.num_rows())
                .map_err(|_| not_parquet(location, "a row group has a negative number of rows"))?;
            rows = rows.saturating_add(count);
        }
        if rows != expected {
            return Err(not_parquet(location, &format!("it has {rows} rows, and {expected} are recorded")));
        }
        Ok(())
    }
}

/// Makes the readers of one scan, and knows which are open in each partition.
#[derive(Debug, Default)]
pub(crate) struct Readers {
    open: Arc<OpenFiles>,
}

/// The locations being read, by partition: what an error from inside a decoder can be about. A reader may be
/// gone by the time its bytes turn out to be broken, so the last one that closed counts too.
#[derive(Debug, Default)]
pub(crate) struct OpenFiles(Mutex<HashMap<usize, Partition>>);

#[derive(Debug, Default)]
struct Partition {
    open: Vec<String>,
    closed: Option<String>,
}

impl OpenFiles {
    fn add(&self, partition: usize, location: &str) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.entry(partition).or_default().open.push(location.to_owned());
    }

    fn remove(&self, partition: usize, location: &str) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(files) = all.get_mut(&partition)
            && let Some(at) = files.open.iter().position(|file| file == location)
        {
            files.closed = Some(files.open.remove(at));
        }
    }

    /// The files that a partition has open, or closed last.
    pub(crate) fn of(&self, partition: usize) -> Vec<String> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(files) = all.get(&partition) else { return Vec::new() };
        let mut names: Vec<String> = files.closed.iter().chain(&files.open).cloned().collect();
        names.sort();
        names.dedup();
        names
    }
}

impl Readers {
    /// Who is being read.
    pub(crate) fn open_files(&self) -> Arc<OpenFiles> {
        Arc::clone(&self.open)
    }
}

impl ParquetFileReaderFactory for Readers {
    fn create_reader(
        &self,
        partition_index: usize,
        file: PartitionedFile,
        _metadata_size_hint: Option<usize>,
        metrics: &ExecutionPlanMetricsSet,
    ) -> DfResult<Box<dyn AsyncFileReader + Send>> {
        let handle = file
            .extension::<FileHandle>()
            .ok_or_else(|| DataFusionError::Internal("a file slice without its handle".to_owned()))?
            .clone();
        self.open.add(partition_index, &handle.location);
        let path = file.object_meta.location.clone();
        Ok(Box::new(Reader {
            metrics: ParquetFileMetrics::new(partition_index, path.as_ref(), metrics),
            path,
            size: file.object_meta.size,
            handle,
            partition: partition_index,
            open: Arc::clone(&self.open),
        }))
    }
}

struct Reader {
    handle: FileHandle,
    path: Path,
    size: u64,
    metrics: ParquetFileMetrics,
    partition: usize,
    open: Arc<OpenFiles>,
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.open.remove(self.partition, &self.handle.location);
    }
}

impl Reader {
    fn count(&self, bytes: u64) {
        self.metrics.bytes_scanned.add(usize::try_from(bytes).unwrap_or(usize::MAX));
    }
}

fn read_error(location: &str, error: object_store::Error) -> ParquetError {
    let error = match error {
        object_store::Error::NotFound { .. } => {
            Error::corrupt("a file that the table names does not exist").with("file", location)
        }
        other => store_error("read a data file", location, other),
    };
    ParquetError::External(Box::new(error))
}

impl AsyncFileReader for Reader {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, ParquetResult<Bytes>> {
        async move {
            check_range(&range, self.size)?;
            self.count(range.end - range.start);
            self.handle
                .store
                .get_range(&self.path, range)
                .await
                .map_err(|error| read_error(&self.handle.location, error))
        }
        .boxed()
    }

    fn get_byte_ranges(&mut self, ranges: Vec<Range<u64>>) -> BoxFuture<'_, ParquetResult<Vec<Bytes>>> {
        async move {
            for range in &ranges {
                check_range(range, self.size)?;
                self.count(range.end - range.start);
            }
            self.handle
                .store
                .get_ranges(&self.path, &ranges)
                .await
                .map_err(|error| read_error(&self.handle.location, error))
        }
        .boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        _options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, ParquetResult<Arc<ParquetMetaData>>> {
        async move {
            let bytes = &self.metrics.bytes_scanned;
            self.handle.footer(&self.path, self.size, Some(bytes)).await
        }
        .boxed()
    }
}

/// A footer may say anything: no range outside the file is asked for.
fn check_range(range: &Range<u64>, size: u64) -> ParquetResult<()> {
    if range.start > range.end || range.end > size {
        return Err(ParquetError::General(format!(
            "the footer points at bytes {}..{} of a file of {size} bytes",
            range.start, range.end
        )));
    }
    Ok(())
}

/// Reads a file's footer, without its page index.
///
/// # Errors
/// `Corrupt` when the file is no Parquet, or not there.
pub(crate) async fn read_footer(
    location: &str,
    store: Arc<dyn ObjectStore>,
    path: &Path,
    size: u64,
) -> Result<Arc<ParquetMetaData>> {
    let fetch = Fetch { location, store: &store, path, size, bytes: None };
    load_footer(fetch).await.map(Arc::new).map_err(|error| from_datafusion(error.into()))
}

struct Fetch<'a> {
    location: &'a str,
    store: &'a Arc<dyn ObjectStore>,
    path: &'a Path,
    size: u64,
    bytes: Option<&'a Count>,
}

impl MetadataFetch for Fetch<'_> {
    fn fetch(&mut self, range: Range<u64>) -> BoxFuture<'_, ParquetResult<Bytes>> {
        async move {
            check_range(&range, self.size)?;
            if let Some(bytes) = self.bytes {
                bytes.add(usize::try_from(range.end - range.start).unwrap_or(usize::MAX));
            }
            self.store.get_range(self.path, range).await.map_err(|error| read_error(self.location, error))
        }
        .boxed()
    }
}

fn not_parquet(location: &str, what: &str) -> ParquetError {
    let error = Error::corrupt(format!("not the Parquet file it should be: {what}")).with("file", location);
    ParquetError::External(Box::new(error))
}

async fn load_footer(fetch: Fetch<'_>) -> ParquetResult<ParquetMetaData> {
    let (location, size) = (fetch.location, fetch.size);
    let reader = ParquetMetaDataReader::new()
        .with_page_index_policy(PageIndexPolicy::Skip)
        .with_prefetch_hint(Some(FOOTER_BYTES));
    // The footer is thrift that anybody may have written: a decoder that gives up must not take us along.
    match AssertUnwindSafe(reader.load_and_finish(fetch, size)).catch_unwind().await {
        Ok(Err(error @ ParquetError::External(_))) => Err(error),
        Ok(Err(error)) => Err(not_parquet(location, &error.to_string())),
        Ok(footer) => footer,
        Err(_) => Err(not_parquet(location, "its footer cannot be decoded")),
    }
}

fn without_arrow_schema(footer: ParquetMetaData) -> ParquetMetaData {
    let file = footer.file_metadata();
    let Some(pairs) = file.key_value_metadata() else { return footer };
    if !pairs.iter().any(|pair| pair.key == ARROW_SCHEMA_META_KEY) {
        return footer;
    }
    let pairs = pairs.iter().filter(|pair| pair.key != ARROW_SCHEMA_META_KEY).cloned().collect();
    let file = FileMetaData::new(
        file.version(),
        file.num_rows(),
        file.created_by().map(str::to_owned),
        Some(pairs),
        file.schema_descr_ptr(),
        file.column_orders().cloned(),
    );
    ParquetMetaDataBuilder::new(file).set_row_groups(footer.row_groups().to_vec()).build()
}
