//! Store assignment: the rows of a query as the columns of a table, strictly.
//!
//! What may be stored where is Spark's ANSI matrix: numbers as numbers, dates and timestamps as each other, anything
//! plain as text, nested types part by part; text is never read as a number or a date (as a UUID it is, since
//! nothing else can be). What fits by type alone is a column reference; the rest goes through
//! [`StoreCast`], which fails at run time rather than lose a digit, a fraction or a NULL.

mod default;
mod matrix;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, Fields};
use datafusion::common::{Column, ScalarValue};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder};
use icecap_table::iceberg::spec::{NestedField, Schema, Type};
use icecap_table::{Error, Result};

use super::ast::NamePart;
use super::error::from_datafusion;
use super::names;
use super::store::StoreCast;
use crate::arrow_schema::{arrow_type, iceberg_fields};
use matrix::{Fit, fit};

/// Projects a query's rows to exactly the columns of `target`, in order and under their names.
///
/// `columns` is the column list of the statement: empty means all columns by position, or by name with `by_name`.
/// A column that is not given gets the schema's write default, else NULL.
///
/// # Errors
/// `Invalid` when the numbers of columns differ, a name is unknown or there twice, a required column is not given,
/// or a column's type cannot be stored in its target's.
pub fn assign(
    plan: LogicalPlan,
    target: &Schema,
    columns: &[NamePart],
    by_name: bool,
) -> Result<LogicalPlan> {
    let fields: Vec<&NestedField> = target.as_struct().fields().iter().map(AsRef::as_ref).collect();
    let names: Vec<&str> = fields.iter().map(|field| field.name.as_str()).collect();
    let width = plan.schema().fields().len();
    let given: Vec<usize> = if by_name {
        let written: Vec<&str> = plan.schema().fields().iter().map(|field| field.name().as_str()).collect();
        targets(&written, &names)?
    } else if columns.is_empty() {
        if width != names.len() {
            return Err(Error::invalid(format!(
                "the query gives {} and the table has {}: {}. Name the columns to fill in a list after the table's name",
                counted(width),
                counted(names.len()),
                names.join(", ")
            )));
        }
        (0..width).collect()
    } else {
        let written: Vec<&str> = columns.iter().map(|column| column.value.as_str()).collect();
        let given = targets(&written, &names)?;
        if width != given.len() {
            return Err(Error::invalid(format!(
                "the query gives {} and the list after the table's name {}",
                counted(width),
                counted(given.len())
            )));
        }
        given
    };
    let sources: HashMap<usize, usize> =
        given.into_iter().enumerate().map(|(source, target)| (target, source)).collect();
    let mut projection = Vec::with_capacity(fields.len());
    for (at, field) in fields.into_iter().enumerate() {
        let expr = match sources.get(&at) {
            Some(source) => {
                let (qualifier, source) = plan.schema().qualified_field(*source);
                store(Expr::Column(Column::from((qualifier, source))), source.data_type(), field)?
            }
            None => missing(field)?,
        };
        projection.push(expr.alias(&field.name));
    }
    LogicalPlanBuilder::from(plan)
        .project(projection)
        .and_then(LogicalPlanBuilder::build)
        .map_err(from_datafusion)
}

fn counted(columns: usize) -> String {
    if columns == 1 { "1 column".to_owned() } else { format!("{columns} columns") }
}

/// The target of each written column.
fn targets(written: &[&str], names: &[&str]) -> Result<Vec<usize>> {
    let mut seen = HashSet::new();
    let mut targets = Vec::with_capacity(written.len());
    for column in written {
        let Some(at) = names::position(column, names)? else {
            return Err(Error::invalid(format!(
                "the table has no column {column}: its columns are {}",
                names.join(", ")
            )));
        };
        if !seen.insert(at) {
            return Err(Error::invalid(format!("the column {} is given twice", names[at])));
        }
        targets.push(at);
    }
    Ok(targets)
}

/// The value of a column that the statement does not give.
fn missing(field: &NestedField) -> Result<Expr> {
    if let Some(value) = &field.write_default {
        return Ok(Expr::Literal(default::scalar(value, field)?, None));
    }
    if field.required {
        return Err(Error::invalid(format!("the column {} is required: give it a value", field.name)));
    }
    let null = ScalarValue::try_from(&arrow_type(&field.field_type)?).map_err(from_datafusion)?;
    Ok(Expr::Literal(null, None))
}

/// What a column gets that a statement does not give, or sets to `DEFAULT`.
///
/// # Errors
/// `Invalid` for a required column without a default.
pub(crate) fn default_of(field: &NestedField) -> Result<Expr> {
    missing(field)
}

/// `expr`, of type `from`, as a value of `target`, in exactly the type that its column has.
///
/// # Errors
/// `Invalid` when a value of that type cannot be stored there.
pub(crate) fn stored(expr: Expr, from: &DataType, target: &NestedField) -> Result<Expr> {
    let to = arrow_type(&target.field_type)?;
    fit(from, &target.field_type, &target.name)?;
    if *from == to && !target.required {
        return Ok(expr);
    }
    let field = Field::new(&target.name, to, !target.required);
    Ok(StoreCast::new(Arc::new(field)).call(expr))
}

/// `expr` as a value of `target`.
fn store(expr: Expr, from: &DataType, target: &NestedField) -> Result<Expr> {
    let to = match fit(from, &target.field_type, &target.name)? {
        // A column may be declared without NULLs and hold one; the check costs nothing where it does not.
        Fit::Same if !target.required => return Ok(expr),
        Fit::Same => from.clone(),
        Fit::Cast => arrow_type(&target.field_type)?,
    };
    let field = Field::new(&target.name, to, !target.required);
    Ok(StoreCast::new(Arc::new(field)).call(expr))
}

/// The schema of the table that `CREATE TABLE … AS` makes of a query: every column optional, ids placeholders.
///
/// # Errors
/// `Invalid` for two columns whose names differ in case alone, or a column without a name; `Unsupported` for a type
/// that Iceberg has not.
pub fn schema_of_query(plan: &LogicalPlan) -> Result<Schema> {
    let mut seen: HashMap<String, &str> = HashMap::new();
    for field in plan.schema().fields() {
        let name = field.name().as_str();
        if name.is_empty() {
            return Err(Error::invalid("a column of the query has no name: give it one with AS"));
        }
        if let Some(other) = seen.insert(names::folded(name), name) {
            return Err(Error::invalid(format!(
                "the query gives two columns called {other} and {name}: give one of them another name with AS"
            )));
        }
    }
    let optional: Fields = plan
        .schema()
        .fields()
        .iter()
        .map(|field| field.as_ref().clone().with_data_type(optional(field.data_type())).with_nullable(true))
        .collect();
    Schema::builder()
        .with_fields(iceberg_fields(&optional, &mut 0)?)
        .build()
        .map_err(|error| Error::invalid("the query's columns make no schema").with_source(error))
}

/// The type with everything in it optional, but the keys of maps.
fn optional(data_type: &DataType) -> DataType {
    let inner = |field: &Field, nullable: bool| {
        Arc::new(field.clone().with_data_type(optional(field.data_type())).with_nullable(nullable))
    };
    match data_type {
        DataType::List(field)
        | DataType::LargeList(field)
        | DataType::ListView(field)
        | DataType::LargeListView(field)
        | DataType::FixedSizeList(field, _) => DataType::List(inner(field, true)),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(|field| inner(field, true)).collect()),
        DataType::Map(entries, sorted) => {
            let DataType::Struct(pair) = entries.data_type() else { return data_type.clone() };
            let pair: Fields = pair.iter().enumerate().map(|(at, field)| inner(field, at > 0)).collect();
            DataType::Map(Arc::new(Field::new(entries.name(), DataType::Struct(pair), false)), *sorted)
        }
        other => other.clone(),
    }
}

/// What a type of the engine is called in SQL.
pub(super) fn type_name(data_type: &DataType) -> String {
    match crate::arrow_schema::iceberg_type(data_type, &mut 0) {
        Ok(ty) => super::types::sql_type_name(&ty),
        Err(_) => data_type.to_string(),
    }
}

/// The error of a type that cannot be stored.
fn refused(from: &DataType, to: &Type, path: &str) -> Error {
    Error::invalid(format!(
        "column {path}: {} cannot be stored as {}: convert it in the query, as in CAST(value AS {})",
        type_name(from),
        super::types::sql_type_name(to),
        super::types::sql_type_name(to),
    ))
}
