//! A small stored table for tests: every file that it names exists with its length.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use iceberg::spec::{
    FormatVersion, NestedField, Operation, PrimitiveType, Schema, Transform, Type, UnboundPartitionSpec,
};
use uuid::Uuid;

use super::{ProducedSnapshot, RemovedFile, SnapshotRequest, produce};
use crate::deletes::{PositionSet, PuffinWriter};
use crate::error::Result;
use crate::id::WriteId;
use crate::metadata::{NewTable, TableDocument};
use crate::staged_file::{FileContent, StagedFile};
use crate::storage::Storage;

/// 2026-01-01T00:00:00Z, in milliseconds.
pub(crate) const START_MS: i64 = 1_767_225_600_000;

/// A table with `id: long` (required) and `part: string`, partitioned by identity of `part`.
pub(crate) struct TestTable {
    pub(crate) storage: Storage,
    pub(crate) document: TableDocument,
    /// Where the current metadata file lies.
    pub(crate) location: String,
    pub(crate) writes: u32,
    _folder: tempfile::TempDir,
}

pub(crate) fn schema() -> Schema {
    Schema::builder()
        .with_fields([
            NestedField::required(1, "id", Type::Primitive(PrimitiveType::Long)).into(),
            NestedField::optional(2, "part", Type::Primitive(PrimitiveType::String)).into(),
        ])
        .build()
        .unwrap()
}

pub(crate) fn new_table(
    location: &str,
    format_version: FormatVersion,
    properties: &[(&str, &str)],
) -> NewTable {
    let spec =
        UnboundPartitionSpec::builder().add_partition_field(2, "part", Transform::Identity).unwrap().build();
    NewTable {
        uuid: Uuid::from_u128(7),
        location: location.to_owned(),
        schema: schema(),
        partition_spec: spec,
        sort_order: None,
        properties: properties
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect::<HashMap<_, _>>(),
        format_version,
        now_ms: START_MS,
    }
}

impl TestTable {
    pub(crate) async fn create(format_version: FormatVersion, properties: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = format!("file://{}/t", folder.path().display());
        let document = TableDocument::create(new_table(&root, format_version, properties)).unwrap();
        let storage = Storage::local();
        let location = document.next_location(None, Uuid::from_u128(0));
        storage.put_new(&location, document.to_bytes().unwrap()).await.unwrap();
        Self { storage, document, location, writes: 0, _folder: folder }
    }

    pub(crate) fn write_id(&self) -> WriteId {
        WriteId::from_token("test", self.writes, 0)
    }

    /// Stores a data file of `rows` rows; its ids are `first..first + rows`.
    pub(crate) async fn staged(&self, name: &str, part: Option<&str>, first: i64, rows: i64) -> StagedFile {
        let bytes = Bytes::from(vec![b'x'; usize::try_from(rows).unwrap() + 10]);
        let path = format!("{}/data/{}-{name}.parquet", self.document.metadata().location(), self.write_id());
        self.storage.put_new(&path, bytes.clone()).await.unwrap();
        let count = u64::try_from(rows).unwrap();
        let mut file = StagedFile::data(path, 0, vec![part.map(|part| part.as_bytes().to_vec())]);
        file.record_count = count;
        file.file_size_bytes = bytes.len() as u64;
        file.value_counts = BTreeMap::from([(1, count), (2, count)]);
        file.null_counts = BTreeMap::from([(1, 0), (2, if part.is_some() { 0 } else { count })]);
        file.lower_bounds.insert(1, first.to_le_bytes().to_vec());
        file.upper_bounds.insert(1, (first + rows - 1).to_le_bytes().to_vec());
        if let Some(part) = part {
            file.lower_bounds.insert(2, part.as_bytes().to_vec());
            file.upper_bounds.insert(2, part.as_bytes().to_vec());
        }
        file.split_offsets = vec![4];
        file
    }

    pub(crate) fn request<'a>(
        &'a self,
        operation: Operation,
        added: &'a [StagedFile],
    ) -> SnapshotRequest<'a> {
        SnapshotRequest {
            document: &self.document,
            write_id: self.write_id(),
            step: "main",
            reference: "main",
            schema_id: 0,
            operation,
            added,
            removed: &[],
            data_sequence_number: None,
            extra_summary: BTreeMap::new(),
            now_ms: START_MS,
            uuid: Uuid::from_u128(u128::from(self.writes) + 1),
        }
    }

    /// Applies a produced snapshot and stores the metadata file.
    pub(crate) async fn commit(&mut self, produced: ProducedSnapshot) {
        self.document = self.document.apply(produced.updates, Some(&self.location), START_MS).unwrap();
        self.location =
            self.document.next_location(Some(&self.location), Uuid::from_u128(u128::from(self.writes) + 1));
        self.storage.put_new(&self.location, self.document.to_bytes().unwrap()).await.unwrap();
        self.writes += 1;
    }

    pub(crate) async fn append(&mut self, added: &[StagedFile]) -> ProducedSnapshot {
        let produced = produce(&self.storage, self.request(Operation::Append, added)).await.unwrap();
        self.commit(produced.clone()).await;
        produced
    }

    pub(crate) async fn overwrite(
        &mut self,
        added: &[StagedFile],
        removed: &[RemovedFile],
    ) -> Result<ProducedSnapshot> {
        let request = SnapshotRequest { removed, ..self.request(Operation::Overwrite, added) };
        let produced = produce(&self.storage, request).await?;
        self.commit(produced.clone()).await;
        Ok(produced)
    }
}

pub(crate) fn removed(file: &StagedFile) -> RemovedFile {
    RemovedFile {
        content: file.content,
        path: file.path.clone(),
        content_offset: file.content_range.map(|(offset, _)| offset),
    }
}

/// A deletion vector on `data` of its first rows, as a stored Puffin file of one blob.
pub(crate) async fn staged_vector(table: &TestTable, name: &str, data: &StagedFile, rows: u64) -> StagedFile {
    let path = format!("{}/data/{}-{name}.puffin", table.document.metadata().location(), table.write_id());
    let positions: PositionSet = (0..rows).collect();
    let mut puffin = PuffinWriter::new();
    let range = puffin.add_deletion_vector(&data.path, &positions);
    let bytes = puffin.finish();
    table.storage.put_new(&path, bytes.clone()).await.unwrap();
    let mut file = StagedFile::data(path, 0, data.partition.clone());
    file.content = FileContent::DeletionVector;
    file.record_count = rows;
    file.file_size_bytes = bytes.len() as u64;
    file.referenced_data_file = Some(data.path.clone());
    file.content_range = Some(range);
    file
}

/// Position deletes of the first rows of `data`, as a stored file that nobody reads.
pub(crate) async fn staged_positions(
    table: &TestTable,
    name: &str,
    data: &StagedFile,
    rows: u64,
) -> StagedFile {
    let path = format!("{}/data/{}-{name}.parquet", table.document.metadata().location(), table.write_id());
    table.storage.put_new(&path, Bytes::from_static(&[0; 50])).await.unwrap();
    let mut file = StagedFile::data(path, 0, data.partition.clone());
    file.content = FileContent::PositionDeletes;
    file.record_count = rows;
    file.file_size_bytes = 50;
    file.referenced_data_file = Some(data.path.clone());
    file
}
