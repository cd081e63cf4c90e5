//! A temporary warehouse and what is in it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use icecap_table::metadata::TableDocument;
use icecap_table::storage::Storage;
use icecap_table::verify::Seen;
use rusqlite::OpenFlags;
use serde_json::Value;
use tempfile::TempDir;

use super::gate::Place;
use super::{Output, S3Server, Session, icecap_binary, invariants, run_within};
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
    on_s3: Option<OnS3>,
    seen: Mutex<Seen>,
    is_damaged: AtomicBool,
    options: Vec<String>,
    variables: Vec<(String, String)>,
    _place: Place,
}

/// Where the tables of a warehouse on S3 are; its catalog file is in the folder.
struct OnS3 {
    server: Arc<S3Server>,
    bucket: String,
    /// The server, or a proxy before it.
    endpoint: String,
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
        Self::at(Place::shared(), None)
    }

    /// A warehouse whose tables are on S3, in a bucket of its own.
    ///
    /// # Errors
    /// When the server does not start.
    pub fn on_s3() -> Result<Self> {
        let server = S3Server::shared()?;
        let (bucket, endpoint) = (server.new_bucket()?, server.endpoint());
        Self::at(Place::shared(), Some(OnS3 { server, bucket, endpoint }))
    }

    /// The same warehouse reached at another endpoint, such as a proxy's.
    #[must_use]
    pub fn through(mut self, endpoint: String) -> Self {
        if let Some(on_s3) = &mut self.on_s3 {
            on_s3.endpoint = endpoint;
        }
        self
    }

    /// The S3 server and the bucket, of a warehouse that is there.
    ///
    /// # Errors
    /// When it is not.
    pub fn s3(&self) -> Result<(&S3Server, &str)> {
        let on_s3 = self.on_s3.as_ref().ok_or_else(|| Failure::new("the warehouse is not on S3"))?;
        Ok((&on_s3.server, &on_s3.bucket))
    }

    /// The warehouse as `--warehouse` has it.
    pub fn location(&self) -> String {
        match &self.on_s3 {
            Some(on_s3) => format!("s3://{}/warehouse", on_s3.bucket),
            None => self.path().display().to_string(),
        }
    }

    /// Storage that reaches the tables, past any proxy.
    pub fn storage(&self) -> Storage {
        self.on_s3.as_ref().map_or_else(Storage::local, |on_s3| on_s3.server.storage())
    }

    /// A warehouse of a test that measures: no other test of this process has one meanwhile.
    ///
    /// # Errors
    /// When there is no room for it.
    pub fn alone() -> Result<Self> {
        Self::at(Place::alone(), None)
    }

    fn at(place: Place, on_s3: Option<OnS3>) -> Result<Self> {
        let mut folder = tempfile::Builder::new().prefix("icecap-conformance-").tempdir()?;
        if std::env::var_os(KEEP).is_some() {
            folder.disable_cleanup(true);
            println!("kept: {}", folder.path().display());
        }
        if on_s3.is_some() {
            std::fs::create_dir(folder.path().join("warehouse"))?;
        }
        Ok(Self {
            folder,
            on_s3,
            seen: Mutex::default(),
            is_damaged: AtomicBool::new(false),
            options: Vec::new(),
            variables: Vec::new(),
            _place: place,
        })
    }

    /// The same warehouse, its commands run with more options and environment variables.
    #[must_use]
    pub fn with(mut self, options: &[&str], variables: &[(&str, &str)]) -> Self {
        self.options.extend(options.iter().copied().map(str::to_owned));
        self.variables
            .extend(variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        self
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
            if name.to_string_lossy().starts_with("ICECAP_") || name.to_string_lossy().starts_with("AWS_") {
                command.env_remove(name);
            }
        }
        command.current_dir(self.folder.path()).arg("sql");
        self.name(&mut command);
        command.args(["--format", "json"]).args(&self.options).envs(self.variables.iter().cloned());
        Ok(command)
    }

    /// Adds `--warehouse`, and what else a command needs to find it.
    pub fn name(&self, command: &mut Command) {
        command.arg("--warehouse").arg(self.location());
        if let Some(on_s3) = &self.on_s3 {
            command.arg("--catalog").arg(format!("sqlite:{}", self.catalog().display()));
            command.envs(S3Server::environment(&on_s3.endpoint));
        }
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

    /// One process that runs statements one after another.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn session(&self) -> Result<Session> {
        self.session_with(&[])
    }

    /// The same with more options.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn session_with(&self, options: &[&str]) -> Result<Session> {
        let mut command = self.command()?;
        command.args(options);
        Session::start(command)
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
        let catalog = self.open_catalog()?;
        let mut statement = catalog.prepare(
            "SELECT table_namespace || '.' || table_name, metadata_location FROM iceberg_tables
             WHERE catalog_name = 'icecap'",
        )?;
        let pointers = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(pointers.collect::<rusqlite::Result<_>>()?)
    }

    /// The namespaces and names of the tables.
    ///
    /// # Errors
    /// When the catalog file cannot be read.
    pub fn tables(&self) -> Result<Vec<(String, String)>> {
        if !self.catalog().exists() {
            return Ok(Vec::new());
        }
        let catalog = self.open_catalog()?;
        let mut statement = catalog.prepare(
            "SELECT table_namespace, table_name FROM iceberg_tables WHERE catalog_name = 'icecap' ORDER BY 1, 2",
        )?;
        let names = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(names.collect::<rusqlite::Result<_>>()?)
    }

    /// Ids of the writes that the ledger knows.
    ///
    /// # Errors
    /// When the catalog file cannot be read.
    pub fn known_writes(&self) -> Result<BTreeSet<String>> {
        let catalog = self.open_catalog()?;
        let mut statement = catalog.prepare("SELECT write_id FROM icecap_ledger")?;
        let ids = statement.query_map([], |row| row.get(0))?;
        Ok(ids.collect::<rusqlite::Result<_>>()?)
    }

    fn open_catalog(&self) -> Result<rusqlite::Connection> {
        let catalog =
            rusqlite::Connection::open_with_flags(self.catalog(), OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        catalog.busy_timeout(Duration::from_secs(30))?;
        Ok(catalog)
    }

    /// The invariants of the specification that tables, given by name and metadata location, break: in their
    /// current snapshots and in all that were not looked at before.
    ///
    /// # Errors
    /// When the check cannot run at all.
    pub fn broken_invariants(&self, tables: &BTreeMap<String, String>) -> Result<Vec<String>> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        invariants::broken(&self.storage(), tables, &mut seen)
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
        let location = self.metadata_location(table)?;
        match (&self.on_s3, location.strip_prefix("s3://").and_then(|rest| rest.split_once('/'))) {
            (Some(on_s3), Some((bucket, key))) => {
                read_metadata(&on_s3.server.file(bucket, key).display().to_string())
            }
            _ => read_metadata(&location),
        }
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
        if self.on_s3.is_some() {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let all = runtime.block_on(self.storage().list(&self.location()))?;
            let root = format!("{}/", self.location());
            return Ok(all.iter().filter_map(|file| file.strip_prefix(&root)).map(str::to_owned).collect());
        }
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
