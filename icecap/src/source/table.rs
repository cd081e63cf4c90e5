//! A source as DataFusion sees it: files of one format and one schema.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::Result as DfResult;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use icecap_table::location;
use icecap_table::storage::Storage;
use icecap_table::{Error, Result};

use super::csv::CsvOptions;
use super::exec::SourceScanExec;
use super::files::Listed;
use crate::plan::error::to_datafusion;

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
}

impl SourceFile {
    pub(super) fn of(file: Listed) -> Result<Self> {
        let path = file.path.to_str().ok_or_else(|| Error::invalid("a file's path is not UTF-8"))?;
        let location = location::to_location(path)?;
        Ok(Self { location, size_bytes: file.size, rows: None, offsets: Vec::new() })
    }
}

/// What a source's files are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceFormat {
    /// Parquet.
    Parquet,
    /// CSV.
    Csv(CsvOptions),
}

impl SourceFormat {
    pub(super) fn as_str(&self) -> &'static str {
        match self {
            Self::Parquet => "parquet",
            Self::Csv(_) => "csv",
        }
    }
}

/// Files that are read as one table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceInput {
    /// How they are written.
    pub format: SourceFormat,
    /// Their columns.
    pub schema: SchemaRef,
    /// The files.
    pub files: Vec<SourceFile>,
}

/// The provider of `read_parquet` and `read_csv`.
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
