//! One-row INSERTs in one process, each its own commit: beside runs of the disk's yardstick, and whether they stay
//! as fast while the table grows.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use super::plan::{text_of, told_seconds};
use super::{Plan, Run, Series};
use crate::{BenchError, Result, yardstick};

pub(super) fn run(plan: &Plan) -> Result<Vec<Series>> {
    let script = script(plan, "inserts", plan.inserts)?;
    let (mut icecap, mut disk) = (Vec::new(), Vec::new());
    for _ in 0..plan.repeats {
        let folder = plan.fresh("yardstick");
        fs::create_dir_all(&folder)?;
        let seconds = yardstick::run(&folder, plan.inserts)?;
        disk.push(Run { statement_seconds: seconds, ..Run::default() });
        icecap.push(icecap_run(plan, &script, plan.inserts)?);
    }
    Ok(vec![
        Series { workload: "inserts", engine: "icecap", runs: icecap },
        Series { workload: "inserts", engine: "yardstick", runs: disk },
    ])
}

pub(super) fn steady(plan: &Plan) -> Result<Vec<Series>> {
    let script = script(plan, "steady", plan.steady_inserts)?;
    let runs = (0..plan.repeats).map(|_| icecap_run(plan, &script, plan.steady_inserts));
    Ok(vec![Series { workload: "steady", engine: "icecap", runs: runs.collect::<Result<_>>()? }])
}

fn script(plan: &Plan, name: &str, inserts: usize) -> Result<PathBuf> {
    let script = plan.scratch.join(format!("{name}.sql"));
    let mut sql = "CREATE TABLE t (id bigint, name string);\n".to_owned();
    for row in 0..inserts {
        let _ = writeln!(sql, "INSERT INTO t VALUES ({row}, 'name {row}');");
    }
    fs::write(&script, sql)?;
    Ok(script)
}

fn icecap_run(plan: &Plan, script: &Path, inserts: usize) -> Result<Run> {
    let warehouse = plan.fresh("inserts");
    let finished = plan.icecap(&warehouse, &["-f", text_of(script)?])?;
    // All summaries but the last go to standard error.
    let mut seconds = told_seconds(&finished.stderr)?;
    seconds.extend(told_seconds(&finished.stdout)?);
    if seconds.len() != inserts {
        return Err(BenchError(format!(
            "{}: expected {inserts} summaries with seconds, got {}",
            warehouse.display(),
            seconds.len()
        )));
    }
    Ok(Run { usage: Some(finished.usage), statement_seconds: seconds, ..Run::default() })
}
