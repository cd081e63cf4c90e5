//! Equality deletes: rows whose values of some columns are in a set of values (spec, "Equality delete files").

use std::collections::{BTreeMap, HashSet};

use datafusion::arrow::array::{ArrayRef, BooleanArray, RecordBatch};
use datafusion::arrow::buffer::BooleanBuffer;
use datafusion::arrow::compute::filter_record_batch;
use datafusion::arrow::datatypes::DataType;
use datafusion::arrow::row::{RowConverter, SortField};
use datafusion::common::Result as DfResult;
use icecap_table::{Error, Result};

/// What a value takes in memory beside its bytes, roughly.
const ENTRY_BYTES: usize = 48;

/// The values that one delete file deletes: NULL equals NULL, and NaN equals NaN.
#[derive(Debug)]
pub(super) struct EqualitySet {
    field_ids: Vec<i32>,
    converter: RowConverter,
    values: HashSet<Box<[u8]>>,
}

impl EqualitySet {
    /// An empty set of values of the columns of these ids and types.
    ///
    /// # Errors
    /// `Unsupported` for a type whose values are not compared.
    pub(super) fn new(field_ids: Vec<i32>, types: impl Iterator<Item = DataType>) -> Result<Self> {
        let fields: Vec<SortField> = types.map(SortField::new).collect();
        if !RowConverter::supports_fields(&fields) {
            return Err(Error::unsupported(
                "equality deletes on a column of such a type are not supported yet",
            ));
        }
        let converter = RowConverter::new(fields)
            .map_err(|error| Error::bug("a set of values to delete cannot be made").with_source(error))?;
        Ok(Self { field_ids, converter, values: HashSet::new() })
    }

    /// Adds all rows of a batch of its columns; returns by how many bytes the set grew, roughly.
    pub(super) fn add(&mut self, batch: &RecordBatch) -> DfResult<usize> {
        let rows = self.converter.convert_columns(batch.columns())?;
        let mut grown = 0;
        for row in &rows {
            if !self.values.contains(row.as_ref()) {
                let value: Box<[u8]> = row.as_ref().into();
                grown += value.len() + ENTRY_BYTES;
                self.values.insert(value);
            }
        }
        Ok(grown)
    }

    /// Its columns.
    pub(super) fn field_ids(&self) -> &[i32] {
        &self.field_ids
    }

    pub(super) fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Which rows of these columns are left.
    fn kept(&self, columns: &[ArrayRef]) -> DfResult<BooleanBuffer> {
        let rows = self.converter.convert_columns(columns)?;
        Ok(BooleanBuffer::collect_bool(rows.num_rows(), |row| !self.values.contains(rows.row(row).as_ref())))
    }
}

/// Leaves the rows out of a batch that one of the sets holds. `places` says which of the batch's columns a field is.
///
/// # Errors
/// `Bug` when the batch lacks a column.
pub(super) fn without(
    batch: RecordBatch,
    sets: &[std::sync::Arc<EqualitySet>],
    places: &BTreeMap<i32, usize>,
) -> DfResult<RecordBatch> {
    let mut kept: Option<BooleanBuffer> = None;
    for set in sets {
        let columns = set
            .field_ids()
            .iter()
            .map(|id| places.get(id).and_then(|at| batch.columns().get(*at)).cloned())
            .collect::<Option<Vec<_>>>()
            .ok_or_else(|| {
                crate::plan::error::to_datafusion(Error::bug("a column of equality deletes is not read"))
            })?;
        let own = set.kept(&columns)?;
        kept = Some(match kept {
            Some(others) => &others & &own,
            None => own,
        });
    }
    match kept {
        Some(kept) if kept.count_set_bits() < batch.num_rows() => {
            Ok(filter_record_batch(&batch, &BooleanArray::new(kept, None))?)
        }
        _ => Ok(batch),
    }
}
