//! The `.slt` files, a test each.

use std::collections::BTreeSet;

use icecap_conformance::reader::source_folder;
use icecap_conformance::slt::{run_file_by_processes, run_file_on, run_file_on_s3};
use icecap_conformance::stack::{LambdaService, S3Server, Warehouse, writer_binary};

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

        /// Each of them again, with tables and files on an S3 server.
        mod on_s3 {
            $(#[test]
            fn $name() {
                super::run_on_s3(stringify!($name));
            })*
        }
    };
}

/// The same file with every write parted into so many tasks, two of which run at once.
fn run_in_tasks(name: &str, tasks: &str) {
    let warehouse = Warehouse::new().unwrap().with(&["--tasks", tasks], &[]);
    run_file_on(name, warehouse).unwrap();
}

fn run_on_s3(name: &str) {
    run_file_on_s3(name, Warehouse::on_s3().unwrap()).unwrap();
}

#[test]
fn on_s3_in_children() {
    for name in ["ctas", "insert"] {
        let warehouse = Warehouse::on_s3().unwrap().with(&["--writers", "2", "--tasks", "8"], &[]);
        run_file_on_s3(name, warehouse).unwrap();
    }
}

#[test]
fn on_s3_in_a_function() {
    for name in ["ctas", "insert"] {
        let warehouse = Warehouse::on_s3().unwrap();
        let endpoint = warehouse.s3().unwrap().0.endpoint();
        let variables = S3Server::environment(&endpoint).into_iter();
        let variables: Vec<String> =
            variables.map(|(name, value)| format!("--variable={name}={value}")).collect();
        let variables: Vec<&str> = variables.iter().map(String::as_str).collect();
        let service = LambdaService::start("writer", &writer_binary().unwrap(), &variables).unwrap();
        let options = ["--writers", "lambda:writer", "--tasks", "8"];
        let warehouse = warehouse.with(&options, &[("AWS_ENDPOINT_URL_LAMBDA", &service.url)]);
        run_file_on_s3(name, warehouse).unwrap();
    }
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
    optimize,
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
