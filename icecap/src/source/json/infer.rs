//! What the values of a sample have in common.

use std::collections::HashMap;

use datafusion::arrow::datatypes::{DataType, Field, Fields, Schema as ArrowSchema};
use icecap_table::storage::Storage;
use icecap_table::{Error, Result};
use serde_json::{Map, Value};

use super::JsonOptions;
use super::read::Lines;
use crate::source::bytes::FileAt;
use crate::source::files::Listed;

/// No sample has more fields, at any depth: objects with keys that are data would fill the memory.
const MAX_FIELDS: usize = 10_000;

/// The kinds of value that were seen at one place.
#[derive(Default)]
struct Seen {
    boolean: bool,
    text: bool,
    number: bool,
    /// A number that is no 64-bit integer.
    not_integer: bool,
    /// A number that a double does not hold.
    not_double: bool,
    elements: Option<Box<Seen>>,
    fields: Option<Members>,
}

/// The fields of objects, in the order in which they were first seen.
#[derive(Default)]
struct Members {
    list: Vec<(String, Seen)>,
    index: HashMap<String, usize>,
}

impl Members {
    fn look(&mut self, object: &Map<String, Value>, count: &mut usize) {
        for (name, value) in object {
            let at = match self.index.get(name) {
                Some(at) => *at,
                None => {
                    *count += 1;
                    if *count > MAX_FIELDS {
                        return;
                    }
                    self.index.insert(name.clone(), self.list.len());
                    self.list.push((name.clone(), Seen::default()));
                    self.list.len() - 1
                }
            };
            self.list[at].1.look(value, count);
        }
    }

    fn fields(&self) -> Fields {
        self.list.iter().map(|(name, seen)| Field::new(name, seen.data_type(), true)).collect()
    }
}

impl Seen {
    fn look(&mut self, value: &Value, count: &mut usize) {
        match value {
            Value::Null => {}
            Value::Bool(_) => self.boolean = true,
            Value::String(_) => self.text = true,
            Value::Number(number) => {
                self.number = true;
                self.not_integer |= number.as_i64().is_none();
                self.not_double |= super::column::double(number).is_none();
            }
            Value::Array(values) => {
                let elements = self.elements.get_or_insert_default();
                values.iter().for_each(|value| elements.look(value, count));
            }
            Value::Object(object) => self.fields.get_or_insert_default().look(object, count),
        }
    }

    fn data_type(&self) -> DataType {
        let kinds = [self.boolean, self.text, self.number, self.elements.is_some(), self.fields.is_some()];
        if kinds.iter().filter(|kind| **kind).count() != 1 {
            return DataType::Utf8;
        }
        match (&self.elements, &self.fields) {
            (Some(elements), _) => DataType::List(Field::new("element", elements.data_type(), true).into()),
            (_, Some(members)) if members.list.is_empty() => DataType::Utf8,
            (_, Some(members)) => DataType::Struct(members.fields()),
            _ if self.boolean => DataType::Boolean,
            _ if self.number && !self.not_integer => DataType::Int64,
            _ if self.number && !self.not_double => DataType::Float64,
            _ => DataType::Utf8,
        }
    }
}

/// The schema of files that are read as one.
pub(super) fn schema(options: &JsonOptions, storage: &Storage, files: &[Listed]) -> Result<ArrowSchema> {
    let mut members = Members::default();
    let mut count = 0;
    for file in files {
        let mut lines = Lines::open(FileAt::listed(storage, file))?;
        for _ in 0..options.sample_rows.unwrap_or(usize::MAX) {
            let Some((_, object)) = lines.next()? else { break };
            members.look(&object, &mut count);
            if count > MAX_FIELDS {
                return Err(lines.wrong(&format!(
                    "the objects have more than {MAX_FIELDS} fields: give columns => 'name type, …'"
                )));
            }
        }
    }
    if members.list.is_empty() {
        return Err(Error::invalid(
            "the files have no row, so their columns are not known: give columns => 'name type, …'",
        ));
    }
    Ok(ArrowSchema::new(members.fields()))
}
