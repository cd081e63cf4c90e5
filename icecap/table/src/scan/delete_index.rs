//! Which delete files apply to which data file (spec, "Scan planning").
//!
//! - Deletion vectors and position deletes of one data file are found by its location, other position deletes by spec
//!   and partition; both take rows of files that are not newer than they are.
//! - Equality deletes take rows of strictly older files of their partition; those of an unpartitioned spec, of any.
//! - A deletion vector stands for all position deletes of its data file.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use iceberg::spec::{Literal, PrimitiveLiteral, PrimitiveType, Schema, Transform};

use super::manifest::Context;
use super::plan::check_place;
use super::{DeleteFile, DeleteKind, ScanFile, ScanPlan};
use crate::error::{Error, Result};
use crate::expr::value::Value;

pub(super) type Partition = (i32, Vec<Option<Key>>);

/// The delete files of a snapshot, each to be found by the data files that it may take rows from.
pub(super) struct DeleteIndex {
    files: Vec<DeleteFile>,
    vectors: HashMap<String, usize>,
    by_path: HashMap<String, Vec<usize>>,
    positions: HashMap<Partition, Vec<usize>>,
    equality: HashMap<Partition, Vec<usize>>,
    everywhere: Vec<usize>,
}

impl DeleteIndex {
    /// # Errors
    /// `Corrupt` when two deletion vectors are of one data file.
    pub(super) fn new(files: Vec<DeleteFile>, context: &Context) -> Result<Self> {
        let mut index = Self {
            files: Vec::new(),
            vectors: HashMap::new(),
            by_path: HashMap::new(),
            positions: HashMap::new(),
            equality: HashMap::new(),
            everywhere: Vec::new(),
        };
        for (at, file) in files.iter().enumerate() {
            match (&file.kind, &file.referenced_data_file) {
                (DeleteKind::DeletionVector, Some(path)) => {
                    if let Some(other) = index.vectors.insert(path.clone(), at) {
                        return Err(Error::corrupt("a data file has two deletion vectors")
                            .with("file", path)
                            .with("deletion vectors", format!("{} and {}", files[other].path, file.path)));
                    }
                }
                (DeleteKind::DeletionVector, None) => {
                    return Err(Error::corrupt("a deletion vector has no data file").with("file", &file.path));
                }
                (DeleteKind::PositionDeletes, Some(path)) => {
                    index.by_path.entry(path.clone()).or_default().push(at);
                }
                (DeleteKind::PositionDeletes, None) => {
                    index.positions.entry(partition_key(file.spec_id, &file.partition)).or_default().push(at);
                }
                (DeleteKind::EqualityDeletes { .. }, _) if is_unpartitioned(context, file.spec_id) => {
                    index.everywhere.push(at);
                }
                (DeleteKind::EqualityDeletes { .. }, _) => {
                    index.equality.entry(partition_key(file.spec_id, &file.partition)).or_default().push(at);
                }
            }
        }
        index.files = files;
        Ok(index)
    }

    /// Gives each of the plan's files its delete files, and the plan those that are wanted.
    ///
    /// # Errors
    /// `Corrupt` for a deletion vector that is older than its data file; `Denied` for a wanted delete file that lies
    /// where no table's files may lie.
    pub(super) fn assign(self, plan: &mut ScanPlan, context: &Context) -> Result<()> {
        if self.files.is_empty() {
            return Ok(());
        }
        let mut used = BTreeSet::new();
        for file in &mut plan.files {
            file.deletes = self.of(file, context)?;
            used.extend(file.deletes.iter().copied());
        }
        let place: HashMap<usize, usize> = used.iter().enumerate().map(|(at, old)| (*old, at)).collect();
        for file in &mut plan.files {
            file.deletes = file.deletes.iter().filter_map(|old| place.get(old).copied()).collect();
        }
        plan.deletes = self
            .files
            .into_iter()
            .enumerate()
            .filter_map(|(at, file)| used.contains(&at).then_some(file))
            .collect();
        plan.deletes.iter().try_for_each(|file| check_place(context.policy.as_ref(), &file.path))
    }

    fn of(&self, file: &ScanFile, context: &Context) -> Result<Vec<usize>> {
        let mut found = Vec::new();
        let partition = partition_key(file.spec_id, &file.partition);
        let older = |at: &&usize| self.files[**at].data_sequence_number > file.data_sequence_number;
        let equality = self.equality.get(&partition).into_iter().flatten().chain(&self.everywhere);
        found.extend(equality.filter(older).filter(|at| may_equal(&self.files[**at], file, &context.schema)));
        if let Some(at) = self.vectors.get(&file.path) {
            if self.files[*at].data_sequence_number < file.data_sequence_number {
                return Err(Error::corrupt("a deletion vector is older than its data file")
                    .with("file", &file.path)
                    .with("deletion vector", &self.files[*at].path));
            }
            found.push(*at);
        } else {
            let not_newer = |at: &&usize| {
                let deletes = self.files[**at].data_sequence_number;
                #[cfg(feature = "testing")]
                if crate::testing::is_planted(crate::testing::Mutation::SequenceOffByOne) {
                    return deletes > file.data_sequence_number + 1;
                }
                deletes >= file.data_sequence_number
            };
            found.extend(self.by_path.get(&file.path).into_iter().flatten().filter(not_newer));
            let others = self.positions.get(&partition).into_iter().flatten().filter(not_newer);
            found.extend(others.filter(|at| self.files[**at].may_name(&file.path)));
        }
        found.sort_unstable();
        Ok(found)
    }
}

fn is_unpartitioned(context: &Context, spec_id: i32) -> bool {
    let fields = context.specs.get(&spec_id).map(|spec| spec.fields()).unwrap_or_default();
    fields.iter().all(|field| field.transform == Transform::Void)
}

/// Whether some row of the data file may equal one of the delete file, by their metrics.
fn may_equal(deletes: &DeleteFile, file: &ScanFile, schema: &Schema) -> bool {
    let DeleteKind::EqualityDeletes { field_ids } = &deletes.kind else { return true };
    field_ids.iter().all(|id| {
        // Around a field of a struct there may be NULLs that nobody counted.
        if schema.as_struct().field_by_id(*id).is_none() {
            return true;
        }
        let nulls = |counts: &BTreeMap<i32, u64>| counts.get(id).copied();
        // NULL meets NULL, and only bounds of what is never NULL tell all.
        if nulls(&deletes.null_counts) != Some(0) && nulls(&file.null_counts) != Some(0) {
            return true;
        }
        let bounds = (
            deletes.lower_bounds.get(id).zip(deletes.upper_bounds.get(id)),
            file.lower_bounds.get(id).zip(file.upper_bounds.get(id)),
        );
        let (Some((low, high)), Some((least, greatest))) = bounds else { return true };
        let ty = least.data_type();
        // Writers order UUIDs in two ways; bounds know neither NaN nor the sign of zero.
        let orderly = !matches!(ty, PrimitiveType::Uuid | PrimitiveType::Float | PrimitiveType::Double);
        let value = |datum| Value::of_datum(datum, ty);
        match (value(low), value(high), value(least), value(greatest)) {
            (Some(low), Some(high), Some(least), Some(greatest)) if orderly => {
                high.order(&least).is_ge() && low.order(&greatest).is_le()
            }
            _ => true,
        }
    })
}

/// A partition value that equals another whatever type the column had when each was written.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Key {
    Boolean(bool),
    Int(i128),
    Unsigned(u128),
    /// Bits: 0 and -0 are two partitions, and NaN is one.
    Float(u64),
    Bytes(Vec<u8>),
    Other(String),
}

pub(super) fn partition_key(spec_id: i32, tuple: &[Option<Literal>]) -> Partition {
    (spec_id, tuple.iter().map(|value| value.as_ref().map(key)).collect())
}

fn key(value: &Literal) -> Key {
    let Literal::Primitive(value) = value else { return Key::Other(format!("{value:?}")) };
    let float = |value: f64| Key::Float(if value.is_nan() { f64::NAN.to_bits() } else { value.to_bits() });
    match value {
        PrimitiveLiteral::Boolean(value) => Key::Boolean(*value),
        PrimitiveLiteral::Int(value) => Key::Int(i128::from(*value)),
        PrimitiveLiteral::Long(value) => Key::Int(i128::from(*value)),
        PrimitiveLiteral::Int128(value) => Key::Int(*value),
        PrimitiveLiteral::UInt128(value) => Key::Unsigned(*value),
        PrimitiveLiteral::Float(value) => float(f64::from(value.0)),
        PrimitiveLiteral::Double(value) => float(value.0),
        PrimitiveLiteral::String(value) => Key::Bytes(value.as_bytes().to_vec()),
        PrimitiveLiteral::Binary(value) => Key::Bytes(value.clone()),
        other => Key::Other(format!("{other:?}")),
    }
}
