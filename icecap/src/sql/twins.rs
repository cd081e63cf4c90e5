//! Outputs of one SELECT that DataFusion would call the same, which it refuses and SQL does not.

use std::collections::HashSet;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{Expr, Ident, Query, Select, SelectItem, Value, VisitMut, VisitorMut};

/// Gives the second of two equal outputs a name of its own (`_col1`, by its position), as Trino does.
pub(crate) fn name_twins(query: &mut Query) {
    // The visitor never stops early.
    let _ = query.visit(&mut Twins);
}

struct Twins;

impl VisitorMut for Twins {
    type Break = ();

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        if select.projection.len() > 1 {
            name(select);
        }
        ControlFlow::Continue(())
    }
}

fn name(select: &mut Select) {
    let mut seen = HashSet::new();
    for (at, item) in select.projection.iter_mut().enumerate() {
        let SelectItem::UnnamedExpr(expr) = item else { continue };
        // Casts leave no trace in the name.
        let mut bare = &*expr;
        while let Expr::Cast { expr, .. } | Expr::Nested(expr) = bare {
            bare = expr;
        }
        if !seen.insert(bare.to_string()) {
            let alias = Ident::with_quote('"', format!("_col{at}"));
            let expr = std::mem::replace(expr, Expr::Value(Value::Null.into()));
            *item = SelectItem::ExprWithAlias { expr, alias };
        }
    }
}
