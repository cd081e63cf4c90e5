//! Functions of one name and two meanings: Trino's is built from DataFusion's.

use datafusion::arrow::datatypes::DataType;
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::functions::unicode::expr_fn::char_length;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{Expr, ExprSchemable, Operator, binary_expr, cast, lit, when};

/// `concat`, `greatest`, `least` and `substr` as Trino means them.
pub(super) fn of_expr(expr: Expr, schema: &DFSchema) -> Result<Expr> {
    let Expr::ScalarFunction(ScalarFunction { func, args }) = expr else { return Ok(expr) };
    match func.name() {
        "concat" => concat(ScalarFunction { func, args }, schema),
        "greatest" | "least" => null_if_any(ScalarFunction { func, args }),
        "substr" => substr(ScalarFunction { func, args }, schema),
        _ => Ok(Expr::ScalarFunction(ScalarFunction { func, args })),
    }
}

/// NULL in, NULL out: DataFusion leaves NULLs out of the text.
fn concat(call: ScalarFunction, schema: &DFSchema) -> Result<Expr> {
    let types = call.args.iter().map(|arg| arg.get_type(schema)).collect::<Result<Vec<_>>>()?;
    if types.iter().any(|data_type| data_type.is_nested() || data_type.is_binary()) {
        return Ok(Expr::ScalarFunction(call));
    }
    let texts = call.args.into_iter().zip(types).map(|(arg, given)| match given {
        DataType::Utf8 => arg,
        _ => cast(arg, DataType::Utf8),
    });
    let joined = texts.reduce(|left, right| binary_expr(left, Operator::StringConcat, right));
    Ok(joined.unwrap_or_else(|| lit("")))
}

/// NULL when any argument is: DataFusion leaves NULLs out of the comparison.
fn null_if_any(call: ScalarFunction) -> Result<Expr> {
    let any_null = call.args.iter().cloned().map(Expr::is_null).reduce(Expr::or);
    match any_null {
        Some(any_null) => {
            when(any_null, Expr::Literal(ScalarValue::Null, None)).otherwise(Expr::ScalarFunction(call))
        }
        None => Ok(Expr::ScalarFunction(call)),
    }
}

/// A start below 0 counts from the end, and 0 is nowhere. DataFusion counts on to the left of the text.
fn substr(call: ScalarFunction, schema: &DFSchema) -> Result<Expr> {
    let (Some(text), Some(start)) = (call.args.first().cloned(), call.args.get(1).cloned()) else {
        return Ok(Expr::ScalarFunction(call));
    };
    let positive = match &start {
        Expr::Literal(ScalarValue::Int64(Some(start)), _) => *start > 0,
        _ => !start.get_type(schema)?.is_integer(),
    };
    if positive || !text.get_type(schema)?.is_string() {
        return Ok(Expr::ScalarFunction(call));
    }
    let start = cast(start, DataType::Int64);
    let length = cast(char_length(text.clone()), DataType::Int64);
    let from_end = length.clone() + start.clone() + lit(1i64);
    let at = |start: Expr| {
        let mut args = call.args.clone();
        args[1] = start;
        Expr::ScalarFunction(ScalarFunction { func: call.func.clone(), args })
    };
    let outside = start.clone().eq(lit(0i64)).or((length + start.clone()).lt(lit(0i64)));
    let null = start.clone().is_null().or(text.is_null());
    when(null, Expr::Literal(ScalarValue::Utf8(None), None))
        .when(start.clone().gt(lit(0i64)), at(start))
        .when(outside, lit(""))
        .otherwise(at(from_end))
}
