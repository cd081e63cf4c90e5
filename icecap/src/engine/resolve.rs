//! From a name as it was written to the thing that it names.
//!
//! Names match case-insensitively, an exact match first; two matches are an error. A first part equal to the
//! catalog's name is the catalog; then the longest existing table name; what remains is a branch or a tag to be
//! read, or would be a metadata table.

use icecap_table::catalog::LoadedTable;
use icecap_table::id::TableIdent;

use super::{DEFAULT_NAMESPACE, Parts};
use crate::sql::{Name, NamePart, names};
use crate::{Error, Result};

/// A name's parts below the catalog.
pub(super) fn below_catalog<'a>(parts: &Parts, name: &'a Name) -> &'a [NamePart] {
    match name.0.as_slice() {
        [first, rest @ ..] if !rest.is_empty() && first.value.eq_ignore_ascii_case(&parts.catalog_name) => {
            rest
        }
        all => all,
    }
}

impl Parts {
    /// The existing namespace that `written` names, in the catalog's spelling.
    pub(crate) async fn find_namespace(&self, written: &[NamePart]) -> Result<Option<Vec<String>>> {
        let levels: Vec<String> = written.iter().map(|part| part.value.clone()).collect();
        let all = self.catalog.list_namespaces().await?;
        let joined: Vec<String> = all.iter().map(|namespace| namespace.join(".")).collect();
        let found = names::find(&levels.join("."), joined.iter().map(String::as_str))?;
        Ok(found.and_then(|name| all.iter().find(|namespace| namespace.join(".") == name).cloned()))
    }

    /// The namespace that `name` names.
    ///
    /// # Errors
    /// `NotFound`, with what to do about it.
    pub(crate) async fn namespace(&self, name: &Name) -> Result<Vec<String>> {
        self.find_namespace(below_catalog(self, name)).await?.ok_or_else(|| {
            Error::not_found(format!("namespace {name} does not exist: CREATE SCHEMA makes it"))
        })
    }

    /// The levels that a new namespace gets.
    pub(crate) fn new_namespace(&self, name: &Name) -> Vec<String> {
        below_catalog(self, name).iter().map(NamePart::normalised).collect()
    }

    /// Where a new table of that name goes. An existing table of the same name, in any spelling, is returned in
    /// its own spelling, so that the two meet.
    ///
    /// # Errors
    /// `NotFound` when its namespace does not exist.
    pub(crate) async fn new_table(&self, name: &Name) -> Result<TableIdent> {
        if let Some(ident) = self.find_exact(below_catalog(self, name)).await? {
            return Ok(ident);
        }
        let (namespace, table) = split(below_catalog(self, name))?;
        let namespace = match namespace {
            [] => vec![DEFAULT_NAMESPACE.to_owned()],
            levels => self.namespace(&Name(levels.to_vec())).await?,
        };
        Ok(TableIdent::new(namespace, table.normalised()))
    }

    /// Loads the table that `name` names to read it: what remains after its name is for the caller to understand.
    ///
    /// # Errors
    /// `NotFound`.
    pub(crate) async fn load_to_read<'a>(&self, name: &'a Name) -> Result<(LoadedTable, &'a [NamePart])> {
        let (ident, rest) = self.longest_table(name).await?;
        Ok((self.catalog.load_table(&ident).await?, rest))
    }

    /// Loads the table that `name` names.
    ///
    /// # Errors
    /// `NotFound`; `Unsupported` when the name goes on after an existing table's name.
    pub(crate) async fn load(&self, name: &Name) -> Result<LoadedTable> {
        self.catalog.load_table(&self.find_table(name).await?).await
    }

    /// The existing table that `name` names.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub(crate) async fn find_table(&self, name: &Name) -> Result<TableIdent> {
        match self.longest_table(name).await? {
            (ident, []) => Ok(ident),
            (ident, rest) => Err(Error::unsupported(format!(
                "{} of table {ident} is not supported here: a branch or tag can be read in a query and nothing else yet",
                Name(rest.to_vec())
            ))),
        }
    }

    /// The table with the longest name that `name` begins with, and the parts after it.
    async fn longest_table<'a>(&self, name: &'a Name) -> Result<(TableIdent, &'a [NamePart])> {
        let written = below_catalog(self, name);
        for length in (1..=written.len()).rev() {
            if let Some(ident) = self.find_exact(&written[..length]).await? {
                return Ok((ident, &written[length..]));
            }
        }
        Err(Error::not_found(format!("table {name} does not exist: SHOW TABLES lists those that do")))
    }

    /// The table called exactly by these parts, namespace included.
    async fn find_exact(&self, written: &[NamePart]) -> Result<Option<TableIdent>> {
        let (levels, table) = split(written)?;
        let namespace: Vec<String> = match levels {
            [] => vec![DEFAULT_NAMESPACE.to_owned()],
            levels => levels.iter().map(|part| part.value.clone()).collect(),
        };
        // The common case asks the catalog once.
        let ident = TableIdent::new(namespace, table.value.clone());
        if self.catalog.table_location(&ident).await?.is_some() {
            return Ok(Some(ident));
        }
        let namespace = match levels {
            [] => Some(ident.namespace),
            levels => self.find_namespace(levels).await?,
        };
        let Some(namespace) = namespace else { return Ok(None) };
        let tables = match self.catalog.list_tables(&namespace).await {
            Ok(tables) => tables,
            Err(error) if error.kind() == crate::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let found = names::find(&table.value, tables.iter().map(|ident| ident.name.as_str()))?;
        Ok(found.map(|name| TableIdent::new(namespace.clone(), name)))
    }
}

fn split(written: &[NamePart]) -> Result<(&[NamePart], &NamePart)> {
    written
        .split_last()
        .map(|(table, levels)| (levels, table))
        .ok_or_else(|| Error::invalid("a table's name is empty"))
}
