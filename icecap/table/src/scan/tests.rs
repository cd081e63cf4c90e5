//! Plans over manifests written by the kernel, and over what is not a manifest.

mod deletes;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use iceberg::expr::{Predicate, Reference};
use iceberg::spec::{
    DataContentType, DataFile, DataFileBuilder, DataFileFormat, Datum, FormatVersion, Literal, ManifestFile,
    ManifestListWriter, ManifestWriter, ManifestWriterBuilder, PartitionSpec, Schema, Struct, TableMetadata,
};
use tempfile::TempDir;

use super::*;
use crate::error::{ErrorKind, Result};
use crate::location::Policy;
use crate::storage::Storage;

const SNAPSHOT: i64 = 77;

/// A table of one snapshot: columns `id int`, `name string`, `score double`, `day date`; spec 0 is
/// unpartitioned, spec 1 has `identity(day)`, spec 2 `truncate[10](id)`.
struct Fixture {
    dir: TempDir,
    storage: Storage,
    version: FormatVersion,
    manifests: Vec<ManifestFile>,
    schemas: serde_json::Value,
}

fn schemas() -> serde_json::Value {
    serde_json::json!([{ "type": "struct", "schema-id": 0, "fields": [
        { "id": 1, "name": "id", "required": false, "type": "int" },
        { "id": 2, "name": "name", "required": false, "type": "string" },
        { "id": 3, "name": "score", "required": false, "type": "double" },
        { "id": 4, "name": "day", "required": false, "type": "date" },
    ]}])
}

fn specs() -> serde_json::Value {
    serde_json::json!([
        { "spec-id": 0, "fields": [] },
        { "spec-id": 1, "fields": [
            { "source-id": 4, "field-id": 1000, "name": "day", "transform": "identity" }] },
        { "spec-id": 2, "fields": [
            { "source-id": 1, "field-id": 1001, "name": "id_trunc", "transform": "truncate[10]" }] },
    ])
}

impl Fixture {
    fn new(version: FormatVersion) -> Self {
        let dir = TempDir::new().unwrap();
        // Without a cache: the list is written again under its name.
        let storage = Storage::local().with_cache_bytes(0);
        Self { dir, storage, version, manifests: Vec::new(), schemas: schemas() }
    }

    fn location(&self, name: &str) -> String {
        format!("file://{}/{name}", self.dir.path().display())
    }

    /// The table's metadata: current schema and snapshot are the last of each.
    fn metadata(&self) -> TableMetadata {
        let current_schema = self.schemas.as_array().unwrap().len() - 1;
        let mut snapshot = serde_json::json!({
            "snapshot-id": SNAPSHOT, "timestamp-ms": 1000, "schema-id": 0,
            "manifest-list": self.location("snap.avro"), "summary": { "operation": "append" },
        });
        let mut metadata = serde_json::json!({
            "format-version": self.version as u8, "table-uuid": uuid::Uuid::nil(),
            "location": self.location(""), "last-updated-ms": 1000, "last-column-id": 9,
            "current-schema-id": current_schema, "schemas": self.schemas,
            "default-spec-id": 0, "partition-specs": specs(), "last-partition-id": 1001,
            "default-sort-order-id": 0, "sort-orders": [{ "order-id": 0, "fields": [] }],
            "current-snapshot-id": SNAPSHOT,
            "refs": { "main": { "snapshot-id": SNAPSHOT, "type": "branch" } },
        });
        if self.version > FormatVersion::V1 {
            metadata["last-sequence-number"] = 9.into();
            snapshot["sequence-number"] = 9.into();
        }
        if self.version == FormatVersion::V3 {
            metadata["next-row-id"] = 1000.into();
            snapshot["first-row-id"] = 500.into();
            snapshot["added-rows"] = 500.into();
        }
        metadata["snapshots"] = serde_json::json!([snapshot]);
        serde_json::from_value(metadata).unwrap()
    }

    async fn manifest(&mut self, spec: i32, fill: impl FnOnce(&mut ManifestWriter)) -> &mut ManifestFile {
        self.write(spec, false, fill).await
    }

    async fn write(
        &mut self,
        spec: i32,
        deletes: bool,
        fill: impl FnOnce(&mut ManifestWriter),
    ) -> &mut ManifestFile {
        let metadata = self.metadata();
        let location = self.location(&format!("m{}.avro", self.manifests.len()));
        let schema = metadata.schema_by_id(0).unwrap().clone();
        let spec = PartitionSpec::clone(metadata.partition_spec_by_id(spec).unwrap());
        let output = self.storage.file_io().new_output(location).unwrap();
        let builder = ManifestWriterBuilder::new(output, Some(SNAPSHOT), schema, spec);
        let mut writer = match (self.version, deletes) {
            (FormatVersion::V1, _) => builder.build_v1(),
            (FormatVersion::V2, false) => builder.build_v2_data(),
            (FormatVersion::V2, true) => builder.build_v2_deletes(),
            (FormatVersion::V3, false) => builder.build_v3_data(),
            (FormatVersion::V3, true) => builder.build_v3_deletes(),
        };
        fill(&mut writer);
        self.manifests.push(writer.write_manifest_file().await.unwrap());
        self.manifests.last_mut().unwrap()
    }

    async fn write_list(&self) {
        self.storage.delete(&self.location("snap.avro")).await.unwrap();
        let output = self.storage.file_io().new_output(self.location("snap.avro")).unwrap();
        let output = output.writer().await.unwrap();
        let mut list = match self.version {
            FormatVersion::V1 => ManifestListWriter::v1(output, SNAPSHOT, None),
            FormatVersion::V2 => ManifestListWriter::v2(output, SNAPSHOT, None, 9),
            FormatVersion::V3 => ManifestListWriter::v3(output, SNAPSHOT, None, 9, Some(500)),
        };
        list.add_manifests(self.manifests.clone().into_iter()).unwrap();
        list.close().await.unwrap();
    }

    async fn plan(&self, filter: Predicate) -> Result<ScanPlan> {
        self.write_list().await;
        let metadata = self.metadata();
        plan_files(&self.storage, &metadata, metadata.current_snapshot().unwrap(), &filter).await
    }
}

/// A data file of ten rows whose `id`s go from `low` to `high`, without NULLs.
fn data_file(path: &str, low: i32, high: i32) -> DataFileBuilder {
    let mut file = DataFileBuilder::default();
    file.content(DataContentType::Data)
        .file_path(path.to_owned())
        .file_format(DataFileFormat::Parquet)
        .record_count(10)
        .file_size_in_bytes(1000)
        .value_counts(HashMap::from([(1, 10)]))
        .null_value_counts(HashMap::from([(1, 0)]))
        .lower_bounds(HashMap::from([(1, Datum::int(low))]))
        .upper_bounds(HashMap::from([(1, Datum::int(high))]))
        .split_offsets(Some(vec![4]));
    file
}

fn in_day(path: &str, day: Option<i32>) -> DataFile {
    let partition = Struct::from_iter([day.map(Literal::date)]);
    data_file(path, 0, 9).partition(partition).partition_spec_id(1).build().unwrap()
}

fn paths(plan: &ScanPlan) -> Vec<&str> {
    plan.files.iter().map(|file| file.path.as_str()).collect()
}

fn id() -> Reference {
    Reference::new("id")
}

#[tokio::test]
async fn files_are_skipped_by_manifest_partition_and_metrics() {
    let mut table = Fixture::new(FormatVersion::V2);
    table
        .manifest(1, |m| {
            m.add_file(in_day("d1", Some(1)), -1).unwrap();
            m.add_file(in_day("d2", Some(2)), -1).unwrap();
            m.add_file(in_day("null", None), -1).unwrap();
        })
        .await;
    table.manifest(1, |m| m.add_file(in_day("d9", Some(9)), -1).unwrap()).await;
    let day = |n| Reference::new("day").equal_to(Datum::date(n));

    let all = table.plan(Predicate::AlwaysTrue).await.unwrap();
    assert_eq!(paths(&all), ["d1", "d2", "null", "d9"]);
    assert!(all.filter_is_exact);
    assert_eq!((all.files_total, all.rows, all.bytes, all.manifests_read), (4, 40, 4000, 2));

    let plan = table.plan(day(2)).await.unwrap();
    assert_eq!(paths(&plan), ["d2"]);
    assert!(plan.filter_is_exact, "the whole partition matches");
    assert_eq!((plan.manifests_total, plan.manifests_read), (2, 1));
    assert_eq!((plan.files_total, plan.files_pruned_by_manifest, plan.files_pruned_by_partition), (4, 1, 2));

    let plan = table.plan(!day(2)).await.unwrap();
    assert_eq!(paths(&plan), ["d1", "d9"], "NULL is not unequal");
    let plan = table.plan(Reference::new("day").is_null()).await.unwrap();
    assert_eq!(paths(&plan), ["null"]);
    assert!(plan.filter_is_exact);

    let plan = table.plan(day(1).and(id().greater_than(Datum::int(9)))).await.unwrap();
    assert_eq!((plan.files.len(), plan.files_pruned_by_metrics, plan.rows), (0, 1, 0));
    let plan = table.plan(id().greater_than(Datum::int(5))).await.unwrap();
    assert_eq!((plan.files.len(), plan.filter_is_exact), (4, false));
    assert!(plan.files.iter().all(|file| !file.all_rows_match));
}

#[tokio::test]
async fn each_file_is_judged_under_its_own_spec() {
    let mut table = Fixture::new(FormatVersion::V2);
    table.manifest(0, |m| m.add_file(data_file("old", 0, 99).build().unwrap(), -1).unwrap()).await;
    table.manifest(1, |m| m.add_file(in_day("day", Some(3)), -1).unwrap()).await;
    let truncated = |path: &str, value| {
        let partition = Struct::from_iter([Some(Literal::int(value))]);
        let mut file = data_file(path, value, value + 9);
        let bare = file.lower_bounds(HashMap::new()).upper_bounds(HashMap::new());
        bare.partition(partition).partition_spec_id(2).build().unwrap()
    };
    table
        .manifest(2, |m| {
            m.add_file(truncated("t10", 10), -1).unwrap();
            m.add_file(truncated("t20", 20), -1).unwrap();
        })
        .await;
    let plan = table.plan(id().equal_to(Datum::int(25))).await.unwrap();
    assert_eq!(paths(&plan), ["old", "t20"]);
    assert_eq!(plan.files.iter().map(|file| file.spec_id).collect::<Vec<_>>(), [0, 2]);
    assert_eq!(plan.files[1].partition, [Some(Literal::int(20))]);
    let day = Reference::new("day").equal_to(Datum::date(4));
    assert_eq!(paths(&table.plan(day).await.unwrap()), ["old", "t10", "t20"]);
}

#[tokio::test]
async fn sequence_numbers_are_inherited_by_added_files_only() {
    let mut table = Fixture::new(FormatVersion::V2);
    let file = |path| data_file(path, 0, 1).build().unwrap();
    table
        .manifest(0, |m| {
            m.add_file(file("added"), -1).unwrap();
            m.add_file(file("rewritten"), 4).unwrap();
            m.add_existing_file(file("existing"), 1, 3, Some(5)).unwrap();
            m.add_delete_file(file("deleted"), 2, Some(2)).unwrap();
        })
        .await;
    let plan = table.plan(Predicate::AlwaysTrue).await.unwrap();
    let numbers: Vec<_> = plan
        .files
        .iter()
        .map(|f| (f.path.as_str(), f.data_sequence_number, f.file_sequence_number))
        .collect();
    assert_eq!(numbers, [("added", 9, 9), ("rewritten", 4, 9), ("existing", 3, 5)]);
    assert!(plan.files.iter().all(|file| file.first_row_id.is_none()));
    assert_eq!(plan.files[0].split_offsets, [4]);
}

#[tokio::test]
async fn row_ids_go_on_from_the_manifests_first_one() {
    let mut table = Fixture::new(FormatVersion::V3);
    let file = |path, low, own: Option<i64>| data_file(path, low, low).first_row_id(own).build().unwrap();
    table
        .manifest(0, |m| {
            m.add_file(file("a", 1, None), -1).unwrap();
            m.add_delete_file(file("gone", 1, None), 2, Some(2)).unwrap();
            m.add_existing_file(file("kept", 1, Some(7)), 1, 3, Some(3)).unwrap();
            m.add_file(file("b", 2, None), -1).unwrap();
            m.add_file(file("c", 1, None), -1).unwrap();
        })
        .await;
    table.manifest(0, |m| m.add_file(file("d", 1, None), -1).unwrap()).await;
    let ids = |plan: &ScanPlan| -> Vec<_> {
        plan.files.iter().map(|file| (file.path.clone(), file.first_row_id.unwrap())).collect()
    };
    let named = |all: &[(&str, i64)]| all.iter().map(|(p, n)| ((*p).to_owned(), *n)).collect::<Vec<_>>();
    let plan = table.plan(Predicate::AlwaysTrue).await.unwrap();
    // The list's writer gives the second manifest the ids after all 40 rows counted for the first.
    assert_eq!(ids(&plan), named(&[("a", 500), ("kept", 7), ("b", 510), ("c", 520), ("d", 540)]));
    // A file that is skipped keeps its ids.
    let plan = table.plan(id().equal_to(Datum::int(1))).await.unwrap();
    assert_eq!(ids(&plan), named(&[("a", 500), ("kept", 7), ("c", 520), ("d", 540)]));
}

#[tokio::test]
async fn files_that_cannot_be_read_are_refused() {
    let mut table = Fixture::new(FormatVersion::V2);
    let orc = data_file("f.orc", 0, 1).file_format(DataFileFormat::Orc).build().unwrap();
    table.manifest(0, |m| m.add_file(orc, -1).unwrap()).await;
    let error = table.plan(Predicate::AlwaysTrue).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("orc"), "{error}");

    let mut table = Fixture::new(FormatVersion::V2);
    let secret = data_file("f.parquet", 0, 1).key_metadata(Some(vec![1])).build().unwrap();
    table.manifest(0, |m| m.add_file(secret, -1).unwrap()).await;
    assert_eq!(table.plan(Predicate::AlwaysTrue).await.unwrap_err().kind(), ErrorKind::Unsupported);

    let mut table = Fixture::new(FormatVersion::V2);
    table.manifest(0, |m| m.add_file(in_bare(), -1).unwrap()).await.key_metadata = Some(vec![1]);
    assert_eq!(table.plan(Predicate::AlwaysTrue).await.unwrap_err().kind(), ErrorKind::Unsupported);
}

fn in_bare() -> DataFile {
    data_file("a", 0, 1).build().unwrap()
}

#[tokio::test]
async fn a_v1_table_is_read() {
    let mut table = Fixture::new(FormatVersion::V1);
    table
        .manifest(1, |m| {
            m.add_file(in_day("d1", Some(1)), -1).unwrap();
            m.add_file(in_day("d2", Some(2)), -1).unwrap();
        })
        .await;
    let plan = table.plan(Reference::new("day").greater_than(Datum::date(1))).await.unwrap();
    assert_eq!(paths(&plan), ["d2"]);
    assert_eq!((plan.files[0].data_sequence_number, plan.files[0].first_row_id), (0, None));
}

#[tokio::test]
async fn what_is_no_manifest_is_corrupt_and_named() {
    let mut table = Fixture::new(FormatVersion::V2);
    table
        .manifest(1, |m| {
            m.add_file(in_day("d1", Some(1)), -1).unwrap();
            m.add_file(in_day("d2", None), -1).unwrap();
        })
        .await;
    table.write_list().await;
    let metadata = table.metadata();
    let snapshot = metadata.current_snapshot().unwrap();
    let plan = || plan_files(&table.storage, &metadata, snapshot, &Predicate::AlwaysTrue);
    assert_eq!(plan().await.unwrap().files.len(), 2);
    for name in ["m0.avro", "snap.avro"] {
        let path = table.dir.path().join(name);
        let good = std::fs::read(&path).unwrap();
        for cut in (0..good.len()).step_by(37) {
            std::fs::write(&path, &good[..cut]).unwrap();
            if let Err(error) = plan().await {
                assert_eq!(error.kind(), ErrorKind::Corrupt, "{name} cut at {cut}: {error}");
                assert!(error.to_string().contains(name), "{error}");
            }
        }
        for at in (0..good.len()).step_by(17) {
            let mut bad = good.clone();
            bad[at] ^= 0xff;
            std::fs::write(&path, &bad).unwrap();
            // Whatever it is taken for, nothing breaks.
            let _ = plan().await;
        }
        std::fs::remove_file(&path).unwrap();
        assert_eq!(plan().await.unwrap_err().kind(), ErrorKind::Corrupt);
        std::fs::write(&path, &good).unwrap();
    }
}

#[tokio::test]
async fn a_manifest_of_another_spec_than_the_list_says_is_corrupt() {
    for claimed in [0, 2, 5] {
        let mut table = Fixture::new(FormatVersion::V2);
        table.manifest(1, |m| m.add_file(in_day("d1", Some(1)), -1).unwrap()).await.partition_spec_id =
            claimed;
        let error = table.plan(Predicate::AlwaysTrue).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert!(error.to_string().contains(&format!("partition spec {claimed}")), "{error}");
    }
}

#[tokio::test]
async fn delete_files_in_a_data_manifests_clothes_are_never_taken_for_data() {
    let mut table = Fixture::new(FormatVersion::V2);
    let deletes = data_file("d", 0, 1).content(DataContentType::PositionDeletes).build().unwrap();
    let listed = table.write(0, true, |m| m.add_file(deletes, -1).unwrap()).await;
    listed.content = iceberg::spec::ManifestContentType::Data;
    assert_eq!(table.plan(Predicate::AlwaysTrue).await.unwrap_err().kind(), ErrorKind::Corrupt);
}

/// `b` takes the name of the dropped `a`: under the snapshot's schema the filter would prune by `a`'s bounds.
#[tokio::test]
async fn names_are_those_of_the_current_schema() {
    let mut table = Fixture::new(FormatVersion::V2);
    table.manifest(0, |m| m.add_file(data_file("f", 0, 9).build().unwrap(), -1).unwrap()).await;
    let mut renamed = schemas()[0].clone();
    renamed["schema-id"] = 1.into();
    renamed["fields"].as_array_mut().unwrap().remove(0);
    let added = serde_json::json!({ "id": 5, "name": "id", "required": false, "type": "int" });
    renamed["fields"].as_array_mut().unwrap().push(added);
    // The spec over the dropped column goes with it in this test's metadata.
    table.schemas.as_array_mut().unwrap().push(renamed);
    let filter = id().equal_to(Datum::int(50));
    assert_eq!(paths(&table.plan(filter.clone()).await.unwrap()), ["f"]);
    let metadata = table.metadata();
    let old: Arc<Schema> = metadata.schema_by_id(0).unwrap().clone();
    let request = ScanRequest::new(&metadata, metadata.current_snapshot().unwrap()).unwrap();
    let plan = request.with_schema(old).with_filter(filter).plan(&table.storage).await.unwrap();
    assert_eq!(plan.files_pruned_by_metrics, 1);
}

#[tokio::test]
async fn many_manifests_and_large_ones_keep_their_order() {
    let mut table = Fixture::new(FormatVersion::V2);
    for manifest in 0..40 {
        let files = if manifest == 7 { 3000 } else { 2 };
        table
            .manifest(0, |m| {
                for file in 0..files {
                    let path = format!("{manifest:02}-{file:04}");
                    m.add_file(data_file(&path, manifest, manifest).build().unwrap(), -1).unwrap();
                }
            })
            .await;
    }
    let plan = table.plan(Predicate::AlwaysTrue).await.unwrap();
    assert_eq!(plan.files.len(), 3078);
    assert!(paths(&plan).is_sorted());
    let metadata = table.metadata();
    let request = ScanRequest::new(&metadata, metadata.current_snapshot().unwrap()).unwrap();
    let lean = request
        .with_filter(id().equal_to(Datum::int(7)))
        .with_metrics(MetricsKept::Columns(BTreeSet::from([2])))
        .plan(&table.storage)
        .await
        .unwrap();
    assert_eq!((lean.files.len(), lean.files_pruned_by_metrics), (3000, 78));
    assert!(lean.files.iter().all(|file| file.lower_bounds.is_empty() && file.all_rows_match));
    assert!(lean.filter_is_exact);
}

#[tokio::test]
async fn an_empty_location_or_garbage_ends_in_an_error() {
    let table = Fixture::new(FormatVersion::V2);
    let metadata = table.metadata();
    let snapshot = metadata.current_snapshot().unwrap();
    table.storage.put_new(&table.location("snap.avro"), Bytes::from_static(b"Obj\x01garbage")).await.unwrap();
    let plan = plan_files(&table.storage, &metadata, snapshot, &Predicate::AlwaysTrue).await;
    assert_eq!(plan.unwrap_err().kind(), ErrorKind::Corrupt);
}

fn scanned(low: Datum, high: Datum, nulls: u64) -> ScanFile {
    ScanFile {
        path: "f".into(),
        file_size_bytes: 100,
        record_count: 10,
        spec_id: 0,
        partition: vec![],
        data_sequence_number: 1,
        file_sequence_number: 1,
        first_row_id: None,
        sort_order_id: None,
        split_offsets: vec![],
        all_rows_match: true,
        deletes: vec![],
        null_counts: [(1, nulls), (2, 0), (3, 0)].into(),
        value_counts: [(1, 10), (2, 10), (3, 10)].into(),
        nan_counts: [(3, 0)].into(),
        lower_bounds: [(1, low), (2, Datum::string("a")), (3, Datum::double(1.0))].into(),
        upper_bounds: [(1, high), (2, Datum::string("b")), (3, Datum::double(2.0))].into(),
    }
}

#[test]
fn statistics_are_exact_only_where_every_file_makes_them_so() {
    let metadata = Fixture::new(FormatVersion::V2).metadata();
    let schema = metadata.current_schema();
    let mut files = vec![scanned(Datum::int(5), Datum::int(7), 1), scanned(Datum::int(-5), Datum::int(6), 2)];
    let of = |files: &[ScanFile]| TableStatistics::of(files, schema);
    let exact = |datum| Some((datum, Exactness::Exact));
    let limit = |datum| Some((datum, Exactness::Limit));

    let statistics = of(&files);
    assert_eq!((statistics.row_count, statistics.byte_count), (20, 200));
    let ids = &statistics.columns[&1];
    assert_eq!(
        (ids.null_count, &ids.min, &ids.max),
        (Some(3), &exact(Datum::int(-5)), &exact(Datum::int(7)))
    );
    let names = &statistics.columns[&2];
    assert_eq!((&names.min, &names.max), (&limit(Datum::string("a")), &limit(Datum::string("b"))));
    let scores = &statistics.columns[&3];
    assert_eq!((&scores.min, &scores.max), (&exact(Datum::double(1.0)), &exact(Datum::double(2.0))));
    assert_eq!(statistics.columns[&4], ColumnStatistics::default());

    // Of a file with deletes the extreme rows may be gone.
    let mut deleted = files.clone();
    deleted[1].deletes.push(0);
    assert_eq!(of(&deleted).columns[&1].min, limit(Datum::int(-5)));
    assert!(statistics.all_rows_live && !of(&deleted).all_rows_live);

    // A file of NULLs has no bounds and needs none.
    let mut nulls = scanned(Datum::int(0), Datum::int(0), 10);
    nulls.lower_bounds.remove(&1);
    nulls.upper_bounds.remove(&1);
    files.push(nulls);
    let ids = &of(&files).columns[&1];
    assert_eq!((ids.null_count, &ids.min), (Some(13), &exact(Datum::int(-5))));

    // One NaN that may be, one zero, one missing count, one missing bound.
    files[0].nan_counts.clear();
    files[0].null_counts.remove(&2);
    files[1].upper_bounds.remove(&1);
    let statistics = of(&files);
    assert_eq!(statistics.columns[&3].max, limit(Datum::double(2.0)));
    assert_eq!(statistics.columns[&2].null_count, None);
    assert_eq!((&statistics.columns[&1].min, &statistics.columns[&1].max), (&exact(Datum::int(-5)), &None));
    files[0].nan_counts.insert(3, 0);
    files[1].lower_bounds.insert(3, Datum::double(0.0));
    assert_eq!(of(&files).columns[&3].min, limit(Datum::double(0.0)));
    assert_eq!(of(&[]).columns[&1].null_count, Some(0));
}

/// A snapshot may name anything: whatever is not where tables may lie is neither read nor handed out.
#[tokio::test]
async fn what_lies_elsewhere_is_denied_at_every_step() {
    let mut table = Fixture::new(FormatVersion::V2);
    let (good, bad) = ("file:///data/t/a*{b}.parquet", "file:///etc/passwd");
    for (path, low) in [(good, 1), (bad, 100)] {
        let file = data_file(path, low, low + 9).build().unwrap();
        table.manifest(0, |writer| writer.add_file(file, 9).unwrap()).await;
    }
    table.write_list().await;
    let metadata = table.metadata();
    let plan = async |allowed: &[&str], filter: Predicate| {
        let allowed: Vec<String> = allowed.iter().map(|&prefix| prefix.to_owned()).collect();
        let policy = Policy::new("file:///warehouse", &allowed).unwrap();
        let request = ScanRequest::new(&metadata, metadata.current_snapshot().unwrap()).unwrap();
        request.with_filter(filter).with_policy(policy).plan(&table.storage).await
    };
    let (list, first, second) =
        (table.location("snap.avro"), table.location("m0.avro"), table.location("m1.avro"));
    let steps: [(&[&str], &str); 5] = [
        (&[], &list),
        (&[&list], &first),
        (&[&list, &first], &second),
        (&[&list, &first, &second], good),
        (&[&list, &first, &second, "file:///data"], bad),
    ];
    for (allowed, denied) in steps {
        let error = plan(allowed, Predicate::AlwaysTrue).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Denied, "{allowed:?}: {error}");
        assert!(error.message().contains("--allow-location"), "{error}");
        assert!(error.context().iter().any(|(_, value)| value == denied), "{denied}: {error:?}");
    }
    let everything = [list.as_str(), first.as_str(), second.as_str(), "file:///data", bad];
    let files = plan(&everything, Predicate::AlwaysTrue).await.unwrap().files;
    assert_eq!(files.iter().map(|file| file.path.as_str()).collect::<Vec<_>>(), [good, bad]);
    // A file that the filter leaves out is not opened, and not judged.
    let only = Reference::new("id").less_than(Datum::int(50));
    let files = plan(&[&list, &first, &second, "file:///data"], only).await.unwrap().files;
    assert_eq!(files.iter().map(|file| file.path.as_str()).collect::<Vec<_>>(), [good]);
}
