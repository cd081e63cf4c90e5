//! Whether a change planned on one state of a table may be applied to a later one. Pure: values in, verdict out.
//!
//! A conflict is a value. Staged files themselves are checked where they become manifest entries
//! ([`snapshot::data_file`](crate::snapshot::data_file)). [`validate`] judges a change by the table's metadata,
//! [`validate_files`] by what the commits since its base did to files.

mod files;
mod vectors;

use std::collections::BTreeSet;

use iceberg::spec::{FormatVersion, Schema, TableMetadata};

pub use self::files::{
    FilesVerdict, Rebase, conflict_judge, needs_partitions, touched_data_files, validate_files,
};
pub use self::vectors::{Unite, United, VectorPlace};
use crate::commit::{Change, FileChanges, TableChange};
use crate::staged_file::{FileContent, StagedFile};

/// What validation found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The change may be applied.
    Ok,
    /// It may not, for this reason; a new plan on the newer base may succeed.
    Conflict(String),
}

impl Verdict {
    fn conflict(why: impl Into<String>) -> Self {
        Self::Conflict(why.into())
    }

    /// Whether the change may be applied.
    pub fn is_ok(&self) -> bool {
        *self == Self::Ok
    }
}

/// Validates a change against the table's current metadata; `None` when there is no such table.
///
/// Appends conflict with nothing but the table's own change of identity or shape: it was dropped or
/// replaced, the schema or a partition spec that the files were written with is gone, or a required column
/// was added that they lack.
pub fn validate(change: &TableChange, current: Option<&TableMetadata>) -> Verdict {
    match (&change.change, current) {
        // A namespace is judged by the catalog alone.
        (Change::CreateNamespace { .. } | Change::DropNamespace { .. }, _) => Verdict::Ok,
        (Change::Create { .. } | Change::Register { .. }, None) => Verdict::Ok,
        (Change::Create { .. } | Change::Register { .. }, Some(_)) => {
            Verdict::conflict(format!("table {} exists by now", change.ident))
        }
        (_, None) => Verdict::conflict(format!("table {} no longer exists", change.ident)),
        (_, Some(current)) if change.uuid.is_some_and(|uuid| uuid != current.uuid()) => {
            Verdict::conflict(format!("table {} was replaced by another of the same name", change.ident))
        }
        (Change::Drop, Some(_)) => Verdict::Ok,
        // What it requires is said in the change itself.
        (Change::Metadata { .. }, Some(_)) => Verdict::Ok,
        (Change::Append { files, schema_id }, Some(current)) => append(files, *schema_id, current),
        (Change::RowDelta(files) | Change::Overwrite(files) | Change::Rewrite(files), Some(current)) => {
            file_changes(files, current)
        }
    }
}

fn append(files: &[StagedFile], schema_id: i32, current: &TableMetadata) -> Verdict {
    let Some(schema) = current.schema_by_id(schema_id) else {
        return Verdict::conflict(format!(
            "schema {schema_id}, which the files were written with, was removed"
        ));
    };
    let specs: BTreeSet<i32> = files.iter().map(|file| file.spec_id).collect();
    if let Some(spec) = specs.into_iter().find(|spec| current.partition_spec_by_id(*spec).is_none()) {
        return Verdict::conflict(format!(
            "partition spec {spec}, which the files were written with, was removed"
        ));
    }
    // Versions only go up, so a file of version 2 fits; row ids that exist already need version 3.
    let keeps_row_ids = files.iter().any(|file| file.first_row_id.is_some());
    if keeps_row_ids && current.format_version() < FormatVersion::V3 {
        return Verdict::conflict("the table's format version is lower than the one planned on");
    }
    match missing_column(schema, current.current_schema()) {
        Some(name) => Verdict::conflict(format!("required column {name} was added, which the files lack")),
        None => Verdict::Ok,
    }
}

fn file_changes(files: &FileChanges, current: &TableMetadata) -> Verdict {
    let is_v3 = current.format_version() >= FormatVersion::V3;
    if is_v3 && files.added.iter().any(|file| file.content == FileContent::PositionDeletes) {
        return Verdict::conflict(
            "the table was upgraded to format version 3, which takes deletion vectors and no position delete files",
        );
    }
    append(&files.added, files.schema_id, current)
}

/// A column that every row of `current` must have and that a file written with `own` lacks.
fn missing_column(own: &Schema, current: &Schema) -> Option<String> {
    current
        .field_id_to_fields()
        .iter()
        .filter(|(id, field)| {
            field.required && field.initial_default.is_none() && own.field_by_id(**id).is_none()
        })
        .map(|(id, field)| current.name_by_field_id(*id).unwrap_or(&field.name).to_owned())
        .min()
}

#[cfg(test)]
mod tests;
