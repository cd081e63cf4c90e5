//! Decoding: lines to objects to typed columns, in order, on a blocking thread.

use std::io::{BufRead, BufReader, Read};

use datafusion::arrow::array::{RecordBatch, RecordBatchOptions};
use datafusion::arrow::datatypes::{Schema as ArrowSchema, SchemaRef};
use icecap_table::{Error, Result};
use serde_json::{Map, Value};

use super::JsonOptions;
use super::column::{Misfit, column};
use crate::source::bytes::{FileAt, unreadable};

/// No line is longer.
const MAX_LINE_BYTES: u64 = 64 << 20;
/// A batch is given once its lines are that long together.
const BATCH_BYTES: usize = 32 << 20;

/// The objects of a file, line by line.
pub(super) struct Lines {
    bytes: BufReader<Box<dyn Read + Send>>,
    file: String,
    buffer: Vec<u8>,
    line: usize,
}

impl Lines {
    pub(super) fn open(file: FileAt<'_>) -> Result<Self> {
        Ok(Self { bytes: file.open()?, file: file.name().to_owned(), buffer: Vec::new(), line: 0 })
    }

    /// The next object and its line's length; `None` at the end. Lines with nothing on them are no rows.
    pub(super) fn next(&mut self) -> Result<Option<(usize, Map<String, Value>)>> {
        loop {
            self.buffer.clear();
            let read = self.bytes.by_ref().take(MAX_LINE_BYTES + 1).read_until(b'\n', &mut self.buffer);
            let length = read.map_err(|error| unreadable(&error, &self.file))?;
            if length == 0 {
                return Ok(None);
            }
            self.line += 1;
            if length as u64 > MAX_LINE_BYTES {
                return Err(self.wrong(&format!(
                    "line {} is longer than {MAX_LINE_BYTES} bytes: read_json reads one object a line",
                    self.line
                )));
            }
            if self.buffer.trim_ascii().is_empty() {
                continue;
            }
            return match serde_json::from_slice(&self.buffer) {
                Ok(Value::Object(object)) => Ok(Some((length, object))),
                Ok(_) => Err(self
                    .wrong(&format!("line {} is no object: read_json reads one object a line", self.line))),
                Err(error) => Err(self.wrong(&format!(
                    "line {} is not JSON ({error}): read_json reads one object a line",
                    self.line
                ))),
            };
        }
    }

    pub(super) fn wrong(&self, what: &str) -> Error {
        Error::invalid(what).with("file", self.file.clone())
    }
}

/// Objects as typed columns.
pub(in crate::source) struct JsonReader {
    lines: Lines,
    schema: SchemaRef,
    /// The names of all columns, when other fields are errors.
    known: Option<Vec<String>>,
    batch_rows: usize,
    found: String,
    /// What ends the file, once the rows before it are given.
    failed: Option<Error>,
}

impl JsonReader {
    /// Reads the columns of `schema` from a file whose columns are `full`.
    ///
    /// # Errors
    /// As opening the file.
    pub(in crate::source) fn open(
        file: FileAt<'_>,
        options: &JsonOptions,
        full: &ArrowSchema,
        schema: SchemaRef,
        batch_rows: usize,
    ) -> Result<Self> {
        let known = (!options.is_given).then(|| full.fields().iter().map(|f| f.name().clone()).collect());
        let found = match options.sample_rows {
            _ if options.is_given => "columns".to_owned(),
            Some(rows) => format!("the first {rows} rows"),
            None => "all rows".to_owned(),
        };
        Ok(Self { lines: Lines::open(file)?, schema, known, batch_rows, found, failed: None })
    }

    /// The next batch; `None` at the end.
    ///
    /// # Errors
    /// `Invalid` where a line is no object or a value is not of its column's type, naming file and line.
    pub(in crate::source) fn next(&mut self) -> Result<Option<RecordBatch>> {
        let (mut rows, mut numbers, mut bytes) = (Vec::new(), Vec::new(), 0);
        while self.failed.is_none() && rows.len() < self.batch_rows && bytes < BATCH_BYTES {
            let (length, object) = match self.lines.next() {
                Ok(Some(next)) => next,
                Ok(None) => break,
                Err(error) => {
                    self.failed = Some(error);
                    break;
                }
            };
            let unknown = self
                .known
                .as_ref()
                .and_then(|known| object.keys().find(|name| !known.iter().any(|own| own == *name)));
            if let Some(name) = unknown {
                self.failed = Some(self.lines.wrong(&format!(
                    "line {}: {name:?} is no column by {}: let sample => -1 look at every row, or give columns",
                    self.lines.line, self.found
                )));
                break;
            }
            bytes += length;
            numbers.push(self.lines.line);
            rows.push(object);
        }
        if rows.is_empty() {
            return self.failed.take().map_or(Ok(None), Err);
        }
        let columns = self
            .schema
            .fields()
            .iter()
            .map(|field| {
                let values: Vec<Option<&Value>> = rows.iter().map(|row| row.get(field.name())).collect();
                column(field.data_type(), &values)
                    .map_err(|misfit| self.misfit(field.name(), &numbers, &misfit))
            })
            .collect::<Result<Vec<_>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
        RecordBatch::try_new_with_options(SchemaRef::clone(&self.schema), columns, &options)
            .map(Some)
            .map_err(|error| Error::bug("JSON columns do not fit their schema").with_source(error))
    }

    fn misfit(&self, column: &str, numbers: &[usize], misfit: &Misfit) -> Error {
        let line = numbers.get(misfit.row).copied().unwrap_or_default();
        self.lines.wrong(&format!(
            "line {line}: column {column:?} has a value of type {} by {}, but here it is {}: let sample => -1 look \
             at every row, or give columns",
            misfit.ty, self.found, misfit.value
        ))
    }
}
