//! JSON lines: one object a row.

use std::collections::HashSet;
use std::io::Write;

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;

use super::value::{Column, Style, write_json_string};
use super::{OutputResult, RowWriter};

/// Text is handed to the output in pieces of about this size.
pub(super) const CHUNK_BYTES: usize = 64 * 1024;

pub(super) struct JsonWriter {
    /// `"name":` of each column.
    keys: Vec<String>,
    text: String,
}

impl JsonWriter {
    pub(super) fn new(schema: &Schema) -> Self {
        let keys = unique_names(schema)
            .iter()
            .map(|name| {
                let mut key = String::new();
                write_json_string(name, &mut key);
                key.push(':');
                key
            })
            .collect();
        Self { keys, text: String::with_capacity(CHUNK_BYTES + 4096) }
    }
}

impl RowWriter for JsonWriter {
    fn write(&mut self, batch: &RecordBatch, out: &mut dyn Write) -> OutputResult {
        let schema = batch.schema_ref();
        let columns = schema
            .fields()
            .iter()
            .zip(batch.columns())
            .map(|(field, array)| Column::new(field, array.as_ref()))
            .collect::<Result<Vec<_>, _>>()?;
        for row in 0..batch.num_rows() {
            self.text.push('{');
            for (at, (key, column)) in self.keys.iter().zip(&columns).enumerate() {
                if at > 0 {
                    self.text.push(',');
                }
                self.text.push_str(key);
                column.write(row, Style::Json, &mut self.text);
            }
            self.text.push_str("}\n");
            if self.text.len() >= CHUNK_BYTES {
                out.write_all(self.text.as_bytes())?;
                self.text.clear();
            }
        }
        out.write_all(self.text.as_bytes())?;
        self.text.clear();
        Ok(())
    }

    fn finish(&mut self, _: &mut dyn Write) -> OutputResult {
        Ok(())
    }
}

/// The columns' names, each of them once: most readers of JSON keep only one value of a repeated key, so
/// a repeated name gets the first free of `name_1`, `name_2`, ….
fn unique_names(schema: &Schema) -> Vec<String> {
    let given: HashSet<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    let mut used = HashSet::new();
    schema
        .fields()
        .iter()
        .map(|field| {
            let mut name = field.name().clone();
            let mut count = 0;
            while !used.insert(name.clone()) {
                loop {
                    count += 1;
                    name = format!("{}_{count}", field.name());
                    if !given.contains(name.as_str()) {
                        break;
                    }
                }
            }
            name
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int32Array, StringArray};
    use arrow::datatypes::{DataType, Field};

    use super::*;

    #[test]
    fn a_row_is_a_line() {
        let batch = RecordBatch::try_from_iter([
            ("id", Arc::new(Int32Array::from(vec![Some(1), None])) as ArrayRef),
            ("na\"me", Arc::new(StringArray::from(vec!["a\nb", "ü\u{1}"]))),
        ])
        .unwrap();
        let mut out = Vec::new();
        let mut writer = JsonWriter::new(batch.schema_ref());
        writer.write(&batch, &mut out).unwrap();
        writer.write(&batch.slice(1, 1), &mut out).unwrap();
        writer.finish(&mut out).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "{\"id\":1,\"na\\\"me\":\"a\\nb\"}\n\
             {\"id\":null,\"na\\\"me\":\"ü\\u0001\"}\n\
             {\"id\":null,\"na\\\"me\":\"ü\\u0001\"}\n"
        );
    }

    #[test]
    fn repeated_names_are_told_apart() {
        let names = ["id", "id", "id_1", "x", "id"];
        let schema = Schema::new(names.map(|name| Field::new(name, DataType::Int32, true)).to_vec());
        assert_eq!(unique_names(&schema), ["id", "id_2", "id_1", "x", "id_3"]);
    }
}
