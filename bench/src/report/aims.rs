//! The project's aims, and what was measured of them.

use serde::Serialize;

use super::{find, row_level, spread, values};
use crate::stats::Spread;
use crate::workload::{AMPLE, EVEN, ONE_CHILD, ONE_THREAD, Plan, SCARCE, SHORT, SHORT_CHILD, Series};

/// One aim of the project, and what was measured.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Aim {
    /// What is aimed at.
    pub aim: String,
    /// The figure.
    pub measured: f64,
    /// The bound of the figure.
    pub bound: f64,
    /// Whether the figure keeps the bound.
    pub met: bool,
}

impl Aim {
    pub(super) fn at_most(aim: impl Into<String>, measured: f64, bound: f64) -> Self {
        Self { aim: aim.into(), measured, bound, met: measured <= bound }
    }

    pub(super) fn at_least(aim: impl Into<String>, measured: f64, bound: f64) -> Self {
        Self { aim: aim.into(), measured, bound, met: measured >= bound }
    }
}

/// The aims of the workloads that were run. Times and ratios are medians, what a child process costs is the median of the
/// turns' differences, memory is the greatest of all runs.
pub(super) fn aims(series: &[Series], plan: &Plan) -> Vec<Aim> {
    let figures = Figures(series);
    [
        small(&figures),
        ctas(&figures, plan),
        layouts(&figures, plan),
        reads(&figures),
        elsewhere(&figures),
        row_level::aims(&figures, plan),
    ]
    .concat()
}

/// Looks figures up by workload, engine and name.
pub(super) struct Figures<'a>(&'a [Series]);

impl Figures<'_> {
    fn spread(&self, workload: &str, engine: &str, name: &str) -> Option<Spread> {
        spread(find(self.0, workload, engine)?, name)
    }

    pub(super) fn median(&self, workload: &str, engine: &str, name: &str) -> Option<f64> {
        Some(self.spread(workload, engine, name)?.median)
    }

    pub(super) fn max(&self, workload: &str, engine: &str, name: &str) -> Option<f64> {
        Some(self.spread(workload, engine, name)?.max)
    }

    fn min(&self, workload: &str, engine: &str, name: &str) -> Option<f64> {
        Some(self.spread(workload, engine, name)?.min)
    }

    /// The second beside the first in the same turn, as `compare(first, second)`: the median of all turns. It leaves out
    /// what differs between turns.
    fn median_of_turns(
        &self,
        (workload, name): (&str, &str),
        (first, second): (&str, &str),
        compare: impl Fn(f64, f64) -> f64,
    ) -> Option<f64> {
        let of = |engine| values(find(self.0, workload, engine)?, name);
        let turns: Vec<f64> = of(first)?.into_iter().zip(of(second)?).map(|(a, b)| compare(a, b)).collect();
        Some(Spread::of(&turns)?.median)
    }

    /// The peer's median over Icecap's.
    fn to_duckdb(&self, workload: &str, name: &str) -> Option<f64> {
        Some(self.median(workload, "duckdb", name)? / self.median(workload, "icecap", name)?)
    }
}

fn small(figures: &Figures<'_>) -> Vec<Aim> {
    let start = figures
        .median("start", "icecap", "wall_s")
        .map(|seconds| Aim::at_most("start to first committed INSERT, s", seconds, 0.13));
    let insert = figures.median("inserts", "icecap", "statement_p50_ms").and_then(|icecap| {
        let disk = figures.median("inserts", "yardstick", "statement_p50_ms")?;
        Some(Aim::at_most("one-row INSERT p50 above the yardstick, ms", icecap - disk, 6.0))
    });
    let steady = figures.median("steady", "icecap", "last_to_first").map(|ratio| {
        Aim::at_most("one-row INSERTs, mean of the last 20 relative to the first 20", ratio, 1.3)
    });
    [start, insert, steady].into_iter().flatten().collect()
}

fn ctas(figures: &Figures<'_>, plan: &Plan) -> Vec<Aim> {
    let speed = figures
        .to_duckdb("ctas", "wall_s")
        .map(|speed| Aim::at_least("CTAS speed relative to DuckDB's COPY", speed, 0.95));
    let bytes = figures
        .to_duckdb("ctas", "data_mb")
        .map(|ratio| Aim::at_most("CTAS bytes relative to DuckDB's COPY", 1.0 / ratio, 1.05));
    let memory = figures
        .max("ctas", "icecap", "peak_rss_mb")
        .filter(|_| plan.memory == "512MB")
        .map(|memory| Aim::at_most("CTAS peak memory with --memory 512MB, MB", memory, 600.0));
    [speed, bytes, memory].into_iter().flatten().collect()
}

/// Partitioned, many partitions, skew.
fn layouts(figures: &Figures<'_>, plan: &Plan) -> Vec<Aim> {
    let mut aims = Vec::new();
    if let Some(speed) = figures.to_duckdb("partitioned", "wall_s") {
        aims.push(Aim::at_least("INSERT by month, speed relative to DuckDB's partitioned COPY", speed, 0.85));
    }
    if let Some(memory) = figures.max("partitioned", "icecap", "peak_rss_mb") {
        aims.push(Aim::at_most("INSERT by month, peak memory, MB", memory, 1000.0));
    }

    let many = |what: &str| format!("{} partitions with {what}", plan.partitions);
    let bound = plan.partitions as f64;
    for (engine, memory) in [(AMPLE, "--memory 1GB"), (SCARCE, "--memory 512MB")] {
        if let Some(found) = figures.min("partitions5000", engine, "partitions") {
            aims.push(Aim::at_least(many(&format!("{memory}, partitions in one commit")), found, bound));
        }
        if let Some(files) = figures.max("partitions5000", engine, "files") {
            aims.push(Aim::at_most(many(&format!("{memory}, files")), files, bound));
        }
        if let Some(snapshots) = figures.max("partitions5000", engine, "snapshots") {
            aims.push(Aim::at_most(many(&format!("{memory}, snapshots")), snapshots, 1.0));
        }
    }
    if let Some(memory) = figures.max("partitions5000", AMPLE, "peak_rss_mb") {
        aims.push(Aim::at_most(many("--memory 1GB, peak memory, MB"), memory, 1200.0));
    }
    if let Some(scarce) = find(figures.0, "partitions5000", SCARCE) {
        let (completed, asked) = (scarce.runs.len() as f64, plan.repeats as f64);
        aims.push(Aim::at_least(many("--memory 512MB, runs that completed"), completed, asked));
    }

    if let (Some(skewed), Some(even)) =
        (figures.median("skew", "icecap", "cores_busy"), figures.median("skew", EVEN, "cores_busy"))
    {
        let aim = format!("skewed INSERT, cores busy of {} (evenly spread: {even:.2})", plan.threads);
        aims.push(Aim::at_least(aim, skewed, 0.8 * plan.threads as f64));
    }
    aims
}

fn reads(figures: &Figures<'_>) -> Vec<Aim> {
    ["q1", "q6", "filter"]
        .into_iter()
        .filter_map(|workload| {
            let time = 1.0 / figures.to_duckdb(workload, "wall_s")?;
            Some(Aim::at_most(format!("{workload}, time relative to DuckDB on plain Parquet"), time, 1.3))
        })
        .collect()
}

/// Writes in other processes.
fn elsewhere(figures: &Figures<'_>) -> Vec<Aim> {
    const WALL: (&str, &str) = ("writers", "wall_s");
    let ratio = |size: &str, engines| {
        let times = figures.median_of_turns(WALL, engines, |here, child| child / here)?;
        Some(Aim::at_most(
            format!("one task in a child process, {size}, time relative to in process"),
            times,
            1.1,
        ))
    };
    let more = figures
        .median_of_turns(WALL, (SHORT, SHORT_CHILD), |here, child| (child - here) * 1e3)
        .map(|more| Aim::at_most("one task in a child process, ms more than in process", more, 150.0));
    [ratio("all rows", (ONE_THREAD, ONE_CHILD)), ratio("a tenth of the rows", (SHORT, SHORT_CHILD)), more]
        .into_iter()
        .flatten()
        .collect()
}
