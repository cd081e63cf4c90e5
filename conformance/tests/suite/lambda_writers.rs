//! Writes that run in a Lambda function: the same tables, whatever the service does.

use std::process::Command;
use std::time::Duration;

use icecap_conformance::stack::{LambdaService, Warehouse, run_within, writer_binary};
use serde_json::{Value, json};

use crate::compare::invariants_hold;
use crate::figures::report;

const SOON: Duration = Duration::from_secs(120);

/// Ten thousand rows in ten groups.
const ROWS: &str = "WITH d(n) AS (VALUES (0), (1), (2), (3), (4), (5), (6), (7), (8), (9)) \
    SELECT a.n + 10 * b.n + 100 * c.n + 1000 * e.n AS id, a.n AS g \
    FROM d a CROSS JOIN d b CROSS JOIN d c CROSS JOIN d e";

fn serve(options: &[&str]) -> LambdaService {
    LambdaService::start("icecap-writer", &writer_binary().unwrap(), options).unwrap()
}

fn command(warehouse: &Warehouse, service: &LambdaService) -> Command {
    let mut command = warehouse.command().unwrap();
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("AWS_") {
            command.env_remove(name);
        }
    }
    command.envs(service.variables()).args(["--writers", "lambda:icecap-writer"]);
    command
}

fn run(warehouse: &Warehouse, service: &LambdaService, statements: &[&str]) -> Vec<Value> {
    let mut command = command(warehouse, service);
    for statement in statements {
        command.args(["-e", statement]);
    }
    run_within(&mut command, "", SOON).unwrap().objects().unwrap()
}

/// Files of the warehouse that carry messages between the command and the function.
fn messages(warehouse: &Warehouse) -> Vec<String> {
    warehouse.files().unwrap().into_iter().filter(|file| file.starts_with("_icecap/")).collect()
}

#[test]
fn a_write_in_a_function_makes_the_same_table_and_tells_its_price() {
    let (warehouse, service) = (Warehouse::new().unwrap(), serve(&["--memory", "1024"]));
    let statements = |table: &str| {
        [
            format!(
                "CREATE TABLE {table} WITH (table_type = 'ICEBERG', partitioning = ARRAY['g', 'bucket(id, 4)']) AS \
                 SELECT id, g, 'row ' || CAST(id AS varchar) AS name FROM ({ROWS}) AS r"
            ),
            format!(
                "INSERT INTO {table} SELECT max(l.id) + 10000, l.g, NULL FROM ({ROWS}) AS l \
                 JOIN ({ROWS}) AS r ON l.id = r.id + 1 GROUP BY l.g"
            ),
        ]
    };
    let here = statements("here");
    warehouse.query(&[&here[0], &here[1]]).unwrap();
    let there = statements("there");
    let told = run(&warehouse, &service, &[&there[0], &there[1]]);
    assert_eq!((&told[0]["rows_inserted"], &told[0]["attempts"]), (&json!(10), &json!(1)));
    assert_eq!((&told[0]["failed_attempts"], &told[0]["cold_starts"]), (&json!(0), &json!(0)));
    let (seconds, gb_seconds) =
        (told[0]["billed_seconds"].as_f64().unwrap(), told[0]["gb_seconds"].as_f64().unwrap());
    assert!(seconds > 0.0 && (gb_seconds - seconds).abs() < 1e-6, "a GB is what the function has: {told:?}");
    invariants_hold(&warehouse, "default.there");
    let (here, there) = (warehouse.read("default.here").unwrap(), warehouse.read("default.there").unwrap());
    assert_eq!(here.rows, there.rows);
    assert_eq!(messages(&warehouse), Vec::<String>::new());
}

#[test]
fn a_large_task_goes_through_the_store_and_leaves_nothing_there() {
    let (warehouse, service) = (Warehouse::new().unwrap(), serve(&[]));
    let values: Vec<String> = (0..6000).map(|n| format!("({n}, '{}')", "x".repeat(60))).collect();
    let insert = format!("INSERT INTO t VALUES {}", values.join(", "));
    run(&warehouse, &service, &["CREATE TABLE t (id bigint, text string) USING iceberg"]);
    let output =
        run_within(command(&warehouse, &service).arg("-v"), &insert, SOON).unwrap().success().unwrap();
    let line = output.stderr.lines().find(|line| line.contains("attempt ended")).unwrap_or_default();
    let sent =
        line.split("request_bytes=").nth(1).and_then(|rest| rest.split(' ').next()).unwrap_or_default();
    assert!(sent.parse::<u64>().is_ok_and(|bytes| bytes < 2000), "it was sent inline: {line}");
    assert_eq!(warehouse.query(&["SELECT count(*) AS n FROM t"]).unwrap()[0]["n"], 6000);
    assert_eq!(messages(&warehouse), Vec::<String>::new());
}

#[test]
fn errors_of_tasks_are_the_statements_and_are_not_repeated() {
    let (warehouse, service) = (Warehouse::new().unwrap(), serve(&[]));
    run(&warehouse, &service, &["CREATE TABLE t (id bigint) USING iceberg"]);
    let before = warehouse.files().unwrap();
    let failing = format!("INSERT INTO t SELECT 1 / (id - 7) FROM ({ROWS}) AS r");
    let here = warehouse.run(&[&failing]).unwrap();
    let there = run_within(command(&warehouse, &service).args(["-v", "-e", &failing]), "", SOON).unwrap();
    assert_eq!(there.status, Some(1));
    assert_eq!(there.error_line().unwrap(), here.error_line().unwrap());
    assert_eq!(there.stderr.matches("attempt ended").count(), 1, "{}", there.stderr);
    assert_eq!(warehouse.files().unwrap(), before);
}

#[test]
fn what_is_set_up_wrongly_is_told_with_what_to_do() {
    let (warehouse, service) = (Warehouse::new().unwrap(), serve(&[]));
    run(&warehouse, &service, &["CREATE TABLE t (id bigint) USING iceberg"]);
    let insert = ["-e", "INSERT INTO t VALUES (1)"];
    let mut nobody = warehouse.command().unwrap();
    nobody.envs(service.variables()).args(["--writers", "lambda:nobody"]).args(insert);
    run_within(&mut nobody, "", SOON).unwrap().fails_with("not-found", "no such Lambda function").unwrap();

    let mut nowhere = warehouse.command().unwrap();
    nowhere.envs(service.variables()).env("AWS_ENDPOINT_URL_LAMBDA", "http://127.0.0.1:9");
    nowhere.args(["--writers", "lambda:icecap-writer"]).args(insert);
    run_within(&mut nowhere, "", SOON).unwrap().fails_with("unavailable", "Lambda was not reached").unwrap();

    let mut aws = warehouse.command().unwrap();
    aws.envs(service.variables()).env_remove("AWS_ENDPOINT_URL_LAMBDA");
    aws.args(["--writers", "lambda:icecap-writer"]).args(insert);
    run_within(&mut aws, "", SOON).unwrap().fails_with("invalid", "reach no directory").unwrap();

    let mut keyless = command(&warehouse, &service);
    keyless.env_remove("AWS_ACCESS_KEY_ID").env_remove("AWS_SECRET_ACCESS_KEY");
    keyless.env("AWS_EC2_METADATA_DISABLED", "true").env("HOME", warehouse.beside()).args(insert);
    run_within(&mut keyless, "", SOON).unwrap().fails_with("denied", "AWS_ACCESS_KEY_ID").unwrap();
}

/// Processes killed, answers lost, events delivered twice, invocations throttled, by a seed: every statement that
/// was reported is there once.
#[test]
fn whatever_the_service_does_every_row_is_there_once() {
    let seed = std::env::var("ICECAP_SEED").unwrap_or_else(|_| "20260102".to_owned());
    println!("ICECAP_SEED={seed}");
    let faults = [
        "--fault",
        "kill%15",
        "--fault",
        "drop-reply%10",
        "--fault",
        "duplicate%20",
        "--fault",
        "throttle%15",
        "--seed",
        &seed,
        "--concurrency",
        "3",
    ];
    let (warehouse, service) = (Warehouse::alone().unwrap(), serve(&faults));
    let create = "CREATE TABLE t (id bigint, g bigint) USING iceberg PARTITIONED BY (g)";
    warehouse.run(&[create]).unwrap().success().unwrap();
    let (mut written, mut attempts, mut failed, mut given_up) = (0_u64, 0, 0, 0);
    for number in 0..25 {
        let insert = format!("INSERT INTO t SELECT id + {number} * 10000, g FROM ({ROWS}) AS r");
        let output = run_within(command(&warehouse, &service).args(["-e", &insert]), "", SOON).unwrap();
        match output.error_kind() {
            None => {
                let summary = &output.objects().unwrap()[0];
                assert_eq!(summary["rows_inserted"], 10_000);
                attempts += summary["attempts"].as_u64().unwrap();
                failed += summary["failed_attempts"].as_u64().unwrap();
                written += 1;
            }
            Some(kind) => {
                assert!(matches!(kind, "unavailable" | "throttled"), "{output:?}");
                given_up += 1;
            }
        }
    }
    let count = warehouse.query(&["SELECT count(*) AS n, count(DISTINCT id) AS d FROM t"]).unwrap();
    assert_eq!((&count[0]["n"], &count[0]["d"]), (&json!(written * 10_000), &json!(written * 10_000)));
    invariants_hold(&warehouse, "default.t");
    report(
        "lambda_faults",
        &json!({"statements": 25, "attempts": attempts, "failed_attempts": failed, "given_up": given_up}),
    );
    assert!(failed >= 5, "only {failed} attempts failed");
    assert!(given_up <= 5, "{given_up} statements were given up");
}
