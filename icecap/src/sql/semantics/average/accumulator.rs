//! One average: of a whole input, a window frame, or distinct values.

use std::collections::HashSet;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, AsArray};
use datafusion::arrow::datatypes::{DataType, UInt64Type};
use datafusion::common::{DataFusionError, Result, ScalarValue};
use datafusion::logical_expr::Accumulator;

use super::{SUM, add, averages, for_each_value, rounded};

/// One average.
#[derive(Debug)]
pub(super) struct AverageAccumulator {
    kind: DataType,
    sum: i128,
    count: u64,
    /// The values themselves, where each counts once.
    distinct: Option<HashSet<i128>>,
}

impl AverageAccumulator {
    pub(super) fn new(kind: DataType, is_distinct: bool) -> Self {
        Self { kind, sum: 0, count: 0, distinct: is_distinct.then(HashSet::new) }
    }

    fn take(&mut self, values: &ArrayRef) -> Result<()> {
        for_each_value(values, |_, value| {
            if self.distinct.as_mut().is_none_or(|distinct| distinct.insert(value)) {
                self.sum = add(self.sum, value)?;
                self.count += 1;
            }
            Ok(())
        })
    }
}

impl Accumulator for AverageAccumulator {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        values.first().map_or(Ok(()), |values| self.take(values))
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let Some(values) = values.first() else { return Ok(()) };
        for_each_value(values, |_, value| {
            self.sum = add(self.sum, -value)?;
            self.count = self.count.saturating_sub(1);
            Ok(())
        })
    }

    fn supports_retract_batch(&self) -> bool {
        self.distinct.is_none()
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let average = rounded(self.sum, self.count);
        ScalarValue::try_from_array(&averages(std::iter::once(average), &self.kind), 0)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(match &self.distinct {
            Some(distinct) => {
                let values: Vec<ScalarValue> =
                    distinct.iter().map(|value| ScalarValue::Decimal128(Some(*value), 38, 0)).collect();
                vec![ScalarValue::List(ScalarValue::new_list_nullable(&values, &SUM))]
            }
            None => vec![
                ScalarValue::UInt64(Some(self.count)),
                ScalarValue::try_from_array(&averages(std::iter::once(Some(self.sum)), &SUM), 0)?,
            ],
        })
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        match (states, &self.distinct) {
            ([lists], Some(_)) => {
                let lists = lists.as_list::<i32>().clone();
                lists.iter().flatten().try_for_each(|values| self.take(&values))
            }
            ([counts, sums], None) => {
                for count in counts.as_primitive::<UInt64Type>().iter().flatten() {
                    self.count = self.count.saturating_add(count);
                }
                for_each_value(&Arc::clone(sums), |_, sum| {
                    self.sum = add(self.sum, sum)?;
                    Ok(())
                })
            }
            _ => Err(DataFusionError::Internal("the state of an average has other columns".to_owned())),
        }
    }

    fn size(&self) -> usize {
        let values = self.distinct.as_ref().map_or(0, HashSet::capacity);
        size_of_val(self) + values * size_of::<i128>()
    }
}
