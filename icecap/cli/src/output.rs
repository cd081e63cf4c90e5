//! What a result looks like: rows and summaries as an aligned table, JSON lines, CSV or Arrow.
//!
//! Rows are written as they arrive; no format holds a whole result. Values of any Arrow type become text
//! in one place ([`value`]), so that the formats differ only where they must.

mod arrow;
mod calendar;
mod csv;
mod json;
mod summary;
mod table;
pub mod value;

use std::io::{self, IsTerminal, Write};

use ::arrow::array::RecordBatch;
use ::arrow::datatypes::SchemaRef;
use icecap_table::Error;

pub use summary::{Done, Summary, Written};

/// The format of the result on standard output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// Aligned columns for a person.
    #[default]
    Table,
    /// One JSON object a line.
    Json,
    /// Comma-separated values with a header.
    Csv,
    /// Arrow's IPC stream.
    Arrow,
}

/// What limits the width of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Screen {
    /// The columns of the terminal; `None` when the output is not a terminal, and nothing is cut.
    pub columns: Option<usize>,
}

impl Screen {
    /// The screen behind standard output.
    pub fn of_stdout() -> Self {
        if !io::stdout().is_terminal() {
            return Self::default();
        }
        let columns = terminal_size::terminal_size().map_or(80, |(width, _)| usize::from(width.0));
        Self { columns: Some(columns.max(20)) }
    }
}

/// Why output stopped.
#[derive(Debug)]
pub enum OutputError {
    /// The reader went away (a closed pipe): a quiet end, not a failure.
    Closed,
    /// The output could not be written.
    Failed(Error),
}

impl From<io::Error> for OutputError {
    fn from(error: io::Error) -> Self {
        let kind = match error.kind() {
            io::ErrorKind::BrokenPipe => return Self::Closed,
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => icecap_table::ErrorKind::Exhausted,
            _ => icecap_table::ErrorKind::Unavailable,
        };
        Self::Failed(Error::new(kind, "cannot write the result to standard output").with_source(error))
    }
}

impl From<Error> for OutputError {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// The outcome of writing output.
pub type OutputResult = Result<(), OutputError>;

/// Writes the rows of one result.
pub trait RowWriter {
    /// Writes one batch's rows.
    ///
    /// # Errors
    /// [`OutputError`] when the output stopped.
    fn write(&mut self, batch: &RecordBatch, out: &mut dyn Write) -> OutputResult;

    /// Writes what comes after the last row (and, when no batch came, before it).
    ///
    /// # Errors
    /// [`OutputError`] when the output stopped.
    fn finish(&mut self, out: &mut dyn Write) -> OutputResult;
}

/// The writer of a result with this schema.
pub fn row_writer(format: Format, schema: SchemaRef, screen: Screen) -> Box<dyn RowWriter> {
    match format {
        Format::Table => Box::new(table::TableWriter::new(schema, screen)),
        Format::Json => Box::new(json::JsonWriter::new(&schema)),
        Format::Csv => Box::new(csv::CsvWriter::new(schema)),
        Format::Arrow => Box::new(arrow::ArrowWriter::new(schema)),
    }
}
