//! Avro schemas: those of files as they are read, and the one that manifests are written with.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use iceberg::spec::{NestedField, PrimitiveType, StructType, Type};
use serde_json::{Value as Json, json};

use super::Broken;
use crate::error::{Error, Result};

/// How deep a schema may nest.
const MAX_DEPTH: usize = 32;

/// A schema, as far as decoding needs it.
#[derive(Debug)]
pub(super) enum Node {
    Null,
    Boolean,
    Long,
    Float,
    Double,
    Bytes,
    Fixed(usize),
    Array(Rc<Node>),
    Map(Rc<Node>),
    Union(Vec<Rc<Node>>),
    Record(Vec<Field>),
}

/// A record's field.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) id: Option<i32>,
    pub(super) node: Rc<Node>,
}

/// Parses a schema's JSON.
pub(super) fn parse(json: &[u8]) -> Result<Rc<Node>, Broken> {
    let json: Json = serde_json::from_slice(json).map_err(|_| "its schema is no JSON")?;
    Parser { named: HashMap::new() }.node(&json, 0)
}

struct Parser {
    named: HashMap<String, Rc<Node>>,
}

impl Parser {
    fn node(&mut self, json: &Json, depth: usize) -> Result<Rc<Node>, Broken> {
        if depth > MAX_DEPTH {
            return Err("its schema nests too deep".into());
        }
        match json {
            Json::String(name) => match primitive(name) {
                Some(node) => Ok(Rc::new(node)),
                None => self
                    .named
                    .get(name)
                    .map(Rc::clone)
                    .ok_or_else(|| Broken::Bytes(format!("its schema has an unknown type {name}"))),
            },
            Json::Array(options) => {
                let options = options.iter().map(|option| self.node(option, depth + 1));
                Ok(Rc::new(Node::Union(options.collect::<Result<_, _>>()?)))
            }
            Json::Object(object) => {
                let of = |key: &str| object.get(key).ok_or("its schema is incomplete");
                let node = match of("type")? {
                    Json::String(kind) => match kind.as_str() {
                        "array" => Node::Array(self.node(of("items")?, depth + 1)?),
                        "map" => Node::Map(self.node(of("values")?, depth + 1)?),
                        "enum" => Node::Long,
                        "fixed" => {
                            let size = of("size")?.as_u64().and_then(|size| usize::try_from(size).ok());
                            Node::Fixed(size.ok_or("its schema has a bad size")?)
                        }
                        "record" => self.record(of("fields")?, depth)?,
                        _ => return self.node(of("type")?, depth + 1),
                    },
                    nested => return self.node(nested, depth + 1),
                };
                let node = Rc::new(node);
                if let Some(name) = object.get("name").and_then(Json::as_str) {
                    self.named.insert(name.to_owned(), Rc::clone(&node));
                }
                Ok(node)
            }
            _ => Err("its schema is none".into()),
        }
    }

    fn record(&mut self, fields: &Json, depth: usize) -> Result<Node, Broken> {
        let fields = fields.as_array().ok_or("its schema has a record without fields")?;
        let fields = fields.iter().map(|field| {
            let id = field.get("field-id").and_then(Json::as_i64).and_then(|id| i32::try_from(id).ok());
            let node = self.node(field.get("type").ok_or("its schema is incomplete")?, depth + 1)?;
            Ok(Field { id, node })
        });
        Ok(Node::Record(fields.collect::<Result<_, Broken>>()?))
    }
}

fn primitive(name: &str) -> Option<Node> {
    Some(match name {
        "null" => Node::Null,
        "boolean" => Node::Boolean,
        "int" | "long" => Node::Long,
        "float" => Node::Float,
        "double" => Node::Double,
        "bytes" | "string" => Node::Bytes,
        _ => return None,
    })
}

/// The schema of a manifest whose partition tuples are of this type. The encoder follows its order.
///
/// # Errors
/// `Unsupported` for a partition value that is not of a primitive type.
pub(super) fn of_manifest(partition: &StructType) -> Result<Json> {
    let optional = |id: i32, name: &str, kind: Json| json!({"name": name, "type": ["null", kind], "default": null, "field-id": id});
    let required = |id: i32, name: &str, kind: &str| json!({"name": name, "type": kind, "field-id": id});
    let map = |id: i32, name: &str, key: i32, value_type: &str| {
        let items = json!({"type": "record", "name": format!("k{key}_v{}", key + 1), "fields": [
            {"name": "key", "type": "int", "field-id": key},
            {"name": "value", "type": value_type, "field-id": key + 1}]});
        optional(id, name, json!({"type": "array", "items": items, "logicalType": "map"}))
    };
    let list = |id: i32, name: &str, element: i32, kind: &str| {
        optional(id, name, json!({"type": "array", "items": kind, "element-id": element}))
    };
    let data_file = json!({"type": "record", "name": "r2", "fields": [
        required(134, "content", "int"),
        required(100, "file_path", "string"),
        required(101, "file_format", "string"),
        {"name": "partition", "type": of_partition(partition)?, "field-id": 102},
        required(103, "record_count", "long"),
        required(104, "file_size_in_bytes", "long"),
        map(108, "column_sizes", 117, "long"),
        map(109, "value_counts", 119, "long"),
        map(110, "null_value_counts", 121, "long"),
        map(137, "nan_value_counts", 138, "long"),
        map(125, "lower_bounds", 126, "bytes"),
        map(128, "upper_bounds", 129, "bytes"),
        optional(131, "key_metadata", json!("bytes")),
        list(132, "split_offsets", 133, "long"),
        list(135, "equality_ids", 136, "int"),
        optional(140, "sort_order_id", json!("int")),
        optional(142, "first_row_id", json!("long")),
        optional(143, "referenced_data_file", json!("string")),
        optional(144, "content_offset", json!("long")),
        optional(145, "content_size_in_bytes", json!("long")),
    ]});
    Ok(json!({"type": "record", "name": "manifest_entry", "fields": [
        required(0, "status", "int"),
        optional(1, "snapshot_id", json!("long")),
        optional(3, "sequence_number", json!("long")),
        optional(4, "file_sequence_number", json!("long")),
        {"name": "data_file", "type": data_file, "field-id": 2},
    ]}))
}

fn of_partition(partition: &StructType) -> Result<Json> {
    let mut types = HashSet::new();
    let mut names = HashSet::new();
    let fields = partition.fields().iter().map(|field| {
        let Type::Primitive(kind) = field.field_type.as_ref() else {
            return Err(Error::unsupported("a partition value is of a nested type").with("field", &field.name));
        };
        let mut json = json!({"name": name(field, &mut names), "type": ["null", of_primitive(kind, &mut types)],
            "default": null, "field-id": field.id});
        if json["name"] != field.name.as_str() {
            json["iceberg-field-name"] = json!(field.name);
        }
        Ok(json)
    });
    Ok(json!({"type": "record", "name": "r102", "fields": fields.collect::<Result<Vec<_>>>()?}))
}

/// The field's name as Avro allows it: letters, digits and underscores of ASCII, others as `_x` and their code.
fn name(field: &NestedField, taken: &mut HashSet<String>) -> String {
    let mut name = String::new();
    for (at, ch) in field.name.chars().enumerate() {
        match ch {
            '0'..='9' if at == 0 => {
                name.push('_');
                name.push(ch);
            }
            'a'..='z' | 'A'..='Z' | '0'..='9' | '_' => name.push(ch),
            other => name.push_str(&format!("_x{:X}", u32::from(other))),
        }
    }
    if !taken.insert(name.clone()) {
        name = format!("{name}_r{}", field.id);
        taken.insert(name.clone());
    }
    name
}

/// The Avro type of a partition value (spec, Appendix A). Types with names get different ones.
fn of_primitive(kind: &PrimitiveType, defined: &mut HashSet<String>) -> Json {
    let logical = |kind: &str, logical: &str| json!({"type": kind, "logicalType": logical});
    let timestamp =
        |unit: &str, adjusted: bool| json!({"type": "long", "logicalType": unit, "adjust-to-utc": adjusted});
    let mut fixed = |mut name: String, size: u64, more: Json| {
        // Avro wants each name defined once, and not every reader resolves a reference to one of these.
        while !defined.insert(name.clone()) {
            name.push_str("_again");
        }
        let mut json = json!({"type": "fixed", "name": name, "size": size});
        if let (Json::Object(json), Json::Object(more)) = (&mut json, more) {
            json.extend(more);
        }
        json
    };
    match kind {
        PrimitiveType::Boolean => json!("boolean"),
        PrimitiveType::Int => json!("int"),
        PrimitiveType::Long => json!("long"),
        PrimitiveType::Float => json!("float"),
        PrimitiveType::Double => json!("double"),
        PrimitiveType::Date => logical("int", "date"),
        PrimitiveType::Time => logical("long", "time-micros"),
        PrimitiveType::Timestamp => timestamp("timestamp-micros", false),
        PrimitiveType::Timestamptz => timestamp("timestamp-micros", true),
        PrimitiveType::TimestampNs => timestamp("timestamp-nanos", false),
        PrimitiveType::TimestamptzNs => timestamp("timestamp-nanos", true),
        PrimitiveType::String => json!("string"),
        PrimitiveType::Binary => json!("bytes"),
        PrimitiveType::Uuid => fixed("uuid_fixed".to_owned(), 16, json!({"logicalType": "uuid"})),
        PrimitiveType::Fixed(length) => fixed(format!("fixed_{length}"), *length, json!({})),
        PrimitiveType::Decimal { precision, scale } => fixed(
            format!("decimal_{precision}_{scale}"),
            decimal_bytes(*precision) as u64,
            json!({"logicalType": "decimal", "precision": precision, "scale": scale}),
        ),
    }
}

/// The bytes that every decimal of a precision fits in.
pub(super) fn decimal_bytes(precision: u32) -> usize {
    let largest = 10i128.saturating_pow(precision.min(38)).saturating_sub(1);
    // A sign bit beside the digits.
    let bits = (128 - largest.leading_zeros()) as usize + 1;
    bits.div_ceil(8)
}
