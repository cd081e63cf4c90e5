//! Partition specs and sort orders, from terms as they were written.

use icecap_table::iceberg::spec::{
    NestedFieldRef, NullOrder, PartitionField, Schema, SortDirection, SortField, SortOrder, TableMetadata,
    Transform, UnboundPartitionField, UnboundPartitionSpec,
};

use crate::sql::{PartitionTerm, SortTerm};
use crate::write::source_path;
use crate::{Error, Result};

/// The column of a term, which its transform has to be defined on.
fn source<'a>(schema: &'a Schema, term: &PartitionTerm, what: &str) -> Result<&'a NestedFieldRef> {
    let source = schema
        .field_by_name(&term.column)
        .or_else(|| schema.field_by_name_case_insensitive(&term.column))
        .ok_or_else(|| {
            Error::invalid(format!("the table cannot be {what} by {}: there is no such column", term.column))
        })?;
    if !source.field_type.is_primitive() || source_path(schema.as_struct(), source.id).is_none() {
        return Err(Error::invalid(format!(
            "the table cannot be {what} by {}: its type is {}, or it is inside a list or map",
            term.column, source.field_type
        )));
    }
    term.transform.result_type(&source.field_type).map_err(|_| {
        Error::invalid(format!(
            "the table cannot be {what} by {}({}): the column's type is {}",
            term.transform, term.column, source.field_type
        ))
    })?;
    Ok(source)
}

/// The sort order of some terms; none is unsorted.
///
/// # Errors
/// `Invalid` for a column that is not there, or that cannot be sorted by.
pub(crate) fn sort_order(terms: &[SortTerm], schema: &Schema) -> Result<SortOrder> {
    let mut fields: Vec<SortField> = Vec::new();
    for SortTerm { term, descending, nulls_first } in terms {
        let source = source(schema, term, "sorted")?;
        if fields.iter().any(|field| field.source_id == source.id && field.transform == term.transform) {
            return Err(Error::invalid(format!(
                "the sort order names {} twice",
                text(&source.name, term.transform)
            )));
        }
        fields.push(SortField {
            source_id: source.id,
            transform: term.transform,
            direction: if *descending { SortDirection::Descending } else { SortDirection::Ascending },
            null_order: if *nulls_first { NullOrder::First } else { NullOrder::Last },
        });
    }
    if fields.is_empty() {
        return Ok(SortOrder::unsorted_order());
    }
    // The number is a placeholder: the table gives out the next one.
    SortOrder::builder()
        .with_order_id(1)
        .with_fields(fields)
        .build(schema)
        .map_err(|error| Error::invalid("the table cannot be sorted so").with_source(error))
}

/// `fields` and one more.
///
/// Its id is that of an equal field of any earlier spec, where there was one, and so is its name, unless the
/// statement gives one; ids are never given to another field.
///
/// # Errors
/// `Invalid` for a column that is not there, a transform that is not defined on it, a field that is there already, or
/// a name that is taken.
pub(super) fn added(
    metadata: &TableMetadata,
    fields: Vec<PartitionField>,
    term: &PartitionTerm,
    name: Option<&str>,
) -> Result<UnboundPartitionSpec> {
    let schema = metadata.current_schema();
    let source = source(schema, term, "partitioned")?;
    let is_equal = |field: &PartitionField| field.source_id == source.id && field.transform == term.transform;
    if let Some(there) = fields.iter().find(|field| is_equal(field)) {
        return Err(Error::invalid(format!(
            "the table is partitioned by {} already: the field is called {}",
            text(&source.name, term.transform),
            there.name
        )));
    }
    let mut earlier: Vec<_> = metadata.partition_specs_iter().collect();
    earlier.sort_by_key(|spec| std::cmp::Reverse(spec.spec_id()));
    let earlier = earlier.iter().flat_map(|spec| spec.fields()).find(|field| is_equal(field));
    let column = schema.name_by_field_id(source.id).unwrap_or(&source.name);
    let name = match (name, earlier) {
        (Some(name), _) => name.to_owned(),
        (None, Some(earlier)) => earlier.name.clone(),
        (None, None) => default_name(column, term.transform),
    };
    if fields.iter().any(|field| field.name.to_lowercase() == name.to_lowercase()) {
        return Err(Error::invalid(format!(
            "the table has a partition field called {name} already: give the new one a name with AS"
        )));
    }
    let clashes = schema
        .field_by_name(&name)
        .is_some_and(|column| term.transform != Transform::Identity || column.id != source.id);
    if clashes {
        return Err(Error::invalid(format!(
            "a partition field cannot be called {name}: a column is, and the field is {}",
            text(column, term.transform)
        )));
    }
    let new = UnboundPartitionField {
        source_id: source.id,
        field_id: earlier.map(|field| field.field_id),
        name,
        transform: term.transform,
    };
    unbound(fields.into_iter().map(UnboundPartitionField::from).chain([new]))
}

/// The default spec's fields without one.
///
/// # Errors
/// `Invalid` when there is no such field.
pub(super) fn without(metadata: &TableMetadata, term: &PartitionTerm) -> Result<UnboundPartitionSpec> {
    unbound(kept(metadata, term)?.into_iter().map(UnboundPartitionField::from))
}

/// The default spec's fields without one, and with another at the end.
///
/// # Errors
/// As [`without`] and [`added`].
pub(super) fn replaced(
    metadata: &TableMetadata,
    old: &PartitionTerm,
    new: &PartitionTerm,
    name: Option<&str>,
) -> Result<UnboundPartitionSpec> {
    added(metadata, kept(metadata, old)?, new, name)
}

fn kept(metadata: &TableMetadata, term: &PartitionTerm) -> Result<Vec<PartitionField>> {
    let fields = metadata.default_partition_spec().fields();
    let found = find(metadata, fields, term).ok_or_else(|| {
        let names: Vec<&str> = fields.iter().map(|field| field.name.as_str()).collect();
        let has = match names.as_slice() {
            [] => "it is not partitioned".to_owned(),
            names => format!("its fields are {}", names.join(", ")),
        };
        Error::invalid(format!(
            "the table has no partition field {}: {has}",
            text(&term.column, term.transform)
        ))
    })?;
    Ok(fields.iter().enumerate().filter(|(at, _)| *at != found).map(|(_, field)| field.clone()).collect())
}

/// A field by what it is of, or by its name.
fn find(metadata: &TableMetadata, fields: &[PartitionField], term: &PartitionTerm) -> Option<usize> {
    let schema = metadata.current_schema();
    let is_name = term.transform == Transform::Identity;
    let named = |matches: &dyn Fn(&str) -> bool| {
        fields.iter().position(|field| is_name && field.transform != Transform::Void && matches(&field.name))
    };
    named(&|name| name == term.column)
        .or_else(|| named(&|name| name.to_lowercase() == term.column.to_lowercase()))
        .or_else(|| {
            let source = schema
                .field_by_name(&term.column)
                .or_else(|| schema.field_by_name_case_insensitive(&term.column))?;
            fields.iter().position(|field| field.source_id == source.id && field.transform == term.transform)
        })
}

fn unbound(fields: impl Iterator<Item = UnboundPartitionField>) -> Result<UnboundPartitionSpec> {
    UnboundPartitionSpec::builder()
        .add_partition_fields(fields)
        .map(icecap_table::iceberg::spec::UnboundPartitionSpecBuilder::build)
        .map_err(|error| {
            Error::invalid(format!("the partition fields contradict each other: {}", error.message()))
        })
}

/// What Iceberg Java calls a field that is added to a table: with the width, so that another may follow.
fn default_name(column: &str, transform: Transform) -> String {
    match transform {
        Transform::Bucket(width) => format!("{column}_bucket_{width}"),
        Transform::Truncate(width) => format!("{column}_trunc_{width}"),
        other => crate::engine::create::partition_field_name(column, other),
    }
}

fn text(column: &str, transform: Transform) -> String {
    match transform {
        Transform::Identity => column.to_owned(),
        Transform::Bucket(width) => format!("bucket({width}, {column})"),
        Transform::Truncate(width) => format!("truncate({width}, {column})"),
        other => format!("{other}({column})"),
    }
}
