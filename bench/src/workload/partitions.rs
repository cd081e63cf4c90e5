//! `lineitem` into 5,000 partitions by one INSERT, with memory for it and with hardly any.

use super::lineitem::{PartitionedInsert, Source};
use super::turns::in_turns;
use super::{Plan, Run, Series};
use crate::Result;

/// The engine's name when Icecap has `--memory 1GB`.
pub const AMPLE: &str = "icecap-1GB";

/// The engine's name when Icecap has `--memory 512MB`.
pub const SCARCE: &str = "icecap-512MB";

pub(super) fn run(plan: &Plan) -> Result<Vec<Series>> {
    let source = Source::ready(plan)?;
    // Orders have one to seven lines and far more keys than there are buckets: no bucket stays empty.
    let partitioned_by = format!("bucket({}, l_orderkey)", plan.partitions);
    let insert = |memory| {
        let insert =
            PartitionedInsert { more_columns: "", more_values: "", partitioned_by: &partitioned_by, memory };
        insert.run(plan, "partitions", &source)
    };
    // Whether it completes with 512 MB is itself what is asked: a failure is a run that is missing.
    let mut series = in_turns("partitions5000", plan.repeats, &[AMPLE, SCARCE], |at| match at {
        0 => insert("1GB"),
        _ => insert("512MB").or_else(|error| {
            eprintln!("bench: partitions5000 with 512 MB: {error}");
            Ok(Run::default())
        }),
    })?;
    series[1].runs.retain(|run| run.usage.is_some());
    Ok(series)
}
