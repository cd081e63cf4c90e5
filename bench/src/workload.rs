//! The workloads. Each gives its measured runs; what they mean is for [`report`](crate::report).

mod answer;
mod check;
mod clone;
mod ctas;
mod inserts;
mod lambda;
mod lineitem;
mod optimize;
mod partitioned;
mod partitions;
mod plan;
mod queries;
mod row_level;
mod s3;
mod service;
mod skew;
mod start;
mod turns;
mod writers;
mod written;

use clap::ValueEnum;
use serde::Serialize;

use crate::Result;
use crate::measure::Usage;

pub use partitions::{AMPLE, SCARCE};
pub use plan::{Plan, Profiler, RestCatalog};
pub use row_level::{COPY_ON_WRITE, CTAS, MERGE_ON_READ};
pub use skew::EVEN;
pub use writers::{ONE_CHILD, ONE_THREAD, SHORT, SHORT_CHILD};

/// What can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Workload {
    /// Process start to the first committed one-row INSERT.
    Start,
    /// 200 one-row INSERTs in one process, beside the disk's yardstick.
    Inserts,
    /// 2,000 one-row INSERTs in one process: whether the last are as fast as the first.
    Steady,
    /// CREATE TABLE AS of `lineitem`, beside DuckDB's COPY and PyIceberg's append.
    Ctas,
    /// INSERT of `lineitem` partitioned by month, beside DuckDB's partitioned COPY.
    Partitioned,
    /// INSERT of `lineitem` into 5,000 partitions, with ample and with scarce memory.
    Partitions5000,
    /// INSERT with 90 % of the rows in one partition, beside one with equal partitions.
    Skew,
    /// TPC-H's Q1 on the Iceberg table, beside DuckDB on a plain Parquet file.
    Q1,
    /// TPC-H's Q6, likewise.
    Q6,
    /// One month of `lineitem`, likewise.
    Filter,
    /// CREATE TABLE AS of `lineitem` in child processes, beside in process.
    Writers,
    /// CREATE TABLE AS of `lineitem` to an S3 server on this machine, beside DuckDB's COPY to it.
    S3,
    /// A write in a Lambda function of the local service, cold and warm; the function's size.
    Lambda,
    /// DELETE of 5 % of `lineitem`, spread over all of it.
    Delete,
    /// UPDATE of 5 % of `lineitem`.
    Update,
    /// MERGE of 100,000 rows into `lineitem`, half of them new.
    Merge,
    /// MERGE of 1,000,000 rows into `lineitem`, half of them new.
    Merge1m,
    /// DELETE of one whole partition of `lineitem`.
    DeletePartition,
    /// OPTIMIZE of `lineitem` in 1,000 small files.
    Optimize,
}

impl Workload {
    /// Whether it runs when nothing is named: not if it needs servers or programs beside Icecap and its peers.
    pub fn by_default(self) -> bool {
        let elsewhere = matches!(self, Self::Writers | Self::S3 | Self::Lambda);
        let statements = matches!(self, Self::Delete | Self::Update | Self::Merge | Self::Merge1m);
        !elsewhere && !statements && !matches!(self, Self::DeletePartition | Self::Optimize)
    }

    /// The name in reports and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Inserts => "inserts",
            Self::Steady => "steady",
            Self::Ctas => "ctas",
            Self::Partitioned => "partitioned",
            Self::Partitions5000 => "partitions5000",
            Self::Skew => "skew",
            Self::Q1 => "q1",
            Self::Q6 => "q6",
            Self::Filter => "filter",
            Self::Writers => "writers",
            Self::S3 => "s3",
            Self::Lambda => "lambda",
            Self::Delete => "delete",
            Self::Update => "update",
            Self::Merge => "merge",
            Self::Merge1m => "merge1m",
            Self::DeletePartition => "delete-partition",
            Self::Optimize => "optimize",
        }
    }
}

/// An engine that Icecap is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Peer {
    /// DuckDB: `COPY … TO` plain Parquet, queries on plain Parquet, and row-level statements, merge-on-read.
    Duckdb,
    /// PyIceberg's append to a new table; its delete and overwrite, copy-on-write.
    Pyiceberg,
    /// Spark: row-level statements in both modes, and its rewrite of data files.
    Spark,
}

impl Peer {
    /// The name in reports, and of its Python module unless it is Spark.
    pub fn name(self) -> &'static str {
        match self {
            Self::Duckdb => "duckdb",
            Self::Pyiceberg => "pyiceberg",
            Self::Spark => "spark",
        }
    }
}

/// One run of one engine.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Run {
    /// What the process used; absent for a yardstick that is no process.
    #[serde(flatten)]
    pub usage: Option<Usage>,
    /// Bytes of data files written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_bytes: Option<u64>,
    /// Data files written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_files: Option<u64>,
    /// Bytes of delete files written: position deletes and deletion vectors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delete_bytes: Option<u64>,
    /// Delete files written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delete_files: Option<u64>,
    /// Partitions that the last snapshot wrote to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partitions: Option<u64>,
    /// Snapshots that the table got.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snapshots: Option<u64>,
    /// Rows written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
    /// Requests to S3.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests: Option<u64>,
    /// Bytes sent to S3 and received from it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transferred_bytes: Option<u64>,
    /// Seconds of a function's attempts, as seen by who invoked it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempts_seconds: Option<f64>,
    /// Seconds of a function that are paid for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub billed_seconds: Option<f64>,
    /// Processes that were started for an invocation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cold_starts: Option<u64>,
    /// Bytes of a function's program.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub program_bytes: Option<u64>,
    /// Bytes of the program as a package holds it: deflated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub package_bytes: Option<u64>,
    /// Seconds that the engine itself told for each statement.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub statement_seconds: Vec<f64>,
}

/// All runs of one engine in one workload.
#[derive(Debug, Clone, Serialize)]
pub struct Series {
    /// The workload.
    pub workload: &'static str,
    /// The engine: `icecap` or a peer (with a suffix where it runs in several ways), or `yardstick`.
    pub engine: &'static str,
    /// Its runs, in the order they were made.
    pub runs: Vec<Run>,
}

impl Series {
    /// Whether Icecap ran, in whatever way.
    pub fn is_icecap(&self) -> bool {
        self.engine == "icecap" || self.engine.starts_with("icecap-")
    }
}

/// Runs a workload.
///
/// # Errors
/// When a process fails or tells something unreadable: a bench that skips what fails compares nothing.
pub fn run(workload: Workload, plan: &Plan) -> Result<Vec<Series>> {
    match workload {
        Workload::Start => start::run(plan),
        Workload::Inserts => inserts::run(plan),
        Workload::Steady => inserts::steady(plan),
        Workload::Ctas => ctas::run(plan),
        Workload::Partitioned => partitioned::run(plan),
        Workload::Partitions5000 => partitions::run(plan),
        Workload::Skew => skew::run(plan),
        Workload::Q1 | Workload::Q6 | Workload::Filter => queries::run(workload, plan),
        Workload::Writers => writers::run(plan),
        Workload::S3 => s3::run(plan),
        Workload::Lambda => lambda::run(plan),
        Workload::Delete
        | Workload::Update
        | Workload::Merge
        | Workload::Merge1m
        | Workload::DeletePartition => row_level::run(workload, plan),
        Workload::Optimize => optimize::run(plan),
    }
}
