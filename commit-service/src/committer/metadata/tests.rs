use std::collections::HashMap;

use icecap_table::commit::{Change, CommitClient, CommitOutcome, CommitRequest, StatementKind};
use icecap_table::iceberg::spec::{SnapshotReference, SnapshotRetention};
use icecap_table::iceberg::{TableRequirement, TableUpdate};
use icecap_table::id::WriteId;
use icecap_table::metadata::TableDocument;
use icecap_table::{ErrorKind, Result};
use uuid::Uuid;

use crate::testing::World;

async fn world() -> (tempfile::TempDir, World) {
    let folder = tempfile::tempdir().unwrap();
    let world = World::open(folder.path()).await.unwrap();
    (folder, world)
}

fn id(number: u32) -> WriteId {
    WriteId::from_token("metadata", number, 0)
}

fn alter(
    world: &World,
    number: u32,
    document: &TableDocument,
    requirements: Vec<TableRequirement>,
    updates: Vec<TableUpdate>,
) -> CommitRequest {
    let change = Change::Metadata { requirements, updates };
    let mut request = world.request(id(number), "t", StatementKind::AlterTable, change);
    request.changes[0].uuid = Some(document.metadata().uuid());
    request
}

fn set(key: &str, value: &str) -> TableUpdate {
    TableUpdate::SetProperties { updates: HashMap::from([(key.to_owned(), value.to_owned())]) }
}

async fn commit(world: &World, request: CommitRequest) -> Result<CommitOutcome> {
    let service = world.service();
    service.begin(world.begin(request.write_id)).await?;
    service.commit(request).await
}

#[tokio::test]
async fn a_change_of_metadata_makes_a_metadata_file_and_no_snapshot_and_is_told_again() {
    let (_folder, world) = world().await;
    let document = world.create("t", &[]).await.unwrap();
    let before = world.store_location("t").await.unwrap();
    let request = alter(&world, 1, &document, vec![], vec![set("a", "1")]);
    let outcome = commit(&world, request.clone()).await.unwrap();
    let CommitOutcome::Committed(committed) = &outcome else { panic!("{outcome:?}") };
    assert_eq!(committed.statement, "ALTER_TABLE");
    assert_eq!((committed.tables[0].snapshot_id, committed.tables[0].added_data_files), (None, 0));
    let now = world.load("t").await.unwrap().unwrap();
    assert_eq!(now.metadata().properties().get("a").map(String::as_str), Some("1"));
    assert_eq!(now.metadata().snapshots().len(), 0);
    assert_eq!(now.metadata().metadata_log().last().map(|log| log.metadata_file.clone()), Some(before));
    assert!(now.metadata().last_updated_ms() > document.metadata().last_updated_ms());
    assert_eq!(world.service().commit(request).await.unwrap(), outcome);
    assert_eq!(world.violations("t").await, [] as [&str; 0]);

    // Another writer's rows come in between and disturb nobody.
    commit(&world, world.append(id(2), "t", &document, &[3])).await.unwrap();
    let nothing = alter(&world, 3, &document, vec![], vec![]);
    assert!(matches!(commit(&world, nothing).await.unwrap(), CommitOutcome::Committed(_)));
    let unset = TableUpdate::RemoveProperties { removals: vec!["a".into()] };
    commit(&world, alter(&world, 4, &document, vec![], vec![unset])).await.unwrap();
    let now = world.load("t").await.unwrap().unwrap();
    assert!(!now.metadata().properties().contains_key("a"));
    assert_eq!((now.metadata().snapshots().len(), now.metadata().metadata_log().len()), (1, 3));
    assert_eq!(world.violations("t").await, [] as [&str; 0]);
}

#[tokio::test]
async fn a_requirement_that_does_not_hold_is_told_and_changes_nothing() {
    let (_folder, world) = world().await;
    let document = world.create("t", &[]).await.unwrap();
    let before = world.store_location("t").await;
    let last_partition_id = document.metadata().last_partition_id();
    for (number, requirement, name) in [
        (1, TableRequirement::UuidMatch { uuid: Uuid::from_u128(1) }, "assert-table-uuid: "),
        (2, TableRequirement::DefaultSpecIdMatch { default_spec_id: 5 }, "assert-default-spec-id: "),
        (
            3,
            TableRequirement::DefaultSortOrderIdMatch { default_sort_order_id: 5 },
            "assert-default-sort-order-id: ",
        ),
        (
            4,
            TableRequirement::LastAssignedPartitionIdMatch { last_assigned_partition_id: 5 },
            "assert-last-assigned-partition-id: ",
        ),
        (5, TableRequirement::NotExist, "assert-create: "),
    ] {
        let holds =
            TableRequirement::LastAssignedPartitionIdMatch { last_assigned_partition_id: last_partition_id };
        let request = alter(&world, number, &document, vec![holds, requirement], vec![set("a", "1")]);
        match commit(&world, request).await.unwrap() {
            CommitOutcome::Rejected { requirement } => {
                assert!(requirement.starts_with(name), "{requirement}");
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(world.store_location("t").await, before);
    assert_eq!(world.stray_metadata("t").await.unwrap(), [] as [&str; 0]);
}

#[tokio::test]
async fn updates_that_this_change_may_not_have_are_errors() {
    let (_folder, world) = world().await;
    let document = world.create("t", &[]).await.unwrap();
    commit(&world, world.append(id(1), "t", &document, &[3])).await.unwrap();
    let now = world.load("t").await.unwrap().unwrap();
    let snapshot = now.metadata().current_snapshot().unwrap().as_ref().clone();
    for (number, update, kind) in [
        (2, TableUpdate::AddSnapshot { snapshot }, ErrorKind::Invalid),
        (3, TableUpdate::AssignUuid { uuid: Uuid::from_u128(1) }, ErrorKind::Invalid),
        (4, TableUpdate::SetDefaultSpec { spec_id: 7 }, ErrorKind::Invalid),
        (5, TableUpdate::SetLocation { location: "file:///etc".into() }, ErrorKind::Denied),
        (6, set("write.data.path", "file:///etc"), ErrorKind::Denied),
        (7, set("format-version", "3"), ErrorKind::Invalid),
    ] {
        let error = commit(&world, alter(&world, number, &document, vec![], vec![update])).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
    }
}

#[tokio::test]
async fn a_snapshot_that_a_branch_or_tag_names_is_not_removed() {
    let (_folder, world) = world().await;
    let document = world.create("t", &[]).await.unwrap();
    commit(&world, world.append(id(1), "t", &document, &[3])).await.unwrap();
    let first = world.load("t").await.unwrap().unwrap().metadata().current_snapshot_id().unwrap();
    commit(&world, world.append(id(2), "t", &document, &[4])).await.unwrap();
    let second = world.load("t").await.unwrap().unwrap().metadata().current_snapshot_id().unwrap();
    let tag = TableUpdate::SetSnapshotRef {
        ref_name: "kept".into(),
        reference: SnapshotReference::new(first, SnapshotRetention::Tag { max_ref_age_ms: None }),
    };
    let remove = |snapshot| TableUpdate::RemoveSnapshots { snapshot_ids: vec![snapshot] };
    commit(&world, alter(&world, 3, &document, vec![], vec![tag])).await.unwrap();
    for (number, snapshot, name) in [(4, first, "kept"), (5, second, "main")] {
        match commit(&world, alter(&world, number, &document, vec![], vec![remove(snapshot)])).await.unwrap()
        {
            CommitOutcome::Conflict { why } => assert!(why.contains(name), "{why}"),
            other => panic!("{other:?}"),
        }
    }
    let untag = TableUpdate::RemoveSnapshotRef { ref_name: "kept".into() };
    let outcome =
        commit(&world, alter(&world, 6, &document, vec![], vec![untag, remove(first)])).await.unwrap();
    assert!(matches!(outcome, CommitOutcome::Committed(_)), "{outcome:?}");
    let now = world.load("t").await.unwrap().unwrap();
    assert_eq!(now.metadata().snapshots().len(), 1);
    assert_eq!(now.metadata().current_snapshot_id(), Some(second));
    assert_eq!(world.violations("t").await, [] as [&str; 0]);
}
