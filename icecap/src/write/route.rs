//! Bringing the rows of one partition to one task, where several tasks would each write a small file of it.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Schema};
use datafusion::common::config::ConfigOptions;
use datafusion::common::{DataFusionError, Result as DfResult, ScalarValue};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties, Partitioning};
use icecap_table::iceberg::spec::Transform;
use icecap_table::properties::DistributionMode;
use icecap_table::{Error, Result};

use super::partition::{source_column, source_path};
use super::target::WriteTarget;
use super::transform::apply;
use crate::plan::{from_datafusion, to_datafusion};

/// The function's name, in plans and on the wire.
pub(crate) const PARTITION_FUNCTION: &str = "icecap_partition";

/// `rows` as an exchange by partition, for `tasks` tasks that write `target`; `None` where that saves no small
/// files: the table has no partitions, its rows are wanted as they come (`write.distribution-mode` is `none`), or
/// every task writes so much that its files are full anyway.
///
/// # Errors
/// `Invalid` for properties that cannot be.
pub(crate) fn by_partition(
    rows: &Arc<dyn ExecutionPlan>,
    target: &WriteTarget,
    tasks: usize,
    estimated_bytes: Option<u64>,
) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let settings = target.settings()?;
    let full = |bytes: u64| bytes / tasks.max(1) as u64 >= settings.target_file_size_bytes;
    match settings.distribution {
        Some(DistributionMode::None) => return Ok(None),
        Some(_) => {}
        None if estimated_bytes.is_some_and(full) => return Ok(None),
        None => {}
    }
    let Some(keys) = keys(rows, target)? else { return Ok(None) };
    let count = rows.output_partitioning().partition_count();
    let routed = RepartitionExec::try_new(Arc::clone(rows), Partitioning::Hash(keys, count));
    Ok(Some(Arc::new(routed.map_err(from_datafusion)?)))
}

/// The partition of a row as expressions; `None` without one.
pub(super) fn keys(
    rows: &Arc<dyn ExecutionPlan>,
    target: &WriteTarget,
) -> Result<Option<Vec<Arc<dyn PhysicalExpr>>>> {
    let schema = rows.schema();
    let mut keys = Vec::new();
    for field in target.partition_spec.fields() {
        if field.transform == Transform::Void {
            continue;
        }
        match transformed(&schema, target, field.source_id, field.transform)? {
            Some(key) => keys.push(key),
            None => return Ok(None),
        }
    }
    Ok((!keys.is_empty()).then_some(keys))
}

/// A transform of a column of the rows as an expression; `None` where there is no such column, or it is inside a
/// list or map.
pub(super) fn transformed(
    rows: &Schema,
    target: &WriteTarget,
    source_id: i32,
    transform: Transform,
) -> Result<Option<Arc<dyn PhysicalExpr>>> {
    let Some((path, _)) = source_path(target.schema.as_struct(), source_id) else { return Ok(None) };
    let Some((at, below)) = path.split_first() else { return Ok(None) };
    let Some(column) = rows.fields().get(*at) else { return Ok(None) };
    let source: Arc<dyn PhysicalExpr> = Arc::new(Column::new(column.name(), *at));
    if transform == Transform::Identity && below.is_empty() {
        return Ok(Some(source));
    }
    let function = Arc::new(ScalarUDF::from(PartitionOf::new(transform, below.to_vec())));
    let options = Arc::new(ConfigOptions::default());
    let key = ScalarFunctionExpr::try_new(function, vec![source], rows, options).map_err(from_datafusion)?;
    Ok(Some(Arc::new(key)))
}

/// A transform of a column, or of a field inside it, as a function of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct PartitionOf {
    transform: Transform,
    /// Positions from the column down to the field.
    below: Vec<usize>,
    signature: Signature,
}

impl PartitionOf {
    fn new(transform: Transform, below: Vec<usize>) -> Self {
        Self { transform, below, signature: Signature::any(1, Volatility::Immutable) }
    }

    /// The function as bytes: the transform's text in the specification, then a position for each step down.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let steps = self.below.iter().map(|at| format!(" {at}"));
        std::iter::once(self.transform.to_string()).chain(steps).collect::<String>().into_bytes()
    }

    /// The function that [`to_bytes`](Self::to_bytes) wrote.
    ///
    /// # Errors
    /// `Corrupt` for other bytes.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let parsed = std::str::from_utf8(bytes).ok().and_then(|text| {
            let mut words = text.split(' ');
            let transform = words.next()?.parse().ok()?;
            Some(Self::new(transform, words.map(|word| word.parse().ok()).collect::<Option<_>>()?))
        });
        parsed.ok_or_else(|| Error::corrupt(format!("the bytes of {PARTITION_FUNCTION} are broken")))
    }

    fn path(&self) -> Vec<usize> {
        std::iter::once(0).chain(self.below.iter().copied()).collect()
    }

    fn of(&self, array: &datafusion::arrow::array::ArrayRef) -> DfResult<datafusion::arrow::array::ArrayRef> {
        let inner = source_column(std::slice::from_ref(array), &self.path()).map_err(to_datafusion)?;
        apply(self.transform, &inner).map_err(to_datafusion)
    }
}

impl ScalarUDFImpl for PartitionOf {
    fn name(&self) -> &str {
        PARTITION_FUNCTION
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> DfResult<DataType> {
        let [from] = arguments else {
            return Err(DataFusionError::Internal(format!("{PARTITION_FUNCTION} takes one argument")));
        };
        let none = datafusion::arrow::array::new_empty_array(from);
        Ok(self.of(&none)?.data_type().clone())
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs<'_>) -> DfResult<FieldRef> {
        let types: Vec<DataType> =
            arguments.arg_fields.iter().map(|field| field.data_type().clone()).collect();
        Ok(Arc::new(Field::new(PARTITION_FUNCTION, self.return_type(&types)?, true)))
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        match arguments.args.as_slice() {
            [ColumnarValue::Array(array)] => Ok(ColumnarValue::Array(self.of(array)?)),
            [ColumnarValue::Scalar(scalar)] => {
                let value = self.of(&scalar.to_array()?)?;
                Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&value, 0)?))
            }
            _ => Err(DataFusionError::Internal(format!("{PARTITION_FUNCTION} takes one argument"))),
        }
    }
}
