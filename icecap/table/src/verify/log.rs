//! Checks of the metadata file itself: numbers, logs, references.

use std::collections::HashMap;

use super::Check;
use iceberg::spec::FormatVersion;

pub(super) async fn check(check: &mut Check<'_>) {
    sequence_numbers(check);
    row_ranges(check);
    snapshot_log(check);
    metadata_log(check).await;
}

/// I7: sequence numbers rise from parent to child and are never given out twice.
fn sequence_numbers(check: &mut Check<'_>) {
    let document = check.document;
    let metadata = document.metadata();
    if metadata.format_version() == FormatVersion::V1 {
        return;
    }
    let mut seen: HashMap<i64, i64> = HashMap::new();
    for snapshot in metadata.snapshots() {
        let (id, number) = (snapshot.snapshot_id(), snapshot.sequence_number());
        // Snapshots from before an upgrade all have number 0.
        if number > 0
            && let Some(other) = seen.insert(number, id)
        {
            check.says(format!("snapshots {id} and {other} share sequence number {number}"));
        }
        let last = metadata.last_sequence_number();
        check.expect(number <= last, || {
            format!("snapshot {id} has sequence number {number}, the table's last is {last}")
        });
        let parent = snapshot.parent_snapshot_id().and_then(|parent| metadata.snapshot_by_id(parent));
        if let Some(parent) = parent {
            let before = parent.sequence_number();
            check.expect(before < number || number == 0, || {
                format!("snapshot {id} has sequence number {number}, its parent {before}")
            });
        }
        check.expect(snapshot.timestamp_ms() <= metadata.last_updated_ms(), || {
            format!("snapshot {id} is later than the table's last update")
        });
        if let Some(schema) = snapshot.schema_id() {
            check.expect(metadata.schema_by_id(schema).is_some(), || {
                format!("snapshot {id} has unknown schema {schema}")
            });
        }
    }
}

/// I7: the row ids of two snapshots never overlap.
fn row_ranges(check: &mut Check<'_>) {
    let document = check.document;
    let mut ranges: Vec<(u64, u64, i64)> = document
        .metadata()
        .snapshots()
        .filter_map(|snapshot| {
            snapshot.row_range().map(|(first, added)| (first, added, snapshot.snapshot_id()))
        })
        .filter(|(_, added, _)| *added > 0)
        .collect();
    ranges.sort_unstable();
    for pair in ranges.windows(2) {
        let ((first, added, id), (next, _, other)) = (pair[0], pair[1]);
        check.expect(first.saturating_add(added) <= next, || {
            format!("snapshots {id} and {other} share row ids")
        });
    }
}

fn snapshot_log(check: &mut Check<'_>) {
    let document = check.document;
    let metadata = document.metadata();
    let log = metadata.history();
    for pair in log.windows(2) {
        check.expect(pair[0].timestamp_ms <= pair[1].timestamp_ms, || {
            format!("snapshot log: {} comes before {} and is later", pair[0].snapshot_id, pair[1].snapshot_id)
        });
    }
    if let (Some(last), Some(current)) = (log.last(), metadata.current_snapshot_id()) {
        check.expect(last.snapshot_id == current, || {
            format!("snapshot log ends with {}, current is {current}", last.snapshot_id)
        });
    }
    let main = metadata.snapshot_for_ref("main").map(|snapshot| snapshot.snapshot_id());
    check.expect(main == metadata.current_snapshot_id(), || {
        format!("main is {main:?}, the current snapshot {:?}", metadata.current_snapshot_id())
    });
}

/// I1: each metadata file names its predecessors in order, and they are still there.
async fn metadata_log(check: &mut Check<'_>) {
    let document = check.document;
    let metadata = document.metadata();
    let entries: Vec<(String, i64)> = metadata
        .metadata_log()
        .iter()
        .map(|entry| (entry.metadata_file.clone(), entry.timestamp_ms))
        .collect();
    for pair in entries.windows(2) {
        check.expect(pair[0].1 <= pair[1].1, || {
            format!("metadata log: {} is later than its successor", pair[0].0)
        });
        check.expect(pair[0].0 != pair[1].0, || format!("metadata log: {} is named twice", pair[0].0));
    }
    if let Some((file, time)) = entries.last() {
        check.expect(*time <= metadata.last_updated_ms(), || {
            format!("metadata log: {file} is later than the table")
        });
    }
    let deletes_old = metadata
        .properties()
        .get("write.metadata.delete-after-commit.enabled")
        .is_some_and(|value| value == "true");
    if !deletes_old {
        for (file, _) in &entries {
            check.object("metadata file", file, None).await;
        }
    }
}
