use std::collections::{BTreeSet, HashMap};

use iceberg::spec::{Literal, ManifestStatus, Struct};

use super::fixture::{START_MS, TestTable, new_table, removed, staged_positions, staged_vector};
use super::*;
use crate::error::ErrorKind;

const VERSIONS: [FormatVersion; 2] = [FormatVersion::V2, FormatVersion::V3];

fn summary(snapshot: &Snapshot) -> HashMap<&str, &str> {
    let properties = &snapshot.summary().additional_properties;
    properties.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect()
}

/// Everything that is live in the current snapshot, by path.
async fn live(table: &TestTable) -> BTreeMap<String, LiveEntry> {
    let metadata = table.document.metadata();
    let mut all = BTreeMap::new();
    let Some(snapshot) = metadata.current_snapshot() else { return all };
    for manifest in load_manifest_list(&table.storage, metadata, snapshot).await.unwrap() {
        for entry in load_entries(&table.storage, &manifest).await.unwrap().0 {
            let twice = all.insert(entry.file.file_path().to_owned(), entry);
            assert!(twice.is_none());
        }
    }
    all
}

async fn assert_sound(table: &TestTable) {
    assert_eq!(crate::verify::check_table(&table.storage, &table.location).await, Vec::<String>::new());
    let _ = table;
}

#[tokio::test]
async fn appends_build_on_each_other() {
    for version in VERSIONS {
        let mut table = TestTable::create(version, &[]).await;
        let first = [table.staged("a", Some("x"), 0, 10).await, table.staged("b", None, 10, 5).await];
        let one = table.append(&first).await.snapshot;
        let two = [table.staged("c", Some("x"), 15, 7).await];
        let produced = table.append(&two).await;
        let snapshot = &produced.snapshot;
        assert_eq!(one.parent_snapshot_id(), None);
        assert_eq!((one.sequence_number(), one.schema_id()), (1, Some(0)));
        assert_eq!(
            one.snapshot_id(),
            WriteId::from_token("test", 0, 0).derive_snapshot_id("main", Uuid::from_u128(7), "main", 0)
        );
        assert_eq!(snapshot.parent_snapshot_id(), Some(one.snapshot_id()));
        assert_eq!(snapshot.sequence_number(), 2);
        // The clock stood still; the table's time did not.
        assert_eq!((one.timestamp_ms(), snapshot.timestamp_ms()), (START_MS + 1, START_MS + 2));
        assert_eq!(produced.written.len(), 2);
        assert_eq!(produced.written[1], snapshot.manifest_list());
        let said = summary(snapshot);
        let write = WriteId::from_token("test", 1, 0).to_string();
        let expected = [
            ("added-data-files", "1"),
            ("manifests-created", "1"),
            ("manifests-kept", "1"),
            ("manifests-replaced", "0"),
            ("added-records", "7"),
            ("added-files-size", "17"),
            ("changed-partition-count", "1"),
            ("total-data-files", "3"),
            ("total-delete-files", "0"),
            ("total-records", "22"),
            ("total-files-size", "52"),
            ("total-position-deletes", "0"),
            ("total-equality-deletes", "0"),
            ("icecap.write-id", &write),
            ("engine-name", "icecap"),
            ("engine-version", env!("CARGO_PKG_VERSION")),
        ];
        assert_eq!(said, HashMap::from(expected));
        assert_eq!(summary(&one)["changed-partition-count"], "2");
        let files = live(&table).await;
        assert_eq!(files.len(), 3);
        assert_eq!(files[&two[0].path].sequence_number, 2);
        assert_eq!(files[&first[0].path].sequence_number, 1);
        assert_eq!(files[&first[0].path].snapshot_id, one.snapshot_id());
        assert_eq!(*files[&first[0].path].file.partition(), Struct::from_iter([Some(Literal::string("x"))]));
        if version == FormatVersion::V3 {
            assert_eq!((one.row_range(), snapshot.row_range()), (Some((0, 15)), Some((15, 7))));
            assert_eq!(table.document.metadata().next_row_id(), 22);
            let ids = [&first[0], &first[1], &two[0]].map(|file| files[&file.path].first_row_id);
            assert_eq!(ids, [Some(0), Some(10), Some(15)]);
        } else {
            assert_eq!(snapshot.row_range(), None);
        }
        assert_sound(&table).await;
    }
}

#[tokio::test]
async fn a_snapshot_of_nothing_is_a_snapshot() {
    for version in VERSIONS {
        let mut table = TestTable::create(version, &[]).await;
        let snapshot = table.append(&[]).await.snapshot;
        assert_eq!(summary(&snapshot)["total-records"], "0");
        assert_eq!(summary(&snapshot)["changed-partition-count"], "0");
        assert_eq!(live(&table).await.len(), 0);
        assert_sound(&table).await;
    }
}

#[tokio::test]
async fn the_totals_of_a_parent_without_any_are_counted() {
    let mut table = TestTable::create(FormatVersion::V2, &[]).await;
    let file = [table.staged("a", Some("x"), 0, 10).await];
    table.append(&file).await;
    // As an engine that writes no totals would have left it.
    let mut tree = table.document.tree();
    tree["snapshots"][0]["summary"] = serde_json::json!({"operation": "append"});
    table.document = TableDocument::parse(tree.to_string().as_bytes()).unwrap();
    let file = [table.staged("b", Some("x"), 10, 4).await];
    let snapshot = table.append(&file).await.snapshot;
    assert_eq!((summary(&snapshot)["total-records"], summary(&snapshot)["total-data-files"]), ("14", "2"));
    assert_eq!(summary(&snapshot)["total-files-size"], "34");
}

#[tokio::test]
async fn a_removed_file_is_told_once_and_the_rest_keeps_what_it_had() {
    for version in VERSIONS {
        let mut table = TestTable::create(version, &[]).await;
        let ab = [table.staged("a", Some("x"), 0, 10).await, table.staged("b", Some("y"), 10, 5).await];
        table.append(&ab).await;
        let c = [table.staged("c", Some("x"), 15, 7).await];
        table.append(&c).await;
        let d = [table.staged("d", Some("x"), 22, 3).await];
        let snapshot = table.overwrite(&d, &[removed(&ab[0])]).await.unwrap().snapshot;
        let said = summary(&snapshot);
        assert_eq!(
            (said["deleted-data-files"], said["deleted-records"], said["removed-files-size"]),
            ("1", "10", "20")
        );
        assert_eq!((said["total-data-files"], said["total-records"]), ("3", "15"));
        let files = live(&table).await;
        assert!(!files.contains_key(&ab[0].path));
        let kept = &files[&ab[1].path];
        assert_eq!(
            (kept.status, kept.sequence_number, kept.file_sequence_number),
            (ManifestStatus::Existing, 1, Some(1))
        );
        if version == FormatVersion::V3 {
            let ids = [&ab[1], &c[0], &d[0]].map(|file| files[&file.path].first_row_id);
            assert_eq!(ids, [Some(10), Some(15), Some(22)]);
            assert_eq!(snapshot.row_range(), Some((22, 3)));
        }
        assert_sound(&table).await;
        // The manifest that told of a's removal holds b too; when b goes, a's DELETED entry is dropped.
        let e = [table.staged("e", Some("x"), 25, 1).await];
        table.overwrite(&e, &[removed(&ab[1])]).await.unwrap();
        assert_sound(&table).await;
        let f = [table.staged("f", Some("x"), 26, 1).await];
        table.overwrite(&f, &[removed(&c[0])]).await.unwrap();
        let files = live(&table).await;
        assert_eq!(files.len(), 3);
        assert_eq!(summary(table.document.metadata().current_snapshot().unwrap())["total-records"], "5");
        assert_sound(&table).await;
        let again = table.overwrite(&[], &[removed(&ab[0])]).await.unwrap_err();
        assert_eq!(again.kind(), ErrorKind::Conflict);
    }
}

#[tokio::test]
async fn deletion_vectors_are_added_and_replaced_by_their_place() {
    let mut table = TestTable::create(FormatVersion::V3, &[]).await;
    let data = [table.staged("a", Some("x"), 0, 10).await];
    table.append(&data).await;
    let one = staged_vector(&table, "v1", &data[0], 2).await;
    let snapshot = table.overwrite(std::slice::from_ref(&one), &[]).await.unwrap().snapshot;
    let said = summary(&snapshot);
    assert_eq!(
        (said["added-delete-files"], said["added-dvs"], said["added-position-deletes"]),
        ("1", "1", "2")
    );
    assert!(!said.contains_key("added-position-delete-files"));
    assert_sound(&table).await;
    let two = staged_vector(&table, "v2", &data[0], 3).await;
    let wrong_place = RemovedFile { content_offset: Some(5), ..removed(&one) };
    let error = table.overwrite(std::slice::from_ref(&two), &[wrong_place]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    let snapshot = table.overwrite(std::slice::from_ref(&two), &[removed(&one)]).await;
    // The refused attempt left no manifests under the names of this one.
    let snapshot = snapshot.unwrap().snapshot;
    let said = summary(&snapshot);
    assert_eq!(
        (said["removed-dvs"], said["removed-position-deletes"], said["total-position-deletes"]),
        ("1", "2", "3")
    );
    assert_eq!(said["total-delete-files"], "1");
    assert_sound(&table).await;
}

#[tokio::test]
async fn branches_move_alone_and_keep_their_retention() {
    let mut table = TestTable::create(FormatVersion::V3, &[]).await;
    let file = [table.staged("a", Some("x"), 0, 10).await];
    let base = table.append(&file).await.snapshot.snapshot_id();
    let branch = SnapshotReference::new(base, SnapshotRetention::branch(Some(3), None, None));
    let tag = SnapshotReference::new(base, SnapshotRetention::Tag { max_ref_age_ms: None });
    let updates = vec![
        TableUpdate::SetSnapshotRef { ref_name: "b".into(), reference: branch },
        TableUpdate::SetSnapshotRef { ref_name: "t".into(), reference: tag },
    ];
    table.document = table.document.apply(updates, None, START_MS).unwrap();
    let file = [table.staged("b", Some("x"), 10, 4).await];
    for (name, kind) in [("t", ErrorKind::Invalid), ("none", ErrorKind::NotFound)] {
        let request = SnapshotRequest { reference: name, ..table.request(Operation::Append, &file) };
        assert_eq!(prepare(&table.storage, request).await.unwrap_err().kind(), kind);
    }
    let request = SnapshotRequest { reference: "b", ..table.request(Operation::Append, &file) };
    let produced = produce(&table.storage, request).await.unwrap();
    let id = produced.snapshot.snapshot_id();
    table.commit(produced).await;
    let metadata = table.document.metadata();
    assert_eq!(metadata.current_snapshot_id(), Some(base));
    assert_eq!(metadata.snapshot_for_ref("b").unwrap().snapshot_id(), id);
    assert_eq!(table.document.tree()["refs"]["b"]["min-snapshots-to-keep"], 3);
    assert_eq!(metadata.history().len(), 1);
    // One counter of sequence numbers and of row ids for all branches.
    let file = [table.staged("c", Some("x"), 14, 1).await];
    let main = table.append(&file).await.snapshot;
    assert_eq!((main.sequence_number(), main.row_range()), (3, Some((14, 1))));
    assert_eq!(main.parent_snapshot_id(), Some(base));
    assert_sound(&table).await;
}

#[tokio::test]
async fn what_does_not_fit_is_refused() {
    let mut table = TestTable::create(FormatVersion::V2, &[]).await;
    let good = table.staged("a", Some("x"), 0, 10).await;
    let change = |edit: fn(&mut StagedFile)| {
        let mut file = good.clone();
        edit(&mut file);
        file
    };
    let cases = [
        (change(|f| f.spec_id = 9), ErrorKind::Invalid, "no partition spec 9"),
        (change(|f| f.partition.clear()), ErrorKind::Invalid, "0 values"),
        (change(|f| f.partition = vec![Some(vec![0xff])]), ErrorKind::Corrupt, "no value of type string"),
        (change(|f| drop(f.lower_bounds.insert(1, vec![1]))), ErrorKind::Corrupt, "1 bytes"),
        (
            change(|f| drop(f.lower_bounds.insert(1, 100_i64.to_le_bytes().to_vec()))),
            ErrorKind::Corrupt,
            "above",
        ),
        (change(|f| drop(f.upper_bounds.insert(5, vec![1]))), ErrorKind::Invalid, "no column 5"),
        (change(|f| f.value_counts.extend([(-1, 1)])), ErrorKind::Invalid, "no column -1"),
        (change(|f| f.null_counts.extend([(1, 11)])), ErrorKind::Invalid, "more NULLs"),
        (change(|f| f.column_sizes.extend([(1, u64::MAX)])), ErrorKind::Invalid, "out of range"),
        (change(|f| f.record_count = u64::MAX), ErrorKind::Invalid, "record count"),
        (change(|f| f.file_size_bytes = 0), ErrorKind::Invalid, "size"),
        (change(|f| f.split_offsets = vec![4, 4]), ErrorKind::Invalid, "split offset"),
        (change(|f| f.split_offsets = vec![-1]), ErrorKind::Invalid, "split offset"),
        (change(|f| f.split_offsets = vec![1000]), ErrorKind::Invalid, "split offset"),
        (change(|f| f.sort_order_id = Some(4)), ErrorKind::Invalid, "sort order"),
        (change(|f| f.first_row_id = Some(0)), ErrorKind::Invalid, "format version 3"),
        (change(|f| f.content_range = Some((0, 1))), ErrorKind::Invalid, "refers to nothing"),
    ];
    for (file, kind, message) in cases {
        let error = prepare(&table.storage, table.request(Operation::Append, &[file])).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(message) && error.to_string().contains(&good.path), "{error}");
    }
    let twice = [good.clone(), good.clone()];
    let error = prepare(&table.storage, table.request(Operation::Append, &twice)).await.unwrap_err();
    assert!(error.to_string().contains("named twice"), "{error}");
    let vector = change(|f| {
        f.content = FileContent::DeletionVector;
        f.referenced_data_file = Some("x".into());
        f.content_range = Some((0, 1));
    });
    let as_append =
        prepare(&table.storage, table.request(Operation::Append, std::slice::from_ref(&vector))).await;
    assert_eq!(as_append.unwrap_err().kind(), ErrorKind::Bug);
    let as_delta = prepare(&table.storage, table.request(Operation::Delete, &[vector])).await.unwrap_err();
    assert!(as_delta.to_string().contains("format version 3"), "{as_delta}");
    let request = SnapshotRequest { schema_id: 3, ..table.request(Operation::Append, &[]) };
    assert_eq!(prepare(&table.storage, request).await.unwrap_err().kind(), ErrorKind::NotFound);
    // The same write twice.
    table.append(std::slice::from_ref(&good)).await;
    table.writes -= 1;
    let error = prepare(&table.storage, table.request(Operation::Append, &[good])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
}

#[tokio::test]
async fn tables_of_version_1_and_lost_manifests_are_named() {
    let mut table = TestTable::create(FormatVersion::V2, &[]).await;
    let mut tree = table.document.tree();
    tree["format-version"] = 1.into();
    tree["schema"] = tree["schemas"][0].clone();
    tree["partition-spec"] = tree["partition-specs"][0]["fields"].clone();
    let v2 = table.document.clone();
    table.document = TableDocument::parse(tree.to_string().as_bytes()).unwrap();
    let error = prepare(&table.storage, table.request(Operation::Append, &[])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("format-version"), "{error}");
    table.document = v2;
    let list = table.append(&[]).await.snapshot.manifest_list().to_owned();
    table.storage.delete(&list).await.unwrap();
    let error = prepare(&table.storage, table.request(Operation::Append, &[])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    table.storage.put_new(&list, Bytes::from_static(b"Obj\x01garbage")).await.unwrap();
    let error = prepare(&table.storage, table.request(Operation::Append, &[])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
}

#[tokio::test]
async fn manifests_are_reused_by_a_rebase_and_the_list_alone_changes() {
    let mut table = TestTable::create(FormatVersion::V3, &[]).await;
    let file = [table.staged("a", Some("x"), 0, 10).await];
    let before = prepare(&table.storage, table.request(Operation::Append, &file)).await.unwrap();
    table.writes = 5;
    let other = [table.staged("b", Some("x"), 10, 4).await];
    table.append(&other).await;
    table.writes = 0;
    let after = prepare(&table.storage, table.request(Operation::Append, &file)).await.unwrap();
    // The Avro block marker is random; names and lengths are not.
    assert_eq!(before.objects[0].0, after.objects[0].0);
    assert_eq!(before.objects[0].1.len(), after.objects[0].1.len());
    assert_eq!((before.snapshot.sequence_number(), after.snapshot.sequence_number()), (1, 2));
    assert_eq!((before.snapshot.row_range(), after.snapshot.row_range()), (Some((0, 10)), Some((4, 10))));
    assert_eq!(before.snapshot.snapshot_id(), after.snapshot.snapshot_id());
    // What was prepared on the older base is refused by the newer one.
    let error = table.document.apply(before.updates, Some(&table.location), START_MS).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
}

#[test]
fn staged_files_lie_where_their_write_may_put_them() {
    let table = |properties: &[(&str, &str)]| {
        TableDocument::create(new_table("file:///w/t", FormatVersion::V2, properties)).unwrap()
    };
    let write = WriteId::from_token("x", 0, 0);
    let check = |document: &TableDocument, path: String| {
        check_staged_paths(document.metadata(), write, &[StagedFile::data(path, 0, vec![])])
    };
    let plain = table(&[]);
    check(&plain, format!("file:///w/t/data/{write}-0.parquet")).unwrap();
    check(&plain, format!("file:///w/t/data/part=a%2Fb/{write}-0.parquet")).unwrap();
    for path in [
        format!("file:///w/t/{write}-0.parquet"),
        format!("file:///w/t/data2/{write}-0.parquet"),
        format!("file:///w/other/data/{write}-0.parquet"),
        "file:///w/t/data/other-0.parquet".to_owned(),
        format!("file:///w/t/data/{write}/other.parquet"),
        format!("file:/w/t/data/{write}-0.parquet"),
    ] {
        assert_eq!(check(&plain, path.clone()).unwrap_err().kind(), ErrorKind::Denied, "{path}");
    }
    let outside = format!("file:///w/t/data/../../{write}-0.parquet");
    assert_eq!(check(&plain, outside).unwrap_err().kind(), ErrorKind::Invalid);
    let moved = table(&[("write.data.path", "file:///elsewhere/")]);
    check(&moved, format!("file:///elsewhere/{write}-0.parquet")).unwrap();
    check(&moved, format!("file:///w/t/data/{write}-0.parquet")).unwrap_err();
}

#[tokio::test]
async fn a_data_file_that_goes_takes_along_what_deletes_rows_in_it_alone() {
    for version in VERSIONS {
        let mut table = TestTable::create(version, &[]).await;
        let data = [table.staged("a", Some("x"), 0, 10).await, table.staged("b", Some("x"), 10, 5).await];
        table.append(&data).await;
        let deletes = match version {
            FormatVersion::V3 => [
                staged_vector(&table, "da", &data[0], 2).await,
                staged_vector(&table, "db", &data[1], 3).await,
            ],
            _ => [
                staged_positions(&table, "da", &data[0], 2).await,
                staged_positions(&table, "db", &data[1], 3).await,
            ],
        };
        table.overwrite(&deletes, &[]).await.unwrap();
        let new = [table.staged("c", Some("x"), 2, 8).await];
        let snapshot = table.overwrite(&new, &[removed(&data[0])]).await.unwrap().snapshot;
        let said = summary(&snapshot);
        assert_eq!((said["total-delete-files"], said["total-position-deletes"]), ("1", "3"));
        assert_eq!((said["removed-delete-files"], said["removed-position-deletes"]), ("1", "2"));
        let of_kind =
            if version == FormatVersion::V3 { "removed-dvs" } else { "removed-position-delete-files" };
        assert_eq!(said[of_kind], "1");
        let files = live(&table).await;
        assert!(!files.contains_key(&deletes[0].path) && files.contains_key(&deletes[1].path));
        assert_sound(&table).await;
        // Named too, which is as good.
        table.overwrite(&[], &[removed(&data[1]), removed(&deletes[1])]).await.unwrap();
        assert_eq!(live(&table).await.len(), 1);
        assert_sound(&table).await;
    }
}

#[tokio::test]
async fn a_second_vector_on_one_data_file_is_refused() {
    let mut table = TestTable::create(FormatVersion::V3, &[]).await;
    let data = [table.staged("a", Some("x"), 0, 10).await];
    table.append(&data).await;
    let one = staged_vector(&table, "v1", &data[0], 2).await;
    table.overwrite(std::slice::from_ref(&one), &[]).await.unwrap();
    let two = staged_vector(&table, "v2", &data[0], 3).await;
    let error = table.overwrite(std::slice::from_ref(&two), &[]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    let three = staged_vector(&table, "v3", &data[0], 4).await;
    let error = table.overwrite(&[two.clone(), three], &[removed(&one)]).await.unwrap_err();
    assert!(error.to_string().contains("two deletion vectors"), "{error}");
    table.overwrite(&[two], &[removed(&one)]).await.unwrap();
    assert_sound(&table).await;
}

#[tokio::test]
async fn a_rewrite_keeps_the_sequence_number_that_it_is_given_and_adds_no_rows() {
    for version in VERSIONS {
        // Merged at once, so that the number has to survive that too.
        let mut table = TestTable::create(version, &[("commit.manifest.min-count-to-merge", "2")]).await;
        let data = [table.staged("a", Some("x"), 0, 10).await, table.staged("b", Some("x"), 10, 5).await];
        table.append(&data).await;
        let other = [table.staged("o", Some("y"), 20, 5).await];
        table.append(&other).await;
        let joined = [table.staged("c", Some("x"), 0, 15).await];
        let gone = [removed(&data[0]), removed(&data[1])];
        let request = SnapshotRequest {
            removed: &gone,
            data_sequence_number: Some(1),
            ..table.request(Operation::Replace, &joined)
        };
        let produced = produce(&table.storage, request).await.unwrap();
        assert_eq!(produced.snapshot.sequence_number(), 3);
        table.commit(produced).await;
        let files = live(&table).await;
        let entry = &files[&joined[0].path];
        assert_eq!((entry.sequence_number, entry.file_sequence_number), (1, Some(3)), "{version}");
        assert_eq!(summary(table.document.metadata().current_snapshot().unwrap())["total-records"], "20");
        assert_sound(&table).await;
        // And again by a later merge.
        let more = [table.staged("d", Some("x"), 30, 1).await];
        table.append(&more).await;
        assert_eq!(live(&table).await[&joined[0].path].sequence_number, 1);
        assert_sound(&table).await;
        let many = [table.staged("e", Some("x"), 0, 16).await];
        let gone = [removed(&joined[0])];
        let request = SnapshotRequest { removed: &gone, ..table.request(Operation::Replace, &many) };
        let error = prepare(&table.storage, request).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
    }
}

#[test]
fn operations_are_named_as_java_names_them() {
    let data = StagedFile::data("a", 0, vec![]);
    let deletes = StagedFile { content: FileContent::PositionDeletes, ..data.clone() };
    let gone = [RemovedFile::data("b")];
    for (added, removed, expected) in [
        (vec![data.clone()], &[][..], Operation::Append),
        (vec![deletes.clone()], &[], Operation::Delete),
        (vec![], &gone, Operation::Delete),
        (vec![], &[], Operation::Delete),
        (vec![deletes.clone()], &gone, Operation::Delete),
        (vec![data.clone(), deletes], &[], Operation::Overwrite),
        (vec![data], &gone, Operation::Overwrite),
    ] {
        assert_eq!(operation_of(&added, removed), expected);
    }
}

/// Whoever asks for a history reads what others have written. What lies elsewhere is not read, nor taken from the cache.
#[tokio::test]
async fn a_history_that_lies_elsewhere_is_not_read() {
    let mut table = TestTable::create(FormatVersion::V2, &[]).await;
    let file = [table.staged("a", Some("x"), 0, 10).await];
    table.append(&file).await;
    let metadata = table.document.metadata();
    let request = HistoryRequest { metadata, reference: "main", base: None, added_data: None };
    let snapshot = metadata.current_snapshot().unwrap();
    let paths = || BTreeSet::from([file[0].path.as_str()]);
    assert!(
        matches!(History::load(&table.storage, request).await, Ok(History::Since(since)) if since.len() == 1)
    );
    assert_eq!(locate_data_files(&table.storage, metadata, snapshot, paths()).await.unwrap().len(), 1);
    let elsewhere = table.storage.clone().within(&Policy::new("file:///elsewhere", &[]).unwrap());
    let denied = History::load(&elsewhere, request).await.unwrap_err();
    assert_eq!(denied.kind(), ErrorKind::Denied);
    let denied = locate_data_files(&elsewhere, metadata, snapshot, paths()).await.unwrap_err();
    assert_eq!(denied.kind(), ErrorKind::Denied);
}
