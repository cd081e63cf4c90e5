//! Everything that some snapshots reach: manifest lists, manifests, data files, delete files, statistics.
//!
//! Files are remembered by 16 bytes each, whatever their names' lengths, so that a walk over ten million takes a few
//! hundred MB. Two names with the same 16 bytes make a file stay that could go, never the other way round.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use futures::{FutureExt, StreamExt, stream};
use icecap_table::Result;
use icecap_table::iceberg::spec::{ManifestFile, SnapshotRef, TableMetadata};
use icecap_table::location::Location;
use icecap_table::snapshot::{load_entries, load_manifest_list};
use icecap_table::storage::Storage;

/// Lists and manifests that are read at once.
const AT_ONCE: usize = 16;

/// A set of locations.
#[derive(Debug, Clone, Default)]
pub struct Locations(HashSet<u128>);

impl Locations {
    /// Adds a location; false when it was there.
    pub fn insert(&mut self, location: &str) -> bool {
        self.0.insert(fingerprint(location))
    }

    /// Whether a location is in the set.
    pub fn contains(&self, location: &str) -> bool {
        self.0.contains(&fingerprint(location))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Of the canonical spelling: one engine's `file:/w` is another's `file:///w`.
fn fingerprint(location: &str) -> u128 {
    let canonical = Location::parse(location).map(|parsed| parsed.to_uri());
    let location = canonical.as_deref().unwrap_or(location);
    let half = |seed: u8| {
        let mut hasher = DefaultHasher::new();
        seed.hash(&mut hasher);
        location.hash(&mut hasher);
        u128::from(hasher.finish())
    };
    half(0) << 64 | half(1)
}

/// All that a table's metadata names: what its snapshots reach, statistics, and metadata files.
///
/// # Errors
/// `Corrupt` when a list or manifest is missing or broken: then it is not known what is needed.
pub async fn named_by(
    storage: &Storage,
    metadata: &TableMetadata,
    metadata_location: &str,
) -> Result<Locations> {
    let mut named = Locations::default();
    named.insert(metadata_location);
    for entry in metadata.metadata_log() {
        named.insert(&entry.metadata_file);
    }
    for location in statistics(metadata) {
        named.insert(location);
    }
    add_snapshots(storage, metadata, metadata.snapshots().cloned().collect(), &mut named).await?;
    Ok(named)
}

/// The locations of a table's statistics files.
pub fn statistics(metadata: &TableMetadata) -> impl Iterator<Item = &str> {
    let whole = metadata.statistics_iter().map(|file| file.statistics_path.as_str());
    whole.chain(metadata.partition_statistics_iter().map(|file| file.statistics_path.as_str()))
}

/// Adds what `snapshots` reach, but for what is in `named` already: its manifests are not read again.
///
/// # Errors
/// As [`named_by`].
pub async fn add_snapshots(
    storage: &Storage,
    metadata: &TableMetadata,
    snapshots: Vec<SnapshotRef>,
    named: &mut Locations,
) -> Result<()> {
    let snapshots: Vec<SnapshotRef> = snapshots.into_iter().filter(has_list).collect();
    let lists: Vec<_> =
        snapshots.iter().map(|snapshot| load_manifest_list(storage, metadata, snapshot).boxed()).collect();
    let mut lists = stream::iter(snapshots.clone()).zip(stream::iter(lists).buffered(AT_ONCE));
    while let Some((snapshot, manifests)) = lists.next().await {
        named.insert(snapshot.manifest_list());
        // A list's own manifests before the next list's: most of those are the same.
        let fresh: Vec<ManifestFile> =
            manifests?.into_iter().filter(|manifest| named.insert(&manifest.manifest_path)).collect();
        let read: Vec<_> = fresh.iter().map(|manifest| load_entries(storage, manifest).boxed()).collect();
        let mut read = stream::iter(read).buffered(AT_ONCE);
        while let Some(entries) = read.next().await {
            for entry in entries?.0 {
                named.insert(entry.file.file_path());
            }
        }
    }
    Ok(())
}

/// Whether a snapshot has a manifest list: version 1 could name its manifests in the metadata itself.
pub fn has_list(snapshot: &SnapshotRef) -> bool {
    !snapshot.manifest_list().is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_of_locations_knows_what_it_was_told() {
        let mut set = Locations::default();
        assert!(set.is_empty());
        for number in 0..1000 {
            assert!(set.insert(&format!("file:///w/t/data/{number}.parquet")));
            assert!(!set.insert(&format!("file:///w/t/data/{number}.parquet")));
        }
        assert_eq!(set.len(), 1000);
        assert!(set.contains("file:///w/t/data/7.parquet"));
        assert!(!set.contains("file:///w/t/data/1000.parquet"));
    }

    #[test]
    fn a_files_spelling_does_not_matter() {
        let mut set = Locations::default();
        set.insert("file:/w/t/data/1.parquet");
        set.insert("s3a://lake/t/data/2.parquet");
        assert!(set.contains("file:///w/t/data/1.parquet"));
        assert!(set.contains("/w/t/data/1.parquet"));
        assert!(set.contains("s3://lake/t/data/2.parquet"));
    }
}
