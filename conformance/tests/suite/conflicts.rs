//! The measured pairs of concurrent commits: what Iceberg Java does with them, and what is required here.

use std::path::Path;

use icecap_conformance::conflicts::run_file;
use icecap_conformance::reader::source_folder;
use serde_json::json;

use crate::figures::report;

async fn run(path: &Path) -> icecap_conformance::conflicts::Report {
    let report = run_file(path).await.unwrap();
    assert_eq!(report.failures, [], "of {} cases", report.cases());
    report
}

#[tokio::test]
async fn every_measured_pair_ends_as_it_must() {
    let folder = source_folder().join("data");
    let ran = run(&folder.join("commit_conflicts_v2.jsonl")).await;
    assert_eq!(ran.cases(), 210);
    report("commit_conflicts", &json!({"outcomes": ran.outcomes, "serial": ran.serial}));
}

/// The same pairs on a table of format version 3: what must commit must, the rows are those of one after the other, and
/// what Java does there was not measured.
#[tokio::test]
async fn the_pairs_hold_in_format_version_3_too() {
    let folder = source_folder().join("data");
    let text = std::fs::read_to_string(folder.join("commit_conflicts_v2.jsonl")).unwrap();
    let lines = text.lines().map(|line| {
        let mut case: serde_json::Value = serde_json::from_str(line).unwrap();
        case["format_version"] = 3.into();
        format!("{case}\n")
    });
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("v3.jsonl");
    std::fs::write(&path, lines.collect::<String>()).unwrap();
    let ran = run(&path).await;
    report("commit_conflicts_v3", &json!({"outcomes": ran.outcomes, "serial": ran.serial}));
}
