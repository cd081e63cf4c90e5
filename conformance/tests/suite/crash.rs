//! Processes that are killed, interrupted, or fail half way.

use std::collections::BTreeMap;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use icecap_conformance::stack::{Output, Warehouse, heeds_interrupt, wait_until};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

use crate::compare::invariants_hold;
use crate::figures::report;

/// Statements that are killed at: together 200.
const IN_BATCHES: usize = 100;
const BATCH: usize = 10;
const WITH_TOKEN: usize = 100;

/// Longest wait for a killed attempt's heartbeat to be judged dead.
const TAKE_OVER_WITHIN: Duration = Duration::from_secs(90);

/// Ten million rows without a table: long enough to be interrupted.
const MANY_ROWS: &str = "WITH d(n) AS (VALUES (0), (1), (2), (3), (4), (5), (6), (7), (8), (9)) \
    SELECT a.n + 10 * b.n + 100 * c.n + 1000 * e.n + 10000 * f.n + 100000 * g.n + 1000000 * h.n AS id \
    FROM d a CROSS JOIN d b CROSS JOIN d c CROSS JOIN d e CROSS JOIN d f CROSS JOIN d g CROSS JOIN d h";

/// The seed of this run, printed; `ICECAP_SEED` repeats one.
fn seeded() -> StdRng {
    let seed = std::env::var("ICECAP_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(20_260_102);
    println!("ICECAP_SEED={seed}");
    StdRng::seed_from_u64(seed)
}

fn start(warehouse: &Warehouse, options: &[&str], statements: &[String]) -> Child {
    let mut command = warehouse.command().unwrap();
    command.args(options);
    for statement in statements {
        command.args(["-e", statement]);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn insert(id: usize) -> String {
    format!("INSERT INTO t VALUES ({id})")
}

/// How often each id is in the table.
fn stored(warehouse: &Warehouse) -> BTreeMap<usize, usize> {
    let mut found = BTreeMap::new();
    for row in warehouse.query(&["SELECT id FROM t"]).unwrap() {
        *found.entry(usize::try_from(row["id"].as_u64().unwrap()).unwrap()).or_default() += 1;
    }
    found
}

/// How many statements a process reported as done: each says `rows_inserted`.
fn reported(output: &std::process::Output) -> usize {
    let both = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    String::from_utf8_lossy(&both).matches("rows_inserted").count()
}

/// How long a run takes, as far as is known: one that had ended by itself when it was to be killed took no longer. The
/// first may have been a slow one.
fn no_longer_than(whole: Duration, slept: Duration, output: &std::process::Output) -> Duration {
    if output.status.success() { whole.min(slept) } else { whole }
}

/// Batches of INSERTs in one process, killed at a random moment: what was reported is there once, and besides
/// that at most the one statement that was under way.
#[test]
fn after_a_kill_every_reported_statement_is_there_once_and_no_other() {
    let warehouse = Warehouse::alone().unwrap();
    warehouse.run(&["CREATE TABLE t (id bigint) USING iceberg"]).unwrap().success().unwrap();
    let mut random = seeded();
    let mut whole = {
        let started = Instant::now();
        let statements: Vec<String> = (1_000_000..1_000_000 + BATCH).map(insert).collect();
        assert!(start(&warehouse, &[], &statements).wait_with_output().unwrap().status.success());
        started.elapsed()
    };
    let (mut killed, mut under_way) = (0, 0);
    for first in (0..IN_BATCHES).step_by(BATCH) {
        let statements: Vec<String> = (first..first + BATCH).map(insert).collect();
        let mut child = start(&warehouse, &[], &statements);
        let slept = whole.mul_f64(random.random_range(0.0..1.1));
        std::thread::sleep(slept);
        child.kill().unwrap();
        let output = child.wait_with_output().unwrap();
        whole = no_longer_than(whole, slept, &output);
        let done = reported(&output);
        let there = stored(&warehouse);
        let of_batch: Vec<usize> = there.range(first..first + BATCH).map(|(id, _)| *id).collect();
        let expected: Vec<usize> = (first..first + of_batch.len()).collect();
        assert_eq!(of_batch, expected, "statements run in order");
        assert!(
            (done..=done + 1).contains(&of_batch.len()),
            "{done} statements reported success, {} are there",
            of_batch.len()
        );
        assert!(there.values().all(|times| *times == 1), "a row is there twice: {there:?}");
        invariants_hold(&warehouse, "default.t");
        killed += usize::from(!output.status.success());
        under_way += of_batch.len() - done;
        // The next statement works.
        let next = insert(2_000_000 + first);
        warehouse.run(&[&next]).unwrap().success().unwrap();
    }
    report(
        "kill_batches",
        &json!({"statements": IN_BATCHES, "killed": killed, "committed_unreported": under_way}),
    );
    assert!(killed >= 3, "only {killed} of {} processes were hit", IN_BATCHES / BATCH);
}

/// Single INSERTs under a token, killed at a random moment and asked again: each is there exactly once, and the
/// same token goes on answering the same result.
#[test]
fn a_killed_statement_asked_again_under_its_token_runs_once() {
    let warehouse = Warehouse::alone().unwrap();
    warehouse.run(&["CREATE TABLE t (id bigint) USING iceberg"]).unwrap().success().unwrap();
    let mut random = seeded();
    let token = |id: usize| format!("crash-{id}");
    let mut whole = {
        let started = Instant::now();
        warehouse.run(&[&insert(1_000_000)]).unwrap().success().unwrap();
        started.elapsed()
    };
    let mut killed = 0;
    for id in 0..WITH_TOKEN {
        let mut child = start(&warehouse, &["--id", &token(id)], &[insert(id)]);
        let slept = whole.mul_f64(random.random_range(0.0..1.3));
        std::thread::sleep(slept);
        child.kill().unwrap();
        let output = child.wait_with_output().unwrap();
        whole = no_longer_than(whole, slept, &output);
        killed += usize::from(!output.status.success());
        if output.status.success() {
            assert_eq!(stored(&warehouse).get(&id), Some(&1), "{id} reported success");
        }
    }
    let before = stored(&warehouse);
    assert!(before.values().all(|times| *times == 1), "a row is there twice: {before:?}");
    let committed = before.len() - 1;
    let started = Instant::now();
    let first: Vec<Value> =
        (0..WITH_TOKEN).map(|id| ask_again(&warehouse, &token(id), id, started)).collect();
    let expected: BTreeMap<usize, usize> = (0..WITH_TOKEN).chain([1_000_000]).map(|id| (id, 1)).collect();
    assert_eq!(stored(&warehouse), expected);
    let pointer = warehouse.metadata_location("default.t").unwrap();
    for (id, first) in first.iter().enumerate().step_by(10) {
        let again = ask_again(&warehouse, &token(id), id, Instant::now());
        for key in ["statement", "rows_inserted", "snapshot_id"] {
            assert_eq!(again[key], first[key], "{id}: {key} of the recorded result");
        }
    }
    assert_eq!(
        warehouse.metadata_location("default.t").unwrap(),
        pointer,
        "an answered token commits nothing"
    );
    invariants_hold(&warehouse, "default.t");
    let figures = json!({"statements": WITH_TOKEN, "killed": killed, "committed_before_retry": committed,
        "retries_seconds": started.elapsed().as_secs_f64()});
    report("kill_tokens", &figures);
    assert!(killed >= WITH_TOKEN / 4, "only {killed} of {WITH_TOKEN} processes were hit");
}

fn ask_again(warehouse: &Warehouse, token: &str, id: usize, started: Instant) -> Value {
    let summary = answered(warehouse, token, &insert(id), started);
    assert_eq!(summary["rows_inserted"], 1, "{token}");
    summary
}

/// Asks under a token until its dead attempt has been taken over; answers the summary.
fn answered(warehouse: &Warehouse, token: &str, statement: &str, started: Instant) -> Value {
    loop {
        let statements = [statement.to_owned()];
        let output = start(warehouse, &["--id", token], &statements).wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        if output.status.success() {
            let line = String::from_utf8_lossy(&output.stdout).into_owned();
            return serde_json::from_str(line.trim()).unwrap_or_else(|_| panic!("{line:?} is no summary"));
        }
        assert!(said.contains("error[unavailable]"), "{token}: {said}");
        assert!(started.elapsed() < TAKE_OVER_WITHIN, "{token} is not taken over: {said}");
        std::thread::sleep(Duration::from_millis(500));
    }
}

/// Namespaces made and dropped under tokens by processes that are killed: asked again, each happens once, and a token
/// that was answered does nothing more, whatever happened since.
#[test]
fn a_killed_change_of_a_namespace_asked_again_under_its_token_happens_once() {
    const NAMESPACES: usize = 30;
    let warehouse = Warehouse::alone().unwrap();
    let mut random = seeded();
    let mut whole = {
        // The first run also makes the catalog.
        warehouse.run(&["CREATE SCHEMA warm"]).unwrap().success().unwrap();
        let started = Instant::now();
        warehouse.run(&["DROP SCHEMA warm"]).unwrap().success().unwrap();
        started.elapsed()
    };
    let named = |kind: &str| format!("SHOW NAMESPACES LIKE '{kind}'");
    let exists = |name: &str| !warehouse.query(&[&named(name)]).unwrap().is_empty();
    let (mut killed, mut done_unreported) = (0, 0);
    for number in 0..NAMESPACES {
        let name = format!("n{number}");
        let steps = [
            ("CREATE_DATABASE", format!("CREATE SCHEMA {name}"), true),
            ("DROP_DATABASE", format!("DROP SCHEMA {name}"), false),
        ];
        for (word, statement, there) in &steps {
            let token = format!("{word}-{number}");
            let mut child = start(&warehouse, &["--id", &token], std::slice::from_ref(statement));
            let slept = whole.mul_f64(random.random_range(0.0..1.2));
            std::thread::sleep(slept);
            child.kill().unwrap();
            let output = child.wait_with_output().unwrap();
            whole = no_longer_than(whole, slept, &output);
            killed += usize::from(!output.status.success());
            let happened = exists(&name) == *there;
            assert!(happened || !output.status.success(), "{statement} reported success: {output:?}");
            done_unreported += usize::from(happened && !output.status.success());
            let told = answered(&warehouse, &token, statement, Instant::now());
            assert_eq!(told, json!({"statement": word, "table": name}));
            assert_eq!(exists(&name), *there, "{statement}");
        }
        // Both again, in the other order: what was recorded is told, and nothing is done.
        for (word, statement, _) in &steps {
            let told = answered(&warehouse, &format!("{word}-{number}"), statement, Instant::now());
            assert_eq!(told, json!({"statement": word, "table": name}));
            assert!(!exists(&name), "{statement} was done a second time");
        }
    }
    // A statement that had nothing to do is recorded too.
    let run = |statement: &str| answered(&warehouse, "nothing", statement, Instant::now());
    run("DROP SCHEMA IF EXISTS later");
    warehouse.run(&["CREATE SCHEMA later"]).unwrap().success().unwrap();
    run("DROP SCHEMA IF EXISTS later");
    assert!(exists("later"));
    // The token belongs to that statement.
    let other = start(&warehouse, &["--id", "nothing"], &["DROP SCHEMA later".to_owned()]);
    let other = other.wait_with_output().unwrap();
    assert!(String::from_utf8_lossy(&other.stderr).contains("error[invalid]"), "{other:?}");
    report(
        "kill_namespaces",
        &json!({"statements": 2 * NAMESPACES, "killed": killed, "committed_unreported": done_unreported}),
    );
    assert!(killed >= NAMESPACES / 4, "only {killed} of {} processes were hit", 2 * NAMESPACES);
}

#[test]
fn the_same_token_with_another_statement_is_refused() {
    let warehouse = Warehouse::new().unwrap();
    warehouse.run(&["CREATE TABLE t (id bigint) USING iceberg"]).unwrap().success().unwrap();
    let run =
        |statement: String| start(&warehouse, &["--id", "one"], &[statement]).wait_with_output().unwrap();
    assert!(run(insert(1)).status.success());
    let other = run(insert(2));
    assert_eq!(other.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&other.stderr).contains("error[invalid]"), "{other:?}");
    assert_eq!(stored(&warehouse), [(1, 1)].into());
}

fn interrupt(child: &Child) {
    let kill = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(kill.success());
}

#[test]
fn ctrl_c_leaves_nothing_half_done() {
    let warehouse = Warehouse::alone().unwrap();
    warehouse.run(&["CREATE TABLE t (id bigint) USING iceberg", &insert(1)]).unwrap().success().unwrap();
    let before = warehouse.files().unwrap();
    let pointer = warehouse.metadata_location("default.t").unwrap();
    for statement in [format!("INSERT INTO t {MANY_ROWS}"), format!("CREATE TABLE made AS {MANY_ROWS}")] {
        let child = start(&warehouse, &[], std::slice::from_ref(&statement));
        wait_until("it heeds Ctrl-C", Duration::from_secs(60), || heeds_interrupt(child.id())).unwrap();
        std::thread::sleep(Duration::from_millis(500));
        let asked = Instant::now();
        interrupt(&child);
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{statement}: {said}");
        assert!(said.contains("error[cancelled]"), "{statement}: {said}");
        assert!(asked.elapsed() < Duration::from_secs(60), "{} s to stop", asked.elapsed().as_secs_f64());
        assert_eq!(warehouse.files().unwrap(), before, "{statement}");
    }
    assert_eq!(warehouse.metadata_location("default.t").unwrap(), pointer);
    assert_eq!(warehouse.pointers().unwrap().len(), 1);
    warehouse.run(&[&insert(2)]).unwrap().success().unwrap();
    assert_eq!(stored(&warehouse), [(1, 1), (2, 1)].into());
}

#[test]
fn a_ctas_that_fails_late_leaves_no_table_and_no_file() {
    let warehouse = Warehouse::new().unwrap();
    warehouse.run(&["SHOW TABLES"]).unwrap().success().unwrap();
    let before = warehouse.files().unwrap();
    let failing = [
        // The last rows divide by zero; those before are written by then.
        format!("CREATE TABLE t AS SELECT id, 1 / (9999999 - id) AS n FROM ({MANY_ROWS}) AS r"),
        "CREATE TABLE t AS SELECT CAST('x' AS int) AS n".to_owned(),
        "CREATE TABLE t WITH (table_type='ICEBERG', partitioning=ARRAY['nope']) AS SELECT 1 AS n".to_owned(),
        "CREATE TABLE t WITH (table_type='ICEBERG', format='ORC') AS SELECT 1 AS n".to_owned(),
    ];
    for statement in failing {
        let output: Output = warehouse.run(&[&statement]).unwrap();
        assert_eq!(output.status, Some(1), "{statement}: {output:?}");
        assert!(output.error_kind().is_some(), "{output:?}");
        assert_eq!(warehouse.pointers().unwrap(), BTreeMap::new(), "{statement}");
        assert_eq!(warehouse.files().unwrap(), before, "{statement}");
    }
    warehouse.run(&["CREATE TABLE t AS SELECT 1 AS n"]).unwrap().success().unwrap();
}
