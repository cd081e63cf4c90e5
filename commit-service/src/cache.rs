//! Parsed metadata files, and manifests, by location. None of them ever changes, so an entry is never stale.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use icecap_table::Result;
use icecap_table::metadata::TableDocument;
use icecap_table::snapshot::ManifestCache;
use icecap_table::storage::Storage;

/// What the manifests and manifest lists that are kept may take.
const MANIFEST_BYTES: usize = 32 << 20;

/// A small cache of metadata documents; the least recently used one leaves first. Beside it lie the manifests
/// that the next commits are made of.
#[derive(Debug)]
pub struct DocumentCache {
    capacity: usize,
    entries: Mutex<VecDeque<(String, TableDocument)>>,
    manifests: ManifestCache,
}

impl DocumentCache {
    /// Keeps at most `capacity` documents.
    pub fn new(capacity: usize) -> Self {
        Self { capacity, entries: Mutex::default(), manifests: ManifestCache::new(MANIFEST_BYTES) }
    }

    /// Manifests and manifest lists.
    pub fn manifests(&self) -> &ManifestCache {
        &self.manifests
    }

    /// The document at `location`, read when it is not here.
    ///
    /// # Errors
    /// As [`TableDocument::load`].
    pub async fn load(&self, storage: &Storage, location: &str) -> Result<TableDocument> {
        if let Some(document) = self.find(location) {
            return Ok(document);
        }
        let document = TableDocument::load(storage, location).await?;
        self.keep(location, document.clone());
        Ok(document)
    }

    /// Keeps a document that was just written to `location`.
    pub fn keep(&self, location: &str, document: TableDocument) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.retain(|(held, _)| held != location);
        entries.push_back((location.to_owned(), document));
        while entries.len() > self.capacity {
            entries.pop_front();
        }
    }

    fn find(&self, location: &str) -> Option<TableDocument> {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let at = entries.iter().position(|(held, _)| held == location)?;
        let entry = entries.remove(at)?;
        let document = entry.1.clone();
        entries.push_back(entry);
        Some(document)
    }
}
