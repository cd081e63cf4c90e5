//! Process start to the first committed one-row INSERT, on a warm disk.

use super::plan::told_seconds;
use super::{Plan, Run, Series};
use crate::Result;

pub(super) fn run(plan: &Plan) -> Result<Vec<Series>> {
    let warehouse = plan.fresh("start");
    plan.prepare(&warehouse, &["-e", "CREATE TABLE t (id bigint, name string)"])?;
    let insert = || plan.icecap(&warehouse, &["-e", "INSERT INTO t VALUES (1, 'one')"]);
    // The first run reads the binary from the disk.
    insert()?;
    let mut runs = Vec::new();
    for _ in 0..plan.repeats {
        let finished = insert()?;
        runs.push(Run {
            usage: Some(finished.usage),
            statement_seconds: told_seconds(&finished.stdout)?,
            ..Run::default()
        });
    }
    Ok(vec![Series { workload: "start", engine: "icecap", runs }])
}
