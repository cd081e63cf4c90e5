//! `EXPLAIN` tells what the plan says, `EXPLAIN ANALYZE` what happened.

mod changes;

use icecap_conformance::stack::Warehouse;

/// The lines of the last statement's answer.
fn lines(warehouse: &Warehouse, statement: &str) -> Vec<String> {
    let rows = warehouse.query(&[statement]).unwrap_or_else(|failure| panic!("{statement}: {failure}"));
    rows.iter().map(|row| row["plan"].as_str().unwrap().to_owned()).collect()
}

fn has(lines: &[String], line: &str) {
    assert!(lines.iter().any(|own| own == line), "no line {line:?} in {lines:#?}");
}

fn begins(lines: &[String], start: &str) -> String {
    let found = lines.iter().find(|own| own.starts_with(start));
    found.unwrap_or_else(|| panic!("no line begins with {start:?} in {lines:#?}")).clone()
}

/// Four partitions with a manifest each; the last has two files, whose values of `id` do not overlap.
fn table(warehouse: &Warehouse) {
    let create =
        "CREATE TABLE t (id int, k string) PARTITIONED BY (k) TBLPROPERTIES ('table_type'='ICEBERG')";
    let both = "INSERT INTO t VALUES (1, 'a'), (2, 'b')";
    let statements = [
        create,
        both,
        "INSERT INTO t VALUES (3, 'c')",
        "INSERT INTO t VALUES (4, 'd')",
        "INSERT INTO t VALUES (9, 'd'), (8, 'd')",
    ];
    warehouse.run(&statements).unwrap().success().unwrap();
}

#[test]
fn a_query_tells_which_files_it_reads_and_why() {
    let warehouse = Warehouse::new().unwrap();
    table(&warehouse);
    let snapshot = warehouse.metadata("default.t").unwrap()["current-snapshot-id"].as_i64().unwrap();
    let whole = lines(&warehouse, "EXPLAIN SELECT * FROM t");
    has(&whole, "Query");
    has(&whole, &format!("Scan of default.t, snapshot {snapshot}"));
    has(&whole, "  manifests: 4 of 4 read");
    has(&whole, "  files: 5 of 5 to read; pruned 0 by manifest, 0 by partition, 0 by metrics");
    has(&whole, "  rows: at most 6");
    assert!(begins(&whole, "  estimated: ").starts_with("  estimated: rows 6, bytes "));
    assert!(
        whole.iter().any(|line| line.trim_start().starts_with("IcecapScanExec: table=default.t")),
        "{whole:#?}"
    );
    assert!(!whole.iter().any(|line| line.contains("answered")), "{whole:#?}");

    let one = lines(&warehouse, "EXPLAIN SELECT id FROM t WHERE k = 'd' AND id > 7");
    has(&one, "  manifests: 2 of 4 read");
    has(&one, "  files: 1 of 5 to read; pruned 3 by manifest, 0 by partition, 1 by metrics");
    has(&one, "  rows: at most 2");
    begins(&one, "  filter: ");

    let partition = lines(&warehouse, "EXPLAIN SELECT id FROM t WHERE k = 'b'");
    has(&partition, "  files: 1 of 5 to read; pruned 3 by manifest, 1 by partition, 0 by metrics");

    let nothing = lines(&warehouse, "EXPLAIN SELECT id FROM t WHERE k = 'x'");
    has(&nothing, "  files: 0 of 5 to read; pruned 5 by manifest, 0 by partition, 0 by metrics");

    let counted = lines(&warehouse, "EXPLAIN SELECT count(*) FROM t");
    has(&counted, "  answered: from metadata alone: no file is read");

    let first = warehouse.metadata("default.t").unwrap()["snapshot-log"][0]["snapshot-id"].as_i64().unwrap();
    let older = lines(
        &warehouse,
        &format!("EXPLAIN SELECT * FROM t FOR VERSION AS OF {first} JOIN t AS u USING (id)"),
    );
    has(&older, &format!("Scan of default.t, snapshot {first}"));
    has(&older, "  files: 2 of 2 to read; pruned 0 by manifest, 0 by partition, 0 by metrics");
    has(&older, &format!("Scan of default.t, snapshot {snapshot}"));
}

#[test]
fn a_query_that_is_analyzed_is_run() {
    let warehouse = Warehouse::new().unwrap();
    table(&warehouse);
    let ran = lines(&warehouse, "EXPLAIN ANALYZE SELECT id, k FROM t WHERE id >= 3");
    has(&ran, "Query, run");
    has(&ran, "  rows: 4");
    begins(&ran, "  time: ");
    let scan = ran.iter().find(|line| line.contains("IcecapScanExec")).unwrap();
    assert!(scan.contains("output_rows=4"), "{scan}");
    assert!(scan.contains("bytes_scanned="), "{scan}");
    let none = lines(&warehouse, "EXPLAIN ANALYZE SELECT id FROM t WHERE k = 'x'");
    has(&none, "  rows: 0");
}

#[test]
fn a_write_tells_where_it_goes_and_writes_nothing() {
    let warehouse = Warehouse::new().unwrap();
    table(&warehouse);
    let before = (warehouse.pointers().unwrap(), warehouse.files().unwrap());
    let insert = lines(&warehouse, "EXPLAIN INSERT INTO t SELECT id + 10, k FROM t WHERE k = 'd'");
    has(&insert, "Insert into default.t");
    has(&insert, "  partition: k = identity(k)");
    has(&insert, "  target file size: 536.9 MB");
    begins(&insert, "  writers: ");
    begins(&insert, "  distribution: ");
    assert!(begins(&insert, "  estimated: ").contains("bytes "));
    has(&insert, "  files: 2 of 5 to read; pruned 3 by manifest, 0 by partition, 0 by metrics");
    begins(&insert, "  IcebergWriteExec: ");
    let create = "CREATE TABLE u WITH (table_type = 'ICEBERG', is_external = false, partitioning = ARRAY['bucket(id, 4)']) AS SELECT id FROM t";
    let ctas = lines(&warehouse, &format!("EXPLAIN {create}"));
    has(&ctas, "Create table default.u");
    has(&ctas, "  partition: id_bucket = bucket[4](id)");
    assert_eq!((warehouse.pointers().unwrap(), warehouse.files().unwrap()), before);
}

#[test]
fn a_write_that_is_analyzed_is_committed() {
    let warehouse = Warehouse::new().unwrap();
    table(&warehouse);
    let insert = lines(&warehouse, "EXPLAIN ANALYZE INSERT INTO t SELECT id + 10, k FROM t WHERE k = 'd'");
    has(&insert, "INSERT into default.t, run and committed");
    let snapshot = warehouse.metadata("default.t").unwrap()["current-snapshot-id"].as_i64().unwrap();
    has(&insert, &format!("  snapshot: {snapshot}"));
    has(&insert, "  rows: 3");
    begins(&insert, "  data files: ");
    has(&insert, "  files: 2 of 5 to read; pruned 3 by manifest, 0 by partition, 0 by metrics");
    assert_eq!(warehouse.query(&["SELECT id FROM t WHERE id > 10"]).unwrap().len(), 3);
    let ctas = lines(&warehouse, "EXPLAIN ANALYZE CREATE TABLE u AS SELECT id FROM t");
    has(&ctas, "CREATE_TABLE_AS_SELECT into default.u, run and committed");
    assert_eq!(warehouse.query(&["SELECT id FROM u"]).unwrap().len(), 9);
    // Under a token it happens once.
    let mut once = warehouse.command().unwrap();
    once.args(["--id", "explained", "-e", "EXPLAIN ANALYZE INSERT INTO u VALUES (1)"]);
    let mut again = warehouse.command().unwrap();
    again.args(["--id", "explained", "-e", "EXPLAIN ANALYZE INSERT INTO u VALUES (1)"]);
    assert!(once.output().unwrap().status.success() && again.output().unwrap().status.success());
    assert_eq!(warehouse.query(&["SELECT id FROM u"]).unwrap().len(), 10);
}
