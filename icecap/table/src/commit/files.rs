//! Changes of a table's rows as changes of its files: what row-level statements and compaction send.

use iceberg::expr::Predicate;

use crate::staged_file::{FileContent, StagedFile};

/// Files that a statement adds to a table and takes out of it, in one snapshot.
///
/// A data file that goes takes what deletes rows in it alone along (its deletion vector, position delete files of
/// no other data file): the committer sees to it, naming them is allowed and not needed.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct FileChanges {
    /// Data files and delete files that come in. A deletion vector holds every position that is deleted in its data
    /// file, those of an older one too, which is then among [`removed`](Self::removed).
    pub added: Vec<StagedFile>,
    /// Files that go.
    pub removed: Vec<RemovedFile>,
    /// The schema that the files were written with, and whose names the conflict filter uses.
    pub schema_id: i32,
    /// The data sequence number of the added data files, where they hold rows that were there before: equality
    /// deletes that come later still apply to them. Only that of the base snapshot is allowed, and only in a rewrite.
    pub data_sequence_number: Option<i64>,
    /// What the statement did to rows; recorded and told again.
    pub rows: RowCounts,
    /// What must still hold when the change is applied.
    pub validation: Validation,
}

/// A live file that the new snapshot no longer has.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RemovedFile {
    /// What it holds; an equality delete file counts as [`FileContent::PositionDeletes`].
    pub content: FileContent,
    /// Its location, byte for byte as in its manifest entry.
    pub path: String,
    /// Where a deletion vector's blob begins: several share one Puffin file.
    pub content_offset: Option<i64>,
}

impl RemovedFile {
    /// A data file.
    pub fn data(path: impl Into<String>) -> Self {
        Self { content: FileContent::Data, path: path.into(), content_offset: None }
    }

    /// A position delete file or an equality delete file.
    pub fn delete_file(path: impl Into<String>) -> Self {
        Self { content: FileContent::PositionDeletes, path: path.into(), content_offset: None }
    }

    /// The deletion vector whose blob begins at `offset` of a Puffin file.
    pub fn deletion_vector(path: impl Into<String>, offset: i64) -> Self {
        Self { content: FileContent::DeletionVector, path: path.into(), content_offset: Some(offset) }
    }
}

/// How many rows a statement inserted, changed and deleted, as its user counts them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct RowCounts {
    /// New rows.
    #[serde(default)]
    pub inserted: u64,
    /// Rows with new values.
    #[serde(default)]
    pub updated: u64,
    /// Rows that are gone.
    #[serde(default)]
    pub deleted: u64,
}

/// What a change of rows requires of the commits since its base, beside what always holds: that the files which it
/// touches are still there, and that nobody else changed the same rows.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Validation {
    /// How much the statement must not have missed.
    pub isolation: Isolation,
    /// Which rows of the target the statement looked at; `None`: all of them.
    pub filter: Option<Predicate>,
}

/// An isolation level, as the properties `write.*.isolation-level` name them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Isolation {
    /// The result is that of running the statements one after another: rows that came in meanwhile and that the
    /// statement would have looked at are a conflict.
    #[default]
    Serializable,
    /// The statement saw its base; only rows that both changed are a conflict.
    Snapshot,
}
