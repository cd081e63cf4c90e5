//! Reading one partition of an exchange: its pieces in order, a few ranges ahead of whoever takes the rows.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::buffer::Buffer;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::ipc::reader::StreamDecoder;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use icecap_table::storage::Storage;
use icecap_table::{Error, Result};

use super::format::encoder;
use super::message::{Block, ExchangeInput};

/// Bytes that one request asks for at most, unless a block is larger.
const REQUEST_BYTES: u64 = 4 << 20;
/// Requests under way for one partition.
const REQUESTS_AHEAD: usize = 2;

/// Blocks that lie side by side.
struct Request {
    object: usize,
    /// Whether an IPC stream begins here.
    begins: bool,
    blocks: Vec<Block>,
}

/// The requests of one partition: blocks side by side are asked for together.
fn requests(input: &ExchangeInput, partition: u32) -> Vec<Request> {
    let mut requests: Vec<Request> = Vec::new();
    for piece in input.pieces.iter().filter(|piece| piece.partition == partition) {
        let mut begins = true;
        for block in &piece.blocks {
            let joins = !begins && requests.last().is_some_and(|last| last.joins(block));
            match requests.last_mut() {
                Some(last) if joins => last.blocks.push(*block),
                _ => requests.push(Request { object: piece.object as usize, begins, blocks: vec![*block] }),
            }
            begins = false;
        }
    }
    requests
}

impl Request {
    fn start(&self) -> u64 {
        self.blocks.first().map_or(0, |block| block.offset)
    }

    fn end(&self) -> u64 {
        self.blocks.last().map_or(0, |block| block.offset + u64::from(block.length))
    }

    fn joins(&self, block: &Block) -> bool {
        self.end() == block.offset && block.offset + u64::from(block.length) - self.start() <= REQUEST_BYTES
    }

    /// The bytes of its blocks, checked.
    async fn fetch(self, storage: Storage, location: String) -> Result<Fetched> {
        let (start, end) = (self.start(), self.end());
        let bytes = storage.read_range(&location, start..end).await?;
        let damaged = || Error::corrupt("an exchange's block is damaged").with("location", location.clone());
        let mut blocks = VecDeque::with_capacity(self.blocks.len());
        for block in &self.blocks {
            let at = usize::try_from(block.offset - start).map_err(|_| damaged())?;
            let end = at + block.length as usize;
            if end > bytes.len() || crc32fast::hash(&bytes[at..end]) != block.crc32 {
                return Err(damaged());
            }
            blocks.push_back(bytes.slice(at..end));
        }
        Ok(Fetched { begins: self.begins, blocks })
    }
}

struct Fetched {
    begins: bool,
    blocks: VecDeque<Bytes>,
}

/// Bytes and requests that a partition took of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Taken {
    pub(super) bytes: usize,
    pub(super) requests: usize,
}

/// The rows of one partition, and what was taken since the rows before.
pub(super) fn rows(
    input: &Arc<ExchangeInput>,
    partition: u32,
    schema: SchemaRef,
    storage: &Storage,
) -> BoxStream<'static, Result<(RecordBatch, Taken)>> {
    let fetches = requests(input, partition).into_iter().map(|request| {
        let location = input.locations.get(request.object).cloned().unwrap_or_default();
        request.fetch(storage.clone(), location)
    });
    let fetched = stream::iter(fetches.collect::<Vec<_>>()).buffered(REQUESTS_AHEAD);
    let decoder = Decoder { schema, decoder: StreamDecoder::new(), taken: Taken::default() };
    stream::try_unfold((fetched, decoder, VecDeque::new()), |(mut fetched, mut decoder, mut ready)| async {
        loop {
            if let Some(batch) = ready.pop_front() {
                let taken = std::mem::take(&mut decoder.taken);
                return Ok(Some(((batch, taken), (fetched, decoder, ready))));
            }
            match fetched.try_next().await? {
                Some(next) => ready = decoder.decode(next)?,
                None => return Ok(None),
            }
        }
    })
    .boxed()
}

struct Decoder {
    schema: SchemaRef,
    decoder: StreamDecoder,
    taken: Taken,
}

impl Decoder {
    fn decode(&mut self, fetched: Fetched) -> Result<VecDeque<RecordBatch>> {
        if fetched.begins {
            self.decoder = StreamDecoder::new();
            let (_, head) = encoder(&self.schema)?;
            self.drain(Buffer::from_vec(head))?;
        }
        let mut batches = VecDeque::new();
        self.taken.requests += 1;
        for block in fetched.blocks {
            self.taken.bytes += block.len();
            batches.extend(self.drain(Buffer::from(block))?);
        }
        Ok(batches)
    }

    fn drain(&mut self, mut buffer: Buffer) -> Result<Vec<RecordBatch>> {
        let mut batches = Vec::new();
        while !buffer.is_empty() {
            let batch = self.decoder.decode(&mut buffer).map_err(|error| {
                Error::corrupt("rows of an exchange cannot be decoded").with_source(error)
            })?;
            batches.extend(batch);
        }
        Ok(batches)
    }
}
