//! What OPTIMIZE costs at the least: the same files read and written with the bare Parquet library, on as many
//! threads, each with one file of its own; synced. No catalog, no manifests, no metrics.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use arrow::record_batch::RecordBatchReader;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use crate::{BenchError, Result};

/// The name of the hidden subcommand that runs this in a process of its own.
pub const SUBCOMMAND: &str = "rewrite-parquet";

/// Rows that are decoded at a time.
const BATCH_ROWS: usize = 8192;

/// Writes every Parquet file below `from` again, into one file a thread in `to`, which must exist.
///
/// # Errors
/// When there are no files, or they cannot be read or written.
pub fn run(threads: usize, from: &Path, to: &Path) -> Result<()> {
    let mut files = Vec::new();
    parquet_files(from, &mut files)?;
    files.sort();
    if files.is_empty() {
        return Err(BenchError(format!("no Parquet files below {}", from.display())));
    }
    let each = files.len().div_ceil(threads.max(1));
    std::thread::scope(|scope| {
        let workers: Vec<_> = (files.chunks(each).enumerate())
            .map(|(number, files)| {
                let to = to.join(format!("{number}.parquet"));
                scope.spawn(move || rewrite(files, &to))
            })
            .collect();
        workers
            .into_iter()
            .try_for_each(|worker| worker.join().map_err(|_| BenchError("a thread panicked".to_owned()))?)
    })?;
    File::open(to)?.sync_all()?;
    Ok(())
}

fn parquet_files(folder: &Path, into: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            parquet_files(&path, into)?;
        } else if path.extension().is_some_and(|extension| extension == "parquet") {
            into.push(path);
        }
    }
    Ok(())
}

fn rewrite(files: &[PathBuf], to: &Path) -> Result<()> {
    let properties =
        WriterProperties::builder().set_compression(Compression::ZSTD(ZstdLevel::try_new(3)?)).build();
    let mut writer: Option<ArrowWriter<File>> = None;
    for file in files {
        let batches = ParquetRecordBatchReaderBuilder::try_new(File::open(file)?)?
            .with_batch_size(BATCH_ROWS)
            .build()?;
        if writer.is_none() {
            writer = Some(ArrowWriter::try_new(
                File::create_new(to)?,
                batches.schema(),
                Some(properties.clone()),
            )?);
        }
        if let Some(writer) = &mut writer {
            for batch in batches {
                writer.write(&batch?)?;
            }
        }
    }
    if let Some(writer) = writer {
        writer.into_inner()?.sync_all()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{self, Table};

    #[test]
    fn all_rows_come_into_one_file_a_thread() {
        let folder = tempfile::tempdir().unwrap();
        let nation = data::ensure(folder.path(), 0.001, Table::Nation).unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        fs::create_dir_all(from.join("deep")).unwrap();
        fs::create_dir_all(&to).unwrap();
        assert!(run(2, &from, &to).unwrap_err().0.contains("no Parquet files"));
        for name in ["a", "b", "deep/c"] {
            fs::copy(&nation, from.join(format!("{name}.parquet"))).unwrap();
        }
        run(2, &from, &to).unwrap();
        let rows = |name: &str| {
            let file = File::open(to.join(name)).unwrap();
            ParquetRecordBatchReaderBuilder::try_new(file).unwrap().metadata().file_metadata().num_rows()
        };
        assert_eq!((rows("0.parquet"), rows("1.parquet")), (50, 25));
        assert!(!to.join("2.parquet").exists());
    }
}
