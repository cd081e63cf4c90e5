//! Some files of a table read with their deletes applied, and written anew.

use std::sync::{Arc, PoisonError};

use datafusion::datasource::provider_as_source;
use datafusion::logical_expr::LogicalPlanBuilder;
use icecap_table::catalog::LoadedTable;
use icecap_table::iceberg::spec::FormatVersion;
use icecap_table::scan::ScanPlan;
use icecap_table::staged_file::StagedFile;

use super::{Upkeep, UpkeepWrite};
use crate::engine::from_datafusion;
use crate::engine::session::Run;
use crate::scan::IcebergTable;
use crate::stage::{self, Job, TaskCount};
use crate::write::{IcebergWriteExec, WriteTarget};
use crate::{Error, Result};

/// The property that says how large files get.
const TARGET_SIZE: &str = "write.target-file-size-bytes";

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
        if metadata.format_version() >= FormatVersion::V3 {
            return Err(Error::unsupported("OPTIMIZE of a table of format version 3 is not supported yet")
                .with("table", table.ident.to_string()));
        }
        // Rows of one partition come in the order of the files, and make one file where they fit into one. Encoding
        // still takes all cores.
        let mut parts = self.run.parts.as_ref().clone();
        parts.planner.config_mut().options_mut().execution.target_partitions = 1;
        let run = Run { parts: Arc::new(parts), ..self.run.clone() };
        let storage = run.parts.storage.clone();
        let provider = IcebergTable::new(table.clone(), storage.clone(), None)?
            .with_policy(run.parts.policy.clone())
            .with_plan(plan);
        let rows = LogicalPlanBuilder::scan("rewritten", provider_as_source(Arc::new(provider)), None)
            .and_then(LogicalPlanBuilder::build)
            .map_err(from_datafusion)?;
        let planned = run.write_plan(write.id(), metadata, &rows).await?;
        let mut target = WriteTarget { ..planned.target().clone() };
        target.properties.insert(TARGET_SIZE.to_owned(), roll_bytes.to_string());
        let root = IcebergWriteExec::new(Arc::clone(planned.input()), target, storage.clone())?;
        let stages = stage::cut(Arc::new(root), &run.parts.planner, &storage, TaskCount::AtMost(1)).await?;
        let job = Job {
            write_id: write.0.id,
            round: write.0.round,
            stages,
            exchange: run.parts.exchange_folder(),
            memory_bytes: None,
            deadline_ms: run.deadline_ms(),
        };
        let outcome = run.parts.runner.run(&job, &run.cancel).await?;
        Ok(Rewritten { files: outcome.staged_files, left_files: outcome.left_files })
    }

    /// Has every other file that the write staged deleted once it is committed.
    pub fn keep_only(&self, files: impl IntoIterator<Item = String>) {
        *self.run.winners.lock().unwrap_or_else(PoisonError::into_inner) = Some(files.into_iter().collect());
    }
}
