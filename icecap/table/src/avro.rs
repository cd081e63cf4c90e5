//! Manifest lists from outside, parsed by the kernel within bounds of memory and without panics. (Manifests
//! themselves have a reader of ours, [`manifest`](crate::manifest).)
//!
//! The kernel's Avro library believes what a file says of its lengths and decompresses what it finds. A list of
//! some kilobytes could so ask for gigabytes; the bounds here are far above what any writer makes.

use std::io::Read;
use std::panic::{AssertUnwindSafe, catch_unwind};

use flate2::read::DeflateDecoder;

use crate::error::{Error, Result};

/// What one block may hold after decompression, and the longest array, map or byte string in it. Writers
/// make blocks of 16 to 64 kB.
const MAX_BLOCK_BYTES: usize = 64 << 20;
/// Deflate makes at most 1032 bytes of one.
const MAX_DEFLATE_RATIO: usize = 1032;

/// Parses `bytes`, the content of the manifest list at `location`.
///
/// # Errors
/// `Corrupt` when `parse` fails or panics, or a block is larger than any writer makes it.
pub(crate) fn parse<T>(
    bytes: &[u8],
    location: &str,
    parse: impl FnOnce(&[u8]) -> iceberg::Result<T>,
) -> Result<T> {
    let corrupt = || Error::corrupt("manifest list cannot be parsed").with("manifest list", location);
    // The library's only knob is for the whole process; it is set to the same value each time.
    apache_avro::util::max_allocation_bytes(MAX_BLOCK_BYTES);
    check_blocks(bytes, MAX_BLOCK_BYTES).map_err(|why| corrupt().with_source(Error::corrupt(why)))?;
    // A panic in the parser is an input that its author did not foresee; nothing of it is kept.
    match catch_unwind(AssertUnwindSafe(|| parse(bytes))) {
        Ok(result) => result.map_err(|e| corrupt().with_source(e)),
        Err(_) => Err(corrupt()),
    }
}

/// Walks the container's blocks and refuses one that would become too large. Whatever else is wrong is the
/// parser's to find.
fn check_blocks(bytes: &[u8], limit: usize) -> Result<(), &'static str> {
    let mut rest = Cursor(bytes);
    let Some((codec, rest_after_header)) = header(&mut rest) else { return Ok(()) };
    rest = rest_after_header;
    while !rest.0.is_empty() {
        let block = rest.long().and_then(|_objects| {
            let length = usize::try_from(rest.long()?).ok()?;
            let block = rest.take(length)?;
            rest.take(16)?;
            Some(block)
        });
        let Some(block) = block else { return Ok(()) };
        if decompressed_is_too_large(&codec, block, limit) {
            return Err("a block of it is larger than any writer makes it");
        }
    }
    Ok(())
}

/// The codec's name and what follows the header.
fn header<'a>(rest: &mut Cursor<'a>) -> Option<(Vec<u8>, Cursor<'a>)> {
    let mut codec = b"null".to_vec();
    if rest.take(4)? != b"Obj\x01" {
        return None;
    }
    loop {
        let entries = rest.long()?;
        if entries == 0 {
            break;
        }
        if entries < 0 {
            rest.long()?;
        }
        for _ in 0..entries.unsigned_abs() {
            let key = rest.bytes()?;
            let value = rest.bytes()?;
            if key == b"avro.codec" {
                codec = value.to_vec();
            }
        }
    }
    rest.take(16)?;
    Some((codec, Cursor(rest.0)))
}

fn decompressed_is_too_large(codec: &[u8], block: &[u8], limit: usize) -> bool {
    match codec {
        b"null" => block.len() > limit,
        b"deflate" => {
            // Only a block that could be too large is worth decompressing twice.
            block.len() > limit / MAX_DEFLATE_RATIO && {
                let over = limit as u64 + 1;
                let mut decompressed = DeflateDecoder::new(block).take(over);
                std::io::copy(&mut decompressed, &mut std::io::sink()).is_ok_and(|size| size == over)
            }
        }
        b"snappy" => snappy_length(block).is_none_or(|length| length > limit),
        // Where a frame does not state its size only decompression tells it, and that is the parser's.
        b"zstandard" => zstandard_content_size(block).is_some_and(|size| size > limit as u64),
        _ => false,
    }
}

/// The length that a raw Snappy block begins with; the parser also needs the four bytes of its checksum.
fn snappy_length(block: &[u8]) -> Option<usize> {
    let mut length = 0u64;
    for (at, byte) in block.get(..block.len().checked_sub(4)?)?.iter().take(5).enumerate() {
        length |= u64::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return usize::try_from(length).ok();
        }
    }
    None
}

/// The content size that a Zstandard frame states, where it states one (RFC 8878, section 3.1.1.1).
fn zstandard_content_size(block: &[u8]) -> Option<u64> {
    let frame = block.strip_prefix(&[0x28, 0xb5, 0x2f, 0xfd])?;
    let (descriptor, rest) = frame.split_first()?;
    let single_segment = descriptor & 0x20 != 0;
    let dictionary = [0, 1, 2, 4][usize::from(descriptor & 3)];
    let skipped = usize::from(!single_segment) + dictionary;
    let (length, offset) = match descriptor >> 6 {
        0 if single_segment => (1, 0),
        0 => return None,
        1 => (2, 256),
        2 => (4, 0),
        _ => (8, 0),
    };
    let mut bytes = [0; 8];
    bytes[..length].copy_from_slice(rest.get(skipped..skipped + length)?);
    u64::from_le_bytes(bytes).checked_add(offset)
}

struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    /// A zig-zag variable-length number.
    fn long(&mut self) -> Option<i64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.take(1)?[0];
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some((value >> 1) as i64 ^ -((value & 1) as i64));
            }
        }
        None
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.long()?).ok()?;
        self.take(length)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::DeflateEncoder;

    use super::*;
    use crate::error::ErrorKind;

    fn long(value: i64) -> Vec<u8> {
        let mut rest = ((value << 1) ^ (value >> 63)) as u64;
        let mut bytes = Vec::new();
        while rest >= 0x80 {
            bytes.push(rest as u8 | 0x80);
            rest >>= 7;
        }
        bytes.push(rest as u8);
        bytes
    }

    /// A container of one block.
    fn container(codec: &str, block: &[u8]) -> Vec<u8> {
        let text = |text: &str| [long(text.len() as i64), text.as_bytes().to_vec()].concat();
        let block = [long(1), long(block.len() as i64), block.to_vec(), vec![7; 16]].concat();
        [b"Obj\x01".to_vec(), long(1), text("avro.codec"), text(codec), long(0), vec![7; 16], block].concat()
    }

    fn deflated(size: usize) -> Vec<u8> {
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(&vec![0; size]).unwrap();
        encoder.finish().unwrap()
    }

    const LIMIT: usize = 1 << 20;

    fn accepted(bytes: &[u8]) -> bool {
        check_blocks(bytes, LIMIT).is_ok()
    }

    #[test]
    fn a_block_that_would_grow_too_large_is_refused_before_it_does() {
        assert!(accepted(&container("deflate", &deflated(1000))));
        assert!(accepted(&container("deflate", &deflated(LIMIT))));
        assert!(!accepted(&container("deflate", &deflated(LIMIT + 1))));
        assert!(accepted(&container("snappy", &[0x80, 0x80, 0x01, 0, 0, 0, 0])));
        assert!(!accepted(&container("snappy", &[0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0, 0, 0])));
        assert!(!accepted(&container("snappy", &[1, 2])));
        let frame = |size: u32| [&[0x28, 0xb5, 0x2f, 0xfd, 0xa0], &size.to_le_bytes()[..]].concat();
        assert!(accepted(&container("zstandard", &frame(1 << 20))));
        assert!(!accepted(&container("zstandard", &frame(1 << 30))));
        let bomb = container("snappy", &[0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0, 0, 0]);
        let error = parse(&bomb, "file:///m.avro", |_| Ok(())).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert!(error.to_string().contains("file:///m.avro"), "{error}");
    }

    #[test]
    fn whatever_is_no_container_is_left_to_the_parser() {
        let good = container("null", b"some objects");
        for cut in 0..good.len() {
            assert!(accepted(&good[..cut]));
        }
        let endless = [b"Obj\x01".to_vec(), long(i64::MIN), long(0)].concat();
        assert!(accepted(&endless));
    }

    #[test]
    fn a_panic_of_the_parser_is_a_corrupt_file() {
        let result: Result<()> = parse(b"", "file:///m.avro", |_| panic!("not foreseen"));
        assert_eq!(result.unwrap_err().kind(), ErrorKind::Corrupt);
    }
}
