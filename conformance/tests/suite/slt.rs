//! The `.slt` files, a test each.

use std::collections::BTreeSet;

use icecap_conformance::reader::source_folder;
use icecap_conformance::slt::{run_file_by_processes, run_file_on};
use icecap_conformance::stack::{LambdaService, Warehouse, writer_binary};

macro_rules! files {
    ($($name:ident),* $(,)?) => {
        const FILES: &[&str] = &[$(stringify!($name)),*];

        $(#[test]
        fn $name() {
            run_file_by_processes(stringify!($name)).unwrap();
        })*

        mod in_two_tasks {
            $(#[test]
            fn $name() {
                super::run_in_tasks(stringify!($name), "2");
            })*
        }

        mod in_eight_tasks {
            $(#[test]
            fn $name() {
                super::run_in_tasks(stringify!($name), "8");
            })*
        }

        mod in_children {
            $(#[test]
            fn $name() {
                super::run_in_children(stringify!($name));
            })*
        }

        mod in_a_function {
            $(#[test]
            fn $name() {
                super::run_in_a_function(stringify!($name));
            })*
        }
    };
}

/// The same file with every write parted into so many tasks, two of which run at once.
fn run_in_tasks(name: &str, tasks: &str) {
    let warehouse = Warehouse::new().unwrap().with(&["--tasks", tasks], &[]);
    run_file_on(name, warehouse).unwrap();
}

fn run_in_children(name: &str) {
    let warehouse = Warehouse::new().unwrap().with(&["--writers", "2", "--tasks", "8"], &[]);
    run_file_on(name, warehouse).unwrap();
}

fn run_in_a_function(name: &str) {
    let service = LambdaService::start("writer", &writer_binary().unwrap(), &[]).unwrap();
    let options = ["--writers", "lambda:writer", "--tasks", "8"];
    let warehouse = Warehouse::new().unwrap().with(&options, &service.variables());
    run_file_on(name, warehouse).unwrap();
}

files!(
    arithmetic,
    create_table,
    ctas,
    describe,
    drop_table,
    explain,
    hidden,
    insert,
    names,
    namespace,
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
