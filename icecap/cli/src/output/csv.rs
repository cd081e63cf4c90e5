//! Comma-separated values: a header, RFC 4180 quoting, `\n` line ends.
//!
//! NULL is an empty field and the empty string is `""`, so that the two stay apart.

use std::io::Write;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use super::json::CHUNK_BYTES;
use super::value::{Column, Style};
use super::{OutputResult, RowWriter};

pub(super) struct CsvWriter {
    schema: SchemaRef,
    header_written: bool,
}

impl CsvWriter {
    pub(super) fn new(schema: SchemaRef) -> Self {
        Self { schema, header_written: false }
    }

    fn write_header(&mut self, out: &mut dyn Write) -> OutputResult {
        if !self.header_written {
            self.header_written = true;
            let names = self.schema.fields().iter().map(|field| field.name().as_str());
            out.write_all(record(names).as_bytes())?;
        }
        Ok(())
    }
}

impl RowWriter for CsvWriter {
    fn write(&mut self, batch: &RecordBatch, out: &mut dyn Write) -> OutputResult {
        self.write_header(out)?;
        let schema = batch.schema_ref();
        let columns = schema
            .fields()
            .iter()
            .zip(batch.columns())
            .map(|(field, array)| Column::new(field, array.as_ref()))
            .collect::<Result<Vec<_>, _>>()?;
        let (mut text, mut field) = (String::new(), String::new());
        for row in 0..batch.num_rows() {
            for (at, column) in columns.iter().enumerate() {
                if at > 0 {
                    text.push(',');
                }
                if !column.is_null(row) {
                    field.clear();
                    column.write(row, Style::Plain, &mut field);
                    push_field(&field, &mut text);
                }
            }
            text.push('\n');
            if text.len() >= CHUNK_BYTES {
                out.write_all(text.as_bytes())?;
                text.clear();
            }
        }
        out.write_all(text.as_bytes())?;
        Ok(())
    }

    fn finish(&mut self, out: &mut dyn Write) -> OutputResult {
        self.write_header(out)
    }
}

/// One line of fields, none of them NULL.
pub(super) fn record<'a>(fields: impl Iterator<Item = &'a str>) -> String {
    let mut text = String::new();
    for (at, field) in fields.enumerate() {
        if at > 0 {
            text.push(',');
        }
        push_field(field, &mut text);
    }
    text.push('\n');
    text
}

fn push_field(field: &str, out: &mut String) {
    let quote = field.is_empty() || field.bytes().any(|byte| matches!(byte, b',' | b'"' | b'\n' | b'\r'));
    if quote {
        out.push('"');
        out.push_str(&field.replace('"', "\"\""));
        out.push('"');
    } else {
        out.push_str(field);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int32Array, ListArray, StringArray};
    use arrow::datatypes::Int32Type;

    use super::*;

    #[test]
    fn what_needs_quotes_is_quoted_and_null_is_not_the_empty_string() {
        let list = ListArray::from_iter_primitive::<Int32Type, _, _>(vec![
            Some(vec![Some(1), None]),
            None,
            Some(vec![]),
            Some(vec![Some(7)]),
        ]);
        let batch = RecordBatch::try_from_iter_with_nullable([
            ("id", Arc::new(Int32Array::from(vec![Some(1), None, Some(3), Some(4)])) as ArrayRef, true),
            (
                "a,b",
                Arc::new(StringArray::from(vec![Some("x,y"), Some(""), None, Some("say \"no\"\r\n")])),
                true,
            ),
            ("list", Arc::new(list), true),
        ])
        .unwrap();
        let mut out = Vec::new();
        let mut writer = CsvWriter::new(batch.schema());
        writer.write(&batch.slice(0, 2), &mut out).unwrap();
        writer.write(&batch.slice(2, 2), &mut out).unwrap();
        writer.finish(&mut out).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "id,\"a,b\",list\n1,\"x,y\",\"[1,null]\"\n,\"\",\n3,,[]\n4,\"say \"\"no\"\"\r\n\",[7]\n"
        );
    }

    #[test]
    fn a_result_without_rows_has_its_header() {
        let batch =
            RecordBatch::try_from_iter([("x", Arc::new(Int32Array::from(vec![1])) as ArrayRef)]).unwrap();
        let mut out = Vec::new();
        CsvWriter::new(batch.schema()).finish(&mut out).unwrap();
        assert_eq!(out, b"x\n");
    }
}
