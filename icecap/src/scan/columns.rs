//! What a scan asks of each file, and how a scan's columns are made of it.
//!
//! A scan's column is one that is asked for, but for those of row lineage: they are what a file stores, and where it
//! stores nothing, what its place in the table says (spec, "Row lineage"); and for the file's location, whose text is
//! made once and shared by all batches of the file.

use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, Int64Array, RecordBatch, StringArray, new_null_array,
};
use datafusion::arrow::datatypes::{DataType, Int32Type, Int64Type};
use icecap_table::{Error, Result};

use super::hidden::{HiddenColumn, LAST_UPDATED_FIELD, ROW_ID_FIELD};
use super::message::ScanInput;

/// A column that is asked of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Wanted {
    /// A stored one, or the one value that a partition spec says it has.
    Field(i32),
    /// The file's location, for predicates.
    File,
    /// The file's index in the scan.
    Index,
    SpecId,
    Partition,
    /// The row id of the file's first row.
    FirstRowId,
    /// The file's data sequence number.
    Sequence,
    Pos,
}

/// A column of a scan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Given {
    Plain(Wanted),
    File,
    RowId,
    LastUpdated,
}

impl Given {
    /// The column `at` of a scan's full schema.
    pub(super) fn of(input: &ScanInput, at: usize) -> Result<Self> {
        let fields = input.schema.as_struct().fields();
        if let Some(field) = fields.get(at) {
            return Ok(Self::Plain(Wanted::Field(field.id)));
        }
        let hidden = HiddenColumn::ALL.get(at - fields.len());
        Ok(match hidden.ok_or_else(|| Error::bug("a scan of a column that is not there"))? {
            HiddenColumn::File => Self::File,
            HiddenColumn::Pos => Self::Plain(Wanted::Pos),
            HiddenColumn::SpecId => Self::Plain(Wanted::SpecId),
            HiddenColumn::Partition => Self::Plain(Wanted::Partition),
            HiddenColumn::RowId => Self::RowId,
            HiddenColumn::LastUpdated => Self::LastUpdated,
        })
    }

    /// What a predicate over it looks at before rows are decoded, where it can.
    pub(super) fn before_decoding(self) -> Option<Wanted> {
        match self {
            Self::Plain(wanted @ (Wanted::Field(_) | Wanted::SpecId)) => Some(wanted),
            Self::File => Some(Wanted::File),
            Self::Plain(_) | Self::RowId | Self::LastUpdated => None,
        }
    }

    /// What it is made of.
    pub(super) fn parts(self) -> Vec<Wanted> {
        match self {
            Self::Plain(wanted) => vec![wanted],
            Self::File => vec![Wanted::Index],
            Self::RowId => vec![Wanted::Field(ROW_ID_FIELD), Wanted::FirstRowId, Wanted::Pos],
            Self::LastUpdated => {
                vec![Wanted::Field(LAST_UPDATED_FIELD), Wanted::FirstRowId, Wanted::Sequence]
            }
        }
    }
}

/// Makes a scan's columns of those that were asked for.
#[derive(Debug, Clone)]
pub(super) struct Assembly {
    columns: Vec<(Given, Vec<usize>)>,
    input: Arc<ScanInput>,
}

/// The location of the file whose batches come, as often as the largest of them had rows.
#[derive(Debug, Default)]
pub(super) struct Locations {
    file: i32,
    texts: Option<StringArray>,
}

impl Locations {
    fn of(&mut self, file: i32, rows: usize, input: &ScanInput) -> Result<ArrayRef> {
        let known = self.texts.as_ref().filter(|texts| self.file == file && texts.len() >= rows);
        if let Some(texts) = known {
            return Ok(Arc::new(texts.slice(0, rows)));
        }
        let path = usize::try_from(file).ok().and_then(|file| input.files.get(file));
        let path = path.ok_or_else(|| Error::bug("a batch of a file that is not in the scan"))?.path.as_str();
        let texts = StringArray::from_iter_values(std::iter::repeat_n(path, rows));
        (self.file, self.texts) = (file, Some(texts.clone()));
        Ok(Arc::new(texts))
    }
}

impl Assembly {
    /// Of `given` from batches whose columns are `asked`.
    ///
    /// # Errors
    /// `Bug` when a part was not asked for.
    pub(super) fn new(input: &Arc<ScanInput>, given: &[Given], asked: &[Wanted]) -> Result<Self> {
        let place = |wanted: &Wanted| {
            let at = asked.iter().position(|known| known == wanted);
            at.ok_or_else(|| Error::bug("a column is not scanned"))
        };
        let columns = given
            .iter()
            .map(|given| Ok((*given, given.parts().iter().map(place).collect::<Result<_>>()?)))
            .collect::<Result<_>>()?;
        Ok(Self { columns, input: Arc::clone(input) })
    }

    /// The scan's columns of a batch, which is of one file; `locations` is kept from batch to batch.
    ///
    /// # Errors
    /// `Corrupt` when row ids overflow.
    pub(super) fn columns(&self, batch: &RecordBatch, locations: &mut Locations) -> Result<Vec<ArrayRef>> {
        let rows = batch.num_rows();
        self.columns
            .iter()
            .map(|(given, parts)| {
                let parts: Vec<&ArrayRef> = parts.iter().map(|at| batch.column(*at)).collect();
                match (given, parts.as_slice()) {
                    (Given::Plain(_), [column]) => Ok(Arc::clone(column)),
                    (Given::File, [index]) => {
                        let index = index.as_primitive_opt::<Int32Type>().filter(|_| rows > 0);
                        locations.of(index.map_or(0, |index| index.value(0)), rows, &self.input)
                    }
                    (Given::RowId, [stored, first, pos]) => row_ids(stored, first, Some(pos), rows),
                    (Given::LastUpdated, [stored, first, sequence]) => {
                        last_updated(stored, first, sequence, rows)
                    }
                    _ => Err(Error::bug("a column is made of the wrong parts")),
                }
            })
            .collect()
    }
}

/// A file whose first row has no row id has none at all, whatever it stores: its table kept none.
fn has_lineage(first: &ArrayRef, rows: usize) -> bool {
    first.null_count() < rows
}

fn row_ids(stored: &ArrayRef, first: &ArrayRef, pos: Option<&&ArrayRef>, rows: usize) -> Result<ArrayRef> {
    let Some(pos) = pos.filter(|_| has_lineage(first, rows)) else {
        return Ok(new_null_array(&DataType::Int64, rows));
    };
    let (stored, first, pos) = (longs(stored)?, longs(first)?, longs(pos)?);
    let ids = (0..rows).map(|row| {
        if stored.is_valid(row) {
            return Ok(stored.value(row));
        }
        let id = first.value(row).checked_add(pos.value(row));
        id.ok_or_else(|| Error::corrupt("row ids overflow"))
    });
    Ok(Arc::new(Int64Array::from(ids.collect::<Result<Vec<i64>>>()?)))
}

fn last_updated(stored: &ArrayRef, first: &ArrayRef, sequence: &ArrayRef, rows: usize) -> Result<ArrayRef> {
    if !has_lineage(first, rows) {
        return Ok(new_null_array(&DataType::Int64, rows));
    }
    let (stored, sequence) = (longs(stored)?, longs(sequence)?);
    let numbers =
        (0..rows).map(|row| if stored.is_valid(row) { stored.value(row) } else { sequence.value(row) });
    Ok(Arc::new(Int64Array::from_iter_values(numbers)))
}

fn longs(array: &ArrayRef) -> Result<&Int64Array> {
    array.as_primitive_opt::<Int64Type>().ok_or_else(|| Error::bug("a column of row lineage is no bigint"))
}
