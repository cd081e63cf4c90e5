//! `sum` of whole numbers and decimals that fails rather than wraps around.

mod accumulator;
mod groups;

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, Decimal128Array, Int64Array, UInt64Array};
use datafusion::arrow::datatypes::{DataType, Decimal128Type, Field, FieldRef, Int64Type, UInt64Type};
use datafusion::common::{DataFusionError, Result};
use datafusion::functions_aggregate::sum::sum_udaf;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::format_state_name;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, GroupsAccumulator, ReversedUDAF, Signature,
};
use icecap_table::Error;

use accumulator::SumAccumulator;
use groups::SumGroups;

/// Sums under way are numbers of 128 bits without a scale.
const STATE: DataType = DataType::Decimal128(38, 0);

/// `sum`, exact: a total that its type cannot hold is an error of kind `Invalid`.
///
/// The total of bigints is a bigint, that of `decimal(p, s)` a `decimal(38, s)`, as in Trino. Other types are
/// DataFusion's business.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct CheckedSum {
    plain: Arc<AggregateUDF>,
}

impl CheckedSum {
    pub(super) fn function() -> Arc<AggregateUDF> {
        Arc::new(AggregateUDF::from(Self { plain: sum_udaf() }))
    }
}

fn is_ours(total: &DataType) -> bool {
    matches!(total, DataType::Int64 | DataType::UInt64 | DataType::Decimal128(..))
}

impl AggregateUDFImpl for CheckedSum {
    fn name(&self) -> &str {
        "sum"
    }

    fn signature(&self) -> &Signature {
        self.plain.signature()
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        match arguments {
            [DataType::Decimal128(_, scale)] => Ok(DataType::Decimal128(38, *scale)),
            other => self.plain.return_type(other),
        }
    }

    fn accumulator(&self, arguments: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        match is_ours(arguments.return_type()) {
            true => Ok(Box::new(SumAccumulator::new(arguments.return_type().clone(), arguments.is_distinct))),
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
        Ok(vec![Arc::new(match arguments.is_distinct {
            true => Field::new_list(
                format_state_name(arguments.name, "sum distinct"),
                Field::new_list_field(STATE, true),
                false,
            ),
            false => Field::new(format_state_name(arguments.name, "sum"), STATE, true),
        })])
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
            true => Ok(Box::new(SumGroups::new(arguments.return_type().clone()))),
            false => self.plain.create_groups_accumulator(arguments),
        }
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        ReversedUDAF::Identical
    }
}

fn overflow(total: &DataType) -> DataFusionError {
    let advice = match total {
        DataType::Decimal128(..) => "it has more than 38 digits",
        _ => "cast the argument, as in sum(CAST(x AS decimal(38, 0)))",
    };
    let name = match total {
        DataType::Decimal128(_, scale) => format!("decimal(38, {scale})"),
        _ => "bigint".to_owned(),
    };
    DataFusionError::External(Box::new(Error::invalid(format!(
        "overflow: a sum does not fit into {name}: {advice}"
    ))))
}

fn add(total: i128, value: i128, kind: &DataType) -> Result<i128> {
    total.checked_add(value).ok_or_else(|| overflow(kind))
}

/// Calls `each` with the place and the value of every value that is not NULL.
fn for_each_value(array: &ArrayRef, mut each: impl FnMut(usize, i128) -> Result<()>) -> Result<()> {
    macro_rules! walk {
        ($values:expr) => {{
            let values = $values;
            if values.null_count() == 0 {
                for (at, value) in values.values().iter().enumerate() {
                    each(at, i128::from(*value))?;
                }
            } else {
                for (at, value) in values.iter().enumerate() {
                    if let Some(value) = value {
                        each(at, i128::from(value))?;
                    }
                }
            }
        }};
    }
    match array.data_type() {
        DataType::Int64 => walk!(array.as_primitive::<Int64Type>()),
        DataType::UInt64 => walk!(array.as_primitive::<UInt64Type>()),
        DataType::Decimal128(..) => walk!(array.as_primitive::<Decimal128Type>()),
        DataType::Null => {}
        other => return Err(DataFusionError::Internal(format!("a sum of {other}"))),
    }
    Ok(())
}

/// Totals as an array of their type.
fn totals(sums: impl Iterator<Item = Option<i128>>, kind: &DataType) -> Result<ArrayRef> {
    const LARGEST: u128 = 10u128.pow(38) - 1;
    let misfit = || overflow(kind);
    Ok(match kind {
        DataType::Int64 => {
            let fits = |sum: i128| i64::try_from(sum).map_err(|_| misfit());
            Arc::new(sums.map(|sum| sum.map(fits).transpose()).collect::<Result<Int64Array>>()?)
        }
        DataType::UInt64 => {
            let fits = |sum: i128| u64::try_from(sum).map_err(|_| misfit());
            Arc::new(sums.map(|sum| sum.map(fits).transpose()).collect::<Result<UInt64Array>>()?)
        }
        _ => {
            let fits = |sum: i128| if sum.unsigned_abs() <= LARGEST { Ok(sum) } else { Err(misfit()) };
            let sums = sums.map(|sum| sum.map(fits).transpose()).collect::<Result<Decimal128Array>>()?;
            Arc::new(sums.with_data_type(kind.clone()))
        }
    })
}

/// Sums under way as an array.
fn states(sums: impl Iterator<Item = Option<i128>>) -> ArrayRef {
    Arc::new(sums.collect::<Decimal128Array>().with_data_type(STATE))
}
