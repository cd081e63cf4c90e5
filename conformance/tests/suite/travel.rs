//! Time travel: a snapshot is read as it was, with its own schema, and as Spark reads it.

use icecap_conformance::canonical::{Rows, columns_of, difference};
use icecap_conformance::reader::Foreign;
use icecap_conformance::stack::Warehouse;
use serde_json::{Value, json};

use crate::reader;

fn spark(warehouse: &Warehouse, statements: &[&str]) {
    let request = json!({"op": "sql", "catalog": warehouse.catalog(), "warehouse": warehouse.path(), "statements": statements});
    reader(Foreign::Spark).call(&request).unwrap();
}

/// The snapshots of a table, the oldest first: id and time.
fn snapshots(warehouse: &Warehouse, table: &str) -> Vec<(i64, i64)> {
    let log = warehouse.metadata(table).unwrap()["snapshot-log"].clone();
    let entry =
        |entry: &Value| (entry["snapshot-id"].as_i64().unwrap(), entry["timestamp-ms"].as_i64().unwrap());
    log.as_array().unwrap().iter().map(entry).collect()
}

#[test]
fn each_snapshot_is_read_with_its_own_schema_as_spark_reads_it() {
    let warehouse = Warehouse::new().unwrap();
    let create = "CREATE TABLE t (id int, old string) TBLPROPERTIES ('table_type'='ICEBERG')";
    let both = [create, "INSERT INTO t VALUES (1, 'a')", "INSERT INTO t VALUES (2, 'b')"];
    warehouse.run(&both).unwrap().success().unwrap();
    let changes = [
        "ALTER TABLE icecap.default.t CREATE TAG kept",
        "ALTER TABLE icecap.default.t CREATE BRANCH side",
        "ALTER TABLE icecap.default.t CREATE TAG `2024`",
        "ALTER TABLE icecap.default.t ADD COLUMN later bigint",
        "ALTER TABLE icecap.default.t RENAME COLUMN old TO new",
        "INSERT INTO icecap.default.t VALUES (3, 'c', 30)",
    ];
    spark(&warehouse, &changes);
    let log = snapshots(&warehouse, "default.t");
    assert_eq!(log.len(), 3);
    let (first, second, third) = (log[0].0, log[1].0, log[2].0);
    let one = vec![json!({"id": 1, "old": "a"})];
    let two = vec![json!({"id": 1, "old": "a"}), json!({"id": 2, "old": "b"})];
    let side = vec![json!({"id": 1, "new": "a", "later": null}), json!({"id": 2, "new": "b", "later": null})];
    let all = [&side[..], &[json!({"id": 3, "new": "c", "later": 30})]].concat();
    let micros = |millis: i64| format!("FOR TIMESTAMP AS OF to_timestamp_micros({}) ", millis * 1_000);
    for (version, expected) in [
        (format!("FOR VERSION AS OF {first}"), &one),
        (format!("VERSION AS OF '{first}'"), &one),
        (format!("FOR SYSTEM_VERSION AS OF {second}"), &two),
        (format!("FOR VERSION AS OF {third}"), &all),
        ("VERSION AS OF 'kept'".to_owned(), &two),
        ("FOR VERSION AS OF '2024'".to_owned(), &two),
        // A branch has the table's schema: whoever writes it uses that one.
        ("FOR VERSION AS OF 'side'".to_owned(), &side),
        ("FOR VERSION AS OF 'main'".to_owned(), &all),
        (micros(log[0].1), &one),
        (micros(log[1].1 - 1), &one),
        (micros(log[1].1), &two),
        (micros(log[2].1), &all),
    ] {
        let rows = warehouse.query(&[&format!("SELECT * FROM t {version} ORDER BY id")]);
        assert_eq!(&rows.unwrap_or_else(|failure| panic!("{version}: {failure}")), expected, "{version}");
    }
    for (name, expected) in [
        ("t.branch_side", &side),
        ("default.T.Branch_SIDE", &side),
        ("icecap.default.t.\"branch_side\"", &side),
        ("t.tag_kept", &two),
        ("t.`tag_2024`", &two),
        ("t.branch_main", &all),
    ] {
        let rows = warehouse.query(&[&format!("SELECT * FROM {name} ORDER BY id")]);
        assert_eq!(&rows.unwrap_or_else(|failure| panic!("{name}: {failure}")), expected, "{name}");
    }
    // Each kind under its own prefix, and the message says what there is.
    for name in ["t.branch_kept", "t.tag_side"] {
        let output = warehouse.run(&[&format!("SELECT * FROM {name}")]).unwrap();
        for reference in ["it has tag_2024", "tag_kept", "branch_main", "branch_side"] {
            output.fails_with("not-found", reference).unwrap();
        }
    }
    for id in [first, second, third] {
        let metadata = warehouse.metadata("default.t").unwrap();
        let columns = columns_of(&metadata, Some(id)).unwrap();
        let theirs = reader(Foreign::Spark)
            .read(&warehouse.metadata_location("default.t").unwrap(), Some(id))
            .unwrap();
        let theirs = Rows::from_arrays(&columns, &theirs).unwrap();
        let ours = warehouse.query(&[&format!("SELECT * FROM t FOR VERSION AS OF {id}")]).unwrap();
        let ours = Rows::from_objects(&columns, &ours).unwrap();
        assert_eq!(difference("icecap", &ours, "spark", &theirs), None);
    }
    // Two versions of one table in one query, with a filter that prunes by the older schema's names.
    let joined = format!(
        "SELECT now.id, now.later, t.old FROM t FOR VERSION AS OF {second} JOIN t AS now ON now.id = t.id WHERE t.old = 'b'"
    );
    assert_eq!(warehouse.query(&[&joined]).unwrap(), [json!({"id": 2, "later": null, "old": "b"})]);
    let gone = warehouse.run(&[&format!("SELECT later FROM t FOR VERSION AS OF {first}")]).unwrap();
    gone.fails_with("invalid", "later").unwrap();
}
