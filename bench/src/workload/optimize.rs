//! OPTIMIZE of `lineitem` in many small files, one commit each, beside Spark's `rewrite_data_files` and beside the bare
//! Parquet library, which reads and writes the same rows.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs;

use super::check::Check;
use super::clone::{Base, Mode};
use super::lineitem::{COLUMNS, Source};
use super::plan::text_of;
use super::row_level::{run_of, run_spark};
use super::turns::in_turns;
use super::written::{expect_rows, metadata_file, parquet_files};
use super::{Peer, Plan, Run, Series};
use crate::{BenchError, Result, data, measure, rewrite};

pub(super) fn run(plan: &Plan) -> Result<Vec<Series>> {
    let source = Source::ready(plan)?;
    let base = base(plan, &source)?;
    let mut engines = vec!["icecap", "yardstick"];
    if plan.has(Peer::Spark) {
        engines.push("spark");
    }
    let mut check = Check::new();
    in_turns("optimize", plan.repeats, &engines, |at| {
        let run = match at {
            0 => icecap_run(plan, &base, &mut check)?,
            1 => return bare_run(plan, &base, &source),
            _ => spark_run(plan, &base, &mut check)?,
        };
        // Who leaves files as they are is not compared.
        match run.rows {
            Some(rows) if rows == source.rows => Ok(run),
            rows => Err(BenchError(format!("{} wrote {rows:?} rows of {}", engines[at], source.rows))),
        }
    })
}

/// The table: an INSERT for each file, from files of as many rows.
fn base(plan: &Plan, source: &Source) -> Result<Base> {
    let folder = plan.fresh("optimize-parts");
    fs::create_dir_all(&folder)?;
    let mut sql = format!(
        "CREATE TABLE lineitem ({COLUMNS}) TBLPROPERTIES ('table_type'='ICEBERG', 'format-version'='{}', \
         'write.parquet.compression-codec'='zstd', 'write.parquet.compression-level'='3');\n",
        plan.format_version
    );
    for part in data::parts(&source.path, &folder, plan.small_files)? {
        let part = text_of(&part)?.replace('\'', "''");
        let _ = writeln!(sql, "INSERT INTO lineitem SELECT * FROM read_parquet('{part}');");
    }
    let script = folder.join("script.sql");
    fs::write(&script, sql)?;
    let base = Base::new(plan, "optimize-base", &["-f", text_of(&script)?])?;
    let files = parquet_files(&base.warehouse)?;
    expect_rows(files, source.rows, "icecap")?;
    if files.files != plan.small_files as u64 {
        return Err(BenchError(format!("the table has {} files, not {}", files.files, plan.small_files)));
    }
    Ok(base)
}

fn icecap_run(plan: &Plan, base: &Base, check: &mut Check) -> Result<Run> {
    let clone = base.clone_to_sqlite(plan, "optimize", Mode::MergeOnRead)?;
    let sql = "OPTIMIZE lineitem REWRITE DATA USING BIN_PACK";
    let memory = ["--memory", plan.memory.as_str()];
    let finished =
        plan.icecap(&clone.warehouse, &[&base.allow()?[..], &memory[..], &["-e", sql][..]].concat())?;
    let metadata_file = metadata_file(&clone.warehouse, "lineitem")?;
    check.read_by_icecap(plan, base, &clone, "icecap")?;
    check.read_by_duckdb(plan, &metadata_file, "icecap")?;
    run_of(base, &finished, &clone, &metadata_file)
}

fn spark_run(plan: &Plan, base: &Base, check: &mut Check) -> Result<Run> {
    let clone = base.clone_to_sqlite(plan, "optimize", Mode::MergeOnRead)?;
    let sql = "CALL icecap.system.rewrite_data_files(table => 'default.lineitem')";
    let finished = run_spark(plan, &clone, sql)?;
    let metadata_file = metadata_file(&clone.warehouse, "lineitem")?;
    check.read_by_duckdb(plan, &metadata_file, "spark")?;
    run_of(base, &finished, &clone, &metadata_file)
}

fn bare_run(plan: &Plan, base: &Base, source: &Source) -> Result<Run> {
    let folder = plan.fresh("optimize-bare");
    fs::create_dir_all(&folder)?;
    let args: [OsString; 4] = [
        rewrite::SUBCOMMAND.into(),
        plan.threads.to_string().into(),
        base.warehouse.clone().into(),
        folder.clone().into(),
    ];
    let finished = measure::run(&plan.bench, plan.bench.as_os_str(), &args, &plan.scratch)?;
    let files = parquet_files(&folder)?;
    expect_rows(files, source.rows, "the bare Parquet library")?;
    Ok(Run {
        usage: Some(finished.usage),
        data_bytes: Some(files.bytes),
        data_files: Some(files.files),
        rows: Some(files.rows),
        ..Run::default()
    })
}
