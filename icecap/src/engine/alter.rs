//! `ALTER TABLE`: partition fields, sort order and properties. One commit changes the metadata; no row is touched.
//!
//! What a table was when the statement was planned is required of it when it is committed, as far as the statement
//! depends on it: rows that others add meanwhile disturb nobody.

mod layout;

use std::collections::HashMap;

use icecap_table::catalog::LoadedTable;
use icecap_table::commit::{Change, StatementKind, TableChange};
use icecap_table::iceberg::spec::{FormatVersion, TableMetadata};
use icecap_table::iceberg::{TableRequirement, TableUpdate};
use icecap_table::properties::{DistributionMode, LOCATION_PROPERTIES, map_change, map_removal};

pub(super) use self::layout::sort_order;
use self::layout::{added, replaced, without};
use super::insert::MAIN;
use super::session::Run;
use super::tables::as_done;
use super::write::Intent;
use super::{DoneSummary, StatementResult};
use crate::sql::{AlterAction, AlterTable, SortTerm};
use crate::{Error, ErrorKind, Result};

/// The property that says how rows come to writers.
const DISTRIBUTION: &str = "write.distribution-mode";

/// What a statement requires of the table, and what it does to it.
#[derive(Debug, Default, PartialEq)]
struct Planned {
    requirements: Vec<TableRequirement>,
    updates: Vec<TableUpdate>,
}

impl Run {
    /// Runs `ALTER TABLE`.
    pub(super) async fn alter_table(&self, alter: &AlterTable) -> Result<StatementResult> {
        let kind = StatementKind::AlterTable;
        let target = alter.name.normalised().join(".");
        let planned = self.limited(self.plan_alter(alter)).await;
        let (loaded, Planned { requirements, updates }) = match planned {
            Ok(planned) => planned,
            Err(error) if error.kind() == ErrorKind::NotFound && alter.if_exists => {
                let done = DoneSummary {
                    statement: kind.as_str().to_owned(),
                    table: Some(target),
                    ..DoneSummary::default()
                };
                return Ok(StatementResult::Done(done));
            }
            Err(error) => return self.replay_or(kind, target, error).await.map(as_done),
        };
        let metadata = loaded.document.metadata();
        let change = TableChange {
            ident: loaded.ident.clone(),
            uuid: Some(metadata.uuid()),
            reference: MAIN.to_owned(),
            base: metadata.current_snapshot_id(),
            change: Change::Metadata { requirements, updates },
        };
        let intent = Intent { kind, target, bases: Vec::new(), prefixes: Vec::new() };
        self.write(intent, |_| async move { Ok(vec![change]) }).await.map(as_done)
    }

    async fn plan_alter(&self, alter: &AlterTable) -> Result<(LoadedTable, Planned)> {
        let loaded = self.parts.load(&alter.name).await?;
        let metadata = loaded.document.metadata();
        let planned = plan(&alter.action, metadata)?;
        // What does not fit is better told before anything is begun.
        let after = loaded.document.apply(planned.updates.clone(), None, self.parts.clock.now_ms())?;
        for key in LOCATION_PROPERTIES {
            if let Some(location) = after.metadata().properties().get(key) {
                self.parts.policy.check(location)?;
            }
        }
        Ok((loaded, planned))
    }
}

fn plan(action: &AlterAction, metadata: &TableMetadata) -> Result<Planned> {
    if !matches!(action, AlterAction::SetProperties(_) | AlterAction::UnsetProperties(_)) {
        check_version(metadata)?;
    }
    match action {
        AlterAction::AddPartitionField { term, name } => {
            let fields = metadata.default_partition_spec().fields().to_vec();
            spec(metadata, added(metadata, fields, term, name.as_deref())?)
        }
        AlterAction::DropPartitionField(term) => spec(metadata, without(metadata, term)?),
        AlterAction::ReplacePartitionField { old, new, name } => {
            spec(metadata, replaced(metadata, old, new, name.as_deref())?)
        }
        AlterAction::Write { order, distribution } => write(metadata, order, *distribution),
        AlterAction::SetProperties(given) => set_properties(metadata, given),
        AlterAction::UnsetProperties(keys) => {
            let mut removals: Vec<String> = map_removal(keys)?.into_iter().collect();
            removals.retain(|key| metadata.properties().contains_key(key));
            Ok(Planned {
                requirements: Vec::new(),
                updates: match removals.is_empty() {
                    true => Vec::new(),
                    false => vec![TableUpdate::RemoveProperties { removals }],
                },
            })
        }
    }
}

/// Partition fields of version 1 cannot be taken away, only voided; writers do not write such tables at all.
fn check_version(metadata: &TableMetadata) -> Result<()> {
    if metadata.format_version() == FormatVersion::V1 {
        return Err(Error::unsupported(
            "changing the layout of a table of format version 1 is not supported: upgrade it first with \
             ALTER TABLE … SET TBLPROPERTIES ('format-version' = '2')",
        ));
    }
    Ok(())
}

fn spec(
    metadata: &TableMetadata,
    spec: icecap_table::iceberg::spec::UnboundPartitionSpec,
) -> Result<Planned> {
    Ok(Planned {
        requirements: vec![
            TableRequirement::CurrentSchemaIdMatch { current_schema_id: metadata.current_schema_id() },
            TableRequirement::LastAssignedPartitionIdMatch {
                last_assigned_partition_id: metadata.last_partition_id(),
            },
            TableRequirement::DefaultSpecIdMatch { default_spec_id: metadata.default_partition_spec_id() },
        ],
        // -1: the one just added.
        updates: vec![TableUpdate::AddSpec { spec }, TableUpdate::SetDefaultSpec { spec_id: -1 }],
    })
}

fn write(
    metadata: &TableMetadata,
    order: &[SortTerm],
    distribution: Option<DistributionMode>,
) -> Result<Planned> {
    let sort_order = sort_order(order, metadata.current_schema())?;
    let mut planned = Planned::default();
    if metadata.default_sort_order().fields != sort_order.fields {
        planned.requirements = vec![
            TableRequirement::CurrentSchemaIdMatch { current_schema_id: metadata.current_schema_id() },
            TableRequirement::DefaultSortOrderIdMatch {
                default_sort_order_id: metadata.default_sort_order().order_id,
            },
        ];
        planned.updates = vec![
            TableUpdate::AddSortOrder { sort_order },
            TableUpdate::SetDefaultSortOrder { sort_order_id: -1 },
        ];
    }
    let mode = distribution.map(|mode| match mode {
        DistributionMode::None => "none",
        DistributionMode::Hash => "hash",
        DistributionMode::Range => "range",
    });
    if let Some(mode) = mode
        && metadata.properties().get(DISTRIBUTION).map(String::as_str) != Some(mode)
    {
        let updates = HashMap::from([(DISTRIBUTION.to_owned(), mode.to_owned())]);
        planned.updates.push(TableUpdate::SetProperties { updates });
    }
    Ok(planned)
}

fn set_properties(metadata: &TableMetadata, given: &[(String, String)]) -> Result<Planned> {
    let mapped = map_change(given.to_vec(), metadata.properties())?;
    let mut planned = Planned::default();
    if let Some(version) = mapped.format_version {
        let current = metadata.format_version();
        if version < current {
            return Err(Error::invalid(format!(
                "the table has format version {}: a version never goes down",
                current as u8
            ))
            .with("property", "format-version"));
        }
        if version > current {
            planned.updates.push(TableUpdate::UpgradeFormatVersion { format_version: version });
        }
    }
    let mut updates = mapped.properties;
    updates.retain(|key, value| metadata.properties().get(key) != Some(value));
    if !updates.is_empty() {
        planned.updates.push(TableUpdate::SetProperties { updates });
    }
    Ok(planned)
}

#[cfg(test)]
mod tests;
