//! Lean hash joins: of the build side only what is compared goes through the join (late materialisation).
//!
//! DataFusion copies the build side into one batch before it is hashed, and moves all its columns between partitions.
//! For a MERGE that is the whole source once or twice over, in memory that was never touched before. Here the columns
//! that are not compared stay in the batches that they came in ([`HoldExec`]); a row's place goes through the join in
//! their stead, and the rows that come out get them back ([`FetchExec`]).
//!
//! Both nodes of a join share what is held, so this is for plans that run here and now: they have no message form.

mod fetch;
mod hold;

use std::any::Any;
use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{DataFusionError, JoinSide, JoinType, Result as DfResult};
use datafusion::physical_expr::expressions::{Column, DynamicFilterPhysicalExpr};
use datafusion::physical_expr::utils::collect_columns;
use datafusion::physical_expr::{Partitioning, PhysicalExpr};
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::joins::utils::{ColumnIndex, JoinFilter};
use datafusion::physical_plan::joins::{HashJoinExec, HashJoinExecBuilder};
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};

use crate::Result;
use crate::plan::from_datafusion;

use fetch::{FetchExec, Origin};
use hold::{Held, HoldExec};

/// A row's place takes eight bytes: what takes no more than two such is left as it is.
const SMALL_BYTES: usize = 16;

/// The plan with every hash join lean where that pays.
///
/// # Errors
/// `Bug` when a plan cannot be put together.
pub(crate) fn lean(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    plan.transform_up(|node| {
        let lean = node.downcast_ref::<HashJoinExec>().map(lean_join).transpose()?.flatten();
        Ok(lean.map_or_else(|| Transformed::no(node), Transformed::yes))
    })
    .data()
    .map_err(from_datafusion)
}

/// A join that holds its build side's columns back; `None` where that is not possible, or there are hardly any.
fn lean_join(join: &HashJoinExec) -> DfResult<Option<Arc<dyn ExecutionPlan>>> {
    let is_simple =
        matches!(join.join_type, JoinType::Inner | JoinType::Left | JoinType::Right | JoinType::Full);
    if !is_simple || join.null_aware || join.fetch().is_some() {
        return Ok(None);
    }
    let left = join.left().schema();
    let width = left.fields().len();
    let mut compared: BTreeSet<usize> = BTreeSet::new();
    for (key, _) in join.on() {
        compared.extend(collect_columns(key).iter().map(|column| column.index()));
    }
    let of_filter = join.filter().into_iter().flat_map(JoinFilter::column_indices);
    compared.extend(of_filter.filter(|column| column.side == JoinSide::Left).map(|column| column.index));
    let all = width + join.right().schema().fields().len();
    let given = join.projection.as_ref().map_or_else(|| (0..all).collect(), |given| given.to_vec());
    let held: BTreeSet<usize> =
        given.iter().copied().filter(|at| *at < width && !compared.contains(at)).collect();
    if held.iter().map(|at| bytes_of(left.field(*at).data_type())).sum::<usize>() <= SMALL_BYTES {
        return Ok(None);
    }

    let (compared, held): (Vec<usize>, Vec<usize>) =
        (compared.into_iter().collect(), held.into_iter().collect());
    let rows = Arc::new(Held::default());
    let Some(build) = hold(join.left(), &compared, &held, &rows)? else { return Ok(None) };
    // Where the columns of the build side are now.
    let place = compared.len();
    let mut projection = Vec::new();
    let mut origins = Vec::new();
    for at in given {
        let through = if at < width { place_of(at, &compared) } else { Some(at - width + place + 1) };
        origins.push(match (through, held.iter().position(|own| *own == at)) {
            (Some(through), _) => {
                projection.push(through);
                Origin::Through(projection.len() - 1)
            }
            (None, Some(column)) => Origin::Held(column),
            (None, None) => return Ok(None),
        });
    }
    projection.push(place);

    let on = join.on().iter().map(|(key, other)| Ok((moved(key, &compared)?, Arc::clone(other))));
    let on = on.collect::<DfResult<Vec<_>>>()?;
    let mut new = HashJoinExecBuilder::new(build, Arc::clone(join.right()), on, join.join_type)
        .with_filter(join.filter().map(|filter| moved_filter(filter, &compared)).transpose()?)
        .with_projection(Some(projection))
        .with_partition_mode(*join.partition_mode())
        .with_null_equality(join.null_equality())
        .build()?;
    // The other side's scan has the same one.
    for filter in join.dynamic_expressions_produced() {
        if let Ok(filter) = (filter as Arc<dyn Any + Send + Sync>).downcast::<DynamicFilterPhysicalExpr>() {
            new = new.with_dynamic_filter_expr(filter)?;
        }
    }
    let properties = Arc::clone(join.properties());
    Ok(Some(Arc::new(FetchExec::new(Arc::new(new), origins, rows, properties))))
}

/// The build side with `compared` and the place of each row; `held` stays in `rows`. `None` where rows go through a node
/// that may look at what is held.
fn hold(
    node: &Arc<dyn ExecutionPlan>,
    compared: &[usize],
    held: &[usize],
    rows: &Arc<Held>,
) -> DfResult<Option<Arc<dyn ExecutionPlan>>> {
    if let Some(gathered) = node.downcast_ref::<CoalescePartitionsExec>()
        && gathered.fetch().is_none()
    {
        let input = hold(gathered.input(), compared, held, rows)?;
        return Ok(input.map(|input| Arc::new(CoalescePartitionsExec::new(input)) as _));
    }
    if let Some(dealt) = node.downcast_ref::<RepartitionExec>()
        && !dealt.preserve_order()
    {
        // Rows that are dealt by what the join does not compare are held above.
        let by = match dealt.partitioning() {
            Partitioning::Hash(keys, partitions) => {
                let keys: DfResult<Vec<_>> = keys.iter().map(|key| moved(key, compared)).collect();
                keys.ok().map(|keys| Partitioning::Hash(keys, *partitions))
            }
            Partitioning::RoundRobinBatch(partitions) => Some(Partitioning::RoundRobinBatch(*partitions)),
            _ => None,
        };
        if let Some(by) = by {
            return match hold(dealt.input(), compared, held, rows)? {
                Some(input) => Ok(Some(Arc::new(RepartitionExec::try_new(input, by)?))),
                None => Ok(None),
            };
        }
    }
    let partitioning = match node.output_partitioning() {
        Partitioning::Hash(keys, partitions) => {
            let keys: DfResult<Vec<_>> = keys.iter().map(|key| moved(key, compared)).collect();
            keys.map_or(Partitioning::UnknownPartitioning(*partitions), |keys| {
                Partitioning::Hash(keys, *partitions)
            })
        }
        other => Partitioning::UnknownPartitioning(other.partition_count()),
    };
    Ok(Some(Arc::new(HoldExec::new(Arc::clone(node), compared, held, Arc::clone(rows), partitioning)?)))
}

fn place_of(column: usize, compared: &[usize]) -> Option<usize> {
    compared.iter().position(|kept| *kept == column)
}

fn missing() -> DataFusionError {
    DataFusionError::Internal("a column that is compared is held back".to_owned())
}

/// An expression over the build side, over what of it goes through the join.
fn moved(expr: &Arc<dyn PhysicalExpr>, compared: &[usize]) -> DfResult<Arc<dyn PhysicalExpr>> {
    let moved = Arc::clone(expr).transform(|expr| match expr.downcast_ref::<Column>() {
        Some(column) => {
            let at = place_of(column.index(), compared).ok_or_else(missing)?;
            Ok(Transformed::yes(Arc::new(Column::new(column.name(), at)) as _))
        }
        None => Ok(Transformed::no(expr)),
    });
    moved.data()
}

fn moved_filter(filter: &JoinFilter, compared: &[usize]) -> DfResult<JoinFilter> {
    let columns = filter.column_indices().iter().map(|column| match column.side {
        JoinSide::Left => {
            let index = place_of(column.index, compared).ok_or_else(missing)?;
            Ok(ColumnIndex { index, side: column.side })
        }
        _ => Ok(column.clone()),
    });
    let columns = columns.collect::<DfResult<Vec<_>>>()?;
    Ok(JoinFilter::new(Arc::clone(filter.expression()), columns, Arc::clone(filter.schema())))
}

/// What a value takes, at least.
fn bytes_of(data_type: &DataType) -> usize {
    match data_type {
        DataType::Null | DataType::Boolean => 1,
        DataType::FixedSizeBinary(bytes) => usize::try_from(*bytes).unwrap_or(0),
        other => other.primitive_width().unwrap_or(SMALL_BYTES + 1),
    }
}

#[cfg(test)]
mod tests;
