use std::sync::Arc;

use datafusion::arrow::array::*;
use datafusion::arrow::buffer::{NullBuffer, OffsetBuffer};
use datafusion::arrow::datatypes::*;
use datafusion::logical_expr::ScalarUDF;
use icecap_table::{ErrorKind, Result};

use super::{STORE_FUNCTION, StoreCast, decode_udf, encode_udf, field_mapping};

/// Stores `array` in an optional column `c` of type `to`.
fn stored(array: impl Array + 'static, to: DataType) -> Result<ArrayRef> {
    super::cast::store(&(Arc::new(array) as ArrayRef), &Field::new("c", to, true), "c", None)
}

fn same(array: impl Array + 'static, to: DataType, expected: impl Array + 'static) {
    let stored = stored(array, to).unwrap();
    assert_eq!(&stored, &(Arc::new(expected) as ArrayRef));
}

fn message(array: impl Array + 'static, to: DataType) -> String {
    let error = stored(array, to).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    error.to_string()
}

fn decimal(values: Vec<Option<i128>>, precision: u8, scale: i8) -> Decimal128Array {
    Decimal128Array::from(values).with_precision_and_scale(precision, scale).unwrap()
}

#[test]
fn whole_numbers_keep_their_value_or_fail() {
    same(
        Int64Array::from(vec![Some(5), None, Some(-7)]),
        DataType::Int32,
        Int32Array::from(vec![Some(5), None, Some(-7)]),
    );
    same(UInt8Array::from(vec![255]), DataType::Int32, Int32Array::from(vec![255]));
    same(
        UInt64Array::from(vec![u64::MAX]),
        DataType::Decimal128(20, 0),
        decimal(vec![Some(i128::from(u64::MAX))], 20, 0),
    );
    assert_eq!(
        message(Int64Array::from(vec![Some(1), None, Some(3_000_000_000)]), DataType::Int32),
        "column c: the value 3000000000 does not fit int"
    );
    assert_eq!(
        message(UInt64Array::from(vec![u64::MAX]), DataType::Int64),
        "column c: the value 18446744073709551615 does not fit bigint"
    );
    assert_eq!(
        message(Int64Array::from(vec![1000]), DataType::Decimal128(4, 2)),
        "column c: the value 1000 does not fit decimal(4, 2)"
    );
    same(Int64Array::from(vec![99]), DataType::Decimal128(4, 2), decimal(vec![Some(9900)], 4, 2));
}

#[test]
fn fractions_are_not_lost() {
    same(Float64Array::from(vec![Some(2.0), None]), DataType::Int64, Int64Array::from(vec![Some(2), None]));
    assert_eq!(
        message(Float64Array::from(vec![2.5]), DataType::Int64),
        "column c: the value 2.5 has a fraction, which the column cannot hold"
    );
    assert_eq!(
        message(Float64Array::from(vec![f64::NAN]), DataType::Int32),
        "column c: the value NaN does not fit int"
    );
    assert_eq!(
        message(Float64Array::from(vec![1e20]), DataType::Int64),
        "column c: the value 1e20 does not fit bigint"
    );
    same(decimal(vec![Some(500), None], 5, 2), DataType::Int32, Int32Array::from(vec![Some(5), None]));
    assert_eq!(
        message(decimal(vec![Some(501)], 5, 2), DataType::Int32),
        "column c: the value 5.01 has a fraction, which the column would lose"
    );
    assert_eq!(
        message(decimal(vec![Some(10i128.pow(20))], 38, 0), DataType::Int64),
        "column c: the value 100000000000000000000 does not fit bigint"
    );
}

#[test]
fn decimals_are_neither_rounded_nor_cut() {
    same(
        decimal(vec![Some(150), Some(-150)], 5, 2),
        DataType::Decimal128(3, 1),
        decimal(vec![Some(15), Some(-15)], 3, 1),
    );
    assert_eq!(
        message(decimal(vec![Some(155)], 5, 2), DataType::Decimal128(5, 1)),
        "column c: the value 1.55 has more than 1 digits after the point"
    );
    assert_eq!(
        message(decimal(vec![Some(12_345)], 5, 2), DataType::Decimal128(4, 2)),
        "column c: the value 123.45 does not fit decimal(4, 2)"
    );
    let wide =
        Decimal256Array::from(vec![Some(i256::from_i128(1250))]).with_precision_and_scale(50, 3).unwrap();
    same(wide, DataType::Decimal128(3, 2), decimal(vec![Some(125)], 3, 2));
    let wide =
        Decimal256Array::from(vec![Some(i256::from_i128(1251))]).with_precision_and_scale(50, 3).unwrap();
    assert_eq!(
        message(wide, DataType::Decimal128(3, 2)),
        "column c: the value 1.251 has more than 2 digits after the point"
    );
    same(
        Float64Array::from(vec![Some(0.1), Some(-1.25), None]),
        DataType::Decimal128(5, 2),
        decimal(vec![Some(10), Some(-125), None], 5, 2),
    );
    same(Float32Array::from(vec![0.1]), DataType::Decimal128(5, 2), decimal(vec![Some(10)], 5, 2));
    assert_eq!(
        message(Float64Array::from(vec![0.125]), DataType::Decimal128(5, 2)),
        "column c: the value 0.125 has more than 2 digits after the point"
    );
    assert_eq!(
        message(Float64Array::from(vec![1e9]), DataType::Decimal128(5, 2)),
        "column c: the value 1000000000.0 does not fit decimal(5, 2)"
    );
}

#[test]
fn floats_take_any_number_but_keep_its_magnitude() {
    same(Int32Array::from(vec![3]), DataType::Float64, Float64Array::from(vec![3.0]));
    same(decimal(vec![Some(15)], 2, 1), DataType::Float64, Float64Array::from(vec![1.5]));
    same(
        Float64Array::from(vec![0.1, f64::INFINITY]),
        DataType::Float32,
        Float32Array::from(vec![0.1, f32::INFINITY]),
    );
    assert_eq!(
        message(Float64Array::from(vec![1e300]), DataType::Float32),
        "column c: the value 1e300 does not fit float"
    );
}

#[test]
fn times_keep_their_instant() {
    let us = DataType::Timestamp(TimeUnit::Microsecond, None);
    let utc = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    same(
        TimestampNanosecondArray::from(vec![Some(-1_000), None]),
        us.clone(),
        TimestampMicrosecondArray::from(vec![Some(-1), None]),
    );
    assert_eq!(
        message(TimestampNanosecondArray::from(vec![1]), us.clone()),
        "column c: the value 1970-01-01T00:00:00.000000001 has digits below a microsecond, which the column cannot hold"
    );
    same(Date32Array::from(vec![1]), us.clone(), TimestampMicrosecondArray::from(vec![86_400_000_000]));
    assert!(
        message(Date32Array::from(vec![i32::MAX]), us.clone()).ends_with("is out of the range of timestamp")
    );
    same(
        TimestampSecondArray::from(vec![2]).with_timezone("+05:00"),
        utc.clone(),
        TimestampMicrosecondArray::from(vec![2_000_000]).with_timezone("UTC"),
    );
    same(
        TimestampMicrosecondArray::from(vec![2]).with_timezone("UTC"),
        us,
        TimestampMicrosecondArray::from(vec![2]),
    );
    same(
        TimestampMicrosecondArray::from(vec![-86_400_000_000]),
        DataType::Date32,
        Date32Array::from(vec![-1]),
    );
    assert_eq!(
        message(TimestampMicrosecondArray::from(vec![1]), DataType::Date32),
        "column c: the value 1970-01-01T00:00:00.000001 has a time of day, which a date cannot hold"
    );
    same(
        Time64NanosecondArray::from(vec![5_000]),
        DataType::Time64(TimeUnit::Microsecond),
        Time64MicrosecondArray::from(vec![5]),
    );
    assert!(
        message(Time64NanosecondArray::from(vec![5]), DataType::Time64(TimeUnit::Microsecond))
            .contains("below a microsecond")
    );
    same(
        Time32SecondArray::from(vec![5]),
        DataType::Time64(TimeUnit::Microsecond),
        Time64MicrosecondArray::from(vec![5_000_000]),
    );
    let ns = DataType::Timestamp(TimeUnit::Nanosecond, None);
    same(TimestampMicrosecondArray::from(vec![1]), ns.clone(), TimestampNanosecondArray::from(vec![1_000]));
    assert!(stored(TimestampMicrosecondArray::from(vec![i64::MAX]), ns).is_err());
}

#[test]
fn plain_values_become_text() {
    let text = |array: ArrayRef| {
        let stored = super::cast::store(&array, &Field::new("c", DataType::Utf8, true), "c", None).unwrap();
        stored.as_string::<i32>().iter().map(|value| value.unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(text(Arc::new(Int32Array::from(vec![-5]))), ["-5"]);
    assert_eq!(text(Arc::new(BooleanArray::from(vec![true, false]))), ["true", "false"]);
    assert_eq!(text(Arc::new(decimal(vec![Some(150)], 5, 2))), ["1.50"]);
    assert_eq!(text(Arc::new(Date32Array::from(vec![0]))), ["1970-01-01"]);
    assert_eq!(
        text(Arc::new(TimestampMicrosecondArray::from(vec![0, 1_500_000, 1]))),
        ["1970-01-01 00:00:00", "1970-01-01 00:00:01.500", "1970-01-01 00:00:00.000001"]
    );
    assert_eq!(
        text(Arc::new(TimestampMicrosecondArray::from(vec![0]).with_timezone("+02:00"))),
        ["1970-01-01 00:00:00 UTC"]
    );
    assert_eq!(text(Arc::new(BinaryArray::from_vec(vec![b"ab"]))), ["ab"]);
    assert_eq!(
        message(BinaryArray::from_vec(vec![&[0xff]]), DataType::Utf8),
        "column c: the value ff is not valid UTF-8 text"
    );
    let words: DictionaryArray<Int32Type> = vec!["a", "b", "a"].into_iter().collect();
    assert_eq!(text(Arc::new(words)), ["a", "b", "a"]);
}

#[test]
fn bytes_keep_their_length_and_text_becomes_a_uuid() {
    let uuid = "550e8400-e29b-41d4-a716-446655440000";
    let stored_uuid =
        stored(StringArray::from(vec![Some(uuid), None]), DataType::FixedSizeBinary(16)).unwrap();
    assert_eq!(stored_uuid.as_fixed_size_binary().value(0)[..4], [0x55, 0x0e, 0x84, 0x00]);
    assert!(stored_uuid.is_null(1));
    assert_eq!(
        message(StringArray::from(vec!["x"]), DataType::FixedSizeBinary(16)),
        "column c: the value x is not a UUID"
    );
    assert_eq!(
        message(BinaryArray::from_vec(vec![b"abc"]), DataType::FixedSizeBinary(2)),
        "column c: the value 616263 has 3 bytes and not 2"
    );
    assert_eq!(stored(BinaryArray::from_vec(vec![b"ab"]), DataType::FixedSizeBinary(2)).unwrap().len(), 1);
}

fn required(name: &str, data_type: DataType) -> Field {
    Field::new(name, data_type, false)
}

#[test]
fn null_is_refused_where_a_value_is_required() {
    let to = required("c", DataType::Int32);
    let nulls: ArrayRef = Arc::new(Int32Array::from(vec![Some(1), None]));
    let error = super::cast::store(&nulls, &to, "c", None).unwrap_err().to_string();
    assert_eq!(error, "column c is required and a value for it is NULL");
    let null: ArrayRef = Arc::new(NullArray::new(1));
    assert!(super::cast::store(&null, &to, "c", None).is_err());
    assert_eq!(stored(NullArray::new(2), DataType::Int32).unwrap().null_count(), 2);

    // Inside of a struct that is NULL itself nothing is required.
    let fields = Fields::from(vec![Field::new("a", DataType::Int64, true)]);
    let inner: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None, Some(i64::MAX)]));
    let given = StructArray::new(fields, vec![inner], Some(NullBuffer::from(vec![true, false, false])));
    let to = DataType::Struct(Fields::from(vec![required("a", DataType::Int32)]));
    let stored_struct = stored(given, to.clone()).unwrap();
    assert_eq!(
        (stored_struct.is_valid(0), stored_struct.is_null(1), stored_struct.is_null(2)),
        (true, true, true)
    );
    let fields = Fields::from(vec![Field::new("a", DataType::Int64, true)]);
    let given = StructArray::new(fields, vec![Arc::new(Int64Array::from(vec![None]))], None);
    assert_eq!(message(given, to), "column c.a is required and a value for it is NULL");
}

#[test]
fn nested_values_are_stored_part_by_part() {
    let element = Arc::new(Field::new("element", DataType::Int32, true));
    let to = DataType::List(Arc::clone(&element));
    let list = ListArray::from_iter_primitive::<Int64Type, _, _>(vec![
        Some(vec![Some(1), None]),
        None,
        Some(vec![]),
    ]);
    let expected = ListArray::new(
        Arc::clone(&element),
        OffsetBuffer::new(vec![0, 2, 2, 2].into()),
        Arc::new(Int32Array::from(vec![Some(1), None])),
        Some(NullBuffer::from(vec![true, false, true])),
    );
    same(list.clone(), to.clone(), expected);
    same(
        list.slice(2, 1),
        to.clone(),
        ListArray::new(
            Arc::clone(&element),
            OffsetBuffer::new(vec![0, 0].into()),
            Arc::new(Int32Array::from(Vec::<i32>::new())),
            None,
        ),
    );

    // What hides under a NULL is never looked at.
    let hidden = ListArray::new(
        Arc::new(Field::new_list_field(DataType::Int64, true)),
        OffsetBuffer::new(vec![0, 1, 2].into()),
        Arc::new(Int64Array::from(vec![i64::MAX, 5])),
        Some(NullBuffer::from(vec![false, true])),
    );
    let stored_list = stored(hidden, to.clone()).unwrap();
    assert_eq!(stored_list.as_list::<i32>().value(1).as_primitive::<Int32Type>().values(), &[5]);
    let wrong = ListArray::from_iter_primitive::<Int64Type, _, _>(vec![Some(vec![Some(i64::MAX)])]);
    assert_eq!(message(wrong, to), "column c.element: the value 9223372036854775807 does not fit int");

    let mut builder = MapBuilder::new(None, StringBuilder::new(), Int64Builder::new());
    builder.keys().append_value("k");
    builder.values().append_value(3);
    builder.append(true).unwrap();
    builder.append(false).unwrap();
    let pair =
        Fields::from(vec![required("key", DataType::Utf8), Field::new("value", DataType::Int32, true)]);
    let entries = Arc::new(required("key_value", DataType::Struct(pair)));
    let stored_map = stored(builder.finish(), DataType::Map(entries, false)).unwrap();
    let stored_map = stored_map.as_map();
    assert_eq!(stored_map.values().as_primitive::<Int32Type>().values(), &[3]);
    assert!(stored_map.is_null(1));
}

#[test]
fn struct_fields_match_by_name_or_when_unnamed_by_position() {
    let fields = |names: &[&str]| -> Fields {
        names.iter().map(|name| Field::new(*name, DataType::Int32, true)).collect()
    };
    assert_eq!(field_mapping(&fields(&["B", "a"]), &["a", "b"]), Some(vec![1, 0]));
    assert_eq!(field_mapping(&fields(&["c0", "c1"]), &["a", "b"]), Some(vec![0, 1]));
    assert_eq!(field_mapping(&fields(&["c1", "c0"]), &["c0", "c1"]), Some(vec![1, 0]));
    assert_eq!(field_mapping(&fields(&["a", "x"]), &["a", "b"]), None);
    assert_eq!(field_mapping(&fields(&["a"]), &["a", "b"]), None);
    assert_eq!(field_mapping(&fields(&["a", "A"]), &["A", "a"]), Some(vec![1, 0]));
    assert_eq!(field_mapping(&fields(&["a", "A"]), &["a", "b"]), None);
}

#[test]
fn the_function_survives_its_bytes() {
    let field = required(
        "c",
        DataType::List(Arc::new(
            Field::new("element", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), true)
                .with_metadata([("PARQUET:field_id".to_owned(), "7".to_owned())].into()),
        )),
    );
    let function = ScalarUDF::from(StoreCast::new(Arc::new(field)));
    let bytes = encode_udf(&function).unwrap();
    assert_eq!(bytes[0], 1);
    assert_eq!(*decode_udf(STORE_FUNCTION, &bytes).unwrap(), function);
    assert_eq!(decode_udf("other", &bytes).unwrap_err().kind(), ErrorKind::Unsupported);
    assert_eq!(decode_udf(STORE_FUNCTION, &[]).unwrap_err().kind(), ErrorKind::Corrupt);
    assert_eq!(decode_udf(STORE_FUNCTION, &[9]).unwrap_err().kind(), ErrorKind::Unsupported);
    for end in 1..bytes.len() {
        let _ = decode_udf(STORE_FUNCTION, &bytes[..end]);
    }
    assert_eq!(encode_udf(&datafusion::functions::math::abs()), None);
}
