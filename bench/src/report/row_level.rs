//! The aims of row-level statements and OPTIMIZE.

use super::aims::{Aim, Figures};
use crate::workload::{COPY_ON_WRITE, CTAS, MERGE_ON_READ, Plan};

/// The statements that change rows here and there.
const STATEMENTS: [&str; 4] = ["delete", "update", "merge", "merge1m"];

/// Every statement, with that on a whole partition.
const WITH_PARTITION: [&str; 5] = ["delete", "update", "merge", "merge1m", "delete-partition"];

pub(super) fn aims(figures: &Figures<'_>, plan: &Plan) -> Vec<Aim> {
    [merge_on_read(figures), copy_on_write(figures, plan), metadata_only(figures), optimize(figures)].concat()
}

fn merge_on_read(figures: &Figures<'_>) -> Vec<Aim> {
    let speed = |workload: &str, name: &str| {
        Some(figures.median(workload, "duckdb-mor", name)? / figures.median(workload, MERGE_ON_READ, name)?)
    };
    let mut aims = Vec::new();
    for workload in STATEMENTS {
        let what = format!("{workload} merge-on-read, speed relative to DuckDB's");
        if let Some(whole) = speed(workload, "wall_s") {
            aims.push(Aim::at_least(format!("{what}, starts counted"), whole, 1.0));
        }
        if let Some(inside) = speed(workload, "statement_p50_ms") {
            aims.push(Aim::at_least(format!("{what}, starts left out"), inside, 0.7));
        }
    }
    for workload in WITH_PARTITION {
        for engine in [MERGE_ON_READ, COPY_ON_WRITE] {
            if let Some(snapshots) = figures.max(workload, engine, "snapshots") {
                let aim = format!("{workload}, {engine}: snapshots of the statement");
                aims.push(Aim::at_most(aim, snapshots, 1.0));
            }
        }
    }
    aims
}

fn copy_on_write(figures: &Figures<'_>, plan: &Plan) -> Vec<Aim> {
    let mut aims = Vec::new();
    for workload in ["delete", "update"] {
        let Some(icecap) = figures.median(workload, COPY_ON_WRITE, "wall_s") else { continue };
        if let Some(pyiceberg) = figures.median(workload, "pyiceberg-cow", "wall_s") {
            let aim = format!("{workload} copy-on-write, speed relative to PyIceberg's");
            aims.push(Aim::at_least(aim, pyiceberg / icecap, 2.0));
        }
        if let Some(ctas) = figures.median(workload, CTAS, "wall_s") {
            let aim = format!("{workload} copy-on-write, time relative to Icecap's CTAS of the table");
            aims.push(Aim::at_most(aim, icecap / ctas, 1.5));
        }
    }
    if let Some(memory) = figures.max("merge1m", COPY_ON_WRITE, "peak_rss_mb") {
        let aim = format!("merge1m copy-on-write with --memory {}, peak memory, MB", plan.memory);
        aims.push(Aim::at_most(aim, memory, 1500.0));
    }
    aims
}

/// A DELETE of a whole partition.
fn metadata_only(figures: &Figures<'_>) -> Vec<Aim> {
    let mut aims = Vec::new();
    for engine in [MERGE_ON_READ, COPY_ON_WRITE] {
        let workload = "delete-partition";
        if let (Some(data), Some(deletes)) =
            (figures.max(workload, engine, "files"), figures.max(workload, engine, "delete_files"))
        {
            let aim = format!("{workload}, {engine}: data and delete files written");
            aims.push(Aim::at_most(aim, data + deletes, 0.0));
        }
        if let Some(seconds) = figures.median(workload, engine, "wall_s") {
            aims.push(Aim::at_most(format!("{workload}, {engine}: s"), seconds, 0.15));
        }
    }
    aims
}

fn optimize(figures: &Figures<'_>) -> Vec<Aim> {
    let time = |engine: &str, name: &str| figures.median("optimize", engine, name);
    let spark = time("spark", "statement_p50_ms").zip(time("icecap", "statement_p50_ms"));
    let bare = time("yardstick", "wall_s").zip(time("icecap", "wall_s"));
    let snapshots = figures.max("optimize", "icecap", "snapshots");
    [
        spark.map(|(spark, icecap)| {
            let aim = "OPTIMIZE, speed relative to Spark's rewrite_data_files, starts left out";
            Aim::at_least(aim, spark / icecap, 5.0)
        }),
        bare.map(|(bare, icecap)| {
            let aim = "OPTIMIZE, time relative to reading and writing with the bare Parquet library";
            Aim::at_most(aim, icecap / bare, 1.5)
        }),
        snapshots.map(|snapshots| Aim::at_most("OPTIMIZE: snapshots of the statement", snapshots, 1.0)),
    ]
    .into_iter()
    .flatten()
    .collect()
}
