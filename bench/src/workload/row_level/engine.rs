//! One run of each engine: a clone, the statement, what it wrote, what the table holds then.

use std::ffi::OsStr;
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use super::super::check::Check;
use super::super::clone::{Base, Clone, Mode};
use super::super::plan::{Plan, told_seconds};
use super::super::service::RestServer;
use super::super::written::metadata_file;
use super::statement::Statement;
use super::{BenchError, Result, Run};
use crate::measure::Finished;

/// What the runs of a workload have in common.
pub(super) struct Bench<'a> {
    pub plan: &'a Plan,
    pub workload: &'static str,
    pub statement: Statement,
    pub base: Base,
    pub rest: Option<RestServer>,
}

impl Bench<'_> {
    pub(super) fn icecap(&self, mode: Mode, check: &mut Check, who: &str) -> Result<Run> {
        let clone = self.base.clone_to_sqlite(self.plan, self.workload, mode)?;
        let sql = self.statement.sql(&clone.table)?;
        let memory = ["--memory", self.plan.memory.as_str()];
        let args = [&self.base.allow()?[..], &memory[..], &["-e", sql.as_str()][..]].concat();
        let finished = self.plan.icecap(&clone.warehouse, &args)?;
        check.read_by_icecap(self.plan, &self.base, &clone, who)?;
        self.finished(&finished, &clone, &metadata_file(&clone.warehouse, "lineitem")?, check, who)
    }

    pub(super) fn duckdb(&self, check: &mut Check, who: &str) -> Result<Run> {
        let rest = self.rest.as_ref().ok_or_else(|| BenchError("no REST catalog was started".to_owned()))?;
        let (clone, name) = self.base.clone_to_rest(self.plan, rest, self.workload, Mode::MergeOnRead)?;
        let sql = self.statement.sql(&clone.table)?;
        // It puts delete files beside the data files, which are the base's.
        let args = [
            OsStr::new(&rest.address),
            OsStr::new(&sql),
            clone.folder.as_os_str(),
            self.base.warehouse.as_os_str(),
        ];
        let finished = self.plan.peer("duckdb_statement.py", &args)?;
        let metadata_file = Base::rest_metadata_file(self.plan, rest, &name)?;
        self.finished(&finished, &clone, &metadata_file, check, who)
    }

    pub(super) fn pyiceberg(&self, check: &mut Check, who: &str) -> Result<Run> {
        let clone = self.base.clone_to_sqlite(self.plan, self.workload, Mode::CopyOnWrite)?;
        let statement = self.statement.for_pyiceberg();
        let statement = statement.ok_or_else(|| BenchError("PyIceberg has no such statement".to_owned()))?;
        let mut args = vec![clone.warehouse.as_os_str(), clone.folder.as_os_str()];
        args.extend(statement.iter().map(OsStr::new));
        let finished = self.plan.peer("pyiceberg_statement.py", &args)?;
        self.finished(&finished, &clone, &metadata_file(&clone.warehouse, "lineitem")?, check, who)
    }

    pub(super) fn spark(&self, mode: Mode, check: &mut Check, who: &str) -> Result<Run> {
        let clone = self.base.clone_to_sqlite(self.plan, self.workload, mode)?;
        let sql = self.statement.spark_sql(&format!("icecap.{}", clone.table))?;
        let finished = run_spark(self.plan, &clone, &sql)?;
        self.finished(&finished, &clone, &metadata_file(&clone.warehouse, "lineitem")?, check, who)
    }

    fn finished(
        &self,
        finished: &Finished,
        clone: &Clone,
        metadata_file: &Path,
        check: &mut Check,
        who: &str,
    ) -> Result<Run> {
        check.read_by_duckdb(self.plan, metadata_file, who)?;
        run_of(&self.base, finished, clone, metadata_file)
    }
}

/// Spark's statement on a clone in a SQLite catalog, which it calls `icecap`. What its Java process used counts.
pub(in super::super) fn run_spark(plan: &Plan, clone: &Clone, sql: &str) -> Result<Finished> {
    let args = [clone.warehouse.as_os_str(), clone.folder.as_os_str(), OsStr::new(sql)];
    let mut finished = plan.peer("spark_statement.py", &args)?;
    let line: Value = serde_json::from_str(finished.stdout.lines().last().unwrap_or_default())?;
    let java: Java = serde_json::from_value(line["java"].clone())?;
    finished.usage.user_seconds += java.user_seconds;
    finished.usage.system_seconds += java.system_seconds;
    finished.usage.peak_rss_bytes = finished.usage.peak_rss_bytes.max(java.peak_rss_bytes);
    Ok(finished)
}

/// What Spark's Java process used: the script's own process only waits for it.
#[derive(Deserialize)]
struct Java {
    user_seconds: f64,
    system_seconds: f64,
    peak_rss_bytes: u64,
}

/// What a statement on a clone used and wrote.
pub(in super::super) fn run_of(
    base: &Base,
    finished: &Finished,
    clone: &Clone,
    metadata_file: &Path,
) -> Result<Run> {
    let (files, snapshots) = base.written(clone, metadata_file)?;
    Ok(Run {
        usage: Some(finished.usage),
        data_bytes: Some(files.data_bytes),
        data_files: Some(files.data_files),
        delete_bytes: Some(files.delete_bytes),
        delete_files: Some(files.delete_files),
        rows: Some(files.rows),
        snapshots: Some(snapshots),
        statement_seconds: told_seconds(&finished.stdout)?,
        ..Run::default()
    })
}
