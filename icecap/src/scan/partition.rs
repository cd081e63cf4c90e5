//! What a file's partition tuple says of its rows: columns of one value, and `_partition`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use datafusion::common::ScalarValue;
use icecap_table::iceberg::spec::{
    Literal, NestedField, PartitionSpecRef, Schema, StructType, TableMetadata, Transform, Type,
};
use icecap_table::{Error, Result};

use super::value::scalar_or_null;
use crate::arrow_schema::arrow_type;

/// The fields of all partition specs of a table, under their newest names: what other engines call `_partition` too.
/// Fields whose source column is gone, or whose values have no Arrow type, are left out.
pub(super) fn partition_type(metadata: &TableMetadata) -> StructType {
    let schema = metadata.current_schema();
    let mut specs: Vec<&PartitionSpecRef> = metadata.partition_specs_iter().collect();
    specs.sort_by_key(|spec| std::cmp::Reverse(spec.spec_id()));
    // By field id: name, type, and whether the transform is known to be other than void.
    let mut fields: BTreeMap<i32, (String, Type, bool)> = BTreeMap::new();
    for field in specs.iter().flat_map(|spec| spec.fields()) {
        let Some(source) = schema.field_by_id(field.source_id) else { continue };
        let Ok(ty @ Type::Primitive(_)) = field.transform.result_type(&source.field_type) else { continue };
        if arrow_type(&ty).is_err() {
            continue;
        }
        let real = field.transform != Transform::Void;
        match fields.get_mut(&field.field_id) {
            None => {
                fields.insert(field.field_id, (field.name.clone(), ty, real));
            }
            // A field that a V1 table dropped lives on as void.
            Some((_, known, known_real)) if !*known_real && real => (*known, *known_real) = (ty, true),
            Some(_) => {}
        }
    }
    let mut names = BTreeSet::new();
    let fields = fields.into_iter().map(|(id, (name, ty, _))| {
        // Two specs may call two fields alike.
        let name = if names.insert(name.clone()) { name } else { format!("{name}_{id}") };
        Arc::new(NestedField::optional(id, name, ty))
    });
    StructType::new(fields.collect())
}

/// A file's tuple in the fields of [`partition_type`]; NULL where its spec has no such field.
///
/// # Errors
/// `Corrupt` when the file names a spec that is not there, or a value is not of its field's type.
pub(super) fn partition_tuple(
    metadata: &TableMetadata,
    fields: &StructType,
    spec_id: i32,
    tuple: &[Option<Literal>],
) -> Result<Vec<ScalarValue>> {
    let spec = spec(metadata, spec_id)?;
    let values = fields.fields().iter().map(|field| {
        let Type::Primitive(ty) = &*field.field_type else {
            return Err(Error::bug("a partition field is not of a primitive type"));
        };
        let at = spec.fields().iter().position(|own| own.field_id == field.id);
        scalar_or_null(at.and_then(|at| tuple.get(at)).and_then(Option::as_ref), ty)
    });
    values.collect()
}

/// The columns of a file that are constant in it: those its partition spec takes as they are.
///
/// # Errors
/// As [`partition_tuple`].
pub(super) fn constants(
    metadata: &TableMetadata,
    schema: &Schema,
    spec_id: i32,
    partition: &[Option<Literal>],
) -> Result<BTreeMap<i32, ScalarValue>> {
    let mut constants = BTreeMap::new();
    for (at, field) in spec(metadata, spec_id)?.fields().iter().enumerate() {
        if field.transform != Transform::Identity {
            continue;
        }
        let top = schema.as_struct().fields().iter().find(|known| known.id == field.source_id);
        if let Some(Type::Primitive(ty)) = top.map(|field| &*field.field_type) {
            let value = partition.get(at).and_then(Option::as_ref);
            constants.insert(field.source_id, scalar_or_null(value, ty)?);
        }
    }
    Ok(constants)
}

fn spec(metadata: &TableMetadata, spec_id: i32) -> Result<&PartitionSpecRef> {
    metadata.partition_spec_by_id(spec_id).ok_or_else(|| {
        Error::corrupt(format!("a data file names partition spec {spec_id}, which is not there"))
    })
}
