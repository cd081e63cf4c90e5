//! From a set of deleted positions to the rows of a file that are read.

use datafusion::datasource::listing::FileRange;
use datafusion::datasource::physical_plan::parquet::{ParquetAccessPlan, RowGroupAccess};
use icecap_table::deletes::PositionSet;
use parquet::arrow::arrow_reader::{RowSelection, RowSelector};
use parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};

/// What is left to read of a slice.
#[derive(Debug, PartialEq)]
pub(super) enum Left {
    /// All of it.
    Everything,
    /// These rows.
    Some(ParquetAccessPlan),
    /// No row.
    Nothing,
}

/// What the deleted positions leave of the slice `range` of a file with this footer; `None`: the whole file.
pub(super) fn left_of(deleted: &PositionSet, footer: &ParquetMetaData, range: Option<&FileRange>) -> Left {
    let mut first = 0_u64;
    let (mut all, mut none) = (true, true);
    let mut groups = Vec::with_capacity(footer.num_row_groups());
    for group in footer.row_groups() {
        let rows = u64::try_from(group.num_rows()).unwrap_or(0);
        let end = first.saturating_add(rows);
        let access = if range.is_some_and(|range| !begins_in(group, range)) {
            RowGroupAccess::Skip
        } else {
            let access = match deleted.count_in(first..end) {
                0 => RowGroupAccess::Scan,
                gone if gone >= rows => RowGroupAccess::Skip,
                _ => RowGroupAccess::Selection(selection(deleted, first, end)),
            };
            all &= access == RowGroupAccess::Scan;
            none &= access == RowGroupAccess::Skip;
            access
        };
        groups.push(access);
        first = end;
    }
    match (all, none) {
        // Also when the slice holds no row group.
        (true, _) => Left::Everything,
        (_, true) => Left::Nothing,
        _ => Left::Some(ParquetAccessPlan::new(groups)),
    }
}

/// Whether the slice holds the row group, as DataFusion judges it.
fn begins_in(group: &RowGroupMetaData, range: &FileRange) -> bool {
    let Some(column) = group.columns().first() else { return true };
    range.contains(column.dictionary_page_offset().unwrap_or_else(|| column.data_page_offset()))
}

/// The rows of `first..end` that are not deleted.
fn selection(deleted: &PositionSet, first: u64, end: u64) -> RowSelection {
    let length = |rows: u64| usize::try_from(rows).unwrap_or(usize::MAX);
    let mut selectors = Vec::new();
    let mut at = first;
    for gone in deleted.ranges_in(first..end) {
        if gone.start > at {
            selectors.push(RowSelector::select(length(gone.start - at)));
        }
        selectors.push(RowSelector::skip(length(gone.end - gone.start)));
        at = gone.end;
    }
    if at < end {
        selectors.push(RowSelector::select(length(end - at)));
    }
    selectors.into()
}
