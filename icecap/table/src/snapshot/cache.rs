//! Manifests and manifest lists by location. Neither ever changes, so an entry is never stale.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use iceberg::spec::ManifestFile;

/// What a parsed entry of a manifest list takes, beside its location and its summaries, roughly.
const LISTED_BYTES: usize = 320;

/// A cache of manifests and parsed manifest lists, bounded by bytes; the least recently used leave first.
#[derive(Debug)]
pub struct ManifestCache {
    capacity_bytes: usize,
    entries: Mutex<Entries>,
}

#[derive(Debug, Default)]
struct Entries {
    held: HashMap<String, (u64, Held)>,
    /// Locations by last use.
    by_use: BTreeMap<u64, String>,
    uses: u64,
    bytes: usize,
}

#[derive(Debug, Clone)]
enum Held {
    Manifest(Bytes),
    List(Arc<[ManifestFile]>),
}

impl Held {
    fn bytes(&self) -> usize {
        match self {
            Self::Manifest(bytes) => bytes.len(),
            Self::List(list) => list.iter().map(listed_bytes).sum(),
        }
    }
}

fn listed_bytes(listed: &ManifestFile) -> usize {
    let summaries = listed.partitions.iter().flatten();
    let bounds = summaries.flat_map(|field| [field.lower_bound.as_ref(), field.upper_bound.as_ref()]);
    let bounds: usize = bounds.map(|bound| 32 + bound.map_or(0, |bytes| bytes.len())).sum();
    LISTED_BYTES + listed.manifest_path.len() + bounds
}

/// What a snapshot that was just made added: its list and its own manifests.
#[derive(Debug, Clone)]
pub struct FreshManifests {
    pub(super) list: (String, Arc<[ManifestFile]>),
    pub(super) manifests: Vec<(String, Bytes)>,
}

impl ManifestCache {
    /// Keeps at most about `capacity_bytes`.
    pub fn new(capacity_bytes: usize) -> Self {
        Self { capacity_bytes, entries: Mutex::default() }
    }

    /// Keeps the manifests of a snapshot that was published: the next one is made of them.
    pub fn keep(&self, fresh: FreshManifests) {
        let FreshManifests { list: (location, list), manifests } = fresh;
        self.put(&location, Held::List(list));
        for (location, bytes) in manifests {
            self.put(&location, Held::Manifest(bytes));
        }
    }

    pub(super) fn keep_manifest(&self, location: &str, bytes: Bytes) {
        self.put(location, Held::Manifest(bytes));
    }

    pub(super) fn keep_list(&self, location: &str, list: Arc<[ManifestFile]>) {
        self.put(location, Held::List(list));
    }

    pub(super) fn manifest(&self, location: &str) -> Option<Bytes> {
        match self.find(location)? {
            Held::Manifest(bytes) => Some(bytes),
            Held::List(_) => None,
        }
    }

    pub(super) fn list(&self, location: &str) -> Option<Arc<[ManifestFile]>> {
        match self.find(location)? {
            Held::List(list) => Some(list),
            Held::Manifest(_) => None,
        }
    }

    fn find(&self, location: &str) -> Option<Held> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).find(location)
    }

    fn put(&self, location: &str, held: Held) {
        // One that fills half of the cache would only drive the others out.
        if held.bytes() <= self.capacity_bytes / 2 {
            let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
            entries.put(location, held);
            entries.shrink(self.capacity_bytes);
        }
    }
}

impl Entries {
    fn find(&mut self, location: &str) -> Option<Held> {
        let (used, held) = self.held.get_mut(location)?;
        let name = self.by_use.remove(used)?;
        self.uses += 1;
        *used = self.uses;
        self.by_use.insert(self.uses, name);
        Some(held.clone())
    }

    fn put(&mut self, location: &str, held: Held) {
        self.uses += 1;
        self.bytes += held.bytes() + location.len();
        let before = self.held.insert(location.to_owned(), (self.uses, held));
        self.by_use.insert(self.uses, location.to_owned());
        if let Some((used, held)) = before {
            self.by_use.remove(&used);
            self.bytes -= held.bytes() + location.len();
        }
    }

    fn shrink(&mut self, capacity: usize) {
        while self.bytes > capacity
            && let Some((_, location)) = self.by_use.pop_first()
        {
            if let Some((_, held)) = self.held.remove(&location) {
                self.bytes -= held.bytes() + location.len();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_recently_used_leaves_first() {
        let cache = ManifestCache::new(1000);
        let bytes = |length| Bytes::from(vec![0; length]);
        cache.keep_manifest("a", bytes(400));
        cache.keep_manifest("b", bytes(400));
        assert!(cache.manifest("a").is_some());
        cache.keep_manifest("c", bytes(400));
        assert!(cache.manifest("b").is_none());
        assert!(cache.manifest("a").is_some() && cache.manifest("c").is_some());
        // The same again takes no more room; what is too large is not kept.
        cache.keep_manifest("a", bytes(400));
        cache.keep_manifest("d", bytes(501));
        assert!(cache.manifest("a").is_some() && cache.manifest("c").is_some());
        assert!(cache.manifest("d").is_none());
        assert!(cache.list("a").is_none());
        assert_eq!(cache.entries.lock().unwrap().bytes, 802);
    }
}
