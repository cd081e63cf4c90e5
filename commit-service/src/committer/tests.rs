//! The committer through its service, over a real store and real files.

mod faults;
mod model;
mod namespaces;
mod race;
mod random;
mod rows;

use icecap_table::ErrorKind;
use icecap_table::commit::{
    Begun, Change, CommitClient, CommitOutcome, CommitRequest, Committed, CommittedTable, RowCounts,
    StatementKind, WriteState,
};
use icecap_table::id::{TableIdent, WriteId};
use icecap_table::metadata::TableDocument;
use tempfile::TempDir;

use crate::testing::World;

async fn world() -> (TempDir, World) {
    let folder = tempfile::tempdir().unwrap();
    let world = World::open(folder.path()).await.unwrap();
    (folder, world)
}

fn id(number: u32) -> WriteId {
    WriteId::from_token("committer", number, 0)
}

fn committed(outcome: CommitOutcome) -> CommittedTable {
    match outcome {
        CommitOutcome::Committed(Committed { mut tables, .. }) if tables.len() == 1 => tables.remove(0),
        other => panic!("not committed: {other:?}"),
    }
}

fn rejected(outcome: CommitOutcome) -> String {
    match outcome {
        CommitOutcome::Rejected { requirement } => requirement,
        other => panic!("not rejected: {other:?}"),
    }
}

/// The write ids of the table's snapshots, oldest first, and the rows that its head says it has; the whole
/// table having been checked.
async fn history(world: &World, name: &str) -> (Vec<String>, u64) {
    assert_eq!(world.violations(name).await, [] as [&str; 0]);
    let document = world.load(name).await.unwrap().unwrap();
    let metadata = document.metadata();
    let mut snapshots: Vec<_> = metadata.snapshots().collect();
    snapshots.sort_by_key(|snapshot| snapshot.sequence_number());
    let sequence: Vec<i64> = snapshots.iter().map(|snapshot| snapshot.sequence_number()).collect();
    assert_eq!(sequence, (1..=snapshots.len() as i64).collect::<Vec<_>>());
    for pair in snapshots.windows(2) {
        assert_eq!(pair[1].parent_snapshot_id(), Some(pair[0].snapshot_id()));
        assert!(pair[0].timestamp_ms() < pair[1].timestamp_ms());
    }
    let property = |snapshot: &icecap_table::iceberg::spec::SnapshotRef, key: &str| {
        snapshot.summary().additional_properties.get(key).cloned().unwrap_or_default()
    };
    let ids = snapshots.iter().map(|snapshot| property(snapshot, "icecap.write-id")).collect();
    let rows = snapshots.last().map_or(0, |head| property(head, "total-records").parse().unwrap());
    (ids, rows)
}

#[tokio::test]
async fn a_table_is_made_filled_and_dropped_and_each_is_told_again() {
    let (_folder, world) = world().await;
    let service = world.service();
    let document = world.create("t", &[]).await.unwrap();
    let insert = world.append(id(1), "t", &document, &[3, 4]);
    assert_eq!(service.begin(world.begin(id(1))).await.unwrap(), Begun::Active { round: 1 });
    let outcome = committed(service.commit(insert.clone()).await.unwrap());
    let location = world.store_location("t").await.unwrap();
    assert_eq!(
        outcome,
        CommittedTable {
            namespace: vec!["default".into()],
            name: "t".into(),
            snapshot_id: outcome.snapshot_id,
            metadata_location: Some(location.clone()),
            added_rows: 7,
            added_data_files: 2,
            added_bytes: 700,
            added_delete_files: 0,
            removed_data_files: 0,
            rows: RowCounts { inserted: 7, ..RowCounts::default() },
        }
    );
    let now = world.load("t").await.unwrap().unwrap();
    assert_eq!(now.metadata().current_snapshot_id(), outcome.snapshot_id);
    assert!(outcome.snapshot_id.is_some());
    assert_eq!(history(&world, "t").await, (vec![id(1).to_string()], 7));
    assert_eq!(now.metadata().metadata_log().len(), 1);

    // Again, by every door.
    assert_eq!(committed(service.commit(insert.clone()).await.unwrap()), outcome);
    let told = Committed { statement: "INSERT".into(), tables: vec![outcome] };
    assert_eq!(service.begin(world.begin(id(1))).await.unwrap(), Begun::Committed(told.clone()));
    assert_eq!(service.outcome(id(1)).await.unwrap(), Some(WriteState::Committed(told)));
    assert_eq!(world.store_location("t").await.unwrap(), location);

    let drop = world.request(id(2), "t", StatementKind::DropTable, Change::Drop);
    service.begin(world.begin(id(2))).await.unwrap();
    assert_eq!(committed(service.commit(drop.clone()).await.unwrap()).metadata_location, None);
    assert!(world.load("t").await.unwrap().is_none());
    assert_eq!(committed(service.commit(drop).await.unwrap()).metadata_location, None);
    assert_eq!(committed(service.commit(insert).await.unwrap()).added_rows, 7);
}

#[tokio::test]
async fn create_as_select_is_one_metadata_file_with_one_snapshot() {
    let (_folder, world) = world().await;
    let service = world.service();
    for (number, name, rows, snapshot, snapshots) in
        [(1, "full", &[5_u64, 6][..], true, 1), (2, "empty", &[], true, 1), (3, "plain", &[], false, 0)]
    {
        let document = world.document(name, &[]).unwrap();
        let files = world.files(id(number), &document, rows);
        let change = Change::Create { metadata: document.to_bytes().unwrap().to_vec(), files, snapshot };
        let request = world.request(id(number), name, StatementKind::CreateTableAsSelect, change);
        service.begin(world.begin(id(number))).await.unwrap();
        let outcome = committed(service.commit(request).await.unwrap());
        assert_eq!((outcome.added_rows, outcome.snapshot_id.is_some()), (rows.iter().sum(), snapshots == 1));
        let now = world.load(name).await.unwrap().unwrap();
        assert_eq!(now.metadata().uuid(), document.metadata().uuid());
        assert_eq!(now.metadata().snapshots().len(), snapshots);
        assert_eq!(now.metadata().metadata_log().len(), 0);
        assert!(outcome.metadata_location.unwrap().contains("/00000-"));
        assert_eq!(world.stray_metadata(name).await.unwrap(), [] as [&str; 0]);
    }
}

#[tokio::test]
async fn a_write_of_no_files_commits_without_a_swap() {
    let (_folder, world) = world().await;
    let service = world.service();
    let document = world.create("t", &[]).await.unwrap();
    let before = world.store_location("t").await;
    service.begin(world.begin(id(1))).await.unwrap();
    let outcome = committed(service.commit(world.append(id(1), "t", &document, &[])).await.unwrap());
    assert_eq!((outcome.snapshot_id, outcome.added_rows), (None, 0));
    assert_eq!(outcome.metadata_location, before);
    assert_eq!(world.store_location("t").await, before);
    assert!(matches!(service.outcome(id(1)).await.unwrap(), Some(WriteState::Committed(_))));
    assert_eq!(world.stray_metadata("t").await.unwrap(), [] as [&str; 0]);
}

#[tokio::test]
async fn several_changes_of_several_tables_are_one_step() {
    let (_folder, world) = world().await;
    let service = world.service();
    let a = world.create("a", &[]).await.unwrap();
    let b = world.document("b", &[]).unwrap();
    let mut request = world.append(id(1), "a", &a, &[1]);
    let create = Change::Create {
        metadata: b.to_bytes().unwrap().to_vec(),
        files: world.files(id(1), &b, &[2]),
        snapshot: true,
    };
    request.changes.extend(world.request(id(1), "b", StatementKind::Insert, create).changes);
    request.changes.extend(world.append(id(1), "a", &a, &[3]).changes);
    service.begin(world.begin(id(1))).await.unwrap();
    // One of them does not hold: nothing happens, and nothing is left.
    let mut wrong = request.clone();
    wrong.changes.extend(world.request(id(1), "c", StatementKind::Insert, Change::Drop).changes);
    let gone = CommitOutcome::Conflict { why: "table default.c no longer exists".into() };
    assert_eq!(service.commit(wrong).await.unwrap(), gone);
    assert_eq!(world.load("a").await.unwrap().unwrap().metadata().snapshots().len(), 0);
    assert!(world.load("b").await.unwrap().is_none());
    assert_eq!(world.stray_metadata("a").await.unwrap(), [] as [&str; 0]);

    let CommitOutcome::Committed(outcome) = service.commit(request).await.unwrap() else { panic!() };
    assert_eq!(outcome.tables.iter().map(|table| table.added_rows).collect::<Vec<_>>(), [1, 2, 3]);
    let now = world.load("a").await.unwrap().unwrap();
    assert_eq!(history(&world, "a").await, (vec![id(1).to_string(); 2], 4));
    assert_eq!(now.metadata().metadata_log().len(), 1);
    assert_eq!(history(&world, "b").await.1, 2);
}

#[tokio::test]
async fn a_requirement_that_does_not_hold_is_named_and_may_hold_later() {
    let (_folder, world) = world().await;
    let service = world.service();
    let document = world.create("t", &[]).await.unwrap();
    service.begin(world.begin(id(1))).await.unwrap();
    let create = |name: &str| {
        let metadata = world.document(name, &[]).unwrap().to_bytes().unwrap().to_vec();
        let change = Change::Create { metadata, files: vec![], snapshot: false };
        world.request(id(1), name, StatementKind::CreateTable, change)
    };
    let mut nowhere = create("u");
    nowhere.changes[0].ident = TableIdent::new(vec!["nowhere".into()], "u");
    let mut other = world.append(id(1), "t", &document, &[1]);
    other.changes[0].uuid = Some(uuid::Uuid::from_u128(1));
    let mut schema = world.append(id(1), "t", &document, &[1]);
    if let Change::Append { schema_id, .. } = &mut schema.changes[0].change {
        *schema_id = 7;
    }
    let outcome = service.commit(create("t")).await.unwrap();
    assert_eq!(rejected(outcome), "assert-create: table default.t exists by now");
    let error = service.commit(nowhere).await.unwrap_err();
    assert_eq!((error.kind(), error.message()), (ErrorKind::NotFound, "namespace nowhere does not exist"));
    for (request, expected) in [
        (world.append(id(1), "u", &document, &[1]), "table default.u no longer exists"),
        (other, "table default.t was replaced by another of the same name"),
        (schema, "schema 7, which the files were written with, was removed"),
    ] {
        let expected = CommitOutcome::Conflict { why: expected.into() };
        assert_eq!(service.commit(request).await.unwrap(), expected);
    }
    assert_eq!(service.outcome(id(1)).await.unwrap(), Some(WriteState::Active { round: 1 }));
    assert_eq!(committed(service.commit(create("u")).await.unwrap()).name, "u");
}

#[tokio::test]
async fn a_request_that_is_wrong_in_itself_is_an_error_and_leaves_nothing() {
    let (folder, world) = world().await;
    let service = world.service();
    let document = world.create("t", &[]).await.unwrap();
    service.begin(world.begin(id(1))).await.unwrap();
    let good = world.append(id(1), "t", &document, &[1]);
    let with_path = |path: String| {
        let mut request = good.clone();
        let Change::Append { files, .. } = &mut request.changes[0].change else { panic!() };
        files[0].path = path;
        request
    };
    let data = format!("{}/data", document.metadata().location());
    let mut twice = world.append(id(1), "t", &document, &[1, 1]);
    if let Change::Append { files, .. } = &mut twice.changes[0].change {
        files[1].path = files[0].path.clone();
    }
    let mut branch = good.clone();
    branch.changes[0].reference = "audit".into();
    let mut dotted = good.clone();
    dotted.changes[0].ident = TableIdent::new(vec!["a.b".into()], "t");
    let mut outside = world.document("o", &[]).unwrap().tree().clone();
    outside["location"] = "file:///somewhere/else".into();
    let outside =
        Change::Create { metadata: outside.to_string().into_bytes(), files: vec![], snapshot: false };
    let garbage = Change::Create { metadata: b"{".to_vec(), files: vec![], snapshot: false };
    for (request, kind) in [
        (CommitRequest { changes: vec![], ..good.clone() }, ErrorKind::Invalid),
        (with_path(format!("{data}/other-0.parquet")), ErrorKind::Denied),
        (with_path(format!("{data}/{}-x/other.parquet", id(1))), ErrorKind::Denied),
        (with_path(format!("{data}/../{}-0.parquet", id(1))), ErrorKind::Invalid),
        (
            with_path(format!("{}/metadata/{}-0.parquet", document.metadata().location(), id(1))),
            ErrorKind::Denied,
        ),
        (with_path(format!("file:///etc/{}-0.parquet", id(1))), ErrorKind::Denied),
        (twice, ErrorKind::Invalid),
        (branch, ErrorKind::Unsupported),
        (dotted, ErrorKind::Invalid),
        (world.request(id(1), "o", StatementKind::CreateTable, outside), ErrorKind::Denied),
        (world.request(id(1), "o", StatementKind::CreateTable, garbage), ErrorKind::Invalid),
        (CommitRequest { write_id: id(2), ..good.clone() }, ErrorKind::Invalid),
        (CommitRequest { round: 2, ..good.clone() }, ErrorKind::Fenced),
    ] {
        let error = service.commit(request.clone()).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error} for {request:?}");
        assert_eq!(error.applied(), icecap_table::Applied::No);
    }
    assert_eq!(world.stray_metadata("t").await.unwrap(), [] as [&str; 0]);
    assert_eq!(committed(service.commit(good).await.unwrap()).added_rows, 1);
    drop(folder);
}

#[tokio::test]
async fn a_damaged_table_can_be_dropped_by_name() {
    let (_folder, world) = world().await;
    let service = world.service();
    let document = world.create("t", &[]).await.unwrap();
    let location = world.store_location("t").await.unwrap();
    world.storage.delete(&location).await.unwrap();
    world.storage.cache().forget(&location);
    let mut drop = world.request(id(1), "t", StatementKind::DropTable, Change::Drop);
    service.begin(world.begin(id(1))).await.unwrap();
    drop.changes[0].uuid = Some(document.metadata().uuid());
    assert_eq!(world.service().commit(drop.clone()).await.unwrap_err().kind(), ErrorKind::NotFound);
    drop.changes[0].uuid = None;
    committed(world.service().commit(drop).await.unwrap());
    assert_eq!(world.store_location("t").await, None);
    let absent = world.request(id(2), "t", StatementKind::DropTable, Change::Drop);
    service.begin(world.begin(id(2))).await.unwrap();
    let gone = CommitOutcome::Conflict { why: "table default.t no longer exists".into() };
    assert_eq!(service.commit(absent).await.unwrap(), gone);
}

/// The metadata files in a table's metadata folder, by name.
async fn metadata_files(world: &World, document: &TableDocument) -> Vec<String> {
    let all = world.storage.list(&document.metadata_folder()).await.unwrap();
    let name = |location: String| location.rsplit('/').next().unwrap_or_default().to_owned();
    all.into_iter().map(name).filter(|name| name.ends_with(".metadata.json")).collect()
}

#[tokio::test]
async fn metadata_files_that_leave_the_log_are_deleted_where_the_table_asks_for_it() {
    let (_folder, world) = world().await;
    let service = world.service();
    let bounded = ("write.metadata.previous-versions-max", "2");
    let deleting = ("write.metadata.delete-after-commit.enabled", "true");
    let gzip = ("write.metadata.compression-codec", "gzip");
    for (name, properties, kept) in
        [("keeps", &[bounded][..], 6), ("deletes", &[bounded, deleting, gzip], 3), ("all", &[deleting], 6)]
    {
        let document = world.create(name, properties).await.unwrap();
        for _ in 0..5 {
            let write = WriteId::new(world.ids.uuid());
            service.begin(world.begin(write)).await.unwrap();
            committed(service.commit(world.append(write, name, &document, &[1])).await.unwrap());
        }
        let now = world.load(name).await.unwrap().unwrap();
        assert_eq!(now.metadata().metadata_log().len(), kept.min(5).min(if name == "all" { 5 } else { 2 }));
        let files = metadata_files(&world, &document).await;
        assert_eq!(files.len(), kept, "{name}: {files:?}");
        assert!(files.iter().all(|file| file.contains(".gz.") == (name == "deletes")), "{files:?}");
        assert_eq!(history(&world, name).await.1, 5);
        if name != "keeps" {
            assert_eq!(world.stray_metadata(name).await.unwrap(), [] as [&str; 0]);
        }
    }
}
