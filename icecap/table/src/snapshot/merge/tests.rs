use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use iceberg::spec::{FormatVersion, Operation};

use super::super::fixture::{TestTable, removed, staged_vector};
use super::super::{load_entries, load_manifest_list, prepare};
use super::*;
use crate::staged_file::StagedFile;

const VERSIONS: [FormatVersion; 2] = [FormatVersion::V2, FormatVersion::V3];
const MIN_COUNT: &str = "commit.manifest.min-count-to-merge";

async fn listed(table: &TestTable) -> Vec<ManifestFile> {
    let metadata = table.document.metadata();
    let snapshot = metadata.current_snapshot().unwrap();
    load_manifest_list(&table.storage, metadata, snapshot).await.unwrap()
}

async fn live(table: &TestTable) -> BTreeMap<String, LiveEntry> {
    let mut all = BTreeMap::new();
    for manifest in listed(table).await {
        for entry in load_entries(&table.storage, &manifest).await.unwrap().0 {
            assert!(all.insert(entry.file.file_path().to_owned(), entry).is_none());
        }
    }
    all
}

fn summary(table: &TestTable) -> [u64; 3] {
    let snapshot = table.document.metadata().current_snapshot().unwrap();
    let properties: &HashMap<String, String> = &snapshot.summary().additional_properties;
    ["created", "kept", "replaced"].map(|what| properties[&format!("manifests-{what}")].parse().unwrap())
}

async fn assert_sound(table: &TestTable) {
    assert_eq!(crate::verify::check_table(&table.storage, &table.location).await, Vec::<String>::new());
    let _ = table;
}

/// Appends files of one row each, `count` times.
async fn fill(table: &mut TestTable, count: u32) -> Vec<StagedFile> {
    let mut files = Vec::new();
    for _ in 0..count {
        let name = table.writes.to_string();
        let part = if table.writes % 3 == 2 { None } else { Some("x") };
        let file = [table.staged(&name, part, i64::from(table.writes), 1).await];
        table.append(&file).await;
        files.extend(file);
    }
    files
}

#[tokio::test]
async fn a_bin_is_merged_when_it_has_enough_and_its_files_keep_what_they_had() {
    for version in VERSIONS {
        let mut table = TestTable::create(version, &[(MIN_COUNT, "4")]).await;
        let files = fill(&mut table, 3).await;
        assert_eq!((listed(&table).await.len(), summary(&table)), (3, [1, 2, 0]));
        let before = live(&table).await;
        let files = [files, fill(&mut table, 1).await].concat();
        // The fourth brings the bin to four.
        assert_eq!((listed(&table).await.len(), summary(&table)), (1, [1, 0, 3]));
        assert_sound(&table).await;
        let after = live(&table).await;
        assert_eq!(after.len(), 4);
        for (path, was) in &before {
            let is = &after[path];
            assert_eq!(is.status, ManifestStatus::Existing);
            assert_eq!(
                (is.snapshot_id, is.sequence_number, is.file_sequence_number, is.first_row_id),
                (was.snapshot_id, was.sequence_number, was.file_sequence_number, was.first_row_id)
            );
            assert_eq!(is.file.lower_bounds(), was.file.lower_bounds());
        }
        let new = &after[&files[3].path];
        assert_eq!((new.status, new.sequence_number), (ManifestStatus::Added, 4));
        if version == FormatVersion::V3 {
            assert_eq!(after[&files[0].path].first_row_id, Some(0));
            // The manifest's range is as long as its rows, and begins with the new file.
            assert_eq!(new.first_row_id, Some(3));
            assert_eq!(table.document.metadata().next_row_id(), 7);
        }
        // It goes on: the merged manifest is one of the next four.
        fill(&mut table, 7).await;
        assert!(listed(&table).await.len() <= 4);
        assert_eq!(live(&table).await.len(), 11);
        assert_sound(&table).await;
    }
}

#[tokio::test]
async fn merging_can_be_turned_off_and_counts_are_the_tables_own() {
    let mut table =
        TestTable::create(FormatVersion::V2, &[(MIN_COUNT, "2"), ("commit.manifest-merge.enabled", "false")])
            .await;
    fill(&mut table, 5).await;
    assert_eq!((listed(&table).await.len(), summary(&table)), (5, [1, 4, 0]));
    let mut table = TestTable::create(FormatVersion::V2, &[(MIN_COUNT, "many")]).await;
    let error = prepare(&table.storage, table.request(Operation::Append, &[])).await.unwrap_err();
    assert!(error.to_string().contains(MIN_COUNT), "{error}");
    table.writes += 1;
}

#[tokio::test]
async fn full_bins_are_merged_whatever_the_count_and_stay() {
    let mut table = TestTable::create(FormatVersion::V2, &[("commit.manifest-merge.enabled", "false")]).await;
    fill(&mut table, 5).await;
    let base = listed(&table).await;
    let length = u64::try_from(base[0].manifest_length).unwrap();
    let settings = |bytes, count| CommitSettings {
        manifest_merge: true,
        manifest_min_count_to_merge: count,
        manifest_target_bytes: bytes,
        delete_old_metadata: false,
    };
    let sizes = |bytes, count| -> Vec<(bool, usize)> {
        bins(base.clone(), &settings(bytes, count))
            .iter()
            .map(|bin| match bin {
                Bin::Kept(manifests) => (false, manifests.len()),
                Bin::Merged(manifests) => (true, manifests.len()),
            })
            .collect()
    };
    // From the end: the bin that is not full is the first, and waits.
    assert_eq!(sizes(length * 2 + 9, 100), [(false, 1), (true, 2), (true, 2)]);
    assert_eq!(sizes(length * 3 + 9, 100), [(false, 2), (true, 3)]);
    assert_eq!(sizes(length * 3 + 9, 2), [(true, 2), (true, 3)]);
    assert_eq!(sizes(1, 1), [(false, 1); 5]);
    assert_eq!(sizes(u64::MAX, 6), [(false, 5)]);
}

#[tokio::test]
async fn removals_are_told_by_the_snapshot_that_made_them_and_by_no_other() {
    for version in VERSIONS {
        let mut table = TestTable::create(version, &[(MIN_COUNT, "3")]).await;
        let files = fill(&mut table, 2).await;
        // Two manifests, one of which is written again, and the new one: merged into one with the removal.
        let d = [table.staged("d", Some("x"), 50, 3).await];
        table.overwrite(&d, &[removed(&files[0])]).await.unwrap();
        let manifests = listed(&table).await;
        assert_eq!(manifests.len(), 1);
        let counts = |m: &ManifestFile| (m.added_files_count, m.existing_files_count, m.deleted_files_count);
        assert_eq!(counts(&manifests[0]), (Some(1), Some(1), Some(1)));
        assert_sound(&table).await;
        fill(&mut table, 2).await;
        let manifests = listed(&table).await;
        assert_eq!((manifests.len(), counts(&manifests[0])), (1, (Some(1), Some(3), Some(0))));
        assert_eq!(live(&table).await.len(), 4);
        assert_sound(&table).await;
    }
}

#[tokio::test]
async fn delete_manifests_are_merged_among_themselves() {
    let mut table = TestTable::create(FormatVersion::V3, &[(MIN_COUNT, "2")]).await;
    let files = fill(&mut table, 2).await;
    for (number, file) in files.iter().enumerate() {
        let vector = staged_vector(&table, &format!("v{number}"), file, 1).await;
        table.overwrite(&[vector], &[]).await.unwrap();
    }
    let manifests = listed(&table).await;
    let contents: Vec<_> = manifests.iter().map(|manifest| manifest.content).collect();
    assert_eq!(contents, [ManifestContentType::Data, ManifestContentType::Deletes]);
    assert_eq!(manifests[1].first_row_id, None);
    assert_sound(&table).await;
}

#[tokio::test]
async fn what_was_published_is_not_read_again() {
    let mut table = TestTable::create(FormatVersion::V3, &[(MIN_COUNT, "5")]).await;
    for number in 0..12 {
        let file = [table.staged(&number.to_string(), Some("x"), number, 1).await];
        let request = table.request(Operation::Append, &file);
        let prepared = prepare(&table.storage, request).await.unwrap();
        prepared.fresh.clone().keep_in(table.storage.cache());
        // The kept list is what a reader of the file finds; the file itself is hidden from the next commit.
        let location = prepared.snapshot.manifest_list().to_owned();
        table.document =
            table.document.apply(prepared.updates, Some(&table.location), 1_767_225_600_000).unwrap();
        table.writes += 1;
        for (location, bytes) in prepared.objects {
            table.storage.put_new(&location, bytes).await.unwrap();
        }
        let kept = super::super::cache::list(table.storage.cache(), &location).unwrap();
        let stored = table.storage.clone().with_cache_bytes(0);
        let read = load_manifest_list(&stored, table.document.metadata(), &prepared.snapshot).await.unwrap();
        assert_eq!(kept.to_vec(), read);
        table.storage.delete(&location).await.unwrap();
        for (location, _) in prepared.fresh.manifests {
            table.storage.delete(&location).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_manifest_that_cannot_be_read_stops_no_append() {
    let mut table = TestTable::create(FormatVersion::V2, &[(MIN_COUNT, "2")]).await;
    fill(&mut table, 1).await;
    let lost = listed(&table).await[0].manifest_path.clone();
    table.storage.delete(&lost).await.unwrap();
    table.storage.put_new(&lost, Bytes::from_static(b"garbage")).await.unwrap();
    fill(&mut table, 1).await;
    let manifests = listed(&table).await;
    assert_eq!((manifests.len(), summary(&table)), (2, [1, 1, 0]));
    assert_eq!(manifests[1].manifest_path, lost);
}

#[tokio::test]
async fn a_manifest_much_larger_than_all_newer_ones_waits() {
    let mut table = TestTable::create(FormatVersion::V2, &[]).await;
    fill(&mut table, 1).await;
    let any = listed(&table).await.remove(0);
    let of = |entries: u32| ManifestFile { added_files_count: Some(entries), ..any.clone() };
    let tier = |entries: &[u32]| newest_tier(&entries.iter().map(|n| of(*n)).collect::<Vec<_>>());
    assert_eq!(tier(&[1, 1, 1, 12]), 4);
    assert_eq!(tier(&[1, 1, 1, 13]), 3);
    // Two are merged whatever they are, or a bin of large manifests would be looked at for ever.
    assert_eq!(tier(&[1, 1000, 5000]), 2);
    assert_eq!(tier(&[0, 0, 5]), 3);
    // As one-row appends make them: the work grows with the logarithm of their number.
    let (mut manifests, mut written, mut most) = (Vec::<u32>::new(), 0_u32, 0);
    for _ in 0..10_000 {
        manifests.insert(0, 1);
        if manifests.len() >= 100 {
            let kept = manifests.split_off(tier(&manifests));
            let merged: u32 = manifests.iter().sum();
            written += merged;
            manifests = [vec![merged], kept].concat();
        }
        most = most.max(manifests.len());
    }
    assert!(most < 100, "{most}");
    assert!(written < 80_000, "{written}");
}
