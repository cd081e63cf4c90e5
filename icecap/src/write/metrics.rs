//! What a manifest says of a data file, taken from the footer of the file just written.

use std::collections::BTreeMap;

use icecap_table::iceberg::spec::PrimitiveType;
use icecap_table::properties::MetricsMode;
use icecap_table::staged_file::StagedFile;
use icecap_table::{Error, Result};
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData, RowGroupMetaData};

use super::bounds::Extremes;
use super::layout::FileLayout;
use super::nan::NanCounts;
use super::parquet_schema::Leaf;
use super::target::is_lineage_field;

/// Describes a file by its footer. `nans` has one entry for each row group.
///
/// As in Iceberg Java, fields below lists and maps have counts but no bounds, and sizes are always kept.
///
/// # Errors
/// `Bug` when the footer does not follow the layout.
pub(crate) fn describe(
    layout: &FileLayout,
    location: String,
    partition: Vec<Option<Vec<u8>>>,
    metadata: &ParquetMetaData,
    nans: &[NanCounts],
) -> Result<StagedFile> {
    let mut staged = StagedFile::data(location, layout.target.partition_spec.spec_id(), partition);
    staged.sort_order_id = layout.target.sort_order_id;
    staged.record_count = unsigned(metadata.file_metadata().num_rows())?;
    staged.split_offsets = metadata.row_groups().iter().map(split_offset).collect::<Result<_>>()?;
    for (position, (leaf, mode)) in layout.leaves.iter().enumerate() {
        // Manifests describe the table's columns.
        if is_lineage_field(leaf.id) {
            continue;
        }
        let chunks = metadata.row_groups().iter().map(|group| group.column(position));
        describe_column(&mut staged, leaf, *mode, chunks, nans)?;
    }
    Ok(staged)
}

fn describe_column<'a>(
    staged: &mut StagedFile,
    leaf: &Leaf,
    mode: MetricsMode,
    chunks: impl Iterator<Item = &'a ColumnChunkMetaData>,
    nans: &[NanCounts],
) -> Result<()> {
    let (mut size, mut values, mut nulls, mut nan) = (0, 0, Some(0), 0);
    let mut extremes = Extremes::default();
    for (chunk, nans) in chunks.zip(nans) {
        let statistics = chunk.statistics();
        let chunk_values = unsigned(chunk.num_values())?;
        let chunk_nulls = statistics.and_then(|statistics| statistics.null_count_opt());
        let chunk_nans = nans.get(&leaf.id).copied().unwrap_or_default();
        size += unsigned(chunk.compressed_size())?;
        values += chunk_values;
        nulls = nulls.zip(chunk_nulls).map(|(all, some)| all + some);
        nan += chunk_nans;
        let bounded = chunk_nulls.is_none_or(|nulls| chunk_values > nulls + chunk_nans);
        extremes.absorb(&leaf.primitive, statistics, bounded);
    }
    staged.column_sizes.insert(leaf.id, size);
    let length = match mode {
        MetricsMode::None => return Ok(()),
        MetricsMode::Counts => Some(0),
        MetricsMode::Truncate(length) => Some(length),
        MetricsMode::Full => None,
    };
    staged.value_counts.insert(leaf.id, values);
    if let Some(nulls) = nulls {
        staged.null_counts.insert(leaf.id, nulls);
    }
    if matches!(leaf.primitive, PrimitiveType::Float | PrimitiveType::Double) {
        staged.nan_counts.insert(leaf.id, nan);
    }
    if length == Some(0) || leaf.repeated {
        return Ok(());
    }
    let (lower, upper) = extremes.bounds(&leaf.primitive, length);
    keep(&mut staged.lower_bounds, leaf.id, lower);
    keep(&mut staged.upper_bounds, leaf.id, upper);
    Ok(())
}

fn keep(bounds: &mut BTreeMap<i32, Vec<u8>>, id: i32, bound: Option<Vec<u8>>) {
    if let Some(bound) = bound {
        bounds.insert(id, bound);
    }
}

/// Where a row group begins: its first column's dictionary page, or first data page.
fn split_offset(group: &RowGroupMetaData) -> Result<i64> {
    let first = group.columns().first().ok_or_else(|| Error::bug("a row group without columns"))?;
    let data = first.data_page_offset();
    Ok(first.dictionary_page_offset().filter(|offset| *offset > 0).map_or(data, |offset| offset.min(data)))
}

fn unsigned(count: i64) -> Result<u64> {
    u64::try_from(count).map_err(|e| Error::bug("a Parquet footer has a negative count").with_source(e))
}
