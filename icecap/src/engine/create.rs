//! `CREATE TABLE` and CTAS: one commit makes the table with its first rows, or nothing.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::logical_expr::LogicalPlan;
use icecap_table::commit::{Change, StatementKind, TableChange};
use icecap_table::iceberg::spec::{
    FormatVersion, NestedField, NestedFieldRef, Schema, Transform, UnboundPartitionField,
    UnboundPartitionSpec,
};
use icecap_table::id::TableIdent;
use icecap_table::location;
use icecap_table::metadata::{NewTable, TableDocument};
use icecap_table::properties::{MappedProperties, map_athena, map_iceberg};

use super::alter::sort_order;
use super::insert::{MAIN, data_location};
use super::session::Run;
use super::write::Intent;
use super::{DoneSummary, StatementResult};
use crate::sql::{self, ColumnDef, CreateTable, PartitionTerm};
use crate::{Error, Result};

/// A table about to be made.
pub(super) struct Planned {
    pub(super) ident: TableIdent,
    pub(super) document: TableDocument,
    /// The query of a CTAS, its columns the table's.
    pub(super) rows: Option<LogicalPlan>,
}

impl Run {
    /// Runs `CREATE TABLE`, with a query or without.
    pub(super) async fn create_table(&self, create: &CreateTable) -> Result<StatementResult> {
        let kind = match create.query {
            Some(_) => StatementKind::CreateTableAsSelect,
            None => StatementKind::CreateTable,
        };
        let target = create.name.normalised().join(".");
        let planned = match self.limited(self.plan_create(create)).await {
            Ok(Some(planned)) => planned,
            Ok(None) => {
                let done = DoneSummary {
                    statement: kind.as_str().to_owned(),
                    table: Some(target),
                    ..DoneSummary::default()
                };
                return Ok(StatementResult::Done(done));
            }
            Err(error) => return self.replay_or(kind, target, error).await,
        };
        let Planned { ident, document, rows } = &planned;
        let metadata = document.metadata();
        let data = data_location(metadata)?;
        let intent = Intent { kind, target, bases: Vec::new(), prefixes: vec![data] };
        let result = self
            .write(intent, |write| async move {
                let files = match rows {
                    Some(rows) => self.stage(write, metadata, rows).await?,
                    None => Vec::new(),
                };
                Ok(vec![TableChange {
                    ident: ident.clone(),
                    uuid: None,
                    reference: MAIN.to_owned(),
                    base: None,
                    change: Change::Create {
                        metadata: document.to_bytes()?.to_vec(),
                        files,
                        snapshot: rows.is_some(),
                    },
                }])
            })
            .await?;
        Ok(match result {
            StatementResult::Written(summary) if create.query.is_none() => {
                StatementResult::Done(DoneSummary {
                    statement: summary.statement,
                    table: Some(summary.table),
                    ..DoneSummary::default()
                })
            }
            other => other,
        })
    }

    /// Plans the table; `None` when it exists and that is no error.
    pub(super) async fn plan_create(&self, create: &CreateTable) -> Result<Option<Planned>> {
        let ident = self.parts.new_table(&create.name).await?;
        if self.parts.catalog.table_location(&ident).await?.is_some() {
            return match create.if_not_exists {
                true => Ok(None),
                false => Err(Error::already_exists(format!(
                    "table {ident} exists already: drop it first, or say IF NOT EXISTS"
                ))),
            };
        }
        let source = match &create.query {
            Some(query) => Some(self.logical_plan(query).await?),
            None => None,
        };
        let schema = match &source {
            Some(plan) => sql::assign::schema_of_query(plan)?,
            None => schema_of_columns(&create.columns)?,
        };
        let document = self.new_document(create, &ident, schema)?;
        let rows = match source {
            Some(plan) if create.with_data => {
                Some(sql::assign::assign(plan, document.metadata().current_schema(), &[], false)?)
            }
            _ => None,
        };
        Ok(Some(Planned { ident, document, rows }))
    }

    fn new_document(
        &self,
        create: &CreateTable,
        ident: &TableIdent,
        schema: Schema,
    ) -> Result<TableDocument> {
        let mapped = match create.athena {
            true => map_athena(create.properties.clone())?,
            false => map_iceberg(create.properties.clone())?,
        };
        for (_, value) in mapped.location_values() {
            self.parts.policy.check(value)?;
        }
        let MappedProperties { mut properties, location, format_version } = mapped;
        if let Some(comment) = &create.comment {
            properties.insert("comment".to_owned(), comment.clone());
        }
        let uuid = self.parts.ids.uuid();
        let location = match create.location.as_ref().or(location.as_ref()) {
            Some(given) => location::to_location(given)?.trim_end_matches('/').to_owned(),
            None => location::table_location(&self.parts.warehouse, ident, uuid),
        };
        self.parts.policy.check(&location)?;
        let partition_spec = partition_spec(&create.partitioning, &schema)?;
        let sort_order = sort_order(&create.sort_order, &schema)?;
        let document = TableDocument::create(NewTable {
            uuid,
            location,
            schema,
            partition_spec,
            sort_order: Some(sort_order),
            properties,
            format_version: format_version.unwrap_or(FormatVersion::V2),
            now_ms: self.parts.clock.now_ms(),
        })?;
        // A bad property is better told now than by the first INSERT.
        self.parts.policy.check(&data_location(document.metadata())?)?;
        Ok(document)
    }
}

/// The schema of a column list. Ids are placeholders until [`TableDocument::create`] assigns them.
fn schema_of_columns(columns: &[ColumnDef]) -> Result<Schema> {
    if columns.is_empty() {
        return Err(Error::invalid("a table needs at least one column"));
    }
    let mut seen: HashMap<String, &str> = HashMap::new();
    let mut fields: Vec<NestedFieldRef> = Vec::new();
    for column in columns {
        if let Some(other) = seen.insert(column.name.to_lowercase(), &column.name) {
            return Err(Error::invalid(format!(
                "columns {other} and {} have the same name: names differ in more than case",
                column.name
            )));
        }
        let id = i32::try_from(fields.len()).map_err(|_| Error::invalid("too many columns"))? + 1_000_000;
        let mut field = NestedField::new(id, &column.name, column.ty.clone(), column.required);
        if let Some(comment) = &column.comment {
            field = field.with_doc(comment);
        }
        fields.push(Arc::new(field));
    }
    Schema::builder()
        .with_fields(fields)
        .build()
        .map_err(|error| Error::invalid("the columns make no schema").with_source(error))
}

/// The partition spec of `PARTITIONED BY` terms, fields named as Iceberg's own builder names them.
fn partition_spec(terms: &[PartitionTerm], schema: &Schema) -> Result<UnboundPartitionSpec> {
    let mut fields = Vec::new();
    for term in terms {
        let source = schema
            .field_by_name(&term.column)
            .or_else(|| schema.field_by_name_case_insensitive(&term.column))
            .ok_or_else(|| {
                Error::invalid(format!(
                    "the table cannot be partitioned by {}: there is no such column",
                    term.column
                ))
            })?;
        term.transform.result_type(&source.field_type).map_err(|_| {
            Error::invalid(format!(
                "the table cannot be partitioned by {}({}): the column's type is {}",
                term.transform, term.column, source.field_type
            ))
        })?;
        let column = schema.name_by_field_id(source.id).unwrap_or(&term.column);
        fields.push(UnboundPartitionField {
            source_id: source.id,
            field_id: None,
            name: partition_field_name(column, term.transform),
            transform: term.transform,
        });
    }
    UnboundPartitionSpec::builder()
        .add_partition_fields(fields)
        .map(icecap_table::iceberg::spec::UnboundPartitionSpecBuilder::build)
        .map_err(|error| {
            Error::invalid(format!("the partition fields contradict each other: {}", error.message()))
        })
}

pub(super) fn partition_field_name(column: &str, transform: Transform) -> String {
    let suffix = match transform {
        Transform::Bucket(_) => "_bucket",
        Transform::Truncate(_) => "_trunc",
        Transform::Year => "_year",
        Transform::Month => "_month",
        Transform::Day => "_day",
        Transform::Hour => "_hour",
        Transform::Void => "_null",
        Transform::Identity | Transform::Unknown => "",
    };
    format!("{column}{suffix}")
}
