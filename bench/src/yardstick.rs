//! What a commit costs on this disk at the least: four small files and one row in SQLite, all synced.
//!
//! A one-row INSERT writes a data file, a manifest, a manifest list and a metadata file, then swaps the
//! pointer in SQLite. The yardstick does the disk's part of that and nothing else.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::Connection;

use crate::Result;

const FILES: usize = 4;
const FILE_BYTES: usize = 8 * 1024;

/// Times `rounds` rounds in `folder`, which must exist; the files stay.
///
/// # Errors
/// When the folder cannot be written.
pub fn run(folder: &Path, rounds: usize) -> Result<Vec<f64>> {
    let connection = Connection::open(folder.join("yardstick.db"))?;
    connection.busy_timeout(Duration::from_secs(10))?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.execute_batch("CREATE TABLE IF NOT EXISTS pointer (id INTEGER PRIMARY KEY, location TEXT)")?;
    let bytes = vec![0x5a_u8; FILE_BYTES];
    let mut seconds = Vec::with_capacity(rounds);
    for round in 0..rounds {
        let started = Instant::now();
        for file in 0..FILES {
            let mut file = File::create_new(folder.join(format!("yardstick-{round}-{file}")))?;
            file.write_all(&bytes)?;
            file.sync_all()?;
        }
        connection.execute("INSERT INTO pointer (location) VALUES (?1)", [format!("location-{round}")])?;
        seconds.push(started.elapsed().as_secs_f64());
    }
    Ok(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_round_leaves_four_files_and_a_row() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(run(folder.path(), 3).unwrap().len(), 3);
        let files = std::fs::read_dir(folder.path()).unwrap().filter(|entry| {
            let entry = entry.as_ref().unwrap();
            entry.file_name().to_str().unwrap().starts_with("yardstick-")
                && entry.metadata().unwrap().len() == 8192
        });
        assert_eq!(files.count(), 12);
        let connection = Connection::open(folder.path().join("yardstick.db")).unwrap();
        let rows: i64 = connection.query_row("SELECT count(*) FROM pointer", [], |row| row.get(0)).unwrap();
        assert_eq!(rows, 3);
    }
}
