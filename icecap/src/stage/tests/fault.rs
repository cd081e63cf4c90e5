//! Seeded faults: whatever the executor does, the result is right and every left-over file is known by its name.

use std::collections::BTreeSet;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::harness::{Bench, Fault, run, write};

const SEEDS: u64 = 6;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn seeded_faults_change_nothing() {
    let bench = Bench::new().await.with_numbers().await;
    let source = "SELECT m.name, n.k, count(*) AS c, sum(n.v) AS s FROM numbers n JOIN names m ON n.k = m.k
                      GROUP BY m.name, n.k";
    let expected = run(&bench.plain, source).await.unwrap();
    for seed in 0..SEEDS {
        // A fault is a function of the attempt, not of the time at which it comes.
        let (parted, spy) = bench
            .parted(5, move |task| {
                let attempt =
                    u64::from(task.stage) << 40 | u64::from(task.task) << 20 | u64::from(task.attempt);
                let mut rng = StdRng::seed_from_u64(seed << 60 ^ attempt.wrapping_mul(0x9e37_79b9_7f4a_7c15));
                match rng.random_range(0..10) {
                    _ if task.attempt > 2 => None,
                    0 => Some(Fault::Before),
                    1 | 2 => Some(Fault::ReplyLost),
                    3 | 4 => Some(Fault::Twice),
                    5 => Some(Fault::Throttled),
                    _ => None,
                }
            })
            .await;
        let table = format!("got{seed}");
        write(&parted, &format!("CREATE TABLE {table} AS {source}")).await.unwrap();
        let got = run(&bench.plain, &format!("SELECT * FROM {table}")).await.unwrap();
        assert_eq!(got, expected, "seed {seed}");

        let live: BTreeSet<String> = run(&bench.plain, &format!("SELECT DISTINCT _file FROM {table}"))
            .await
            .unwrap()
            .into_iter()
            .collect();
        let stored: BTreeSet<String> = bench
            .files(&format!("/{table}-"))
            .into_iter()
            .filter(|path| path.ends_with(".parquet"))
            .map(|path| format!("file://{path}"))
            .collect();
        assert!(live.is_subset(&stored), "seed {seed}");
        let ran = spy.ran();
        let write_id = ran[0].0.write_id;
        for left in stored.difference(&live) {
            assert!(crate::write::is_staged_by(left, write_id), "seed {seed}: {left} is nobody's");
        }
        let staged = ran.iter().flat_map(|(_, report)| &report.staged_files).count();
        assert!(staged >= live.len(), "seed {seed}");
        for left in bench.files(".exchange") {
            assert!(crate::write::is_staged_by(&left, write_id), "seed {seed}: {left} is nobody's");
            std::fs::remove_file(left).unwrap();
        }
    }
}
