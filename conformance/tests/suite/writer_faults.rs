//! Writers on S3 while everything goes wrong, by a seed: writers killed, answers lost, messages delivered twice,
//! storms of 503 for whoever writes and whoever commits. What was reported is there once, no file is live twice, and
//! whatever lies about bears the id of its write.

use std::collections::BTreeSet;
use std::time::Instant;

use icecap_conformance::stack::{
    Faults, LambdaService, Proxy, Said, Session, Warehouse, children_of, signal, writer_binary,
};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::json;

use crate::compare::invariants_hold;
use crate::figures::report;

const STATEMENTS: u64 = 12;
/// Rows that each statement adds.
const ROWS: u64 = 2_000;
const FAULTS: Faults = Faults { storm: 0.015, storm_requests: 8, lost_reply: 0.04, reset: 0.03, cut: 0.02 };

fn seed() -> u64 {
    let seed = std::env::var("ICECAP_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(20_261_125);
    println!("ICECAP_SEED={seed}");
    seed
}

/// `src`: rows in eight files, so that tasks have something to share; `t`: where they go.
fn tables(warehouse: &Warehouse) {
    let digits = "(VALUES (0), (1), (2), (3), (4), (5), (6), (7), (8), (9))";
    let statements = [
        "CREATE TABLE t (id bigint, g bigint, n bigint) USING iceberg PARTITIONED BY (g)".to_owned(),
        "CREATE TABLE src (id bigint, g bigint) USING iceberg PARTITIONED BY (bucket(8, id))".to_owned(),
        format!(
            "INSERT INTO src SELECT a.n + 10 * b.n + 100 * c.n + 1000 * d.n, a.n % 4
             FROM {digits} a(n), {digits} b(n), {digits} c(n), (VALUES (0), (1)) d(n)"
        ),
    ];
    let statements: Vec<&str> = statements.iter().map(String::as_str).collect();
    warehouse.run(&statements).unwrap().success().unwrap();
}

/// A join and an aggregation, so that rows cross exchanges on their way to partitions.
fn insert(number: u64) -> String {
    format!(
        "INSERT INTO t SELECT l.id + {number} * {ROWS} AS id, l.g AS g, count(*) AS n FROM src l JOIN src r ON l.id = r.id
         GROUP BY l.id, l.g"
    )
}

#[derive(Default)]
struct Told {
    written: u64,
    refused: u64,
    attempts: u64,
    failed: u64,
    crossed: u64,
}

/// Runs the statements, each while `meanwhile` does something; what they told.
fn run(session: &mut Session, mut meanwhile: impl FnMut() + Send) -> Told {
    let mut told = Told::default();
    for number in 0..STATEMENTS {
        let said = std::thread::scope(|scope| {
            scope.spawn(&mut meanwhile);
            session.run(&insert(number)).unwrap()
        });
        match said {
            Said::Summary(summary) => {
                assert_eq!(summary["rows_inserted"], ROWS);
                let number = |name: &str| summary[name].as_u64().unwrap_or_default();
                told.written += 1;
                told.attempts += number("attempts");
                told.failed += number("failed_attempts");
                told.crossed += u64::from(number("exchange_bytes_read") > 0);
            }
            // Given up: then it did not happen.
            Said::Error(line) => {
                let passes = ["error[throttled]", "error[unavailable]"];
                assert!(passes.iter().any(|kind| line.starts_with(kind)), "{line}");
                println!("refused: {line}");
                told.refused += 1;
            }
            Said::Rows(rows) => panic!("no write: {rows:?}"),
        }
    }
    told
}

/// Judges what is there, past the proxy: the rows, the metadata, and every file that is left over.
fn judge(warehouse: &Warehouse, name: &str, told: &Told, proxy: &Proxy, kills: u32) {
    let rows =
        warehouse.query(&["SELECT count(*) AS n, count(DISTINCT id) AS d, sum(n) AS s FROM t"]).unwrap();
    let expected = told.written * ROWS;
    assert_eq!(
        (&rows[0]["n"], &rows[0]["d"], &rows[0]["s"]),
        (&json!(expected), &json!(expected), &json!(expected))
    );
    // Its files are live once each: the invariants say so too.
    invariants_hold(warehouse, "default.t");
    let known = warehouse.known_writes().unwrap();
    let tables = warehouse.tables().unwrap();
    let live: BTreeSet<String> = tables
        .iter()
        .flat_map(|(_, table)| {
            warehouse.query(&[&format!("SELECT DISTINCT _file AS f FROM {table}")]).unwrap()
        })
        .map(|row| row["f"].as_str().unwrap().to_owned())
        .collect();
    let mut left = Vec::new();
    for file in warehouse.files().unwrap() {
        let is_staged = file.ends_with(".parquet") && !live.iter().any(|live| live.ends_with(&file));
        let is_between = file.starts_with(".exchange/") || file.starts_with("_icecap/");
        if is_staged || is_between {
            left.push(file);
        }
    }
    for file in &left {
        let bears_a_write = file.split('/').any(|part| known.iter().any(|id| part.starts_with(id)));
        assert!(bears_a_write, "{file} is nobody's");
    }
    let done = proxy.done();
    println!("{done:?}; left over: {left:#?}");
    report(
        name,
        &json!({"statements": STATEMENTS, "refused": told.refused, "attempts": told.attempts,
            "failed_attempts": told.failed, "kills": kills, "crossed_an_exchange": told.crossed,
            "requests": done.requests, "answered_503": done.slowed, "replies_lost": done.lost_replies,
            "resets": done.resets, "cut_off": done.cut, "left_over_files": left.len()}),
    );
    assert!(done.slowed > 0 && done.lost_replies > 5 && done.resets > 3 && done.cut > 3, "{done:?}");
    assert!(told.written * 2 > STATEMENTS, "{} of {STATEMENTS} statements were refused", told.refused);
    assert_eq!(told.crossed, told.written, "every statement crosses an exchange");
    assert!(told.failed > 0, "no attempt failed");
}

#[test]
fn children_on_s3_are_killed_in_storms_and_every_row_is_there_once() {
    let seed = seed();
    let warehouse = Warehouse::on_s3().unwrap();
    tables(&warehouse);
    let (server, _) = warehouse.s3().unwrap();
    let (direct, proxy) = (server.endpoint(), Proxy::start(server.port(), FAULTS, seed).unwrap());
    let warehouse = warehouse.through(proxy.endpoint()).with(&["--writers", "2", "--tasks", "4"], &[]);
    let mut session = warehouse.session().unwrap();
    let (process, mut kills) = (session.process(), 0);
    // As long as a statement takes here, with its writers warm and faults on S3.
    session.run("INSERT INTO t SELECT id, g, 1 FROM src WHERE id < 0").unwrap();
    let started = Instant::now();
    session.run(&insert(0).replace("INSERT INTO t", "CREATE TABLE timed AS")).unwrap();
    let whole = started.elapsed();
    let mut random = StdRng::seed_from_u64(seed);
    let told = run(&mut session, || {
        // Whichever step a writer is at.
        for _ in 0..random.random_range(0..=2) {
            std::thread::sleep(whole.mul_f64(random.random_range(0.0..0.6)));
            let children = children_of(process);
            if !children.is_empty() {
                signal(children[random.random_range(0..children.len())], "KILL");
                kills += 1;
            }
        }
    });
    drop(session);
    judge(&warehouse.through(direct), "writer_faults_children", &told, &proxy, kills);
}

#[test]
fn functions_on_s3_are_killed_doubled_and_unheard_in_storms_and_every_row_is_there_once() {
    let seed = seed();
    let warehouse = Warehouse::on_s3().unwrap();
    tables(&warehouse);
    let (server, _) = warehouse.s3().unwrap();
    let (direct, proxy) = (server.endpoint(), Proxy::start(server.port(), FAULTS, seed).unwrap());
    // The functions go through the proxy as well.
    let mut options = LambdaService::s3_variables(&proxy.endpoint());
    for fault in ["kill%6", "drop-reply%6", "duplicate%10", "throttle%6"] {
        options.extend(["--fault".to_owned(), fault.to_owned()]);
    }
    options.extend(["--seed".to_owned(), seed.to_string(), "--concurrency".to_owned(), "3".to_owned()]);
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let service = LambdaService::start("icecap-writer", &writer_binary().unwrap(), &options).unwrap();
    let warehouse = warehouse.through(proxy.endpoint()).with(
        &["--writers", "lambda:icecap-writer", "--tasks", "4", "--slots", "2"],
        &[("AWS_ENDPOINT_URL_LAMBDA", &service.url)],
    );
    let mut session = warehouse.session().unwrap();
    let told = run(&mut session, || {});
    drop(session);
    // What runs unheard ends, or never stores anything.
    drop(service);
    judge(&warehouse.through(direct), "writer_faults_lambda", &told, &proxy, 0);
}
