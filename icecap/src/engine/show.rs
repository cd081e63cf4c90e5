//! `SHOW TBLPROPERTIES`, `SHOW COLUMNS`, `SHOW PARTITIONS`: what a table is and holds, as rows.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, Int64Array, StringArray};
use datafusion::arrow::datatypes::{DataType, Field, Schema};
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use icecap_table::iceberg::spec::{Literal, PartitionSpec, TableMetadata, Transform, Type};
use icecap_table::scan::{MetricsKept, ScanRequest};

use super::describe::text_rows;
use super::session::Run;
use super::{StatementResult, from_datafusion};
use crate::scan::scalar_or_null;
use crate::sql::Name;
use crate::write::human;
use crate::{Error, Result};

/// What a partition holds.
#[derive(Default)]
struct Held {
    files: i64,
    rows: i64,
    bytes: i64,
}

impl Run {
    /// Runs `SHOW TBLPROPERTIES`: with the format version and the current snapshot, as Spark shows them.
    pub(super) async fn show_properties(&self, name: &Name, key: Option<&str>) -> Result<StatementResult> {
        let loaded = self.parts.load(name).await?;
        let metadata = loaded.document.metadata();
        let mut all: BTreeMap<&str, String> =
            metadata.properties().iter().map(|(key, value)| (key.as_str(), value.clone())).collect();
        all.insert("format-version", (metadata.format_version() as u8).to_string());
        let snapshot = metadata.current_snapshot_id().map_or_else(|| "none".to_owned(), |id| id.to_string());
        all.insert("current-snapshot-id", snapshot);
        if let Some(key) = key {
            if !all.contains_key(key) {
                return Err(Error::not_found(format!(
                    "table {} has no property {key}: SHOW TBLPROPERTIES without a name lists those that it has",
                    loaded.ident
                )));
            }
            all.retain(|own, _| *own == key);
        }
        let rows = all.into_iter().map(|(key, value)| [Some(key.to_owned()), Some(value)]).collect();
        text_rows(["key", "value"], rows)
    }

    /// Runs `SHOW COLUMNS`.
    pub(super) async fn show_columns(&self, name: &Name) -> Result<StatementResult> {
        let loaded = self.parts.load(name).await?;
        let schema = loaded.document.metadata().current_schema();
        let fields = schema.as_struct().fields();
        text_rows(["col_name"], fields.iter().map(|field| [Some(field.name.clone())]).collect())
    }

    /// Runs `SHOW PARTITIONS`: each partition with rows, and what it holds.
    pub(super) async fn show_partitions(&self, name: &Name) -> Result<StatementResult> {
        let loaded = self.parts.load(name).await?;
        let metadata = loaded.document.metadata();
        if metadata.partition_specs_iter().all(|spec| spec.is_unpartitioned()) {
            return Err(Error::invalid(format!("table {} is not partitioned", loaded.ident)));
        }
        let mut partitions: BTreeMap<String, Held> = BTreeMap::new();
        if let Some(snapshot) = metadata.current_snapshot() {
            let plan = ScanRequest::new(metadata, snapshot)?
                .with_metrics(MetricsKept::Columns(BTreeSet::new()))
                .plan(&self.parts.storage)
                .await?;
            for file in &plan.files {
                let spec = metadata.partition_spec_by_id(file.spec_id).ok_or_else(|| {
                    Error::corrupt(format!(
                        "a data file names partition spec {}, which is not there",
                        file.spec_id
                    ))
                })?;
                let held = partitions.entry(partition_text(metadata, spec, &file.partition)?).or_default();
                held.files += 1;
                held.rows = held.rows.saturating_add(signed(file.record_count));
                held.bytes = held.bytes.saturating_add(signed(file.file_size_bytes));
            }
        }
        partition_rows(&partitions)
    }
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn partition_rows(partitions: &BTreeMap<String, Held>) -> Result<StatementResult> {
    let number = |name: &str| Field::new(name, DataType::Int64, false);
    let schema = Arc::new(Schema::new(vec![
        Field::new("partition", DataType::Utf8, false),
        number("files"),
        number("rows"),
        number("bytes"),
    ]));
    let numbers =
        |of: fn(&Held) -> i64| -> ArrayRef { Arc::new(partitions.values().map(of).collect::<Int64Array>()) };
    let names: StringArray = partitions.keys().map(|name| Some(name.as_str())).collect();
    let columns = vec![
        Arc::new(names) as ArrayRef,
        numbers(|held| held.files),
        numbers(|held| held.rows),
        numbers(|held| held.bytes),
    ];
    let batch = RecordBatch::try_new(Arc::clone(&schema), columns)
        .map_err(|error| Error::bug("rows of a listing do not fit their schema").with_source(error))?;
    let stream = futures::stream::iter([Ok(batch)]);
    Ok(StatementResult::Rows(Box::pin(RecordBatchStreamAdapter::new(schema, stream))))
}

/// `name=value/…`, values as people read them; a file of an unpartitioned spec is in the partition "".
fn partition_text(
    metadata: &TableMetadata,
    spec: &PartitionSpec,
    tuple: &[Option<Literal>],
) -> Result<String> {
    let mut parts = Vec::with_capacity(spec.fields().len());
    for (at, field) in spec.fields().iter().enumerate() {
        let value = tuple.get(at).and_then(Option::as_ref);
        let text = value_text(metadata, field.source_id, field.transform, value)?;
        parts.push(format!("{}={text}", field.name));
    }
    Ok(parts.join("/"))
}

fn value_text(
    metadata: &TableMetadata,
    source_id: i32,
    transform: Transform,
    value: Option<&Literal>,
) -> Result<String> {
    // The source may have been dropped since.
    let source = metadata
        .current_schema()
        .field_by_id(source_id)
        .or_else(|| metadata.schemas_iter().find_map(|schema| schema.field_by_id(source_id)));
    let ty = source.and_then(|source| transform.result_type(&source.field_type).ok());
    let (Some(Type::Primitive(ty)), Some(value)) = (ty, value) else { return Ok("null".to_owned()) };
    if transform == Transform::Void {
        return Ok("null".to_owned());
    }
    let array = scalar_or_null(Some(value), &ty)?.to_array().map_err(from_datafusion)?;
    Ok(human(transform, &ty, array.as_ref(), 0))
}
