//! Every type with its extremes, written by Icecap, read by everyone, value by value.

use icecap_conformance::matrix::{TypeCase, exclusion, type_cases};
use icecap_conformance::stack::Warehouse;

use crate::compare::{everyone_reads, manifests_tell_the_truth};

fn write_and_compare(format_version: u8) {
    let warehouse = Warehouse::new().unwrap();
    let cases: Vec<TypeCase> = type_cases().into_iter().filter(|case| case.since <= format_version).collect();
    let mut failures = Vec::new();
    for case in &cases {
        let create = format!(
            "CREATE TABLE {} (id bigint, v {}) USING iceberg TBLPROPERTIES ('format-version'='{format_version}')",
            case.name, case.sql
        );
        let insert = format!("INSERT INTO {} VALUES {}", case.name, case.sql_rows());
        let compared = std::panic::catch_unwind(|| {
            warehouse.run(&[&create]).unwrap().success().unwrap();
            warehouse.run_input(&insert).unwrap().success().unwrap();
            let table = format!("default.{}", case.name);
            everyone_reads(&warehouse, &table, &case.rows(), |foreign| exclusion(foreign, case.name));
            manifests_tell_the_truth(&warehouse, &table);
        });
        if compared.is_err() {
            failures.push(case.name);
        }
    }
    // All of them are tried, so that one run shows everything that is wrong.
    assert!(failures.is_empty(), "format version {format_version}: {failures:?} of {} types", cases.len());
}

#[test]
fn every_type_in_format_version_2_reads_equal_everywhere() {
    write_and_compare(2);
}

#[test]
fn every_type_in_format_version_3_reads_equal_everywhere() {
    write_and_compare(3);
}

#[test]
fn a_type_of_version_3_is_refused_in_version_2() {
    let warehouse = Warehouse::new().unwrap();
    for case in type_cases().into_iter().filter(|case| case.since > 2) {
        let create =
            format!("CREATE TABLE t (v {}) USING iceberg TBLPROPERTIES ('format-version'='2')", case.sql);
        warehouse.run(&[&create]).unwrap().fails_with("invalid", "").unwrap();
    }
}
