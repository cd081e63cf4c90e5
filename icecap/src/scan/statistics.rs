//! A table's statistics as DataFusion has them.
//!
//! DataFusion answers `count(*)`, `min` and `max` from exact statistics without reading, so nothing is
//! called exact that could differ from the rows. What the manifests say exactly is the kernel's to judge;
//! here floats are never exact, because bounds ignore NaN and the sign of zero and DataFusion does not.

use datafusion::common::stats::Precision;
use datafusion::common::{ColumnStatistics, ScalarValue, Statistics};
use icecap_table::iceberg::spec::{Datum, PrimitiveType, Schema, Type};
use icecap_table::scan::{Exactness, TableStatistics};

use super::hidden::HiddenColumn;
use super::value::scalar_of_bound;

/// The statistics of a schema's columns followed by the hidden ones.
pub(super) fn statistics(schema: &Schema, known: &TableStatistics) -> Statistics {
    let mut columns: Vec<ColumnStatistics> = schema
        .as_struct()
        .fields()
        .iter()
        .map(|field| match (&*field.field_type, known.columns.get(&field.id)) {
            (Type::Primitive(ty), Some(known)) => column(ty, known),
            _ => ColumnStatistics::new_unknown(),
        })
        .collect();
    let never_null = ColumnStatistics { null_count: Precision::Exact(0), ..ColumnStatistics::new_unknown() };
    columns.extend(HiddenColumn::ALL.map(|column| match column {
        HiddenColumn::RowId | HiddenColumn::LastUpdated => ColumnStatistics::new_unknown(),
        _ => never_null.clone(),
    }));
    let statistics = Statistics {
        num_rows: Precision::Exact(count(known.row_count)),
        total_byte_size: Precision::Inexact(count(known.byte_count)),
        column_statistics: columns,
    };
    if known.all_rows_live { statistics } else { statistics.to_inexact() }
}

fn count(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

fn column(ty: &PrimitiveType, known: &icecap_table::scan::ColumnStatistics) -> ColumnStatistics {
    let bound = |bound: &Option<(Datum, Exactness)>| -> Precision<ScalarValue> {
        let Some((datum, exactness)) = bound else { return Precision::Absent };
        match (scalar_of_bound(datum, ty), exactness) {
            (Some(value), Exactness::Exact) if !is_float(ty) => Precision::Exact(value),
            (Some(value), _) => Precision::Inexact(value),
            (None, _) => Precision::Absent,
        }
    };
    ColumnStatistics {
        null_count: known.null_count.map_or(Precision::Absent, |nulls| Precision::Exact(count(nulls))),
        min_value: bound(&known.min),
        max_value: bound(&known.max),
        ..ColumnStatistics::new_unknown()
    }
}

fn is_float(ty: &PrimitiveType) -> bool {
    matches!(ty, PrimitiveType::Float | PrimitiveType::Double)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use icecap_table::iceberg::spec::NestedField;

    use super::*;

    #[test]
    fn only_what_is_exact_is_called_exact() {
        let schema = Schema::builder()
            .with_fields(vec![
                Arc::new(NestedField::optional(1, "a", Type::Primitive(PrimitiveType::Int))),
                Arc::new(NestedField::optional(2, "b", Type::Primitive(PrimitiveType::Double))),
                Arc::new(NestedField::optional(3, "c", Type::Primitive(PrimitiveType::String))),
            ])
            .build()
            .unwrap();
        let mut known = TableStatistics {
            all_rows_live: true,
            row_count: 10,
            byte_count: 100,
            columns: BTreeMap::from([
                (
                    1,
                    icecap_table::scan::ColumnStatistics {
                        null_count: Some(2),
                        min: Some((Datum::int(1), Exactness::Exact)),
                        max: Some((Datum::int(9), Exactness::Limit)),
                    },
                ),
                (
                    2,
                    icecap_table::scan::ColumnStatistics {
                        null_count: None,
                        min: Some((Datum::double(1.0), Exactness::Exact)),
                        max: None,
                    },
                ),
            ]),
        };
        known.all_rows_live = false;
        let deleted = super::statistics(&schema, &known);
        assert_eq!(deleted.num_rows, Precision::Inexact(10));
        assert_eq!(deleted.column_statistics[0].min_value, Precision::Inexact(ScalarValue::Int32(Some(1))));
        assert_eq!(deleted.column_statistics[0].null_count, Precision::Inexact(2));
        known.all_rows_live = true;
        let statistics = super::statistics(&schema, &known);
        assert_eq!(statistics.num_rows, Precision::Exact(10));
        assert_eq!(statistics.column_statistics.len(), 9);
        let int = &statistics.column_statistics[0];
        assert_eq!(int.null_count, Precision::Exact(2));
        assert_eq!(int.min_value, Precision::Exact(ScalarValue::Int32(Some(1))));
        assert_eq!(int.max_value, Precision::Inexact(ScalarValue::Int32(Some(9))));
        let double = &statistics.column_statistics[1];
        assert_eq!(double.min_value, Precision::Inexact(ScalarValue::Float64(Some(1.0))));
        assert_eq!(double.null_count, Precision::Absent);
        assert_eq!(statistics.column_statistics[2], ColumnStatistics::new_unknown());
        assert_eq!(statistics.column_statistics[4].null_count, Precision::Exact(0));
    }
}
