//! A statement that changes rows, planned on one snapshot: what is run, and which files it concerns.

use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::datasource::{provider_as_source, source_as_provider};
use datafusion::logical_expr::{LogicalPlan, TableScan};
use datafusion::physical_plan::ExecutionPlan;
use icecap_table::catalog::LoadedTable;
use icecap_table::iceberg::expr::Predicate;
use icecap_table::iceberg::spec::{FormatVersion, TableMetadata};
use icecap_table::id::WriteId;
use icecap_table::properties::RowLevelSettings;
use icecap_table::scan::ScanPlan;

use super::RowChange;
use super::pairs::Pairs;
use super::whole::decided;
use crate::engine::from_datafusion;
use crate::engine::insert::check_format;
use crate::engine::query::Given;
use crate::engine::session::Run;
use crate::scan::{IcebergTable, predicate_of};
use crate::sql::lower::{self, DeltaColumns, Lowered, TARGET};
use crate::write::IcebergDeltaExec;
use crate::{Error, Result};

/// Rows of a side of a join that every partition may have whole, where its bytes are not known.
const WHOLE_SIDE_ROWS: usize = 250_000;

/// A planned statement.
pub(in crate::engine) struct Planned {
    pub(in crate::engine) loaded: Arc<LoadedTable>,
    /// The target at the statement's snapshot, every file of it.
    pub(super) table: IcebergTable,
    pub(in crate::engine) settings: RowLevelSettings,
    /// What the delta stage's rows hold.
    pub(super) columns: DeltaColumns,
    /// The optimised plan of the delta stage; `None` when no row can be concerned.
    pub(super) logical: Option<LogicalPlan>,
    /// The data files that may hold rows which are concerned.
    pub(in crate::engine) scan: Arc<ScanPlan>,
    /// Those that go whole, decided by metadata alone: they are not read.
    pub(in crate::engine) whole: Vec<usize>,
    /// Which rows of the target the statement looks at; `None`: all.
    pub(super) filter: Option<Predicate>,
    /// Whether the delta stage joins.
    pub(super) joins: bool,
    /// Whether it joins by sorting, because one side may be larger than memory.
    pub(in crate::engine) sort_merge: bool,
    /// How it is planned for some files more; absent where what it does with a row depends on other rows of the target.
    pub(super) template: Option<Arc<Template>>,
}

/// A statement's plan before its files were chosen. Everything but the target is as it was read first: other tables
/// at their snapshots, a small source with its rows.
pub(super) struct Template {
    logical: LogicalPlan,
    /// What stands for the target in it.
    provider: Arc<dyn TableProvider>,
    /// What files are judged by.
    judged: Predicate,
    /// Whether that says exactly which rows go.
    decides: bool,
    /// Where the statement inserts what matches no row of the target: what tells whether a change of the target matters.
    pub(super) pairs: Option<Pairs>,
}

impl Template {
    /// The files of a state of the target that may hold rows which are concerned, and those of them that go whole.
    pub(super) async fn files(&self, run: &Run, table: &IcebergTable) -> Result<(ScanPlan, Vec<usize>)> {
        if table.snapshot().is_none() {
            return Ok(Default::default());
        }
        let files = table.request(self.judged.clone())?.plan(&run.parts.storage).await?;
        let whole = if self.decides { super::whole::files(&files) } else { Vec::new() };
        Ok((files, whole))
    }

    /// The delta stage's plan over these files of the target only.
    pub(super) fn over(&self, run: &Run, table: &IcebergTable, files: ScanPlan) -> Result<LogicalPlan> {
        let restricted = table.clone().with_plan(seen(files)).with_log(run.scans.clone());
        restrict(self.logical.clone(), &self.provider, restricted)
    }

    /// What stands for the target in it.
    pub(super) fn provider(&self) -> &Arc<dyn TableProvider> {
        &self.provider
    }

    /// Whether a state of the target has the columns that were planned with.
    pub(super) fn fits(&self, table: &IcebergTable) -> bool {
        self.provider.schema() == table.schema()
    }
}

impl Planned {
    pub(in crate::engine) fn metadata(&self) -> &TableMetadata {
        self.loaded.document.metadata()
    }

    /// The snapshot that was planned on.
    pub(in crate::engine) fn base(&self) -> Option<i64> {
        self.metadata().current_snapshot_id()
    }
}

impl Run {
    /// Plans a statement on the table as it is now.
    pub(in crate::engine) async fn plan_change(&self, change: RowChange<'_>) -> Result<Planned> {
        let loaded = Arc::new(self.parts.load(change.table()).await?);
        check_format(&loaded)?;
        let metadata = loaded.document.metadata();
        let settings = RowLevelSettings::from_properties(metadata.properties(), change.command())?;
        let table = self.target_table(&loaded)?;
        check_columns(&table, metadata)?;
        let provider: Arc<dyn TableProvider> = Arc::new(table.clone());
        let mut given =
            Given { providers: vec![(TARGET, Arc::clone(&provider))], frozen: Some(Arc::clone(&loaded)) };
        let target = lower::Target {
            schema: metadata.current_schema(),
            lineage: metadata.format_version() >= FormatVersion::V3,
        };
        let mut read = Vec::new();
        let (lowered, source) = match change {
            RowChange::Delete(delete) => (lower::delete(delete)?, None),
            RowChange::Update(update) => (lower::update(update, target)?, None),
            RowChange::Merge(merge) => {
                let source = self.merge_source(merge, &mut given).await?;
                read.extend(source.read.iter().cloned());
                (lower::merge(merge, target, &source.named)?, Some(source))
            }
        };
        let Lowered { query, mentions_hidden, columns, .. } = &lowered;
        let columns = *columns;
        let (plan, also_read) = self.plan_with(query, *mentions_hidden, &given).await?;
        read.extend(also_read);
        let plan = lowered.finish(plan, target)?;
        let mut planner = self.planner();
        // It loses its way between a target and a source that both have the field.
        planner.config_mut().options_mut().optimizer.enable_leaf_expression_pushdown = false;
        let logical = planner.optimize(&plan).map_err(from_datafusion)?;
        let scan = target_scan(&logical, &provider)?;
        let mut filters = scan.as_ref().map(|scan| scan.filters.clone()).unwrap_or_default();
        if let (Some(source), Some(_)) = (&source, &scan) {
            filters.extend(self.key_filters(&logical, &provider, source, change).await?);
        }
        let predicate = predicate_of(&filters, metadata.current_schema());
        // Every row of the target may matter to a statement that reads it in a subquery too.
        let whole_table = predicate == Predicate::AlwaysTrue || read.contains(&loaded.ident);
        let filter = match (&scan, whole_table) {
            (None, _) if !read.contains(&loaded.ident) => Some(Predicate::AlwaysFalse),
            (_, true) => None,
            (_, false) => Some(predicate.clone()),
        };
        let exact = match change {
            RowChange::Delete(_) => decided(&logical, &provider, metadata.current_schema()),
            _ => None,
        };
        let is_by_pair = change.inserts_unmatched();
        let pairs = match is_by_pair {
            true => Pairs::of(&logical, &provider, source.as_ref(), change)?,
            false => None,
        };
        let decides = exact.is_some();
        let template = Template { decides, judged: exact.unwrap_or(predicate), logical, provider, pairs };
        let (files, whole) = match &scan {
            Some(_) => template.files(self, &table).await?,
            None => Default::default(),
        };
        let scan_left = without(&files, &whole);
        let runs = match change {
            RowChange::Merge(_) => true,
            RowChange::Delete(_) | RowChange::Update(_) => !scan_left.files.is_empty(),
        };
        let logical = if runs { Some(template.over(self, &table, scan_left)?) } else { None };
        let is_replannable =
            scan.is_some() && !read.contains(&loaded.ident) && (!is_by_pair || template.pairs.is_some());
        let template = is_replannable.then(|| Arc::new(template));
        let joins = logical.as_ref().is_some_and(has_join);
        let sort_merge = match (&source, self.parts.settings.task_memory_bytes()) {
            (Some(source), Some(memory)) if joins => source.is_larger_than(memory / 2),
            _ => false,
        };
        Ok(Planned {
            table,
            settings,
            columns,
            logical,
            scan: Arc::new(files),
            whole,
            filter,
            joins,
            sort_merge,
            loaded,
            template,
        })
    }

    /// A table's newest state as a statement's target.
    pub(super) fn target_table(&self, loaded: &LoadedTable) -> Result<IcebergTable> {
        Ok(IcebergTable::new(loaded.clone(), self.parts.storage.clone(), None)?
            .with_policy(self.parts.policy.clone())
            .with_metadata_columns(true))
    }

    /// The delta stage's plan; `None` when there is nothing to run.
    pub(in crate::engine) async fn delta_plan(
        &self,
        write: WriteId,
        planned: &Planned,
        sort_merge: bool,
    ) -> Result<Option<Arc<IcebergDeltaExec>>> {
        let Some(logical) = &planned.logical else { return Ok(None) };
        let mut state = self.planner();
        let options = state.config_mut().options_mut();
        // Where one side is small enough for every partition to have it whole, no row of either side changes places.
        let whole_side = usize::try_from(self.small_bytes()).unwrap_or(usize::MAX);
        options.optimizer.hash_join_single_partition_threshold = whole_side;
        options.optimizer.hash_join_single_partition_threshold_rows = WHOLE_SIDE_ROWS;
        if sort_merge {
            options.optimizer.prefer_hash_join = false;
            // One partition is joined by hash whatever is preferred.
            options.execution.target_partitions = options.execution.target_partitions.max(2);
        }
        let physical: Arc<dyn ExecutionPlan> =
            state.query_planner().create_physical_plan(logical, &state).await.map_err(from_datafusion)?;
        self.parts.progress.expect(&physical);
        let target = self.write_target(write, planned.metadata(), planned.columns.lineage)?;
        let rows = planned.columns.rows;
        let root = IcebergDeltaExec::new(physical, target, rows, self.parts.storage.clone())?;
        Ok(Some(Arc::new(root)))
    }
}

/// Refuses a table whose own columns take the names of those that tell where a row is.
fn check_columns(table: &IcebergTable, metadata: &TableMetadata) -> Result<()> {
    let schema = table.schema();
    let mut needed = vec!["_file", "_pos"];
    if metadata.format_version() >= FormatVersion::V3 {
        needed.extend(["_row_id", "_last_updated_sequence_number"]);
    }
    for name in needed {
        let own = metadata.current_schema().field_by_name_case_insensitive(name).is_some();
        if own || schema.index_of(name).is_err() {
            return Err(Error::unsupported(format!(
                "changing rows of a table with a column called {name} is not supported: rename the column"
            ))
            .with("table", table.loaded().ident.to_string()));
        }
    }
    Ok(())
}

/// Whether a scan reads the target itself, and not the same table in a subquery.
pub(super) fn is_target(scan: &TableScan, provider: &Arc<dyn TableProvider>) -> bool {
    source_as_provider(&scan.source)
        .is_ok_and(|source| std::ptr::addr_eq(Arc::as_ptr(&source), Arc::as_ptr(provider)))
}

/// The scan of the target; `None` when the optimiser found that no row of it can matter.
fn target_scan(plan: &LogicalPlan, provider: &Arc<dyn TableProvider>) -> Result<Option<TableScan>> {
    let mut found = None;
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node
            && is_target(scan, provider)
        {
            if found.is_some() {
                return Err(crate::plan::to_datafusion(Error::unsupported(
                    "a statement whose target is read twice by its plan is not supported",
                )));
            }
            found = Some(scan.clone());
        }
        Ok(TreeNodeRecursion::Continue)
    })
    .map_err(from_datafusion)?;
    Ok(found)
}

/// The plan with the target read from `restricted`.
pub(super) fn restrict(
    plan: LogicalPlan,
    provider: &Arc<dyn TableProvider>,
    restricted: IcebergTable,
) -> Result<LogicalPlan> {
    let restricted: Arc<dyn TableProvider> = Arc::new(restricted);
    plan.transform_up(|node| match node {
        LogicalPlan::TableScan(mut scan) if is_target(&scan, provider) => {
            scan.source = provider_as_source(Arc::clone(&restricted));
            Ok(Transformed::yes(LogicalPlan::TableScan(scan)))
        }
        other => Ok(Transformed::no(other)),
    })
    .data()
    .map_err(from_datafusion)
}

fn has_join(plan: &LogicalPlan) -> bool {
    matches!(plan, LogicalPlan::Join(_)) || plan.inputs().into_iter().any(has_join)
}

/// The files as the statement sees them: the place of a planted bug.
pub(super) fn seen(files: ScanPlan) -> ScanPlan {
    #[cfg(feature = "testing")]
    if icecap_table::testing::is_planted(icecap_table::testing::Mutation::DeletedRowsSeen) {
        let mut seen = files;
        seen.files.iter_mut().for_each(|file| file.deletes.clear());
        return seen;
    }
    files
}

/// The plan without the files that are not to be read.
fn without(files: &ScanPlan, left_out: &[usize]) -> ScanPlan {
    let mut kept = files.clone();
    let mut at = 0;
    kept.files.retain(|_| {
        at += 1;
        left_out.binary_search(&(at - 1)).is_err()
    });
    kept.rows = kept.files.iter().map(|file| file.record_count).sum();
    kept.bytes = kept.files.iter().map(|file| file.file_size_bytes).sum();
    kept
}

/// The plan with these files only.
pub(super) fn only(files: &ScanPlan, wanted: &[usize]) -> ScanPlan {
    let left_out: Vec<usize> = (0..files.files.len()).filter(|at| !wanted.contains(at)).collect();
    without(files, &left_out)
}
