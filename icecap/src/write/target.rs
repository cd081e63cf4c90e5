//! [`WriteTarget`]: everything a writing task needs to know of its table, and its versioned encoding.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use icecap_table::iceberg::spec::{
    FormatVersion, NestedField, NestedFieldRef, PartitionSpec, PartitionSpecRef, PrimitiveType, Schema,
    SchemaRef, Type,
};
use icecap_table::id::WriteId;
use icecap_table::properties::WriteSettings;
use icecap_table::{Error, Result};
use prost::Message;

/// The version byte that [`WriteTarget::encode`] writes.
pub const WRITE_TARGET_VERSION: u8 = 1;

/// The columns of a row's lineage, by their reserved field ids (spec, "Reserved field ids").
const LINEAGE_FIELDS: [(i32, &str); 2] =
    [(2_147_483_540, "_row_id"), (2_147_483_539, "_last_updated_sequence_number")];

/// Whether a field id is that of a column of lineage.
pub(crate) fn is_lineage_field(id: i32) -> bool {
    LINEAGE_FIELDS.iter().any(|(known, _)| *known == id)
}

/// The table that a task writes to, and the task's identity.
#[derive(Debug, Clone, PartialEq)]
pub struct WriteTarget {
    /// The schema that the rows follow, column by column.
    pub schema: SchemaRef,
    /// The partition spec of the new files.
    pub partition_spec: PartitionSpecRef,
    /// The sort order that the rows follow, where they follow one.
    pub sort_order_id: Option<i32>,
    /// The table's format version.
    pub format_version: FormatVersion,
    /// The folder of data files, as [`WriteSettings::data_location`] gives it.
    pub data_location: String,
    /// The table's properties.
    pub properties: HashMap<String, String>,
    /// The write that the files are staged for; every file name begins with it.
    pub write_id: WriteId,
    /// The stage of the write.
    pub stage: u32,
    /// The task within the stage.
    pub task: u32,
    /// The attempt at the task.
    pub attempt: u32,
    /// A word of letters and digits that no other attempt has.
    pub nonce: String,
    /// Bytes that the task's writers may hold in memory together; absent: as the memory pool allows.
    pub memory_bytes: Option<u64>,
    /// Whether the rows end in two columns more than the schema's: the row's id and the sequence number of its last
    /// update, NULL where the file is to give them (V3).
    pub lineage: bool,
}

impl WriteTarget {
    /// What the base name of every file of this attempt begins with.
    pub fn file_prefix(&self) -> String {
        let Self { write_id, stage, task, attempt, nonce, .. } = self;
        format!("{write_id}-{stage}-{task}-{attempt}-{nonce}-")
    }

    /// The schema of the files: the table's, and the columns of the rows' lineage where they are there.
    ///
    /// # Errors
    /// `Unsupported` for a table with columns of their names.
    pub(crate) fn file_schema(&self) -> Result<SchemaRef> {
        if !self.lineage {
            return Ok(Arc::clone(&self.schema));
        }
        let mut fields: Vec<NestedFieldRef> = self.schema.as_struct().fields().to_vec();
        for (id, name) in LINEAGE_FIELDS {
            let ty = Type::Primitive(PrimitiveType::Long);
            fields.push(Arc::new(NestedField::optional(id, name, ty)));
        }
        let built = Schema::builder().with_schema_id(self.schema.schema_id()).with_fields(fields).build();
        built.map(Arc::new).map_err(|error| {
            Error::unsupported(
                "a table with a column of the name _row_id or _last_updated_sequence_number keeps no row ids: rename the column",
            )
            .with_source(error)
        })
    }

    /// The typed write properties.
    ///
    /// # Errors
    /// As [`WriteSettings::from_properties`].
    pub fn settings(&self) -> Result<WriteSettings> {
        WriteSettings::from_properties(&self.properties)
    }

    /// Whether the rows come in a sort order, partition by partition.
    pub fn is_sorted(&self) -> bool {
        // 0 is the order of tables without one.
        self.sort_order_id.is_some_and(|id| id != 0)
    }

    /// The versioned bytes.
    ///
    /// # Errors
    /// `Bug` when the schema or the spec has no JSON form.
    pub fn encode(&self) -> Result<Vec<u8>> {
        let json = |e| Error::bug("a schema or partition spec has no JSON form").with_source(e);
        let message = wire::WriteTarget {
            schema_json: serde_json::to_string(self.schema.as_ref()).map_err(json)?,
            partition_spec_json: serde_json::to_string(self.partition_spec.as_ref()).map_err(json)?,
            sort_order_id: self.sort_order_id,
            format_version: self.format_version as u32,
            data_location: self.data_location.clone(),
            properties: self.properties.clone().into_iter().collect(),
            write_id: self.write_id.uuid().as_bytes().to_vec(),
            stage: self.stage,
            task: self.task,
            attempt: self.attempt,
            nonce: self.nonce.clone(),
            memory_bytes: self.memory_bytes,
            lineage: self.lineage,
        };
        let mut bytes = vec![WRITE_TARGET_VERSION];
        bytes.extend(message.encode_to_vec());
        Ok(bytes)
    }

    /// Reads [`encode`](Self::encode)'s bytes back.
    ///
    /// # Errors
    /// `Corrupt` when the bytes are not a write target of a known version.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let rest = match bytes.split_first() {
            Some((&WRITE_TARGET_VERSION, rest)) => rest,
            Some((version, _)) => {
                return Err(Error::corrupt(format!(
                    "write target has version {version}, this build reads version {WRITE_TARGET_VERSION}: \
                     run engine and writers from one release"
                )));
            }
            None => return Err(Error::corrupt("write target is empty")),
        };
        wire::WriteTarget::decode(rest)
            .map_err(|e| Error::corrupt("write target cannot be decoded").with_source(e))?
            .try_into()
    }
}

impl TryFrom<wire::WriteTarget> for WriteTarget {
    type Error = Error;

    fn try_from(message: wire::WriteTarget) -> Result<Self> {
        let json = |e| Error::corrupt("write target's schema or partition spec is not valid").with_source(e);
        let schema: Schema = serde_json::from_str(&message.schema_json).map_err(json)?;
        let spec: PartitionSpec = serde_json::from_str(&message.partition_spec_json).map_err(json)?;
        let uuid = uuid::Uuid::from_slice(&message.write_id)
            .map_err(|e| Error::corrupt("write target's write id is no UUID").with_source(e))?;
        if message.nonce.is_empty() || !message.nonce.bytes().all(|b| b.is_ascii_alphanumeric()) {
            return Err(Error::corrupt("write target's nonce is not of letters and digits"));
        }
        Ok(Self {
            schema: Arc::new(schema),
            partition_spec: Arc::new(spec),
            sort_order_id: message.sort_order_id,
            format_version: match message.format_version {
                1 => FormatVersion::V1,
                2 => FormatVersion::V2,
                3 => FormatVersion::V3,
                other => return Err(Error::corrupt(format!("write target has format version {other}"))),
            },
            data_location: message.data_location,
            properties: message.properties.into_iter().collect(),
            write_id: WriteId::new(uuid),
            stage: message.stage,
            task: message.task,
            attempt: message.attempt,
            nonce: message.nonce,
            memory_bytes: message.memory_bytes,
            lineage: message.lineage,
        })
    }
}

/// Whether `location` is a file that the write `write_id` staged, by its base name.
///
/// Together with a listing of the data location it finds what an attempt left behind.
pub fn is_staged_by(location: &str, write_id: WriteId) -> bool {
    let name = location.rsplit('/').next().unwrap_or(location);
    name.strip_prefix(&write_id.to_string()).is_some_and(|rest| rest.starts_with('-'))
}

/// The protobuf message. Field numbers are frozen; new fields take new numbers.
mod wire {
    use super::BTreeMap;

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct WriteTarget {
        #[prost(string, tag = "1")]
        pub(super) schema_json: String,
        #[prost(string, tag = "2")]
        pub(super) partition_spec_json: String,
        #[prost(int32, optional, tag = "3")]
        pub(super) sort_order_id: Option<i32>,
        #[prost(uint32, tag = "4")]
        pub(super) format_version: u32,
        #[prost(string, tag = "5")]
        pub(super) data_location: String,
        #[prost(btree_map = "string, string", tag = "6")]
        pub(super) properties: BTreeMap<String, String>,
        #[prost(bytes = "vec", tag = "7")]
        pub(super) write_id: Vec<u8>,
        #[prost(uint32, tag = "8")]
        pub(super) stage: u32,
        #[prost(uint32, tag = "9")]
        pub(super) task: u32,
        #[prost(uint32, tag = "10")]
        pub(super) attempt: u32,
        #[prost(string, tag = "11")]
        pub(super) nonce: String,
        #[prost(uint64, optional, tag = "12")]
        pub(super) memory_bytes: Option<u64>,
        #[prost(bool, tag = "13")]
        pub(super) lineage: bool,
    }
}

#[cfg(test)]
mod tests {
    use icecap_table::iceberg::spec::{Transform, UnboundPartitionSpec};

    use super::*;

    fn target() -> WriteTarget {
        let schema = Schema::builder()
            .with_schema_id(7)
            .with_fields(vec![
                NestedField::required(1, "é \"x\"", Type::Primitive(PrimitiveType::Long)).into(),
                NestedField::optional(
                    2,
                    "d",
                    Type::Primitive(PrimitiveType::Decimal { precision: 38, scale: 3 }),
                )
                .into(),
            ])
            .build()
            .unwrap();
        let spec = UnboundPartitionSpec::builder()
            .with_spec_id(3)
            .add_partition_field(1, "b", Transform::Bucket(16))
            .unwrap()
            .build()
            .bind(schema.clone())
            .unwrap();
        WriteTarget {
            schema: Arc::new(schema),
            partition_spec: Arc::new(spec),
            sort_order_id: Some(0),
            format_version: FormatVersion::V2,
            data_location: "file:///w/t/data".into(),
            properties: HashMap::from([("a".into(), "1".into()), ("b".into(), "2".into())]),
            write_id: WriteId::from_token("t", 0, 0),
            stage: 0,
            task: 2,
            attempt: 1,
            nonce: "n0".into(),
            memory_bytes: Some(1 << 28),
            lineage: false,
        }
    }

    #[test]
    fn every_field_survives_the_round_trip() {
        let target = target();
        assert_eq!(WriteTarget::decode(&target.encode().unwrap()).unwrap(), target);
        let target = WriteTarget { lineage: true, ..target };
        assert_eq!(WriteTarget::decode(&target.encode().unwrap()).unwrap(), target);
    }

    #[test]
    fn encoding_is_frozen() {
        let hex: String = target().encode().unwrap().iter().map(|b| format!("{b:02x}")).collect();
        insta::assert_snapshot!(hex);
    }

    #[test]
    fn hostile_bytes_are_refused_and_do_not_panic() {
        assert!(WriteTarget::decode(&[]).is_err());
        assert!(WriteTarget::decode(&[9, 1]).unwrap_err().to_string().contains("version 9"));
        let good = target().encode().unwrap();
        for cut in 1..good.len() {
            let _ = WriteTarget::decode(&good[..cut]);
        }
        let mut wrong = target();
        wrong.nonce = "../x".into();
        assert!(WriteTarget::decode(&wrong.encode().unwrap()).is_err());
    }

    #[test]
    fn staged_files_are_known_by_their_name() {
        let target = target();
        let name = format!("file:///w/t/data/p=1/{}0-0.parquet", target.file_prefix());
        assert!(is_staged_by(&name, target.write_id));
        assert!(!is_staged_by(&name, WriteId::from_token("u", 0, 0)));
        assert!(!is_staged_by(&format!("{}/x", target.write_id), target.write_id));
    }
}
