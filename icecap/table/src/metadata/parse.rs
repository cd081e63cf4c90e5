//! From bytes to tree and model, with every limit that a hostile file needs.

use std::io::Read;

use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use iceberg::spec::TableMetadata;
use serde_json::Value;

use crate::error::{Error, Result};

/// The largest metadata file, inflated, in bytes. (A thousand snapshots make about one million.)
pub const METADATA_MAX_BYTES: u64 = 64 << 20;

const GZIP: [u8; 2] = [0x1f, 0x8b];

/// The types of format version 3 that the kernel does not know.
const UNKNOWN_TYPES: [&str; 4] = ["variant", "geometry", "geography", "unknown"];

/// The JSON text of a metadata file.
pub(super) fn inflated(bytes: &[u8]) -> Result<Bytes> {
    let json = if bytes.starts_with(&GZIP) {
        let mut json = Vec::new();
        MultiGzDecoder::new(bytes)
            .take(METADATA_MAX_BYTES + 1)
            .read_to_end(&mut json)
            .map_err(|e| Error::corrupt("metadata file is no gzip file").with_source(e))?;
        Bytes::from(json)
    } else {
        Bytes::copy_from_slice(bytes)
    };
    if json.len() as u64 > METADATA_MAX_BYTES {
        return Err(Error::corrupt(format!("metadata file is larger than {METADATA_MAX_BYTES} bytes")));
    }
    Ok(json)
}

/// The kernel's model of a metadata file. Nesting is limited to 128 levels by the JSON reader.
pub(super) fn model(json: &[u8]) -> Result<TableMetadata> {
    serde_json::from_slice(json).or_else(|error| match with_sequence_numbers(json) {
        Some(tree) => serde_json::from_value(tree).map_err(|error| why_not(json, error)),
        None => Err(why_not(json, error)),
    })
}

/// The file with the sequence number that its snapshots from format version 1 have by the specification: 0. Java leaves
/// it out in files of later versions too, and the kernel asks for it there. `None` when none is missing.
fn with_sequence_numbers(json: &[u8]) -> Option<Value> {
    let mut tree: Value = serde_json::from_slice(json).ok()?;
    if tree.get("format-version").and_then(Value::as_i64)? < 2 {
        return None;
    }
    let mut found = false;
    for snapshot in tree.get_mut("snapshots")?.as_array_mut()?.iter_mut().filter_map(Value::as_object_mut) {
        if !snapshot.contains_key("sequence-number") {
            snapshot.insert("sequence-number".to_owned(), Value::from(0));
            found = true;
        }
    }
    found.then_some(tree)
}

/// What to say of a file that the kernel cannot read.
fn why_not(json: &[u8], error: serde_json::Error) -> Error {
    let Ok(tree) = serde_json::from_slice::<Value>(json) else {
        return Error::corrupt("metadata file is not JSON, or nested too deeply").with_source(error);
    };
    match tree.get("format-version").and_then(Value::as_i64) {
        Some(1..=3) => {}
        Some(version) => {
            let message = format!("format version {version} is not supported: Icecap knows 1, 2 and 3");
            return Error::unsupported(message);
        }
        None => return Error::corrupt("metadata file has no format version"),
    }
    match unknown_type(&tree) {
        Some((column, kind)) => Error::unsupported(format!("type {kind} is not supported yet"))
            .with("column", column)
            .with_source(error),
        None => Error::corrupt("metadata file breaks the table specification").with_source(error),
    }
}

/// What the model says in JSON; numbers and names compare with a tree's.
pub(super) fn model_tree(metadata: &TableMetadata) -> Result<Value> {
    serde_json::to_value(metadata).map_err(|e| Error::bug("metadata has no JSON form").with_source(e))
}

/// The first column, with its type, that the kernel cannot model.
fn unknown_type(tree: &Value) -> Option<(String, String)> {
    let schemas = tree.get("schemas").and_then(Value::as_array).into_iter().flatten();
    schemas.chain(tree.get("schema")).find_map(|schema| unknown_in(schema, ""))
}

fn unknown_in(kind: &Value, name: &str) -> Option<(String, String)> {
    if let Some(text) = kind.as_str() {
        let base = text.split('(').next().unwrap_or(text).trim();
        return UNKNOWN_TYPES.contains(&base).then(|| (name.to_owned(), text.to_owned()));
    }
    let fields = kind.get("fields").and_then(Value::as_array).into_iter().flatten();
    let mut in_fields = fields.map(|field| {
        let own = field.get("name").and_then(Value::as_str).unwrap_or("?");
        let full = if name.is_empty() { own.to_owned() } else { format!("{name}.{own}") };
        field.get("type").and_then(|kind| unknown_in(kind, &full))
    });
    in_fields.find_map(|found| found).or_else(|| {
        ["element", "key", "value"]
            .iter()
            .find_map(|part| kind.get(part).and_then(|kind| unknown_in(kind, name)))
    })
}
