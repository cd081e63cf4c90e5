//! Writes that run in child processes: the same tables, whatever dies meanwhile.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use icecap_conformance::stack::{
    Warehouse, children_of, icecap_binary, is_running, run_within, signal, wait_until,
};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

use crate::compare::invariants_hold;
use crate::figures::report;

const SOON: Duration = Duration::from_secs(60);

/// A hundred thousand rows in ten groups.
const ROWS: &str = "WITH d(n) AS (VALUES (0), (1), (2), (3), (4), (5), (6), (7), (8), (9)) \
    SELECT a.n + 10 * b.n + 100 * c.n + 1000 * e.n + 10000 * f.n AS id, a.n AS g \
    FROM d a CROSS JOIN d b CROSS JOIN d c CROSS JOIN d e CROSS JOIN d f";

/// A hundred times as many: long enough to be hit.
const MANY_ROWS: &str = "WITH d(n) AS (VALUES (0), (1), (2), (3), (4), (5), (6), (7), (8), (9)) \
    SELECT a.n + 10 * b.n + 100 * c.n + 1000 * e.n + 10000 * f.n + 100000 * g.n + 1000000 * h.n AS id, a.n AS g \
    FROM d a CROSS JOIN d b CROSS JOIN d c CROSS JOIN d e CROSS JOIN d f CROSS JOIN d g CROSS JOIN d h";

fn seeded() -> StdRng {
    let seed = std::env::var("ICECAP_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(20_260_102);
    println!("ICECAP_SEED={seed}");
    StdRng::seed_from_u64(seed)
}

fn command(warehouse: &Warehouse, writers: &str, statements: &[&str]) -> Command {
    let mut command = warehouse.command().unwrap();
    command.args(["--writers", writers]);
    for statement in statements {
        command.args(["-e", statement]);
    }
    command
}

fn start(warehouse: &Warehouse, writers: &str, statements: &[&str]) -> Child {
    let mut command = command(warehouse, writers, statements);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn run(warehouse: &Warehouse, writers: &str, statements: &[&str]) -> Vec<Value> {
    run_within(&mut command(warehouse, writers, statements), "", SOON * 6).unwrap().objects().unwrap()
}

#[test]
fn a_write_in_a_child_makes_the_same_table_and_tells_what_it_took() {
    let warehouse = Warehouse::new().unwrap();
    for (table, writers) in [("here", None), ("there", Some("2"))] {
        let statements = [
            format!(
                "CREATE TABLE {table} WITH (table_type = 'ICEBERG', partitioning = ARRAY['g', 'bucket(id, 4)']) AS \
                 SELECT id, g, 'row ' || CAST(id AS varchar) AS name FROM ({ROWS}) AS r"
            ),
            format!("INSERT INTO {table} SELECT id + 100000, NULL, NULL FROM ({ROWS}) AS r WHERE g < 3"),
        ];
        let statements: Vec<&str> = statements.iter().map(String::as_str).collect();
        let summary = match writers {
            Some(writers) => run(&warehouse, writers, &statements),
            None => warehouse.query(&statements).unwrap(),
        };
        let told = &summary[0];
        assert_eq!(told["rows_inserted"], 30_000);
        assert_eq!(told.get("attempts").cloned(), writers.map(|_| json!(1)));
        assert_eq!(told.get("failed_attempts").cloned(), writers.map(|_| json!(0)));
        // The child of the first statement runs the second.
        assert_eq!(told.get("cold_starts").cloned(), writers.map(|_| json!(0)));
        invariants_hold(&warehouse, &format!("default.{table}"));
    }
    let (here, there) = (warehouse.read("default.here").unwrap(), warehouse.read("default.there").unwrap());
    assert_eq!(here.rows, there.rows);
}

#[test]
fn an_error_in_a_child_is_the_error_of_the_statement() {
    let warehouse = Warehouse::new().unwrap();
    warehouse.run(&["CREATE TABLE t (id bigint) USING iceberg"]).unwrap().success().unwrap();
    let before = warehouse.files().unwrap();
    let failing = format!("INSERT INTO t SELECT 1 / (id - 7) FROM ({ROWS}) AS r");
    let here = warehouse.run(&[&failing]).unwrap();
    let there = run_within(&mut command(&warehouse, "1", &[&failing]), "", SOON).unwrap();
    assert_eq!(there.status, Some(1));
    assert_eq!(there.error_line().unwrap(), here.error_line().unwrap());
    assert_eq!(warehouse.files().unwrap(), before);
}

/// Writers killed at random moments: a statement that was reported is there once, whole; files of dead attempts
/// carry the names of their writes.
#[test]
fn writers_killed_at_random_cost_attempts_and_nothing_else() {
    let warehouse = Warehouse::alone().unwrap();
    run(&warehouse, "1", &["CREATE TABLE t (id bigint, g bigint) USING iceberg PARTITIONED BY (g)"]);
    let insert = format!("INSERT INTO t SELECT id, g FROM ({ROWS}) AS r");
    let mut whole = {
        let started = Instant::now();
        run(&warehouse, "1", &[&insert]);
        started.elapsed()
    };
    let mut random = seeded();
    let (mut written, mut attempts, mut failed, mut given_up) = (1_u64, 0, 0, 0);
    for _ in 0..15 {
        let parent = start(&warehouse, "1", &[&insert]);
        let number = parent.id();
        let kills = random.random_range(1..=2);
        for _ in 0..kills {
            let some = || !children_of(number).is_empty() || !is_running(number);
            wait_until("a writer runs", SOON, some).unwrap();
            std::thread::sleep(whole.mul_f64(random.random_range(0.0..0.8)));
            for child in children_of(number) {
                signal(child, "KILL");
            }
        }
        let output = parent.wait_with_output().unwrap();
        if output.status.success() {
            let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
            assert_eq!(summary["rows_inserted"], 100_000);
            attempts += summary["attempts"].as_u64().unwrap();
            let hit = summary["failed_attempts"].as_u64().unwrap();
            if hit == 0 {
                // The first run may have been a slow one.
                whole = whole.mul_f64(0.7);
            }
            failed += hit;
            written += 1;
        } else {
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(said.contains("error[unavailable]"), "{said}");
            given_up += 1;
        }
        let count = warehouse.query(&["SELECT count(*) AS n, count(DISTINCT id) AS d FROM t"]).unwrap();
        assert_eq!(count[0]["n"], written * 100_000);
        assert_eq!(count[0]["d"], 100_000);
    }
    invariants_hold(&warehouse, "default.t");
    let left = leftovers(&warehouse, "t");
    report(
        "killed_writers",
        &json!({"statements": 15, "attempts": attempts, "failed_attempts": failed, "given_up": given_up,
            "left_over_files": left.len()}),
    );
    assert!(failed >= 5, "only {failed} attempts were hit");
    for file in left {
        let name = file.rsplit('/').next().unwrap();
        let is_of_a_write = name.split('-').count() > 5 && name.ends_with(".parquet");
        assert!(is_of_a_write || name.starts_with(".icecap-tmp-"), "{file} has no name of a write");
    }
}

/// Data files of a table's folder that its metadata does not name.
fn leftovers(warehouse: &Warehouse, table: &str) -> Vec<String> {
    let live = warehouse.query(&[&format!("SELECT DISTINCT _file AS f FROM {table}")]).unwrap();
    let live: Vec<String> = live.iter().map(|row| row["f"].as_str().unwrap().to_owned()).collect();
    let files = warehouse.files().unwrap().into_iter();
    files
        .filter(|file| file.contains("/data/"))
        .filter(|file| !live.iter().any(|live| live.ends_with(file.as_str())))
        .collect()
}

#[test]
fn no_writer_outlives_its_parent_however_that_ends() {
    let warehouse = Warehouse::alone().unwrap();
    run(&warehouse, "1", &["CREATE TABLE t (id bigint, g bigint) USING iceberg"]);
    let insert = format!("INSERT INTO t SELECT id, g FROM ({MANY_ROWS}) AS r");
    for how in ["KILL", "TERM"] {
        let mut parent = start(&warehouse, "2", &[&insert]);
        let number = parent.id();
        wait_until("a writer runs", SOON, || !children_of(number).is_empty()).unwrap();
        let children = children_of(number);
        std::thread::sleep(Duration::from_millis(300));
        signal(number, how);
        parent.wait().unwrap();
        wait_until("the writers have ended", SOON, || !children.iter().any(|child| is_running(*child)))
            .unwrap_or_else(|failure| panic!("{how}: {failure}"));
    }
    let count = warehouse.query(&["SELECT count(*) AS n FROM t"]).unwrap();
    assert_eq!(count[0]["n"], 0);
}

/// A child that is given up while it answers: its error would be taken for the statement's.
#[test]
fn a_writer_that_nobody_listens_to_ends_in_silence() {
    let mut writer = Command::new(icecap_binary().unwrap());
    writer.args(["writer", "--stdio"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut writer = writer.spawn().unwrap();
    drop(writer.stdout.take());
    let output = writer.wait_with_output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
}

#[test]
fn ctrl_c_ends_the_writer_and_leaves_nothing_half_done() {
    let warehouse = Warehouse::alone().unwrap();
    run(&warehouse, "1", &["CREATE TABLE t (id bigint, g bigint) USING iceberg"]);
    let before = warehouse.files().unwrap();
    let insert = format!("INSERT INTO t SELECT id, g FROM ({MANY_ROWS}) AS r");
    let parent = start(&warehouse, "1", &[&insert]);
    let number = parent.id();
    wait_until("a writer runs", SOON, || !children_of(number).is_empty()).unwrap();
    let children = children_of(number);
    std::thread::sleep(Duration::from_millis(500));
    let asked = Instant::now();
    signal(number, "INT");
    let output = parent.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("error[cancelled]"), "{said}");
    assert!(asked.elapsed() < SOON, "{} s to stop", asked.elapsed().as_secs_f64());
    assert!(!children.iter().any(|child| is_running(*child)), "a writer runs still");
    assert_eq!(warehouse.files().unwrap(), before);
}
