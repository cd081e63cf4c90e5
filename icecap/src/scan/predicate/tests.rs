use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, TimeUnit};
use datafusion::functions::core::expr_fn::get_field;
use datafusion::logical_expr::{Expr, cast, col, lit, not};
use icecap_table::iceberg::spec::{NestedField, StructType};

use super::*;

fn schema() -> Schema {
    let primitive = |id, name: &str, ty| Arc::new(NestedField::optional(id, name, Type::Primitive(ty)));
    let inner = StructType::new(vec![primitive(21, "x", PrimitiveType::Long)]);
    Schema::builder()
        .with_fields(vec![
            primitive(1, "i", PrimitiveType::Int),
            primitive(2, "l", PrimitiveType::Long),
            primitive(3, "f", PrimitiveType::Float),
            primitive(4, "d", PrimitiveType::Double),
            primitive(5, "n", PrimitiveType::Decimal { precision: 9, scale: 2 }),
            primitive(6, "day", PrimitiveType::Date),
            primitive(7, "ts", PrimitiveType::Timestamp),
            primitive(8, "tz", PrimitiveType::Timestamptz),
            primitive(9, "ns", PrimitiveType::TimestampNs),
            primitive(10, "s", PrimitiveType::String),
            primitive(11, "b", PrimitiveType::Boolean),
            primitive(12, "bin", PrimitiveType::Binary),
            primitive(13, "u", PrimitiveType::Uuid),
            Arc::new(NestedField::optional(20, "st", Type::Struct(inner))),
        ])
        .build()
        .unwrap()
}

fn shown(filter: Expr) -> String {
    predicate_of(&[filter], &schema()).to_string()
}

fn decimal(digits: i128, precision: u8, scale: i8) -> Expr {
    Expr::Literal(ScalarValue::Decimal128(Some(digits), precision, scale), None)
}

fn literal(value: ScalarValue) -> Expr {
    Expr::Literal(value, None)
}

#[test]
fn comparisons_of_every_type_are_said_exactly() {
    assert_eq!(shown(col("i").gt(lit(5_i32))), "i > 5");
    assert_eq!(shown(lit(5_i64).gt_eq(col("l"))), "l <= 5");
    assert_eq!(shown(col("i").eq(lit(7_i64))), "i = 7");
    assert_eq!(shown(col("s").not_eq(lit("a"))), "s != \"a\"");
    assert_eq!(shown(col("n").lt(decimal(12345, 9, 2))), "n < 123.45");
    assert_eq!(shown(col("n").lt(decimal(1234, 5, 1))), "n < 123.40");
    assert_eq!(shown(col("day").eq(literal(ScalarValue::Date32(Some(1))))), "day = 1970-01-02");
    let ts = |v| literal(ScalarValue::TimestampNanosecond(Some(v), None));
    assert_eq!(shown(col("ts").gt_eq(ts(1_000))), "ts >= 1970-01-01 00:00:00.000001");
    assert_eq!(shown(col("ns").gt_eq(ts(1))), "ns >= 1970-01-01 00:00:00.000000001");
    let tz = literal(ScalarValue::TimestampMicrosecond(Some(1), Some("UTC".into())));
    assert_eq!(shown(col("tz").lt(tz)), "tz < 1970-01-01 00:00:00.000001 UTC");
    assert_eq!(shown(col("b")), "b = true");
    assert_eq!(shown(not(col("b"))), "b = false");
    assert_eq!(shown(col("d").lt(lit(1.5))), "d < 1.5");
}

#[test]
fn what_is_not_exact_widens_to_true() {
    let ts = |v| literal(ScalarValue::TimestampNanosecond(Some(v), None));
    for filter in [
        col("i").lt(lit(3_000_000_000_i64)),
        col("n").lt(decimal(1_234_567, 9, 3)),
        col("ts").gt(ts(1)),
        col("ts").gt(literal(ScalarValue::TimestampMicrosecond(Some(1), Some("UTC".into())))),
        col("f").eq(lit(0.1_f64)),
        col("d").gt(lit(f64::NAN)),
        col("i").gt(col("l")),
        (col("i") + lit(1_i32)).gt(lit(1_i32)),
        col("s").like(lit("%a%")),
        col("s").like(lit("a_b%")),
        col("s").ilike(lit("a%")),
        col("st").is_null(),
        col("missing").eq(lit(1_i32)),
        cast(col("l"), DataType::Float64).gt(lit(1.0)),
        cast(col("l"), DataType::Int32).gt(lit(1_i32)),
        cast(col("s"), DataType::Int32).gt(lit(1_i32)),
        Expr::IsUnknown(Box::new(col("b"))),
    ] {
        assert_eq!(predicate_of(std::slice::from_ref(&filter), &schema()), Predicate::AlwaysTrue, "{filter}");
        assert_eq!(predicate_of(&[not(filter.clone())], &schema()), Predicate::AlwaysTrue, "NOT {filter}");
        assert!(!is_expressible(&filter, &schema()));
    }
}

#[test]
fn widening_below_a_negation_does_not_narrow_the_whole() {
    let inexact = || col("i").gt(col("l"));
    assert_eq!(shown(not(col("i").gt(lit(1_i32)).and(inexact()))), "TRUE");
    assert_eq!(shown(not(col("i").gt(lit(1_i32)).or(inexact()))), "i <= 1");
    assert_eq!(shown(not(not(col("i").gt(lit(1_i32)).and(inexact())))), "i > 1");
    assert_eq!(shown(col("i").gt(lit(1_i32)).or(inexact())), "TRUE");
}

#[test]
fn nulls_follow_sql() {
    assert_eq!(shown(col("i").is_null()), "i IS NULL");
    assert_eq!(shown(not(col("i").is_null())), "i IS NOT NULL");
    assert_eq!(shown(col("i").is_not_null()), "i IS NOT NULL");
    assert_eq!(shown(col("i").eq(literal(ScalarValue::Int32(None)))), "FALSE");
    assert_eq!(shown(not(col("i").eq(literal(ScalarValue::Int32(None))))), "FALSE");
    assert_eq!(shown(col("i").in_list(vec![literal(ScalarValue::Int32(None))], false)), "FALSE");
    let with_null = vec![lit(1_i32), literal(ScalarValue::Int32(None))];
    assert_eq!(shown(col("i").in_list(with_null.clone(), true)), "FALSE");
    assert_eq!(shown(col("i").in_list(with_null, false)), "i IN (1)");
    assert_eq!(shown(literal(ScalarValue::Boolean(None))), "FALSE");
    assert_eq!(shown(Expr::IsNotTrue(Box::new(col("b")))), "TRUE");
    assert_eq!(shown(not(Expr::IsNotTrue(Box::new(col("b"))))), "b = true");
}

#[test]
fn lists_ranges_and_prefixes() {
    let filter = col("i").in_list(vec![lit(1_i32), lit(2_i32)], false);
    let text = shown(filter);
    assert!(text == "i IN (1, 2)" || text == "i IN (2, 1)", "{text}");
    assert_eq!(shown(col("i").between(lit(1_i32), lit(3_i32))), "(i >= 1) AND (i <= 3)");
    assert_eq!(shown(col("i").not_between(lit(1_i32), lit(3_i32))), "(i < 1) OR (i > 3)");
    assert_eq!(shown(col("s").like(lit("ab%"))), "s STARTS WITH \"ab\"");
    assert_eq!(shown(col("s").not_like(lit("ab%"))), "s NOT STARTS WITH \"ab\"");
    assert_eq!(shown(not(col("s").like(lit("ab%")))), "s NOT STARTS WITH \"ab\"");
}

#[test]
fn floats_admit_nan_above_and_both_zeros() {
    assert_eq!(shown(col("d").gt(lit(1.5))), "(d > 1.5) OR (d IS NAN)");
    assert_eq!(shown(not(col("d").lt(lit(1.5)))), "(d >= 1.5) OR (d IS NAN)");
    assert_eq!(shown(col("d").lt(lit(0.0))), "d <= 0");
    assert_eq!(shown(col("d").lt_eq(lit(-0.0))), "d <= 0");
    assert_eq!(shown(col("d").gt_eq(lit(0.0))), "(d >= -0) OR (d IS NAN)");
    assert_eq!(shown(col("f").gt(lit(-0.0_f32))), "(f >= -0) OR (f IS NAN)");
    assert_eq!(shown(col("f").eq(lit(0.0_f32))), "(f >= -0) AND (f <= 0)");
    assert_eq!(shown(col("d").in_list(vec![lit(1.0), lit(2.0)], false)), "(d = 1) OR (d = 2)");
    assert_eq!(shown(col("d").not_eq(lit(0.0))), "TRUE");
}

#[test]
fn casts_that_keep_the_order_come_off() {
    assert_eq!(shown(cast(col("i"), DataType::Int64).gt(lit(5_i64))), "i > 5");
    let micros = DataType::Timestamp(TimeUnit::Microsecond, None);
    let midnight = literal(ScalarValue::TimestampMicrosecond(Some(86_400_000_000), None));
    assert_eq!(shown(cast(col("day"), micros.clone()).gt_eq(midnight)), "day >= 1970-01-02");
    let noon = literal(ScalarValue::TimestampMicrosecond(Some(43_200_000_000), None));
    assert_eq!(shown(cast(col("day"), micros).gt_eq(noon)), "TRUE");
    assert_eq!(shown(cast(col("n"), DataType::Decimal128(15, 4)).gt(decimal(12300, 15, 4))), "n > 1.23");
    assert_eq!(shown(cast(col("n"), DataType::Decimal128(15, 1)).gt(decimal(123, 15, 1))), "TRUE");
}

#[test]
fn fields_of_structs_are_compared_but_not_tested_for_null() {
    let field = || get_field(col("st"), "x");
    assert_eq!(shown(field().gt(lit(1_i64))), "st.x > 1");
    assert_eq!(shown(field().is_null()), "TRUE");
}
