//! A source's scan as it travels in a task.

use std::sync::Arc;

use datafusion::arrow::datatypes::Schema as ArrowSchema;
use datafusion::common::Result as DfResult;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::ExecutionPlan;
use datafusion_proto::protobuf::Schema as SchemaMessage;
use icecap_table::storage::Storage;
use icecap_table::{Error, Result};
use prost::Message;

use super::csv::CsvOptions;
use super::exec::SourceScanExec;
use super::json::JsonOptions;
use super::table::{SourceFile, SourceFormat, SourceInput};
use crate::plan::error::to_datafusion;
use crate::scan::FileSlice;

/// A whole source scan.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct SourceMessage {
    /// CSV's options; a source without them and JSON's is Parquet.
    #[prost(message, optional, tag = "1")]
    csv: Option<CsvMessage>,
    /// DataFusion's own encoding of the schema.
    #[prost(bytes = "vec", tag = "2")]
    schema: Vec<u8>,
    #[prost(message, repeated, tag = "3")]
    files: Vec<FileMessage>,
    #[prost(uint32, repeated, tag = "4")]
    columns: Vec<u32>,
    /// DataFusion's own encoding of the predicate, over all columns.
    #[prost(bytes = "vec", optional, tag = "5")]
    pub(crate) predicate: Option<Vec<u8>>,
    #[prost(uint64, optional, tag = "6")]
    limit: Option<u64>,
    #[prost(uint32, tag = "7")]
    partitions: u32,
    /// JSON's options.
    #[prost(message, optional, tag = "8")]
    json: Option<JsonMessage>,
    /// How many of the last columns are of folders.
    #[prost(uint32, tag = "9")]
    folder_columns: u32,
    /// Parts of Parquet files; all of them without any.
    #[prost(message, repeated, tag = "10")]
    slices: Vec<SliceMessage>,
}

#[derive(Clone, PartialEq, Message)]
struct SliceMessage {
    #[prost(uint32, tag = "1")]
    file: u32,
    #[prost(uint64, tag = "2")]
    start: u64,
    /// The file's end when absent.
    #[prost(uint64, optional, tag = "3")]
    end: Option<u64>,
}

#[derive(Clone, PartialEq, Message)]
struct JsonMessage {
    #[prost(uint64, optional, tag = "1")]
    sample_rows: Option<u64>,
    #[prost(bool, tag = "2")]
    is_given: bool,
}

#[derive(Clone, PartialEq, Message)]
struct CsvMessage {
    #[prost(bool, tag = "1")]
    header: bool,
    #[prost(uint32, tag = "2")]
    delimiter: u32,
    #[prost(uint32, tag = "3")]
    quote: u32,
    #[prost(string, tag = "4")]
    null: String,
    #[prost(uint64, optional, tag = "5")]
    sample_rows: Option<u64>,
    #[prost(bool, tag = "6")]
    union_by_name: bool,
}

#[derive(Clone, PartialEq, Message)]
struct FolderMessage {
    /// NULL when absent.
    #[prost(string, optional, tag = "1")]
    value: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
struct FileMessage {
    #[prost(string, tag = "1")]
    location: String,
    #[prost(uint64, tag = "2")]
    size_bytes: u64,
    #[prost(uint64, optional, tag = "3")]
    rows: Option<u64>,
    #[prost(int64, repeated, tag = "4")]
    offsets: Vec<i64>,
    #[prost(message, repeated, tag = "5")]
    folders: Vec<FolderMessage>,
}

fn broken(what: &str) -> Error {
    Error::corrupt(format!("a source's scan in a task is broken: {what}"))
}

impl SourceMessage {
    /// The message of a scan, its predicate already encoded.
    ///
    /// # Errors
    /// `Bug` when the schema cannot be encoded.
    pub(crate) fn of(scan: &SourceScanExec, predicate: Option<Vec<u8>>) -> DfResult<Self> {
        let input = scan.input();
        let schema = SchemaMessage::try_from(input.schema.as_ref())?;
        let narrow = |n: usize| {
            u32::try_from(n).map_err(|_| to_datafusion(Error::bug("a scan's number is too large")))
        };
        let csv = match &input.format {
            SourceFormat::Parquet | SourceFormat::Json(_) => None,
            SourceFormat::Csv(options) => Some(CsvMessage {
                header: options.header,
                delimiter: u32::from(options.delimiter),
                quote: u32::from(options.quote),
                null: options.null.clone(),
                sample_rows: options.sample_rows.map(|rows| rows as u64),
                union_by_name: options.union_by_name,
            }),
        };
        let json = match &input.format {
            SourceFormat::Json(options) => Some(JsonMessage {
                sample_rows: options.sample_rows.map(|rows| rows as u64),
                is_given: options.is_given,
            }),
            SourceFormat::Parquet | SourceFormat::Csv(_) => None,
        };
        Ok(Self {
            csv,
            json,
            folder_columns: narrow(input.folder_columns)?,
            schema: schema.encode_to_vec(),
            files: input
                .files
                .iter()
                .map(|file| FileMessage {
                    location: file.location.clone(),
                    size_bytes: file.size_bytes,
                    rows: file.rows,
                    offsets: file.offsets.clone(),
                    folders: file
                        .folders
                        .iter()
                        .map(|value| FolderMessage { value: value.clone() })
                        .collect(),
                })
                .collect(),
            slices: input
                .slices
                .iter()
                .map(|slice| {
                    Ok(SliceMessage { file: narrow(slice.file)?, start: slice.start, end: slice.end })
                })
                .collect::<DfResult<_>>()?,
            columns: scan.columns().iter().map(|at| narrow(*at)).collect::<DfResult<_>>()?,
            predicate,
            limit: scan.fetch().map(|limit| limit as u64),
            partitions: narrow(scan.target_partitions())?,
        })
    }

    /// What the message's scan reads.
    ///
    /// # Errors
    /// `Corrupt` when it is broken.
    pub(crate) fn table(&self) -> Result<Arc<SourceInput>> {
        let schema = SchemaMessage::decode(self.schema.as_slice()).map_err(|_| broken("its schema"))?;
        let schema =
            ArrowSchema::try_from(&schema).map_err(|error| broken("its schema").with_source(error))?;
        let byte = |byte: u32| u8::try_from(byte).map_err(|_| broken("an option"));
        let rows = |rows: Option<u64>| {
            rows.map(|rows| usize::try_from(rows).map_err(|_| broken("an option"))).transpose()
        };
        let format = match (&self.csv, &self.json) {
            (None, None) => SourceFormat::Parquet,
            (None, Some(json)) => SourceFormat::Json(JsonOptions {
                sample_rows: rows(json.sample_rows)?,
                is_given: json.is_given,
            }),
            (Some(csv), _) => SourceFormat::Csv(CsvOptions {
                header: csv.header,
                delimiter: byte(csv.delimiter)?,
                quote: byte(csv.quote)?,
                null: csv.null.clone(),
                sample_rows: rows(csv.sample_rows)?,
                union_by_name: csv.union_by_name,
            }),
        };
        let files: Vec<SourceFile> = self
            .files
            .iter()
            .map(|file| SourceFile {
                location: file.location.clone(),
                size_bytes: file.size_bytes,
                rows: file.rows,
                offsets: file.offsets.clone(),
                folders: file.folders.iter().map(|folder| folder.value.clone()).collect(),
            })
            .collect();
        let folder_columns = self.folder_columns as usize;
        if folder_columns > schema.fields().len() {
            return Err(broken("its columns"));
        }
        let slices = self
            .slices
            .iter()
            .map(|slice| {
                let file = slice.file as usize;
                if file >= files.len() || slice.end.is_some_and(|end| end < slice.start) {
                    return Err(broken("a slice"));
                }
                Ok(FileSlice { file, start: slice.start, end: slice.end })
            })
            .collect::<Result<_>>()?;
        Ok(Arc::new(SourceInput { format, schema: Arc::new(schema), folder_columns, files, slices }))
    }

    /// The message's scan.
    ///
    /// # Errors
    /// `Corrupt` when it is broken.
    pub(crate) fn scan(
        &self,
        input: Arc<SourceInput>,
        storage: Storage,
        predicate: Option<Arc<dyn PhysicalExpr>>,
    ) -> Result<SourceScanExec> {
        let columns: Vec<usize> = self.columns.iter().map(|at| *at as usize).collect();
        if columns.iter().any(|at| *at >= input.schema.fields().len()) {
            return Err(broken("a column"));
        }
        let limit =
            self.limit.map(|limit| usize::try_from(limit).map_err(|_| broken("a limit"))).transpose()?;
        SourceScanExec::try_new(input, storage, columns, predicate, limit, self.partitions as usize)
    }
}
