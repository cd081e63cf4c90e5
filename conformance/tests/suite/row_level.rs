//! The `.slt` files about DELETE, UPDATE and MERGE: the same files with the same results in every layout of tables, over the
//! engine as one long-lived process.

mod larger_than_memory;
mod opened;

use icecap_conformance::slt::{Layout, LayoutDriver, Parting, run_file};
use icecap_conformance::stack::Warehouse;

/// Runs a file in all layouts, and in one of them with every write parted into tasks; `fewer`: where a file's own
/// partitioning is the point.
fn run(name: &str, is_wanted: impl Fn(&Layout) -> bool) {
    let mut wrong = Vec::new();
    let parted = Layout { version: 3, copy_on_write: false, parting: Parting::Partitioned };
    let runs = Layout::all().filter(is_wanted).map(|layout| (layout, &[][..]));
    for (layout, options) in runs.chain([(parted, &["--tasks", "3"][..])]) {
        let driver = LayoutDriver::new(Warehouse::new().unwrap(), layout, options).unwrap();
        if let Err(failure) = run_file(&format!("row_level/{name}"), Box::new(driver), &[]) {
            wrong.push(format!("{layout:?} {options:?}: {failure}"));
        }
    }
    assert!(wrong.is_empty(), "{} layouts:\n{}", wrong.len(), wrong.join("\n"));
}

macro_rules! files {
    ($($name:ident),* $(,)?) => {
        const FILES: &[&str] = &[$(stringify!($name)),*];

        $(#[test]
        fn $name() {
            run(stringify!($name), |_| true);
        })*
    };
}

files!(
    delete,
    delete_subqueries,
    errors,
    merge,
    merge_duplicates,
    merge_subqueries,
    update,
    update_from,
    update_struct
);

/// Of the files' own partitioning, which is the point, and once without.
#[test]
fn nulls() {
    run("nulls", |layout| match layout.parting {
        Parting::Partitioned => true,
        Parting::Plain | Parting::Evolved => layout.version == 3 && !layout.copy_on_write,
        Parting::Sorted => false,
    });
}

#[test]
fn every_file_is_a_test() {
    let folder = icecap_conformance::reader::source_folder().join("slt/row_level");
    let mut found: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
        .filter(|name| name != "nulls")
        .collect();
    found.sort();
    assert_eq!(found, FILES);
}
