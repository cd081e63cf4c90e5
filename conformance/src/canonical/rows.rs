//! Rows as a multiset.

use serde_json::Value;

use super::Column;
use crate::{Failure, Result};

/// How many rows of each side a difference shows.
const SHOWN: usize = 5;

/// Rows of canonical values, sorted: equal when the multisets are equal.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rows(Vec<String>);

impl Rows {
    /// From objects by column name, as `icecap sql --format json` prints them.
    ///
    /// # Errors
    /// When an object's columns are not the table's, or a value is not how its type is written.
    pub fn from_objects(columns: &[Column], objects: &[Value]) -> Result<Self> {
        let row = |object: &Value| {
            let object = object.as_object().ok_or_else(|| Failure::new(format!("{object} is not a row")))?;
            let names: Vec<&str> = object.keys().map(String::as_str).collect();
            let wanted: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
            if names != wanted {
                return Err(Failure::new(format!("columns {names:?}, expected {wanted:?}")));
            }
            row(columns, object.values())
        };
        Self::sorted(objects.iter().map(row))
    }

    /// From arrays in column order, as readers answer and as the type matrix writes them down.
    ///
    /// # Errors
    /// When a row is no array, or a value is not in its type's form.
    pub fn from_arrays(columns: &[Column], arrays: &[Value]) -> Result<Self> {
        let row = |array: &Value| match array.as_array() {
            Some(values) if values.len() == columns.len() => row(columns, values.iter()),
            _ => Err(Failure::new(format!("{array} is not a row of {} columns", columns.len()))),
        };
        Self::sorted(arrays.iter().map(row))
    }

    fn sorted(rows: impl Iterator<Item = Result<String>>) -> Result<Self> {
        let mut rows = rows.collect::<Result<Vec<_>>>()?;
        rows.sort_unstable();
        Ok(Self(rows))
    }

    /// How many rows.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn row<'a>(columns: &[Column], values: impl Iterator<Item = &'a Value>) -> Result<String> {
    let values = columns.iter().zip(values);
    let values = values.map(|(column, value)| {
        column.kind.canonical(value).map_err(|failure| failure.at(format!("column {}", column.name)))
    });
    Ok(Value::Array(values.collect::<Result<_>>()?).to_string())
}

/// What is in one multiset and not in the other, in words; `None` when they are equal.
pub fn difference(left_name: &str, left: &Rows, right_name: &str, right: &Rows) -> Option<String> {
    if left == right {
        return None;
    }
    let only_left = minus(&left.0, &right.0);
    let only_right = minus(&right.0, &left.0);
    let show = |name: &str, all: usize, rows: &[&String]| {
        let shown: String = rows.iter().take(SHOWN).map(|row| format!("\n    {row}")).collect();
        format!("\n  {name}: {all} rows, {} of them only here{shown}", rows.len())
    };
    Some(show(left_name, left.len(), &only_left) + &show(right_name, right.len(), &only_right))
}

/// The rows of one sorted list that another does not have, each as often as it is missing.
fn minus<'a>(from: &'a [String], other: &[String]) -> Vec<&'a String> {
    let mut other = other.iter().peekable();
    let mut only = Vec::new();
    for row in from {
        while other.peek().is_some_and(|next| *next < row) {
            other.next();
        }
        if other.peek() == Some(&row) {
            other.next();
        } else {
            only.push(row);
        }
    }
    only
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::Kind;
    use super::*;

    fn columns() -> Vec<Column> {
        vec![Column { name: "a".to_owned(), kind: Kind::Integer }]
    }

    #[test]
    fn order_does_not_matter_and_multiplicity_does() {
        let left = Rows::from_arrays(&columns(), &[json!([1]), json!([2]), json!([2])]).unwrap();
        let right =
            Rows::from_objects(&columns(), &[json!({"a": 2}), json!({"a": 1}), json!({"a": 2})]).unwrap();
        assert_eq!(difference("l", &left, "r", &right), None);
        let fewer = Rows::from_arrays(&columns(), &[json!([2]), json!([1]), json!([3])]).unwrap();
        assert_eq!(
            difference("l", &left, "r", &fewer).unwrap(),
            "\n  l: 3 rows, 1 of them only here\n    [2]\n  r: 3 rows, 1 of them only here\n    [3]"
        );
    }

    #[test]
    fn other_columns_are_a_failure() {
        assert!(Rows::from_objects(&columns(), &[json!({"b": 1})]).is_err());
        assert!(Rows::from_arrays(&columns(), &[json!([1, 2])]).is_err());
    }
}
