//! One sum: of a whole input, a window frame, or distinct values.

use std::collections::HashSet;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, AsArray};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::Accumulator;

use super::{STATE, add, for_each_value, states, totals};

/// One sum.
#[derive(Debug)]
pub(super) struct SumAccumulator {
    kind: DataType,
    sum: i128,
    /// How many values the sum has: none makes NULL.
    count: u64,
    /// The values themselves, where each counts once.
    distinct: Option<HashSet<i128>>,
}

impl SumAccumulator {
    pub(super) fn new(kind: DataType, is_distinct: bool) -> Self {
        Self { kind, sum: 0, count: 0, distinct: is_distinct.then(HashSet::new) }
    }

    fn take(&mut self, values: &ArrayRef) -> Result<()> {
        for_each_value(values, |_, value| {
            if self.distinct.as_mut().is_none_or(|distinct| distinct.insert(value)) {
                self.sum = add(self.sum, value, &self.kind)?;
                self.count += 1;
            }
            Ok(())
        })
    }
}

impl Accumulator for SumAccumulator {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        values.first().map_or(Ok(()), |values| self.take(values))
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let Some(values) = values.first() else { return Ok(()) };
        for_each_value(values, |_, value| {
            self.sum = add(self.sum, -value, &self.kind)?;
            self.count = self.count.saturating_sub(1);
            Ok(())
        })
    }

    fn supports_retract_batch(&self) -> bool {
        self.distinct.is_none()
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let sum = (self.count > 0).then_some(self.sum);
        ScalarValue::try_from_array(&totals(std::iter::once(sum), &self.kind)?, 0)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![match &self.distinct {
            Some(distinct) => {
                let values: Vec<ScalarValue> =
                    distinct.iter().map(|value| ScalarValue::Decimal128(Some(*value), 38, 0)).collect();
                ScalarValue::List(ScalarValue::new_list_nullable(&values, &STATE))
            }
            None => {
                let sum = (self.count > 0).then_some(self.sum);
                ScalarValue::try_from_array(&states(std::iter::once(sum)), 0)?
            }
        }])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let Some(states) = states.first() else { return Ok(()) };
        match &self.distinct {
            Some(_) => {
                let lists = states.as_list::<i32>().clone();
                lists.iter().flatten().try_for_each(|values| self.take(&values))
            }
            None => self.take(&Arc::clone(states)),
        }
    }

    fn size(&self) -> usize {
        let values = self.distinct.as_ref().map_or(0, HashSet::capacity);
        size_of_val(self) + values * size_of::<i128>()
    }
}
