//! Gzip files put together of pieces, some of which were compressed before.
//!
//! A piece is compressed without a look at what comes before it, and its last block ends at a byte. So pieces may
//! follow one another in any order: what they make is one ordinary member of a gzip file, with one checksum.

use crc32fast::Hasher;
use flate2::{Compress, Compression, FlushCompress};

use crate::error::{Error, Result};

/// Magic number, method "deflate", no flags, no time, no hint, an unknown system (RFC 1952).
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];

/// An empty last block: its three bits and the end of its (fixed) code, padded.
const LAST_BLOCK: [u8; 2] = [0x03, 0x00];

/// How hard to look for what repeats. Snapshots repeat one another nearly whole: level 6 makes files a twentieth smaller
/// and takes five times as long.
const LEVEL: Compression = Compression::new(2);

/// What is reserved for output at a time, beside an eighth of the text.
const ROOM_BYTES: usize = 1 << 10;

/// Compressed text that can stand anywhere in a file.
#[derive(Debug)]
pub(super) struct Piece {
    blocks: Vec<u8>,
    /// The text's checksum and length.
    crc: Hasher,
}

impl Piece {
    /// What it takes in memory and in a file, in bytes.
    pub(super) fn len(&self) -> usize {
        self.blocks.len()
    }
}

/// A gzip file that is being written.
pub(super) struct Gzip {
    file: Vec<u8>,
    crc: Hasher,
    deflate: Compress,
}

impl Gzip {
    pub(super) fn new() -> Self {
        Self { file: HEADER.to_vec(), crc: Hasher::new(), deflate: Compress::new(LEVEL, false) }
    }

    /// Compresses text for this and later files; it is not added yet.
    pub(super) fn piece(&mut self, text: &[u8]) -> Result<Piece> {
        let mut blocks = Vec::new();
        compress(&mut self.deflate, text, &mut blocks)?;
        blocks.shrink_to_fit();
        Ok(Piece { blocks, crc: checksum(text) })
    }

    /// Adds a piece.
    pub(super) fn add(&mut self, piece: &Piece) {
        self.file.extend_from_slice(&piece.blocks);
        self.crc.combine(&piece.crc);
    }

    /// Compresses text and adds it.
    pub(super) fn add_text(&mut self, text: &[u8]) -> Result<()> {
        compress(&mut self.deflate, text, &mut self.file)?;
        self.crc.update(text);
        Ok(())
    }

    /// The file.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.file.extend_from_slice(&LAST_BLOCK);
        // The format keeps the length modulo 2^32.
        let length = self.crc.total_len() as u32;
        self.file.extend_from_slice(&self.crc.finalize().to_le_bytes());
        self.file.extend_from_slice(&length.to_le_bytes());
        self.file
    }
}

fn checksum(text: &[u8]) -> Hasher {
    let mut crc = Hasher::new();
    crc.update(text);
    crc
}

/// Appends blocks that hold `text`, the last of which ends at a byte.
fn compress(deflate: &mut Compress, text: &[u8], blocks: &mut Vec<u8>) -> Result<()> {
    deflate.reset();
    let mut left = text;
    // Output that fills its room exactly may not be all of it.
    while !left.is_empty() || (!text.is_empty() && blocks.len() == blocks.capacity()) {
        blocks.reserve(left.len() / 8 + ROOM_BYTES);
        let before = deflate.total_in();
        deflate
            .compress_vec(left, blocks, FlushCompress::Full)
            .map_err(|e| Error::bug("metadata cannot be compressed").with_source(e))?;
        let read = usize::try_from(deflate.total_in() - before).unwrap_or(usize::MAX);
        left = left.get(read..).unwrap_or_default();
    }
    Ok(())
}

#[cfg(test)]
pub(super) mod tests {
    use std::io::Read;

    use flate2::read::GzDecoder;
    use proptest::prelude::*;

    use super::*;

    /// The text of a file, which must be one member.
    pub(in crate::metadata) fn inflated(file: &[u8]) -> Vec<u8> {
        let mut text = Vec::new();
        let mut member = GzDecoder::new(file);
        member.read_to_end(&mut text).unwrap();
        // One member, and nothing after it.
        assert!(member.into_inner().is_empty());
        text
    }

    #[test]
    fn an_empty_file_is_a_file() {
        assert_eq!(inflated(&Gzip::new().finish()), b"");
    }

    #[test]
    fn pieces_are_taken_in_any_order_and_more_than_once() {
        let texts: Vec<Vec<u8>> = (0..5_u8)
            .map(|n| format!("{{\"snapshot\":{n}}},").repeat(40 * usize::from(n)).into_bytes())
            .collect();
        let mut gzip = Gzip::new();
        let pieces: Vec<Piece> = texts.iter().map(|text| gzip.piece(text).unwrap()).collect();
        let mut expected = Vec::new();
        for at in [4, 2, 0, 4, 3, 1, 1] {
            gzip.add(&pieces[at]);
            gzip.add_text(b"between").unwrap();
            expected.extend_from_slice(&texts[at]);
            expected.extend_from_slice(b"between");
        }
        let file = gzip.finish();
        assert_eq!(inflated(&file), expected);
        assert!(file.len() * 10 < expected.len(), "{} of {}", file.len(), expected.len());
    }

    proptest! {
        #[test]
        fn any_bytes_come_back(
            parts in proptest::collection::vec((any::<bool>(), any::<u8>(), 0..9_000_usize, any::<u64>()), 0..8),
        ) {
            let (mut gzip, mut expected) = (Gzip::new(), Vec::new());
            for (known, mask, length, seed) in parts {
                // Noise of up to eight bits each: from what compresses to nothing to what does not at all.
                let mut state = seed | 1;
                let text: Vec<u8> = std::iter::repeat_with(|| {
                    state ^= state << 13;
                    state ^= state >> 7;
                    state ^= state << 17;
                    state as u8 & mask
                }).take(length).collect();
                if known {
                    let piece = gzip.piece(&text).unwrap();
                    gzip.add(&piece);
                } else {
                    gzip.add_text(&text).unwrap();
                }
                expected.extend(text);
            }
            prop_assert_eq!(inflated(&gzip.finish()), expected);
        }
    }
}
