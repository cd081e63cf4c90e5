//! `SET column = value`: which column, and the row's new columns from its old ones and the values.

use std::collections::BTreeMap;

use datafusion::common::DFSchema;
use datafusion::functions::core::expr_fn::{get_field, named_struct};
use datafusion::logical_expr::{Expr, lit};
use icecap_table::iceberg::spec::{NestedFieldRef, Schema, Type};
use icecap_table::{Error, Result};

use super::ast::{Items, TargetName};
use super::type_of;
use crate::sql::assign::{default_of, stored};
use crate::sql::ast::{Assignment, Name, NamePart};
use crate::sql::names;

/// One assignment, resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Assigned {
    /// The column, then the fields on the way, by position.
    path: Vec<usize>,
    /// The value's place among the statement's values; `None` for `DEFAULT`.
    value: Option<usize>,
}

impl Assigned {
    /// The value's place among the statement's values.
    pub(super) fn value(&self) -> Option<usize> {
        self.value
    }
}

/// Finds the columns of assignments, and adds their values to the query.
///
/// # Errors
/// `Invalid` for a name that is none, or a column that is set twice.
pub(super) fn resolve(
    assignments: &[Assignment],
    target: &TargetName,
    schema: &Schema,
    items: &mut Items,
) -> Result<Vec<Assigned>> {
    let mut resolved: Vec<Assigned> = Vec::with_capacity(assignments.len());
    for assignment in assignments {
        let path = path_of(&assignment.target, target, schema)?;
        if resolved.iter().any(|other| path.starts_with(&other.path) || other.path.starts_with(&path)) {
            return Err(Error::invalid(format!("{} is set twice", assignment.target)));
        }
        let value = assignment.value.clone().map(|value| items.add(value));
        resolved.push(Assigned { path, value });
    }
    Ok(resolved)
}

/// Columns from the source's of the same name.
pub(super) fn by_name(
    schema: &Schema,
    mut value_of: impl FnMut(&str) -> Result<usize>,
) -> Result<Vec<Assigned>> {
    let fields = schema.as_struct().fields().iter().enumerate();
    fields.map(|(at, field)| Ok(Assigned { path: vec![at], value: Some(value_of(&field.name)?) })).collect()
}

/// The columns of an INSERT: values of given columns, defaults of the others.
///
/// # Errors
/// `Invalid` for a name that is none, or a column that is given twice.
pub(super) fn inserted(
    columns: &[NamePart],
    values: Vec<Option<usize>>,
    schema: &Schema,
) -> Result<Vec<Assigned>> {
    let fields = schema.as_struct().fields();
    if columns.is_empty() {
        if values.len() != fields.len() {
            return Err(Error::invalid(format!(
                "INSERT gives {} values and the table has {} columns: {}",
                values.len(),
                fields.len(),
                names_of(fields).join(", ")
            )));
        }
        return Ok(values
            .into_iter()
            .enumerate()
            .map(|(at, value)| Assigned { path: vec![at], value })
            .collect());
    }
    let mut assigned: Vec<Assigned> = Vec::with_capacity(fields.len());
    for (column, value) in columns.iter().zip(values) {
        let at = names::position(&column.value, &names_of(fields))?
            .ok_or_else(|| no_column(&column.value, fields))?;
        if assigned.iter().any(|other| other.path == [at]) {
            return Err(Error::invalid(format!("the column {} is given twice", fields[at].name)));
        }
        assigned.push(Assigned { path: vec![at], value });
    }
    Ok(assigned)
}

fn names_of(fields: &[NestedFieldRef]) -> Vec<&str> {
    fields.iter().map(|field| field.name.as_str()).collect()
}

fn no_column(written: &str, fields: &[NestedFieldRef]) -> Error {
    Error::invalid(format!(
        "the table has no column {written}: its columns are {}",
        names_of(fields).join(", ")
    ))
}

fn path_of(written: &Name, target: &TargetName, schema: &Schema) -> Result<Vec<usize>> {
    // Behind the table's name or alias first; a column of the same name is meant where that leads nowhere.
    if let Some(behind) = target.behind(&written.0)
        && let Ok(path) = path_in(behind, schema.as_struct().fields())
    {
        return Ok(path);
    }
    path_in(&written.0, schema.as_struct().fields())
}

fn path_in(written: &[NamePart], fields: &[NestedFieldRef]) -> Result<Vec<usize>> {
    let Some((first, rest)) = written.split_first() else { return Ok(Vec::new()) };
    let at =
        names::position(&first.value, &names_of(fields))?.ok_or_else(|| no_column(&first.value, fields))?;
    let mut path = vec![at];
    if !rest.is_empty() {
        let Type::Struct(inner) = fields[at].field_type.as_ref() else {
            return Err(Error::invalid(format!(
                "{} is no struct: it has no field {}",
                fields[at].name, rest[0]
            )));
        };
        path.extend(path_in(rest, inner.fields()).map_err(|error| error.with("column", &fields[at].name))?);
    }
    Ok(path)
}

/// The row's new columns. A field of a struct that is NULL makes a struct whose other fields are NULL.
///
/// # Errors
/// `Invalid` when a value cannot be stored in its column.
pub(super) fn apply(
    assigned: &[Assigned],
    old: &[Expr],
    values: &[Expr],
    schema: &Schema,
    input: &DFSchema,
) -> Result<Vec<Expr>> {
    let fields = schema.as_struct().fields();
    let mut columns = Vec::with_capacity(fields.len());
    for (at, (field, old)) in fields.iter().zip(old).enumerate() {
        let own: Vec<(&[usize], Option<usize>)> = assigned
            .iter()
            .filter(|assigned| assigned.path.first() == Some(&at))
            .map(|assigned| (&assigned.path[1..], assigned.value))
            .collect();
        let new = new_value(field, old, &own, values)?;
        columns.push(match own.is_empty() {
            true => new,
            false => {
                let from = type_of(&new, input)?;
                stored(new, &from, field)?
            }
        });
    }
    Ok(columns)
}

/// The columns of a new row: what is not assigned has its default.
///
/// # Errors
/// As [`apply`]; `Invalid` for a required column without a value too.
pub(super) fn new_row(
    assigned: &[Assigned],
    values: &[Expr],
    schema: &Schema,
    input: &DFSchema,
) -> Result<Vec<Expr>> {
    let by_column: BTreeMap<usize, Option<usize>> =
        assigned.iter().filter_map(|assigned| Some((*assigned.path.first()?, assigned.value))).collect();
    let fields = schema.as_struct().fields().iter().enumerate();
    fields
        .map(|(at, field)| match by_column.get(&at).copied().flatten() {
            Some(value) => {
                let value = values.get(value).ok_or_else(lost)?.clone();
                let from = type_of(&value, input)?;
                stored(value, &from, field)
            }
            None => default_of(field),
        })
        .collect()
}

fn lost() -> Error {
    Error::bug("a lowered statement lost a value")
}

fn new_value(
    field: &NestedFieldRef,
    old: &Expr,
    own: &[(&[usize], Option<usize>)],
    values: &[Expr],
) -> Result<Expr> {
    if own.is_empty() {
        return Ok(old.clone());
    }
    if let Some((_, value)) = own.iter().find(|(path, _)| path.is_empty()) {
        return match value {
            Some(value) => values.get(*value).cloned().ok_or_else(lost),
            None => default_of(field),
        };
    }
    let Type::Struct(inner) = field.field_type.as_ref() else {
        return Err(Error::bug("a field is set in what is no struct"));
    };
    let mut parts = Vec::with_capacity(2 * inner.fields().len());
    for (at, field) in inner.fields().iter().enumerate() {
        let deeper: Vec<(&[usize], Option<usize>)> = own
            .iter()
            .filter(|(path, _)| path.first() == Some(&at))
            .map(|(path, value)| (&path[1..], *value))
            .collect();
        parts.push(lit(field.name.as_str()));
        parts.push(new_value(field, &get_field(old.clone(), field.name.as_str()), &deeper, values)?);
    }
    Ok(named_struct(parts))
}
