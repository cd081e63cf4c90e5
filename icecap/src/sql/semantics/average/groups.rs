//! The averages of many groups at once.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, BooleanArray, UInt64Array};
use datafusion::arrow::datatypes::{DataType, UInt64Type};
use datafusion::common::{DataFusionError, Result};
use datafusion::logical_expr::{EmitTo, GroupsAccumulator};

use super::{SUM, add, averages, for_each_value, rounded};

/// A sum and a count for each group.
#[derive(Debug)]
pub(super) struct AverageGroups {
    kind: DataType,
    sums: Vec<i128>,
    counts: Vec<u64>,
}

impl AverageGroups {
    pub(super) fn new(kind: DataType) -> Self {
        Self { kind, sums: Vec::new(), counts: Vec::new() }
    }

    fn grow(&mut self, groups: usize) {
        self.sums.resize(groups, 0);
        self.counts.resize(groups, 0);
    }

    fn emit(&mut self, emit_to: EmitTo) -> (Vec<i128>, Vec<u64>) {
        (emit_to.take_needed(&mut self.sums), emit_to.take_needed(&mut self.counts))
    }
}

fn state_of(sums: Vec<i128>, counts: Vec<u64>) -> Vec<ArrayRef> {
    vec![Arc::new(UInt64Array::from(counts)), averages(sums.into_iter().map(Some), &SUM)]
}

impl GroupsAccumulator for AverageGroups {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        total_groups: usize,
    ) -> Result<()> {
        self.grow(total_groups);
        let Some(values) = values.first() else { return Ok(()) };
        let (sums, counts) = (&mut self.sums, &mut self.counts);
        for_each_value(values, |at, value| {
            if filter.is_none_or(|filter| filter.is_valid(at) && filter.value(at)) {
                let group = groups[at];
                sums[group] = add(sums[group], value)?;
                counts[group] += 1;
            }
            Ok(())
        })
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let (sums, counts) = self.emit(emit_to);
        Ok(averages(sums.into_iter().zip(counts).map(|(sum, count)| rounded(sum, count)), &self.kind))
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        let (sums, counts) = self.emit(emit_to);
        Ok(state_of(sums, counts))
    }

    fn merge_batch(&mut self, values: &[ArrayRef], groups: &[usize], total_groups: usize) -> Result<()> {
        self.grow(total_groups);
        let [counts, sums] = values else {
            return Err(DataFusionError::Internal("the state of an average has other columns".to_owned()));
        };
        for (count, group) in counts.as_primitive::<UInt64Type>().iter().zip(groups) {
            let total = &mut self.counts[*group];
            *total = total.saturating_add(count.unwrap_or(0));
        }
        let totals = &mut self.sums;
        for_each_value(sums, |at, sum| {
            let group = groups[at];
            totals[group] = add(totals[group], sum)?;
            Ok(())
        })
    }

    fn convert_to_state(&self, values: &[ArrayRef], filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let rows = values.first().map_or(0, Array::len);
        let (mut sums, mut counts) = (vec![0; rows], vec![0; rows]);
        if let Some(values) = values.first() {
            for_each_value(values, |at, value| {
                if filter.is_none_or(|filter| filter.is_valid(at) && filter.value(at)) {
                    sums[at] = value;
                    counts[at] = 1;
                }
                Ok(())
            })?;
        }
        Ok(state_of(sums, counts))
    }

    fn size(&self) -> usize {
        self.sums.capacity() * size_of::<i128>() + self.counts.capacity() * size_of::<u64>()
    }
}
