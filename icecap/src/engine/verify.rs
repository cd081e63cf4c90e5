//! `verify`: a read-only proof that a table is what its metadata says, whoever wrote it.
//!
//! The metadata's own rules are [`icecap_table::verify`]'s. Here the current snapshot's data files are read: rows, NULLs,
//! NaNs and bounds as they are, against what the manifests say of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::DataType;
use datafusion::common::{Column, ScalarValue};
use datafusion::functions::expr_fn::isnan;
use datafusion::functions_aggregate::expr_fn::{count, max, min, sum};
use datafusion::logical_expr::{Expr, cast, lit, when};
use datafusion::prelude::SessionContext;
use icecap_table::catalog::LoadedTable;
use icecap_table::iceberg::spec::{Datum, NestedField, PrimitiveType, Type};
use icecap_table::id::TableIdent;
use icecap_table::location::{self, Policy};
use icecap_table::metadata::TableDocument;
use icecap_table::scan::{ScanFile, ScanRequest};
use icecap_table::verify::{MetadataReport, check_metadata};

use super::{Engine, from_datafusion};
use crate::scan::{FILE_COLUMN, IcebergTable, scalar_of_bound};
use crate::sql::{Name, parse_name};
use crate::{Error, ErrorKind, Result};

/// How the name of every metadata file ends: what tells it from a table's name.
pub const METADATA_SUFFIX: &str = ".metadata.json";

/// Columns whose values are looked at in one pass over the data.
const COLUMNS_AT_ONCE: usize = 32;

/// Violations of the data that are told; broken files tend to be broken all over.
const MOST_VIOLATIONS: usize = 1000;

/// What a check of a table found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifyReport {
    /// The table's name, or the location of its metadata file.
    pub table: String,
    /// What the metadata's check looked at, and everything that is wrong.
    pub checked: MetadataReport,
    /// Whether the data files were read too.
    pub data_was_read: bool,
}

impl VerifyReport {
    /// Whether nothing is wrong.
    pub fn is_sound(&self) -> bool {
        self.checked.violations.is_empty()
    }
}

impl Engine {
    /// Checks a table, given by name or by the location of a metadata file. `with_data`: its data files are read as
    /// well, all of them.
    ///
    /// # Errors
    /// `NotFound` for a table that is not there; `Corrupt` when its metadata file cannot be read at all. What is wrong
    /// with a table that can be looked at is in the report.
    pub async fn verify(&self, table: &str, with_data: bool) -> Result<VerifyReport> {
        let loaded = self.table_to_verify(table).await?;
        // Whoever names a file vouches for what it names; a catalog's tables are held to the policy.
        let policy = (!table.ends_with(METADATA_SUFFIX)).then(|| self.parts.policy.clone());
        let storage = self.parts.storage.clone();
        let storage = match &policy {
            Some(policy) => storage.within(policy),
            None => storage,
        };
        let mut checked = check_metadata(&storage, &loaded.document).await;
        if with_data {
            match self.check_data(&loaded, policy).await {
                Ok(found) => checked.violations.extend(found),
                Err(error) if matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::NotFound) => {
                    checked.violations.push(format!("the data cannot be read: {error}"));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(VerifyReport { table: loaded_name(table, &loaded), checked, data_was_read: with_data })
    }

    async fn table_to_verify(&self, table: &str) -> Result<LoadedTable> {
        if table.ends_with(METADATA_SUFFIX) {
            let location = location::to_location(table)?;
            let document = TableDocument::load(&self.parts.storage, &location).await?;
            let ident = TableIdent::new(vec!["file".to_owned()], "metadata");
            return Ok(LoadedTable { ident, metadata_location: location, document });
        }
        let name: Name = parse_name(table)?;
        self.parts.load(&name).await
    }

    /// What the manifests of the current snapshot say wrongly of its data files.
    async fn check_data(&self, loaded: &LoadedTable, policy: Option<Policy>) -> Result<Vec<String>> {
        let metadata = loaded.document.metadata();
        let Some(snapshot) = metadata.current_snapshot() else { return Ok(Vec::new()) };
        // What is really stored, not what is remembered of it.
        let storage = self.parts.storage.clone().with_cache_bytes(0);
        let schema = Arc::clone(metadata.current_schema());
        let request =
            ScanRequest::new(metadata, snapshot)?.with_schema(Arc::clone(&schema)).ignoring_deletes();
        let plan = match &policy {
            Some(policy) => request.with_policy(policy.clone()),
            None => request,
        };
        let plan = plan.plan(&storage).await?;
        let files: BTreeMap<&str, &ScanFile> =
            plan.files.iter().map(|file| (file.path.as_str(), file)).collect();
        let columns: Vec<(&NestedField, &PrimitiveType)> = schema
            .as_struct()
            .fields()
            .iter()
            .filter_map(|field| match field.field_type.as_ref() {
                Type::Primitive(kind) => Some((field.as_ref(), kind)),
                _ => None,
            })
            .collect();
        let table =
            IcebergTable::new(loaded.clone(), storage, None)?.with_metadata_columns(true).ignoring_deletes();
        let table = Arc::new(match policy {
            Some(policy) => table.with_policy(policy),
            None => table,
        });
        let context = SessionContext::new_with_state(self.parts.planner.clone());
        let mut violations = Vec::new();
        let mut chunks: Vec<&[(&NestedField, &PrimitiveType)]> = columns.chunks(COLUMNS_AT_ONCE).collect();
        if chunks.is_empty() {
            chunks.push(&[]);
        }
        for chunk in chunks {
            let batches = context
                .read_table(Arc::clone(&table) as _)
                .and_then(|rows| rows.aggregate(vec![column(FILE_COLUMN)], aggregates(chunk)))
                .map_err(from_datafusion)?
                .collect()
                .await
                .map_err(from_datafusion)?;
            let found = Found::of(&batches)?;
            // That a file has as many rows as it should is the scan's own check.
            for (path, file) in &files {
                let values = found.0.get(*path);
                if let Some(values) = values {
                    for (at, (field, kind)) in chunk.iter().enumerate() {
                        check_column(&mut violations, file, field, kind, values, at)?;
                    }
                }
                if violations.len() > MOST_VIOLATIONS {
                    violations.truncate(MOST_VIOLATIONS);
                    violations.push("… and more".to_owned());
                    return Ok(violations);
                }
            }
        }
        Ok(violations)
    }
}

fn loaded_name(asked: &str, loaded: &LoadedTable) -> String {
    if asked.ends_with(METADATA_SUFFIX) { loaded.metadata_location.clone() } else { loaded.ident.to_string() }
}

fn column(name: &str) -> Expr {
    Expr::Column(Column::from_name(name))
}

/// Rows, then for each column: values, NaNs, least and greatest.
fn aggregates(columns: &[(&NestedField, &PrimitiveType)]) -> Vec<Expr> {
    let mut all = vec![count(lit(1)).alias("rows")];
    for (at, (field, kind)) in columns.iter().enumerate() {
        let value = column(&field.name);
        let floating = matches!(kind, PrimitiveType::Float | PrimitiveType::Double);
        let number = match kind {
            // DataFusion has no order for these bytes, but for others.
            PrimitiveType::Fixed(_) | PrimitiveType::Uuid => cast(value.clone(), DataType::Binary),
            _ if floating => when(isnan(value.clone()), lit(ScalarValue::Null))
                .otherwise(value.clone())
                .unwrap_or_else(|_| value.clone()),
            _ => value.clone(),
        };
        let nans = match floating {
            true => {
                sum(when(isnan(value.clone()), lit(1i64)).otherwise(lit(0i64)).unwrap_or_else(|_| lit(0i64)))
            }
            false => sum(lit(0i64)),
        };
        all.push(count(value).alias(format!("values{at}")));
        all.push(nans.alias(format!("nans{at}")));
        all.push(min(number.clone()).alias(format!("least{at}")));
        all.push(max(number).alias(format!("greatest{at}")));
    }
    all
}

/// What the files really hold, by path.
struct Found(BTreeMap<String, Values>);

struct Values {
    rows: u64,
    /// Four for each column.
    columns: Vec<ScalarValue>,
}

impl Found {
    fn of(batches: &[RecordBatch]) -> Result<Self> {
        let mut found = BTreeMap::new();
        for batch in batches {
            for row in 0..batch.num_rows() {
                let mut values = batch
                    .columns()
                    .iter()
                    .map(|array| ScalarValue::try_from_array(array, row).map_err(from_datafusion));
                let (path, rows) = (values.next().transpose()?, values.next().transpose()?);
                let columns = values.collect::<Result<Vec<_>>>()?;
                if let (Some(ScalarValue::Utf8(Some(path))), Some(rows)) = (path, rows) {
                    found.insert(path, Values { rows: number(&rows), columns });
                }
            }
        }
        Ok(Self(found))
    }
}

fn number(value: &ScalarValue) -> u64 {
    match value {
        ScalarValue::Int64(Some(value)) => u64::try_from(*value).unwrap_or(0),
        ScalarValue::UInt64(Some(value)) => *value,
        _ => 0,
    }
}

fn check_column(
    violations: &mut Vec<String>,
    file: &ScanFile,
    field: &NestedField,
    kind: &PrimitiveType,
    found: &Values,
    at: usize,
) -> Result<()> {
    let Some([values, nans, least, greatest]) = found.columns.get(at * 4..at * 4 + 4) else {
        return Err(Error::bug("a check of a column has no result"));
    };
    let (present, nans) = (number(values), number(nans));
    let place = format!("{}: column {}", file.path, field.name);
    let mut expect = |what: &str, said: Option<&u64>, real: u64| {
        if let Some(said) = said.filter(|said| **said != real) {
            violations.push(format!("{place}: the manifest says {said} {what}, there are {real}"));
        }
    };
    expect("values", file.value_counts.get(&field.id), found.rows);
    expect("NULLs", file.null_counts.get(&field.id), found.rows.saturating_sub(present));
    expect("NaNs", file.nan_counts.get(&field.id), nans);
    // Engines do not agree on the order of UUIDs.
    if *kind == PrimitiveType::Uuid {
        return Ok(());
    }
    let bound = |bound: Option<&Datum>| bound.and_then(|bound| scalar_of_bound(bound, kind)).map(comparable);
    if let Some(lower) = bound(file.lower_bounds.get(&field.id)).filter(|lower| is_above(lower, least)) {
        violations.push(format!("{place}: the lower bound {lower} is above the value {least}"));
    }
    if let Some(upper) = bound(file.upper_bounds.get(&field.id)).filter(|upper| is_above(greatest, upper)) {
        violations.push(format!("{place}: the upper bound {upper} is below the value {greatest}"));
    }
    Ok(())
}

/// A bound in the form of the values that it is compared with.
fn comparable(bound: ScalarValue) -> ScalarValue {
    match bound {
        ScalarValue::FixedSizeBinary(_, bytes) => ScalarValue::Binary(bytes),
        other => other,
    }
}

/// Whether one value is above another: both there, and floats compared as numbers, to which both zeros are equal.
fn is_above(one: &ScalarValue, other: &ScalarValue) -> bool {
    match (one, other) {
        (ScalarValue::Float64(Some(one)), ScalarValue::Float64(Some(other))) => one > other,
        (ScalarValue::Float32(Some(one)), ScalarValue::Float32(Some(other))) => one > other,
        _ if one.is_null() || other.is_null() => false,
        _ => one.partial_cmp(other) == Some(std::cmp::Ordering::Greater),
    }
}
