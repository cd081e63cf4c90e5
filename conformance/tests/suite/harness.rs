//! The harness itself: foreign engines agree on tables that none of ours wrote, and a difference is seen.

use icecap_conformance::canonical::{Rows, columns_of, difference};
use icecap_conformance::matrix::{exclusion, type_cases};
use icecap_conformance::reader::Foreign;
use icecap_conformance::stack::read_metadata;
use serde_json::{Value, json};

use crate::compare::foreign_reads;
use crate::reader;

/// Tables of every type that PyIceberg writes are read equal by all, so that a difference on ours is ours.
#[test]
fn foreign_engines_agree_on_every_type_that_pyiceberg_writes() {
    let folder = tempfile::tempdir().unwrap();
    let catalog = folder.path().join("catalog.db");
    for case in type_cases().into_iter().filter(|case| case.since == 2) {
        let mut rows = case.rows();
        if case.name == "deeps" {
            rows.pop(); // PyIceberg 0.12 stores a NULL list of structs as an empty list
        }
        let request = json!({"op": "write_table", "catalog": catalog, "warehouse": folder.path(),
            "table": format!("s.{}", case.name), "schema": case.schema(), "format_version": 2, "rows": rows});
        let made = reader(Foreign::PyIceberg)
            .call(&request)
            .unwrap_or_else(|failure| panic!("{}: {failure}", case.name));
        let location = made["metadata_location"].as_str().unwrap();
        let columns = columns_of(&read_metadata(location).unwrap(), None).unwrap();
        let expected = Rows::from_arrays(&columns, &rows).unwrap();
        for foreign in Foreign::ALL {
            match exclusion(foreign, case.name) {
                Some(reason) => {
                    println!("left out: {} does not read {}: {reason}", foreign.name(), case.name)
                }
                None => foreign_reads(foreign, location, case.name, &expected),
            }
        }
    }
}

/// What is excluded is really not readable: an exclusion that has become needless must go.
#[test]
fn every_exclusion_is_still_needed() {
    let folder = tempfile::tempdir().unwrap();
    let catalog = folder.path().join("catalog.db");
    for exclusion in icecap_conformance::matrix::EXCLUSIONS {
        let Some(case) = type_cases().into_iter().find(|case| case.name == exclusion.case) else {
            continue; // of a partitioned table: looked at where that is made
        };
        if case.since > 2 {
            continue; // PyIceberg does not write version 3
        }
        let request = json!({"op": "write_table", "catalog": catalog, "warehouse": folder.path(),
            "table": format!("s.{}_{}", case.name, exclusion.foreign.name()), "schema": case.schema(),
            "format_version": 2, "rows": case.rows()});
        let made = reader(Foreign::PyIceberg).call(&request).unwrap();
        let location = made["metadata_location"].as_str().unwrap();
        let columns = columns_of(&read_metadata(location).unwrap(), None).unwrap();
        let read = reader(exclusion.foreign).read(location, None);
        let equal = read.is_ok_and(|rows: Vec<Value>| {
            let expected = Rows::from_arrays(&columns, &case.rows()).unwrap();
            Rows::from_arrays(&columns, &rows)
                .is_ok_and(|rows| difference("", &expected, "", &rows).is_none())
        });
        assert!(!equal, "{} reads {} now: take the exclusion away", exclusion.foreign.name(), case.name);
    }
}

#[test]
fn a_wrong_value_is_seen() {
    let folder = tempfile::tempdir().unwrap();
    let case = type_cases().into_iter().find(|case| case.name == "doubles").unwrap();
    let request = json!({"op": "write_table", "catalog": folder.path().join("c.db"), "warehouse": folder.path(),
        "table": "s.t", "schema": case.schema(), "format_version": 2, "rows": case.rows()});
    let made = reader(Foreign::PyIceberg).call(&request).unwrap();
    let location = made["metadata_location"].as_str().unwrap();
    let columns = columns_of(&read_metadata(location).unwrap(), None).unwrap();
    let mut wrong = case.rows();
    wrong[1] = json!([1, 0.0]); // was -0.0
    let wrong = Rows::from_arrays(&columns, &wrong).unwrap();
    let read = Rows::from_arrays(&columns, &reader(Foreign::DuckDb).read(location, None).unwrap()).unwrap();
    let seen = difference("wrong", &wrong, "duckdb", &read).unwrap();
    assert!(seen.contains("1 of them only here\n    [1,\"0.0\"]"), "{seen}");
    assert!(seen.contains("[1,\"-0.0\"]"), "{seen}");
}

#[test]
fn a_reader_says_why_it_cannot_read() {
    for foreign in [Foreign::PyIceberg, Foreign::DuckDb] {
        let failure = reader(foreign).read("file:///no/such.metadata.json", None).unwrap_err();
        assert!(failure.to_string().contains("no/such.metadata.json"), "{failure}");
    }
}
