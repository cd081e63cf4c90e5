//! Iceberg schemas as Arrow schemas and back, on the Arrow version of the engine.
//!
//! Field ids travel in field metadata under [`FIELD_ID`], where Parquet's Arrow reader and writer look for
//! them too.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, Fields, Schema as ArrowSchema, SchemaRef, TimeUnit};
use icecap_table::iceberg::spec::{ListType, MapType, NestedField, PrimitiveType, Schema, StructType, Type};
use icecap_table::{Error, Result};

/// The metadata key of a field id, as Parquet's Arrow integration spells it.
pub const FIELD_ID: &str = "PARQUET:field_id";

/// The metadata key of an extension type, and the name of Arrow's type of UUIDs: 16 bytes otherwise.
pub const EXTENSION: &str = "ARROW:extension:name";
/// See [`EXTENSION`].
pub const UUID_EXTENSION: &str = "arrow.uuid";

/// The time zone of every `timestamptz` column.
pub const UTC: &str = "UTC";

/// The Arrow schema of an Iceberg schema, field ids kept.
///
/// # Errors
/// `Unsupported` for a type without an Arrow counterpart.
pub fn arrow_schema(schema: &Schema) -> Result<SchemaRef> {
    Ok(Arc::new(ArrowSchema::new(arrow_fields(schema.as_struct())?)))
}

fn arrow_fields(fields: &StructType) -> Result<Fields> {
    fields.fields().iter().map(|field| arrow_field(field)).collect::<Result<Vec<_>>>().map(Fields::from)
}

/// The Arrow field of an Iceberg field.
///
/// # Errors
/// `Unsupported` for a type without an Arrow counterpart.
pub fn arrow_field(field: &NestedField) -> Result<Field> {
    let data_type = arrow_type(&field.field_type)?;
    let mut metadata = HashMap::from([(FIELD_ID.to_owned(), field.id.to_string())]);
    if *field.field_type == Type::Primitive(PrimitiveType::Uuid) {
        metadata.insert(EXTENSION.to_owned(), UUID_EXTENSION.to_owned());
    }
    Ok(Field::new(&field.name, data_type, !field.required).with_metadata(metadata))
}

/// The Arrow type of an Iceberg type.
///
/// # Errors
/// `Unsupported` for a type without an Arrow counterpart.
pub fn arrow_type(ty: &Type) -> Result<DataType> {
    Ok(match ty {
        Type::Primitive(primitive) => arrow_primitive(primitive)?,
        Type::Struct(fields) => DataType::Struct(arrow_fields(fields)?),
        Type::List(list) => DataType::List(Arc::new(arrow_field(&list.element_field)?.with_name("element"))),
        Type::Map(map) => DataType::Map(
            Arc::new(Field::new(
                "key_value",
                DataType::Struct(Fields::from(vec![
                    arrow_field(&map.key_field)?.with_name("key"),
                    arrow_field(&map.value_field)?.with_name("value"),
                ])),
                false,
            )),
            false,
        ),
    })
}

fn arrow_primitive(primitive: &PrimitiveType) -> Result<DataType> {
    Ok(match primitive {
        PrimitiveType::Boolean => DataType::Boolean,
        PrimitiveType::Int => DataType::Int32,
        PrimitiveType::Long => DataType::Int64,
        PrimitiveType::Float => DataType::Float32,
        PrimitiveType::Double => DataType::Float64,
        PrimitiveType::Decimal { precision, scale } => {
            let narrow = |digits: u32| {
                u8::try_from(digits).map_err(|_| Error::corrupt(format!("decimal of {digits} digits")))
            };
            DataType::Decimal128(narrow(*precision)?, narrow(*scale)?.cast_signed())
        }
        PrimitiveType::Date => DataType::Date32,
        PrimitiveType::Time => DataType::Time64(TimeUnit::Microsecond),
        PrimitiveType::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
        PrimitiveType::Timestamptz => DataType::Timestamp(TimeUnit::Microsecond, Some(UTC.into())),
        PrimitiveType::TimestampNs => DataType::Timestamp(TimeUnit::Nanosecond, None),
        PrimitiveType::TimestamptzNs => DataType::Timestamp(TimeUnit::Nanosecond, Some(UTC.into())),
        PrimitiveType::String => DataType::Utf8,
        PrimitiveType::Uuid => DataType::FixedSizeBinary(16),
        PrimitiveType::Fixed(length) => DataType::FixedSizeBinary(
            i32::try_from(*length)
                .map_err(|_| Error::unsupported(format!("fixed({length}) is longer than Arrow can hold")))?,
        ),
        PrimitiveType::Binary => DataType::Binary,
    })
}

/// The Iceberg type that stores an Arrow type: what CTAS makes of a query's column.
///
/// Unsigned integers widen, nanosecond timestamps become microseconds (the writer refuses lost digits),
/// and ids are drawn from `next_id`.
///
/// # Errors
/// `Unsupported` for a type that Iceberg has not.
pub fn iceberg_type(data_type: &DataType, next_id: &mut i32) -> Result<Type> {
    let primitive = |p: PrimitiveType| Ok(Type::Primitive(p));
    let mut draw = || {
        *next_id += 1;
        *next_id
    };
    match data_type {
        DataType::Boolean => primitive(PrimitiveType::Boolean),
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::UInt8 | DataType::UInt16 => {
            primitive(PrimitiveType::Int)
        }
        DataType::Int64 | DataType::UInt32 => primitive(PrimitiveType::Long),
        DataType::UInt64 => primitive(PrimitiveType::Decimal { precision: 20, scale: 0 }),
        DataType::Float16 | DataType::Float32 => primitive(PrimitiveType::Float),
        DataType::Float64 => primitive(PrimitiveType::Double),
        DataType::Decimal32(p, s)
        | DataType::Decimal64(p, s)
        | DataType::Decimal128(p, s)
        | DataType::Decimal256(p, s)
            if *s >= 0 && *p <= 38 =>
        {
            primitive(PrimitiveType::Decimal { precision: u32::from(*p), scale: u32::from(s.unsigned_abs()) })
        }
        DataType::Date32 | DataType::Date64 => primitive(PrimitiveType::Date),
        DataType::Time32(_) | DataType::Time64(_) => primitive(PrimitiveType::Time),
        DataType::Timestamp(_, None) => primitive(PrimitiveType::Timestamp),
        DataType::Timestamp(_, Some(_)) => primitive(PrimitiveType::Timestamptz),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => primitive(PrimitiveType::String),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => primitive(PrimitiveType::Binary),
        DataType::FixedSizeBinary(length) => {
            primitive(PrimitiveType::Fixed(u64::from(length.unsigned_abs())))
        }
        DataType::Dictionary(_, value) => iceberg_type(value, next_id),
        DataType::List(element)
        | DataType::LargeList(element)
        | DataType::ListView(element)
        | DataType::LargeListView(element)
        | DataType::FixedSizeList(element, _) => {
            let id = draw();
            let element_type = type_of(element, next_id)?;
            let element = NestedField::list_element(id, element_type, !element.is_nullable());
            Ok(Type::List(ListType::new(Arc::new(element))))
        }
        DataType::Map(entries, _) => {
            let DataType::Struct(pair) = entries.data_type() else {
                return Err(Error::bug("an Arrow map's entries are not a struct"));
            };
            let [key, value] = pair.as_ref() else {
                return Err(Error::bug("an Arrow map's entries are not pairs"));
            };
            let (key_id, value_id) = (draw(), draw());
            let key_type = type_of(key, next_id)?;
            let value_type = type_of(value, next_id)?;
            Ok(Type::Map(MapType::new(
                Arc::new(NestedField::map_key_element(key_id, key_type)),
                Arc::new(NestedField::map_value_element(value_id, value_type, !value.is_nullable())),
            )))
        }
        DataType::Struct(fields) => Ok(Type::Struct(StructType::new(iceberg_fields(fields, next_id)?))),
        other => Err(Error::unsupported(format!(
            "a column of type {other} cannot be stored in an Iceberg table: cast it in the query"
        ))),
    }
}

/// The Iceberg type that stores an Arrow field: [`iceberg_type`], and UUIDs, which only a field can say.
fn type_of(field: &Field, next_id: &mut i32) -> Result<Type> {
    match field.data_type() {
        DataType::FixedSizeBinary(16) if field.extension_type_name() == Some(UUID_EXTENSION) => {
            Ok(Type::Primitive(PrimitiveType::Uuid))
        }
        other => iceberg_type(other, next_id),
    }
}

/// The Iceberg fields of Arrow fields, ids drawn level by level as Iceberg's own assignment does.
///
/// # Errors
/// `Unsupported` for a type that Iceberg has not.
pub fn iceberg_fields(fields: &Fields, next_id: &mut i32) -> Result<Vec<Arc<NestedField>>> {
    let ids: Vec<i32> = fields
        .iter()
        .map(|_| {
            *next_id += 1;
            *next_id
        })
        .collect();
    ids.into_iter()
        .zip(fields)
        .map(|(id, field)| {
            let ty = type_of(field, next_id).map_err(|error| error.with("column", field.name().clone()))?;
            Ok(Arc::new(NestedField::new(id, field.name(), ty, !field.is_nullable())))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn primitive(id: i32, name: &str, ty: PrimitiveType) -> Arc<NestedField> {
        NestedField::optional(id, name, Type::Primitive(ty)).into()
    }

    /// The ids of a struct's fields, outer before inner, as they are met.
    fn ids(fields: &[Arc<NestedField>]) -> Vec<(String, i32)> {
        fn below(prefix: &str, ty: &Type, found: &mut Vec<(String, i32)>) {
            let mut visit = |field: &NestedField| {
                let name = format!("{prefix}.{}", field.name);
                found.push((name.clone(), field.id));
                below(&name, &field.field_type, found);
            };
            match ty {
                Type::Primitive(_) => {}
                Type::Struct(fields) => fields.fields().iter().for_each(|field| visit(field)),
                Type::List(list) => visit(&list.element_field),
                Type::Map(map) => {
                    visit(&map.key_field);
                    visit(&map.value_field);
                }
            }
        }
        let mut found = Vec::new();
        below("", &Type::Struct(StructType::new(fields.to_vec())), &mut found);
        found
    }

    #[test]
    fn every_primitive_type_survives_the_way_to_arrow_and_back() {
        use PrimitiveType as T;
        let types = [
            T::Boolean,
            T::Int,
            T::Long,
            T::Float,
            T::Double,
            T::Decimal { precision: 38, scale: 10 },
            T::Date,
            T::Time,
            T::Timestamp,
            T::Timestamptz,
            T::String,
            T::Fixed(7),
            T::Binary,
        ];
        for ty in types {
            let ty = Type::Primitive(ty);
            assert_eq!(iceberg_type(&arrow_type(&ty).unwrap(), &mut 0).unwrap(), ty);
        }
        // Nanoseconds are stored as microseconds; only a field tells a UUID from other bytes.
        let ns = arrow_type(&Type::Primitive(T::TimestamptzNs)).unwrap();
        assert_eq!(iceberg_type(&ns, &mut 0).unwrap(), Type::Primitive(T::Timestamptz));
        let list = ListType::new(NestedField::list_element(2, Type::Primitive(T::Uuid), false).into());
        let fields = [primitive(1, "u", T::Uuid), NestedField::optional(2, "l", Type::List(list)).into()];
        let arrow = arrow_fields(&StructType::new(fields.to_vec())).unwrap();
        assert_eq!(arrow[0].data_type(), &DataType::FixedSizeBinary(16));
        let back = iceberg_fields(&arrow, &mut 0).unwrap();
        assert_eq!(*back[0].field_type, Type::Primitive(T::Uuid));
        let Type::List(list) = back[1].field_type.as_ref() else { panic!("not a list") };
        assert_eq!(*list.element_field.field_type, Type::Primitive(T::Uuid));
    }

    #[test]
    fn other_arrow_types_widen() {
        use PrimitiveType as T;
        for (arrow, expected) in [
            (DataType::UInt8, T::Int),
            (DataType::UInt32, T::Long),
            (DataType::UInt64, T::Decimal { precision: 20, scale: 0 }),
            (DataType::Float16, T::Float),
            (DataType::Decimal256(38, 2), T::Decimal { precision: 38, scale: 2 }),
            (DataType::Utf8View, T::String),
            (DataType::Date64, T::Date),
            (DataType::Dictionary(Box::new(DataType::Int8), Box::new(DataType::LargeUtf8)), T::String),
        ] {
            assert_eq!(iceberg_type(&arrow, &mut 0).unwrap(), Type::Primitive(expected));
        }
        for refused in [
            DataType::Decimal256(39, 0),
            DataType::Decimal128(5, -2),
            DataType::Duration(TimeUnit::Second),
            DataType::Null,
        ] {
            let error = iceberg_type(&refused, &mut 0).unwrap_err();
            assert_eq!(error.kind(), icecap_table::ErrorKind::Unsupported);
        }
    }

    #[test]
    fn ids_are_drawn_as_iceberg_java_draws_them() {
        let ints = || DataType::List(Arc::new(Field::new("item", DataType::Int32, true)));
        let inner =
            Fields::from(vec![Field::new("x", ints(), true), Field::new("y", DataType::Int32, false)]);
        let pair = Fields::from(vec![
            Field::new("key", DataType::Utf8, false),
            Field::new("value", DataType::Struct(inner), true),
        ]);
        let map = DataType::Map(Arc::new(Field::new("entries", DataType::Struct(pair), false)), false);
        let fields = Fields::from(vec![
            Field::new("a", ints(), true),
            Field::new("m", map, true),
            Field::new("b", DataType::Int32, true),
        ]);
        let mut last = 0;
        let ids = ids(&iceberg_fields(&fields, &mut last).unwrap());
        let ids: Vec<_> = ids.iter().map(|(name, id)| (name.as_str(), *id)).collect();
        assert_eq!(
            ids,
            [
                (".a", 1),
                (".a.element", 4),
                (".m", 2),
                (".m.key", 5),
                (".m.value", 6),
                (".m.value.x", 7),
                (".m.value.x.element", 9),
                (".m.value.y", 8),
                (".b", 3),
            ]
        );
        assert_eq!(last, 9);
    }

    #[test]
    fn arrow_fields_carry_ids_and_nullability_at_every_level() {
        let element = NestedField::list_element(3, Type::Primitive(PrimitiveType::Int), true);
        let schema = Schema::builder()
            .with_fields(vec![
                NestedField::required(1, "a", Type::Primitive(PrimitiveType::Long)).into(),
                NestedField::optional(2, "l", Type::List(ListType::new(element.into()))).into(),
                NestedField::optional(
                    4,
                    "s",
                    Type::Struct(StructType::new(vec![primitive(5, "x", PrimitiveType::String)])),
                )
                .into(),
            ])
            .build()
            .unwrap();
        let arrow = arrow_schema(&schema).unwrap();
        let id = |field: &Field| field.metadata()[FIELD_ID].clone();
        assert_eq!(arrow.fields().iter().map(|f| id(f)).collect::<Vec<_>>(), ["1", "2", "4"]);
        assert_eq!(arrow.fields().iter().map(|f| f.is_nullable()).collect::<Vec<_>>(), [false, true, true]);
        let DataType::List(element) = arrow.field(1).data_type() else { panic!("not a list") };
        assert_eq!(
            (element.name().as_str(), id(element), element.is_nullable()),
            ("element", "3".into(), false)
        );
        let DataType::Struct(fields) = arrow.field(2).data_type() else { panic!("not a struct") };
        assert_eq!((fields[0].name().as_str(), id(&fields[0])), ("x", "5".into()));
    }
}
