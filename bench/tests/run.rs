//! Whole runs of the bench: on a stand-in for `icecap`, a script that says what the command would say, and with the
//! real engines on little data.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

/// Answers `--version`; tells one summary for each INSERT of a script, the last one on standard output.
const STAND_IN: &str = r#"#!/bin/sh
[ "$1" = --version ] && { echo "icecap 0.0.0"; exit 0; }
for last; do :; done
case "$last" in
    *.sql) count=$(grep -c '^INSERT' "$last") ;;
    INSERT*) count=1 ;;
    *) count=0 ;;
esac
while [ "$count" -gt 1 ]; do
    echo '{"statement":"INSERT","seconds":0.002}' >&2
    count=$((count-1))
done
[ "$count" = 1 ] && echo '{"statement":"INSERT","seconds":0.004}'
exit 0
"#;

#[test]
fn a_run_writes_every_figure() {
    let folder = tempfile::tempdir().unwrap();
    let stand_in = folder.path().join("icecap");
    fs::write(&stand_in, STAND_IN).unwrap();
    fs::set_permissions(&stand_in, fs::Permissions::from_mode(0o755)).unwrap();
    let out = folder.path().join("out.json");

    let output = Command::new(env!("CARGO_BIN_EXE_bench"))
        .args([
            "run",
            "--workload",
            "start",
            "--workload",
            "inserts",
            "--inserts",
            "4",
            "--repeats",
            "2",
            "--no-peers",
        ])
        .arg("--icecap")
        .arg(&stand_in)
        .arg("--scratch")
        .arg(folder.path())
        .arg("--out")
        .arg(&out)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    let report: Value = serde_json::from_slice(&fs::read(&out).unwrap()).unwrap();
    assert_eq!(report["versions"]["icecap"], "icecap 0.0.0");
    let series = report["series"].as_array().unwrap();
    let names: Vec<&str> = series.iter().map(|series| series["engine"].as_str().unwrap()).collect();
    assert_eq!(names, ["icecap", "icecap", "yardstick"]);
    assert_eq!(series[0]["runs"].as_array().unwrap().len(), 2);
    assert_eq!(series[0]["runs"][0]["statement_seconds"], serde_json::json!([0.004]));
    assert_eq!(series[1]["runs"][1]["statement_seconds"], serde_json::json!([0.002, 0.002, 0.002, 0.004]));
    assert_eq!(series[1]["spreads"]["statement_p50_ms"]["median"], 2.0);
    assert!(series[0]["spreads"]["wall_s"]["median"].as_f64().unwrap() > 0.0);
    assert_eq!(series[2]["runs"][0]["statement_seconds"].as_array().unwrap().len(), 4);
    let aims: Vec<&str> =
        report["aims"].as_array().unwrap().iter().map(|aim| aim["aim"].as_str().unwrap()).collect();
    assert_eq!(aims, ["start to first committed INSERT, s", "one-row INSERT p50 above the yardstick, ms"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.starts_with("commit "), "{text}");
    assert!(text.contains("statement_p50_ms"), "{text}");
}

#[test]
fn a_binary_that_is_not_there_is_named() {
    let output = Command::new(env!("CARGO_BIN_EXE_bench"))
        .args(["run", "--no-peers", "--icecap", "/nowhere/icecap"])
        .output()
        .unwrap();
    assert!(!output.status.success());
    assert_eq!(
        String::from_utf8(output.stderr).unwrap(),
        "bench: the icecap binary (build it, or give --icecap) is not at /nowhere/icecap\n"
    );
}

/// The real binary, which a build of the workspace leaves beside the bench's.
fn icecap() -> PathBuf {
    let path = Path::new(env!("CARGO_BIN_EXE_bench")).with_file_name("icecap");
    assert!(path.is_file(), "{} is not there: cargo build --profile ci -p icecap-cli", path.display());
    path
}

fn bench(icecap: &Path, folder: &Path, args: &[&str]) -> Output {
    bench_beside("duckdb", icecap, folder, args)
}

fn bench_beside(peer: &str, icecap: &Path, folder: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_bench"))
        .arg("run")
        .args(["--scale", "0.002", "--repeats", "1", "--peer", peer, "--threads", "2"])
        .args(["--inserts", "3", "--steady-inserts", "41", "--partitions", "20", "--small-files", "7"])
        .args(args)
        .args([OsStr::new("--icecap"), icecap.as_os_str(), OsStr::new("--scratch"), folder.as_os_str()])
        .output()
        .unwrap()
}

/// The first run of each series, by workload and engine.
fn first_runs(report: &Value) -> BTreeMap<String, Value> {
    (report["series"].as_array().unwrap().iter())
        .map(|series| {
            let name = |key: &str| series[key].as_str().unwrap();
            (format!("{} {}", name("workload"), name("engine")), series["runs"][0].clone())
        })
        .collect()
}

#[test]
fn every_workload_runs_with_the_real_engines() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out.json");
    let output = bench(&icecap(), folder.path(), &["--out", out.to_str().unwrap()]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    let report: Value = serde_json::from_slice(&fs::read(&out).unwrap()).unwrap();
    let runs = first_runs(&report);
    let names: Vec<&str> = runs.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "ctas duckdb",
            "ctas icecap",
            "filter duckdb",
            "filter icecap",
            "inserts icecap",
            "inserts yardstick",
            "partitioned duckdb",
            "partitioned icecap",
            "partitions5000 icecap-1GB",
            "partitions5000 icecap-512MB",
            "q1 duckdb",
            "q1 icecap",
            "q6 duckdb",
            "q6 icecap",
            "skew icecap",
            "skew icecap-even",
            "start icecap",
            "steady icecap",
        ]
    );
    for (name, partitions) in [
        // No line of so few was shipped on the one day of the last month.
        ("partitioned icecap", 83),
        ("partitions5000 icecap-1GB", 20),
        ("partitions5000 icecap-512MB", 20),
        ("skew icecap", 9),
        ("skew icecap-even", 9),
    ] {
        assert_eq!(runs[name]["partitions"], partitions, "{name}");
        assert_eq!(runs[name]["data_files"], partitions, "{name}");
        assert_eq!(runs[name]["snapshots"], 1, "{name}");
    }
    assert_eq!(runs["steady icecap"]["statement_seconds"].as_array().unwrap().len(), 41);
    // Each aim needs its figures; whether it is met is no question at this scale.
    assert_eq!(report["aims"].as_array().unwrap().len(), 20, "{:#}", report["aims"]);
}

#[test]
fn unequal_answers_are_not_compared() {
    let folder = tempfile::tempdir().unwrap();
    let liar = folder.path().join("icecap");
    let script = format!(
        "#!/bin/sh\nfor last; do :; done\ncase \"$last\" in\n\
         SELECT*) echo '{{\"revenue\":\"1.0000\"}}' ;;\n*) exec {} \"$@\" ;;\nesac\n",
        icecap().display()
    );
    fs::write(&liar, script).unwrap();
    fs::set_permissions(&liar, fs::Permissions::from_mode(0o755)).unwrap();
    let output = bench(&liar, folder.path(), &["--workload", "start", "--workload", "q6"]);
    assert!(!output.status.success());
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("bench: q6: duckdb: row 0, column 0: "), "{stderr}");
    assert!(stderr.contains("beside \"1.0000\""), "{stderr}");
    // What was measured before is told all the same.
    assert!(String::from_utf8(output.stdout).unwrap().contains("start: 1 runs"));
}

#[test]
fn row_level_statements_run_on_clones_of_one_table() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out.json");
    let mut args = vec!["--out", out.to_str().unwrap()];
    for workload in ["delete", "update", "merge", "merge1m", "delete-partition", "optimize"] {
        args.extend(["--workload", workload]);
    }
    let output = bench_beside("pyiceberg", &icecap(), folder.path(), &args);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    let report: Value = serde_json::from_slice(&fs::read(&out).unwrap()).unwrap();
    let runs = first_runs(&report);
    let names: Vec<&str> = runs.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "delete icecap-cow",
            "delete icecap-ctas",
            "delete icecap-mor",
            "delete pyiceberg-cow",
            "delete-partition icecap-cow",
            "delete-partition icecap-mor",
            "delete-partition pyiceberg-cow",
            "merge icecap-cow",
            "merge icecap-mor",
            "merge1m icecap-cow",
            "merge1m icecap-mor",
            "optimize icecap",
            "optimize yardstick",
            "update icecap-cow",
            "update icecap-ctas",
            "update icecap-mor",
            "update pyiceberg-cow",
        ]
    );
    // Whether each wrote data files and delete files; all of it in one snapshot.
    for (name, data, deletes) in [
        ("delete icecap-mor", false, true),
        ("delete icecap-cow", true, false),
        ("update icecap-mor", true, true),
        ("update icecap-cow", true, false),
        ("merge icecap-mor", true, true),
        ("merge1m icecap-cow", true, false),
        ("delete-partition icecap-mor", false, false),
        ("delete-partition icecap-cow", false, false),
        ("optimize icecap", true, false),
    ] {
        let run = &runs[name];
        assert_eq!(run["data_files"].as_u64().unwrap() > 0, data, "{name}: {run}");
        assert_eq!(run["delete_files"].as_u64().unwrap() > 0, deletes, "{name}: {run}");
        assert_eq!(run["snapshots"], 1, "{name}: {run}");
    }
    // Each aim needs its figures; those beside DuckDB and Spark are not there.
    assert_eq!(report["aims"].as_array().unwrap().len(), 21, "{:#}", report["aims"]);
}

#[test]
fn tables_of_version_3_are_measured_without_pyiceberg() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out.json");
    let args = ["--workload", "delete", "--format-version", "3", "--out", out.to_str().unwrap()];
    let output = bench_beside("pyiceberg", &icecap(), folder.path(), &args);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{stderr}");
    assert!(stderr.contains("PyIceberg writes format version 2 only: left out"), "{stderr}");
    let report: Value = serde_json::from_slice(&fs::read(&out).unwrap()).unwrap();
    let runs = first_runs(&report);
    assert_eq!(runs.len(), 3, "{:?}", runs.keys());
    assert_eq!(runs["delete icecap-mor"]["delete_files"], 1);
}

#[test]
fn without_a_rest_catalog_duckdb_cannot_take_part() {
    let folder = tempfile::tempdir().unwrap();
    let output = bench(&icecap(), folder.path(), &["--workload", "delete"]);
    assert!(!output.status.success());
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(
        stderr.contains("bench: delete: DuckDB writes Iceberg tables through a REST catalog"),
        "{stderr}"
    );
}
