//! `SHOW TABLES`, `SHOW NAMESPACES`, `DESCRIBE`: what the catalog and a table's metadata say, as rows.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, StringArray};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;

use super::session::Run;
use super::{DEFAULT_NAMESPACE, StatementResult};
use crate::sql::Name;
use crate::sql::names::matches_pattern;
use crate::sql::types::sql_type_name;
use crate::{Error, Result};

/// Rows of text columns; a missing value is NULL.
pub(super) fn text_rows<const N: usize>(
    names: [&str; N],
    rows: Vec<[Option<String>; N]>,
) -> Result<StatementResult> {
    let fields: Vec<Field> = names.iter().map(|name| Field::new(*name, DataType::Utf8, true)).collect();
    let schema: SchemaRef = Arc::new(Schema::new(fields));
    let columns = (0..N)
        .map(|column| {
            let values: StringArray = rows.iter().map(|row| row[column].as_deref()).collect();
            Arc::new(values) as ArrayRef
        })
        .collect();
    let batch = RecordBatch::try_new(Arc::clone(&schema), columns)
        .map_err(|error| Error::bug("rows of a listing do not fit their schema").with_source(error))?;
    let stream = futures::stream::iter([Ok(batch)]);
    Ok(StatementResult::Rows(Box::pin(RecordBatchStreamAdapter::new(schema, stream))))
}

impl Run {
    /// Runs `SHOW TABLES`.
    pub(super) async fn show_tables(
        &self,
        namespace: Option<&Name>,
        pattern: Option<&str>,
    ) -> Result<StatementResult> {
        let namespace = match namespace {
            Some(name) => self.parts.namespace(name).await?,
            None => vec![DEFAULT_NAMESPACE.to_owned()],
        };
        let tables = self.parts.catalog.list_tables(&namespace).await?;
        let rows = tables
            .into_iter()
            .filter(|ident| pattern.is_none_or(|pattern| matches_pattern(pattern, &ident.name)))
            .map(|ident| [Some(ident.namespace_name()), Some(ident.name)])
            .collect();
        text_rows(["namespace", "table_name"], rows)
    }

    /// Runs `SHOW NAMESPACES`.
    pub(super) async fn show_namespaces(&self, pattern: Option<&str>) -> Result<StatementResult> {
        let rows = self
            .parts
            .catalog
            .list_namespaces()
            .await?
            .into_iter()
            .map(|levels| levels.join("."))
            .filter(|name| pattern.is_none_or(|pattern| matches_pattern(pattern, name)))
            .map(|name| [Some(name)])
            .collect();
        text_rows(["namespace"], rows)
    }

    /// Runs `DESCRIBE`: the columns, then how the table is partitioned; `EXTENDED` adds location, format and
    /// properties.
    pub(super) async fn describe(&self, name: &Name, extended: bool) -> Result<StatementResult> {
        let loaded = self.parts.load(name).await?;
        let metadata = loaded.document.metadata();
        let schema = metadata.current_schema();
        let mut rows: Vec<[Option<String>; 3]> = schema
            .as_struct()
            .fields()
            .iter()
            .map(|field| {
                let mut ty = sql_type_name(&field.field_type);
                if field.required {
                    ty.push_str(" not null");
                }
                [Some(field.name.clone()), Some(ty), field.doc.clone()]
            })
            .collect();
        if extended {
            let mut add = |key: &str, value: String| rows.push([Some(key.to_owned()), Some(value), None]);
            for field in metadata.default_partition_spec().fields() {
                let column = schema.name_by_field_id(field.source_id).unwrap_or("?");
                add("# partition", format!("{} = {}({column})", field.name, field.transform));
            }
            add("# location", metadata.location().to_owned());
            add("# format-version", format!("{}", metadata.format_version() as u8));
            add("# metadata", loaded.metadata_location.clone());
            let mut properties: Vec<_> = metadata.properties().iter().collect();
            properties.sort();
            for (key, value) in properties {
                add(&format!("# property {key}"), value.clone());
            }
        }
        text_rows(["col_name", "data_type", "comment"], rows)
    }
}
