//! Snapshot summaries: what a snapshot changed, and the totals that other engines show.

use std::collections::{HashMap, HashSet};

use iceberg::spec::{DataContentType, DataFile, DataFileFormat, Snapshot, Struct, TableMetadata};

use super::manifests::ManifestReader;
use crate::error::{Error, Result};

/// Numbers of files, rows and bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts {
    data_files: u64,
    delete_files: u64,
    position_delete_files: u64,
    equality_delete_files: u64,
    deletion_vectors: u64,
    records: u64,
    bytes: u64,
    position_deletes: u64,
    equality_deletes: u64,
}

impl Counts {
    fn count(&mut self, file: &DataFile) {
        // Of a Puffin file with several deletion vectors only the own one counts, as in Iceberg Java.
        let own = file.content_size_in_bytes().and_then(|bytes| u64::try_from(bytes).ok());
        self.bytes = self.bytes.saturating_add(own.unwrap_or(file.file_size_in_bytes()));
        let rows = file.record_count();
        match file.content_type() {
            DataContentType::Data => {
                self.data_files += 1;
                self.records = self.records.saturating_add(rows);
            }
            DataContentType::PositionDeletes => {
                self.delete_files += 1;
                self.position_deletes = self.position_deletes.saturating_add(rows);
                if file.file_format() == DataFileFormat::Puffin {
                    self.deletion_vectors += 1;
                } else {
                    self.position_delete_files += 1;
                }
            }
            DataContentType::EqualityDeletes => {
                self.delete_files += 1;
                self.equality_delete_files += 1;
                self.equality_deletes = self.equality_deletes.saturating_add(rows);
            }
        }
    }
}

/// The totals of a snapshot's live files.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Totals(Counts);

const TOTALS: [&str; 6] = [
    "total-data-files",
    "total-delete-files",
    "total-records",
    "total-files-size",
    "total-position-deletes",
    "total-equality-deletes",
];

impl Totals {
    /// What the parent's summary says; counted from its manifests where it does not say all.
    pub(super) async fn of_parent(
        reader: ManifestReader<'_>,
        metadata: &TableMetadata,
        parent: &Snapshot,
    ) -> Result<Self> {
        match Self::of_summary(&parent.summary().additional_properties) {
            Some(totals) => Ok(totals),
            None => Self::counted(reader, metadata, parent).await,
        }
    }

    fn of_summary(summary: &HashMap<String, String>) -> Option<Self> {
        let mut numbers = [0; TOTALS.len()];
        for (number, key) in numbers.iter_mut().zip(TOTALS) {
            *number = summary.get(key)?.parse().ok()?;
        }
        let [data_files, delete_files, records, bytes, position_deletes, equality_deletes] = numbers;
        let counts = Counts {
            data_files,
            delete_files,
            records,
            bytes,
            position_deletes,
            equality_deletes,
            ..Counts::default()
        };
        Some(Self(counts))
    }

    async fn counted(
        reader: ManifestReader<'_>,
        metadata: &TableMetadata,
        snapshot: &Snapshot,
    ) -> Result<Self> {
        let mut counts = Counts::default();
        for manifest in reader.list(metadata, snapshot).await?.iter() {
            let (entries, _) = reader.live_entries(manifest).await?;
            entries.iter().for_each(|entry| counts.count(&entry.file));
        }
        Ok(Self(counts))
    }
}

/// What one snapshot adds and removes.
#[derive(Debug, Default)]
pub(super) struct Changes {
    added: Counts,
    removed: Counts,
    partitions: HashSet<(i32, Struct)>,
}

impl Changes {
    pub(super) fn add(&mut self, spec_id: i32, file: &DataFile) {
        self.added.count(file);
        self.partitions.insert((spec_id, file.partition().clone()));
    }

    pub(super) fn remove(&mut self, spec_id: i32, file: &DataFile) {
        self.removed.count(file);
        self.partitions.insert((spec_id, file.partition().clone()));
    }

    /// Whether more records come in than go.
    pub(super) fn adds_records(&self) -> bool {
        self.added.records > self.removed.records
    }

    /// The summary's entries, after a state with the totals `before`.
    pub(super) fn properties(&self, Totals(before): Totals) -> Result<HashMap<String, String>> {
        let mut properties = HashMap::new();
        let (added, removed) = (&self.added, &self.removed);
        let changes = [
            ("added-data-files", added.data_files),
            ("deleted-data-files", removed.data_files),
            ("added-delete-files", added.delete_files),
            ("removed-delete-files", removed.delete_files),
            ("added-position-delete-files", added.position_delete_files),
            ("removed-position-delete-files", removed.position_delete_files),
            ("added-equality-delete-files", added.equality_delete_files),
            ("removed-equality-delete-files", removed.equality_delete_files),
            ("added-dvs", added.deletion_vectors),
            ("removed-dvs", removed.deletion_vectors),
            ("added-records", added.records),
            ("deleted-records", removed.records),
            ("added-files-size", added.bytes),
            ("removed-files-size", removed.bytes),
            ("added-position-deletes", added.position_deletes),
            ("removed-position-deletes", removed.position_deletes),
            ("added-equality-deletes", added.equality_deletes),
            ("removed-equality-deletes", removed.equality_deletes),
        ];
        for (key, number) in changes {
            if number > 0 {
                properties.insert(key.to_owned(), number.to_string());
            }
        }
        properties.insert("changed-partition-count".to_owned(), self.partitions.len().to_string());
        let totals = [
            (before.data_files, added.data_files, removed.data_files),
            (before.delete_files, added.delete_files, removed.delete_files),
            (before.records, added.records, removed.records),
            (before.bytes, added.bytes, removed.bytes),
            (before.position_deletes, added.position_deletes, removed.position_deletes),
            (before.equality_deletes, added.equality_deletes, removed.equality_deletes),
        ];
        for (key, (before, added, removed)) in TOTALS.into_iter().zip(totals) {
            let total = before.checked_add(added).filter(|sum| i64::try_from(*sum).is_ok());
            let total =
                total.ok_or_else(|| Error::invalid("the table's totals overflow").with("summary", key))?;
            // A foreign summary that says too little must not stop a removal.
            properties.insert(key.to_owned(), total.saturating_sub(removed).to_string());
        }
        Ok(properties)
    }
}
