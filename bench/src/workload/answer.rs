//! Answers of queries, and whether two engines gave the same.

use serde_json::Value;

use crate::{BenchError, Result};

/// Rows of values, in order.
pub(super) type Answer = Vec<Vec<Value>>;

/// How far floats may lie apart, relative to their size: sums in another order differ in the last digits.
const TOLERANCE: f64 = 1e-9;

/// An answer as Icecap's JSON tells it: an object a line, its columns in order.
pub(super) fn of_objects(text: &str) -> Result<Answer> {
    text.lines()
        .map(|line| match serde_json::from_str(line)? {
            Value::Object(row) => Ok(row.into_iter().map(|(_, value)| value).collect()),
            other => Err(BenchError(format!("a row that is no object: {other}"))),
        })
        .collect()
}

/// An answer as a peer's script tells it: `rows` of its last line.
pub(super) fn of_peer(text: &str) -> Result<Answer> {
    let line: Value = serde_json::from_str(text.lines().last().unwrap_or_default())?;
    Ok(serde_json::from_value(line["rows"].clone())?)
}

/// Whether two answers are equal; if not, the first difference. Decimals come as text: they are compared to the
/// digits that both tell (engines differ in the scale of an average).
///
/// # Errors
/// The difference as a sentence. No rows at all differ from everything: there would be nothing to compare.
pub(super) fn same(one: &Answer, other: &Answer) -> std::result::Result<(), String> {
    if one.len() != other.len() || one.is_empty() {
        return Err(format!("{} rows beside {}", other.len(), one.len()));
    }
    for (number, (one, other)) in one.iter().zip(other).enumerate() {
        if one.len() != other.len() {
            return Err(format!("row {number}: {} columns beside {}", other.len(), one.len()));
        }
        if let Some(at) = (0..one.len()).find(|at| !agree(&one[*at], &other[*at])) {
            return Err(format!("row {number}, column {at}: {} beside {}", other[at], one[at]));
        }
    }
    Ok(())
}

fn agree(one: &Value, other: &Value) -> bool {
    if one == other {
        return !one.is_null();
    }
    let (Some((left, left_unit)), Some((right, right_unit))) = (number(one), number(other)) else {
        return false;
    };
    if left_unit == right_unit && left_unit > 0.0 {
        // Decimals of one scale are exact: as text they were not equal.
        return false;
    }
    // A whole unit: some engines cut the digits of an average off, others round.
    (left - right).abs() <= left_unit.max(right_unit) + TOLERANCE * left.abs().max(right.abs())
}

/// A number, and the unit of its last digit: 0 for a JSON number, which is exact or a float.
fn number(value: &Value) -> Option<(f64, f64)> {
    match value {
        Value::Number(number) => Some((number.as_f64()?, 0.0)),
        Value::String(text) => {
            let decimals = text.split_once('.')?.1.len();
            Some((text.parse().ok()?, 10f64.powi(-i32::try_from(decimals).ok()?)))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn compare(one: Value, other: Value) -> std::result::Result<(), String> {
        same(&vec![vec![json!("A"), one]], &vec![vec![json!("A"), other]])
    }

    #[test]
    fn numbers_agree_to_the_digits_that_both_tell() {
        assert!(compare(json!("25.522006"), json!(25.522005853257337)).is_ok());
        assert!(compare(json!("25.52"), json!(25.522005853257337)).is_ok());
        assert!(compare(json!("25.54"), json!(25.522005853257337)).is_err());
        assert!(compare(json!("37734107.00"), json!("37734107.00")).is_ok());
        assert!(compare(json!("37734107.00"), json!("37734107.01")).is_err());
        assert!(compare(json!("55909065222.827692"), json!("55909065222.8277")).is_ok());
        assert!(compare(json!("25.713312"), json!(25.71331290432414)).is_ok());
        assert!(compare(json!(1478493), json!(1478493)).is_ok());
        assert!(compare(json!(147), json!(148)).is_err());
    }

    #[test]
    fn differences_are_named() {
        assert_eq!(
            compare(json!("1995-03-31"), json!("1995-04-01")).unwrap_err(),
            "row 0, column 1: \"1995-04-01\" beside \"1995-03-31\""
        );
        assert_eq!(same(&vec![], &vec![]).unwrap_err(), "0 rows beside 0");
        assert!(compare(Value::Null, Value::Null).is_err());
    }

    #[test]
    fn both_spellings_are_read() {
        let icecap =
            of_objects("{\"flag\":\"A\",\"n\":\"1.50\"}\n{\"flag\":\"B\",\"n\":\"2.00\"}\n").unwrap();
        let peer = of_peer("note\n{\"seconds\": 0.1, \"rows\": [[\"A\", 1.5], [\"B\", 2.0]]}\n").unwrap();
        assert_eq!(same(&icecap, &peer), Ok(()));
        assert!(of_objects("[1]").is_err());
        assert!(of_peer("").is_err());
    }
}
