//! Row ids and sequence numbers before and after a statement.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::stack::Host;
use crate::{Failure, Result};

/// A row by its id: the sequence number of its last update, and its columns.
pub(super) struct Lineage(BTreeMap<i64, (i64, String)>);

impl Lineage {
    pub(super) fn of(host: &mut Host, table: &str) -> Result<Self> {
        let query = format!("SELECT *, _row_id AS rid, _last_updated_sequence_number AS seq FROM {table}");
        let mut rows = BTreeMap::new();
        for mut object in host.objects(&query)? {
            let (Some(id), Some(sequence)) = (object["rid"].as_i64(), object["seq"].as_i64()) else {
                return Err(Failure::new(format!("a row without id or sequence number: {object}")));
            };
            object["rid"] = Value::Null;
            object["seq"] = Value::Null;
            if rows.insert(id, (sequence, object.to_string())).is_some() {
                return Err(Failure::new(format!("two rows have the row id {id}")));
            }
        }
        Ok(Self(rows))
    }

    /// Judges what a statement that inserted, updated and deleted so many rows made of the rows before.
    pub(super) fn follows(&self, before: &Self, [inserted, updated, deleted]: [u64; 3]) -> Result<()> {
        let newest = before.0.values().map(|(sequence, _)| *sequence).max().unwrap_or_default();
        let highest = before.0.keys().next_back().copied().unwrap_or(-1);
        let (mut new, mut changed) = (0, 0);
        for (id, (sequence, row)) in &self.0 {
            match before.0.get(id) {
                None if *id > highest => new += 1,
                None => return Err(Failure::new(format!("the row id {id} came back: {row}"))),
                Some((old, columns)) if old == sequence => {
                    if columns != row {
                        return Err(Failure::new(format!(
                            "row {id} changed without a new sequence number: {columns} → {row}"
                        )));
                    }
                }
                Some(_) if *sequence > newest => changed += 1,
                Some((old, _)) => {
                    return Err(Failure::new(format!(
                        "row {id} went from sequence number {old} to {sequence}"
                    )));
                }
            }
        }
        let gone = before.0.keys().filter(|id| !self.0.contains_key(id)).count() as u64;
        if (new, changed, gone) == (inserted, updated, deleted) {
            return Ok(());
        }
        Err(Failure::new(format!(
            "by their ids {new} rows are new, {changed} changed and {gone} gone; the statement says {inserted}, {updated} and {deleted}"
        )))
    }
}
