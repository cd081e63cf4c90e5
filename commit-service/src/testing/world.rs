//! A warehouse on disk and the requests that tests send to it.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;

use icecap_table::Result;
use icecap_table::clock::{Clock, IdSource, SystemClock, SystemIds};
use icecap_table::commit::{
    BeginWrite, Begun, Change, CommitClient, CommitOutcome, CommitRequest, StatementKind, TableChange,
};
use icecap_table::deletes::{PositionSet, PuffinWriter};
use icecap_table::iceberg::spec::{
    FormatVersion, NestedField, PrimitiveType, Schema, Type, UnboundPartitionSpec,
};
use icecap_table::id::{TableIdent, WriteId};
use icecap_table::location::{self, Policy};
use icecap_table::metadata::{NewTable, TableDocument};
use icecap_table::snapshot::load_manifest_list;
use icecap_table::staged_file::{DeletedPositions, FileContent, Positions, StagedFile};
use icecap_table::storage::Storage;
use icecap_table::verify::check_table;

use crate::pointer::Publisher as _;
use crate::pointer::sqlite::SqliteStore;
use crate::service::{CommitService, CommitServiceSettings, Parts};

/// An embedded warehouse: `catalog.db` and tables of one `bigint` column in one folder.
#[derive(Debug, Clone)]
pub struct World {
    /// The catalog.
    pub store: SqliteStore,
    /// The files.
    pub storage: Storage,
    /// What may be touched: the folder.
    pub policy: Policy,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The ids.
    pub ids: Arc<dyn IdSource>,
}

impl World {
    /// Opens the warehouse in `folder` with the machine's clock and randomness.
    ///
    /// # Errors
    /// As [`SqliteStore::open`].
    pub async fn open(folder: &Path) -> Result<Self> {
        Self::open_with(folder, Arc::new(SystemClock), Arc::new(SystemIds)).await
    }

    /// Opens the warehouse in `folder`.
    ///
    /// # Errors
    /// As [`SqliteStore::open`].
    pub async fn open_with(folder: &Path, clock: Arc<dyn Clock>, ids: Arc<dyn IdSource>) -> Result<Self> {
        Ok(Self {
            store: SqliteStore::open(folder.join("catalog.db"), "icecap", Arc::clone(&clock)).await?,
            storage: Storage::local(),
            policy: Policy::new(&folder.to_string_lossy(), &[])?,
            clock,
            ids,
        })
    }

    /// The parts of a service over it.
    pub fn parts(&self) -> Parts {
        Parts::embedded(
            &self.store,
            self.storage.clone(),
            self.policy.clone(),
            Arc::clone(&self.clock),
            Arc::clone(&self.ids),
        )
    }

    /// A service over it.
    pub fn service(&self) -> CommitService {
        CommitService::assemble(self.parts(), CommitServiceSettings::default())
    }

    /// The full name of table `name`.
    pub fn table(&self, name: &str) -> TableIdent {
        TableIdent::new(vec!["default".to_owned()], name)
    }

    /// The registration of an INSERT.
    pub fn begin(&self, write_id: WriteId) -> BeginWrite {
        BeginWrite {
            write_id,
            kind: StatementKind::Insert,
            intent_hash: [0; 32],
            deadline_ms: i64::MAX,
            bases: Vec::new(),
            prefixes: Vec::new(),
        }
    }

    /// The first metadata of table `name`, with `properties`.
    ///
    /// # Errors
    /// As [`TableDocument::create`].
    pub fn document(&self, name: &str, properties: &[(&str, &str)]) -> Result<TableDocument> {
        self.document_of(name, FormatVersion::V2, properties)
    }

    /// The same of a table of format version `version`.
    ///
    /// # Errors
    /// As [`TableDocument::create`].
    pub fn document_of(
        &self,
        name: &str,
        version: FormatVersion,
        properties: &[(&str, &str)],
    ) -> Result<TableDocument> {
        let uuid = self.ids.uuid();
        let column = NestedField::optional(1, "x", Type::Primitive(PrimitiveType::Long));
        TableDocument::create(NewTable {
            uuid,
            location: location::table_location(&self.policy.warehouse(), &self.table(name), uuid),
            schema: Schema::builder().with_fields([Arc::new(column)]).build()?,
            partition_spec: UnboundPartitionSpec::default(),
            sort_order: None,
            properties: properties
                .iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                .collect::<HashMap<_, _>>(),
            format_version: version,
            now_ms: self.clock.now_ms(),
        })
    }

    /// One staged file per number of rows, named as `write_id`'s writers would; its bytes are zeros.
    pub fn files(&self, write_id: WriteId, document: &TableDocument, rows: &[u64]) -> Vec<StagedFile> {
        let files = rows.iter().map(|rows| {
            let nonce = self.ids.uuid().simple().to_string();
            let path = format!("{}/data/{write_id}-0-0-0-{nonce}-0.parquet", document.metadata().location());
            let mut file = StagedFile::data(path, 0, Vec::new());
            file.record_count = *rows;
            file.file_size_bytes = 100 * rows;
            self.store_zeros(&file);
            file.value_counts.insert(1, *rows);
            file.null_counts.insert(1, 0);
            file
        });
        files.collect()
    }

    /// A stored deletion vector of `positions` in `data`, named as `write_id`'s writers would.
    ///
    /// # Errors
    /// As the storage's writes.
    pub async fn vector(
        &self,
        write_id: WriteId,
        data: &StagedFile,
        positions: impl IntoIterator<Item = u64>,
    ) -> Result<StagedFile> {
        let positions: PositionSet = positions.into_iter().collect();
        let mut puffin = PuffinWriter::new();
        let range = puffin.add_deletion_vector(&data.path, &positions);
        let bytes = puffin.finish();
        let folder = data.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        let path = format!("{folder}/{write_id}-0-0-0-{}-0.puffin", self.ids.uuid().simple());
        self.storage.put_new(&path, bytes.clone()).await?;
        let mut file = StagedFile::data(path, data.spec_id, data.partition.clone());
        file.content = FileContent::DeletionVector;
        file.record_count = positions.len();
        file.file_size_bytes = bytes.len() as u64;
        file.referenced_data_file = Some(data.path.clone());
        file.content_range = Some(range);
        file.deleted_positions = vec![DeletedPositions {
            data_file: data.path.clone(),
            count: positions.len(),
            positions: Positions::Inline(positions.to_portable()),
        }];
        Ok(file)
    }

    /// A position delete file of `count` rows of `data`; its bytes are zeros.
    pub fn position_deletes(&self, write_id: WriteId, data: &StagedFile, count: u64) -> StagedFile {
        let folder = data.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        let path = format!("{folder}/{write_id}-0-0-0-{}-0.parquet", self.ids.uuid().simple());
        let mut file = StagedFile::data(path, data.spec_id, data.partition.clone());
        file.content = FileContent::PositionDeletes;
        file.record_count = count;
        file.file_size_bytes = 100;
        file.referenced_data_file = Some(data.path.clone());
        self.store_zeros(&file);
        file
    }

    // Not through the storage: tests of a thousand commits need not sync a thousand files of zeros.
    fn store_zeros(&self, file: &StagedFile) {
        let path = Path::new(file.path.trim_start_matches("file://"));
        let size = usize::try_from(file.file_size_bytes).unwrap_or(0);
        let folder = path.parent().map_or(Ok(()), std::fs::create_dir_all);
        if let Err(error) = folder.and_then(|()| std::fs::write(path, vec![0; size])) {
            tracing::warn!(path = %file.path, %error, "a test's data file was not written");
        }
    }

    /// A request of one change.
    pub fn request(
        &self,
        write_id: WriteId,
        name: &str,
        kind: StatementKind,
        change: Change,
    ) -> CommitRequest {
        CommitRequest {
            write_id,
            round: 1,
            kind,
            changes: vec![TableChange {
                ident: self.table(name),
                uuid: None,
                reference: "main".to_owned(),
                base: None,
                change,
            }],
        }
    }

    /// An INSERT of files of so many rows.
    pub fn append(
        &self,
        write_id: WriteId,
        name: &str,
        document: &TableDocument,
        rows: &[u64],
    ) -> CommitRequest {
        let files = self.files(write_id, document, rows);
        let mut request =
            self.request(write_id, name, StatementKind::Insert, Change::Append { files, schema_id: 0 });
        request.changes[0].uuid = Some(document.metadata().uuid());
        request
    }

    /// Makes an empty table through a service, and returns its first document.
    ///
    /// # Errors
    /// As `CommitClient`'s calls; a `Bug` when the outcome is not committed.
    pub async fn create(&self, name: &str, properties: &[(&str, &str)]) -> Result<TableDocument> {
        self.make(name, self.document(name, properties)?).await
    }

    /// Makes an empty table of `document` through a service, and returns it.
    ///
    /// # Errors
    /// As [`create`](Self::create).
    pub async fn make(&self, name: &str, document: TableDocument) -> Result<TableDocument> {
        let write_id = WriteId::new(self.ids.uuid());
        let change =
            Change::Create { metadata: document.to_bytes()?.to_vec(), files: Vec::new(), snapshot: false };
        let request = self.request(write_id, name, StatementKind::CreateTable, change);
        let service = self.service();
        let begun = service.begin(BeginWrite { kind: request.kind, ..self.begin(write_id) }).await?;
        let outcome = service.commit(request).await?;
        match (begun, outcome) {
            (Begun::Active { round: 1 }, CommitOutcome::Committed(_)) => Ok(document),
            other => Err(icecap_table::Error::bug(format!("the table was not made: {other:?}"))),
        }
    }

    /// The current document of table `name`; `None` when there is no such table.
    ///
    /// # Errors
    /// As the store's and the document's reads.
    pub async fn load(&self, name: &str) -> Result<Option<TableDocument>> {
        match self.store.pointer(&self.table(name)).await? {
            Some(pointer) => Ok(Some(TableDocument::load(&self.storage, &pointer.location).await?)),
            None => Ok(None),
        }
    }

    /// The current metadata location of table `name`.
    pub async fn store_location(&self, name: &str) -> Option<String> {
        self.store.pointer(&self.table(name)).await.ok().flatten().map(|pointer| pointer.location)
    }

    /// What is wrong with table `name` as it is stored, by the specification's invariants.
    pub async fn violations(&self, name: &str) -> Vec<String> {
        match self.store_location(name).await {
            Some(location) => check_table(&self.storage, &location).await,
            None => vec![format!("table {name} does not exist")],
        }
    }

    /// Every file below the table's metadata folder that is no part of the table as it is now, checked
    /// against what its snapshots and its metadata log name.
    ///
    /// # Errors
    /// As the storage's reads.
    pub async fn stray_metadata(&self, name: &str) -> Result<Vec<String>> {
        let Some(pointer) = self.store.pointer(&self.table(name)).await? else { return Ok(Vec::new()) };
        let document = TableDocument::load(&self.storage, &pointer.location).await?;
        let metadata = document.metadata();
        let mut named = BTreeSet::from([pointer.location]);
        named.extend(metadata.metadata_log().iter().map(|entry| entry.metadata_file.clone()));
        for snapshot in metadata.snapshots() {
            named.insert(snapshot.manifest_list().to_owned());
            let list = load_manifest_list(&self.storage, metadata, snapshot).await?;
            named.extend(list.into_iter().map(|manifest| manifest.manifest_path));
        }
        let mut stored = self.storage.list(&document.metadata_folder()).await?;
        stored.retain(|location| !named.contains(location));
        Ok(stored)
    }
}
