//! A statement opens the data files that may hold its rows, and no other: the others may be gone from the disk.

use std::collections::BTreeSet;
use std::fs;

use icecap_conformance::stack::Warehouse;

/// Data files of the tables.
const FILES: usize = 400;
/// Rows of each.
const ROWS: usize = 5;

/// A table of [`FILES`] data files, each with [`ROWS`] neighbouring values of `id`, told apart by its partition or by
/// the bounds of `id` alone.
fn create(warehouse: &Warehouse, by_partition: bool, mode: &str) {
    // Where `p` is the key, a condition about `id` meets bounds alone.
    let key = if by_partition { format!("truncate({ROWS}, id)") } else { "p".to_owned() };
    let properties = format!(
        "'table_type'='ICEBERG', 'format-version'='3', 'write.delete.mode'='{mode}', 'write.update.mode'='{mode}', \
         'write.merge.mode'='{mode}'"
    );
    let create = format!(
        "CREATE TABLE t (id bigint, p bigint, v string) PARTITIONED BY ({key}) TBLPROPERTIES ({properties})"
    );
    let last = FILES * ROWS - 1;
    let rows = format!(
        "INSERT INTO t SELECT value, value / {ROWS}, 'old' FROM generate_series(0, {last}) AS g(value)"
    );
    warehouse.run(&[&create, &rows]).unwrap().success().unwrap();
}

/// Takes all data files from the disk but for those of some rows; how many are left.
fn keep_only(warehouse: &Warehouse, wanted: &str) -> usize {
    let all: BTreeSet<String> = names(warehouse, "true");
    let kept = names(warehouse, wanted);
    assert_eq!(all.len(), FILES);
    warehouse.damages_tables();
    for file in all.difference(&kept) {
        fs::remove_file(file.strip_prefix("file://").unwrap_or(file)).unwrap();
    }
    kept.len()
}

fn names(warehouse: &Warehouse, condition: &str) -> BTreeSet<String> {
    let rows =
        warehouse.query(&[&format!(r#"SELECT DISTINCT "_file" AS f FROM t WHERE {condition}"#)]).unwrap();
    rows.iter().map(|row| row["f"].as_str().unwrap().to_owned()).collect()
}

/// Runs a statement with only the files of three keys on the disk, and what is left of these keys' files afterwards.
fn opens_three(by_partition: bool, mode: &str, statement: &str, left: &[(i64, &str)]) {
    const KEYS: [usize; 3] = [7, 801, 1502];
    let case = format!("{statement}, {mode}, by partition: {by_partition}");
    let warehouse = Warehouse::new().unwrap();
    create(&warehouse, by_partition, mode);
    let neighbours: Vec<String> = KEYS
        .iter()
        .map(|key| format!("(id BETWEEN {} AND {})", key / ROWS * ROWS, key / ROWS * ROWS + ROWS - 1))
        .collect();
    let neighbours = neighbours.join(" OR ");
    assert_eq!(keep_only(&warehouse, &neighbours), 3, "{case}");
    let told = warehouse.query(&[&format!("EXPLAIN {statement}")]).unwrap();
    let files = format!("  files: 3 of {FILES} to read, 0 go whole without being read, {} pruned", FILES - 3);
    assert!(told.iter().any(|row| row["plan"] == files.as_str()), "{case}: {told:#?}");
    let ran = warehouse.query(&[&format!("EXPLAIN ANALYZE {statement}")]);
    let ran = ran.unwrap_or_else(|failure| panic!("{case}: {failure}"));
    let ran: Vec<&str> = ran.iter().map(|row| row["plan"].as_str().unwrap()).collect();
    assert!(
        ran.iter().any(|line| line.starts_with(&format!("  files: 3 of {FILES} to read; "))),
        "{case}: {ran:#?}"
    );
    let rows = warehouse.query(&[&format!("SELECT id, v FROM t WHERE {neighbours}")]).unwrap();
    let mut rows: Vec<(i64, &str)> =
        rows.iter().map(|row| (row["id"].as_i64().unwrap(), row["v"].as_str().unwrap())).collect();
    rows.sort_unstable();
    assert_eq!(rows, left, "{case}");
}

/// The rows of the three files after a statement: `changed` tells what became of the keys.
fn after(changed: Option<&'static str>) -> Vec<(i64, &'static str)> {
    let all = (5..10).chain(800..805).chain(1500..1505);
    all.filter_map(|id| match id {
        7 | 801 | 1502 => changed.map(|v| (id, v)),
        _ => Some((id, "old")),
    })
    .collect()
}

const MODES: [&str; 2] = ["merge-on-read", "copy-on-write"];

#[test]
fn a_merge_opens_the_files_of_its_keys() {
    let merge = "MERGE INTO t USING (VALUES (7, 'new'), (801, 'new'), (1502, 'new'), (NULL, 'x')) AS s(id, v) ON t.id = s.id \
         WHEN MATCHED THEN UPDATE SET v = s.v";
    for mode in MODES {
        for by_partition in [true, false] {
            opens_three(by_partition, mode, merge, &after(Some("new")));
        }
    }
}

#[test]
fn a_delete_or_update_opens_the_files_within_its_bounds() {
    for mode in MODES {
        for by_partition in [true, false] {
            let delete = "DELETE FROM t WHERE id IN (7, 801, 1502) AND v = 'old'";
            opens_three(by_partition, mode, delete, &after(None));
        }
        let update =
            "UPDATE t SET v = 'new' WHERE id = 7 OR (id BETWEEN 801 AND 801) OR (id > 1501 AND id < 1503)";
        opens_three(false, mode, update, &after(Some("new")));
    }
}

/// Rows without a partner are no reason to open more.
#[test]
fn an_upsert_opens_the_files_of_its_keys() {
    let upsert = "MERGE INTO t USING (SELECT * FROM (VALUES (7, 'new'), (801, 'new'), (1502, 'new'), (99999, 'more')) AS s(id, v)) AS s \
         ON t.id = s.id WHEN MATCHED THEN UPDATE SET v = s.v WHEN NOT MATCHED THEN INSERT (id, v) VALUES (s.id, s.v)";
    for mode in MODES {
        opens_three(true, mode, upsert, &after(Some("new")));
    }
}
