//! Statements that change rows and lose a race: what they read again, what they leave as it was, and what they say.

use std::path::PathBuf;

use icecap::engine::Races;
use icecap_table::ErrorKind;

use crate::gate::raced;
use crate::lake::Lake;

/// The formats and modes; rows are the same in all.
const LAYOUTS: [(u8, &str); 4] =
    [(2, "merge-on-read"), (2, "copy-on-write"), (3, "merge-on-read"), (3, "copy-on-write")];

/// A table of four files with three rows each: ids from 0, `x` half of the row's place and more.
async fn lake_of(version: u8, mode: &str) -> Lake {
    let lake = Lake::new().await;
    let modes = ["delete", "update", "merge"].map(|kind| format!("'write.{kind}.mode'='{mode}'")).join(", ");
    lake.run(&format!(
        "CREATE TABLE t (id bigint, p string, x double) USING iceberg \
         TBLPROPERTIES ('format-version'='{version}', {modes})"
    ))
    .await;
    for file in 0..4 {
        let row = |row: i64| format!("({}, 'p', {row}.5)", file * 3 + row);
        lake.run(&format!("INSERT INTO t VALUES {}, {}, {}", row(0), row(1), row(2))).await;
    }
    lake
}

async fn all(lake: &Lake) -> Vec<String> {
    lake.rows("SELECT id, p, x FROM t ORDER BY id, p, x").await
}

/// The table's live data files, by what `condition` says of their rows.
async fn files_of(lake: &Lake, condition: &str) -> Vec<PathBuf> {
    let names = lake.rows(&format!("SELECT DISTINCT _file FROM t WHERE {condition}")).await;
    assert!(!names.is_empty(), "no file has {condition}");
    names.into_iter().map(|name| PathBuf::from(name.strip_prefix("file://").unwrap())).collect()
}

/// Takes files away: whoever reads one fails.
fn hide(files: &[PathBuf]) {
    for file in files {
        std::fs::rename(file, file.with_extension("hidden")).unwrap();
    }
}

fn show(files: &[PathBuf]) {
    for file in files {
        std::fs::rename(file.with_extension("hidden"), file).unwrap();
    }
}

/// The table is sound, and no file of any write is left over.
async fn nothing_is_wrong(lake: &Lake) {
    lake.verify("t").await;
    lake.age_files(100);
    assert_eq!(lake.counted("VACUUM t", &["orphans_deleted"]).await, [0]);
}

fn races(lost: u64, replanned_files: u64, files: u64) -> Option<Races> {
    Some(Races { lost, replanned_files, files })
}

const STATEMENTS: [&str; 3] = [
    "DELETE FROM t WHERE x = 1.5",
    "UPDATE t SET p = 'u', x = x + id WHERE x = 1.5",
    "MERGE INTO t USING (SELECT 1 AS k UNION ALL SELECT 4 UNION ALL SELECT 100 UNION ALL SELECT 101) s ON t.id = s.k \
     WHEN MATCHED AND t.x = 1.5 THEN UPDATE SET p = 'm' WHEN NOT MATCHED BY SOURCE AND t.x = 2.5 THEN DELETE",
];

/// What a table is like after the statements, one after the other.
async fn serially(version: u8, mode: &str, statements: &[&str]) -> Vec<String> {
    let lake = lake_of(version, mode).await;
    for statement in statements {
        lake.run(statement).await;
    }
    all(&lake).await
}

#[tokio::test(flavor = "multi_thread")]
async fn of_files_that_came_in_only_they_are_read() {
    const INSERT: &str = "INSERT INTO t VALUES (100, 'new', 1.5), (101, 'new', 0.5), (102, 'new', 2.5)";
    for (version, mode) in LAYOUTS {
        for sql in STATEMENTS {
            let lake = lake_of(version, mode).await;
            let expected = serially(version, mode, &[INSERT, sql]).await;
            let mut hidden = Vec::new();
            let summary = raced(&lake.engine, sql, 1, async |_| {
                lake.run(INSERT).await;
                hidden = files_of(&lake, "id < 100").await;
                hide(&hidden);
            })
            .await
            .unwrap_or_else(|error| panic!("{version} {mode} {sql}: {error}"));
            show(&hidden);
            assert_eq!(hidden.len(), 4);
            assert_eq!(summary.races, races(1, 1, 5), "{version} {mode} {sql}");
            let counts = (summary.rows_inserted, summary.rows_updated, summary.rows_deleted);
            match summary.statement.as_str() {
                "DELETE" => assert_eq!(counts, (None, None, Some(5))),
                "UPDATE" => assert_eq!(counts, (None, Some(5), None)),
                // 1, 4 and 100 have a source row and 1.5; nobody with 2.5 has one.
                _ => assert_eq!(counts, (Some(0), Some(3), Some(5))),
            }
            assert_eq!(all(&lake).await, expected, "{version} {mode} {sql}");
            nothing_is_wrong(&lake).await;
        }
    }
}

/// One file with a row of the statement, which another changes: it is read again, and those without such rows are not.
#[tokio::test(flavor = "multi_thread")]
async fn of_files_that_others_changed_only_they_are_read() {
    const UPDATE: &str = "UPDATE t SET x = 9 WHERE id = 0";
    let statements = [
        "DELETE FROM t WHERE (id * 5 + 1) % 60 IN (1, 6)",
        "UPDATE t SET p = 'u' WHERE (id * 5 + 1) % 60 IN (1, 6)",
        "MERGE INTO t USING (SELECT 1 AS k UNION ALL SELECT 2) s ON t.id = s.k \
         WHEN MATCHED AND s.k = 1 THEN UPDATE SET p = 'm' WHEN NOT MATCHED BY SOURCE AND t.id = 0 THEN UPDATE SET p = 'n'",
    ];
    for (version, mode) in LAYOUTS {
        for sql in statements {
            let lake = lake_of(version, mode).await;
            let expected = serially(version, mode, &[UPDATE, sql]).await;
            let mut hidden = Vec::new();
            let summary = raced(&lake.engine, sql, 1, async |_| {
                hidden = files_of(&lake, "id > 2").await;
                lake.run(UPDATE).await;
                hide(&hidden);
            })
            .await
            .unwrap_or_else(|error| panic!("{version} {mode} {sql}: {error}"));
            show(&hidden);
            assert_eq!(hidden.len(), 3);
            // The changed file and the new one; copy-on-write, two in the place of one.
            assert_eq!(summary.races, races(1, 2, 5), "{version} {mode} {sql}");
            assert_eq!(all(&lake).await, expected, "{version} {mode} {sql}");
            nothing_is_wrong(&lake).await;
        }
    }
}

/// Deletes without new rows are dropped file by file; where new rows may be of any file that was touched, all of those
/// are read again.
#[tokio::test(flavor = "multi_thread")]
async fn work_is_dropped_as_far_as_it_may_be_of_a_changed_file() {
    const UPDATE: &str = "UPDATE t SET x = 1.5 WHERE id = 0";
    for (version, mode) in LAYOUTS {
        for (sql, keeps) in
            [(STATEMENTS[0], mode == "merge-on-read"), ("UPDATE t SET p = 'u' WHERE x = 1.5", false)]
        {
            let lake = lake_of(version, mode).await;
            let expected = serially(version, mode, &[UPDATE, sql]).await;
            let mut hidden = Vec::new();
            let summary = raced(&lake.engine, sql, 1, async |_| {
                if keeps {
                    hidden = files_of(&lake, "id > 2").await;
                }
                lake.run(UPDATE).await;
                hide(&hidden);
            })
            .await
            .unwrap();
            show(&hidden);
            let again = if keeps { 2 } else { 5 };
            assert_eq!(summary.races, races(1, again, 5), "{version} {mode} {sql}");
            let rows = summary.rows_deleted.or(summary.rows_updated);
            assert_eq!(rows, Some(5), "{version} {mode} {sql}");
            assert_eq!(all(&lake).await, expected, "{version} {mode} {sql}");
            nothing_is_wrong(&lake).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whole_files_are_decided_again_without_being_read() {
    for (version, mode) in LAYOUTS {
        let lake = lake_of(version, mode).await;
        let mut hidden = Vec::new();
        let summary = raced(&lake.engine, "DELETE FROM t WHERE id >= 3", 1, async |_| {
            lake.run("INSERT INTO t VALUES (100, 'new', 0), (101, 'new', 0)").await;
            hidden = files_of(&lake, "id >= 3").await;
            hide(&hidden);
        })
        .await
        .unwrap();
        show(&hidden);
        assert_eq!((summary.races, summary.rows_deleted), (races(1, 1, 4), Some(11)));
        assert_eq!(lake.rows("SELECT id FROM t ORDER BY id").await, ["0", "1", "2"]);
        nothing_is_wrong(&lake).await;
    }
}

/// Every race is lost: the statement gives up after its last plan, says so, and leaves nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_statement_that_loses_again_and_again_gives_up() {
    for (version, mode) in LAYOUTS {
        for sql in STATEMENTS {
            let lake = lake_of(version, mode).await;
            let mut met = 0;
            let error = raced(&lake.engine, sql, 100, async |time| {
                met = time + 1;
                lake.run(&format!("INSERT INTO t VALUES ({}, 'new', 1.5)", 200 + time)).await;
            })
            .await
            .unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Conflict);
            assert!(error.to_string().contains("lost a race 4 times"), "{error}");
            assert_eq!(met, 4);
            assert_eq!(lake.rows("SELECT count(*), count(DISTINCT p) FROM t").await, ["16|2"]);
            nothing_is_wrong(&lake).await;
        }
    }
}

/// Races that are lost in a row cost what each of them changed.
#[tokio::test(flavor = "multi_thread")]
async fn several_races_in_a_row_are_told_together() {
    for (version, mode) in LAYOUTS {
        let lake = lake_of(version, mode).await;
        let mut hidden = files_of(&lake, "true").await;
        let summary = raced(&lake.engine, STATEMENTS[1], 3, async |time| {
            lake.run(&format!("INSERT INTO t VALUES ({}, 'new', 1.5)", 200 + time)).await;
            match time {
                0 => hide(&hidden),
                _ => {
                    let last = files_of(&lake, &format!("id = {}", 199 + time)).await;
                    hide(&last);
                    hidden.extend(last);
                }
            }
        })
        .await
        .unwrap();
        show(&hidden);
        assert_eq!((summary.races, summary.rows_updated), (races(3, 3, 5 + 6 + 7), Some(7)));
        assert_eq!(lake.rows("SELECT count(*) FROM t WHERE p = 'u'").await, ["7"]);
        nothing_is_wrong(&lake).await;
    }
}

/// What a MERGE inserts follows from the whole table: a key that another inserted is not inserted once more.
#[tokio::test(flavor = "multi_thread")]
async fn a_merge_does_not_insert_a_key_that_another_inserted() {
    const MERGE: &str = "MERGE INTO t USING (SELECT 1 AS k UNION ALL SELECT 100 UNION ALL SELECT 101) s ON t.id = s.k \
        WHEN MATCHED THEN UPDATE SET p = 'm' WHEN NOT MATCHED THEN INSERT VALUES (s.k, 'i', 0)";
    for (version, mode) in LAYOUTS {
        let lake = lake_of(version, mode).await;
        let summary = raced(&lake.engine, MERGE, 1, async |_| {
            lake.run("INSERT INTO t VALUES (100, 'theirs', 7)").await;
        })
        .await
        .unwrap();
        assert_eq!(
            lake.rows("SELECT id, p FROM t WHERE p <> 'p' ORDER BY id").await,
            ["1|m", "100|m", "101|i"]
        );
        assert_eq!((summary.rows_inserted, summary.rows_updated), (Some(1), Some(2)));
        // The file with 1 in it, and the other's: all that may hold one of the keys.
        assert_eq!(summary.races, races(1, 2, 2));
        nothing_is_wrong(&lake).await;
    }
}

/// Nor does it read again what stays, where no row of its source meets a row that changed.
#[tokio::test(flavor = "multi_thread")]
async fn a_merge_that_inserts_reads_again_what_changed() {
    // Bounds of a product are not known: every file may matter.
    const MERGE: &str = "MERGE INTO t USING (SELECT 1 AS k UNION ALL SELECT 4 UNION ALL SELECT 100) s ON t.id * 2 = s.k * 2 \
        WHEN MATCHED AND t.id = 1 THEN UPDATE SET p = 'm' WHEN NOT MATCHED THEN INSERT VALUES (s.k, 'i', 0)";
    let all_but = |ids: &str| format!("NOT (id BETWEEN {ids})");
    let cases = [
        ("INSERT INTO t VALUES (200, 'theirs', 7)", all_but("200 AND 200"), races(1, 1, 5)),
        ("UPDATE t SET x = 9 WHERE id = 6", all_but("6 AND 8"), races(1, 2, 5)),
        ("DELETE FROM t WHERE id >= 9", all_but("9 AND 11"), races(1, 0, 3)),
        // A row of the source had or has a partner there.
        ("DELETE FROM t WHERE id = 4", "false".to_owned(), races(1, 4, 4)),
        ("INSERT INTO t VALUES (100, 'theirs', 7)", "false".to_owned(), races(1, 5, 5)),
        ("UPDATE t SET p = 'theirs' WHERE id = 1", "false".to_owned(), races(1, 5, 5)),
    ];
    for (version, mode) in LAYOUTS {
        for (other, stays, expected_races) in &cases {
            let lake = lake_of(version, mode).await;
            let expected = serially(version, mode, &[other, MERGE]).await;
            let mut hidden = Vec::new();
            let summary = raced(&lake.engine, MERGE, 1, async |_| {
                if stays != "false" {
                    hidden = files_of(&lake, stays).await;
                }
                lake.run(other).await;
                hide(&hidden);
            })
            .await
            .unwrap_or_else(|error| panic!("{version} {mode} {other}: {error}"));
            show(&hidden);
            assert_eq!(&summary.races, expected_races, "{version} {mode} {other}");
            assert_eq!(all(&lake).await, expected, "{version} {mode} {other}");
            nothing_is_wrong(&lake).await;
        }
    }
}

/// A condition that looks at the table itself is judged on the newer one; other tables stay as they were read first.
#[tokio::test(flavor = "multi_thread")]
async fn what_else_is_read_decides_what_can_stay() {
    for (version, mode) in LAYOUTS {
        let lake = lake_of(version, mode).await;
        let sql = "DELETE FROM t WHERE x < (SELECT max(x) FROM t)";
        let summary = raced(&lake.engine, sql, 1, async |_| {
            drop(lake.run("INSERT INTO t VALUES (100, 'new', 99)").await)
        })
        .await
        .unwrap();
        assert_eq!((summary.races, summary.rows_deleted), (races(1, 5, 5), Some(12)));
        assert_eq!(lake.rows("SELECT id FROM t").await, ["100"]);
        nothing_is_wrong(&lake).await;

        let lake = lake_of(version, mode).await;
        lake.run("CREATE TABLE other (k bigint) USING iceberg").await;
        lake.run("INSERT INTO other VALUES (1), (100)").await;
        let sql = "DELETE FROM t WHERE id IN (SELECT k FROM other)";
        let mut hidden = Vec::new();
        let summary = raced(&lake.engine, sql, 1, async |_| {
            lake.run("INSERT INTO other VALUES (2)").await;
            lake.run("INSERT INTO t VALUES (100, 'new', 99)").await;
            hidden = files_of(&lake, "id < 100").await;
            hide(&hidden);
        })
        .await
        .unwrap();
        show(&hidden);
        assert_eq!((summary.races, summary.rows_deleted), (races(1, 1, 5), Some(2)));
        assert_eq!(lake.rows("SELECT count(*), min(id), max(id) FROM t").await, ["11|0|11"]);
        lake.verify("t").await;
    }
}

/// A table whose files are to be written in another way by now is planned whole.
#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_is_written_in_another_way_by_now_is_planned_whole() {
    for (version, mode) in LAYOUTS {
        let lake = lake_of(version, mode).await;
        let summary = raced(&lake.engine, STATEMENTS[1], 1, async |_| {
            lake.run("ALTER TABLE t WRITE ORDERED BY id DESC").await;
            lake.run("INSERT INTO t VALUES (100, 'new', 1.5)").await;
        })
        .await
        .unwrap();
        assert_eq!((summary.races, summary.rows_updated), (races(1, 5, 5), Some(5)));
        assert_eq!(lake.rows("SELECT count(*) FROM t WHERE p = 'u'").await, ["5"]);
        nothing_is_wrong(&lake).await;
    }
}

/// Row ids and sequence numbers are those of one statement after the other.
#[tokio::test(flavor = "multi_thread")]
async fn rows_keep_their_ids_through_a_lost_race() {
    for mode in ["merge-on-read", "copy-on-write"] {
        let lake = lake_of(3, mode).await;
        let ids = "SELECT id, _row_id FROM t WHERE id < 100 ORDER BY id";
        let before = lake.rows(ids).await;
        raced(&lake.engine, STATEMENTS[1], 1, async |_| {
            drop(lake.run("INSERT INTO t VALUES (100, 'n', 1.5)").await)
        })
        .await
        .unwrap();
        assert_eq!(lake.rows(ids).await, before);
        let last = "SELECT count(DISTINCT _last_updated_sequence_number), count(DISTINCT _row_id) FROM t";
        assert_eq!(lake.rows(&format!("{last} WHERE p = 'u'")).await, ["1|5"]);
        nothing_is_wrong(&lake).await;
    }
}
