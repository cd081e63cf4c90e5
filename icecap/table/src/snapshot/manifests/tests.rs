use std::sync::Barrier;

use iceberg::spec::Operation;

use super::*;
use crate::error::ErrorKind;
use crate::snapshot::fixture::TestTable;
use crate::snapshot::prepare;
use crate::staged_file::StagedFile;

/// A barrier lets nobody through before all are there: done one after another, this would never end.
#[tokio::test]
async fn items_are_worked_on_at_once_and_come_back_in_their_order() {
    let together = Barrier::new(MANIFESTS_AT_ONCE);
    let done = at_once((0..MANIFESTS_AT_ONCE).collect(), move |number| {
        together.wait();
        Ok(number * 10)
    });
    let done = tokio::time::timeout(std::time::Duration::from_secs(60), done).await.unwrap();
    assert_eq!(done.unwrap(), (0..MANIFESTS_AT_ONCE).map(|number| number * 10).collect::<Vec<_>>());
    let failed = at_once(vec![1, 2], |number| match number {
        1 => Ok(()),
        _ => Err(Error::invalid("the second")),
    });
    assert_eq!(failed.await.unwrap_err().kind(), ErrorKind::Invalid);
}

async fn many(table: &TestTable, count: usize) -> Vec<StagedFile> {
    // Their content is not looked at: one is stored, the others are the same under other names.
    let model = table.staged("model", Some("x"), 0, 3).await;
    let file = |number: usize| StagedFile {
        path: model.path.replace("model", &format!("many{number:05}")),
        ..model.clone()
    };
    (0..count).map(file).collect()
}

/// The commit of 5,000 files: several manifests, and together they say what one would.
#[tokio::test]
async fn a_big_commit_writes_several_manifests_that_say_what_one_says() {
    for version in [FormatVersion::V2, FormatVersion::V3] {
        let table = TestTable::create(version, &[]).await;
        let files = many(&table, 5_000).await;
        let prepared = prepare(&table.storage, table.request(Operation::Append, &files)).await.unwrap();
        let (list, manifests) = prepared.objects.split_last().unwrap();
        assert_eq!(manifests.len(), 5, "{}", list.0);
        let list = Arc::clone(&prepared.fresh.list.1);
        assert_eq!(list.len(), 5);
        let mut together = Vec::new();
        for manifest in list.iter() {
            let (_, bytes) =
                manifests.iter().find(|(location, _)| *location == manifest.manifest_path).unwrap();
            assert_eq!(manifest.added_files_count, Some(1_000));
            together.extend(entries_of(manifest, bytes).unwrap().0);
        }
        // One manifest of the same files, by the same rules.
        let metadata = table.document.metadata();
        let mut builder = ManifestBuilder::new(
            "file:///x".into(),
            Uuid::from_u128(5),
            prepared.snapshot.snapshot_id(),
            metadata,
        );
        let converted: Vec<DataFile> = files
            .iter()
            .map(|file| crate::snapshot::data_file(file, metadata.current_schema(), metadata).unwrap())
            .collect();
        let spec = PartitionSpec::clone(metadata.default_partition_spec());
        let serial = builder
            .write(metadata.current_schema(), &spec, ManifestContentType::Data, |encoder| {
                converted.iter().try_for_each(|file| encoder.added(file, None))
            })
            .unwrap();
        let mut serial = [serial];
        let next = assign(&mut serial, 1, (version >= FormatVersion::V3).then_some(0)).unwrap();
        let (alone, _) = entries_of(&serial[0], &builder.into_objects()[0].1).unwrap();
        assert_eq!(together.len(), 5_000);
        for (several, one) in together.iter().zip(&alone) {
            assert_eq!(several.file, one.file);
            let rest = |entry: &LiveEntry| {
                (
                    (entry.status, entry.snapshot_id, entry.first_row_id),
                    (entry.sequence_number, entry.file_sequence_number),
                )
            };
            assert_eq!(rest(several), rest(one));
        }
        assert_eq!(prepared.snapshot.row_range(), next.map(|next| (0, next)));
        let summary = &prepared.snapshot.summary().additional_properties;
        assert_eq!(
            (summary["added-data-files"].as_str(), summary["manifests-created"].as_str()),
            ("5000", "5")
        );
    }
}

#[tokio::test]
async fn a_small_commit_writes_one_manifest() {
    let table = TestTable::create(FormatVersion::V2, &[]).await;
    let files = many(&table, 2 * FILES_PER_MANIFEST - 1).await;
    let prepared = prepare(&table.storage, table.request(Operation::Append, &files)).await.unwrap();
    assert_eq!(prepared.objects.len(), 2);
}
