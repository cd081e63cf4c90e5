//! Aligned columns for a person.
//!
//! Widths come from a bounded sample of the first rows. Later rows stream; a cell wider than its column
//! is cut on a terminal and pushes its row to the right elsewhere, where nothing is ever cut.

use std::io::Write;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::value::{Column, Style, is_number};
use super::{OutputResult, RowWriter, Screen};

/// Rows looked at before the widths are settled.
const SAMPLE_ROWS: usize = 1_000;
/// Bytes of text looked at before the widths are settled.
const SAMPLE_BYTES: usize = 4 * 1024 * 1024;
/// No column is made narrower than this to fit a terminal.
const NARROWEST: usize = 8;

pub(super) struct TableWriter {
    schema: SchemaRef,
    screen: Screen,
    right: Vec<bool>,
    /// Rows whose widths are still being gathered; `widths` is empty until then.
    sample: Vec<Vec<String>>,
    sample_bytes: usize,
    widths: Option<Vec<usize>>,
    rows: u64,
}

impl TableWriter {
    pub(super) fn new(schema: SchemaRef, screen: Screen) -> Self {
        let right = schema.fields().iter().map(|field| is_number(field.data_type())).collect();
        Self { schema, screen, right, sample: Vec::new(), sample_bytes: 0, widths: None, rows: 0 }
    }

    /// Settles the widths, then writes the header and the sampled rows.
    fn settle(&mut self, out: &mut dyn Write) -> OutputResult {
        if self.widths.is_some() {
            return Ok(());
        }
        let header: Vec<String> = self.schema.fields().iter().map(|field| printable(field.name())).collect();
        let mut widths: Vec<usize> = header.iter().map(|name| name.width()).collect();
        for row in &self.sample {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.width());
            }
        }
        if let Some(columns) = self.screen.columns {
            fit(&mut widths, columns);
        }
        let centre = vec![false; header.len()];
        out.write_all(self.line(&header, &widths, &centre).as_bytes())?;
        let rule: Vec<String> = widths.iter().map(|width| "-".repeat(width + 2)).collect();
        out.write_all(format!("{}\n", rule.join("+")).as_bytes())?;
        for row in std::mem::take(&mut self.sample) {
            out.write_all(self.line(&row, &widths, &self.right).as_bytes())?;
        }
        self.widths = Some(widths);
        Ok(())
    }

    fn line(&self, cells: &[String], widths: &[usize], right: &[bool]) -> String {
        let mut line = String::new();
        for (at, (cell, width)) in cells.iter().zip(widths).enumerate() {
            line.push_str(if at == 0 { " " } else { " | " });
            let cut = self.screen.columns.is_some().then(|| cut(cell, *width)).flatten();
            let cell = cut.as_deref().unwrap_or(cell);
            let padding = width.saturating_sub(cell.width());
            if right[at] {
                line.extend(std::iter::repeat_n(' ', padding));
                line.push_str(cell);
            } else {
                line.push_str(cell);
                line.extend(std::iter::repeat_n(' ', padding));
            }
        }
        line.truncate(line.trim_end_matches(' ').len());
        line.push('\n');
        line
    }
}

impl RowWriter for TableWriter {
    fn write(&mut self, batch: &RecordBatch, out: &mut dyn Write) -> OutputResult {
        let schema = batch.schema_ref();
        let columns = schema
            .fields()
            .iter()
            .zip(batch.columns())
            .map(|(field, array)| Column::new(field, array.as_ref()))
            .collect::<Result<Vec<_>, _>>()?;
        for row in 0..batch.num_rows() {
            self.rows += 1;
            let cells: Vec<String> = columns.iter().map(|column| cell(column, row)).collect();
            match &self.widths {
                Some(widths) => out.write_all(self.line(&cells, widths, &self.right).as_bytes())?,
                None => {
                    self.sample_bytes += cells.iter().map(String::len).sum::<usize>();
                    self.sample.push(cells);
                    if self.sample.len() >= SAMPLE_ROWS || self.sample_bytes >= SAMPLE_BYTES {
                        self.settle(out)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn finish(&mut self, out: &mut dyn Write) -> OutputResult {
        self.settle(out)?;
        let count = if self.rows == 1 { "(1 row)\n".to_owned() } else { format!("({} rows)\n", self.rows) };
        out.write_all(count.as_bytes())?;
        Ok(())
    }
}

fn cell(column: &Column<'_>, row: usize) -> String {
    let mut text = String::new();
    column.write(row, Style::Human, &mut text);
    if column.is_null(row) {
        return text;
    }
    // A string that reads NULL must not look like one that is.
    if text == "NULL" { "\"NULL\"".to_owned() } else { printable(&text) }
}

/// Shows what would move the cursor or command the terminal as escapes.
fn printable(text: &str) -> String {
    if !text.chars().any(char::is_control) {
        return text.to_owned();
    }
    text.chars().fold(String::with_capacity(text.len() + 8), |mut out, c| {
        if c.is_control() {
            out.extend(c.escape_default())
        } else {
            out.push(c)
        }
        out
    })
}

/// Narrows the widest columns until a row fits `columns`, as far as [`NARROWEST`] allows.
fn fit(widths: &mut [usize], columns: usize) {
    let room = columns.saturating_sub(3 * widths.len());
    let used = |limit: usize, widths: &[usize]| widths.iter().map(|width| (*width).min(limit)).sum::<usize>();
    let widest = widths.iter().copied().max().unwrap_or(0);
    let limit = (NARROWEST..=widest).rev().find(|limit| used(*limit, widths) <= room).unwrap_or(NARROWEST);
    for width in widths {
        *width = (*width).min(limit);
    }
}

/// The beginning of a text wider than `width`, with an ellipsis; `None` when it fits.
fn cut(text: &str, width: usize) -> Option<String> {
    if text.width() <= width {
        return None;
    }
    let mut out = String::new();
    let mut used = 0;
    for c in text.chars() {
        used += c.width().unwrap_or(0);
        if used + 1 > width {
            break;
        }
        out.push(c);
    }
    out.push('…');
    Some(out)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Decimal128Array, Int32Array, StringArray};

    use super::*;

    fn show(batches: &[RecordBatch], columns: Option<usize>) -> String {
        let mut out = Vec::new();
        let mut writer = TableWriter::new(batches[0].schema(), Screen { columns });
        for batch in batches {
            writer.write(batch, &mut out).unwrap();
        }
        writer.finish(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn strings(name: &str, values: Vec<Option<&str>>) -> RecordBatch {
        RecordBatch::try_from_iter([(name, Arc::new(StringArray::from(values)) as ArrayRef)]).unwrap()
    }

    #[test]
    fn columns_are_aligned_numbers_to_the_right() {
        let price = Decimal128Array::from(vec![Some(150), None, Some(-123_456)])
            .with_precision_and_scale(9, 2)
            .unwrap();
        let batch = RecordBatch::try_from_iter_with_nullable([
            ("id", Arc::new(Int32Array::from(vec![1, 20, 300])) as ArrayRef, false),
            ("name", Arc::new(StringArray::from(vec![Some("日本"), Some("NULL"), None])), true),
            ("price", Arc::new(price), true),
        ])
        .unwrap();
        assert_eq!(
            show(&[batch], None),
            " id  | name   | price\n\
             -----+--------+----------\n   \
               1 | 日本   |     1.50\n  \
              20 | \"NULL\" |     NULL\n \
             300 | NULL   | -1234.56\n\
             (3 rows)\n"
        );
    }

    #[test]
    fn a_terminal_is_never_commanded_by_data() {
        assert_eq!(
            show(&[strings("t", vec![Some("a\u{1b}[2Jb\nc\t")])], None),
            " t\n------------------\n a\\u{1b}[2Jb\\nc\\t\n(1 row)\n"
        );
    }

    #[test]
    fn wide_cells_are_cut_on_a_terminal_only() {
        let long = "0123456789".repeat(5);
        let batch = strings("t", vec![Some(&long), Some("short")]);
        assert_eq!(
            show(std::slice::from_ref(&batch), Some(20)),
            format!(" t\n{}\n 0123456789012345…\n short\n(2 rows)\n", "-".repeat(19))
        );
        assert_eq!(show(&[batch], None), format!(" t\n{}\n {long}\n short\n(2 rows)\n", "-".repeat(52)));
    }

    #[test]
    fn rows_after_the_sample_stream_and_are_whole() {
        let first = strings("t", vec![Some("a"); SAMPLE_ROWS]);
        let long = strings("t", vec![Some("wider than before")]);
        let text = show(&[first, long], None);
        assert!(text.starts_with(" t\n---\n a\n"), "{text}");
        assert!(text.ends_with(" a\n wider than before\n(1001 rows)\n"), "{text}");
    }

    #[test]
    fn the_widest_columns_give_way_first() {
        let mut widths = [5, 40, 100];
        fit(&mut widths, 80);
        assert_eq!(widths, [5, 33, 33]);
        let mut widths = [5, 10];
        fit(&mut widths, 80);
        assert_eq!(widths, [5, 10]);
        let mut widths = [100; 30];
        fit(&mut widths, 80);
        assert_eq!(widths, [NARROWEST; 30]);
    }

    #[test]
    fn a_result_without_rows_shows_its_columns() {
        let batch = strings("name", vec![]);
        assert_eq!(show(&[batch], None), " name\n------\n(0 rows)\n");
    }
}
