//! The Avro object container: header, blocks, compression (Avro specification, "Object Container Files").

use std::borrow::Cow;
use std::collections::HashMap;
use std::io::{Read, Write};

use flate2::Compression;
use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;

use super::Broken;
use super::value::{Bytes, put_bytes, put_long};

const MAGIC: &[u8] = b"Obj\x01";

/// What one block may hold after decompression: writers make blocks of 16 to 64 kB.
const MAX_BLOCK_BYTES: usize = 64 << 20;

/// An opened container.
pub(super) struct Container<'a> {
    metadata: HashMap<String, Vec<u8>>,
    codec: Codec,
    blocks: &'a [u8],
    sync: &'a [u8],
}

#[derive(Clone, Copy)]
enum Codec {
    Null,
    Deflate,
    Snappy,
    Zstandard,
}

/// A block's objects, decompressed.
pub(super) struct Block<'a> {
    pub(super) objects: u64,
    pub(super) bytes: Cow<'a, [u8]>,
}

impl<'a> Container<'a> {
    /// Reads the header.
    pub(super) fn open(bytes: &'a [u8]) -> Result<Self, Broken> {
        let mut bytes = Bytes(bytes);
        if bytes.take(MAGIC.len())? != MAGIC {
            return Err("it is no Avro file".into());
        }
        let mut metadata = HashMap::new();
        loop {
            let entries = match bytes.long()? {
                0 => break,
                // A negative number is followed by the size in bytes.
                entries @ ..0 => {
                    bytes.long()?;
                    entries.unsigned_abs()
                }
                entries => entries.unsigned_abs(),
            };
            for _ in 0..entries {
                let key = String::from_utf8_lossy(bytes.bytes()?).into_owned();
                metadata.insert(key, bytes.bytes()?.to_vec());
            }
        }
        let codec = match metadata.get("avro.codec").map(Vec::as_slice) {
            None | Some(b"null") => Codec::Null,
            Some(b"deflate") => Codec::Deflate,
            Some(b"snappy") => Codec::Snappy,
            Some(b"zstandard") => Codec::Zstandard,
            Some(other) => return Err(Broken::Codec(String::from_utf8_lossy(other).into_owned())),
        };
        let sync = bytes.take(16)?;
        Ok(Self { metadata, codec, blocks: bytes.0, sync })
    }

    pub(super) fn all_metadata(&self) -> &HashMap<String, Vec<u8>> {
        &self.metadata
    }

    pub(super) fn metadata(&self, key: &str) -> Result<&[u8], Broken> {
        self.metadata
            .get(key)
            .map(Vec::as_slice)
            .ok_or_else(|| Broken::Bytes(format!("its header has no {key}")))
    }

    /// The blocks, one after another.
    pub(super) fn blocks(&self) -> impl Iterator<Item = Result<Block<'a>, Broken>> {
        let mut rest = Bytes(self.blocks);
        let mut failed = false;
        std::iter::from_fn(move || {
            if rest.0.is_empty() || failed {
                return None;
            }
            let block = self.block(&mut rest);
            failed = block.is_err();
            Some(block)
        })
    }

    fn block(&self, rest: &mut Bytes<'a>) -> Result<Block<'a>, Broken> {
        let objects = u64::try_from(rest.long()?).map_err(|_| "a block has less than no objects")?;
        let block = rest.bytes()?;
        if rest.take(16)? != self.sync {
            return Err("a block does not end with the file's marker".into());
        }
        Ok(Block { objects, bytes: decompress(self.codec, block)? })
    }
}

fn decompress(codec: Codec, block: &[u8]) -> Result<Cow<'_, [u8]>, Broken> {
    const TOO_LARGE: &str = "a block of it is larger than any writer makes it";
    let whole = |reader: &mut dyn Read| {
        let mut bytes = Vec::new();
        let mut reader = reader.take(MAX_BLOCK_BYTES as u64 + 1);
        reader.read_to_end(&mut bytes).map_err(|_| "a block cannot be decompressed")?;
        if bytes.len() > MAX_BLOCK_BYTES { Err(TOO_LARGE) } else { Ok(Cow::Owned(bytes)) }
    };
    Ok(match codec {
        Codec::Null if block.len() > MAX_BLOCK_BYTES => return Err(TOO_LARGE.into()),
        Codec::Null => Cow::Borrowed(block),
        Codec::Deflate => whole(&mut DeflateDecoder::new(block))?,
        Codec::Zstandard => {
            let mut decoder = zstd::Decoder::new(block).map_err(|_| "a block cannot be decompressed")?;
            whole(&mut decoder)?
        }
        Codec::Snappy => {
            let (block, sum) = block.split_last_chunk::<4>().ok_or("a block has no checksum")?;
            let length = snap::raw::decompress_len(block).map_err(|_| "a block cannot be decompressed")?;
            if length > MAX_BLOCK_BYTES {
                return Err(TOO_LARGE.into());
            }
            let bytes = snap::raw::Decoder::new()
                .decompress_vec(block)
                .map_err(|_| "a block cannot be decompressed")?;
            if crc32fast::hash(&bytes) != u32::from_be_bytes(*sum) {
                return Err("a block's checksum is wrong".into());
            }
            Cow::Owned(bytes)
        }
    })
}

/// A container under construction, deflated.
pub(super) struct Builder {
    out: Vec<u8>,
    sync: [u8; 16],
    block: Vec<u8>,
    objects: i64,
}

/// The size at which a block ends, before compression.
const BLOCK_BYTES: usize = 64 << 10;

impl Builder {
    /// Writes the header. `sync` separates the blocks; it only has to differ from what else is in the file.
    pub(super) fn new(metadata: &[(&str, Vec<u8>)], sync: [u8; 16]) -> Self {
        let mut out = MAGIC.to_vec();
        put_long(&mut out, metadata.len() as i64 + 1);
        put_bytes(&mut out, b"avro.codec");
        put_bytes(&mut out, b"deflate");
        for (key, value) in metadata {
            put_bytes(&mut out, key.as_bytes());
            put_bytes(&mut out, value);
        }
        put_long(&mut out, 0);
        out.extend(sync);
        Self { out, sync, block: Vec::new(), objects: 0 }
    }

    /// Adds one object, which `put` encodes.
    pub(super) fn object<E>(&mut self, put: impl FnOnce(&mut Vec<u8>) -> Result<(), E>) -> Result<(), E> {
        put(&mut self.block)?;
        self.objects += 1;
        if self.block.len() >= BLOCK_BYTES {
            self.flush();
        }
        Ok(())
    }

    pub(super) fn finish(mut self) -> Vec<u8> {
        self.flush();
        self.out
    }

    fn flush(&mut self) {
        if self.objects == 0 {
            return;
        }
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
        // Writing to memory does not fail.
        let compressed = encoder.write_all(&self.block).and_then(|()| encoder.finish()).unwrap_or_default();
        put_long(&mut self.out, self.objects);
        put_bytes(&mut self.out, &compressed);
        self.out.extend(self.sync);
        self.block.clear();
        self.objects = 0;
    }
}
