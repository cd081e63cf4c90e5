//! A statement's `WHERE` as what files are judged by.

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::sql::sqlparser::ast::Query;
use datafusion::sql::unparser::expr_to_sql;
use icecap_table::catalog::LoadedTable;
use icecap_table::iceberg::expr::Predicate;

use crate::engine::from_datafusion;
use crate::engine::session::Run;
use crate::scan::predicate_of;
use crate::{Error, Result};

/// The condition of `query`, which reads all rows of `table` that satisfy it. Every part of it can be judged by a
/// file's partition, bounds and counts: a part that could not would choose every file, which nobody means.
pub(super) async fn condition(run: &Run, table: &LoadedTable, query: &Query) -> Result<Predicate> {
    let logical = run.logical_plan(query).await?;
    let plan = run.parts.planner.optimize(&logical).map_err(from_datafusion)?;
    let schema = table.document.metadata().current_schema();
    let mut all = Predicate::AlwaysTrue;
    let mut refused = None;
    plan.apply(|node| {
        let parts: Vec<&Expr> = match node {
            LogicalPlan::Filter(filter) => split_conjunction(&filter.predicate),
            LogicalPlan::TableScan(scan) => scan.filters.iter().flat_map(split_conjunction).collect(),
            LogicalPlan::Projection(_) | LogicalPlan::SubqueryAlias(_) => Vec::new(),
            // What is never true was found out by the optimizer.
            LogicalPlan::EmptyRelation(_) => {
                all = Predicate::AlwaysFalse;
                Vec::new()
            }
            other => {
                refused = Some(format!("it needs more than a look at files: {}", other.display()));
                return Ok(TreeNodeRecursion::Stop);
            }
        };
        for part in parts {
            let predicate = predicate_of(std::slice::from_ref(part), schema);
            if predicate == Predicate::AlwaysTrue {
                refused = Some(format!("no file's partition or bounds tell of {}", shown(part)));
                return Ok(TreeNodeRecursion::Stop);
            }
            all = std::mem::replace(&mut all, Predicate::AlwaysTrue).and(predicate);
        }
        Ok(TreeNodeRecursion::Continue)
    })
    .map_err(from_datafusion)?;
    match refused {
        None => Ok(all),
        Some(why) => Err(Error::invalid(format!(
            "this WHERE cannot choose whole files: {why}; compare columns with constants, best those of the partition"
        ))),
    }
}

fn shown(part: &Expr) -> String {
    expr_to_sql(part).map_or_else(|_| part.to_string(), |part| part.to_string())
}
