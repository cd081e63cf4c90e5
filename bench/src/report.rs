//! Figures as JSON and as a table, with the ratios that the aims are about.

mod aims;

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
const FIGURES: [Figure; 19] = [
    ("wall_s", |run| Some(run.usage?.wall_seconds)),
    ("cpu_s", |run| run.usage.map(cpu)),
    ("cores_busy", |run| run.usage.map(|usage| cpu(usage) / usage.wall_seconds)),
    ("peak_rss_mb", |run| Some(run.usage?.peak_rss_bytes as f64 / 1e6)),
    ("data_mb", |run| Some(run.data_bytes? as f64 / 1e6)),
    ("files", |run| Some(run.data_files? as f64)),
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
    let (_, figure) = FIGURES.iter().find(|(figure, _)| *figure == name)?;
    Spread::of(&series.runs.iter().filter_map(figure).collect::<Vec<_>>())
}

fn spreads(series: &Series) -> serde_json::Map<String, Value> {
    FIGURES
        .iter()
        .filter_map(|(name, _)| Some(((*name).to_owned(), serde_json::to_value(spread(series, name)?).ok()?)))
        .collect()
}

fn find<'a>(series: &'a [Series], workload: &str, engine: &str) -> Option<&'a Series> {
    series.iter().find(|series| series.workload == workload && series.engine == engine)
}

/// For each peer of each workload: its median wall time over Icecap's, and so on. Above 1 Icecap is ahead.
fn ratios(series: &[Series]) -> Vec<Value> {
    let peers = series.iter().filter(|series| !series.is_icecap() && series.engine != "yardstick");
    peers
        .filter_map(|peer| {
            let icecap = find(series, peer.workload, "icecap")?;
            let ratio = |name: &str| Some(spread(peer, name)?.median / spread(icecap, name)?.median);
            Some(json!({
                "workload": peer.workload,
                "peer": peer.engine,
                "speed": ratio("wall_s"),
                "cpu": ratio("cpu_s"),
                "memory": ratio("peak_rss_mb"),
                "bytes": ratio("data_mb"),
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
            "\n{} against {}: speed {}x, processor time {}x, memory {}x, bytes {}x (above 1: Icecap is ahead)",
            ratio["workload"].as_str().unwrap_or_default(),
            ratio["peer"].as_str().unwrap_or_default(),
            part("speed"),
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
            memory: "512MB".into(),
            threads: 2,
            peers: vec![],
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
        assert!(text.contains("ctas against duckdb: speed 0.80x"), "{text}");
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
        let runs = [series("writers", "icecap-1", [2.0; 3]), series("writers", "icecap-1ch", [2.125; 3])];
        assert_eq!(
            aims(&runs, &plan()),
            [
                Aim::at_most("one task in a child process, time relative to in process", 1.0625, 1.1),
                Aim::at_most("one task in a child process, ms more than in process", 125.0, 150.0),
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
