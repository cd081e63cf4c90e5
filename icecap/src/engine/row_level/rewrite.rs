//! Copy-on-write: data files with rows that go are written again without them.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::common::Column;
use datafusion::datasource::provider_as_source;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder};
use icecap_table::deletes::PositionSet;
use icecap_table::staged_file::StagedFile;

use super::plan::{Planned, only};
use crate::Result;
use crate::engine::from_datafusion;
use crate::engine::session::Run;
use crate::engine::write::ActiveWrite;
use crate::scan::IcebergTable;
use crate::write::{IcebergWriteExec, ordered};

/// New data files in the place of others.
#[derive(Default)]
pub(super) struct Rewritten {
    pub(super) added: Vec<StagedFile>,
    pub(super) left_files: bool,
}

impl Run {
    /// Writes the rows that are left of data files to new ones, their ids kept (V3); what older delete files took out
    /// stays out. `found`: data files of the plan, and the rows of them that go.
    pub(super) async fn rewrite(
        &self,
        write: ActiveWrite,
        planned: &Planned,
        found: Vec<(usize, PositionSet)>,
    ) -> Result<Rewritten> {
        let mut rewritten = Rewritten::default();
        let mut wanted = Vec::with_capacity(found.len());
        let mut gone = BTreeMap::new();
        for (at, positions) in found {
            let file = planned.file(at)?;
            if positions.len() < file.record_count {
                wanted.push(at);
                #[cfg(feature = "testing")]
                let positions = one_more(positions, file.record_count);
                gone.insert(file.path.clone(), positions);
            }
        }
        if wanted.is_empty() {
            return Ok(rewritten);
        }
        let table =
            planned.table.clone().with_plan(only(&planned.scan, &wanted)).with_extra_deletes(Arc::new(gone));
        let lineage = planned.is_v3();
        #[cfg(feature = "testing")]
        let lineage =
            lineage && !icecap_table::testing::is_planted(icecap_table::testing::Mutation::LineageLost);
        let rows = self.physical_plan(&all_rows(table, planned, lineage)?).await?;
        let target = self.write_target(write.id, planned.metadata(), lineage)?;
        let (rows, target) = ordered(rows, target, planned.metadata().default_sort_order())?;
        let root = Arc::new(IcebergWriteExec::new(rows, target, self.parts.storage.clone())?);
        let stages = self.stages(root).await?;
        let outcome = self.run_stages(write, stages).await?;
        rewritten.added = outcome.staged_files;
        rewritten.left_files = outcome.left_files;
        Ok(rewritten)
    }
}

/// The bug of a row that is lost.
#[cfg(feature = "testing")]
fn one_more(
    mut positions: icecap_table::deletes::PositionSet,
    rows: u64,
) -> icecap_table::deletes::PositionSet {
    if icecap_table::testing::is_planted(icecap_table::testing::Mutation::CarriedRowLost)
        && let Some(other) = (0..rows).find(|at| !positions.contains(*at))
    {
        positions.insert(other);
    }
    positions
}

/// Every row of a table, with its id and the sequence number of its last change where they are kept.
fn all_rows(table: IcebergTable, planned: &Planned, lineage: bool) -> Result<LogicalPlan> {
    let own =
        planned.metadata().current_schema().as_struct().fields().iter().map(|field| field.name.as_str());
    let kept = ["_row_id", "_last_updated_sequence_number"].into_iter().filter(|_| lineage);
    let columns: Vec<Expr> = own.chain(kept).map(|name| Expr::Column(Column::new(Some("t"), name))).collect();
    LogicalPlanBuilder::scan("t", provider_as_source(Arc::new(table)), None)
        .and_then(|scan| scan.project(columns))
        .and_then(LogicalPlanBuilder::build)
        .map_err(from_datafusion)
}
