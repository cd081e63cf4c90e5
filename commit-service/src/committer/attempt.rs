//! One attempt: a request's changes applied, one after another, to the tables as they are now; manifests
//! and metadata written; the swaps that would publish them. Nothing here changes what readers see.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::join_all;
use icecap_table::commit::{Change, CommitOutcome, CommitRequest, CommittedTable, TableChange};
use icecap_table::iceberg::spec::Operation;
use icecap_table::id::TableIdent;
use icecap_table::metadata::TableDocument;
use icecap_table::snapshot::{self, SnapshotRequest};
use icecap_table::staged_file::StagedFile;
use icecap_table::{Error, Result};

use super::Committer;
use super::check::{self, rejected};
use crate::pointer::{Expect, Next, ObjectKind, Swap};

/// Iceberg's default of `commit.retry.total-timeout-ms`.
const RETRY_TIMEOUT: Duration = Duration::from_secs(30 * 60);

/// What an attempt wrote and would publish.
#[derive(Debug, Default)]
pub(super) struct Attempt {
    pub(super) swaps: Vec<Swap>,
    /// The outcome, one entry per change.
    pub(super) tables: Vec<CommittedTable>,
    /// Locations of every file written for it.
    pub(super) written: Vec<String>,
    /// The metadata files among them.
    pub(super) documents: Vec<(String, TableDocument)>,
    /// How long the tables let a commit be tried.
    pub(super) retry_timeout: Duration,
}

/// Whether an attempt can be published.
pub(super) enum Preparation {
    Ready,
    Refused(CommitOutcome),
}

/// One table while the changes of a request are applied to it.
struct Working {
    ident: TableIdent,
    expect: Expect,
    /// The entry is a view, so the name is taken but no table.
    is_view: bool,
    /// The table as the changes so far made it; `None` when there is none.
    document: Option<TableDocument>,
    changed: bool,
}

impl Working {
    fn base(&self) -> Option<&str> {
        match &self.expect {
            Expect::Location(location) => Some(location),
            Expect::Absent => None,
        }
    }
}

/// How one change went.
type Applied = Result<CommittedTable, CommitOutcome>;

impl Committer {
    /// Fills `attempt`; what it wrote is in there even when this fails.
    pub(super) async fn prepare(
        &self,
        request: &CommitRequest,
        attempt: &mut Attempt,
    ) -> Result<Preparation> {
        let mut tables: Vec<Working> = Vec::new();
        attempt.retry_timeout = RETRY_TIMEOUT;
        for (index, change) in request.changes.iter().enumerate() {
            let at = match tables.iter().position(|table| table.ident == change.ident) {
                Some(at) => at,
                None => {
                    tables.push(self.current(&change.ident).await?);
                    tables.len() - 1
                }
            };
            match self.apply(request, index, change, &mut tables[at], attempt).await? {
                Ok(outcome) => attempt.tables.push(outcome),
                Err(outcome) => return Ok(Preparation::Refused(outcome)),
            }
        }
        self.stage(request, tables, attempt).await?;
        Ok(Preparation::Ready)
    }

    /// Loads a table as it is now.
    async fn current(&self, ident: &TableIdent) -> Result<Working> {
        let pointer = self.publisher.pointer(ident).await?;
        let mut working = Working {
            ident: ident.clone(),
            expect: Expect::Absent,
            is_view: false,
            document: None,
            changed: false,
        };
        match pointer {
            Some(pointer) if pointer.object == ObjectKind::View => working.is_view = true,
            Some(pointer) => {
                self.policy.check(&pointer.location)?;
                working.document = Some(self.cache.load(&self.storage, &pointer.location).await?);
                working.expect = Expect::Location(pointer.location);
            }
            None => {}
        }
        Ok(working)
    }

    async fn apply(
        &self,
        request: &CommitRequest,
        index: usize,
        change: &TableChange,
        table: &mut Working,
        attempt: &mut Attempt,
    ) -> Result<Applied> {
        let ident = &change.ident;
        let document = match (&change.change, table.document.take()) {
            (Change::Create { metadata, .. }, None) => {
                if table.is_view {
                    return Ok(Err(rejected(format!("assert-create: a view named {ident} exists"))));
                }
                if !self.publisher.namespace_exists(&ident.namespace).await? {
                    return Ok(Err(rejected(format!(
                        "namespace-exists: namespace {} does not exist",
                        ident.namespace_name()
                    ))));
                }
                let document = self.first_document(ident, metadata)?;
                table.changed = true;
                document
            }
            (Change::Create { .. }, Some(_)) => {
                return Ok(Err(rejected(format!("assert-create: table {ident} exists already"))));
            }
            (Change::Append { .. } | Change::Drop, None) => {
                return Ok(Err(rejected(format!("assert-table-uuid: table {ident} does not exist"))));
            }
            (Change::Append { .. } | Change::Drop, Some(document)) => {
                let current = document.metadata().uuid();
                if change.uuid.is_some_and(|planned| planned != current) {
                    return Ok(Err(rejected(format!(
                        "assert-table-uuid: table {ident} was dropped and made anew while the statement ran"
                    ))));
                }
                document
            }
        };
        if let Some(bound) = retry_timeout(&document) {
            attempt.retry_timeout = attempt.retry_timeout.min(bound);
        }
        let (files, snapshot) = match &change.change {
            Change::Drop => {
                table.changed = true;
                return Ok(Ok(outcome(ident, &[])));
            }
            Change::Create { files, snapshot, .. } => (files, *snapshot || !files.is_empty()),
            Change::Append { files, schema_id } => {
                check::writable(ident, document.metadata())?;
                if let Some(refusal) = schema_refusal(ident, &document, *schema_id) {
                    return Ok(Err(refusal));
                }
                (files, !files.is_empty())
            }
        };
        check::files(request.write_id, document.metadata(), files, &self.policy)?;
        let mut applied = outcome(ident, files);
        if !snapshot {
            table.document = Some(document);
            return Ok(Ok(applied));
        }
        let schema_id = match &change.change {
            Change::Append { schema_id, .. } => *schema_id,
            _ => document.metadata().current_schema_id(),
        };
        let now_ms = document.next_timestamp_ms(self.clock.now_ms());
        let produced = snapshot::produce(
            &self.storage,
            SnapshotRequest {
                document: &document,
                write_id: request.write_id,
                step: &index.to_string(),
                reference: &change.reference,
                schema_id,
                operation: Operation::Append,
                added: files,
                removed: &[],
                extra_summary: BTreeMap::new(),
                now_ms,
                uuid: self.ids.uuid(),
            },
        )
        .await?;
        attempt.written.extend(produced.written);
        applied.snapshot_id = Some(produced.snapshot.snapshot_id());
        // One log entry for the base, however many changes are chained on it.
        let base = if table.changed { None } else { table.base() };
        let next = document.apply(produced.updates, base, now_ms)?;
        table.document = Some(next);
        table.changed = true;
        Ok(Ok(applied))
    }

    /// The first document of a new table.
    fn first_document(&self, ident: &TableIdent, metadata: &[u8]) -> Result<TableDocument> {
        let document = TableDocument::parse(metadata).map_err(|e| {
            Error::invalid(format!("the metadata of the new table {ident} cannot be used")).with_source(e)
        })?;
        let first = document.metadata();
        if first.snapshots().len() != 0 || first.current_snapshot_id().is_some() {
            return Err(Error::invalid(format!(
                "the metadata of the new table {ident} has snapshots already"
            )));
        }
        self.policy.check(first.location())?;
        for path in ["write.data.path", "write.metadata.path"] {
            if let Some(location) = first.properties().get(path) {
                self.policy.check(location)?;
            }
        }
        check::writable(ident, first)?;
        Ok(document)
    }

    /// Uploads the metadata files, all at once, and makes the swaps.
    async fn stage(
        &self,
        request: &CommitRequest,
        tables: Vec<Working>,
        attempt: &mut Attempt,
    ) -> Result<()> {
        let mut uploads = Vec::new();
        for table in tables {
            let next = match &table.document {
                Some(document) if table.changed => {
                    let location = document.next_location(table.base(), self.ids.uuid());
                    self.policy.check(&location)?;
                    uploads.push((location.clone(), document.to_bytes()?));
                    attempt.written.push(location.clone());
                    attempt.documents.push((location.clone(), document.clone()));
                    Next::Location(location)
                }
                // A table made and dropped by one request was never there.
                None if table.changed && table.expect != Expect::Absent => Next::Gone,
                _ => Next::Same,
            };
            if let Next::Location(location) = &next {
                let changes = request.changes.iter().zip(&mut attempt.tables);
                for (_, outcome) in changes.filter(|(change, _)| change.ident == table.ident) {
                    outcome.metadata_location = Some(location.clone());
                }
            }
            attempt.swaps.push(Swap {
                ident: table.ident,
                object: ObjectKind::Table,
                expect: table.expect,
                next,
            });
        }
        let uploads = uploads
            .into_iter()
            .map(|(location, bytes)| async move { self.storage.put_new(&location, bytes.into()).await });
        // Every upload ends before an error is told, so that none lands after the clean-up.
        join_all(uploads).await.into_iter().collect()
    }
}

fn outcome(ident: &TableIdent, files: &[StagedFile]) -> CommittedTable {
    CommittedTable {
        namespace: ident.namespace.clone(),
        name: ident.name.clone(),
        snapshot_id: None,
        metadata_location: None,
        added_rows: files.iter().map(|file| file.record_count).fold(0, u64::saturating_add),
        added_data_files: files.len() as u64,
        added_bytes: files.iter().map(|file| file.file_size_bytes).fold(0, u64::saturating_add),
    }
}

/// Why files written with schema `schema_id` can no longer be added, if so: it is gone, or a column that
/// may not be NULL was added since.
fn schema_refusal(ident: &TableIdent, document: &TableDocument, schema_id: i32) -> Option<CommitOutcome> {
    let metadata = document.metadata();
    let Some(written) = metadata.schema_by_id(schema_id) else {
        return Some(rejected(format!(
            "assert-current-schema-id: table {ident} no longer has schema {schema_id}"
        )));
    };
    let missing = metadata
        .current_schema()
        .as_struct()
        .fields()
        .iter()
        .find(|field| field.required && written.field_by_id(field.id).is_none())?;
    Some(rejected(format!(
        "assert-current-schema-id: table {ident} got the required column {:?} while the statement ran",
        missing.name
    )))
}

fn retry_timeout(document: &TableDocument) -> Option<Duration> {
    let text = document.metadata().properties().get("commit.retry.total-timeout-ms")?;
    text.trim().parse().ok().map(Duration::from_millis)
}
