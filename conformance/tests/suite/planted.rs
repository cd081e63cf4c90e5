//! Bugs planted in the engine (`icecap_table::testing`): the comparison with DuckDB finds each of them.

use std::time::Instant;

use icecap_conformance::differential::Trial;
use icecap_conformance::random::PARTITIONINGS;
use icecap_conformance::reader::Foreign;
use icecap_conformance::slt::{Layout, Parting};
use icecap_conformance::stack::{Host, Warehouse};
use icecap_table::testing::Mutation;
use serde_json::json;

use crate::{figures, reader};

/// A planted bug is found within so many statements.
const WITHIN: usize = 400;
/// Statements on one table.
const A_TABLE: usize = 40;

/// Where a bug can show at all.
fn layout(bug: Mutation) -> Layout {
    let (version, copy_on_write, parting) = match bug {
        Mutation::CarriedRowLost => (2, true, Parting::Plain),
        Mutation::LineageLost => (3, true, Parting::Partitioned),
        Mutation::OldDeletesForgotten => (3, false, Parting::Plain),
        Mutation::SequenceOffByOne => (2, false, Parting::Evolved),
        Mutation::NullPartitionsIgnored | Mutation::WrongFile => (3, false, Parting::Partitioned),
        _ => (2, false, Parting::Partitioned),
    };
    Layout { version, copy_on_write, parting }
}

/// How many statements it took, and what was wrong then.
fn found(bug: Mutation, warehouse: &Warehouse) -> Option<(usize, String)> {
    let mut before = 0;
    for n in 0..WITHIN / A_TABLE {
        if let Some((statements, what)) = on_table(bug, true, n, A_TABLE, warehouse) {
            // The engine without the bug does the same statements right: it is the bug that was found.
            let without = on_table(bug, false, n, statements, warehouse);
            assert!(without.is_none(), "{bug:?} is not planted, and yet: {}", without.unwrap_or_default().1);
            return Some((before + statements, what));
        }
        before += A_TABLE;
    }
    None
}

/// The statements of one table, up to the first that goes wrong.
fn on_table(
    bug: Mutation,
    is_planted: bool,
    n: usize,
    steps: usize,
    warehouse: &Warehouse,
) -> Option<(usize, String)> {
    let name = format!("{bug:?}");
    let options = ["--plant", name.as_str()];
    let options = if is_planted { &options[..] } else { &[] };
    let start = || Host::start(&warehouse.path(), options).unwrap();
    let (mut host, mut other) = (start(), start());
    let table = format!("{}_{is_planted}_{n}", name.to_lowercase());
    let fields = PARTITIONINGS[n % PARTITIONINGS.len()];
    let oracle = reader(Foreign::DuckDb);
    let mut trial = match Trial::new(&mut host, oracle, layout(bug), &table, fields, 9000 + n as u64) {
        Ok(trial) => trial,
        Err(failure) => return Some((0, failure.to_string())),
    };
    for statement in 1..=steps {
        let step = match bug {
            // One statement after another never meets what others committed.
            Mutation::NarrowConflictFilter => trial.pair(&mut other).map(drop),
            _ => trial.step(),
        };
        if let Err(failure) = step {
            return Some((statement, failure.to_string()));
        }
    }
    None
}

#[test]
fn every_planted_bug_is_found() {
    let warehouse = Warehouse::new().unwrap();
    // Wrong tables are the point.
    warehouse.damages_tables();
    let (mut after, mut missed) = (serde_json::Map::new(), Vec::new());
    let started = Instant::now();
    for bug in Mutation::ALL {
        match found(bug, &warehouse) {
            Some((statements, what)) => {
                println!(
                    "{bug:?}: found after {statements}: {}",
                    what.lines().take(4).collect::<Vec<_>>().join(" | ")
                );
                after.insert(format!("{bug:?}"), statements.into());
            }
            None => missed.push(bug),
        }
    }
    let seconds = started.elapsed().as_secs_f64().round();
    figures::report(
        "planted_bugs",
        &json!({"found_after_statements": after, "missed": missed.len(), "seconds": seconds}),
    );
    assert!(missed.is_empty(), "not found within {WITHIN} statements: {missed:?}");
}
