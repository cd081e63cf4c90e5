//! [`FileChanges`] on the wire. The defaults of absent fields are the stricter ones.

use super::predicate::PredicateMessage;
use super::{file_messages, staged_files};
use crate::commit::{FileChanges, Isolation, RemovedFile, RowCounts, Validation};
use crate::error::{Error, Result};
use crate::staged_file::{FileContent, wire as file_wire};

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct FileChangesMessage {
    #[prost(message, repeated, tag = "1")]
    added: Vec<file_wire::StagedFile>,
    #[prost(message, repeated, tag = "2")]
    removed: Vec<RemovedMessage>,
    #[prost(sint32, tag = "3")]
    schema_id: i32,
    #[prost(sint64, optional, tag = "4")]
    data_sequence_number: Option<i64>,
    #[prost(message, optional, tag = "5")]
    rows: Option<RowsMessage>,
    /// 0: serializable, 1: snapshot.
    #[prost(uint32, tag = "6")]
    isolation: u32,
    /// Absent: all rows.
    #[prost(message, optional, tag = "7")]
    filter: Option<PredicateMessage>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct RemovedMessage {
    #[prost(uint32, tag = "1")]
    content: u32,
    #[prost(string, tag = "2")]
    path: String,
    #[prost(sint64, optional, tag = "3")]
    content_offset: Option<i64>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct RowsMessage {
    #[prost(uint64, tag = "1")]
    inserted: u64,
    #[prost(uint64, tag = "2")]
    updated: u64,
    #[prost(uint64, tag = "3")]
    deleted: u64,
}

impl From<&FileChanges> for FileChangesMessage {
    fn from(files: &FileChanges) -> Self {
        let RowCounts { inserted, updated, deleted } = files.rows;
        Self {
            added: file_messages(&files.added),
            removed: files.removed.iter().map(RemovedMessage::from).collect(),
            schema_id: files.schema_id,
            data_sequence_number: files.data_sequence_number,
            rows: Some(RowsMessage { inserted, updated, deleted }),
            isolation: match files.validation.isolation {
                Isolation::Serializable => 0,
                Isolation::Snapshot => 1,
            },
            // One that cannot be said is widened to all rows.
            filter: files.validation.filter.as_ref().and_then(PredicateMessage::of),
        }
    }
}

impl TryFrom<FileChangesMessage> for FileChanges {
    type Error = Error;

    fn try_from(message: FileChangesMessage) -> Result<Self> {
        let rows = message.rows.unwrap_or_default();
        Ok(Self {
            added: staged_files(message.added)?,
            removed: message.removed.into_iter().map(RemovedFile::try_from).collect::<Result<_>>()?,
            schema_id: message.schema_id,
            data_sequence_number: message.data_sequence_number,
            rows: RowCounts { inserted: rows.inserted, updated: rows.updated, deleted: rows.deleted },
            validation: Validation {
                isolation: match message.isolation {
                    0 => Isolation::Serializable,
                    1 => Isolation::Snapshot,
                    other => {
                        return Err(Error::corrupt(format!(
                            "commit request has unknown isolation level {other}"
                        )));
                    }
                },
                filter: message.filter.map(PredicateMessage::predicate).transpose()?,
            },
        })
    }
}

impl From<&RemovedFile> for RemovedMessage {
    fn from(file: &RemovedFile) -> Self {
        Self {
            content: match file.content {
                FileContent::Data => 0,
                FileContent::PositionDeletes => 1,
                FileContent::DeletionVector => 2,
            },
            path: file.path.clone(),
            content_offset: file.content_offset,
        }
    }
}

impl TryFrom<RemovedMessage> for RemovedFile {
    type Error = Error;

    fn try_from(message: RemovedMessage) -> Result<Self> {
        let content = match message.content {
            0 => FileContent::Data,
            1 => FileContent::PositionDeletes,
            2 => FileContent::DeletionVector,
            other => return Err(Error::corrupt(format!("removed file has unknown content {other}"))),
        };
        if (content == FileContent::DeletionVector) != message.content_offset.is_some() {
            return Err(Error::corrupt(
                "removed file has a content offset and is no deletion vector, or none and is one",
            )
            .with("path", message.path));
        }
        Ok(Self { content, path: message.path, content_offset: message.content_offset })
    }
}

#[cfg(test)]
mod tests;
