//! Many processes append to one table at once.

use std::collections::BTreeSet;
use std::process::{Child, Stdio};
use std::time::Instant;

use icecap_conformance::stack::Warehouse;
use serde_json::json;

use crate::compare::{everyone_agrees, invariants_hold};
use crate::figures::report;

const PROCESSES: usize = 100;
const APPENDS: usize = 10;

/// A process that appends `APPENDS` rows, each a statement of its own.
fn appender(warehouse: &Warehouse, process: usize) -> Child {
    let mut command = warehouse.command().unwrap();
    for append in 0..APPENDS {
        command.args([
            "-e",
            &format!("INSERT INTO t VALUES ({}, 'process {process}')", process * APPENDS + append),
        ]);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

#[test]
fn a_hundred_processes_append_to_one_table_and_none_is_lost_and_none_fails() {
    let warehouse = Warehouse::alone().unwrap();
    warehouse.run(&["CREATE TABLE t (id bigint, who string) USING iceberg"]).unwrap().success().unwrap();
    let started = Instant::now();
    let running: Vec<Child> = (0..PROCESSES).map(|process| appender(&warehouse, process)).collect();
    let mut failures = Vec::new();
    for child in running {
        let output = child.wait_with_output().unwrap();
        if !output.status.success() {
            failures.push(String::from_utf8_lossy(&output.stderr).into_owned());
        }
    }
    let took = started.elapsed();
    let commits = PROCESSES * APPENDS;
    let figures = json!({
        "processes": PROCESSES, "appends_per_process": APPENDS, "commits": commits, "failed_processes": failures.len(),
        "seconds": took.as_secs_f64(), "commits_per_second": commits as f64 / took.as_secs_f64(),
    });
    report("concurrent_appends", &figures);
    assert!(failures.is_empty(), "{} processes failed, the first: {}", failures.len(), failures[0]);

    let ids: Vec<i64> = warehouse
        .query(&["SELECT id FROM t"])
        .unwrap()
        .iter()
        .map(|row| row["id"].as_i64().unwrap())
        .collect();
    assert_eq!(ids.len(), commits);
    let expected: BTreeSet<i64> = (0..i64::try_from(commits).unwrap()).collect();
    assert_eq!(ids.into_iter().collect::<BTreeSet<_>>(), expected);

    // One snapshot a statement, and the invariants through all of them.
    let metadata = warehouse.metadata("default.t").unwrap();
    assert_eq!(metadata["snapshots"].as_array().unwrap().len(), commits);
    assert_eq!(metadata["last-sequence-number"], commits);
    invariants_hold(&warehouse, "default.t");
    assert_eq!(everyone_agrees(&warehouse, "default.t").len(), commits);
}

#[test]
fn two_processes_that_make_the_same_table_make_it_once() {
    let warehouse = Warehouse::new().unwrap();
    warehouse.run(&["SHOW TABLES"]).unwrap().success().unwrap();
    let racers: Vec<Child> = (0..8)
        .map(|racer| {
            let mut command = warehouse.command().unwrap();
            command.args(["-e", &format!("CREATE TABLE t AS SELECT {racer} AS racer")]);
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    let outputs: Vec<_> = racers.into_iter().map(|racer| racer.wait_with_output().unwrap()).collect();
    let winners: Vec<usize> = (0..outputs.len()).filter(|&at| outputs[at].status.success()).collect();
    assert_eq!(winners.len(), 1);
    for (at, output) in outputs.iter().enumerate().filter(|(at, _)| *at != winners[0]) {
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("error[already-exists]"), "racer {at}: {said}");
    }
    let rows = warehouse.query(&["SELECT racer FROM t"]).unwrap();
    assert_eq!(rows, [json!({"racer": winners[0]})]);
    // The losers' files are gone.
    let data = warehouse.files().unwrap().into_iter().filter(|file| file.ends_with(".parquet")).count();
    assert_eq!(data, 1);
}
