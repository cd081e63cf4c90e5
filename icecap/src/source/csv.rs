//! CSV: options, the schema found from the first rows, and reading against it.
//!
//! A column's type is taken from a sample ([`CsvOptions::sample_rows`]) and then binding: a later value that
//! does not fit is an error with its file and line, never a NULL and never a silently other value. For the
//! same reason the types are chosen narrowly ([`infer`]): `007` is text, for a number would lose the zeros.
//!
//! The null text is NULL in every column. An empty field is NULL in columns that are not text, and in text
//! columns when the null text is empty too (the default). A line with nothing on it is no row.

mod infer;
mod read;
pub(super) mod value;

use std::sync::Arc;

use icecap_table::storage::Storage;
use icecap_table::{Error, Result};

pub(super) use infer::column_names;
pub(super) use read::CsvReader;

use super::files::Listed;
use super::table::{SourceFile, SourceFormat, SourceInput};

/// How a CSV file is written, and how its types are found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CsvOptions {
    /// Whether the first line names the columns.
    pub header: bool,
    /// What separates fields.
    pub delimiter: u8,
    /// What quotes a field; doubled inside one.
    pub quote: u8,
    /// The text that is NULL.
    pub null: String,
    /// Rows of each file that types are taken from; `None`: all.
    pub sample_rows: Option<usize>,
    /// Whether files may have different columns: those of a name are one, and a file that lacks it has NULLs.
    pub union_by_name: bool,
}

impl Default for CsvOptions {
    fn default() -> Self {
        Self {
            header: true,
            delimiter: b',',
            quote: b'"',
            null: String::new(),
            sample_rows: Some(SAMPLE_ROWS),
            union_by_name: false,
        }
    }
}

/// Rows of each file that types are taken from when nothing is said: at most a second's work.
pub(super) const SAMPLE_ROWS: usize = 100_000;

/// What a scan of `files` reads.
///
/// # Errors
/// `Invalid` when the files are no CSV or have different columns.
pub(super) async fn read(options: CsvOptions, storage: &Storage, files: Vec<Listed>) -> Result<SourceInput> {
    let (sampled, storage) = (options.clone(), storage.clone());
    let (schema, files) = tokio::task::spawn_blocking(move || {
        let schema = infer::schema(&sampled, &storage, &files)?;
        let files = files.into_iter().map(SourceFile::of).collect();
        Ok::<_, Error>((schema, files))
    })
    .await
    .map_err(|error| Error::bug("reading a CSV sample failed").with_source(error))??;
    Ok(SourceInput::new(SourceFormat::Csv(options), Arc::new(schema), files))
}
