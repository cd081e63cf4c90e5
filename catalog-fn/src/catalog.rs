//! The embedded catalog over the SQLite pointer store.

use std::collections::BTreeMap;

use async_trait::async_trait;
use icecap_commit_service::{ObjectKind, Publisher, SqliteStore};
use icecap_table::catalog::{LoadedTable, TableCatalog};
use icecap_table::id::TableIdent;
use icecap_table::location::Policy;
use icecap_table::metadata::TableDocument;
use icecap_table::storage::Storage;
use icecap_table::{Error, Result};

/// Namespaces and tables of one SQLite catalog file.
#[derive(Debug, Clone)]
pub struct Catalog {
    store: SqliteStore,
    storage: Storage,
    policy: Policy,
}

impl Catalog {
    /// The catalog over `store`, which reads metadata files that `policy` allows. Over a clone of a commit service's
    /// storage it finds what was just committed in their cache.
    ///
    /// # Errors
    /// None yet: the store was opened, and made where it was missing, by its own `open`.
    pub async fn open(store: SqliteStore, storage: Storage, policy: Policy) -> Result<Self> {
        Ok(Self { store, storage, policy })
    }
}

/// A namespace's dotted name, as Iceberg's JDBC catalog keeps it.
fn dotted(namespace: &[String]) -> Result<String> {
    if namespace.is_empty() || namespace.iter().any(String::is_empty) {
        return Err(Error::invalid("a namespace name is empty"));
    }
    match namespace.iter().find(|level| level.contains('.')) {
        Some(level) => Err(Error::invalid(format!(
            "namespace level {level:?} has a dot, which the catalog cannot tell from a separator: use another name"
        ))),
        None => Ok(namespace.join(".")),
    }
}

/// What a read of a name that can never be kept finds.
fn is_possible(namespace: &[String]) -> bool {
    dotted(namespace).is_ok()
}

fn missing_table(ident: &TableIdent) -> Error {
    Error::not_found(format!("table {ident} does not exist"))
}

#[async_trait]
impl TableCatalog for Catalog {
    async fn list_namespaces(&self) -> Result<Vec<Vec<String>>> {
        let names = self.store.namespaces().await?;
        Ok(names.iter().map(|name| name.split('.').map(str::to_owned).collect()).collect())
    }

    async fn namespace_properties(&self, namespace: &[String]) -> Result<BTreeMap<String, String>> {
        self.store.namespace_properties(&dotted(namespace)?).await
    }

    async fn create_namespace(
        &self,
        namespace: &[String],
        properties: BTreeMap<String, String>,
    ) -> Result<()> {
        self.store.create_namespace(&dotted(namespace)?, properties).await
    }

    async fn drop_namespace(&self, namespace: &[String]) -> Result<()> {
        self.store.drop_namespace(&dotted(namespace)?).await
    }

    async fn list_tables(&self, namespace: &[String]) -> Result<Vec<TableIdent>> {
        let names = self.store.tables(&dotted(namespace)?).await?;
        Ok(names.into_iter().map(|name| TableIdent::new(namespace.to_vec(), name)).collect())
    }

    async fn table_location(&self, ident: &TableIdent) -> Result<Option<String>> {
        if !is_possible(&ident.namespace) {
            return Ok(None);
        }
        let pointer = self.store.pointer(ident).await?;
        Ok(pointer.filter(|pointer| pointer.object == ObjectKind::Table).map(|pointer| pointer.location))
    }

    async fn load_table(&self, ident: &TableIdent) -> Result<LoadedTable> {
        let metadata_location = self.table_location(ident).await?.ok_or_else(|| missing_table(ident))?;
        self.policy.check(&metadata_location)?;
        let document =
            TableDocument::load_cached(&self.storage, &metadata_location).await.map_err(|error| {
                // The pointer is right and the file is not there: that is damage, not a missing table.
                match error.kind() {
                    icecap_table::ErrorKind::NotFound => {
                        Error::corrupt(format!("the metadata file of table {ident} is missing"))
                            .with_source(error)
                    }
                    _ => error.with("table", ident.to_string()),
                }
            })?;
        Ok(LoadedTable { ident: ident.clone(), metadata_location, document })
    }
}

#[cfg(test)]
mod tests;
