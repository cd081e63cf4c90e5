//! Random INSERT and CTAS statements with joins and aggregations: parted through an executor and plain, the tables
//! are the same.
//!
//! `ICECAP_RANDOM_STATEMENTS` says how many (60 otherwise, a third through each executor), `ICECAP_RANDOM_SEED` with
//! which the first is made.

use icecap_conformance::random_ctas::{RandomCtas, TABLES};
use icecap_conformance::stack::{Said, Session, SharedWriters, Warehouse};
use serde_json::{Value, json};

use crate::figures::report;

#[test]
fn in_process() {
    same_tables(0, "random_in_process", &[], &[]);
}

#[test]
fn in_children() {
    same_tables(1, "random_in_children", &["--writers", "2"], &[]);
}

#[test]
fn in_a_function() {
    let writers = SharedWriters::get().unwrap();
    same_tables(2, "random_in_a_function", &["--writers", SharedWriters::WRITERS], &writers.variables());
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// One statement of three, from the `first` one on, through an executor with 2 or 8 tasks on 2 slots.
fn same_tables(first: u64, figures: &str, executor: &[&str], variables: &[(&str, &str)]) {
    let warehouse = Warehouse::new().unwrap();
    let mut plain = warehouse.session().unwrap();
    for statement in TABLES {
        plain.summary(statement).unwrap();
    }
    let warehouse = warehouse.with(executor, variables).with(&["--slots", "2"], &[]);
    let mut parted = ["2", "8"].map(|tasks| warehouse.session_with(&["--tasks", tasks]).unwrap());
    let (mut statements, mut crossed) = (0, 0);
    let start = number("ICECAP_RANDOM_SEED", 1);
    for seed in (start..start + number("ICECAP_RANDOM_STATEMENTS", 60)).skip(first as usize).step_by(3) {
        let statement = RandomCtas::new(seed);
        let at = seed as usize / 3 % parted.len();
        let (here, there) = (format!("e{seed}"), format!("g{seed}"));
        let made = [
            plain.run(&statement.create(&here)).unwrap(),
            parted[at].run(&statement.create(&there)).unwrap(),
        ];
        statements += 1;
        match made {
            [Said::Summary(expected), Said::Summary(got)] => {
                assert_eq!(got["rows_inserted"], expected["rows_inserted"], "seed {seed}: {statement:?}");
                crossed += u64::from(got["exchange_bytes_read"].as_u64().is_some_and(|bytes| bytes > 0));
                parted[at].summary(&statement.insert(&there)).unwrap();
                plain.summary(&statement.insert(&here)).unwrap();
                let expected = rows(&mut plain, &here);
                assert_eq!(rows(&mut plain, &there), expected, "seed {seed}: {statement:?}");
            }
            [Said::Error(expected), Said::Error(got)] => {
                println!("seed {seed} fails: {expected}\n{}", statement.query);
                let kind = |line: &str| line.split(']').next().map(str::to_owned);
                assert_eq!(kind(&got), kind(&expected), "seed {seed}: {statement:?}");
            }
            [expected, got] => panic!("seed {seed}: {expected:?} plain, {got:?} parted: {statement:?}"),
        }
        let left: Vec<String> =
            warehouse.files().unwrap().into_iter().filter(|file| file.starts_with(".exchange")).collect();
        assert_eq!(left, [""; 0], "seed {seed}");
        for table in [here, there] {
            plain.run(&format!("DROP TABLE IF EXISTS {table}")).unwrap();
        }
    }
    report(figures, &json!({"statements": statements, "crossed_an_exchange": crossed}));
    assert!(crossed > 0 || statements < 10, "no statement crossed an exchange");
}

fn rows(session: &mut Session, table: &str) -> Vec<String> {
    let rows = session.rows(&format!("SELECT * FROM {table}")).unwrap();
    let mut rows: Vec<String> = rows.iter().map(Value::to_string).collect();
    rows.sort_unstable();
    rows
}
