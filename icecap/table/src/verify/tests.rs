use bytes::Bytes;
use iceberg::spec::{FormatVersion, ManifestContentType, Operation};
use serde_json::Value;
use uuid::Uuid;

use super::*;
use crate::manifest::ManifestEncoder;
use crate::snapshot::fixture::{TestTable, removed, staged_vector};
use crate::snapshot::{SnapshotRequest, data_file, prepare};
use crate::staged_file::StagedFile;

/// A table of two snapshots and three files.
async fn table(version: FormatVersion) -> TestTable {
    let mut table = TestTable::create(version, &[]).await;
    let first = [table.staged("a", Some("x"), 0, 10).await, table.staged("b", None, 10, 5).await];
    table.append(&first).await;
    let second = [table.staged("c", Some("x"), 15, 7).await];
    table.append(&second).await;
    assert_eq!(check_table(&table.storage, &table.location).await, Vec::<String>::new());
    table
}

/// What is said of the table after its metadata file was edited by hand.
async fn edited(table: &TestTable, edit: impl FnOnce(&mut Value)) -> String {
    let mut tree = table.document.tree();
    edit(&mut tree);
    let folder = format!("{}/metadata", table.document.metadata().location());
    let number = table.storage.list(&folder).await.unwrap().len();
    let location = format!("{folder}/edited-{number}.json");
    table.storage.put_new(&location, Bytes::from(tree.to_string())).await.unwrap();
    check_table(&table.storage, &location).await.join("\n")
}

type Edit = fn(&mut Value);

#[tokio::test]
async fn wrong_numbers_in_the_metadata_file_are_found() {
    let table = table(FormatVersion::V3).await;
    let cases: [(Edit, &str); 7] = [
        (|t| t["snapshots"][1]["sequence-number"] = 1.into(), "share sequence number 1"),
        (
            |t| t["snapshots"][1]["summary"]["total-records"] = "21".into(),
            "total-records is 21, the manifests say 22",
        ),
        (
            |t| t["snapshots"][1]["summary"]["added-records"] = "8".into(),
            "added-records is 8, the manifests say 7",
        ),
        (
            |t| drop(t["snapshots"][1]["summary"].as_object_mut().unwrap().remove("added-files-size")),
            "lacks added-files-size",
        ),
        (|t| t["snapshots"][1]["first-row-id"] = 14.into(), "share row ids"),
        (|t| t["next-row-id"] = 21.into(), "row ids end at 22"),
        (
            |t| t["metadata-log"][0]["metadata-file"] = "file:///nowhere/x.json".into(),
            "file:///nowhere/x.json has size None",
        ),
    ];
    for (edit, expected) in cases {
        let said = edited(&table, edit).await;
        assert!(said.contains(expected), "{expected}: {said}");
    }
    let log = edited(&table, |t| {
        let first = t["snapshot-log"][0]["timestamp-ms"].as_i64().unwrap();
        t["snapshot-log"][0]["timestamp-ms"] = (first + 500).into();
    });
    assert!(log.await.contains("snapshot log"));
    let missing = check_table(&table.storage, "file:///nowhere/t.json").await;
    assert_eq!(missing.len(), 1);
}

#[tokio::test]
async fn lost_and_cut_files_are_found() {
    let table = table(FormatVersion::V2).await;
    let data = table.storage.list(&format!("{}/data", table.document.metadata().location())).await.unwrap();
    table.storage.delete(&data[0]).await.unwrap();
    table.storage.delete(&data[1]).await.unwrap();
    table.storage.put_new(&data[1], Bytes::from_static(b"cut")).await.unwrap();
    let said = check_table(&table.storage, &table.location).await.join("\n");
    assert!(said.contains(&format!("{} has size None", data[0])), "{said}");
    assert!(said.contains(&format!("{} has size Some(3)", data[1])), "{said}");
}

/// Commits a manifest of two delete files in the place of the one that holds the first alone: our own producer does
/// not put two deletion vectors on one data file.
async fn plant_two_vectors(table: &mut TestTable, vectors: &[StagedFile; 2]) {
    let request = SnapshotRequest { added: &vectors[..1], ..table.request(Operation::Delete, &[]) };
    let mut prepared = prepare(&table.storage, request).await.unwrap();
    let metadata = table.document.metadata();
    let (schema, spec) = (metadata.current_schema(), metadata.default_partition_spec());
    let id = prepared.snapshot.snapshot_id();
    let content = ManifestContentType::Deletes;
    let mut encoder =
        ManifestEncoder::new(FormatVersion::V3, content, id, schema, spec, Uuid::from_u128(98)).unwrap();
    for vector in vectors {
        encoder.added(&data_file(vector, schema, metadata).unwrap(), None).unwrap();
    }
    let location = prepared.objects[0].0.clone();
    prepared.objects[0].1 = encoder.finish(location).unwrap().0.into();
    table.storage.put_all_new(prepared.objects).await.unwrap();
    let (snapshot, updates) = (prepared.snapshot, prepared.updates);
    table.commit(crate::snapshot::ProducedSnapshot { snapshot, updates, written: Vec::new() }).await;
}

#[tokio::test]
async fn a_path_that_is_live_twice_and_a_dangling_vector_are_found() {
    let mut table = table(FormatVersion::V3).await;
    table.writes = 0;
    let metadata = table.document.metadata();
    let path = table.storage.list(&format!("{}/data", metadata.location())).await.unwrap();
    let again = path.iter().find(|path| path.contains("-a.")).unwrap().clone();
    table.writes = 7;
    let mut file = table.staged("z", Some("x"), 22, 10).await;
    file.path = again;
    table.append(&[file.clone()]).await;
    let said = check_table(&table.storage, &table.location).await.join("\n");
    assert!(said.contains("-a.parquet is live 2 times"), "{said}");
    file.path = "file:///gone.parquet".into();
    let vectors = [staged_vector(&table, "v", &file, 1).await, staged_vector(&table, "w", &file, 1).await];
    plant_two_vectors(&mut table, &vectors).await;
    let said = check_table(&table.storage, &table.location).await.join("\n");
    assert!(said.contains("dangles on file:///gone.parquet"), "{said}");
    assert!(said.contains("file:///gone.parquet has 2 deletion vectors"), "{said}");
}

#[tokio::test]
async fn a_manifest_that_is_not_what_its_list_says_is_found() {
    let mut table = table(FormatVersion::V2).await;
    let file = [table.staged("d", Some("x"), 22, 1).await];
    let other = [table.staged("e", Some("x"), 23, 2).await, table.staged("f", Some("y"), 25, 2).await];
    let listed = prepare(&table.storage, table.request(Operation::Append, &file)).await.unwrap();
    let mut request = table.request(Operation::Append, &other);
    request.uuid = Uuid::from_u128(99);
    let manifest = prepare(&table.storage, request).await.unwrap().objects[0].1.clone();
    // The one's list over the other's manifest.
    let objects = vec![(listed.objects[0].0.clone(), manifest), listed.objects[1].clone()];
    table.storage.put_all_new(objects).await.unwrap();
    let produced = crate::snapshot::ProducedSnapshot {
        snapshot: listed.snapshot,
        updates: listed.updates,
        written: Vec::new(),
    };
    table.commit(produced).await;
    let said = check_table(&table.storage, &table.location).await.join("\n");
    assert!(said.contains("Added counts (files, rows) are (2, 4), the list says (1, 1)"), "{said}");
    assert!(said.contains("-m0.avro has size"), "{said}");
}

#[tokio::test]
async fn deletion_vectors_that_are_not_what_their_entries_say_are_found() {
    let mut table = TestTable::create(FormatVersion::V3, &[]).await;
    let data = [table.staged("a", Some("x"), 0, 10).await, table.staged("b", Some("y"), 10, 5).await];
    table.append(&data).await;
    let good = staged_vector(&table, "good", &data[0], 4).await;
    table.overwrite(std::slice::from_ref(&good), &[]).await.unwrap();
    assert_eq!(check_table(&table.storage, &table.location).await, [] as [&str; 0]);
    let mut last = good;
    for (edit, expected) in [
        (
            (|file: &mut StagedFile| file.record_count = 3) as fn(&mut StagedFile),
            "cannot be read: deletion vector",
        ),
        (|file| file.content_range = Some((5, 30)), "cannot be read"),
        (|file| file.partition = vec![Some(b"y".to_vec())], "is of another partition"),
    ] {
        let mut bad = staged_vector(&table, "bad", &data[0], 4).await;
        edit(&mut bad);
        table.overwrite(std::slice::from_ref(&bad), &[removed(&last)]).await.unwrap();
        last = bad;
        let said = check_table(&table.storage, &table.location).await.join("\n");
        assert!(said.contains(expected), "{expected}: {said}");
    }
    // More rows than the file has.
    let long = staged_vector(&table, "long", &data[1], 6).await;
    table.overwrite(&[long], &[]).await.unwrap();
    let said = check_table(&table.storage, &table.location).await.join("\n");
    assert!(said.contains("deletes row 5 of 5"), "{said}");
}

/// What was looked at is not looked at again, but for what readers see now; what was not, always is.
#[tokio::test]
async fn a_check_looks_at_every_snapshot_once_and_at_the_current_one_always() {
    let mut table = table(FormatVersion::V2).await;
    let mut seen = Seen::default();
    let check = async |table: &TestTable, seen: &mut Seen| {
        check_unseen(&table.storage, &table.location, seen).await.join("\n")
    };
    assert_eq!(check(&table, &mut seen).await, "");
    assert_eq!(seen.snapshots(), 2);
    for number in 0..20 {
        let file = [table.staged(&format!("more{number}"), Some("x"), 22 + number, 1).await];
        table.append(&file).await;
    }
    // A fault in the middle of what is new: the summary of one of twenty.
    let mut tree = table.document.tree();
    let snapshots = tree["snapshots"].as_array_mut().unwrap();
    let fifth = snapshots.iter_mut().find(|snapshot| snapshot["sequence-number"] == 5).unwrap();
    fifth["summary"]["added-records"] = "9".into();
    let location = format!("{}/metadata/bent.json", table.document.metadata().location());
    table.storage.put_new(&location, Bytes::from(tree.to_string())).await.unwrap();
    let said = check_unseen(&table.storage, &location, &mut seen).await.join("\n");
    assert!(said.contains("added-records is 9, the manifests say 1"), "{said}");
    assert_eq!(seen.snapshots(), 22);
    // Looked at, told, and done with; the current snapshot's files are looked for each time.
    assert_eq!(check_unseen(&table.storage, &location, &mut seen).await, [] as [&str; 0]);
    let data = table.storage.list(&format!("{}/data", table.document.metadata().location())).await.unwrap();
    table.storage.delete(&data[0]).await.unwrap();
    let said = check(&table, &mut seen).await;
    assert!(said.contains(&format!("{} has size None", data[0])), "{said}");
}
