use std::collections::BTreeMap;
use std::path::PathBuf;

use icecap_table::ErrorKind;
use icecap_table::clock::ManualClock;
use icecap_table::commit::{BeginWrite, Begun, Committed, StatementKind, WriteState};
use icecap_table::id::{TableIdent, WriteId};
use tempfile::TempDir;

use super::*;
use crate::ledger::{Ledger, Owner};
use crate::pointer::{Expect, LedgerCommit, Next, ObjectKind, Pointer, Publish, Publisher, Swap};

struct Place {
    _folder: TempDir,
    path: PathBuf,
    clock: Arc<ManualClock>,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/catalog.db");
        Self { _folder: folder, path, clock: Arc::new(ManualClock::new(1_000_000)) }
    }

    async fn open(&self) -> SqliteStore {
        SqliteStore::open(&self.path, "icecap", self.clock.clone()).await.unwrap()
    }

    fn raw(&self) -> Connection {
        std::fs::create_dir_all(self.path.parent().unwrap()).unwrap();
        Connection::open(&self.path).unwrap()
    }
}

fn table(name: &str) -> TableIdent {
    TableIdent::new(vec!["default".into()], name)
}

fn swap(name: &str, expect: Expect, next: Next) -> Swap {
    Swap { ident: table(name), object: ObjectKind::Table, expect, next }
}

fn at(location: &str) -> Expect {
    Expect::Location(location.into())
}

fn to(location: &str) -> Next {
    Next::Location(location.into())
}

fn id(number: u32) -> WriteId {
    WriteId::from_token("test", number, 0)
}

fn write(number: u32) -> BeginWrite {
    BeginWrite {
        write_id: id(number),
        kind: StatementKind::Insert,
        intent_hash: [7; 32],
        deadline_ms: 9_000_000,
        bases: vec![(uuid::Uuid::nil(), 3)],
        prefixes: vec!["file:///w/t/data".into()],
    }
}

fn committed() -> Committed {
    Committed { statement: "INSERT".into(), tables: vec![] }
}

fn row(number: u32, round: u32) -> LedgerCommit {
    LedgerCommit { write_id: id(number), round, committed: committed() }
}

async fn published(store: &SqliteStore, swaps: Vec<Swap>, ledger: Vec<LedgerCommit>) -> &'static str {
    match store.publish(swaps, ledger).await.unwrap() {
        Publish::Published => "published",
        Publish::Lost => "lost",
        Publish::Refused => "refused",
        Publish::Unknown(error) => panic!("{error}"),
    }
}

async fn location(store: &SqliteStore, name: &str) -> Option<String> {
    store.pointer(&table(name)).await.unwrap().map(|pointer| pointer.location)
}

#[tokio::test]
async fn the_tables_are_icebergs() {
    let place = Place::new();
    let store = place.open().await;
    assert_eq!(
        published(&store, vec![swap("t", Expect::Absent, to("file:///m0"))], vec![]).await,
        "published"
    );
    assert_eq!(
        published(&store, vec![swap("t", at("file:///m0"), to("file:///m1"))], vec![]).await,
        "published"
    );
    let raw = place.raw();
    let columns = |table: &str| -> Vec<(String, String, bool, i32)> {
        let mut statement = raw
            .prepare(&format!("SELECT name, type, \"notnull\", pk FROM pragma_table_info('{table}')"))
            .unwrap();
        let rows = statement.query_map([], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?, r.get(3)?))).unwrap();
        rows.map(Result::unwrap).collect()
    };
    let column = |name: &str, ty: &str, required, key| (name.to_owned(), ty.to_owned(), required, key);
    assert_eq!(
        columns("iceberg_tables"),
        [
            column("catalog_name", "VARCHAR(255)", true, 1),
            column("table_namespace", "VARCHAR(255)", true, 2),
            column("table_name", "VARCHAR(255)", true, 3),
            column("metadata_location", "VARCHAR(1000)", false, 0),
            column("previous_metadata_location", "VARCHAR(1000)", false, 0),
            column("iceberg_type", "VARCHAR(5)", false, 0),
        ]
    );
    assert_eq!(
        columns("iceberg_namespace_properties"),
        [
            column("catalog_name", "VARCHAR(255)", true, 1),
            column("namespace", "VARCHAR(255)", true, 2),
            column("property_key", "VARCHAR(255)", true, 3),
            column("property_value", "VARCHAR(1000)", true, 0),
        ]
    );
    let text = |sql: &str| -> String { raw.query_row(sql, [], |r| r.get(0)).unwrap() };
    assert_eq!(
        text(
            "SELECT concat_ws('|', catalog_name, table_namespace, table_name, metadata_location,
                 previous_metadata_location, iceberg_type) FROM iceberg_tables"
        ),
        "icecap|default|t|file:///m1|file:///m0|TABLE"
    );
    assert_eq!(
        text(
            "SELECT concat_ws('|', catalog_name, namespace, property_key, property_value)
                 FROM iceberg_namespace_properties"
        ),
        "icecap|default|exists|true"
    );
    assert_eq!(text("PRAGMA journal_mode"), "wal");
}

#[tokio::test]
async fn a_swap_happens_only_on_what_it_expects_and_only_whole() {
    let place = Place::new();
    let store = place.open().await;
    assert_eq!(published(&store, vec![swap("a", Expect::Absent, to("m0"))], vec![]).await, "published");
    for wrong in [
        vec![swap("a", Expect::Absent, to("x"))],
        vec![swap("a", at("other"), to("x"))],
        vec![swap("a", at("other"), Next::Gone)],
        vec![swap("a", at("other"), Next::Same)],
        vec![swap("a", Expect::Absent, Next::Same)],
        vec![swap("b", at("m0"), to("x"))],
        vec![swap("b", Expect::Absent, to("x")), swap("a", at("other"), to("x"))],
        vec![Swap { object: ObjectKind::View, ..swap("a", at("m0"), to("x")) }],
        vec![Swap {
            ident: TableIdent::new(vec!["nowhere".into()], "b"),
            ..swap("b", Expect::Absent, to("x"))
        }],
    ] {
        assert_eq!(published(&store, wrong.clone(), vec![]).await, "lost", "{wrong:?}");
    }
    assert_eq!(location(&store, "a").await.as_deref(), Some("m0"));
    assert_eq!(location(&store, "b").await, None);
    assert_eq!(published(&store, vec![swap("a", at("m0"), Next::Same)], vec![]).await, "published");
    assert_eq!(published(&store, vec![swap("b", Expect::Absent, Next::Same)], vec![]).await, "published");
    assert_eq!(published(&store, vec![swap("a", at("m0"), Next::Gone)], vec![]).await, "published");
    assert_eq!(location(&store, "a").await, None);
    let rename = swap("a", at("m0"), Next::RenameTo(table("b")));
    assert_eq!(store.publish(vec![rename], vec![]).await.unwrap_err().kind(), ErrorKind::Unsupported);
}

#[tokio::test]
async fn pointer_and_ledger_change_together_or_not_at_all() {
    let place = Place::new();
    let store = place.open().await;
    assert_eq!(store.begin(write(1), Owner::ThisProcess).await.unwrap(), Begun::Active { round: 1 });
    let create = || vec![swap("t", Expect::Absent, to("m0"))];
    assert_eq!(published(&store, create(), vec![row(2, 1)]).await, "refused");
    assert_eq!(published(&store, create(), vec![row(1, 2)]).await, "refused");
    assert_eq!(published(&store, create(), vec![row(1, 1), row(2, 1)]).await, "refused");
    assert_eq!(location(&store, "t").await, None);
    assert_eq!(published(&store, vec![swap("t", at("m9"), to("m0"))], vec![row(1, 1)]).await, "lost");
    assert_eq!(store.state(id(1)).await.unwrap(), Some(WriteState::Active { round: 1 }));
    assert_eq!(published(&store, create(), vec![row(1, 1)]).await, "published");
    assert_eq!(store.state(id(1)).await.unwrap(), Some(WriteState::Committed(committed())));
    // The same publication, sent again.
    assert_eq!(published(&store, vec![swap("t", at("m0"), to("m1"))], vec![row(1, 1)]).await, "refused");
    assert_eq!(location(&store, "t").await.as_deref(), Some("m0"));
    assert_eq!(store.begin(write(1), Owner::ThisProcess).await.unwrap(), Begun::Committed(committed()));
    assert_eq!(store.abandon(id(1), 1).await.unwrap(), WriteState::Committed(committed()));
    store.heartbeat(id(1), 1, 9_999_999).await.unwrap();
}

#[tokio::test]
async fn a_live_write_is_left_alone_and_a_dead_one_taken_over() {
    let place = Place::new();
    let store = place.open().await;
    store.begin(write(1), Owner::Remote).await.unwrap();
    let busy = store.begin(write(1), Owner::Remote).await.unwrap_err();
    assert_eq!(busy.kind(), ErrorKind::Unavailable);
    assert_eq!(busy.retry_after(), Some(crate::ledger::HEARTBEAT_EVERY));
    // Old heartbeats.
    place.clock.advance_ms(59_000);
    store.heartbeat(id(1), 1, 9_000_000).await.unwrap();
    place.clock.advance_ms(59_000);
    assert_eq!(store.begin(write(1), Owner::Remote).await.unwrap_err().kind(), ErrorKind::Unavailable);
    place.clock.advance_ms(2_000);
    assert_eq!(store.begin(write(1), Owner::Remote).await.unwrap(), Begun::Active { round: 2 });
    // The deadline.
    let soon = BeginWrite { deadline_ms: 1_130_000, ..write(2) };
    store.begin(soon, Owner::Remote).await.unwrap();
    place.clock.advance_ms(30_000);
    assert_eq!(store.begin(write(2), Owner::Remote).await.unwrap(), Begun::Active { round: 2 });
    // The zombie.
    assert_eq!(store.heartbeat(id(1), 1, 9_000_000).await.unwrap_err().kind(), ErrorKind::Fenced);
    assert_eq!(
        published(&store, vec![swap("t", Expect::Absent, to("m0"))], vec![row(1, 1)]).await,
        "refused"
    );
    assert_eq!(store.abandon(id(1), 1).await.unwrap(), WriteState::Active { round: 2 });
    assert_eq!(
        published(&store, vec![swap("t", Expect::Absent, to("m0"))], vec![row(1, 2)]).await,
        "published"
    );
}

#[tokio::test]
async fn a_dead_process_is_seen_at_once() {
    let place = Place::new();
    let crashed = place.open().await;
    let store = place.open().await;
    crashed.begin(write(1), Owner::ThisProcess).await.unwrap();
    assert_eq!(store.begin(write(1), Owner::ThisProcess).await.unwrap_err().kind(), ErrorKind::Unavailable);
    drop(crashed);
    assert_eq!(store.begin(write(1), Owner::ThisProcess).await.unwrap(), Begun::Active { round: 2 });
    assert_eq!(store.begin(write(1), Owner::ThisProcess).await.unwrap_err().kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn fenced_is_for_ever_and_an_id_belongs_to_one_statement() {
    let place = Place::new();
    let store = place.open().await;
    store.begin(write(1), Owner::Remote).await.unwrap();
    let other = BeginWrite { intent_hash: [8; 32], ..write(1) };
    assert_eq!(store.begin(other.clone(), Owner::Remote).await.unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(store.abandon(id(1), 1).await.unwrap(), WriteState::Fenced);
    assert_eq!(store.abandon(id(1), 1).await.unwrap(), WriteState::Fenced);
    assert_eq!(store.begin(other, Owner::Remote).await.unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(store.begin(write(1), Owner::Remote).await.unwrap_err().kind(), ErrorKind::Fenced);
    assert_eq!(store.heartbeat(id(1), 1, 9_000_000).await.unwrap_err().kind(), ErrorKind::Fenced);
    assert_eq!(
        published(&store, vec![swap("t", Expect::Absent, to("m0"))], vec![row(1, 1)]).await,
        "refused"
    );
    // Fencing what never began keeps it from beginning.
    assert_eq!(store.state(id(2)).await.unwrap(), None);
    assert_eq!(store.heartbeat(id(2), 1, 9_000_000).await.unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(store.abandon(id(2), 1).await.unwrap(), WriteState::Fenced);
    assert_eq!(store.begin(write(2), Owner::Remote).await.unwrap_err().kind(), ErrorKind::Fenced);
}

#[tokio::test]
async fn only_the_swap_pays_for_power_cuts() {
    let place = Place::new();
    let store = place.open().await;
    let level = || -> i64 {
        let writer = store.0.writer.lock().unwrap();
        writer.pragma_query_value(None, "synchronous", |row| row.get(0)).unwrap()
    };
    store.begin(write(1), Owner::ThisProcess).await.unwrap();
    assert_eq!(level(), 1);
    published(&store, vec![swap("t", Expect::Absent, to("m0"))], vec![row(1, 1)]).await;
    assert_eq!(level(), 2);
    store.heartbeat(id(1), 1, 1).await.unwrap();
    assert_eq!(level(), 1);
    store.abandon(id(1), 1).await.unwrap();
    assert_eq!(level(), 2);
}

#[tokio::test]
async fn a_newer_file_a_damaged_file_and_a_folder_are_refused_clearly() {
    let place = Place::new();
    drop(place.open().await);
    place.raw().execute("UPDATE icecap_meta SET value = 2 WHERE key = 'schema-version'", []).unwrap();
    let error = SqliteStore::open(&place.path, "icecap", place.clock.clone()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.message().contains("version 2, this build knows up to 1"), "{error}");
    let error = SqliteStore::open(&place.path, "other", place.clock.clone()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);

    let place = Place::new();
    std::fs::create_dir_all(&place.path).unwrap();
    let error = SqliteStore::open(&place.path, "icecap", place.clock.clone()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied);

    let place = Place::new();
    std::fs::create_dir_all(place.path.parent().unwrap()).unwrap();
    std::fs::write(&place.path, vec![b'x'; 5000]).unwrap();
    let error = SqliteStore::open(&place.path, "icecap", place.clock.clone()).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.message()),
        (ErrorKind::Corrupt, "the catalog file cannot be read: it is not a SQLite file")
    );
}

#[tokio::test]
async fn another_engines_file_is_taken_as_it_is() {
    let place = Place::new();
    // Iceberg Java's V0 layout: no type column.
    place
        .raw()
        .execute_batch(
            "CREATE TABLE iceberg_tables (catalog_name VARCHAR(255) NOT NULL, table_namespace VARCHAR(255) NOT NULL,
                 table_name VARCHAR(255) NOT NULL, metadata_location VARCHAR(1000),
                 previous_metadata_location VARCHAR(1000), PRIMARY KEY (catalog_name, table_namespace, table_name));
             INSERT INTO iceberg_tables VALUES ('icecap', 'a.b', 'old', 'file:///old', NULL),
                 ('other', 'default', 'theirs', 'file:///theirs', NULL);",
        )
        .unwrap();
    let store = place.open().await;
    let old = TableIdent::new(vec!["a".into(), "b".into()], "old");
    let expected = Pointer { object: ObjectKind::Table, location: "file:///old".into() };
    assert_eq!(store.pointer(&old).await.unwrap(), Some(expected));
    assert_eq!(location(&store, "theirs").await, None);
    // It has tables, so it is not new and gets no namespace.
    assert_eq!(store.namespaces().await.unwrap(), ["a", "a.b"]);
    assert_eq!(store.tables("a.b").await.unwrap(), ["old"]);
    let next = Swap { ident: old, ..swap("x", at("file:///old"), to("file:///new")) };
    assert_eq!(published(&store, vec![next], vec![]).await, "published");
    place
        .raw()
        .execute_batch("INSERT INTO iceberg_tables VALUES ('icecap', 'a', 'v', 'file:///v', NULL, 'VIEW')")
        .unwrap();
    let view = TableIdent::new(vec!["a".into()], "v");
    assert_eq!(store.pointer(&view).await.unwrap().unwrap().object, ObjectKind::View);
    assert_eq!(store.tables("a").await.unwrap(), [] as [&str; 0]);
}

#[tokio::test]
async fn namespaces_come_and_go() {
    let place = Place::new();
    let store = place.open().await;
    let of = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    };
    assert_eq!(store.namespaces().await.unwrap(), ["default"]);
    store.create_namespace("a.b.c", of(&[("comment", "x"), ("exists", "no")])).await.unwrap();
    assert_eq!(store.namespaces().await.unwrap(), ["a", "a.b", "a.b.c", "default"]);
    assert_eq!(store.namespace_properties("a.b.c").await.unwrap(), of(&[("comment", "x")]));
    assert_eq!(store.namespace_properties("a").await.unwrap(), of(&[]));
    assert_eq!(store.namespace_properties("b").await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(store.create_namespace("a", of(&[])).await.unwrap_err().kind(), ErrorKind::AlreadyExists);
    assert_eq!(store.tables("nowhere").await.unwrap_err().kind(), ErrorKind::NotFound);
    // A name that a pattern would confuse with the other.
    store.create_namespace("a_b", of(&[])).await.unwrap();
    store.create_namespace("axb.c", of(&[])).await.unwrap();
    store.drop_namespace("a_b").await.unwrap();
    let error = store.drop_namespace("a").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert_eq!(error.message(), "namespace a is not empty, it holds a.b.c: drop what is in it first");
    published(&store, vec![swap("t", Expect::Absent, to("m0"))], vec![]).await;
    assert_eq!(store.drop_namespace("default").await.unwrap_err().kind(), ErrorKind::Invalid);
    published(&store, vec![swap("t", at("m0"), Next::Gone)], vec![]).await;
    store.drop_namespace("default").await.unwrap();
    assert_eq!(store.drop_namespace("default").await.unwrap_err().kind(), ErrorKind::NotFound);
    drop(store);
    // It was dropped on purpose.
    assert_eq!(place.open().await.namespaces().await.unwrap(), ["a", "a.b", "a.b.c", "axb", "axb.c"]);
    let other = SqliteStore::open(&place.path, "second", place.clock.clone()).await.unwrap();
    assert_eq!(other.namespaces().await.unwrap(), ["default"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_may_open_a_new_file_at_once() {
    let place = Place::new();
    let opened = (0..16).map(|_| {
        let (path, clock) = (place.path.clone(), place.clock.clone());
        tokio::spawn(async move { SqliteStore::open(path, "icecap", clock).await.map(|_| ()) })
    });
    for one in futures::future::join_all(opened).await {
        one.unwrap().unwrap();
    }
}

#[tokio::test]
async fn active_writes_are_told_with_what_they_read_and_whether_they_live() {
    let place = Place::new();
    let store = place.open().await;
    let base = (uuid::Uuid::from_u128(7), 42);
    let reads = BeginWrite { bases: vec![base], prefixes: vec!["file:///w/t/data".into()], ..write(1) };
    store.begin(reads, Owner::Remote).await.unwrap();
    store.begin(write(2), Owner::Remote).await.unwrap();
    store.begin(write(3), Owner::Remote).await.unwrap();
    store.abandon(id(2), 1).await.unwrap();
    assert_eq!(published(&store, vec![], vec![row(3, 1)]).await, "published");
    let active = store.active().await.unwrap();
    assert_eq!(active.len(), 1);
    assert_eq!((active[0].write_id, active[0].round, active[0].is_alive), (id(1), 1, true));
    assert_eq!(active[0].kind, Some(write(1).kind));
    assert_eq!((&active[0].bases, &active[0].prefixes), (&vec![base], &vec!["file:///w/t/data".to_owned()]));
    place.clock.advance_ms(120_000);
    assert!(!store.active().await.unwrap()[0].is_alive);
}
