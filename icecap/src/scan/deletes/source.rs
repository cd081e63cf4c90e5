//! A Parquet source that leaves deleted rows out.
//!
//! DataFusion's own source takes a selection of rows with each file, but wants it when the scan is built. This one
//! stands around it and makes the selection when a file's turn has come: by then its delete files can be read.

use std::collections::BTreeMap;
use std::fmt::{self, Debug, Formatter};
use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::common::Result as DfResult;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{FileOpener, FileScanConfig, FileSource};
use datafusion::datasource::table_schema::TableSchema;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::projection::ProjectionExprs;
use datafusion::physical_plan::DisplayFormatType;
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use datafusion_datasource::morsel::{Morsel, MorselPlan, MorselPlanner, Morselizer};
use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::ObjectStore;

use super::equality::{EqualitySet, without};
use super::load::Prepared;
use crate::plan::error::to_datafusion;
use crate::scan::reader::FileHandle;

/// The columns that equality deletes look at: field ids, and where they are in the source's batches.
type Places = Arc<BTreeMap<i32, usize>>;

/// A source around another that reads Parquet files.
#[derive(Clone)]
pub(in crate::scan) struct DeletingSource {
    inner: Arc<dyn FileSource>,
    places: Places,
}

impl DeletingSource {
    /// A source around `inner`; `places` says where the fields of equality deletes will be in its batches.
    pub(in crate::scan) fn new(inner: Arc<dyn FileSource>, places: BTreeMap<i32, usize>) -> Self {
        Self { inner, places: Arc::new(places) }
    }
}

impl FileSource for DeletingSource {
    fn create_file_opener(
        &self,
        object_store: Arc<dyn ObjectStore>,
        base_config: &FileScanConfig,
        partition: usize,
    ) -> DfResult<Arc<dyn FileOpener>> {
        self.inner.create_file_opener(object_store, base_config, partition)
    }

    fn create_morselizer(
        &self,
        object_store: Arc<dyn ObjectStore>,
        base_config: &FileScanConfig,
        partition: usize,
    ) -> DfResult<Box<dyn Morselizer>> {
        let inner = Arc::from(self.inner.create_morselizer(object_store, base_config, partition)?);
        Ok(Box::new(DeletingMorselizer { inner, places: Arc::clone(&self.places) }))
    }

    fn table_schema(&self) -> &TableSchema {
        self.inner.table_schema()
    }

    fn with_batch_size(&self, batch_size: usize) -> Arc<dyn FileSource> {
        Arc::new(Self { inner: self.inner.with_batch_size(batch_size), places: Arc::clone(&self.places) })
    }

    fn filter(&self) -> Option<Arc<dyn PhysicalExpr>> {
        self.inner.filter()
    }

    fn projection(&self) -> Option<&ProjectionExprs> {
        self.inner.projection()
    }

    fn metrics(&self) -> &ExecutionPlanMetricsSet {
        self.inner.metrics()
    }

    fn file_type(&self) -> &str {
        self.inner.file_type()
    }

    fn fmt_extra(&self, t: DisplayFormatType, f: &mut Formatter<'_>) -> fmt::Result {
        self.inner.fmt_extra(t, f)
    }

    fn supports_repartitioning(&self) -> bool {
        self.inner.supports_repartitioning()
    }

    fn reorder_files(&self, files: Vec<PartitionedFile>) -> Vec<PartitionedFile> {
        self.inner.reorder_files(files)
    }

    fn try_pushdown_projection(&self, projection: &ProjectionExprs) -> DfResult<Option<Arc<dyn FileSource>>> {
        let inner = self.inner.try_pushdown_projection(projection)?;
        Ok(inner.map(|inner| Arc::new(Self { inner, places: Arc::clone(&self.places) }) as _))
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> DfResult<TreeNodeRecursion>,
    ) -> DfResult<TreeNodeRecursion> {
        self.inner.apply_expressions(f)
    }
}

struct DeletingMorselizer {
    inner: Arc<dyn Morselizer>,
    places: Places,
}

impl Debug for DeletingMorselizer {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeletingMorselizer").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl Morselizer for DeletingMorselizer {
    fn plan_file(&self, file: PartitionedFile) -> DfResult<Box<dyn MorselPlanner>> {
        let has_deletes = file.extension::<FileHandle>().is_some_and(|handle| handle.deletes.is_some());
        if !has_deletes {
            return self.inner.plan_file(file);
        }
        let (inner, places) = (Arc::clone(&self.inner), Arc::clone(&self.places));
        Ok(Box::new(Waiting { inner, places, file }))
    }
}

/// A file whose deletes are still to be read.
struct Waiting {
    inner: Arc<dyn Morselizer>,
    places: Places,
    file: PartitionedFile,
}

impl Debug for Waiting {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waiting").field("file", &self.file.object_meta.location).finish_non_exhaustive()
    }
}

impl MorselPlanner for Waiting {
    fn plan(self: Box<Self>) -> DfResult<Option<MorselPlan>> {
        Ok(Some(MorselPlan::new().with_pending_planner(self.opened())))
    }
}

impl Waiting {
    async fn opened(self: Box<Self>) -> DfResult<Box<dyn MorselPlanner>> {
        let Self { inner, places, file } = *self;
        let deletes = file.extension::<FileHandle>().and_then(|handle| handle.deletes.clone());
        let Some(deletes) = deletes else { return inner.plan_file(file) };
        let prepared = deletes.prepare(&file).await.map_err(to_datafusion)?;
        let (file, sets) = match prepared {
            Prepared::Nothing => return Ok(Box::new(Done)),
            Prepared::Rows { plan: Some(plan), equality } => (file.with_extension(plan), equality),
            Prepared::Rows { plan: None, equality } => (file, equality),
        };
        let planner = inner.plan_file(file)?;
        if sets.is_empty() {
            return Ok(planner);
        }
        Ok(Box::new(Filtered { planner, filter: Filter { sets: sets.into(), places } }))
    }
}

/// A file of which no row is left.
#[derive(Debug)]
struct Done;

impl MorselPlanner for Done {
    fn plan(self: Box<Self>) -> DfResult<Option<MorselPlan>> {
        Ok(None)
    }
}

/// What takes rows out of a file's batches.
#[derive(Debug, Clone)]
struct Filter {
    sets: Arc<[Arc<EqualitySet>]>,
    places: Places,
}

/// A planner whose morsels are filtered.
#[derive(Debug)]
struct Filtered {
    planner: Box<dyn MorselPlanner>,
    filter: Filter,
}

impl MorselPlanner for Filtered {
    fn plan(self: Box<Self>) -> DfResult<Option<MorselPlan>> {
        let Self { planner, filter } = *self;
        let Some(mut plan) = planner.plan()? else { return Ok(None) };
        let morsels = plan.take_morsels().into_iter();
        let planners = plan.take_ready_planners().into_iter();
        let mut filtered = MorselPlan::new()
            .with_morsels(
                morsels
                    .map(|morsel| Box::new(FilteredMorsel { morsel, filter: filter.clone() }) as _)
                    .collect(),
            )
            .with_planners(
                planners.map(|planner| Box::new(Self { planner, filter: filter.clone() }) as _).collect(),
            );
        if let Some(pending) = plan.take_pending_planner() {
            filtered.set_pending_planner(async move {
                Ok(Box::new(Self { planner: pending.await?, filter }) as Box<dyn MorselPlanner>)
            });
        }
        Ok(Some(filtered))
    }
}

#[derive(Debug)]
struct FilteredMorsel {
    morsel: Box<dyn Morsel>,
    filter: Filter,
}

impl Morsel for FilteredMorsel {
    fn into_stream(self: Box<Self>) -> BoxStream<'static, DfResult<RecordBatch>> {
        let Self { morsel, filter } = *self;
        morsel.into_stream().map(move |batch| without(batch?, &filter.sets, &filter.places)).boxed()
    }
}
