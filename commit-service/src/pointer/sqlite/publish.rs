//! The swap: pointers and ledger rows in one transaction, durable against a power cut when it answers.

use async_trait::async_trait;
use icecap_table::id::TableIdent;
use icecap_table::{Error, Result};
use rusqlite::{Connection, ErrorCode, OptionalExtension, params};

use super::{Durability, Failure, Inner, SqliteStore, TABLE, VIEW, begin, blocking, catalog, failed};
use crate::pointer::{Expect, LedgerCommit, Next, ObjectKind, Pointer, Publish, Publisher, Swap};

/// What a statement on one entry must find there, `NULL` being how old writers say "table".
const IS_OBJECT: &str = "catalog_name = ?1 AND table_namespace = ?2 AND table_name = ?3
    AND coalesce(iceberg_type, 'TABLE') = ?4";

#[async_trait]
impl Publisher for SqliteStore {
    async fn pointer(&self, ident: &TableIdent) -> Result<Option<Pointer>> {
        let ident = ident.clone();
        self.read("the catalog cannot be read", move |inner, reader| pointer(reader, &inner.catalog, &ident))
            .await
    }

    async fn namespace_exists(&self, namespace: &[String]) -> Result<bool> {
        let namespace = namespace.join(".");
        self.read("the catalog cannot be read", move |inner, reader| {
            Ok(catalog::namespace_exists(reader, &inner.catalog, &namespace)?)
        })
        .await
    }

    async fn namespace_holds(&self, namespace: &[String]) -> Result<Option<String>> {
        let namespace = namespace.join(".");
        self.read("the catalog cannot be read", move |inner, reader| {
            Ok(catalog::namespace_holds(reader, &inner.catalog, &namespace)?)
        })
        .await
    }

    async fn publish(&self, swaps: Vec<Swap>, ledger: Vec<LedgerCommit>) -> Result<Publish> {
        let inner = std::sync::Arc::clone(&self.0);
        blocking(move || publish(&inner, &swaps, &ledger)).await
    }
}

fn pointer(connection: &Connection, catalog: &str, ident: &TableIdent) -> Result<Option<Pointer>, Failure> {
    let row: Option<(Option<String>, Option<String>)> = connection
        .prepare_cached(
            "SELECT metadata_location, iceberg_type FROM iceberg_tables
             WHERE catalog_name = ?1 AND table_namespace = ?2 AND table_name = ?3",
        )?
        .query_row(params![catalog, ident.namespace_name(), ident.name], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((location, object)) = row else { return Ok(None) };
    let corrupt = |what: String| Error::corrupt(what).with("table", ident.to_string());
    let object = match object.as_deref() {
        None | Some(TABLE) => ObjectKind::Table,
        Some(VIEW) => ObjectKind::View,
        Some(other) => {
            return Err(corrupt(format!("the catalog has an entry of unknown type {other:?}")).into());
        }
    };
    let location = location
        .filter(|location| !location.is_empty())
        .ok_or_else(|| corrupt("the catalog's entry has no metadata location".to_owned()))?;
    Ok(Some(Pointer { object, location }))
}

fn publish(inner: &Inner, swaps: &[Swap], ledger: &[LedgerCommit]) -> Result<Publish> {
    let mut writer = inner.writer.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let what = "the commit could not be sent to the catalog";
    let transaction = begin(&mut writer, Durability::Power).map_err(|e| failed(what, &inner.path, e))?;
    // Dropped without a commit, a transaction is rolled back.
    let prepared = (|| -> Result<Option<Publish>, Failure> {
        let now_ms = inner.clock.now_ms();
        for row in ledger {
            if !super::ledger::mark_committed(&transaction, row, now_ms)? {
                return Ok(Some(Publish::Refused));
            }
        }
        for swap in swaps {
            if !apply(&transaction, &inner.catalog, swap)? {
                return Ok(Some(Publish::Lost));
            }
        }
        Ok(None)
    })();
    match prepared.map_err(|e| e.into_error(what, &inner.path))? {
        Some(ended) => Ok(ended),
        None => match transaction.commit() {
            Ok(()) => Ok(Publish::Published),
            // Still locked by a reader, so nothing was written.
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => {
                Err(failed(what, &inner.path, error))
            }
            // The log may hold the transaction's frames although its fsync failed.
            Err(error) => Ok(Publish::Unknown(
                Error::commit_state_unknown(
                    "the catalog failed while it committed; ask again under the same id",
                )
                .with("catalog", inner.path.display().to_string())
                .with_source(error),
            )),
        },
    }
}

/// Does one swap; false when its condition does not hold.
fn apply(transaction: &Connection, catalog: &str, swap: &Swap) -> Result<bool, Failure> {
    let namespace = swap.ident.namespace_name();
    let object = match swap.object {
        ObjectKind::Table => TABLE,
        ObjectKind::View => VIEW,
        ObjectKind::Namespace => return apply_to_namespace(transaction, catalog, &namespace, swap),
    };
    let key = params![catalog, namespace, swap.ident.name, object];
    let changed = match (&swap.expect, &swap.next) {
        (Expect::Absent, Next::Location(next)) => {
            if !catalog::namespace_exists(transaction, catalog, &namespace)? {
                return Ok(false);
            }
            transaction
                .prepare_cached(
                    "INSERT OR IGNORE INTO iceberg_tables (catalog_name, table_namespace, table_name,
                         metadata_location, previous_metadata_location, iceberg_type)
                     VALUES (?1, ?2, ?3, ?5, NULL, ?4)",
                )?
                .execute(params![catalog, namespace, swap.ident.name, object, next])?
        }
        (Expect::Location(base), Next::Location(next)) => transaction
            .prepare_cached(&format!(
                "UPDATE iceberg_tables SET metadata_location = ?6, previous_metadata_location = ?5
                 WHERE {IS_OBJECT} AND metadata_location = ?5"
            ))?
            .execute(params![catalog, namespace, swap.ident.name, object, base, next])?,
        (Expect::Location(base), Next::Gone) => transaction
            .prepare_cached(&format!(
                "DELETE FROM iceberg_tables WHERE {IS_OBJECT} AND metadata_location = ?5"
            ))?
            .execute(params![catalog, namespace, swap.ident.name, object, base])?,
        (Expect::Location(base), Next::Same) => {
            let found: Option<i64> = transaction
                .prepare_cached(&format!(
                    "SELECT 1 FROM iceberg_tables WHERE {IS_OBJECT} AND metadata_location = ?5"
                ))?
                .query_row(params![catalog, namespace, swap.ident.name, object, base], |row| row.get(0))
                .optional()?;
            usize::from(found.is_some())
        }
        (Expect::Absent, Next::Same) => {
            let found: Option<i64> = transaction
                .prepare_cached(&format!("SELECT 1 FROM iceberg_tables WHERE {IS_OBJECT}"))?
                .query_row(key, |row| row.get(0))
                .optional()?;
            usize::from(found.is_none())
        }
        (_, Next::RenameTo(_)) => {
            return Err(Error::unsupported("ALTER TABLE RENAME is not supported yet").into());
        }
        (Expect::Absent, Next::Gone) => {
            return Err(Error::bug("a swap removes an entry that it expects to be absent").into());
        }
        (Expect::Present, _) | (_, Next::Namespace(_)) => {
            return Err(Error::bug("a swap takes a table for a namespace").into());
        }
    };
    Ok(changed == 1)
}

/// Does the swap of a namespace; false when its condition does not hold.
fn apply_to_namespace(
    transaction: &Connection,
    catalog: &str,
    namespace: &str,
    swap: &Swap,
) -> Result<bool, Failure> {
    let exists = catalog::namespace_exists(transaction, catalog, namespace)?;
    match (&swap.expect, &swap.next) {
        (Expect::Absent, Next::Namespace(properties)) if !exists => {
            catalog::insert_namespace(transaction, catalog, namespace, properties)?;
            Ok(true)
        }
        (Expect::Present, Next::Gone) if exists => {
            if catalog::namespace_holds(transaction, catalog, namespace)?.is_some() {
                return Ok(false);
            }
            Ok(catalog::delete_namespace(transaction, catalog, namespace)?)
        }
        (Expect::Absent, Next::Same) => Ok(!exists),
        (Expect::Present, Next::Same) => Ok(exists),
        (Expect::Absent, Next::Namespace(_)) | (Expect::Present, Next::Gone) => Ok(false),
        _ => Err(Error::bug("a swap takes a namespace for a table").into()),
    }
}
