//! A source as DataFusion sees it: files of one format and one schema.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::{FieldRef, Schema, SchemaRef};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::Result as DfResult;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use icecap_table::storage::Storage;
use icecap_table::{Error, Result};

use super::csv::CsvOptions;
use super::exec::SourceScanExec;
use super::files::Listed;
use super::json::JsonOptions;
use crate::plan::error::to_datafusion;
use crate::scan::FileSlice;

/// A file of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFile {
    /// Its location, a URI.
    pub location: String,
    /// Its length.
    pub size_bytes: u64,
    /// Its rows, where they are known.
    pub rows: Option<u64>,
    /// Where its row groups begin, where it has any.
    pub offsets: Vec<i64>,
    /// The values of its Hive-style folders, in the order of the source's last columns.
    pub folders: Vec<Option<String>>,
}

impl SourceFile {
    pub(super) fn of(file: Listed) -> Self {
        let Listed { location, size, .. } = file;
        Self { location, size_bytes: size, rows: None, offsets: Vec::new(), folders: Vec::new() }
    }
}

/// What a source's files are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceFormat {
    /// Parquet.
    Parquet,
    /// CSV.
    Csv(CsvOptions),
    /// JSON, one object a line.
    Json(JsonOptions),
}

impl SourceFormat {
    pub(super) fn as_str(&self) -> &'static str {
        match self {
            Self::Parquet => "parquet",
            Self::Csv(_) => "csv",
            Self::Json(_) => "json",
        }
    }
}

/// Files that are read as one table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceInput {
    /// How they are written.
    pub format: SourceFormat,
    /// Their columns, those of folders last.
    pub schema: SchemaRef,
    /// How many columns are of folders.
    pub folder_columns: usize,
    /// The files.
    pub files: Vec<SourceFile>,
    /// The parts of Parquet files to read; without any all of them is read.
    pub slices: Vec<FileSlice>,
}

impl SourceInput {
    pub(super) fn new(format: SourceFormat, schema: SchemaRef, files: Vec<SourceFile>) -> Self {
        Self { format, schema, folder_columns: 0, files, slices: Vec::new() }
    }

    /// The columns that are in the files.
    pub(super) fn file_schema(&self) -> SchemaRef {
        let own = self.schema.fields().len().saturating_sub(self.folder_columns);
        Arc::new(Schema::new(self.schema.fields()[..own].to_vec()))
    }

    /// The same source with the columns of its files' folders.
    ///
    /// # Errors
    /// `Invalid` for a folder called as a column.
    pub(super) fn with_folders(
        mut self,
        fields: Vec<FieldRef>,
        values: Vec<Vec<Option<String>>>,
    ) -> Result<Self> {
        for field in &fields {
            let same = |own: &&FieldRef| own.name().to_lowercase() == field.name().to_lowercase();
            if self.schema.fields().iter().any(|own| same(&own)) {
                return Err(Error::invalid(format!(
                    "{} is a column of the files and a folder: say hive_partitioning => false",
                    field.name()
                )));
            }
        }
        self.folder_columns = fields.len();
        self.schema =
            Arc::new(Schema::new(self.schema.fields().iter().cloned().chain(fields).collect::<Vec<_>>()));
        for (file, values) in self.files.iter_mut().zip(values) {
            file.folders = values;
        }
        Ok(self)
    }
}

/// The provider of `read_parquet`, `read_csv` and `read_json`.
#[derive(Debug)]
pub struct SourceTable {
    input: Arc<SourceInput>,
    storage: Storage,
}

impl SourceTable {
    /// A provider of `input`.
    pub fn new(input: SourceInput, storage: Storage) -> Self {
        Self { input: Arc::new(input), storage }
    }

    /// What it reads.
    pub fn input(&self) -> &SourceInput {
        &self.input
    }
}

#[async_trait]
impl TableProvider for SourceTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.input.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> DfResult<Vec<TableProviderFilterPushDown>> {
        // Filters reach the scan when the plan is physical; only then are they of use.
        Ok(vec![TableProviderFilterPushDown::Unsupported; filters.len()])
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        limit: Option<usize>,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        let columns = projection.cloned().unwrap_or_else(|| (0..self.input.schema.fields().len()).collect());
        let partitions = state.config().target_partitions();
        let scan = SourceScanExec::try_new(
            Arc::clone(&self.input),
            self.storage.clone(),
            columns,
            None,
            limit,
            partitions,
        )
        .map_err(to_datafusion)?;
        Ok(Arc::new(scan))
    }
}
