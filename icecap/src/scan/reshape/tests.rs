use datafusion::arrow::array::{Int32Array, Int64Array, ListArray, StringArray};
use datafusion::arrow::buffer::{NullBuffer, OffsetBuffer};
use datafusion::arrow::datatypes::Field;
use icecap_table::iceberg::spec::{ListType, MapType, PrimitiveType};
use proptest::prelude::*;

use super::*;

fn optional(id: i32, name: &str, ty: Type) -> Arc<NestedField> {
    Arc::new(NestedField::optional(id, name, ty))
}

fn long(id: i32, name: &str) -> Arc<NestedField> {
    optional(id, name, Type::Primitive(PrimitiveType::Long))
}

fn text(id: i32, name: &str) -> Arc<NestedField> {
    optional(id, name, Type::Primitive(PrimitiveType::String))
}

fn stored(id: i32, name: &str, ty: DataType) -> Field {
    with_field_id(Field::new(name, ty, true), id)
}

#[test]
fn a_struct_is_found_by_id_reordered_renamed_widened_and_filled() {
    let fields = Fields::from(vec![
        stored(2, "old", DataType::Int32),
        stored(9, "dropped", DataType::Int32),
        stored(1, "s", DataType::Utf8),
    ]);
    let array: ArrayRef = Arc::new(StructArray::new(
        fields.clone(),
        vec![
            Arc::new(Int32Array::from(vec![Some(1), None, Some(3)])) as ArrayRef,
            Arc::new(Int32Array::from(vec![7, 8, 9])),
            Arc::new(StringArray::from(vec!["a", "b", "c"])),
        ],
        Some(NullBuffer::from(vec![true, true, false])),
    ));
    let wanted = Type::Struct(StructType::new(vec![text(1, "name"), long(2, "new"), long(3, "added")]));
    let reshape = Reshape::plan(&DataType::Struct(fields), &wanted, "c").unwrap();
    let result = reshape.apply(&array).unwrap();
    assert_eq!(result.data_type(), &arrow_type(&wanted).unwrap());
    let result = result.as_struct();
    assert_eq!(result.column(0).as_string::<i32>().value(1), "b");
    let new = result.column(1).as_any().downcast_ref::<Int64Array>().unwrap();
    assert_eq!((new.value(0), new.is_null(1)), (1, true));
    assert_eq!(result.column(2).null_count(), 3);
    assert_eq!(result.logical_nulls().unwrap().null_count(), 1);
}

#[test]
fn lists_and_maps_reshape_what_they_hold() {
    let element = stored(5, "item", DataType::Int32);
    let list: ArrayRef = Arc::new(ListArray::new(
        Arc::new(element.clone()),
        OffsetBuffer::new(vec![0, 2, 2].into()),
        Arc::new(Int32Array::from(vec![1, 2])),
        None,
    ));
    let wanted = Type::List(ListType::new(Arc::new(NestedField::list_element(
        5,
        Type::Primitive(PrimitiveType::Long),
        false,
    ))));
    let reshape = Reshape::plan(list.data_type(), &wanted, "c").unwrap();
    let result = reshape.apply(&list).unwrap();
    assert_eq!(result.data_type(), &arrow_type(&wanted).unwrap());
    assert_eq!(result.as_list::<i32>().value(0).as_ref(), &Int64Array::from(vec![1, 2]) as &dyn Array);

    let pair = Fields::from(vec![
        with_field_id(Field::new("k", DataType::Utf8, false), 6),
        stored(7, "v", DataType::Int32),
    ]);
    let map: ArrayRef = Arc::new(MapArray::new(
        Arc::new(Field::new("entries", DataType::Struct(pair.clone()), false)),
        OffsetBuffer::new(vec![0, 1].into()),
        StructArray::new(
            pair,
            vec![Arc::new(StringArray::from(vec!["a"])) as ArrayRef, Arc::new(Int32Array::from(vec![4]))],
            None,
        ),
        None,
        false,
    ));
    let wanted = Type::Map(MapType::new(
        Arc::new(NestedField::map_key_element(6, Type::Primitive(PrimitiveType::String))),
        Arc::new(NestedField::map_value_element(7, Type::Primitive(PrimitiveType::Long), false)),
    ));
    let result = Reshape::plan(map.data_type(), &wanted, "c").unwrap().apply(&map).unwrap();
    assert_eq!(result.data_type(), &arrow_type(&wanted).unwrap());
    assert_eq!(result.as_map().values().as_ref(), &Int64Array::from(vec![4]) as &dyn Array);
}

#[test]
fn the_same_type_is_left_alone() {
    let wanted = Type::Struct(StructType::new(vec![text(1, "s"), long(2, "l")]));
    assert_eq!(Reshape::plan(&arrow_type(&wanted).unwrap(), &wanted, "c").unwrap(), Reshape::Keep);
}

#[test]
fn a_type_that_could_lose_something_is_refused() {
    let decimal = |precision, scale| Type::Primitive(PrimitiveType::Decimal { precision, scale });
    let primitive = Type::Primitive;
    for (from, to) in [
        (DataType::Int64, primitive(PrimitiveType::Int)),
        (DataType::Float64, primitive(PrimitiveType::Float)),
        (DataType::Int64, primitive(PrimitiveType::Double)),
        (DataType::Decimal128(10, 2), decimal(9, 2)),
        (DataType::Decimal128(9, 2), decimal(10, 3)),
        (DataType::Timestamp(TimeUnit::Nanosecond, None), primitive(PrimitiveType::Timestamp)),
        (DataType::Utf8, primitive(PrimitiveType::Long)),
        (DataType::Int32, primitive(PrimitiveType::String)),
        (DataType::Int32, Type::Struct(StructType::new(vec![]))),
    ] {
        let error = Reshape::plan(&from, &to, "col").unwrap_err();
        assert_eq!(error.kind(), icecap_table::ErrorKind::Corrupt);
        assert!(error.to_string().contains("\"col\""), "{error}");
    }
    for (from, to) in [
        (DataType::Int32, primitive(PrimitiveType::Long)),
        (DataType::Float32, primitive(PrimitiveType::Double)),
        (DataType::Decimal128(9, 2), decimal(10, 2)),
        (DataType::Timestamp(TimeUnit::Millisecond, None), primitive(PrimitiveType::Timestamp)),
        (DataType::Date32, primitive(PrimitiveType::Timestamp)),
        (DataType::Binary, primitive(PrimitiveType::String)),
    ] {
        assert!(matches!(Reshape::plan(&from, &to, "col").unwrap(), Reshape::Cast(_)), "{from} {to}");
    }
}

#[test]
fn a_missing_field_is_its_default_or_null_or_an_error() {
    let field = NestedField::optional(1, "a", Type::Primitive(PrimitiveType::Int));
    assert_eq!(default_of(&field, "a").unwrap(), ScalarValue::Int32(None));
    let field = field.with_initial_default(Literal::int(4));
    assert_eq!(default_of(&field, "a").unwrap(), ScalarValue::Int32(Some(4)));
    let required = NestedField::required(1, "a", Type::Primitive(PrimitiveType::Int));
    assert!(default_of(&required, "a").unwrap_err().to_string().contains("missing"));
}

proptest! {
    #[test]
    fn promotions_keep_every_value(values in prop::collection::vec(prop::option::of(any::<i32>()), 0..50)) {
        let array: ArrayRef = Arc::new(Int32Array::from(values.clone()));
        let reshape = Reshape::plan(&DataType::Int32, &Type::Primitive(PrimitiveType::Long), "c").unwrap();
        let wide = reshape.apply(&array).unwrap();
        let expected: Int64Array = values.iter().map(|v| v.map(i64::from)).collect();
        prop_assert_eq!(wide.as_ref(), &expected as &dyn Array);
    }
}
