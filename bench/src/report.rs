//! Figures as JSON and as a table, with the ratios that the aims are about.

mod aims;
mod row_level;

use std::fmt::Write;

use serde_json::{Value, json};

use crate::machine::Machine;
use crate::measure::Usage;
use crate::stats::{Spread, quantile};
use crate::workload::{Plan, Run, Series};

pub use aims::Aim;
use aims::aims;

/// The whole report as JSON: where, with what, every run, every spread.
pub fn json(series: &[Series], plan: &Plan, machine: &Machine, commit: &str, versions: &Value) -> Value {
    json!({
        "commit": commit,
        "machine": machine,
        "versions": versions,
        "settings": {
            "scale": plan.scale,
            "repeats": plan.repeats,
            "inserts": plan.inserts,
            "steady_inserts": plan.steady_inserts,
            "partitions": plan.partitions,
            "format_version": plan.format_version,
            "small_files": plan.small_files,
            "memory": plan.memory,
            "threads": plan.threads,
            "codec": "zstd level 3",
            "fsync": true,
        },
        "series": series.iter().map(|series| json!({
            "workload": series.workload,
            "engine": series.engine,
            "spreads": spreads(series),
            "runs": series.runs,
        })).collect::<Vec<_>>(),
        "ratios": ratios(series),
        "aims": aims(series, plan),
    })
}

type Figure = (&'static str, fn(&Run) -> Option<f64>);

/// The figures of a run, by the names that the report uses.
const FIGURES: [Figure; 21] = [
    ("wall_s", |run| Some(run.usage?.wall_seconds)),
    ("cpu_s", |run| run.usage.map(cpu)),
    ("cores_busy", |run| run.usage.map(|usage| cpu(usage) / usage.wall_seconds)),
    ("peak_rss_mb", |run| Some(run.usage?.peak_rss_bytes as f64 / 1e6)),
    ("data_mb", |run| Some(run.data_bytes? as f64 / 1e6)),
    ("files", |run| Some(run.data_files? as f64)),
    ("delete_mb", |run| Some(run.delete_bytes? as f64 / 1e6)),
    ("delete_files", |run| Some(run.delete_files? as f64)),
    ("partitions", |run| Some(run.partitions? as f64)),
    ("snapshots", |run| Some(run.snapshots? as f64)),
    ("requests_per_mrow", |run| Some(run.requests? as f64 / millions(run)?)),
    ("s3_mb_per_mrow", |run| Some(run.transferred_bytes? as f64 / 1e6 / millions(run)?)),
    ("attempts_ms", |run| Some(run.attempts_seconds? * 1e3)),
    ("billed_ms", |run| Some(run.billed_seconds? * 1e3)),
    ("cold_starts", |run| Some(run.cold_starts? as f64)),
    ("program_mb", |run| Some(run.program_bytes? as f64 / 1e6)),
    ("package_mb", |run| Some(run.package_bytes? as f64 / 1e6)),
    ("statement_p50_ms", |run| Some(quantile(&run.statement_seconds, 0.5)? * 1e3)),
    ("statement_p95_ms", |run| Some(quantile(&run.statement_seconds, 0.95)? * 1e3)),
    ("statement_max_ms", |run| Some(quantile(&run.statement_seconds, 1.0)? * 1e3)),
    ("last_to_first", |run| last_to_first(&run.statement_seconds)),
];

/// Statements at each end of a long row of equal ones that are compared.
const END: usize = 20;

/// How much slower the last statements were than the first, on average; the very first is left out: it still starts
/// the process up.
fn last_to_first(seconds: &[f64]) -> Option<f64> {
    let after = seconds.get(1..).filter(|after| after.len() >= 2 * END)?;
    let sum = |part: &[f64]| part.iter().sum::<f64>();
    Some(sum(&after[after.len() - END..]) / sum(&after[..END]))
}

/// Millions of rows written.
fn millions(run: &Run) -> Option<f64> {
    Some(run.rows? as f64 / 1e6)
}

fn cpu(usage: Usage) -> f64 {
    usage.user_seconds + usage.system_seconds
}

fn spread(series: &Series, name: &str) -> Option<Spread> {
    Spread::of(&values(series, name)?)
}

/// A figure of every run that has it.
fn values(series: &Series, name: &str) -> Option<Vec<f64>> {
    let (_, figure) = FIGURES.iter().find(|(figure, _)| *figure == name)?;
    Some(series.runs.iter().filter_map(figure).collect())
}

fn spreads(series: &Series) -> serde_json::Map<String, Value> {
    FIGURES
        .iter()
        .filter_map(|(name, _)| Some(((*name).to_owned(), serde_json::to_value(spread(series, name)?).ok()?)))
        .collect()
}

/// The median of the bytes in data and delete files.
fn written(series: &Series) -> Option<f64> {
    let bytes = series.runs.iter().filter_map(|run| Some(run.data_bytes? + run.delete_bytes.unwrap_or(0)));
    Some(Spread::of(&bytes.map(|bytes| bytes as f64).collect::<Vec<_>>())?.median)
}

fn find<'a>(series: &'a [Series], workload: &str, engine: &str) -> Option<&'a Series> {
    series.iter().find(|series| series.workload == workload && series.engine == engine)
}

/// Icecap's series that a peer's is compared with: the one that works in the same way.
fn counterpart(peer: &str) -> String {
    peer.rsplit_once('-').map_or_else(|| "icecap".to_owned(), |(_, way)| format!("icecap-{way}"))
}

/// For each peer of each workload: its median wall time over Icecap's, and so on. Above 1 Icecap is ahead.
/// `statement_speed` leaves out both starts.
fn ratios(series: &[Series]) -> Vec<Value> {
    let peers = series.iter().filter(|series| !series.is_icecap() && series.engine != "yardstick");
    peers
        .filter_map(|peer| {
            let icecap = find(series, peer.workload, &counterpart(peer.engine))?;
            let ratio = |name: &str| Some(spread(peer, name)?.median / spread(icecap, name)?.median);
            Some(json!({
                "workload": peer.workload,
                "peer": peer.engine,
                "speed": ratio("wall_s"),
                "statement_speed": ratio("statement_p50_ms"),
                "cpu": ratio("cpu_s"),
                "memory": ratio("peak_rss_mb"),
                "bytes": written(peer).zip(written(icecap)).map(|(peer, icecap)| peer / icecap),
            }))
        })
        .collect()
}

/// The report as a person reads it: medians with least and greatest.
pub fn table(series: &[Series], plan: &Plan) -> String {
    let mut out = String::new();
    let mut last = "";
    for series in series {
        if series.workload != last {
            last = series.workload;
            let _ = writeln!(out, "\n{last}: {} runs of each, median (least .. greatest)", series.runs.len());
        }
        for (name, _) in FIGURES {
            if let Some(spread) = spread(series, name) {
                let range = format!("({} .. {})", number(spread.min), number(spread.max));
                let _ = writeln!(
                    out,
                    "  {:<12} {:<17} {:>10}  {range}",
                    series.engine,
                    name,
                    number(spread.median)
                );
            }
        }
    }
    for ratio in ratios(series) {
        let part =
            |name: &str| ratio[name].as_f64().map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}"));
        let _ = writeln!(
            out,
            "\n{} against {}: speed {}x (starts left out {}x), processor time {}x, memory {}x, bytes {}x (above 1: Icecap is ahead)",
            ratio["workload"].as_str().unwrap_or_default(),
            ratio["peer"].as_str().unwrap_or_default(),
            part("speed"),
            part("statement_speed"),
            part("cpu"),
            part("memory"),
            part("bytes"),
        );
    }
    for aim in aims(series, plan) {
        let verdict = if aim.met { "met" } else { "MISSED" };
        let _ = writeln!(out, "\naim {verdict}: {}: {} (bound {})", aim.aim, number(aim.measured), aim.bound);
    }
    out
}

fn number(value: f64) -> String {
    if value.abs() >= 100.0 || value.fract() == 0.0 { format!("{value:.0}") } else { format!("{value:.3}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(workload: &'static str, engine: &'static str, walls: [f64; 3]) -> Series {
        let run = |wall_seconds| Run {
            usage: Some(Usage {
                wall_seconds,
                user_seconds: wall_seconds,
                system_seconds: 0.5,
                peak_rss_bytes: 400_000_000,
            }),
            data_bytes: Some(2_000_000),
            data_files: Some(2),
            statement_seconds: vec![wall_seconds],
            ..Run::default()
        };
        Series { workload, engine, runs: walls.map(run).to_vec() }
    }

    fn ctas(engine: &'static str, walls: [f64; 3]) -> Series {
        series("ctas", engine, walls)
    }

    fn plan() -> Plan {
        Plan {
            bench: "b".into(),
            icecap: "i".into(),
            writer: "w".into(),
            python: "p".into(),
            scripts: "s".into(),
            cache: "c".into(),
            scratch: "x".into(),
            scale: 1.0,
            repeats: 3,
            inserts: 200,
            steady_inserts: 2000,
            partitions: 5000,
            format_version: 2,
            small_files: 1000,
            memory: "512MB".into(),
            threads: 2,
            peers: vec![],
            rest_catalog: None,
            profiler: None,
        }
    }

    #[test]
    fn ratios_and_aims_come_from_medians() {
        let series = [ctas("icecap", [9.0, 4.0, 5.0]), ctas("duckdb", [4.0, 3.0, 90.0])];
        assert_eq!(ratios(&series)[0]["speed"], json!(0.8));
        assert_eq!(
            aims(&series, &plan()),
            [
                Aim::at_least("CTAS speed relative to DuckDB's COPY", 0.8, 0.95),
                Aim::at_most("CTAS bytes relative to DuckDB's COPY", 1.0, 1.05),
                Aim::at_most("CTAS peak memory with --memory 512MB, MB", 400.0, 600.0),
            ]
        );
        assert_eq!(aims(&series, &plan()).iter().map(|aim| aim.met).collect::<Vec<_>>(), [false, true, true]);
        let text = table(&series, &plan());
        assert!(text.contains("icecap       wall_s                     5  (4 .. 9)"), "{text}");
        assert!(text.contains("ctas against duckdb: speed 0.80x (starts left out "), "{text}");
    }

    #[test]
    fn a_missed_aim_says_so() {
        let series = [ctas("icecap", [10.0; 3]), ctas("duckdb", [4.0; 3])];
        assert!(
            table(&series, &plan())
                .contains("aim MISSED: CTAS speed relative to DuckDB's COPY: 0.400 (bound 0.95)")
        );
    }

    #[test]
    fn the_same_engine_in_two_ways_is_no_peer_of_itself() {
        let runs = [series("skew", "icecap", [2.0; 3]), series("skew", "icecap-even", [1.0; 3])];
        assert_eq!(ratios(&runs), [] as [Value; 0]);
        // (2 + 0.5) seconds of work in 2.
        assert_eq!(
            aims(&runs, &plan()),
            [Aim::at_least("skewed INSERT, cores busy of 2 (evenly spread: 1.50)", 1.25, 1.6)]
        );
    }

    #[test]
    fn a_peer_is_compared_with_what_works_like_it() {
        let mut delete = series("delete", "icecap-mor", [0.5; 3]);
        for run in &mut delete.runs {
            (run.data_bytes, run.delete_bytes) = (Some(0), Some(500_000));
        }
        let runs = [
            delete,
            series("delete", "icecap-cow", [4.0; 3]),
            series("delete", "icecap-ctas", [2.5; 3]),
            series("delete", "duckdb-mor", [0.25; 3]),
            series("delete", "pyiceberg-cow", [9.0; 3]),
        ];
        let ratios = ratios(&runs);
        let of = |at: usize, name: &str| ratios[at][name].as_f64().unwrap();
        assert_eq!(ratios.len(), 2);
        assert_eq!((of(0, "speed"), of(0, "bytes")), (0.5, 4.0));
        assert_eq!((of(1, "speed"), of(1, "bytes")), (2.25, 1.0));
        assert_eq!(
            aims(&runs, &plan()),
            [
                Aim::at_least("delete merge-on-read, speed relative to DuckDB's, starts counted", 0.5, 1.0),
                Aim::at_least("delete merge-on-read, speed relative to DuckDB's, starts left out", 0.5, 0.7),
                Aim::at_least("delete copy-on-write, speed relative to PyIceberg's", 2.25, 2.0),
                Aim::at_most("delete copy-on-write, time relative to Icecap's CTAS of the table", 1.6, 1.5),
            ]
        );
    }

    #[test]
    fn what_a_metadata_delete_writes_is_counted() {
        let mut runs = series("delete-partition", "icecap-mor", [0.1; 3]);
        for run in &mut runs.runs {
            (run.data_files, run.delete_files, run.snapshots) = (Some(0), Some(0), Some(1));
        }
        runs.runs[2].delete_files = Some(1);
        let aims = aims(&[runs], &plan());
        assert_eq!(
            aims,
            [
                Aim::at_most("delete-partition, icecap-mor: snapshots of the statement", 1.0, 1.0),
                Aim::at_most("delete-partition, icecap-mor: data and delete files written", 1.0, 0.0),
                Aim::at_most("delete-partition, icecap-mor: s", 0.1, 0.15),
            ]
        );
        assert_eq!(aims.iter().map(|aim| aim.met).collect::<Vec<_>>(), [true, false, true]);
    }

    #[test]
    fn optimize_is_held_to_spark_inside_and_to_the_library_as_a_process() {
        let runs = [
            series("optimize", "icecap", [3.0; 3]),
            series("optimize", "yardstick", [2.0; 3]),
            series("optimize", "spark", [12.0; 3]),
        ];
        assert_eq!(
            aims(&runs, &plan()),
            [
                Aim::at_least(
                    "OPTIMIZE, speed relative to Spark's rewrite_data_files, starts left out",
                    4.0,
                    5.0
                ),
                Aim::at_most(
                    "OPTIMIZE, time relative to reading and writing with the bare Parquet library",
                    1.5,
                    1.5
                ),
            ]
        );
    }

    #[test]
    fn a_process_that_slows_down_is_found() {
        let mut seconds = vec![1.0; 61];
        seconds[0] = 9.0;
        assert_eq!(last_to_first(&seconds), Some(1.0));
        seconds[41..].fill(1.5);
        assert_eq!(last_to_first(&seconds), Some(1.5));
        assert_eq!(last_to_first(&seconds[..40]), None);
    }

    #[test]
    fn the_way_through_a_process_is_bounded_in_time_and_in_share() {
        let runs = [
            series("writers", "icecap-1", [2.0; 3]),
            series("writers", "icecap-1ch", [2.125; 3]),
            series("writers", "icecap-1-short", [0.5, 2.0, 1.0]),
            series("writers", "icecap-1ch-short", [0.625, 1.0, 1.0625]),
        ];
        assert_eq!(
            aims(&runs, &plan()),
            [
                Aim::at_most(
                    "one task in a child process, all rows, time relative to in process",
                    1.0625,
                    1.1
                ),
                Aim::at_most(
                    "one task in a child process, a tenth of the rows, time relative to in process",
                    1.0625,
                    1.1
                ),
                // 125, -1000 and 62.5 more.
                Aim::at_most("one task in a child process, ms more than in process", 62.5, 150.0),
            ]
        );
    }

    #[test]
    fn a_workload_with_missing_runs_misses_its_aim() {
        let mut scarce = series("partitions5000", "icecap-512MB", [20.0; 3]);
        scarce.runs.pop();
        let aims = aims(&[series("partitions5000", "icecap-1GB", [9.0; 3]), scarce], &plan());
        let missed: Vec<&str> = aims.iter().filter(|aim| !aim.met).map(|aim| aim.aim.as_str()).collect();
        assert_eq!(missed, ["5000 partitions with --memory 512MB, runs that completed"]);
    }

    #[test]
    fn the_json_carries_every_run() {
        let machine = Machine { cpu: "c".into(), cores: 2, memory_bytes: 8, kernel: "k".into() };
        let report =
            json(&[ctas("icecap", [1.0, 2.0, 3.0])], &plan(), &machine, "abc", &json!({"icecap": "0"}));
        assert_eq!(report["commit"], "abc");
        assert_eq!(report["series"][0]["runs"].as_array().unwrap().len(), 3);
        assert_eq!(report["series"][0]["runs"][2]["wall_seconds"], 3.0);
        assert_eq!(report["series"][0]["spreads"]["cpu_s"]["median"], 2.5);
        assert_eq!(report["machine"]["cores"], 2);
    }
}
