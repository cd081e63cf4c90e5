//! TPC-H data, the same for every run: one Parquet file a table, made once and kept in a cache folder.

mod changes;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::record_batch::{RecordBatch, RecordBatchReader};
use clap::ValueEnum;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
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

use crate::{BenchError, Result};

pub use changes::MERGED;

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

/// Rows to merge into `lineitem`, as one Parquet file with its columns: half of them have keys that are there, spread
/// evenly over the table, the others are new. Every one has [`MERGED`] as its `l_shipinstruct`.
///
/// # Errors
/// When the cache folder cannot be written, or `lineitem` has fewer rows.
pub fn ensure_changes(cache: &Path, scale: f64, rows: u64) -> Result<PathBuf> {
    let lineitem = ensure(cache, scale, Table::Lineitem)?;
    let file = lineitem.with_file_name(format!("changes-{rows}.parquet"));
    if !file.exists() {
        let partial = file.with_extension(format!("{}.partial", std::process::id()));
        changes::write(&lineitem, &partial, rows)?;
        fs::rename(&partial, &file)?;
    }
    Ok(file)
}

/// Cuts a Parquet file into `count` files of as equal numbers of rows as can be; they are in order.
///
/// # Errors
/// When the file has fewer rows, or a folder cannot be written.
pub fn parts(file: &Path, folder: &Path, count: usize) -> Result<Vec<PathBuf>> {
    let open = || -> Result<_> { Ok(ParquetRecordBatchReaderBuilder::try_new(File::open(file)?)?) };
    let total = usize::try_from(open()?.metadata().file_metadata().num_rows()).unwrap_or(0);
    if count == 0 || count > total {
        return Err(BenchError(format!("{count} parts of {total} rows")));
    }
    let mut batches = open()?.with_batch_size(total.div_ceil(count)).build()?;
    let schema = batches.schema();
    // What was read and is not written yet.
    let mut rest = RecordBatch::new_empty(Arc::clone(&schema));
    (0..count)
        .map(|number| {
            let wanted = (number + 1) * total / count - number * total / count;
            let mut part = Vec::new();
            let mut missing = wanted;
            while missing > 0 {
                if rest.num_rows() == 0 {
                    let more = batches.next().ok_or_else(|| BenchError("a file ended early".to_owned()))?;
                    rest = more?;
                }
                let taken = missing.min(rest.num_rows());
                part.push(Ok(rest.slice(0, taken)));
                rest = rest.slice(taken, rest.num_rows() - taken);
                missing -= taken;
            }
            let path = folder.join(format!("part-{number:04}.parquet"));
            write_batches(&path, &schema, part.into_iter())?;
            Ok(path)
        })
        .collect()
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
    let schema = batches.schema();
    write_batches(path, &schema, batches)
}

fn write_batches(
    path: &Path,
    schema: &SchemaRef,
    batches: impl Iterator<Item = std::result::Result<RecordBatch, ArrowError>>,
) -> Result<()> {
    let properties = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .build();
    // Without the Arrow schema inside, every reader sees plain strings and not views.
    let options = ArrowWriterOptions::new().with_properties(properties).with_skip_arrow_metadata(true);
    let mut writer = ArrowWriter::try_new_with_options(File::create(path)?, Arc::clone(schema), options)?;
    for batch in batches {
        writer.write(&batch?)?;
    }
    writer.into_inner()?.sync_all()?;
    Ok(())
}

#[cfg(test)]
mod tests {
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
    fn parts_have_all_rows() {
        let folder = tempfile::tempdir().unwrap();
        let file = ensure(folder.path(), 0.001, Table::Nation).unwrap();
        let rows = |file: &PathBuf| {
            let file = File::open(file).unwrap();
            ParquetRecordBatchReaderBuilder::try_new(file).unwrap().metadata().file_metadata().num_rows()
        };
        let parts = parts(&file, folder.path(), 7).unwrap();
        let counts: Vec<i64> = parts.iter().map(rows).collect();
        assert_eq!(counts, [3, 4, 3, 4, 3, 4, 4]);
        assert!(super::parts(&file, folder.path(), 26).is_err());
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
