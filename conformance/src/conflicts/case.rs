//! A measured pair, as a line of the file tells it.

use icecap_table::commit::Isolation;
use icecap_table::iceberg::spec::FormatVersion;
use serde_json::Value;

use crate::{Failure, Result};

/// One pair.
#[derive(Debug, Clone)]
pub(super) struct Case {
    pub(super) id: String,
    pub(super) version: FormatVersion,
    /// The files at the base: partition and rows, in the order of their names.
    pub(super) base_files: Vec<(String, u64)>,
    pub(super) winner: String,
    pub(super) winner_partition: String,
    pub(super) loser: String,
    pub(super) loser_partition: String,
    /// The loser's.
    pub(super) isolation: Isolation,
    pub(super) required: Required,
    /// What is live in the end, where Java commits the loser.
    pub(super) live: Option<Live>,
    pub(super) total_delete_files: Option<u64>,
    pub(super) operation: Option<String>,
    pub(super) sequence_number: Option<i64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Required {
    Commit,
    Reject,
    RejectOrRebase,
}

/// What Java says of the files of a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Live {
    /// Data files.
    pub(super) files: u64,
    /// Their rows, deleted ones too.
    pub(super) rows: u64,
    /// Delete files, counted once for each data file that they apply to.
    pub(super) deletes_applied: u64,
}

impl Case {
    pub(super) fn parse(line: &str) -> Result<Self> {
        let json: Value = serde_json::from_str(line)?;
        let text = |value: &Value, key: &str| {
            value[key].as_str().map(str::to_owned).ok_or_else(|| Failure::new(format!("{key} is no text")))
        };
        let table = &json["table"];
        if table["schema"] != "id long, part string" || table["spec"] != "identity(part)" {
            return Err(Failure::new(format!("the table is another one than this driver makes: {table}")));
        }
        let files = table["base_files"].as_object().ok_or_else(|| Failure::new("base_files is no object"))?;
        let java = &json["java"];
        let commits = java["outcome"] == "commit";
        let number = |value: &Value, key: &str| {
            value[key].as_u64().ok_or_else(|| Failure::new(format!("java has no number {key}")))
        };
        Ok(Self {
            id: text(&json, "id")?,
            version: match json["format_version"].as_u64() {
                Some(2) => FormatVersion::V2,
                Some(3) => FormatVersion::V3,
                other => return Err(Failure::new(format!("format version {other:?} is not written"))),
            },
            base_files: files.values().map(base_file).collect::<Result<_>>()?,
            winner: text(&json, "winner")?,
            winner_partition: text(&json, "winner_partition")?,
            loser: text(&json, "loser")?,
            loser_partition: text(&json, "loser_partition")?,
            isolation: match text(&json, "isolation")?.as_str() {
                "serializable" => Isolation::Serializable,
                "snapshot" => Isolation::Snapshot,
                other => return Err(Failure::new(format!("isolation level {other} is unknown"))),
            },
            required: match text(&json, "required")?.as_str() {
                "commit" => Required::Commit,
                "reject" => Required::Reject,
                "reject-or-rebase" => Required::RejectOrRebase,
                other => return Err(Failure::new(format!("requirement {other} is unknown"))),
            },
            live: match commits {
                true => Some(Live {
                    files: number(&java["live"], "files")?,
                    rows: number(&java["live"], "rows")?,
                    deletes_applied: number(&java["live"], "deletes_applied")?,
                }),
                false => None,
            },
            total_delete_files: java["total_delete_files"].as_u64(),
            operation: java["operation"].as_str().map(str::to_owned),
            sequence_number: java["sequence_number"].as_i64(),
        })
    }
}

/// `part=x, 10 rows`.
fn base_file(value: &Value) -> Result<(String, u64)> {
    let told = value.as_str().unwrap_or_default();
    let parsed = told.split_once(", ").and_then(|(part, rows)| {
        Some((part.strip_prefix("part=")?.to_owned(), rows.strip_suffix(" rows")?.parse().ok()?))
    });
    parsed.ok_or_else(|| Failure::new(format!("base file {told:?} is not of the form")))
}
