//! Which delete files a plan gives to which data file.

use super::*;

/// A delete file of data sequence number 9, the snapshot's, in the partition that `partition` fills.
fn deletes(path: &str, content: DataContentType) -> DataFileBuilder {
    let mut file = DataFileBuilder::default();
    file.content(content)
        .file_path(path.to_owned())
        .file_format(DataFileFormat::Parquet)
        .record_count(3)
        .file_size_in_bytes(100);
    if content == DataContentType::EqualityDeletes {
        file.equality_ids(Some(vec![1]));
    }
    file
}

fn positions(path: &str) -> DataFileBuilder {
    deletes(path, DataContentType::PositionDeletes)
}

fn equality(path: &str) -> DataFileBuilder {
    deletes(path, DataContentType::EqualityDeletes)
}

fn vector(path: &str, of: &str) -> DataFileBuilder {
    let mut file = positions(path);
    file.file_format(DataFileFormat::Puffin)
        .referenced_data_file(Some(of.to_owned()))
        .content_offset(Some(4))
        .content_size_in_bytes(Some(40));
    file
}

fn day(file: &mut DataFileBuilder, day: Option<i32>) -> DataFile {
    file.partition(Struct::from_iter([day.map(Literal::date)])).partition_spec_id(1).build().unwrap()
}

/// The plan's data files with the names of their delete files.
fn assigned(plan: &ScanPlan) -> Vec<(&str, Vec<&str>)> {
    let name = |at: &usize| plan.deletes[*at].path.as_str();
    plan.files.iter().map(|file| (file.path.as_str(), file.deletes.iter().map(name).collect())).collect()
}

async fn all(table: &Fixture) -> ScanPlan {
    table.plan(Predicate::AlwaysTrue).await.unwrap()
}

async fn fails(table: &Fixture) -> String {
    let error = table.plan(Predicate::AlwaysTrue).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    error.to_string()
}

#[tokio::test]
async fn sequence_numbers_decide() {
    let mut table = Fixture::new(FormatVersion::V2);
    table
        .manifest(0, |m| {
            for (path, sequence) in [("older", 4), ("same", 5), ("newer", 6)] {
                m.add_existing_file(data_file(path, 0, 9).build().unwrap(), 1, sequence, Some(sequence))
                    .unwrap();
            }
        })
        .await;
    table
        .write(0, true, |m| {
            m.add_existing_file(positions("p").build().unwrap(), 1, 5, Some(5)).unwrap();
            m.add_existing_file(equality("e").build().unwrap(), 1, 5, Some(5)).unwrap();
            m.add_delete_file(positions("gone").build().unwrap(), 9, Some(9)).unwrap();
        })
        .await;
    let plan = all(&table).await;
    assert_eq!(assigned(&plan), [("older", vec!["p", "e"]), ("same", vec!["p"]), ("newer", vec![])]);
    assert_eq!((plan.delete_manifests_total, plan.delete_manifests_read), (1, 1));
    assert_eq!(plan.deletes[1].kind, DeleteKind::EqualityDeletes { field_ids: vec![1] });
    assert_eq!((plan.deletes[0].record_count, plan.deletes[0].data_sequence_number), (3, 5));
    assert!(!plan.statistics(table.metadata().current_schema()).all_rows_live);
}

#[tokio::test]
async fn partitions_decide_and_equality_without_one_is_for_all() {
    let mut table = Fixture::new(FormatVersion::V2);
    let data = |path: &str, at| day(&mut data_file(path, 0, 9), at);
    table
        .manifest(1, |m| {
            for (path, at) in [("d1", Some(1)), ("d2", Some(2)), ("null", None)] {
                m.add_existing_file(data(path, at), 1, 1, Some(1)).unwrap();
            }
        })
        .await;
    table
        .manifest(0, |m| {
            m.add_existing_file(data_file("bare", 0, 9).build().unwrap(), 1, 1, Some(1)).unwrap()
        })
        .await;
    table
        .write(1, true, |m| {
            m.add_file(day(&mut positions("p1"), Some(1)), -1).unwrap();
            m.add_file(day(&mut equality("e2"), Some(2)), -1).unwrap();
            m.add_file(day(&mut equality("en"), None), -1).unwrap();
            m.add_file(day(&mut equality("e7"), Some(7)), -1).unwrap();
        })
        .await;
    table
        .write(0, true, |m| {
            m.add_file(equality("everywhere").build().unwrap(), -1).unwrap();
            m.add_file(positions("p0").build().unwrap(), -1).unwrap();
        })
        .await;
    let plan = all(&table).await;
    assert_eq!(
        assigned(&plan),
        [
            ("d1", vec!["p1", "everywhere"]),
            ("d2", vec!["e2", "everywhere"]),
            ("null", vec!["en", "everywhere"]),
            ("bare", vec!["everywhere", "p0"])
        ]
    );
    // What is of no file that is read is no part of the plan; nor are manifests of other partitions.
    let only = table.plan(Reference::new("day").equal_to(Datum::date(2))).await.unwrap();
    assert_eq!(assigned(&only), [("d2", vec!["e2", "everywhere"]), ("bare", vec!["everywhere", "p0"])]);
    let none = table.plan(Reference::new("day").equal_to(Datum::date(50))).await.unwrap();
    assert_eq!((none.delete_manifests_total, none.delete_manifests_read), (2, 1));
}

/// A value that was written before the column was widened is the same partition.
#[tokio::test]
async fn partitions_meet_across_types() {
    let key = |literal| super::super::delete_index::partition_key(0, &[Some(literal)]);
    assert_eq!(key(Literal::int(5)), key(Literal::long(5)));
    assert_eq!(key(Literal::float(0.5)), key(Literal::double(0.5)));
    assert_eq!(key(Literal::float(f32::NAN)), key(Literal::double(f64::NAN)));
    assert_ne!(key(Literal::double(0.0)), key(Literal::double(-0.0)));
    assert_ne!(key(Literal::string("5")), key(Literal::int(5)));
}

#[tokio::test]
async fn a_deletion_vector_stands_for_position_deletes() {
    let mut table = Fixture::new(FormatVersion::V3);
    table
        .manifest(0, |m| {
            for path in ["a", "b"] {
                m.add_existing_file(data_file(path, 0, 9).build().unwrap(), 1, 1, Some(1)).unwrap();
            }
        })
        .await;
    table
        .write(0, true, |m| {
            m.add_existing_file(positions("p").build().unwrap(), 1, 2, Some(2)).unwrap();
            m.add_existing_file(equality("e").build().unwrap(), 1, 3, Some(3)).unwrap();
            m.add_file(vector("v", "a").build().unwrap(), -1).unwrap();
            m.add_file(vector("v", "of a file that is gone").build().unwrap(), -1).unwrap();
        })
        .await;
    let plan = all(&table).await;
    assert_eq!(assigned(&plan), [("a", vec!["e", "v"]), ("b", vec!["p", "e"])]);
    let vector_of_a = plan.deletes.iter().find(|file| file.is_deletion_vector()).unwrap();
    assert_eq!(vector_of_a.content_range, Some((4, 40)));
}

#[tokio::test]
async fn deletion_vectors_that_cannot_be_are_corrupt() {
    for (files, told) in [
        (vec![vector("v", "a"), vector("w", "a")], "two deletion vectors"),
        (vec![vector("v", "a").referenced_data_file(None).clone()], "no data file"),
        (vec![vector("v", "a").content_offset(None).clone()], "no place"),
    ] {
        let mut table = Fixture::new(FormatVersion::V3);
        table.manifest(0, |m| m.add_file(data_file("a", 0, 9).build().unwrap(), -1).unwrap()).await;
        table
            .write(0, true, |m| {
                for file in files {
                    m.add_file(file.build().unwrap(), -1).unwrap();
                }
            })
            .await;
        let told_too = fails(&table).await;
        assert!(told_too.contains(told), "{told_too}");
    }
    let mut table = Fixture::new(FormatVersion::V3);
    table.manifest(0, |m| m.add_file(data_file("a", 0, 9).build().unwrap(), -1).unwrap()).await;
    let old = vector("v", "a").build().unwrap();
    table.write(0, true, |m| m.add_existing_file(old, 1, 3, Some(3)).unwrap()).await;
    assert!(fails(&table).await.contains("older than its data file"));
}

#[tokio::test]
async fn position_deletes_of_one_file_are_found_by_its_location() {
    let mut table = Fixture::new(FormatVersion::V2);
    table
        .manifest(0, |m| {
            for path in ["a", "b", "c"] {
                m.add_existing_file(data_file(path, 0, 9).build().unwrap(), 1, 1, Some(1)).unwrap();
            }
        })
        .await;
    let bounded = |path: &str, low: &str, high: &str| {
        let bound = |text: &str| HashMap::from([(2_147_483_546, Datum::string(text))]);
        positions(path).lower_bounds(bound(low)).upper_bounds(bound(high)).build().unwrap()
    };
    table
        .write(0, true, |m| {
            m.add_file(positions("named").referenced_data_file(Some("a".into())).build().unwrap(), -1)
                .unwrap();
            m.add_file(bounded("bound", "b", "b"), -1).unwrap();
            m.add_file(bounded("between", "b", "d"), -1).unwrap();
        })
        .await;
    let plan = all(&table).await;
    assert_eq!(
        assigned(&plan),
        [("a", vec!["named"]), ("b", vec!["bound", "between"]), ("c", vec!["between"])]
    );
    assert_eq!(plan.deletes[1].referenced_data_file.as_deref(), Some("b"));
}

#[tokio::test]
async fn bounds_show_where_no_row_can_equal() {
    let bounds = |low: i32, high: i32, nulls: u64| {
        equality("e")
            .lower_bounds(HashMap::from([(1, Datum::int(low))]))
            .upper_bounds(HashMap::from([(1, Datum::int(high))]))
            .null_value_counts(HashMap::from([(1, nulls)]))
            .build()
            .unwrap()
    };
    for (file, applies) in [
        (bounds(10, 12, 0), false),
        (bounds(9, 12, 0), true),
        // The data file has no NULLs.
        (bounds(10, 12, 1), false),
        (equality("e").build().unwrap(), true),
    ] {
        let mut table = Fixture::new(FormatVersion::V2);
        let data = data_file("a", 0, 9).build().unwrap();
        table.manifest(0, |m| m.add_existing_file(data, 1, 1, Some(1)).unwrap()).await;
        table.write(0, true, |m| m.add_file(file, -1).unwrap()).await;
        assert_eq!(all(&table).await.deletes.len(), usize::from(applies));
    }
}

#[tokio::test]
async fn delete_files_that_cannot_be_read_are_refused() {
    let avro = positions("d.avro").file_format(DataFileFormat::Avro).build().unwrap();
    let secret = positions("d.parquet").key_metadata(Some(vec![1])).build().unwrap();
    for (file, told) in [(avro, "avro"), (secret, "encrypted")] {
        let mut table = Fixture::new(FormatVersion::V2);
        table.manifest(0, |m| m.add_file(data_file("a", 0, 9).build().unwrap(), -1).unwrap()).await;
        table.write(0, true, |m| m.add_file(file, -1).unwrap()).await;
        let error = table.plan(Predicate::AlwaysTrue).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.to_string().contains(told) && error.to_string().contains("d."), "{error}");
    }
    let mut table = Fixture::new(FormatVersion::V2);
    table.manifest(0, |m| m.add_file(data_file("a", 0, 9).build().unwrap(), -1).unwrap()).await;
    table
        .write(0, true, |m| m.add_file(equality("e").equality_ids(None).build().unwrap(), -1).unwrap())
        .await;
    assert!(fails(&table).await.contains("name no columns"));
}

#[tokio::test]
async fn delete_files_lie_where_tables_may() {
    let mut table = Fixture::new(FormatVersion::V2);
    let file = data_file("file:///data/a", 0, 9).build().unwrap();
    table.manifest(0, |m| m.add_file(file, -1).unwrap()).await;
    table.write(0, true, |m| m.add_file(positions("file:///etc/p").build().unwrap(), -1).unwrap()).await;
    table.write_list().await;
    let metadata = table.metadata();
    let plan = async |allowed: &[String]| {
        let policy = Policy::new("file:///warehouse", allowed).unwrap();
        let request = ScanRequest::new(&metadata, metadata.current_snapshot().unwrap()).unwrap();
        request.with_policy(policy).plan(&table.storage).await
    };
    let mut allowed = vec![table.location("snap.avro"), table.location("m0.avro"), "file:///data".to_owned()];
    for denied in [table.location("m1.avro"), "file:///etc/p".to_owned()] {
        let error = plan(&allowed).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
        assert!(error.context().iter().any(|(_, value)| *value == denied), "{denied}: {error:?}");
        allowed.push(denied);
    }
    assert_eq!(assigned(&plan(&allowed).await.unwrap()), [("file:///data/a", vec!["file:///etc/p"])]);
}

#[tokio::test]
async fn whoever_looks_at_files_alone_sees_no_deletes() {
    let mut table = Fixture::new(FormatVersion::V2);
    table.manifest(0, |m| m.add_file(data_file("a", 0, 9).build().unwrap(), -1).unwrap()).await;
    table.write(0, true, |m| m.add_file(positions("p").build().unwrap(), -1).unwrap()).await;
    table.write_list().await;
    let metadata = table.metadata();
    let request = ScanRequest::new(&metadata, metadata.current_snapshot().unwrap()).unwrap();
    let plan = request.ignoring_deletes().plan(&table.storage).await.unwrap();
    assert_eq!((assigned(&plan), plan.delete_manifests_read), (vec![("a", vec![])], 0));
}
