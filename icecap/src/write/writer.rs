//! [`PartitionWriter`]: the rows of one input partition become data files, one or more for each partition
//! of the table.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use datafusion::arrow::array::{Array, RecordBatch};
use icecap_table::staged_file::StagedFile;
use icecap_table::{Error, Result};
use parquet::file::properties::WriterProperties;
use tokio::task::{JoinError, JoinSet};

use super::budget::Share;
use super::conform::conform;
use super::dictionary::is_better_plain;
use super::file::{Columns, MAX_ROW_GROUP_ROWS, OpenFile, SealedFile};
use super::groups::split;
use super::layout::FileLayout;
use super::partition::{PartitionTuple, Partitioner, file_location};
use super::upload::PART_BYTES;

/// Rows that wait, unencoded, until there are this many: an encoder costs more than a few rows.
const ENCODE_ROWS: usize = 4096;

/// The fewest rows between two looks at a file's size.
const MIN_STEP_ROWS: usize = 1000;

/// Bytes that come at a time, at most, but for rows of extraordinary size.
pub(crate) const CHUNK_BYTES: usize = 16 << 20;

/// Files that are being completed in storage at a time.
const MAX_SEALED: usize = 8;

/// What a writer may hold whatever the budget says, per leaf column and in all: less would only make
/// useless little files.
const FLOOR_LEAF_BYTES: usize = 3 << 19;
const FLOOR_BYTES: usize = PART_BYTES;

/// The locations of files that were begun, for whoever cleans up.
pub(crate) type Begun = Arc<Mutex<Vec<String>>>;

/// Writes the rows of one input partition.
pub(crate) struct PartitionWriter {
    layout: Arc<FileLayout>,
    /// Chosen when the first rows are encoded.
    properties: Option<Arc<WriterProperties>>,
    partitioner: Partitioner,
    share: Share,
    /// The number of the input partition, which its file names carry.
    number: usize,
    next_file: usize,
    begun: Begun,
    /// By partition key; one with an empty key for an unpartitioned table.
    slots: HashMap<Vec<u8>, Slot>,
    sealed: JoinSet<Result<StagedFile>>,
    staged: Vec<StagedFile>,
}

/// One partition of the table.
struct Slot {
    tuple: PartitionTuple,
    waiting: Vec<Columns>,
    waiting_rows: usize,
    waiting_bytes: usize,
    file: Option<OpenFile>,
}

impl Slot {
    fn new(tuple: PartitionTuple) -> Self {
        Self { tuple, waiting: Vec::new(), waiting_rows: 0, waiting_bytes: 0, file: None }
    }

    fn memory_bytes(&self) -> usize {
        self.waiting_bytes + self.file.as_ref().map_or(0, |file| file.memory_bytes().1)
    }

    fn take_waiting(&mut self) -> Vec<Columns> {
        self.waiting_rows = 0;
        self.waiting_bytes = 0;
        std::mem::take(&mut self.waiting)
    }
}

impl PartitionWriter {
    pub(crate) fn new(layout: Arc<FileLayout>, number: usize, share: Share, begun: Begun) -> Result<Self> {
        let partitioner = Partitioner::new(&layout.target.schema, &layout.target.partition_spec)?;
        Ok(Self {
            properties: None,
            partitioner,
            layout,
            share,
            number,
            next_file: 0,
            begun,
            slots: HashMap::new(),
            sealed: JoinSet::new(),
            staged: Vec::new(),
        })
    }

    /// Whether rows have to be sorted out by partition.
    pub(crate) fn is_partitioned(&self) -> bool {
        !self.partitioner.is_trivial()
    }

    /// Takes rows, using up to `parallel` threads.
    ///
    /// # Errors
    /// For rows that the table cannot hold, and when storage fails. The writer is of no use then, but for
    /// [`abandon`](Self::abandon).
    pub(crate) async fn write(&mut self, batches: &[RecordBatch], parallel: usize) -> Result<()> {
        let fields = self.layout.target.schema.as_struct();
        let batches = batches
            .iter()
            .filter(|batch| batch.num_rows() > 0)
            .map(|batch| Ok(Columns { arrays: conform(batch, fields)?, rows: batch.num_rows() }))
            .collect::<Result<Vec<_>>>()?;
        if batches.is_empty() {
            return Ok(());
        }
        if self.is_partitioned() {
            for group in split(&mut self.partitioner, batches, parallel).await? {
                self.add(group.key, group.tuple, group.columns, parallel).await?;
            }
        } else {
            self.add(Vec::new(), self.partitioner.trivial(), batches, parallel).await?;
        }
        self.shed(parallel).await
    }

    /// Adds rows to a partition's slot, and encodes them when there are enough.
    async fn add(
        &mut self,
        key: Vec<u8>,
        tuple: PartitionTuple,
        batches: Vec<Columns>,
        parallel: usize,
    ) -> Result<()> {
        let mut slot = self.slots.remove(&key).unwrap_or_else(|| Slot::new(tuple));
        slot.waiting_rows += batches.iter().map(|batch| batch.rows).sum::<usize>();
        slot.waiting_bytes += batches.iter().map(memory_of).sum::<usize>();
        slot.waiting.extend(batches);
        if slot.waiting_rows >= ENCODE_ROWS {
            self.encode(&mut slot, parallel).await?;
        }
        self.slots.insert(key, slot);
        Ok(())
    }

    /// Encodes what waits in a slot, closing files as they reach the target size.
    async fn encode(&mut self, slot: &mut Slot, parallel: usize) -> Result<()> {
        let step = self.step_rows(slot);
        let properties = self.properties(&slot.waiting)?;
        let mut rest = slot.take_waiting().into_iter();
        let mut next = rest.next();
        while next.is_some() {
            let mut file = match slot.file.take() {
                Some(file) => file,
                None => self.begin(&slot.tuple, &properties)?,
            };
            let mut room = step.min(file.row_group_room());
            let mut piece = Vec::new();
            while let Some(batch) = next.take() {
                if batch.rows > room {
                    if room > 0 {
                        piece.push(batch.slice(0, room));
                    }
                    next = Some(batch.slice(room, batch.rows - room));
                    break;
                }
                room -= batch.rows;
                piece.push(batch);
                next = rest.next();
            }
            file.write(piece, parallel).await?;
            if file.size_bytes() >= self.layout.settings.target_file_size_bytes {
                self.seal(file, parallel).await?;
            } else {
                slot.file = Some(file);
            }
        }
        Ok(())
    }

    /// How many rows may be written before the file's size is looked at again.
    fn step_rows(&self, slot: &Slot) -> usize {
        let settings = &self.layout.settings;
        let bytes = settings.target_file_size_bytes.min(settings.row_group_bytes) / 8;
        match usize::try_from(bytes) {
            Ok(bytes) if bytes < CHUNK_BYTES => {
                let row = slot.waiting_bytes.div_ceil(slot.waiting_rows.max(1)).max(1);
                (bytes / row).max(MIN_STEP_ROWS)
            }
            // What comes at a time is small beside the sizes asked for.
            _ => usize::MAX,
        }
    }

    /// The Parquet properties of this writer's files, which the first rows decide on.
    fn properties(&mut self, first: &[Columns]) -> Result<Arc<WriterProperties>> {
        if let Some(properties) = &self.properties {
            return Ok(Arc::clone(properties));
        }
        let dict_bytes = self.layout.settings.dict_bytes;
        let is_plain = |column: usize| {
            let arrays: Vec<_> = first.iter().filter_map(|batch| batch.arrays.get(column)).collect();
            is_better_plain(&arrays, MAX_ROW_GROUP_ROWS, dict_bytes)
        };
        let plain: Vec<usize> = self
            .layout
            .flat_columns()
            .filter(|(column, _)| is_plain(*column))
            .map(|(_, leaf)| leaf)
            .collect();
        let properties = Arc::new(self.layout.properties(&plain)?);
        self.properties = Some(Arc::clone(&properties));
        Ok(properties)
    }

    fn begin(&mut self, tuple: &PartitionTuple, properties: &Arc<WriterProperties>) -> Result<OpenFile> {
        let target = &self.layout.target;
        let name = format!("{}{}-{}.parquet", target.file_prefix(), self.number, self.next_file);
        let object_storage = self.layout.settings.object_storage;
        let location = file_location(&target.data_location, &tuple.path, &name, object_storage);
        self.next_file += 1;
        self.begun.lock().unwrap_or_else(PoisonError::into_inner).push(location.clone());
        OpenFile::new(Arc::clone(&self.layout), Arc::clone(properties), tuple.clone(), location)
    }

    /// Ends a file, and completes it in storage in the background.
    async fn seal(&mut self, file: OpenFile, parallel: usize) -> Result<()> {
        let sealed = file.seal(parallel).await?;
        while self.sealed.len() >= MAX_SEALED {
            let finished = self.sealed.join_next().await;
            self.stage(finished)?;
        }
        self.sealed.spawn(SealedFile::finish(sealed));
        Ok(())
    }

    fn stage(&mut self, finished: Option<std::result::Result<Result<StagedFile>, JoinError>>) -> Result<()> {
        if let Some(finished) = finished {
            let staged = finished.map_err(|e| Error::bug("completing a file stopped").with_source(e))??;
            self.staged.push(staged);
        }
        Ok(())
    }

    fn memory_bytes(&self) -> usize {
        self.slots.values().map(Slot::memory_bytes).sum()
    }

    /// Gives memory back until the budget is kept: the largest partition's row group goes to storage, or,
    /// if that is too little for a part of an upload, its file is closed.
    async fn shed(&mut self, parallel: usize) -> Result<()> {
        let floor = FLOOR_BYTES + self.layout.leaves.len() * FLOOR_LEAF_BYTES;
        loop {
            let memory = self.memory_bytes();
            if self.share.hold(memory) || memory <= floor {
                return Ok(());
            }
            let largest = self.slots.iter().max_by_key(|(_, slot)| slot.memory_bytes());
            let Some(key) = largest.map(|(key, _)| key.clone()) else { return Ok(()) };
            let Some(mut slot) = self.slots.remove(&key) else { return Ok(()) };
            self.encode(&mut slot, parallel).await?;
            let Some(mut file) = slot.file.take() else { continue };
            if file.row_group_is_worth_ending() {
                file.shed(parallel).await?;
                slot.file = Some(file);
                self.slots.insert(key, slot);
            } else {
                self.seal(file, parallel).await?;
            }
        }
    }

    /// Completes all files. Returns them when they are all durable.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub(crate) async fn finish(&mut self, parallel: usize) -> Result<Vec<StagedFile>> {
        let slots: Vec<Slot> = self.slots.drain().map(|(_, slot)| slot).collect();
        for mut slot in slots {
            self.encode(&mut slot, parallel).await?;
            if let Some(file) = slot.file.take() {
                self.seal(file, parallel).await?;
            }
        }
        while let Some(finished) = self.sealed.join_next().await {
            self.stage(Some(finished))?;
        }
        let mut staged = std::mem::take(&mut self.staged);
        staged.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(staged)
    }

    /// Removes what was written so far, as far as storage lets it: after an error nobody will commit it.
    pub(crate) async fn abandon(mut self) {
        if let Some(removal) = self.removal() {
            removal.await;
        }
    }

    /// Takes out all files that may be complete in storage; the future removes them.
    fn removal(&mut self) -> Option<impl Future<Output = ()> + Send + use<>> {
        // Uploads under way abort when they are dropped.
        self.slots.clear();
        let mut staged = std::mem::take(&mut self.staged);
        let mut sealed = std::mem::take(&mut self.sealed);
        if staged.is_empty() && sealed.is_empty() {
            return None;
        }
        let storage = self.layout.storage.clone();
        Some(async move {
            // A put that is sent cannot be called back: it is waited for.
            while let Some(finished) = sealed.join_next().await {
                staged.extend(finished.ok().and_then(Result::ok));
            }
            for file in staged {
                if let Err(error) = storage.delete(&file.path).await {
                    tracing::warn!(path = %file.path, %error, "a file of a failed write could not be deleted");
                }
            }
        })
    }
}

impl Drop for PartitionWriter {
    /// A cancelled write removes its files in the background.
    fn drop(&mut self) {
        if let Ok(runtime) = tokio::runtime::Handle::try_current()
            && let Some(removal) = self.removal()
        {
            runtime.spawn(removal);
        }
    }
}

fn memory_of(columns: &Columns) -> usize {
    columns.arrays.iter().map(|array| array.get_array_memory_size()).sum()
}
