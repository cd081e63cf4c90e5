//! Time travel: from a version as it was written to a snapshot, and the schema that it is read with.

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::DateTime;
use datafusion::arrow::array::{Array, AsArray};
use datafusion::arrow::compute::{CastOptions, cast_with_options};
use datafusion::arrow::datatypes::{DataType, TimeUnit, TimestampMicrosecondType};
use datafusion::physical_plan::collect;
use datafusion::sql::sqlparser::ast::Expr;
use icecap_table::catalog::LoadedTable;
use icecap_table::iceberg::spec::{SchemaRef, Snapshot, SnapshotRef, TableMetadata};

use super::from_datafusion;
use super::insert::MAIN;
use super::session::Run;
use crate::sql::plan::StatementContext;
use crate::sql::{Name, NamePart, VersionSpec, names};
use crate::{Error, Result};

/// What a part of a name that is a branch begins with.
const BRANCH: &str = "branch_";
/// What a part of a name that is a tag begins with.
const TAG: &str = "tag_";

/// How many snapshots or references an error names.
const NAMED: usize = 10;

/// A table's state: a snapshot (none: the table was empty) and the schema of its readers.
pub(super) type State = (Option<SnapshotRef>, SchemaRef);

impl Run {
    /// The state that a use of a table asks for, by the parts after its name or by a version; `None` for the
    /// current one.
    ///
    /// # Errors
    /// As [`state_at`](Self::state_at); `Unsupported` for a metadata table; `Invalid` for both at once.
    pub(super) async fn state_of(
        &self,
        loaded: &LoadedTable,
        rest: &[NamePart],
        version: Option<&VersionSpec>,
    ) -> Result<Option<State>> {
        let found = match (rest, version) {
            ([], None) => return Ok(None),
            ([], Some(version)) => return self.state_at(loaded, version).await.map(Some),
            ([part], None) => named_reference(loaded, part),
            ([part], Some(_)) if Reference::of(part).is_some() => Err(Error::invalid(format!(
                "{} names a version of the table already: leave AS OF out, or that part of the name",
                Name(rest.to_vec())
            ))),
            _ => Err(no_metadata_table(rest)),
        };
        found.map(Some).map_err(|error| error.with("table", loaded.ident.to_string()))
    }

    /// The state of a table that `version` asks for.
    ///
    /// # Errors
    /// `NotFound` when there is no such version, saying which there are; `Invalid` for a time that is none.
    pub(super) async fn state_at(&self, loaded: &LoadedTable, version: &VersionSpec) -> Result<State> {
        let found = match version {
            VersionSpec::Snapshot(id) => snapshot(loaded, *id),
            VersionSpec::Reference(name) => reference(loaded, name),
            VersionSpec::Time(expr) => at_time(loaded, self.time_of(expr).await?),
        };
        found.map_err(|error| error.with("table", loaded.ident.to_string()))
    }

    /// The value of a constant expression as microseconds since 1970 in UTC.
    async fn time_of(&self, expr: &Expr) -> Result<i64> {
        let wrong = |why: &str| {
            Error::invalid(format!(
                "TIMESTAMP AS OF takes a time, such as TIMESTAMP '2026-01-31 12:00:00' or current_timestamp, {why}: {expr}"
            ))
        };
        let context = StatementContext::new(&self.parts.planner, Default::default());
        let logical = context.plan_constant(expr.clone())?;
        let physical = self.physical_plan(&logical).await?;
        let batches = collect(physical, self.parts.executor.task_context()).await.map_err(from_datafusion)?;
        let value = match batches.as_slice() {
            [batch] if batch.num_rows() == 1 && batch.num_columns() == 1 => Arc::clone(batch.column(0)),
            _ => return Err(wrong("one value")),
        };
        let is_time = matches!(
            value.data_type(),
            DataType::Timestamp(..)
                | DataType::Date32
                | DataType::Utf8
                | DataType::LargeUtf8
                | DataType::Utf8View
        );
        if !is_time {
            return Err(wrong(&format!("not a value of type {}", value.data_type())));
        }
        // A time without a zone is one of the session's zone, UTC.
        let utc = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        let strict = CastOptions { safe: false, ..CastOptions::default() };
        let value = cast_with_options(&value, &utc, &strict).map_err(|_| wrong("which this is not"))?;
        let micros = value.as_primitive::<TimestampMicrosecondType>();
        if micros.is_null(0) { Err(wrong("not NULL")) } else { Ok(micros.value(0)) }
    }
}

/// What a part of a name after a table's asks for: `branch_x` or `tag_x`, the prefix in any case.
struct Reference<'a> {
    prefix: &'static str,
    name: &'a str,
}

impl<'a> Reference<'a> {
    fn of(part: &'a NamePart) -> Option<Self> {
        [BRANCH, TAG].into_iter().find_map(|prefix| {
            let (head, name) = part.value.split_at_checked(prefix.len())?;
            (head.eq_ignore_ascii_case(prefix) && !name.is_empty()).then_some(Self { prefix, name })
        })
    }
}

/// The branch or tag that a part of a name names: exactly, or the only one that differs in case alone.
fn named_reference(loaded: &LoadedTable, part: &NamePart) -> Result<State> {
    let Some(wanted) = Reference::of(part) else {
        return Err(no_metadata_table(std::slice::from_ref(part)));
    };
    let mut known: Vec<(&'static str, String)> = Vec::new();
    for name in reference_names(loaded) {
        let is_branch = loaded.document.reference(&name)?.is_none_or(|found| found.is_branch());
        known.push((if is_branch { BRANCH } else { TAG }, name));
    }
    let of_kind = known.iter().filter(|(prefix, _)| *prefix == wanted.prefix);
    match names::find(wanted.name, of_kind.map(|(_, name)| name.as_str()))? {
        Some(name) => reference(loaded, name),
        None => {
            let known = known.iter().map(|(prefix, name)| format!("{prefix}{name}")).collect();
            let kind = wanted.prefix.trim_end_matches('_');
            Err(Error::not_found(format!("there is no {kind} {}: {}", wanted.name, listed(known))))
        }
    }
}

fn no_metadata_table(rest: &[NamePart]) -> Error {
    Error::unsupported(format!(
        "{} is neither a branch (branch_x) nor a tag (tag_x) of the table, and metadata tables are not supported yet",
        Name(rest.to_vec())
    ))
}

fn snapshot(loaded: &LoadedTable, id: i64) -> Result<State> {
    let metadata = loaded.document.metadata();
    match metadata.snapshot_by_id(id) {
        Some(snapshot) => Ok((Some(Arc::clone(snapshot)), schema_of(snapshot, metadata)?)),
        None => Err(Error::not_found(format!("there is no snapshot {id}: {}", snapshots(metadata)))),
    }
}

/// A branch is read with the table's schema, as its writers use that one; a tag with its snapshot's own.
fn reference(loaded: &LoadedTable, name: &str) -> Result<State> {
    let metadata = loaded.document.metadata();
    if let Some(found) = loaded.document.reference(name)? {
        let (snapshot, own) = snapshot(loaded, found.snapshot_id)?;
        let schema = if found.is_branch() { Arc::clone(metadata.current_schema()) } else { own };
        return Ok((snapshot, schema));
    }
    if name == MAIN {
        return Ok((metadata.current_snapshot().cloned(), Arc::clone(metadata.current_schema())));
    }
    if let Ok(id) = name.parse() {
        return snapshot(loaded, id);
    }
    Err(Error::not_found(format!("there is no branch or tag {name}: {}", listed(reference_names(loaded)))))
}

/// Every branch and tag, in order; main too where it is not written down.
fn reference_names(loaded: &LoadedTable) -> Vec<String> {
    let tree = loaded.document.tree();
    let refs = tree.get("refs").and_then(|refs| refs.as_object());
    let mut names: BTreeSet<String> = refs.into_iter().flat_map(|refs| refs.keys().cloned()).collect();
    names.insert(MAIN.to_owned());
    names.into_iter().collect()
}

fn listed(names: Vec<String>) -> String {
    match names.len() {
        more if more > NAMED => format!("it has {}, and {} more", names[..NAMED].join(", "), more - NAMED),
        _ => format!("it has {}", names.join(", ")),
    }
}

/// The newest entry of the snapshot log at or before a time.
fn at_time(loaded: &LoadedTable, micros: i64) -> Result<State> {
    let metadata = loaded.document.metadata();
    let millis = micros.div_euclid(1_000);
    let entry = metadata.history().iter().rev().find(|entry| entry.timestamp_ms() <= millis);
    let Some(entry) = entry else {
        let first = match metadata.history().first() {
            Some(first) => {
                format!("its log begins with {}", described(first.snapshot_id, first.timestamp_ms()))
            }
            None => "it has no snapshot yet".to_owned(),
        };
        return Err(Error::not_found(format!("the table had no snapshot at {}: {first}", shown(millis))));
    };
    match metadata.snapshot_by_id(entry.snapshot_id) {
        Some(snapshot) => Ok((Some(Arc::clone(snapshot)), schema_of(snapshot, metadata)?)),
        None => Err(Error::not_found(format!(
            "at {} the table was at snapshot {}, which has expired: {}",
            shown(millis),
            entry.snapshot_id,
            snapshots(metadata)
        ))),
    }
}

fn schema_of(snapshot: &Snapshot, metadata: &TableMetadata) -> Result<SchemaRef> {
    snapshot.schema(metadata).map_err(|error| {
        Error::corrupt(format!("the schema of snapshot {} is missing", snapshot.snapshot_id()))
            .with_source(error)
    })
}

/// Which snapshots there are, the newest first.
fn snapshots(metadata: &TableMetadata) -> String {
    let mut all: Vec<(i64, i64)> =
        metadata.snapshots().map(|snapshot| (snapshot.timestamp_ms(), snapshot.snapshot_id())).collect();
    all.sort_unstable_by(|one, other| other.cmp(one));
    let named: Vec<String> = all.iter().take(NAMED).map(|(millis, id)| described(*id, *millis)).collect();
    match all.len() {
        0 => "the table has none yet".to_owned(),
        more if more > NAMED => format!("it has {}, and {} more", named.join(", "), more - NAMED),
        _ => format!("it has {}", named.join(", ")),
    }
}

fn described(id: i64, millis: i64) -> String {
    format!("{id} ({})", shown(millis))
}

fn shown(millis: i64) -> String {
    match DateTime::from_timestamp_millis(millis) {
        Some(time) => time.format("%Y-%m-%d %H:%M:%S%.3f UTC").to_string(),
        None => format!("{millis} ms since 1970"),
    }
}
