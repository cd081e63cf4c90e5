//! Random INSERT and CTAS statements with joins and aggregations: parted and plain, the tables are the same.
//!
//! `ICECAP_RANDOM_STATEMENTS` says how many (60 otherwise), `ICECAP_RANDOM_SEED` with which the first is made.

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use super::harness::{Bench, run, write};

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// A query of three columns: a bigint, a varchar, a decimal-free number that sums exactly.
fn query(rng: &mut StdRng, depth: u32) -> String {
    let pick = |rng: &mut StdRng, from: &[&str]| (*from.choose(rng).unwrap()).to_owned();
    let below = rng.random_range(1..3000);
    if depth == 0 {
        return match rng.random_range(0..4) {
            0 => format!("SELECT k AS a, t AS b, v AS c FROM numbers WHERE v < {below}"),
            1 => "SELECT k AS a, name AS b, k * 2 AS c FROM names".to_owned(),
            2 => format!("SELECT v AS a, t AS b, k AS c FROM numbers WHERE v % 7 = {}", below % 7),
            _ => "SELECT v % 100 AS a, CASE WHEN v % 5 = 0 THEN NULL ELSE t END AS b, v AS c FROM numbers"
                .to_owned(),
        };
    }
    let left = query(rng, depth - 1);
    match rng.random_range(0..9) {
        0 => format!("SELECT a, min(b) AS b, sum(c) AS c FROM ({left}) GROUP BY a"),
        1 => format!("SELECT count(*) AS a, b, max(c) AS c FROM ({left}) GROUP BY b"),
        2 => format!("SELECT count(DISTINCT b) AS a, max(b) AS b, sum(a) AS c FROM ({left})"),
        3 => format!("SELECT DISTINCT a % 10 AS a, b, CAST(NULL AS bigint) AS c FROM ({left})"),
        4 => format!("SELECT a, b, c FROM ({left}) ORDER BY a, b, c LIMIT {}", below % 50),
        5 => format!("SELECT a, b, row_number() OVER (PARTITION BY b ORDER BY a, c) AS c FROM ({left})"),
        6 => {
            let right = query(rng, depth - 1);
            format!("SELECT a, b, c FROM ({left}) UNION ALL SELECT a, b, c FROM ({right})")
        }
        7 => {
            let right = query(rng, 0);
            let kind = pick(rng, &["JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL OUTER JOIN"]);
            format!(
                "SELECT x.a AS a, y.b AS b, count(*) AS c FROM ({left}) x {kind} ({right}) y ON x.a = y.a
                 GROUP BY x.a, y.b"
            )
        }
        _ => {
            let right = query(rng, 0);
            let kind = pick(rng, &["IN", "NOT IN"]);
            match rng.random_range(0..3) {
                0 => format!(
                    "SELECT q.a, q.b, q.c FROM ({left}) q WHERE q.a {kind} (SELECT r.a FROM ({right}) r WHERE r.a < 20)"
                ),
                1 => format!("SELECT a, b, c FROM ({left}) WHERE c > (SELECT avg(c) FROM ({right}))"),
                _ => format!(
                    "SELECT a, b, c FROM ({left}) q WHERE EXISTS (SELECT 1 FROM ({right}) r WHERE r.a = q.a AND r.c > q.c)"
                ),
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_statements_give_the_same_tables() {
    let bench = Bench::new().await.with_numbers().await;
    let first = number("ICECAP_RANDOM_SEED", 1);
    let parted = [bench.parted(2, |_| None).await, bench.parted(8, |_| None).await];
    let mut crossed = 0;
    for seed in first..first + number("ICECAP_RANDOM_STATEMENTS", 60) {
        let mut rng = StdRng::seed_from_u64(seed);
        let depth = rng.random_range(1..=3);
        let source = query(&mut rng, depth);
        let partitioning = ["", "WITH (partitioning = ARRAY['bucket(a, 5)'])", "PARTITIONED BY (b)"];
        let (engine, spy) = parted.choose(&mut rng).unwrap();
        let partitioning = *partitioning.choose(&mut rng).unwrap();
        let target = |name: &str| match partitioning {
            "" => format!("CREATE TABLE {name}{seed} AS {source}"),
            other if other.starts_with("WITH") => format!("CREATE TABLE {name}{seed} {other} AS {source}"),
            other => format!("CREATE TABLE {name}{seed} USING iceberg {other} AS {source}"),
        };
        let before = spy.ran().len();
        let plain = write(&bench.plain, &target("e")).await;
        let got = write(engine, &target("g")).await;
        match (plain, got) {
            (Ok(plain), Ok(got)) => {
                assert_eq!(got.rows_inserted, plain.rows_inserted, "seed {seed}: {source}");
                let rows = |name: &str| format!("SELECT * FROM {name}{seed}");
                let expected = run(&bench.plain, &rows("e")).await.unwrap();
                assert_eq!(run(&bench.plain, &rows("g")).await.unwrap(), expected, "seed {seed}: {source}");
            }
            (Err(plain), Err(got)) => {
                println!("seed {seed} fails: {plain:?}\n{source}");
                assert_eq!(got.kind(), plain.kind(), "seed {seed}: {got} / {plain}");
            }
            (plain, got) => panic!("seed {seed}: {plain:?} plain, {got:?} parted: {source}"),
        }
        crossed += spy.ran()[before..].iter().any(|(task, _)| !task.inputs.is_empty()) as u32;
        assert_eq!(bench.files(".exchange"), [""; 0], "seed {seed}");
        run(&bench.plain, &format!("DROP TABLE IF EXISTS e{seed}; DROP TABLE IF EXISTS g{seed}"))
            .await
            .unwrap();
    }
    assert!(crossed > 0, "no statement crossed an exchange");
}
