//! `SHOW CREATE TABLE`: the statement that makes an equal table, under this name or another one.
//!
//! It has no `LOCATION`, because two tables at one place destroy one another. What the statement cannot say stands
//! below it, in comments.

use std::collections::BTreeMap;
use std::fmt::Write;

use icecap_table::catalog::LoadedTable;
use icecap_table::iceberg::spec::{FormatVersion, NullOrder, SortDirection, TableMetadata, Transform, Type};

use super::StatementResult;
use super::create::partition_field_name;
use super::describe::text_rows;
use super::session::Run;
use crate::Result;
use crate::sql::Name;
use crate::sql::types::sql_type_name;

const COMMENT: &str = "comment";

/// Words that open something else at the place of a column or a table.
const KEYWORDS: &[&str] = &[
    "check",
    "constraint",
    "foreign",
    "if",
    "like",
    "primary",
    "select",
    "table",
    "unique",
    "values",
    "with",
];

impl Run {
    /// Runs `SHOW CREATE TABLE`.
    pub(super) async fn show_create_table(&self, name: &Name) -> Result<StatementResult> {
        let loaded = self.parts.load(name).await?;
        text_rows(["createtab_stmt"], vec![[Some(statement(&loaded))]])
    }
}

fn statement(loaded: &LoadedTable) -> String {
    let metadata = loaded.document.metadata();
    let mut parts: Vec<String> = loaded.ident.namespace.iter().map(|level| name(level)).collect();
    parts.push(name(&loaded.ident.name));
    let columns: Vec<String> = metadata
        .current_schema()
        .as_struct()
        .fields()
        .iter()
        .map(|field| {
            let mut column = format!("  {} {}", name(&field.name), sql_type_name(&field.field_type));
            if field.required {
                column.push_str(" NOT NULL");
            }
            if let Some(comment) = &field.doc {
                // Writing to a String cannot fail.
                let _ = write!(column, " COMMENT {}", text(comment));
            }
            column
        })
        .collect();
    let mut sql = format!("CREATE TABLE {} (\n{}\n)\nUSING iceberg", parts.join("."), columns.join(",\n"));
    let terms = partition_terms(metadata);
    if !terms.is_empty() {
        let _ = write!(sql, "\nPARTITIONED BY ({})", terms.join(", "));
    }
    if let Some(comment) = metadata.properties().get(COMMENT) {
        let _ = write!(sql, "\nCOMMENT {}", text(comment));
    }
    let mut properties: BTreeMap<&str, &str> =
        metadata.properties().iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    properties.remove(COMMENT);
    let version = if metadata.format_version() == FormatVersion::V3 { "3" } else { "2" };
    properties.insert("format-version", version);
    let mut properties: Vec<String> =
        properties.iter().map(|(key, value)| format!("  {} = {}", text(key), text(value))).collect();
    let order: Vec<String> = sort_terms(metadata, name).iter().map(|term| text(term)).collect();
    if !order.is_empty() {
        properties.push(format!("  sorted_by = ARRAY[{}]", order.join(", ")));
    }
    let _ = write!(sql, "\nTBLPROPERTIES (\n{}\n)", properties.join(",\n"));
    for remark in remarks(metadata) {
        let _ = write!(sql, "\n-- {remark}");
    }
    sql
}

/// The terms of the partition spec; a void field partitions by nothing.
fn partition_terms(metadata: &TableMetadata) -> Vec<String> {
    let spec = metadata.default_partition_spec();
    let fields = spec.fields().iter().filter(|field| field.transform != Transform::Void);
    fields.map(|field| term(metadata, field.source_id, field.transform, name)).collect()
}

/// A column or a transform of one, its parts called as `spell` has them.
fn term(
    metadata: &TableMetadata,
    source_id: i32,
    transform: Transform,
    spell: impl Fn(&str) -> String,
) -> String {
    let column = metadata.current_schema().name_by_field_id(source_id).unwrap_or("?");
    let column = column.split('.').map(spell).collect::<Vec<_>>().join(".");
    match transform {
        Transform::Identity => column,
        Transform::Bucket(width) => format!("bucket({width}, {column})"),
        Transform::Truncate(width) => format!("truncate({width}, {column})"),
        other => format!("{other}({column})"),
    }
}

/// The terms of the sort order, as the property `sorted_by` and `WRITE ORDERED BY` have them.
pub(super) fn sort_terms(metadata: &TableMetadata, spell: impl Fn(&str) -> String) -> Vec<String> {
    let fields = metadata.default_sort_order().fields.iter();
    fields
        .map(|field| {
            let term = term(metadata, field.source_id, field.transform, &spell);
            let direction = if field.direction == SortDirection::Descending { "DESC" } else { "ASC" };
            let nulls = if field.null_order == NullOrder::First { "FIRST" } else { "LAST" };
            format!("{term} {direction} NULLS {nulls}")
        })
        .collect()
}

/// What the statement leaves out.
fn remarks(metadata: &TableMetadata) -> Vec<String> {
    let mut remarks = Vec::new();
    let mut left_out = |what: String| remarks.push(format!("not said above: {what}"));
    if metadata.format_version() == FormatVersion::V1 {
        left_out("the table has format version 1, which new tables cannot have".to_owned());
    }
    let schema = metadata.current_schema();
    for field in metadata.default_partition_spec().fields() {
        let column = schema.name_by_field_id(field.source_id).unwrap_or("?");
        if field.transform != Transform::Void && field.name != partition_field_name(column, field.transform) {
            left_out(format!("the partition field {}({column}) is called {}", field.transform, field.name));
        }
    }
    if schema.identifier_field_ids().next().is_some() {
        left_out("the identifier fields".to_owned());
    }
    let mut fields: Vec<_> = schema.field_id_to_fields().values().collect();
    fields.sort_by_key(|field| field.id);
    for field in fields {
        let called = schema.name_by_field_id(field.id).unwrap_or(&field.name).to_owned();
        if field.initial_default.is_some() || field.write_default.is_some() {
            left_out(format!("the default of {called}"));
        }
        let is_top = schema.as_struct().fields().iter().any(|top| top.id == field.id);
        if field.doc.is_some() && !is_top {
            left_out(format!("the comment of {called}"));
        }
        let required = match &*field.field_type {
            Type::List(list) => list.element_field.required,
            Type::Map(map) => map.value_field.required,
            _ => false,
        };
        if required {
            left_out(format!("that values in {called} are never NULL"));
        }
    }
    remarks.push(format!("its files are below {}", line(metadata.location())));
    remarks.iter().map(|remark| line(remark)).collect()
}

/// On one line: a line break would end the comment.
fn line(text: &str) -> String {
    text.replace(|ch: char| ch.is_control(), " ")
}

fn name(name: &str) -> String {
    let plain = name.starts_with(|first: char| first.is_ascii_lowercase() || first == '_')
        && name.chars().all(|ch| ch.is_ascii_lowercase() || ch.is_ascii_digit() || ch == '_')
        && !KEYWORDS.contains(&name);
    if plain { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

fn text(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
