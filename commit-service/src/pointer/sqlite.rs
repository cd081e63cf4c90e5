//! The embedded store: one SQLite file in the layout of Iceberg's JDBC catalog, which PyIceberg's
//! `SqlCatalog` and Spark's `JdbcCatalog` open as theirs, and the ledger in a table beside.
//!
//! All writing goes through one connection, all reading through another, so readers never wait for an
//! fsync. The calls block, hence run on the blocking pool; a caller that is dropped meanwhile stops
//! waiting, and the transaction ends as if it had not been.

mod catalog;
mod failure;
mod ledger;
mod publish;
mod schema;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use icecap_table::clock::Clock;
use icecap_table::{Error, Result};
use rusqlite::{Connection, Transaction, TransactionBehavior};

use crate::ledger::HEARTBEAT_BOUND;
use crate::ledger::owner::OwnerLocks;
pub(crate) use failure::failed;
pub(crate) use ledger::{superseded, unknown as unknown_write};

/// How long a transaction waits for the write lock of another process.
const BUSY_TIMEOUT: Duration = Duration::from_secs(30);

/// Iceberg's word for a table in `iceberg_type`.
const TABLE: &str = "TABLE";
/// Iceberg's word for a view in `iceberg_type`.
const VIEW: &str = "VIEW";

/// A catalog and its ledger in one SQLite file; cheap to clone.
#[derive(Debug, Clone)]
pub struct SqliteStore(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    catalog: String,
    clock: Arc<dyn Clock>,
    owners: OwnerLocks,
    writer: Mutex<Connection>,
    reader: Mutex<Connection>,
}

/// What a transaction must survive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Durability {
    /// A power cut: one fsync of the write-ahead log before the answer.
    Power,
    /// The end of the process: no fsync; the next one that costs one covers it too.
    Process,
}

impl Durability {
    fn pragma(self) -> &'static str {
        match self {
            Self::Power => "PRAGMA synchronous = FULL",
            Self::Process => "PRAGMA synchronous = NORMAL",
        }
    }
}

impl SqliteStore {
    /// Opens the catalog `catalog` in the file `path`, making the file, its folder and its tables where they
    /// are missing. A new catalog has the namespace `default`.
    ///
    /// # Errors
    /// `Unsupported` when a newer release made the file; `Corrupt` when it is no SQLite file or lacks a
    /// column of Iceberg's layout; `Denied` or `Unavailable` when it cannot be opened or is locked.
    pub async fn open(path: impl AsRef<Path>, catalog: &str, clock: Arc<dyn Clock>) -> Result<Self> {
        if catalog.is_empty() {
            return Err(Error::invalid("the catalog's name is empty: leave it out, or give it a name"));
        }
        let (path, catalog) = (path.as_ref().to_owned(), catalog.to_owned());
        blocking(move || {
            if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
                std::fs::create_dir_all(folder)
                    .map_err(|e| failure::file("the catalog's folder cannot be made", folder, e))?;
            }
            let mut writer = connect(&path)?;
            schema::prepare(&mut writer, &path, &catalog)?;
            let reader = connect(&path)?;
            let mut owners = path.clone().into_os_string();
            owners.push(".owners");
            Ok(Self(Arc::new(Inner {
                owners: OwnerLocks::new(PathBuf::from(owners)),
                path,
                catalog,
                clock,
                writer: Mutex::new(writer),
                reader: Mutex::new(reader),
            })))
        })
        .await
    }

    /// The catalog's file.
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// The catalog's name, as `catalog_name` holds it.
    pub fn catalog_name(&self) -> &str {
        &self.0.catalog
    }

    /// Runs a read.
    async fn read<T: Send + 'static>(
        &self,
        what: &'static str,
        run: impl FnOnce(&Inner, &Connection) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T> {
        let inner = Arc::clone(&self.0);
        blocking(move || {
            let reader = inner.reader.lock().unwrap_or_else(PoisonError::into_inner);
            run(&inner, &reader).map_err(|e| e.into_error(what, &inner.path))
        })
        .await
    }

    /// Runs a transaction that holds the write lock from its beginning, and commits it when `run` succeeds.
    /// A failure to commit is `Unavailable`: these are the transactions whose repetition is harmless.
    async fn write<T: Send + 'static>(
        &self,
        what: &'static str,
        durability: Durability,
        run: impl FnOnce(&Inner, &Transaction<'_>) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T> {
        let inner = Arc::clone(&self.0);
        blocking(move || {
            let mut writer = inner.writer.lock().unwrap_or_else(PoisonError::into_inner);
            let done = begin(&mut writer, durability).map_err(Failure::from).and_then(|transaction| {
                let value = run(&inner, &transaction)?;
                transaction.commit()?;
                Ok(value)
            });
            done.map_err(|e| e.into_error(what, &inner.path))
        })
        .await
    }
}

fn begin(writer: &mut Connection, durability: Durability) -> rusqlite::Result<Transaction<'_>> {
    writer.execute_batch(durability.pragma())?;
    writer.transaction_with_behavior(TransactionBehavior::Immediate)
}

fn connect(path: &Path) -> Result<Connection> {
    let opened = Connection::open(path).and_then(|connection| {
        connection.busy_timeout(BUSY_TIMEOUT)?;
        Ok(connection)
    });
    opened.map_err(|e| failed("the catalog file cannot be opened", path, e))
}

async fn blocking<T: Send + 'static>(run: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(run)
        .await
        .map_err(|e| Error::bug("the catalog's thread ended before its answer").with_source(e))?
}

/// What ends a transaction early: the database's failure, or a judgment of ours.
#[derive(Debug)]
enum Failure {
    Database(rusqlite::Error),
    Judged(Error),
}

impl Failure {
    fn into_error(self, what: &str, path: &Path) -> Error {
        match self {
            Self::Database(error) => failed(what, path, error),
            Self::Judged(error) => error,
        }
    }
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(error)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Judged(error)
    }
}

#[cfg(test)]
mod tests;
