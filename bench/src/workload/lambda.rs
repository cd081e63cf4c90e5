//! `lineitem` by CTAS in a Lambda function of the local service: once by a process that has to be started for it, once
//! by one that waits. The first difference is the cold start; a one-row INSERT shows it best.

use std::fs;
use std::io::Write;

use flate2::Compression;
use flate2::write::DeflateEncoder;
use serde_json::Value;

use super::plan::{Call, told_seconds};
use super::service::{FUNCTION, LambdaService};
use super::{Plan, Run, Series};
use crate::measure::Finished;
use crate::{BenchError, Result};

pub(super) fn run(plan: &Plan) -> Result<Vec<Series>> {
    if !plan.writer.exists() {
        return Err(BenchError(format!(
            "the icecap-writer binary (build it, or give --writer) is not at {}",
            plan.writer.display()
        )));
    }
    let (mut cold, mut warm, mut here) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..plan.repeats {
        let warehouse = plan.fresh("lambda");
        plan.prepare(&warehouse, &["-e", "CREATE TABLE t (id bigint, name string)"])?;
        let service = LambdaService::start(plan)?;
        let environment = service.environment();
        let call = Call { threads: plan.threads, environment: &environment };
        let function = format!("lambda:{FUNCTION}");
        let insert = |writers: &[&str]| {
            let args = [&["-e", "INSERT INTO t VALUES (1, 'one')"], writers].concat();
            run_of(&plan.measured(&call, warehouse.as_os_str(), &args)?)
        };
        let in_function = ["--writers", function.as_str()];
        for (runs, cold_starts) in [(&mut cold, 1), (&mut warm, 0)] {
            let run = insert(&in_function)?;
            if run.cold_starts != Some(cold_starts) {
                return Err(BenchError(format!("{:?} cold starts, not {cold_starts}", run.cold_starts)));
            }
            runs.push(run);
        }
        here.push(insert(&[])?);
    }
    let package = package(plan)?;
    Ok(vec![
        Series { workload: "lambda", engine: "icecap", runs: here },
        Series { workload: "lambda", engine: "icecap-cold", runs: cold },
        Series { workload: "lambda", engine: "icecap-warm", runs: warm },
        Series { workload: "lambda", engine: "icecap-writer", runs: vec![package] },
    ])
}

fn run_of(finished: &Finished) -> Result<Run> {
    let line: Value = serde_json::from_str(finished.stdout.lines().last().unwrap_or_default())?;
    Ok(Run {
        usage: Some(finished.usage),
        statement_seconds: told_seconds(&finished.stdout)?,
        attempts_seconds: line["attempts_seconds"].as_f64(),
        billed_seconds: line["billed_seconds"].as_f64(),
        cold_starts: line["cold_starts"].as_u64(),
        ..Run::default()
    })
}

/// The size of the function's program, and of a package with it: a package's files are deflated.
fn package(plan: &Plan) -> Result<Run> {
    let program = fs::read(&plan.writer)?;
    let mut package = DeflateEncoder::new(Vec::new(), Compression::best());
    package.write_all(&program)?;
    Ok(Run {
        program_bytes: Some(program.len() as u64),
        package_bytes: Some(package.finish()?.len() as u64),
        ..Run::default()
    })
}
