//! `EXPLAIN`: what a statement would do, from the plan that would do it; `EXPLAIN ANALYZE`: what it did.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use datafusion::common::Statistics;
use datafusion::common::stats::Precision;
use datafusion::error::DataFusionError;
use datafusion::physical_plan::display::DisplayableExecutionPlan;
use datafusion::physical_plan::metrics::MetricType;
use datafusion::physical_plan::statistics::{StatisticsArgs, StatisticsContext};
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties, execute_stream};
use datafusion::sql::sqlparser::ast::Query;
use futures::StreamExt;
use icecap_table::iceberg::spec::TableMetadata;
use icecap_table::id::WriteId;
use icecap_table::properties::{DistributionMode, WriteSettings};
use tokio::time::Instant;

use super::describe::text_rows;
use super::query::in_own_task;
use super::row_level::RowChange;
use super::session::Run;
use super::show_create::sort_terms;
use super::{StatementResult, WriteSummary, from_datafusion};
use crate::dispatch::usage::Place;
use crate::scan::{IcecapScanExec, PlannedScan};
use crate::sql::{CreateTable, Insert, Statement};
use crate::stage::{Output, Reads, Stage};
use crate::write::IcebergWriteExec;
use crate::{Error, Result};

/// Lines of text, some of them below others.
#[derive(Default)]
pub(super) struct Lines(Vec<String>);

impl Lines {
    pub(super) fn add(&mut self, line: impl Into<String>) {
        self.0.push(line.into());
    }

    pub(super) fn below(&mut self, name: &str, value: impl std::fmt::Display) {
        self.0.push(format!("  {name}: {value}"));
    }

    pub(super) fn rows(self) -> Result<StatementResult> {
        text_rows(["plan"], self.0.into_iter().map(|line| [Some(line)]).collect())
    }
}

impl Run {
    /// Runs `EXPLAIN`, `EXPLAIN ANALYZE` or `EXPLAIN (DRY RUN)`.
    pub(super) async fn explain(
        &self,
        analyze: bool,
        dry_run: bool,
        statement: &Statement,
    ) -> Result<StatementResult> {
        if dry_run {
            return self.dry_run(statement).await;
        }
        match (statement, analyze) {
            (Statement::Query(query), false) => self.limited(self.explain_query(query)).await,
            (Statement::Query(query), true) => self.limited(self.analyze_query(query)).await,
            (Statement::Insert(insert), false) => self.limited(self.explain_insert(insert)).await,
            (Statement::CreateTable(create), false) => self.limited(self.explain_ctas(create)).await,
            // A write has limits of its own: they end where it is published.
            (Statement::Insert(insert), true) => self.analyzed(self.insert(insert).await?),
            (Statement::CreateTable(create), true) => self.analyzed(self.create_table(create).await?),
            (Statement::Delete(delete), _) => {
                self.explain_row_change(RowChange::Delete(delete), analyze).await
            }
            (Statement::Update(update), _) => {
                self.explain_row_change(RowChange::Update(update), analyze).await
            }
            (Statement::Merge(merge), _) => self.explain_row_change(RowChange::Merge(merge), analyze).await,
            _ => Err(Error::bug("EXPLAIN of a statement that has no plan")),
        }
    }

    async fn explain_row_change(&self, change: RowChange<'_>, analyze: bool) -> Result<StatementResult> {
        match analyze {
            true => self.analyzed(self.change_rows(change).await?),
            false => self.limited(self.explain_change(change)).await,
        }
    }

    async fn explain_query(&self, query: &Query) -> Result<StatementResult> {
        let logical = self.logical_plan(query).await?;
        let physical = self.physical_plan(&logical).await?;
        let mut lines = Lines::default();
        lines.add("Query");
        lines.below("estimated", estimate(&physical)?);
        lines.below("partitions", physical.output_partitioning().partition_count());
        self.add_scans(&mut lines, Some(&physical));
        add_plan(&mut lines, &DisplayableExecutionPlan::new(physical.as_ref()));
        lines.rows()
    }

    async fn analyze_query(&self, query: &Query) -> Result<StatementResult> {
        let logical = self.logical_plan(query).await?;
        let physical = self.physical_plan(&logical).await?;
        let planned = self.started.elapsed();
        let began = Instant::now();
        let stream = execute_stream(Arc::clone(&physical), self.parts.executor.task_context());
        let mut stream = in_own_task(stream.map_err(from_datafusion)?);
        let (mut rows, mut bytes) = (0_u64, 0_u64);
        while let Some(batch) = stream.next().await {
            let batch = batch.map_err(from_datafusion)?;
            rows += batch.num_rows() as u64;
            bytes += sliced_bytes(&batch).map_err(from_datafusion)?;
        }
        let mut lines = Lines::default();
        lines.add("Query, run");
        lines.below("rows", rows);
        lines.below("bytes", format!("{} of results in memory", size(bytes)));
        lines.below("time", format!("{} to plan, {} to run", seconds(planned), seconds(began.elapsed())));
        self.add_scans(&mut lines, Some(&physical));
        let shown = DisplayableExecutionPlan::with_metrics(physical.as_ref())
            .set_metric_types(vec![MetricType::Summary]);
        add_plan(&mut lines, &shown);
        lines.rows()
    }

    async fn explain_insert(&self, insert: &Insert) -> Result<StatementResult> {
        let (loaded, source) = self.plan_insert(insert).await?;
        let metadata = loaded.document.metadata();
        let root = self.write_plan(WriteId::new(self.parts.ids.uuid()), metadata, &source).await?;
        let mut lines = Lines::default();
        lines.add(format!("Insert into {}", loaded.ident));
        self.add_write(&mut lines, metadata, root).await?;
        lines.rows()
    }

    async fn explain_ctas(&self, create: &CreateTable) -> Result<StatementResult> {
        let mut lines = Lines::default();
        let Some(planned) = self.plan_create(create).await? else {
            lines.add("Nothing: the table exists already");
            return lines.rows();
        };
        lines.add(format!("Create table {}", planned.ident));
        let metadata = planned.document.metadata();
        match &planned.rows {
            Some(rows) => {
                let root = self.write_plan(WriteId::new(self.parts.ids.uuid()), metadata, rows).await?;
                self.add_write(&mut lines, metadata, root).await?;
            }
            None => lines.below("rows", "none: WITH NO DATA"),
        }
        lines.rows()
    }

    /// What a write will do, its scans, its plan; where it may be parted, its stages, each with its plan.
    async fn add_write(
        &self,
        lines: &mut Lines,
        metadata: &TableMetadata,
        root: Arc<IcebergWriteExec>,
    ) -> Result<()> {
        let settings = WriteSettings::from_properties(metadata.properties())?;
        lines.below("data", &root.target().data_location);
        lines.below("partition", partition_fields(metadata));
        lines.below("order", order_fields(metadata));
        lines.below("distribution", distribution(metadata, &settings));
        lines.below("writers", root.properties().output_partitioning().partition_count());
        lines.below("target file size", size(settings.target_file_size_bytes));
        lines.below("estimated", estimate(root.input())?);
        let plan: Arc<dyn ExecutionPlan> = Arc::clone(&root) as _;
        self.add_scans(lines, Some(&plan));
        if !self.parts.tier.is_distributed() {
            add_plan(lines, &DisplayableExecutionPlan::new(plan.as_ref()));
            return Ok(());
        }
        for stage in self.stages(root).await? {
            add_stage(lines, &stage);
        }
        Ok(())
    }

    /// What a write did. It is committed.
    fn analyzed(&self, result: StatementResult) -> Result<StatementResult> {
        let mut lines = Lines::default();
        match result {
            StatementResult::Written(summary) => {
                add_summary(&mut lines, &summary);
                for (name, value) in self.notes.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
                    lines.below(name, value);
                }
            }
            StatementResult::Done(done) => {
                lines.add(format!("{}: the table exists already, nothing was done", done.statement));
            }
            rows @ StatementResult::Rows(_) => return Ok(rows),
        }
        self.add_scans(&mut lines, None);
        lines.rows()
    }

    pub(super) fn add_scans(&self, lines: &mut Lines, plan: Option<&Arc<dyn ExecutionPlan>>) {
        for scan in self.scans.scans() {
            let is_read = plan.is_none_or(|plan| reads(plan, &scan.table));
            add_scan(lines, &scan, is_read);
        }
    }
}

fn add_summary(lines: &mut Lines, summary: &WriteSummary) {
    lines.add(format!("{} into {}, run and committed", summary.statement, summary.table));
    if let Some(snapshot) = summary.snapshot_id {
        lines.below("snapshot", snapshot);
    }
    let changes = [("rows updated", summary.rows_updated), ("rows deleted", summary.rows_deleted)];
    if changes.iter().any(|(_, rows)| rows.is_some()) {
        let all = [("rows inserted", summary.rows_inserted)].into_iter().chain(changes);
        for (name, rows) in all {
            rows.into_iter().for_each(|rows| lines.below(name, rows));
        }
    } else {
        lines.below("rows", summary.rows_inserted.unwrap_or(0));
    }
    lines.below("data files", summary.data_files);
    if let Some(files) = summary.delete_files {
        lines.below("delete files", files);
    }
    lines.below("bytes", size(summary.bytes_written));
    lines.below("time", format!("{:.3} s", summary.seconds));
    let Some(cost) = summary.cost.filter(|cost| cost.place != Place::InProcess || cost.attempts > 1) else {
        return;
    };
    lines.below(
        "tasks",
        format!(
            "{} attempts, {} failed, {} cold starts, {:.3} s in all",
            cost.attempts,
            cost.failed_attempts,
            cost.cold_starts,
            Duration::from_millis(cost.wall_ms).as_secs_f64()
        ),
    );
    let moved = cost.exchange;
    if moved.requests > 0 {
        lines.below(
            "exchanges",
            format!(
                "{} written, {} read, {} requests",
                size(moved.bytes_written),
                size(moved.bytes_read),
                moved.requests
            ),
        );
    }
}

fn add_scan(lines: &mut Lines, scan: &PlannedScan, is_read: bool) {
    let Some(snapshot) = scan.snapshot else {
        lines.add(format!("Scan of {}, which has no snapshot", scan.table));
        return;
    };
    lines.add(format!("Scan of {}, snapshot {snapshot}", scan.table));
    if let Some(filter) = &scan.filter {
        lines.below("filter", filter);
    }
    lines.below("manifests", format!("{} of {} read", scan.manifests_read, scan.manifests_total));
    lines.below(
        "files",
        format!(
            "{} of {} to read; pruned {} by manifest, {} by partition, {} by metrics",
            scan.files,
            scan.files_total,
            scan.pruned_by_manifest,
            scan.pruned_by_partition,
            scan.pruned_by_metrics
        ),
    );
    let deletes = [
        (scan.deletion_vectors, "deletion vector"),
        (scan.position_delete_files, "position delete file"),
        (scan.equality_delete_files, "equality delete file"),
    ];
    let deletes: Vec<String> = deletes
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{count} {what}{}", if count == 1 { "" } else { "s" }))
        .collect();
    if !deletes.is_empty() {
        lines.below("deletes", deletes.join(", "));
    }
    lines.below("rows", format!("at most {}", scan.rows));
    lines.below("bytes", format!("at most {}", size(scan.bytes)));
    if !is_read && scan.files > 0 {
        lines.below("answered", "from metadata alone: no file is read");
    }
}

/// A stage: its tasks, what it reads of others, where its rows go, its plan.
fn add_stage(lines: &mut Lines, stage: &Stage) {
    lines.add(format!("Stage {}", stage.number));
    lines.below("tasks", stage.tasks);
    for input in &stage.inputs {
        let how = match input.reads {
            Reads::Hash => "its own hash partitions",
            Reads::All => "all, in every task",
            Reads::Gather => "all",
        };
        lines.below("reads", format!("stage {}: {how}", input.stage));
    }
    match stage.output {
        Output::Rows => lines.below("writes", "data files"),
        Output::Exchange { partitions, .. } => {
            lines.below("writes", format!("an exchange object per task, of {partitions} partitions"));
        }
    }
    add_plan(lines, &DisplayableExecutionPlan::new(stage.plan.as_ref()));
}

pub(super) fn add_plan(lines: &mut Lines, plan: &DisplayableExecutionPlan<'_>) {
    lines.add("Plan");
    for line in plan.indent(false).to_string().lines() {
        lines.add(format!("  {line}"));
    }
}

/// Whether a plan still reads a table: DataFusion may answer from statistics instead.
fn reads(plan: &Arc<dyn ExecutionPlan>, table: &str) -> bool {
    let own = plan.downcast_ref::<IcecapScanExec>().is_some_and(|scan| scan.input().table == table);
    own || plan.children().into_iter().any(|child| reads(child, table))
}

pub(super) fn estimate(plan: &Arc<dyn ExecutionPlan>) -> Result<String> {
    let statistics =
        StatisticsContext::new().compute(plan.as_ref(), &StatisticsArgs::new()).map_err(from_datafusion)?;
    let Statistics { num_rows, total_byte_size, .. } = statistics.as_ref();
    let rows = known(num_rows).map_or_else(|| "unknown".to_owned(), |rows| rows.to_string());
    let bytes = known(total_byte_size).map_or_else(|| "unknown".to_owned(), size);
    Ok(format!("rows {rows}, bytes {bytes}"))
}

fn known(precision: &Precision<usize>) -> Option<u64> {
    precision.get_value().map(|value| *value as u64)
}

fn partition_fields(metadata: &TableMetadata) -> String {
    let spec = metadata.default_partition_spec();
    let fields: Vec<String> = spec
        .fields()
        .iter()
        .map(|field| {
            let column = metadata.current_schema().name_by_field_id(field.source_id).unwrap_or("?");
            format!("{} = {}({column})", field.name, field.transform)
        })
        .collect();
    if fields.is_empty() { "none".to_owned() } else { fields.join(", ") }
}

/// The order of rows in each file.
fn order_fields(metadata: &TableMetadata) -> String {
    let terms = sort_terms(metadata, |name| name.to_owned());
    if terms.is_empty() { "none".to_owned() } else { terms.join(", ") }
}

/// How rows come to writers: as [`IcebergWriteExec`] says of itself.
fn distribution(metadata: &TableMetadata, settings: &WriteSettings) -> &'static str {
    if !metadata.default_sort_order().is_unsorted() {
        return match settings.distribution {
            Some(DistributionMode::None) => "none: each writer sorts its rows",
            Some(DistributionMode::Hash) => "hash: a partition's rows are sorted by one writer",
            Some(DistributionMode::Range) | None => "range: all rows are brought into one order",
        };
    }
    match (metadata.default_partition_spec().is_unpartitioned(), settings.distribution) {
        (true, _) => "none: the table is not partitioned",
        (false, Some(DistributionMode::None)) => {
            "none (write.distribution-mode): each writer writes every partition"
        }
        (false, _) => "shared: the writers share the partitions",
    }
}

/// Bytes of a batch's rows, without those of the buffers that it shares.
fn sliced_bytes(batch: &datafusion::arrow::record_batch::RecordBatch) -> Result<u64, DataFusionError> {
    let mut bytes = 0;
    for column in batch.columns() {
        bytes += column.to_data().get_slice_memory_size()? as u64;
    }
    Ok(bytes)
}

fn seconds(time: Duration) -> String {
    format!("{:.3} s", time.as_secs_f64())
}

/// Bytes for people, in powers of ten.
pub(super) fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["kB", "MB", "GB", "TB", "PB"];
    let mut number = bytes as f64;
    let mut name = "B";
    for unit in UNITS {
        if number < 999.5 {
            break;
        }
        number /= 1_000.0;
        name = unit;
    }
    if name == "B" { format!("{bytes} B") } else { format!("{number:.1} {name}") }
}
