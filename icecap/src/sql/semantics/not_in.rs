//! `x NOT IN (subquery)` beside an OR, where DataFusion forgets NULL.
//!
//! There it asks for each row whether a partner exists, and a NULL on either side answers "no" where SQL says
//! "unknown": NOT makes that true. As a condition of its own (between ANDs) it is planned as a join that knows NULL.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, ExprSchema, Result};
use datafusion::logical_expr::expr::{Exists, InSubquery};
use datafusion::logical_expr::{
    BinaryExpr, Expr, Filter, LogicalPlan, LogicalPlanBuilder, Operator, Subquery,
};
use icecap_table::Error;

use super::membership::value_of;
use crate::plan::to_datafusion;

/// The filter with each such condition as one about existence.
pub(super) fn of_filter(node: LogicalPlan) -> Result<LogicalPlan> {
    match node {
        LogicalPlan::Filter(filter) if has_in_subquery(&filter.predicate)? => {
            let predicate = of_condition(filter.predicate, &filter.input, true)?;
            Filter::try_new(predicate, filter.input).map(LogicalPlan::Filter)
        }
        other => Ok(other),
    }
}

/// A condition of which only "true" counts. `alone`: nothing but ANDs stand around it.
fn of_condition(condition: Expr, input: &Arc<LogicalPlan>, alone: bool) -> Result<Expr> {
    match condition {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) if matches!(op, Operator::And | Operator::Or) => {
            let alone = alone && op == Operator::And;
            let left = Box::new(of_condition(*left, input, alone)?);
            let right = Box::new(of_condition(*right, input, alone)?);
            Ok(Expr::BinaryExpr(BinaryExpr { left, op, right }))
        }
        Expr::Not(inner) => match *inner {
            Expr::InSubquery(inside) => {
                of_in(InSubquery { negated: !inside.negated, ..inside }, input, alone)
            }
            inner => whole(Expr::Not(Box::new(inner)), input),
        },
        Expr::InSubquery(inside) => of_in(inside, input, alone),
        other => whole(other, input),
    }
}

fn of_in(inside: InSubquery, input: &Arc<LogicalPlan>, alone: bool) -> Result<Expr> {
    if !inside.negated || alone {
        return Ok(Expr::InSubquery(inside));
    }
    let InSubquery { expr, subquery, .. } = inside;
    // No row that equals it, and none of which that is unknown.
    let mut outer = subquery.outer_ref_columns;
    let expr = outside(*expr, input.schema(), &mut outer)?;
    let inner = Expr::Column(Column::from(subquery.subquery.schema().qualified_field(0)));
    let rows = LogicalPlanBuilder::from(subquery.subquery)
        .filter(Expr::IsNotFalse(Box::new(inner.eq(expr))))?
        .build()?;
    let subquery = Subquery { subquery: Arc::new(rows), outer_ref_columns: outer, spans: subquery.spans };
    Ok(Expr::Exists(Exists { subquery, negated: true }))
}

/// An expression over `input`'s columns as a subquery writes it.
pub(super) fn outside(expr: Expr, input: &DFSchema, outer: &mut Vec<Expr>) -> Result<Expr> {
    let expr = expr.transform_up(|expr| match expr {
        Expr::Column(column) => {
            let field = Arc::clone(input.field_from_column(&column)?);
            let reference = Expr::OuterReferenceColumn(field, column);
            if !outer.contains(&reference) {
                outer.push(reference.clone());
            }
            Ok(Transformed::yes(reference))
        }
        Expr::OuterReferenceColumn(..) | Expr::ScalarSubquery(_) | Expr::InSubquery(_) | Expr::Exists(_) => {
            Err(refused())
        }
        other => Ok(Transformed::no(other)),
    })?;
    Ok(expr.data)
}

/// Something else than AND, OR and NOT IN: it looks into the answer of an IN.
fn whole(expr: Expr, input: &Arc<LogicalPlan>) -> Result<Expr> {
    if has_in_subquery(&expr)? { Ok(value_of(expr, input.schema())?.data) } else { Ok(expr) }
}

fn refused() -> datafusion::common::DataFusionError {
    to_datafusion(Error::unsupported(
        "IN (subquery) of a value that is itself a subquery is not supported where NULL matters: join the two, or write \
         EXISTS",
    ))
}

fn has_in_subquery(expr: &Expr) -> Result<bool> {
    let mut found = false;
    expr.apply(|expr| {
        found |= matches!(expr, Expr::InSubquery(_));
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    Ok(found)
}
