//! The spec's invariants, judged by the table crate.

use std::collections::BTreeMap;

use icecap_table::storage::Storage;
use icecap_table::verify::check_newest;

use crate::Result;

/// Snapshots that are looked at, from the newest back.
const SNAPSHOTS: usize = 12;

/// What is broken in tables given by name and metadata location.
///
/// # Errors
/// When the check cannot run at all.
pub fn broken(tables: &BTreeMap<String, String>) -> Result<Vec<String>> {
    broken_in(&Storage::local(), tables)
}

/// The same for tables in any storage.
///
/// # Errors
/// When the check cannot run at all.
pub fn broken_in(storage: &Storage, tables: &BTreeMap<String, String>) -> Result<Vec<String>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut found = Vec::new();
    for (table, location) in tables {
        let broken = runtime.block_on(check_newest(storage, location, SNAPSHOTS));
        found.extend(broken.into_iter().map(|what| format!("{table}: {what}")));
    }
    Ok(found)
}
