//! A subquery that stands for one value has one row at most, as in Trino: a second one is an error.
//!
//! DataFusion plans it as a join and does not look, so that `id = (SELECT …)` over several rows would mean `IN`.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, BooleanArray};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{Column, DataFusionError, Result, ScalarValue};
use datafusion::logical_expr::expr::AggregateFunction;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::format_state_name;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Expr, LogicalPlanBuilder, Signature, Subquery, Volatility,
};
use icecap_table::Error;

/// The aggregate that gives its only value, NULL of no row, an error of several.
const NAME: &str = "icecap_only_value";

/// A subquery whose plan does not show that it has one row at most, with a check.
pub(super) fn of_expr(expr: Expr) -> Result<Expr> {
    let Expr::ScalarSubquery(inside) = expr else { return Ok(expr) };
    if inside.subquery.max_rows().is_some_and(|rows| rows <= 1) {
        return Ok(Expr::ScalarSubquery(inside));
    }
    let Subquery { subquery, outer_ref_columns, spans } = inside;
    let value = Expr::Column(Column::from(subquery.schema().qualified_field(0)));
    let only = Expr::AggregateFunction(AggregateFunction::new_udf(
        function(),
        vec![value],
        false,
        None,
        Vec::new(),
        None,
    ));
    let checked = LogicalPlanBuilder::from(subquery).aggregate(Vec::<Expr>::new(), vec![only])?.build()?;
    Ok(Expr::ScalarSubquery(Subquery { subquery: Arc::new(checked), outer_ref_columns, spans }))
}

pub(super) fn function() -> Arc<AggregateUDF> {
    Arc::new(AggregateUDF::from(OnlyValue { signature: Signature::any(1, Volatility::Immutable) }))
}

/// What [`NAME`] says.
#[derive(Debug, PartialEq, Eq, Hash)]
struct OnlyValue {
    signature: Signature,
}

impl AggregateUDFImpl for OnlyValue {
    fn name(&self) -> &'static str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        let only = arguments.first().cloned();
        only.ok_or_else(|| DataFusionError::Internal(format!("{NAME} of nothing")))
    }

    fn accumulator(&self, arguments: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        let value = ScalarValue::try_from(arguments.return_type())?;
        Ok(Box::new(OnlyValueAccumulator { value, is_there: false }))
    }

    fn state_fields(&self, arguments: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        let value = arguments.return_field.data_type().clone();
        Ok(vec![
            Arc::new(Field::new(format_state_name(arguments.name, "value"), value, true)),
            Arc::new(Field::new(format_state_name(arguments.name, "is there"), DataType::Boolean, false)),
        ])
    }
}

#[derive(Debug)]
struct OnlyValueAccumulator {
    value: ScalarValue,
    is_there: bool,
}

impl OnlyValueAccumulator {
    fn take(&mut self, values: &ArrayRef, at: usize) -> Result<()> {
        if self.is_there {
            return Err(DataFusionError::External(Box::new(Error::invalid(
                "a subquery that stands for one value gives several rows: write IN (SELECT …), or give it an aggregate \
                 or a LIMIT 1",
            ))));
        }
        self.value = ScalarValue::try_from_array(values, at)?;
        self.is_there = true;
        Ok(())
    }
}

impl Accumulator for OnlyValueAccumulator {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let Some(values) = values.first() else { return Ok(()) };
        (0..values.len().min(2)).try_for_each(|at| self.take(values, at))
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(self.value.clone())
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![self.value.clone(), ScalarValue::Boolean(Some(self.is_there))])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let [values, there] = states else {
            return Err(DataFusionError::Internal(format!("a state of {NAME} has two parts")));
        };
        let there: &BooleanArray = there.as_boolean();
        (0..values.len())
            .filter(|at| there.is_valid(*at) && there.value(*at))
            .try_for_each(|at| self.take(values, at))
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.value.size()
    }
}
