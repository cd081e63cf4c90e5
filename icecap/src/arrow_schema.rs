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
    Ok(Field::new(&field.name, data_type, !field.required)
        .with_metadata(HashMap::from([(FIELD_ID.to_owned(), field.id.to_string())])))
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
            let element_type = iceberg_type(element.data_type(), next_id)?;
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
            let key_type = iceberg_type(key.data_type(), next_id)?;
            let value_type = iceberg_type(value.data_type(), next_id)?;
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
            let ty = iceberg_type(field.data_type(), next_id)
                .map_err(|error| error.with("column", field.name().clone()))?;
            Ok(Arc::new(NestedField::new(id, field.name(), ty, !field.is_nullable())))
        })
        .collect()
}
