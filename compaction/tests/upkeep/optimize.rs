//! `OPTIMIZE` and `system.rewrite_data_files`: which files become which, and that rows stay what they are.

use std::sync::Arc;

use icecap::engine::{Cancel, Engine, EngineSettings};
use icecap::sql::parse_script;
use icecap_compaction::Compaction;
use icecap_table::ErrorKind;

use crate::lake::Lake;

const OPTIMIZE: &str = "OPTIMIZE t REWRITE DATA USING BIN_PACK";

/// A table of so many files, three rows in each.
async fn lake_of(files: usize, definition: &str) -> Lake {
    let lake = Lake::new().await;
    lake.run(definition).await;
    for file in 0..files {
        let values: Vec<String> =
            (0..3).map(|row| format!("({}, 'p{}', {row}.5)", file * 3 + row, file % 2)).collect();
        lake.run(&format!("INSERT INTO t VALUES {}", values.join(", "))).await;
    }
    lake
}

const PLAIN: &str = "CREATE TABLE t (id bigint, p string, x double)";

async fn all(lake: &Lake) -> Vec<String> {
    lake.rows("SELECT id, p, x FROM t ORDER BY id").await
}

async fn files(lake: &Lake) -> Vec<String> {
    lake.rows("SELECT count(DISTINCT _file) FROM t").await
}

#[tokio::test(flavor = "multi_thread")]
async fn small_files_become_one_and_rows_stay() {
    let lake = lake_of(6, PLAIN).await;
    let before = all(&lake).await;
    let summary = lake.written(OPTIMIZE).await;
    assert_eq!((summary.statement.as_str(), summary.data_files), ("OPTIMIZE", 1));
    assert!(summary.snapshot_id.is_some());
    assert_eq!(files(&lake).await, ["1"]);
    assert_eq!(all(&lake).await, before);
    // In the order in which they were written.
    assert_eq!(lake.rows("SELECT max(abs(_pos - id)) FROM t").await, ["0"]);
    lake.verify("t").await;
    // Once more: nothing to do, and no snapshot.
    let again = lake.written(OPTIMIZE).await;
    assert_eq!((again.data_files, again.snapshot_id, again.table.as_str()), (0, None, "t"));
}

#[tokio::test(flavor = "multi_thread")]
async fn too_few_small_files_stay_as_they_are() {
    let lake = lake_of(4, PLAIN).await;
    assert_eq!(lake.written(OPTIMIZE).await.snapshot_id, None);
    let eager = lake_of(
        2,
        &format!(
            "{PLAIN} TBLPROPERTIES ('table_type'='ICEBERG', \
         'optimize_rewrite_data_file_threshold'='2')"
        ),
    )
    .await;
    assert_eq!(eager.written(OPTIMIZE).await.data_files, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_partition_gets_its_own_file_and_where_chooses_some() {
    let lake = lake_of(12, &format!("{PLAIN} PARTITIONED BY (p)")).await;
    let before = all(&lake).await;
    let some = lake.written(&format!("{OPTIMIZE} WHERE p = 'p1'")).await;
    assert_eq!(some.data_files, 1);
    assert_eq!(
        lake.rows("SELECT p, count(DISTINCT _file) FROM t GROUP BY p ORDER BY p").await,
        ["p0|6", "p1|1"]
    );
    let rest =
        lake.written("CALL system.rewrite_data_files(table => 'default.t', where => 'p IN (''p0'')')").await;
    assert_eq!(rest.data_files, 1);
    assert_eq!(files(&lake).await, ["2"]);
    assert_eq!(all(&lake).await, before);
    lake.verify("t").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_where_that_cannot_choose_files_is_refused() {
    let lake = lake_of(5, PLAIN).await;
    for wrong in ["length(p) = 2", "id IN (SELECT 1)", "id % 2 = 0", "p = 'p0' AND x + id > 3"] {
        let error = lake.try_run(&format!("{OPTIMIZE} WHERE {wrong}")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{wrong}: {error}");
    }
    assert_eq!(lake.written(&format!("{OPTIMIZE} WHERE false")).await.snapshot_id, None);
    assert_eq!(lake.written(&format!("{OPTIMIZE} WHERE id > 1000")).await.snapshot_id, None);
    // Bounds are as good as partitions.
    assert_eq!(lake.written(&format!("{OPTIMIZE} WHERE id >= 0 AND true")).await.data_files, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn targets_and_codecs_are_the_tables() {
    let lake = Lake::new().await;
    lake.run(
        "CREATE TABLE t (id bigint, s string) TBLPROPERTIES ('table_type'='ICEBERG', \
         'write_compression'='gzip', 'write_target_data_file_size_bytes'='60000')",
    )
    .await;
    for part in 0..12 {
        lake.run(&format!(
            "INSERT INTO t SELECT v, encode(sha256(CAST(v AS varchar)), 'hex') FROM (SELECT value + {} AS v FROM \
             generate_series(1, 400))",
            part * 400
        ))
        .await;
    }
    let before = lake.rows("SELECT count(*), sum(id), count(DISTINCT s) FROM t").await;
    let summary = lake.written(OPTIMIZE).await;
    assert!((2..=6).contains(&summary.data_files), "{summary:?}");
    assert_eq!(lake.rows("SELECT count(*), sum(id), count(DISTINCT s) FROM t").await, before);
    lake.verify("t").await;
    assert_eq!(lake.written(OPTIMIZE).await.snapshot_id, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn vacuum_deletes_what_was_rewritten() {
    let lake = lake_of(
        8,
        &format!("{PLAIN} TBLPROPERTIES ('table_type'='ICEBERG', 'vacuum_max_snapshot_age_seconds'='0')"),
    )
    .await;
    let before = all(&lake).await;
    lake.run(OPTIMIZE).await;
    assert_eq!(lake.files(".parquet").len(), 9);
    let names = ["snapshots_expired", "data_files_deleted", "manifest_lists_deleted", "files_left"];
    assert_eq!(lake.counted("VACUUM t", &names).await, [8, 8, 8, 0]);
    assert_eq!(lake.files(".parquet").len(), 1);
    assert_eq!(all(&lake).await, before);
    lake.verify("t").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_token_is_answered_with_what_was_done() {
    let lake = lake_of(5, PLAIN).await;
    let answer = || async {
        let settings = EngineSettings {
            token: Some("once".into()),
            ..EngineSettings::new(lake.path().to_string_lossy())
        };
        let engine = Engine::open(settings).await.unwrap().with_maintenance(Arc::new(Compaction));
        let statement = &parse_script(OPTIMIZE).unwrap()[0];
        match engine.session().run(statement, &Cancel::default()).await.unwrap() {
            icecap::engine::StatementResult::Written(summary) => (summary.snapshot_id, summary.data_files),
            other => panic!("{other:?}"),
        }
    };
    let first = answer().await;
    assert!(first.0.is_some());
    assert_eq!(answer().await, first);
    assert_eq!(files(&lake).await, ["1"]);
}

/// Appends go on, and others compact, while a table is compacted: nobody loses anything.
#[tokio::test(flavor = "multi_thread")]
async fn writers_and_compactions_at_once_lose_nothing() {
    const ROUNDS: usize = 6;
    let lake = lake_of(
        6,
        &format!(
            "{PLAIN} TBLPROPERTIES ('table_type'='ICEBERG', \
         'optimize_rewrite_data_file_threshold'='2')"
        ),
    )
    .await;
    let other = |sql: &'static str| {
        let settings = EngineSettings::new(lake.path().to_string_lossy());
        tokio::spawn(async move {
            let engine = Engine::open(settings).await.unwrap().with_maintenance(Arc::new(Compaction));
            let mut lost = 0;
            for _ in 0..ROUNDS {
                match engine.session().run(&parse_script(sql).unwrap()[0], &Cancel::default()).await {
                    Ok(_) => {}
                    Err(error) if error.kind() == ErrorKind::Conflict => lost += 1,
                    Err(error) => panic!("{sql}: {error}"),
                }
            }
            lost
        })
    };
    let (append, one, two) = (other("INSERT INTO t VALUES (1000, 'a', 1)"), other(OPTIMIZE), other(OPTIMIZE));
    assert_eq!(append.await.unwrap(), 0);
    one.await.unwrap();
    two.await.unwrap();
    assert_eq!(
        lake.rows("SELECT count(*), count(DISTINCT id) FROM t").await,
        [format!("{}|19", 18 + ROUNDS)]
    );
    lake.verify("t").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn children_rewrite_as_this_process_does() {
    let lake = Lake::with(|settings| settings.tasks = Some(4)).await;
    lake.run(&format!("{PLAIN} PARTITIONED BY (p)")).await;
    for file in 0..10 {
        lake.run(&format!("INSERT INTO t VALUES ({file}, 'p{}', 0.5)", file % 2)).await;
    }
    assert_eq!(lake.written(OPTIMIZE).await.data_files, 2);
    assert_eq!(lake.rows("SELECT count(*), sum(id), count(DISTINCT _file) FROM t").await, ["10|45|2"]);
    lake.verify("t").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_table_and_one_that_is_not_there() {
    let lake = lake_of(0, PLAIN).await;
    assert_eq!(lake.written(OPTIMIZE).await.snapshot_id, None);
    let error = lake.try_run("OPTIMIZE nobody REWRITE DATA USING BIN_PACK").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

/// A table of six files, a third of whose rows are deleted and another changed, merge-on-read.
async fn lake_of_changes(version: u8) -> Lake {
    let lake = Lake::new().await;
    lake.run(&format!("{PLAIN} TBLPROPERTIES ('table_type'='ICEBERG', 'format_version'='{version}')")).await;
    for file in 0..6 {
        let rows = format!("SELECT value + {}, 'p', 0.5 FROM generate_series(0, 29)", file * 30);
        lake.run(&format!("INSERT INTO t {rows}")).await;
    }
    lake.run("DELETE FROM t WHERE id % 3 = 0").await;
    lake.run("UPDATE t SET p = 'changed' WHERE id % 3 = 1").await;
    lake
}

#[tokio::test(flavor = "multi_thread")]
async fn deletes_are_written_out_and_lineage_is_kept() {
    for version in [2, 3] {
        let lake = lake_of_changes(version).await;
        let lineage = "SELECT id, p, _row_id, _last_updated_sequence_number FROM t ORDER BY id";
        let before = lake.rows(lineage).await;
        assert_eq!(before.len(), 120);
        assert_eq!(before[0].contains("NULL"), version == 2, "{}", before[0]);
        lake.written(OPTIMIZE).await;
        assert_eq!(lake.rows(lineage).await, before);
        assert_eq!(files(&lake).await, ["1"]);
        let plan = lake.rows("EXPLAIN SELECT * FROM t").await.join("\n");
        assert!(!plan.contains("deletes="), "{plan}");
        lake.verify("t").await;
        assert_eq!(lake.written(OPTIMIZE).await.snapshot_id, None);
        lake.run("DELETE FROM t WHERE id = 1").await;
        lake.run("CALL system.expire_snapshots('t', TIMESTAMP '2999-01-01 00:00:00')").await;
        assert_eq!(lake.rows("SELECT count(*), min(id) FROM t").await, ["119|2"]);
        lake.verify("t").await;
    }
}

/// Rows are deleted while files are rewritten: whoever commits second plans again, and no deleted row comes back. Deletes
/// without a pause may keep a rewrite from its commit, but not for longer than they last.
#[tokio::test(flavor = "multi_thread")]
async fn deletes_and_compactions_at_once_lose_nothing() {
    for version in [2, 3] {
        let lake = lake_of_changes(version).await;
        let settings = EngineSettings::new(lake.path().to_string_lossy());
        let deleter = tokio::spawn(async move {
            let engine = Engine::open(settings).await.unwrap();
            let mut deleted = Vec::new();
            for id in (1..60).filter(|id| id % 3 != 0) {
                let statement = &parse_script(&format!("DELETE FROM t WHERE id = {id}")).unwrap()[0];
                match engine.session().run(statement, &Cancel::default()).await {
                    Ok(_) => deleted.push(id),
                    Err(error) if error.kind() == ErrorKind::Conflict => {}
                    Err(error) => panic!("{error}"),
                }
            }
            deleted
        });
        while !deleter.is_finished() {
            match lake.try_run(OPTIMIZE).await {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::Conflict => {}
                Err(error) => panic!("{error}"),
            }
            lake.run("INSERT INTO t VALUES (1000, 'x', 0)").await;
        }
        let deleted: Vec<i64> = deleter.await.unwrap();
        assert!(!deleted.is_empty());
        let expected: Vec<String> =
            (0..180).filter(|id| id % 3 != 0 && !deleted.contains(id)).map(|id| id.to_string()).collect();
        for _ in 0..2 {
            let left = lake.rows("SELECT id FROM t WHERE id < 1000 ORDER BY id").await;
            assert_eq!(left, expected, "version {version}");
            lake.verify("t").await;
            lake.run(OPTIMIZE).await;
        }
    }
}
