//! Decoding: bytes to records to typed columns, in order, on a blocking thread.

use std::io::{BufRead, BufReader, Read};
use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, BooleanArray, Date32Array, Float64Array, Int64Array, RecordBatch, RecordBatchOptions,
    StringArray, TimestampMicrosecondArray,
};
use datafusion::arrow::csv::ReaderBuilder;
use datafusion::arrow::csv::reader::Decoder;
use datafusion::arrow::datatypes::{DataType, Field, Schema as ArrowSchema, SchemaRef, TimeUnit};
use datafusion::arrow::error::ArrowError;
use icecap_table::{Error, Result};

use super::{CsvOptions, value};
use crate::source::bytes::{FileAt, unreadable};

/// No record, and no batch of them, is longer: an unclosed quote would swallow the file into memory.
const MAX_BATCH_BYTES: usize = 512 << 20;

/// Records as text columns, every field as it is written; an empty field is the empty string.
pub(super) struct TextReader {
    bytes: BufReader<Box<dyn Read + Send>>,
    decoder: Decoder,
    file: String,
    done: bool,
}

impl TextReader {
    /// Reads the fields `projection` of records of `columns` fields.
    pub(super) fn open(
        file: FileAt<'_>,
        options: &CsvOptions,
        columns: usize,
        projection: Vec<usize>,
        batch_rows: usize,
    ) -> Result<Self> {
        let fields: Vec<Field> =
            (0..columns).map(|at| Field::new(at.to_string(), DataType::Utf8, true)).collect();
        let decoder = ReaderBuilder::new(Arc::new(ArrowSchema::new(fields)))
            .with_header(options.header)
            .with_delimiter(options.delimiter)
            .with_quote(options.quote)
            .with_batch_size(batch_rows)
            .with_projection(projection)
            .build_decoder();
        Ok(Self { bytes: file.open()?, decoder, file: file.name().to_owned(), done: false })
    }

    /// The next batch; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<RecordBatch>> {
        let mut taken = 0;
        while !self.done {
            let chunk = self.bytes.fill_buf().map_err(|error| unreadable(&error, &self.file))?;
            let ended = chunk.is_empty();
            let consumed = self.decoder.decode(chunk).map_err(|error| malformed(&error, &self.file))?;
            self.bytes.consume(consumed);
            taken += consumed;
            if taken > MAX_BATCH_BYTES {
                return Err(Error::invalid(format!(
                    "a record is longer than {MAX_BATCH_BYTES} bytes: is a quote left open?"
                ))
                .with("file", self.file.clone()));
            }
            if ended || (consumed == 0) || self.decoder.capacity() == 0 {
                self.done = ended;
                break;
            }
        }
        self.decoder.flush().map_err(|error| malformed(&error, &self.file))
    }
}

fn malformed(error: &ArrowError, file: &str) -> Error {
    let text = match error {
        ArrowError::CsvError(text) | ArrowError::ParseError(text) => text.clone(),
        other => other.to_string(),
    };
    Error::invalid(format!("not the CSV that the options say: {text}")).with("file", file)
}

/// Records as typed columns.
pub(in crate::source) struct CsvReader {
    text: TextReader,
    schema: SchemaRef,
    null: String,
    file: String,
    /// Records before the next batch, the header included.
    lines: usize,
    sample: String,
    /// Whether nothing but the number of rows is wanted.
    count_only: bool,
}

impl CsvReader {
    /// Reads the columns `projection` of a file of `width` columns.
    ///
    /// # Errors
    /// As opening the file.
    pub(in crate::source) fn open(
        file: FileAt<'_>,
        options: &CsvOptions,
        width: usize,
        projection: &[usize],
        schema: SchemaRef,
        batch_rows: usize,
    ) -> Result<Self> {
        // The decoder must give a column to count rows by.
        let count_only = projection.is_empty();
        let fields = if count_only { vec![0] } else { projection.to_vec() };
        let text = TextReader::open(file, options, width, fields, batch_rows)?;
        let sample = match options.sample_rows {
            Some(rows) => format!("the first {rows} rows"),
            None => "all rows".to_owned(),
        };
        Ok(Self {
            text,
            schema,
            null: options.null.clone(),
            file: file.name().to_owned(),
            lines: usize::from(options.header),
            sample,
            count_only,
        })
    }

    /// The next batch; `None` at the end.
    ///
    /// # Errors
    /// `Invalid` where a record is malformed or a value is not of its column's type, naming file and line.
    pub(in crate::source) fn next(&mut self) -> Result<Option<RecordBatch>> {
        let Some(batch) = self.text.next()? else { return Ok(None) };
        let rows = batch.num_rows();
        let columns = match self.count_only {
            true => Vec::new(),
            false => self
                .schema
                .fields()
                .iter()
                .zip(batch.columns())
                .map(|(field, column)| self.column(field, column))
                .collect::<Result<Vec<_>>>()?,
        };
        self.lines += rows;
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)
            .map(Some)
            .map_err(|error| Error::bug("CSV columns do not fit their schema").with_source(error))
    }

    fn column(&self, field: &Field, column: &ArrayRef) -> Result<ArrayRef> {
        let text = column
            .as_any()
            .downcast_ref::<StringArray>()
            .ok_or_else(|| Error::bug("a CSV field was not read as text"))?;
        Ok(match field.data_type() {
            DataType::Boolean => Arc::new(self.parse(field, text, value::boolean)?.collect::<BooleanArray>()),
            DataType::Int64 => Arc::new(self.parse(field, text, value::integer)?.collect::<Int64Array>()),
            DataType::Float64 => Arc::new(self.parse(field, text, value::float)?.collect::<Float64Array>()),
            DataType::Date32 => Arc::new(self.parse(field, text, value::date)?.collect::<Date32Array>()),
            DataType::Timestamp(TimeUnit::Microsecond, zone) => {
                let parse = if zone.is_some() { value::timestamptz } else { value::timestamp };
                let values = self.parse(field, text, parse)?.collect::<TimestampMicrosecondArray>();
                Arc::new(values.with_timezone_opt(zone.clone()))
            }
            DataType::Utf8 => Arc::new(self.text(text)),
            other => return Err(Error::bug(format!("a CSV column of type {other}"))),
        })
    }

    fn parse<T>(
        &self,
        field: &Field,
        text: &StringArray,
        parse: fn(&str) -> Option<T>,
    ) -> Result<impl Iterator<Item = Option<T>>> {
        let mut values = Vec::with_capacity(text.len());
        for row in 0..text.len() {
            let text = if text.is_null(row) { "" } else { text.value(row) };
            values.push(if text.is_empty() || text == self.null {
                None
            } else {
                Some(parse(text).ok_or_else(|| self.misfit(field, text, row))?)
            });
        }
        Ok(values.into_iter())
    }

    fn misfit(&self, field: &Field, text: &str, row: usize) -> Error {
        let shown: String = text.chars().take(80).collect();
        Error::invalid(format!(
            "line {}: column {:?} is {} by {}, but here it is {shown:?}: let sample => -1 look at every row",
            self.lines + row + 1,
            field.name(),
            field.data_type(),
            self.sample,
        ))
        .with("file", self.file.clone())
    }

    /// Text, where the null text is NULL; the decoder's own NULLs are empty fields.
    fn text(&self, text: &StringArray) -> StringArray {
        if self.null.is_empty() {
            return text.iter().map(|value| value.filter(|value| !value.is_empty())).collect();
        }
        text.iter().map(|value| Some(value.unwrap_or_default()).filter(|value| *value != self.null)).collect()
    }
}
