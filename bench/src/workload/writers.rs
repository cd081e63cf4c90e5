//! `lineitem` by CTAS in child processes, beside the same work in process: what the way through another process costs
//! one task, and what two processes on two cores gain. What that way costs is as much for a short statement as for a
//! long one; it is looked for in many short ones, beside which it is not lost in a long one's differences.

use super::lineitem::{Source, written};
use super::plan::Call;
use super::turns::in_turns;
use super::{Plan, Run, Series};
use crate::Result;

/// The engine's name in process with one thread.
pub const ONE_THREAD: &str = "icecap-1";

/// The engine's name in one child process with one thread.
pub const ONE_CHILD: &str = "icecap-1ch";

/// [`ONE_THREAD`] with a tenth of the rows.
pub const SHORT: &str = "icecap-1-short";

/// [`ONE_CHILD`] with a tenth of the rows.
pub const SHORT_CHILD: &str = "icecap-1ch-short";

/// Short statements for each long one.
const SHORT_ONES: usize = 12;

/// In one child process for each thread of the plan, one thread each.
const CHILDREN: &str = "icecap-Nch";

pub(super) fn run(plan: &Plan) -> Result<Vec<Series>> {
    let source = Source::ready(plan)?;
    let children = plan.threads.to_string();
    // (threads of each process, child processes); the first is `icecap` as always.
    let ways = [(plan.threads, None), (1, Some(children.as_str())), (1, None), (1, Some("1"))];
    let mut series = in_turns("writers", plan.repeats, &["icecap", CHILDREN, ONE_THREAD, ONE_CHILD], |at| {
        let (threads, writers) = ways[at];
        icecap_run(plan, &source, threads, writers)
    })?;
    let short = Source::ready(&Plan { scale: plan.scale / 10.0, ..plan.clone() })?;
    series.extend(in_turns("writers", plan.repeats * SHORT_ONES, &[SHORT, SHORT_CHILD], |at| {
        icecap_run(plan, &short, 1, [None, Some("1")][at])
    })?);
    Ok(series)
}

fn icecap_run(plan: &Plan, source: &Source, threads: usize, writers: Option<&str>) -> Result<Run> {
    let warehouse = plan.fresh("writers");
    let sql = format!("CREATE TABLE lineitem AS SELECT * FROM {}", source.sql()?);
    let mut args = vec!["--memory", plan.memory.as_str(), "-e", sql.as_str()];
    if let Some(writers) = writers {
        args.extend(["--writers", writers]);
    }
    let finished = plan.measured(&Call { threads, environment: &[] }, warehouse.as_os_str(), &args)?;
    written(&finished, &warehouse, source, "icecap")
}
