//! The partitions that are being written, shared by all writers of a task.
//!
//! Each writer sorts out its own rows and hands those of a partition in; whoever brings a partition's waiting
//! rows to the amount that is worth encoding takes them, with the partition's file, and encodes them. So every
//! core is busy whatever the rows are, and a partition has one file: another one is begun only when its rows come
//! faster than one writer encodes them. Where memory is short, row groups end before files do.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use icecap_table::Result;
use parquet::file::properties::WriterProperties;

use super::budget::Share;
use super::dictionary::is_better_plain;
use super::file::{Columns, MAX_ROW_GROUP_ROWS, OpenFile};
use super::layout::FileLayout;
use super::partition::PartitionTuple;
use super::spill::{GROUPS, Spill, group_of};
use super::upload::PART_BYTES;

/// Rows of an unpartitioned table are encoded as soon as there are this many.
const ENCODE_ROWS: usize = 4096;

/// Rows of a partition wait, unencoded, until they take as much memory as its encoders would: this for each
/// leaf column. With many partitions most memory is encoders' otherwise.
const ENCODER_BYTES: usize = 160 << 10;

/// While a partition's file is in other hands, its rows wait until they are this many times as many as are worth
/// encoding; then another file is begun.
const PATIENCE: usize = 4;

/// What a writer may hold whatever the budget says, per leaf column and in all: less would only make
/// useless little files.
const FLOOR_LEAF_BYTES: usize = 3 << 19;
const FLOOR_BYTES: usize = PART_BYTES;

/// What a partition takes beside its rows, and an array beside its buffers, roughly.
const SLOT_BYTES: usize = 512;
const ARRAY_BYTES: usize = 96;

/// All partitions of some writers.
pub(crate) struct Slots {
    layout: Arc<FileLayout>,
    partitioned: bool,
    /// Chosen when the first rows are encoded.
    properties: Mutex<Option<Arc<WriterProperties>>>,
    next_file: AtomicUsize,
    state: Mutex<State>,
    /// Whoever spills holds it.
    pub(crate) spill: tokio::sync::Mutex<Option<Spill>>,
}

struct State {
    share: Share,
    /// By partition key; one with an empty key for an unpartitioned table.
    slots: HashMap<Vec<u8>, Slot>,
    /// Memory of what was taken out and is not back yet, and of rows on their way to the disk.
    lent_bytes: usize,
    spilling_bytes: usize,
    /// Rows no longer go to the disk: they come from there.
    draining: bool,
    /// Spilled groups whose rows nobody has taken back yet, and those whose rows are coming.
    groups_left: Vec<usize>,
    groups_coming: Vec<usize>,
}

/// One partition of the table.
struct Slot {
    tuple: PartitionTuple,
    waiting: Vec<Columns>,
    waiting_rows: usize,
    waiting_bytes: usize,
    files: Vec<OpenFile>,
    /// How many have taken a part of it.
    lent: usize,
}

/// A part of a partition, to be written by whoever holds it.
pub(crate) struct Work {
    pub(crate) key: Vec<u8>,
    pub(crate) tuple: PartitionTuple,
    pub(crate) waiting: Vec<Columns>,
    pub(crate) waiting_rows: usize,
    pub(crate) waiting_bytes: usize,
    pub(crate) file: Option<OpenFile>,
    /// What it was counted with.
    bytes: usize,
}

/// What gives memory back.
pub(crate) enum Relief {
    /// To send the row group of a file to storage.
    EndRowGroup(Work),
    /// To bring waiting rows, by group, to the disk; so many bytes.
    Spill(Vec<Vec<Columns>>, usize),
    /// To encode what waits and to end the file.
    Close(Work),
    /// To let another bring its rows to the disk.
    Wait,
}

impl Slot {
    fn memory_bytes(&self) -> usize {
        let files: usize = self.files.iter().map(|file| file.memory_bytes().1).sum();
        SLOT_BYTES + self.waiting_bytes + files
    }

    fn take_waiting(&mut self) -> (Vec<Columns>, usize, usize) {
        let taken = (std::mem::take(&mut self.waiting), self.waiting_rows, self.waiting_bytes);
        self.waiting_rows = 0;
        self.waiting_bytes = 0;
        taken
    }

    fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.files.is_empty() && self.lent == 0
    }
}

impl Slots {
    pub(crate) fn new(layout: Arc<FileLayout>, share: Share) -> Self {
        let partitioned = layout.is_partitioned();
        let state = State {
            share,
            slots: HashMap::new(),
            lent_bytes: 0,
            spilling_bytes: 0,
            draining: false,
            groups_left: Vec::new(),
            groups_coming: Vec::new(),
        };
        Self {
            layout,
            partitioned,
            properties: Mutex::default(),
            next_file: AtomicUsize::new(0),
            state: Mutex::new(state),
            spill: tokio::sync::Mutex::new(None),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of the next file; no two have the same.
    pub(crate) fn next_file(&self) -> usize {
        self.next_file.fetch_add(1, Ordering::Relaxed)
    }

    /// Hands rows in; gives them back, with all others of their partition, when there are enough to encode.
    pub(crate) fn add(&self, key: Vec<u8>, tuple: PartitionTuple, rows: Vec<Columns>) -> Option<Work> {
        let mut state = self.state();
        let slot = state.slots.entry(key.clone()).or_insert_with(|| Slot {
            tuple,
            waiting: Vec::new(),
            waiting_rows: 0,
            waiting_bytes: 0,
            files: Vec::new(),
            lent: 0,
        });
        slot.waiting_rows += rows.iter().map(|columns| columns.rows).sum::<usize>();
        slot.waiting_bytes += rows.iter().map(memory_of).sum::<usize>();
        slot.waiting.extend(rows);
        self.enough(&mut state, key)
    }

    /// Takes what was worked on back; gives more of the same partition when enough has come in the meantime.
    pub(crate) fn give_back(&self, work: Work) -> Option<Work> {
        let mut state = self.state();
        state.lent_bytes -= work.bytes;
        if let Some(slot) = state.slots.get_mut(&work.key) {
            slot.lent -= 1;
            slot.files.extend(work.file);
            if slot.is_empty() {
                state.slots.remove(&work.key);
                return None;
            }
        }
        self.enough(&mut state, work.key)
    }

    fn enough(&self, state: &mut State, key: Vec<u8>) -> Option<Work> {
        let slot = state.slots.get(&key)?;
        let patience = if slot.files.is_empty() && slot.lent > 0 { PATIENCE } else { 1 };
        let is_enough = if self.partitioned {
            slot.waiting_bytes >= self.layout.leaves.len() * ENCODER_BYTES * patience
        } else {
            slot.waiting_rows >= ENCODE_ROWS
        };
        is_enough.then(|| state.lend(key)).flatten()
    }

    /// Whether less has to be held, and how.
    pub(crate) fn relief(&self) -> Option<Relief> {
        let mut state = self.state();
        let memory = state.memory_bytes();
        let floor = FLOOR_BYTES + self.layout.leaves.len() * FLOOR_LEAF_BYTES;
        if state.share.hold(memory) || memory <= floor {
            return None;
        }
        let largest_file = state.slots.iter().filter(|(_, slot)| !slot.files.is_empty());
        let largest_file = largest_file.max_by_key(|(_, slot)| slot.memory_bytes());
        if let Some((key, slot)) = largest_file
            && slot.files.last().is_some_and(OpenFile::row_group_is_worth_ending)
        {
            let key = key.clone();
            return state.lend(key).map(Relief::EndRowGroup);
        }
        if state.spilling_bytes > 0 {
            // Most will be given back at once.
            return Some(Relief::Wait);
        }
        let waiting: usize = state.slots.values().map(|slot| slot.waiting_bytes).sum();
        // Many partitions wait for rows: what waits goes to the disk at once. Bringing a little there, again and
        // again, would be no relief.
        let is_most = waiting >= (memory - state.lent_bytes) / 4;
        if self.partitioned && !state.draining && state.slots.len() > 1 && is_most {
            let groups = state.take_all_waiting();
            return Some(Relief::Spill(groups, waiting));
        }
        // Encoders hold far more than what they have encoded: without them a file can stay open, with a row group more,
        // and its partition has one file and not two.
        let encoders = |slot: &Slot| slot.files.last().map_or(0, |file| file.memory_bytes().0);
        let largest = state.slots.iter().max_by_key(|(_, slot)| encoders(slot));
        if let Some((key, slot)) = largest
            && encoders(slot) >= self.layout.leaves.len() * ENCODER_BYTES
        {
            let key = key.clone();
            return state.lend(key).map(Relief::EndRowGroup);
        }
        let largest =
            state.slots.iter().filter(|(_, slot)| !(slot.waiting.is_empty() && slot.files.is_empty()));
        let largest = largest.max_by_key(|(_, slot)| slot.memory_bytes()).map(|(key, _)| key.clone());
        state.lend(largest?).map(Relief::Close)
    }

    /// The rows that [`relief`](Self::relief) gave are on the disk.
    pub(crate) fn spilled(&self, bytes: usize) {
        self.state().spilling_bytes -= bytes;
    }

    /// From now on rows come back from the disk; those that wait still are given, by group, when others are
    /// there already.
    pub(crate) fn begin_draining(&self, has_spilled: bool) -> Option<(Vec<Vec<Columns>>, usize)> {
        let mut state = self.state();
        if std::mem::replace(&mut state.draining, true) || !has_spilled {
            return None;
        }
        state.groups_left = (0..GROUPS).collect();
        let waiting = state.slots.values().map(|slot| slot.waiting_bytes).sum();
        Some((state.take_all_waiting(), waiting))
    }

    /// A spilled group whose rows are to be taken back by the caller.
    pub(crate) fn begin_group(&self) -> Option<usize> {
        let mut state = self.state();
        let group = state.groups_left.pop()?;
        state.groups_coming.push(group);
        Some(group)
    }

    /// The rows of a group are all written.
    pub(crate) fn end_group(&self, group: usize) {
        self.state().groups_coming.retain(|coming| *coming != group);
    }

    /// Some partition that has something to write: of `group`, or of any whose rows are not still coming.
    pub(crate) fn take(&self, group: Option<usize>) -> Option<Work> {
        let mut state = self.state();
        let has_some = |slot: &Slot| !(slot.waiting.is_empty() && slot.files.is_empty());
        let is_wanted = |key: &[u8]| match group {
            Some(group) => group_of(key) == group,
            None => state.groups_coming.is_empty() || !state.groups_coming.contains(&group_of(key)),
        };
        let found = state.slots.iter().find(|(key, slot)| has_some(slot) && is_wanted(key));
        let key = found.map(|(key, _)| key.clone())?;
        state.lend(key)
    }

    /// What there is of one partition.
    pub(crate) fn take_all_of(&self, key: &[u8]) -> Option<Work> {
        let mut state = self.state();
        state.slots.contains_key(key).then(|| state.lend(key.to_vec())).flatten()
    }

    /// The Parquet properties of all files, which the first rows decide on.
    pub(crate) fn properties(&self, first: &[Columns]) -> Result<Arc<WriterProperties>> {
        let mut properties = self.properties.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(properties) = properties.as_ref() {
            return Ok(Arc::clone(properties));
        }
        let settings = &self.layout.settings;
        let is_plain = |column: usize| {
            let arrays: Vec<_> = first.iter().filter_map(|batch| batch.arrays.get(column)).collect();
            is_better_plain(&arrays, MAX_ROW_GROUP_ROWS, settings.dict_bytes, settings.codec)
        };
        let plain: Vec<usize> = self
            .layout
            .flat_columns()
            .filter(|(column, _)| is_plain(*column))
            .map(|(_, leaf)| leaf)
            .collect();
        Ok(Arc::clone(properties.insert(Arc::new(self.layout.properties(&plain)?))))
    }

    /// Gives everything up.
    pub(crate) fn clear(&self) {
        let mut state = self.state();
        state.slots.clear();
        state.share.hold(0);
    }

    /// Says that nothing is held any more, when that is so.
    pub(crate) fn settle(&self) {
        let mut state = self.state();
        let memory = state.memory_bytes();
        state.share.hold(memory);
    }
}

impl State {
    fn memory_bytes(&self) -> usize {
        self.lent_bytes + self.spilling_bytes + self.slots.values().map(Slot::memory_bytes).sum::<usize>()
    }

    fn lend(&mut self, key: Vec<u8>) -> Option<Work> {
        let slot = self.slots.get_mut(&key)?;
        let (waiting, waiting_rows, waiting_bytes) = slot.take_waiting();
        let file = slot.files.pop();
        slot.lent += 1;
        let bytes = waiting_bytes + file.as_ref().map_or(0, |file| file.memory_bytes().1);
        self.lent_bytes += bytes;
        let tuple = slot.tuple.clone();
        Some(Work { key, tuple, waiting, waiting_rows, waiting_bytes, file, bytes })
    }

    /// What waits, by group; partitions without anything are forgotten.
    fn take_all_waiting(&mut self) -> Vec<Vec<Columns>> {
        let mut groups: Vec<Vec<Columns>> = (0..GROUPS).map(|_| Vec::new()).collect();
        for (key, slot) in &mut self.slots {
            let (waiting, _, bytes) = slot.take_waiting();
            self.spilling_bytes += bytes;
            if let Some(group) = groups.get_mut(group_of(key)) {
                group.extend(waiting);
            }
        }
        self.slots.retain(|_, slot| !slot.is_empty());
        groups
    }
}

fn memory_of(columns: &Columns) -> usize {
    columns.arrays.iter().map(|array| ARRAY_BYTES + array.get_array_memory_size()).sum()
}
