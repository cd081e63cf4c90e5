//! Functions that DataFusion has with another meaning.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::{DataFusionError, Result, ScalarValue};
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use crate::arrow_schema::UTC;

/// Our own function of that name, if there is one.
pub(crate) fn own_function(name: &str) -> Option<Arc<ScalarUDF>> {
    let zone = match name {
        "now" | "current_timestamp" => Some(UTC.into()),
        "localtimestamp" => None,
        _ => return None,
    };
    let now = Now { name: name.to_owned(), zone, signature: Signature::nullary(Volatility::Stable) };
    Some(Arc::new(ScalarUDF::from(now)))
}

/// The time at which the statement started, in microseconds as every timestamp of SQL.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Now {
    name: String,
    zone: Option<Arc<str>>,
    signature: Signature,
}

impl ScalarUDFImpl for Now {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(DataType::Timestamp(TimeUnit::Microsecond, self.zone.clone()))
    }

    fn simplify(&self, arguments: Vec<Expr>, context: &SimplifyContext) -> Result<ExprSimplifyResult> {
        let Some(now) = context.query_execution_start_time() else {
            return Ok(ExprSimplifyResult::Original(arguments));
        };
        let value = ScalarValue::TimestampMicrosecond(Some(now.timestamp_micros()), self.zone.clone());
        Ok(ExprSimplifyResult::Simplified(Expr::Literal(value, None)))
    }

    fn invoke_with_args(&self, _arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        Err(DataFusionError::Internal(format!("{}() was not replaced by a value while planning", self.name)))
    }
}
