//! The encoding of [`CommitRequest`]: one version byte, then protobuf. A variant's bytes are frozen by a
//! golden test from the day it is first produced; new fields and variants take new numbers.

mod files;
mod predicate;

use std::collections::BTreeMap;

use prost::Message;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use uuid::Uuid;

use self::files::FileChangesMessage;
use super::{Change, CommitRequest, StatementKind, TableChange};
use crate::error::{Error, Result};
use crate::id::{TableIdent, WriteId};
use crate::staged_file::{StagedFile, wire as file_wire};

/// The version byte that [`CommitRequest::encode`] writes.
pub const COMMIT_REQUEST_VERSION: u8 = 1;

#[derive(Clone, PartialEq, prost::Message)]
struct Request {
    #[prost(bytes = "vec", tag = "1")]
    write_id: Vec<u8>,
    #[prost(uint32, tag = "2")]
    round: u32,
    #[prost(string, tag = "3")]
    kind: String,
    #[prost(message, repeated, tag = "4")]
    changes: Vec<TableChangeMessage>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct TableChangeMessage {
    #[prost(string, repeated, tag = "1")]
    namespace: Vec<String>,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(bytes = "vec", optional, tag = "3")]
    uuid: Option<Vec<u8>>,
    #[prost(string, tag = "4")]
    reference: String,
    #[prost(sint64, optional, tag = "5")]
    base: Option<i64>,
    #[prost(oneof = "ChangeMessage", tags = "10, 11, 12, 13, 14, 15, 16, 17, 18, 20")]
    change: Option<ChangeMessage>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum ChangeMessage {
    #[prost(message, tag = "10")]
    Create(CreateMessage),
    #[prost(message, tag = "11")]
    Append(AppendMessage),
    #[prost(message, tag = "12")]
    Drop(DropMessage),
    #[prost(message, tag = "13")]
    Register(RegisterMessage),
    #[prost(message, tag = "14")]
    CreateNamespace(CreateNamespaceMessage),
    #[prost(message, tag = "15")]
    DropNamespace(DropNamespaceMessage),
    #[prost(message, tag = "16")]
    RowDelta(FileChangesMessage),
    #[prost(message, tag = "17")]
    Overwrite(FileChangesMessage),
    #[prost(message, tag = "18")]
    Rewrite(FileChangesMessage),
    #[prost(message, tag = "20")]
    Metadata(MetadataMessage),
}

#[derive(Clone, PartialEq, prost::Message)]
struct CreateMessage {
    #[prost(bytes = "vec", tag = "1")]
    metadata: Vec<u8>,
    #[prost(message, repeated, tag = "2")]
    files: Vec<file_wire::StagedFile>,
    #[prost(bool, tag = "3")]
    snapshot: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
struct AppendMessage {
    #[prost(message, repeated, tag = "1")]
    files: Vec<file_wire::StagedFile>,
    #[prost(sint32, tag = "2")]
    schema_id: i32,
}

#[derive(Clone, PartialEq, prost::Message)]
struct DropMessage {}

#[derive(Clone, PartialEq, prost::Message)]
struct RegisterMessage {
    #[prost(string, tag = "1")]
    metadata_location: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct CreateNamespaceMessage {
    // In order of key, so that equal requests have equal bytes.
    #[prost(btree_map = "string, string", tag = "1")]
    properties: BTreeMap<String, String>,
    #[prost(bool, tag = "2")]
    if_not_exists: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
struct DropNamespaceMessage {
    #[prost(bool, tag = "1")]
    if_exists: bool,
}

/// Requirements and updates in the JSON of Iceberg's REST catalog.
#[derive(Clone, PartialEq, prost::Message)]
struct MetadataMessage {
    #[prost(string, repeated, tag = "1")]
    requirements: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    updates: Vec<String>,
}

impl CommitRequest {
    /// The versioned bytes.
    pub fn encode(&self) -> Vec<u8> {
        let message = Request {
            write_id: self.write_id.uuid().as_bytes().to_vec(),
            round: self.round,
            kind: self.kind.as_str().to_owned(),
            changes: self.changes.iter().map(TableChangeMessage::from).collect(),
        };
        let mut bytes = vec![COMMIT_REQUEST_VERSION];
        bytes.extend(message.encode_to_vec());
        bytes
    }

    /// Reads [`encode`](Self::encode)'s bytes back.
    ///
    /// # Errors
    /// `Corrupt` when the bytes are not a request of a known version and with known changes.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let message = match bytes.split_first() {
            Some((&COMMIT_REQUEST_VERSION, rest)) => Request::decode(rest)
                .map_err(|e| Error::corrupt("commit request cannot be decoded").with_source(e))?,
            Some((version, _)) => {
                return Err(Error::corrupt(format!(
                    "commit request has version {version}, this build reads version {COMMIT_REQUEST_VERSION}"
                )));
            }
            None => return Err(Error::corrupt("commit request is empty")),
        };
        Ok(Self {
            write_id: WriteId::new(uuid_of(&message.write_id)?),
            round: message.round,
            kind: StatementKind::parse(&message.kind).ok_or_else(|| {
                Error::corrupt("commit request has an unknown statement kind").with("kind", message.kind)
            })?,
            changes: message.changes.into_iter().map(TableChange::try_from).collect::<Result<_>>()?,
        })
    }
}

fn uuid_of(bytes: &[u8]) -> Result<Uuid> {
    Uuid::from_slice(bytes).map_err(|e| Error::corrupt("commit request has a bad UUID").with_source(e))
}

fn file_messages(files: &[StagedFile]) -> Vec<file_wire::StagedFile> {
    files.iter().map(file_wire::StagedFile::from).collect()
}

fn staged_files(messages: Vec<file_wire::StagedFile>) -> Result<Vec<StagedFile>> {
    messages.into_iter().map(StagedFile::try_from).collect()
}

fn json_texts<T: Serialize>(values: &[T]) -> Vec<String> {
    // Maps have texts as keys, so none of them lacks a JSON form; one that did would be refused where it is read.
    values.iter().map(|value| in_order(serde_json::to_value(value).unwrap_or_default()).to_string()).collect()
}

/// Members by name, so that equal requests have equal bytes.
fn in_order(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let sorted: BTreeMap<String, Value> =
                members.into_iter().map(|(name, member)| (name, in_order(member))).collect();
            Value::Object(sorted.into_iter().collect())
        }
        Value::Array(values) => Value::Array(values.into_iter().map(in_order).collect()),
        other => other,
    }
}

fn of_json_texts<T: DeserializeOwned>(texts: &[String]) -> Result<Vec<T>> {
    let parsed = texts.iter().map(|text| serde_json::from_str(text)).collect::<Result<_, _>>();
    parsed.map_err(|e| {
        Error::corrupt("commit request has a requirement or an update that this build does not know")
            .with_source(e)
    })
}

impl From<&TableChange> for TableChangeMessage {
    fn from(change: &TableChange) -> Self {
        Self {
            namespace: change.ident.namespace.clone(),
            name: change.ident.name.clone(),
            uuid: change.uuid.map(|uuid| uuid.as_bytes().to_vec()),
            reference: change.reference.clone(),
            base: change.base,
            change: Some(match &change.change {
                Change::Create { metadata, files, snapshot } => ChangeMessage::Create(CreateMessage {
                    metadata: metadata.clone(),
                    files: file_messages(files),
                    snapshot: *snapshot,
                }),
                Change::Append { files, schema_id } => ChangeMessage::Append(AppendMessage {
                    files: file_messages(files),
                    schema_id: *schema_id,
                }),
                Change::Metadata { requirements, updates } => ChangeMessage::Metadata(MetadataMessage {
                    requirements: json_texts(requirements),
                    updates: json_texts(updates),
                }),
                Change::Drop => ChangeMessage::Drop(DropMessage {}),
                Change::Register { metadata_location } => {
                    ChangeMessage::Register(RegisterMessage { metadata_location: metadata_location.clone() })
                }
                Change::CreateNamespace { properties, if_not_exists } => {
                    ChangeMessage::CreateNamespace(CreateNamespaceMessage {
                        properties: properties.clone(),
                        if_not_exists: *if_not_exists,
                    })
                }
                Change::DropNamespace { if_exists } => {
                    ChangeMessage::DropNamespace(DropNamespaceMessage { if_exists: *if_exists })
                }
                Change::RowDelta(files) => ChangeMessage::RowDelta(files.into()),
                Change::Overwrite(files) => ChangeMessage::Overwrite(files.into()),
                Change::Rewrite(files) => ChangeMessage::Rewrite(files.into()),
            }),
        }
    }
}

impl TryFrom<TableChangeMessage> for TableChange {
    type Error = Error;

    fn try_from(message: TableChangeMessage) -> Result<Self> {
        let change = match message.change {
            Some(ChangeMessage::Create(create)) => Change::Create {
                metadata: create.metadata,
                files: staged_files(create.files)?,
                snapshot: create.snapshot,
            },
            Some(ChangeMessage::Append(append)) => {
                Change::Append { files: staged_files(append.files)?, schema_id: append.schema_id }
            }
            Some(ChangeMessage::Metadata(message)) => Change::Metadata {
                requirements: of_json_texts(&message.requirements)?,
                updates: of_json_texts(&message.updates)?,
            },
            Some(ChangeMessage::Drop(DropMessage {})) => Change::Drop,
            Some(ChangeMessage::Register(register)) => {
                Change::Register { metadata_location: register.metadata_location }
            }
            Some(ChangeMessage::CreateNamespace(create)) => {
                Change::CreateNamespace { properties: create.properties, if_not_exists: create.if_not_exists }
            }
            Some(ChangeMessage::DropNamespace(drop)) => Change::DropNamespace { if_exists: drop.if_exists },
            Some(ChangeMessage::RowDelta(files)) => Change::RowDelta(files.try_into()?),
            Some(ChangeMessage::Overwrite(files)) => Change::Overwrite(files.try_into()?),
            Some(ChangeMessage::Rewrite(files)) => Change::Rewrite(files.try_into()?),
            None => {
                return Err(Error::corrupt(
                    "commit request has a change that this build does not know: \
                     run engine and commit service from one release",
                ));
            }
        };
        Ok(Self {
            ident: TableIdent::new(message.namespace, message.name),
            uuid: message.uuid.as_deref().map(uuid_of).transpose()?,
            reference: message.reference,
            base: message.base,
            change,
        })
    }
}

#[cfg(test)]
mod tests {
    use iceberg::{TableRequirement, TableUpdate};

    use super::*;

    pub(super) fn request(change: Change) -> CommitRequest {
        CommitRequest {
            write_id: WriteId::from_token("golden", 0, 0),
            round: 2,
            kind: StatementKind::Insert,
            changes: vec![TableChange {
                ident: TableIdent::new(vec!["db".into()], "t"),
                uuid: Some(Uuid::from_u128(7)),
                reference: "main".into(),
                base: Some(5),
                change,
            }],
        }
    }

    pub(super) fn file() -> StagedFile {
        let mut file = StagedFile::data("file:///t/data/a.parquet", 0, vec![]);
        file.record_count = 1;
        file
    }

    pub(super) fn hex(request: &CommitRequest) -> String {
        request.encode().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn the_bytes_of_create_append_and_drop_are_frozen() {
        let create =
            request(Change::Create { metadata: b"{}".to_vec(), files: vec![file()], snapshot: true });
        let append = request(Change::Append { files: vec![file()], schema_id: 1 });
        insta::assert_snapshot!(hex(&create), @"010a1003968313fd968177a5f446fbb94a974210021a06494e5345525422470a0264621201741a100000000000000000000000000000000722046d61696e280a52240a027b7d121c121866696c653a2f2f2f742f646174612f612e7061727175657428011801");
        insta::assert_snapshot!(hex(&append), @"010a1003968313fd968177a5f446fbb94a974210021a06494e5345525422430a0264621201741a100000000000000000000000000000000722046d61696e280a5a200a1c121866696c653a2f2f2f742f646174612f612e7061727175657428011002");
        insta::assert_snapshot!(hex(&request(Change::Drop)), @"010a1003968313fd968177a5f446fbb94a974210021a06494e5345525422230a0264621201741a100000000000000000000000000000000722046d61696e280a6200");
        for request in [create, append, request(Change::Drop)] {
            assert_eq!(CommitRequest::decode(&request.encode()).unwrap(), request);
        }
    }

    #[test]
    fn the_bytes_of_register_are_frozen() {
        let mut request = request(Change::Register { metadata_location: "file:///t/m.json".into() });
        request.kind = StatementKind::Call;
        insta::assert_snapshot!(hex(&request), @"010a1003968313fd968177a5f446fbb94a974210021a0443414c4c22350a0264621201741a100000000000000000000000000000000722046d61696e280a6a120a1066696c653a2f2f2f742f6d2e6a736f6e");
        assert_eq!(CommitRequest::decode(&request.encode()).unwrap(), request);
    }

    #[test]
    fn the_bytes_of_namespace_changes_are_frozen() {
        let properties = [("comment", "x"), ("a", "b")].map(|(key, value)| (key.into(), value.into())).into();
        let of = |kind, change| {
            let mut request = request(change);
            request.kind = kind;
            request.changes[0].ident.name.clear();
            (request.changes[0].uuid, request.changes[0].base) = (None, None);
            request
        };
        let create =
            of(StatementKind::CreateNamespace, Change::CreateNamespace { properties, if_not_exists: true });
        let drop = of(StatementKind::DropNamespace, Change::DropNamespace { if_exists: true });
        insta::assert_snapshot!(hex(&create), @"010a1003968313fd968177a5f446fbb94a974210021a0f4352454154455f444154414241534522240a02646222046d61696e72180a060a01611201620a0c0a07636f6d6d656e741201781001");
        insta::assert_snapshot!(hex(&drop), @"010a1003968313fd968177a5f446fbb94a974210021a0d44524f505f4441544142415345220e0a02646222046d61696e7a020801");
        for request in [create, drop] {
            assert_eq!(CommitRequest::decode(&request.encode()).unwrap(), request);
        }
    }

    #[test]
    fn the_bytes_of_a_change_of_metadata_are_frozen() {
        let properties = [("b", "2"), ("a", "1")].map(|(key, value)| (key.into(), value.into()));
        let mut request = request(Change::Metadata {
            requirements: vec![
                TableRequirement::UuidMatch { uuid: Uuid::from_u128(7) },
                TableRequirement::DefaultSpecIdMatch { default_spec_id: 1 },
            ],
            updates: vec![
                TableUpdate::SetProperties { updates: properties.into() },
                TableUpdate::SetDefaultSpec { spec_id: -1 },
            ],
        });
        request.kind = StatementKind::AlterTable;
        insta::assert_snapshot!(hex(&request), @"010a1003968313fd968177a5f446fbb94a974210021a0b414c5445525f5441424c45228d020a0264621201741a100000000000000000000000000000000722046d61696e280aa201e8010a4a7b2274797065223a226173736572742d7461626c652d75756964222c2275756964223a2230303030303030302d303030302d303030302d303030302d303030303030303030303037227d0a357b2264656661756c742d737065632d6964223a312c2274797065223a226173736572742d64656661756c742d737065632d6964227d12377b22616374696f6e223a227365742d70726f70657274696573222c2275706461746573223a7b2261223a2231222c2262223a2232227d7d122a7b22616374696f6e223a227365742d64656661756c742d73706563222c22737065632d6964223a2d317d");
        assert_eq!(CommitRequest::decode(&request.encode()).unwrap(), request);
        let Change::Metadata { requirements, .. } = &mut request.changes[0].change else { panic!() };
        requirements.clear();
        let mut bytes = request.encode();
        let at = bytes.windows(6).position(|window| window == b"action").unwrap();
        bytes[at] = b'x';
        assert_eq!(CommitRequest::decode(&bytes).unwrap_err().kind(), crate::ErrorKind::Corrupt);
    }

    #[test]
    fn hostile_bytes_are_refused_and_do_not_panic() {
        let good = request(Change::Append { files: vec![file()], schema_id: 1 }).encode();
        assert!(CommitRequest::decode(&[]).is_err());
        for cut in 0..good.len() {
            let _ = CommitRequest::decode(&good[..cut]);
            let mut bent = good.clone();
            bent[cut] ^= 0xff;
            let _ = CommitRequest::decode(&bent);
        }
    }
}
