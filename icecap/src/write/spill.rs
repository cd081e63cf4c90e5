//! Rows that wait on disk: what memory cannot hold of the rows of many partitions goes to temporary files, one
//! for each of some groups of partitions, and comes back group by group when all rows are there.
//!
//! Without it a writer of thousands of partitions would have to write thousands of little files each time its
//! memory is full.

use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{BufReader, BufWriter, Write};
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions};
use datafusion::arrow::compute::concat;
use datafusion::arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::ipc::reader::StreamReader;
use datafusion::arrow::ipc::writer::StreamWriter;
use datafusion::execution::disk_manager::DiskManager;
use datafusion::execution::{SpillFile, SpillWriter};
use icecap_table::{Error, Result};

use super::file::Columns;

/// Groups of partitions. Rows of 64 times the memory come back in pieces that fit it.
pub(crate) const GROUPS: usize = 64;

/// Rows of one batch in a file: what comes back at a time.
const BATCH_ROWS: usize = 1 << 16;

/// The group of a partition.
pub(crate) fn group_of(key: &[u8]) -> usize {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    usize::try_from(hasher.finish() % GROUPS as u64).unwrap_or(0)
}

/// The files of the groups; they go when this is dropped.
pub(crate) struct Spill {
    disk: Arc<DiskManager>,
    groups: Vec<Option<Spilled>>,
}

/// The file of one group.
struct Spilled {
    file: Arc<dyn SpillFile>,
    writer: StreamWriter<BufWriter<Box<dyn SpillWriter>>>,
    schema: SchemaRef,
}

impl Spill {
    pub(crate) fn new(disk: Arc<DiskManager>) -> Self {
        Self { disk, groups: (0..GROUPS).map(|_| None).collect() }
    }

    /// Appends rows to the file of a group.
    ///
    /// # Errors
    /// `Exhausted` when the temporary folder is full or cannot be written.
    pub(crate) fn append(&mut self, group: usize, rows: &[Columns]) -> Result<()> {
        let mut piece = Vec::new();
        let mut piece_rows = 0;
        for columns in rows {
            piece_rows += columns.rows;
            piece.push(columns);
            if piece_rows >= BATCH_ROWS {
                self.append_piece(group, &std::mem::take(&mut piece))?;
                piece_rows = 0;
            }
        }
        if piece.is_empty() { Ok(()) } else { self.append_piece(group, &piece) }
    }

    fn append_piece(&mut self, group: usize, rows: &[&Columns]) -> Result<()> {
        let Some(first) = rows.first() else { return Ok(()) };
        let slot = self.groups.get_mut(group).ok_or_else(|| Error::bug("there is no such group of rows"))?;
        let spilled = match slot {
            Some(spilled) => spilled,
            None => slot.insert(Spilled::begin(&self.disk, &first.arrays)?),
        };
        let arrays = (0..first.arrays.len())
            .map(|at| {
                let parts: Vec<&dyn Array> =
                    rows.iter().filter_map(|columns| columns.arrays.get(at)).map(AsRef::as_ref).collect();
                concat(&parts)
            })
            .collect::<Result<Vec<_>, _>>()
            .map_err(|e| Error::exhausted("rows are too large to be spilled").with_source(e))?;
        let count = rows.iter().map(|columns| columns.rows).sum();
        spilled.write(arrays, count).map_err(full)
    }

    /// The rows of a group, once all are there.
    pub(crate) fn take(&mut self, group: usize) -> Result<Option<SpilledRows>> {
        let Some(spilled) = self.groups.get_mut(group).and_then(Option::take) else { return Ok(None) };
        spilled.read().map(Some).map_err(full)
    }
}

impl Spilled {
    fn begin(disk: &Arc<DiskManager>, like: &[ArrayRef]) -> Result<Self> {
        let none = |e| {
            Error::exhausted("no temporary file can be made for rows that memory cannot hold: see --temp-dir")
                .with_source(e)
        };
        let file = disk.create_tmp_file("rows of many partitions").map_err(none)?;
        let fields = like.iter().enumerate().map(|(at, array)| {
            // What a column may hold was checked before.
            Field::new(format!("c{at}"), array.data_type().clone(), true)
        });
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let writer = BufWriter::new(file.open_writer().map_err(none)?);
        let writer = StreamWriter::try_new(writer, &schema).map_err(full)?;
        Ok(Self { file, writer, schema })
    }

    fn write(&mut self, arrays: Vec<ArrayRef>, rows: usize) -> Result<(), ArrowError> {
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        self.writer.write(&RecordBatch::try_new_with_options(Arc::clone(&self.schema), arrays, &options)?)
    }

    fn read(mut self) -> Result<SpilledRows, ArrowError> {
        self.writer.finish()?;
        self.writer.get_mut().flush()?;
        drop(self.writer);
        let path = self.file.path().ok_or_else(|| {
            ArrowError::NotYetImplemented("temporary files that are not on a local disk".to_owned())
        })?;
        let reader = StreamReader::try_new(BufReader::new(File::open(path)?), None)?;
        Ok(SpilledRows { reader, _file: self.file })
    }
}

/// The rows of one group, from its file.
pub(crate) struct SpilledRows {
    reader: StreamReader<BufReader<File>>,
    _file: Arc<dyn SpillFile>,
}

impl SpilledRows {
    /// Some more rows; `None` after the last.
    pub(crate) fn next(&mut self) -> Result<Option<Columns>> {
        let batch = self.reader.next().transpose().map_err(full)?;
        Ok(batch.map(|batch| Columns { rows: batch.num_rows(), arrays: batch.columns().to_vec() }))
    }
}

fn full(error: ArrowError) -> Error {
    Error::exhausted("rows that memory cannot hold could not be kept in the temporary folder: see --temp-dir")
        .with_source(error)
}
