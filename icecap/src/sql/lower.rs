//! DELETE, UPDATE and MERGE as one query each.
//!
//! A statement becomes a SELECT over its aliased target ([`TARGET`]) with every expression of the statement in its
//! list: DataFusion's planner then sees them where they are evaluated, and names, types and subqueries mean what they
//! mean in a query. The planned SELECT is taken apart again ([`Lowered::finish`]): values are brought to the table's
//! columns by strict store assignment, and a value of a MERGE is evaluated only for the rows of its own clause.
//!
//! The result's columns are those of [`DeltaColumns`]. Which files are read, how rows are deleted and what is
//! committed is not decided here.

mod assignment;
mod ast;
mod merge;
#[cfg(test)]
mod tests;

use datafusion::common::{Column, ScalarValue};
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, lit};
use datafusion::sql::sqlparser::ast::{
    Expr as SqlExpr, Query, SelectItem, TableFactor, WildcardAdditionalOptions,
};
use icecap_table::iceberg::spec::Schema;
use icecap_table::{Error, Result};

use self::assignment::Assigned;
use self::ast::{Items, TargetName};
pub use self::merge::MergeSource;
use super::ast::{Delete, Merge, Update};
use super::error::from_datafusion;
use super::hidden::mentions_hidden;

/// What the target is called in a lowered query: its provider is given under this name.
pub const TARGET: &str = "#target";
/// What a MERGE's source is called in a lowered query where its rows are given and not its text.
pub const SOURCE: &str = "#source";

/// The row goes.
pub const DELETE: i32 = 0;
/// The row goes, and the row's new columns come.
pub const UPDATE: i32 = 1;
/// The row's columns come.
pub const INSERT: i32 = 2;

/// The columns of a lowered and planned statement's rows, in this order: the action ([`DELETE`], [`UPDATE`] or
/// [`INSERT`], `int`), the target row's file and position (NULL for an insert); then, where rows come, the table's
/// columns; then, where row ids are kept, the row's id and its last update's sequence number (always NULL: it is this
/// one's).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeltaColumns {
    /// Whether the table's columns are there.
    pub rows: bool,
    /// Whether the row's id and sequence number are there.
    pub lineage: bool,
}

/// The table that a statement changes, as lowering needs to know it.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    /// Its schema.
    pub schema: &'a Schema,
    /// Whether it keeps row ids (V3).
    pub lineage: bool,
}

/// A statement as a query.
#[derive(Debug, Clone)]
pub struct Lowered {
    /// The query, to be resolved and planned with the target's provider under [`TARGET`].
    pub query: Query,
    /// Whether the statement itself mentions a hidden column: its other tables show theirs then.
    pub mentions_hidden: bool,
    /// What the rows of [`finish`](Self::finish) hold.
    pub columns: DeltaColumns,
    /// What to do with the planned query's columns.
    kind: Kind,
}

#[derive(Debug, Clone)]
enum Kind {
    Delete,
    Update { assigned: Vec<Assigned> },
    Merge(Box<merge::Plan>),
}

/// `DELETE` as a query.
///
/// # Errors
/// `Invalid` for names that make no sense.
pub fn delete(statement: &Delete) -> Result<Lowered> {
    let target = TargetName::new(&statement.table, statement.alias.as_ref());
    let mut query = ast::select(
        Vec::new(),
        vec![ast::from(target.factor())],
        where_clause(statement.condition.as_ref()),
    )?;
    target.shorten(&mut query);
    let mentions_hidden = mentions_hidden(&query);
    ast::prepend(&mut query, target.place(false))?;
    Ok(Lowered {
        query,
        mentions_hidden,
        columns: DeltaColumns { rows: false, lineage: false },
        kind: Kind::Delete,
    })
}

/// `UPDATE` as a query.
///
/// # Errors
/// `Invalid` for an assignment to what is no column of the target, or twice to one.
pub fn update(statement: &Update, table: Target<'_>) -> Result<Lowered> {
    let target = TargetName::new(&statement.table, statement.alias.as_ref());
    let mut items = Items::default();
    let assigned = assignment::resolve(&statement.assignments, &target, table.schema, &mut items)?;
    let mut from = vec![ast::from(target.factor())];
    from.extend(statement.from.iter().cloned());
    let mut query = ast::select(items.0, from, where_clause(statement.condition.as_ref()))?;
    target.shorten(&mut query);
    let mentions_hidden = mentions_hidden(&query);
    let mut own = target.place(table.lineage);
    own.extend(target.columns(table.schema));
    ast::prepend(&mut query, own)?;
    Ok(Lowered {
        query,
        mentions_hidden,
        columns: DeltaColumns { rows: true, lineage: table.lineage },
        kind: Kind::Update { assigned },
    })
}

/// The rows of a MERGE's source as a query of their own.
///
/// # Errors
/// `Bug` when a SELECT cannot be made.
pub fn source_query(source: &TableFactor) -> Result<Query> {
    let all = SelectItem::Wildcard(WildcardAdditionalOptions::default());
    ast::select(vec![all], vec![ast::from(source.clone())], None)
}

/// `MERGE` as a query; `source` says what its source is.
///
/// # Errors
/// `Invalid` for clauses that name columns which are not there.
pub fn merge(statement: &Merge, table: Target<'_>, source: &MergeSource) -> Result<Lowered> {
    merge::lower(statement, table, source)
}

impl Lowered {
    /// The planned query's rows as [`DeltaColumns`].
    ///
    /// # Errors
    /// `Invalid` when a value cannot be stored in its column; `Bug` for the plan of another query.
    pub fn finish(self, plan: LogicalPlan, table: Target<'_>) -> Result<LogicalPlan> {
        let LogicalPlan::Projection(top) = plan else {
            return Err(Error::bug("a lowered statement was planned to something else than a projection"));
        };
        let mut values = Values { exprs: top.expr.into_iter().map(bare).collect::<Vec<_>>().into_iter() };
        let input = LogicalPlan::clone(&top.input);
        match self.kind {
            Kind::Delete => {
                let place = values.take(2)?;
                project(input, std::iter::once(lit(DELETE)).chain(place), self.columns, table)
            }
            Kind::Update { assigned } => {
                let mut place = values.take(2)?;
                let row_id = if table.lineage { Some(values.one()?) } else { None };
                let old = values.take(table.schema.as_struct().fields().len())?;
                let new = values.rest();
                let columns = assignment::apply(&assigned, &old, &new, table.schema, input.schema())?;
                let mut all = vec![lit(UPDATE)];
                all.append(&mut place);
                all.extend(columns);
                all.extend(lineage(row_id));
                project(input, all, self.columns, table)
            }
            Kind::Merge(merge) => merge.finish(input, values, self.columns, table),
        }
    }
}

/// The columns of a lowered SELECT, one after another.
struct Values {
    exprs: std::vec::IntoIter<Expr>,
}

impl Values {
    fn one(&mut self) -> Result<Expr> {
        self.exprs.next().ok_or_else(|| Error::bug("a lowered statement lost a column"))
    }

    fn take(&mut self, count: usize) -> Result<Vec<Expr>> {
        (0..count).map(|_| self.one()).collect()
    }

    fn rest(&mut self) -> Vec<Expr> {
        self.exprs.by_ref().collect()
    }
}

/// The row's id, and the sequence number of its last update: the one to come.
fn lineage(row_id: Option<Expr>) -> impl Iterator<Item = Expr> {
    row_id.into_iter().flat_map(|row_id| [row_id, Expr::Literal(ScalarValue::Int64(None), None)])
}

fn bare(expr: Expr) -> Expr {
    match expr {
        Expr::Alias(alias) => bare(*alias.expr),
        other => other,
    }
}

/// Projects `input` to columns of the names that every lowered statement has.
fn project(
    input: LogicalPlan,
    exprs: impl IntoIterator<Item = Expr>,
    columns: DeltaColumns,
    table: Target<'_>,
) -> Result<LogicalPlan> {
    let mut names: Vec<String> = ["#action", "#file", "#pos"].map(str::to_owned).into();
    if columns.rows {
        names.extend(table.schema.as_struct().fields().iter().map(|field| field.name.clone()));
    }
    if columns.lineage {
        names.extend(["#row_id", "#sequence_number"].map(str::to_owned));
    }
    let exprs: Vec<Expr> = exprs.into_iter().collect();
    if exprs.len() != names.len() {
        return Err(Error::bug(format!(
            "a lowered statement has {} columns of {}",
            exprs.len(),
            names.len()
        )));
    }
    let exprs = exprs.into_iter().zip(names).map(|(expr, name)| expr.alias(name));
    LogicalPlanBuilder::from(input)
        .project(exprs)
        .and_then(LogicalPlanBuilder::build)
        .map_err(from_datafusion)
}

/// Every column of a plan, and one more behind.
fn with_column(input: LogicalPlan, expr: Expr) -> Result<LogicalPlan> {
    let mut all: Vec<Expr> = input.schema().columns().into_iter().map(Expr::Column).collect();
    all.push(expr);
    LogicalPlanBuilder::from(input).project(all).and_then(LogicalPlanBuilder::build).map_err(from_datafusion)
}

fn column(name: &str) -> Expr {
    Expr::Column(Column::new_unqualified(name))
}

fn type_of(
    expr: &Expr,
    schema: &datafusion::common::DFSchema,
) -> Result<datafusion::arrow::datatypes::DataType> {
    expr.get_type(schema).map_err(from_datafusion)
}

/// A statement's condition.
fn where_clause(condition: Option<&SqlExpr>) -> Option<SqlExpr> {
    #[cfg(feature = "testing")]
    if icecap_table::testing::is_planted(icecap_table::testing::Mutation::NullIsTrue) {
        return condition.map(|condition| match condition.to_string().contains("SELECT") {
            // A subquery may not stand inside of it.
            true => condition.clone(),
            false => SqlExpr::IsNotFalse(Box::new(SqlExpr::Nested(Box::new(condition.clone())))),
        });
    }
    condition.cloned()
}

/// `TRUE` where the statement has no condition.
fn or_true(condition: Option<&SqlExpr>) -> SqlExpr {
    condition.cloned().unwrap_or_else(|| ast::boolean(true))
}
