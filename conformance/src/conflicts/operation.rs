//! What winners and losers do: as a change of files, planned on a state, and as a change of rows.

use icecap_table::commit::{
    Change, FileChanges, Isolation, RemovedFile, RowCounts, StatementKind, Validation,
};
use icecap_table::iceberg::expr::Reference;
use icecap_table::iceberg::spec::{Datum, FormatVersion};
use icecap_table::staged_file::StagedFile;

use super::case::Case;
use super::state::{DataFile, Row, State};
use super::table::Table;
use crate::{Failure, Result};

/// Rows that an append brings, and that a partition gets in the place of its own.
const APPENDED: i64 = 10;
const REPLACED: i64 = 5;

/// An operation, as the cases name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    /// INSERT.
    Append,
    /// DELETE of one row, merge-on-read.
    Delete,
    /// UPDATE of one row, merge-on-read.
    Update,
    /// DELETE of one row, copy-on-write.
    CopyOnWrite,
    /// Compaction; whether the rows keep the sequence number of the base.
    Compact { keeps_number: bool },
    /// An equality delete and a new row, by another engine: Icecap writes no equality deletes.
    Upsert,
    /// INSERT OVERWRITE of a partition.
    ReplacePartition,
    /// DELETE of a whole partition.
    DeletePartition,
    /// DELETE of all rows of one file.
    DropFile,
}

impl Operation {
    pub(super) fn parse(word: &str) -> Result<Self> {
        Ok(match word {
            // All our appends merge manifests.
            "append" | "merge_append" => Self::Append,
            "mor_delete" => Self::Delete,
            "mor_update" => Self::Update,
            "cow" => Self::CopyOnWrite,
            "compact" => Self::Compact { keeps_number: true },
            "compact_newseq" => Self::Compact { keeps_number: false },
            "eq_upsert" => Self::Upsert,
            "replace_partition" => Self::ReplacePartition,
            "delete_by_expr" => Self::DeletePartition,
            "drop_file" => Self::DropFile,
            other => return Err(Failure::new(format!("operation {other} is unknown"))),
        })
    }

    pub(super) fn kind(self) -> StatementKind {
        match self {
            Self::Append | Self::Upsert | Self::ReplacePartition => StatementKind::Insert,
            Self::Delete | Self::CopyOnWrite | Self::DeletePartition | Self::DropFile => {
                StatementKind::Delete
            }
            Self::Update => StatementKind::Update,
            Self::Compact { .. } => StatementKind::Optimize,
        }
    }

    /// Whether the statement depends on no row that it read, so that a lost race costs another plan and nothing else.
    /// Such a one is validated so that it sees everything, whatever the isolation level: Java evaluates it on the
    /// state that it commits to.
    pub(super) fn is_planned_again(self) -> bool {
        matches!(self, Self::ReplacePartition | Self::DeletePartition)
    }
}

/// One side of a case.
pub(super) struct Plan<'a> {
    pub(super) operation: Operation,
    pub(super) part: &'a str,
    /// 1 for the winner, 2 for the loser.
    pub(super) number: u32,
    version: FormatVersion,
    isolation: Isolation,
    /// The first row of the partition at the base: the one that DELETE and UPDATE are about.
    pub(super) target: i64,
    /// The rows of the partition's first file at the base.
    dropped: Vec<i64>,
}

impl<'a> Plan<'a> {
    pub(super) fn new(
        operation: Operation,
        part: &'a str,
        number: u32,
        case: &Case,
        base: &State,
    ) -> Result<Self> {
        let rows: Vec<i64> = base.rows.iter().filter(|row| row.part == part).map(|row| row.id).collect();
        let target = rows.iter().min().copied();
        Ok(Self {
            operation,
            part,
            number,
            version: case.version,
            isolation: case.isolation,
            target: target.ok_or_else(|| Failure::new(format!("partition {part} is empty")))?,
            dropped: rows,
        })
    }

    fn new_rows(&self, count: i64) -> Vec<Row> {
        let first = i64::from(self.number) * 1_000;
        (first..first + count).map(|id| self.row(id)).collect()
    }

    /// A row with values of this operation.
    pub(super) fn row(&self, id: i64) -> Row {
        Row { part: self.part.to_owned(), id, version: self.number }
    }

    /// What the operation makes of rows that it finds.
    pub(super) fn serially(&self, rows: &mut Vec<Row>) {
        let is_target = |row: &Row| row.part == self.part && row.id == self.target;
        match self.operation {
            Operation::Append => rows.extend(self.new_rows(APPENDED)),
            Operation::Delete | Operation::CopyOnWrite => rows.retain(|row| !is_target(row)),
            Operation::Update => {
                rows.iter_mut().filter(|row| is_target(row)).for_each(|row| row.version = self.number);
            }
            Operation::Compact { .. } => {}
            Operation::Upsert => {
                rows.retain(|row| !is_target(row));
                rows.push(self.row(self.target));
            }
            Operation::ReplacePartition => {
                rows.retain(|row| row.part != self.part);
                rows.extend(self.new_rows(REPLACED));
            }
            Operation::DeletePartition => rows.retain(|row| row.part != self.part),
            Operation::DropFile => {
                rows.retain(|row| !(row.part == self.part && self.dropped.contains(&row.id)));
            }
        }
    }

    /// The operation as a change of the files of `base`; `None` for what Icecap has no change for.
    pub(super) async fn change(&self, table: &mut Table, base: &State) -> Result<Option<Change>> {
        let write = table.write_id(self.number);
        let files = || base.in_partition(self.part);
        let first = files().next();
        let first = || first.ok_or_else(|| Failure::new(format!("partition {} is empty", self.part)));
        let remove = |file: &DataFile| RemovedFile::data(&file.path);
        Ok(Some(match self.operation {
            Operation::Upsert => return Ok(None),
            Operation::Append => {
                let rows = self.new_rows(APPENDED);
                Change::Append { files: vec![table.data_file(write, self.part, rows)?], schema_id: 0 }
            }
            Operation::Delete => {
                let deletes = self.deletes(table, first()?).await?;
                Change::RowDelta(self.files(vec![deletes], Vec::new()))
            }
            Operation::Update => {
                let deletes = self.deletes(table, first()?).await?;
                let updated = table.data_file(write, self.part, vec![self.row(self.target)])?;
                Change::RowDelta(self.files(vec![deletes, updated], Vec::new()))
            }
            Operation::CopyOnWrite => {
                let file = first()?;
                let mut rows = live_rows(table, file);
                rows.retain(|row| row.id != self.target);
                let new = table.data_file(write, self.part, rows)?;
                Change::Overwrite(self.files(vec![new], vec![remove(file)]))
            }
            Operation::Compact { keeps_number } => {
                let rows = files().flat_map(|file| live_rows(table, file)).collect();
                let removed = files().map(remove).collect();
                let new = table.data_file(write, self.part, rows)?;
                let mut changes = self.files(vec![new], removed);
                changes.data_sequence_number = keeps_number.then_some(base.sequence_number);
                Change::Rewrite(changes)
            }
            Operation::ReplacePartition => {
                let new = table.data_file(write, self.part, self.new_rows(REPLACED))?;
                Change::Overwrite(self.files(vec![new], self.whole_partition(base)))
            }
            Operation::DeletePartition => {
                Change::RowDelta(self.files(Vec::new(), self.whole_partition(base)))
            }
            Operation::DropFile => Change::RowDelta(self.files(Vec::new(), vec![remove(first()?)])),
        }))
    }

    /// All files of the partition; its deletes, of whatever kind, have nothing left to delete.
    fn whole_partition(&self, base: &State) -> Vec<RemovedFile> {
        let deletes = base.deletes.iter().filter(|file| file.part == self.part);
        let deletes = deletes.map(|file| match file.content_offset {
            Some(offset) if file.is_vector => RemovedFile::deletion_vector(&file.path, offset),
            _ => RemovedFile::delete_file(&file.path),
        });
        base.in_partition(self.part).map(|file| RemovedFile::data(&file.path)).chain(deletes).collect()
    }

    /// The first row of a file, deleted.
    async fn deletes(&self, table: &mut Table, file: &DataFile) -> Result<StagedFile> {
        let position = *file.live.first().ok_or_else(|| Failure::new("the file has no row left"))?;
        let write = table.write_id(self.number);
        match self.version {
            FormatVersion::V3 => {
                let live: std::collections::BTreeSet<u64> = file.live.iter().copied().collect();
                let mut positions: Vec<u64> =
                    (0..file.record_count).filter(|position| !live.contains(position)).collect();
                positions.push(position);
                table.vector(write, self.part, &file.path, &positions).await
            }
            _ => table.position_deletes(write, self.part, &file.path, &[position]),
        }
    }

    fn files(&self, added: Vec<StagedFile>, removed: Vec<RemovedFile>) -> FileChanges {
        let isolation =
            if self.operation.is_planned_again() { Isolation::Serializable } else { self.isolation };
        FileChanges {
            added,
            removed,
            schema_id: 0,
            data_sequence_number: None,
            rows: RowCounts::default(),
            validation: Validation {
                isolation,
                filter: Some(Reference::new("part").equal_to(Datum::string(self.part))),
            },
        }
    }
}

fn live_rows(table: &Table, file: &DataFile) -> Vec<Row> {
    let rows = table.contents.rows.get(&file.path);
    file.live.iter().filter_map(|at| rows?.get(usize::try_from(*at).ok()?).cloned()).collect()
}
