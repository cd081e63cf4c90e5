//! The seam through which an engine finds tables. Publishing is not here: it is the commit service's.

use std::collections::BTreeMap;

use async_trait::async_trait;

use crate::error::Result;
use crate::id::TableIdent;
use crate::metadata::TableDocument;

/// A table as the catalog's pointer shows it at one instant.
#[derive(Debug, Clone)]
pub struct LoadedTable {
    /// Its name, in the catalog's own spelling.
    pub ident: TableIdent,
    /// Location of its current metadata file.
    pub metadata_location: String,
    /// That file's content.
    pub document: TableDocument,
}

/// Finds namespaces and tables. Names are exact here; case-insensitive resolution is the engine's.
#[async_trait]
pub trait TableCatalog: Send + Sync + std::fmt::Debug {
    /// All namespaces, as their levels, in order of name.
    async fn list_namespaces(&self) -> Result<Vec<Vec<String>>>;

    /// A namespace's properties.
    ///
    /// # Errors
    /// `NotFound`.
    async fn namespace_properties(&self, namespace: &[String]) -> Result<BTreeMap<String, String>>;

    /// Makes a namespace.
    ///
    /// # Errors
    /// `AlreadyExists`.
    async fn create_namespace(
        &self,
        namespace: &[String],
        properties: BTreeMap<String, String>,
    ) -> Result<()>;

    /// Removes an empty namespace.
    ///
    /// # Errors
    /// `NotFound`; `Invalid` while it holds tables or other namespaces.
    async fn drop_namespace(&self, namespace: &[String]) -> Result<()>;

    /// The tables directly in a namespace, in order of name.
    ///
    /// # Errors
    /// `NotFound` when the namespace does not exist.
    async fn list_tables(&self, namespace: &[String]) -> Result<Vec<TableIdent>>;

    /// The current metadata location of a table; `None` when there is no such table.
    async fn table_location(&self, ident: &TableIdent) -> Result<Option<String>>;

    /// Loads a table.
    ///
    /// # Errors
    /// `NotFound`; `Unsupported` when its metadata uses what Icecap does not know; `Corrupt`.
    async fn load_table(&self, ident: &TableIdent) -> Result<LoadedTable>;
}
