//! Deletes that take whole files: decided by metadata, nothing is read.

use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::logical_expr::LogicalPlan;
use icecap_table::iceberg::expr::Predicate;
use icecap_table::iceberg::spec::Schema;
use icecap_table::scan::{DeleteKind, ScanPlan};

use super::plan::{Planned, is_target};
use crate::Result;
use crate::engine::session::Run;
use crate::scan::{deleted_positions, exact_predicate};

/// The predicate of a DELETE, where it says exactly which rows go: it looks at the target alone, and all of it can be
/// judged by metadata. (A widened one would take files with rows that stay.)
pub(super) fn decided(
    plan: &LogicalPlan,
    provider: &Arc<dyn TableProvider>,
    schema: &Schema,
) -> Option<Predicate> {
    let mut node = plan;
    let mut filters = Vec::new();
    loop {
        match node {
            // Only right above the scan are columns called as the table calls them.
            LogicalPlan::Projection(projection) if filters.is_empty() => node = &projection.input,
            LogicalPlan::SubqueryAlias(alias) if filters.is_empty() => node = &alias.input,
            LogicalPlan::Filter(filter) => {
                filters.push(filter.predicate.clone());
                node = &filter.input;
            }
            LogicalPlan::TableScan(scan) if is_target(scan, provider) && scan.fetch.is_none() => {
                filters.extend(scan.filters.iter().cloned());
                return exact_predicate(&filters, schema);
            }
            _ => return None,
        }
    }
}

/// The files of a plan, made with a [`decided`] predicate, of which every row goes.
pub(super) fn files(plan: &ScanPlan) -> Vec<usize> {
    let countable = |at: &usize| {
        plan.deletes.get(*at).is_some_and(|delete| !matches!(delete.kind, DeleteKind::EqualityDeletes { .. }))
    };
    plan.files
        .iter()
        .enumerate()
        // How many rows equality deletes leave only reading tells.
        .filter(|(_, file)| file.all_rows_match && file.deletes.iter().all(countable))
        .map(|(at, _)| at)
        .collect()
}

impl Run {
    /// The rows of a data file that are not deleted.
    pub(super) async fn live_rows(&self, planned: &Planned, at: usize) -> Result<u64> {
        let file = planned.file(at)?;
        let mut dead = 0;
        for delete in file.deletes.iter().filter_map(|at| planned.scan.deletes.get(*at)) {
            if !delete.is_deletion_vector() {
                let (storage, policy) = (&self.parts.storage, Some(&self.parts.policy));
                let context = self.parts.executor.task_context();
                dead = deleted_positions(storage, &planned.scan, at, policy, &context).await?.len();
                break;
            }
            dead += delete.record_count;
        }
        Ok(file.record_count.saturating_sub(dead))
    }
}
