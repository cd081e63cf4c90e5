//! `lineitem` into a table partitioned by the month of `l_shipdate` (84 of them), beside DuckDB's partitioned COPY.

use std::fs;

use super::lineitem::{PartitionedInsert, Source, written};
use super::turns::in_turns;
use super::{Peer, Plan, Run, Series};
use crate::Result;

pub(super) fn run(plan: &Plan) -> Result<Vec<Series>> {
    let source = Source::ready(plan)?;
    let insert = PartitionedInsert {
        more_columns: "",
        more_values: "",
        partitioned_by: "month(l_shipdate)",
        memory: &plan.memory,
    };
    let engines = if plan.has(Peer::Duckdb) { &["icecap", "duckdb"][..] } else { &["icecap"] };
    in_turns("partitioned", plan.repeats, engines, |at| match at {
        0 => insert.run(plan, "partitioned", &source),
        _ => duckdb_run(plan, &source),
    })
}

fn duckdb_run(plan: &Plan, source: &Source) -> Result<Run> {
    let folder = plan.fresh("partitioned");
    fs::create_dir_all(&folder)?;
    let finished = plan.peer("duckdb_partitioned.py", &[source.path.as_os_str(), folder.as_os_str()])?;
    written(&finished, &folder, source, "duckdb")
}
