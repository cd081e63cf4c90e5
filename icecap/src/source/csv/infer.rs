//! The narrowest type that loses nothing of any sampled value.

use std::collections::HashSet;

use datafusion::arrow::array::AsArray;
use datafusion::arrow::csv::reader::Format;
use datafusion::arrow::datatypes::{DataType, Field, Schema as ArrowSchema, TimeUnit};
use icecap_table::storage::Storage;
use icecap_table::{Error, Result};

use super::read::TextReader;
use super::{CsvOptions, value};
use crate::arrow_schema::UTC;
use crate::source::bytes::FileAt;
use crate::source::files::Listed;

const BATCH_ROWS: usize = 8192;

/// What a column may still be.
#[derive(Debug, Clone, Copy)]
struct Candidates {
    seen: bool,
    boolean: bool,
    integer: bool,
    float: bool,
    date: bool,
    timestamp: bool,
    timestamptz: bool,
}

impl Candidates {
    fn all() -> Self {
        Self {
            seen: false,
            boolean: true,
            integer: true,
            float: true,
            date: true,
            timestamp: true,
            timestamptz: true,
        }
    }

    fn look(&mut self, text: &str) {
        self.seen = true;
        self.boolean = self.boolean && value::boolean(text).is_some();
        self.integer = self.integer && value::integer(text).is_some();
        self.float = self.float && value::float(text).is_some();
        self.date = self.date && value::date(text).is_some();
        self.timestamp = self.timestamp && value::timestamp(text).is_some();
        self.timestamptz = self.timestamptz && value::timestamptz(text).is_some();
    }

    fn is_text(&self) -> bool {
        !(self.boolean || self.integer || self.float || self.date || self.timestamp || self.timestamptz)
    }

    fn data_type(&self) -> DataType {
        match self {
            Self { seen: false, .. } => DataType::Utf8,
            Self { boolean: true, .. } => DataType::Boolean,
            Self { integer: true, .. } => DataType::Int64,
            Self { float: true, .. } => DataType::Float64,
            Self { date: true, .. } => DataType::Date32,
            Self { timestamp: true, .. } => DataType::Timestamp(TimeUnit::Microsecond, None),
            Self { timestamptz: true, .. } => DataType::Timestamp(TimeUnit::Microsecond, Some(UTC.into())),
            _ => DataType::Utf8,
        }
    }
}

/// The schema of files that are to be read as one.
pub(super) fn schema(options: &CsvOptions, storage: &Storage, files: &[Listed]) -> Result<ArrowSchema> {
    let mut names: Option<(Vec<String>, FileAt<'_>)> = None;
    let mut columns: Vec<Candidates> = Vec::new();
    for file in files.iter().map(|file| FileAt::listed(storage, file)) {
        let found = column_names(options, file)?;
        match &mut names {
            None => {
                columns = vec![Candidates::all(); found.len()];
                names = Some((found, file));
            }
            Some((known, _)) if options.union_by_name => {
                for name in &found {
                    if !known.contains(name) {
                        known.push(name.clone());
                        columns.push(Candidates::all());
                    }
                }
                let places: Vec<usize> =
                    found.iter().filter_map(|name| known.iter().position(|own| own == name)).collect();
                sample(options, file, &places, &mut columns)?;
                continue;
            }
            Some((known, first)) if *known != found => {
                return Err(Error::invalid(format!(
                    "the file's columns are not those of {}: [{}] and [{}]; union_by_name => true reads them as one",
                    first.name(),
                    found.join(", "),
                    known.join(", ")
                ))
                .with("file", file.name()));
            }
            Some(_) => {}
        }
        let places: Vec<usize> = (0..columns.len()).collect();
        sample(options, file, &places, &mut columns)?;
    }
    let (names, _) = names.ok_or_else(|| Error::invalid("no file to read"))?;
    Ok(ArrowSchema::new(
        names
            .into_iter()
            .zip(columns)
            .map(|(name, column)| Field::new(name, column.data_type(), true))
            .collect::<Vec<_>>(),
    ))
}

/// The names of a file's columns.
///
/// # Errors
/// `Invalid` for a file that has none, or one name twice.
pub(in crate::source) fn column_names(options: &CsvOptions, file: FileAt<'_>) -> Result<Vec<String>> {
    let wrong = |what: String| Error::invalid(what).with("file", file.name());
    let (fields, _) = Format::default()
        .with_header(options.header)
        .with_delimiter(options.delimiter)
        .with_quote(options.quote)
        .infer_schema(file.open()?, Some(1))
        .map_err(|error| wrong(format!("not the CSV that the options say: {error}")))?;
    if fields.fields().is_empty() {
        return Err(wrong("the file is empty, so its columns are not known".to_owned()));
    }
    let mut seen = HashSet::new();
    fields
        .fields()
        .iter()
        .enumerate()
        .map(|(at, field)| {
            let name = match (options.header, field.name().trim()) {
                (true, name) if !name.is_empty() => name.to_owned(),
                _ => format!("column{at}"),
            };
            match seen.insert(name.clone()) {
                true => Ok(name),
                false => Err(wrong(format!("two columns are named {name:?}"))),
            }
        })
        .collect()
}

/// Looks at the first rows of a file whose columns are those at `places`.
fn sample(
    options: &CsvOptions,
    file: FileAt<'_>,
    places: &[usize],
    columns: &mut [Candidates],
) -> Result<()> {
    let mut left = options.sample_rows.unwrap_or(usize::MAX);
    // Columns that are text already need no looking at; the first is read to count rows.
    let wanted: Vec<usize> =
        (0..places.len()).filter(|at| *at == 0 || !columns[places[*at]].is_text()).collect();
    let rows = BATCH_ROWS.min(left);
    let mut reader = TextReader::open(file, options, places.len(), wanted.clone(), rows)?;
    while left > 0 {
        let Some(batch) = reader.next()? else { break };
        for (at, column) in wanted.iter().zip(batch.columns()) {
            let candidates = &mut columns[places[*at]];
            if candidates.is_text() {
                continue;
            }
            let Some(column) = column.as_string_opt::<i32>() else { continue };
            for text in column.iter().take(left).flatten() {
                if !text.is_empty() && text != options.null {
                    candidates.look(text);
                }
            }
        }
        left = left.saturating_sub(batch.num_rows());
    }
    Ok(())
}
