//! `VACUUM` and `system.expire_snapshots`: what goes, what stays, and what must never be touched.

use icecap_commit_service::ledger::{Ledger, Owner};
use icecap_table::ErrorKind;
use icecap_table::commit::{BeginWrite, StatementKind};
use icecap_table::id::WriteId;
use uuid::Uuid;

use crate::lake::Lake;

/// A table whose snapshots are old as soon as they are made.
const STRICT: &str = "CREATE TABLE t (id bigint) TBLPROPERTIES \
     ('table_type'='ICEBERG', 'vacuum_max_snapshot_age_seconds'='0')";

async fn lake_of(inserts: usize) -> Lake {
    let lake = Lake::new().await;
    lake.run(STRICT).await;
    for id in 0..inserts {
        lake.run(&format!("INSERT INTO t VALUES ({id})")).await;
    }
    lake
}

async fn sum(lake: &Lake) -> Vec<String> {
    lake.rows("SELECT count(*), sum(id) FROM t").await
}

fn begun(write_id: WriteId, bases: Vec<(Uuid, i64)>) -> BeginWrite {
    BeginWrite {
        write_id,
        kind: StatementKind::Insert,
        intent_hash: [1; 32],
        deadline_ms: i64::MAX,
        bases,
        prefixes: Vec::new(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn old_snapshots_go_and_rows_stay() {
    let lake = lake_of(6).await;
    assert_eq!(lake.lists(), 6);
    let names = ["snapshots_expired", "manifest_lists_deleted", "data_files_deleted", "files_left"];
    assert_eq!(lake.counted("VACUUM t", &names).await, [5, 5, 0, 0]);
    assert_eq!(lake.lists(), 1);
    assert_eq!(sum(&lake).await, ["6|15"]);
    lake.verify("t").await;
    // Once more: nothing to do, and no commit for it.
    let metadata = lake.files(".metadata.json").len();
    assert_eq!(lake.counted("VACUUM t", &names).await, [0, 0, 0, 0]);
    assert_eq!(lake.files(".metadata.json").len(), metadata);
    lake.run("INSERT INTO t VALUES (100)").await;
    assert_eq!(sum(&lake).await, ["7|115"]);
    lake.verify("t").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_says_nothing_keeps_five_days() {
    let lake = Lake::new().await;
    lake.run("CREATE TABLE t (id bigint); INSERT INTO t VALUES (1); INSERT INTO t VALUES (2)").await;
    assert_eq!(lake.counted("VACUUM t", &["snapshots_expired"]).await, [0]);
    assert_eq!(lake.lists(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn sparks_procedure_takes_a_time_and_a_number() {
    let lake = Lake::new().await;
    lake.run("CREATE TABLE t (id bigint)").await;
    for id in 0..5 {
        lake.run(&format!("INSERT INTO t VALUES ({id})")).await;
    }
    let expired = ["snapshots_expired"];
    let past =
        "CALL system.expire_snapshots(table => 'default.t', older_than => TIMESTAMP '2001-01-01 00:00:00')";
    assert_eq!(lake.counted(past, &expired).await, [0]);
    let future = "TIMESTAMP '2999-01-01 00:00:00'";
    let keeps = format!("CALL system.expire_snapshots('t', {future}, 3)");
    assert_eq!(lake.counted(&keeps, &expired).await, [2]);
    let all = format!("CALL system.expire_snapshots(table => 't', older_than => {future})");
    assert_eq!(lake.counted(&all, &expired).await, [2]);
    assert_eq!(sum(&lake).await, ["5|10"]);
    lake.verify("t").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_snapshot_cannot_be_read_and_one_that_stays_can() {
    let lake = lake_of(3).await;
    lake.run("VACUUM t").await;
    let error = lake.try_run("SELECT * FROM t FOR TIMESTAMP AS OF TIMESTAMP '2020-01-01 00:00:00'").await;
    assert_eq!(error.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(lake.rows("SELECT count(*) FROM t FOR VERSION AS OF 'main'").await, ["3"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_running_write_reads_stays_until_it_ends() {
    let lake = lake_of(2).await;
    let table = lake.engine.verify("t", false).await.unwrap();
    assert!(table.is_sound());
    let (uuid, base) = current(&lake);
    lake.run("INSERT INTO t VALUES (2)").await;
    let ledger = lake.ledger().await;
    let write = WriteId::from_token("reader", 0, 0);
    ledger.begin(begun(write, vec![(uuid, base)]), Owner::Remote).await.unwrap();
    assert_eq!(lake.counted("VACUUM t", &["snapshots_expired"]).await, [1]);
    assert_eq!(lake.rows(&format!("SELECT count(*) FROM t FOR VERSION AS OF {base}")).await, ["2"]);
    ledger.abandon(write, 1).await.unwrap();
    assert_eq!(lake.counted("VACUUM t", &["snapshots_expired"]).await, [1]);
    lake.verify("t").await;
}

/// The table's UUID and current snapshot, from its newest metadata file.
fn current(lake: &Lake) -> (Uuid, i64) {
    let newest = lake.files(".metadata.json").pop().unwrap();
    let text = std::fs::read_to_string(lake.table_folder().join("metadata").join(newest)).unwrap();
    let tree: serde_json::Value = serde_json::from_str(&text).unwrap();
    let uuid = Uuid::try_parse(tree["table-uuid"].as_str().unwrap()).unwrap();
    (uuid, tree["current-snapshot-id"].as_i64().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn orphans_go_when_they_are_old_and_nobodys() {
    let lake = lake_of(2).await;
    let ledger = lake.ledger().await;
    let (running, ended) = (WriteId::from_token("running", 0, 0), WriteId::from_token("ended", 0, 0));
    ledger.begin(begun(running, Vec::new()), Owner::Remote).await.unwrap();
    ledger.begin(begun(ended, Vec::new()), Owner::Remote).await.unwrap();
    ledger.abandon(ended, 1).await.unwrap();
    let of = |write: WriteId| format!("data/{write}-0-0-0-x-0.parquet");
    let old = lake.stray("data/00000-1-foreign.parquet", 25);
    let young = lake.stray("data/00000-2-foreign.parquet", 23);
    let busy = lake.stray(&of(running), 1000);
    let fenced = lake.stray(&of(ended), 1);
    let hint = lake.stray("metadata/version-hint.text", 1000);
    let manifest = lake.stray("metadata/lost-m0.avro", 30);
    let counts = lake.counted("VACUUM t", &["orphans_deleted", "orphans_kept"]).await;
    assert_eq!(counts, [3, 2]);
    for gone in [&old, &fenced, &manifest] {
        assert!(!gone.exists(), "{gone:?}");
    }
    for kept in [&young, &busy, &hint] {
        assert!(kept.exists(), "{kept:?}");
    }
    assert_eq!(sum(&lake).await, ["2|1"]);
    lake.verify("t").await;
    // Spark's procedure looks for none.
    ledger.abandon(running, 1).await.unwrap();
    lake.run("CALL system.expire_snapshots('t')").await;
    assert!(busy.exists());
    assert_eq!(lake.counted("VACUUM t", &["orphans_deleted"]).await, [1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn young_orphans_stay_by_the_tables_age_limit() {
    let lake = Lake::new().await;
    lake.run("CREATE TABLE t (id bigint); INSERT INTO t VALUES (1)").await;
    let stray = lake.stray("data/foreign.parquet", 4 * 24);
    let old = lake.stray("data/foreign-old.parquet", 6 * 24);
    assert_eq!(lake.counted("VACUUM t", &["orphans_deleted", "orphans_kept"]).await, [1, 1]);
    assert!(stray.exists() && !old.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_writes_files_are_orphans_once_it_is_fenced() {
    let lake = lake_of(1).await;
    let ledger = lake.ledger().await;
    let dead = WriteId::from_token("dead", 0, 0);
    ledger.begin(BeginWrite { deadline_ms: 1, ..begun(dead, Vec::new()) }, Owner::Remote).await.unwrap();
    let file = lake.stray(&format!("data/{dead}-0-0-0-x-0.parquet"), 1);
    assert_eq!(lake.counted("VACUUM t", &["orphans_deleted"]).await, [1]);
    assert!(!file.exists());
    // It can never commit what was deleted.
    let again = ledger.begin(begun(dead, Vec::new()), Owner::Remote).await;
    assert_eq!(again.unwrap_err().kind(), ErrorKind::Fenced);
}

#[tokio::test(flavor = "multi_thread")]
async fn shared_files_are_never_deleted() {
    let lake = lake_of(2).await;
    let newest = lake.files(".metadata.json").pop().unwrap();
    let file = lake.table_folder().join("metadata").join(newest);
    lake.run(&format!("CALL system.register_table('other', '{}')", file.display())).await;
    let error = lake.try_run("VACUUM t").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.message().contains("default.other"), "{error}");
    assert_eq!(lake.lists(), 2);
    lake.run("DROP TABLE other").await;
    assert_eq!(lake.counted("VACUUM t", &["snapshots_expired"]).await, [1]);

    let forbids = Lake::new().await;
    forbids
        .run("CREATE TABLE t (id bigint) TBLPROPERTIES ('gc.enabled'='false'); INSERT INTO t VALUES (1)")
        .await;
    assert_eq!(forbids.try_run("VACUUM t").await.unwrap_err().kind(), ErrorKind::Invalid);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_without_rows_and_one_that_is_not_there() {
    let lake = lake_of(0).await;
    assert_eq!(lake.counted("VACUUM t", &["snapshots_expired", "orphans_deleted"]).await, [0, 0]);
    assert_eq!(lake.try_run("VACUUM nobody").await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_upkeep_the_statements_say_so() {
    let lake = lake_of(1).await;
    let plain =
        icecap::engine::Engine::open(icecap::engine::EngineSettings::new(lake.path().to_string_lossy()))
            .await
            .unwrap();
    for sql in ["VACUUM t", "OPTIMIZE t REWRITE DATA USING BIN_PACK", "CALL system.expire_snapshots('t')"] {
        let statement = &icecap::sql::parse_script(sql).unwrap()[0];
        let error = plain.session().run(statement, &icecap::engine::Cancel::default()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{sql}");
    }
}
