//! The short way of an append: one snapshot is patched into the stored text.

use iceberg::TableUpdate;
use iceberg::spec::{FormatVersion, SnapshotReference, TableMetadata};
use serde_json::{Map, Value};

use super::text::Text;
use crate::error::{Error, Result};

/// The members of a reference that the specification knows.
const REFERENCE: [&str; 5] =
    ["snapshot-id", "type", "min-snapshots-to-keep", "max-snapshot-age-ms", "max-ref-age-ms"];

/// The text with the one snapshot of `updates` in it, and the references that they set.
///
/// `None` when the updates do anything else, or when the text is not in step with the model: then the trees
/// have to be merged.
pub(super) fn with_snapshot(
    text: &Text,
    old: &TableMetadata,
    new: &TableMetadata,
    updates: &[TableUpdate],
) -> Result<Option<Text>> {
    let mut snapshot = None;
    let mut references = Vec::new();
    for update in updates {
        match update {
            TableUpdate::AddSnapshot { .. } if snapshot.is_none() => snapshot = Some(update),
            TableUpdate::SetSnapshotRef { ref_name, reference } => references.push((ref_name, reference)),
            _ => return Ok(None),
        }
    }
    let Some(snapshot) = snapshot else { return Ok(None) };
    let in_step = text.list_len("snapshots") == old.snapshots().len()
        && text.list_len("snapshot-log") == old.history().len()
        && text.list_len("metadata-log") == old.metadata_log().len();
    let refs = text.get("refs")?;
    let has_refs = refs.is_some() || old.snapshots().len() == 0;
    let (before, after) = (old.history().len(), new.history().len());
    let rolls = after == before || after == before + 1;
    if old.format_version() == FormatVersion::V1 || !(in_step && has_refs && rolls) {
        return Ok(None);
    }
    let mut text = text.clone();
    text.roll("snapshots", 0, &snapshot_tree(snapshot)?)?;
    if let Some(entry) = new.history().last().filter(|_| after > before) {
        text.roll("snapshot-log", 0, entry)?;
    }
    roll_metadata_log(&mut text, old, new)?;
    text.set("refs", &with_references(refs, &references)?)?;
    text.set("last-sequence-number", &new.last_sequence_number())?;
    text.set("last-updated-ms", &new.last_updated_ms())?;
    if new.current_snapshot_id() != old.current_snapshot_id() {
        text.set("current-snapshot-id", &new.current_snapshot_id())?;
    }
    if new.format_version() >= FormatVersion::V3 {
        text.set("next-row-id", &new.next_row_id())?;
    }
    Ok(Some(text))
}

/// The snapshot as the kernel writes it in an update: the same members as in a metadata file. The summary is put in
/// order, which the kernel leaves to chance: snapshots that say the same alike compress to a fifth less.
fn snapshot_tree(update: &TableUpdate) -> Result<Value> {
    let mut tree =
        serde_json::to_value(update).map_err(|e| Error::bug("snapshot has no JSON form").with_source(e))?;
    match tree.get_mut("snapshot") {
        Some(snapshot) => {
            if let Some(Value::Object(summary)) = snapshot.get_mut("summary") {
                summary.sort_keys();
            }
            Ok(snapshot.take())
        }
        None => Err(Error::bug("update has no snapshot")),
    }
}

/// Adds the base's entry, and drops what the kernel dropped.
fn roll_metadata_log(text: &mut Text, old: &TableMetadata, new: &TableMetadata) -> Result<()> {
    let (before, after) = (old.metadata_log(), new.metadata_log());
    match after.last() {
        Some(entry) if before.last() != Some(entry) => {
            let dropped = (before.len() + 1).saturating_sub(after.len());
            text.roll("metadata-log", dropped, entry)
        }
        _ => Ok(()),
    }
}

/// The references with some set anew; what the specification does not know of one stays.
fn with_references(stored: Option<Value>, set: &[(&String, &SnapshotReference)]) -> Result<Value> {
    let mut refs = match stored {
        Some(Value::Object(refs)) => refs,
        _ => Map::new(),
    };
    for (name, reference) in set {
        let new = serde_json::to_value(reference)
            .map_err(|e| Error::bug("reference has no JSON form").with_source(e))?;
        let Value::Object(new) = new else { return Err(Error::bug("reference is no JSON object")) };
        let mut merged = match refs.remove(*name) {
            Some(Value::Object(old)) => old,
            _ => Map::new(),
        };
        merged.retain(|key, _| !REFERENCE.contains(&key.as_str()) || new.contains_key(key));
        merged.extend(new);
        refs.insert((*name).clone(), Value::Object(merged));
    }
    Ok(Value::Object(refs))
}
