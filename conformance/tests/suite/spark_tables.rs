//! Icecap changes rows of tables that Spark wrote and deleted from. Of each table there are two; Spark runs the same
//! statements on the other, and both must hold the same rows, in V3 with the same row ids.

use icecap_conformance::canonical::difference;
use icecap_conformance::reader::Foreign;
use icecap_conformance::stack::Warehouse;
use serde_json::{Value, json};

use crate::compare::{everyone_agrees, foreign_reads, invariants_hold};
use crate::deletes::{changes, delete_equal, spark};

/// What both do; `T` is the table.
const STATEMENTS: [&str; 7] = [
    "DELETE FROM T WHERE id % 11 = 5 OR s = 'changed' AND id > 112",
    "UPDATE T SET s = concat(s, '!'), k = k + 1 WHERE id BETWEEN 90 AND 130",
    "MERGE INTO T AS t USING (SELECT id + 20 AS id, k, s FROM T WHERE id >= 560) AS n ON t.id = n.id \
     WHEN MATCHED AND t.id % 2 = 0 THEN DELETE WHEN MATCHED THEN UPDATE SET s = n.s, k = n.k \
     WHEN NOT MATCHED THEN INSERT (id, k, s) VALUES (n.id, n.k, 'new')",
    "DELETE FROM T WHERE k = 2 AND id < 80",
    "UPDATE T SET id = id + 1000 WHERE id IN (SELECT id FROM T WHERE s = 'new')",
    "MERGE INTO T AS t USING (SELECT 7 AS id UNION ALL SELECT 8) AS n ON t.id = n.id \
     WHEN MATCHED THEN UPDATE SET s = 'seven or eight' WHEN NOT MATCHED BY SOURCE AND t.id % 13 = 1 THEN DELETE",
    "DELETE FROM T WHERE k = 0",
];

fn twins(partitioned: &str, version: u8, granularity: &str, mode: &str) {
    let warehouse = Warehouse::new().unwrap();
    warehouse.run(&["SHOW TABLES"]).unwrap().success().unwrap();
    for table in ["ours", "theirs"] {
        spark(&warehouse, &changes(table, partitioned, version, granularity));
        spark(
            &warehouse,
            &[format!(
                "ALTER TABLE icecap.default.{table} SET TBLPROPERTIES ('write.merge.mode'='{mode}', \
                 'write.delete.mode'='{mode}', 'write.update.mode'='{mode}')"
            )],
        );
    }
    for statement in STATEMENTS {
        let own = statement.replace(" T ", " ours ");
        warehouse.run(&[&own]).unwrap().success().unwrap_or_else(|failure| panic!("{own}: {failure}"));
        spark(&warehouse, &[statement.replace(" T ", " icecap.default.theirs ")]);
        let (ours, theirs) =
            (warehouse.read("default.ours").unwrap().rows, warehouse.read("default.theirs").unwrap().rows);
        if let Some(difference) = difference("Icecap", &ours, "Spark", &theirs) {
            panic!("after {statement}: {difference}");
        }
    }
    invariants_hold(&warehouse, "default.ours");
    let rows = everyone_agrees(&warehouse, "default.ours");
    assert!(rows.len() > 200, "{}", rows.len());
    if version == 3 {
        // Rows that were live at the base; what was inserted has ids of its own.
        let ids = |table: &str| {
            let query =
                format!("SELECT id, _row_id FROM icecap.default.{table} WHERE id < 560 ORDER BY id, _row_id");
            spark(&warehouse, &[query])
        };
        let ours = ids("ours");
        assert!(ours.as_array().is_some_and(|rows| rows.len() > 200), "{ours}");
        assert_eq!(ours, ids("theirs"));
    }
    // And Spark goes on with what Icecap left.
    let t = "icecap.default.ours";
    spark(
        &warehouse,
        &[format!("DELETE FROM {t} WHERE id % 17 = 2"), format!("UPDATE {t} SET s = 'Spark' WHERE id > 500")],
    );
    warehouse.run(&["DELETE FROM ours WHERE s = 'Spark' AND k = 1"]).unwrap().success().unwrap();
    everyone_agrees(&warehouse, "default.ours");
}

#[test]
fn position_deletes_of_spark_go_on() {
    twins("", 2, "file", "merge-on-read");
    twins("PARTITIONED BY (k)", 2, "partition", "merge-on-read");
    twins("PARTITIONED BY (k)", 2, "partition", "copy-on-write");
}

#[test]
fn deletion_vectors_of_spark_go_on() {
    twins("PARTITIONED BY (k)", 3, "file", "merge-on-read");
    twins("", 3, "file", "copy-on-write");
}

#[test]
fn rows_beside_equality_deletes_are_changed() {
    for mode in ["merge-on-read", "copy-on-write"] {
        let warehouse = Warehouse::new().unwrap();
        warehouse.run(&["SHOW TABLES"]).unwrap().success().unwrap();
        let t = "icecap.default.e";
        spark(
            &warehouse,
            &[
                format!(
                    "CREATE TABLE {t} (a int, s string, n int) USING iceberg TBLPROPERTIES ('format-version'='2', \
                     'write.delete.mode'='{mode}', 'write.update.mode'='{mode}', 'write.merge.mode'='{mode}')"
                ),
                format!(
                    "INSERT INTO {t} SELECT /*+ COALESCE(1) */ cast(id as int), concat('s', id % 10), cast(id % 4 as int) FROM range(100)"
                ),
            ],
        );
        delete_equal(&warehouse, "e", &["a"], json!([[1], [2], [3]]));
        delete_equal(&warehouse, "e", &["s", "n"], json!([["s5", 1]]));
        for (statement, rows) in [
            ("DELETE FROM e WHERE a < 10", 6),
            ("UPDATE e SET n = n + 10 WHERE s = 's5'", 5),
            // What was deleted by equality may come back: the deletes are older.
            (
                "MERGE INTO e USING (VALUES (1, 's5'), (2, 's2'), (12, 'twelve')) AS v(a, s) ON e.a = v.a WHEN MATCHED THEN UPDATE SET s = v.s WHEN NOT MATCHED THEN INSERT VALUES (v.a, v.s, 1)",
                3,
            ),
            ("DELETE FROM e WHERE n = 0", 20),
        ] {
            let summary = warehouse.query(&[statement]).unwrap().remove(0);
            let counts = ["rows_inserted", "rows_updated", "rows_deleted"];
            let touched: u64 = counts.iter().filter_map(|key| summary[*key].as_u64()).sum();
            println!("{mode}: {statement}: {touched}");
            assert!(touched > 0, "{summary}");
            if statement != "DELETE FROM e WHERE n = 0" {
                assert_eq!(touched, rows, "{statement}: {summary}");
            }
            invariants_hold(&warehouse, "default.e");
            let own = warehouse.read("default.e").unwrap().rows;
            let location = warehouse.metadata_location("default.e").unwrap();
            foreign_reads(Foreign::Spark, &location, "default.e", &own);
        }
        let left = warehouse.query(&["SELECT count(*) AS n FROM e WHERE a IN (1, 2, 3)"]).unwrap();
        assert_eq!(left[0]["n"], Value::from(2));
    }
}
