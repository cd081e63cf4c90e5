//! Rows in a table's sort order, before they come to the writers.
//!
//! The order holds within each data file. Of a partitioned table the rows come partition by partition, so that a
//! writer has one file open at a time. How the rows come to the writers is the table's `write.distribution-mode`:
//! `range`, which sorted tables have unless they say otherwise, brings all rows into one order, so that the files'
//! ranges do not overlap; `hash` brings the rows of a partition to one writer; with `none` each writer sorts what it
//! gets.

use std::sync::Arc;

use datafusion::arrow::compute::SortOptions;
use datafusion::physical_expr::{LexOrdering, PhysicalSortExpr};
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::sorts::sort_preserving_merge::SortPreservingMergeExec;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties, Partitioning};
use icecap_table::Result;
use icecap_table::iceberg::spec::{NullOrder, SortDirection, SortOrder};
use icecap_table::properties::DistributionMode;

use super::route::{keys, transformed};
use super::target::WriteTarget;
use crate::plan::from_datafusion;

/// `rows` in `order`, and `target` with the order's id: its files are then said to be sorted so.
///
/// Without an order, and where the order is one that this release cannot make (of a transform that it does not know),
/// both stay as they are: files that are not sorted are right, they are only slower to search.
///
/// # Errors
/// `Invalid` for properties that cannot be.
pub(crate) fn ordered(
    rows: Arc<dyn ExecutionPlan>,
    target: WriteTarget,
    order: &SortOrder,
) -> Result<(Arc<dyn ExecutionPlan>, WriteTarget)> {
    let Some((ordering, id)) = ordering(&rows, &target, order)? else { return Ok((rows, target)) };
    let mode = target.settings()?.distribution.unwrap_or(DistributionMode::Range);
    let mut rows = rows;
    let count = rows.output_partitioning().partition_count();
    if mode == DistributionMode::Hash
        && count > 1
        && let Some(keys) = keys(&rows, &target)?
    {
        let routed = RepartitionExec::try_new(rows, Partitioning::Hash(keys, count));
        rows = Arc::new(routed.map_err(from_datafusion)?);
    }
    let is_sorted =
        rows.equivalence_properties().ordering_satisfy(ordering.iter().cloned()).map_err(from_datafusion)?;
    if !is_sorted {
        rows = Arc::new(SortExec::new(ordering.clone(), rows).with_preserve_partitioning(true));
    }
    if mode == DistributionMode::Range && rows.output_partitioning().partition_count() > 1 {
        rows = Arc::new(SortPreservingMergeExec::new(ordering, rows));
    }
    Ok((rows, WriteTarget { sort_order_id: Some(id), ..target }))
}

/// The partition, then the table's order; and the order's id.
fn ordering(
    rows: &Arc<dyn ExecutionPlan>,
    target: &WriteTarget,
    order: &SortOrder,
) -> Result<Option<(LexOrdering, i32)>> {
    let Ok(id) = i32::try_from(order.order_id) else { return Ok(None) };
    if order.is_unsorted() {
        return Ok(None);
    }
    let partition = keys(rows, target)?.unwrap_or_default();
    let mut exprs: Vec<PhysicalSortExpr> = partition
        .into_iter()
        .map(|key| PhysicalSortExpr::new(key, SortOptions { descending: false, nulls_first: true }))
        .collect();
    for field in &order.fields {
        let key = match transformed(&rows.schema(), target, field.source_id, field.transform) {
            Ok(Some(key)) => key,
            // Of a column that is gone, or a transform of a later version of the specification.
            Ok(None) | Err(_) => return Ok(None),
        };
        let options = SortOptions {
            descending: field.direction == SortDirection::Descending,
            nulls_first: field.null_order == NullOrder::First,
        };
        exprs.push(PhysicalSortExpr::new(key, options));
    }
    Ok(LexOrdering::new(exprs).map(|ordering| (ordering, id)))
}
