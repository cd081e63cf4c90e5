//! What `SHOW` says of a table is what the table is.

use icecap_conformance::reader::Foreign;
use icecap_conformance::stack::Warehouse;
use serde_json::{Value, json};

use crate::reader;

fn shown(warehouse: &Warehouse, table: &str) -> String {
    let rows = warehouse.query(&[&format!("SHOW CREATE TABLE {table}")]).unwrap();
    rows[0]["createtab_stmt"].as_str().unwrap().to_owned()
}

/// What two equal tables have in common: everything but ids and places.
fn essence(metadata: &Value) -> Value {
    let version = &metadata["format-version"];
    let current = |list: &str, id: &str, key: &str| {
        let wanted = metadata[id].clone();
        metadata[list].as_array().unwrap().iter().find(|entry| entry[key] == wanted).unwrap().clone()
    };
    let schema = current("schemas", "current-schema-id", "schema-id");
    let spec = current("partition-specs", "default-spec-id", "spec-id");
    let fields: Vec<Value> = spec["fields"]
        .as_array()
        .unwrap()
        .iter()
        .map(|field| json!([field["source-id"], field["name"], field["transform"]]))
        .collect();
    json!({"version": version, "fields": schema["fields"], "spec": fields, "properties": metadata["properties"]})
}

/// Makes each table again under another name, and compares.
fn made_again(warehouse: &Warehouse, table: &str) {
    let statement = shown(warehouse, table);
    let head = format!("CREATE TABLE default.{table} (");
    assert!(statement.starts_with(&head), "{statement}");
    let other = statement.replacen(&head, "CREATE TABLE \"Again\" (", 1);
    warehouse.run(&[&other]).unwrap().success().unwrap_or_else(|failure| panic!("{other}: {failure}"));
    let (one, two) = (
        warehouse.metadata(&format!("default.{table}")).unwrap(),
        warehouse.metadata("default.Again").unwrap(),
    );
    assert_eq!(essence(&one), essence(&two), "{statement}");
    assert_ne!(one["location"], two["location"]);
    assert_eq!(
        shown(warehouse, "\"Again\"")
            .replacen("default.\"Again\"", &format!("default.{table}"), 1)
            .lines()
            .filter(|line| !line.starts_with("-- its files"))
            .collect::<Vec<_>>(),
        statement.lines().filter(|line| !line.starts_with("-- its files")).collect::<Vec<_>>()
    );
    warehouse.run(&["DROP TABLE \"Again\""]).unwrap().success().unwrap();
}

#[test]
fn the_statement_that_is_shown_makes_an_equal_table() {
    let warehouse = Warehouse::new().unwrap();
    for create in [
        "CREATE TABLE t (id int) TBLPROPERTIES ('table_type'='ICEBERG')",
        "CREATE TABLE t (a boolean NOT NULL COMMENT 'it''s; -- not', b int, c bigint, d float, e double, f date, g time, h timestamp,
         i timestamp with time zone, j string, k uuid, l binary, m decimal(38, 10)) COMMENT 'two\nlines'
         TBLPROPERTIES ('table_type'='ICEBERG', 'write_compression'='snappy', 'Own Key'='v''')",
        "CREATE TABLE t (id bigint, \"Odd \"\"Name\" int, \"select\" string, at timestamp, n timestamp_ns, z timestamptz_ns,
         s struct<a: int, `B c`: array<map<string, struct<x: decimal(3, 1)>>>>, name string)
         USING iceberg PARTITIONED BY (bucket(16, id), truncate(3, name), day(at), \"select\", s.a, identity(\"Odd \"\"Name\"))
         TBLPROPERTIES ('format-version'='3', 'write.metadata.metrics.default'='full')",
        "CREATE TABLE t (id bigint, s struct<a: int>, \"Odd\" string) USING iceberg
         TBLPROPERTIES (sorted_by = ARRAY['truncate(3, \"Odd\") DESC', 's.a', 'bucket(4, id) NULLS LAST'])",
        "CREATE TABLE t (\"select\" int, \"primary\" int, \"check\" int, h timestamp, y date) USING iceberg
         PARTITIONED BY (hour(h), year(y), \"check\")",
    ] {
        warehouse.run(&[create]).unwrap().success().unwrap_or_else(|failure| panic!("{create}: {failure}"));
        made_again(&warehouse, "t");
        warehouse.run(&["DROP TABLE t"]).unwrap().success().unwrap();
    }
}

#[test]
fn what_the_statement_cannot_say_is_named_below_it() {
    let warehouse = Warehouse::new().unwrap();
    warehouse.run(&["SHOW TABLES"]).unwrap().success().unwrap();
    let statements = [
        "CREATE TABLE icecap.default.t (id bigint NOT NULL, ts timestamp_ntz, l array<int>) USING iceberg \
         PARTITIONED BY (days(ts)) TBLPROPERTIES ('format-version'='2')",
        "ALTER TABLE icecap.default.t WRITE ORDERED BY id",
        "ALTER TABLE icecap.default.t SET IDENTIFIER FIELDS id",
        "ALTER TABLE icecap.default.t ADD PARTITION FIELD bucket(8, id) AS shard",
    ];
    let request = json!({"op": "sql", "catalog": warehouse.catalog(), "warehouse": warehouse.path(), "statements": statements});
    reader(Foreign::Spark).call(&request).unwrap();
    let shown = shown(&warehouse, "t");
    for remark in ["the identifier fields", "the partition field bucket[8](id) is called shard"] {
        assert!(shown.contains(&format!("\n-- not said above: {remark}")), "{shown}");
    }
    assert!(shown.contains("\n  sorted_by = ARRAY['id ASC NULLS FIRST']\n"), "{shown}");
    let again = shown.replacen("default.t", "default.again", 1);
    warehouse.run(&[&again]).unwrap().success().unwrap();
}

#[test]
fn partitions_are_shown_with_what_they_hold() {
    let warehouse = Warehouse::new().unwrap();
    let statements = [
        "CREATE TABLE t (id int, ts timestamp, k string, d date, n decimal(10,2)) PARTITIONED BY (month(ts), k, d, n) TBLPROPERTIES ('table_type'='ICEBERG')",
        "INSERT INTO t VALUES (1, TIMESTAMP '2024-02-03 00:00:00', 'a/b', DATE '2024-01-02', 1.5), (2, TIMESTAMP '2024-02-04 00:00:00', 'a/b', DATE '2024-01-02', 1.5)",
        "INSERT INTO t VALUES (3, TIMESTAMP '2024-02-03 00:00:00', 'a/b', DATE '2024-01-02', 1.5), (4, NULL, NULL, NULL, NULL), (5, TIMESTAMP '1969-12-31 00:00:00', '', NULL, -0.05)",
    ];
    warehouse.run(&statements).unwrap().success().unwrap();
    let rows = warehouse.query(&["SHOW PARTITIONS t"]).unwrap();
    let row = |partition: &str| {
        rows.iter().find(|row| row["partition"] == partition).unwrap_or_else(|| panic!("{rows:#?}"))
    };
    assert_eq!(rows.len(), 3);
    assert_eq!(row("ts_month=2024-02/k=a/b/d=2024-01-02/n=1.50")["rows"], 3);
    assert!(row("ts_month=2024-02/k=a/b/d=2024-01-02/n=1.50")["files"].as_i64().unwrap() >= 2);
    assert!(row("ts_month=2024-02/k=a/b/d=2024-01-02/n=1.50")["bytes"].as_i64().unwrap() > 0);
    assert_eq!(row("ts_month=null/k=null/d=null/n=null")["rows"], 1);
    assert_eq!(row("ts_month=1969-12/k=/d=null/n=-0.05")["rows"], 1);
}
