//! Checks of delete files: each is what its entry says, and concerns a file that is there.

use std::collections::HashMap;

use iceberg::spec::{DataContentType, DataFile, SnapshotRef};

use super::Check;
use super::files::Live;
use crate::deletes::deletion_vector;
use crate::error::{Error, Result};
use crate::snapshot::LiveEntry;
use crate::snapshot::scope::is_deletion_vector;
use crate::storage::Storage;

/// One live delete file by itself.
pub(super) async fn check_file(check: &mut Check<'_>, file: &DataFile) {
    let path = file.file_path();
    if file.content_type() == DataContentType::EqualityDeletes {
        let has_ids = file.equality_ids().is_some_and(|ids| !ids.is_empty());
        check.expect(has_ids, || format!("{path}: equality deletes name no columns"));
    }
    if !is_deletion_vector(file) {
        return;
    }
    match greatest_position(check.storage, file).await {
        Ok(greatest) => {
            check.vectors.insert((path.to_owned(), file.content_offset()), greatest);
        }
        Err(error) => check.says(format!(
            "{path}: the deletion vector at {} cannot be read: {error}",
            file.content_offset().unwrap_or_default()
        )),
    }
}

/// Reads a deletion vector, which has as many positions as its entry says.
async fn greatest_position(storage: &Storage, file: &DataFile) -> Result<Option<u64>> {
    let bounds = file.content_offset().zip(file.content_size_in_bytes());
    let range = bounds.and_then(|(offset, length)| {
        let (offset, length) = (u64::try_from(offset).ok()?, u64::try_from(length).ok()?);
        Some(offset..offset.checked_add(length)?)
    });
    let range = range.ok_or_else(|| Error::corrupt("its entry does not say where it lies"))?;
    let blob = storage.read_range(file.file_path(), range).await?;
    Ok(deletion_vector::decode(&blob, Some(file.record_count()))?.max())
}

/// All deletion vectors of a snapshot, against its data files.
pub(super) fn check_live(check: &mut Check<'_>, snapshot: &SnapshotRef, live: &Live) {
    let id = snapshot.snapshot_id();
    let vectors: Vec<&LiveEntry> = live.entries().filter(|entry| is_deletion_vector(&entry.file)).collect();
    if vectors.is_empty() {
        return;
    }
    let data: HashMap<&str, &LiveEntry> = live
        .entries()
        .filter(|entry| entry.file.content_type() == DataContentType::Data)
        .map(|entry| (entry.file.file_path(), entry))
        .collect();
    let mut times: HashMap<String, u32> = HashMap::new();
    for vector in vectors {
        let file = &vector.file;
        let of = file.referenced_data_file().unwrap_or_default();
        *times.entry(of.clone()).or_default() += 1;
        let Some(data) = data.get(of.as_str()) else {
            check.says(format!("snapshot {id}: a deletion vector dangles on {of}"));
            continue;
        };
        let greatest = check.vectors.get(&(file.file_path().to_owned(), file.content_offset()));
        if let Some(Some(greatest)) = greatest.copied() {
            let rows = data.file.record_count();
            check.expect(greatest < rows, || {
                format!("snapshot {id}: a deletion vector deletes row {greatest} of {rows} of {of}")
            });
        }
        check.expect(vector.sequence_number >= data.sequence_number, || {
            format!("snapshot {id}: the deletion vector of {of} is older than the file")
        });
        check.expect(file.partition() == data.file.partition(), || {
            format!("snapshot {id}: the deletion vector of {of} is of another partition")
        });
    }
    let mut times: Vec<(String, u32)> = times.into_iter().filter(|(_, times)| *times > 1).collect();
    times.sort();
    for (of, times) in times {
        check.says(format!("snapshot {id}: {of} has {times} deletion vectors"));
    }
}
