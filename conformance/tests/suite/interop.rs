//! Other engines open the same catalog file: they read what Icecap wrote, append, and Icecap goes on from there.

use icecap_conformance::canonical::{Rows, columns_of, difference};
use icecap_conformance::reader::Foreign;
use icecap_conformance::stack::Warehouse;
use serde_json::{Value, json};

use crate::compare::{everyone_agrees, everyone_reads};
use crate::reader;

const CREATE: &str = "CREATE TABLE shared (id bigint, name string, price decimal(9,2), at timestamp) USING iceberg \
    PARTITIONED BY (bucket(4, id)) TBLPROPERTIES ('format-version'='2')";

fn row(id: i64, name: &str) -> Value {
    json!([id, name, "1.50", "2026-01-02T03:04:05.000006"])
}

fn insert(id: i64, name: &str) -> String {
    format!("INSERT INTO shared VALUES ({id}, '{name}', 1.50, TIMESTAMP '2026-01-02 03:04:05.000006')")
}

fn read_by_catalog(warehouse: &Warehouse, foreign: Foreign) -> Rows {
    let rows =
        reader(foreign).read_catalog(&warehouse.catalog(), &warehouse.path(), "default.shared").unwrap();
    let columns = columns_of(&warehouse.metadata("default.shared").unwrap(), None).unwrap();
    Rows::from_arrays(&columns, &rows).unwrap()
}

#[test]
fn pyiceberg_appends_through_the_catalog_file_and_icecap_goes_on() {
    let warehouse = Warehouse::new().unwrap();
    warehouse.run(&[CREATE, &insert(1, "icecap")]).unwrap().success().unwrap();
    let request = json!({"op": "append_catalog", "catalog": warehouse.catalog(), "warehouse": warehouse.path(),
        "table": "default.shared", "rows": [row(2, "pyiceberg ä")]});
    reader(Foreign::PyIceberg).call(&request).unwrap();
    everyone_reads(&warehouse, "default.shared", &[row(1, "icecap"), row(2, "pyiceberg ä")], |_| None);
    warehouse.run(&[&insert(3, "icecap again")]).unwrap().success().unwrap();
    let all = [row(1, "icecap"), row(2, "pyiceberg ä"), row(3, "icecap again")];
    everyone_reads(&warehouse, "default.shared", &all, |_| None);
    reader(Foreign::PyIceberg).call(&request).unwrap();
    assert_eq!(everyone_agrees(&warehouse, "default.shared").len(), 4);
}

#[test]
fn spark_appends_through_the_catalog_file_and_icecap_goes_on() {
    for version in [2, 3] {
        let warehouse = Warehouse::new().unwrap();
        let create = CREATE.replace("'format-version'='2'", &format!("'format-version'='{version}'"));
        warehouse.run(&[&create, &insert(1, "icecap")]).unwrap().success().unwrap();
        let append = "INSERT INTO icecap.default.shared VALUES \
            (2, 'spark ä', 1.50, timestamp_ntz'2026-01-02 03:04:05.000006')";
        let request = json!({"op": "sql", "catalog": warehouse.catalog(), "warehouse": warehouse.path(), "statements": [append]});
        reader(Foreign::Spark).call(&request).unwrap();
        everyone_reads(&warehouse, "default.shared", &[row(1, "icecap"), row(2, "spark ä")], |_| None);
        warehouse.run(&[&insert(3, "icecap again")]).unwrap().success().unwrap();
        reader(Foreign::Spark).call(&request).unwrap();
        let all = [row(1, "icecap"), row(2, "spark ä"), row(3, "icecap again"), row(2, "spark ä")];
        everyone_reads(&warehouse, "default.shared", &all, |_| None);
    }
}

#[test]
fn both_catalog_clients_see_the_table_and_its_rows() {
    let warehouse = Warehouse::new().unwrap();
    warehouse
        .run(&["CREATE DATABASE other", CREATE, &insert(1, "x"), &insert(2, "y")])
        .unwrap()
        .success()
        .unwrap();
    let own = warehouse.read("default.shared").unwrap().rows;
    for foreign in [Foreign::PyIceberg, Foreign::Spark] {
        let request = json!({"op": "list_tables", "catalog": warehouse.catalog(), "warehouse": warehouse.path(), "namespace": "default"});
        assert_eq!(
            reader(foreign).call(&request).unwrap()["tables"],
            json!(["default.shared"]),
            "{}",
            foreign.name()
        );
        let theirs = read_by_catalog(&warehouse, foreign);
        assert_eq!(difference("icecap", &own, foreign.name(), &theirs), None);
    }
}

#[test]
fn a_table_that_pyiceberg_made_in_the_catalog_file_is_read_and_appended_to() {
    let warehouse = Warehouse::new().unwrap();
    warehouse.run(&["SHOW TABLES"]).unwrap().success().unwrap();
    let schema = json!({"type": "struct", "schema-id": 0, "fields": [
        {"id": 1, "name": "id", "required": false, "type": "long"},
        {"id": 2, "name": "v", "required": false, "type": "string"},
    ]});
    let request = json!({"op": "write_table", "catalog": warehouse.catalog(), "warehouse": warehouse.path(),
        "table": "default.theirs", "schema": schema, "format_version": 2, "rows": [[1, "ä"], [2, null]]});
    reader(Foreign::PyIceberg).call(&request).unwrap();
    warehouse.run(&["INSERT INTO theirs VALUES (3, 'ours')"]).unwrap().success().unwrap();
    everyone_reads(
        &warehouse,
        "default.theirs",
        &[json!([1, "ä"]), json!([2, null]), json!([3, "ours"])],
        |_| None,
    );
}
