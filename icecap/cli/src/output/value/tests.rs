use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, DictionaryArray, DurationSecondArray,
    FixedSizeBinaryArray, FixedSizeListArray, Float32Array, Float64Array, Int32Array, Int64Array,
    IntervalMonthDayNanoArray, ListArray, MapArray, NullArray, StringArray, StringViewArray, StructArray,
    Time64MicrosecondArray, TimestampMicrosecondArray, TimestampNanosecondArray, UInt64Array,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{Fields, Int8Type, IntervalMonthDayNano};

use super::*;

fn show_field(field: &Field, array: &ArrayRef, style: Style) -> Vec<String> {
    let column = Column::new(field, array.as_ref()).unwrap();
    (0..array.len())
        .map(|row| {
            let mut out = String::new();
            column.write(row, style, &mut out);
            out
        })
        .collect()
}

fn show(array: impl Array + 'static, style: Style) -> Vec<String> {
    let array: ArrayRef = Arc::new(array);
    show_field(&Field::new("x", array.data_type().clone(), true), &array, style)
}

fn json(array: impl Array + 'static) -> Vec<String> {
    show(array, Style::Json)
}

#[test]
fn null_is_null_in_json_empty_as_plain_text_and_said_to_a_person() {
    let array = || Int32Array::from(vec![None, Some(1)]);
    assert_eq!(show(array(), Style::Json), ["null", "1"]);
    assert_eq!(show(array(), Style::Plain), ["", "1"]);
    assert_eq!(show(array(), Style::Human), ["NULL", "1"]);
    assert_eq!(json(NullArray::new(1)), ["null"]);
}

#[test]
fn integers_keep_all_digits_and_booleans_are_bare() {
    assert_eq!(
        json(Int64Array::from(vec![i64::MIN, i64::MAX])),
        ["-9223372036854775808", "9223372036854775807"]
    );
    assert_eq!(json(UInt64Array::from(vec![u64::MAX])), ["18446744073709551615"]);
    assert_eq!(json(BooleanArray::from(vec![true, false])), ["true", "false"]);
}

#[test]
fn floats_are_shortest_numbers_and_specials_are_strings() {
    let values = vec![1.0, 0.1, -0.0, 1e300, f64::NAN, f64::INFINITY, f64::NEG_INFINITY];
    assert_eq!(
        json(Float64Array::from(values.clone())),
        ["1.0", "0.1", "-0.0", "1e+300", "\"NaN\"", "\"Infinity\"", "\"-Infinity\""]
    );
    assert_eq!(show(Float64Array::from(values), Style::Plain)[4..], ["NaN", "Infinity", "-Infinity"]);
    assert_eq!(json(Float32Array::from(vec![0.1, f32::NAN, 16_777_216.0])), ["0.1", "\"NaN\"", "16777216.0"]);
}

#[test]
fn decimals_are_strings_in_json_and_bare_elsewhere() {
    let array =
        || Decimal128Array::from(vec![Some(150), Some(-5), None]).with_precision_and_scale(38, 2).unwrap();
    assert_eq!(json(array()), ["\"1.50\"", "\"-0.05\"", "null"]);
    assert_eq!(show(array(), Style::Plain), ["1.50", "-0.05", ""]);
}

#[test]
fn dates_times_and_timestamps() {
    assert_eq!(json(Date32Array::from(vec![20_455])), ["\"2026-01-02\""]);
    assert_eq!(json(Time64MicrosecondArray::from(vec![11_045_000_001])), ["\"03:04:05.000001\""]);
    let micros = 1_767_323_045_000_001;
    assert_eq!(json(TimestampMicrosecondArray::from(vec![micros])), ["\"2026-01-02T03:04:05.000001\""]);
    let zoned = || TimestampMicrosecondArray::from(vec![micros]).with_timezone("UTC");
    assert_eq!(json(zoned()), ["\"2026-01-02T03:04:05.000001Z\""]);
    assert_eq!(show(zoned(), Style::Plain), ["2026-01-02T03:04:05.000001Z"]);
    assert_eq!(show(zoned(), Style::Human), ["2026-01-02 03:04:05.000001Z"]);
    // Whatever zone the type names, the instant is told in UTC.
    let elsewhere = TimestampMicrosecondArray::from(vec![micros]).with_timezone("+05:00");
    assert_eq!(json(elsewhere), ["\"2026-01-02T03:04:05.000001Z\""]);
    let nanos = TimestampNanosecondArray::from(vec![micros * 1000 + 9]);
    assert_eq!(json(nanos), ["\"2026-01-02T03:04:05.000001009\""]);
    let whole = TimestampMicrosecondArray::from(vec![0]);
    assert_eq!(show(whole, Style::Human), ["1970-01-01 00:00:00"]);
}

#[test]
fn binary_is_base64_for_programs_and_hexadecimal_for_people() {
    let array = || BinaryArray::from(vec![Some(&[0xde_u8, 0xad][..]), Some(&[][..]), None]);
    assert_eq!(json(array()), ["\"3q0=\"", "\"\"", "null"]);
    assert_eq!(show(array(), Style::Plain), ["3q0=", "", ""]);
    assert_eq!(show(array(), Style::Human), ["0xdead", "0x", "NULL"]);
}

#[test]
fn a_uuid_is_one_when_its_field_says_so() {
    let bytes: Vec<u8> = (0..16).collect();
    let array: ArrayRef = Arc::new(FixedSizeBinaryArray::try_from_iter([bytes].into_iter()).unwrap());
    let field = Field::new("u", DataType::FixedSizeBinary(16), true);
    assert_eq!(show_field(&field, &array, Style::Json), ["\"AAECAwQFBgcICQoLDA0ODw==\""]);
    let field = field.with_metadata([("ARROW:extension:name".to_owned(), "arrow.uuid".to_owned())].into());
    for (style, text) in [
        (Style::Json, "\"00010203-0405-0607-0809-0a0b0c0d0e0f\""),
        (Style::Plain, "00010203-0405-0607-0809-0a0b0c0d0e0f"),
        (Style::Human, "00010203-0405-0607-0809-0a0b0c0d0e0f"),
    ] {
        assert_eq!(show_field(&field, &array, style), [text]);
    }
}

#[test]
fn strings_are_escaped_in_json_only() {
    let text = "a\"b\\c\nd\u{1}ü\u{1f600}";
    assert_eq!(json(StringArray::from(vec![text])), ["\"a\\\"b\\\\c\\nd\\u0001ü\u{1f600}\""]);
    assert_eq!(show(StringViewArray::from(vec![text]), Style::Plain), [text]);
    let parsed: String = serde_json::from_str(&json(StringViewArray::from(vec![text]))[0]).unwrap();
    assert_eq!(parsed, text);
}

#[test]
fn nested_values_are_json_in_every_style() {
    let list = ListArray::from_iter_primitive::<arrow::datatypes::Int32Type, _, _>(vec![
        Some(vec![Some(1), None]),
        None,
        Some(vec![]),
        Some(vec![Some(3)]),
    ]);
    let expected = ["[1,null]", "null", "[]", "[3]"];
    assert_eq!(json(list.clone()), expected);
    assert_eq!(json(list.slice(2, 2)), expected[2..]);
    assert_eq!(show(list, Style::Human), ["[1,null]", "NULL", "[]", "[3]"]);

    let fields =
        Fields::from(vec![Field::new("a", DataType::Int32, true), Field::new("b\"", DataType::Utf8, true)]);
    let structs = StructArray::new(
        fields,
        vec![
            Arc::new(Int32Array::from(vec![Some(1), None, Some(3)])),
            Arc::new(StringArray::from(vec![Some("x"), Some("y"), None])),
        ],
        Some(vec![true, false, true].into()),
    );
    let expected = ["{\"a\":1,\"b\\\"\":\"x\"}", "null", "{\"a\":3,\"b\\\"\":null}"];
    assert_eq!(json(structs.clone()), expected);
    assert_eq!(json(structs.slice(1, 2)), expected[1..]);

    let fixed = FixedSizeListArray::from_iter_primitive::<arrow::datatypes::Int32Type, _, _>(
        vec![Some(vec![Some(1), Some(2)]), None, Some(vec![Some(5), None])],
        2,
    );
    assert_eq!(json(fixed.slice(1, 2)), ["null", "[5,null]"]);
}

fn map(keys: ArrayRef, values: ArrayRef, offsets: Vec<i32>) -> MapArray {
    let fields = Fields::from(vec![
        Field::new("key", keys.data_type().clone(), false),
        Field::new("value", values.data_type().clone(), true),
    ]);
    let entries = StructArray::new(fields.clone(), vec![keys, values], None);
    let field = Arc::new(Field::new("key_value", DataType::Struct(fields), false));
    MapArray::new(field, OffsetBuffer::new(offsets.into()), entries, None, false)
}

#[test]
fn maps_with_text_keys_are_objects_and_others_are_pairs() {
    let values: ArrayRef =
        Arc::new(Decimal128Array::from(vec![Some(5), None, Some(7)]).with_precision_and_scale(9, 1).unwrap());
    let text = map(Arc::new(StringArray::from(vec!["a", "b", "c"])), Arc::clone(&values), vec![0, 2, 2, 3]);
    assert_eq!(json(text), ["{\"a\":\"0.5\",\"b\":null}", "{}", "{\"c\":\"0.7\"}"]);
    let other = map(Arc::new(Int32Array::from(vec![1, 2, 3])), values, vec![0, 2, 2, 3]);
    assert_eq!(json(other), ["[[1,\"0.5\"],[2,null]]", "[]", "[[3,\"0.7\"]]"]);
}

#[test]
fn a_dictionary_looks_like_its_values() {
    let array: DictionaryArray<Int8Type> = vec![Some("a"), None, Some("b"), Some("a")].into_iter().collect();
    assert_eq!(json(array), ["\"a\"", "null", "\"b\"", "\"a\""]);
    assert!(is_number(&DataType::Dictionary(Box::new(DataType::Int8), Box::new(DataType::Int64))));
}

#[test]
fn other_types_are_quoted_text() {
    assert_eq!(json(DurationSecondArray::from(vec![61])), ["\"PT61S\""]);
    let interval = IntervalMonthDayNanoArray::from(vec![IntervalMonthDayNano::new(1, 2, 0)]);
    assert_eq!(json(interval), ["\"1 mons 2 days\""]);
}
