//! The source of a MERGE: a small one is read once, before anything else, so that its keys can say which files of the
//! target matter.

use std::collections::HashSet;
use std::sync::Arc;

use datafusion::arrow::array::{Array, RecordBatch};
use datafusion::arrow::datatypes::DataType;
use datafusion::catalog::TableProvider;
use datafusion::common::{NullEquality, ScalarValue};
use datafusion::datasource::MemTable;
use datafusion::functions_aggregate::expr_fn::{max, min};
use datafusion::logical_expr::{Expr, Join, LogicalPlan, LogicalPlanBuilder, TableScan, lit};
use datafusion::physical_plan::{collect, execute_stream};
use futures::StreamExt;
use icecap_table::id::TableIdent;

use super::RowChange;
use super::plan::is_target;
use crate::Result;
use crate::engine::from_datafusion;
use crate::engine::insert::estimated_bytes;
use crate::engine::query::{Given, in_own_task};
use crate::engine::session::Run;
use crate::plan::HeldRows;
use crate::sql::lower::{MergeSource, SOURCE, source_query};
use crate::sql::{MatchKind, Merge, mentions_hidden};

/// A source up to this size is read once and kept.
const SMALL_BYTES: u64 = 64 << 20;
/// The same where it travels in the message of every task.
const SMALL_MESSAGE_BYTES: u64 = 4 << 20;
/// So many times larger than their Parquet files may rows be in memory.
const EXPANSION: u64 = 4;
/// Values of a key that are listed; more than that give their least and greatest.
const MOST_KEYS: usize = 1000;

/// A MERGE's source.
pub(super) struct Source {
    pub(super) named: MergeSource,
    /// Its rows, where it is small.
    pub(super) rows: Option<Arc<dyn TableProvider>>,
    /// Its bytes, as far as they are known.
    bytes: Option<u64>,
    /// The tables that it reads.
    pub(super) read: Vec<TableIdent>,
}

impl Source {
    pub(super) fn is_larger_than(&self, bytes: u64) -> bool {
        self.rows.is_none() && self.bytes.is_none_or(|own| own.saturating_mul(EXPANSION) > bytes)
    }
}

impl Run {
    /// Looks at a source, and reads it where it is small: it is then among those `given`.
    pub(super) async fn merge_source(&self, merge: &Merge, given: &mut Given) -> Result<Source> {
        let query = source_query(&merge.source)?;
        let (plan, read) = self.plan_with(&query, mentions_hidden(&query), given).await?;
        let columns = plan.schema().fields().iter().map(|field| field.name().clone()).collect();
        let physical = self.physical_plan(&plan).await?;
        let bytes = estimated_bytes(&physical);
        let small = self.small_bytes();
        let mut rows = None;
        if bytes.is_none_or(|bytes| bytes <= small) {
            let schema = physical.schema();
            let stream = execute_stream(physical, self.parts.executor.task_context());
            let mut stream = in_own_task(stream.map_err(from_datafusion)?);
            let (mut batches, mut held) = (Vec::new(), 0);
            let mut whole = true;
            while let Some(batch) = stream.next().await {
                let batch = batch.map_err(from_datafusion)?;
                held += batch.get_array_memory_size() as u64;
                if held > small {
                    whole = false;
                    break;
                }
                batches.push(batch);
            }
            if whole {
                let table = MemTable::try_new(schema, vec![batches]).map_err(from_datafusion)?;
                let table: Arc<dyn TableProvider> = match self.parts.executor.shelf() {
                    Some(shelf) => Arc::new(HeldRows::new(table, shelf.clone())),
                    None => Arc::new(table),
                };
                given.providers.push((SOURCE, Arc::clone(&table)));
                rows = Some(table);
            }
        }
        Ok(Source { named: MergeSource { columns, given: rows.is_some() }, rows, bytes, read })
    }

    /// So many bytes are few beside what a statement holds.
    pub(super) fn small_bytes(&self) -> u64 {
        let most = if self.parts.tier.is_distributed() { SMALL_MESSAGE_BYTES } else { SMALL_BYTES };
        self.parts.settings.task_memory_bytes().map_or(most, |memory| most.min(memory / 8))
    }

    /// What the source's keys say of the rows of the target that matter, as filters of the target's columns.
    pub(super) async fn key_filters(
        &self,
        plan: &LogicalPlan,
        target: &Arc<dyn TableProvider>,
        source: &Source,
        change: RowChange<'_>,
    ) -> Result<Vec<Expr>> {
        let RowChange::Merge(merge) = change else { return Ok(Vec::new()) };
        let needs_all = merge.clauses.iter().any(|clause| clause.kind == MatchKind::NotMatchedBySource);
        let Some(rows) = source.rows.as_ref().filter(|_| !needs_all) else { return Ok(Vec::new()) };
        let Some(joined) = merge_join(plan, target, rows) else { return Ok(Vec::new()) };
        // Where NULL meets NULL, the source's keys do not tell which rows matter: NULL is no value of them.
        if joined.join.null_equality != NullEquality::NullEqualsNothing {
            return Ok(Vec::new());
        }
        let (side, pairs) = joined.keys();
        let mut filters = Vec::with_capacity(pairs.len());
        for (of_target, of_source) in pairs {
            filters.extend(self.key_filter(side, of_target, of_source).await?);
        }
        Ok(filters)
    }

    async fn key_filter(
        &self,
        side: &LogicalPlan,
        of_target: &Expr,
        of_source: &Expr,
    ) -> Result<Option<Expr>> {
        let key = of_source.clone().alias("key");
        let keys = LogicalPlanBuilder::from(side.clone())
            .project([key])
            .and_then(LogicalPlanBuilder::build)
            .map_err(from_datafusion)?;
        let key_type = keys.schema().field(0).data_type().clone();
        if key_type.is_floating() || key_type.is_nested() || key_type == DataType::Null {
            return Ok(None);
        }
        let column = || Expr::Column(datafusion::common::Column::new_unqualified("key"));
        let batches = self.rows_of(&keys).await?;
        if let Some(values) = distinct(&batches)? {
            return Ok(Some(match values.is_empty() {
                true => lit(false),
                false => {
                    let values = values.into_iter().map(|value| Expr::Literal(value, None)).collect();
                    of_target.clone().in_list(values, false)
                }
            }));
        }
        let bounds = LogicalPlanBuilder::from(keys)
            .aggregate(Vec::<Expr>::new(), [min(column()).alias("low"), max(column()).alias("high")])
            .and_then(LogicalPlanBuilder::build)
            .map_err(from_datafusion)?;
        let batches = self.rows_of(&bounds).await?;
        let Some(row) = batches.iter().find(|batch| batch.num_rows() == 1) else { return Ok(None) };
        let bound = |at: usize| ScalarValue::try_from_array(row.column(at), 0).map_err(from_datafusion);
        let (low, high) = (bound(0)?, bound(1)?);
        if low.is_null() || high.is_null() {
            return Ok(Some(lit(false)));
        }
        Ok(Some(of_target.clone().between(Expr::Literal(low, None), Expr::Literal(high, None))))
    }

    pub(super) async fn rows_of(&self, plan: &LogicalPlan) -> Result<Vec<RecordBatch>> {
        let physical = self.physical_plan(plan).await?;
        collect(physical, self.parts.executor.task_context()).await.map_err(from_datafusion)
    }
}

/// The different values of one column, NULL left out; `None` when they are many.
fn distinct(batches: &[RecordBatch]) -> Result<Option<HashSet<ScalarValue>>> {
    let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
    if rows > 20 * MOST_KEYS {
        return Ok(None);
    }
    let mut values = HashSet::new();
    for batch in batches {
        let column = batch.column(0);
        for at in (0..column.len()).filter(|at| !column.is_null(*at)) {
            values.insert(ScalarValue::try_from_array(column, at).map_err(from_datafusion)?);
            if values.len() > MOST_KEYS {
                return Ok(None);
            }
        }
    }
    Ok(Some(values))
}

/// The join of target and source.
pub(super) struct MergeJoin<'a> {
    pub(super) join: &'a Join,
    /// Whether the target is its left side.
    target_is_left: bool,
}

impl<'a> MergeJoin<'a> {
    /// The source's side, and the keys as pairs of expressions (target's, source's).
    fn keys(&self) -> (&'a LogicalPlan, Vec<(&'a Expr, &'a Expr)>) {
        let on = self.join.on.iter();
        match self.target_is_left {
            true => (&self.join.right, on.map(|(left, right)| (left, right)).collect()),
            false => (&self.join.left, on.map(|(left, right)| (right, left)).collect()),
        }
    }
}

/// Finds the join of target and source, where each is joined as it was read.
pub(super) fn merge_join<'a>(
    plan: &'a LogicalPlan,
    target: &Arc<dyn TableProvider>,
    source: &Arc<dyn TableProvider>,
) -> Option<MergeJoin<'a>> {
    if let LogicalPlan::Join(join) = plan {
        let is = |side: &LogicalPlan, provider| only_scan(side).is_some_and(|scan| is_target(scan, provider));
        if is(&join.left, target) && is(&join.right, source) {
            return Some(MergeJoin { join, target_is_left: true });
        }
        if is(&join.right, target) && is(&join.left, source) {
            return Some(MergeJoin { join, target_is_left: false });
        }
    }
    plan.inputs().into_iter().find_map(|input| merge_join(input, target, source))
}

/// The scan that a plan is made of alone: nothing is joined, and no row is left out or made.
fn only_scan(plan: &LogicalPlan) -> Option<&TableScan> {
    match plan {
        LogicalPlan::TableScan(scan) => Some(scan),
        LogicalPlan::Projection(_) | LogicalPlan::SubqueryAlias(_) | LogicalPlan::Filter(_) => {
            only_scan(plan.inputs().first()?)
        }
        _ => None,
    }
}
