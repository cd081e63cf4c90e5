//! Checks of the files that a snapshot holds.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use iceberg::spec::{
    DataContentType, DataFile, DataFileFormat, ManifestMetadata, ManifestStatus, SnapshotRef, Type,
};

use super::{Check, Parsed};
use crate::snapshot::LiveEntry;

/// The live files of one snapshot, and those that it removed itself.
#[derive(Default)]
pub(super) struct Live {
    /// The manifests that hold the live ones.
    pub(super) manifests: Vec<Arc<Parsed>>,
    pub(super) deleted_now: Vec<DataFile>,
}

impl Live {
    pub(super) fn entries(&self) -> impl Iterator<Item = &LiveEntry> {
        self.manifests.iter().flat_map(|parsed| &parsed.live)
    }

    /// Of all live files.
    pub(super) fn counts(&self) -> Counts {
        let mut sum = Counts::default();
        self.manifests.iter().for_each(|parsed| sum.add(&parsed.counts));
        sum
    }
}

/// One live file: it exists, its numbers are possible, its bounds are in order.
pub(super) async fn check_file(check: &mut Check<'_>, header: &ManifestMetadata, entry: &LiveEntry) {
    let file = &entry.file;
    let path = file.file_path();
    check.object("file", path, Some(file.file_size_in_bytes())).await;
    let fields = header.partition_spec().fields().len();
    check.expect(file.partition().iter().count() == fields, || {
        format!("{path} has another partition than its spec")
    });
    let top_level: HashSet<i32> = header
        .schema()
        .as_struct()
        .fields()
        .iter()
        .filter(|field| matches!(*field.field_type, Type::Primitive(_)))
        .map(|field| field.id)
        .collect();
    for (id, values) in file.value_counts() {
        let is_row_wise = top_level.contains(id) && file.content_type() == DataContentType::Data;
        check.expect(!is_row_wise || *values == file.record_count(), || {
            format!("{path}: column {id} has {values} values in {} rows", file.record_count())
        });
        let nulls = file.null_value_counts().get(id).copied().unwrap_or(0);
        let nans = file.nan_value_counts().get(id).copied().unwrap_or(0);
        check.expect(nulls + nans <= *values, || {
            format!("{path}: column {id} has {nulls} NULLs in {values} values")
        });
        let has_bounds = file.lower_bounds().contains_key(id);
        check.expect(!has_bounds || nulls + nans < *values, || {
            format!("{path}: column {id} has bounds of nothing")
        });
    }
    for (id, lower) in file.lower_bounds() {
        let upper = file.upper_bounds().get(id);
        check.expect(upper.is_none_or(|upper| lower <= upper), || {
            format!("{path}: bounds of column {id} are crossed")
        });
    }
    if let Some(offsets) = file.split_offsets() {
        check.expect(offsets.windows(2).all(|pair| pair[0] < pair[1]), || {
            format!("{path}: split offsets do not rise")
        });
    }
}

/// All live files of a snapshot together.
pub(super) fn check_live(check: &mut Check<'_>, snapshot: &SnapshotRef, live: &Live) {
    let id = snapshot.snapshot_id();
    let mut paths: HashMap<(&str, Option<i64>), u32> = HashMap::new();
    let mut rows: Vec<(i64, i64, &str)> = Vec::new();
    for entry in live.entries() {
        let file = &entry.file;
        *paths.entry((file.file_path(), file.content_offset())).or_default() += 1;
        if file.content_type() == DataContentType::Data
            && let Some(first) = entry.first_row_id
        {
            rows.push((first, i64::try_from(file.record_count()).unwrap_or(i64::MAX), file.file_path()));
        }
    }
    for ((path, _), times) in &paths {
        check.expect(*times == 1, || format!("snapshot {id}: {path} is live {times} times"));
    }
    rows.sort_unstable();
    for pair in rows.windows(2) {
        let ((first, count, path), (next, _, other)) = (pair[0], pair[1]);
        check.expect(first.saturating_add(count) <= next, || {
            format!("snapshot {id}: {path} and {other} share row ids")
        });
    }
    let next = i64::try_from(check.document.metadata().next_row_id()).unwrap_or(i64::MAX);
    for (first, count, path) in rows {
        check.expect(first.saturating_add(count) <= next, || {
            format!("snapshot {id}: {path} has row ids never given out")
        });
    }
    summary(check, snapshot, live);
}

/// What the summary says, against what the manifests hold. Keys that are absent say nothing.
fn summary(check: &mut Check<'_>, snapshot: &SnapshotRef, live: &Live) {
    let id = snapshot.snapshot_id();
    let is_own =
        snapshot.summary().additional_properties.get("engine-name").is_some_and(|name| name == "icecap");
    let now_added = |entry: &&LiveEntry| entry.status == ManifestStatus::Added && entry.snapshot_id == id;
    let all = live.counts();
    let added = Counts::of(live.entries().filter(now_added).map(|entry| &entry.file));
    let removed = Counts::of(live.deleted_now.iter());
    let mut expected: BTreeMap<String, u64> = BTreeMap::new();
    for (name, number) in all.named() {
        expected.insert(format!("total-{name}"), number);
    }
    for (name, number) in added.named() {
        expected.insert(format!("added-{name}"), number);
    }
    for (name, number) in removed.named() {
        let verb = if matches!(name, "data-files" | "records") { "deleted" } else { "removed" };
        expected.insert(format!("{verb}-{name}"), number);
    }
    for (key, number) in expected {
        if let Some(said) = snapshot.summary().additional_properties.get(&key) {
            check.expect(*said == number.to_string(), || {
                format!("snapshot {id}: summary says {key} is {said}, the manifests say {number}")
            });
        } else if !key.starts_with("total-") && is_own {
            // Other engines may leave a key out; of ours only zero goes without saying.
            check.expect(number == 0, || {
                format!("snapshot {id}: summary lacks {key}, the manifests say {number}")
            });
        }
    }
}

/// What a summary counts.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counts([u64; NAMES.len()]);

/// As summaries name them.
const NAMES: [&str; 9] = [
    "data-files",
    "delete-files",
    "records",
    "files-size",
    "position-deletes",
    "equality-deletes",
    "dvs",
    "position-delete-files",
    "equality-delete-files",
];

impl Counts {
    pub(super) fn of<'a>(files: impl Iterator<Item = &'a DataFile>) -> Self {
        let mut counts = Self::default();
        for file in files {
            let [
                data_files,
                delete_files,
                records,
                size,
                positions,
                equalities,
                vectors,
                position_files,
                equality_files,
            ] = &mut counts.0;
            match file.content_type() {
                DataContentType::Data => {
                    *data_files += 1;
                    *records += file.record_count();
                }
                DataContentType::PositionDeletes => {
                    *delete_files += 1;
                    *positions += file.record_count();
                    let is_vector = file.file_format() == DataFileFormat::Puffin;
                    *(if is_vector { vectors } else { position_files }) += 1;
                }
                DataContentType::EqualityDeletes => {
                    *delete_files += 1;
                    *equality_files += 1;
                    *equalities += file.record_count();
                }
            }
            // A deletion vector is a part of its file.
            let own = file.content_size_in_bytes().and_then(|bytes| u64::try_from(bytes).ok());
            *size += own.unwrap_or(file.file_size_in_bytes());
        }
        counts
    }

    fn add(&mut self, other: &Self) {
        self.0.iter_mut().zip(other.0).for_each(|(sum, number)| *sum += number);
    }

    fn named(&self) -> impl Iterator<Item = (&'static str, u64)> {
        NAMES.into_iter().zip(self.0)
    }

    /// Rows of data files.
    pub(super) fn records(&self) -> u64 {
        self.0[2]
    }
}
