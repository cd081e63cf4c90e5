//! Queries: table uses resolved to providers, a plan made, rows streamed under the statement's limits.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::arrow::record_batch::RecordBatch;
use datafusion::common::TableReference;
use datafusion::datasource::{TableProvider, provider_as_source};
use datafusion::error::DataFusionError;
use datafusion::execution::{SendableRecordBatchStream, SessionState};
use datafusion::logical_expr::{LogicalPlan, TableSource};
use datafusion::physical_plan::stream::{RecordBatchReceiverStream, RecordBatchStreamAdapter};
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use datafusion::sql::sqlparser::ast::Query;
use futures::StreamExt;
use icecap_table::catalog::LoadedTable;
use icecap_table::id::TableIdent;

use super::session::Run;
use super::{StatementResult, from_datafusion};
use crate::Result;
use crate::scan::IcebergTable;
use crate::source;
use crate::sql::plan::StatementContext;
use crate::sql::resolve::resolve_tables;
use crate::sql::{TableUse, TableUseKind, mentions_hidden};

impl Run {
    /// Runs a query.
    pub(super) async fn query(&self, query: &Query) -> Result<StatementResult> {
        let logical = self.logical_plan(query).await?;
        let physical = self.physical_plan(&logical).await?;
        self.parts.progress.expect(&physical);
        self.parts.progress.watch(&physical);
        let stream = execute_stream(physical, self.parts.executor.task_context()).map_err(from_datafusion)?;
        let stream = in_own_task(stream);
        let schema = stream.schema();
        let rows = futures::stream::unfold((stream, self.clone()), |(mut stream, run)| async move {
            let next = run.limited(async { Ok(stream.next().await) }).await;
            let item: Result<RecordBatch, DataFusionError> = match next {
                Ok(None) => return None,
                Ok(Some(batch)) => batch,
                Err(error) => Err(DataFusionError::External(Box::new(error))),
            };
            Some((item, (stream, run)))
        });
        Ok(StatementResult::Rows(Box::pin(RecordBatchStreamAdapter::new(schema, rows))))
    }

    /// Plans a query over the tables as they are now: each table's snapshot is fixed here.
    pub(super) async fn logical_plan(&self, query: &Query) -> Result<LogicalPlan> {
        let shows_hidden = mentions_hidden(query);
        self.plan_with(query, shows_hidden, &Given::default()).await.map(|(plan, _)| plan)
    }

    /// Plans a query, some of whose tables are given, and says which tables it reads beside those.
    pub(super) async fn plan_with(
        &self,
        query: &Query,
        shows_hidden: bool,
        given: &Given,
    ) -> Result<(LogicalPlan, Vec<TableIdent>)> {
        let mut query = query.clone();
        let mut sources: HashMap<TableReference, Arc<dyn TableSource>> = HashMap::new();
        let mut read = Vec::new();
        for table_use in resolve_tables(&mut query)? {
            let provider = match given.provider(&table_use) {
                Some(provider) => provider,
                None => {
                    let (provider, ident) = self.provider(&table_use, shows_hidden, given).await?;
                    read.extend(ident);
                    provider
                }
            };
            sources.insert(table_use.reference, provider_as_source(provider));
        }
        let plan = StatementContext::new(&self.parts.planner, sources).plan_query(query)?;
        Ok((plan, read))
    }

    async fn provider(
        &self,
        table_use: &TableUse,
        shows_hidden: bool,
        given: &Given,
    ) -> Result<(Arc<dyn TableProvider>, Option<TableIdent>)> {
        match &table_use.kind {
            TableUseKind::Table { name, version } => {
                let (mut loaded, rest) = self.parts.load_to_read(name).await?;
                if let Some(frozen) = &given.frozen
                    && frozen.ident == loaded.ident
                {
                    loaded = LoadedTable::clone(frozen);
                }
                let ident = loaded.ident.clone();
                let storage = self.parts.storage.clone();
                let table = match self.state_of(&loaded, rest, version.as_ref()).await? {
                    None => IcebergTable::new(loaded, storage, None)?,
                    Some((snapshot, schema)) => IcebergTable::with_schema(loaded, storage, snapshot, schema)?,
                };
                let table = table
                    .with_policy(self.parts.policy.clone())
                    .with_metadata_columns(shows_hidden)
                    .with_log(self.scans.clone());
                Ok((Arc::new(table), Some(ident)))
            }
            TableUseKind::Function { name, args } => {
                let source = source::table_function(name, args, &self.parts.sources, &self.parts.storage);
                Ok((source.await?, None))
            }
        }
    }

    /// A state to plan this statement with: its time is the statement's.
    pub(super) fn planner(&self) -> SessionState {
        let mut state = self.parts.planner.clone();
        state.mark_start_execution();
        state.execution_props_mut().query_execution_start_time =
            chrono::DateTime::from_timestamp_millis(self.started_ms);
        state
    }

    /// Optimises a plan and makes it executable.
    pub(super) async fn physical_plan(&self, logical: &LogicalPlan) -> Result<Arc<dyn ExecutionPlan>> {
        let state = self.planner();
        state.create_physical_plan(logical).await.map_err(from_datafusion)
    }
}

/// Tables that a query's statement has at hand.
#[derive(Default)]
pub(super) struct Given {
    /// Providers, by the names that stand for them.
    pub(super) providers: Vec<(&'static str, Arc<dyn TableProvider>)>,
    /// A table that was loaded before: the whole statement reads it as it was then.
    pub(super) frozen: Option<Arc<LoadedTable>>,
}

impl Given {
    fn provider(&self, table_use: &TableUse) -> Option<Arc<dyn TableProvider>> {
        let TableUseKind::Table { name, version: None } = &table_use.kind else { return None };
        let [part] = name.0.as_slice() else { return None };
        self.providers.iter().find(|(known, _)| part.value == *known).map(|(_, given)| Arc::clone(given))
    }
}

/// Batches that wait for whoever reads them.
const WAITING_BATCHES: usize = 2;

/// Runs a stream in a task of its own. An operator that makes no pause (a join of one large batch) then holds up
/// neither the time limit nor a cancellation.
pub(super) fn in_own_task(mut stream: SendableRecordBatchStream) -> SendableRecordBatchStream {
    let mut builder = RecordBatchReceiverStream::builder(stream.schema(), WAITING_BATCHES);
    let rows = builder.tx();
    builder.spawn(async move {
        while let Some(batch) = stream.next().await {
            if rows.send(batch).await.is_err() {
                break;
            }
        }
        Ok(())
    });
    builder.build()
}
