//! Whatever the values, they lie within the bounds.

use datafusion::arrow::array::{
    ArrayRef, BinaryArray, Decimal128Array, Float64Array, Int64Array, StringArray,
};
use icecap_table::iceberg::spec::{Datum, PrimitiveLiteral};
use proptest::prelude::*;

use super::*;

fn write(ty: PrimitiveType, arrays: Vec<ArrayRef>) -> StagedFile {
    // Small row groups, so that bounds are merged over several.
    let table = Table::new(vec![primitive(1, "c", ty)]).with("write.parquet.row-group-size-bytes", "1");
    let batches = arrays
        .into_iter()
        .map(|array| RecordBatch::try_new(table.arrow_schema(), vec![array]).unwrap())
        .collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(table.write(&[batches])).remove(0)
}

fn bound(bounds: &BTreeMap<i32, Vec<u8>>, ty: PrimitiveType) -> Option<PrimitiveLiteral> {
    Some(Datum::try_from_bytes(bounds.get(&1)?, ty).unwrap().literal().clone())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn longs(values in prop::collection::vec(prop::collection::vec(any::<Option<i64>>(), 1..5), 1..4)) {
        let arrays = values.iter().map(|v| Arc::new(Int64Array::from(v.clone())) as ArrayRef).collect();
        let file = write(PrimitiveType::Long, arrays);
        let present: Vec<i64> = values.into_iter().flatten().flatten().collect();
        let long = |value: Option<&i64>| value.map(|v| PrimitiveLiteral::Long(*v));
        prop_assert_eq!(bound(&file.lower_bounds, PrimitiveType::Long), long(present.iter().min()));
        prop_assert_eq!(bound(&file.upper_bounds, PrimitiveType::Long), long(present.iter().max()));
    }

    #[test]
    fn decimals(values in prop::collection::vec(-10_i128.pow(30)..10_i128.pow(30), 1..8)) {
        let ty = PrimitiveType::Decimal { precision: 38, scale: 2 };
        let array = Decimal128Array::from(values.clone()).with_precision_and_scale(38, 2).unwrap();
        let file = write(ty.clone(), vec![Arc::new(array)]);
        let exact = |value: Option<&i128>| value.map(|v| PrimitiveLiteral::Int128(*v));
        prop_assert_eq!(bound(&file.lower_bounds, ty.clone()), exact(values.iter().min()));
        prop_assert_eq!(bound(&file.upper_bounds, ty), exact(values.iter().max()));
    }

    #[test]
    fn doubles_with_nans_and_zeros(
        values in prop::collection::vec(
            prop::collection::vec(prop_oneof![any::<f64>(), Just(f64::NAN), Just(0.0), Just(-0.0)], 1..5),
            1..4,
        )
    ) {
        let arrays = values.iter().map(|v| Arc::new(Float64Array::from(v.clone())) as ArrayRef).collect();
        let file = write(PrimitiveType::Double, arrays);
        let all: Vec<f64> = values.into_iter().flatten().collect();
        let numbers: Vec<f64> = all.iter().copied().filter(|v| !v.is_nan()).collect();
        prop_assert_eq!(file.nan_counts[&1], (all.len() - numbers.len()) as u64);
        let double = |bounds: &BTreeMap<i32, Vec<u8>>| {
            bounds.get(&1).map(|bytes| f64::from_le_bytes(bytes.as_slice().try_into().unwrap()))
        };
        let (lower, upper) = (double(&file.lower_bounds), double(&file.upper_bounds));
        prop_assert_eq!(lower.is_some(), !numbers.is_empty());
        for number in &numbers {
            // In Java's order, where -0.0 is less than 0.0.
            prop_assert!(lower.unwrap().total_cmp(number).is_le() && upper.unwrap().total_cmp(number).is_ge());
        }
        if let Some(least) = numbers.iter().copied().reduce(f64::min) {
            prop_assert_eq!(lower, Some(least));
        }
    }

    #[test]
    fn texts(values in prop::collection::vec("(\\PC|\u{10ffff}|\u{d7ff}){0,40}", 1..8)) {
        let file = write(PrimitiveType::String, vec![Arc::new(StringArray::from(values.clone()))]);
        let lower = String::from_utf8(file.lower_bounds[&1].clone()).unwrap();
        prop_assert!(lower.chars().count() <= 16);
        prop_assert!(values.iter().all(|value| *value >= lower));
        if let Some(upper) = file.upper_bounds.get(&1) {
            let upper = String::from_utf8(upper.clone()).unwrap();
            prop_assert!(upper.chars().count() <= 16);
            prop_assert!(values.iter().all(|value| *value <= upper));
        }
    }

    #[test]
    fn blobs(values in prop::collection::vec(prop::collection::vec(prop_oneof![any::<u8>(), Just(0xff)], 0..90), 1..8)) {
        let file = write(PrimitiveType::Binary, vec![Arc::new(BinaryArray::from_iter_values(&values))]);
        let lower = &file.lower_bounds[&1];
        prop_assert!(lower.len() <= 16 && values.iter().all(|value| value >= lower));
        if let Some(upper) = file.upper_bounds.get(&1) {
            prop_assert!(upper.len() <= 16 && values.iter().all(|value| value <= upper));
        }
    }
}

#[test]
fn a_column_of_nans_has_no_bounds() {
    let file = write(PrimitiveType::Double, vec![Arc::new(Float64Array::from(vec![f64::NAN, -f64::NAN]))]);
    assert_eq!((file.nan_counts[&1], file.lower_bounds.len(), file.upper_bounds.len()), (2, 0, 0));
}
