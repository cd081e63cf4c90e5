//! `VACUUM`: snapshots are let go, and the files that nothing reaches any more are deleted.
//!
//! What expires is [`retention`]'s to say. The table's metadata is changed first; only when that is known to be
//! published are files deleted, and only those that the table as it is afterwards does not name ([`reach`]): those of
//! the expired snapshots (`sweep`), and those that no snapshot ever named (`orphans`). What a running write reads
//! or uploads stays. A run that ends half-way leaves orphans, which a later one finds.

mod home;
mod orphans;
pub mod reach;
pub mod retention;
mod sweep;
mod tally;

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use futures::FutureExt;
use futures::future::BoxFuture;
use icecap::engine::{StatementResult, Upkeep, UpkeepIntent, VacuumRequest};
use icecap_table::catalog::LoadedTable;
use icecap_table::commit::{Change, StatementKind, TableChange};
use icecap_table::iceberg::spec::MAIN_BRANCH;
use icecap_table::iceberg::{TableRequirement, TableUpdate};
use icecap_table::properties::RetentionSettings;
use icecap_table::{Error, Result};

use self::home::Home;
use self::retention::{Expiry, Policy, expiry};
use self::tally::Tally;

/// What the metadata's cache may take: lists and manifests of a long history would drive out what queries use.
const CACHE_BYTES: usize = 16 << 20;

/// What was planned to go, and of which state of the table.
struct Planned {
    loaded: LoadedTable,
    expiry: Expiry,
    /// The references that go, and where they lead.
    heads: Vec<(String, i64)>,
}

/// Runs `VACUUM`, or `system.expire_snapshots`.
///
/// # Errors
/// `Invalid` for a table that forbids it or shares its place with another; else as those of a write: after
/// `CommitStateUnknown` no file was deleted.
pub async fn run(upkeep: &Upkeep, request: &VacuumRequest) -> Result<StatementResult> {
    let loaded = upkeep.load(&request.table).await?;
    let settings = RetentionSettings::from_properties(loaded.document.metadata().properties())?;
    let home = Home::of(&loaded, upkeep.policy())?;
    refuse(upkeep, &loaded, &settings, &home).await?;
    let policy = Policy::new(&settings, upkeep.now_ms(), request.older_than_ms, request.retain_last);
    let first = plan(upkeep, loaded.clone(), &policy).await?;
    let mut expired = None;
    if !first.expiry.is_empty() {
        expired = Some(publish(upkeep, request, first, policy).await?);
    }

    let after = upkeep.load(&request.table).await?;
    let tally = Tally::default();
    if after.document.metadata().uuid() == loaded.document.metadata().uuid() {
        let storage = upkeep.storage().clone().with_cache_bytes(CACHE_BYTES).within(upkeep.policy());
        let job = sweep::Job { upkeep, storage, home: &home, tally: &tally, policy: &policy };
        let cleaning: BoxFuture<'_, Result<()>> = async {
            let mut named = job.named(&after).await?;
            if let Some(planned) = &expired {
                job.expired(planned, &after, &mut named).await?;
            }
            if request.orphans {
                orphans::delete(&job, &request.table, &after, named).await?;
            }
            Ok(())
        }
        .boxed();
        match upkeep.while_allowed(cleaning).await {
            Some(Ok(())) => {}
            // The snapshots are gone; what could not be seen to be unneeded stays.
            Some(Err(error)) if expired.is_some() => {
                tracing::warn!(table = %after.ident, %error, "snapshots expired, but their files were not all deleted");
                tally.stopped();
            }
            Some(Err(error)) => return Err(error),
            None => tally.stopped(),
        }
    }
    Ok(upkeep.done(StatementKind::Vacuum, &after.ident, tally.counts()))
}

/// Refuses to delete files of a table that are not known to be its own.
async fn refuse(
    upkeep: &Upkeep,
    loaded: &LoadedTable,
    settings: &RetentionSettings,
    home: &Home,
) -> Result<()> {
    let ident = &loaded.ident;
    if !settings.gc_enabled {
        return Err(Error::invalid(format!(
            "table {ident} says gc.enabled = false, because other tables may use its files: nothing expires"
        )));
    }
    if loaded.document.metadata().snapshots().any(|snapshot| !reach::has_list(snapshot)) {
        return Err(Error::unsupported(format!(
            "a snapshot of table {ident} has no manifest list (format version 1): its files are not known, and none is deleted"
        )));
    }
    for folder in home.folders() {
        for other in upkeep.tables_below(folder).await? {
            if other != *ident {
                return Err(Error::invalid(format!(
                    "tables {ident} and {other} share the place {folder}: a file that one does not need may be the other's, \
                     so nothing expires"
                )));
            }
        }
    }
    Ok(())
}

async fn plan(upkeep: &Upkeep, loaded: LoadedTable, policy: &Policy) -> Result<Planned> {
    let table = loaded.document.metadata().uuid();
    let writes = upkeep.active_writes().await?;
    let pinned: HashSet<i64> = writes
        .iter()
        .filter(|write| write.is_alive)
        .flat_map(|write| &write.bases)
        .filter(|(of, _)| *of == table)
        .map(|(_, snapshot)| *snapshot)
        .collect();
    let expiry = expiry(&loaded.document, policy, &pinned)?;
    let named = loaded.document.named_snapshots()?;
    let heads = named.into_iter().filter(|(name, _)| expiry.references.contains(name)).collect();
    Ok(Planned { loaded, expiry, heads })
}

/// Changes the table's metadata; gives what was published, or planned last.
async fn publish(
    upkeep: &Upkeep,
    request: &VacuumRequest,
    first: Planned,
    policy: Policy,
) -> Result<Planned> {
    let latest = Arc::new(Mutex::new(None));
    let mut next = Some(first);
    let intent = UpkeepIntent {
        kind: StatementKind::Vacuum,
        target: request.table.clone(),
        bases: Vec::new(),
        prefixes: Vec::new(),
    };
    upkeep
        .write(intent, |_, _| {
            let (latest, given) = (Arc::clone(&latest), next.take());
            let (upkeep, table) = (upkeep.clone(), request.table.clone());
            async move {
                let planned = match given {
                    Some(planned) => planned,
                    None => plan(&upkeep, upkeep.load(&table).await?, &policy).await?,
                };
                let changes = changes(&planned);
                *latest.lock().unwrap_or_else(PoisonError::into_inner) = Some(planned);
                Ok(changes)
            }
        })
        .await?;
    let planned = latest.lock().unwrap_or_else(PoisonError::into_inner).take();
    match (planned, next) {
        (Some(planned), _) | (None, Some(planned)) => Ok(planned),
        (None, None) => Err(Error::bug("a VACUUM was published that was never planned")),
    }
}

/// The change that lets go what was planned to; none, when that is nothing.
fn changes(planned: &Planned) -> Vec<TableChange> {
    let metadata = planned.loaded.document.metadata();
    let Expiry { snapshots, references } = &planned.expiry;
    if planned.expiry.is_empty() {
        return Vec::new();
    }
    let remove_reference = |name: &String| TableUpdate::RemoveSnapshotRef { ref_name: name.clone() };
    let mut updates: Vec<TableUpdate> = references.iter().map(remove_reference).collect();
    for snapshot_id in snapshots {
        if metadata.statistics_for_snapshot(*snapshot_id).is_some() {
            updates.push(TableUpdate::RemoveStatistics { snapshot_id: *snapshot_id });
        }
        if metadata.partition_statistics_for_snapshot(*snapshot_id).is_some() {
            updates.push(TableUpdate::RemovePartitionStatistics { snapshot_id: *snapshot_id });
        }
    }
    if !snapshots.is_empty() {
        updates.push(TableUpdate::RemoveSnapshots { snapshot_ids: snapshots.clone() });
    }
    // A branch that moved on since it was planned to go has become young again.
    let heads = planned.heads.iter().map(|(name, head)| TableRequirement::RefSnapshotIdMatch {
        r#ref: name.clone(),
        snapshot_id: Some(*head),
    });
    let table = TableRequirement::UuidMatch { uuid: metadata.uuid() };
    vec![TableChange {
        ident: planned.loaded.ident.clone(),
        uuid: Some(metadata.uuid()),
        reference: MAIN_BRANCH.to_owned(),
        base: metadata.current_snapshot_id(),
        change: Change::Metadata { requirements: std::iter::once(table).chain(heads).collect(), updates },
    }]
}
