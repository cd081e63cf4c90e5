//! A temporary warehouse and what is in it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use icecap_table::metadata::TableDocument;
use icecap_table::verify::Seen;
use rusqlite::OpenFlags;
use serde_json::Value;
use tempfile::TempDir;

use super::gate::Place;
use super::{Output, icecap_binary, invariants, run_within};
use crate::canonical::{Column, Rows, columns_of};
use crate::{Failure, Result};

/// Longest run of one `icecap` process.
const RUN_WITHIN: Duration = Duration::from_secs(120);

/// What the environment variable says to keep temporary warehouses, to look into after a failure.
const KEEP: &str = "ICECAP_CONFORMANCE_KEEP";

/// A warehouse of one test, removed at its end. Before that the spec's invariants are checked, of every snapshot of
/// its tables that no check looked at yet.
pub struct Warehouse {
    folder: TempDir,
    seen: Mutex<Seen>,
    is_damaged: AtomicBool,
    _place: Place,
}

/// A table as one reader saw it.
#[derive(Debug, Clone)]
pub struct Reading {
    /// The table's columns, by its metadata.
    pub columns: Vec<Column>,
    /// Its rows.
    pub rows: Rows,
}

impl Warehouse {
    /// A new folder; the warehouse itself is `icecap`'s to make. A test has one warehouse at a time.
    ///
    /// # Errors
    /// When there is no room for it.
    pub fn new() -> Result<Self> {
        Self::at(Place::shared())
    }

    /// A warehouse of a test that measures: no other test of this process has one meanwhile.
    ///
    /// # Errors
    /// When there is no room for it.
    pub fn alone() -> Result<Self> {
        Self::at(Place::alone())
    }

    fn at(place: Place) -> Result<Self> {
        let mut folder = tempfile::Builder::new().prefix("icecap-conformance-").tempdir()?;
        if std::env::var_os(KEEP).is_some() {
            folder.disable_cleanup(true);
            println!("kept: {}", folder.path().display());
        }
        Ok(Self { folder, seen: Mutex::default(), is_damaged: AtomicBool::new(false), _place: place })
    }

    /// A folder beside the warehouse, for sources and the like.
    pub fn beside(&self) -> &Path {
        self.folder.path()
    }

    /// The warehouse folder.
    pub fn path(&self) -> PathBuf {
        self.folder.path().join("warehouse")
    }

    /// The catalog file.
    pub fn catalog(&self) -> PathBuf {
        self.path().join("catalog.db")
    }

    /// `icecap sql --format json` on this warehouse, statements on standard input or to be added.
    ///
    /// # Errors
    /// When the binary is not built.
    pub fn command(&self) -> Result<Command> {
        let mut command = Command::new(icecap_binary()?);
        for (name, _) in std::env::vars_os() {
            // The settings of whoever runs the tests are not the test's.
            if name.to_string_lossy().starts_with("ICECAP_") {
                command.env_remove(name);
            }
        }
        command.current_dir(self.folder.path()).arg("sql").arg("--warehouse").arg(self.path());
        command.args(["--format", "json"]);
        Ok(command)
    }

    /// Runs statements in one process.
    ///
    /// # Errors
    /// When the process cannot be run; a statement that fails is an [`Output`].
    pub fn run(&self, statements: &[&str]) -> Result<Output> {
        let mut command = self.command()?;
        for statement in statements {
            command.args(["-e", statement]);
        }
        run_within(&mut command, "", RUN_WITHIN)
    }

    /// Runs one statement given on standard input: for texts that are too long for an argument.
    ///
    /// # Errors
    /// When the process cannot be run; a statement that fails is an [`Output`].
    pub fn run_input(&self, sql: &str) -> Result<Output> {
        run_within(&mut self.command()?, sql, RUN_WITHIN)
    }

    /// The objects that the last of some statements answers.
    ///
    /// # Errors
    /// When one fails.
    pub fn query(&self, statements: &[&str]) -> Result<Vec<Value>> {
        self.run(statements)?.objects()
    }

    /// Where each table's metadata is, by dotted name: what the catalog file says.
    ///
    /// # Errors
    /// When the catalog file cannot be read. A warehouse without one has no tables.
    pub fn pointers(&self) -> Result<BTreeMap<String, String>> {
        if !self.catalog().exists() {
            return Ok(BTreeMap::new());
        }
        let catalog =
            rusqlite::Connection::open_with_flags(self.catalog(), OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        catalog.busy_timeout(Duration::from_secs(30))?;
        let mut statement = catalog.prepare(
            "SELECT table_namespace || '.' || table_name, metadata_location FROM iceberg_tables
             WHERE catalog_name = 'icecap'",
        )?;
        let pointers = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(pointers.collect::<rusqlite::Result<_>>()?)
    }

    /// The invariants of the specification that tables, given by name and metadata location, break: in their
    /// current snapshots and in all that were not looked at before.
    ///
    /// # Errors
    /// When the check cannot run at all.
    pub fn broken_invariants(&self, tables: &BTreeMap<String, String>) -> Result<Vec<String>> {
        invariants::broken(tables, &mut self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Says that the test damages tables by hand, so that they are not to be judged at its end.
    pub fn damages_tables(&self) {
        self.is_damaged.store(true, Ordering::Relaxed);
    }

    /// Where a table's metadata is.
    ///
    /// # Errors
    /// When the catalog does not have the table.
    pub fn metadata_location(&self, table: &str) -> Result<String> {
        let pointers = self.pointers()?;
        let found = pointers.get(table).cloned();
        found.ok_or_else(|| {
            Failure::new(format!("no table {table} in the catalog, which has {:?}", pointers.keys()))
        })
    }

    /// A table's metadata.
    ///
    /// # Errors
    /// When there is no such table or its metadata file cannot be read.
    pub fn metadata(&self, table: &str) -> Result<Value> {
        read_metadata(&self.metadata_location(table)?)
    }

    /// A table as `icecap` itself reads it.
    ///
    /// # Errors
    /// When the query fails or answers values that are not of the table's types.
    pub fn read(&self, table: &str) -> Result<Reading> {
        let columns = columns_of(&self.metadata(table)?, None)?;
        let objects = self.query(&[&format!("SELECT * FROM {table}")])?;
        let rows = Rows::from_objects(&columns, &objects).map_err(|failure| failure.at("icecap"))?;
        Ok(Reading { columns, rows })
    }

    /// Every file below the warehouse, as paths relative to it, in order; the catalog's own files left out.
    ///
    /// # Errors
    /// When the folder cannot be listed.
    pub fn files(&self) -> Result<Vec<String>> {
        let mut found = Vec::new();
        let mut folders = vec![self.path()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder)? {
                let path = entry?.path();
                if path.is_dir() {
                    folders.push(path);
                } else if let Ok(relative) = path.strip_prefix(self.path()) {
                    found.push(relative.to_string_lossy().into_owned());
                }
            }
        }
        found.retain(|file| !file.starts_with("catalog.db"));
        found.sort();
        Ok(found)
    }
}

impl Drop for Warehouse {
    fn drop(&mut self) {
        // A test that failed already has said why.
        if std::thread::panicking() || self.is_damaged.load(Ordering::Relaxed) {
            return;
        }
        let broken = self.pointers().and_then(|tables| self.broken_invariants(&tables));
        assert!(broken.as_ref().is_ok_and(Vec::is_empty), "at the end of the test: {broken:#?}");
    }
}

/// The JSON of a metadata file, plain or gzip.
///
/// # Errors
/// When it cannot be read or is no JSON.
pub fn read_metadata(location: &str) -> Result<Value> {
    // Spark writes `file:/…`, everyone else `file:///…`.
    let path =
        location.strip_prefix("file://").or_else(|| location.strip_prefix("file:")).unwrap_or(location);
    let bytes = std::fs::read(path).map_err(|error| Failure::from(error).at(location))?;
    if bytes.starts_with(&[0x1f, 0x8b]) {
        let document = TableDocument::parse(&bytes).map_err(|error| Failure::from(error).at(location))?;
        return Ok(document.tree());
    }
    serde_json::from_slice(&bytes).map_err(|error| Failure::from(error).at(location))
}
