//! The command as a shell sees it: streams, exit statuses, signals. Each test has a warehouse of its own.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

struct Shell {
    folder: TempDir,
}

struct Told {
    status: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Shell {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn warehouse(&self) -> &Path {
        self.folder.path()
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_icecap"));
        for (name, _) in std::env::vars_os() {
            if name.to_str().is_some_and(|name| name.starts_with("ICECAP_")) {
                command.env_remove(name);
            }
        }
        command.current_dir(self.folder.path()).env("ICECAP_WAREHOUSE", self.folder.path().join("warehouse"));
        command.args(args).stdin(Stdio::null());
        command
    }

    fn run(&self, args: &[&str]) -> Told {
        self.command(args).output().unwrap().into()
    }

    fn sql(&self, sql: &str) -> Told {
        self.run(&["sql", "--format", "json", "-e", sql])
    }
}

impl From<Output> for Told {
    fn from(output: Output) -> Self {
        Self {
            status: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl Told {
    #[track_caller]
    fn ok(self) -> Self {
        assert_eq!(self.status, Some(0), "{}", self.stderr);
        self
    }

    #[track_caller]
    fn failed(self, status: i32, begin: &str) -> Self {
        assert_eq!(self.status, Some(status), "{}", self.stderr);
        assert!(self.stderr.starts_with(begin), "{}", self.stderr);
        self
    }

    fn rows(&self) -> Vec<Value> {
        self.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

#[test]
fn usage_errors_end_with_one_and_help_with_zero() {
    let shell = Shell::new();
    shell.run(&["sql", "--frob"]).failed(1, "error[invalid]: unexpected argument '--frob' found\n");
    shell.run(&["serve"]).failed(1, "error[unsupported]: `icecap serve` is not supported yet\n");
    let told = shell.run(&["--help"]).ok();
    assert!(
        told.stdout.starts_with("Runs SQL write statements on Apache Iceberg tables\n"),
        "{}",
        told.stdout
    );
    assert_eq!(told.stderr, "");
    assert_eq!(shell.run(&["--version"]).ok().stdout, concat!("icecap ", env!("CARGO_PKG_VERSION"), "\n"));
}

#[test]
fn the_last_result_goes_to_standard_output_and_earlier_summaries_do_not() {
    let shell = Shell::new();
    let told = shell
        .sql(
            "CREATE TABLE t (id bigint, name string); INSERT INTO t VALUES (1, 'a'), (2, NULL); \
             SELECT 'dropped'; SELECT id, name FROM t ORDER BY id",
        )
        .ok();
    assert_eq!(told.stdout, "{\"id\":1,\"name\":\"a\"}\n{\"id\":2,\"name\":null}\n");
    let summaries: Vec<Value> = told.stderr.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(summaries.len(), 2);
    assert_eq!(summaries[0]["statement"], "CREATE_TABLE");
    assert_eq!(summaries[0]["table"], "default.t");
    assert_eq!(summaries[1]["statement"], "INSERT");
    assert_eq!(summaries[1]["rows_inserted"], 2);
    assert_eq!(summaries[1]["data_files"], 1);
    assert!(summaries[1]["snapshot_id"].as_str().unwrap().parse::<i64>().unwrap() > 0);
    assert!(summaries[1]["seconds"].as_f64().unwrap() > 0.0);
    assert!(summaries[1]["bytes_written"].as_u64().unwrap() > 100);
    assert!(summaries[1].get("rows_deleted").is_none());

    let told = shell.sql("INSERT INTO t VALUES (3, 'c')").ok();
    assert_eq!(told.rows()[0]["rows_inserted"], 1);
    assert_eq!(told.stderr, "");
}

#[test]
fn every_format_shows_the_same_rows() {
    let shell = Shell::new();
    let query =
        "SELECT * FROM (VALUES (1, 'x,y', CAST(1.5 AS decimal(9,2))), (20, '', NULL)) v(id, name, price)";
    let told = |format| shell.run(&["sql", "--format", format, "-e", query]).ok().stdout;
    assert_eq!(
        told("json"),
        "{\"id\":1,\"name\":\"x,y\",\"price\":\"1.50\"}\n{\"id\":20,\"name\":\"\",\"price\":null}\n"
    );
    assert_eq!(told("csv"), "id,name,price\n1,\"x,y\",1.50\n20,\"\",\n");
    assert_eq!(
        told("table"),
        " id | name | price\n----+------+-------\n  1 | x,y  |  1.50\n 20 |      |  NULL\n(2 rows)\n"
    );
}

/// The batches of an Arrow stream, as one.
fn arrow(output: Output) -> arrow::array::RecordBatch {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let read = arrow::ipc::reader::StreamReader::try_new(output.stdout.as_slice(), None).unwrap();
    let schema = read.schema();
    arrow::compute::concat_batches(&schema, &read.collect::<Result<Vec<_>, _>>().unwrap()).unwrap()
}

#[test]
fn an_arrow_stream_holds_the_last_results_rows() {
    use arrow::array::AsArray;
    use arrow::datatypes::{DataType, Int64Type};

    let shell = Shell::new();
    let run = |sql: &str| shell.command(&["sql", "--format", "arrow", "-e", sql]).output().unwrap();
    let query = "SELECT 0; CREATE TABLE t (id bigint, price decimal(9,2), tags array<string>); \
                 INSERT INTO t VALUES (1, 1.50, ARRAY['a', NULL]), (2, NULL, NULL); SELECT * FROM t ORDER BY id";
    let output = run(query);
    let summaries = String::from_utf8(output.stderr.clone()).unwrap();
    assert!(summaries.starts_with("{\"statement\":\"CREATE_TABLE\""), "{summaries}");
    let rows = arrow(output);
    assert_eq!(rows.column(0).as_primitive::<Int64Type>().values(), &[1, 2]);
    assert_eq!(rows.column(1).data_type(), &DataType::Decimal128(9, 2));
    assert_eq!(rows.column(2).null_count(), 1);
    assert!(matches!(rows.column(2).data_type(), DataType::List(_)), "{}", rows.column(2).data_type());

    let rows = arrow(run("SELECT unnest(range(0, 20000)) AS n"));
    assert_eq!((rows.num_rows(), rows.num_columns()), (20_000, 1));
    let rows = arrow(run("SELECT id FROM t WHERE id > 5"));
    assert_eq!((rows.num_rows(), rows.schema().field(0).name().as_str()), (0, "id"));

    let summary = arrow(run("INSERT INTO t (id) VALUES (3)"));
    assert_eq!(summary.column_by_name("statement").unwrap().as_string::<i32>().value(0), "INSERT");
    assert_eq!(summary.column_by_name("rows_inserted").unwrap().as_primitive::<Int64Type>().value(0), 1);
    let failed = run("SELECT * FROM nowhere");
    assert_eq!((failed.status.code(), failed.stdout.len()), (Some(1), 0));
}

#[test]
fn the_first_error_stops_and_earlier_statements_stay() {
    let shell = Shell::new();
    shell.sql("CREATE TABLE t (id bigint)").ok();
    let told =
        shell.run(&["sql", "-e", "INSERT INTO t VALUES (1)", "-e", "SELECT * FROM nowhere;\nSELECT 2"]);
    let told = told.failed(1, "INSERT default.t: 1 row inserted, 1 data file, ");
    let errors: Vec<&str> = told.stderr.lines().skip(1).collect();
    assert!(errors[0].starts_with("error[not-found]: "), "{}", told.stderr);
    assert_eq!(errors[1], "  in statement 2 of 3: SELECT * FROM nowhere");
    assert_eq!(told.stdout, "");

    // A later statement that is no SQL takes nothing back either.
    let told = shell.sql("INSERT INTO t VALUES (2); SELEC 1");
    assert_eq!(told.status, Some(1));
    assert!(told.stderr.contains("error[invalid]: "), "{}", told.stderr);
    assert!(told.stderr.ends_with("\n  in statement 2 of 2: SELEC 1\n"), "{}", told.stderr);
    assert_eq!(shell.sql("SELECT id FROM t ORDER BY id").ok().stdout, "{\"id\":1}\n{\"id\":2}\n");
}

#[test]
fn a_first_statement_that_is_no_sql_makes_no_warehouse() {
    let shell = Shell::new();
    shell.sql("SELEC 1").failed(1, "error[invalid]: ");
    assert!(!shell.warehouse().join("warehouse").exists());
    shell.sql(" ; -- nothing\n").ok();
    assert!(!shell.warehouse().join("warehouse").exists());
}

#[test]
fn sql_comes_from_files_arguments_standard_input_and_the_environment() {
    let shell = Shell::new();
    std::fs::write(
        shell.warehouse().join("a.sql"),
        "CREATE TABLE t (id bigint);\nINSERT INTO t VALUES (1);\n",
    )
    .unwrap();
    let told = shell.run(&["sql", "--format", "csv", "-f", "a.sql", "-e", "SELECT id FROM t"]).ok();
    assert_eq!(told.stdout, "id\n1\n");

    let mut child = shell
        .command(&["sql", "--format", "csv"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"SELECT 2 AS two").unwrap();
    assert_eq!(Told::from(child.wait_with_output().unwrap()).ok().stdout, "two\n2\n");

    let told: Told = shell
        .command(&["sql"])
        .env("ICECAP_EXECUTE", "SELECT 3 AS three")
        .env("ICECAP_FORMAT", "json")
        .output()
        .unwrap()
        .into();
    assert_eq!(told.ok().stdout, "{\"three\":3}\n");
    let told: Told = shell.command(&["sql"]).env("ICECAP_MEMORY", "lots").output().unwrap().into();
    told.failed(1, "error[invalid]: invalid value 'lots' for '--memory <SIZE>'");
    shell
        .run(&["sql", "-f", "nowhere.sql"])
        .failed(1, "error[not-found]: cannot read SQL from nowhere.sql: ");
}

#[test]
fn a_closed_pipe_is_a_quiet_end() {
    let shell = Shell::new();
    let query =
        "WITH v AS (SELECT unnest(range(1, 3001)) AS n) SELECT a.n AS x, b.n AS y FROM v a CROSS JOIN v b";
    let mut child = shell
        .command(&["sql", "--format", "csv", "-e", query])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = [0; 4];
    child.stdout.take().unwrap().read_exact(&mut first).unwrap();
    assert_eq!(&first, b"x,y\n");
    // The pipe is closed here.
    let told = Told::from(child.wait_with_output().unwrap()).ok();
    assert_eq!(told.stderr, "");
}

#[test]
fn the_same_token_gives_the_recorded_result() {
    let shell = Shell::new();
    shell.sql("CREATE TABLE t (id bigint)").ok();
    let insert =
        || shell.run(&["sql", "--format", "json", "--id", "n1", "-e", "INSERT INTO t VALUES (1), (2)"]).ok();
    let (first, second) = (insert().rows().remove(0), insert().rows().remove(0));
    assert_eq!(first["snapshot_id"], second["snapshot_id"]);
    assert_eq!(second["rows_inserted"], 2);
    assert_eq!(shell.sql("SELECT count(*) AS n FROM t").ok().stdout, "{\"n\":2}\n");
}

const ENDLESS: &str = "WITH v AS (SELECT unnest(range(1, 3001)) AS n) \
                       SELECT max(a.n % b.n + c.n % d.n) AS s FROM v a, v b, v c, v d";

fn signal(child: &std::process::Child, name: &str) {
    let done = Command::new("kill").arg(OsStr::new(name)).arg(child.id().to_string()).status().unwrap();
    assert!(done.success());
}

/// Whether a process catches SIGINT and SIGTERM yet: one that has just begun would end by them without a word.
fn heeds_signals(process: u32) -> bool {
    const BOTH: u64 = 1 << 1 | 1 << 14;
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    let caught = caught.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    caught.is_some_and(|mask| mask & BOTH == BOTH)
}

#[test]
fn ctrl_c_cancels_and_says_so() {
    let shell = Shell::new();
    for name in ["-INT", "-TERM"] {
        let child = shell
            .command(&["sql", "-e", ENDLESS])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let begun = Instant::now();
        while !heeds_signals(child.id()) {
            assert!(begun.elapsed() < Duration::from_secs(60), "it never heeds signals");
            std::thread::sleep(Duration::from_millis(5));
        }
        std::thread::sleep(Duration::from_millis(500));
        let asked = Instant::now();
        signal(&child, name);
        let told = Told::from(child.wait_with_output().unwrap()).failed(1, "error[cancelled]: ");
        assert_eq!(told.stdout, "");
        assert!(asked.elapsed() < Duration::from_secs(60), "{:?}", asked.elapsed());
    }
}

#[test]
fn a_time_limit_ends_a_statement() {
    let shell = Shell::new();
    let started = Instant::now();
    shell.run(&["sql", "--timeout", "500ms", "-e", ENDLESS]).failed(1, "error[exhausted]: ");
    assert!(started.elapsed() < Duration::from_secs(60), "{:?}", started.elapsed());
}

#[test]
fn only_verbose_runs_log() {
    let shell = Shell::new();
    assert_eq!(shell.run(&["sql", "-e", "SELECT 1"]).ok().stderr, "");
    let told = shell.run(&["sql", "-vvv", "--format", "csv", "-e", "SELECT 1 AS one"]).ok();
    assert_eq!(told.stdout, "one\n1\n");
    assert!(!told.stderr.is_empty());
}

/// The log of a MERGE has the plan that ran: its source's columns do not all go through the join.
#[test]
fn a_verbose_run_logs_the_plans_of_its_tasks() {
    let shell = Shell::new();
    shell.sql("CREATE TABLE t (id bigint, a varchar, b varchar); INSERT INTO t VALUES (1, 'a', 'b'), (2, 'c', 'd')").ok();
    let merge = "MERGE INTO t USING (VALUES (2, 'x', 'y'), (3, 'z', 'w')) AS s (id, a, b) ON t.id = s.id \
                 WHEN MATCHED THEN UPDATE SET a = s.a, b = s.b WHEN NOT MATCHED THEN INSERT (id, a, b) VALUES (s.id, s.a, s.b)";
    let told = shell.run(&["sql", "-vv", "-e", merge]).ok();
    let plan: Vec<&str> = ["IcebergDeltaExec", "FetchExec: [", "HashJoinExec: ", "HoldExec: ["]
        .into_iter()
        .filter(|node| told.stderr.contains(node))
        .collect();
    assert_eq!(plan.len(), 4, "only {plan:?} in\n{}", told.stderr);
}

#[test]
fn a_write_that_runs_out_of_time_leaves_nothing() {
    let shell = Shell::new();
    shell.sql("CREATE TABLE t (s bigint)").ok();
    let started = Instant::now();
    let insert = format!("INSERT INTO t {ENDLESS}");
    shell.run(&["sql", "--timeout", "700ms", "-e", &insert]).failed(1, "error[exhausted]: ");
    assert!(started.elapsed() < Duration::from_secs(60), "{:?}", started.elapsed());
    assert_eq!(shell.sql("SELECT count(*) AS n FROM t").ok().stdout, "{\"n\":0}\n");
}

#[test]
fn what_outgrows_memory_spills_into_the_folder_that_was_named() {
    let shell = Shell::new();
    let spill = shell.warehouse().join("spill");
    std::fs::create_dir(&spill).unwrap();
    let sort = "SELECT repeat('x', 200) || CAST(n AS varchar) AS s FROM (SELECT unnest(range(0, 300000)) AS n) \
                ORDER BY n % 7919, s";
    let mut child = shell
        .command(&["sql", "--format", "csv", "--threads", "1", "--memory", "50MB", "-e", sort])
        .args(["--temp-dir", spill.to_str().unwrap()])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut most = 0;
    while child.try_wait().unwrap().is_none() {
        most = most.max(bytes_below(&spill));
        std::thread::sleep(Duration::from_millis(5));
    }
    Told::from(child.wait_with_output().unwrap()).ok();
    assert!(most > 10_000_000, "{most} bytes were seen in the folder");
    assert_eq!(bytes_below(&spill), 0, "nothing is left behind");

    std::fs::write(shell.warehouse().join("file"), "").unwrap();
    shell.run(&["sql", "--temp-dir", "file", "-e", "SELECT 1"]).failed(1, "error[invalid]: ");
}

/// Bytes of the files in a folder; files that vanish while it is looked at count nothing.
fn bytes_below(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let sizes = entries.filter_map(|entry| {
        let about = entry.metadata().ok()?;
        Some(if about.is_dir() { bytes_below(&entry.path()) } else { about.len() })
    });
    sizes.sum()
}
