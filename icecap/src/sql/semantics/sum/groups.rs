//! The sums of many groups at once.

use datafusion::arrow::array::{Array, ArrayRef, AsArray, BooleanArray};
use datafusion::arrow::datatypes::{DataType, Decimal128Type};
use datafusion::common::Result;
use datafusion::logical_expr::{EmitTo, GroupsAccumulator};

use super::{add, for_each_value, overflow, states, totals};

/// A sum for each group.
#[derive(Debug)]
pub(super) struct SumGroups {
    kind: DataType,
    sums: Vec<i128>,
    /// Whether a group has a value.
    seen: Vec<bool>,
}

impl SumGroups {
    pub(super) fn new(kind: DataType) -> Self {
        Self { kind, sums: Vec::new(), seen: Vec::new() }
    }

    fn take(
        &mut self,
        values: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        total_groups: usize,
    ) -> Result<()> {
        self.sums.resize(total_groups, 0);
        self.seen.resize(total_groups, false);
        let Some(values) = values.first() else { return Ok(()) };
        let (sums, seen, kind) = (&mut self.sums, &mut self.seen, &self.kind);
        if filter.is_none()
            && values.null_count() == 0
            && let Some(values) = values.as_primitive_opt::<Decimal128Type>()
        {
            // The common case, without a way out of the loop.
            let mut fits = true;
            for (value, group) in values.values().iter().zip(groups) {
                let (sum, overflows) = sums[*group].overflowing_add(*value);
                sums[*group] = sum;
                seen[*group] = true;
                fits &= !overflows;
            }
            return if fits { Ok(()) } else { Err(overflow(kind)) };
        }
        for_each_value(values, |at, value| {
            if filter.is_some_and(|filter| filter.is_null(at) || !filter.value(at)) {
                return Ok(());
            }
            let group = groups[at];
            sums[group] = add(sums[group], value, kind)?;
            seen[group] = true;
            Ok(())
        })
    }

    fn emit(&mut self, emit_to: EmitTo) -> impl Iterator<Item = Option<i128>> + use<> {
        let (sums, seen) = (emit_to.take_needed(&mut self.sums), emit_to.take_needed(&mut self.seen));
        sums.into_iter().zip(seen).map(|(sum, seen)| seen.then_some(sum))
    }
}

impl GroupsAccumulator for SumGroups {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        total_groups: usize,
    ) -> Result<()> {
        self.take(values, groups, filter, total_groups)
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let kind = self.kind.clone();
        totals(self.emit(emit_to), &kind)
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        Ok(vec![states(self.emit(emit_to))])
    }

    fn merge_batch(&mut self, values: &[ArrayRef], groups: &[usize], total_groups: usize) -> Result<()> {
        self.take(values, groups, None, total_groups)
    }

    fn convert_to_state(&self, values: &[ArrayRef], filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let mut sums = vec![None; values.first().map_or(0, Array::len)];
        if let Some(values) = values.first() {
            for_each_value(values, |at, value| {
                if filter.is_none_or(|filter| filter.is_valid(at) && filter.value(at)) {
                    sums[at] = Some(value);
                }
                Ok(())
            })?;
        }
        Ok(vec![states(sums.into_iter())])
    }

    fn size(&self) -> usize {
        self.sums.capacity() * size_of::<i128>() + self.seen.capacity()
    }
}
