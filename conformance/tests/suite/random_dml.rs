//! Random INSERT, DELETE, UPDATE and MERGE statements, compared with DuckDB after each, over all layouts.
//!
//! `ICECAP_RANDOM_DML` says how many, `ICECAP_RANDOM_SEED` from which seed on (`just random-dml`).

use std::sync::Mutex;
use std::time::Instant;

use icecap_conformance::differential::{Ending, Trial};
use icecap_conformance::random::{Coverage, FEATURES, PARTITIONINGS};
use icecap_conformance::reader::Foreign;
use icecap_conformance::slt::Layout;
use icecap_conformance::stack::{Host, Warehouse};
use serde_json::json;

use crate::compare::everyone_agrees;
use crate::{figures, reader};

/// Statements on one table before the next.
const A_TABLE: usize = 32;
/// Statements of a normal run, in which every feature comes 100 times.
const NORMAL: usize = 1280;
/// Trials at once.
const WORKERS: usize = 2;

fn number(variable: &str, otherwise: u64) -> u64 {
    std::env::var(variable).ok().map_or(otherwise, |text| text.parse().unwrap())
}

/// The seed and fields of the `n`-th table of a layout.
fn chosen(seed: u64, layout: usize, n: usize) -> (u64, &'static [&'static str]) {
    let seed = seed * 1_000_003 + (layout * 1009 + n) as u64;
    (seed, PARTITIONINGS[(seed % PARTITIONINGS.len() as u64) as usize])
}

#[derive(Default)]
struct Total {
    coverage: Coverage,
    statements: usize,
    refused: usize,
    tables: usize,
    wrong: Vec<String>,
}

#[test]
fn random_statements_do_what_duckdb_does() {
    let count = number("ICECAP_RANDOM_DML", NORMAL as u64) as usize;
    let seed = number("ICECAP_RANDOM_SEED", 1);
    let oracle = reader(Foreign::DuckDb);
    let warehouse = Warehouse::new().unwrap();
    let layouts: Vec<Layout> = Layout::all().collect();
    let of_each = count.div_ceil(layouts.len());
    let (next, total) = (Mutex::new(0_usize), Mutex::new(Total::default()));
    let started = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                let take = || {
                    let mut next = next.lock().unwrap();
                    *next += 1;
                    *next - 1
                };
                while let Some((at, layout)) = Some(take()).and_then(|at| Some((at, *layouts.get(at)?))) {
                    let mut host = Host::start(&warehouse.path(), &[]).unwrap();
                    let (mut left, mut n) = (of_each, 0);
                    let mut coverage = Coverage::default();
                    while left > 0 {
                        let (seed, fields) = chosen(seed, at, n);
                        let name = format!("t_{at}_{n}");
                        let steps = left.min(A_TABLE);
                        let outcome =
                            trial(&mut host, &warehouse, layout, &name, fields, seed, steps, &mut coverage);
                        let mut total = total.lock().unwrap();
                        match outcome {
                            Ok((statements, refused)) => {
                                total.statements += statements;
                                total.refused += refused;
                                total.tables += 1;
                            }
                            Err(wrong) => total.wrong.push(format!("seed {seed}, {fields:?}: {wrong}")),
                        }
                        left -= steps;
                        n += 1;
                    }
                    total.lock().unwrap().coverage.add(&coverage);
                }
            });
        }
    });
    let seconds = started.elapsed().as_secs_f64();
    let total = total.into_inner().unwrap();
    let counts: serde_json::Map<_, _> =
        FEATURES.iter().map(|feature| ((*feature).to_owned(), total.coverage.of(feature).into())).collect();
    figures::report(
        "random_dml",
        &json!({
            "duckdb": oracle.version(), "seed": seed, "statements": total.statements, "failed_as_they_should": total.refused,
            "tables": total.tables, "layouts": layouts.len(), "wrong": total.wrong.len(), "seconds": seconds.round(), "features": counts,
        }),
    );
    let shown: Vec<&String> = total.wrong.iter().take(4).collect();
    assert!(
        shown.is_empty(),
        "{} of {} tables are wrong: {shown:#?}",
        total.wrong.len(),
        total.tables + total.wrong.len()
    );
    // Fewer statements than that cannot have all.
    let least = if count >= NORMAL { 100 } else { 0 };
    assert_eq!(total.coverage.below(least), Vec::<String>::new(), "features used less than {least} times");
    assert!(total.statements >= count);
}

#[expect(clippy::too_many_arguments, reason = "a helper of one test")]
fn trial(
    host: &mut Host,
    warehouse: &Warehouse,
    layout: Layout,
    name: &str,
    fields: &[&str],
    seed: u64,
    steps: usize,
    coverage: &mut Coverage,
) -> icecap_conformance::Result<(usize, usize)> {
    let mut trial = Trial::new(host, reader(Foreign::DuckDb), layout, name, fields, seed)?;
    coverage.add(&trial.coverage);
    std::mem::swap(&mut trial.coverage, coverage);
    let outcome = (0..steps).try_for_each(|_| trial.step());
    std::mem::swap(&mut trial.coverage, coverage);
    outcome?;
    let table = format!("default.{name}");
    let location = warehouse.metadata_location(&table)?;
    let broken = warehouse.broken_invariants(&[(table, location)].into())?;
    if !broken.is_empty() {
        return Err(icecap_conformance::Failure::new(format!("invariants broken: {broken:#?}")));
    }
    trial.end().map(|(_, statements, refused)| (statements, refused))
}

#[test]
fn two_random_statements_at_once_are_one_after_the_other() {
    const PAIRS: usize = 10;
    let warehouse = Warehouse::new().unwrap();
    let (mut host, mut other) =
        (Host::start(&warehouse.path(), &[]).unwrap(), Host::start(&warehouse.path(), &[]).unwrap());
    let mut endings = [0; 3];
    for (at, layout) in Layout::all().enumerate() {
        let (seed, fields) = chosen(77, at, 0);
        let mut trial =
            Trial::new(&mut host, reader(Foreign::DuckDb), layout, &format!("p_{at}"), fields, seed).unwrap();
        for _ in 0..PAIRS {
            endings[trial.pair(&mut other).unwrap() as usize] += 1;
        }
    }
    let [both, one_refused, neither] = endings;
    figures::report(
        "random_pairs",
        &json!({"pairs": endings.iter().sum::<usize>(), "both": both, "one_refused": one_refused, "neither": neither}),
    );
    assert!(both > 0, "{endings:?}");
    let _ = Ending::Both;
}

#[test]
fn readers_agree_on_what_random_statements_leave() {
    const STEPS: usize = 12;
    let warehouse = Warehouse::new().unwrap();
    let mut host = Host::start(&warehouse.path(), &[]).unwrap();
    let mut rows = 0;
    for (at, layout) in Layout::all().enumerate() {
        for n in 0..2 {
            let (seed, fields) = chosen(500, at, n);
            let name = format!("r_{at}_{n}");
            let mut trial =
                Trial::new(&mut host, reader(Foreign::DuckDb), layout, &name, fields, seed).unwrap();
            (0..STEPS).for_each(|_| trial.step().unwrap());
            while trial.len() < 6 {
                trial.step().unwrap();
            }
            drop(trial);
            rows += everyone_agrees(&warehouse, &format!("default.{name}")).len();
        }
    }
    println!("{rows} rows read by everyone");
}
