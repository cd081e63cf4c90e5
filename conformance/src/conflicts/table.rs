//! The table of a case: a catalog and a service of its own in a temporary folder, and what its files hold.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use icecap_commit_service::{CommitService, CommitServiceSettings, Pointer, Publisher as _, SqliteStore};
use icecap_table::clock::{Clock, IdSource, SystemClock, SystemIds};
use icecap_table::commit::{
    BeginWrite, Change, CommitClient as _, CommitOutcome, CommitRequest, StatementKind, TableChange,
};
use icecap_table::deletes::{PositionSet, PuffinWriter};
use icecap_table::iceberg::spec::{
    NestedField, PrimitiveType, Schema, Transform, Type, UnboundPartitionSpec,
};
use icecap_table::id::{TableIdent, WriteId};
use icecap_table::location::{Policy, table_location};
use icecap_table::metadata::{NewTable, TableDocument};
use icecap_table::staged_file::{DeletedPositions, FileContent, Positions, StagedFile};
use icecap_table::storage::Storage;
use icecap_table::verify::check_table;

use super::case::Case;
use super::operation::Plan;
use super::state::{Row, State};
use crate::{Failure, Result};

/// What the files hold that nobody reads; by path.
#[derive(Debug, Default)]
pub(super) struct Contents {
    /// Of data files.
    pub(super) rows: HashMap<String, Vec<Row>>,
    /// Of position delete files, each of one data file.
    pub(super) positions: HashMap<String, Vec<u64>>,
    /// Of equality delete files: the id that they delete.
    pub(super) equality: HashMap<String, i64>,
}

/// A case's table.
pub(super) struct Table {
    case: String,
    service: CommitService,
    pub(super) store: SqliteStore,
    pub(super) storage: Storage,
    pub(super) ident: TableIdent,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) ids: Arc<dyn IdSource>,
    pub(super) contents: Contents,
    location: String,
    _folder: tempfile::TempDir,
}

impl Table {
    /// Makes the table with its base files, in one append.
    pub(super) async fn create(case: &Case) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let ids: Arc<dyn IdSource> = Arc::new(SystemIds);
        let store = SqliteStore::open(folder.path().join("catalog.db"), "icecap", Arc::clone(&clock)).await?;
        let policy = Policy::new(&folder.path().to_string_lossy(), &[])?;
        let storage = Storage::local();
        let service = CommitService::new(
            store.clone(),
            storage.clone(),
            Arc::clone(&clock),
            Arc::clone(&ids),
            policy.clone(),
            CommitServiceSettings::default(),
        );
        let ident = TableIdent::new(vec!["default".to_owned()], "t");
        let uuid = ids.uuid();
        let location = table_location(&policy.warehouse(), &ident, uuid);
        let kernel = |error: icecap_table::iceberg::Error| Failure::new(error.to_string());
        let document = TableDocument::create(NewTable {
            uuid,
            location: location.clone(),
            schema: Schema::builder()
                .with_fields([
                    NestedField::required(1, "id", Type::Primitive(PrimitiveType::Long)).into(),
                    NestedField::optional(2, "part", Type::Primitive(PrimitiveType::String)).into(),
                ])
                .build()
                .map_err(kernel)?,
            partition_spec: UnboundPartitionSpec::builder()
                .add_partition_field(2, "part", Transform::Identity)
                .map_err(kernel)?
                .build(),
            sort_order: None,
            properties: HashMap::new(),
            format_version: case.version,
            now_ms: clock.now_ms(),
        })?;
        let mut table = Self {
            case: case.id.clone(),
            service,
            store,
            storage,
            ident,
            clock,
            ids,
            contents: Contents::default(),
            location,
            _folder: folder,
        };
        let write = table.write_id(0);
        let mut files = Vec::new();
        let mut first = 0;
        for (part, rows) in &case.base_files {
            let rows = i64::try_from(*rows).unwrap_or(0);
            let ids = first..first + rows;
            first += rows;
            let rows = ids.map(|id| Row { part: part.clone(), id, version: 0 }).collect();
            files.push(table.data_file(write, part, rows)?);
        }
        let create =
            Change::Create { metadata: document.to_bytes()?.to_vec(), files: Vec::new(), snapshot: false };
        let append = Change::Append { files, schema_id: 0 };
        let changes = vec![table.change(None, create), table.change(None, append)];
        match table.send(write, StatementKind::CreateTableAsSelect, changes).await? {
            CommitOutcome::Committed(_) => Ok(table),
            other => Err(Failure::new(format!("the table was not made: {other:?}"))),
        }
    }

    /// The id of a write: 0 is the base's.
    pub(super) fn write_id(&self, number: u32) -> WriteId {
        WriteId::from_token(&self.case, number, 0)
    }

    /// Commits a plan's `number`th change, which was made on `base`.
    pub(super) async fn commit(
        &self,
        plan: &Plan<'_>,
        number: u32,
        base: &State,
        change: Change,
    ) -> Result<CommitOutcome> {
        let _ = number;
        let changes = vec![self.change(Some(base.snapshot_id), change)];
        self.send(self.write_id(plan.number), plan.operation.kind(), changes).await
    }

    fn change(&self, base: Option<i64>, change: Change) -> TableChange {
        TableChange { ident: self.ident.clone(), uuid: None, reference: "main".to_owned(), base, change }
    }

    async fn send(
        &self,
        write_id: WriteId,
        kind: StatementKind,
        changes: Vec<TableChange>,
    ) -> Result<CommitOutcome> {
        if self.service.outcome(write_id).await?.is_none() {
            let begin = BeginWrite {
                write_id,
                kind,
                intent_hash: [0; 32],
                deadline_ms: i64::MAX,
                bases: Vec::new(),
                prefixes: Vec::new(),
            };
            self.service.begin(begin).await?;
        }
        Ok(self.service.commit(CommitRequest { write_id, round: 1, kind, changes }).await?)
    }

    pub(super) async fn pointer(&self) -> Result<Pointer> {
        let pointer = self.store.pointer(&self.ident).await?;
        pointer.ok_or_else(|| Failure::new("the table is not in its catalog"))
    }

    pub(super) async fn document(&self) -> Result<TableDocument> {
        Ok(TableDocument::load(&self.storage, &self.pointer().await?.location).await?)
    }

    pub(super) async fn state(&self) -> Result<State> {
        State::read(&self.storage, &self.document().await?, &self.contents).await
    }

    pub(super) async fn violations(&self) -> Result<Vec<String>> {
        Ok(check_table(&self.storage, &self.pointer().await?.location).await)
    }

    /// A name that a write may give to a file.
    pub(super) fn path(&self, write: WriteId, extension: &str) -> String {
        format!("{}/data/{write}-0-0-0-{}-0.{extension}", self.location, self.ids.uuid().simple())
    }

    /// A data file of rows that are all of one partition.
    pub(super) fn data_file(&mut self, write: WriteId, part: &str, rows: Vec<Row>) -> Result<StagedFile> {
        let path = self.path(write, "parquet");
        store(&path)?;
        let mut file = StagedFile::data(path.clone(), 0, vec![Some(part.as_bytes().to_vec())]);
        let count = rows.len() as u64;
        file.record_count = count;
        file.file_size_bytes = BYTES.len() as u64;
        file.value_counts = [(1, count), (2, count)].into();
        file.null_counts = [(1, 0), (2, 0)].into();
        let ids = || rows.iter().map(|row| row.id);
        if let (Some(least), Some(greatest)) = (ids().min(), ids().max()) {
            file.lower_bounds = [(1, least.to_le_bytes().to_vec()), (2, part.as_bytes().to_vec())].into();
            file.upper_bounds = [(1, greatest.to_le_bytes().to_vec()), (2, part.as_bytes().to_vec())].into();
        }
        self.contents.rows.insert(path, rows);
        Ok(file)
    }

    /// A position delete file of one data file.
    pub(super) fn position_deletes(
        &mut self,
        write: WriteId,
        part: &str,
        data_file: &str,
        positions: &[u64],
    ) -> Result<StagedFile> {
        let path = self.path(write, "parquet");
        store(&path)?;
        let mut file = StagedFile::data(path.clone(), 0, vec![Some(part.as_bytes().to_vec())]);
        file.content = FileContent::PositionDeletes;
        file.record_count = positions.len() as u64;
        file.file_size_bytes = BYTES.len() as u64;
        file.referenced_data_file = Some(data_file.to_owned());
        file.deleted_positions = deleted(data_file, positions);
        self.contents.positions.insert(path, positions.to_vec());
        Ok(file)
    }

    /// A stored deletion vector of one data file.
    pub(super) async fn vector(
        &self,
        write: WriteId,
        part: &str,
        data_file: &str,
        positions: &[u64],
    ) -> Result<StagedFile> {
        let path = self.path(write, "puffin");
        let mut puffin = PuffinWriter::new();
        let range = puffin.add_deletion_vector(data_file, &positions.iter().copied().collect());
        let bytes = puffin.finish();
        let mut file = StagedFile::data(path.clone(), 0, vec![Some(part.as_bytes().to_vec())]);
        file.content = FileContent::DeletionVector;
        file.record_count = positions.len() as u64;
        file.file_size_bytes = bytes.len() as u64;
        file.referenced_data_file = Some(data_file.to_owned());
        file.content_range = Some(range);
        file.deleted_positions = deleted(data_file, positions);
        self.storage.put_new(&path, bytes).await?;
        Ok(file)
    }
}

fn deleted(data_file: &str, positions: &[u64]) -> Vec<DeletedPositions> {
    let set: PositionSet = positions.iter().copied().collect();
    vec![DeletedPositions {
        data_file: data_file.to_owned(),
        count: set.len(),
        positions: Positions::Inline(set.to_portable()),
    }]
}

/// What is in a file that nobody reads.
const BYTES: &[u8] = b"a file of which only the metadata counts";

/// Stores such a file; not through the storage, which would sync it.
pub(super) fn store(location: &str) -> Result<u64> {
    let path = Path::new(location.trim_start_matches("file://"));
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::write(path, BYTES)?;
    Ok(BYTES.len() as u64)
}
