//! `CALL system.register_table` takes over tables that other engines wrote, as they are.

use std::path::Path;
use std::process::Command;

use icecap_conformance::canonical::difference;
use icecap_conformance::reader::Foreign;
use icecap_conformance::stack::{Warehouse, icecap_binary};
use icecap_table::clock::{IdSource, SystemIds};
use icecap_table::iceberg::spec::Operation;
use icecap_table::id::WriteId;
use icecap_table::metadata::TableDocument;
use icecap_table::snapshot::{SnapshotRequest, produce};
use icecap_table::staged_file::StagedFile;
use icecap_table::storage::Storage;
use serde_json::{Value, json};

use crate::compare::{everyone_agrees, everyone_reads};
use crate::reader;

/// Spark runs statements in a catalog of its own, and says where the last table's metadata is.
fn spark_makes(warehouse: &Warehouse, folder: &Path, statements: &[&str], table: &str) -> String {
    let mut all = vec!["CREATE NAMESPACE IF NOT EXISTS icecap.s".to_owned()];
    all.extend(statements.iter().map(|&statement| statement.to_owned()));
    all.push(format!("SELECT file FROM icecap.{table}.metadata_log_entries ORDER BY timestamp DESC LIMIT 1"));
    let catalog = warehouse.beside().join("spark.db");
    let request = json!({"op": "sql", "catalog": catalog, "warehouse": folder, "statements": all});
    let answer = reader(Foreign::Spark).call(&request).unwrap();
    answer["rows"][0][0].as_str().unwrap().to_owned()
}

const V1: [&str; 4] = [
    "CREATE TABLE icecap.s.v1 (id bigint NOT NULL, name string, ts timestamp_ntz, l array<int>) USING iceberg \
     PARTITIONED BY (bucket(2, id), days(ts)) TBLPROPERTIES ('format-version'='1')",
    "INSERT INTO icecap.s.v1 VALUES (1, 'a', timestamp_ntz'2026-01-02 03:04:05', array(1, 2)), (2, NULL, NULL, NULL)",
    "ALTER TABLE icecap.s.v1 ADD COLUMN later double",
    "INSERT INTO icecap.s.v1 VALUES (3, 'c', timestamp_ntz'1969-12-31 23:59:59', array(), 2.5)",
];

#[test]
fn a_version_1_table_of_spark_is_read_and_written_once_it_is_upgraded() {
    let warehouse = Warehouse::new().unwrap();
    warehouse.run(&["CREATE SCHEMA s"]).unwrap().success().unwrap();
    let location = spark_makes(&warehouse, &warehouse.path().join("theirs"), &V1, "s.v1");
    let call = format!("CALL system.register_table(table => 's.adopted', metadata_file => '{location}')");
    let done = warehouse.query(&[&call]).unwrap();
    assert_eq!(done, [json!({"statement": "CALL", "table": "s.adopted"})]);
    let canonical = format!("file:///{}", location.trim_start_matches("file:").trim_start_matches('/'));
    assert_eq!(warehouse.metadata_location("s.adopted").unwrap(), canonical);
    assert_eq!(warehouse.metadata("s.adopted").unwrap()["format-version"], 1);
    let rows = [
        json!([1, "a", "2026-01-02T03:04:05.000000", [1, 2], null]),
        json!([2, null, null, null, null]),
        json!([3, "c", "1969-12-31T23:59:59.000000", [], 2.5]),
    ];
    everyone_reads(&warehouse, "s.adopted", &rows, |_| None);
    let filtered =
        warehouse.query(&["SELECT id FROM s.adopted WHERE ts < TIMESTAMP '1970-01-01 00:00:00'"]).unwrap();
    assert_eq!(filtered, [json!({"id": 3})]);
    // The history came along.
    let first = warehouse.metadata("s.adopted").unwrap()["snapshot-log"][0]["snapshot-id"].as_i64().unwrap();
    let older = warehouse
        .query(&[&format!("SELECT * FROM s.adopted FOR VERSION AS OF {first} WHERE id = 2")])
        .unwrap();
    assert_eq!(older, [json!({"id": 2, "name": null, "ts": null, "l": null})]);

    let insert = "INSERT INTO s.adopted VALUES (4, 'd', NULL, NULL, NULL)";
    warehouse.run(&[insert]).unwrap().fails_with("unsupported", "format-version").unwrap();
    let upgrade = "ALTER TABLE icecap.s.adopted SET TBLPROPERTIES ('format-version'='2')";
    let request = json!({"op": "sql", "catalog": warehouse.catalog(), "warehouse": warehouse.path(), "statements": [upgrade]});
    reader(Foreign::Spark).call(&request).unwrap();
    warehouse.run(&[insert]).unwrap().success().unwrap();
    let all: Vec<Value> = rows.into_iter().chain([json!([4, "d", null, null, null])]).collect();
    everyone_reads(&warehouse, "s.adopted", &all, |_| None);
    // Spark's own catalog still has the table as it was.
    let theirs = json!({"op": "sql", "catalog": warehouse.beside().join("spark.db"), "warehouse": warehouse.path().join("theirs"),
        "statements": ["SELECT count(*) FROM icecap.s.v1"]});
    assert_eq!(reader(Foreign::Spark).call(&theirs).unwrap()["rows"], json!([["3"]]));
}

#[test]
fn a_table_outside_the_warehouse_needs_leave() {
    let warehouse = Warehouse::new().unwrap();
    warehouse.run(&["SHOW TABLES"]).unwrap().success().unwrap();
    let folder = warehouse.beside().join("elsewhere");
    let statements =
        ["CREATE TABLE icecap.s.t (id bigint) USING iceberg", "INSERT INTO icecap.s.t VALUES (1), (2)"];
    let location = spark_makes(&warehouse, &folder, &statements, "s.t");
    let call = format!("CALL icecap.system.register_table('t', '{location}')");
    warehouse.run(&[&call]).unwrap().fails_with("denied", "--allow-location").unwrap();
    let allowed = |statements: &[&str]| {
        let mut command = warehouse.command().unwrap();
        command.arg("--allow-location").arg(&folder);
        for statement in statements {
            command.args(["-e", statement]);
        }
        let output = command.output().unwrap();
        (output.status.success(), String::from_utf8(output.stdout).unwrap())
    };
    let (done, rows) = allowed(&[&call, "INSERT INTO t VALUES (3)", "SELECT sum(id) AS sum FROM t"]);
    assert!(done);
    assert_eq!(rows.trim(), r#"{"sum":6}"#);
    warehouse.run(&["SELECT * FROM t"]).unwrap().fails_with("denied", "--allow-location").unwrap();
    // A name is taken once, and the same call under a token happens once.
    assert!(!allowed(&[&call]).0);
    warehouse.run(&["DROP TABLE t"]).unwrap();
}

/// A table whose manifest names a file of the machine's: registering it reads no manifest, reading it does.
#[test]
fn a_manifest_that_names_a_file_elsewhere_is_not_followed() {
    let warehouse = Warehouse::new().unwrap();
    warehouse
        .run(&["CREATE TABLE t (id bigint) USING iceberg", "INSERT INTO t VALUES (1)"])
        .unwrap()
        .success()
        .unwrap();
    let location = warehouse.metadata_location("default.t").unwrap();
    let hostile = named_by_a_manifest(&location, "file:///etc/passwd");
    let call = format!("CALL system.register_table('hostile', '{hostile}')");
    warehouse.run(&[&call]).unwrap().success().unwrap();
    // Its data file is none, and has another length.
    warehouse.damages_tables();
    for statement in
        ["SELECT * FROM hostile", "SELECT count(*) FROM hostile", "INSERT INTO t SELECT * FROM hostile"]
    {
        let output = warehouse.run(&[statement]).unwrap();
        output.fails_with("denied", "--allow-location").unwrap();
        output.fails_with("denied", "/etc/passwd").unwrap();
    }
    let mut command = warehouse.command().unwrap();
    command.args(["--allow-location", "/etc", "-e", "SELECT * FROM hostile"]);
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("error[corrupt]") && said.contains("/etc/passwd"), "{said}");
    // Nor does a check tell anything of it.
    let verify = |options: &[&str]| {
        let mut verify = Command::new(icecap_binary().unwrap());
        verify.current_dir(warehouse.beside()).arg("verify").args(options).arg("hostile");
        warehouse.name(&mut verify);
        verify.output().unwrap()
    };
    let output = verify(&["--metadata-only"]);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        said.contains("/etc/passwd cannot be looked at: ") && said.contains("--allow-location"),
        "{said}"
    );
    assert!(!output.status.success() && said.contains("has size None"), "{said}");
    let output = verify(&[]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        !output.status.success() && said.contains("error[denied]") && said.contains("/etc/passwd"),
        "{said}"
    );
    // Who reads the rest is not held up by it.
    assert_eq!(warehouse.query(&["SELECT id FROM hostile WHERE id = 1"]).unwrap(), [json!({"id": 1})]);
}

/// A metadata file like the one at `location`, with a snapshot more, which has a data file of that name.
fn named_by_a_manifest(location: &str, path: &str) -> String {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let storage = Storage::local();
        let document = TableDocument::load(&storage, location).await.unwrap();
        let mut file = StagedFile::data(path, 0, Vec::new());
        file.record_count = 1;
        file.file_size_bytes = 100;
        file.lower_bounds.insert(1, 7_i64.to_le_bytes().to_vec());
        file.upper_bounds.insert(1, 7_i64.to_le_bytes().to_vec());
        let metadata = document.metadata();
        let request = SnapshotRequest {
            document: &document,
            write_id: WriteId::from_token("hostile", 0, 0),
            step: "0",
            reference: "main",
            schema_id: metadata.current_schema_id(),
            operation: Operation::Append,
            added: &[file],
            removed: &[],
            data_sequence_number: None,
            extra_summary: Default::default(),
            now_ms: metadata.last_updated_ms() + 1,
            uuid: SystemIds.uuid(),
        };
        let produced = produce(&storage, request).await.unwrap();
        let next = document.apply(produced.updates, Some(location), metadata.last_updated_ms() + 1).unwrap();
        let made = next.next_location(Some(location), SystemIds.uuid());
        storage.put_new(&made, next.to_bytes().unwrap()).await.unwrap();
        made
    })
}

#[test]
fn a_call_under_a_token_happens_once() {
    let warehouse = Warehouse::new().unwrap();
    let create = "CREATE TABLE own (id int) TBLPROPERTIES ('table_type'='ICEBERG')";
    warehouse.run(&[create, "INSERT INTO own VALUES (1)"]).unwrap().success().unwrap();
    let location = warehouse.metadata_location("default.own").unwrap();
    warehouse.run(&["DROP TABLE own"]).unwrap().success().unwrap();
    let call = format!("CALL system.register_table('back', '{location}')");
    for _ in 0..2 {
        let mut command = warehouse.command().unwrap();
        let output = command.args(["--id", "registered", "-e", &call]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    warehouse.run(&[&call]).unwrap().fails_with("already-exists", "default.back").unwrap();
    let rows = everyone_agrees(&warehouse, "default.back");
    assert_eq!(difference("back", &rows, "own", &warehouse.read("default.back").unwrap().rows), None);
    assert_eq!(rows.len(), 1);
}
