//! The transforms against the specification's values and against the kernel's.

use datafusion::arrow::array::*;
use icecap_table::iceberg::spec::{Datum, PrimitiveLiteral, PrimitiveType};
use icecap_table::iceberg::transform::create_transform_function;
use proptest::prelude::*;

use super::*;

fn ints(array: &ArrayRef) -> Vec<Option<i32>> {
    match array.data_type() {
        DataType::Date32 => array.as_primitive::<Date32Type>().iter().collect(),
        _ => array.as_primitive::<Int32Type>().iter().collect(),
    }
}

fn of(transform: Transform, array: impl Array + 'static) -> Vec<Option<i32>> {
    ints(&apply(transform, &(Arc::new(array) as ArrayRef)).unwrap())
}

/// 2017-11-16T22:31:08 in microseconds.
const STAMP: i64 = 1_510_871_468_000_000;

#[test]
fn buckets_of_the_specifications_hashes() {
    let bucket = Transform::Bucket(100);
    let expect = |hash: i32| vec![Some((hash & i32::MAX) % 100)];
    assert_eq!(of(bucket, Int32Array::from(vec![34])), expect(2_017_239_379));
    assert_eq!(of(bucket, Int64Array::from(vec![34])), expect(2_017_239_379));
    let decimal = Decimal128Array::from(vec![1420]).with_precision_and_scale(9, 2).unwrap();
    assert_eq!(of(bucket, decimal), expect(-500_754_589));
    assert_eq!(of(bucket, Date32Array::from(vec![17_486])), expect(-653_330_422));
    assert_eq!(of(bucket, Time64MicrosecondArray::from(vec![81_068_000_000])), expect(-662_762_989));
    assert_eq!(of(bucket, TimestampMicrosecondArray::from(vec![STAMP])), expect(-2_047_944_441));
    assert_eq!(of(bucket, TimestampMicrosecondArray::from(vec![STAMP + 1])), expect(-1_207_196_810));
    assert_eq!(of(bucket, TimestampNanosecondArray::from(vec![STAMP * 1000 + 1001])), expect(-1_207_196_810));
    let zoned = TimestampMicrosecondArray::from(vec![STAMP]).with_timezone("UTC");
    assert_eq!(of(bucket, zoned), expect(-2_047_944_441));
    for text in [
        Arc::new(StringArray::from(vec!["iceberg"])) as ArrayRef,
        Arc::new(LargeStringArray::from(vec!["iceberg"])),
        Arc::new(StringViewArray::from(vec!["iceberg"])),
    ] {
        assert_eq!(ints(&apply(bucket, &text).unwrap()), expect(1_210_000_089));
    }
    let uuid = uuid::Uuid::parse_str("f79c3e09-677c-4bbd-a479-3f349cb785e7").unwrap();
    let uuids = FixedSizeBinaryArray::try_from_iter(std::iter::once(uuid.as_bytes())).unwrap();
    assert_eq!(of(bucket, uuids), expect(1_488_055_340));
    let fixed = FixedSizeBinaryArray::try_from_iter(std::iter::once([0_u8, 1, 2, 3])).unwrap();
    assert_eq!(of(bucket, fixed), expect(-188_683_207));
    assert_eq!(of(bucket, BinaryArray::from(vec![&[0_u8, 1, 2, 3][..]])), expect(-188_683_207));
}

#[test]
fn truncation_is_the_specifications() {
    assert_eq!(of(Transform::Truncate(10), Int32Array::from(vec![1, -1])), [Some(0), Some(-10)]);
    let longs =
        apply(Transform::Truncate(10), &(Arc::new(Int64Array::from(vec![1, -1])) as ArrayRef)).unwrap();
    assert_eq!(longs.as_primitive::<Int64Type>().values(), &[0, -10]);
    let decimal = Decimal128Array::from(vec![1065, -1]).with_precision_and_scale(9, 2).unwrap();
    let cut = apply(Transform::Truncate(50), &(Arc::new(decimal) as ArrayRef)).unwrap();
    assert_eq!(cut.as_primitive::<Decimal128Type>().values(), &[1050, -50]);
    assert_eq!(cut.data_type(), &DataType::Decimal128(9, 2));
    let text: ArrayRef = Arc::new(StringViewArray::from(vec![Some("iceberg"), Some("é世界x"), None]));
    let cut = apply(Transform::Truncate(3), &text).unwrap();
    assert_eq!(cut.as_string::<i32>().iter().collect::<Vec<_>>(), [Some("ice"), Some("é世界"), None]);
    let bytes: ArrayRef = Arc::new(BinaryArray::from(vec![&[1_u8, 2, 3, 4][..], &[1]]));
    let cut = apply(Transform::Truncate(3), &bytes).unwrap();
    assert_eq!(cut.as_binary::<i32>().iter().collect::<Vec<_>>(), [Some(&[1_u8, 2, 3][..]), Some(&[1])]);
}

#[test]
fn time_is_floored_before_the_epoch() {
    let micros = || TimestampMicrosecondArray::from(vec![-1, 0, STAMP]);
    assert_eq!(of(Transform::Year, micros()), [Some(-1), Some(0), Some(47)]);
    assert_eq!(of(Transform::Month, micros()), [Some(-1), Some(0), Some(574)]);
    assert_eq!(of(Transform::Day, micros()), [Some(-1), Some(0), Some(17_486)]);
    assert_eq!(of(Transform::Hour, micros()), [Some(-1), Some(0), Some(419_686)]);
    let nanos = || TimestampNanosecondArray::from(vec![-1, STAMP * 1000]);
    assert_eq!(of(Transform::Year, nanos()), [Some(-1), Some(47)]);
    assert_eq!(of(Transform::Hour, nanos()), [Some(-1), Some(419_686)]);
    assert_eq!(of(Transform::Day, Date32Array::from(vec![-1])), [Some(-1)]);
    assert_eq!(of(Transform::Month, Date32Array::from(vec![17_501])), [Some(575)]);
}

#[test]
fn null_stays_null_and_void_makes_it() {
    assert_eq!(of(Transform::Bucket(4), Int32Array::from(vec![None])), [None]);
    assert_eq!(of(Transform::Void, Int32Array::from(vec![1])), [None]);
}

#[test]
fn what_is_not_defined_is_refused() {
    let floats: ArrayRef = Arc::new(Float64Array::from(vec![1.0]));
    for transform in [Transform::Bucket(4), Transform::Truncate(4), Transform::Day, Transform::Hour] {
        assert_eq!(apply(transform, &floats).unwrap_err().kind(), icecap_table::ErrorKind::Invalid);
    }
    let dates: ArrayRef = Arc::new(Date32Array::from(vec![1]));
    assert!(apply(Transform::Hour, &dates).is_err());
    assert!(apply(Transform::Bucket(0), &dates).is_err());
    assert!(apply(Transform::Unknown, &dates).is_err());
}

/// The kernel's result on one value.
fn kernel(transform: Transform, value: &Datum) -> PrimitiveLiteral {
    let function = create_transform_function(&transform).unwrap();
    function.transform_literal(value).unwrap().unwrap().literal().clone()
}

fn int(value: Vec<Option<i32>>) -> PrimitiveLiteral {
    PrimitiveLiteral::Int(value[0].unwrap())
}

proptest! {
    #[test]
    fn ints_agree_with_the_kernel(value: i32, n in 1_u32..1000) {
        let array = || Int32Array::from(vec![value]);
        prop_assert_eq!(int(of(Transform::Bucket(n), array())), kernel(Transform::Bucket(n), &Datum::int(value)));
        if value > i32::MIN + 1000 {
            let transform = Transform::Truncate(n);
            prop_assert_eq!(int(of(transform, array())), kernel(transform, &Datum::int(value)));
        }
    }

    #[test]
    fn longs_agree_with_the_kernel(value in i64::MIN + 1000..i64::MAX, n in 1_u32..1000) {
        let array = || Int64Array::from(vec![value]);
        prop_assert_eq!(int(of(Transform::Bucket(n), array())), kernel(Transform::Bucket(n), &Datum::long(value)));
        let cut = apply(Transform::Truncate(n), &(Arc::new(array()) as ArrayRef)).unwrap();
        let cut = cut.as_primitive::<Int64Type>().value(0);
        prop_assert_eq!(PrimitiveLiteral::Long(cut), kernel(Transform::Truncate(n), &Datum::long(value)));
    }

    #[test]
    fn texts_agree_with_the_kernel(value in "\\PC{0,40}", n in 1_u32..50) {
        let array = || StringArray::from(vec![value.as_str()]);
        let datum = Datum::string(&value);
        prop_assert_eq!(int(of(Transform::Bucket(n), array())), kernel(Transform::Bucket(n), &datum));
        let cut = apply(Transform::Truncate(n), &(Arc::new(array()) as ArrayRef)).unwrap();
        let cut = PrimitiveLiteral::String(cut.as_string::<i32>().value(0).to_owned());
        prop_assert_eq!(cut, kernel(Transform::Truncate(n), &datum));
    }

    #[test]
    fn bytes_agree_with_the_kernel(value: Vec<u8>, n in 1_u32..50) {
        let array = BinaryArray::from(vec![value.as_slice()]);
        let datum = Datum::binary(value.clone());
        prop_assert_eq!(int(of(Transform::Bucket(n), array)), kernel(Transform::Bucket(n), &datum));
    }

    #[test]
    fn dates_agree_with_the_kernel(day in -900_000_i32..900_000, n in 1_u32..50) {
        for transform in [Transform::Year, Transform::Month, Transform::Day, Transform::Bucket(n)] {
            let ours = of(transform, Date32Array::from(vec![day]));
            prop_assert_eq!(int(ours), kernel(transform, &Datum::date(day)), "{}", transform);
        }
    }

    #[test]
    fn timestamps_agree_with_the_kernel(micros in -9_000_000_000_000_000_i64..9_000_000_000_000_000, n in 1_u32..50) {
        let transforms = [Transform::Year, Transform::Month, Transform::Day, Transform::Hour, Transform::Bucket(n)];
        for transform in transforms {
            let ours = of(transform, TimestampMicrosecondArray::from(vec![micros]));
            prop_assert_eq!(int(ours), kernel(transform, &Datum::timestamp_micros(micros)), "{}", transform);
            // Nanoseconds are the microseconds that they lie in.
            let finer = of(transform, TimestampNanosecondArray::from(vec![micros * 1000 + 999]));
            let coarse = of(transform, TimestampMicrosecondArray::from(vec![micros]));
            prop_assert_eq!(finer, coarse, "{}", transform);
        }
    }

    #[test]
    fn decimals_hash_like_the_kernels(unscaled in -10_i128.pow(30)..10_i128.pow(30), n in 1_u32..50) {
        let array = Decimal128Array::from(vec![unscaled]).with_precision_and_scale(38, 0).unwrap();
        let mut bytes = unscaled.to_be_bytes().to_vec();
        while bytes.len() > 1
            && ((bytes[0] == 0 && bytes[1] < 0x80) || (bytes[0] == 0xff && bytes[1] >= 0x80)) {
            bytes.remove(0);
        }
        let ty = PrimitiveType::Decimal { precision: 38, scale: 0 };
        let datum = Datum::try_from_bytes(&bytes, ty).unwrap();
        prop_assert_eq!(int(of(Transform::Bucket(n), array)), kernel(Transform::Bucket(n), &datum));
    }
}
