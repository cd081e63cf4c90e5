//! Tables whose rows other engines deleted: position deletes, deletion vectors, equality deletes.

use icecap_conformance::canonical::{Rows, columns_of, difference};
use icecap_conformance::reader::Foreign;
use icecap_conformance::stack::Warehouse;
use serde_json::{Value, json};

use crate::compare::{everyone_agrees, foreign_reads, invariants_hold};
use crate::reader;

/// Runs statements in Spark; the last one's rows.
pub fn spark(warehouse: &Warehouse, statements: &[String]) -> Value {
    let request = json!({"op": "sql", "catalog": warehouse.catalog(), "warehouse": warehouse.path(), "statements": statements});
    reader(Foreign::Spark).call(&request).unwrap()["rows"].clone()
}

/// What Spark does to a table: it deletes and changes rows of two files, some of them twice, and adds rows after that.
pub fn changes(table: &str, partitioned: &str, version: u8, granularity: &str) -> Vec<String> {
    let t = format!("icecap.default.{table}");
    let rows = |from: u32, to: u32| {
        format!(
            "INSERT INTO {t} SELECT /*+ COALESCE(1) */ id, cast(id % 3 as int), concat('s', id) FROM range({from}, {to})"
        )
    };
    vec![
        format!(
            "CREATE TABLE {t} (id bigint, k int, s string) USING iceberg {partitioned} TBLPROPERTIES \
             ('format-version'='{version}', 'write.delete.mode'='merge-on-read', \
             'write.update.mode'='merge-on-read', 'write.delete.granularity'='{granularity}')"
        ),
        rows(0, 300),
        rows(300, 600),
        format!("DELETE FROM {t} WHERE id % 7 = 3"),
        format!("UPDATE {t} SET s = 'changed' WHERE id BETWEEN 100 AND 120"),
        format!("DELETE FROM {t} WHERE id BETWEEN 250 AND 350"),
        rows(100, 105),
        format!("DELETE FROM {t} WHERE id = 599"),
    ]
}

/// Icecap's answers are Spark's: with filters, and where metadata alone would tell another story.
fn queries_agree(warehouse: &Warehouse, table: &str) {
    for query in [
        "SELECT count(*) AS n, min(id) AS low, max(id) AS high, count(s) AS texts FROM",
        "SELECT k AS n, count(*) AS low, sum(id) AS high, max(s) AS texts FROM",
    ] {
        for rest in ["", " WHERE id < 260", " WHERE k = 1", " WHERE s = 'changed' AND id > 110"] {
            let grouped = if query.contains("sum") { " GROUP BY k ORDER BY k" } else { "" };
            let own = warehouse.query(&[&format!("{query} {table}{rest}{grouped}")]).unwrap();
            let texts = |row: &Value| -> Vec<Value> {
                let text = |value: &Value| match value {
                    Value::Null => Value::Null,
                    Value::String(text) => json!(text),
                    other => json!(other.to_string()),
                };
                ["n", "low", "high", "texts"].map(|name| text(&row[name])).to_vec()
            };
            let own: Vec<Vec<Value>> = own.iter().map(texts).collect();
            let theirs = spark(warehouse, &[format!("{query} icecap.default.{table}{rest}{grouped}")]);
            assert_eq!(json!(own), theirs, "{query} {table}{rest}");
        }
    }
}

pub fn explained(warehouse: &Warehouse, table: &str) -> String {
    let lines = warehouse.query(&[&format!("EXPLAIN SELECT * FROM {table}")]).unwrap();
    let lines: Vec<&str> = lines.iter().filter_map(|line| line["plan"].as_str()).collect();
    lines.join("\n")
}

#[test]
fn position_deletes_of_spark_are_applied() {
    let warehouse = Warehouse::new().unwrap();
    warehouse.run(&["SHOW TABLES"]).unwrap().success().unwrap();
    for (table, partitioned, granularity) in [
        ("by_file", "", "file"),
        ("by_partition", "", "partition"),
        ("parted_file", "PARTITIONED BY (k)", "file"),
        ("parted", "PARTITIONED BY (k)", "partition"),
    ] {
        spark(&warehouse, &changes(table, partitioned, 2, granularity));
        let rows = everyone_agrees(&warehouse, &format!("default.{table}"));
        assert!(rows.len() > 300 && rows.len() < 600, "{}", rows.len());
        queries_agree(&warehouse, table);
        let plan = explained(&warehouse, table);
        assert!(plan.contains("position delete file") && plan.contains("deletes="), "{plan}");
    }
    // Rows are written again from a table with deletes.
    warehouse
        .run(&["CREATE TABLE copied WITH (table_type = 'ICEBERG') AS SELECT * FROM parted"])
        .unwrap()
        .success()
        .unwrap();
    let (copied, parted) =
        (warehouse.read("default.copied").unwrap(), warehouse.read("default.parted").unwrap());
    assert_eq!(difference("copied", &copied.rows, "parted", &parted.rows), None);
}

const HIDDEN: &str = "id, _row_id, _last_updated_sequence_number, _spec_id, _pos";

/// The hidden columns, as Icecap and as Spark tell them.
fn hidden_columns_agree(warehouse: &Warehouse, table: &str) {
    let own =
        warehouse.query(&[&format!("SELECT {HIDDEN}, _file FROM {table} ORDER BY id, _pos, _file")]).unwrap();
    let text = |value: &Value| match value {
        Value::Null => Value::Null,
        Value::String(path) => json!(path.trim_start_matches("file:").trim_start_matches('/')),
        other => json!(other.to_string()),
    };
    let names = ["id", "_row_id", "_last_updated_sequence_number", "_spec_id", "_pos", "_file"];
    let own: Vec<Vec<Value>> = own.iter().map(|row| names.map(|name| text(&row[name])).to_vec()).collect();
    let order = "ORDER BY id, _pos, _file";
    let theirs = spark(warehouse, &[format!("SELECT {HIDDEN}, _file FROM icecap.default.{table} {order}")]);
    let theirs: Vec<Vec<Value>> = theirs
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row.as_array().unwrap().iter().map(text).collect())
        .collect();
    assert_eq!(own.len(), theirs.len(), "{table}");
    for (own, theirs) in own.iter().zip(&theirs) {
        assert_eq!(own, theirs, "{table}");
    }
}

#[test]
fn deletion_vectors_of_spark_are_applied_and_row_ids_are_told() {
    let warehouse = Warehouse::new().unwrap();
    warehouse.run(&["SHOW TABLES"]).unwrap().success().unwrap();
    for (table, partitioned) in [("plain", ""), ("parted", "PARTITIONED BY (k)")] {
        spark(&warehouse, &changes(table, partitioned, 3, "file"));
        let rows = everyone_agrees(&warehouse, &format!("default.{table}"));
        assert!(rows.len() > 300 && rows.len() < 600, "{}", rows.len());
        queries_agree(&warehouse, table);
        hidden_columns_agree(&warehouse, table);
        assert!(explained(&warehouse, table).contains("deletion vector"));
    }
    // The struct of a file's partition; a star leaves it out.
    let told =
        warehouse.query(&["SELECT DISTINCT _partition, _partition.k AS k FROM parted ORDER BY k"]).unwrap();
    let expected: Vec<Value> = (0..3).map(|k| json!({"_partition": {"k": k}, "k": k})).collect();
    assert_eq!(told, expected);
    let star = warehouse.query(&["SELECT * FROM parted WHERE _row_id = 1"]).unwrap();
    assert_eq!(star[0].as_object().unwrap().len(), 3, "{star:?}");
}

/// Position deletes from before the upgrade count until a deletion vector takes their place.
#[test]
fn a_table_that_was_upgraded_with_deletes_is_read() {
    let warehouse = Warehouse::new().unwrap();
    warehouse.run(&["SHOW TABLES"]).unwrap().success().unwrap();
    spark(&warehouse, &changes("up", "PARTITIONED BY (k)", 2, "partition"));
    let t = "icecap.default.up";
    spark(&warehouse, &[format!("ALTER TABLE {t} SET TBLPROPERTIES ('format-version'='3')")]);
    let before = warehouse.read("default.up").unwrap().rows;
    foreign_reads(Foreign::Spark, &warehouse.metadata_location("default.up").unwrap(), "default.up", &before);
    let before = before.len();
    spark(&warehouse, &[format!("DELETE FROM {t} WHERE id IN (1, 4)")]);
    assert_eq!(everyone_agrees(&warehouse, "default.up").len(), before - 2);
    let plan = explained(&warehouse, "up");
    assert!(plan.contains("deletion vector") && plan.contains("position delete file"), "{plan}");
    spark(
        &warehouse,
        &[
            format!("ALTER TABLE {t} ADD PARTITION FIELD bucket(2, id)"),
            format!("INSERT INTO {t} VALUES (1000, 1, 'new')"),
            format!("DELETE FROM {t} WHERE k = 2 AND id > 500"),
        ],
    );
    hidden_columns_agree(&warehouse, "up");
    everyone_agrees(&warehouse, "default.up");
    queries_agree(&warehouse, "up");
    let told = warehouse
        .query(&["SELECT _spec_id AS s, _partition AS p FROM up WHERE id IN (0, 1000) ORDER BY id"])
        .unwrap();
    assert_eq!(told[0], json!({"s": 0, "p": {"k": 0, "id_bucket_2": null}}));
    assert_eq!((&told[1]["s"], &told[1]["p"]["k"]), (&json!(1), &json!(1)));
    assert!(told[1]["p"]["id_bucket_2"].is_number());
}

/// Rows by which Iceberg's own library writes equality deletes.
pub fn delete_equal(warehouse: &Warehouse, table: &str, columns: &[&str], rows: Value) {
    let request = json!({"op": "delete_equal", "catalog": warehouse.catalog(), "warehouse": warehouse.path(),
        "table": format!("default.{table}"), "columns": columns, "rows": rows});
    reader(Foreign::Spark).call(&request).unwrap();
}

#[test]
fn equality_deletes_are_applied() {
    let warehouse = Warehouse::new().unwrap();
    warehouse.run(&["SHOW TABLES"]).unwrap().success().unwrap();
    let t = "icecap.default.e";
    spark(
        &warehouse,
        &[
            format!(
                "CREATE TABLE {t} (a int, s string, n int) USING iceberg TBLPROPERTIES ('format-version'='2', 'write.delete.mode'='merge-on-read')"
            ),
            format!(
                "INSERT INTO {t} SELECT /*+ COALESCE(1) */ cast(id as int), if(id % 5 = 0, NULL, concat('s', id % 10)), cast(id % 4 as int) FROM range(100)"
            ),
        ],
    );
    let agree = |left: usize| {
        invariants_hold(&warehouse, "default.e");
        let own: Rows = warehouse.read("default.e").unwrap().rows;
        assert_eq!(own.len(), left);
        let location = warehouse.metadata_location("default.e").unwrap();
        foreign_reads(Foreign::Spark, &location, "default.e", &own);
    };
    delete_equal(&warehouse, "e", &["a"], json!([[1], [2], [777]]));
    agree(98);
    // NULL equals NULL: 20 rows, of which none were deleted before.
    delete_equal(&warehouse, "e", &["s"], json!([[null]]));
    agree(78);
    delete_equal(&warehouse, "e", &["s", "n"], json!([["s3", 3], ["s4", 0], [null, 1]]));
    let left = warehouse.read("default.e").unwrap().rows.len();
    agree(left);
    assert!(left < 78);
    // What comes later is not touched, and a position delete goes beside them.
    spark(
        &warehouse,
        &[
            format!("INSERT INTO {t} VALUES (1, NULL, 9), (2, 's3', 3)"),
            format!("DELETE FROM {t} WHERE a = 6"),
            format!("ALTER TABLE {t} ALTER COLUMN a TYPE bigint"),
            format!("ALTER TABLE {t} RENAME COLUMN s TO label"),
        ],
    );
    agree(left + 1);
    let seen = warehouse.query(&["SELECT a FROM e WHERE a < 3 ORDER BY a"]).unwrap();
    assert_eq!(seen, [json!({"a": 0}), json!({"a": 1}), json!({"a": 2})][1..].to_vec());
    let count = warehouse.query(&["SELECT count(*) AS n, max(a) AS high FROM e"]).unwrap();
    assert_eq!(count, [json!({"n": left + 1, "high": 99})]);
    let some = warehouse.query(&["SELECT n FROM e LIMIT 3"]).unwrap();
    assert_eq!(some.len(), 3);
    assert!(explained(&warehouse, "e").contains("3 equality delete files"));
    // A column that is gone still says which rows are.
    spark(&warehouse, &[format!("ALTER TABLE {t} DROP COLUMN label")]);
    let columns = columns_of(&warehouse.metadata("default.e").unwrap(), None).unwrap();
    assert_eq!(columns.len(), 2);
    assert_eq!(warehouse.read("default.e").unwrap().rows.len(), left + 1);
}
