//! The spec's invariants, judged by the table crate: of every snapshot that was committed.

use std::collections::BTreeMap;

use icecap_table::storage::Storage;
use icecap_table::verify::{Seen, check_unseen};

use crate::Result;

/// What is broken in tables given by name and metadata location; snapshots in `seen` were judged before.
///
/// # Errors
/// When the check cannot run at all.
pub(super) fn broken(tables: &BTreeMap<String, String>, seen: &mut Seen) -> Result<Vec<String>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let storage = Storage::local();
    let mut found = Vec::new();
    for (table, location) in tables {
        let broken = runtime.block_on(check_unseen(&storage, location, seen));
        found.extend(broken.into_iter().map(|what| format!("{table}: {what}")));
    }
    Ok(found)
}
