//! `EXPLAIN`, `EXPLAIN ANALYZE` and `EXPLAIN (DRY RUN)` of statements that change rows.

use std::collections::{BTreeMap, BTreeSet};

use icecap_conformance::stack::Warehouse;
use serde_json::Value;

use super::{begins, has, lines};

const MODES: [(&str, u8, &str); 3] = [
    ("copy-on-write", 2, "copy-on-write"),
    ("merge-on-read", 2, "merge-on-read (position delete files)"),
    ("merge-on-read", 3, "merge-on-read (deletion vectors)"),
];

/// Four partitions; the last has two files, whose values of `id` do not overlap. And a source.
fn tables(mode: &str, version: u8) -> Warehouse {
    let warehouse = Warehouse::new().unwrap();
    let create = format!(
        "CREATE TABLE t (id int, k string) PARTITIONED BY (k) TBLPROPERTIES ('table_type'='ICEBERG', \
         'format-version'='{version}', 'write.delete.mode'='{mode}', 'write.update.mode'='{mode}', 'write.merge.mode'='{mode}')"
    );
    let statements = [
        &create,
        "INSERT INTO t VALUES (1, 'a'), (2, 'b'), (3, 'c')",
        "INSERT INTO t VALUES (4, 'd'), (5, 'd')",
        "INSERT INTO t VALUES (9, 'd'), (8, 'd'), (7, 'd')",
        "CREATE TABLE s (id int, k string)",
        "INSERT INTO s VALUES (8, 'e'), (2, 'b'), (20, 'b')",
    ];
    warehouse.run(&statements).unwrap().success().unwrap();
    warehouse
}

const MERGE: &str = "MERGE INTO t USING s ON t.id = s.id WHEN MATCHED AND s.k = 'e' THEN UPDATE SET k = s.k WHEN MATCHED THEN DELETE \
     WHEN NOT MATCHED THEN INSERT *";

/// The bytes of the files of the warehouse's data, by name.
fn data_files(warehouse: &Warehouse) -> BTreeMap<String, u64> {
    let files = warehouse.files().unwrap().into_iter().filter(|file| file.contains("/data/"));
    files.map(|file| (file.clone(), warehouse.path().join(file).metadata().unwrap().len())).collect()
}

/// Everything that a statement could leave: what the catalog says, snapshots, files.
fn state(warehouse: &Warehouse) -> (BTreeMap<String, String>, usize, Vec<String>) {
    let metadata = warehouse.metadata("default.t").unwrap();
    let snapshots = metadata["snapshots"].as_array().unwrap().len();
    (warehouse.pointers().unwrap(), snapshots, warehouse.files().unwrap())
}

/// Bytes as they are told.
fn size(bytes: u64) -> String {
    if bytes < 1000 { format!("{bytes} B") } else { format!("{:.1} kB", bytes as f64 / 1000.0) }
}

fn names(warehouse: &Warehouse, condition: &str) -> BTreeSet<String> {
    let query = format!(r#"SELECT DISTINCT "_file" AS f FROM t WHERE {condition}"#);
    let rows = warehouse.query(&[&query]).unwrap();
    rows.iter().map(|row| row["f"].as_str().unwrap().to_owned()).collect()
}

fn bytes_of(warehouse: &Warehouse, condition: &str) -> u64 {
    let named = names(warehouse, condition);
    let path = |file: &String| file.strip_prefix("file://").unwrap_or(file).to_owned();
    named.iter().map(|file| std::fs::metadata(path(file)).unwrap().len()).sum()
}

#[test]
fn a_change_tells_its_mode_files_and_join_and_changes_nothing() {
    for (mode, version, told) in MODES {
        let warehouse = tables(mode, version);
        let before = state(&warehouse);
        let written_again = |lines: &[String], condition: &str| match mode {
            "copy-on-write" => {
                let bytes = size(bytes_of(&warehouse, condition));
                has(lines, &format!("  written again: those with such rows, at most {bytes}"));
            }
            _ => assert!(!lines.iter().any(|line| line.contains("written again")), "{lines:#?}"),
        };

        let delete = lines(&warehouse, "EXPLAIN DELETE FROM t WHERE k = 'd' AND id > 7");
        has(&delete, "Delete of default.t");
        has(&delete, &format!("  mode: {told}"));
        has(&delete, "  isolation: serializable");
        has(&delete, "  files: 1 of 5 to read, 0 go whole without being read, 4 pruned");
        has(&delete, "  join: none");
        begins(&delete, "  estimated: rows ");
        begins(&delete, "  IcebergDeltaExec: positions only");
        written_again(&delete, "id = 7");

        let whole = lines(&warehouse, "EXPLAIN DELETE FROM t WHERE k IN ('a', 'd')");
        has(&whole, "  files: 0 of 5 to read, 3 go whole without being read, 2 pruned");
        has(&whole, "  read: nothing: metadata decides");
        assert!(!whole.iter().any(|line| line == "Plan"), "{whole:#?}");

        let update = lines(&warehouse, "EXPLAIN UPDATE t SET k = 'z' WHERE id < 3");
        has(&update, "Update of default.t");
        has(&update, "  files: 2 of 5 to read, 0 go whole without being read, 3 pruned");
        has(&update, "  files: 2 of 5 to read; pruned 0 by manifest, 0 by partition, 3 by metrics");
        begins(&update, "  IcebergDeltaExec: rows to data=");
        written_again(&update, "id < 3");

        let merge = lines(&warehouse, &format!("EXPLAIN {MERGE}"));
        has(&merge, "Merge of default.t");
        has(&merge, "  files: 2 of 5 to read, 0 go whole without being read, 3 pruned");
        has(&merge, "  join: hash join, one side in memory");
        begins(&merge, "  estimated: rows ");
        written_again(&merge, "id IN (2, 8)");
        let ranges =
            lines(&warehouse, "EXPLAIN MERGE INTO t USING s ON t.id < s.id WHEN MATCHED THEN DELETE");
        has(&ranges, "  join: nested loops: no equality of columns in the condition");
        has(&ranges, "  files: 5 of 5 to read, 0 go whole without being read, 0 pruned");
        assert_eq!(state(&warehouse), before);
    }
}

/// Both sides have some megabytes, which is more than a join of a query would take whole.
#[test]
fn a_small_source_is_in_every_partition_and_no_row_changes_places() {
    let warehouse = Warehouse::new().unwrap();
    let create = "CREATE TABLE t TBLPROPERTIES ('table_type'='ICEBERG', 'write.merge.mode'='merge-on-read') AS \
                  SELECT id, md5(CAST(id AS varchar)) AS k FROM (SELECT unnest(range(1, 200001)) AS id) AS r";
    warehouse.run(&[create]).unwrap().success().unwrap();
    let merge = "MERGE INTO t USING (SELECT unnest(range(190001, 220001)) AS id, repeat('k', 100) AS k) AS s \
                 ON t.id = s.id WHEN MATCHED THEN UPDATE SET k = s.k \
                 WHEN NOT MATCHED THEN INSERT (id, k) VALUES (s.id, s.k)";
    let plan = lines(&warehouse, &format!("EXPLAIN {merge}"));
    let holds = |part: &str| plan.iter().any(|line| line.contains(part));
    assert!(holds("HashJoinExec: mode=CollectLeft"), "{plan:#?}");
    assert!(!holds("partitioning=Hash"), "{plan:#?}");
    ran(&warehouse, merge, [Some(20_000), Some(10_000), Some(0)]);
}

/// What the last statement's lines and its files on the disk say, compared: `(rows inserted, updated, deleted)`.
fn ran(warehouse: &Warehouse, statement: &str, rows: [Option<u64>; 3]) -> Vec<String> {
    let before = data_files(warehouse);
    let lines = lines(warehouse, &format!("EXPLAIN ANALYZE {statement}"));
    for (what, rows) in ["inserted", "updated", "deleted"].into_iter().zip(rows) {
        let start = format!("  rows {what}: ");
        let told = lines.iter().find_map(|line| line.strip_prefix(&start)).map(|rows| rows.parse().unwrap());
        assert_eq!(told, rows, "{what} of {statement}: {lines:#?}");
    }
    let new: BTreeMap<String, u64> =
        data_files(warehouse).into_iter().filter(|(file, _)| !before.contains_key(file)).collect();
    let snapshot = warehouse.metadata("default.t").unwrap()["current-snapshot-id"].as_i64().unwrap();
    has(&lines, &format!("  snapshot: {snapshot}"));
    let count = |key: &str| begins(&lines, key)[key.len()..].parse::<usize>().unwrap();
    let (vectors, parquet): (Vec<&String>, Vec<_>) = new.keys().partition(|file| file.ends_with(".puffin"));
    // Several deletion vectors share a file.
    let deletes = if vectors.is_empty() { count("  delete files: ") } else { 0 };
    assert_eq!(count("  data files: ") + deletes, parquet.len(), "{statement}: {lines:#?}, {new:#?}");
    assert!(count("  delete files: ") >= vectors.len(), "{statement}: {lines:#?}, {new:#?}");
    has(&lines, &format!("  bytes: {}", size(new.values().sum())));
    lines
}

#[test]
fn a_change_that_is_analyzed_tells_what_it_did() {
    for (mode, version, told) in MODES {
        let warehouse = tables(mode, version);
        let delete = ran(&warehouse, "DELETE FROM t WHERE id = 9", [None, None, Some(1)]);
        has(&delete, "DELETE into default.t, run and committed");
        has(&delete, &format!("  mode: {told}"));
        has(&delete, "  files: 1 of 5 to read, 0 go whole without being read, 4 pruned");
        has(&delete, "  join: none");
        let (data, deletes) = if mode == "copy-on-write" { (1, 0) } else { (0, 1) };
        has(&delete, &format!("  data files: {data}"));
        has(&delete, &format!("  delete files: {deletes}"));

        let update = ran(&warehouse, "UPDATE t SET k = 'z' WHERE id IN (1, 2)", [None, Some(2), None]);
        has(&update, "UPDATE into default.t, run and committed");
        has(&update, "  files: 2 of 5 to read, 0 go whole without being read, 3 pruned");

        let merge = ran(&warehouse, MERGE, [Some(1), Some(1), Some(1)]);
        has(&merge, "MERGE into default.t, run and committed");
        has(&merge, "  join: hash join, one side in memory");

        let whole = ran(&warehouse, "DELETE FROM t WHERE k = 'c'", [None, None, Some(1)]);
        has(&whole, "  read: nothing: metadata decides");
        has(&whole, "  data files: 0");
        has(&whole, "  delete files: 0");
    }
}

#[test]
fn a_dry_run_tells_what_the_statement_does_then() {
    let statements = [
        ("INSERT INTO t SELECT id + 100, k FROM t WHERE id < 4", "INSERT"),
        ("DELETE FROM t WHERE id IN (2, 9)", "DELETE"),
        ("DELETE FROM t WHERE k = 'd'", "DELETE"),
        ("UPDATE t SET k = 'z', id = id + 1 WHERE id > 3 AND id < 8", "UPDATE"),
        (MERGE, "MERGE"),
    ];
    for (mode, version, _) in MODES {
        for (statement, kind) in statements {
            let warehouse = tables(mode, version);
            let before = state(&warehouse);
            let tried = lines(&warehouse, &format!("EXPLAIN (DRY RUN) {statement}"));
            assert_eq!(state(&warehouse), before, "{statement}");
            has(&tried, &format!("{kind} of default.t, tried and not committed"));
            let summary = warehouse.query(&[statement]).unwrap().remove(0);
            let number = |key: &str| summary.get(key).and_then(Value::as_u64).unwrap_or_default();
            for (name, key) in [
                ("rows inserted", "rows_inserted"),
                ("rows updated", "rows_updated"),
                ("rows deleted", "rows_deleted"),
                ("data files", "data_files"),
                ("delete files", "delete_files"),
            ] {
                has(&tried, &format!("  {name}: {}", number(key)));
            }
            has(&tried, &format!("  bytes: {}", size(number("bytes_written"))));
            let metadata = warehouse.metadata("default.t").unwrap();
            let current = metadata["current-snapshot-id"].as_i64();
            let snapshots = metadata["snapshots"].as_array().unwrap();
            assert_eq!(snapshots.len(), before.1 + 1, "{statement}");
            let made = snapshots.iter().find(|snapshot| snapshot["snapshot-id"].as_i64() == current).unwrap();
            let removed = made["summary"]["deleted-data-files"].as_str().unwrap_or("0");
            has(&tried, &format!("  data files removed: {removed}"));
        }
    }
}
