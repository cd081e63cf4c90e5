//! Storing what a task produced: every partition encoded on a thread of its own, blocks sent as they fill.

use std::sync::Arc;

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::ipc::writer::StreamWriter;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};
use futures::StreamExt;
use icecap_table::storage::Storage;
use icecap_table::{Error, Result};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::format::{encoder, footer, ipc_failed};
use super::message::{Block, ExchangeObject};
use crate::plan::from_datafusion;
use crate::write::{PartBuffer, Upload};

/// What all partitions of a task may hold of encoded rows.
const HELD_BYTES: usize = 64 << 20;
/// No block is cut larger, so that a consumer's read holds little.
const MAX_BLOCK_BYTES: usize = 1 << 20;
/// No block is cut smaller, so that an index stays small.
const MIN_BLOCK_BYTES: usize = 32 << 10;
/// Blocks between the encoders and the upload.
const QUEUED_BLOCKS: usize = 4;

/// Puts one object together, block by block.
struct ExchangeWriter {
    upload: Upload,
    buffer: PartBuffer,
    object: ExchangeObject,
    parts: u64,
}

impl ExchangeWriter {
    /// Begins an object of `partitions` partitions; nothing is stored yet.
    ///
    /// # Errors
    /// As [`Storage::object_store`].
    fn new(storage: &Storage, location: String, partitions: u32) -> Result<Self> {
        Ok(Self {
            upload: Upload::new(storage, location.clone())?,
            buffer: PartBuffer::default(),
            object: ExchangeObject { location, size_bytes: 0, partitions, blocks: Vec::new() },
            parts: 0,
        })
    }

    /// Adds a block of encoded rows.
    ///
    /// # Errors
    /// When the store fails.
    async fn push(&mut self, partition: u32, rows: u64, bytes: &[u8]) -> Result<()> {
        let length = u32::try_from(bytes.len())
            .map_err(|_| Error::exhausted("one batch of rows takes more than 4 GiB"))?;
        self.object.blocks.push(Block {
            partition,
            offset: self.object.size_bytes,
            length,
            rows,
            crc32: crc32fast::hash(bytes),
        });
        self.object.size_bytes += u64::from(length);
        self.append(bytes).await
    }

    async fn append(&mut self, bytes: &[u8]) -> Result<()> {
        std::io::Write::write_all(&mut self.buffer, bytes)
            .map_err(|error| Error::bug("bytes in memory cannot be written").with_source(error))?;
        for part in self.buffer.take_full() {
            self.upload.send(part).await?;
            self.parts += 1;
        }
        Ok(())
    }

    /// Stores the index; the object is there when this returns. Without rows nothing is stored. Gives the requests
    /// that it took too.
    ///
    /// # Errors
    /// When the store fails.
    async fn finish(mut self) -> Result<(ExchangeObject, u64)> {
        if self.object.blocks.is_empty() {
            return Ok((self.object, 0));
        }
        let footer = footer(&self.object)?;
        self.append(&footer).await?;
        let rest = self.buffer.take_rest();
        // One put; or the begin and the end of an upload, and its parts.
        let requests = match self.parts {
            0 => 1,
            parts => 2 + parts + u64::from(!rest.is_empty()),
        };
        self.object.size_bytes = self.upload.finish(rest).await?;
        Ok((self.object, requests))
    }
}

/// Runs all partitions of a plan and stores their rows as one object at `location`. Gives the requests that it took
/// too.
///
/// Memory: what the plan's operators hold, and [`HELD_BYTES`] of encoded rows with the parts under way.
///
/// # Errors
/// The plan's own; when the store fails. Nothing is stored then.
pub(crate) async fn write_all(
    plan: &Arc<dyn ExecutionPlan>,
    context: &Arc<TaskContext>,
    storage: &Storage,
    location: String,
) -> Result<(ExchangeObject, u64)> {
    let partitions = plan.output_partitioning().partition_count();
    let count = u32::try_from(partitions).map_err(|_| Error::bug("a plan has too many partitions"))?;
    let block_bytes = (HELD_BYTES / partitions.max(1)).clamp(MIN_BLOCK_BYTES, MAX_BLOCK_BYTES);
    let (sender, mut blocks) = mpsc::channel(QUEUED_BLOCKS);
    // All begin before one runs: a partition that nobody reads holds up those beside it.
    let streams = (0..partitions)
        .map(|partition| plan.execute(partition, Arc::clone(context)).map_err(from_datafusion))
        .collect::<Result<Vec<_>>>()?;
    let mut running: JoinSet<Result<()>> = JoinSet::new();
    for (partition, rows) in (0..count).zip(streams) {
        running.spawn(encode(partition, rows, plan.schema(), block_bytes, sender.clone()));
    }
    drop(sender);
    let mut writer = ExchangeWriter::new(storage, location, count)?;
    while let Some(Encoded { partition, rows, bytes }) = blocks.recv().await {
        writer.push(partition, rows, &bytes).await?;
    }
    // Whoever failed ended its blocks too; it is asked before anything becomes visible.
    while let Some(ended) = running.join_next().await {
        ended.map_err(crate::worker::lost)??;
    }
    writer.finish().await
}

/// A block on its way to the upload.
struct Encoded {
    partition: u32,
    rows: u64,
    bytes: Vec<u8>,
}

async fn encode(
    partition: u32,
    mut batches: SendableRecordBatchStream,
    schema: SchemaRef,
    block_bytes: usize,
    blocks: mpsc::Sender<Encoded>,
) -> Result<()> {
    let mut writer: Option<StreamWriter<Vec<u8>>> = None;
    let mut rows = 0;
    while let Some(batch) = batches.next().await {
        let batch = batch.map_err(from_datafusion)?;
        if batch.num_rows() == 0 {
            continue;
        }
        let writer = match &mut writer {
            Some(writer) => writer,
            none => none.insert(encoder(&schema)?.0),
        };
        writer.write(&batch).map_err(ipc_failed)?;
        rows += batch.num_rows() as u64;
        if writer.get_ref().len() >= block_bytes {
            let bytes = std::mem::take(writer.get_mut());
            if blocks.send(Encoded { partition, rows: std::mem::take(&mut rows), bytes }).await.is_err() {
                // The upload failed; it says why.
                return Ok(());
            }
        }
    }
    if let Some(writer) = &mut writer
        && rows > 0
    {
        let bytes = std::mem::take(writer.get_mut());
        let _ = blocks.send(Encoded { partition, rows, bytes }).await;
    }
    Ok(())
}
