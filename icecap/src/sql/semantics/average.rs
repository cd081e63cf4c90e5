//! `avg` of decimals as Trino has it: of the argument's own type, rounded, a half away from zero.
//!
//! DataFusion's has four more digits and cuts the rest off.

mod accumulator;
mod groups;

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, Decimal128Array};
use datafusion::arrow::datatypes::{DataType, Decimal128Type, Field, FieldRef};
use datafusion::common::{DataFusionError, Result};
use datafusion::functions_aggregate::average::avg_udaf;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::format_state_name;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, GroupsAccumulator, ReversedUDAF, Signature,
};
use icecap_table::Error;

use accumulator::AverageAccumulator;
use groups::AverageGroups;

/// Sums under way are numbers of 128 bits without a scale.
const SUM: DataType = DataType::Decimal128(38, 0);

/// `avg`: of `decimal(p, s)` a `decimal(p, s)`; of other types DataFusion's business.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct RoundedAverage {
    plain: Arc<AggregateUDF>,
}

impl RoundedAverage {
    pub(super) fn function() -> Arc<AggregateUDF> {
        Arc::new(AggregateUDF::from(Self { plain: avg_udaf() }))
    }
}

fn is_ours(average: &DataType) -> bool {
    matches!(average, DataType::Decimal128(..))
}

impl AggregateUDFImpl for RoundedAverage {
    fn name(&self) -> &str {
        "avg"
    }

    fn aliases(&self) -> &[String] {
        self.plain.aliases()
    }

    fn signature(&self) -> &Signature {
        self.plain.signature()
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        match arguments {
            [decimal @ DataType::Decimal128(..)] => Ok(decimal.clone()),
            other => self.plain.return_type(other),
        }
    }

    fn accumulator(&self, arguments: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        match is_ours(arguments.return_type()) {
            true => {
                Ok(Box::new(AverageAccumulator::new(arguments.return_type().clone(), arguments.is_distinct)))
            }
            false => self.plain.accumulator(arguments),
        }
    }

    fn create_sliding_accumulator(&self, arguments: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        match is_ours(arguments.return_type()) {
            true => self.accumulator(arguments),
            false => self.plain.create_sliding_accumulator(arguments),
        }
    }

    fn state_fields(&self, arguments: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        if !is_ours(arguments.return_type()) {
            return self.plain.state_fields(arguments);
        }
        Ok(match arguments.is_distinct {
            true => vec![Arc::new(Field::new_list(
                format_state_name(arguments.name, "avg distinct"),
                Field::new_list_field(SUM, true),
                false,
            ))],
            false => vec![
                Arc::new(Field::new(format_state_name(arguments.name, "count"), DataType::UInt64, true)),
                Arc::new(Field::new(format_state_name(arguments.name, "sum"), SUM, true)),
            ],
        })
    }

    fn groups_accumulator_supported(&self, arguments: AccumulatorArgs<'_>) -> bool {
        match is_ours(arguments.return_type()) {
            true => !arguments.is_distinct,
            false => self.plain.groups_accumulator_supported(arguments),
        }
    }

    fn create_groups_accumulator(
        &self,
        arguments: AccumulatorArgs<'_>,
    ) -> Result<Box<dyn GroupsAccumulator>> {
        match is_ours(arguments.return_type()) {
            true => Ok(Box::new(AverageGroups::new(arguments.return_type().clone()))),
            false => self.plain.create_groups_accumulator(arguments),
        }
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        ReversedUDAF::Identical
    }
}

fn add(sum: i128, value: i128) -> Result<i128> {
    sum.checked_add(value).ok_or_else(|| {
        DataFusionError::External(Box::new(Error::invalid(
            "overflow: the sum of which an average is made has more than 38 digits: cast the argument to double",
        )))
    })
}

/// Calls `each` with the place and the value of every value that is not NULL.
fn for_each_value(array: &ArrayRef, mut each: impl FnMut(usize, i128) -> Result<()>) -> Result<()> {
    match array.data_type() {
        DataType::Decimal128(..) => {
            let values = array.as_primitive::<Decimal128Type>();
            values
                .iter()
                .enumerate()
                .try_for_each(|(at, value)| value.map_or(Ok(()), |value| each(at, value)))
        }
        DataType::Null => Ok(()),
        other => Err(DataFusionError::Internal(format!("an average of {other} as one of decimals"))),
    }
}

/// `sum / count`, a half away from zero; `None` of no values.
fn rounded(sum: i128, count: u64) -> Option<i128> {
    let count = i128::from(count);
    let (quotient, rest) = (sum.checked_div(count)?, sum.checked_rem(count)?);
    // The rest is less than the count, which has 64 bits.
    let up = rest.abs() * 2 >= count;
    Some(if up { quotient + sum.signum() } else { quotient })
}

/// Averages as an array of their type: an average is never larger than the largest of its values, so it fits.
fn averages(averages: impl Iterator<Item = Option<i128>>, kind: &DataType) -> ArrayRef {
    Arc::new(averages.collect::<Decimal128Array>().with_data_type(kind.clone()))
}

#[cfg(test)]
mod tests {
    use super::rounded;

    #[test]
    fn a_half_goes_away_from_zero() {
        for (sum, count, average) in [
            (5, 2, 3),
            (-5, 2, -3),
            (7, 3, 2),
            (8, 3, 3),
            (-7, 3, -2),
            (-8, 3, -3),
            (0, 9, 0),
            (1, 2, 1),
            (i128::MAX, 1, i128::MAX),
        ] {
            assert_eq!(rounded(sum, count), Some(average), "{sum} / {count}");
        }
        assert_eq!(rounded(1, 0), None);
    }
}
