//! How a table is laid out in files is nobody's business but the writer's: every reader finds the same rows.

use icecap_conformance::reader::Foreign;
use icecap_conformance::stack::Warehouse;
use serde_json::{Value, json};

use crate::compare::{everyone_reads, invariants_hold};
use crate::reader;

fn spark(warehouse: &Warehouse, statements: &[&str]) {
    let request = json!({"op": "sql", "catalog": warehouse.catalog(), "warehouse": warehouse.path(),
        "statements": statements});
    reader(Foreign::Spark).call(&request).unwrap();
}

/// A number in the summary of the newest snapshot.
fn said(warehouse: &Warehouse, table: &str, key: &str) -> i64 {
    let metadata = warehouse.metadata(table).unwrap();
    let snapshots = metadata["snapshots"].as_array().unwrap();
    let newest = snapshots.iter().max_by_key(|snapshot| snapshot["sequence-number"].as_i64()).unwrap();
    newest["summary"][key].as_str().unwrap().parse().unwrap()
}

fn inserts(table: &str, ids: std::ops::Range<i64>) -> Vec<String> {
    ids.map(|id| format!("INSERT INTO {table} VALUES ({id}, 'p{}')", id % 3)).collect()
}

fn rows(ids: impl Iterator<Item = i64>) -> Vec<Value> {
    ids.map(|id| json!([id, format!("p{}", id % 3)])).collect()
}

#[test]
fn merged_manifests_are_read_by_everyone_and_merged_again_by_others() {
    for version in [2, 3] {
        let warehouse = Warehouse::new().unwrap();
        let create = format!(
            "CREATE TABLE m (id bigint, p string) USING iceberg PARTITIONED BY (p) TBLPROPERTIES \
             ('format-version'='{version}', 'commit.manifest.min-count-to-merge'='4')"
        );
        let run = |ids| {
            let statements = inserts("m", ids);
            let statements: Vec<&str> = statements.iter().map(String::as_str).collect();
            warehouse.run(&statements).unwrap().success().unwrap();
        };
        warehouse.run(&[&create]).unwrap().success().unwrap();
        run(0..4);
        assert_eq!(said(&warehouse, "default.m", "manifests-created"), 1);
        assert_eq!(said(&warehouse, "default.m", "manifests-kept"), 0);
        assert_eq!(said(&warehouse, "default.m", "manifests-replaced"), 3);
        run(4..9);
        assert!(said(&warehouse, "default.m", "manifests-kept") < 4);
        everyone_reads(&warehouse, "default.m", &rows(0..9), |_| None);
        // Spark merges Icecap's manifests, and tells of a removed file; Icecap merges Spark's.
        spark(
            &warehouse,
            &[
                "INSERT INTO icecap.default.m VALUES (9, 'p0')",
                "DELETE FROM icecap.default.m WHERE id = 4",
                "INSERT INTO icecap.default.m VALUES (10, 'p1')",
            ],
        );
        run(11..16);
        everyone_reads(&warehouse, "default.m", &rows((0..16).filter(|id| *id != 4)), |_| None);
    }
}

#[test]
fn gzip_metadata_is_read_by_everyone() {
    let warehouse = Warehouse::new().unwrap();
    let create = "CREATE TABLE z (id bigint, p string) USING iceberg TBLPROPERTIES \
        ('write.metadata.compression-codec'='gzip', 'write.metadata.previous-versions-max'='2', \
         'write.metadata.delete-after-commit.enabled'='true')";
    warehouse.run(&[create]).unwrap().success().unwrap();
    for statement in inserts("z", 0..5) {
        warehouse.run(&[&statement]).unwrap().success().unwrap();
    }
    assert!(warehouse.metadata_location("default.z").unwrap().ends_with(".gz.metadata.json"));
    let files = warehouse.files().unwrap();
    let metadata = files.iter().filter(|file| file.ends_with(".metadata.json"));
    assert_eq!(metadata.count(), 3, "{files:?}");
    everyone_reads(&warehouse, "default.z", &rows(0..5), |_| None);
    spark(&warehouse, &["INSERT INTO icecap.default.z VALUES (5, 'p2')"]);
    warehouse.run(&["INSERT INTO z VALUES (6, 'p0')"]).unwrap().success().unwrap();
    assert_eq!(warehouse.read("default.z").unwrap().rows.len(), 7);
    invariants_hold(&warehouse, "default.z");
}
