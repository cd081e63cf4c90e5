//! Whether rows of a MERGE's source have a partner in some files of the target.
//!
//! A MERGE that inserts rows of its source which match nothing depends on the whole target. After a lost race it stays
//! as it is all the same where no row of the source matches a row of the files that came in or were changed, neither as
//! they are nor as they were.

use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::common::JoinType;
use datafusion::logical_expr::{Join, LogicalPlan, LogicalPlanBuilder, lit};
use icecap_table::scan::ScanPlan;

use super::RowChange;
use super::plan::{Template, restrict, seen};
use super::source::{MergeJoin, Source, merge_join};
use crate::engine::from_datafusion;
use crate::engine::session::Run;
use crate::scan::IcebergTable;
use crate::sql::MatchKind;
use crate::{ErrorKind, Result};

/// The pairs of a statement whose changes follow from them, as a query over the target.
pub(super) struct Pairs(LogicalPlan);

impl Pairs {
    /// Those of an optimised plan. `None` for a statement that changes rows of the target without a partner too, and where
    /// the source's rows are not at hand: they might be others the next time.
    pub(super) fn of(
        plan: &LogicalPlan,
        target: &Arc<dyn TableProvider>,
        source: Option<&Source>,
        change: RowChange<'_>,
    ) -> Result<Option<Self>> {
        let (RowChange::Merge(merge), Some(rows)) = (change, source.and_then(|source| source.rows.as_ref()))
        else {
            return Ok(None);
        };
        if merge.clauses.iter().any(|clause| clause.kind == MatchKind::NotMatchedBySource) {
            return Ok(None);
        }
        let Some(MergeJoin { join, .. }) = merge_join(plan, target, rows) else { return Ok(None) };
        let inner = Join::try_new(
            Arc::clone(&join.left),
            Arc::clone(&join.right),
            join.on.clone(),
            join.filter.clone(),
            JoinType::Inner,
            join.join_constraint,
            join.null_equality,
            false,
        )
        .map_err(from_datafusion)?;
        let one = LogicalPlanBuilder::from(LogicalPlan::Join(inner))
            .project([lit(1).alias("pair")])
            .and_then(|pairs| pairs.limit(0, Some(1)))
            .and_then(LogicalPlanBuilder::build);
        one.map(|pairs| Some(Self(pairs))).map_err(from_datafusion)
    }
}

impl Run {
    /// Whether there is a pair in these files of a state of the target.
    pub(super) async fn has_pairs(
        &self,
        template: &Template,
        pairs: &Pairs,
        table: &IcebergTable,
        files: ScanPlan,
    ) -> Result<bool> {
        if files.files.is_empty() {
            return Ok(false);
        }
        let restricted = table.clone().with_plan(seen(files)).with_log(self.scans.clone());
        let plan = restrict(pairs.0.clone(), template.provider(), restricted)?;
        match self.rows_of(&plan).await {
            Ok(batches) => Ok(batches.iter().any(|batch| batch.num_rows() > 0)),
            // A plan of the whole has a join that spills.
            Err(error) if error.kind() == ErrorKind::Exhausted => Ok(true),
            Err(error) => Err(error),
        }
    }
}
