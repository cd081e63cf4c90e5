//! The contract between an engine and the commit service: requests, outcomes, and the client seam.
//!
//! An outcome that lost a race is a value ([`CommitOutcome::Conflict`]), not an error. Errors are what
//! really failed; [`Error::applied`](crate::Error::applied) says whether the write may have happened.
//! The encoding lives in `wire`: one version byte, then a protobuf message.

mod files;
mod wire;

pub use files::{FileChanges, Isolation, RemovedFile, RowCounts, Validation};
pub use wire::COMMIT_REQUEST_VERSION;

use std::collections::BTreeMap;

use async_trait::async_trait;
use iceberg::{TableRequirement, TableUpdate};
use uuid::Uuid;

use crate::error::Result;
use crate::id::{TableIdent, WriteId};
use crate::staged_file::StagedFile;

/// What kind of statement a write is. It decides validation, and it never follows from the result: a MERGE
/// that matched nothing is still a MERGE.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StatementKind {
    /// `CREATE TABLE`
    CreateTable,
    /// `CREATE TABLE … AS`
    CreateTableAsSelect,
    /// `DROP TABLE`
    DropTable,
    /// `CREATE SCHEMA`
    CreateNamespace,
    /// `DROP SCHEMA`
    DropNamespace,
    /// `INSERT INTO`
    Insert,
    /// `CALL`
    Call,
    /// `DELETE FROM`
    Delete,
    /// `UPDATE`
    Update,
    /// `MERGE INTO`
    Merge,
    /// `OPTIMIZE`
    Optimize,
    /// `VACUUM`
    Vacuum,
    /// `ALTER TABLE`
    AlterTable,
}

impl StatementKind {
    const ALL: [Self; 13] = [
        Self::CreateTable,
        Self::CreateTableAsSelect,
        Self::DropTable,
        Self::CreateNamespace,
        Self::DropNamespace,
        Self::Insert,
        Self::Call,
        Self::Delete,
        Self::Update,
        Self::Merge,
        Self::Optimize,
        Self::Vacuum,
        Self::AlterTable,
    ];

    /// Athena's SubstatementType word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CreateTable => "CREATE_TABLE",
            Self::CreateTableAsSelect => "CREATE_TABLE_AS_SELECT",
            Self::DropTable => "DROP_TABLE",
            Self::CreateNamespace => "CREATE_DATABASE",
            Self::DropNamespace => "DROP_DATABASE",
            Self::Insert => "INSERT",
            Self::Call => "CALL",
            Self::Delete => "DELETE",
            Self::Update => "UPDATE",
            Self::Merge => "MERGE",
            Self::Optimize => "OPTIMIZE",
            Self::Vacuum => "VACUUM",
            Self::AlterTable => "ALTER_TABLE",
        }
    }

    /// Whether it changes rows that are there, so that it loses to whoever takes their files away.
    pub fn changes_rows(self) -> bool {
        matches!(self, Self::Delete | Self::Update | Self::Merge)
    }

    /// Reads [`as_str`](Self::as_str)'s word back.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
    }
}

/// Everything that one write publishes, in one atomic step.
#[derive(Debug, Clone, PartialEq)]
pub struct CommitRequest {
    /// The write, and the idempotency key.
    pub write_id: WriteId,
    /// The ledger round under which the files were written.
    pub round: u32,
    /// The statement.
    pub kind: StatementKind,
    /// Changes, applied in order.
    pub changes: Vec<TableChange>,
}

/// One change of one table.
#[derive(Debug, Clone, PartialEq)]
pub struct TableChange {
    /// The table's name. Of a change of a namespace: the namespace's levels, and an empty name.
    pub ident: TableIdent,
    /// The table that was planned on; absent when the change makes it.
    pub uuid: Option<Uuid>,
    /// The branch that is written.
    pub reference: String,
    /// The snapshot that the change was planned on; absent on an empty table.
    pub base: Option<i64>,
    /// What changes.
    pub change: Change,
}

/// What a writer wants.
#[derive(Debug, Clone, PartialEq)]
#[allow(clippy::large_enum_variant)] // requests are few, and Create is the rare one
pub enum Change {
    /// Makes a table from its first metadata, with files or without.
    Create {
        /// The metadata document (JSON) without snapshots.
        metadata: Vec<u8>,
        /// Its first rows; empty for a plain `CREATE TABLE`.
        files: Vec<StagedFile>,
        /// Whether a first snapshot is made even of no files (CTAS makes one).
        snapshot: bool,
    },
    /// Takes a table that exists, with its history, into the catalog: the pointer is set to its metadata file. The
    /// only change of its table in a request.
    Register {
        /// Where the metadata file lies.
        metadata_location: String,
    },
    /// Adds data files. Never conflicts with anything but the table's own disappearance.
    Append {
        /// The files.
        files: Vec<StagedFile>,
        /// The schema that they were written with.
        schema_id: i32,
    },
    /// Changes what the table's metadata says and none of its rows: no snapshot is made. An update that adds a
    /// snapshot is refused, and so is the removal of one that a branch or tag still names.
    Metadata {
        /// What has to hold of the table as it is then; else the outcome is [`CommitOutcome::Rejected`].
        requirements: Vec<TableRequirement>,
        /// What is done, in order.
        updates: Vec<TableUpdate>,
    },
    /// Removes the table from the catalog.
    Drop,
    /// Makes a namespace. The only change of its request.
    CreateNamespace {
        /// Its properties.
        properties: BTreeMap<String, String>,
        /// Whether one that exists already is as good: it then stays as it is.
        if_not_exists: bool,
    },
    /// Removes an empty namespace. The only change of its request.
    DropNamespace {
        /// Whether one that does not exist is as good.
        if_exists: bool,
    },
    /// Deletes rows by position and adds the new ones (merge-on-read); data files of which no row is left are
    /// removed. Without any file it is validated and makes no snapshot.
    RowDelta(FileChanges),
    /// Puts other data files in the place of those whose rows a statement changed (copy-on-write).
    Overwrite(FileChanges),
    /// Puts other files in the place of some, with the same rows (compaction).
    Rewrite(FileChanges),
}

impl Change {
    /// Whether it changes a namespace and no table.
    pub fn is_of_namespace(&self) -> bool {
        matches!(self, Self::CreateNamespace { .. } | Self::DropNamespace { .. })
    }

    /// The changes of files that are validated against the commits since the base.
    pub fn file_changes(&self) -> Option<&FileChanges> {
        match self {
            Self::RowDelta(files) | Self::Overwrite(files) | Self::Rewrite(files) => Some(files),
            _ => None,
        }
    }
}

/// How a commit ended.
#[derive(Debug, Clone, PartialEq)]
pub enum CommitOutcome {
    /// The write is published.
    Committed(Committed),
    /// The base moved in a way that the change cannot absorb; the next round may commit.
    Conflict {
        /// Why, for people.
        why: String,
    },
    /// A requirement of the request does not hold.
    Rejected {
        /// Which.
        requirement: String,
    },
}

/// What a published write did; recorded in the ledger, so that it can be told again.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Committed {
    /// The statement's kind ([`StatementKind::as_str`]).
    pub statement: String,
    /// One entry per changed table, in the request's order.
    pub tables: Vec<CommittedTable>,
}

/// What a published write did to one table.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct CommittedTable {
    /// The table's namespace levels.
    pub namespace: Vec<String>,
    /// The table's name; empty where a namespace was changed.
    pub name: String,
    /// The snapshot made, where one was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot_id: Option<i64>,
    /// The table's metadata file after the commit; absent after a drop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata_location: Option<String>,
    /// Rows of the data files added.
    #[serde(default)]
    pub added_rows: u64,
    /// Data files added.
    #[serde(default)]
    pub added_data_files: u64,
    /// Bytes of the files added.
    #[serde(default)]
    pub added_bytes: u64,
    /// Delete files added, deletion vectors among them.
    #[serde(default)]
    pub added_delete_files: u64,
    /// Data files taken out.
    #[serde(default)]
    pub removed_data_files: u64,
    /// What the statement did to rows.
    #[serde(default)]
    pub rows: RowCounts,
}

/// Registers a write before its first upload.
#[derive(Debug, Clone, PartialEq)]
pub struct BeginWrite {
    /// The write.
    pub write_id: WriteId,
    /// Its statement.
    pub kind: StatementKind,
    /// Hash of SQL, parameters and target, never of files: the same id with another intent is refused.
    pub intent_hash: [u8; 32],
    /// After this instant (ms since the epoch) the write counts as dead.
    pub deadline_ms: i64,
    /// Snapshots that must not expire while the write runs: (table, snapshot).
    pub bases: Vec<(Uuid, i64)>,
    /// Location prefixes that the write will upload under.
    pub prefixes: Vec<String>,
}

/// The ledger's answer to [`CommitClient::begin`].
#[derive(Debug, Clone, PartialEq)]
pub enum Begun {
    /// Go on, under this round.
    Active {
        /// 1 for a new write; one more at each take-over of a dead one.
        round: u32,
    },
    /// The write is already published; this is what it did.
    Committed(Committed),
}

/// The state of a write in the ledger.
#[derive(Debug, Clone, PartialEq)]
pub enum WriteState {
    /// Running, or dead and not yet fenced.
    Active {
        /// Its round.
        round: u32,
    },
    /// Published.
    Committed(Committed),
    /// Can never commit.
    Fenced,
}

/// A write that the ledger holds as active.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunningWrite {
    /// The write.
    pub write_id: WriteId,
    /// Its round.
    pub round: u32,
    /// Its statement, where that is known.
    pub kind: Option<StatementKind>,
    /// Whether it gave a sign of life of late. One that did not may still be taken over, or fenced.
    pub is_alive: bool,
    /// The snapshots that it was planned on: (table, snapshot).
    pub bases: Vec<(Uuid, i64)>,
    /// Where it uploads.
    pub prefixes: Vec<String>,
}

/// An engine's way to the commit service. The same id has the same effect, at most once, however often it
/// is asked.
#[async_trait]
pub trait CommitClient: Send + Sync + std::fmt::Debug {
    /// Registers a write.
    ///
    /// # Errors
    /// `Unavailable` while another live process runs the same write; `Invalid` when the id was used for
    /// another intent; `Fenced` when the write can never commit (a caller that holds a token goes on under
    /// the token's next id).
    async fn begin(&self, write: BeginWrite) -> Result<Begun>;

    /// Says that the write still runs, until `deadline_ms`.
    ///
    /// # Errors
    /// `Fenced` when the round is no longer this one.
    async fn heartbeat(&self, write_id: WriteId, round: u32, deadline_ms: i64) -> Result<()>;

    /// Publishes the write, or says why not.
    ///
    /// # Errors
    /// `CommitStateUnknown` when the swap was sent without a trustworthy answer: ask
    /// [`outcome`](Self::outcome), or call again with the same request. `Fenced` when the write is fenced, or
    /// when its round is over because another process took it over: the files of this round may go, but only
    /// `Fenced` from [`begin`](Self::begin) lets a token go on under its next id. `Invalid` for a write that
    /// was never begun.
    async fn commit(&self, request: CommitRequest) -> Result<CommitOutcome>;

    /// What the ledger says of a write; `None` when it never heard of it.
    async fn outcome(&self, write_id: WriteId) -> Result<Option<WriteState>>;

    /// Fences a write that will not commit, so that its staged files may be deleted.
    ///
    /// Returns the state after the call: `Fenced`, `Committed` when the write had been published, or
    /// `Active` when a later round owns it.
    async fn abandon(&self, write_id: WriteId, round: u32) -> Result<WriteState>;

    /// The writes that are active now, in the order of their ids: what they read must not expire, and what they
    /// upload is no orphan.
    ///
    /// # Errors
    /// `Unavailable`; `Corrupt` when a row cannot be read.
    async fn active_writes(&self) -> Result<Vec<RunningWrite>>;
}
