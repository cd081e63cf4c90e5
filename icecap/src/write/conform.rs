//! Brings the columns that a query delivers into the shape that the table's schema demands: nested names
//! and nullability as in the schema, leaves of an equivalent layout left as they come.

use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, FixedSizeListArray, ListArray, MapArray, RecordBatch, StructArray,
};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Field, Fields};
use datafusion::arrow::error::ArrowError;
use icecap_table::iceberg::spec::{NestedField, PrimitiveType, StructType, Type};
use icecap_table::{Error, Result};

use crate::arrow_schema::{FIELD_ID, arrow_type};

/// The batch's columns, each fit to be encoded as the schema's field of the same position.
///
/// # Errors
/// `Invalid` for a NULL in a required field, `Bug` for a column whose type the planner should have cast.
pub(crate) fn conform(batch: &RecordBatch, fields: &StructType) -> Result<Vec<ArrayRef>> {
    if batch.num_columns() != fields.fields().len() {
        return Err(Error::bug(format!(
            "the query delivers {} columns, the table has {}",
            batch.num_columns(),
            fields.fields().len()
        )));
    }
    batch
        .columns()
        .iter()
        .zip(fields.fields())
        .map(|(array, field)| column(array, field).map_err(|e| e.with("column", field.name.clone())))
        .collect()
}

fn column(array: &ArrayRef, field: &NestedField) -> Result<ArrayRef> {
    if field.required && array.null_count() > 0 {
        return Err(Error::invalid("NULL in a required column"));
    }
    shape(array, &field.field_type)
}

fn shape(array: &ArrayRef, ty: &Type) -> Result<ArrayRef> {
    match ty {
        Type::Primitive(primitive) => leaf(array, primitive),
        Type::Struct(fields) => structure(array, fields),
        Type::List(list) => {
            let array = plain_list(array)?;
            let values = shape(array.values(), &list.element_field.field_type)?;
            let element = Arc::new(child_field(&list.element_field, "element", &values));
            let result = ListArray::try_new(element, array.offsets().clone(), values, array.nulls().cloned());
            Ok(Arc::new(result.map_err(|e| null_inside(&list.element_field, e))?))
        }
        Type::Map(map) => {
            let array = array.as_map_opt().ok_or_else(|| mismatch(array, "a map"))?;
            let keys = shape(array.keys(), &map.key_field.field_type)?;
            let values = shape(array.values(), &map.value_field.field_type)?;
            let pair = Fields::from(vec![
                child_field(&map.key_field, "key", &keys),
                child_field(&map.value_field, "value", &values),
            ]);
            let entries = StructArray::try_new(pair.clone(), vec![keys, values], None)
                .map_err(|e| null_inside(&map.value_field, e))?;
            let entry = Arc::new(Field::new("key_value", DataType::Struct(pair), false));
            let result =
                MapArray::try_new(entry, array.offsets().clone(), entries, array.nulls().cloned(), false);
            Ok(Arc::new(result.map_err(|e| null_inside(&map.value_field, e))?))
        }
    }
}

fn child_field(field: &NestedField, name: &str, values: &ArrayRef) -> Field {
    Field::new(name, values.data_type().clone(), !field.required)
        .with_metadata([(FIELD_ID.to_owned(), field.id.to_string())].into())
}

fn structure(array: &ArrayRef, fields: &StructType) -> Result<ArrayRef> {
    let array = array.as_struct_opt().ok_or_else(|| mismatch(array, "a struct"))?;
    if array.num_columns() != fields.fields().len() {
        return Err(mismatch(array, "a struct with as many fields as the table's"));
    }
    let children = array
        .columns()
        .iter()
        .zip(fields.fields())
        .map(|(child, field)| {
            shape(child, &field.field_type).map_err(|e| e.with("field", field.name.clone()))
        })
        .collect::<Result<Vec<_>>>()?;
    let arrow_fields: Fields = fields
        .fields()
        .iter()
        .zip(&children)
        .map(|(field, child)| child_field(field, &field.name, child))
        .collect();
    let result = StructArray::try_new(arrow_fields, children, array.nulls().cloned());
    Ok(Arc::new(result.map_err(|e| Error::invalid("NULL in a required field").with_source(e))?))
}

fn null_inside(field: &NestedField, error: ArrowError) -> Error {
    Error::invalid(format!("NULL in a required {}", field.name)).with_source(error)
}

/// Every list layout as an Arrow list with 32-bit offsets.
fn plain_list(array: &ArrayRef) -> Result<ListArray> {
    let element = match array.data_type() {
        DataType::List(_) => return Ok(array.as_list::<i32>().clone()),
        DataType::LargeList(element)
        | DataType::ListView(element)
        | DataType::LargeListView(element)
        | DataType::FixedSizeList(element, _) => Arc::clone(element),
        _ => return Err(mismatch(array, "a list")),
    };
    if let Some(fixed) = array.as_any().downcast_ref::<FixedSizeListArray>() {
        return Ok(ListArray::from(fixed.clone()));
    }
    let plain = cast(array, &DataType::List(element))
        .map_err(|e| Error::exhausted("a batch's lists are too long together").with_source(e))?;
    Ok(plain.as_list::<i32>().clone())
}

fn mismatch(array: &dyn Array, wanted: &str) -> Error {
    Error::bug(format!("a column arrives as {} where the table stores {wanted}", array.data_type()))
}

fn leaf(array: &ArrayRef, primitive: &PrimitiveType) -> Result<ArrayRef> {
    let wanted = arrow_type(&Type::Primitive(primitive.clone()))?;
    let found = array.data_type();
    if *found == wanted {
        return Ok(Arc::clone(array));
    }
    match (found, &wanted) {
        (DataType::Dictionary(_, _), _) => {
            let values = unpack(array)?;
            leaf(&values, primitive)
        }
        (DataType::Utf8View | DataType::LargeUtf8, DataType::Utf8)
        | (DataType::BinaryView | DataType::LargeBinary, DataType::Binary) => Ok(Arc::clone(array)),
        (DataType::Timestamp(a, Some(_)), DataType::Timestamp(b, Some(_))) if a == b => {
            cast_to(array, &wanted)
        }
        (DataType::Decimal128(p, s), DataType::Decimal128(wide, scale)) if s == scale && p <= wide => {
            cast_to(array, &wanted)
        }
        (DataType::Null, _) => cast_to(array, &wanted),
        _ => Err(mismatch(array, &wanted.to_string())),
    }
}

fn unpack(array: &ArrayRef) -> Result<ArrayRef> {
    match array.data_type() {
        DataType::Dictionary(_, value) => cast_to(array, value),
        _ => Ok(Arc::clone(array)),
    }
}

fn cast_to(array: &ArrayRef, ty: &DataType) -> Result<ArrayRef> {
    cast(array, ty).map_err(|e| Error::bug(format!("a column cannot be stored as {ty}")).with_source(e))
}
