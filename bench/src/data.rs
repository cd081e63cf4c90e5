//! TPC-H data, the same for every run: one Parquet file a table, made once and kept in a cache folder.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use arrow::record_batch::RecordBatchReader;
use clap::ValueEnum;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;
use tpchgen::generators::{
    CustomerGenerator, LineItemGenerator, NationGenerator, OrderGenerator, PartGenerator, PartSuppGenerator,
    RegionGenerator, SupplierGenerator,
};
use tpchgen_arrow::{
    CustomerArrow, LineItemArrow, NationArrow, OrderArrow, PartArrow, PartSuppArrow, RegionArrow,
    SupplierArrow,
};

use crate::Result;

/// Rows of a row group: small enough that every engine finds work for all cores.
const ROW_GROUP_ROWS: usize = 122_880;

/// A table of TPC-H.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[allow(missing_docs, reason = "the names are those of the benchmark")]
pub enum Table {
    Customer,
    Lineitem,
    Nation,
    Orders,
    Part,
    Partsupp,
    Region,
    Supplier,
}

impl Table {
    /// The table's name in the benchmark.
    pub fn name(self) -> &'static str {
        match self {
            Self::Customer => "customer",
            Self::Lineitem => "lineitem",
            Self::Nation => "nation",
            Self::Orders => "orders",
            Self::Part => "part",
            Self::Partsupp => "partsupp",
            Self::Region => "region",
            Self::Supplier => "supplier",
        }
    }
}

/// The Parquet file of a table at a scale factor, made now when the cache has it not.
///
/// # Errors
/// When the cache folder cannot be written.
pub fn ensure(cache: &Path, scale: f64, table: Table) -> Result<PathBuf> {
    let folder = cache.join("tpch").join(format!("sf{scale}"));
    let file = folder.join(format!("{}.parquet", table.name()));
    if !file.exists() {
        fs::create_dir_all(&folder)?;
        // Under another name until it is whole: a stopped run leaves no half table behind.
        let partial = folder.join(format!("{}.{}.partial", table.name(), std::process::id()));
        generate(&partial, scale, table)?;
        fs::rename(&partial, &file)?;
    }
    Ok(file)
}

fn generate(path: &Path, scale: f64, table: Table) -> Result<()> {
    match table {
        Table::Customer => write(path, CustomerArrow::new(CustomerGenerator::new(scale, 1, 1))),
        Table::Lineitem => write(path, LineItemArrow::new(LineItemGenerator::new(scale, 1, 1))),
        Table::Nation => write(path, NationArrow::new(NationGenerator::new(scale, 1, 1))),
        Table::Orders => write(path, OrderArrow::new(OrderGenerator::new(scale, 1, 1))),
        Table::Part => write(path, PartArrow::new(PartGenerator::new(scale, 1, 1))),
        Table::Partsupp => write(path, PartSuppArrow::new(PartSuppGenerator::new(scale, 1, 1))),
        Table::Region => write(path, RegionArrow::new(RegionGenerator::new(scale, 1, 1))),
        Table::Supplier => write(path, SupplierArrow::new(SupplierGenerator::new(scale, 1, 1))),
    }
}

fn write(path: &Path, batches: impl RecordBatchReader) -> Result<()> {
    let properties = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .build();
    // Without the Arrow schema inside, every reader sees plain strings and not views.
    let options = ArrowWriterOptions::new().with_properties(properties).with_skip_arrow_metadata(true);
    let mut writer = ArrowWriter::try_new_with_options(File::create(path)?, batches.schema(), options)?;
    for batch in batches {
        writer.write(&batch?)?;
    }
    writer.into_inner()?.sync_all()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

    use super::*;

    #[test]
    fn the_data_is_made_once_and_always_the_same() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let file = ensure(one.path(), 0.001, Table::Lineitem).unwrap();
        let again = ensure(two.path(), 0.001, Table::Lineitem).unwrap();
        assert_eq!(fs::read(&file).unwrap(), fs::read(&again).unwrap());
        let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(&file).unwrap()).unwrap();
        assert_eq!(reader.metadata().file_metadata().num_rows(), 6005);
        assert_eq!(reader.schema().fields().len(), 16);
        let modified = fs::metadata(&file).unwrap().modified().unwrap();
        ensure(one.path(), 0.001, Table::Lineitem).unwrap();
        assert_eq!(fs::metadata(&file).unwrap().modified().unwrap(), modified);
    }

    #[test]
    fn every_table_can_be_made() {
        let folder = tempfile::tempdir().unwrap();
        for table in Table::value_variants() {
            let file = ensure(folder.path(), 0.001, *table).unwrap();
            let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(file).unwrap()).unwrap();
            assert!(reader.metadata().file_metadata().num_rows() > 0, "{}", table.name());
        }
    }
}
