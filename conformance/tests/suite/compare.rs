//! One table through every reader's eyes.

use icecap_conformance::canonical::{Rows, difference};
use icecap_conformance::reader::Foreign;
use icecap_conformance::stack::{Warehouse, read_metadata};
use serde_json::{Value, json};

use crate::reader;

/// Fails unless `icecap` and all readers but the excluded see exactly `expected` (rows as arrays), and the
/// invariants hold. Each exclusion is printed.
pub fn everyone_reads(
    warehouse: &Warehouse,
    table: &str,
    expected: &[Value],
    excluded: impl Fn(Foreign) -> Option<&'static str>,
) {
    let own = warehouse.read(table).unwrap_or_else(|failure| panic!("{table}: {failure}"));
    let expected = Rows::from_arrays(&own.columns, expected).unwrap();
    same(table, ("expected", &expected), ("icecap", &own.rows));
    others_read(warehouse, table, &expected, excluded);
}

/// The same without naming the rows: what `icecap` reads is what the others must read.
pub fn everyone_agrees(warehouse: &Warehouse, table: &str) -> Rows {
    let own = warehouse.read(table).unwrap_or_else(|failure| panic!("{table}: {failure}"));
    others_read(warehouse, table, &own.rows, |_| None);
    own.rows
}

fn others_read(
    warehouse: &Warehouse,
    table: &str,
    expected: &Rows,
    excluded: impl Fn(Foreign) -> Option<&'static str>,
) {
    let location = warehouse.metadata_location(table).unwrap();
    invariants_hold(warehouse, table);
    for foreign in Foreign::ALL {
        match excluded(foreign) {
            Some(reason) => println!("left out: {} does not read {table}: {reason}", foreign.name()),
            None => foreign_reads(foreign, &location, table, expected),
        }
    }
}

/// Fails unless a foreign engine reads exactly these rows from a metadata file.
pub fn foreign_reads(foreign: Foreign, location: &str, table: &str, expected: &Rows) {
    let columns = icecap_conformance::canonical::columns_of(&read_metadata(location).unwrap(), None).unwrap();
    let rows = reader(foreign).read(location, None).unwrap_or_else(|failure| panic!("{table}: {failure}"));
    let rows = Rows::from_arrays(&columns, &rows).unwrap_or_else(|failure| panic!("{table}: {failure}"));
    same(table, ("expected", expected), (foreign.name(), &rows));
}

/// Fails unless the spec's invariants hold for the table as it is now.
pub fn invariants_hold(warehouse: &Warehouse, table: &str) {
    let location = warehouse.metadata_location(table).unwrap();
    let broken = warehouse.broken_invariants(&[(table.to_owned(), location)].into()).unwrap();
    assert!(broken.is_empty(), "{table}: {broken:#?}");
}

/// Fails unless the manifests say of the data files what PyIceberg computes from them; answers how many
/// partition values were looked at.
pub fn manifests_tell_the_truth(warehouse: &Warehouse, table: &str) -> u64 {
    let location = warehouse.metadata_location(table).unwrap();
    let answer = reader(Foreign::PyIceberg)
        .call(&json!({"op": "check_files", "metadata_location": location}))
        .unwrap();
    assert_eq!(answer["problems"], json!([]), "{table}: {:#}", answer["problems"]);
    assert!(answer["statistics"].as_u64().unwrap() > answer["files"].as_u64().unwrap(), "{table}: {answer}");
    answer["partition_values"].as_u64().unwrap()
}

fn same(table: &str, left: (&str, &Rows), right: (&str, &Rows)) {
    if let Some(difference) = difference(left.0, left.1, right.0, right.1) {
        panic!("{table}: {difference}");
    }
}
