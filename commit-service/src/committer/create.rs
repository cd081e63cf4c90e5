//! Tables that a request brings along: the first metadata of a new one, the metadata file of one that exists.

use icecap_table::id::TableIdent;
use icecap_table::metadata::TableDocument;
use icecap_table::properties::LOCATION_PROPERTIES;
use icecap_table::{Error, ErrorKind, Result};

use super::{Committer, check};

impl Committer {
    /// The first document of a new table.
    pub(super) fn first_document(&self, ident: &TableIdent, metadata: &[u8]) -> Result<TableDocument> {
        let document = TableDocument::parse(metadata).map_err(|e| {
            Error::invalid(format!("the metadata of the new table {ident} cannot be used")).with_source(e)
        })?;
        let first = document.metadata();
        if first.snapshots().len() != 0 || first.current_snapshot_id().is_some() {
            return Err(Error::invalid(format!(
                "the metadata of the new table {ident} has snapshots already"
            )));
        }
        self.policy.check(first.location())?;
        for path in LOCATION_PROPERTIES {
            if let Some(location) = first.properties().get(path) {
                self.policy.check(location)?;
            }
        }
        check::writable(ident, first)?;
        Ok(document)
    }

    /// Checks that a metadata file of another writer can be read, and that everything it names lies where tables
    /// may lie.
    pub(super) async fn check_adoptable(&self, location: &str) -> Result<()> {
        self.policy.check(location)?;
        let document = TableDocument::load_cached(&self.storage, location).await.map_err(|error| {
            match error.kind() {
                // It is the caller who named the file.
                ErrorKind::Corrupt => error.with_kind(ErrorKind::Invalid),
                _ => error,
            }
        })?;
        let metadata = document.metadata();
        self.policy.check(metadata.location())?;
        for path in LOCATION_PROPERTIES {
            if let Some(location) = metadata.properties().get(path) {
                self.policy.check(location)?;
            }
        }
        for snapshot in metadata.snapshots() {
            // Version 1 may name its manifests in the metadata itself.
            if !snapshot.manifest_list().is_empty() {
                self.policy.check(snapshot.manifest_list())?;
            }
        }
        Ok(())
    }
}
