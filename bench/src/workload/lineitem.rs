//! `lineitem` as source and as target of the workloads.

use std::path::{Path, PathBuf};

use super::Run;
use super::plan::{Plan, text_of, told_seconds};
use super::written::{expect_rows, parquet_files, rows_of, table_state, warm};
use crate::Result;
use crate::data::{self, Table};
use crate::measure::Finished;

/// The columns, as `CREATE TABLE` says them.
pub(super) const COLUMNS: &str = "l_orderkey bigint, l_partkey bigint, l_suppkey bigint, l_linenumber int, \
    l_quantity decimal(15,2), l_extendedprice decimal(15,2), l_discount decimal(15,2), l_tax decimal(15,2), \
    l_returnflag string, l_linestatus string, l_shipdate date, l_commitdate date, l_receiptdate date, \
    l_shipinstruct string, l_shipmode string, l_comment string";

/// The Parquet file that every engine reads.
pub(super) struct Source {
    /// Where it is.
    pub path: PathBuf,
    /// Its rows.
    pub rows: u64,
}

impl Source {
    /// The file at the plan's scale, in memory.
    pub(super) fn ready(plan: &Plan) -> Result<Self> {
        let path = data::ensure(&plan.cache, plan.scale, Table::Lineitem)?;
        warm(&path)?;
        Ok(Self { rows: rows_of(&path)?, path })
    }

    /// `read_parquet('…')`.
    pub(super) fn sql(&self) -> Result<String> {
        Ok(format!("read_parquet('{}')", text_of(&self.path)?.replace('\'', "''")))
    }
}

/// An INSERT into an empty partitioned table.
pub(super) struct PartitionedInsert<'a> {
    /// Columns after those of `lineitem`, as `name type`, each with a comma in front.
    pub more_columns: &'a str,
    /// What they are of a row of `lineitem`, each with a comma in front.
    pub more_values: &'a str,
    /// What stands in `PARTITIONED BY (…)`.
    pub partitioned_by: &'a str,
    /// `--memory`.
    pub memory: &'a str,
}

impl PartitionedInsert<'_> {
    /// Makes the empty table, then measures the INSERT.
    pub(super) fn run(&self, plan: &Plan, name: &str, source: &Source) -> Result<Run> {
        let warehouse = plan.fresh(name);
        let create = format!(
            "CREATE TABLE t ({COLUMNS}{}) PARTITIONED BY ({}) TBLPROPERTIES ('table_type'='ICEBERG', \
             'write.parquet.compression-codec'='zstd', 'write.parquet.compression-level'='3')",
            self.more_columns, self.partitioned_by
        );
        plan.prepare(&warehouse, &["-e", &create])?;
        let insert = format!("INSERT INTO t SELECT *{} FROM {}", self.more_values, source.sql()?);
        let finished = plan.icecap(&warehouse, &["--memory", self.memory, "-e", &insert])?;
        let state = table_state(&warehouse, "t")?;
        Ok(Run {
            partitions: Some(state.partitions),
            snapshots: Some(state.snapshots),
            ..written(&finished, &warehouse, source, "icecap")?
        })
    }
}

/// What a process used that wrote the whole source below a folder, and what it wrote.
pub(super) fn written(finished: &Finished, folder: &Path, source: &Source, who: &str) -> Result<Run> {
    let files = parquet_files(folder)?;
    expect_rows(files, source.rows, who)?;
    Ok(Run {
        usage: Some(finished.usage),
        data_bytes: Some(files.bytes),
        data_files: Some(files.files),
        rows: Some(files.rows),
        statement_seconds: told_seconds(&finished.stdout)?,
        ..Run::default()
    })
}
