//! A change of a table's metadata alone: requirements checked against the table as it is now, updates applied to it.
//!
//! No snapshot is made here. Snapshots come from staged files, through the producer, so that what a commit adds was
//! checked; an update that brings one along is refused.

use std::collections::BTreeMap;

use icecap_table::commit::CommitOutcome;
use icecap_table::iceberg::{TableRequirement, TableUpdate};
use icecap_table::metadata::TableDocument;
use icecap_table::properties::LOCATION_PROPERTIES;
use icecap_table::{Error, Result};

use super::Committer;
use super::check::rejected;

impl Committer {
    /// The document after a change, or why it may not be made now.
    ///
    /// `base` is where `document` is stored, when it is stored.
    ///
    /// # Errors
    /// `Invalid` for updates that do not fit the table or that this change may not have; `Denied` for locations that
    /// the policy refuses.
    pub(super) fn change_metadata(
        &self,
        document: &TableDocument,
        base: Option<&str>,
        requirements: &[TableRequirement],
        updates: &[TableUpdate],
    ) -> Result<Result<TableDocument, CommitOutcome>> {
        if let Some(requirement) = requirements.iter().find_map(|of| failed(of, document)) {
            return Ok(Err(rejected(requirement)));
        }
        allowed(document, updates)?;
        if let Some(why) = lost_reference(document.named_snapshots()?, updates) {
            return Ok(Err(CommitOutcome::Conflict { why }));
        }
        let now_ms = document.next_timestamp_ms(self.clock.now_ms());
        let next = document.apply(updates.to_vec(), base, now_ms)?;
        let (before, after) = (document.metadata(), next.metadata());
        if before.location() != after.location() {
            self.policy.check(after.location())?;
        }
        for key in LOCATION_PROPERTIES {
            match after.properties().get(key) {
                Some(location) if before.properties().get(key) != Some(location) => {
                    self.policy.check(location)?;
                }
                _ => {}
            }
        }
        Ok(Ok(next))
    }
}

/// What a requirement that does not hold says, in the words of the REST catalog.
fn failed(requirement: &TableRequirement, document: &TableDocument) -> Option<String> {
    let error = requirement.check(Some(document.metadata())).err()?;
    let name = match requirement {
        TableRequirement::NotExist => "assert-create",
        TableRequirement::UuidMatch { .. } => "assert-table-uuid",
        TableRequirement::RefSnapshotIdMatch { .. } => "assert-ref-snapshot-id",
        TableRequirement::LastAssignedFieldIdMatch { .. } => "assert-last-assigned-field-id",
        TableRequirement::CurrentSchemaIdMatch { .. } => "assert-current-schema-id",
        TableRequirement::LastAssignedPartitionIdMatch { .. } => "assert-last-assigned-partition-id",
        TableRequirement::DefaultSpecIdMatch { .. } => "assert-default-spec-id",
        TableRequirement::DefaultSortOrderIdMatch { .. } => "assert-default-sort-order-id",
    };
    let why = error.message();
    Some(format!("{name}: {}", why.strip_prefix("Requirement failed: ").unwrap_or(why)))
}

fn allowed(document: &TableDocument, updates: &[TableUpdate]) -> Result<()> {
    for update in updates {
        match update {
            TableUpdate::AddSnapshot { .. } => {
                return Err(Error::invalid(
                    "a change of metadata brings a snapshot along: files are committed by a change of their own",
                ));
            }
            TableUpdate::AssignUuid { uuid } if *uuid != document.metadata().uuid() => {
                return Err(Error::invalid("the UUID of a table cannot be changed"));
            }
            _ => {}
        }
    }
    Ok(())
}

/// The branch or tag whose snapshot the updates remove: the kernel would drop it without a word.
fn lost_reference(mut named: BTreeMap<String, i64>, updates: &[TableUpdate]) -> Option<String> {
    for update in updates {
        match update {
            TableUpdate::SetSnapshotRef { ref_name, reference } => {
                named.insert(ref_name.clone(), reference.snapshot_id);
            }
            TableUpdate::RemoveSnapshotRef { ref_name } => {
                named.remove(ref_name);
            }
            TableUpdate::RemoveSnapshots { snapshot_ids } => {
                if let Some((name, snapshot)) =
                    named.iter().find(|(_, snapshot)| snapshot_ids.contains(snapshot))
                {
                    return Some(format!(
                        "snapshot {snapshot}, which would be removed, is what {name:?} names"
                    ));
                }
            }
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests;
