//! Trino's meaning of a planned query where DataFusion's differs.
//!
//! A pass over the logical plan, after the planner and before the optimiser: types are known, nothing has been
//! converted yet.

mod arithmetic;
mod average;
mod cast;
mod doubles;
mod in_lists;
mod membership;
mod nested;
mod not_in;
mod scalar;
mod sum;
mod text;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::execution::SessionStateBuilder;
use datafusion::logical_expr::LogicalPlan;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use icecap_table::Result;

use super::error::from_datafusion;
pub use cast::{CAST_FUNCTION, OwnCast};

/// Functions and rules in the place of DataFusion's of the same name, and functions that rewritten plans call.
pub fn register(state: SessionStateBuilder) -> SessionStateBuilder {
    let mut state = state.with_optimizer_rules(in_lists::rules());
    state.scalar_functions().get_or_insert_default().extend(arithmetic::functions());
    let aggregates = state.aggregate_functions().get_or_insert_default();
    aggregates.extend([sum::CheckedSum::function(), average::RoundedAverage::function(), scalar::function()]);
    state
}

/// Gives every expression of the plan, its subqueries included, Trino's meaning. Names of outputs stay.
pub(crate) fn apply(plan: LogicalPlan) -> Result<LogicalPlan> {
    plan.transform_up_with_subqueries(|node| {
        let node = doubles::of_inputs(node)?;
        let schema = merge_schema(&node.inputs());
        let names = NamePreserver::new(&node);
        let rewritten = node.map_expressions(|expr| {
            let name = names.save(&expr);
            let rewritten = expr.transform_up(|expr| {
                let expr = cast::of_expr(scalar::of_expr(expr)?, &schema)?;
                let expr = nested::of_expr(doubles::of_expr(expr, &schema), &schema);
                let expr = text::of_expr(expr, &schema)?;
                Ok(Transformed::yes(arithmetic::of_expr(expr, &schema)?))
            })?;
            Ok(rewritten.update_data(|expr| name.restore(expr)))
        })?;
        let node = rewritten.map_data(LogicalPlan::recompute_schema)?.data;
        // Subqueries last: what they look at outside has its meaning then.
        membership::of_node(not_in::of_filter(node)?).map(Transformed::yes)
    })
    .map(|rewritten| rewritten.data)
    .map_err(from_datafusion)
}
