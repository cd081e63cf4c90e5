//! Manifests and manifest lists in the storage's cache.

use std::sync::Arc;

use bytes::Bytes;
use iceberg::spec::ManifestFile;

use crate::cache::ObjectCache;

/// What a parsed entry of a manifest list takes, beside its location and its summaries, roughly.
const LISTED_BYTES: usize = 320;

/// A manifest as it is stored.
struct StoredManifest(Bytes);

/// A manifest list, parsed.
struct ParsedList(Arc<[ManifestFile]>);

/// What a snapshot that was just made added: its list and its own manifests.
#[derive(Debug, Clone)]
pub struct FreshManifests {
    pub(super) list: (String, Arc<[ManifestFile]>),
    pub(super) manifests: Vec<(String, Bytes)>,
}

impl FreshManifests {
    /// Keeps them once the snapshot is published: the next one is made of them.
    pub fn keep_in(self, cache: &ObjectCache) {
        let (location, list) = self.list;
        keep_list(cache, &location, list);
        for (location, bytes) in self.manifests {
            keep_manifest(cache, &location, bytes);
        }
    }
}

pub(super) fn keep_manifest(cache: &ObjectCache, location: &str, bytes: Bytes) {
    let length = bytes.len();
    cache.put(location, Arc::new(StoredManifest(bytes)), length);
}

pub(super) fn keep_list(cache: &ObjectCache, location: &str, list: Arc<[ManifestFile]>) {
    let bytes = list.iter().map(listed_bytes).sum();
    cache.put(location, Arc::new(ParsedList(list)), bytes);
}

pub(super) fn manifest(cache: &ObjectCache, location: &str) -> Option<Bytes> {
    cache.get::<StoredManifest>(location).map(|held| held.0.clone())
}

pub(super) fn list(cache: &ObjectCache, location: &str) -> Option<Arc<[ManifestFile]>> {
    cache.get::<ParsedList>(location).map(|held| Arc::clone(&held.0))
}

fn listed_bytes(listed: &ManifestFile) -> usize {
    let summaries = listed.partitions.iter().flatten();
    let bounds = summaries.flat_map(|field| [field.lower_bound.as_ref(), field.upper_bound.as_ref()]);
    let bounds: usize = bounds.map(|bound| 32 + bound.map_or(0, |bytes| bytes.len())).sum();
    LISTED_BYTES + listed.manifest_path.len() + bounds
}
