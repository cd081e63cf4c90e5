//! Bringing the rows of one partition to one task, where several tasks would each write a small file of it.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
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

/// The partition of a row as expressions; `None` without one, or where it is of a field inside another.
fn keys(rows: &Arc<dyn ExecutionPlan>, target: &WriteTarget) -> Result<Option<Vec<Arc<dyn PhysicalExpr>>>> {
    let schema = rows.schema();
    let mut keys = Vec::new();
    for field in target.partition_spec.fields() {
        if field.transform == Transform::Void {
            continue;
        }
        let columns = target.schema.as_struct().fields();
        let Some(at) = columns.iter().position(|column| column.id == field.source_id) else {
            return Ok(None);
        };
        let Some(column) = schema.fields().get(at) else { return Ok(None) };
        let source: Arc<dyn PhysicalExpr> = Arc::new(Column::new(column.name(), at));
        let function = Arc::new(ScalarUDF::from(PartitionOf::new(field.transform)));
        let options = Arc::new(ConfigOptions::default());
        let key = ScalarFunctionExpr::try_new(function, vec![source], &schema, options);
        keys.push(Arc::new(key.map_err(from_datafusion)?) as Arc<dyn PhysicalExpr>);
    }
    Ok((!keys.is_empty()).then_some(keys))
}

/// A partition transform as a function of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct PartitionOf {
    transform: Transform,
    signature: Signature,
}

impl PartitionOf {
    fn new(transform: Transform) -> Self {
        Self { transform, signature: Signature::any(1, Volatility::Immutable) }
    }

    /// The transform as bytes: its text in the specification.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        self.transform.to_string().into_bytes()
    }

    /// The function that [`to_bytes`](Self::to_bytes) wrote.
    ///
    /// # Errors
    /// `Corrupt` for other bytes.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let transform = std::str::from_utf8(bytes).ok().and_then(|text| text.parse().ok());
        transform
            .map(Self::new)
            .ok_or_else(|| Error::corrupt(format!("the bytes of {PARTITION_FUNCTION} are broken")))
    }

    fn of(&self, array: &datafusion::arrow::array::ArrayRef) -> DfResult<datafusion::arrow::array::ArrayRef> {
        apply(self.transform, array).map_err(to_datafusion)
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
