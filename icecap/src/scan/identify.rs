//! Which column of a Parquet file is which field of the table: by field id, never by name.
//!
//! A file that carries no ids (another tool wrote it, and it was added to the table) gets them from the
//! table's `schema.name-mapping.default`; without that property the names must all be names of the current
//! schema, or the file is refused: guessing by position could hand one column's values to another.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema as ArrowSchema};
use icecap_table::iceberg::spec::{MappedField, NameMapping, Schema, StructType, Type};
use icecap_table::{Error, Result};

use crate::arrow_schema::FIELD_ID;

/// The field id that a Parquet column carries.
pub(super) fn field_id(field: &Field) -> Option<i32> {
    field.metadata().get(FIELD_ID)?.parse().ok()
}

/// The file's columns, each with a field id in its metadata where one is known.
///
/// # Errors
/// `Corrupt` when a file without ids has a column that neither the name mapping nor the schema knows.
pub(super) fn identify(file: &ArrowSchema, table: &Schema, mapping: Option<&NameMapping>) -> Result<Fields> {
    if file.fields().iter().any(|field| has_id(field)) {
        return Ok(file.fields().clone());
    }
    if let Some(mapping) = mapping {
        let mapped: Vec<&MappedField> = mapping.fields().iter().collect();
        return Ok(by_mapping(file.fields(), &mapped));
    }
    let unknown: Vec<&str> = file
        .fields()
        .iter()
        .map(|field| field.name().as_str())
        .filter(|name| !table.as_struct().fields().iter().any(|field| field.name == *name))
        .collect();
    if !unknown.is_empty() {
        return Err(Error::corrupt(format!(
            "the file has no field ids and its column {:?} is not a column of the table: set the table \
             property schema.name-mapping.default",
            unknown[0]
        )));
    }
    Ok(by_name(file.fields(), table.as_struct()))
}

fn has_id(field: &Field) -> bool {
    field_id(field).is_some() || children(field.data_type()).iter().any(|child| has_id(child))
}

fn children(data_type: &DataType) -> Vec<&FieldRef> {
    match data_type {
        DataType::Struct(fields) => fields.iter().collect(),
        DataType::List(field)
        | DataType::LargeList(field)
        | DataType::FixedSizeList(field, _)
        | DataType::Map(field, _) => vec![field],
        _ => Vec::new(),
    }
}

fn with_id(field: &Field, data_type: DataType, id: Option<i32>) -> FieldRef {
    let metadata = id.map(|id| HashMap::from([(FIELD_ID.to_owned(), id.to_string())]));
    Arc::new(field.clone().with_data_type(data_type).with_metadata(metadata.unwrap_or_default()))
}

fn by_mapping(fields: &Fields, mapped: &[&MappedField]) -> Fields {
    let find = |name: &str| mapped.iter().find(|m| m.names().iter().any(|n| n == name)).copied();
    fields
        .iter()
        .map(|field| match find(field.name()) {
            Some(found) => {
                let below: Vec<&MappedField> = found.fields().iter().map(AsRef::as_ref).collect();
                with_id(field, map_children(field.data_type(), &below), found.field_id())
            }
            None => with_id(field, field.data_type().clone(), None),
        })
        .collect()
}

fn map_children(data_type: &DataType, mapped: &[&MappedField]) -> DataType {
    let role = |name: &str| mapped.iter().find(|m| m.names().iter().any(|n| n == name)).copied();
    let below = |m: Option<&MappedField>, ty: &DataType| match m {
        Some(m) => map_children(ty, &m.fields().iter().map(AsRef::as_ref).collect::<Vec<_>>()),
        None => ty.clone(),
    };
    match data_type {
        DataType::Struct(fields) => DataType::Struct(by_mapping(fields, mapped)),
        DataType::List(element) => {
            let found = role("element");
            let inner = below(found, element.data_type());
            DataType::List(with_id(element, inner, found.and_then(MappedField::field_id)))
        }
        DataType::Map(entries, sorted) => {
            let DataType::Struct(pair) = entries.data_type() else { return data_type.clone() };
            let names = ["key", "value"];
            let pair = pair
                .iter()
                .zip(names)
                .map(|(field, name)| {
                    let found = role(name);
                    let inner = below(found, field.data_type());
                    with_id(field, inner, found.and_then(MappedField::field_id))
                })
                .collect();
            DataType::Map(Arc::new(entries.as_ref().clone().with_data_type(DataType::Struct(pair))), *sorted)
        }
        other => other.clone(),
    }
}

fn by_name(fields: &Fields, table: &StructType) -> Fields {
    fields
        .iter()
        .map(|field| match table.fields().iter().find(|f| f.name == *field.name()) {
            Some(found) => {
                with_id(field, name_children(field.data_type(), &found.field_type), Some(found.id))
            }
            None => with_id(field, field.data_type().clone(), None),
        })
        .collect()
}

fn name_children(data_type: &DataType, table: &Type) -> DataType {
    match (data_type, table) {
        (DataType::Struct(fields), Type::Struct(table)) => DataType::Struct(by_name(fields, table)),
        (DataType::List(element), Type::List(list)) => {
            let inner = name_children(element.data_type(), &list.element_field.field_type);
            DataType::List(with_id(element, inner, Some(list.element_field.id)))
        }
        (DataType::Map(entries, sorted), Type::Map(map)) => {
            let DataType::Struct(pair) = entries.data_type() else { return data_type.clone() };
            let pair = pair
                .iter()
                .zip([&map.key_field, &map.value_field])
                .map(|(field, known)| {
                    with_id(field, name_children(field.data_type(), &known.field_type), Some(known.id))
                })
                .collect();
            DataType::Map(Arc::new(entries.as_ref().clone().with_data_type(DataType::Struct(pair))), *sorted)
        }
        (other, _) => other.clone(),
    }
}

/// Refuses a file that names two columns alike, or gives one id to two of them.
///
/// # Errors
/// `Corrupt`.
pub(super) fn check_unambiguous(fields: &Fields) -> Result<()> {
    let (mut names, mut ids) = (HashSet::new(), HashSet::new());
    for field in fields {
        if !names.insert(field.name()) {
            return Err(Error::corrupt(format!("the file has two columns named {:?}", field.name())));
        }
        if let Some(id) = field_id(field)
            && !ids.insert(id)
        {
            return Err(Error::corrupt(format!("the file has two columns of field id {id}")));
        }
    }
    Ok(())
}
