//! Nested values of different origin that become one column.
//!
//! A table's columns carry field ids in the types of their parts, and those of two tables others; values that a query
//! makes carry none. DataFusion takes such types for the same when it plans and fails when it has them in one batch.
//! So each of them is brought to the type that made values have, where they meet.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Fields};
use datafusion::common::DFSchema;
use datafusion::logical_expr::expr::{Case, ScalarFunction};
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, cast};

use crate::arrow_schema::FIELD_ID;

/// Functions that give one of their arguments, or a list of them.
const MIXING: [&str; 8] =
    ["array_append", "array_concat", "array_prepend", "coalesce", "ifnull", "make_array", "nvl", "nvl2"];

/// Brings nested values to one type where one of them is chosen, or all are put into a list.
pub(super) fn of_expr(expr: Expr, schema: &DFSchema) -> Expr {
    match expr {
        Expr::Case(Case { expr, when_then_expr, else_expr }) => {
            let (whens, mut thens): (Vec<_>, Vec<Expr>) =
                when_then_expr.into_iter().map(|(when, then)| (when, *then)).unzip();
            let has_else = else_expr.is_some();
            thens.extend(else_expr.map(|value| *value));
            thens = plain(thens, schema);
            let else_expr = if has_else { thens.pop().map(Box::new) } else { None };
            let when_then_expr =
                whens.into_iter().zip(thens).map(|(when, then)| (when, Box::new(then))).collect();
            Expr::Case(Case { expr, when_then_expr, else_expr })
        }
        Expr::ScalarFunction(ScalarFunction { func, args }) if MIXING.contains(&func.name()) => {
            Expr::ScalarFunction(ScalarFunction { args: plain(args, schema), func })
        }
        other => other,
    }
}

/// The types of a union's columns that its inputs are to be brought to, where their types say different ids.
pub(super) fn of_union(inputs: &[Arc<LogicalPlan>]) -> Vec<Option<DataType>> {
    let width = inputs.first().map_or(0, |input| input.schema().fields().len());
    let type_at = |at: usize| {
        let mut types = inputs.iter().filter_map(|input| Some(input.schema().fields().get(at)?.data_type()));
        let first = types.next()?;
        let plain = plain_type(first);
        let mut others = types.filter(|other| *other != first).peekable();
        // What has other parts is DataFusion's to bring together, or to refuse.
        (others.peek().is_some() && others.all(|other| plain_type(other) == plain)).then_some(plain)
    };
    (0..width).map(type_at).collect()
}

fn plain(exprs: Vec<Expr>, schema: &DFSchema) -> Vec<Expr> {
    let types: Vec<Option<DataType>> = exprs.iter().map(|expr| expr.get_type(schema).ok()).collect();
    let mut nested = types.iter().flatten().filter(|ty| ty.is_nested());
    let Some(first) = nested.next() else { return exprs };
    if nested.all(|other| other == first) {
        return exprs;
    }
    let of = |(expr, ty): (Expr, Option<DataType>)| match ty {
        Some(ty) if ty.is_nested() && plain_type(&ty) != ty => cast(expr, plain_type(&ty)),
        _ => expr,
    };
    exprs.into_iter().zip(types).map(of).collect()
}

/// The type as the engine's functions make it: without field ids, each part optional, its inner names the usual ones.
fn plain_type(ty: &DataType) -> DataType {
    match ty {
        DataType::List(element) => DataType::List(part(element, Field::LIST_FIELD_DEFAULT_NAME, true)),
        DataType::Struct(fields) => {
            DataType::Struct(fields.iter().map(|field| part(field, field.name(), true)).collect())
        }
        DataType::Map(entries, sorted) => match entries.data_type() {
            DataType::Struct(pair) if pair.len() == 2 => {
                let pair = Fields::from(vec![part(&pair[0], "key", false), part(&pair[1], "value", true)]);
                DataType::Map(Arc::new(Field::new("entries", DataType::Struct(pair), false)), *sorted)
            }
            _ => ty.clone(),
        },
        other => other.clone(),
    }
}

fn part(field: &FieldRef, name: &str, nullable: bool) -> FieldRef {
    let metadata: HashMap<String, String> = field
        .metadata()
        .iter()
        .filter(|(key, _)| *key != FIELD_ID)
        .map(|(k, v)| (k.clone(), v.clone()))
        .collect();
    Arc::new(Field::new(name, plain_type(field.data_type()), nullable).with_metadata(metadata))
}
