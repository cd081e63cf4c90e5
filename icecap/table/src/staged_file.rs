//! [`StagedFile`]: a written file that no snapshot names yet, with all that a manifest will say of it,
//! and its versioned encoding.
//!
//! It is Icecap's own type on purpose: the wire does not follow the in-memory type of a library. Bounds
//! and partition values travel in Iceberg's binary single-value serialisation (spec, appendix D), so that
//! neither end needs the schema to pass them on.
//!
//! Encoding: one version byte, then a protobuf message (`wire::StagedFile`).

use std::collections::BTreeMap;

use prost::Message;

use crate::error::{Error, Result};

/// The version byte that [`StagedFile::encode`] writes.
pub const STAGED_FILE_VERSION: u8 = 1;

/// What a staged file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FileContent {
    /// Rows.
    Data,
    /// A Parquet file of (path, position) pairs.
    PositionDeletes,
    /// One deletion-vector blob in a Puffin file.
    DeletionVector,
}

/// Where the positions that a delete file deletes are to be found, per data file, without reading Parquet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Positions {
    /// A 64-bit portable roaring bitmap (a deletion vector's payload without its framing).
    Inline(Vec<u8>),
    /// The same bytes in a stored file.
    Range {
        /// Location of that file.
        path: String,
        /// First byte.
        offset: u64,
        /// Length in bytes.
        length: u64,
    },
}

/// The deleted positions of one data file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeletedPositions {
    /// Location of the data file, byte for byte as in its manifest entry.
    pub data_file: String,
    /// How many positions are deleted.
    pub count: u64,
    /// Which ones.
    pub positions: Positions,
}

/// One written, uncommitted file and its metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StagedFile {
    /// What it holds.
    pub content: FileContent,
    /// Its full location (`file:///…`, `s3://…`), byte for byte as manifests will name it.
    pub path: String,
    /// The partition spec its tuple belongs to.
    pub spec_id: i32,
    /// The partition tuple: one value per field of the spec, in the spec's order, single-value serialised.
    pub partition: Vec<Option<Vec<u8>>>,
    /// Rows, or deleted positions.
    pub record_count: u64,
    /// Size of the whole file.
    pub file_size_bytes: u64,
    /// Bytes on disk per field id.
    pub column_sizes: BTreeMap<i32, u64>,
    /// Values, NULLs included, per field id.
    pub value_counts: BTreeMap<i32, u64>,
    /// NULLs per field id.
    pub null_counts: BTreeMap<i32, u64>,
    /// NaNs per field id of a floating-point column.
    pub nan_counts: BTreeMap<i32, u64>,
    /// Lower bounds per field id, single-value serialised, perhaps truncated.
    pub lower_bounds: BTreeMap<i32, Vec<u8>>,
    /// Upper bounds per field id, single-value serialised, perhaps truncated and incremented.
    pub upper_bounds: BTreeMap<i32, Vec<u8>>,
    /// First byte of each row group, ascending.
    pub split_offsets: Vec<i64>,
    /// The sort order that the rows follow, where they follow one.
    pub sort_order_id: Option<i32>,
    /// Set only when the rows keep row ids that they already have (V3).
    pub first_row_id: Option<i64>,
    /// The one data file that a deletion vector (or file-granular position deletes) concerns.
    pub referenced_data_file: Option<String>,
    /// Where a deletion vector's blob begins in its Puffin file, and its length in bytes.
    pub content_range: Option<(i64, i64)>,
    /// The positions of a delete file; empty for data.
    pub deleted_positions: Vec<DeletedPositions>,
}

impl StagedFile {
    /// A data file without metrics yet.
    pub fn data(path: impl Into<String>, spec_id: i32, partition: Vec<Option<Vec<u8>>>) -> Self {
        Self {
            content: FileContent::Data,
            path: path.into(),
            spec_id,
            partition,
            record_count: 0,
            file_size_bytes: 0,
            column_sizes: BTreeMap::new(),
            value_counts: BTreeMap::new(),
            null_counts: BTreeMap::new(),
            nan_counts: BTreeMap::new(),
            lower_bounds: BTreeMap::new(),
            upper_bounds: BTreeMap::new(),
            split_offsets: Vec::new(),
            sort_order_id: None,
            first_row_id: None,
            referenced_data_file: None,
            content_range: None,
            deleted_positions: Vec::new(),
        }
    }

    /// The versioned bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![STAGED_FILE_VERSION];
        bytes.extend(wire::StagedFile::from(self).encode_to_vec());
        bytes
    }

    /// Reads [`encode`](Self::encode)'s bytes back.
    ///
    /// # Errors
    /// `Corrupt` when the bytes are not a staged file of a known version.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        match bytes.split_first() {
            Some((&STAGED_FILE_VERSION, rest)) => wire::StagedFile::decode(rest)
                .map_err(|e| Error::corrupt("staged file cannot be decoded").with_source(e))?
                .try_into(),
            Some((version, _)) => Err(Error::corrupt(format!(
                "staged file has version {version}, this build reads version {STAGED_FILE_VERSION}: \
                 run writers and commit service from one release"
            ))),
            None => Err(Error::corrupt("staged file is empty")),
        }
    }
}

/// The protobuf messages. Field numbers are frozen by golden bytes; new fields take new numbers.
pub(crate) mod wire {
    use std::collections::BTreeMap;

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct OptionalBytes {
        #[prost(bytes = "vec", optional, tag = "1")]
        pub value: Option<Vec<u8>>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct DeletedPositions {
        #[prost(string, tag = "1")]
        pub data_file: String,
        #[prost(uint64, tag = "2")]
        pub count: u64,
        #[prost(bytes = "vec", optional, tag = "3")]
        pub inline: Option<Vec<u8>>,
        #[prost(string, tag = "4")]
        pub path: String,
        #[prost(uint64, tag = "5")]
        pub offset: u64,
        #[prost(uint64, tag = "6")]
        pub length: u64,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct StagedFile {
        #[prost(uint32, tag = "1")]
        pub content: u32,
        #[prost(string, tag = "2")]
        pub path: String,
        #[prost(sint32, tag = "3")]
        pub spec_id: i32,
        #[prost(message, repeated, tag = "4")]
        pub partition: Vec<OptionalBytes>,
        #[prost(uint64, tag = "5")]
        pub record_count: u64,
        #[prost(uint64, tag = "6")]
        pub file_size_bytes: u64,
        #[prost(btree_map = "sint32, uint64", tag = "7")]
        pub column_sizes: BTreeMap<i32, u64>,
        #[prost(btree_map = "sint32, uint64", tag = "8")]
        pub value_counts: BTreeMap<i32, u64>,
        #[prost(btree_map = "sint32, uint64", tag = "9")]
        pub null_counts: BTreeMap<i32, u64>,
        #[prost(btree_map = "sint32, uint64", tag = "10")]
        pub nan_counts: BTreeMap<i32, u64>,
        #[prost(btree_map = "sint32, bytes", tag = "11")]
        pub lower_bounds: BTreeMap<i32, Vec<u8>>,
        #[prost(btree_map = "sint32, bytes", tag = "12")]
        pub upper_bounds: BTreeMap<i32, Vec<u8>>,
        #[prost(sint64, repeated, tag = "13")]
        pub split_offsets: Vec<i64>,
        #[prost(sint32, optional, tag = "14")]
        pub sort_order_id: Option<i32>,
        #[prost(sint64, optional, tag = "15")]
        pub first_row_id: Option<i64>,
        #[prost(string, optional, tag = "16")]
        pub referenced_data_file: Option<String>,
        #[prost(sint64, optional, tag = "17")]
        pub content_offset: Option<i64>,
        #[prost(sint64, optional, tag = "18")]
        pub content_length: Option<i64>,
        #[prost(message, repeated, tag = "19")]
        pub deleted_positions: Vec<DeletedPositions>,
    }
}

impl From<&StagedFile> for wire::StagedFile {
    fn from(file: &StagedFile) -> Self {
        Self {
            content: match file.content {
                FileContent::Data => 0,
                FileContent::PositionDeletes => 1,
                FileContent::DeletionVector => 2,
            },
            path: file.path.clone(),
            spec_id: file.spec_id,
            partition: file
                .partition
                .iter()
                .map(|value| wire::OptionalBytes { value: value.clone() })
                .collect(),
            record_count: file.record_count,
            file_size_bytes: file.file_size_bytes,
            column_sizes: file.column_sizes.clone(),
            value_counts: file.value_counts.clone(),
            null_counts: file.null_counts.clone(),
            nan_counts: file.nan_counts.clone(),
            lower_bounds: file.lower_bounds.clone(),
            upper_bounds: file.upper_bounds.clone(),
            split_offsets: file.split_offsets.clone(),
            sort_order_id: file.sort_order_id,
            first_row_id: file.first_row_id,
            referenced_data_file: file.referenced_data_file.clone(),
            content_offset: file.content_range.map(|(offset, _)| offset),
            content_length: file.content_range.map(|(_, length)| length),
            deleted_positions: file.deleted_positions.iter().map(wire_positions).collect(),
        }
    }
}

fn wire_positions(deleted: &DeletedPositions) -> wire::DeletedPositions {
    let mut message = wire::DeletedPositions {
        data_file: deleted.data_file.clone(),
        count: deleted.count,
        ..wire::DeletedPositions::default()
    };
    match &deleted.positions {
        Positions::Inline(bytes) => message.inline = Some(bytes.clone()),
        Positions::Range { path, offset, length } => {
            message.path = path.clone();
            message.offset = *offset;
            message.length = *length;
        }
    }
    message
}

impl TryFrom<wire::StagedFile> for StagedFile {
    type Error = Error;

    fn try_from(file: wire::StagedFile) -> Result<Self> {
        let content = match file.content {
            0 => FileContent::Data,
            1 => FileContent::PositionDeletes,
            2 => FileContent::DeletionVector,
            other => return Err(Error::corrupt(format!("staged file has unknown content {other}"))),
        };
        let content_range = match (file.content_offset, file.content_length) {
            (Some(offset), Some(length)) => Some((offset, length)),
            (None, None) => None,
            _ => return Err(Error::corrupt("staged file has half a content range").with("path", file.path)),
        };
        Ok(Self {
            content,
            path: file.path,
            spec_id: file.spec_id,
            partition: file.partition.into_iter().map(|value| value.value).collect(),
            record_count: file.record_count,
            file_size_bytes: file.file_size_bytes,
            column_sizes: file.column_sizes,
            value_counts: file.value_counts,
            null_counts: file.null_counts,
            nan_counts: file.nan_counts,
            lower_bounds: file.lower_bounds,
            upper_bounds: file.upper_bounds,
            split_offsets: file.split_offsets,
            sort_order_id: file.sort_order_id,
            first_row_id: file.first_row_id,
            referenced_data_file: file.referenced_data_file,
            content_range,
            deleted_positions: file
                .deleted_positions
                .into_iter()
                .map(|deleted| DeletedPositions {
                    data_file: deleted.data_file,
                    count: deleted.count,
                    positions: match deleted.inline {
                        Some(bytes) => Positions::Inline(bytes),
                        None => Positions::Range {
                            path: deleted.path,
                            offset: deleted.offset,
                            length: deleted.length,
                        },
                    },
                })
                .collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> StagedFile {
        let mut file = StagedFile::data("file:///w/t/data/a.parquet", 3, vec![None, Some(vec![1, 0, 0, 0])]);
        file.record_count = 7;
        file.file_size_bytes = 1234;
        file.value_counts.insert(1, 7);
        file.null_counts.insert(1, 0);
        file.lower_bounds.insert(1, vec![0, 0, 0, 0]);
        file.upper_bounds.insert(1, vec![9, 0, 0, 0]);
        file.split_offsets.push(4);
        file
    }

    #[test]
    fn encoding_is_frozen() {
        let hex: String = sample().encode().iter().map(|b| format!("{b:02x}")).collect();
        insta::assert_snapshot!(hex, @"01121a66696c653a2f2f2f772f742f646174612f612e706172717565741806220022060a0401000000280730d2094204080210074a0208025a080802120400000000620808021204090000006a0108");
    }

    #[test]
    fn every_field_survives_the_round_trip() {
        let mut file = sample();
        file.content = FileContent::DeletionVector;
        file.column_sizes.insert(1, 99);
        file.nan_counts.insert(2, 1);
        file.sort_order_id = Some(2);
        file.first_row_id = Some(0);
        file.referenced_data_file = Some("file:///w/t/data/b.parquet".into());
        file.content_range = Some((4, 40));
        file.deleted_positions = vec![
            DeletedPositions { data_file: "b".into(), count: 1, positions: Positions::Inline(vec![]) },
            DeletedPositions {
                data_file: "c".into(),
                count: 2,
                positions: Positions::Range { path: "p".into(), offset: 1, length: 2 },
            },
        ];
        assert_eq!(StagedFile::decode(&file.encode()).unwrap(), file);
    }

    #[test]
    fn hostile_bytes_are_refused_and_do_not_panic() {
        assert!(StagedFile::decode(&[]).is_err());
        assert!(StagedFile::decode(&[9, 1, 2]).unwrap_err().to_string().contains("version 9"));
        let good = sample().encode();
        for cut in 1..good.len() {
            let _ = StagedFile::decode(&good[..cut]);
        }
    }
}
