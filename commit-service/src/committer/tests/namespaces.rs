//! Namespaces through the committer: recorded, told again, and judged in the atomic step.

use std::collections::BTreeMap;

use icecap_table::ErrorKind;
use icecap_table::commit::{
    Begun, Change, CommitClient, CommitOutcome, CommitRequest, StatementKind, TableChange,
};
use icecap_table::id::{TableIdent, WriteId};

use super::{committed, id, rejected, world};
use crate::pointer::{Expect, LedgerCommit, Next, ObjectKind, Publish, Publisher, Swap};
use crate::testing::World;

fn request(write: WriteId, name: &str, change: Change) -> CommitRequest {
    let kind = match change {
        Change::CreateNamespace { .. } => StatementKind::CreateNamespace,
        _ => StatementKind::DropNamespace,
    };
    let levels = name.split('.').map(str::to_owned).collect();
    let change = TableChange {
        ident: TableIdent::new(levels, ""),
        uuid: None,
        reference: "main".to_owned(),
        base: None,
        change,
    };
    CommitRequest { write_id: write, round: 1, kind, changes: vec![change] }
}

fn create(if_not_exists: bool) -> Change {
    let properties = [("comment".to_owned(), "x".to_owned())].into();
    Change::CreateNamespace { properties, if_not_exists }
}

fn drop(if_exists: bool) -> Change {
    Change::DropNamespace { if_exists }
}

async fn send(world: &World, number: u32, name: &str, change: Change) -> icecap_table::Result<CommitOutcome> {
    let service = world.service();
    service.begin(world.begin(id(number))).await.unwrap();
    service.commit(request(id(number), name, change)).await
}

#[tokio::test]
async fn a_namespace_is_made_and_dropped_once_and_each_is_told_again() {
    let (_folder, world) = world().await;
    let made = committed(send(&world, 1, "a.b", create(false)).await.unwrap());
    assert_eq!((made.namespace.join("."), made.name.as_str()), ("a.b".to_owned(), ""));
    assert_eq!(
        world.store.namespace_properties("a.b").await.unwrap(),
        BTreeMap::from([("comment".to_owned(), "x".to_owned())])
    );
    committed(send(&world, 2, "a.b", drop(false)).await.unwrap());
    assert_eq!(world.store.namespaces().await.unwrap(), ["default"]);
    // Its first request again, by both doors: told, not done.
    let service = world.service();
    let Begun::Committed(told) = service.begin(world.begin(id(1))).await.unwrap() else { panic!() };
    assert_eq!(told.tables, std::slice::from_ref(&made));
    assert_eq!(committed(service.commit(request(id(1), "a.b", create(false))).await.unwrap()), made);
    assert_eq!(world.store.namespaces().await.unwrap(), ["default"]);
}

#[tokio::test]
async fn what_does_not_hold_is_said_and_nothing_is_recorded() {
    let (_folder, world) = world().await;
    world.create("t", &[]).await.unwrap();
    assert_eq!(
        rejected(send(&world, 1, "default", create(false)).await.unwrap()),
        "namespace default exists already: say IF NOT EXISTS to go on"
    );
    let error = send(&world, 2, "default", drop(true)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.message().contains("it holds default.t"), "{error}");
    let error = send(&world, 3, "nowhere", drop(false)).await.unwrap_err();
    assert_eq!((error.kind(), error.message()), (ErrorKind::NotFound, "namespace nowhere does not exist"));
    for number in 1..=3 {
        let state = world.service().outcome(id(number)).await.unwrap();
        assert_eq!(state, Some(icecap_table::commit::WriteState::Active { round: 1 }));
    }
    // As good as done: recorded, and the namespace left as it is.
    committed(send(&world, 4, "default", create(true)).await.unwrap());
    committed(send(&world, 5, "nowhere", drop(true)).await.unwrap());
    assert_eq!(world.store.namespace_properties("default").await.unwrap(), BTreeMap::new());

    let mut mixed = request(id(6), "x", create(false));
    mixed.changes.push(world.request(id(6), "t", StatementKind::DropTable, Change::Drop).changes.remove(0));
    let mut table = request(id(6), "x", create(false));
    table.changes[0].ident.name = "t".into();
    world.service().begin(world.begin(id(6))).await.unwrap();
    for wrong in [mixed, table, request(id(6), "a..b", create(false))] {
        assert_eq!(world.service().commit(wrong).await.unwrap_err().kind(), ErrorKind::Invalid);
    }
}

/// The store judges again, in its transaction, what the committer saw before it.
#[tokio::test]
async fn the_swap_itself_holds_its_conditions() {
    let (_folder, world) = world().await;
    world.create("t", &[]).await.unwrap();
    let publish = async |number: u32, name: &str, expect: Expect, next: Next| {
        world.service().begin(world.begin(id(number))).await.unwrap();
        let swap = Swap {
            ident: TableIdent::new(vec![name.to_owned()], ""),
            object: ObjectKind::Namespace,
            expect,
            next,
        };
        let committed =
            icecap_table::commit::Committed { statement: "CREATE_DATABASE".into(), tables: Vec::new() };
        let row = LedgerCommit { write_id: id(number), round: 1, committed };
        world.store.publish(vec![swap], vec![row]).await.unwrap()
    };
    let make = || Next::Namespace(BTreeMap::new());
    for (number, name, expect, next) in [
        (1, "default", Expect::Absent, make()),
        (2, "default", Expect::Present, Next::Gone),
        (3, "nowhere", Expect::Present, Next::Gone),
        (4, "nowhere", Expect::Present, Next::Same),
        (5, "default", Expect::Absent, Next::Same),
    ] {
        assert!(matches!(publish(number, name, expect, next).await, Publish::Lost), "{number}");
        let state = world.service().outcome(id(number)).await.unwrap();
        assert_eq!(state, Some(icecap_table::commit::WriteState::Active { round: 1 }), "{number}");
    }
    assert!(matches!(publish(6, "made", Expect::Absent, make()).await, Publish::Published));
    assert_eq!(world.store.namespaces().await.unwrap(), ["default", "made"]);
}
