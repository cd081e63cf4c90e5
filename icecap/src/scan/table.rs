//! [`IcebergTable`]: a snapshot of an Iceberg table as DataFusion sees it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::{Schema as ArrowSchema, SchemaRef};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{DataFusionError, Result as DfResult};
use datafusion::logical_expr::{Expr, LogicalPlan, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::sql::unparser::expr_to_sql;
use icecap_table::catalog::LoadedTable;
use icecap_table::iceberg::expr::Predicate;
use icecap_table::iceberg::spec::{
    Literal, NameMapping, Schema, SnapshotRef, TableMetadata, Transform, Type,
};
use icecap_table::location::Policy;
use icecap_table::scan::{ScanFile, ScanRequest};
use icecap_table::storage::Storage;
use icecap_table::{Error, Result};

use super::exec::{FILE_COLUMN, IcecapScanExec, POS_COLUMN, full_schema};
use super::log::{PlannedScan, ScanLog};
use super::message::{DataFile, ScanInput};
use super::predicate::{is_expressible, predicate_of};
use super::split::slices;
use super::statistics::statistics;
use super::value::scalar_or_null;
use crate::plan::ScanTasks;
use crate::plan::error::to_datafusion;

const NAME_MAPPING: &str = "schema.name-mapping.default";

/// One snapshot of an Iceberg table, readable.
///
/// The hidden columns `_file` and `_pos` are part of its schema only after
/// [`with_metadata_columns`](Self::with_metadata_columns): DataFusion expands `*` to the whole schema.
#[derive(Debug, Clone)]
pub struct IcebergTable {
    loaded: Arc<LoadedTable>,
    storage: Storage,
    snapshot: Option<SnapshotRef>,
    table_schema: Arc<Schema>,
    name_mapping: Option<Arc<NameMapping>>,
    full: SchemaRef,
    metadata_columns: bool,
    ignores_deletes: bool,
    policy: Option<Policy>,
    log: ScanLog,
}

impl IcebergTable {
    /// The table at `snapshot`, read with the schema of its current metadata; `None`: at its current one.
    ///
    /// # Errors
    /// `Unsupported` for a column type without an Arrow counterpart; `Corrupt` when the table's name mapping
    /// cannot be read.
    pub fn new(loaded: LoadedTable, storage: Storage, snapshot: Option<SnapshotRef>) -> Result<Self> {
        let metadata = loaded.document.metadata();
        let schema = Arc::clone(metadata.current_schema());
        let snapshot = snapshot.or_else(|| metadata.current_snapshot().cloned());
        Self::with_schema(loaded, storage, snapshot, schema)
    }

    /// The table at `snapshot`, read as `schema` (for time travel, the snapshot's own).
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn with_schema(
        loaded: LoadedTable,
        storage: Storage,
        snapshot: Option<SnapshotRef>,
        schema: Arc<Schema>,
    ) -> Result<Self> {
        let name_mapping = match loaded.document.metadata().properties().get(NAME_MAPPING) {
            Some(text) => {
                let parsed: NameMapping = serde_json::from_str(text).map_err(|error| {
                    Error::corrupt(format!("the table property {NAME_MAPPING} is not a name mapping"))
                        .with("table", loaded.ident.to_string())
                        .with_source(error)
                })?;
                Some(Arc::new(parsed))
            }
            None => None,
        };
        let input = ScanInput {
            table: loaded.ident.to_string(),
            schema: Arc::clone(&schema),
            name_mapping: None,
            files: Vec::new(),
            slices: Vec::new(),
        };
        let full = full_schema(&input)?;
        Ok(Self {
            loaded: Arc::new(loaded),
            storage,
            snapshot,
            table_schema: schema,
            name_mapping,
            full,
            metadata_columns: false,
            ignores_deletes: false,
            policy: None,
            log: ScanLog::default(),
        })
    }

    /// The same table with `_file` and `_pos` as its last columns (or without them again). A table with a column
    /// of its own of such a name stays as it is.
    #[must_use]
    pub fn with_metadata_columns(mut self, shown: bool) -> Self {
        let own = |name| self.table_schema.field_by_name_case_insensitive(name).is_some();
        self.metadata_columns = shown && !own(FILE_COLUMN) && !own(POS_COLUMN);
        self
    }

    /// The table's data files as they are stored, rows that delete files take out included: for checks of the
    /// files themselves.
    #[must_use]
    pub fn ignoring_deletes(mut self) -> Self {
        self.ignores_deletes = true;
        self
    }

    /// The same table, whose files must lie where `policy` lets a table's files lie: what is read through a catalog.
    #[must_use]
    pub fn with_policy(mut self, policy: Policy) -> Self {
        self.policy = Some(policy);
        self
    }

    /// The same table, whose scans are told to `log` when they are planned.
    #[must_use]
    pub fn with_log(mut self, log: ScanLog) -> Self {
        self.log = log;
        self
    }

    /// The table as it was loaded.
    pub fn loaded(&self) -> &LoadedTable {
        &self.loaded
    }

    /// The snapshot it reads; `None` when the table has none.
    pub fn snapshot(&self) -> Option<&SnapshotRef> {
        self.snapshot.as_ref()
    }

    fn metadata(&self) -> &TableMetadata {
        self.loaded.document.metadata()
    }

    async fn plan(
        &self,
        filters: &[Expr],
        columns: Vec<usize>,
        limit: Option<usize>,
        partitions: usize,
        tasks: usize,
    ) -> Result<Option<IcecapScanExec>> {
        let table = self.loaded.ident.to_string();
        let Some(snapshot) = &self.snapshot else {
            self.log.add(PlannedScan { table, ..PlannedScan::default() });
            return Ok(None);
        };
        let predicate = predicate_of(filters, &self.table_schema);
        let filter = (predicate != Predicate::AlwaysTrue).then(|| shown(filters));
        let request = ScanRequest::new(self.metadata(), snapshot)?
            .with_schema(Arc::clone(&self.table_schema))
            .with_filter(predicate);
        let request = if self.ignores_deletes { request.ignoring_deletes() } else { request };
        let request = match &self.policy {
            Some(policy) => request.with_policy(policy.clone()),
            None => request,
        };
        let plan = request.plan(&self.storage).await?;
        if !plan.deletes.is_empty() {
            return Err(Error::unsupported("reading a table with delete files is not supported yet"));
        }
        self.log.add(PlannedScan::of(table, snapshot.snapshot_id(), filter, &plan));
        if plan.files.is_empty() {
            return Ok(None);
        }
        let files = plan.files.iter().map(|file| self.data_file(file)).collect::<Result<Vec<_>>>()?;
        let offsets: Vec<Vec<i64>> = plan.files.iter().map(|file| file.split_offsets.clone()).collect();
        let slices = slices(&files, &offsets, partitions.saturating_mul(tasks));
        let statistics = statistics(&self.table_schema, &plan.statistics(&self.table_schema));
        let partitions = partitions.clamp(1, slices.len());
        let input = ScanInput {
            table: self.loaded.ident.to_string(),
            schema: Arc::clone(&self.table_schema),
            name_mapping: self.name_mapping.clone(),
            files,
            slices,
        };
        let scan = IcecapScanExec::try_new(Arc::new(input), self.storage.clone(), columns, partitions)?;
        Ok(Some(scan.with_statistics(statistics).with_limit(limit)?))
    }

    fn data_file(&self, file: &ScanFile) -> Result<DataFile> {
        Ok(DataFile {
            path: file.path.clone(),
            file_size_bytes: file.file_size_bytes,
            record_count: file.record_count,
            spec_id: file.spec_id,
            data_sequence_number: file.data_sequence_number,
            first_row_id: file.first_row_id,
            constants: constants(self.metadata(), &self.table_schema, file.spec_id, &file.partition)?,
        })
    }
}

/// Filters as a person reads them. (The kernel's own text of a predicate overflows on times before 1970.)
fn shown(filters: &[Expr]) -> String {
    let shown =
        |filter: &Expr| expr_to_sql(filter).map_or_else(|_| filter.to_string(), |filter| filter.to_string());
    filters.iter().map(shown).collect::<Vec<_>>().join(" AND ")
}

/// The columns of a file that are constant in it: those its partition spec takes as they are.
fn constants(
    metadata: &TableMetadata,
    schema: &Schema,
    spec_id: i32,
    partition: &[Option<Literal>],
) -> Result<BTreeMap<i32, datafusion::common::ScalarValue>> {
    let spec = metadata.partition_spec_by_id(spec_id).ok_or_else(|| {
        Error::corrupt(format!("a data file names partition spec {spec_id}, which is not there"))
    })?;
    let mut constants = BTreeMap::new();
    for (at, field) in spec.fields().iter().enumerate() {
        if field.transform != Transform::Identity {
            continue;
        }
        let top = schema.as_struct().fields().iter().find(|known| known.id == field.source_id);
        if let Some(Type::Primitive(ty)) = top.map(|field| &*field.field_type) {
            let value = partition.get(at).and_then(Option::as_ref);
            constants.insert(field.source_id, scalar_or_null(value, ty)?);
        }
    }
    Ok(constants)
}

#[async_trait]
impl TableProvider for IcebergTable {
    fn schema(&self) -> SchemaRef {
        if self.metadata_columns {
            return Arc::clone(&self.full);
        }
        let shown = self.full.fields().len() - 2;
        Arc::new(ArrowSchema::new(self.full.fields()[..shown].to_vec()))
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn get_logical_plan(&self) -> Option<Cow<'_, LogicalPlan>> {
        None
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> DfResult<Vec<TableProviderFilterPushDown>> {
        Ok(filters
            .iter()
            .map(|filter| match is_expressible(filter, &self.table_schema) {
                true => TableProviderFilterPushDown::Inexact,
                false => TableProviderFilterPushDown::Unsupported,
            })
            .collect())
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        let shown = self.schema();
        let columns = projection.cloned().unwrap_or_else(|| (0..shown.fields().len()).collect());
        let partitions = state.config().target_partitions();
        let tasks = state.config().get_extension::<ScanTasks>().map_or(1, |tasks| tasks.0.max(1));
        // The limit is DataFusion's to give only when no filter remains above.
        let limit = limit.filter(|_| filters.is_empty());
        let scan = self
            .plan(filters, columns.clone(), limit, partitions, tasks)
            .await
            .map_err(|error| to_datafusion(error.with("table", self.loaded.ident.to_string())))?;
        match scan {
            Some(scan) => Ok(Arc::new(scan)),
            None => {
                let schema = shown.project(&columns).map_err(DataFusionError::from)?;
                Ok(Arc::new(EmptyExec::new(Arc::new(schema))))
            }
        }
    }
}

#[cfg(test)]
pub(super) mod tests;
