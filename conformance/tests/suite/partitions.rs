//! Every transform on every type it applies to, NULL partitions included.

use icecap_conformance::matrix::{PartitionCase, exclusion, partition_cases};
use icecap_conformance::reader::Foreign;
use icecap_conformance::stack::{Warehouse, read_metadata};

use crate::compare::{everyone_reads, manifests_tell_the_truth};
use crate::reader;

fn write_and_compare(format_version: u8) {
    let warehouse = Warehouse::new().unwrap();
    let cases: Vec<PartitionCase> =
        partition_cases().into_iter().filter(|case| case.of.since <= format_version).collect();
    let mut failures = Vec::new();
    for case in &cases {
        let create = format!(
            "CREATE TABLE {} (id bigint, v {}) USING iceberg PARTITIONED BY ({}) \
             TBLPROPERTIES ('format-version'='{format_version}')",
            case.name, case.of.sql, case.term
        );
        let insert = format!("INSERT INTO {} VALUES {}", case.name, case.of.sql_rows());
        let compared = std::panic::catch_unwind(|| {
            warehouse.run(&[&create]).unwrap().success().unwrap();
            warehouse.run_input(&insert).unwrap().success().unwrap();
            let table = format!("default.{}", case.name);
            let location = warehouse.metadata_location(&table).unwrap();
            let metadata = read_metadata(&location).unwrap();
            assert_eq!(metadata["partition-specs"][0]["fields"][0]["transform"], case.transform.as_str());
            everyone_reads(&warehouse, &table, &case.of.rows(), |foreign| {
                exclusion(foreign, &case.name).or_else(|| exclusion(foreign, case.of.name))
            });
            for foreign in
                Foreign::ALL.into_iter().filter(|foreign| exclusion(*foreign, &case.name).is_some())
            {
                let read = reader(foreign).read(&location, None);
                assert!(read.is_err(), "{} reads {} now: take the exclusion away", foreign.name(), case.name);
            }
            if exclusion(Foreign::PyIceberg, &case.name).is_none() {
                let values = manifests_tell_the_truth(&warehouse, &table);
                assert_eq!(values as usize, case.of.values.len() + 1, "a partition value for each row");
            }
            every_value_is_found(&warehouse, case);
        });
        if compared.is_err() {
            failures.push(case.name.as_str());
        }
    }
    assert!(failures.is_empty(), "format version {format_version}: {failures:?} of {} cases", cases.len());
}

/// A filter on the partitioned column prunes nothing that it should find: for each value, its row.
fn every_value_is_found(warehouse: &Warehouse, case: &PartitionCase) {
    let query = case.of.values.iter().enumerate().map(|(id, (sql, _))| {
        format!("SELECT {id} AS wanted, count(*) AS n FROM {} WHERE v = {sql} AND id = {id}", case.name)
    });
    let null = case.of.values.len();
    let query = query
        .chain([format!("SELECT {null} AS wanted, count(*) AS n FROM {} WHERE v IS NULL", case.name)])
        .collect::<Vec<_>>()
        .join(" UNION ALL ");
    let found = warehouse.run_input(&query).unwrap().objects().unwrap();
    assert_eq!(found.len(), null + 1);
    for row in found {
        let sql = usize::try_from(row["wanted"].as_u64().unwrap()).unwrap();
        let what = case.of.values.get(sql).map_or("NULL", |(sql, _)| sql.as_str());
        assert_eq!(row["n"], 1, "{}: WHERE v = {what} finds {} rows", case.name, row["n"]);
    }
}

#[test]
fn every_transform_in_format_version_2_reads_equal_everywhere() {
    write_and_compare(2);
}

#[test]
fn every_transform_in_format_version_3_reads_equal_everywhere() {
    write_and_compare(3);
}
