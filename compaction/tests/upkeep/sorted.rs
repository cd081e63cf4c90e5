//! `OPTIMIZE` of a table with a sort order: the files that it writes are in it, and say so.

use std::collections::BTreeMap;
use std::sync::Arc;

use icecap_commit_service::store;
use icecap_table::clock::{SystemClock, SystemIds};
use icecap_table::iceberg::expr::Predicate;
use icecap_table::metadata::TableDocument;
use icecap_table::scan::plan_files;

use crate::lake::Lake;

const OPTIMIZE: &str = "OPTIMIZE t REWRITE DATA USING BIN_PACK";

/// The sort order that each live data file says it is in, by its location, and the table's own.
async fn sort_orders(lake: &Lake) -> (BTreeMap<String, Option<i32>>, i64) {
    let newest = lake.files(".metadata.json").pop().unwrap();
    let location = format!("file://{}/metadata/{newest}", lake.table_folder().display());
    let storage = store::storage(Arc::new(SystemClock), Arc::new(SystemIds));
    let document = TableDocument::load(&storage, &location).await.unwrap();
    let metadata = document.metadata();
    let snapshot = metadata.current_snapshot().unwrap();
    let plan = plan_files(&storage, metadata, snapshot, &Predicate::AlwaysTrue).await.unwrap();
    let orders = plan.files.iter().map(|file| (file.path.clone(), file.sort_order_id)).collect();
    (orders, metadata.default_sort_order_id())
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_sorted_say_so_and_keep_their_rows_lineage() {
    for version in [2, 3] {
        let lake = Lake::new().await;
        lake.run(&format!(
            "CREATE TABLE t (id bigint, p string, k bigint, s string) PARTITIONED BY (p) TBLPROPERTIES \
             ('table_type'='ICEBERG', 'format_version'='{version}', 'optimize_rewrite_data_file_threshold'='2', \
             'write_target_data_file_size_bytes'='30000')"
        ))
        .await;
        let insert = |from: i64| {
            format!(
                "INSERT INTO t SELECT value, CASE WHEN value % 2 = 0 THEN 'a' ELSE 'b' END, (value * 7919) % 4999, \
                 encode(sha256(CAST(value AS varchar)), 'hex') FROM generate_series({from}, {})",
                from + 1599
            )
        };
        // Files from before the order, and files in it, whose ranges all overlap.
        lake.run(&insert(0)).await;
        lake.run(&insert(1600)).await;
        lake.run("ALTER TABLE t WRITE ORDERED BY k DESC NULLS LAST, id").await;
        lake.run(&insert(3200)).await;
        lake.run("INSERT INTO t VALUES (50000, 'a', NULL, ''), (50001, 'a', 3, ''), (50002, 'a', NULL, '')")
            .await;
        lake.run("UPDATE t SET k = k + 1 WHERE id % 10 = 3").await;
        lake.run("DELETE FROM t WHERE id % 10 = 7").await;
        let rows = "SELECT id, p, k, _row_id, _last_updated_sequence_number FROM t ORDER BY id";
        let before = lake.rows(rows).await;
        assert_eq!(before[0].ends_with("|NULL|NULL"), version == 2, "{}", before[0]);
        let (old, order) = sort_orders(&lake).await;
        assert!(order > 0 && old.values().any(|of| of.is_none_or(|id| id == 0)), "{old:?}");

        let summary = lake.written(OPTIMIZE).await;
        assert!(summary.data_files >= 2, "a file of each partition: {summary:?}");
        assert_eq!(lake.rows(rows).await, before, "version {version}");
        // Files that were neither too small nor too large stay as they are.
        let (mut written, order) = sort_orders(&lake).await;
        written.retain(|path, _| !old.contains_key(path));
        assert_eq!(written.len() as u64, summary.data_files);
        let order = i32::try_from(order).unwrap();
        assert!(written.values().all(|of| *of == Some(order)), "{written:?} of {order}");

        let mut files: BTreeMap<String, Vec<(bool, i64, i64)>> = BTreeMap::new();
        for row in lake.rows("SELECT _file, k, id FROM t ORDER BY _file, _pos").await {
            let [file, k, id] = row.split('|').collect::<Vec<_>>().try_into().unwrap();
            // Descending, NULLs last, then ascending by id.
            let key = (k == "NULL", -k.parse().unwrap_or(0), id.parse().unwrap());
            if written.contains_key(file) {
                files.entry(file.to_owned()).or_default().push(key);
            }
        }
        assert_eq!(files.len(), written.len());
        for (file, keys) in files {
            assert!(keys.is_sorted(), "version {version}: {file} is not in the order");
        }
        lake.verify("t").await;
    }
}
