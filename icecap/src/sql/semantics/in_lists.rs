//! Several `IN` lists over one value, where DataFusion forgets NULL.
//!
//! Its simplifier works out unions, intersections and differences of the lists as if the answer were never "unknown":
//! `a NOT IN (1) OR a NOT IN (2)` becomes true, although it is unknown for NULL, and `a IN (1, 2) AND a NOT IN (2, NULL)`
//! becomes `a IN (1)`, although it is true of nothing. Here all but one of the lists are out of its sight while it works.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::Result;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::expr::{Cast, InList, ScalarFunction, TryCast};
use datafusion::logical_expr::{
    ColumnarValue, Expr, LogicalPlan, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::optimizer::simplify_expressions::SimplifyExpressions;
use datafusion::optimizer::{ApplyOrder, Optimizer, OptimizerConfig, OptimizerRule};
use icecap_table::Error;

use crate::plan::to_datafusion;

/// DataFusion's rules, with [`Simplify`] in the place of its simplifier.
pub(super) fn rules() -> Vec<Arc<dyn OptimizerRule + Send + Sync>> {
    let mut rules = Optimizer::new().rules;
    let inner = SimplifyExpressions::new();
    for rule in &mut rules {
        if rule.name() == inner.name() {
            *rule = Arc::new(Simplify { inner: SimplifyExpressions::new() });
        }
    }
    rules
}

/// DataFusion's simplifier, which sees of all `IN` lists over one value in one expression the first.
#[derive(Debug)]
struct Simplify {
    inner: SimplifyExpressions,
}

impl OptimizerRule for Simplify {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        self.inner.apply_order()
    }

    fn rewrite(&self, plan: LogicalPlan, config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        let mut is_crowded = false;
        plan.apply_expressions(|expr| {
            is_crowded |= !shared_values(expr)?.is_empty();
            Ok(TreeNodeRecursion::Continue)
        })?;
        if !is_crowded {
            return self.inner.rewrite(plan, config);
        }
        let hidden = plan.map_expressions(hide)?.data;
        let Transformed { data, transformed, .. } = self.inner.rewrite(hidden, config)?;
        let shown = data.map_expressions(|expr| expr.transform_up(show))?.data;
        Ok(Transformed::new_transformed(shown, transformed))
    }
}

/// The values over which an expression has more than one list, each with "none seen yet".
fn shared_values(expr: &Expr) -> Result<HashMap<Expr, bool>> {
    let mut lists: HashMap<Expr, usize> = HashMap::new();
    expr.apply(|node| {
        if let Expr::InList(list) = node {
            *lists.entry(value_of(list).clone()).or_default() += 1;
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(lists.into_iter().filter(|(_, count)| *count > 1).map(|(value, _)| (value, false)).collect())
}

/// What a list is over, without conversions: the simplifier takes them off the lists that it sees.
fn value_of(list: &InList) -> &Expr {
    let mut value = list.expr.as_ref();
    while let Expr::Cast(Cast { expr, .. }) | Expr::TryCast(TryCast { expr, .. }) = value {
        value = expr;
    }
    value
}

fn hide(expr: Expr) -> Result<Transformed<Expr>> {
    let mut shared = shared_values(&expr)?;
    if shared.is_empty() {
        return Ok(Transformed::no(expr));
    }
    expr.transform_up(|node| {
        let Expr::InList(list) = node else { return Ok(Transformed::no(node)) };
        match shared.get_mut(value_of(&list)) {
            Some(seen) if *seen => Ok(Transformed::yes(HiddenList::of(list))),
            Some(seen) => {
                *seen = true;
                Ok(Transformed::no(Expr::InList(list)))
            }
            None => Ok(Transformed::no(Expr::InList(list))),
        }
    })
}

fn show(node: Expr) -> Result<Transformed<Expr>> {
    let Expr::ScalarFunction(call) = node else { return Ok(Transformed::no(node)) };
    match call.func.inner().downcast_ref::<HiddenList>() {
        Some(hidden) => Ok(Transformed::yes(Expr::InList(hidden.list(call.args)?))),
        None => Ok(Transformed::no(Expr::ScalarFunction(call))),
    }
}

/// A list that is out of sight: its arguments are the value and the members.
#[derive(Debug, PartialEq, Eq, Hash)]
struct HiddenList {
    signature: Signature,
    negated: bool,
}

impl HiddenList {
    fn of(list: InList) -> Expr {
        // Nothing is worked out, or thought to be the same, of what is volatile.
        let signature = Signature::variadic_any(Volatility::Volatile);
        let hidden = ScalarUDF::from(Self { signature, negated: list.negated });
        let args = std::iter::once(*list.expr).chain(list.list).collect();
        Expr::ScalarFunction(ScalarFunction::new_udf(Arc::new(hidden), args))
    }

    fn list(&self, args: Vec<Expr>) -> Result<InList> {
        let mut args = args.into_iter();
        let value = args.next().ok_or_else(|| to_datafusion(Error::bug("a list lost its value")))?;
        Ok(InList::new(Box::new(value), args.collect(), self.negated))
    }
}

impl ScalarUDFImpl for HiddenList {
    fn name(&self) -> &'static str {
        "icecap_hidden_list"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    /// That of the list: names of columns stay.
    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        Ok(Expr::InList(self.list(args.to_vec())?).schema_name().to_string())
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> Result<ColumnarValue> {
        Err(to_datafusion(Error::bug("a list was not shown again")))
    }
}
