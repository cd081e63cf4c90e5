//! What a run left behind: files, rows, and what the table's metadata says of them.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use parquet::file::reader::{FileReader, SerializedFileReader};
use rusqlite::{Connection, OpenFlags};
use serde_json::Value;

use crate::{BenchError, Result};

const GZIP: [u8; 2] = [0x1f, 0x8b];

/// Parquet files below a folder.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Files {
    /// Their bytes.
    pub bytes: u64,
    /// Their number.
    pub files: u64,
    /// The rows that their footers tell.
    pub rows: u64,
}

/// Counts the Parquet files below a folder, and their rows.
pub(super) fn parquet_files(folder: &Path) -> Result<Files> {
    let mut all = Files::default();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            let more = parquet_files(&path)?;
            all.bytes += more.bytes;
            all.files += more.files;
            all.rows += more.rows;
        } else if path.extension().is_some_and(|extension| extension == "parquet") {
            all.bytes += entry.metadata()?.len();
            all.files += 1;
            all.rows += rows_of(&path)?;
        }
    }
    Ok(all)
}

/// Rows of a Parquet file, by its footer.
pub(super) fn rows_of(path: &Path) -> Result<u64> {
    Ok(footer(path)?.metadata().file_metadata().num_rows().unsigned_abs())
}

fn footer(path: &Path) -> Result<SerializedFileReader<File>> {
    SerializedFileReader::new(File::open(path)?)
        .map_err(|error| BenchError(format!("{}: {error}", path.display())))
}

/// An engine that wrote other rows than it was given is not measured.
pub(super) fn expect_rows(files: Files, rows: u64, who: &str) -> Result<()> {
    if files.rows == rows {
        return Ok(());
    }
    Err(BenchError(format!("{who} wrote {} rows of {rows}", files.rows)))
}

/// Data and delete files that appeared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Appeared {
    /// Bytes of data files.
    pub data_bytes: u64,
    /// Data files.
    pub data_files: u64,
    /// Rows of the data files.
    pub rows: u64,
    /// Bytes of delete files: position deletes, and Puffin files with deletion vectors.
    pub delete_bytes: u64,
    /// Delete files.
    pub delete_files: u64,
}

/// Every Parquet and Puffin file below folders, which may be absent.
pub(super) fn content_files(folders: &[&Path]) -> Result<BTreeSet<PathBuf>> {
    let mut all = BTreeSet::new();
    for folder in folders.iter().filter(|folder| folder.exists()) {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let path = entry.path();
            if entry.file_type()?.is_dir() {
                all.append(&mut content_files(&[&path])?);
            } else if path
                .extension()
                .is_some_and(|extension| extension == "parquet" || extension == "puffin")
            {
                all.insert(path);
            }
        }
    }
    Ok(all)
}

/// What of `after` is not in `before`, by kind.
pub(super) fn appeared(before: &BTreeSet<PathBuf>, after: &BTreeSet<PathBuf>) -> Result<Appeared> {
    let mut all = Appeared::default();
    for path in after.difference(before) {
        let bytes = fs::metadata(path)?.len();
        let is_parquet = path.extension().is_some_and(|extension| extension == "parquet");
        if is_parquet && !has_positions(path)? {
            all.data_bytes += bytes;
            all.data_files += 1;
            all.rows += rows_of(path)?;
        } else {
            all.delete_bytes += bytes;
            all.delete_files += 1;
        }
    }
    Ok(all)
}

/// Whether a Parquet file is one of position deletes, by its first two columns.
fn has_positions(path: &Path) -> Result<bool> {
    let reader = footer(path)?;
    let columns = reader.metadata().file_metadata().schema_descr();
    let names: Vec<&str> = columns.columns().iter().map(|column| column.name()).take(2).collect();
    Ok(names == ["file_path", "pos"])
}

/// Reads every file below a path, so that an engine finds it in memory.
pub(super) fn warm(path: &Path) -> Result<()> {
    if path.is_dir() {
        return fs::read_dir(path)?.try_for_each(|entry| warm(&entry?.path()));
    }
    std::io::copy(&mut File::open(path)?, &mut std::io::sink())?;
    Ok(())
}

/// What a table's metadata says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TableState {
    /// Snapshots of the table.
    pub snapshots: u64,
    /// Partitions that the current snapshot wrote to.
    pub partitions: u64,
}

/// Reads the state of `default.NAME` from a warehouse's catalog and the metadata file that it points to.
pub(super) fn table_state(warehouse: &Path, name: &str) -> Result<TableState> {
    let path = metadata_file(warehouse, name)?;
    state_of(&metadata(&path)?)
        .ok_or_else(|| BenchError(format!("{} has no current snapshot with a summary", path.display())))
}

/// The metadata file of `default.NAME` in a warehouse's catalog.
pub(super) fn metadata_file(warehouse: &Path, name: &str) -> Result<PathBuf> {
    let file = warehouse.join("catalog.db");
    let catalog = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    let location: String = catalog.query_row(
        "SELECT metadata_location FROM iceberg_tables WHERE table_namespace = 'default' AND table_name = ?1",
        [name],
        |row| row.get(0),
    )?;
    Ok(local_path(&location))
}

/// What a metadata file says; a large one may be compressed.
pub(super) fn metadata(metadata_file: &Path) -> Result<Value> {
    let mut bytes = fs::read(metadata_file)?;
    if bytes.starts_with(&GZIP) {
        let mut inflated = Vec::new();
        GzDecoder::new(&bytes[..]).read_to_end(&mut inflated)?;
        bytes = inflated;
    }
    Ok(serde_json::from_slice(&bytes)?)
}

/// The path of a location on this machine.
pub(super) fn local_path(location: &str) -> PathBuf {
    location.strip_prefix("file:").map_or(location, |rest| rest.strip_prefix("//").unwrap_or(rest)).into()
}

/// How many snapshots a metadata file tells.
pub(super) fn snapshots(metadata_file: &Path) -> Result<u64> {
    Ok(metadata(metadata_file)?["snapshots"].as_array().map_or(0, |all| all.len() as u64))
}

fn state_of(metadata: &Value) -> Option<TableState> {
    let snapshots = metadata["snapshots"].as_array()?;
    let current = snapshots.iter().find(|one| one["snapshot-id"] == metadata["current-snapshot-id"])?;
    Some(TableState {
        snapshots: snapshots.len() as u64,
        partitions: current["summary"]["changed-partition-count"].as_str()?.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use parquet::arrow::ArrowWriter;
    use serde_json::json;

    use super::*;
    use crate::data::{self, Table};

    #[test]
    fn parquet_files_are_counted_at_every_depth() {
        let folder = tempfile::tempdir().unwrap();
        let nation = data::ensure(folder.path(), 0.001, Table::Nation).unwrap();
        let bytes = fs::metadata(&nation).unwrap().len();
        fs::create_dir_all(folder.path().join("a/b")).unwrap();
        fs::copy(&nation, folder.path().join("a/b/y.parquet")).unwrap();
        fs::write(folder.path().join("a/z.avro"), [0; 5]).unwrap();
        let found = parquet_files(folder.path()).unwrap();
        assert_eq!(found, Files { bytes: 2 * bytes, files: 2, rows: 50 });
        assert!(expect_rows(found, 50, "x").is_ok());
        assert_eq!(expect_rows(found, 51, "x").unwrap_err().0, "x wrote 50 rows of 51");
    }

    #[test]
    fn data_and_delete_files_are_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let nation = data::ensure(folder.path(), 0.001, Table::Nation).unwrap();
        let table = folder.path().join("table");
        let files = || content_files(&[&table, &folder.path().join("absent")]).unwrap();
        let before = files();
        assert!(before.is_empty());
        fs::create_dir_all(table.join("data")).unwrap();
        fs::copy(&nation, table.join("data/a.parquet")).unwrap();
        let between = files();
        fs::copy(&nation, table.join("data/b.parquet")).unwrap();
        fs::write(table.join("c.puffin"), [0; 7]).unwrap();
        let positions = arrow::record_batch::RecordBatch::try_from_iter([
            ("file_path", Arc::new(arrow::array::StringArray::from(vec!["x"])) as arrow::array::ArrayRef),
            ("pos", Arc::new(arrow::array::Int64Array::from(vec![1]))),
        ])
        .unwrap();
        let file = File::create(table.join("d.parquet")).unwrap();
        let mut writer = ArrowWriter::try_new(file, positions.schema(), None).unwrap();
        writer.write(&positions).unwrap();
        writer.close().unwrap();
        let deletes = fs::metadata(table.join("d.parquet")).unwrap().len();
        assert_eq!(
            appeared(&between, &files()).unwrap(),
            Appeared {
                data_bytes: fs::metadata(&nation).unwrap().len(),
                data_files: 1,
                rows: 25,
                delete_bytes: 7 + deletes,
                delete_files: 2
            }
        );
        assert_eq!(appeared(&files(), &files()).unwrap(), Appeared::default());
    }

    #[test]
    fn locations_of_every_engine_are_paths() {
        for location in ["file:///a/b", "file:/a/b", "/a/b"] {
            assert_eq!(local_path(location), Path::new("/a/b"));
        }
    }

    #[test]
    fn the_current_snapshot_tells_the_partitions() {
        let snapshot =
            |id: i64, count: &str| json!({"snapshot-id": id, "summary": {"changed-partition-count": count}});
        let metadata = json!({"current-snapshot-id": 7, "snapshots": [snapshot(3, "1"), snapshot(7, "84")]});
        assert_eq!(state_of(&metadata), Some(TableState { snapshots: 2, partitions: 84 }));
        assert_eq!(state_of(&json!({"snapshots": []})), None);
    }
}
