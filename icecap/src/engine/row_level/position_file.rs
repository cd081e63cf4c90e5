//! Position delete files (V2): Parquet of (data file, position), sorted, with the metrics that readers prune by.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use datafusion::arrow::array::{Int64Array, RecordBatch, StringArray};
use datafusion::arrow::datatypes::{DataType, Field, Schema};
use icecap_table::staged_file::StagedFile;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;

use super::delete_files::Gone;
use crate::arrow_schema::FIELD_ID;
use crate::{Error, Result};

/// The reserved field ids of the columns (spec, "Reserved field ids").
const PATH: i32 = 2_147_483_546;
const POSITION: i32 = 2_147_483_545;
/// Rows that are encoded at a time.
const BATCH_ROWS: usize = 1 << 14;

/// The file's bytes; what a manifest says of them goes into `staged`. `group` is sorted by location.
///
/// # Errors
/// `Bug` when Parquet refuses the rows.
pub(super) fn encode_position_deletes(group: &[&Gone<'_>], staged: &mut StagedFile) -> Result<Bytes> {
    let broken = |error: ParquetError| Error::bug("position deletes cannot be encoded").with_source(error);
    let column = |name: &str, ty: DataType, id: i32| {
        let metadata = HashMap::from([(FIELD_ID.to_owned(), id.to_string())]);
        Field::new(name, ty, false).with_metadata(metadata)
    };
    let schema = Arc::new(Schema::new(vec![
        column("file_path", DataType::Utf8, PATH),
        column("pos", DataType::Int64, POSITION),
    ]));
    let level = ZstdLevel::try_new(3).map_err(broken)?;
    let properties = WriterProperties::builder().set_compression(Compression::ZSTD(level)).build();
    let mut bytes = Vec::new();
    let mut writer =
        ArrowWriter::try_new(&mut bytes, Arc::clone(&schema), Some(properties)).map_err(broken)?;
    let mut rows = 0;
    let mut bounds: Option<(i64, i64)> = None;
    for Gone { file, positions } in group {
        let mut all = positions.iter().map(|position| i64::try_from(position).unwrap_or(i64::MAX)).peekable();
        while all.peek().is_some() {
            let positions: Vec<i64> = all.by_ref().take(BATCH_ROWS).collect();
            for position in [positions.first(), positions.last()].into_iter().flatten() {
                let (low, high) = bounds.unwrap_or((*position, *position));
                bounds = Some((low.min(*position), high.max(*position)));
            }
            rows += positions.len() as u64;
            let paths = StringArray::from_iter_values(std::iter::repeat_n(&file.path, positions.len()));
            let batch = RecordBatch::try_new(
                Arc::clone(&schema),
                vec![Arc::new(paths), Arc::new(Int64Array::from(positions))],
            )
            .map_err(|error| Error::bug("position deletes make no batch").with_source(error))?;
            writer.write(&batch).map_err(broken)?;
        }
    }
    let metadata = writer.close().map_err(broken)?;
    for (at, id) in [PATH, POSITION].into_iter().enumerate() {
        let size = metadata.row_groups().iter().map(|group| group.column(at).compressed_size()).sum::<i64>();
        staged.column_sizes.insert(id, u64::try_from(size).unwrap_or_default());
        staged.value_counts.insert(id, rows);
        staged.null_counts.insert(id, 0);
    }
    // Whole paths: equal bounds say that the file is about one data file alone.
    if let (Some(first), Some(last)) = (group.first(), group.last()) {
        staged.lower_bounds.insert(PATH, first.file.path.clone().into_bytes());
        staged.upper_bounds.insert(PATH, last.file.path.clone().into_bytes());
    }
    if let Some((low, high)) = bounds {
        staged.lower_bounds.insert(POSITION, low.to_le_bytes().to_vec());
        staged.upper_bounds.insert(POSITION, high.to_le_bytes().to_vec());
    }
    staged.split_offsets = metadata
        .row_groups()
        .iter()
        .map(|group| {
            let column = group.column(0);
            column.dictionary_page_offset().unwrap_or_else(|| column.data_page_offset())
        })
        .collect();
    staged.record_count = rows;
    staged.file_size_bytes = bytes.len() as u64;
    Ok(Bytes::from(bytes))
}

#[cfg(test)]
pub(super) mod tests {
    use datafusion::arrow::array::AsArray;
    use datafusion::arrow::datatypes::Int64Type;
    use icecap_table::scan::ScanFile;
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

    use super::*;

    pub(in crate::engine) fn scan_file(path: &str, rows: u64) -> ScanFile {
        ScanFile {
            path: path.to_owned(),
            file_size_bytes: 100,
            record_count: rows,
            spec_id: 0,
            partition: Vec::new(),
            data_sequence_number: 1,
            file_sequence_number: 1,
            first_row_id: None,
            sort_order_id: None,
            split_offsets: Vec::new(),
            all_rows_match: false,
            deletes: Vec::new(),
            null_counts: Default::default(),
            value_counts: Default::default(),
            nan_counts: Default::default(),
            lower_bounds: Default::default(),
            upper_bounds: Default::default(),
        }
    }

    #[test]
    fn a_file_says_which_rows_of_which_files_are_gone() {
        let (a, b) = (scan_file("file:///a", 50_000), scan_file("file:///b", 10));
        let (of_a, of_b) = ((0..40_000).collect(), [3, 9].into_iter().collect());
        let a = Gone { file: &a, positions: &of_a };
        let b = Gone { file: &b, positions: &of_b };
        let mut staged = StagedFile::data("x", 0, Vec::new());
        let bytes = encode_position_deletes(&[&a, &b], &mut staged).unwrap();
        assert_eq!((staged.record_count, staged.file_size_bytes), (40_002, bytes.len() as u64));
        assert_eq!(staged.lower_bounds[&PATH], b"file:///a");
        assert_eq!(staged.upper_bounds[&PATH], b"file:///b");
        assert_eq!(staged.lower_bounds[&POSITION], 0_i64.to_le_bytes());
        assert_eq!(staged.upper_bounds[&POSITION], 39_999_i64.to_le_bytes());
        let builder = ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap();
        let ids: Vec<i32> =
            builder.parquet_schema().columns().iter().map(|c| c.self_type().get_basic_info().id()).collect();
        assert_eq!(ids, [PATH, POSITION]);
        let mut rows = Vec::new();
        for batch in builder.build().unwrap() {
            let batch = batch.unwrap();
            let paths = batch.column(0).as_string::<i32>();
            let positions = batch.column(1).as_primitive::<Int64Type>();
            for at in 0..batch.num_rows() {
                rows.push((paths.value(at).to_owned(), positions.value(at)));
            }
        }
        assert_eq!(rows.len(), 40_002);
        assert!(rows.is_sorted());
        assert_eq!(rows[40_000..], [("file:///b".to_owned(), 3), ("file:///b".to_owned(), 9)]);
    }
}
