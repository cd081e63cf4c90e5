//! The Parquet schema of an Iceberg schema (spec, appendix A): physical and logical types, repetition,
//! field ids, three-level lists and maps.

use std::collections::HashMap;
use std::sync::Arc;

use icecap_table::iceberg::spec::{NestedField, PrimitiveType, Schema, StructType, Type as IcebergType};
use icecap_table::{Error, Result};
use parquet::basic::{LogicalType, Repetition, TimeUnit, Type as PhysicalType};
use parquet::errors::ParquetError;
use parquet::schema::types::{SchemaDescriptor, Type, TypePtr};

/// One leaf column of the Parquet schema.
#[derive(Debug, Clone)]
pub(crate) struct Leaf {
    /// Its field id.
    pub(crate) id: i32,
    /// Its type.
    pub(crate) primitive: PrimitiveType,
    /// Whether it lies below a list or a map.
    pub(crate) repeated: bool,
    /// Its full name in the schema, parts joined with dots.
    pub(crate) name: String,
}

/// The Parquet schema's root, named `table` as Iceberg Java does.
///
/// # Errors
/// `Unsupported` for a type that Parquet cannot hold, such as a struct without fields.
pub(crate) fn parquet_schema(schema: &Schema) -> Result<TypePtr> {
    Ok(Arc::new(group("table", schema.as_struct(), None, None)?))
}

/// The leaves in the order of the Parquet schema's columns.
///
/// # Errors
/// `Bug` when the two schemas do not belong together.
pub(crate) fn leaves(schema: &Schema, descriptor: &SchemaDescriptor) -> Result<Vec<Leaf>> {
    let by_id: &HashMap<i32, Arc<NestedField>> = schema.field_id_to_fields();
    descriptor
        .columns()
        .iter()
        .map(|column| {
            let info = column.self_type().get_basic_info();
            let field = info.has_id().then(|| by_id.get(&info.id())).flatten();
            let field = field.ok_or_else(|| {
                Error::bug(format!("Parquet column {} has no field id of the schema", column.path()))
            })?;
            let IcebergType::Primitive(primitive) = field.field_type.as_ref() else {
                return Err(Error::bug(format!("Parquet column {} is not a primitive field", column.path())));
            };
            Ok(Leaf {
                id: field.id,
                primitive: primitive.clone(),
                repeated: column.max_rep_level() > 0,
                name: schema.name_by_field_id(field.id).unwrap_or(&field.name).to_owned(),
            })
        })
        .collect()
}

fn refused(error: ParquetError) -> Error {
    Error::unsupported("the table's schema has no Parquet form").with_source(error)
}

fn repetition(required: bool) -> Repetition {
    if required { Repetition::REQUIRED } else { Repetition::OPTIONAL }
}

fn group(name: &str, fields: &StructType, id: Option<i32>, repetition: Option<Repetition>) -> Result<Type> {
    if fields.fields().is_empty() {
        return Err(Error::unsupported(format!("a struct without fields cannot be stored: {name}")));
    }
    let children =
        fields.fields().iter().map(|f| field(f, &f.name).map(Arc::new)).collect::<Result<Vec<_>>>()?;
    let builder = Type::group_type_builder(name).with_fields(children).with_id(id);
    match repetition {
        Some(repetition) => builder.with_repetition(repetition),
        None => builder,
    }
    .build()
    .map_err(refused)
}

fn field(field: &NestedField, name: &str) -> Result<Type> {
    let repetition = repetition(field.required);
    let nested = |logical: LogicalType, middle: &str, children: Vec<Type>| {
        let middle = Type::group_type_builder(middle)
            .with_repetition(Repetition::REPEATED)
            .with_fields(children.into_iter().map(Arc::new).collect())
            .build()?;
        Type::group_type_builder(name)
            .with_logical_type(Some(logical))
            .with_repetition(repetition)
            .with_id(Some(field.id))
            .with_fields(vec![Arc::new(middle)])
            .build()
    };
    match field.field_type.as_ref() {
        IcebergType::Primitive(ty) => primitive(ty, name, field.id, repetition),
        IcebergType::Struct(fields) => group(name, fields, Some(field.id), Some(repetition)),
        IcebergType::List(list) => {
            let element = self::field(&list.element_field, "element")?;
            nested(LogicalType::List, "list", vec![element]).map_err(refused)
        }
        IcebergType::Map(map) => {
            let key = self::field(&map.key_field, "key")?;
            let value = self::field(&map.value_field, "value")?;
            nested(LogicalType::Map, "key_value", vec![key, value]).map_err(refused)
        }
    }
}

fn primitive(ty: &PrimitiveType, name: &str, id: i32, repetition: Repetition) -> Result<Type> {
    use PhysicalType::{BOOLEAN, BYTE_ARRAY, DOUBLE, FIXED_LEN_BYTE_ARRAY, FLOAT, INT32, INT64};

    let timestamp = |utc, unit| Some(LogicalType::timestamp(utc, unit));
    let (physical, logical, length) = match ty {
        PrimitiveType::Boolean => (BOOLEAN, None, None),
        PrimitiveType::Int => (INT32, None, None),
        PrimitiveType::Long => (INT64, None, None),
        PrimitiveType::Float => (FLOAT, None, None),
        PrimitiveType::Double => (DOUBLE, None, None),
        PrimitiveType::Date => (INT32, Some(LogicalType::Date), None),
        PrimitiveType::Time => (INT64, Some(LogicalType::time(false, TimeUnit::MICROS)), None),
        PrimitiveType::Timestamp => (INT64, timestamp(false, TimeUnit::MICROS), None),
        PrimitiveType::Timestamptz => (INT64, timestamp(true, TimeUnit::MICROS), None),
        PrimitiveType::TimestampNs => (INT64, timestamp(false, TimeUnit::NANOS), None),
        PrimitiveType::TimestamptzNs => (INT64, timestamp(true, TimeUnit::NANOS), None),
        PrimitiveType::String => (BYTE_ARRAY, Some(LogicalType::String), None),
        PrimitiveType::Binary => (BYTE_ARRAY, None, None),
        PrimitiveType::Uuid => (FIXED_LEN_BYTE_ARRAY, Some(LogicalType::Uuid), Some(16)),
        PrimitiveType::Fixed(length) => {
            let length = i32::try_from(*length)
                .map_err(|_| Error::unsupported(format!("fixed({length}) is too long for Parquet")))?;
            (FIXED_LEN_BYTE_ARRAY, None, Some(length))
        }
        PrimitiveType::Decimal { precision, scale } => {
            return decimal(*precision, *scale, name, id, repetition);
        }
    };
    let builder = Type::primitive_type_builder(name, physical)
        .with_logical_type(logical)
        .with_repetition(repetition)
        .with_id(Some(id));
    match length {
        Some(length) => builder.with_length(length),
        None => builder,
    }
    .build()
    .map_err(refused)
}

fn decimal(precision: u32, scale: u32, name: &str, id: i32, repetition: Repetition) -> Result<Type> {
    let wrong = || Error::corrupt(format!("decimal({precision}, {scale}) is not a valid type"));
    let digits = i32::try_from(precision).map_err(|_| wrong())?;
    let places = i32::try_from(scale).map_err(|_| wrong())?;
    let (physical, length) = match precision {
        0..=9 => (PhysicalType::INT32, -1),
        10..=18 => (PhysicalType::INT64, -1),
        _ => {
            let bytes = IcebergType::decimal_required_bytes(precision)?;
            (PhysicalType::FIXED_LEN_BYTE_ARRAY, i32::try_from(bytes).map_err(|_| wrong())?)
        }
    };
    Type::primitive_type_builder(name, physical)
        .with_logical_type(Some(LogicalType::decimal(places, digits)))
        .with_precision(digits)
        .with_scale(places)
        .with_length(length)
        .with_repetition(repetition)
        .with_id(Some(id))
        .build()
        .map_err(refused)
}

#[cfg(test)]
mod tests {
    use icecap_table::iceberg::spec::{ListType, MapType};
    use parquet::schema::printer::print_schema;

    use super::*;

    fn schema() -> Schema {
        let p = |id, name: &str, ty| NestedField::optional(id, name, IcebergType::Primitive(ty)).into();
        let list = ListType::new(
            NestedField::list_element(20, IcebergType::Primitive(PrimitiveType::String), true).into(),
        );
        let map = MapType::new(
            NestedField::map_key_element(21, IcebergType::Primitive(PrimitiveType::Int)).into(),
            NestedField::map_value_element(
                22,
                IcebergType::Struct(StructType::new(vec![p(23, "x", PrimitiveType::Double)])),
                false,
            )
            .into(),
        );
        Schema::builder()
            .with_fields(vec![
                NestedField::required(1, "id", IcebergType::Primitive(PrimitiveType::Long)).into(),
                p(2, "d9", PrimitiveType::Decimal { precision: 9, scale: 2 }),
                p(3, "d18", PrimitiveType::Decimal { precision: 18, scale: 2 }),
                p(4, "d38", PrimitiveType::Decimal { precision: 38, scale: 10 }),
                p(5, "u", PrimitiveType::Uuid),
                p(6, "tz", PrimitiveType::Timestamptz),
                p(7, "ns", PrimitiveType::TimestampNs),
                NestedField::optional(8, "l", IcebergType::List(list)).into(),
                NestedField::optional(9, "m", IcebergType::Map(map)).into(),
            ])
            .build()
            .unwrap()
    }

    #[test]
    fn types_and_ids_are_as_the_specification_maps_them() {
        let mut printed = Vec::new();
        print_schema(&mut printed, &parquet_schema(&schema()).unwrap());
        insta::assert_snapshot!(String::from_utf8(printed).unwrap());
    }

    #[test]
    fn leaves_know_their_field_and_whether_they_repeat() {
        let schema = schema();
        let descriptor = SchemaDescriptor::new(parquet_schema(&schema).unwrap());
        let leaves: Vec<_> = leaves(&schema, &descriptor)
            .unwrap()
            .into_iter()
            .map(|leaf| (leaf.id, leaf.repeated, leaf.name))
            .collect();
        assert_eq!(leaves[0], (1, false, "id".to_owned()));
        assert_eq!(
            leaves[7..],
            [
                (20, true, "l.element".to_owned()),
                (21, true, "m.key".to_owned()),
                (23, true, "m.value.x".to_owned())
            ]
        );
    }
}
