//! Some files of a table read with their deletes applied, and written anew.

use std::sync::Arc;

use datafusion::common::Column;
use datafusion::datasource::provider_as_source;
use datafusion::logical_expr::{Expr, LogicalPlanBuilder};
use icecap_table::catalog::LoadedTable;
use icecap_table::iceberg::spec::FormatVersion;
use icecap_table::scan::ScanPlan;
use icecap_table::staged_file::StagedFile;

use super::{Upkeep, UpkeepWrite};
use crate::Result;
use crate::engine::from_datafusion;
use crate::engine::session::Run;
use crate::scan::IcebergTable;
use crate::stage::{self, TaskCount};
use crate::write::{IcebergWriteExec, ordered};

/// The property that says how large files get.
const TARGET_SIZE: &str = "write.target-file-size-bytes";

/// The columns of a row's lineage (V3), behind the table's own.
const LINEAGE: [&str; 2] = ["_row_id", "_last_updated_sequence_number"];

/// What the plan calls the rows that are read.
const ROWS: &str = "rewritten";

/// What a rewrite staged.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Rewritten {
    /// The new files.
    pub files: Vec<StagedFile>,
    /// Whether attempts that did not win may have left files, too.
    pub left_files: bool,
}

impl Upkeep {
    /// How many rewrites may run at once: as many as tasks do.
    pub fn tasks_at_once(&self) -> usize {
        self.run.parts.tier.slots.max(1)
    }

    /// Reads the files of `plan` with the deletes that it names and writes their rows, in their order or the table's, to
    /// new files under the table's current spec, schema and properties. A file is ended at `roll_bytes`.
    ///
    /// One task does it, wherever the engine's tasks run.
    ///
    /// # Errors
    /// As reading a table and writing it.
    pub async fn rewrite(
        &self,
        write: UpkeepWrite,
        table: &LoadedTable,
        plan: ScanPlan,
        roll_bytes: u64,
    ) -> Result<Rewritten> {
        let metadata = table.document.metadata();
        // Rows of one partition come in the order of the files, and make one file where they fit into one. Encoding
        // still takes all cores.
        let mut parts = self.run.parts.as_ref().clone();
        parts.planner.config_mut().options_mut().execution.target_partitions = 1;
        let run = Run { parts: Arc::new(parts), ..self.run.clone() };
        let storage = run.parts.storage.clone();
        let lineage = metadata.format_version() >= FormatVersion::V3;
        let provider = IcebergTable::new(table.clone(), storage.clone(), None)?
            .with_policy(run.parts.policy.clone())
            .with_metadata_columns(lineage)
            .with_plan(plan);
        let own = metadata.current_schema().as_struct().fields().iter().map(|field| field.name.as_str());
        let kept = LINEAGE.into_iter().filter(|_| lineage);
        let columns: Vec<Expr> =
            own.chain(kept).map(|name| Expr::Column(Column::new(Some(ROWS), name))).collect();
        let rows = LogicalPlanBuilder::scan(ROWS, provider_as_source(Arc::new(provider)), None)
            .and_then(|scan| scan.project(columns))
            .and_then(LogicalPlanBuilder::build)
            .map_err(from_datafusion)?;
        let rows = run.physical_plan(&rows).await?;
        let mut target = run.write_target(write.id(), metadata, lineage)?;
        target.properties.insert(TARGET_SIZE.to_owned(), roll_bytes.to_string());
        let (rows, target) = ordered(rows, target, metadata.default_sort_order())?;
        let root = IcebergWriteExec::new(rows, target, storage.clone())?;
        let stages = stage::cut(Arc::new(root), &run.parts.planner, &storage, TaskCount::Slots(1)).await?;
        let outcome = run.run_stages(write.0, stages).await?;
        Ok(Rewritten { files: outcome.staged_files, left_files: outcome.left_files })
    }

    /// Has every other file that the write staged deleted once it is committed.
    pub fn keep_only(&self, files: impl IntoIterator<Item = String>) {
        self.run.keep_only(files.into_iter());
    }
}
