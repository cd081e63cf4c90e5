//! Rows to merge: made of `lineitem` itself.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Int64Array, StringArray};
use arrow::compute::filter_record_batch;
use arrow::record_batch::{RecordBatch, RecordBatchReader};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::write_batches;
use crate::{BenchError, Result};

/// What `l_shipinstruct` says of every row of the changes.
pub const MERGED: &str = "MERGED";

/// What the keys of new orders lie above: the greatest key is 6 million at scale factor 1.
const NEW_ORDERS: i64 = 1_000_000_000_000;

/// Writes `wanted` rows of `lineitem`, every second one under a new key.
pub(super) fn write(lineitem: &Path, path: &Path, wanted: u64) -> Result<()> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(File::open(lineitem)?)?;
    let total = builder.metadata().file_metadata().num_rows().unsigned_abs();
    if wanted > total {
        return Err(BenchError(format!("{wanted} changes of {total} rows")));
    }
    let batches = builder.build()?;
    let schema = batches.schema();
    let mut before = 0;
    let changed = batches.map(|batch| {
        let batch = batch?;
        // Row `n` is the one where the share of rows passes a whole number.
        let picks: Vec<u64> = (before..).take(batch.num_rows()).map(|row| row * wanted / total).collect();
        let mask: BooleanArray =
            (before..).zip(&picks).map(|(row, pick)| Some((row + 1) * wanted / total > *pick)).collect();
        before += batch.num_rows() as u64;
        let chosen = picks.into_iter().zip(mask.values().iter()).filter_map(|(pick, is)| is.then_some(pick));
        changed(&filter_record_batch(&batch, &mask)?, chosen)
    });
    write_batches(path, &schema, changed)
}

/// The rows with every second key a new one. `numbers`: how many changes come before each.
fn changed(
    rows: &RecordBatch,
    numbers: impl Iterator<Item = u64>,
) -> std::result::Result<RecordBatch, arrow::error::ArrowError> {
    let (keys, instructions) =
        (rows.schema().index_of("l_orderkey")?, rows.schema().index_of("l_shipinstruct")?);
    let mut columns: Vec<ArrayRef> = rows.columns().to_vec();
    let old = columns[keys]
        .as_any()
        .downcast_ref::<Int64Array>()
        .ok_or_else(|| arrow::error::ArrowError::SchemaError("l_orderkey is no bigint".to_owned()))?;
    let new: Int64Array = (old.values().iter().zip(numbers))
        .map(|(key, number)| if number % 2 == 1 { key + NEW_ORDERS } else { *key })
        .collect();
    columns[keys] = Arc::new(new);
    columns[instructions] =
        Arc::new(StringArray::from_iter_values(std::iter::repeat_n(MERGED, rows.num_rows())));
    RecordBatch::try_new(rows.schema(), columns)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::data::{Table, ensure, ensure_changes};

    fn keys(path: &Path) -> Vec<(i64, String)> {
        let batches =
            ParquetRecordBatchReaderBuilder::try_new(File::open(path).unwrap()).unwrap().build().unwrap();
        let mut keys = Vec::new();
        for batch in batches {
            let batch = batch.unwrap();
            let orders = batch["l_orderkey"].as_any().downcast_ref::<Int64Array>().unwrap();
            let instructions = batch["l_shipinstruct"].as_any().downcast_ref::<StringArray>().unwrap();
            let rows = orders.iter().zip(instructions);
            keys.extend(rows.map(|(order, text)| (order.unwrap(), text.unwrap().to_owned())));
        }
        keys
    }

    #[test]
    fn half_of_the_changes_are_new() {
        let cache = tempfile::tempdir().unwrap();
        let changes = keys(&ensure_changes(cache.path(), 0.001, 1000).unwrap());
        assert_eq!(changes.len(), 1000);
        assert!(changes.iter().all(|(_, text)| text == MERGED));
        let old: HashSet<i64> = keys(&ensure(cache.path(), 0.001, Table::Lineitem).unwrap())
            .into_iter()
            .map(|(key, _)| key)
            .collect();
        assert_eq!(changes.iter().filter(|(key, _)| old.contains(key)).count(), 500);
        // Evenly over the 6,005 rows: the last of the old keys stands near the end.
        assert!(changes.iter().any(|(key, _)| (5900..6000).contains(key)));
        assert!(ensure_changes(cache.path(), 0.001, 7000).is_err());
    }
}
