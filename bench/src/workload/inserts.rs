//! One-row INSERTs in one process, each its own commit, between runs of the disk's yardstick.

use std::fmt::Write as _;
use std::fs;

use super::{Plan, Run, Series, text_of, told_seconds};
use crate::{BenchError, Result, yardstick};

pub(super) fn run(plan: &Plan) -> Result<Vec<Series>> {
    let script = plan.scratch.join("inserts.sql");
    let mut sql = "CREATE TABLE t (id bigint, name string);\n".to_owned();
    for row in 0..plan.inserts {
        let _ = writeln!(sql, "INSERT INTO t VALUES ({row}, 'name {row}');");
    }
    fs::write(&script, sql)?;

    let (mut icecap, mut disk) = (Vec::new(), Vec::new());
    for repeat in 0..plan.repeats {
        let folder = plan.fresh("yardstick");
        fs::create_dir_all(&folder)?;
        let seconds = yardstick::run(&folder, plan.inserts)?;
        disk.push(Run { statement_seconds: seconds, ..Run::default() });

        let warehouse = plan.fresh("inserts");
        let finished = plan.icecap(&warehouse, &["-f", text_of(&script)?])?;
        // All summaries but the last go to standard error.
        let mut seconds = told_seconds(&finished.stderr)?;
        seconds.extend(told_seconds(&finished.stdout)?);
        if seconds.len() != plan.inserts {
            return Err(BenchError(format!(
                "run {repeat}: expected {} summaries with seconds, got {}",
                plan.inserts,
                seconds.len()
            )));
        }
        icecap.push(Run { usage: Some(finished.usage), statement_seconds: seconds, ..Run::default() });
    }
    Ok(vec![
        Series { workload: "inserts", engine: "icecap", runs: icecap },
        Series { workload: "inserts", engine: "yardstick", runs: disk },
    ])
}
