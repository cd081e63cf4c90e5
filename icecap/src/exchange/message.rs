//! What an exchange object holds, and what a consumer reads of it, as both travel.

use icecap_table::{Error, Result};
use prost::Message;

/// A run of one partition's rows within an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block {
    /// The partition.
    pub partition: u32,
    /// Its first byte in the object.
    pub offset: u64,
    /// Its bytes.
    pub length: u32,
    /// Its rows.
    pub rows: u64,
    /// The CRC-32 of its bytes.
    pub crc32: u32,
}

/// One object of an exchange: what one winning attempt of a producing task stored.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ExchangeObject {
    /// Its location.
    pub location: String,
    /// Its length in bytes; nothing was stored when it is 0 (there were no rows).
    pub size_bytes: u64,
    /// How many partitions its task produced.
    pub partitions: u32,
    /// Its blocks, in the order in which they lie; those of one partition make one Arrow IPC stream.
    pub blocks: Vec<Block>,
}

impl ExchangeObject {
    /// Rows of all partitions.
    pub fn rows(&self) -> u64 {
        self.blocks.iter().map(|block| block.rows).sum()
    }
}

/// Blocks of one object that belong to one partition of a consumer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExchangePiece {
    /// The consumer's partition.
    pub partition: u32,
    /// Which of the input's objects.
    pub object: u32,
    /// The blocks, in order; their `partition` is the producer's.
    pub blocks: Vec<Block>,
}

/// What one task reads of the stage below it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ExchangeInput {
    /// The producing stage.
    pub stage: u32,
    /// The locations of the objects.
    pub locations: Vec<String>,
    /// The pieces, in the order in which each partition reads them.
    pub pieces: Vec<ExchangePiece>,
}

#[derive(Clone, PartialEq, Message)]
struct BlocksMessage {
    #[prost(uint32, repeated, tag = "1")]
    partition: Vec<u32>,
    #[prost(uint64, repeated, tag = "2")]
    offset: Vec<u64>,
    #[prost(uint32, repeated, tag = "3")]
    length: Vec<u32>,
    #[prost(uint64, repeated, tag = "4")]
    rows: Vec<u64>,
    #[prost(fixed32, repeated, tag = "5")]
    crc32: Vec<u32>,
}

impl BlocksMessage {
    fn of(blocks: &[Block]) -> Self {
        Self {
            partition: blocks.iter().map(|block| block.partition).collect(),
            offset: blocks.iter().map(|block| block.offset).collect(),
            length: blocks.iter().map(|block| block.length).collect(),
            rows: blocks.iter().map(|block| block.rows).collect(),
            crc32: blocks.iter().map(|block| block.crc32).collect(),
        }
    }

    fn blocks(&self) -> Result<Vec<Block>> {
        let count = self.partition.len();
        let lengths = [self.offset.len(), self.length.len(), self.rows.len(), self.crc32.len()];
        if lengths.iter().any(|length| *length != count) {
            return Err(Error::corrupt("an exchange's index has columns of different lengths"));
        }
        Ok((0..count)
            .map(|at| Block {
                partition: self.partition[at],
                offset: self.offset[at],
                length: self.length[at],
                rows: self.rows[at],
                crc32: self.crc32[at],
            })
            .collect())
    }
}

/// [`ExchangeObject`] as it travels.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct ObjectMessage {
    #[prost(string, tag = "1")]
    location: String,
    #[prost(uint64, tag = "2")]
    size_bytes: u64,
    #[prost(uint32, tag = "3")]
    partitions: u32,
    #[prost(message, optional, tag = "4")]
    blocks: Option<BlocksMessage>,
}

impl ObjectMessage {
    pub(crate) fn of(object: &ExchangeObject) -> Self {
        Self {
            location: object.location.clone(),
            size_bytes: object.size_bytes,
            partitions: object.partitions,
            blocks: Some(BlocksMessage::of(&object.blocks)),
        }
    }

    pub(crate) fn object(&self) -> Result<ExchangeObject> {
        let blocks = self.blocks.as_ref().map(BlocksMessage::blocks).transpose()?.unwrap_or_default();
        let inside = |block: &Block| {
            block.partition < self.partitions
                && block.offset.checked_add(u64::from(block.length)).is_some_and(|end| end <= self.size_bytes)
        };
        if !blocks.iter().all(inside) {
            return Err(Error::corrupt("an exchange's index names a block outside its object")
                .with("location", self.location.clone()));
        }
        Ok(ExchangeObject {
            location: self.location.clone(),
            size_bytes: self.size_bytes,
            partitions: self.partitions,
            blocks,
        })
    }
}

#[derive(Clone, PartialEq, Message)]
struct PieceMessage {
    #[prost(uint32, tag = "1")]
    partition: u32,
    #[prost(uint32, tag = "2")]
    object: u32,
    #[prost(message, optional, tag = "3")]
    blocks: Option<BlocksMessage>,
}

/// [`ExchangeInput`] as it travels.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct InputMessage {
    #[prost(uint32, tag = "1")]
    stage: u32,
    #[prost(string, repeated, tag = "2")]
    locations: Vec<String>,
    #[prost(message, repeated, tag = "3")]
    pieces: Vec<PieceMessage>,
}

impl InputMessage {
    pub(crate) fn of(input: &ExchangeInput) -> Self {
        let piece = |piece: &ExchangePiece| PieceMessage {
            partition: piece.partition,
            object: piece.object,
            blocks: Some(BlocksMessage::of(&piece.blocks)),
        };
        Self {
            stage: input.stage,
            locations: input.locations.clone(),
            pieces: input.pieces.iter().map(piece).collect(),
        }
    }

    pub(crate) fn input(&self) -> Result<ExchangeInput> {
        let piece = |piece: &PieceMessage| {
            if piece.object as usize >= self.locations.len() {
                return Err(Error::corrupt("an exchange's input names an object that is not there"));
            }
            let blocks = piece.blocks.as_ref().map(BlocksMessage::blocks).transpose()?;
            Ok(ExchangePiece {
                partition: piece.partition,
                object: piece.object,
                blocks: blocks.unwrap_or_default(),
            })
        };
        Ok(ExchangeInput {
            stage: self.stage,
            locations: self.locations.clone(),
            pieces: self.pieces.iter().map(piece).collect::<Result<_>>()?,
        })
    }
}
