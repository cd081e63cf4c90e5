//! The `.slt` files, a test each.

use std::collections::BTreeSet;

use icecap_conformance::reader::source_folder;
use icecap_conformance::slt::run_file_by_processes;

macro_rules! files {
    ($($name:ident),* $(,)?) => {
        const FILES: &[&str] = &[$(stringify!($name)),*];

        $(#[test]
        fn $name() {
            run_file_by_processes(stringify!($name)).unwrap();
        })*

        /// Each of them again, with tables and files on an S3 server.
        mod on_s3 {
            $(#[test]
            fn $name() {
                icecap_conformance::slt::run_file_on_s3(stringify!($name)).unwrap();
            })*
        }
    };
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
