//! The one DataFusion configuration of planners and executors.

use datafusion::common::config::Dialect;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::execution::{SessionState, SessionStateBuilder};
use datafusion::prelude::SessionConfig;
use std::sync::Arc;

use crate::sql::register_functions;

/// Rows per batch.
pub const BATCH_ROWS: usize = 8192;

/// How many tasks the scans of a plan may be dealt to: tables are cut so much finer. In a planner's configuration
/// only; one task without it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScanTasks(pub usize);

/// The configuration of a planner or an executor with `threads` partitions and `batch_rows` rows a batch.
///
/// A plan's meaning must not depend on where it runs: whatever a node reads from the configuration when it
/// is planned or executed is set here, for both.
pub fn session_config(threads: usize, batch_rows: usize) -> SessionConfig {
    let mut config = SessionConfig::new()
        .with_target_partitions(threads.max(1))
        .with_batch_size(batch_rows.max(1))
        .with_information_schema(false)
        .with_create_default_catalog_and_schema(false);
    let options = config.options_mut();
    // A stage cut can part a scalar subquery from its node, and an encoded expression from its plan.
    options.optimizer.enable_physical_uncorrelated_scalar_subquery = false;
    // Trino's: NULLs last, whichever the direction; decimal literals are decimals.
    options.sql_parser.default_null_ordering = "nulls_last".to_owned();
    options.sql_parser.parse_float_as_decimal = true;
    options.sql_parser.map_string_types_to_utf8view = false;
    options.sql_parser.dialect = Dialect::Generic;
    options.execution.time_zone = Some("UTC".to_owned());
    // Columns of tables carry their field ids along, of which a UNION keeps those of one branch: an aggregation
    // over it is no error.
    options.execution.skip_physical_aggregate_schema_check = true;
    options.explain.show_statistics = false;
    // Iceberg tables and sources are read with their columns' own types.
    options.execution.parquet.schema_force_view_types = false;
    // Scans are cut when they are planned; whoever is free takes the next slice.
    options.optimizer.repartition_file_scans = false;
    options.execution.enable_file_stream_work_stealing = true;
    config
}

/// A state to plan with: the configuration, DataFusion's functions and our own, no catalog.
pub fn planner_state(config: SessionConfig, runtime: Arc<RuntimeEnv>) -> SessionState {
    let state =
        SessionStateBuilder::new().with_config(config).with_runtime_env(runtime).with_default_features();
    register_functions(state).build()
}
