//! Tables whose partition spec and sort order change: every reader finds the rows, and others see the same layout.

use icecap_conformance::reader::Foreign;
use icecap_conformance::stack::Warehouse;
use serde_json::{Value, json};

use crate::compare::{everyone_agrees, invariants_hold, manifests_tell_the_truth};
use crate::reader;

fn spark(warehouse: &Warehouse, statements: &[&str]) -> Vec<Value> {
    let request = json!({"op": "sql", "catalog": warehouse.catalog(), "warehouse": warehouse.path(),
        "statements": statements});
    reader(Foreign::Spark).call(&request).unwrap()["rows"].as_array().unwrap().clone()
}

#[test]
fn rows_of_several_partition_specs_are_read_by_everyone() {
    for version in [2, 3] {
        let warehouse = Warehouse::new().unwrap();
        let create = format!(
            "CREATE TABLE t (id bigint, at timestamp, k string) USING iceberg PARTITIONED BY (month(at)) \
             TBLPROPERTIES ('format-version'='{version}')"
        );
        let insert = |of: i64| {
            let row = |n: i64| {
                format!("({}, TIMESTAMP '2024-0{}-0{} 01:02:03', 'k{n}')", of * 10 + n, n + 1, n + 2)
            };
            format!(
                "INSERT INTO t VALUES {}, ({}, NULL, NULL)",
                (0..4).map(row).collect::<Vec<_>>().join(", "),
                of * 10 + 9
            )
        };
        warehouse
            .run(&[
                &create,
                &insert(0),
                "ALTER TABLE t ADD PARTITION FIELD bucket(4, id)",
                &insert(1),
                "ALTER TABLE t REPLACE PARTITION FIELD at_month WITH day(at)",
                &insert(2),
                "ALTER TABLE t DROP PARTITION FIELD id_bucket_4",
                "ALTER TABLE t ADD PARTITION FIELD truncate(2, k)",
                &insert(3),
                "ALTER TABLE t DROP PARTITION FIELD day(at)",
                "ALTER TABLE t DROP PARTITION FIELD k_trunc_2",
                &insert(4),
            ])
            .unwrap()
            .success()
            .unwrap();
        assert_eq!(everyone_agrees(&warehouse, "default.t").len(), 25);
        manifests_tell_the_truth(&warehouse, "default.t");
        let specs = spark(
            &warehouse,
            &["SELECT spec_id, count(*) FROM icecap.default.t.files GROUP BY spec_id ORDER BY 1"],
        );
        assert!(specs.len() == 5, "{specs:?}");
        // Each side goes on where the other stopped.
        spark(
            &warehouse,
            &[
                "ALTER TABLE icecap.default.t ADD PARTITION FIELD bucket(4, id)",
                "INSERT INTO icecap.default.t VALUES (100, TIMESTAMP '2024-05-01 00:00:00', 'x')",
            ],
        );
        warehouse
            .run(&["ALTER TABLE t DROP PARTITION FIELD id_bucket_4", &insert(5)])
            .unwrap()
            .success()
            .unwrap();
        assert_eq!(everyone_agrees(&warehouse, "default.t").len(), 31);
        let metadata = warehouse.metadata("default.t").unwrap();
        let fields = metadata["partition-specs"].as_array().unwrap().iter();
        let mut ids: Vec<(i64, String)> = fields
            .flat_map(|spec| spec["fields"].as_array().unwrap())
            .map(|field| {
                (field["field-id"].as_i64().unwrap(), field["transform"].as_str().unwrap().to_owned())
            })
            .collect();
        ids.sort();
        ids.dedup();
        let expected = [(1000, "month"), (1001, "bucket[4]"), (1002, "day"), (1003, "truncate[2]")];
        assert_eq!(ids, expected.map(|(id, transform)| (id, transform.to_owned())));
    }
}

#[test]
fn files_are_sorted_and_others_see_the_order() {
    let warehouse = Warehouse::new().unwrap();
    warehouse
        .run(&[
            "CREATE TABLE s (id bigint, k string) USING iceberg PARTITIONED BY (bucket(2, id)) \
             TBLPROPERTIES (sorted_by = ARRAY['k DESC', 'id'])",
            "INSERT INTO s VALUES (1, 'b'), (2, NULL), (3, 'a'), (4, 'b'), (5, 'c'), (6, 'ä'), (7, NULL), (8, 'a')",
            "ALTER TABLE s WRITE ORDERED BY id DESC",
            "INSERT INTO s VALUES (11, 'b'), (12, NULL), (13, 'a'), (14, 'b')",
            "ALTER TABLE s WRITE UNORDERED",
            "INSERT INTO s VALUES (21, 'b')",
        ])
        .unwrap()
        .success()
        .unwrap();
    assert_eq!(everyone_agrees(&warehouse, "default.s").len(), 13);
    manifests_tell_the_truth(&warehouse, "default.s");
    let rows = warehouse.query(&["SELECT _file, _pos, id, k FROM s ORDER BY _file, _pos"]).unwrap();
    let mut files = std::collections::BTreeMap::<String, Vec<(i64, Option<String>)>>::new();
    for row in &rows {
        let key = (row["id"].as_i64().unwrap(), row["k"].as_str().map(str::to_owned));
        files.entry(row["_file"].as_str().unwrap().to_owned()).or_default().push(key);
    }
    for rows in files.values() {
        let mut sorted = rows.clone();
        match rows[0].0 {
            // NULLs last, the greatest first.
            ..10 => sorted.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0))),
            _ => sorted.sort_by_key(|row| std::cmp::Reverse(row.0)),
        }
        assert_eq!(rows, &sorted);
    }
    let orders = spark(
        &warehouse,
        &[
            "SELECT sort_order_id, sum(record_count) FROM icecap.default.s.files GROUP BY 1 ORDER BY sum(record_count)",
        ],
    );
    let orders: Vec<_> = orders.iter().map(|row| (row[0].as_str(), row[1].as_str().unwrap())).collect();
    assert!(matches!(orders[0].0, None | Some("0")), "{orders:?}");
    assert_eq!(orders[1..], [(Some("2"), "4"), (Some("1"), "8")]);
    // Spark's order is ours too.
    spark(&warehouse, &["ALTER TABLE icecap.default.s WRITE ORDERED BY k ASC NULLS LAST"]);
    warehouse.run(&["INSERT INTO s VALUES (31, 'z'), (32, NULL), (33, 'y')"]).unwrap().success().unwrap();
    let rows =
        warehouse.query(&["SELECT k FROM s WHERE id > 30 AND id % 1 = 0 ORDER BY _file, _pos"]).unwrap();
    assert_eq!(rows.len(), 3);
    invariants_hold(&warehouse, "default.s");
    let plan = warehouse.query(&["EXPLAIN INSERT INTO s SELECT * FROM s"]).unwrap();
    let plan: Vec<&str> = plan.iter().map(|row| row["plan"].as_str().unwrap()).collect();
    assert!(plan.contains(&"  order: k ASC NULLS LAST"), "{plan:#?}");
    assert!(plan.iter().any(|line| line.contains("SortExec: ")), "{plan:#?}");
    assert_eq!(everyone_agrees(&warehouse, "default.s").len(), 16);
}

#[test]
fn a_table_of_an_old_version_is_upgraded_and_written() {
    let warehouse = Warehouse::new().unwrap();
    warehouse.run(&["SHOW TABLES"]).unwrap().success().unwrap();
    spark(
        &warehouse,
        &[
            "CREATE TABLE icecap.default.v (id bigint, k string) USING iceberg PARTITIONED BY (k) \
             TBLPROPERTIES ('format-version'='1')",
            "INSERT INTO icecap.default.v VALUES (1, 'a'), (2, 'b')",
        ],
    );
    let refused = "ALTER TABLE v DROP PARTITION FIELD k";
    warehouse.run(&[refused]).unwrap().fails_with("unsupported", "'format-version' = '2'").unwrap();
    let up = |version: u8| format!("ALTER TABLE v SET TBLPROPERTIES ('format-version' = '{version}')");
    warehouse.run(&[&up(2), "INSERT INTO v VALUES (3, 'a')"]).unwrap().success().unwrap();
    assert_eq!(everyone_agrees(&warehouse, "default.v").len(), 3);
    warehouse.run(&[&up(3), "INSERT INTO v VALUES (4, 'c'), (5, 'a')"]).unwrap().success().unwrap();
    assert_eq!(everyone_agrees(&warehouse, "default.v").len(), 5);
    // All rows have an id of their own, those of before the upgrade too.
    let ids = spark(&warehouse, &["SELECT count(DISTINCT _row_id), count(_row_id) FROM icecap.default.v"]);
    assert_eq!(ids[0], json!(["5", "5"]));
    spark(&warehouse, &["INSERT INTO icecap.default.v VALUES (6, 'a')"]);
    warehouse.run(&["INSERT INTO v VALUES (7, 'c')"]).unwrap().success().unwrap();
    assert_eq!(everyone_agrees(&warehouse, "default.v").len(), 7);
}
