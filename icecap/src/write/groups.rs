//! Splits batches by partition.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray};
use datafusion::arrow::compute::interleave;
use datafusion::arrow::datatypes::DataType;
use icecap_table::{Error, Result};

use super::file::Columns;
use super::parallel::in_parallel;
use super::partition::{PartitionTuple, PartitionedRows, Partitioner};

/// The rows of one partition among some batches.
pub(crate) struct Group {
    /// Equal for one partition in all batches.
    pub(crate) key: Vec<u8>,
    pub(crate) tuple: PartitionTuple,
    pub(crate) columns: Vec<Columns>,
}

/// Where a group's rows are: (batch, row).
struct Members<'a> {
    key: &'a [u8],
    rows: Vec<(usize, usize)>,
}

/// The partitions of the batches' rows, in the order in which they first appear. The rows of a partition
/// keep their order.
///
/// # Errors
/// As [`Partitioner::partition`].
pub(crate) async fn split(
    partitioner: &mut Partitioner,
    batches: Vec<Columns>,
    parallel: usize,
) -> Result<Vec<Group>> {
    let partitioned =
        batches.iter().map(|batch| partitioner.partition(&batch.arrays)).collect::<Result<Vec<_>>>()?;
    let members = members(&batches, &partitioned);
    let mut groups = Vec::with_capacity(members.len());
    let mut rows = Vec::with_capacity(members.len());
    for group in members {
        let (batch, row) = group.rows[0];
        let tuple = partitioner.tuple(&partitioned[batch], row)?;
        groups.push(Group { key: group.key.to_vec(), tuple, columns: Vec::new() });
        rows.push(group.rows);
    }
    if let [only] = groups.as_mut_slice() {
        only.columns = batches;
        return Ok(groups);
    }
    let batches = Arc::new(batches);
    let gathered = in_parallel(rows, parallel, move |rows| gather(&batches, &rows)).await?;
    for (group, columns) in groups.iter_mut().zip(gathered) {
        group.columns = vec![columns];
    }
    Ok(groups)
}

fn members<'a>(batches: &[Columns], partitioned: &'a [PartitionedRows]) -> Vec<Members<'a>> {
    let mut members: Vec<Members<'a>> = Vec::new();
    let mut by_key: HashMap<&'a [u8], usize> = HashMap::new();
    let mut last = usize::MAX;
    for (at, (batch, rows)) in batches.iter().zip(partitioned).enumerate() {
        for row in 0..batch.rows {
            let key = rows.key(row);
            // Neighbours often share their partition.
            if members.get(last).is_none_or(|group| group.key != key) {
                last = *by_key.entry(key).or_insert_with(|| {
                    members.push(Members { key, rows: Vec::new() });
                    members.len() - 1
                });
            }
            members[last].rows.push((at, row));
        }
    }
    members
}

/// Copies rows out of batches, so that they do not hold the batches in memory.
fn gather(batches: &[Columns], rows: &[(usize, usize)]) -> Result<Columns> {
    let width = batches.first().map_or(0, |batch| batch.arrays.len());
    let arrays = (0..width)
        .map(|column| {
            let sources: Vec<&dyn Array> = batches.iter().map(|b| b.arrays[column].as_ref()).collect();
            let gathered = interleave(&sources, rows).map_err(|e| {
                Error::exhausted("a batch's rows are too large to be regrouped").with_source(e)
            })?;
            Ok(compact(gathered))
        })
        .collect::<Result<_>>()?;
    Ok(Columns { arrays, rows: rows.len() })
}

/// Views refer to the buffers of the batch that they were taken from.
fn compact(array: ArrayRef) -> ArrayRef {
    match array.data_type() {
        DataType::Utf8View => Arc::new(array.as_string_view().gc()),
        DataType::BinaryView => Arc::new(array.as_binary_view().gc()),
        _ => array,
    }
}
