//! Random queries with joins, aggregations and subqueries over two small tables.

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

/// Statements that make the tables: `numbers (k bigint, v bigint, t varchar)` of 3000 rows in 48 files with 30 keys,
/// and `names (k, name)` of 30 rows.
pub const TABLES: [&str; 3] = [
    "CREATE TABLE numbers (k bigint, v bigint, t varchar) PARTITIONED BY (bucket(48, v))
     TBLPROPERTIES ('table_type'='ICEBERG')",
    "INSERT INTO numbers SELECT n % 30, n, 'text ' || CAST(n % 7 AS varchar) FROM
         (WITH digits(x) AS (VALUES (0), (1), (2), (3), (4), (5), (6), (7), (8), (9))
          SELECT a.x + 10 * b.x + 100 * c.x + 1000 * d.x AS n
          FROM digits a, digits b, digits c, (VALUES (0), (1), (2)) d(x))",
    "CREATE TABLE names AS SELECT CAST(k AS bigint) AS k, 'name ' || CAST(k AS varchar) AS name FROM
         (SELECT a.x + 10 * b.x AS k
          FROM (VALUES (0), (1), (2), (3), (4), (5), (6), (7), (8), (9)) a(x), (VALUES (0), (1), (2)) b(x))",
];

/// A random statement that makes a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RandomCtas {
    /// How the table is partitioned, and in whose spelling.
    partitioning: &'static str,
    /// Its rows.
    pub query: String,
}

impl RandomCtas {
    /// The statement of a seed.
    pub fn new(seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let depth = random.random_range(1..=3);
        let query = query(&mut random, depth);
        let partitioning = match random.random_range(0..3) {
            0 => "",
            1 => "WITH (partitioning = ARRAY['bucket(a, 5)'])",
            _ => "USING iceberg PARTITIONED BY (b)",
        };
        Self { partitioning, query }
    }

    /// The statement that makes a table of this name.
    pub fn create(&self, table: &str) -> String {
        format!("CREATE TABLE {table} {} AS {}", self.partitioning, self.query)
    }

    /// The statement that adds the same rows to it.
    pub fn insert(&self, table: &str) -> String {
        format!("INSERT INTO {table} {}", self.query)
    }
}

/// A query of three columns: a bigint, a varchar, a decimal-free number that sums exactly.
fn query(random: &mut StdRng, depth: u32) -> String {
    let pick = |random: &mut StdRng, from: &[&str]| (*from.choose(random).unwrap_or(&"")).to_owned();
    let below = random.random_range(1..3000);
    if depth == 0 {
        return match random.random_range(0..4) {
            0 => format!("SELECT k AS a, t AS b, v AS c FROM numbers WHERE v < {below}"),
            1 => "SELECT k AS a, name AS b, k * 2 AS c FROM names".to_owned(),
            2 => format!("SELECT v AS a, t AS b, k AS c FROM numbers WHERE v % 7 = {}", below % 7),
            _ => "SELECT v % 100 AS a, CASE WHEN v % 5 = 0 THEN NULL ELSE t END AS b, v AS c FROM numbers"
                .to_owned(),
        };
    }
    let left = query(random, depth - 1);
    match random.random_range(0..9) {
        0 => format!("SELECT a, min(b) AS b, sum(c) AS c FROM ({left}) GROUP BY a"),
        1 => format!("SELECT count(*) AS a, b, max(c) AS c FROM ({left}) GROUP BY b"),
        2 => format!("SELECT count(DISTINCT b) AS a, max(b) AS b, sum(a) AS c FROM ({left})"),
        3 => format!("SELECT DISTINCT a % 10 AS a, b, CAST(NULL AS bigint) AS c FROM ({left})"),
        4 => format!("SELECT a, b, c FROM ({left}) ORDER BY a, b, c LIMIT {}", below % 50),
        5 => format!("SELECT a, b, row_number() OVER (PARTITION BY b ORDER BY a, c) AS c FROM ({left})"),
        6 => {
            let right = query(random, depth - 1);
            format!("SELECT a, b, c FROM ({left}) UNION ALL SELECT a, b, c FROM ({right})")
        }
        7 => {
            let right = query(random, 0);
            let kind = pick(random, &["JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL OUTER JOIN"]);
            format!(
                "SELECT x.a AS a, y.b AS b, count(*) AS c FROM ({left}) x {kind} ({right}) y ON x.a = y.a
                 GROUP BY x.a, y.b"
            )
        }
        _ => {
            let right = query(random, 0);
            let kind = pick(random, &["IN", "NOT IN"]);
            match random.random_range(0..3) {
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
