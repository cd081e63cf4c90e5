//! Metadata files of other engines survive load and store as the same JSON tree.

use std::path::{Path, PathBuf};

use icecap_conformance::reader::Foreign;
use icecap_table::ErrorKind;
use icecap_table::metadata::TableDocument;
use serde_json::{Value, json};

use crate::reader;

/// Every metadata file below a folder.
fn metadata_files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(metadata_files(&path));
        } else if path.to_string_lossy().ends_with(".metadata.json") {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn survive(foreign: Foreign, at_least: usize) {
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().join(foreign.name());
    reader(foreign).call(&json!({"op": "survival_tables", "directory": directory})).unwrap();
    let files = metadata_files(&directory);
    assert!(files.len() >= at_least, "{} metadata files", files.len());
    let mut survived = 0;
    for file in &files {
        let bytes = std::fs::read(file).unwrap();
        let document = match TableDocument::parse(&bytes) {
            Ok(document) => document,
            // A type that is not built is refused, never lost.
            Err(error) if error.kind() == ErrorKind::Unsupported => {
                println!("{}: refused: {error}", file.display());
                continue;
            }
            Err(error) => panic!("{}: {error}", file.display()),
        };
        let before: Value = serde_json::from_slice(&bytes).unwrap();
        let after: Value = serde_json::from_slice(&document.to_bytes().unwrap()).unwrap();
        assert_eq!(after, before, "{}", file.display());
        survived += 1;
    }
    assert!(survived >= at_least, "{survived} of {} metadata files", files.len());
    println!("{}: {survived} of {} metadata files survive", foreign.name(), files.len());
}

#[test]
fn metadata_files_of_spark_survive() {
    survive(Foreign::Spark, 40);
}

#[test]
fn metadata_files_of_pyiceberg_survive() {
    survive(Foreign::PyIceberg, 10);
}

#[test]
fn metadata_files_of_duckdb_survive() {
    survive(Foreign::DuckDb, 10);
}
