//! What a table holds: its live files, and the rows that their deletes leave.

use std::collections::{BTreeMap, BTreeSet};

use icecap_table::deletes::deletion_vector;
use icecap_table::iceberg::spec::{DataContentType, DataFileFormat, Literal, PrimitiveLiteral};
use icecap_table::metadata::TableDocument;
use icecap_table::snapshot::{LiveEntry, load_entries, load_manifest_list};
use icecap_table::storage::Storage;

use super::case::Live;
use super::table::Contents;
use crate::{Failure, Result};

/// A row, and the operation that wrote its values (0: the base).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Row {
    pub(super) part: String,
    pub(super) id: i64,
    pub(super) version: u32,
}

/// A live data file.
#[derive(Debug, Clone)]
pub(super) struct DataFile {
    pub(super) path: String,
    pub(super) part: String,
    pub(super) record_count: u64,
    /// Positions that delete files leave.
    pub(super) live: Vec<u64>,
    deletes_applied: u64,
}

/// A live delete file.
#[derive(Debug, Clone)]
pub(super) struct DeleteFile {
    pub(super) path: String,
    pub(super) part: String,
    pub(super) content_offset: Option<i64>,
    pub(super) is_vector: bool,
}

/// The state of a table's head.
#[derive(Debug, Clone)]
pub(super) struct State {
    pub(super) snapshot_id: i64,
    pub(super) sequence_number: i64,
    pub(super) operation: String,
    pub(super) files: Vec<DataFile>,
    pub(super) deletes: Vec<DeleteFile>,
    pub(super) rows: Vec<Row>,
}

impl State {
    pub(super) fn live(&self) -> Live {
        Live {
            files: self.files.len() as u64,
            rows: self.files.iter().map(|file| file.record_count).sum(),
            deletes_applied: self.files.iter().map(|file| file.deletes_applied).sum(),
        }
    }

    /// The files of a partition, in the order of their paths.
    pub(super) fn in_partition<'a>(&'a self, part: &'a str) -> impl Iterator<Item = &'a DataFile> {
        self.files.iter().filter(move |file| file.part == part)
    }

    /// Reads the head of a table.
    pub(super) async fn read(
        storage: &Storage,
        document: &TableDocument,
        contents: &Contents,
    ) -> Result<Self> {
        let metadata = document.metadata();
        let head = metadata.current_snapshot().ok_or_else(|| Failure::new("the table is empty"))?;
        let mut entries: Vec<LiveEntry> = Vec::new();
        for manifest in load_manifest_list(storage, metadata, head).await? {
            entries.extend(load_entries(storage, &manifest).await?.0);
        }
        entries.sort_by(|a, b| a.file.file_path().cmp(b.file.file_path()));
        let (data, deletes): (Vec<_>, Vec<_>) =
            entries.iter().partition(|entry| entry.file.content_type() == DataContentType::Data);
        let mut state = Self {
            snapshot_id: head.snapshot_id(),
            sequence_number: head.sequence_number(),
            operation: head.summary().operation.as_str().to_owned(),
            files: Vec::new(),
            deletes: Vec::new(),
            rows: Vec::new(),
        };
        let mut vectors = BTreeMap::new();
        for delete in &deletes {
            let file = &delete.file;
            let is_vector = file.file_format() == DataFileFormat::Puffin;
            if is_vector {
                let (offset, length) =
                    file.content_offset().zip(file.content_size_in_bytes()).unwrap_or((0, 0));
                let range = u64::try_from(offset).unwrap_or(0)..u64::try_from(offset + length).unwrap_or(0);
                let blob = storage.read_range(file.file_path(), range).await?;
                let positions = deletion_vector::decode(&blob, Some(file.record_count()))?;
                vectors.insert(file.referenced_data_file().unwrap_or_default(), positions);
            }
            state.deletes.push(DeleteFile {
                path: file.file_path().to_owned(),
                part: part_of(delete),
                content_offset: file.content_offset().filter(|_| is_vector),
                is_vector,
            });
        }
        for entry in data {
            let path = entry.file.file_path();
            let rows = contents.rows.get(path).ok_or_else(|| Failure::new(format!("{path} is unknown")))?;
            let mut gone: BTreeSet<u64> = BTreeSet::new();
            let mut applied = 0;
            for delete in &deletes {
                let of = delete.file.file_path();
                let applies = match delete.file.content_type() {
                    DataContentType::EqualityDeletes => {
                        let applies = entry.sequence_number < delete.sequence_number
                            && part_of(delete) == part_of(entry);
                        let id = contents.equality.get(of).copied();
                        let same = rows.iter().enumerate().filter(|(_, row)| applies && Some(row.id) == id);
                        gone.extend(same.map(|(position, _)| position as u64));
                        applies
                    }
                    _ if entry.sequence_number > delete.sequence_number => false,
                    _ => match (vectors.get(path), delete.file.referenced_data_file()) {
                        (Some(positions), Some(referenced)) if referenced == path => {
                            gone.extend(positions.iter());
                            true
                        }
                        (None, Some(referenced)) if referenced == path => {
                            gone.extend(contents.positions.get(of).into_iter().flatten());
                            true
                        }
                        _ => false,
                    },
                };
                applied += u64::from(applies);
            }
            let live: Vec<u64> = (0..rows.len() as u64).filter(|position| !gone.contains(position)).collect();
            state.rows.extend(live.iter().filter_map(|at| rows.get(usize::try_from(*at).ok()?).cloned()));
            state.files.push(DataFile {
                path: path.to_owned(),
                part: part_of(entry),
                record_count: entry.file.record_count(),
                live,
                deletes_applied: applied,
            });
        }
        Ok(state)
    }
}

fn part_of(entry: &LiveEntry) -> String {
    match entry.file.partition().fields().first() {
        Some(Some(Literal::Primitive(PrimitiveLiteral::String(part)))) => part.clone(),
        _ => String::new(),
    }
}
