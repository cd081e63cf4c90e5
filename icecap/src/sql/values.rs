//! Columns of a VALUES list whose rows are decimals here and doubles there.
//!
//! The planner would make the column a decimal, and a NaN in it fails. Types of a list are settled while it is
//! planned, so this is done to the text's tree before.

use std::ops::ControlFlow;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::ExprSchemable;
use datafusion::sql::planner::{PlannerContext, SqlToRel};
use datafusion::sql::sqlparser::ast::{
    CastKind, DataType as SqlType, Expr, Ident, ObjectName, Query, SetExpr, Value, Values, VisitMut,
    VisitorMut,
};

use super::plan::StatementContext;

/// Casts the decimals of each such column to double.
pub(crate) fn widen_decimals(query: &mut Query, planner: &SqlToRel<'_, StatementContext<'_>>) {
    // The visitor never stops early.
    let _ = query.visit(&mut Widen(planner));
}

struct Widen<'a, 'b>(&'a SqlToRel<'b, StatementContext<'b>>);

impl VisitorMut for Widen<'_, '_> {
    type Break = ();

    fn post_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        if let SetExpr::Values(values) = query.body.as_mut() {
            self.widen(values);
        }
        ControlFlow::Continue(())
    }
}

impl Widen<'_, '_> {
    fn widen(&self, values: &mut Values) {
        let width = values.rows.iter().map(|row| row.len()).min().unwrap_or(0);
        for at in 0..width {
            let column = || values.rows.iter().map(|row| &row[at]);
            if values.rows.len() < 2 || !column().any(may_be_float) || column().all(may_be_float) {
                continue;
            }
            let types: Vec<Option<DataType>> = column().map(|expr| self.type_of(expr).ok()).collect();
            if !types.iter().flatten().any(|ty| matches!(ty, DataType::Float64 | DataType::Float32)) {
                continue;
            }
            for (row, ty) in values.rows.iter_mut().zip(&types) {
                if ty.as_ref().is_some_and(DataType::is_decimal) {
                    let expr = std::mem::replace(&mut row[at], Expr::Value(Value::Null.into()));
                    row[at] = double(expr);
                }
            }
        }
    }

    fn type_of(&self, expr: &Expr) -> Result<DataType> {
        let schema = DFSchema::empty();
        self.0.sql_to_expr(expr.clone(), &schema, &mut PlannerContext::new())?.get_type(&schema)
    }
}

/// Whether an expression may be a double, by its look alone: lists are long, and nearly all literals.
fn may_be_float(expr: &Expr) -> bool {
    match expr {
        Expr::Value(_) | Expr::TypedString(_) | Expr::Interval(_) => false,
        Expr::UnaryOp { expr, .. } | Expr::Nested(expr) => may_be_float(expr),
        Expr::Cast { data_type, .. } => {
            let name = data_type.to_string().to_lowercase();
            name.contains("double") || name.contains("float") || name.contains("real")
        }
        _ => true,
    }
}

fn double(expr: Expr) -> Expr {
    Expr::Cast {
        kind: CastKind::Cast,
        expr: Box::new(expr),
        data_type: SqlType::Custom(ObjectName::from(vec![Ident::with_quote('"', "double")]), vec![]),
        array: false,
        format: None,
    }
}
