//! DELETE, UPDATE and MERGE on `lineitem`, merge-on-read and copy-on-write: every engine on a clone of the same table,
//! beside Icecap's own CTAS of it.

mod engine;
mod statement;

use super::check::Check;
use super::clone::{Base, Mode};
use super::lineitem::{COLUMNS, Source};
use super::service::RestServer;
use super::turns::in_turns;
use super::written::{expect_rows, parquet_files, warm};
use super::{Peer, Plan, Run, Series, Workload, ctas};
use crate::{BenchError, Result, data};
use engine::Bench;
use statement::Statement;

pub(super) use engine::{run_of, run_spark};

/// The engine's name when Icecap writes delete files.
pub const MERGE_ON_READ: &str = "icecap-mor";

/// The engine's name when Icecap writes files again.
pub const COPY_ON_WRITE: &str = "icecap-cow";

/// The engine's name when Icecap makes the whole table.
pub const CTAS: &str = "icecap-ctas";

/// Who runs, and in which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Engine {
    Icecap(Mode),
    Ctas,
    Duckdb,
    Pyiceberg,
    Spark(Mode),
}

impl Engine {
    fn name(self) -> &'static str {
        match self {
            Self::Icecap(Mode::MergeOnRead) => MERGE_ON_READ,
            Self::Icecap(Mode::CopyOnWrite) => COPY_ON_WRITE,
            Self::Ctas => CTAS,
            Self::Duckdb => "duckdb-mor",
            Self::Pyiceberg => "pyiceberg-cow",
            Self::Spark(Mode::MergeOnRead) => "spark-mor",
            Self::Spark(Mode::CopyOnWrite) => "spark-cow",
        }
    }
}

pub(super) fn run(workload: Workload, plan: &Plan) -> Result<Vec<Series>> {
    let statement = Statement::of(workload, plan)?;
    let source = Source::ready(plan)?;
    let engines = engines(&statement, plan);
    let rest = match engines.contains(&Engine::Duckdb) {
        true => Some(RestServer::start(plan)?),
        false => None,
    };
    if let Some(changes) = statement.changes() {
        warm(changes)?;
    }
    let base = base(plan, &statement, &source)?;
    let bench = Bench { plan, workload: workload.name(), statement, base, rest };
    let mut check = Check::new();
    let names: Vec<&str> = engines.iter().map(|engine| engine.name()).collect();
    in_turns(workload.name(), plan.repeats, &names, |at| match engines[at] {
        Engine::Icecap(mode) => bench.icecap(mode, &mut check, names[at]),
        Engine::Ctas => ctas::icecap_run(plan, &source),
        Engine::Duckdb => bench.duckdb(&mut check, names[at]),
        Engine::Pyiceberg => bench.pyiceberg(&mut check, names[at]),
        Engine::Spark(mode) => bench.spark(mode, &mut check, names[at]),
    })
}

/// Who runs a statement.
fn engines(statement: &Statement, plan: &Plan) -> Vec<Engine> {
    let mut engines = vec![Engine::Icecap(Mode::MergeOnRead), Engine::Icecap(Mode::CopyOnWrite)];
    if statement.is_beside_ctas() {
        engines.push(Engine::Ctas);
    }
    if plan.has(Peer::Duckdb) {
        engines.push(Engine::Duckdb);
    }
    // Its upsert takes a filter that names every key.
    if plan.has(Peer::Pyiceberg) && statement.for_pyiceberg().is_some() {
        if plan.format_version == 2 {
            engines.push(Engine::Pyiceberg);
        } else {
            eprintln!("bench: PyIceberg writes format version 2 only: left out");
        }
    }
    if plan.has(Peer::Spark) {
        engines.extend([Engine::Spark(Mode::MergeOnRead), Engine::Spark(Mode::CopyOnWrite)]);
    }
    engines
}

/// `lineitem` as a table, made once for a workload.
fn base(plan: &Plan, statement: &Statement, source: &Source) -> Result<Base> {
    let properties = format!(
        "TBLPROPERTIES ('table_type'='ICEBERG', 'format-version'='{}', \
         'write.parquet.compression-codec'='zstd', 'write.parquet.compression-level'='3')",
        plan.format_version
    );
    let read = source.sql()?;
    let base = if statement.needs_partitions() {
        let create =
            format!("CREATE TABLE lineitem ({COLUMNS}) PARTITIONED BY (month(l_shipdate)) {properties}");
        let insert = format!("INSERT INTO lineitem SELECT * FROM {read}");
        Base::new(plan, "row-level-base", &["-e", &create, "-e", &insert])?
    } else {
        let create = format!("CREATE TABLE lineitem {properties} AS SELECT * FROM {read}");
        Base::new(plan, "row-level-base", &["-e", &create])?
    };
    expect_rows(parquet_files(&base.warehouse)?, source.rows, "icecap")?;
    Ok(base)
}
