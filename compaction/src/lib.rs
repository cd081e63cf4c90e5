//! Upkeep of tables: files joined and deletes applied (`OPTIMIZE`), old snapshots let go and their files deleted
//! (`VACUUM`).
//!
//! [`Compaction`] is what the command hands to its engine. Here is decided which files are rewritten together
//! ([`optimize`](mod@optimize)), which snapshots expire and which files nothing reaches any more
//! ([`vacuum`](mod@vacuum)). Rows are read and written by the engine, changes published by the commit service: nothing
//! here touches Parquet or a pointer.

pub mod optimize;
pub mod vacuum;

use async_trait::async_trait;
use icecap::Maintenance;
use icecap::engine::{OptimizeRequest, StatementResult, Upkeep, VacuumRequest};
use icecap_table::Result;

/// Knows how tables are kept healthy.
#[derive(Debug, Clone, Copy, Default)]
pub struct Compaction;

#[async_trait]
impl Maintenance for Compaction {
    async fn optimize(&self, upkeep: &Upkeep, request: &OptimizeRequest) -> Result<StatementResult> {
        optimize::run(upkeep, request).await
    }

    async fn vacuum(&self, upkeep: &Upkeep, request: &VacuumRequest) -> Result<StatementResult> {
        vacuum::run(upkeep, request).await
    }
}
