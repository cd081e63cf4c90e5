//! Every type, with NULL and extremes.

use datafusion::arrow::array::*;
use datafusion::arrow::buffer::{NullBuffer, OffsetBuffer};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Field, Fields, Int32Type};
use icecap_table::ErrorKind;
use icecap_table::iceberg::spec::{ListType, MapType, StructType};

use super::*;

const MAX_38: i128 = 99_999_999_999_999_999_999_999_999_999_999_999_999;

fn decimal(values: Vec<Option<i128>>, precision: u8, scale: i8) -> ArrayRef {
    Arc::new(Decimal128Array::from(values).with_precision_and_scale(precision, scale).unwrap())
}

fn fixed(values: Vec<Option<Vec<u8>>>, length: i32) -> ArrayRef {
    Arc::new(FixedSizeBinaryArray::try_from_sparse_iter_with_size(values.into_iter(), length).unwrap())
}

fn primitives() -> Vec<(PrimitiveType, ArrayRef)> {
    use PrimitiveType as T;
    let day = 86_399_999_999_i64;
    vec![
        (T::Boolean, Arc::new(BooleanArray::from(vec![Some(true), None, Some(false)]))),
        (T::Int, Arc::new(Int32Array::from(vec![Some(i32::MIN), None, Some(i32::MAX)]))),
        (T::Long, Arc::new(Int64Array::from(vec![Some(i64::MIN), None, Some(i64::MAX)]))),
        (T::Float, Arc::new(Float32Array::from(vec![Some(f32::NEG_INFINITY), None, Some(f32::MAX)]))),
        (T::Double, Arc::new(Float64Array::from(vec![Some(f64::MIN), None, Some(f64::INFINITY)]))),
        (T::Decimal { precision: 1, scale: 0 }, decimal(vec![Some(-9), None, Some(9)], 1, 0)),
        (
            T::Decimal { precision: 9, scale: 2 },
            decimal(vec![Some(-999_999_999), None, Some(999_999_999)], 9, 2),
        ),
        (
            T::Decimal { precision: 18, scale: 18 },
            decimal(vec![Some(-1), None, Some(10_i128.pow(18) - 1)], 18, 18),
        ),
        (T::Decimal { precision: 19, scale: 3 }, decimal(vec![Some(-128), None, Some(255)], 19, 3)),
        (T::Decimal { precision: 38, scale: 10 }, decimal(vec![Some(-MAX_38), None, Some(MAX_38)], 38, 10)),
        (T::Date, Arc::new(Date32Array::from(vec![Some(-719_162), None, Some(2_932_896)]))),
        (T::Time, Arc::new(Time64MicrosecondArray::from(vec![Some(0), None, Some(day)]))),
        (T::Timestamp, Arc::new(TimestampMicrosecondArray::from(vec![Some(i64::MIN), None, Some(-1)]))),
        (
            T::Timestamptz,
            Arc::new(
                TimestampMicrosecondArray::from(vec![Some(-1), None, Some(i64::MAX)]).with_timezone("UTC"),
            ),
        ),
        (
            T::TimestampNs,
            Arc::new(TimestampNanosecondArray::from(vec![Some(i64::MIN), None, Some(i64::MAX)])),
        ),
        (
            T::TimestamptzNs,
            Arc::new(TimestampNanosecondArray::from(vec![Some(-1), None, Some(1)]).with_timezone("UTC")),
        ),
        (T::String, Arc::new(StringArray::from(vec![Some(""), None, Some("é世界\u{10ffff}")]))),
        (T::Uuid, fixed(vec![Some(vec![0; 16]), None, Some(vec![0xff; 16])], 16)),
        (T::Fixed(3), fixed(vec![Some(vec![0, 1, 2]), None, Some(vec![0xff; 3])], 3)),
        (T::Binary, Arc::new(BinaryArray::from(vec![Some(&[][..]), None, Some(&[0xff, 0])]))),
    ]
}

fn batch(table: &Table, columns: Vec<ArrayRef>) -> RecordBatch {
    RecordBatch::try_new(table.arrow_schema(), columns).unwrap()
}

#[tokio::test]
async fn every_primitive_type_comes_back_as_it_was() {
    let (types, columns): (Vec<_>, Vec<_>) = primitives().into_iter().unzip();
    let fields = types
        .into_iter()
        .enumerate()
        .map(|(at, ty)| primitive(at as i32 + 1, &format!("c {at}.é"), ty))
        .collect();
    let table = Table::new(fields);
    let written = batch(&table, columns);
    let file = table.write_one(written.clone()).await;
    assert_eq!(read(&file).columns(), written.columns());
    assert_eq!(file.record_count, 3);
    for id in 1..=20 {
        assert_eq!((file.value_counts[&id], file.null_counts[&id]), (3, 1), "field {id}");
        assert!(file.lower_bounds.contains_key(&id) && file.upper_bounds.contains_key(&id), "field {id}");
    }
    assert_eq!(file.nan_counts, BTreeMap::from([(4, 0), (5, 0)]));
    assert_eq!(file.lower_bounds[&1], [0]);
    assert_eq!(file.upper_bounds[&2], i32::MAX.to_le_bytes());
    assert_eq!(file.lower_bounds[&6], (-9_i8).to_le_bytes());
    assert_eq!(file.lower_bounds[&9], [0x80]);
    assert_eq!(file.upper_bounds[&9], [0, 0xff]);
    assert_eq!(file.upper_bounds[&10], MAX_38.to_be_bytes());
    assert_eq!(file.upper_bounds[&17], "é世界\u{10ffff}".as_bytes());
    assert_eq!(file.upper_bounds[&18], [0xff; 16]);
    assert_eq!(file.upper_bounds[&20], [0xff, 0]);
}

#[tokio::test]
async fn columns_of_nulls_have_counts_and_no_bounds() {
    let (types, columns): (Vec<_>, Vec<_>) = primitives().into_iter().unzip();
    let fields =
        types.into_iter().enumerate().map(|(at, ty)| primitive(at as i32 + 1, &format!("c{at}"), ty));
    let table = Table::new(fields.collect());
    let nulls = columns.iter().map(|array| new_null_array(array.data_type(), 2)).collect();
    let written = batch(&table, nulls);
    let file = table.write_one(written.clone()).await;
    assert_eq!(read(&file).columns(), written.columns());
    assert_eq!((file.lower_bounds.len(), file.upper_bounds.len()), (0, 0));
    assert!(file.null_counts.values().all(|count| *count == 2));
    assert_eq!(file.null_counts.len(), 20);
}

#[tokio::test]
async fn text_and_bytes_are_taken_in_any_layout() {
    let table =
        Table::new(vec![primitive(1, "s", PrimitiveType::String), primitive(2, "b", PrimitiveType::Binary)]);
    let texts: ArrayRef =
        Arc::new(StringArray::from(vec![Some("a"), None, Some("a text too long for a view")]));
    let blobs: ArrayRef = Arc::new(BinaryArray::from(vec![Some(&b"a"[..]), None, Some(&[0; 20])]));
    let expected = batch(&table, vec![Arc::clone(&texts), Arc::clone(&blobs)]);
    let dictionary = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
    for (text, blob) in [
        (DataType::Utf8View, DataType::BinaryView),
        (DataType::LargeUtf8, DataType::LargeBinary),
        (dictionary, DataType::Binary),
    ] {
        let columns = [("s", cast(&texts, &text).unwrap()), ("b", cast(&blobs, &blob).unwrap())];
        let file = table
            .write_one(RecordBatch::try_from_iter_with_nullable(columns.map(|(n, a)| (n, a, true))).unwrap())
            .await;
        assert_eq!(read(&file).columns(), expected.columns());
        std::fs::remove_dir_all(table.folder.path().join("data")).unwrap();
    }
}

/// `s struct<x: double, l: list<string required>>, m map<string, struct<f: float>>, ll list<list<int>>`
fn nested() -> Vec<NestedFieldRef> {
    let list =
        |id, ty, required| Type::List(ListType::new(NestedField::list_element(id, ty, required).into()));
    let string = || Type::Primitive(PrimitiveType::String);
    let inner = StructType::new(vec![
        primitive(4, "x", PrimitiveType::Double),
        NestedField::optional(5, "l", list(6, string(), true)).into(),
    ]);
    let value = Type::Struct(StructType::new(vec![primitive(9, "f", PrimitiveType::Float)]));
    let map = MapType::new(
        NestedField::map_key_element(7, string()).into(),
        NestedField::map_value_element(8, value, false).into(),
    );
    let ints = list(11, Type::Primitive(PrimitiveType::Int), false);
    vec![
        NestedField::optional(1, "s", Type::Struct(inner)).into(),
        NestedField::optional(2, "m", Type::Map(map)).into(),
        NestedField::optional(3, "ll", list(10, ints, false)).into(),
    ]
}

/// Four rows; names of list elements and entries as other engines have them.
fn nested_columns() -> Vec<ArrayRef> {
    let field = |name: &str, ty: &DataType| Arc::new(Field::new(name, ty.clone(), true));
    let texts: ArrayRef = Arc::new(StringArray::from(vec!["a", "b", "c"]));
    let lists: ArrayRef = Arc::new(ListArray::new(
        field("item", texts.data_type()),
        OffsetBuffer::new(vec![0, 2, 2, 3, 3].into()),
        texts,
        Some(NullBuffer::from(vec![true, true, true, false])),
    ));
    let xs: ArrayRef = Arc::new(Float64Array::from(vec![Some(f64::NAN), Some(f64::NAN), Some(-0.0), None]));
    let structs = StructArray::new(
        Fields::from(vec![field("x", xs.data_type()), field("l", lists.data_type())]),
        vec![xs, lists],
        Some(NullBuffer::from(vec![true, false, true, true])),
    );
    let keys: ArrayRef = Arc::new(StringArray::from(vec!["k1", "k2", "k3"]));
    let floats: ArrayRef = Arc::new(Float32Array::from(vec![Some(f32::NAN), Some(1.0), None]));
    let values: ArrayRef = Arc::new(StructArray::new(
        Fields::from(vec![field("f", floats.data_type())]),
        vec![floats],
        Some(NullBuffer::from(vec![true, false, true])),
    ));
    let pair = Fields::from(vec![
        Field::new("keys", DataType::Utf8, false),
        Field::new("values", values.data_type().clone(), true),
    ]);
    let maps = MapArray::new(
        Arc::new(Field::new("entries", DataType::Struct(pair.clone()), false)),
        OffsetBuffer::new(vec![0, 2, 2, 2, 3].into()),
        StructArray::new(pair, vec![keys, values], None),
        Some(NullBuffer::from(vec![true, false, true, true])),
        false,
    );
    let inner = ListArray::from_iter_primitive::<Int32Type, _, _>(vec![
        Some(vec![Some(1), None]),
        None,
        Some(vec![]),
    ]);
    let outer = ListArray::new(
        field("item", inner.data_type()),
        OffsetBuffer::new(vec![0, 3, 3, 3, 3].into()),
        Arc::new(inner),
        Some(NullBuffer::from(vec![true, true, false, true])),
    );
    vec![Arc::new(structs), Arc::new(maps), Arc::new(outer)]
}

fn nested_batch() -> RecordBatch {
    let columns = ["s", "m", "ll"].into_iter().zip(nested_columns()).map(|(name, array)| (name, array, true));
    RecordBatch::try_from_iter_with_nullable(columns).unwrap()
}

#[tokio::test]
async fn nested_types_come_back_and_have_the_metrics_of_their_leaves() {
    let table = Table::new(nested());
    let file = table.write_one(nested_batch()).await;
    let back = read(&file);
    let expected = nested_batch();
    for (at, field) in table.arrow_schema().fields().iter().enumerate() {
        // Casting renames the inner fields; the values decide.
        let written = cast(expected.column(at), field.data_type());
        match written {
            Ok(written) => assert_eq!(&written, &cast(back.column(at), field.data_type()).unwrap()),
            Err(error) => panic!("{error}"),
        }
    }
    // Entries, an empty or absent list being one: as Parquet counts and Iceberg records them.
    let counts: Vec<_> = [4, 6, 7, 9, 11].map(|id| (file.value_counts[&id], file.null_counts[&id])).into();
    assert_eq!(counts, [(4, 2), (5, 2), (5, 2), (5, 4), (7, 6)]);
    assert_eq!(file.nan_counts, BTreeMap::from([(4, 1), (9, 1)]));
    assert_eq!(file.lower_bounds, bytes([(4, &(-0.0_f64).to_le_bytes())]));
    assert_eq!(file.upper_bounds, bytes([(4, &0.0_f64.to_le_bytes())]));
    assert_eq!(file.column_sizes.len(), 5);
}

#[tokio::test]
async fn null_in_a_required_field_is_refused_and_nothing_stays() {
    let required = NestedField::required(1, "i", Type::Primitive(PrimitiveType::Int)).into();
    let nested = NestedField::optional(
        2,
        "s",
        Type::Struct(StructType::new(vec![
            NestedField::required(3, "j", Type::Primitive(PrimitiveType::Int)).into(),
        ])),
    )
    .into();
    let table = Table::new(vec![required, nested]);
    let rows = |i: Option<i32>, j: Option<i32>, s: bool| {
        let j: ArrayRef = Arc::new(Int32Array::from(vec![j]));
        let s = StructArray::new(
            Fields::from(vec![Field::new("j", DataType::Int32, true)]),
            vec![j],
            Some(NullBuffer::from(vec![s])),
        );
        let columns: [(&str, ArrayRef, bool); 2] =
            [("i", Arc::new(Int32Array::from(vec![i])), true), ("s", Arc::new(s), true)];
        RecordBatch::try_from_iter_with_nullable(columns).unwrap()
    };
    for bad in [rows(None, Some(1), true), rows(Some(1), None, true)] {
        let plan = table.plan(&[vec![rows(Some(1), Some(1), true), bad]], Storage::local());
        let error = run(Arc::clone(&plan)).await.unwrap_err();
        let datafusion::error::DataFusionError::External(error) = error else { panic!("{error}") };
        assert_eq!(error.downcast_ref::<icecap_table::Error>().unwrap().kind(), ErrorKind::Invalid);
        assert_eq!(table.on_disk(), Vec::<String>::new());
    }
    // Below a NULL struct there is no value that could be missing.
    assert_eq!(table.write_one(rows(Some(1), None, false)).await.null_counts[&3], 1);
}

#[tokio::test]
async fn a_column_of_another_type_is_refused() {
    let table = Table::new(vec![primitive(1, "i", PrimitiveType::Int)]);
    let wrong: [(&str, ArrayRef); 1] = [("i", Arc::new(Int64Array::from(vec![1])))];
    let batch = RecordBatch::try_from_iter(wrong).unwrap();
    let error = run(table.plan(&[vec![batch]], Storage::local())).await.unwrap_err();
    assert!(error.to_string().contains("Int64"), "{error}");
}
