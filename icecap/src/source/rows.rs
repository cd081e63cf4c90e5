//! Files that are read row by row (CSV, JSON): each file's own columns, brought to the source's.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, new_null_array};
use datafusion::arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::ScalarValue;
use icecap_table::storage::Storage;
use icecap_table::{Error, Result};

use super::bytes::FileAt;
use super::csv::{CsvReader, column_names};
use super::hive;
use super::json::JsonReader;
use super::parquet::project;
use super::table::{SourceFormat, SourceInput};
use crate::plan::from_datafusion;

enum Reader {
    Csv(Box<CsvReader>),
    Json(JsonReader),
}

/// Where an output column comes from.
enum Part {
    /// The file's reader, at this position.
    Read(usize),
    /// Nowhere: the file lacks it.
    Absent(DataType),
    /// The file's folders.
    Folder(ScalarValue),
}

/// One file's rows.
pub(super) struct FileRows {
    reader: Reader,
    parts: Vec<Part>,
    schema: SchemaRef,
}

impl FileRows {
    /// Reads `columns` (indices into the input's schema) of the file `at`, as `schema`.
    ///
    /// # Errors
    /// As opening the file; `Unsupported` for a format that is not read by rows.
    pub(super) fn open(
        input: &SourceInput,
        storage: &Storage,
        at: usize,
        columns: &[usize],
        schema: SchemaRef,
        batch_rows: usize,
    ) -> Result<Self> {
        let file = input.files.get(at).ok_or_else(|| Error::bug("a file that is not in the source"))?;
        let place = FileAt::of(storage, file);
        let own = input.file_schema();
        let names = match &input.format {
            SourceFormat::Csv(options) if options.union_by_name => Some(column_names(options, place)?),
            _ => None,
        };
        let (mut parts, mut wanted, mut positions) = (Vec::new(), Vec::new(), Vec::new());
        for column in columns {
            let field = input.schema.fields().get(*column);
            let field = field.ok_or_else(|| Error::bug("a column that is not in the source"))?;
            if *column >= own.fields().len() {
                let value = file.folders.get(*column - own.fields().len()).and_then(Option::as_deref);
                parts.push(Part::Folder(hive::scalar(value, field.data_type())?));
                continue;
            }
            let position = match &names {
                Some(names) => names.iter().position(|name| name == field.name()),
                None => Some(*column),
            };
            match position {
                Some(position) => {
                    parts.push(Part::Read(wanted.len()));
                    wanted.push(*column);
                    positions.push(position);
                }
                None => parts.push(Part::Absent(field.data_type().clone())),
            }
        }
        let read = project(&input.schema, &wanted).map_err(from_datafusion)?;
        let reader = match &input.format {
            SourceFormat::Csv(options) => {
                let width = names.as_ref().map_or(own.fields().len(), Vec::len);
                let reader = CsvReader::open(place, options, width, &positions, read, batch_rows)?;
                Reader::Csv(Box::new(reader))
            }
            SourceFormat::Json(options) => {
                Reader::Json(JsonReader::open(place, options, &own, read, batch_rows)?)
            }
            SourceFormat::Parquet => return Err(Error::bug("Parquet is not read by rows")),
        };
        Ok(Self { reader, parts, schema })
    }

    /// The next batch; `None` at the end.
    ///
    /// # Errors
    /// As the format's reader.
    pub(super) fn next(&mut self) -> Result<Option<RecordBatch>> {
        let batch = match &mut self.reader {
            Reader::Csv(reader) => reader.next()?,
            Reader::Json(reader) => reader.next()?,
        };
        let Some(batch) = batch else { return Ok(None) };
        let rows = batch.num_rows();
        let columns = self
            .parts
            .iter()
            .map(|part| match part {
                Part::Read(at) => Ok(Arc::clone(batch.column(*at))),
                Part::Absent(ty) => Ok(new_null_array(ty, rows)),
                Part::Folder(value) => value.to_array_of_size(rows).map_err(from_datafusion),
            })
            .collect::<Result<Vec<ArrayRef>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)
            .map(Some)
            .map_err(|error| Error::bug("a file's columns do not fit their schema").with_source(error))
    }
}
