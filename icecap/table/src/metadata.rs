//! [`TableDocument`]: a table's metadata file, as its JSON tree and as the kernel's model of it.
//!
//! The kernel drops what it does not model. Here both are kept: the model answers questions and applies
//! updates, and only what an update changed in the model is changed in the stored text. A new snapshot is
//! patched into it (`text`); every other change goes through a merge of the trees (`merge`). A file of
//! any other engine therefore survives load and store unchanged.

mod cursor;
mod gzip;
mod list;
mod merge;
mod new_table;
mod parse;
mod patch;
mod text;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use iceberg::TableUpdate;
use iceberg::spec::{FormatVersion, MAIN_BRANCH, SnapshotReference, TableMetadata};
use serde_json::Value;
use uuid::Uuid;

pub use self::new_table::NewTable;
pub use self::parse::METADATA_MAX_BYTES;
use self::text::Text;
use crate::cache::ObjectCache;
use crate::error::{Error, Result};
use crate::location::join;
use crate::properties::CommitSettings;
use crate::storage::Storage;

/// The property that moves the metadata folder.
const METADATA_PATH: &str = "write.metadata.path";
/// The property that says whether metadata files are compressed: `gzip` or `none`.
const METADATA_CODEC: &str = "write.metadata.compression-codec";

/// The length in bytes from which a metadata file is compressed when the table does not say. Each commit writes the
/// whole file, and syncing a large one is most of what a small commit takes.
const LARGE_BYTES: usize = 64 << 10;

/// How many of the files before it may have what a file has in common with one in the cache: so many commits of other
/// processes may lie between two of this one.
const SHARED_WITH: usize = 8;

/// What text and model take together in memory for each byte of text, roughly.
const BYTES_PER_TEXT_BYTE: usize = 4;

/// A table's metadata; cheap to clone.
#[derive(Debug, Clone)]
pub struct TableDocument {
    text: Text,
    metadata: Arc<TableMetadata>,
}

impl TableDocument {
    /// Reads a metadata file's bytes, plain or gzip.
    ///
    /// # Errors
    /// `Unsupported` for format versions and types that Icecap does not know; `Corrupt` for what is no
    /// metadata file or larger than [`METADATA_MAX_BYTES`].
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        Self::of_text(parse::inflated(bytes)?)
    }

    fn of_text(json: Bytes) -> Result<Self> {
        let metadata = parse::model(&json)?;
        Ok(Self { text: Text::cut(&json)?, metadata: Arc::new(metadata) })
    }

    /// Loads the metadata file at `location`.
    ///
    /// # Errors
    /// As [`parse`](Self::parse) and [`Storage::read`].
    pub async fn load(storage: &Storage, location: &str) -> Result<Self> {
        let bytes = storage.read_at_most(location, METADATA_MAX_BYTES).await?;
        Self::parse(&bytes).map_err(|error| error.with("metadata", location))
    }

    /// Loads the metadata file at `location`, unless the storage's cache has it.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub async fn load_cached(storage: &Storage, location: &str) -> Result<Self> {
        if let Some(known) = storage.cache().get::<Self>(location) {
            return Ok(Self::clone(&known));
        }
        let document = Self::load(storage, location).await?.sharing(storage.cache());
        document.keep_in(storage.cache(), location);
        Ok(document)
    }

    /// Keeps a document that is stored at `location`.
    pub fn keep_in(&self, cache: &ObjectCache, location: &str) {
        // Hadoop's `v42.metadata.json` names another file once the table was dropped and made again.
        let base_name = location.rsplit('/').next().unwrap_or(location);
        if base_name.contains('-') {
            let bytes = self.text.length() * BYTES_PER_TEXT_BYTE + self.text.compressed_bytes();
            cache.put(location, Arc::new(self.clone()), bytes);
        }
    }

    /// This document, which shares what it can with an earlier one that this process committed: most of it is
    /// compressed there.
    fn sharing(self, cache: &ObjectCache) -> Self {
        if !self.is_compressed() {
            return self;
        }
        let mut log = self.metadata.metadata_log().iter().rev().take(SHARED_WITH);
        match log.find_map(|entry| cache.get::<Self>(&entry.metadata_file)) {
            Some(known) => Self { text: self.text.sharing(&known.text), metadata: self.metadata },
            None => self,
        }
    }

    /// Makes the first metadata of a table: no snapshots, field ids assigned anew, level by level.
    ///
    /// # Errors
    /// `Unsupported` for format version 1; `Invalid` for a schema, partition spec or property that does not
    /// fit.
    pub fn create(new: NewTable) -> Result<Self> {
        new_table::create(new)
    }

    /// The kernel's model.
    pub fn metadata(&self) -> &TableMetadata {
        &self.metadata
    }

    /// The JSON tree, with everything that the model does not know.
    pub fn tree(&self) -> Value {
        self.text.tree().expect("the text was read as JSON, or written as JSON, before")
    }

    /// A reference (branch or tag) as it is stored.
    ///
    /// # Errors
    /// `Corrupt` when it breaks the specification.
    pub fn reference(&self, name: &str) -> Result<Option<SnapshotReference>> {
        let stored = self.text.get("refs")?.and_then(|mut refs| refs.get_mut(name).map(Value::take));
        let parsed = stored.filter(|stored| !stored.is_null()).map(serde_json::from_value).transpose();
        parsed.map_err(|e| {
            Error::corrupt("a reference breaks the specification").with("ref", name).with_source(e)
        })
    }

    /// Every reference (branch or tag) as it is stored, by name. Main may be missing in old files.
    ///
    /// # Errors
    /// `Corrupt` when one breaks the specification.
    pub fn references(&self) -> Result<BTreeMap<String, SnapshotReference>> {
        let stored = match self.text.get("refs")? {
            Some(Value::Object(stored)) => stored,
            _ => return Ok(BTreeMap::new()),
        };
        stored
            .into_iter()
            .filter(|(_, reference)| !reference.is_null())
            .map(|(name, reference)| match serde_json::from_value(reference) {
                Ok(reference) => Ok((name, reference)),
                Err(e) => Err(Error::corrupt("a reference breaks the specification")
                    .with("ref", name)
                    .with_source(e)),
            })
            .collect()
    }

    /// All branches and tags: name and snapshot. Main is among them as soon as there is a snapshot.
    ///
    /// # Errors
    /// As [`references`](Self::references).
    pub fn named_snapshots(&self) -> Result<BTreeMap<String, i64>> {
        let mut named: BTreeMap<String, i64> =
            self.references()?.into_iter().map(|(name, to)| (name, to.snapshot_id)).collect();
        // Old files do not spell it out.
        if let Some(current) = self.metadata.current_snapshot_id() {
            named.entry(MAIN_BRANCH.to_owned()).or_insert(current);
        }
        Ok(named)
    }

    /// The time of the next change: now, but always later than the last.
    pub fn next_timestamp_ms(&self, now_ms: i64) -> i64 {
        now_ms.max(self.metadata.last_updated_ms().saturating_add(1))
    }

    /// The document after `updates`, in order.
    ///
    /// `base_location` is where this document is stored; it enters the metadata log, which keeps
    /// `write.metadata.previous-versions-max` (100) entries. Without one (a document that was never stored)
    /// the log stays as it is.
    ///
    /// # Errors
    /// `Conflict` for a snapshot whose sequence number or row ids are taken; `Invalid` for other updates
    /// that do not fit this table.
    pub fn apply(&self, updates: Vec<TableUpdate>, base_location: Option<&str>, now_ms: i64) -> Result<Self> {
        let mut builder = TableMetadata::clone(&self.metadata).into_builder(base_location.map(str::to_owned));
        let mut last_sequence_number = self.metadata.last_sequence_number();
        for update in &updates {
            if let TableUpdate::AddSnapshot { snapshot } = update {
                self.check_snapshot(snapshot, last_sequence_number)?;
                last_sequence_number = snapshot.sequence_number();
            }
            builder = update.clone().apply(builder).map_err(does_not_fit)?;
        }
        let metadata = builder.build().map_err(does_not_fit)?.metadata;
        if let Some(text) = patch::with_snapshot(&self.text, &self.metadata, &metadata, &updates)? {
            return Ok(Self { text, metadata: Arc::new(metadata) });
        }
        let old = parse::model_tree(&self.metadata)?;
        let mut new = parse::model_tree(&metadata)?;
        let adds_snapshot = updates.iter().any(|update| matches!(update, TableUpdate::AddSnapshot { .. }));
        if !adds_snapshot {
            // Without a snapshot the kernel took the wall clock's time; the tree gets ours.
            let now_ms = self.next_timestamp_ms(now_ms);
            new["last-updated-ms"] = now_ms.into();
            let moves_main = metadata.history().len() > self.metadata.history().len();
            if moves_main
                && let Some(entry) = new["snapshot-log"].as_array_mut().and_then(|log| log.last_mut())
            {
                entry["timestamp-ms"] = now_ms.into();
            }
        }
        let text = Text::of(&merge::merge(&self.tree(), &old, new))?.sharing(&self.text);
        let metadata = parse::model(&text.to_bytes())?;
        Ok(Self { text, metadata: Arc::new(metadata) })
    }

    fn check_snapshot(&self, snapshot: &iceberg::spec::Snapshot, last_sequence_number: i64) -> Result<()> {
        let stale = |what: &str| {
            Err(Error::conflict(format!(
                "snapshot was made for an older state of the table: its {what} is taken"
            ))
            .with("snapshot", snapshot.snapshot_id().to_string()))
        };
        if snapshot.parent_snapshot_id().is_some()
            && self.metadata.format_version() != FormatVersion::V1
            && snapshot.sequence_number() <= last_sequence_number
        {
            return stale("sequence number");
        }
        match snapshot.first_row_id() {
            Some(first) if first < self.metadata.next_row_id() => stale("row ids"),
            _ => Ok(()),
        }
    }

    /// The metadata file's bytes: a gzip file where the table asks for one, or does not say and the file is large
    /// (64 KiB). What an earlier document of the table has compressed is not compressed again.
    ///
    /// # Errors
    /// None that the document can cause.
    pub fn to_bytes(&self) -> Result<Bytes> {
        let bytes = if self.is_compressed() { self.text.to_gzip()? } else { self.text.to_bytes() };
        Ok(bytes.into())
    }

    fn is_compressed(&self) -> bool {
        match self.metadata.properties().get(METADATA_CODEC) {
            Some(codec) => codec.eq_ignore_ascii_case("gzip"),
            None => self.text.length() >= LARGE_BYTES,
        }
    }

    /// The metadata files that this document's log no longer names and `before`'s did, when the table asks for
    /// their deletion (`write.metadata.delete-after-commit.enabled`).
    ///
    /// A log may name anything: only metadata files directly in the table's own metadata folder are given.
    pub fn metadata_given_up(&self, before: &Self) -> Vec<String> {
        let settings = CommitSettings::from_properties(self.metadata.properties());
        if !settings.is_ok_and(|settings| settings.delete_old_metadata) {
            return Vec::new();
        }
        let folder = self.metadata_folder();
        let is_own = |file: &str| {
            let name = file.strip_prefix(&folder).and_then(|rest| rest.strip_prefix('/'));
            name.is_some_and(|name| !name.contains('/') && name.ends_with(".metadata.json"))
        };
        let named: HashSet<&str> =
            self.metadata.metadata_log().iter().map(|entry| entry.metadata_file.as_str()).collect();
        let files = before.metadata.metadata_log().iter().map(|entry| entry.metadata_file.as_str());
        files.filter(|file| !named.contains(file) && is_own(file)).map(str::to_owned).collect()
    }

    /// The folder of metadata files, manifests and manifest lists.
    pub fn metadata_folder(&self) -> String {
        match self.metadata.properties().get(METADATA_PATH) {
            Some(path) => path.trim_end_matches('/').to_owned(),
            None => join(self.metadata.location(), "metadata"),
        }
    }

    /// The location for the successor of the metadata file at `base_location`, or for the first one:
    /// `<metadata folder>/00001-<uuid>.metadata.json`.
    pub fn next_location(&self, base_location: Option<&str>, uuid: Uuid) -> String {
        let version = base_location.map_or(0, |location| version_of(location).saturating_add(1));
        let gzip = if self.is_compressed() { ".gz" } else { "" };
        join(&self.metadata_folder(), &format!("{version:05}-{uuid}{gzip}.metadata.json"))
    }
}

/// The version in a metadata file's name: `00042-….metadata.json`, or Hadoop's `v42.metadata.json`.
fn version_of(location: &str) -> u32 {
    let name = location.rsplit('/').next().unwrap_or(location);
    let digits = match name.strip_prefix('v') {
        Some(rest) => rest.split('.').next(),
        None => name.split('-').next(),
    };
    digits.and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

/// The kernel calls an update that does not fit "invalid data": here it is the caller's.
fn does_not_fit(error: iceberg::Error) -> Error {
    Error::invalid("the table cannot be changed so").with_source(error)
}

#[cfg(test)]
mod tests;
