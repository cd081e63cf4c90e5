//! [`PartitionWriter`]: the rows of one input partition become data files, one or more for each partition
//! of the table.

use std::sync::{Arc, Mutex, PoisonError};

use datafusion::arrow::array::RecordBatch;
use datafusion::execution::disk_manager::DiskManager;
use datafusion::physical_plan::metrics::Count;
use icecap_table::staged_file::StagedFile;
use icecap_table::{Error, Result};
use parquet::file::properties::WriterProperties;
use tokio::task::{JoinError, JoinSet};

use super::conform::conform;
use super::file::{Columns, OpenFile, SealedFile};
use super::groups::split;
use super::layout::FileLayout;
use super::parallel::offer_woken;
use super::partition::{PartitionTuple, Partitioner, file_location};
use super::presence::Presence;
use super::slots::{Relief, Slots, Work};
use super::spill::Spill;

/// The fewest rows between two looks at a file's size.
const MIN_STEP_ROWS: usize = 1000;

/// Bytes that come at a time, at most, but for rows of extraordinary size: where several threads encode them, or they
/// go to several partitions.
pub(crate) const CHUNK_BYTES: usize = 8 << 20;
/// The same where one thread encodes them.
pub(crate) const ALONE_BYTES: usize = 24 << 20;

/// Files that are being completed in storage at a time.
const MAX_SEALED: usize = 8;

/// The locations of files that were begun, for whoever cleans up.
pub(crate) type Begun = Arc<Mutex<Vec<String>>>;

/// Writes the rows of one input partition.
pub(crate) struct PartitionWriter {
    layout: Arc<FileLayout>,
    slots: Arc<Slots>,
    disk: Arc<DiskManager>,
    partitioner: Partitioner,
    /// The number of the input partition, which its file names carry.
    number: usize,
    begun: Begun,
    sealed: JoinSet<Result<StagedFile>>,
    staged: Vec<StagedFile>,
    /// The partition whose rows are coming, where they come partition by partition.
    coming: Option<Vec<u8>>,
    /// Rows that this writer encoded, its own ones or those of the writers that it shares partitions with.
    encoded: Count,
    presence: Presence,
}

impl PartitionWriter {
    pub(crate) fn new(
        layout: Arc<FileLayout>,
        number: usize,
        slots: Arc<Slots>,
        disk: Arc<DiskManager>,
        begun: Begun,
        encoded: Count,
    ) -> Result<Self> {
        let partitioner = Partitioner::new(&layout.target.schema, &layout.target.partition_spec)?;
        let presence = layout.present.enter();
        Ok(Self {
            layout,
            slots,
            disk,
            partitioner,
            number,
            begun,
            sealed: JoinSet::new(),
            staged: Vec::new(),
            coming: None,
            encoded,
            presence,
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
        let fields = self.layout.schema.as_struct();
        let batches = batches
            .iter()
            .filter(|batch| batch.num_rows() > 0)
            .map(|batch| Ok(Columns { arrays: conform(batch, fields)?, rows: batch.num_rows() }))
            .collect::<Result<Vec<_>>>()?;
        if batches.is_empty() {
            return Ok(());
        }
        self.take_in(batches, parallel).await
    }

    async fn take_in(&mut self, batches: Vec<Columns>, parallel: usize) -> Result<()> {
        if self.is_partitioned() {
            for group in split(&mut self.partitioner, batches, parallel).await? {
                if self.layout.is_sorted() && self.coming.as_ref() != Some(&group.key) {
                    self.complete_before(&group.key, parallel).await?;
                }
                self.add(group.key, group.tuple, group.columns, parallel).await?;
            }
        } else {
            self.add(Vec::new(), self.partitioner.trivial(), batches, parallel).await?;
        }
        self.shed(parallel).await
    }

    /// Ends the file of the partition before another one's rows, so that it has no rows that come after rows which
    /// went to the disk or to another file, and only one is open at a time.
    async fn complete_before(&mut self, key: &[u8], parallel: usize) -> Result<()> {
        if let Some(done) = self.coming.replace(key.to_vec())
            && let Some(work) = self.slots.take_all_of(&done)
        {
            self.complete(work, parallel).await?;
        }
        Ok(())
    }

    /// Adds rows to a partition, and encodes them when there are enough.
    async fn add(
        &mut self,
        key: Vec<u8>,
        tuple: PartitionTuple,
        rows: Vec<Columns>,
        parallel: usize,
    ) -> Result<()> {
        let mut next = self.slots.add(key, tuple, rows);
        while let Some(mut work) = next {
            self.encode(&mut work, parallel).await?;
            next = self.slots.give_back(work);
        }
        Ok(())
    }

    /// Encodes what waits of a partition, closing files as they reach the target size.
    async fn encode(&mut self, work: &mut Work, parallel: usize) -> Result<()> {
        if work.waiting.is_empty() {
            return Ok(());
        }
        self.encoded.add(work.waiting_rows);
        let step = self.step_rows(work);
        let properties = self.slots.properties(&work.waiting)?;
        let mut rest = std::mem::take(&mut work.waiting).into_iter();
        let mut next = rest.next();
        while next.is_some() {
            let mut file = match work.file.take() {
                Some(file) => file,
                None => self.begin(&work.tuple, &properties)?,
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
                work.file = Some(file);
            }
        }
        Ok(())
    }

    /// How many rows may be written before the file's size is looked at again.
    fn step_rows(&self, work: &Work) -> usize {
        let settings = &self.layout.settings;
        let bytes = settings.target_file_size_bytes.min(settings.row_group_bytes);
        match usize::try_from(bytes) {
            Ok(bytes) if bytes / 4 < ALONE_BYTES => {
                let row = work.waiting_bytes.div_ceil(work.waiting_rows.max(1)).max(1);
                (bytes / 8 / row).max(MIN_STEP_ROWS)
            }
            // What comes at a time is small beside the sizes asked for.
            _ => usize::MAX,
        }
    }

    fn begin(&mut self, tuple: &PartitionTuple, properties: &Arc<WriterProperties>) -> Result<OpenFile> {
        let target = &self.layout.target;
        let name = format!("{}{}-{}.parquet", target.file_prefix(), self.number, self.slots.next_file());
        let object_storage = self.layout.settings.object_storage;
        let location = file_location(&target.data_location, &tuple.path, &name, object_storage);
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

    /// Gives memory back until the budget is kept.
    async fn shed(&mut self, parallel: usize) -> Result<()> {
        while let Some(relief) = self.slots.relief() {
            match relief {
                Relief::EndRowGroup(mut work) => {
                    self.encode(&mut work, parallel).await?;
                    if let Some(file) = &mut work.file {
                        file.shed(parallel).await?;
                    }
                    self.return_all(work, parallel).await?;
                }
                Relief::Spill(groups, bytes) => {
                    let mut spill = self.slots.spill.lock().await;
                    self.bring_to_disk(&mut spill, groups, bytes)?;
                }
                Relief::Close(work) => self.complete(work, parallel).await?,
                Relief::Wait => {
                    drop(self.slots.spill.lock().await);
                    tokio::task::yield_now().await;
                }
            }
        }
        Ok(())
    }

    async fn return_all(&mut self, work: Work, parallel: usize) -> Result<()> {
        let mut next = self.slots.give_back(work);
        while let Some(mut work) = next {
            self.encode(&mut work, parallel).await?;
            next = self.slots.give_back(work);
        }
        Ok(())
    }

    /// Encodes what waits of a partition and ends its file.
    async fn complete(&mut self, mut work: Work, parallel: usize) -> Result<()> {
        self.encode(&mut work, parallel).await?;
        if let Some(file) = work.file.take() {
            self.seal(file, parallel).await?;
        }
        self.return_all(work, parallel).await
    }

    fn bring_to_disk(
        &self,
        spill: &mut Option<Spill>,
        groups: Vec<Vec<Columns>>,
        bytes: usize,
    ) -> Result<()> {
        let spill = spill.get_or_insert_with(|| Spill::new(Arc::clone(&self.disk)));
        let appended =
            groups.into_iter().enumerate().try_for_each(|(group, rows)| spill.append(group, &rows));
        // They are in memory no more, whatever became of them.
        self.slots.spilled(bytes);
        appended
    }

    /// Writes what is left, when all rows of all writers are there. Several writers do it together, each what
    /// the others have not begun. Returns the files of this one when they are all durable.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub(crate) async fn finish(&mut self, parallel: usize) -> Result<Vec<StagedFile>> {
        {
            let mut spill = self.slots.spill.lock().await;
            if let Some((groups, bytes)) = self.slots.begin_draining(spill.is_some()) {
                self.bring_to_disk(&mut spill, groups, bytes)?;
            }
        }
        let mut helpers = JoinSet::new();
        if self.is_partitioned() {
            for _ in 1..parallel {
                let mut helper = Self::new(
                    Arc::clone(&self.layout),
                    self.number,
                    Arc::clone(&self.slots),
                    Arc::clone(&self.disk),
                    Arc::clone(&self.begun),
                    self.encoded.clone(),
                )?;
                helpers.spawn(async move {
                    match helper.drain(1).await {
                        Ok(staged) => Ok(staged),
                        Err(error) => {
                            helper.abandon().await;
                            Err(error)
                        }
                    }
                });
            }
        }
        offer_woken();
        let own = if helpers.is_empty() { parallel } else { 1 };
        let mut staged = self.drain(own).await?;
        // So that they are removed when another fails.
        self.staged.append(&mut staged);
        while let Some(helped) = helpers.join_next().await {
            self.staged.extend(helped.map_err(|e| Error::bug("a writer stopped").with_source(e))??);
        }
        self.slots.settle();
        let mut staged = std::mem::take(&mut self.staged);
        staged.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(staged)
    }

    async fn drain(&mut self, parallel: usize) -> Result<Vec<StagedFile>> {
        while let Some(group) = self.slots.begin_group() {
            let rows = match self.slots.spill.lock().await.as_mut() {
                Some(spill) => spill.take(group)?,
                None => None,
            };
            if let Some(mut rows) = rows {
                while let Some(columns) = rows.next()? {
                    self.take_in(vec![columns], parallel).await?;
                }
                while let Some(work) = self.slots.take(Some(group)) {
                    self.complete(work, parallel).await?;
                }
            }
            self.slots.end_group(group);
        }
        while let Some(work) = self.slots.take(None) {
            self.complete(work, parallel).await?;
        }
        while let Some(finished) = self.sealed.join_next().await {
            self.stage(Some(finished))?;
        }
        Ok(std::mem::take(&mut self.staged))
    }

    /// Removes what was written so far, as far as storage lets it: after an error nobody will commit it.
    pub(crate) async fn abandon(mut self) {
        // Uploads under way abort when they are dropped.
        self.slots.clear();
        if let Some(removal) = self.removal() {
            // In a task of its own: whoever waits may be stopped, and it goes on. A panic in it was told.
            let _ = tokio::spawn(removal).await;
        }
    }

    /// Takes out all files that may be complete in storage; the future removes them.
    fn removal(&mut self) -> Option<impl Future<Output = ()> + Send + use<>> {
        let mut staged = std::mem::take(&mut self.staged);
        let mut sealed = std::mem::take(&mut self.sealed);
        if staged.is_empty() && sealed.is_empty() {
            return None;
        }
        let storage = self.layout.storage.clone();
        let presence = self.presence.clone();
        Some(async move {
            let _presence = presence;
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
