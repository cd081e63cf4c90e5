//! The error of a target row that two source rows would change, told with the row's key.

use std::ops::ControlFlow;
use std::sync::Arc;

use datafusion::arrow::util::display::array_value_to_string;
use datafusion::common::Column;
use datafusion::datasource::provider_as_source;
use datafusion::logical_expr::{Expr, LogicalPlanBuilder, lit};
use datafusion::physical_plan::collect;
use datafusion::sql::sqlparser::ast::{Expr as SqlExpr, Visit, Visitor};

use super::RowChange;
use super::plan::{Planned, only};
use crate::engine::from_datafusion;
use crate::engine::session::Run;
use crate::sql::names::folded;
use crate::write::is_matched_twice;
use crate::{Error, Result};

/// Columns that a message names at most.
const MOST_COLUMNS: usize = 5;
/// Characters of a value that a message tells at most.
const MOST_CHARACTERS: usize = 60;

impl Run {
    /// `error`, which is about a row matched twice, with the values of the columns that the statement matches by.
    pub(super) async fn name_the_row(&self, planned: &Planned, change: RowChange<'_>, error: Error) -> Error {
        let Some((file, position)) = is_matched_twice(&error) else { return error };
        match self.key_of(planned, change, &file, position).await {
            Ok(Some(key)) => Error::invalid(format!(
                "the row with {key} is matched by more than one row of the source, and can be changed or deleted once only: \
                 make the source's rows unique, or leave all but one out with a condition"
            ))
            .with("table", planned.loaded.ident.to_string()),
            _ => error,
        }
    }

    async fn key_of(
        &self,
        planned: &Planned,
        change: RowChange<'_>,
        file: &str,
        position: u64,
    ) -> Result<Option<String>> {
        let Some(at) = planned.scan.files.iter().position(|known| known.path == file) else {
            return Ok(None);
        };
        let names = key_columns(planned, change);
        let column = |name: &str| Expr::Column(Column::new(Some("t"), name));
        let table = planned.table.clone().with_plan(only(&planned.scan, &[at]));
        let position = i64::try_from(position).unwrap_or(i64::MAX);
        let plan = LogicalPlanBuilder::scan("t", provider_as_source(Arc::new(table)), None)
            .and_then(|scan| scan.filter(column("_pos").eq(lit(position))))
            .and_then(|scan| scan.project(names.iter().map(|name| column(name)).collect::<Vec<_>>()))
            .and_then(LogicalPlanBuilder::build)
            .map_err(from_datafusion)?;
        let physical = self.physical_plan(&plan).await?;
        let batches = collect(physical, self.parts.executor.task_context()).await.map_err(from_datafusion)?;
        let Some(row) = batches.into_iter().find(|batch| batch.num_rows() > 0) else { return Ok(None) };
        let values = row.columns().iter().zip(&names).map(|(values, name)| {
            let value = match values.is_null(0) {
                true => "NULL".to_owned(),
                false => array_value_to_string(values, 0).unwrap_or_else(|_| "?".to_owned()),
            };
            format!("{name} = {}", value.chars().take(MOST_CHARACTERS).collect::<String>())
        });
        Ok(Some(values.collect::<Vec<_>>().join(", ")))
    }
}

/// The target's columns that a statement matches by; some of them all where there are none.
fn key_columns(planned: &Planned, change: RowChange<'_>) -> Vec<String> {
    struct Names(Vec<String>);
    impl Visitor for Names {
        type Break = ();

        fn pre_visit_expr(&mut self, expr: &SqlExpr) -> ControlFlow<()> {
            match expr {
                SqlExpr::Identifier(ident) => self.0.push(folded(&ident.value)),
                SqlExpr::CompoundIdentifier(parts) => {
                    self.0.extend(parts.iter().map(|part| folded(&part.value)));
                }
                _ => {}
            }
            ControlFlow::Continue(())
        }
    }
    let mut names = Names(Vec::new());
    // The visitor never stops early.
    let _ = match change {
        RowChange::Merge(merge) => merge.on.visit(&mut names),
        RowChange::Update(update) => update.condition.visit(&mut names),
        RowChange::Delete(delete) => delete.condition.visit(&mut names),
    };
    let own = planned.metadata().current_schema().as_struct().fields().iter().map(|field| &field.name);
    let used: Vec<String> = own.clone().filter(|name| names.0.contains(&folded(name))).cloned().collect();
    let all = if used.is_empty() { own.cloned().collect() } else { used };
    all.into_iter().take(MOST_COLUMNS).collect()
}
