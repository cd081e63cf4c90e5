//! The `.slt` files: each as users run them, a process a statement; and each through every executor, with 1, 2
//! and 8 tasks on 2 slots, on the local disk and on S3, where all must leave the same tables.

use std::collections::BTreeSet;

use icecap_conformance::reader::source_folder;
use icecap_conformance::slt::{Tables, run_file_by_processes, run_file_in_session};
use icecap_conformance::stack::{SharedWriters, Warehouse};

macro_rules! files {
    ($($name:ident),* $(,)?) => {
        const FILES: &[&str] = &[$(stringify!($name)),*];

        $(#[test]
        fn $name() {
            run_file_by_processes(stringify!($name), Warehouse::new().unwrap()).unwrap();
        })*

        mod in_process {
            $(#[test]
            fn $name() {
                super::every_way(stringify!($name), &[], &[]);
            })*
        }

        mod in_children {
            $(#[test]
            fn $name() {
                super::every_way(stringify!($name), &["--writers", "2"], &[]);
            })*
        }

        mod in_a_function {
            $(#[test]
            fn $name() {
                super::in_a_function(stringify!($name));
            })*
        }
    };
}

/// Runs a file on an executor with 1, 2 and 8 tasks, on the local disk and on S3: the tables are those that one
/// process makes.
fn every_way(name: &str, executor: &[&str], variables: &[(&str, &str)]) {
    let run = |warehouse: Warehouse| run_file_in_session(name, &warehouse);
    let plain: Tables = run(Warehouse::new().unwrap()).unwrap();
    for on_s3 in [false, true] {
        for tasks in ["1", "2", "8"] {
            let warehouse = if on_s3 { Warehouse::on_s3() } else { Warehouse::new() }.unwrap();
            // The endpoint of functions is there; the keys are S3's, where there is S3.
            let variables = variables.iter().filter(|(name, _)| !on_s3 || name.ends_with("_LAMBDA"));
            let variables: Vec<(&str, &str)> = variables.copied().collect();
            let way = ["--tasks", tasks, "--slots", "2"];
            let tables = run(warehouse.with(&way, &variables).with(executor, &[]))
                .unwrap_or_else(|failure| panic!("{tasks} tasks, S3 {on_s3}: {failure}"));
            assert_eq!(tables, plain, "{tasks} tasks, S3 {on_s3}");
        }
    }
}

fn in_a_function(name: &str) {
    let writers = SharedWriters::get().unwrap();
    every_way(name, &["--writers", SharedWriters::WRITERS], &writers.variables());
}

files!(
    alter,
    arithmetic,
    create_table,
    ctas,
    delete,
    describe,
    drop_table,
    explain,
    hidden,
    insert,
    merge,
    names,
    namespace,
    optimize,
    ordered,
    read_csv,
    read_folders,
    read_json,
    read_parquet,
    register,
    select,
    show,
    show_table,
    time_travel,
    types,
    update,
    vacuum,
);

#[test]
fn every_file_is_a_test() {
    let entries = std::fs::read_dir(source_folder().join("slt")).unwrap().map(|entry| entry.unwrap().path());
    let found: BTreeSet<String> = entries
        .filter(|path| path.extension().is_some_and(|extension| extension == "slt"))
        .map(|path| path.file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    assert_eq!(found, FILES.iter().map(|&name| name.to_owned()).collect());
}
