//! One cache of objects that never change, by location: metadata files, manifests, manifest lists, footers.
//!
//! Every kind lies in the same cache under the same bound, so that whichever is asked for most keeps the room. An
//! entry is never stale, because no file that a table names is ever written again.

use std::any::Any;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

/// What an entry takes beside its object and its location, roughly.
const ENTRY_BYTES: usize = 200;

type Object = Arc<dyn Any + Send + Sync>;

/// A cache bounded by bytes; the least recently used leave first.
#[derive(Debug)]
pub struct ObjectCache {
    capacity_bytes: usize,
    entries: Mutex<Entries>,
}

/// How full a cache is, and how it served so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CacheUsage {
    /// Objects that are held.
    pub objects: usize,
    /// What they take, by their own estimate.
    pub bytes: usize,
    /// How often an object that was asked for was here.
    pub hits: u64,
    /// How often it was not.
    pub misses: u64,
}

#[derive(Debug, Default)]
struct Entries {
    held: HashMap<Arc<str>, Entry>,
    /// Locations by last use.
    by_use: BTreeMap<u64, Arc<str>>,
    uses: u64,
    usage: CacheUsage,
}

#[derive(Debug)]
struct Entry {
    used: u64,
    bytes: usize,
    object: Object,
}

impl ObjectCache {
    /// Keeps at most `capacity_bytes`; 0 keeps nothing.
    pub fn new(capacity_bytes: usize) -> Self {
        Self { capacity_bytes, entries: Mutex::default() }
    }

    /// The object at `location`, when it is here and of this type.
    pub fn get<T: Any + Send + Sync>(&self, location: &str) -> Option<Arc<T>> {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let found = entries.find(location).and_then(|object| object.downcast::<T>().ok());
        match found {
            Some(_) => entries.usage.hits += 1,
            None => entries.usage.misses += 1,
        }
        found
    }

    /// Keeps the object at `location`, which takes about `bytes`. One that would fill half of the cache is left
    /// out: it would only drive the others away.
    pub fn put<T: Any + Send + Sync>(&self, location: &str, object: Arc<T>, bytes: usize) {
        let bytes = bytes.saturating_add(location.len() + ENTRY_BYTES);
        if bytes > self.capacity_bytes / 2 {
            return;
        }
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.remove(location);
        entries.add(location, object, bytes);
        while entries.usage.bytes > self.capacity_bytes && entries.drop_oldest() {}
    }

    /// Lets go of an object that will hardly be asked for again.
    pub fn forget(&self, location: &str) {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).remove(location);
    }

    /// How full it is, and how it served.
    pub fn usage(&self) -> CacheUsage {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).usage
    }
}

impl Entries {
    fn find(&mut self, location: &str) -> Option<Object> {
        let entry = self.held.get_mut(location)?;
        let name = self.by_use.remove(&entry.used)?;
        self.uses += 1;
        entry.used = self.uses;
        self.by_use.insert(self.uses, name);
        Some(Arc::clone(&entry.object))
    }

    fn add(&mut self, location: &str, object: Object, bytes: usize) {
        let name: Arc<str> = location.into();
        self.uses += 1;
        self.by_use.insert(self.uses, Arc::clone(&name));
        self.held.insert(name, Entry { used: self.uses, bytes, object });
        self.usage.objects += 1;
        self.usage.bytes += bytes;
    }

    fn remove(&mut self, location: &str) -> bool {
        let Some(entry) = self.held.remove(location) else { return false };
        self.by_use.remove(&entry.used);
        self.usage.objects -= 1;
        self.usage.bytes -= entry.bytes;
        true
    }

    fn drop_oldest(&mut self) -> bool {
        let oldest = self.by_use.first_key_value().map(|(_, name)| Arc::clone(name));
        oldest.is_some_and(|name| self.remove(&name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: usize = ENTRY_BYTES + 1;

    #[test]
    fn the_least_recently_used_leave_first_and_the_bound_holds() {
        let cache = ObjectCache::new(1000 + 2 * OWN);
        let put = |name: &str, bytes: usize| cache.put(name, Arc::new(bytes), bytes);
        let has = |name: &str| cache.get::<usize>(name).is_some();
        put("a", 400);
        put("b", 400);
        assert!(has("a"));
        put("c", 400);
        assert!(!has("b"));
        assert!(has("a") && has("c"));
        // The same again takes no more room; what is too large is not kept.
        put("a", 400);
        put("d", 700);
        assert!(has("a") && has("c") && !has("d"));
        assert_eq!(cache.usage(), CacheUsage { objects: 2, bytes: 800 + 2 * OWN, hits: 5, misses: 2 });
        cache.forget("a");
        cache.forget("never there");
        assert_eq!((cache.usage().objects, cache.usage().bytes), (1, 400 + OWN));
        for number in 0..1000 {
            put(&format!("{number:04}"), number % 300);
            assert!(cache.usage().bytes <= 1000 + 2 * OWN, "{:?}", cache.usage());
        }
        assert!(has("0999"));
    }

    #[test]
    fn an_object_of_another_type_is_not_there() {
        let cache = ObjectCache::new(10_000);
        cache.put("a", Arc::new("text"), 4);
        assert!(cache.get::<u64>("a").is_none());
        assert_eq!(cache.get::<&str>("a").as_deref(), Some(&"text"));
        let none = ObjectCache::new(0);
        none.put("a", Arc::new("text"), 0);
        assert!(none.get::<&str>("a").is_none());
    }
}
