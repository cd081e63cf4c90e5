//! The bytes of an exchange object.
//!
//! `block*`, then the index (a version byte and a protobuf message), then its length and CRC-32 as little-endian
//! words, then a magic word. A block is a run of Arrow IPC stream messages of one partition, without the schema
//! message: the consumer's plan knows the schema, and both ends make the same message of it.

use datafusion::arrow::datatypes::Schema;
use datafusion::arrow::ipc::CompressionType;
use datafusion::arrow::ipc::writer::{IpcWriteOptions, StreamWriter};
use icecap_table::storage::Storage;
use icecap_table::{Error, Result};
use prost::Message;

use super::message::{ExchangeObject, ObjectMessage};

/// The version byte of an object's index.
pub const EXCHANGE_VERSION: u8 = 1;

const MAGIC: [u8; 4] = *b"ICEX";

/// Bytes after the index: its length, its CRC-32, the magic word.
pub const FOOTER_TAIL_BYTES: u64 = 12;

pub(super) fn ipc_failed(error: datafusion::arrow::error::ArrowError) -> Error {
    Error::bug("rows of an exchange have no Arrow IPC form").with_source(error)
}

/// An encoder of one partition's rows, and the schema message that it begins with.
pub(super) fn encoder(schema: &Schema) -> Result<(StreamWriter<Vec<u8>>, Vec<u8>)> {
    let options = IpcWriteOptions::default()
        .try_with_compression(Some(CompressionType::LZ4_FRAME))
        .map_err(ipc_failed)?;
    let mut writer = StreamWriter::try_new_with_options(Vec::new(), schema, options).map_err(ipc_failed)?;
    let head = std::mem::take(writer.get_mut());
    Ok((writer, head))
}

/// The index and the tail of an object.
pub(super) fn footer(object: &ExchangeObject) -> Result<Vec<u8>> {
    let mut bytes = vec![EXCHANGE_VERSION];
    bytes.extend(ObjectMessage::of(object).encode_to_vec());
    let length = u32::try_from(bytes.len())
        .map_err(|_| Error::exhausted("an exchange's index is larger than 4 GiB: use more tasks"))?;
    let crc32 = crc32fast::hash(&bytes);
    bytes.extend(length.to_le_bytes());
    bytes.extend(crc32.to_le_bytes());
    bytes.extend(MAGIC);
    Ok(bytes)
}

/// Reads the index of a stored object.
///
/// # Errors
/// `NotFound` when there is no object; `Corrupt` when it is none of ours or broken.
pub async fn read_index(storage: &Storage, location: &str) -> Result<ExchangeObject> {
    let broken = |why: &str| Error::corrupt(format!("not an exchange: {why}")).with("location", location);
    let size = storage.size(location).await?;
    let Some(tail_at) = size.checked_sub(FOOTER_TAIL_BYTES) else { return Err(broken("it is too short")) };
    let tail = storage.read_range(location, tail_at..size).await?;
    let word = |at: usize| match tail.get(at..at + 4) {
        Some([a, b, c, d]) => Ok([*a, *b, *c, *d]),
        _ => Err(broken("it is too short")),
    };
    if word(8)? != MAGIC {
        return Err(broken("its last bytes are others"));
    }
    let length = u64::from(u32::from_le_bytes(word(0)?));
    let index_at = tail_at.checked_sub(length).ok_or_else(|| broken("its index is cut"))?;
    let index = storage.read_range(location, index_at..tail_at).await?;
    if crc32fast::hash(&index) != u32::from_le_bytes(word(4)?) {
        return Err(broken("its index is damaged"));
    }
    match index.split_first() {
        Some((&EXCHANGE_VERSION, rest)) => {
            let message = ObjectMessage::decode(rest).map_err(|_| broken("its index cannot be read"))?;
            let mut object = message.object()?;
            if object.location != location {
                return Err(broken("it was stored under another name"));
            }
            object.size_bytes = size;
            Ok(object)
        }
        _ => Err(broken("its index has another version")),
    }
}
