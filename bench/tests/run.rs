//! A whole run of the bench on a stand-in for `icecap`: a script that says what the command would say.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

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
