//! The file's tables: Iceberg's two, exactly as Iceberg's JDBC catalog (schema V1) and PyIceberg make
//! them, and ours, which other engines never look at.

use std::path::Path;
use std::time::{Duration, Instant};

use icecap_table::{Error, Result};
use rusqlite::{Connection, ErrorCode, OptionalExtension, Transaction, TransactionBehavior, params};

use super::{Failure, failed};
use crate::lease::{lock_path, open_lock};

/// The version of our own tables that this build reads and writes.
const VERSION: i64 = 1;
/// Where `icecap_meta` keeps it.
const VERSION_KEY: &str = "schema-version";
/// How long the making of the tables waits for another process that makes them.
const WAIT: Duration = Duration::from_secs(30);

const ICEBERG_TABLES: &str = "
CREATE TABLE IF NOT EXISTS iceberg_tables (
    catalog_name VARCHAR(255) NOT NULL,
    table_namespace VARCHAR(255) NOT NULL,
    table_name VARCHAR(255) NOT NULL,
    metadata_location VARCHAR(1000),
    previous_metadata_location VARCHAR(1000),
    iceberg_type VARCHAR(5),
    PRIMARY KEY (catalog_name, table_namespace, table_name)
);
CREATE TABLE IF NOT EXISTS iceberg_namespace_properties (
    catalog_name VARCHAR(255) NOT NULL,
    namespace VARCHAR(255) NOT NULL,
    property_key VARCHAR(255) NOT NULL,
    property_value VARCHAR(1000) NOT NULL,
    PRIMARY KEY (catalog_name, namespace, property_key)
);";

const OURS: &str = "
CREATE TABLE IF NOT EXISTS icecap_meta (
    key TEXT NOT NULL PRIMARY KEY,
    value
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS icecap_ledger (
    write_id TEXT NOT NULL PRIMARY KEY,
    state TEXT NOT NULL CHECK (state IN ('active', 'committed', 'fenced')),
    round INTEGER NOT NULL,
    kind TEXT,
    intent_hash BLOB,
    started_ms INTEGER NOT NULL,
    heartbeat_ms INTEGER NOT NULL,
    deadline_ms INTEGER NOT NULL,
    ended_ms INTEGER,
    owner TEXT,
    bases TEXT NOT NULL,
    prefixes TEXT NOT NULL,
    outcome TEXT
) WITHOUT ROWID;";

/// Makes what is missing, once per file and catalog name. A file that is complete costs one read.
pub(super) fn prepare(connection: &mut Connection, path: &Path, catalog: &str) -> Result<()> {
    let unusable = |e| failed("the catalog file cannot be read", path, e);
    if !is_prepared(connection, path, catalog)? {
        // The lock keeps processes that start together from failing on each other's schema change.
        let lock = open_lock(&lock_path(path)).and_then(|file| wait_for(&file).map(|()| file));
        if let Err(error) = &lock {
            tracing::warn!(path = %path.display(), %error, "no lock while the catalog's tables are made");
        }
        connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(())).map_err(unusable)?;
        let made = connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(Failure::from)
            .and_then(|transaction| {
                make(&transaction, catalog)?;
                transaction.commit()?;
                Ok(())
            });
        made.map_err(|e| e.into_error("the catalog's tables cannot be made", path))?;
    }
    Ok(())
}

fn wait_for(file: &std::fs::File) -> std::io::Result<()> {
    let began = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(()),
            Err(std::fs::TryLockError::WouldBlock) if began.elapsed() < WAIT => {
                std::thread::sleep(Duration::from_millis(5));
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Whether the file is in write-ahead mode, has our tables in our version, and knows this catalog name.
fn is_prepared(connection: &Connection, path: &Path, catalog: &str) -> Result<bool> {
    let read = || -> rusqlite::Result<(String, Option<i64>, bool)> {
        let mode = connection.pragma_query_value(None, "journal_mode", |row| row.get(0))?;
        let (version, known) = connection.query_row(
            "SELECT (SELECT value FROM icecap_meta WHERE key = ?1), EXISTS (SELECT 1 FROM icecap_meta WHERE key = ?2)",
            params![VERSION_KEY, catalog_key(catalog)],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?;
        Ok((mode, version, known))
    };
    match read() {
        Ok((mode, version, known)) => {
            if let Some(version) = version {
                check_version(version).map_err(|e| e.with("catalog", path.display().to_string()))?;
            }
            Ok(known && version.is_some() && mode.eq_ignore_ascii_case("wal"))
        }
        // No such table.
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::Unknown) => Ok(false),
        Err(error) => Err(failed("the catalog file cannot be read", path, error)),
    }
}

fn check_version(version: i64) -> Result<()> {
    if version > VERSION {
        return Err(Error::unsupported(format!(
            "the catalog file was written by a newer release (its schema has version {version}, this build knows \
             up to {VERSION}): use that release"
        )));
    }
    Ok(())
}

fn make(transaction: &Transaction<'_>, catalog: &str) -> Result<(), Failure> {
    transaction.execute_batch(ICEBERG_TABLES)?;
    // A V0 file. Its readers name their columns, so one more does not disturb them.
    let has_type: bool = transaction.query_row(
        "SELECT EXISTS (SELECT 1 FROM pragma_table_info('iceberg_tables') WHERE name = 'iceberg_type')",
        [],
        |row| row.get(0),
    )?;
    if !has_type {
        transaction.execute_batch("ALTER TABLE iceberg_tables ADD COLUMN iceberg_type VARCHAR(5)")?;
    }
    transaction.execute_batch(OURS)?;
    let version: Option<i64> = transaction
        .query_row("SELECT value FROM icecap_meta WHERE key = ?1", [VERSION_KEY], |row| row.get(0))
        .optional()?;
    match version {
        Some(version) => check_version(version)?,
        None => {
            transaction.execute("INSERT INTO icecap_meta VALUES (?1, ?2)", params![VERSION_KEY, VERSION])?;
        }
    }
    let is_new =
        transaction.execute("INSERT OR IGNORE INTO icecap_meta VALUES (?1, 1)", [catalog_key(catalog)])? == 1;
    if is_new {
        // Only ever once: a user who drops `default` is not given it back. And not beside what another
        // engine has put there.
        transaction.execute(
            "INSERT INTO iceberg_namespace_properties (catalog_name, namespace, property_key, property_value)
             SELECT ?1, 'default', 'exists', 'true'
             WHERE NOT EXISTS (SELECT 1 FROM iceberg_namespace_properties WHERE catalog_name = ?1)
               AND NOT EXISTS (SELECT 1 FROM iceberg_tables WHERE catalog_name = ?1)",
            [catalog],
        )?;
    }
    Ok(())
}

fn catalog_key(catalog: &str) -> String {
    format!("catalog:{catalog}")
}
