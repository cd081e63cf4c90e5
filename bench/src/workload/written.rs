//! What a run left behind: files, rows, and what the table's metadata says of them.

use std::fs::{self, File};
use std::path::Path;

use parquet::file::reader::{FileReader, SerializedFileReader};
use rusqlite::{Connection, OpenFlags};
use serde_json::Value;

use crate::{BenchError, Result};

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
    let reader = SerializedFileReader::new(File::open(path)?)
        .map_err(|error| BenchError(format!("{}: {error}", path.display())))?;
    Ok(reader.metadata().file_metadata().num_rows().unsigned_abs())
}

/// An engine that wrote other rows than it was given is not measured.
pub(super) fn expect_rows(files: Files, rows: u64, who: &str) -> Result<()> {
    if files.rows == rows {
        return Ok(());
    }
    Err(BenchError(format!("{who} wrote {} rows of {rows}", files.rows)))
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
    let file = warehouse.join("catalog.db");
    let catalog = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    let location: String = catalog.query_row(
        "SELECT metadata_location FROM iceberg_tables WHERE table_namespace = 'default' AND table_name = ?1",
        [name],
        |row| row.get(0),
    )?;
    let path = location.strip_prefix("file://").unwrap_or(&location);
    state_of(&serde_json::from_slice(&fs::read(path)?)?)
        .ok_or_else(|| BenchError(format!("{location} has no current snapshot with a summary")))
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
    fn the_current_snapshot_tells_the_partitions() {
        let snapshot =
            |id: i64, count: &str| json!({"snapshot-id": id, "summary": {"changed-partition-count": count}});
        let metadata = json!({"current-snapshot-id": 7, "snapshots": [snapshot(3, "1"), snapshot(7, "84")]});
        assert_eq!(state_of(&metadata), Some(TableState { snapshots: 2, partitions: 84 }));
        assert_eq!(state_of(&json!({"snapshots": []})), None);
    }
}
