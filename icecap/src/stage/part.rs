//! The part of a stage's plan that one task runs: its scans hold only the task's own files.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::physical_plan::ExecutionPlan;
use icecap_table::{Error, Result};

use crate::exchange::ExchangeReadExec;
use crate::plan::{from_datafusion, to_datafusion};
use crate::scan::IcecapScanExec;
use crate::source::SourceScanExec;

/// What a leaf reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Work {
    /// Pieces that it can be parted into.
    pub(super) pieces: usize,
    /// Bytes of its files.
    pub(super) bytes: u64,
}

/// What a leaf reads; `None` when it cannot be parted at all.
pub(super) fn work(leaf: &Arc<dyn ExecutionPlan>) -> Option<Work> {
    if let Some(scan) = leaf.downcast_ref::<IcecapScanExec>() {
        let bytes = scan.input().files.iter().map(|file| file.file_size_bytes).sum();
        return Some(Work { pieces: scan.input().slices.len(), bytes });
    }
    let scan = leaf.downcast_ref::<SourceScanExec>()?;
    let bytes = scan.input().files.iter().map(|file| file.size_bytes).sum();
    Some(Work { pieces: scan.pieces(), bytes })
}

/// The plan of task `task` of `tasks`. Every row of a scan is in exactly one task.
///
/// # Errors
/// `Bug` for a leaf that cannot be parted.
pub(super) fn part(
    plan: &Arc<dyn ExecutionPlan>,
    task: usize,
    tasks: usize,
) -> Result<Arc<dyn ExecutionPlan>> {
    if tasks == 1 {
        return Ok(Arc::clone(plan));
    }
    Arc::clone(plan)
        .transform_up(|node| {
            if !node.children().is_empty() || node.is::<ExchangeReadExec>() {
                return Ok(Transformed::no(node));
            }
            if let Some(scan) = node.downcast_ref::<IcecapScanExec>() {
                let own = scan.part(task, tasks).map_err(to_datafusion)?;
                return Ok(Transformed::yes(Arc::new(own) as _));
            }
            if let Some(scan) = node.downcast_ref::<SourceScanExec>() {
                let own = scan.part(task, tasks).map_err(to_datafusion)?;
                return Ok(Transformed::yes(Arc::new(own) as _));
            }
            let why = format!("{} was planned to run in {tasks} tasks and cannot be parted", node.name());
            Err(to_datafusion(Error::bug(why)))
        })
        .data()
        .map_err(from_datafusion)
}
