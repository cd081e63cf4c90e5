use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use iceberg::spec::{
    NestedField, Operation, PrimitiveType, Schema, Snapshot, SnapshotReference, SnapshotRetention, Summary,
    Transform, Type, UnboundPartitionSpec,
};
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::error::ErrorKind;
use crate::snapshot::fixture::{START_MS, new_table};

/// A metadata file as Spark writes it, with fields that the kernel does not model in every place.
fn foreign() -> Value {
    json!({
        "format-version": 2,
        "table-uuid": "9c12d441-03fe-4693-9a96-a0705ddf69c1",
        "location": "file:/w/db.db/t/",
        "last-sequence-number": 2,
        "last-updated-ms": 1_700_000_000_500_i64,
        "last-column-id": 2,
        "current-schema-id": 0,
        "schemas": [{"type": "struct", "schema-id": 0, "identifier-field-ids": [], "x-note": 1, "fields": [
            {"id": 1, "name": "id", "required": false, "type": "long", "doc": "key", "x-collation": "de"},
            {"id": 2, "name": "d", "required": false, "type": "decimal(9, 2)"}]}],
        "default-spec-id": 0,
        "partition-specs": [{"spec-id": 0, "fields": [], "x-odd": 1.50}],
        "last-partition-id": 999,
        "default-sort-order-id": 0,
        "sort-orders": [{"order-id": 0, "fields": []}],
        "properties": {"owner": "me", "write.metadata.previous-versions-max": "2"},
        "current-snapshot-id": 11,
        "refs": {"main": {"snapshot-id": 11, "type": "branch", "x-ref": true}},
        "snapshots": [
            {"sequence-number": 2, "snapshot-id": 11, "parent-snapshot-id": 10, "timestamp-ms": 1_700_000_000_400_i64,
             "summary": {"operation": "append", "spark.app.id": "local-1"}, "manifest-list": "file:/w/s11.avro",
             "schema-id": 0, "x-snapshot": {"deep": [null, 1e300]}},
            {"sequence-number": 1, "snapshot-id": 10, "timestamp-ms": 1_700_000_000_300_i64,
             "summary": {"operation": "append"}, "manifest-list": "file:/w/s10.avro", "schema-id": 0}],
        "statistics": [{"snapshot-id": 10, "statistics-path": "file:/w/s.puffin", "file-size-in-bytes": 9,
            "file-footer-size-in-bytes": 3, "blob-metadata": [], "x-stat": 2}],
        "partition-statistics": [],
        "snapshot-log": [
            {"timestamp-ms": 1_700_000_000_300_i64, "snapshot-id": 10, "x-log": 1},
            {"timestamp-ms": 1_700_000_000_400_i64, "snapshot-id": 11}],
        "metadata-log": [
            {"timestamp-ms": 1_700_000_000_100_i64, "metadata-file": "file:/w/v0.json"},
            {"timestamp-ms": 1_700_000_000_300_i64, "metadata-file": "file:/w/v1.json", "x-meta": "kept"}],
        "x-top": {"a": [1, {"b": "c"}]}
    })
}

fn parse(tree: &Value) -> Result<TableDocument> {
    TableDocument::parse(tree.to_string().as_bytes())
}

fn stored(document: &TableDocument) -> Value {
    serde_json::from_slice(&document.to_bytes().unwrap()).unwrap()
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

fn snapshot(id: i64, sequence: i64, time: i64) -> Snapshot {
    Snapshot::builder()
        .with_snapshot_id(id)
        .with_parent_snapshot_id(Some(11))
        .with_sequence_number(sequence)
        .with_timestamp_ms(time)
        .with_manifest_list("file:/w/new.avro")
        .with_summary(Summary { operation: Operation::Append, additional_properties: [].into() })
        .with_schema_id(0)
        .build()
}

fn append(id: i64, sequence: i64, time: i64) -> Vec<TableUpdate> {
    let reference = SnapshotReference::new(id, SnapshotRetention::branch(None, None, None));
    vec![
        TableUpdate::AddSnapshot { snapshot: snapshot(id, sequence, time) },
        TableUpdate::SetSnapshotRef { ref_name: "main".into(), reference },
    ]
}

#[test]
fn a_foreign_file_survives_load_and_store() {
    let tree = foreign();
    assert_eq!(stored(&parse(&tree).unwrap()), tree);
    let mut third = foreign();
    third["format-version"] = 3.into();
    third["next-row-id"] = 0.into();
    third["snapshots"][0]["key-id"] = "k1".into();
    third["encryption-keys"] = json!([{"key-id": "k1", "encrypted-key-metadata": "AAEC", "x-key": 1}]);
    assert_eq!(stored(&parse(&third).unwrap()), third);
}

#[test]
fn snapshots_of_version_1_have_sequence_number_0_in_later_versions() {
    for version in [2, 3] {
        let mut tree = foreign();
        tree["format-version"] = json!(version);
        if version == 3 {
            tree["next-row-id"] = json!(0);
        }
        let snapshots = tree["snapshots"].as_array_mut().unwrap();
        let first = snapshots[0].as_object_mut().unwrap();
        first.remove("sequence-number").unwrap();
        let id = first["snapshot-id"].as_i64().unwrap();
        let document = parse(&tree).unwrap();
        assert_eq!(document.metadata().snapshot_by_id(id).unwrap().sequence_number(), 0);
        assert_eq!(stored(&document), tree);
    }
}

#[test]
fn an_append_changes_what_it_says_and_nothing_else() {
    let tree = foreign();
    let base = parse(&tree).unwrap();
    let time = base.next_timestamp_ms(1_700_000_000_000);
    assert_eq!(time, 1_700_000_000_501);
    let next = base.apply(append(12, 3, time), Some("file:/w/v2.json"), 1_700_000_000_000).unwrap();
    let mut expected = tree;
    expected["last-sequence-number"] = 3.into();
    expected["last-updated-ms"] = time.into();
    expected["current-snapshot-id"] = 12.into();
    expected["refs"]["main"]["snapshot-id"] = 12.into();
    let added = json!({"snapshot-id": 12, "parent-snapshot-id": 11, "sequence-number": 3, "timestamp-ms": time,
        "manifest-list": "file:/w/new.avro", "summary": {"operation": "append"}, "schema-id": 0});
    expected["snapshots"].as_array_mut().unwrap().push(added);
    let log = json!({"snapshot-id": 12, "timestamp-ms": time});
    expected["snapshot-log"].as_array_mut().unwrap().push(log);
    // Two earlier versions are kept.
    let log = expected["metadata-log"].as_array_mut().unwrap();
    log.remove(0);
    log.push(json!({"metadata-file": "file:/w/v2.json", "timestamp-ms": 1_700_000_000_500_i64}));
    assert_eq!(stored(&next), expected);
    assert_eq!(next.metadata().current_snapshot_id(), Some(12));
    // Reading it back gives the same model as applying did.
    assert_eq!(parse(&expected).unwrap().metadata(), next.metadata());
}

#[test]
fn summaries_are_written_in_order() {
    let numbers = |said: &str| (0..20).map(|n| (format!("{said}-{n:02}"), n.to_string())).collect();
    let base = parse(&foreign()).unwrap();
    let updates = vec![TableUpdate::AddSnapshot {
        snapshot: Snapshot::builder()
            .with_snapshot_id(12)
            .with_sequence_number(3)
            .with_timestamp_ms(base.next_timestamp_ms(0))
            .with_manifest_list("file:/w/new.avro")
            .with_summary(Summary { operation: Operation::Append, additional_properties: numbers("total") })
            .build(),
    }];
    let text = String::from_utf8(base.apply(updates, None, 0).unwrap().text.to_bytes()).unwrap();
    let at: Vec<usize> = (0..20).map(|n| text.find(&format!("total-{n:02}")).unwrap()).collect();
    assert!(at.is_sorted(), "{text}");
}

#[test]
fn members_of_a_group_keep_their_snapshots_and_share_one_log_entry() {
    let base = parse(&foreign()).unwrap();
    let one = base.apply(append(12, 3, base.next_timestamp_ms(0)), Some("file:/w/v2.json"), 0).unwrap();
    let two = one.apply(append(13, 4, one.next_timestamp_ms(0)), None, 0).unwrap();
    let log: Vec<(i64, i64)> =
        two.metadata().history().iter().map(|e| (e.snapshot_id, e.timestamp_ms())).collect();
    assert_eq!(log[2..], [(12, 1_700_000_000_501), (13, 1_700_000_000_502)]);
    assert_eq!(two.metadata().metadata_log().len(), 2);
    assert_eq!(two.metadata().snapshots().len(), 4);
}

#[test]
fn stale_snapshots_are_conflicts_and_bad_updates_invalid() {
    let base = parse(&foreign()).unwrap();
    let error = base.apply(append(12, 2, 1_700_000_000_501), None, 0).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    let unknown = TableUpdate::SetSnapshotRef {
        ref_name: "main".into(),
        reference: SnapshotReference::new(99, SnapshotRetention::branch(None, None, None)),
    };
    assert_eq!(base.apply(vec![unknown], None, 0).unwrap_err().kind(), ErrorKind::Invalid);
    let reserved = TableUpdate::SetProperties { updates: [("uuid".to_owned(), "x".to_owned())].into() };
    assert_eq!(base.apply(vec![reserved], None, 0).unwrap_err().kind(), ErrorKind::Invalid);
}

#[test]
fn changes_without_a_snapshot_take_the_given_time() {
    let base = parse(&foreign()).unwrap();
    let updates = [("k".to_owned(), "v".to_owned())].into();
    let set = base.apply(vec![TableUpdate::SetProperties { updates }], Some("file:/w/v2.json"), 5).unwrap();
    assert_eq!(set.metadata().last_updated_ms(), 1_700_000_000_501);
    assert_eq!(
        set.tree()["properties"],
        json!({"owner": "me", "write.metadata.previous-versions-max": "2", "k": "v"})
    );
    assert_eq!(set.tree()["x-top"], foreign()["x-top"]);
    let back = TableUpdate::SetSnapshotRef {
        ref_name: "main".into(),
        reference: SnapshotReference::new(10, SnapshotRetention::branch(None, None, None)),
    };
    let rolled = base.apply(vec![back], None, 1_800_000_000_000).unwrap();
    assert_eq!(rolled.metadata().last_updated_ms(), 1_800_000_000_000);
    assert_eq!(rolled.metadata().history().last().unwrap().timestamp_ms(), 1_800_000_000_000);
    assert_eq!(rolled.tree()["refs"]["main"], json!({"snapshot-id": 10, "type": "branch", "x-ref": true}));
}

#[test]
fn compressed_files_are_read_and_written_where_the_table_says_so() {
    let mut tree = foreign();
    let plain = parse(&tree).unwrap();
    let zipped = gzip(tree.to_string().as_bytes());
    assert_eq!(TableDocument::parse(&zipped).unwrap().tree(), plain.tree());
    tree["properties"]["write.metadata.compression-codec"] = "GZIP".into();
    let document = parse(&tree).unwrap();
    let bytes = document.to_bytes().unwrap();
    assert_eq!(bytes[..2], [0x1f, 0x8b]);
    assert_eq!(TableDocument::parse(&bytes).unwrap().tree(), tree);
    let uuid = Uuid::from_u128(1);
    assert_eq!(
        document.next_location(None, uuid),
        "file:/w/db.db/t/metadata/00000-00000000-0000-0000-0000-000000000001.gz.metadata.json"
    );
}

/// The document after appends, as one process makes them.
fn appended(base: &TableDocument, ids: std::ops::Range<i64>) -> TableDocument {
    ids.fold(base.clone(), |document, id| {
        let sequence = document.metadata().last_sequence_number() + 1;
        let updates = append(id, sequence, document.next_timestamp_ms(0));
        document.apply(updates, Some(&format!("file:/w/{id:05}-a.metadata.json")), 0).unwrap()
    })
}

fn is_gzip(document: &TableDocument) -> bool {
    let is_gzip = document.to_bytes().unwrap().starts_with(&[0x1f, 0x8b]);
    let location = document.next_location(None, Uuid::from_u128(1));
    assert_eq!(location.ends_with("1.gz.metadata.json"), is_gzip, "{location}");
    is_gzip
}

#[test]
fn large_files_are_compressed_unless_the_table_says_otherwise() {
    for (codec, small, large) in [
        (None, false, true),
        (Some("none"), false, false),
        (Some(""), false, false),
        (Some("gzip"), true, true),
    ] {
        let mut tree = foreign();
        if let Some(codec) = codec {
            tree["properties"]["write.metadata.compression-codec"] = codec.into();
        }
        let first = parse(&tree).unwrap();
        assert_eq!(is_gzip(&first), small, "{codec:?}");
        let many = appended(&first, 100..500);
        assert_eq!(is_gzip(&many), large, "{codec:?}");
        let (text, file) = (many.text.to_bytes().len(), many.to_bytes().unwrap().len());
        assert!(text > LARGE_BYTES, "{text}");
        assert!(!large || file * 8 < text, "{file} of {text}");
        assert_eq!(TableDocument::parse(&many.to_bytes().unwrap()).unwrap().tree(), many.tree());
    }
}

#[test]
fn what_is_large_is_told_by_the_text() {
    let mut document = parse(&foreign()).unwrap();
    for id in 100..500 {
        document = appended(&document, id..id + 1);
        let length = document.text.to_bytes().len();
        assert_eq!(document.text.length(), length);
        assert_eq!(document.is_compressed(), length >= LARGE_BYTES, "{length}");
    }
    assert!(is_gzip(&document));
}

#[tokio::test]
async fn a_file_of_another_process_is_not_compressed_from_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| format!("file://{}/{name}", folder.path().display());
    let storage = Storage::local();
    let own = appended(&parse(&foreign()).unwrap(), 100..600);
    own.to_bytes().unwrap();
    let compressed = own.text.compressed_bytes();
    own.keep_in(storage.cache(), &file("00001-a.metadata.json"));
    let held = storage.cache().usage().bytes;
    assert!(held > own.text.length() * BYTES_PER_TEXT_BYTE + compressed, "{held}");
    // Another process commits on it, with a snapshot and with a property.
    let theirs = TableDocument::parse(&own.to_bytes().unwrap()).unwrap();
    let updates = append(700, theirs.metadata().last_sequence_number() + 1, theirs.next_timestamp_ms(0));
    let theirs = theirs.apply(updates, Some(&file("00001-a.metadata.json")), 0).unwrap();
    let set = TableUpdate::SetProperties { updates: [("a".to_owned(), "b".to_owned())].into() };
    let theirs = theirs.apply(vec![set], Some(&file("00002-b.metadata.json")), 0).unwrap();
    let location = &file("00003-b.metadata.json");
    storage.put_new(location, theirs.to_bytes().unwrap()).await.unwrap();
    assert_eq!(TableDocument::load(&storage, location).await.unwrap().text.compressed_bytes(), 0);
    let loaded = TableDocument::load_cached(&storage, location).await.unwrap();
    assert_eq!(loaded.tree(), theirs.tree());
    assert_eq!(loaded.text.compressed_bytes(), compressed);
}

#[test]
fn what_was_compressed_outlives_changes_that_are_no_append() {
    let own = appended(&parse(&foreign()).unwrap(), 100..600);
    own.to_bytes().unwrap();
    let compressed = own.text.compressed_bytes();
    let set = TableUpdate::SetProperties { updates: [("a".to_owned(), "b".to_owned())].into() };
    let set = own.apply(vec![set], Some("file:/w/s-a.metadata.json"), 0).unwrap();
    assert_eq!(set.text.compressed_bytes(), compressed);
    let fewer = TableUpdate::RemoveSnapshots { snapshot_ids: (200..240).collect() };
    let fewer = set.apply(vec![fewer], Some("file:/w/t-a.metadata.json"), 0).unwrap();
    assert_eq!(fewer.metadata().snapshots().len(), 462);
    assert!(fewer.text.compressed_bytes() * 2 > compressed);
    let read = TableDocument::parse(&fewer.to_bytes().unwrap()).unwrap();
    assert_eq!((read.tree(), read.metadata()), (fewer.tree(), fewer.metadata()));
}

#[test]
fn names_count_on_from_the_base() {
    let uuid = Uuid::from_u128(1);
    let document = parse(&foreign()).unwrap();
    for (base, expected) in [
        (None, "00000"),
        (Some("file:/w/t/metadata/00041-x.metadata.json"), "00042"),
        (Some("file:/w/t/metadata/v7.metadata.json"), "00008"),
        (Some("file:/w/t/metadata/v7.gz.metadata.json"), "00008"),
        (Some("file:/w/t/metadata/odd.json"), "00001"),
        (Some("file:/w/t/metadata/99999-x.metadata.json"), "100000"),
    ] {
        let location = document.next_location(base, uuid);
        assert_eq!(location, format!("file:/w/db.db/t/metadata/{expected}-{uuid}.metadata.json"));
    }
    let mut moved = foreign();
    moved["properties"]["write.metadata.path"] = "s3://b/meta/".into();
    assert_eq!(parse(&moved).unwrap().metadata_folder(), "s3://b/meta");
}

#[test]
fn what_icecap_does_not_know_is_named() {
    let with_type = |kind: Value| {
        let mut tree = foreign();
        tree["format-version"] = 3.into();
        tree["next-row-id"] = 0.into();
        tree["schemas"][0]["fields"][1]["type"] = kind;
        parse(&tree).unwrap_err()
    };
    for kind in ["variant", "geometry", "geography(OGC:CRS84)", "unknown"] {
        let error = with_type(kind.into());
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
        assert!(
            error.to_string().contains(&format!("type {kind} is not supported yet (column: d)")),
            "{error}"
        );
    }
    let nested = json!({"type": "list", "element-id": 3, "element-required": false, "element":
        {"type": "struct", "fields": [{"id": 4, "name": "v", "required": false, "type": "variant"}]}});
    assert!(with_type(nested).to_string().contains("column: d.v"));
    assert_eq!(with_type("wibble".into()).kind(), ErrorKind::Corrupt);
    let mut fourth = foreign();
    fourth["format-version"] = 4.into();
    assert_eq!(parse(&fourth).unwrap_err().kind(), ErrorKind::Unsupported);
}

#[test]
fn hostile_bytes_are_refused() {
    for bytes in
        [&b""[..], b"{}", b"[]", b"null", b"{\"format-version\":2}", b"\x1f\x8bnot gzip", b"\xff\xfe"]
    {
        assert_eq!(TableDocument::parse(bytes).unwrap_err().kind(), ErrorKind::Corrupt);
    }
    let deep = format!("{{\"format-version\":2,\"x\":{}{}}}", "[".repeat(200_000), "]".repeat(200_000));
    assert_eq!(TableDocument::parse(deep.as_bytes()).unwrap_err().kind(), ErrorKind::Corrupt);
    // 100 MiB of blanks in 100 kB.
    let bomb = gzip(&vec![b' '; 100 << 20]);
    let error = TableDocument::parse(&bomb).unwrap_err();
    assert!(error.to_string().contains("larger than"), "{error}");
}

#[test]
fn new_tables_have_fresh_ids_and_the_given_time() {
    let nested = Type::Struct(iceberg::spec::StructType::new(vec![
        NestedField::optional(70, "x", Type::Primitive(PrimitiveType::Int)).into(),
    ]));
    let list = Type::List(iceberg::spec::ListType::new(NestedField::list_element(60, nested, false).into()));
    let mut new = new_table("file:///w/t/", FormatVersion::V2, &[("k", "v")]);
    new.schema = Schema::builder()
        .with_fields([
            NestedField::optional(50, "l", list).with_doc("a list").into(),
            NestedField::required(40, "b", Type::Primitive(PrimitiveType::Long)).into(),
        ])
        .build()
        .unwrap();
    new.partition_spec = UnboundPartitionSpec::builder()
        .add_partition_field(40, "b_bucket", Transform::Bucket(4))
        .unwrap()
        .build();
    let document = TableDocument::create(new).unwrap();
    let tree = &document.tree();
    assert_eq!(
        tree["schemas"],
        json!([{"schema-id": 0, "type": "struct", "fields": [
            {"id": 1, "name": "l", "required": false, "doc": "a list", "type": {"type": "list", "element-id": 3,
                "element-required": false, "element": {"type": "struct", "fields": [
                    {"id": 4, "name": "x", "required": false, "type": "int"}]}}},
            {"id": 2, "name": "b", "required": true, "type": "long"}]}])
    );
    assert_eq!(
        tree["partition-specs"],
        json!([{"spec-id": 0, "fields": [
            {"source-id": 2, "field-id": 1000, "name": "b_bucket", "transform": "bucket[4]"}]}])
    );
    assert_eq!(tree["sort-orders"], json!([{"order-id": 0, "fields": []}]));
    assert_eq!((&tree["last-column-id"], &tree["last-partition-id"]), (&json!(4), &json!(1000)));
    assert_eq!(tree["last-updated-ms"], START_MS);
    assert_eq!(tree["table-uuid"], "00000000-0000-0000-0000-000000000007");
    assert_eq!(tree["location"], "file:///w/t");
    assert_eq!(parse(tree).unwrap().metadata(), document.metadata());
    let third = TableDocument::create(new_table("file:///w/t", FormatVersion::V3, &[])).unwrap();
    assert_eq!((third.tree()["format-version"].clone(), third.metadata().next_row_id()), (json!(3), 0));
}

#[test]
fn what_a_version_cannot_hold_is_refused() {
    let kind = |new: NewTable| TableDocument::create(new).unwrap_err().kind();
    assert_eq!(kind(new_table("file:///w/t", FormatVersion::V1, &[])), ErrorKind::Unsupported);
    assert_eq!(
        kind(new_table("file:///w/t", FormatVersion::V2, &[("format-version", "2")])),
        ErrorKind::Invalid
    );
    let mut nanoseconds = new_table("file:///w/t", FormatVersion::V2, &[]);
    nanoseconds.partition_spec = UnboundPartitionSpec::builder().build();
    nanoseconds.schema = Schema::builder()
        .with_fields([NestedField::optional(1, "t", Type::Primitive(PrimitiveType::TimestampNs)).into()])
        .build()
        .unwrap();
    assert_eq!(kind(nanoseconds.clone()), ErrorKind::Invalid);
    nanoseconds.format_version = FormatVersion::V3;
    TableDocument::create(nanoseconds).unwrap();
    let mut lost = new_table("file:///w/t", FormatVersion::V2, &[]);
    lost.partition_spec =
        UnboundPartitionSpec::builder().add_partition_field(9, "x", Transform::Identity).unwrap().build();
    assert_eq!(kind(lost), ErrorKind::Invalid);
}

proptest! {
    /// Whatever is done through the model, what it does not know stays where it was.
    #[test]
    fn foreign_fields_survive_any_run_of_changes(steps in proptest::collection::vec(0..4_u8, 1..8)) {
        let mut document = parse(&foreign()).unwrap();
        for (n, step) in steps.iter().enumerate() {
            let metadata = document.metadata();
            let time = document.next_timestamp_ms(0);
            let id = 100 + i64::try_from(n).unwrap();
            let updates = match step {
                0 => append(id, metadata.last_sequence_number() + 1, time),
                1 => vec![TableUpdate::SetProperties { updates: [(format!("p{n}"), n.to_string())].into() }],
                2 => vec![TableUpdate::SetLocation { location: format!("file:/w/moved{n}") }],
                _ => vec![TableUpdate::RemoveSnapshots { snapshot_ids: vec![10] }],
            };
            document = document.apply(updates, Some(&format!("file:/w/n{n}.json")), 0).unwrap();
            let again = parse(&document.tree()).unwrap();
            prop_assert_eq!(again.metadata(), document.metadata());
        }
        let (tree, before) = (document.tree(), foreign());
        for pointer in ["/x-top", "/schemas/0", "/partition-specs/0", "/refs/main/x-ref", "/snapshots/0/x-snapshot",
                "/statistics/0"] {
            prop_assert_eq!(tree.pointer(pointer), before.pointer(pointer), "{}", pointer);
        }
    }
}

#[test]
fn only_the_tables_own_metadata_files_are_given_up() {
    let mut tree = foreign();
    tree["location"] = "file:///w/t".into();
    tree["properties"]["write.metadata.previous-versions-max"] = "1".into();
    let named = [
        "file:///w/t/metadata/00000-a.metadata.json",
        "file:///w/other/metadata/00001-a.metadata.json",
        "file:///w/t/metadata/../../other/metadata/00001-a.metadata.json",
        "file:///w/t/metadata/deeper/00001-a.metadata.json",
        "file:///w/t/metadata/snap-1.avro",
        "file:///w/t/metadata2/00001-a.metadata.json",
    ];
    let log = |file: &&str| json!({"timestamp-ms": 1_700_000_000_100_i64, "metadata-file": file});
    tree["metadata-log"] = named.iter().map(log).collect();
    let next = |tree: &Value| {
        let before = parse(tree).unwrap();
        let after =
            before.apply(append(12, 3, 1_700_000_000_501), Some("file:///w/t/metadata/b"), 0).unwrap();
        assert_eq!(after.metadata().metadata_log().len(), 1);
        after.metadata_given_up(&before)
    };
    assert_eq!(next(&tree), [] as [&str; 0]);
    tree["properties"]["write.metadata.delete-after-commit.enabled"] = "true".into();
    assert_eq!(next(&tree), named[..1]);
}
