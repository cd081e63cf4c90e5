//! Iceberg types as far as values are written differently, and values brought to the canonical form.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use crate::{Failure, Result};

/// A column of a table.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    /// The name.
    pub name: String,
    /// The type.
    pub kind: Kind,
}

/// An Iceberg type.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    /// `boolean`.
    Boolean,
    /// `int` and `long`.
    Integer,
    /// `float`.
    Float,
    /// `double`.
    Double,
    /// `decimal(p, s)`.
    Decimal {
        /// Digits after the point.
        scale: usize,
    },
    /// `date`.
    Date,
    /// `time`.
    Time,
    /// `timestamp`, `timestamptz`, and both as `_ns`.
    Timestamp {
        /// Whether it has a zone.
        zoned: bool,
        /// Digits of the second's fraction: 6 or 9.
        digits: usize,
    },
    /// `string`.
    String,
    /// `uuid`.
    Uuid,
    /// `binary` and `fixed[n]`.
    Bytes,
    /// `struct`.
    Struct(Vec<Column>),
    /// `list`.
    List(Box<Kind>),
    /// `map`.
    Map(Box<Kind>, Box<Kind>),
}

/// The columns of a table's schema: the current one, or that of a snapshot.
///
/// # Errors
/// When the JSON is no table metadata, or the snapshot is not in it.
pub fn columns_of(metadata: &Value, snapshot_id: Option<i64>) -> Result<Vec<Column>> {
    let strange = || Failure::new("the metadata file names no schema");
    let list = |key: &str| metadata[key].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut wanted = &metadata["current-schema-id"];
    if let Some(id) = snapshot_id {
        let snapshot = list("snapshots").iter().find(|s| s["snapshot-id"] == id).ok_or_else(strange)?;
        if snapshot["schema-id"].is_number() {
            wanted = &snapshot["schema-id"];
        }
    }
    let schema = list("schemas").iter().find(|s| s["schema-id"] == *wanted);
    match Kind::parse(schema.unwrap_or(&metadata["schema"]))? {
        Kind::Struct(columns) => Ok(columns),
        _ => Err(strange()),
    }
}

impl Kind {
    /// Reads a type as it stands in a schema's JSON.
    ///
    /// # Errors
    /// For a type that is not known here.
    pub fn parse(json: &Value) -> Result<Self> {
        let unknown = || Failure::new(format!("no canonical form for the type {json}"));
        let boxed = |key: &str| Self::parse(&json[key]).map(Box::new);
        match json {
            Value::String(name) => Self::parse_primitive(name).ok_or_else(unknown),
            Value::Object(_) => match json["type"].as_str() {
                Some("struct") => {
                    let fields = json["fields"].as_array().ok_or_else(unknown)?;
                    fields.iter().map(Self::parse_field).collect::<Result<_>>().map(Self::Struct)
                }
                Some("list") => Ok(Self::List(boxed("element")?)),
                Some("map") => Ok(Self::Map(boxed("key")?, boxed("value")?)),
                _ => Err(unknown()),
            },
            _ => Err(unknown()),
        }
    }

    fn parse_field(json: &Value) -> Result<Column> {
        let name = json["name"].as_str().ok_or_else(|| Failure::new("a field without a name"))?;
        Ok(Column { name: name.to_owned(), kind: Self::parse(&json["type"])? })
    }

    fn parse_primitive(name: &str) -> Option<Self> {
        if let Some(numbers) = name.strip_prefix("decimal(").and_then(|rest| rest.strip_suffix(')')) {
            let scale = numbers.split(',').nth(1)?.trim().parse().ok()?;
            return Some(Self::Decimal { scale });
        }
        let timestamp = |zoned, digits| Some(Self::Timestamp { zoned, digits });
        match name {
            "boolean" => Some(Self::Boolean),
            "int" | "long" => Some(Self::Integer),
            "float" => Some(Self::Float),
            "double" => Some(Self::Double),
            "date" => Some(Self::Date),
            "time" => Some(Self::Time),
            "timestamp" => timestamp(false, 6),
            "timestamptz" => timestamp(true, 6),
            "timestamp_ns" => timestamp(false, 9),
            "timestamptz_ns" => timestamp(true, 9),
            "string" => Some(Self::String),
            "uuid" => Some(Self::Uuid),
            "binary" => Some(Self::Bytes),
            _ if name.starts_with("fixed[") => Some(Self::Bytes),
            _ => None,
        }
    }

    /// The canonical form of a value; a value in that form stays as it is.
    ///
    /// # Errors
    /// When the value is not one that `icecap` prints, or a reader answers, for this type.
    pub fn canonical(&self, value: &Value) -> Result<Value> {
        if value.is_null() {
            return Ok(Value::Null);
        }
        let canonical = match self {
            Self::Boolean => value.as_bool().map(Value::from),
            Self::Integer => value.as_i64().map(Value::from),
            Self::Float => float(value).map(|wide| shortest(wide, Some(wide as f32))),
            Self::Double => float(value).map(|wide| shortest(wide, None)),
            Self::Decimal { scale } => {
                value.as_str().filter(|text| is_decimal(text, *scale)).map(Value::from)
            }
            Self::Date => text_like(value, "dddd-dd-dd"),
            Self::Time => text_like(value, "dd:dd:dd.dddddd"),
            Self::Timestamp { zoned, digits } => timestamp(value, *zoned, *digits),
            Self::String => value.as_str().map(Value::from),
            Self::Uuid => text_like(value, "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx"),
            Self::Bytes => value.as_str().filter(|text| STANDARD.decode(text).is_ok()).map(Value::from),
            Self::Struct(columns) => return canonical_struct(columns, value),
            Self::List(element) => {
                let values = value.as_array().ok_or_else(|| self.strange(value))?;
                return values.iter().map(|v| element.canonical(v)).collect::<Result<_>>().map(Value::Array);
            }
            Self::Map(key, of) => return self.canonical_map(key, of, value),
        };
        canonical.ok_or_else(|| self.strange(value))
    }

    fn strange(&self, value: &Value) -> Failure {
        Failure::new(format!("{value} is not how a {self:?} is written"))
    }

    /// Pairs sorted by key, from an object (text keys) or from pairs.
    fn canonical_map(&self, key: &Self, of: &Self, value: &Value) -> Result<Value> {
        let pairs: Vec<(Value, &Value)> = match value {
            Value::Object(entries) => entries.iter().map(|(k, v)| (Value::from(k.as_str()), v)).collect(),
            Value::Array(pairs) => {
                let whole = pairs.iter().map(|pair| Some((pair.get(0)?.clone(), pair.get(1)?)));
                whole.collect::<Option<_>>().ok_or_else(|| self.strange(value))?
            }
            _ => return Err(self.strange(value)),
        };
        let mut pairs = pairs
            .iter()
            .map(|(k, v)| Ok((key.canonical(k)?, of.canonical(v)?)))
            .collect::<Result<Vec<_>>>()?;
        pairs.sort_by_key(|(k, _)| k.to_string());
        Ok(pairs.into_iter().map(|(k, v)| Value::Array(vec![k, v])).collect())
    }
}

fn canonical_struct(columns: &[Column], value: &Value) -> Result<Value> {
    let strange = || Failure::new(format!("{value} is not a struct of {} fields", columns.len()));
    let object = value.as_object().filter(|object| object.len() == columns.len()).ok_or_else(strange)?;
    let mut made = Map::new();
    for column in columns {
        let field = object.get(&column.name).ok_or_else(strange)?;
        made.insert(column.name.clone(), column.kind.canonical(field)?);
    }
    Ok(Value::Object(made))
}

/// A number, or one of the three words that JSON has no number for.
fn float(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(word) => match word.as_str() {
            "NaN" => Some(f64::NAN),
            "Infinity" => Some(f64::INFINITY),
            "-Infinity" => Some(f64::NEG_INFINITY),
            _ => None,
        },
        _ => None,
    }
}

/// The shortest text that reads back as the same number: as a `float` when it is one. The sign of zero is kept.
fn shortest(wide: f64, narrow: Option<f32>) -> Value {
    Value::from(match narrow {
        _ if wide.is_nan() => "NaN".to_owned(),
        Some(narrow) => format!("{narrow:?}"),
        None => format!("{wide:?}"),
    })
}

fn is_decimal(text: &str, scale: usize) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let all_digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    !whole.is_empty() && all_digits(whole) && all_digits(fraction) && fraction.len() == scale
}

/// A text that has `d` for a digit, `x` for a lower-case hexadecimal digit, and everything else as it stands.
fn text_like(value: &Value, form: &str) -> Option<Value> {
    let text = value.as_str()?;
    let fits = |(byte, form): (u8, u8)| match form {
        b'd' => byte.is_ascii_digit(),
        b'x' => byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte),
        other => byte == other,
    };
    (text.len() == form.len() && text.bytes().zip(form.bytes()).all(fits)).then(|| Value::from(text))
}

fn timestamp(value: &Value, zoned: bool, digits: usize) -> Option<Value> {
    let zone = if zoned { "Z" } else { "" };
    text_like(value, &format!("dddd-dd-ddTdd:dd:dd.{}{zone}", "d".repeat(digits)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn canonical(kind: &str, value: Value) -> Result<Value> {
        Kind::parse(&json!(kind)).unwrap().canonical(&value)
    }

    #[test]
    fn numbers_keep_their_bits() {
        assert_eq!(canonical("double", json!(-0.0)).unwrap(), "-0.0");
        assert_eq!(canonical("double", json!("NaN")).unwrap(), "NaN");
        assert_eq!(canonical("float", json!("-Infinity")).unwrap(), "-inf");
        assert_eq!(canonical("float", json!(0.100_000_001_490_116_12)).unwrap(), "0.1");
        assert_eq!(canonical("float", json!(0.1)).unwrap(), "0.1");
        assert_eq!(canonical("double", json!(1)).unwrap(), "1.0");
        assert_eq!(canonical("long", json!(i64::MIN)).unwrap(), i64::MIN);
        assert!(canonical("long", json!(1.5)).is_err());
    }

    #[test]
    fn texts_must_have_the_form_of_their_type() {
        assert_eq!(canonical("decimal(9, 2)", json!("-1.50")).unwrap(), "-1.50");
        assert!(canonical("decimal(9, 2)", json!("1.5")).is_err());
        assert!(canonical("decimal(9, 2)", json!(1.5)).is_err());
        assert!(canonical("timestamp", json!("2026-01-02T03:04:05")).is_err());
        assert!(canonical("timestamptz", json!("2026-01-02T03:04:05.000001")).is_err());
        assert!(canonical("timestamptz", json!("2026-01-02T03:04:05.000001Z")).is_ok());
        assert!(canonical("timestamp_ns", json!("2026-01-02T03:04:05.000000001")).is_ok());
        assert!(canonical("uuid", json!("AAAAAAAA-0000-0000-0000-000000000000")).is_err());
    }

    #[test]
    fn maps_are_sorted_pairs_whichever_way_they_are_written() {
        let map = Kind::parse(&json!({"type": "map", "key": "string", "value": "int"})).unwrap();
        let expected = json!([["a", 1], ["b", null]]);
        assert_eq!(map.canonical(&json!({"b": null, "a": 1})).unwrap(), expected);
        assert_eq!(map.canonical(&json!([["b", null], ["a", 1]])).unwrap(), expected);
        assert!(map.canonical(&json!([["a"]])).is_err());
    }

    #[test]
    fn the_schema_of_a_snapshot_is_not_the_current_one() {
        let field = |name: &str| json!({"id": 1, "name": name, "type": "int", "required": false});
        let metadata = json!({
            "current-schema-id": 1,
            "schemas": [
                {"type": "struct", "schema-id": 0, "fields": [field("old")]},
                {"type": "struct", "schema-id": 1, "fields": [field("new")]},
            ],
            "snapshots": [{"snapshot-id": 7, "schema-id": 0}],
        });
        assert_eq!(columns_of(&metadata, None).unwrap()[0].name, "new");
        assert_eq!(columns_of(&metadata, Some(7)).unwrap()[0].name, "old");
        assert!(columns_of(&metadata, Some(8)).is_err());
    }
}
