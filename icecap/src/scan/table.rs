//! [`IcebergTable`]: a snapshot of an Iceberg table as DataFusion sees it.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
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
use icecap_table::deletes::PositionSet;
use icecap_table::iceberg::expr::Predicate;
use icecap_table::iceberg::spec::{
    NameMapping, NestedField, NestedFieldRef, Schema, SchemaRef as IcebergSchemaRef, SnapshotRef, StructType,
    TableMetadata,
};
use icecap_table::location::Policy;
use icecap_table::scan::{DeleteKind, ScanFile, ScanPlan, ScanRequest};
use icecap_table::storage::Storage;
use icecap_table::{Error, Result};

use super::exec::{IcecapScanExec, full_schema};
use super::hidden::HiddenColumn;
use super::log::{PlannedScan, ScanLog};
use super::message::{DataFile, DeleteSource, ScanInput};
use super::partition::{constants, partition_tuple, partition_type};
use super::predicate::{is_expressible, predicate_of};
use super::split::slices;
use super::statistics::statistics;
use crate::plan::ScanTasks;
use crate::plan::error::to_datafusion;

const NAME_MAPPING: &str = "schema.name-mapping.default";

/// One snapshot of an Iceberg table, readable.
///
/// The hidden columns are part of its schema only after [`with_metadata_columns`](Self::with_metadata_columns):
/// DataFusion expands `*` to the whole schema.
#[derive(Debug, Clone)]
pub struct IcebergTable {
    loaded: Arc<LoadedTable>,
    storage: Storage,
    snapshot: Option<SnapshotRef>,
    table_schema: Arc<Schema>,
    name_mapping: Option<Arc<NameMapping>>,
    full: SchemaRef,
    partition_type: Arc<StructType>,
    /// The columns of the provider's schema, as indices into `full`.
    shown: Vec<usize>,
    ignores_deletes: bool,
    policy: Option<Policy>,
    /// The files to read, where they were chosen before.
    planned: Option<Arc<ScanPlan>>,
    /// Positions by data file that are gone beside those of delete files.
    extra_deletes: Arc<BTreeMap<String, PositionSet>>,
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
        let partition_type = Arc::new(partition_type(loaded.document.metadata()));
        let input = ScanInput {
            partition_type: Arc::clone(&partition_type),
            ..ScanInput::new(loaded.ident.to_string(), Arc::clone(&schema))
        };
        let full = full_schema(&input)?;
        Ok(Self {
            loaded: Arc::new(loaded),
            storage,
            snapshot,
            table_schema: schema,
            name_mapping,
            shown: (0..full.fields().len() - HiddenColumn::ALL.len()).collect(),
            full,
            partition_type,
            ignores_deletes: false,
            policy: None,
            planned: None,
            extra_deletes: Arc::default(),
            log: ScanLog::default(),
        })
    }

    /// The same table with the hidden columns as its last (or without them again), but for those of whose name the
    /// table has a column of its own.
    #[must_use]
    pub fn with_metadata_columns(mut self, shown: bool) -> Self {
        let own = self.full.fields().len() - HiddenColumn::ALL.len();
        self.shown = (0..own).collect();
        if shown {
            let hidden = HiddenColumn::ALL.iter().enumerate().filter(|(_, column)| {
                self.table_schema.field_by_name_case_insensitive(column.name()).is_none()
            });
            self.shown.extend(hidden.map(|(at, _)| own + at));
        }
        self
    }

    /// The same table, reading exactly the files of a plan that [`request`](Self::request) gave, with the deletes that
    /// it names: filters choose no files, and no manifest is read again.
    #[must_use]
    pub fn with_plan(mut self, plan: ScanPlan) -> Self {
        self.planned = Some(Arc::new(plan));
        self
    }

    /// The same table without these positions either, by the location of their data file.
    #[must_use]
    pub fn with_extra_deletes(mut self, extra_deletes: Arc<BTreeMap<String, PositionSet>>) -> Self {
        self.extra_deletes = extra_deletes;
        self
    }

    /// What a scan of rows for which `filter` is true asks for: schema, snapshot and policy are the table's.
    ///
    /// # Errors
    /// `NotFound` when the table has no snapshot; `Corrupt` when its metadata is.
    pub fn request(&self, filter: Predicate) -> Result<ScanRequest<'_>> {
        let Some(snapshot) = &self.snapshot else {
            return Err(
                Error::not_found("the table has no snapshot").with("table", self.loaded.ident.to_string())
            );
        };
        let request = ScanRequest::new(self.metadata(), snapshot)?
            .with_schema(Arc::clone(&self.table_schema))
            .with_filter(filter);
        let request = if self.ignores_deletes { request.ignoring_deletes() } else { request };
        Ok(match &self.policy {
            Some(policy) => request.with_policy(policy.clone()),
            None => request,
        })
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
        let plan = match &self.planned {
            Some(plan) => Arc::clone(plan),
            None => Arc::new(self.request(predicate)?.plan(&self.storage).await?),
        };
        self.log.add(PlannedScan::of(table.clone(), snapshot.snapshot_id(), filter, &plan));
        if plan.files.is_empty() {
            return Ok(None);
        }
        let own = self.table_schema.as_struct().fields().len();
        let with_partition = columns.contains(&(own + HiddenColumn::Partition as usize));
        let files = plan.files.iter().map(|file| self.data_file(file, with_partition));
        let files = files.collect::<Result<Vec<_>>>()?;
        let offsets: Vec<Vec<i64>> = plan.files.iter().map(|file| file.split_offsets.clone()).collect();
        let slices = slices(&files, &offsets, partitions.saturating_mul(tasks));
        let mut known = plan.statistics(&self.table_schema);
        known.all_rows_live &= files.iter().all(|file| file.extra_deletes.is_none());
        let statistics = statistics(&self.table_schema, &known);
        let partitions = partitions.clamp(1, slices.len());
        let input = ScanInput {
            name_mapping: self.name_mapping.clone(),
            files,
            slices,
            deletes: plan.deletes.iter().map(DeleteSource::of).collect(),
            partition_type: Arc::clone(&self.partition_type),
            dropped: self.dropped_columns(&plan),
            ..ScanInput::new(table, Arc::clone(&self.table_schema))
        };
        let scan = IcecapScanExec::try_new(Arc::new(input), self.storage.clone(), columns, partitions)?;
        Ok(Some(scan.with_statistics(statistics).with_limit(limit)?))
    }

    /// The columns that equality deletes look at and that the schema does not have, as the newest schema had them.
    fn dropped_columns(&self, plan: &ScanPlan) -> Vec<NestedFieldRef> {
        let ids: BTreeSet<i32> = plan
            .deletes
            .iter()
            .flat_map(|delete| match &delete.kind {
                DeleteKind::EqualityDeletes { field_ids } => field_ids.as_slice(),
                _ => &[],
            })
            .copied()
            .filter(|id| self.table_schema.as_struct().field_by_id(*id).is_none())
            .collect();
        let mut schemas: Vec<&IcebergSchemaRef> = self.metadata().schemas_iter().collect();
        schemas.sort_by_key(|schema| Reverse(schema.schema_id()));
        let known = |id: i32| schemas.iter().find_map(|schema| schema.as_struct().field_by_id(id));
        ids.into_iter()
            .filter_map(known)
            .map(|field| {
                let mut field = NestedField::clone(field);
                // The name may be another column's by now; files from before the column was added have none of it.
                field.name = format!("icecap:{}", field.id);
                field.required = false;
                Arc::new(field)
            })
            .collect()
    }

    fn data_file(&self, file: &ScanFile, with_partition: bool) -> Result<DataFile> {
        let partition = if with_partition {
            partition_tuple(self.metadata(), &self.partition_type, file.spec_id, &file.partition)?
        } else {
            Vec::new()
        };
        Ok(DataFile {
            path: file.path.clone(),
            file_size_bytes: file.file_size_bytes,
            record_count: file.record_count,
            spec_id: file.spec_id,
            data_sequence_number: file.data_sequence_number,
            first_row_id: file.first_row_id,
            constants: constants(self.metadata(), &self.table_schema, file.spec_id, &file.partition)?,
            partition,
            deletes: file.deletes.clone(),
            extra_deletes: self.extra_deletes.get(&file.path).cloned().map(Arc::new),
        })
    }
}

/// Filters as a person reads them. (The kernel's own text of a predicate overflows on times before 1970.)
fn shown(filters: &[Expr]) -> String {
    let shown =
        |filter: &Expr| expr_to_sql(filter).map_or_else(|_| filter.to_string(), |filter| filter.to_string());
    filters.iter().map(shown).collect::<Vec<_>>().join(" AND ")
}

#[async_trait]
impl TableProvider for IcebergTable {
    fn schema(&self) -> SchemaRef {
        let fields = self.shown.iter().map(|at| Arc::clone(&self.full.fields()[*at]));
        Arc::new(ArrowSchema::new(fields.collect::<Vec<_>>()))
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
        let columns: Vec<usize> = match projection {
            Some(projection) => projection.iter().filter_map(|at| self.shown.get(*at).copied()).collect(),
            None => self.shown.clone(),
        };
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
                let schema = self.full.project(&columns).map_err(DataFusionError::from)?;
                Ok(Arc::new(EmptyExec::new(Arc::new(schema))))
            }
        }
    }
}

#[cfg(test)]
pub(super) mod tests;
