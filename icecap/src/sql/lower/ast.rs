//! Pieces of a lowered query.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, Ident, Join, JoinConstraint, JoinOperator, ObjectName, Query, Select, SelectItem, SetExpr,
    TableAlias, TableAliasColumnDef, TableFactor, TableWithJoins, Value, VisitMut, VisitorMut,
};
use datafusion::sql::sqlparser::parser::Parser;
use icecap_table::iceberg::spec::Schema;
use icecap_table::{Error, Result};

use super::TARGET;
use crate::sql::ast::{Name, NamePart};
use crate::sql::dialect::IcecapDialect;
use crate::sql::names::folded;
use crate::sql::resolve::quoted;

/// Hidden columns, as they are named in a query.
const FILE: &str = "_file";
const POS: &str = "_pos";
const ROW_ID: &str = "_row_id";

/// A list of SELECT in the making: each item gets a name of its own, and is found again by its place.
#[derive(Debug, Default)]
pub(super) struct Items(pub(super) Vec<SelectItem>);

impl Items {
    /// Adds an expression; its place among these.
    pub(super) fn add(&mut self, expr: Expr) -> usize {
        let at = self.0.len();
        self.0.push(item(expr, &format!("#v{at}")));
        at
    }
}

fn item(expr: Expr, name: &str) -> SelectItem {
    SelectItem::ExprWithAlias { expr, alias: quoted(name) }
}

pub(super) fn ident(part: &NamePart) -> Ident {
    if part.quoted { quoted(&part.value) } else { Ident::new(part.value.clone()) }
}

pub(super) fn boolean(value: bool) -> Expr {
    Expr::Value(Value::Boolean(value).into())
}

pub(super) fn qualified(table: &Ident, column: &str) -> Expr {
    Expr::CompoundIdentifier(vec![table.clone(), quoted(column)])
}

/// The target as a query names it.
#[derive(Debug, Clone)]
pub(super) struct TargetName {
    /// What qualifies its columns.
    pub(super) ident: Ident,
    /// Its whole name, folded, where columns may be written behind it and are to be shortened.
    long: Option<Vec<String>>,
    /// Its name and alias, folded: what may stand before a column that is assigned to.
    names: Vec<Vec<String>>,
}

impl TargetName {
    pub(super) fn new(name: &Name, alias: Option<&NamePart>) -> Self {
        let full: Vec<String> = name.0.iter().map(|part| folded(&part.value)).collect();
        match (alias, name.0.last()) {
            (Some(alias), _) => {
                Self { ident: ident(alias), long: None, names: vec![vec![folded(&alias.value)]] }
            }
            (None, last) => {
                let short = full.last().cloned().unwrap_or_default();
                Self {
                    ident: last.map_or_else(|| quoted(TARGET), ident),
                    names: vec![vec![short], full.clone()],
                    long: (full.len() > 1).then_some(full),
                }
            }
        }
    }

    pub(super) fn factor(&self) -> TableFactor {
        table(TARGET, Some(alias(self.ident.clone())))
    }

    /// Where a row is: its file, its position, and its id where that is wanted.
    pub(super) fn place(&self, row_id: bool) -> Vec<SelectItem> {
        let mut items =
            vec![item(qualified(&self.ident, FILE), "#file"), item(qualified(&self.ident, POS), "#pos")];
        if row_id {
            items.push(item(qualified(&self.ident, ROW_ID), "#row_id"));
        }
        items
    }

    /// The table's columns.
    pub(super) fn columns(&self, schema: &Schema) -> impl Iterator<Item = SelectItem> {
        schema
            .as_struct()
            .fields()
            .iter()
            .enumerate()
            .map(|(at, field)| item(qualified(&self.ident, &field.name), &format!("#c{at}")))
    }

    /// What is behind the table's name or alias, where a written name begins with one.
    pub(super) fn behind<'a>(&self, written: &'a [NamePart]) -> Option<&'a [NamePart]> {
        // The longest first.
        self.names.iter().rev().find_map(|name| {
            let (before, behind) = written.split_at_checked(name.len())?;
            let same = before.iter().map(|part| folded(&part.value)).eq(name.iter().cloned());
            (same && !behind.is_empty()).then_some(behind)
        })
    }

    /// Writes `t.c` for `db.t.c`: the target has an alias in the query, and only that qualifies.
    pub(super) fn shorten(&self, query: &mut Query) {
        struct Shorten<'a>(&'a [String]);
        impl VisitorMut for Shorten<'_> {
            type Break = ();

            fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
                if let Expr::CompoundIdentifier(parts) = expr
                    && parts.len() > self.0.len()
                    && parts.iter().zip(self.0).all(|(part, name)| folded(&part.value) == *name)
                {
                    parts.drain(..self.0.len() - 1);
                }
                ControlFlow::Continue(())
            }
        }
        if let Some(long) = &self.long {
            // The visitor never stops early.
            let _ = query.visit(&mut Shorten(long));
        }
    }
}

pub(super) fn alias(name: Ident) -> TableAlias {
    TableAlias { explicit: true, name, columns: Vec::new(), at: None }
}

pub(super) fn column_def(name: Ident) -> TableAliasColumnDef {
    TableAliasColumnDef { name, data_type: None }
}

pub(super) fn table(name: &str, alias: Option<TableAlias>) -> TableFactor {
    TableFactor::Table {
        name: ObjectName::from(vec![quoted(name)]),
        alias,
        args: None,
        with_hints: Vec::new(),
        version: None,
        with_ordinality: false,
        partitions: Vec::new(),
        json_path: None,
        sample: None,
        index_hints: Vec::new(),
    }
}

pub(super) fn from(relation: TableFactor) -> TableWithJoins {
    TableWithJoins { relation, joins: Vec::new() }
}

pub(super) fn joined(
    left: TableFactor,
    right: TableFactor,
    join: impl FnOnce(JoinConstraint) -> JoinOperator,
    on: Expr,
) -> TableWithJoins {
    let join_operator = join(JoinConstraint::On(on));
    TableWithJoins { relation: left, joins: vec![Join { relation: right, global: false, join_operator }] }
}

/// `SELECT items FROM from WHERE condition`.
pub(super) fn select(
    items: Vec<SelectItem>,
    from: Vec<TableWithJoins>,
    condition: Option<Expr>,
) -> Result<Query> {
    // The parser knows what a SELECT without anything is.
    let parsed =
        Parser::new(&IcecapDialect).try_with_sql("SELECT 1").and_then(|mut parser| parser.parse_query());
    let mut query = *parsed.map_err(|error| Error::bug("SELECT 1 is no query").with_source(error))?;
    let select = body(&mut query)?;
    select.projection = items;
    select.from = from;
    select.selection = condition;
    Ok(query)
}

/// Puts items before the others.
pub(super) fn prepend(query: &mut Query, items: Vec<SelectItem>) -> Result<()> {
    body(query)?.projection.splice(0..0, items);
    Ok(())
}

fn body(query: &mut Query) -> Result<&mut Select> {
    match query.body.as_mut() {
        SetExpr::Select(select) => Ok(select),
        _ => Err(Error::bug("a lowered statement is no SELECT")),
    }
}
