//! Puffin files of deletion vectors (Puffin spec, version 1): blobs, then a footer of JSON that lists them.
//!
//! Readers of deletion vectors go by the offsets in the manifests; the footer is for everybody else.

use bytes::Bytes;
use serde::Serialize;

use super::{PositionSet, deletion_vector};

const MAGIC: &[u8; 4] = b"PFA1";
/// The field that a deletion vector is about: the row's position.
const POSITION_FIELD: i32 = 2_147_483_645;
/// A deletion vector inherits both of its delete file's entry.
const INHERITED: i64 = -1;

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Blob {
    r#type: &'static str,
    fields: [i32; 1],
    snapshot_id: i64,
    sequence_number: i64,
    offset: i64,
    length: i64,
    properties: BlobProperties,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct BlobProperties {
    referenced_data_file: String,
    cardinality: String,
}

#[derive(Serialize)]
struct Footer<'a> {
    blobs: &'a [Blob],
    properties: FileProperties,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct FileProperties {
    created_by: &'static str,
}

/// Puts deletion vectors into one Puffin file, in memory.
#[derive(Default)]
pub struct PuffinWriter {
    bytes: Vec<u8>,
    blobs: Vec<Blob>,
}

impl PuffinWriter {
    /// A file without blobs.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the deletion vector of the data file at `referenced_data_file` (byte for byte as in its manifest).
    ///
    /// Returns where its blob begins in the file and its length in bytes: the `content_offset` and
    /// `content_size_in_bytes` of its delete file's entry.
    pub fn add_deletion_vector(&mut self, referenced_data_file: &str, positions: &PositionSet) -> (i64, i64) {
        if self.bytes.is_empty() {
            self.bytes.extend(MAGIC);
        }
        let blob = deletion_vector::encode(positions);
        let (offset, length) = (signed(self.bytes.len()), signed(blob.len()));
        self.bytes.extend(blob);
        self.blobs.push(Blob {
            r#type: deletion_vector::BLOB_TYPE,
            fields: [POSITION_FIELD],
            snapshot_id: INHERITED,
            sequence_number: INHERITED,
            offset,
            length,
            properties: BlobProperties {
                referenced_data_file: referenced_data_file.to_owned(),
                cardinality: positions.len().to_string(),
            },
        });
        (offset, length)
    }

    /// Whether nothing was added.
    pub fn is_empty(&self) -> bool {
        self.blobs.is_empty()
    }

    /// How long the blobs are so far, in bytes.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The file.
    pub fn finish(mut self) -> Bytes {
        if self.bytes.is_empty() {
            self.bytes.extend(MAGIC);
        }
        let properties = FileProperties { created_by: concat!("Icecap ", env!("CARGO_PKG_VERSION")) };
        // Texts and numbers alone: JSON has them all.
        let payload = serde_json::to_vec(&Footer { blobs: &self.blobs, properties }).unwrap_or_default();
        let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
        self.bytes.extend(MAGIC);
        self.bytes.extend(payload);
        self.bytes.extend(length.to_le_bytes());
        // Flags: the footer is not compressed.
        self.bytes.extend([0; 4]);
        self.bytes.extend(MAGIC);
        self.bytes.into()
    }
}

fn signed(length: usize) -> i64 {
    i64::try_from(length).unwrap_or(i64::MAX)
}
