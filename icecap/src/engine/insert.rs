//! `INSERT INTO`, and the work that every statement which adds rows does: a write plan becomes a task, the task's
//! bytes go to the executor, staged files come back.

use std::sync::Arc;

use datafusion::logical_expr::LogicalPlan;
use icecap_table::commit::{Change, StatementKind, TableChange};
use icecap_table::iceberg::spec::{FormatVersion, TableMetadata};
use icecap_table::id::WriteId;
use icecap_table::properties::WriteSettings;
use icecap_table::staged_file::StagedFile;

use super::StatementResult;
use super::session::Run;
use super::write::{ActiveWrite, Intent};
use crate::dispatch::retry::run_with_retries;
use crate::plan::{IcecapCodec, TaskReport, WriteTask};
use crate::sql::{self, Insert};
use crate::write::{IcebergWriteExec, WriteTarget};
use crate::{Error, Result};

/// The branch that statements write.
pub(super) const MAIN: &str = "main";

impl Run {
    /// Runs `INSERT INTO`.
    pub(super) async fn insert(&self, insert: &Insert) -> Result<StatementResult> {
        let planned = self.limited(self.plan_insert(insert)).await;
        let target = insert.table.normalised().join(".");
        let (loaded, source) = match planned {
            Ok(planned) => planned,
            Err(error) => return self.replay_or(StatementKind::Insert, target, error).await,
        };
        let metadata = loaded.document.metadata().clone();
        let base = metadata.current_snapshot_id();
        let intent = Intent {
            kind: StatementKind::Insert,
            target,
            bases: base.map(|snapshot| (metadata.uuid(), snapshot)).into_iter().collect(),
            prefixes: vec![data_location(&metadata)?],
        };
        self.write(intent, |write| async move {
            let files = self.stage(write, &metadata, &source).await?;
            Ok(vec![TableChange {
                ident: loaded.ident,
                uuid: Some(metadata.uuid()),
                reference: MAIN.to_owned(),
                base,
                change: Change::Append { files, schema_id: metadata.current_schema_id() },
            }])
        })
        .await
    }

    pub(super) async fn plan_insert(
        &self,
        insert: &Insert,
    ) -> Result<(icecap_table::catalog::LoadedTable, LogicalPlan)> {
        let loaded = self.parts.load(&insert.table).await?;
        let metadata = loaded.document.metadata();
        if metadata.format_version() == FormatVersion::V1 {
            return Err(Error::unsupported(
                "writing to a table of format version 1 is not supported: upgrade it first, in Spark with \
                 ALTER TABLE … SET TBLPROPERTIES ('format-version'='2')",
            )
            .with("table", loaded.ident.to_string()));
        }
        let source = self.logical_plan(&insert.source).await?;
        let assigned =
            sql::assign::assign(source, metadata.current_schema(), &insert.columns, insert.by_name)?;
        Ok((loaded, assigned))
    }

    /// Executes `source`, whose columns are the table's, into staged files.
    pub(super) async fn stage(
        &self,
        write: ActiveWrite,
        metadata: &TableMetadata,
        source: &LogicalPlan,
    ) -> Result<Vec<StagedFile>> {
        let root = self.write_plan(write.id, metadata, source).await?;
        let codec = IcecapCodec::new(self.parts.storage.clone());
        let task = WriteTask::single(write.id, write.round, root, &codec)?;
        let report = run_with_retries(&*self.parts.executor, task, &self.cancel, &*self.parts.ids).await?;
        Ok(TaskReport::decode(&report)?.staged_files)
    }

    /// The plan that [`stage`](Self::stage) executes.
    pub(super) async fn write_plan(
        &self,
        write: WriteId,
        metadata: &TableMetadata,
        source: &LogicalPlan,
    ) -> Result<Arc<IcebergWriteExec>> {
        let physical = self.physical_plan(source).await?;
        self.parts.progress.expect(&physical);
        let target = WriteTarget {
            schema: Arc::clone(metadata.current_schema()),
            partition_spec: Arc::clone(metadata.default_partition_spec()),
            sort_order_id: None,
            format_version: metadata.format_version(),
            data_location: data_location(metadata)?,
            properties: metadata.properties().clone(),
            write_id: write,
            stage: 0,
            task: 0,
            attempt: 0,
            nonce: self.parts.ids.uuid().simple().to_string(),
            memory_bytes: self.parts.settings.task_memory_bytes(),
        };
        Ok(Arc::new(IcebergWriteExec::new(physical, target, self.parts.storage.clone())?))
    }
}

/// Where a table's data files go.
pub(super) fn data_location(metadata: &TableMetadata) -> Result<String> {
    Ok(WriteSettings::from_properties(metadata.properties())?.data_location(metadata.location()))
}
