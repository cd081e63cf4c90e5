//! Namespaces and lists of tables, read and written as Iceberg's JDBC catalog does: a namespace exists when
//! it has properties or tables, or when something below it has.

use std::collections::{BTreeMap, BTreeSet};

use icecap_table::{Error, Result};
use rusqlite::{Connection, params};

use super::{Durability, SqliteStore};

/// The property that keeps an empty namespace in being.
const EXISTS: &str = "exists";

/// Whether a namespace, as its dotted name, exists.
pub(super) fn namespace_exists(
    connection: &Connection,
    catalog: &str,
    namespace: &str,
) -> rusqlite::Result<bool> {
    connection
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM iceberg_namespace_properties WHERE catalog_name = ?1
                 AND (namespace = ?2 OR substr(namespace, 1, length(?2) + 1) = ?2 || '.'))
             OR EXISTS (SELECT 1 FROM iceberg_tables WHERE catalog_name = ?1
                 AND (table_namespace = ?2 OR substr(table_namespace, 1, length(?2) + 1) = ?2 || '.'))",
        )?
        .query_row(params![catalog, namespace], |row| row.get(0))
}

/// The first of what is in a namespace.
pub(super) fn namespace_holds(
    connection: &Connection,
    catalog: &str,
    namespace: &str,
) -> rusqlite::Result<Option<String>> {
    connection
        .prepare_cached(
            "SELECT min(held) FROM (
                 SELECT table_namespace || '.' || table_name AS held FROM iceberg_tables
                 WHERE catalog_name = ?1 AND (table_namespace = ?2
                     OR substr(table_namespace, 1, length(?2) + 1) = ?2 || '.')
                 UNION ALL SELECT namespace FROM iceberg_namespace_properties
                 WHERE catalog_name = ?1 AND substr(namespace, 1, length(?2) + 1) = ?2 || '.')",
        )?
        .query_row(params![catalog, namespace], |row| row.get(0))
}

/// Adds a namespace that does not exist.
pub(super) fn insert_namespace(
    transaction: &Connection,
    catalog: &str,
    namespace: &str,
    properties: &BTreeMap<String, String>,
) -> rusqlite::Result<()> {
    let mut statement = transaction.prepare_cached(
        "INSERT INTO iceberg_namespace_properties (catalog_name, namespace, property_key, property_value)
         VALUES (?1, ?2, ?3, ?4)",
    )?;
    statement.execute(params![catalog, namespace, EXISTS, "true"])?;
    for (key, value) in properties.iter().filter(|(key, _)| *key != EXISTS) {
        statement.execute(params![catalog, namespace, key, value])?;
    }
    Ok(())
}

/// Removes a namespace that holds nothing; false when it does not exist.
pub(super) fn delete_namespace(
    transaction: &Connection,
    catalog: &str,
    namespace: &str,
) -> rusqlite::Result<bool> {
    let gone = transaction.execute(
        "DELETE FROM iceberg_namespace_properties WHERE catalog_name = ?1 AND namespace = ?2",
        params![catalog, namespace],
    )?;
    Ok(gone > 0)
}

fn missing(namespace: &str) -> Error {
    Error::not_found(format!("namespace {namespace} does not exist"))
}

impl SqliteStore {
    /// Every namespace's dotted name, in order; those included that exist only by what is below them.
    ///
    /// # Errors
    /// `Unavailable` when the file cannot be read.
    pub async fn namespaces(&self) -> Result<Vec<String>> {
        self.read("the catalog cannot be read", |inner, reader| {
            let mut statement = reader.prepare_cached(
                "SELECT namespace FROM iceberg_namespace_properties WHERE catalog_name = ?1
                 UNION SELECT table_namespace FROM iceberg_tables WHERE catalog_name = ?1",
            )?;
            let mut names = BTreeSet::new();
            for name in statement.query_map([&inner.catalog], |row| row.get::<_, String>(0))? {
                let name = name?;
                names.extend(name.match_indices('.').map(|(at, _)| name[..at].to_owned()));
                names.insert(name);
            }
            Ok(names.into_iter().collect())
        })
        .await
    }

    /// A namespace's properties, without the one that only says that it exists.
    ///
    /// # Errors
    /// `NotFound`; `Unavailable`.
    pub async fn namespace_properties(&self, namespace: &str) -> Result<BTreeMap<String, String>> {
        let namespace = namespace.to_owned();
        self.read("the catalog cannot be read", move |inner, reader| {
            if !namespace_exists(reader, &inner.catalog, &namespace)? {
                return Err(missing(&namespace).into());
            }
            let mut statement = reader.prepare_cached(
                "SELECT property_key, property_value FROM iceberg_namespace_properties
                 WHERE catalog_name = ?1 AND namespace = ?2 AND property_key <> ?3",
            )?;
            let rows = statement.query_map(params![inner.catalog, namespace, EXISTS], |row| {
                Ok((row.get(0)?, row.get::<_, Option<String>>(1)?.unwrap_or_default()))
            })?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
        .await
    }

    /// Makes a namespace.
    ///
    /// # Errors
    /// `AlreadyExists`; `Unavailable`.
    pub async fn create_namespace(
        &self,
        namespace: &str,
        properties: BTreeMap<String, String>,
    ) -> Result<()> {
        let namespace = namespace.to_owned();
        self.write("the namespace could not be made", Durability::Power, move |inner, transaction| {
            if namespace_exists(transaction, &inner.catalog, &namespace)? {
                return Err(Error::already_exists(format!("namespace {namespace} exists already")).into());
            }
            Ok(insert_namespace(transaction, &inner.catalog, &namespace, &properties)?)
        })
        .await
    }

    /// Removes an empty namespace.
    ///
    /// # Errors
    /// `NotFound`; `Invalid` while it holds anything; `Unavailable`.
    pub async fn drop_namespace(&self, namespace: &str) -> Result<()> {
        let namespace = namespace.to_owned();
        self.write("the namespace could not be dropped", Durability::Power, move |inner, transaction| {
            if let Some(held) = namespace_holds(transaction, &inner.catalog, &namespace)? {
                return Err(Error::invalid(format!(
                    "namespace {namespace} is not empty, it holds {held}: drop what is in it first"
                ))
                .into());
            }
            if delete_namespace(transaction, &inner.catalog, &namespace)? {
                Ok(())
            } else {
                Err(missing(&namespace).into())
            }
        })
        .await
    }

    /// The names of the tables directly in a namespace, in order; views are left out.
    ///
    /// # Errors
    /// `NotFound` when the namespace does not exist; `Unavailable`.
    pub async fn tables(&self, namespace: &str) -> Result<Vec<String>> {
        let namespace = namespace.to_owned();
        self.read("the catalog cannot be read", move |inner, reader| {
            if !namespace_exists(reader, &inner.catalog, &namespace)? {
                return Err(missing(&namespace).into());
            }
            let mut statement = reader.prepare_cached(
                "SELECT table_name FROM iceberg_tables WHERE catalog_name = ?1 AND table_namespace = ?2
                 AND coalesce(iceberg_type, 'TABLE') = 'TABLE' ORDER BY table_name",
            )?;
            let rows = statement.query_map(params![inner.catalog, namespace], |row| row.get(0))?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
        .await
    }
}
