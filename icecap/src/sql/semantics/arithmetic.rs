//! Whole-number arithmetic that fails rather than wraps around.
//!
//! DataFusion's `+`, `-` and `*` of integers wrap; so does the sign. Floats and decimals are right as they are.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, Datum};
use datafusion::arrow::compute::kernels::numeric;
use datafusion::arrow::datatypes::{DECIMAL128_MAX_PRECISION, DataType};
use datafusion::arrow::error::ArrowError;
use datafusion::common::{DFSchema, DataFusionError, Result, ScalarValue};
use datafusion::logical_expr::expr::BinaryExpr;
use datafusion::logical_expr::type_coercion::binary::BinaryTypeCoercer;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ExprSchemable, Operator, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility, cast,
};

/// One checked operation on whole numbers of one type.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Checked {
    operation: Operation,
    signature: Signature,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Operation {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
    Negate,
}

const ALL: [Operation; 6] = [
    Operation::Add,
    Operation::Subtract,
    Operation::Multiply,
    Operation::Divide,
    Operation::Remainder,
    Operation::Negate,
];

/// The operations as functions, for whoever runs a plan.
pub(super) fn functions() -> impl Iterator<Item = Arc<ScalarUDF>> {
    ALL.into_iter().map(|operation| Arc::new(Checked::function(operation)))
}

/// An operation on integers as the checked one.
pub(super) fn of_expr(expr: Expr, schema: &DFSchema) -> Result<Expr> {
    match expr {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            let Some(operation) = of_operator(op) else {
                return Ok(Expr::BinaryExpr(BinaryExpr { left, op, right }));
            };
            let (left_type, right_type) = (left.get_type(schema)?, right.get_type(schema)?);
            if matches!(op, Operator::Plus | Operator::Minus) {
                if let Some(scaled) = at_scale_of(&left, &right_type) {
                    return Ok(Expr::BinaryExpr(BinaryExpr { left: Box::new(scaled), op, right }));
                }
                if let Some(scaled) = at_scale_of(&right, &left_type) {
                    return Ok(Expr::BinaryExpr(BinaryExpr { left, op, right: Box::new(scaled) }));
                }
            }
            let integers = |data_type: &DataType| data_type.is_integer() || data_type.is_null();
            if !(integers(&left_type) && integers(&right_type))
                || (left_type.is_null() && right_type.is_null())
            {
                return Ok(Expr::BinaryExpr(BinaryExpr { left, op, right }));
            }
            let (left_type, right_type) =
                BinaryTypeCoercer::new(&left_type, &op, &right_type).get_input_types()?;
            if left_type != right_type || !left_type.is_integer() {
                return Ok(Expr::BinaryExpr(BinaryExpr { left, op, right }));
            }
            let operand = |expr: Expr| match expr.get_type(schema) {
                Ok(given) if given == left_type => expr,
                _ => cast(expr, left_type.clone()),
            };
            Ok(Checked::function(operation).call(vec![operand(*left), operand(*right)]))
        }
        Expr::Negative(inner) if inner.get_type(schema)?.is_signed_integer() => {
            Ok(Checked::function(Operation::Negate).call(vec![*inner]))
        }
        other => Ok(other),
    }
}

/// A whole number in the text, as a decimal of the scale of the decimal that it is added to or taken from. The
/// result and its type are the same; but of unlike scales, Arrow scales both operands again for every row.
fn at_scale_of(literal: &Expr, other: &DataType) -> Option<Expr> {
    let (Expr::Literal(ScalarValue::Int64(Some(value)), metadata), DataType::Decimal128(_, scale)) =
        (literal, other)
    else {
        return None;
    };
    // What DataFusion makes of a bigint beside a decimal: 20 digits.
    const DIGITS: u8 = 20;
    let digits = DIGITS.checked_add(u8::try_from(*scale).ok().filter(|scale| *scale > 0)?)?;
    let value = i128::from(*value).checked_mul(10_i128.checked_pow(u32::try_from(*scale).ok()?)?)?;
    (digits <= DECIMAL128_MAX_PRECISION)
        .then(|| Expr::Literal(ScalarValue::Decimal128(Some(value), digits, *scale), metadata.clone()))
}

fn of_operator(op: Operator) -> Option<Operation> {
    Some(match op {
        Operator::Plus => Operation::Add,
        Operator::Minus => Operation::Subtract,
        Operator::Multiply => Operation::Multiply,
        Operator::Divide => Operation::Divide,
        Operator::Modulo => Operation::Remainder,
        _ => return None,
    })
}

impl Checked {
    fn function(operation: Operation) -> ScalarUDF {
        let arguments = if operation == Operation::Negate { 1 } else { 2 };
        ScalarUDF::from(Self { operation, signature: Signature::any(arguments, Volatility::Immutable) })
    }

    fn compute(&self, left: &dyn Datum, right: Option<&dyn Datum>) -> Result<ArrayRef, ArrowError> {
        match (self.operation, right) {
            (Operation::Negate, _) | (_, None) => numeric::neg(left.get().0),
            (Operation::Add, Some(right)) => numeric::add(left, right),
            (Operation::Subtract, Some(right)) => numeric::sub(left, right),
            (Operation::Multiply, Some(right)) => numeric::mul(left, right),
            (Operation::Divide, Some(right)) => numeric::div(left, right),
            (Operation::Remainder, Some(right)) => numeric::rem(left, right),
        }
    }
}

impl ScalarUDFImpl for Checked {
    fn name(&self) -> &str {
        match self.operation {
            Operation::Add => "icecap_add",
            Operation::Subtract => "icecap_subtract",
            Operation::Multiply => "icecap_multiply",
            Operation::Divide => "icecap_divide",
            Operation::Remainder => "icecap_remainder",
            Operation::Negate => "icecap_negate",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        match arguments.first() {
            Some(first) => Ok(first.clone()),
            None => Err(DataFusionError::Internal(format!("{} takes operands", self.name()))),
        }
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        enum Operand {
            Array(ArrayRef),
            Scalar(datafusion::arrow::array::Scalar<ArrayRef>),
        }
        impl Operand {
            fn datum(&self) -> &dyn Datum {
                match self {
                    Self::Array(array) => array,
                    Self::Scalar(scalar) => scalar,
                }
            }
        }
        let is_scalar = arguments.args.iter().all(|value| matches!(value, ColumnarValue::Scalar(_)));
        let operands = arguments
            .args
            .iter()
            .map(|value| match value {
                ColumnarValue::Array(array) => Ok(Operand::Array(Arc::clone(array))),
                ColumnarValue::Scalar(scalar) => Ok(Operand::Scalar(scalar.to_scalar()?)),
            })
            .collect::<Result<Vec<_>>>()?;
        let (left, right) = match operands.as_slice() {
            [one] => (one, None),
            [left, right] => (left, Some(right.datum())),
            _ => return Err(DataFusionError::Internal(format!("{} takes operands", self.name()))),
        };
        let computed = self.compute(left.datum(), right)?;
        if is_scalar {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&computed, 0)?));
        }
        Ok(ColumnarValue::Array(computed))
    }
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::datatypes::Field;
    use datafusion::logical_expr::{binary_expr, col, lit};

    use super::*;

    fn schema(scale: i8) -> DFSchema {
        let field = Field::new("d", DataType::Decimal128(15, scale), true);
        DFSchema::from_unqualified_fields(vec![field].into(), Default::default()).unwrap()
    }

    #[test]
    fn a_whole_number_takes_the_scale_of_the_decimal_beside_it_and_the_type_stays() {
        for op in [Operator::Plus, Operator::Minus] {
            for plain in [binary_expr(lit(1_i64), op, col("d")), binary_expr(col("d"), op, lit(-7_i64))] {
                let coerced = |expr: &Expr, schema: &DFSchema| {
                    let Expr::BinaryExpr(binary) = expr else { panic!("{expr}") };
                    let (left, right) =
                        (binary.left.get_type(schema).unwrap(), binary.right.get_type(schema).unwrap());
                    BinaryTypeCoercer::new(&left, &binary.op, &right).get_result_type().unwrap()
                };
                let schema = schema(2);
                let scaled = of_expr(plain.clone(), &schema).unwrap();
                assert_ne!(scaled, plain);
                assert_eq!(coerced(&scaled, &schema), coerced(&plain, &schema));
            }
        }
    }

    #[test]
    fn what_would_not_fit_stays() {
        let plain = binary_expr(lit(1_i64), Operator::Plus, col("d"));
        for scale in [0, 19] {
            let field = Field::new("d", DataType::Decimal128(38, scale), true);
            let schema = DFSchema::from_unqualified_fields(vec![field].into(), Default::default()).unwrap();
            assert_eq!(of_expr(plain.clone(), &schema).unwrap(), plain);
        }
    }
}
