//! A commit of another engine: an equality delete and a new row, on whatever the table is then.

use std::collections::HashMap;

use icecap_commit_service::{Expect, Next, ObjectKind, Publish, Publisher as _, Swap};
use icecap_table::iceberg::TableUpdate;
use icecap_table::iceberg::spec::{
    DataContentType, DataFileBuilder, DataFileFormat, FormatVersion, Literal, ManifestFile,
    ManifestListWriter, ManifestWriterBuilder, Operation, Snapshot, SnapshotReference, SnapshotRetention,
    Struct, Summary,
};
use icecap_table::snapshot::{data_file, load_manifest_list};

use super::operation::Plan;
use super::table::{Table, store};
use crate::{Failure, Result};

/// No sequence number: the list gives it.
const INHERITED: i64 = -1;

/// Commits it with the kernel's own writers, past the committer.
pub(super) async fn upsert(table: &mut Table, plan: &Plan<'_>) -> Result<()> {
    let write = table.write_id(plan.number);
    let staged = table.data_file(write, plan.part, vec![plan.row(plan.target)])?;
    let deletes = table.path(write, "parquet");
    let bytes = store(&deletes)?;
    table.contents.equality.insert(deletes.clone(), plan.target);
    let base = table.pointer().await?.location;
    let document = table.document().await?;
    let metadata = document.metadata();
    let (schema, spec) =
        (metadata.current_schema().clone(), metadata.default_partition_spec().as_ref().clone());
    let kernel = |error: icecap_table::iceberg::Error| Failure::new(error.to_string());
    let added = data_file(&staged, &schema, metadata)?;
    let deleted = DataFileBuilder::default()
        .content(DataContentType::EqualityDeletes)
        .file_path(deletes)
        .file_format(DataFileFormat::Parquet)
        .partition(Struct::from_iter([Some(Literal::string(plan.part))]))
        .partition_spec_id(spec.spec_id())
        .record_count(1)
        .file_size_in_bytes(bytes)
        .equality_ids(Some(vec![1]))
        .build()
        .map_err(|error| Failure::new(error.to_string()))?;
    let snapshot_id = i64::from(plan.number) + 7_000;
    let number = metadata.last_sequence_number() + 1;
    let is_v3 = metadata.format_version() == FormatVersion::V3;
    let io = table.storage.file_io();
    let mut manifests: Vec<ManifestFile> = Vec::new();
    for file in [added, deleted] {
        let is_data = file.content_type() == DataContentType::Data;
        let location = format!("{}/{}-m0.avro", document.metadata_folder(), table.ids.uuid().hyphenated());
        let output = io.new_output(location).map_err(kernel)?;
        let builder = ManifestWriterBuilder::new(output, Some(snapshot_id), schema.clone(), spec.clone());
        let mut writer = match (is_v3, is_data) {
            (true, true) => builder.build_v3_data(),
            (true, false) => builder.build_v3_deletes(),
            (false, true) => builder.build_v2_data(),
            (false, false) => builder.build_v2_deletes(),
        };
        writer.add_file(file, INHERITED).map_err(kernel)?;
        manifests.push(writer.write_manifest_file().await.map_err(kernel)?);
    }
    let parent = metadata.current_snapshot().cloned();
    if let Some(parent) = &parent {
        manifests.extend(load_manifest_list(&table.storage, metadata, parent).await?);
    }
    let list = format!("{}/snap-{snapshot_id}.avro", document.metadata_folder());
    let output = io.new_output(&list).map_err(kernel)?.writer().await.map_err(kernel)?;
    let parent_id = parent.map(|parent| parent.snapshot_id());
    let first_row_id = is_v3.then(|| metadata.next_row_id());
    let mut writer = match is_v3 {
        true => ManifestListWriter::v3(output, snapshot_id, parent_id, number, first_row_id),
        false => ManifestListWriter::v2(output, snapshot_id, parent_id, number),
    };
    writer.add_manifests(manifests.into_iter()).map_err(kernel)?;
    let next_row_id = writer.next_row_id();
    writer.close().await.map_err(kernel)?;
    let now_ms = document.next_timestamp_ms(table.clock.now_ms());
    let snapshot = Snapshot::builder()
        .with_snapshot_id(snapshot_id)
        .with_parent_snapshot_id(parent_id)
        .with_sequence_number(number)
        .with_timestamp_ms(now_ms)
        .with_manifest_list(list)
        .with_summary(Summary { operation: Operation::Overwrite, additional_properties: HashMap::new() })
        .with_schema_id(schema.schema_id());
    let snapshot = match (first_row_id, next_row_id) {
        (Some(first), Some(next)) => snapshot.with_row_range(first, next - first).build(),
        _ => snapshot.build(),
    };
    let updates = vec![
        TableUpdate::AddSnapshot { snapshot },
        TableUpdate::SetSnapshotRef {
            ref_name: "main".to_owned(),
            reference: SnapshotReference::new(snapshot_id, SnapshotRetention::branch(None, None, None)),
        },
    ];
    let next = document.apply(updates, Some(&base), now_ms)?;
    let location = next.next_location(Some(&base), table.ids.uuid());
    table.storage.put_new(&location, next.to_bytes()?).await?;
    let swap = Swap {
        ident: table.ident.clone(),
        object: ObjectKind::Table,
        expect: Expect::Location(base),
        next: Next::Location(location),
    };
    match table.store.publish(vec![swap], Vec::new()).await? {
        Publish::Published => Ok(()),
        other => Err(Failure::new(format!("the other engine's commit did not land: {other:?}"))),
    }
}
