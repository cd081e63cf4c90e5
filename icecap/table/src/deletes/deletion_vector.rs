//! The blob `deletion-vector-v1` (Puffin spec): a length, a magic word, a bitmap of positions, a checksum.

use super::PositionSet;
use crate::error::{Error, Result};

/// The blob's type in a Puffin file.
pub const BLOB_TYPE: &str = "deletion-vector-v1";
/// The largest blob that is read, in bytes: one bit for each of 2³³ rows.
pub const MAX_BLOB_BYTES: u64 = 1 << 30;

const MAGIC: [u8; 4] = [0xd1, 0xd3, 0x39, 0x64];

/// The blob of a set.
pub fn encode(positions: &PositionSet) -> Vec<u8> {
    let bitmap = positions.to_portable();
    let length = u32::try_from(MAGIC.len() + bitmap.len()).unwrap_or(u32::MAX);
    let mut blob = Vec::with_capacity(bitmap.len() + 12);
    blob.extend(length.to_be_bytes());
    blob.extend(MAGIC);
    blob.extend(bitmap);
    let sum = crc32fast::hash(&blob[4..]);
    blob.extend(sum.to_be_bytes());
    blob
}

/// The set of a blob, which anybody may have written; `expected` is how many positions its delete file's entry says.
///
/// # Errors
/// `Corrupt` when the bytes are no such blob, its checksum is wrong, or it holds another number of positions.
pub fn decode(blob: &[u8], expected: Option<u64>) -> Result<PositionSet> {
    let broken = |what: String| Error::corrupt(format!("deletion vector is broken: {what}"));
    let parts = blob.split_first_chunk::<4>().and_then(|(length, rest)| {
        let (framed, sum) = rest.split_last_chunk::<4>()?;
        Some((u32::from_be_bytes(*length), framed, u32::from_be_bytes(*sum)))
    });
    let Some((length, framed, sum)) = parts else {
        return Err(broken(format!("it has {} bytes", blob.len())));
    };
    if length as usize != framed.len() {
        return Err(broken(format!("it says {length} bytes and has {}", framed.len())));
    }
    let Some(bitmap) = framed.strip_prefix(&MAGIC) else {
        return Err(broken("it does not begin with its magic word".into()));
    };
    if crc32fast::hash(framed) != sum {
        return Err(broken("its checksum is wrong".into()));
    }
    let positions = PositionSet::from_portable(bitmap)?;
    match expected {
        Some(expected) if expected != positions.len() => {
            Err(broken(format!("it holds {} positions, and {expected} are recorded", positions.len())))
        }
        _ => Ok(positions),
    }
}
