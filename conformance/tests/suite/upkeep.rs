//! Tables that are kept healthy: other engines' deletes applied, files joined, history let go, while writers go on.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use icecap_conformance::canonical::difference;
use icecap_conformance::stack::{Warehouse, icecap_binary, run_within};
use serde_json::{Value, json};

use crate::compare::everyone_agrees;
use crate::deletes::{changes, explained, spark};

const OPTIMIZE: &str = "REWRITE DATA USING BIN_PACK";

/// Rewrites a table that Spark deleted from: every reader sees the rows that were there, and nothing is deleted any more.
fn rewritten_as_it_was(warehouse: &Warehouse, table: &str) {
    let name = format!("default.{table}");
    let before = everyone_agrees(warehouse, &name);
    assert!(explained(warehouse, table).contains("deletes="), "{table}");
    let optimize = format!("OPTIMIZE {table} {OPTIMIZE}");
    let summary = warehouse.query(&[&optimize]).unwrap();
    assert!(summary[0]["data_files"].as_u64().unwrap() > 0, "{table}: {summary:?}");
    let after = everyone_agrees(warehouse, &name);
    assert_eq!(difference("before", &before, "after", &after), None, "{table}");
    let plan = explained(warehouse, table);
    assert!(!plan.contains("deletes="), "{table}: {plan}");
    let again = warehouse.query(&[&optimize]).unwrap();
    assert_eq!(again[0]["snapshot_id"], Value::Null, "{table}: {again:?}");
}

#[test]
fn position_deletes_of_spark_are_written_out() {
    let warehouse = Warehouse::new().unwrap();
    warehouse.run(&["SHOW TABLES"]).unwrap().success().unwrap();
    for (table, partitioned, granularity) in [
        ("by_file", "", "file"),
        ("by_partition", "", "partition"),
        ("parted", "PARTITIONED BY (k)", "partition"),
    ] {
        spark(&warehouse, &changes(table, partitioned, 2, granularity));
        rewritten_as_it_was(&warehouse, table);
    }
    // Spark goes on with what came out.
    spark(&warehouse, &["DELETE FROM icecap.default.by_file WHERE id < 10".to_owned()]);
    everyone_agrees(&warehouse, "default.by_file");
}

/// Each row's id and the sequence number of its last change, by the row.
fn lineage(warehouse: &Warehouse, table: &str) -> Vec<Value> {
    let columns = "id, k, s, _row_id, _last_updated_sequence_number";
    warehouse.query(&[&format!("SELECT {columns} FROM {table} ORDER BY _row_id")]).unwrap()
}

#[test]
fn deletion_vectors_of_spark_are_written_out_and_row_ids_stay() {
    let warehouse = Warehouse::new().unwrap();
    warehouse.run(&["SHOW TABLES"]).unwrap().success().unwrap();
    for (table, partitioned) in [("plain", ""), ("parted", "PARTITIONED BY (k)")] {
        let mut statements = changes(table, partitioned, 3, "file");
        // A vector alone is no reason; much of a file deleted is.
        statements.push(format!("DELETE FROM icecap.default.{table} WHERE id % 5 IN (1, 2)"));
        spark(&warehouse, &statements);
        let before = lineage(&warehouse, table);
        rewritten_as_it_was(&warehouse, table);
        assert_eq!(lineage(&warehouse, table), before, "{table}");
        let theirs = "id, k, s, _row_id, _last_updated_sequence_number";
        let theirs =
            spark(&warehouse, &[format!("SELECT {theirs} FROM icecap.default.{table} ORDER BY _row_id")]);
        let own: Vec<Value> = before.iter().map(|row| row["_row_id"].clone()).collect();
        let theirs: Vec<Value> = theirs.as_array().unwrap().iter().map(|row| row[3].clone()).collect();
        let text = |ids: Vec<Value>| -> Vec<String> {
            ids.iter().map(|id| id.to_string().trim_matches('"').to_owned()).collect()
        };
        assert_eq!(text(own), text(theirs), "{table}");
    }
}

const APPENDERS: usize = 3;
const APPENDS: usize = 100;

/// A process that appends `APPENDS` rows, each a statement of its own.
fn appender(warehouse: &Warehouse, process: usize) -> Child {
    let mut command = warehouse.command().unwrap();
    for append in 0..APPENDS {
        let id = process * APPENDS + append;
        command.args(["-e", &format!("INSERT INTO t VALUES ({id}, {})", id % 4)]);
    }
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
}

#[test]
fn a_table_of_many_commits_is_kept_healthy_while_writers_go_on() {
    let warehouse = Warehouse::alone().unwrap();
    warehouse
        .run(&[
            "CREATE TABLE t (id bigint, p int) PARTITIONED BY (p) TBLPROPERTIES ('table_type'='ICEBERG', \
             'vacuum_max_snapshot_age_seconds'='0', 'vacuum_max_metadata_files_to_keep'='10')",
        ])
        .unwrap()
        .success()
        .unwrap();
    let mut running: Vec<Child> = (0..APPENDERS).map(|process| appender(&warehouse, process)).collect();
    let optimize = format!("OPTIMIZE t {OPTIMIZE}");
    let mut rounds = 0;
    // Appends never stand in the way of upkeep, nor it in theirs.
    while running.iter_mut().any(|child| child.try_wait().unwrap().is_none()) {
        warehouse.run(&[&optimize, "VACUUM t"]).unwrap().success().unwrap();
        rounds += 1;
    }
    for child in running {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    println!("{rounds} rounds of OPTIMIZE and VACUUM beside {} commits", APPENDERS * APPENDS);
    assert!(rounds > 0);
    warehouse.run(&[&optimize, "VACUUM t"]).unwrap().success().unwrap();

    let all = i64::try_from(APPENDERS * APPENDS).unwrap();
    let rows = warehouse
        .query(&["SELECT count(*) AS n, count(DISTINCT id) AS ids, sum(id) AS total, count(DISTINCT _file) AS files FROM t"])
        .unwrap();
    assert_eq!(
        (&rows[0]["n"], &rows[0]["ids"], &rows[0]["total"]),
        (&json!(all), &json!(all), &json!(all * (all - 1) / 2))
    );
    assert_eq!(everyone_agrees(&warehouse, "default.t").len(), APPENDERS * APPENDS);
    let mut verify = Command::new(icecap_binary().unwrap());
    verify.current_dir(warehouse.beside()).args(["verify", "t"]);
    warehouse.name(&mut verify);
    run_within(&mut verify, "", Duration::from_secs(120)).unwrap().success().unwrap();

    // Nothing is left but what the one snapshot needs: its files, and a log of ten metadata files.
    let left = warehouse.files().unwrap();
    let of = |ending: &str| left.iter().filter(|file| file.ends_with(ending)).count();
    assert_eq!(json!(of(".parquet")), rows[0]["files"]);
    assert!(of(".parquet") < 20 && of(".metadata.json") <= 11, "{left:#?}");
    assert_eq!(warehouse.metadata("default.t").unwrap()["snapshots"].as_array().unwrap().len(), 1);
    assert_eq!(left.iter().filter(|file| file.contains("/snap-")).count(), 1);
}
