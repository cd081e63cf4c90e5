//! [`OpenFile`]: one data file in the making, from batches to a [`StagedFile`].

use std::sync::Arc;

use bytes::Bytes;
use datafusion::arrow::array::ArrayRef;
use icecap_table::staged_file::StagedFile;
use icecap_table::{Error, Result};
use parquet::arrow::arrow_writer::ArrowRowGroupWriterFactory;
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;

use super::column::{ColumnEncoder, EncodedColumn, encoding_cost};
use super::layout::FileLayout;
use super::metrics::describe;
use super::nan::NanCounts;
use super::parallel::{in_parallel, offer_woken};
use super::partition::PartitionTuple;
use super::upload::{PART_BYTES, PartBuffer, Upload};

/// The most rows of a row group: what keeps a reader's unit of work, and a writer's memory, in bounds when
/// rows are small.
pub(crate) const MAX_ROW_GROUP_ROWS: usize = 1 << 20;

/// What a column's Zstandard compressor holds from its first page to the end of its chunk.
const COMPRESSOR_BYTES: usize = 1 << 20;

/// What a leaf column's encoder holds from its first row on beside what it says: Parquet makes a
/// Zstandard decompressor along with each compressor.
const CODEC_BYTES: usize = 96 << 10;

/// Conformed columns of some rows.
#[derive(Debug, Clone)]
pub(crate) struct Columns {
    pub(crate) arrays: Vec<ArrayRef>,
    pub(crate) rows: usize,
}

impl Columns {
    pub(crate) fn slice(&self, offset: usize, rows: usize) -> Self {
        Self { arrays: self.arrays.iter().map(|array| array.slice(offset, rows)).collect(), rows }
    }
}

/// One data file in the making.
pub(crate) struct OpenFile {
    layout: Arc<FileLayout>,
    tuple: PartitionTuple,
    writer: SerializedFileWriter<PartBuffer>,
    factory: ArrowRowGroupWriterFactory,
    /// The row group in the making; empty between row groups.
    columns: Vec<ColumnEncoder>,
    row_group_rows: usize,
    buffer: PartBuffer,
    upload: Upload,
    /// Of each finished row group.
    nans: Vec<NanCounts>,
}

/// A file whose bytes are all there, and which is not complete in storage yet.
pub(crate) struct SealedFile {
    staged: StagedFile,
    upload: Upload,
    rest: Bytes,
}

impl OpenFile {
    /// Begins a file at `location`; nothing is stored yet.
    pub(crate) fn new(
        layout: Arc<FileLayout>,
        properties: Arc<WriterProperties>,
        tuple: PartitionTuple,
        location: String,
    ) -> Result<Self> {
        let buffer = PartBuffer::default();
        let upload = Upload::new(&layout.storage, location)?;
        let writer =
            SerializedFileWriter::new(buffer.clone(), Arc::clone(&layout.parquet_schema), properties)
                .map_err(broken)?;
        let factory = ArrowRowGroupWriterFactory::new(&writer, Arc::clone(&layout.arrow_schema));
        Ok(Self {
            layout,
            tuple,
            writer,
            factory,
            columns: Vec::new(),
            row_group_rows: 0,
            buffer,
            upload,
            nans: Vec::new(),
        })
    }

    /// How many more rows the row group in the making takes.
    pub(crate) fn row_group_room(&self) -> usize {
        MAX_ROW_GROUP_ROWS.saturating_sub(self.row_group_rows)
    }

    /// Encodes rows on up to `parallel` threads, and ends the row group when it is full.
    pub(crate) async fn write(&mut self, batches: Vec<Columns>, parallel: usize) -> Result<()> {
        let rows: usize = batches.iter().map(|batch| batch.rows).sum();
        if rows == 0 {
            return Ok(());
        }
        let mut columns = std::mem::take(&mut self.columns);
        if columns.is_empty() {
            columns = self.begin_row_group()?;
        }
        if parallel <= 1 {
            // The source among others: taking its rows woke it.
            offer_woken();
            for (at, column) in columns.iter_mut().enumerate() {
                encode_column(column, at, &batches)?;
            }
            self.columns = columns;
        } else {
            let batches = Arc::new(batches);
            let items = self.costly_first(columns);
            let work = move |(at, mut column): (usize, ColumnEncoder)| {
                encode_column(&mut column, at, &batches)?;
                Ok((at, column))
            };
            self.columns = in_order(in_parallel(items, parallel, work).await?);
        }
        self.row_group_rows += rows;
        let full = usize::try_from(self.layout.settings.row_group_bytes).unwrap_or(usize::MAX);
        if self.row_group_rows >= MAX_ROW_GROUP_ROWS || self.row_group_bytes() >= full {
            self.end_row_group(parallel).await?;
        }
        Ok(())
    }

    fn begin_row_group(&self) -> Result<Vec<ColumnEncoder>> {
        let writers = self.factory.create_column_writers(self.nans.len()).map_err(broken)?;
        let mut writers = writers.into_iter();
        let fields = self.layout.schema.as_struct().fields();
        let types = self.layout.arrow_schema.fields();
        Ok(fields
            .iter()
            .zip(types)
            .map(|(field, arrow)| ColumnEncoder::new(field, arrow.data_type(), &mut writers))
            .collect())
    }

    fn costly_first(&self, columns: Vec<ColumnEncoder>) -> Vec<(usize, ColumnEncoder)> {
        let types = self.layout.arrow_schema.fields();
        let mut items: Vec<_> = columns.into_iter().enumerate().collect();
        items.sort_by_key(|(at, _)| std::cmp::Reverse(types.get(*at).map(|f| encoding_cost(f.data_type()))));
        items
    }

    /// Ends the row group in the making, if there is one, and sends what is complete.
    async fn end_row_group(&mut self, parallel: usize) -> Result<()> {
        let columns = std::mem::take(&mut self.columns);
        if columns.is_empty() {
            return Ok(());
        }
        self.row_group_rows = 0;
        let items = self.costly_first(columns);
        let close = |(at, column): (usize, ColumnEncoder)| Ok((at, column.close()?));
        let encoded: Vec<EncodedColumn> = in_order(in_parallel(items, parallel, close).await?);
        // What follows is copying, for one thread.
        offer_woken();
        let mut nans = NanCounts::new();
        let mut row_group = self.writer.next_row_group().map_err(broken)?;
        for column in encoded {
            nans.extend(column.nans);
            for chunk in column.chunks {
                chunk.append_to_row_group(&mut row_group).map_err(broken)?;
            }
        }
        row_group.close().map_err(broken)?;
        self.nans.push(nans);
        self.send_full_parts().await
    }

    /// Ends the row group in the making and waits until what is complete has arrived in storage.
    pub(crate) async fn shed(&mut self, parallel: usize) -> Result<()> {
        self.end_row_group(parallel).await?;
        self.upload.settle().await
    }

    async fn send_full_parts(&mut self) -> Result<()> {
        for part in self.buffer.take_full() {
            self.upload.send(part).await?;
        }
        Ok(())
    }

    fn row_group_bytes(&self) -> usize {
        self.columns.iter().map(ColumnEncoder::encoded_bytes).sum()
    }

    /// The size that the file would have if it were closed now, roughly.
    pub(crate) fn size_bytes(&self) -> u64 {
        (self.writer.bytes_written() + self.row_group_bytes()) as u64
    }

    /// The memory that ending the row group would give back, and all of the file's memory.
    pub(crate) fn memory_bytes(&self) -> (usize, usize) {
        let encoders: usize = self.columns.iter().map(ColumnEncoder::memory_bytes).sum();
        let codecs = if self.columns.is_empty() { 0 } else { self.layout.leaves.len() * CODEC_BYTES };
        let row_group = encoders + codecs + self.compressors() * COMPRESSOR_BYTES;
        (row_group, row_group + self.buffer.held_bytes() + self.upload.held_bytes())
    }

    /// Whether the row group in the making would fill at least one part of an upload.
    pub(crate) fn row_group_is_worth_ending(&self) -> bool {
        self.row_group_bytes() >= PART_BYTES
    }

    /// How many columns have compressed a page, at most.
    fn compressors(&self) -> usize {
        let settings = &self.layout.settings;
        let leaves = self.layout.leaves.len();
        if self.columns.is_empty() {
            0
        } else if self.row_group_rows as u64 >= settings.page_rows {
            leaves
        } else {
            let pages = self.row_group_bytes() as u64 / settings.page_bytes.max(1);
            usize::try_from(pages).unwrap_or(usize::MAX).min(leaves)
        }
    }

    /// Ends the file's bytes. What is left is to complete it in storage.
    pub(crate) async fn seal(mut self, parallel: usize) -> Result<SealedFile> {
        self.end_row_group(parallel).await?;
        let metadata = self.writer.finish().map_err(broken)?;
        self.send_full_parts().await?;
        let location = self.upload.location().to_owned();
        let staged = describe(&self.layout, location, self.tuple.values, &metadata, &self.nans)?;
        Ok(SealedFile { staged, upload: self.upload, rest: self.buffer.take_rest() })
    }
}

impl SealedFile {
    /// Completes the file in storage: it is durable when this returns.
    pub(crate) async fn finish(mut self) -> Result<StagedFile> {
        self.staged.file_size_bytes = self.upload.finish(self.rest).await?;
        Ok(self.staged)
    }
}

fn encode_column(column: &mut ColumnEncoder, at: usize, batches: &[Columns]) -> Result<()> {
    for batch in batches {
        let array = batch.arrays.get(at).ok_or_else(|| Error::bug("a batch lacks a column"))?;
        column.encode(array)?;
    }
    Ok(())
}

fn in_order<T>(mut items: Vec<(usize, T)>) -> Vec<T> {
    items.sort_by_key(|(at, _)| *at);
    items.into_iter().map(|(_, item)| item).collect()
}

fn broken(error: ParquetError) -> Error {
    Error::bug("a Parquet file cannot be put together").with_source(error)
}
