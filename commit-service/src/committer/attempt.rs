//! One attempt: a request's changes applied, one after another, to the tables as they are now; manifests
//! and metadata written; the swaps that would publish them. Nothing here changes what readers see.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use icecap_table::commit::{Change, CommitOutcome, CommitRequest, CommittedTable, RowCounts, TableChange};
use icecap_table::iceberg::spec::Operation;
use icecap_table::id::TableIdent;
use icecap_table::metadata::TableDocument;
use icecap_table::snapshot::FreshManifests;
use icecap_table::staged_file::{FileContent, StagedFile};
use icecap_table::validate::{Verdict, validate};
use icecap_table::{Error, Result};

use super::Committer;
use super::check::{self, rejected};
use super::content::{Content, Step};
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
    /// The manifests and lists among them.
    pub(super) manifests: Vec<FreshManifests>,
    /// Metadata files that the tables give up once this is published.
    pub(super) given_up: Vec<String>,
    /// How long the tables let a commit be tried.
    pub(super) retry_timeout: Duration,
}

/// Whether an attempt can be published.
pub(super) enum Preparation {
    Ready,
    Refused(CommitOutcome),
}

/// One table while the changes of a request are applied to it.
pub(super) struct Working {
    pub(super) ident: TableIdent,
    expect: Expect,
    /// The entry is a view, so the name is taken but no table.
    is_view: bool,
    /// The table as the changes so far made it; `None` when there is none.
    pub(super) document: Option<TableDocument>,
    /// The table as it was.
    before: Option<TableDocument>,
    pub(super) changed: bool,
    /// The metadata file of a table that is taken over as it is.
    adopted: Option<String>,
}

impl Working {
    pub(super) fn base(&self) -> Option<&str> {
        match &self.expect {
            Expect::Location(location) => Some(location),
            Expect::Absent | Expect::Present => None,
        }
    }
}

/// What is still to be uploaded: names that only this attempt uses, and contents.
pub(super) type Objects = Vec<(String, Bytes)>;

/// How one change went.
pub(super) type Applied = Result<CommittedTable, CommitOutcome>;

impl Committer {
    /// Fills `attempt`; what it wrote is in there even when this fails.
    pub(super) async fn prepare(
        &self,
        request: &CommitRequest,
        attempt: &mut Attempt,
    ) -> Result<Preparation> {
        let mut tables: Vec<Working> = Vec::new();
        let mut objects = Objects::new();
        attempt.retry_timeout = RETRY_TIMEOUT;
        // It is the only change of its request.
        if let Some(change) = request.changes.first().filter(|change| change.change.is_of_namespace()) {
            return self.prepare_namespace(change, attempt).await;
        }
        for (index, change) in request.changes.iter().enumerate() {
            let at = match tables.iter().position(|table| table.ident == change.ident) {
                Some(at) => at,
                None => {
                    tables.push(self.current(change).await?);
                    tables.len() - 1
                }
            };
            match self.apply(request, index, change, &mut tables[at], attempt, &mut objects).await? {
                Ok(outcome) => attempt.tables.push(outcome),
                Err(outcome) => return Ok(Preparation::Refused(outcome)),
            }
        }
        self.stage(request, tables, attempt, &mut objects)?;
        self.upload(attempt, objects).await?;
        Ok(Preparation::Ready)
    }

    pub(super) async fn upload(&self, attempt: &mut Attempt, objects: Objects) -> Result<()> {
        attempt.written.extend(objects.iter().map(|(location, _)| location.clone()));
        self.storage.put_all_new(objects).await
    }

    /// Loads the table that `change` is the first to change, as it is now.
    async fn current(&self, change: &TableChange) -> Result<Working> {
        let ident = &change.ident;
        let pointer = self.publisher.pointer(ident).await?;
        let mut working = Working {
            ident: ident.clone(),
            expect: Expect::Absent,
            is_view: false,
            document: None,
            before: None,
            changed: false,
            adopted: None,
        };
        match pointer {
            Some(pointer) if pointer.object == ObjectKind::View => working.is_view = true,
            // So that a table whose metadata is damaged, or lies elsewhere, can still be dropped.
            Some(pointer) if is_blind_drop(change) => working.expect = Expect::Location(pointer.location),
            Some(pointer) => {
                self.policy.check(&pointer.location)?;
                let document = TableDocument::load_cached(&self.storage, &pointer.location).await?;
                working.before = Some(document.clone());
                working.document = Some(document);
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
        objects: &mut Objects,
    ) -> Result<Applied> {
        let ident = &change.ident;
        if table.adopted.is_some() || (table.changed && matches!(change.change, Change::Register { .. })) {
            return Err(Error::invalid(format!("table {ident} is registered and changed in one request")));
        }
        if is_blind_drop(change) && table.document.is_none() && !table.changed && table.base().is_some() {
            table.changed = true;
            return Ok(Ok(outcome(ident, &[])));
        }
        if let Verdict::Conflict(why) = validate(change, table.document.as_ref().map(TableDocument::metadata))
        {
            return Ok(Err(match &change.change {
                Change::Create { .. } | Change::Register { .. } => rejected(format!("assert-create: {why}")),
                _ => CommitOutcome::Conflict { why },
            }));
        }
        let document = match (&change.change, table.document.take()) {
            (Change::Create { .. } | Change::Register { .. }, _) => {
                if table.is_view {
                    return Ok(Err(rejected(format!("assert-create: a view named {ident} exists"))));
                }
                if !self.publisher.namespace_exists(&ident.namespace).await? {
                    return Err(Error::not_found(format!(
                        "namespace {} does not exist",
                        ident.namespace_name()
                    )));
                }
                table.changed = true;
                match &change.change {
                    Change::Create { metadata, .. } => self.first_document(ident, metadata)?,
                    Change::Register { metadata_location } => {
                        self.check_adoptable(metadata_location).await?;
                        table.adopted = Some(metadata_location.clone());
                        return Ok(Ok(outcome(ident, &[])));
                    }
                    _ => return Err(Error::bug("a change that makes no table was taken for one")),
                }
            }
            (Change::CreateNamespace { .. } | Change::DropNamespace { .. }, _) => {
                return Err(Error::bug("a change of a namespace was taken for one of a table"));
            }
            (_, Some(document)) => document,
            (_, None) => {
                return Err(Error::bug(format!(
                    "a change of table {ident}, which does not exist, passed validation"
                )));
            }
        };
        if let Some(bound) = retry_timeout(&document) {
            attempt.retry_timeout = attempt.retry_timeout.min(bound);
        }
        if let Change::Metadata { requirements, updates } = &change.change {
            // One log entry for the base, however many changes are chained on it.
            let base = if table.changed { None } else { table.base() };
            return Ok(match self.change_metadata(&document, base, requirements, updates)? {
                Ok(next) => {
                    table.changed |= !updates.is_empty();
                    table.document = Some(if updates.is_empty() { document } else { next });
                    Ok(outcome(ident, &[]))
                }
                Err(refused) => Err(refused),
            });
        }
        let step = Step { request, index, change };
        let (files, snapshot) = match &change.change {
            Change::Metadata { .. } => {
                return Err(Error::bug("a change of metadata was taken for one of files"));
            }
            Change::Drop
            | Change::Register { .. }
            | Change::CreateNamespace { .. }
            | Change::DropNamespace { .. } => {
                table.changed = true;
                return Ok(Ok(outcome(ident, &[])));
            }
            Change::RowDelta(files) | Change::Overwrite(files) | Change::Rewrite(files) => {
                return self.apply_files(step, files, table, document, attempt, objects).await;
            }
            Change::Create { files, snapshot, .. } => (files, *snapshot || !files.is_empty()),
            Change::Append { files, .. } => {
                check::writable(ident, document.metadata())?;
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
        let content = Content {
            schema_id,
            operation: Operation::Append,
            added: files,
            removed: &[],
            data_sequence_number: None,
        };
        let snapshot_id = self.make_snapshot(step, content, table, document, attempt, objects).await?;
        applied.snapshot_id = Some(snapshot_id);
        Ok(Ok(applied))
    }

    /// Adds the metadata files to what is to be uploaded, and makes the swaps.
    fn stage(
        &self,
        request: &CommitRequest,
        tables: Vec<Working>,
        attempt: &mut Attempt,
        objects: &mut Objects,
    ) -> Result<()> {
        for table in tables {
            let next = match &table.document {
                _ if table.adopted.is_some() => table.adopted.clone().map_or(Next::Same, Next::Location),
                Some(document) if table.changed => {
                    let location = document.next_location(table.base(), self.ids.uuid());
                    self.policy.check(&location)?;
                    objects.push((location.clone(), document.to_bytes()?));
                    attempt.documents.push((location.clone(), document.clone()));
                    let before = table.before.iter();
                    attempt.given_up.extend(before.flat_map(|before| document.metadata_given_up(before)));
                    Next::Location(location)
                }
                // A table made and dropped by one request was never there.
                None if table.changed && table.expect != Expect::Absent => Next::Gone,
                _ => Next::Same,
            };
            let after = match (&next, &table.expect) {
                (Next::Location(location), _) | (Next::Same, Expect::Location(location)) => Some(location),
                _ => None,
            };
            if let Some(location) = after {
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
        Ok(())
    }
}

pub(super) fn outcome(ident: &TableIdent, files: &[StagedFile]) -> CommittedTable {
    let data = || files.iter().filter(|file| file.content == FileContent::Data);
    let added_rows = data().map(|file| file.record_count).fold(0, u64::saturating_add);
    let added_data_files = data().count() as u64;
    // Deletion vectors share files.
    let sizes: BTreeMap<&str, u64> =
        files.iter().map(|file| (file.path.as_str(), file.file_size_bytes)).collect();
    CommittedTable {
        namespace: ident.namespace.clone(),
        name: ident.name.clone(),
        snapshot_id: None,
        metadata_location: None,
        added_rows,
        added_data_files,
        added_bytes: sizes.into_values().fold(0, u64::saturating_add),
        added_delete_files: files.len() as u64 - added_data_files,
        removed_data_files: 0,
        rows: RowCounts { inserted: added_rows, ..RowCounts::default() },
    }
}

/// Whether a change drops whatever has the name, without having looked at it.
fn is_blind_drop(change: &TableChange) -> bool {
    change.uuid.is_none() && matches!(change.change, Change::Drop)
}

fn retry_timeout(document: &TableDocument) -> Option<Duration> {
    let text = document.metadata().properties().get("commit.retry.total-timeout-ms")?;
    text.trim().parse().ok().map(Duration::from_millis)
}
