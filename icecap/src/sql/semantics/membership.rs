//! `x IN (subquery)` and `EXISTS (subquery)` where their value is wanted and not only the rows for which they hold: in
//! a SELECT list, inside of CASE and NOT, in a join's ON.
//!
//! DataFusion plans them as joins below a filter only. Here they become counts of rows, which it plans anywhere:
//! `x IN (q)` is true where a row of `q` equals `x`, else unknown where `x` is NULL and `q` has rows or `q` has a NULL.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, Result, ScalarValue};
use datafusion::functions_aggregate::expr_fn::count;
use datafusion::logical_expr::expr::{Case, Exists, InSubquery};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::type_coercion::binary::comparison_coercion;
use datafusion::logical_expr::{
    Expr, ExprSchemable, Join, JoinType, LogicalPlan, LogicalPlanBuilder, Subquery, cast, lit,
};
use icecap_table::Error;

use super::not_in::outside;
use crate::plan::to_datafusion;

/// What the column of a subquery is called that is searched.
const MEMBER: &str = "#member";

/// Projections with values for conditions, and joins whose ON has no subquery.
pub(super) fn of_node(node: LogicalPlan) -> Result<LogicalPlan> {
    match node {
        LogicalPlan::Projection(projection) => {
            let input = Arc::clone(&projection.input);
            let node = LogicalPlan::Projection(projection);
            let names = NamePreserver::new(&node);
            let with_values = node.map_expressions(|expr| {
                let name = names.save(&expr);
                Ok(value_of(expr, input.schema())?.update_data(|expr| name.restore(expr)))
            })?;
            with_values.map_data(LogicalPlan::recompute_schema).map(|node| node.data)
        }
        LogicalPlan::Join(join) if join.filter.as_ref().is_some_and(has_subquery) => of_join(join),
        other => Ok(other),
    }
}

/// An expression in which the value of each `IN (subquery)` and `EXISTS` is made of counts.
pub(super) fn value_of(expr: Expr, input: &DFSchema) -> Result<Transformed<Expr>> {
    expr.transform_up(|expr| match expr {
        Expr::InSubquery(inside) => value_of_in(inside, input).map(Transformed::yes),
        Expr::Exists(Exists { subquery, negated }) => {
            let rows = number_of(LogicalPlan::clone(&subquery.subquery), subquery.outer_ref_columns)?;
            let is = if negated { rows.eq(lit(0_i64)) } else { rows.gt(lit(0_i64)) };
            Ok(Transformed::yes(is))
        }
        other => Ok(Transformed::no(other)),
    })
}

fn value_of_in(inside: InSubquery, input: &DFSchema) -> Result<Expr> {
    let Expr::InSubquery(InSubquery { expr, subquery, negated }) =
        super::doubles::of_expr(Expr::InSubquery(inside), input)
    else {
        return Err(refused("IN (subquery)"));
    };
    let given = expr.get_type(input)?;
    let (column, field) = subquery.subquery.schema().qualified_field(0);
    let both = comparison_coercion(&given, field.data_type()).unwrap_or_else(|| given.clone());
    let may_be_null = [expr.nullable(input)?, field.is_nullable()];
    let member = Expr::Column(Column::new(column.cloned(), field.name()));
    let member = if *field.data_type() == both { member } else { cast(member, both.clone()) };
    let expr = if given == both { *expr } else { cast(*expr, both) };
    let members = LogicalPlanBuilder::from(LogicalPlan::clone(&subquery.subquery))
        .project([member.alias(MEMBER)])?
        .build()?;
    let member = || Expr::Column(Column::new_unqualified(MEMBER));
    let among = |condition: Expr, outer: Vec<Expr>| {
        let rows = LogicalPlanBuilder::from(members.clone()).filter(condition)?.build()?;
        Ok::<_, datafusion::common::DataFusionError>(number_of(rows, outer)?.gt(lit(0_i64)))
    };
    let own = subquery.outer_ref_columns;
    let mut outer = own.clone();
    let equal = member().eq(outside(expr.clone(), input, &mut outer)?);
    let unknown = || Expr::Literal(ScalarValue::Boolean(None), None);
    let mut when = vec![(among(equal, outer)?, lit(true))];
    if may_be_null[0] {
        let some = number_of(members.clone(), own.clone())?.gt(lit(0_i64));
        when.push((expr.is_null().and(some), unknown()));
    }
    if may_be_null[1] {
        when.push((among(member().is_null(), own)?, unknown()));
    }
    let when = when.into_iter().map(|(when, then)| (Box::new(when), Box::new(then))).collect();
    let is = Expr::Case(Case::new(None, when, Some(Box::new(lit(false)))));
    Ok(if negated { Expr::Not(Box::new(is)) } else { is })
}

/// How many rows a subquery has.
fn number_of(rows: LogicalPlan, outer_ref_columns: Vec<Expr>) -> Result<Expr> {
    let number =
        LogicalPlanBuilder::from(rows).aggregate(Vec::<Expr>::new(), [count(lit(1_i64))])?.build()?;
    Ok(Expr::ScalarSubquery(Subquery {
        subquery: Arc::new(number),
        outer_ref_columns,
        spans: datafusion::common::Spans::new(),
    }))
}

fn has_subquery(expr: &Expr) -> bool {
    let is = |expr: &Expr| Ok(is_subquery(expr));
    expr.exists(is).unwrap_or(true)
}

fn is_subquery(expr: &Expr) -> bool {
    matches!(expr, Expr::InSubquery(_) | Expr::Exists(_) | Expr::ScalarSubquery(_))
}

/// A join with each subquery of its ON computed in a column of the side that it looks at, or above where pairs are all
/// that it gives.
fn of_join(join: Join) -> Result<LogicalPlan> {
    let Some(filter) = join.filter.clone() else { return Ok(LogicalPlan::Join(join)) };
    let columns: Vec<Expr> = join.schema.columns().into_iter().map(Expr::Column).collect();
    let (mut of_left, mut of_right, mut of_both) = (Vec::new(), Vec::new(), false);
    let on = filter.transform_down(|expr| {
        if !is_subquery(&expr) {
            return Ok(Transformed::no(expr));
        }
        let used = used_by(&expr)?;
        let within = |side: &LogicalPlan| used.iter().all(|column| side.schema().has_column(column));
        let name = format!("#on{}", of_left.len() + of_right.len());
        let column = Expr::Column(Column::new_unqualified(&name));
        let of_side = match () {
            () if within(&join.right) => Some((&mut of_right, join.right.schema())),
            () if within(&join.left) => Some((&mut of_left, join.left.schema())),
            () => None,
        };
        match of_side {
            Some((side, schema)) => {
                side.push(value_of(expr, schema)?.data.alias(name));
                Ok(Transformed::new(column, true, TreeNodeRecursion::Jump))
            }
            None => {
                of_both = true;
                Ok(Transformed::new(expr, false, TreeNodeRecursion::Jump))
            }
        }
    })?;
    if of_both && join.join_type != JoinType::Inner {
        return Err(refused("a subquery in ON that looks at both sides of an outer join or of a MERGE"));
    }
    let (left, right) = (with(&join.left, of_left)?, with(&join.right, of_right)?);
    let joined = LogicalPlanBuilder::from(left);
    let joined = match of_both {
        true => joined.join_on(right, join.join_type, Vec::<Expr>::new())?.filter(on.data)?,
        false => joined.join_on(right, join.join_type, [on.data])?,
    };
    let joined = joined.project(columns)?.build()?;
    match joined {
        LogicalPlan::Projection(projection) if of_both => {
            let input = super::not_in::of_filter(LogicalPlan::clone(&projection.input))?;
            LogicalPlanBuilder::from(input).project(projection.expr)?.build()
        }
        other => Ok(other),
    }
}

/// A side of a join with more columns.
fn with(side: &Arc<LogicalPlan>, more: Vec<Expr>) -> Result<LogicalPlan> {
    if more.is_empty() {
        return Ok(LogicalPlan::clone(side));
    }
    let own = side.schema().columns().into_iter().map(Expr::Column);
    LogicalPlanBuilder::from(LogicalPlan::clone(side)).project(own.chain(more))?.build()
}

/// The columns of the query around it that a subquery uses.
fn used_by(expr: &Expr) -> Result<Vec<Column>> {
    let mut used = Vec::new();
    let (subquery, beside) = match expr {
        Expr::InSubquery(inside) => (&inside.subquery, Some(&inside.expr)),
        Expr::Exists(exists) => (&exists.subquery, None),
        Expr::ScalarSubquery(subquery) => (subquery, None),
        _ => return Ok(used),
    };
    if let Some(beside) = beside {
        if has_subquery(beside) {
            return Err(refused("IN (subquery) of a value that is itself a subquery"));
        }
        used.extend(beside.column_refs().into_iter().cloned());
    }
    used.extend(subquery.outer_ref_columns.iter().filter_map(|outer| match outer {
        Expr::OuterReferenceColumn(_, column) => Some(column.clone()),
        _ => None,
    }));
    Ok(used)
}

fn refused(what: &str) -> datafusion::common::DataFusionError {
    to_datafusion(Error::unsupported(format!(
        "{what} is not supported: compute it in a query of its own, as a column of one of the joined sides, or in a MERGE \
         as a condition of WHEN"
    )))
}
