//! [`ColumnEncoder`]: one top-level column of a row group in the making.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef};
use datafusion::arrow::datatypes::{DataType, Field};
use icecap_table::iceberg::spec::NestedFieldRef;
use icecap_table::{Error, Result};
use parquet::arrow::arrow_writer::{ArrowColumnChunk, ArrowColumnWriter, compute_leaves};
use parquet::errors::ParquetError;

use super::nan::{NanCounts, count_nans};

/// One top-level column of a row group in the making: its leaves' encoders, and the NaNs so far.
pub(crate) struct ColumnEncoder {
    field: NestedFieldRef,
    writers: Vec<ArrowColumnWriter>,
    nans: NanCounts,
}

/// A finished column: its leaves' chunks and their NaNs.
pub(crate) struct EncodedColumn {
    pub(crate) chunks: Vec<ArrowColumnChunk>,
    pub(crate) nans: NanCounts,
}

impl ColumnEncoder {
    /// Takes the leading writers that are `field`'s own from `writers`.
    pub(crate) fn new(
        field: &NestedFieldRef,
        data_type: &DataType,
        writers: &mut impl Iterator<Item = ArrowColumnWriter>,
    ) -> Self {
        let writers = writers.take(leaf_count(data_type)).collect();
        Self { field: Arc::clone(field), writers, nans: NanCounts::new() }
    }

    /// Encodes more values of the column, which are conformed to its field.
    ///
    /// # Errors
    /// `Unsupported` for a type without an encoding.
    pub(crate) fn encode(&mut self, array: &ArrayRef) -> Result<()> {
        let failed = |e| encoding_failed(&self.field.name, e);
        let field = Field::new(&self.field.name, array.data_type().clone(), !self.field.required);
        let leaves = compute_leaves(&field, array).map_err(failed)?;
        if leaves.len() != self.writers.len() {
            return Err(Error::bug("a column has not the leaves of its field"));
        }
        for (writer, leaf) in self.writers.iter_mut().zip(&leaves) {
            writer.write(leaf).map_err(failed)?;
        }
        count_nans(array, &self.field, &mut self.nans);
        Ok(())
    }

    /// Compresses what is left and ends the chunks.
    pub(crate) fn close(self) -> Result<EncodedColumn> {
        let name = &self.field.name;
        let chunks = self.writers.into_iter().map(|w| w.close().map_err(|e| encoding_failed(name, e)));
        Ok(EncodedColumn { chunks: chunks.collect::<Result<_>>()?, nans: self.nans })
    }

    /// The column's size on disk, roughly.
    pub(crate) fn encoded_bytes(&self) -> usize {
        self.writers.iter().map(ArrowColumnWriter::get_estimated_total_bytes).sum()
    }

    /// The memory that the encoders hold, without their compressors.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.writers.iter().map(ArrowColumnWriter::memory_size).sum()
    }
}

fn encoding_failed(column: &str, error: ParquetError) -> Error {
    Error::bug("a column cannot be encoded as Parquet").with("column", column).with_source(error)
}

/// How many leaf columns a type has in Parquet.
pub(crate) fn leaf_count(data_type: &DataType) -> usize {
    match data_type {
        DataType::Struct(fields) => fields.iter().map(|field| leaf_count(field.data_type())).sum(),
        DataType::List(element) | DataType::Map(element, _) => leaf_count(element.data_type()),
        _ => 1,
    }
}

/// How costly a type is to encode, in no unit: the costly columns are begun first.
pub(crate) fn encoding_cost(data_type: &DataType) -> usize {
    match data_type {
        DataType::Struct(fields) => fields.iter().map(|field| encoding_cost(field.data_type())).sum(),
        DataType::List(element) | DataType::Map(element, _) => 4 * encoding_cost(element.data_type()),
        DataType::Utf8 | DataType::Binary => 4,
        DataType::Boolean => 1,
        _ => 2,
    }
}
