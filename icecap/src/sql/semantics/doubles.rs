//! A decimal beside a double is a double.
//!
//! DataFusion makes both decimals: digits of the double are rounded away, and NaN, infinities and large numbers
//! fail. Literals such as `1.5` are decimals here, so every comparison of a double column with one would suffer.

use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::{Column, DFSchema, Result};
use datafusion::logical_expr::expr::{Between, BinaryExpr, Case, InList, InSubquery, ScalarFunction};
use datafusion::logical_expr::{
    Expr, ExprSchemable, Join, LogicalPlan, LogicalPlanBuilder, Operator, Subquery, Union, cast,
};
use datafusion::optimizer::analyzer::type_coercion::coerce_union_schema;

/// Casts each decimal that is compared, computed or chosen together with a float to that float's type.
pub(super) fn of_expr(expr: Expr, schema: &DFSchema) -> Expr {
    match expr {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) if is_numeric(op) => {
            let [left, right] = widened([*left, *right], schema);
            Expr::BinaryExpr(BinaryExpr::new(Box::new(left), op, Box::new(right)))
        }
        Expr::Between(Between { expr, negated, low, high }) => {
            let [expr, low, high] = widened([*expr, *low, *high], schema).map(Box::new);
            Expr::Between(Between { expr, negated, low, high })
        }
        Expr::InList(InList { expr, mut list, negated }) => {
            list.push(*expr);
            let mut list = widened_all(list, schema);
            match list.pop() {
                Some(expr) => Expr::InList(InList { expr: Box::new(expr), list, negated }),
                None => Expr::InList(InList { expr: Box::default(), list, negated }),
            }
        }
        Expr::InSubquery(of) => in_subquery(of, schema),
        Expr::Case(case) => Expr::Case(of_case(case, schema)),
        Expr::ScalarFunction(ScalarFunction { func, args }) => {
            Expr::ScalarFunction(ScalarFunction { func, args: widened_all(args, schema) })
        }
        other => other,
    }
}

fn is_numeric(op: Operator) -> bool {
    use Operator as O;
    matches!(
        op,
        O::Eq
            | O::NotEq
            | O::Lt
            | O::LtEq
            | O::Gt
            | O::GtEq
            | O::Plus
            | O::Minus
            | O::Multiply
            | O::Divide
            | O::Modulo
            | O::IsDistinctFrom
            | O::IsNotDistinctFrom
    )
}

fn of_case(case: Case, schema: &DFSchema) -> Case {
    let Case { expr, when_then_expr, else_expr } = case;
    let (mut whens, mut thens): (Vec<Expr>, Vec<Expr>) =
        when_then_expr.into_iter().map(|(when, then)| (*when, *then)).unzip();
    let expr = match expr {
        Some(base) => {
            whens.push(*base);
            whens = widened_all(whens, schema);
            whens.pop().map(Box::new)
        }
        None => None,
    };
    let otherwise = else_expr.is_some();
    thens.extend(else_expr.map(|expr| *expr));
    thens = widened_all(thens, schema);
    let else_expr = if otherwise { thens.pop().map(Box::new) } else { None };
    let when_then_expr =
        whens.into_iter().zip(thens).map(|(when, then)| (Box::new(when), Box::new(then))).collect();
    Case { expr, when_then_expr, else_expr }
}

fn in_subquery(of: InSubquery, schema: &DFSchema) -> Expr {
    let InSubquery { expr, subquery, negated } = of;
    let given = expr.get_type(schema).ok();
    let found = subquery.subquery.schema().fields().first().map(|field| field.data_type().clone());
    let (expr, subquery) = match (given, found) {
        (Some(given), Some(found)) if given.is_decimal() && is_float(&found) => {
            (Box::new(cast(*expr, found)), subquery)
        }
        (Some(given), Some(found)) if is_float(&given) && found.is_decimal() => {
            match columns_as(&subquery.subquery, &[Some(given)]) {
                Ok(plan) => (expr, Subquery { subquery: Arc::new(plan), ..subquery }),
                Err(_) => (expr, subquery),
            }
        }
        _ => (expr, subquery),
    };
    Expr::InSubquery(InSubquery { expr, subquery, negated })
}

/// The same for what a node does with its inputs' columns: set operations, and the pairs of a join.
pub(super) fn of_inputs(node: LogicalPlan) -> Result<LogicalPlan> {
    match node {
        LogicalPlan::Union(Union { inputs, .. }) => {
            let inputs = columns_of_all(inputs, |inputs| {
                let types_of = |at: usize| -> Vec<DataType> {
                    let fields = inputs.iter().filter_map(|input| input.schema().fields().get(at));
                    fields.map(|field| field.data_type().clone()).collect()
                };
                let width = inputs.first().map_or(0, |input| input.schema().fields().len());
                (0..width).map(|at| float_beside_decimal(&types_of(at))).collect()
            })?;
            let inputs = columns_of_all(inputs, super::nested::of_union)?;
            // DataFusion's own coercion, which comes after this pass and would change the types of columns that
            // have been assigned to a table's by then. What cannot be one column is told there.
            let inputs = columns_of_all(inputs, |inputs| match coerce_union_schema(inputs) {
                Ok(schema) => schema.fields().iter().map(|field| Some(field.data_type().clone())).collect(),
                Err(_) => Vec::new(),
            })?;
            // Inputs may have changed their types below here; a union keeps its own otherwise.
            Ok(LogicalPlan::Union(Union::try_new_with_loose_types(inputs)?))
        }
        LogicalPlan::Join(join) => {
            let Join { on, left, right, .. } = &join;
            let on = on
                .iter()
                .map(|(one, other)| {
                    let types: Vec<DataType> = [one.get_type(left.schema()), other.get_type(right.schema())]
                        .into_iter()
                        .filter_map(Result::ok)
                        .collect();
                    match (float_beside_decimal(&types), types.as_slice()) {
                        (Some(float), [first, _]) if first.is_decimal() => {
                            (cast(one.clone(), float), other.clone())
                        }
                        (Some(float), _) => (one.clone(), cast(other.clone(), float)),
                        (None, _) => (one.clone(), other.clone()),
                    }
                })
                .collect();
            Ok(LogicalPlan::Join(Join { on, ..join }))
        }
        other => Ok(other),
    }
}

/// The inputs of a union with the types that `types` finds for their columns.
fn columns_of_all(
    inputs: Vec<Arc<LogicalPlan>>,
    types: impl FnOnce(&[Arc<LogicalPlan>]) -> Vec<Option<DataType>>,
) -> Result<Vec<Arc<LogicalPlan>>> {
    let types = types(&inputs);
    inputs
        .into_iter()
        .map(|input| {
            let fields = input.schema().fields().iter();
            let differs =
                fields.zip(&types).any(|(field, to)| to.as_ref().is_some_and(|to| field.data_type() != to));
            if differs { columns_as(&input, &types).map(Arc::new) } else { Ok(input) }
        })
        .collect()
}

/// The plan with some of its columns cast, names and qualifiers as they are.
fn columns_as(plan: &Arc<LogicalPlan>, types: &[Option<DataType>]) -> Result<LogicalPlan> {
    let columns = plan.schema().iter().enumerate().map(|(at, (qualifier, field))| {
        let column = Expr::Column(Column::new(qualifier.cloned(), field.name()));
        match types.get(at).and_then(Option::as_ref) {
            Some(to) if field.data_type() != to => {
                cast(column, to.clone()).alias_qualified(qualifier.cloned(), field.name())
            }
            _ => column,
        }
    });
    let columns: Vec<Expr> = columns.collect();
    LogicalPlanBuilder::from(Arc::clone(plan)).project(columns)?.build()
}

fn is_float(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Float64 | DataType::Float32)
}

/// The widest float of the types, if a decimal is among them too.
fn float_beside_decimal(types: &[DataType]) -> Option<DataType> {
    if !types.iter().any(DataType::is_decimal) {
        return None;
    }
    [DataType::Float64, DataType::Float32].into_iter().find(|float| types.contains(float))
}

fn float_of<'a>(operands: impl IntoIterator<Item = &'a Expr>, schema: &DFSchema) -> Option<DataType> {
    let types: Vec<DataType> =
        operands.into_iter().filter_map(|operand| operand.get_type(schema).ok()).collect();
    float_beside_decimal(&types)
}

fn widened<const N: usize>(operands: [Expr; N], schema: &DFSchema) -> [Expr; N] {
    match float_of(&operands, schema) {
        Some(float) => operands.map(|operand| widen(operand, &float, schema)),
        None => operands,
    }
}

fn widened_all(operands: Vec<Expr>, schema: &DFSchema) -> Vec<Expr> {
    match float_of(&operands, schema) {
        Some(float) => operands.into_iter().map(|operand| widen(operand, &float, schema)).collect(),
        None => operands,
    }
}

fn widen(expr: Expr, float: &DataType, schema: &DFSchema) -> Expr {
    match expr.get_type(schema) {
        Ok(given) if given.is_decimal() => cast(expr, float.clone()),
        _ => expr,
    }
}
