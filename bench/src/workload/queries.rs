//! Queries on `lineitem`: Icecap on the Iceberg table that it wrote, DuckDB on one plain Parquet file that it wrote
//! itself with the same codec and level. Both answer from files in memory, and their answers must be equal.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use super::answer::{self, Answer};
use super::lineitem::{Source, written};
use super::plan::told_seconds;
use super::turns::in_turns;
use super::written::warm;
use super::{Peer, Plan, Run, Series, Workload};
use crate::{BenchError, Result};

/// TPC-H's Q1 with its validation parameter, 90 days.
const Q1: &str = "SELECT l_returnflag, l_linestatus, sum(l_quantity) AS sum_qty, \
    sum(l_extendedprice) AS sum_base_price, sum(l_extendedprice * (1 - l_discount)) AS sum_disc_price, \
    sum(l_extendedprice * (1 - l_discount) * (1 + l_tax)) AS sum_charge, avg(l_quantity) AS avg_qty, \
    avg(l_extendedprice) AS avg_price, avg(l_discount) AS avg_disc, count(*) AS count_order \
    FROM lineitem WHERE l_shipdate <= DATE '1998-09-02' \
    GROUP BY l_returnflag, l_linestatus ORDER BY l_returnflag, l_linestatus";

/// TPC-H's Q6 with its validation parameters.
const Q6: &str = "SELECT sum(l_extendedprice * l_discount) AS revenue FROM lineitem \
    WHERE l_shipdate >= DATE '1994-01-01' AND l_shipdate < DATE '1995-01-01' \
    AND l_discount BETWEEN 0.05 AND 0.07 AND l_quantity < 24";

/// One month of seven years, with columns of several types; the lines are not sorted by it.
const FILTER: &str = "SELECT count(*) AS lines, sum(l_quantity) AS quantity, sum(l_extendedprice) AS price, \
    max(l_receiptdate) AS received, min(l_comment) AS comment, max(l_shipmode) AS mode FROM lineitem \
    WHERE l_shipdate >= DATE '1995-03-01' AND l_shipdate < DATE '1995-04-01'";

pub(super) fn run(workload: Workload, plan: &Plan) -> Result<Vec<Series>> {
    let sql = match workload {
        Workload::Q1 => Q1,
        Workload::Q6 => Q6,
        Workload::Filter => FILTER,
        other => return Err(BenchError(format!("{} is no query", other.name()))),
    };
    let source = Source::ready(plan)?;
    let warehouse = iceberg_table(plan, &source)?;
    let plain = if plan.has(Peer::Duckdb) { Some(plain_file(plan, &source)?) } else { None };
    let engines = if plain.is_some() { &["icecap", "duckdb"][..] } else { &["icecap"] };

    let mut first: Option<Answer> = None;
    in_turns(workload.name(), plan.repeats, engines, |at| {
        let (run, answer) = match plain.as_deref().filter(|_| at == 1) {
            None => icecap_run(plan, &warehouse, sql)?,
            Some(plain) => duckdb_run(plan, plain, sql)?,
        };
        match &first {
            None => first = Some(answer),
            Some(first) => {
                answer::same(first, &answer).map_err(|why| BenchError(format!("{}: {why}", engines[at])))?
            }
        }
        Ok(run)
    })
}

/// The table in a warehouse of its own, made once for all queries of a bench run.
fn iceberg_table(plan: &Plan, source: &Source) -> Result<PathBuf> {
    let warehouse = plan.scratch.join("queries-iceberg");
    if !warehouse.exists() {
        let sql = format!("CREATE TABLE lineitem AS SELECT * FROM {}", source.sql()?);
        let finished = plan.prepare(&warehouse, &["--memory", &plan.memory, "-e", &sql])?;
        written(&finished, &warehouse, source, "icecap")?;
    }
    warm(&warehouse)?;
    Ok(warehouse)
}

/// DuckDB's file, made once too.
fn plain_file(plan: &Plan, source: &Source) -> Result<PathBuf> {
    let folder = plan.scratch.join("queries-plain");
    if !folder.exists() {
        fs::create_dir_all(&folder)?;
        let finished = plan.peer("duckdb_ctas.py", &[source.path.as_os_str(), folder.as_os_str()])?;
        written(&finished, &folder, source, "duckdb")?;
    }
    warm(&folder)?;
    Ok(folder.join("lineitem.parquet"))
}

fn icecap_run(plan: &Plan, warehouse: &Path, sql: &str) -> Result<(Run, Answer)> {
    let finished = plan.icecap(warehouse, &["--memory", &plan.memory, "-e", sql])?;
    let answer = answer::of_objects(&finished.stdout)?;
    Ok((Run { usage: Some(finished.usage), ..Run::default() }, answer))
}

fn duckdb_run(plan: &Plan, file: &Path, sql: &str) -> Result<(Run, Answer)> {
    let finished = plan.peer("duckdb_query.py", &[file.as_os_str(), OsStr::new(sql)])?;
    let answer = answer::of_peer(&finished.stdout)?;
    let statement_seconds = told_seconds(&finished.stdout)?;
    Ok((Run { usage: Some(finished.usage), statement_seconds, ..Run::default() }, answer))
}
