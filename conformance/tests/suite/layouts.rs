//! How a table is laid out in files is nobody's business but the writer's: every reader finds the same rows.

use icecap_conformance::reader::Foreign;
use icecap_conformance::stack::Warehouse;
use serde_json::{Value, json};

use crate::compare::{everyone_agrees, everyone_reads, invariants_hold, manifests_tell_the_truth};
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

#[test]
fn large_metadata_is_compressed_unasked_and_read_by_everyone() {
    let warehouse = Warehouse::new().unwrap();
    // Small at first; then large, with more snapshots than are compressed together.
    let statements = inserts("a", 0..150);
    let run = |statements: &[String]| {
        let sql = statements.join(";\n") + ";\n";
        warehouse.run_input(&sql).unwrap().success().unwrap();
    };
    run(&["CREATE TABLE a (id bigint, p string) USING iceberg".to_owned()]);
    run(&statements[..5]);
    let is_gzip = || warehouse.metadata_location("default.a").unwrap().ends_with(".gz.metadata.json");
    assert!(!is_gzip());
    run(&statements[5..]);
    assert!(is_gzip());
    everyone_reads(&warehouse, "default.a", &rows(0..150), |_| None);
    let files = warehouse.files().unwrap();
    let sizes = |compressed: bool| {
        let ours = files.iter().filter(move |file| file.ends_with(".gz.metadata.json") == compressed);
        let ours = ours.filter(|file| file.ends_with(".metadata.json"));
        ours.map(|file| std::fs::metadata(warehouse.path().join(file)).unwrap().len()).max().unwrap()
    };
    // The last of all is smaller than half of the last that was not compressed.
    assert!(sizes(true) * 2 < sizes(false), "{} {}", sizes(true), sizes(false));
    // Spark reads it and goes on; what it writes is not compressed. Neither is what the table asks for plainly.
    spark(&warehouse, &["INSERT INTO icecap.default.a VALUES (150, 'p0')"]);
    assert!(!is_gzip());
    run(&inserts("a", 151..153));
    assert!(is_gzip());
    run(&["ALTER TABLE a SET TBLPROPERTIES ('write.metadata.compression-codec' = 'none')".to_owned()]);
    assert!(!is_gzip());
    everyone_reads(&warehouse, "default.a", &rows(0..153), |_| None);
    invariants_hold(&warehouse, "default.a");
}

#[test]
fn odd_names_and_deep_nesting_are_read_by_everyone() {
    let warehouse = Warehouse::new().unwrap();
    let create = r#"CREATE TABLE odd ("a.b" bigint, "with space" string, "ünï" double,
        deep struct<a: struct<b: array<struct<c: map<string, array<bigint>>>>>>) USING iceberg
        TBLPROPERTIES ('write.metadata.metrics.column.a.b'='full',
                       'write.parquet.bloom-filter-enabled.column.with space'='true')"#;
    let insert = r#"INSERT INTO odd SELECT 1, 'x y', 0.5,
        named_struct('a', named_struct('b', [named_struct('c', MAP {'k': [1, 2]})]))"#;
    warehouse.run(&[create, insert]).unwrap().success().unwrap();
    let deep = json!({"a": {"b": [{"c": {"k": [1, 2]}}]}});
    let own = warehouse.read("default.odd").unwrap();
    assert_eq!(own.rows.len(), 1, "{deep}");
    everyone_agrees(&warehouse, "default.odd");
    manifests_tell_the_truth(&warehouse, "default.odd");
}

#[test]
fn two_thousand_columns_are_read_by_everyone() {
    let warehouse = Warehouse::new().unwrap();
    let columns: Vec<String> = (0..2000).map(|n| format!("c{n} {}", ["bigint", "string"][n % 2])).collect();
    let create = format!(
        "CREATE TABLE wide ({}) USING iceberg TBLPROPERTIES ('write.metadata.metrics.default'='truncate(16)')",
        columns.join(", ")
    );
    let row = |of: usize| {
        let value =
            |n: usize| if n.is_multiple_of(2) { format!("{}", n + of) } else { format!("'text {n} {of}'") };
        format!("({})", (0..2000).map(value).collect::<Vec<_>>().join(", "))
    };
    let insert = format!("{create};\nINSERT INTO wide VALUES {}, {};\n", row(0), row(1));
    warehouse.run_input(&insert).unwrap().success().unwrap();
    assert_eq!(everyone_agrees(&warehouse, "default.wide").len(), 2);
    manifests_tell_the_truth(&warehouse, "default.wide");
}

#[test]
fn very_long_texts_are_read_by_everyone() {
    let warehouse = Warehouse::new().unwrap();
    let create = "CREATE TABLE long (id bigint, s string) USING iceberg";
    let insert = "INSERT INTO long VALUES (1, repeat('äb', 2000000)), (2, repeat('🧊', 100)), (3, '')";
    warehouse.run(&[create, insert]).unwrap().success().unwrap();
    let rows = [json!([1, "äb".repeat(2_000_000)]), json!([2, "🧊".repeat(100)]), json!([3, ""])];
    everyone_reads(&warehouse, "default.long", &rows, |_| None);
    manifests_tell_the_truth(&warehouse, "default.long");
}

#[test]
fn partitions_of_any_distribution_are_read_by_everyone() {
    let warehouse = Warehouse::new().unwrap();
    for mode in ["none", "hash", "range"] {
        let create = format!(
            "CREATE TABLE d_{mode} (id bigint, p string) USING iceberg PARTITIONED BY (p) \
             TBLPROPERTIES ('write.distribution-mode'='{mode}')"
        );
        let values: Vec<String> = (0..40).map(|id| format!("({id}, 'p{}')", id % 3)).collect();
        let insert = format!("INSERT INTO d_{mode} VALUES {}", values.join(", "));
        warehouse.run(&[&create, &insert]).unwrap().success().unwrap();
        everyone_reads(&warehouse, &format!("default.d_{mode}"), &rows(0..40), |_| None);
    }
    let wrong = "CREATE TABLE d (id bigint) USING iceberg TBLPROPERTIES ('write.distribution-mode'='even')";
    warehouse.run(&[wrong]).unwrap().fails_with("invalid", "write.distribution-mode").unwrap();
    let wrong = "CREATE TABLE d (id bigint) USING iceberg \
        TBLPROPERTIES ('commit.manifest.min-count-to-merge'='0')";
    warehouse.run(&[wrong]).unwrap().fails_with("invalid", "commit.manifest.min-count-to-merge").unwrap();
}
