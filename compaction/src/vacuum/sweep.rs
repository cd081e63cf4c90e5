//! The files of expired snapshots: found by walking what those reached, deleted when nothing else names them.

use futures::{FutureExt, StreamExt, stream};
use icecap::engine::Upkeep;
use icecap_table::catalog::LoadedTable;
use icecap_table::iceberg::spec::{DataContentType, ManifestFile, SnapshotRef};
use icecap_table::snapshot::{load_entries, load_manifest_list};
use icecap_table::storage::Storage;
use icecap_table::{Error, ErrorKind, Result};

use super::Planned;
use super::home::Home;
use super::reach::{self, Locations};
use super::retention::Policy;
use super::tally::{Kind, Tally};

/// Lists and manifests that are read at once.
const READ_AT_ONCE: usize = 16;
/// Files that are deleted at once.
const DELETED_AT_ONCE: usize = 32;

/// What a run deletes with.
pub(super) struct Job<'a> {
    pub(super) upkeep: &'a Upkeep,
    pub(super) storage: Storage,
    pub(super) home: &'a Home,
    pub(super) tally: &'a Tally,
    pub(super) policy: &'a Policy,
}

impl Job<'_> {
    /// All that the table names.
    ///
    /// # Errors
    /// As [`reach::named_by`].
    pub(super) async fn named(&self, table: &LoadedTable) -> Result<Locations> {
        reach::named_by(&self.storage, table.document.metadata(), &table.metadata_location).await
    }

    /// Deletes what only the snapshots reached that `planned` let go and `after` does not have any more. `named` is what
    /// `after` names.
    ///
    /// # Errors
    /// `Unavailable` when storage cannot be read. What is missing already is no error.
    pub(super) async fn expired(
        &self,
        planned: &Planned,
        after: &LoadedTable,
        named: &mut Locations,
    ) -> Result<()> {
        let before = planned.loaded.document.metadata();
        let now = after.document.metadata();
        let gone: Vec<SnapshotRef> = planned
            .expiry
            .snapshots
            .iter()
            .filter(|id| now.snapshot_by_id(**id).is_none())
            .filter_map(|id| before.snapshot_by_id(*id).cloned())
            .collect();
        let references = planned.expiry.references.len();
        self.tally.expired(gone.len(), references);
        let mut seen = Locations::default();
        let mut dead: Vec<ManifestFile> = Vec::new();
        let lists: Vec<_> =
            gone.iter().map(|snapshot| load_manifest_list(&self.storage, before, snapshot).boxed()).collect();
        let mut lists = stream::iter(lists).buffered(READ_AT_ONCE);
        while let Some(manifests) = lists.next().await {
            for manifest in there(manifests)?.into_iter().flatten() {
                if !named.contains(&manifest.manifest_path) && seen.insert(&manifest.manifest_path) {
                    dead.push(manifest);
                }
            }
        }
        drop(lists);

        // What manifests name first: while they are there, a later run can still find it through them.
        let read: Vec<_> =
            dead.iter().map(|manifest| load_entries(&self.storage, manifest).boxed()).collect();
        let mut read = stream::iter(read).buffered(READ_AT_ONCE);
        while let Some(entries) = read.next().await {
            let Some((entries, _)) = there(entries)? else { continue };
            let mut files = Vec::new();
            for entry in entries {
                let path = entry.file.file_path();
                // Several deletion vectors share one file.
                if !named.contains(path) && seen.insert(path) {
                    let is_data = entry.file.content_type() == DataContentType::Data;
                    files.push((if is_data { Kind::Data } else { Kind::Deletes }, path.to_owned()));
                }
            }
            self.delete_all(files).await;
        }
        drop(read);
        let manifests = dead.into_iter().map(|manifest| (Kind::Manifest, manifest.manifest_path));
        self.delete_all(manifests.collect()).await;
        let lists = gone
            .iter()
            .map(|snapshot| snapshot.manifest_list())
            .filter(|list| !named.contains(list))
            .map(|list| (Kind::ManifestList, list.to_owned()));
        self.delete_all(lists.collect()).await;
        let statistics = reach::statistics(before)
            .filter(|path| !named.contains(path) && seen.insert(path))
            .map(|path| (Kind::Statistics, path.to_owned()));
        self.delete_all(statistics.collect()).await;
        Ok(())
    }

    /// Deletes files, many at once. One that cannot be deleted stays, and is counted.
    pub(super) async fn delete_all(&self, files: Vec<(Kind, String)>) {
        let deletions: Vec<_> =
            files.into_iter().map(|(kind, location)| self.delete(kind, location).boxed()).collect();
        stream::iter(deletions).buffer_unordered(DELETED_AT_ONCE).collect::<Vec<()>>().await;
    }

    async fn delete(&self, kind: Kind, location: String) {
        if !self.home.holds(&location) {
            tracing::info!(%location, "a file that is not needed any more lies outside of the table's folders and stays");
            self.tally.left();
            return;
        }
        match self.storage.delete(&location).await {
            Ok(()) => self.tally.deleted(kind),
            Err(error) => {
                tracing::warn!(%location, %error, "a file that is not needed any more could not be deleted");
                self.tally.left();
            }
        }
    }
}

/// What was read, or nothing when it is not there any more: an earlier run, or another engine's, was here.
fn there<T>(read: Result<T>) -> Result<Option<T>> {
    match read {
        Ok(read) => Ok(Some(read)),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Corrupt) => {
            tracing::info!(%error, "a file of an expired snapshot cannot be read, what it named stays");
            Ok(None)
        }
        Err(error) => {
            Err(Error::new(error.kind(), "the files of expired snapshots cannot be found").with_source(error))
        }
    }
}
