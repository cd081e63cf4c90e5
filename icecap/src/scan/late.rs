//! Late materialisation: whether a scan decodes its predicate's columns first, and the others only where rows
//! remain.
//!
//! It pays where few rows remain and what is put off outweighs the predicate's columns; else choosing rows costs more
//! than it saves. How many remain is
//! estimated from the table's bounds, as if values were spread evenly between them. The estimate decides on speed
//! alone: the filter above the scan stays.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Schema};
use datafusion::common::stats::Precision;
use datafusion::common::{ColumnStatistics, ScalarValue, Statistics};
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::expressions::{
    BinaryExpr, Column, InListExpr, IsNotNullExpr, IsNullExpr, LikeExpr, Literal, NotExpr,
};
use datafusion::physical_expr::{PhysicalExpr, split_conjunction};

/// The greatest share of rows, as estimated, that may remain.
const MAX_SHARE: f64 = 0.25;
/// What a value of variable width takes, roughly.
const VARIABLE_WIDTH: usize = 24;
/// What an equality leaves of a column whose bounds say nothing.
const EQUAL_SHARE: f64 = 0.1;

/// Whether decoding `columns` late pays. Columns of the predicate and of the statistics are those of the scan's
/// full schema.
pub(super) fn pays(
    predicate: &Arc<dyn PhysicalExpr>,
    statistics: &Statistics,
    schema: &Schema,
    columns: &[usize],
) -> bool {
    let conjuncts = split_conjunction(predicate);
    if !conjuncts.iter().all(|part| cannot_fail(part)) {
        return false;
    }
    let mut read = Vec::new();
    conjuncts.iter().for_each(|part| columns_of(part, &mut read));
    read.sort_unstable();
    read.dedup();
    let width = |column: &usize| schema.fields().get(*column).map_or(0, |field| width_of(field.data_type()));
    let put_off: usize = columns.iter().filter(|column| !read.contains(column)).map(width).sum();
    if put_off < read.iter().map(width).sum() || put_off == 0 {
        return false;
    }
    let mut bounds: Vec<Bounds> = Vec::new();
    let mut share = 1.0;
    for part in conjuncts {
        match Comparison::of(part) {
            Some(comparison) => narrow(&mut bounds, comparison, statistics),
            None => share *= share_of(part),
        }
    }
    share *= bounds.iter().map(Bounds::share).product::<f64>();
    share <= MAX_SHARE
}

/// What a value takes in memory, roughly.
fn width_of(data_type: &DataType) -> usize {
    data_type.primitive_width().unwrap_or(match data_type {
        DataType::Boolean => 1,
        DataType::FixedSizeBinary(width) => usize::try_from(*width).unwrap_or(VARIABLE_WIDTH),
        _ => VARIABLE_WIDTH,
    })
}

/// Decoding evaluates each conjunct by itself, on rows that another one may have taken out before: only what
/// cannot fail may be evaluated there.
fn cannot_fail(expr: &Arc<dyn PhysicalExpr>) -> bool {
    let known = match expr.downcast_ref::<BinaryExpr>() {
        Some(binary) => matches!(
            binary.op(),
            Operator::And
                | Operator::Or
                | Operator::Eq
                | Operator::NotEq
                | Operator::Lt
                | Operator::LtEq
                | Operator::Gt
                | Operator::GtEq
        ),
        None => {
            expr.is::<Column>()
                || expr.is::<Literal>()
                || expr.is::<IsNullExpr>()
                || expr.is::<IsNotNullExpr>()
                || expr.is::<NotExpr>()
                || expr.is::<InListExpr>()
                || expr.is::<LikeExpr>()
        }
    };
    known && expr.children().into_iter().all(cannot_fail)
}

fn columns_of(expr: &Arc<dyn PhysicalExpr>, columns: &mut Vec<usize>) {
    if let Some(column) = expr.downcast_ref::<Column>() {
        columns.push(column.index());
    }
    expr.children().into_iter().for_each(|child| columns_of(child, columns));
}

/// A column compared with a value.
struct Comparison {
    column: usize,
    operator: Operator,
    value: ScalarValue,
}

impl Comparison {
    fn of(expr: &Arc<dyn PhysicalExpr>) -> Option<Self> {
        let binary = expr.downcast_ref::<BinaryExpr>()?;
        let column = |side: &Arc<dyn PhysicalExpr>| side.downcast_ref::<Column>().map(Column::index);
        let value = |side: &Arc<dyn PhysicalExpr>| side.downcast_ref::<Literal>().map(|l| l.value().clone());
        let (column, operator, value) = match (column(binary.left()), value(binary.right())) {
            (Some(column), Some(value)) => (column, *binary.op(), value),
            _ => (column(binary.right())?, binary.op().swap()?, value(binary.left())?),
        };
        let is_known =
            matches!(operator, Operator::Eq | Operator::Lt | Operator::LtEq | Operator::Gt | Operator::GtEq);
        is_known.then_some(Self { column, operator, value })
    }
}

/// What the comparisons leave of one column's values.
struct Bounds {
    column: usize,
    /// The column's own bounds, on a line; absent where they are not known.
    known: Option<(f64, f64)>,
    low: f64,
    high: f64,
    equal: bool,
    /// Half bounded by a value that has no place on the line.
    unknown: bool,
}

impl Bounds {
    fn share(&self) -> f64 {
        let Some((least, greatest)) = self.known.filter(|_| !self.unknown) else {
            return if self.equal { EQUAL_SHARE } else { 1.0 };
        };
        let width = greatest - least;
        let (low, high) = (self.low.max(least), self.high.min(greatest));
        if high < low {
            return 0.0;
        }
        if width <= 0.0 {
            return 1.0;
        }
        // One of the values between, at the least.
        ((high - low) / width).max((1.0 / (width + 1.0)).min(EQUAL_SHARE))
    }
}

fn narrow(all: &mut Vec<Bounds>, comparison: Comparison, statistics: &Statistics) {
    let Comparison { column, operator, value } = comparison;
    let at = all.iter().position(|bounds| bounds.column == column).unwrap_or_else(|| {
        all.push(Bounds {
            column,
            known: statistics.column_statistics.get(column).and_then(bounds_of),
            low: f64::NEG_INFINITY,
            high: f64::INFINITY,
            equal: false,
            unknown: false,
        });
        all.len() - 1
    });
    let bounds = &mut all[at];
    bounds.equal |= operator == Operator::Eq;
    let Some(place) = place(&value) else {
        bounds.unknown = true;
        return;
    };
    if matches!(operator, Operator::Eq | Operator::Gt | Operator::GtEq) {
        bounds.low = bounds.low.max(place);
    }
    if matches!(operator, Operator::Eq | Operator::Lt | Operator::LtEq) {
        bounds.high = bounds.high.min(place);
    }
}

fn bounds_of(column: &ColumnStatistics) -> Option<(f64, f64)> {
    let place = |bound: &Precision<ScalarValue>| bound.get_value().and_then(place);
    Some((place(&column.min_value)?, place(&column.max_value)?))
}

/// Where a value lies on a line that keeps distances.
fn place(value: &ScalarValue) -> Option<f64> {
    Some(match value {
        ScalarValue::Int32(Some(value)) | ScalarValue::Date32(Some(value)) => f64::from(*value),
        ScalarValue::Int64(Some(value))
        | ScalarValue::Time64Microsecond(Some(value))
        | ScalarValue::TimestampMicrosecond(Some(value), _)
        | ScalarValue::TimestampNanosecond(Some(value), _) => *value as f64,
        ScalarValue::Decimal128(Some(value), _, _) => *value as f64,
        ScalarValue::Float32(Some(value)) => f64::from(*value),
        ScalarValue::Float64(Some(value)) => *value,
        _ => return None,
    })
}

/// What a conjunct leaves that is no comparison with a value.
fn share_of(expr: &Arc<dyn PhysicalExpr>) -> f64 {
    match expr.downcast_ref::<InListExpr>() {
        Some(list) if !list.negated() => (list.list().len() as f64 * EQUAL_SHARE / 2.0).min(1.0),
        _ => 1.0,
    }
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::datatypes::Field;
    use datafusion::physical_expr::conjunction;
    use datafusion::physical_expr::expressions::{binary, col, in_list, lit};

    use super::*;

    fn schema() -> Schema {
        Schema::new(vec![
            Field::new("day", DataType::Date32, true),
            Field::new("n", DataType::Int64, true),
            Field::new("text", DataType::Utf8, true),
            Field::new("more", DataType::Utf8, true),
        ])
    }

    fn statistics() -> Statistics {
        let mut known = Statistics::new_unknown(&schema());
        known.column_statistics[0].min_value = Precision::Exact(ScalarValue::Date32(Some(0)));
        known.column_statistics[0].max_value = Precision::Exact(ScalarValue::Date32(Some(1000)));
        known.column_statistics[1].min_value = Precision::Inexact(ScalarValue::Int64(Some(0)));
        known.column_statistics[1].max_value = Precision::Inexact(ScalarValue::Int64(Some(9)));
        known
    }

    fn compared(name: &str, operator: Operator, value: ScalarValue) -> Arc<dyn PhysicalExpr> {
        let column = col(name, &schema()).unwrap();
        binary(column, operator, lit(value), &schema()).unwrap()
    }

    fn day(operator: Operator, value: i32) -> Arc<dyn PhysicalExpr> {
        compared("day", operator, ScalarValue::Date32(Some(value)))
    }

    fn decided(parts: Vec<Arc<dyn PhysicalExpr>>, columns: &[usize]) -> bool {
        pays(&conjunction(parts), &statistics(), &schema(), columns)
    }

    #[test]
    fn a_narrow_range_pays_and_a_wide_one_does_not() {
        assert!(decided(vec![day(Operator::GtEq, 300), day(Operator::Lt, 330)], &[0, 2]));
        assert!(!decided(vec![day(Operator::LtEq, 950)], &[0, 2]));
        assert!(decided(vec![day(Operator::Gt, 5000)], &[0, 2]));
    }

    #[test]
    fn ranges_of_several_columns_multiply() {
        let n = || compared("n", Operator::Gt, ScalarValue::Int64(Some(5)));
        assert!(!decided(vec![n()], &[1, 2]));
        assert!(!decided(vec![day(Operator::Lt, 500)], &[0, 2]));
        assert!(decided(vec![n(), day(Operator::Lt, 500)], &[0, 1, 2]));
    }

    #[test]
    fn without_another_column_there_is_nothing_to_put_off() {
        assert!(!decided(vec![day(Operator::Eq, 5)], &[0]));
        assert!(!decided(vec![day(Operator::Eq, 5)], &[]));
        // A narrow column beside two of the predicate's.
        let n = compared("n", Operator::Eq, ScalarValue::Int64(Some(5)));
        assert!(!decided(
            vec![compared("text", Operator::Eq, ScalarValue::Utf8(Some("x".into()))), n],
            &[0, 1]
        ));
    }

    #[test]
    fn equality_and_short_lists_pay_without_bounds() {
        assert!(decided(vec![compared("text", Operator::Eq, ScalarValue::Utf8(Some("x".into())))], &[2, 3]));
        let list = |n: i64| {
            let values = (0..n).map(|value| lit(ScalarValue::Int64(Some(value)))).collect();
            in_list(col("n", &schema()).unwrap(), values, &false, &schema()).unwrap()
        };
        assert!(decided(vec![list(2)], &[1, 2]));
        assert!(!decided(vec![list(30)], &[1, 2]));
    }

    #[test]
    fn what_could_fail_is_left_to_the_filter_above() {
        let n = col("n", &schema()).unwrap();
        let one = || lit(ScalarValue::Int64(Some(1)));
        let quotient = binary(one(), Operator::Divide, n, &schema()).unwrap();
        let risky = binary(quotient, Operator::Eq, one(), &schema()).unwrap();
        assert!(!decided(vec![day(Operator::Eq, 5), risky], &[0, 1, 2]));
    }
}
