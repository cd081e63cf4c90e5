//! `icecap verify`: sound tables of every engine pass, and each of many planted faults is found.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use icecap_conformance::reader::Foreign;
use icecap_conformance::stack::{Output, Warehouse, icecap_binary, run_within};
use icecap_table::iceberg::io::{MemoryStorage, OutputFile, Storage as _};
use icecap_table::iceberg::spec::{DataFile, DataFileBuilder, Datum, Manifest, ManifestWriterBuilder};
use serde_json::{Value, json};

use crate::reader;

fn verify(warehouse: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(icecap_binary().unwrap());
    command.current_dir(warehouse.parent().unwrap()).arg("verify").arg("--json");
    command.arg("--warehouse").arg(warehouse).args(args);
    run_within(&mut command, "", std::time::Duration::from_secs(120)).unwrap()
}

/// The newest metadata file of each table below a folder.
fn newest(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut here: Vec<PathBuf> = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(newest(&path));
        } else if path.to_string_lossy().ends_with(".metadata.json") {
            here.push(path);
        }
    }
    here.sort_by_key(|path| {
        let metadata: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        let logged = metadata["metadata-log"].as_array().map_or(0, Vec::len);
        (metadata["last-updated-ms"].as_i64().unwrap(), logged)
    });
    found.extend(here.pop());
    found
}

fn sound(foreign: Foreign, at_least: usize) {
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().join(foreign.name());
    reader(foreign).call(&json!({"op": "survival_tables", "directory": directory})).unwrap();
    let tables: Vec<PathBuf> = newest(&directory)
        .into_iter()
        // A type that is not built yet: nothing of that table can be looked at.
        .filter(|path| !path.to_string_lossy().contains("/variants/"))
        .collect();
    assert!(tables.len() >= at_least, "{tables:?}");
    let paths: Vec<&str> = tables.iter().map(|path| path.to_str().unwrap()).collect();
    let reports = verify(&folder.path().join("none"), &paths).objects().unwrap();
    assert_eq!(reports.len(), tables.len());
    for report in reports {
        assert_eq!(report["violations"], json!([]), "{report:#}");
        assert!(report["files"].as_u64().unwrap() > 0, "{report:#}");
        assert!(report["rows"].as_u64().unwrap() > 0, "{report:#}");
    }
    assert!(!folder.path().join("none").exists(), "a check makes nothing");
}

#[test]
fn tables_of_spark_are_sound() {
    sound(Foreign::Spark, 3);
}

#[test]
fn tables_of_pyiceberg_are_sound() {
    sound(Foreign::PyIceberg, 2);
}

#[test]
fn tables_of_duckdb_are_sound() {
    sound(Foreign::DuckDb, 1);
}

/// A table of two snapshots, three and two rows, with a NULL and a NaN.
fn table() -> Warehouse {
    let warehouse = Warehouse::new().unwrap();
    warehouse
        .run(&[
            "CREATE TABLE t (id bigint, d double, s string) USING iceberg TBLPROPERTIES ('format-version'='3')",
            "INSERT INTO t VALUES (1, 1.5, 'a'), (2, CAST('NaN' AS double), 'b'), (3, NULL, NULL)",
            "INSERT INTO t VALUES (4, -1.0, 'c'), (5, 2.0, 'd')",
        ])
        .unwrap()
        .success()
        .unwrap();
    let report = verify(&warehouse.path(), &["t"]).objects().unwrap().remove(0);
    assert_eq!(report["violations"], json!([]), "{report:#}");
    assert_eq!((&report["snapshots"], &report["files"], &report["rows"]), (&json!(2), &json!(2), &json!(5)));
    warehouse.damages_tables();
    warehouse
}

/// That a fault is found, under its own name.
fn found(output: &Output, expected: &str) {
    output.clone().fails_with("corrupt", "").unwrap();
    let told = format!("{output:?}");
    assert!(told.contains(expected), "{expected:?} is not among {told}");
}

type Edit = fn(&mut Value);

#[test]
fn faults_of_the_metadata_file_are_found() {
    let warehouse = table();
    let location = warehouse.metadata_location("default.t").unwrap();
    let path = PathBuf::from(location.strip_prefix("file://").unwrap());
    let good: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    let faults: [(&str, Edit); 11] = [
        ("share sequence number", |t| t["snapshots"][1]["sequence-number"] = json!(1)),
        ("total-records is 6", |t| t["snapshots"][1]["summary"]["total-records"] = json!("6")),
        ("added-records is 8", |t| t["snapshots"][1]["summary"]["added-records"] = json!("8")),
        ("lacks added-files-size", |t| {
            t["snapshots"][1]["summary"].as_object_mut().unwrap().remove("added-files-size").unwrap();
        }),
        ("share row ids", |t| t["snapshots"][1]["first-row-id"] = json!(1)),
        ("the table's next is 4", |t| t["next-row-id"] = json!(4)),
        ("no/such.metadata.json", |t| {
            t["metadata-log"][0]["metadata-file"] = json!("file:///no/such.metadata.json");
        }),
        ("snapshot log", |t| {
            let first = t["snapshot-log"][0]["timestamp-ms"].as_i64().unwrap();
            t["snapshot-log"][0]["timestamp-ms"] = json!(first + 3000);
        }),
        ("metadata log", |t| {
            let twice = t["metadata-log"][0].clone();
            t["metadata-log"].as_array_mut().unwrap().insert(0, twice);
        }),
        ("greater than last sequence number 1", |t| t["last-sequence-number"] = json!(1)),
        ("snap-0.avro", |t| t["snapshots"][0]["manifest-list"] = json!("file:///no/snap-0.avro")),
    ];
    for (number, (expected, edit)) in faults.into_iter().enumerate() {
        let mut broken = good.clone();
        edit(&mut broken);
        assert_ne!(broken, good, "{expected}");
        let planted = path.with_file_name(format!("planted-{number}.metadata.json"));
        std::fs::write(&planted, broken.to_string()).unwrap();
        found(&verify(&warehouse.path(), &[planted.to_str().unwrap()]), expected);
    }
}

fn files(warehouse: &Warehouse, suffix: &str) -> Vec<PathBuf> {
    let files = warehouse.files().unwrap().into_iter().filter(|file| file.ends_with(suffix));
    files.map(|file| warehouse.path().join(file)).collect()
}

#[test]
fn files_that_are_lost_or_damaged_are_found() {
    let warehouse = table();
    let data = files(&warehouse, ".parquet").remove(0);
    let list = files(&warehouse, ".avro").into_iter().find(|path| path.to_string_lossy().contains("/snap-"));
    let manifest = files(&warehouse, "-m0.avro").remove(0);
    let cut = |bytes: &[u8]| Some(bytes[..bytes.len() - 1].to_vec());
    let gone = |_: &[u8]| None;
    let garbled = |bytes: &[u8]| {
        let mut bytes = bytes.to_vec();
        // The end of the footer: its length and the file's mark.
        let at = bytes.len() - 6;
        bytes[at..].fill(0x5a);
        Some(bytes)
    };
    type Damage<'a> = &'a dyn Fn(&[u8]) -> Option<Vec<u8>>;
    let faults: [(&Path, Damage<'_>, &str); 6] = [
        (&data, &gone, "has size None"),
        (&data, &cut, "recorded is"),
        (&data, &garbled, "the data cannot be read"),
        (&manifest, &gone, "has size None"),
        (&manifest, &garbled, "manifest cannot be parsed"),
        (list.as_deref().unwrap(), &gone, "has size None"),
    ];
    for (path, damage, expected) in faults {
        let good = std::fs::read(path).unwrap();
        match damage(&good) {
            Some(bytes) => std::fs::write(path, bytes).unwrap(),
            None => std::fs::remove_file(path).unwrap(),
        }
        found(&verify(&warehouse.path(), &["t"]), expected);
        std::fs::write(path, good).unwrap();
    }
    assert!(verify(&warehouse.path(), &["t"]).success().is_ok());
}

fn copy(file: &DataFile) -> DataFileBuilder {
    let mut builder = DataFileBuilder::default();
    builder
        .content(file.content_type())
        .file_path(file.file_path().to_owned())
        .file_format(file.file_format())
        .partition(file.partition().clone())
        .record_count(file.record_count())
        .file_size_in_bytes(file.file_size_in_bytes())
        .column_sizes(file.column_sizes().clone())
        .value_counts(file.value_counts().clone())
        .null_value_counts(file.null_value_counts().clone())
        .nan_value_counts(file.nan_value_counts().clone())
        .lower_bounds(file.lower_bounds().clone())
        .upper_bounds(file.upper_bounds().clone());
    builder
}

/// The manifest at `path` with another entry for its file.
async fn rewritten(path: &Path, change: impl Fn(&DataFile, &mut DataFileBuilder), times: usize) -> Vec<u8> {
    let (entries, header) = Manifest::parse_avro(&std::fs::read(path).unwrap()).unwrap().into_parts();
    let memory = MemoryStorage::new();
    let output = OutputFile::new(Arc::new(memory.clone()), "memory:/m.avro".to_owned());
    let snapshot_id = entries[0].snapshot_id();
    let mut writer =
        ManifestWriterBuilder::new(output, snapshot_id, header.schema, header.partition_spec).build_v3_data();
    for _ in 0..times {
        let mut file = copy(entries[0].data_file());
        change(entries[0].data_file(), &mut file);
        writer.add_file(file.build().unwrap(), -1).unwrap();
    }
    writer.write_manifest_file().await.unwrap();
    memory.read("memory:/m.avro").await.unwrap().to_vec()
}

type Change = fn(&DataFile, &mut DataFileBuilder);

#[tokio::test]
async fn what_a_manifest_says_wrongly_of_a_file_is_found() {
    let warehouse = table();
    // Of the first INSERT: three rows, ids 1 to 3, a NULL and a NaN in `d`, a NULL in `s`.
    let manifests = files(&warehouse, "-m0.avro");
    let of_first = |path: &&PathBuf| {
        let (entries, _) = Manifest::parse_avro(&std::fs::read(path).unwrap()).unwrap().into_parts();
        entries[0].record_count() == 3
    };
    let manifest = manifests.iter().find(of_first).unwrap();
    let faults: [(&str, Change, usize); 10] = [
        (
            "it has 3 rows, and 4 are recorded",
            |_, f| {
                f.record_count(4);
            },
            1,
        ),
        (
            "says 2 NULLs, there are 1",
            |old, f| {
                f.null_value_counts(changed(old.null_value_counts(), 3, 2));
            },
            1,
        ),
        (
            "says 0 NaNs, there are 1",
            |old, f| {
                f.nan_value_counts(changed(old.nan_value_counts(), 2, 0));
            },
            1,
        ),
        (
            "has 5 values in 3 rows",
            |old, f| {
                f.value_counts(changed(old.value_counts(), 1, 5));
            },
            1,
        ),
        (
            "the lower bound 2 is above the value 1",
            |old, f| {
                let mut bounds = old.lower_bounds().clone();
                bounds.insert(1, Datum::long(2));
                f.lower_bounds(bounds);
            },
            1,
        ),
        (
            "the upper bound 2 is below the value 3",
            |old, f| {
                let mut bounds = old.upper_bounds().clone();
                bounds.insert(1, Datum::long(2));
                f.upper_bounds(bounds);
            },
            1,
        ),
        (
            "the upper bound aa is below the value b",
            |old, f| {
                let mut bounds = old.upper_bounds().clone();
                bounds.insert(3, Datum::string("aa"));
                f.upper_bounds(bounds);
            },
            1,
        ),
        (
            "bounds of column 1 are crossed",
            |old, f| {
                let mut bounds = old.lower_bounds().clone();
                bounds.insert(1, Datum::long(9));
                f.lower_bounds(bounds);
            },
            1,
        ),
        (
            "recorded is Some(7)",
            |_, f| {
                f.file_size_in_bytes(7);
            },
            1,
        ),
        ("is live 2 times", |_, _| {}, 2),
    ];
    let good = std::fs::read(manifest).unwrap();
    for (expected, change, times) in faults {
        std::fs::write(manifest, rewritten(manifest, change, times).await).unwrap();
        found(&verify(&warehouse.path(), &["t"]), expected);
        std::fs::write(manifest, &good).unwrap();
    }
}

fn changed(
    counts: &std::collections::HashMap<i32, u64>,
    id: i32,
    number: u64,
) -> std::collections::HashMap<i32, u64> {
    let mut counts = counts.clone();
    assert_ne!(counts.insert(id, number), Some(number));
    counts
}

#[test]
fn a_table_that_is_not_there_is_no_fault_of_its() {
    let warehouse = table();
    verify(&warehouse.path(), &["nothing"]).fails_with("not-found", "nothing").unwrap();
    verify(&warehouse.path().join("no"), &["t"]).fails_with("not-found", "no warehouse").unwrap();
    let bare = warehouse.beside().join("bare");
    std::fs::create_dir(&bare).unwrap();
    verify(&bare, &["t"]).fails_with("not-found", "no warehouse").unwrap();
    assert_eq!(std::fs::read_dir(&bare).unwrap().count(), 0, "a check makes nothing");
    // Nor does it make the catalog that it was told of.
    let catalog = warehouse.beside().join("other").join("catalog.db");
    let uri = format!("sqlite:{}", catalog.display());
    let asked = verify(&warehouse.path(), &["--catalog", &uri, "t"]);
    asked.fails_with("not-found", "there is no catalog sqlite:").unwrap();
    let file = warehouse.metadata_location("default.t").unwrap();
    let report = verify(&warehouse.path(), &["--catalog", &uri, &file]).objects().unwrap().remove(0);
    assert_eq!(report["violations"], json!([]), "{report:#}");
    assert!(!catalog.parent().unwrap().exists(), "a check makes nothing");
    let report = verify(&warehouse.path(), &["--metadata-only", "t"]).objects().unwrap().remove(0);
    assert_eq!(report["data_was_read"], json!(false));
}
