//! JSON, one object a line: the schema found from the first rows, or given, and reading against it.
//!
//! As with CSV, a type found in the sample ([`JsonOptions::sample_rows`]) is binding: a later value that does not
//! fit is an error with its file and line, never a NULL. A field that comes in several kinds is text, holding
//! what is no string as JSON. Texts stay texts: only types that are given make dates and times of them. Numbers
//! are 64-bit integers, else doubles, as JSON's readers agree on.

mod column;
mod infer;
mod read;

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, Schema as ArrowSchema, TimeUnit};
use icecap_table::storage::Storage;
use icecap_table::{Error, Result};

pub(super) use read::JsonReader;

use super::csv::SAMPLE_ROWS;
use super::files::Listed;
use super::parquet::plain_field;
use super::table::{SourceFile, SourceFormat, SourceInput};
use crate::arrow_schema::arrow_type;
use crate::sql::parse_columns;

/// How a JSON file's columns are found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JsonOptions {
    /// Rows of each file that types are taken from; `None`: all.
    pub sample_rows: Option<usize>,
    /// Whether the columns were given: other fields are then left out.
    pub is_given: bool,
}

impl Default for JsonOptions {
    fn default() -> Self {
        Self { sample_rows: Some(SAMPLE_ROWS), is_given: false }
    }
}

/// What a scan of `files` reads; `columns` as SQL, such as `id bigint, at timestamp`.
///
/// # Errors
/// `Invalid` when the files are no JSON of that kind, `Unsupported` for a column of a type that is not read.
pub(super) async fn read(
    options: JsonOptions,
    columns: Option<String>,
    storage: &Storage,
    files: Vec<Listed>,
) -> Result<SourceInput> {
    let schema = match columns {
        Some(columns) => given(&columns)?,
        None => {
            let (options, storage, files) = (options.clone(), storage.clone(), files.clone());
            tokio::task::spawn_blocking(move || infer::schema(&options, &storage, &files))
                .await
                .map_err(|error| Error::bug("reading a JSON sample failed").with_source(error))??
        }
    };
    let files = files.into_iter().map(SourceFile::of).collect();
    Ok(SourceInput::new(SourceFormat::Json(options), Arc::new(schema), files))
}

fn given(columns: &str) -> Result<ArrowSchema> {
    let mut fields = Vec::new();
    for (name, ty) in parse_columns(columns).map_err(|error| in_columns(&error))? {
        let field = plain_field(&Field::new(name, arrow_type(&ty)?, true));
        if !is_read(field.data_type()) {
            return Err(Error::unsupported(format!(
                "read_json: column {} of type {ty} is not supported yet: read it as string, and CAST it",
                field.name()
            )));
        }
        fields.push(field);
    }
    Ok(ArrowSchema::new(fields))
}

fn in_columns(error: &Error) -> Error {
    Error::new(error.kind(), format!("read_json: in columns: {}", error.message()))
}

fn is_read(ty: &DataType) -> bool {
    match ty {
        DataType::Boolean
        | DataType::Int32
        | DataType::Int64
        | DataType::Float32
        | DataType::Float64
        | DataType::Utf8
        | DataType::Date32
        | DataType::Timestamp(TimeUnit::Microsecond, _) => true,
        DataType::List(element) => is_read(element.data_type()),
        DataType::Struct(fields) => fields.iter().all(|field| is_read(field.data_type())),
        _ => false,
    }
}
