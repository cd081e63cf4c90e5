//! A MERGE whose source is larger than the memory that it may use.

use std::time::Duration;

use icecap_conformance::stack::{Warehouse, run_within};
use serde_json::json;

const MERGE: &str =
    "MERGE INTO t USING s ON t.id = s.id WHEN MATCHED THEN UPDATE SET v = s.v WHEN NOT MATCHED THEN INSERT *";

/// Two tables, of so many rows, and what the statement may use.
struct Sizes {
    memory: &'static str,
    target: u64,
    source: u64,
}

impl Sizes {
    /// A target whose ids begin with 0, and a source half of whose rows have a partner, in another order; `old` and `new`
    /// are the third column of each.
    fn make(&self, warehouse: &Warehouse, mode: &str, old: &str, new: &str) {
        let Self { target, source, .. } = self;
        // 7919 is a prime: every id comes once.
        let id = format!("{} + (value * 7919) % {source}", self.first());
        let statements = [
            format!(
                "CREATE TABLE t (id bigint, v bigint, w string) TBLPROPERTIES ('format-version'='3', 'write.merge.mode'='{mode}')"
            ),
            "CREATE TABLE s (id bigint, v bigint, w string)".to_owned(),
            format!(
                "INSERT INTO t SELECT value, -1, {old} FROM generate_series(0, {}) AS g(value)",
                target - 1
            ),
            format!(
                "INSERT INTO s SELECT {id}, {id}, {new} FROM generate_series(0, {}) AS g(value)",
                source - 1
            ),
        ];
        let statements: Vec<&str> = statements.iter().map(String::as_str).collect();
        warehouse.run(&statements).unwrap().success().unwrap();
        let query = "SELECT count(DISTINCT id) AS n, min(id) AS low, max(id) AS high FROM s";
        let low = self.first();
        assert_eq!(
            warehouse.query(&[query]).unwrap()[0],
            json!({"n": source, "low": low, "high": low + source - 1})
        );
    }

    /// The least id of the source.
    fn first(&self) -> u64 {
        self.target - self.source / 2
    }

    /// Runs the statement in little memory, judges what it did, and gives the join that it tells.
    fn merge(&self, warehouse: &Warehouse) -> String {
        let mut command = warehouse.command().unwrap();
        command.args(["--memory", self.memory, "--threads", "2", "-e", &format!("EXPLAIN ANALYZE {MERGE}")]);
        let told = run_within(&mut command, "", Duration::from_secs(600)).unwrap().objects().unwrap();
        let told: Vec<&str> = told.iter().map(|row| row["plan"].as_str().unwrap()).collect();
        let half = self.source / 2;
        for line in [
            format!("  rows inserted: {half}"),
            format!("  rows updated: {half}"),
            "  rows deleted: 0".to_owned(),
        ] {
            assert!(told.contains(&line.as_str()), "no {line:?} in {told:#?}");
        }
        let sums = warehouse
            .query(&["SELECT count(*) AS n, count(DISTINCT id) AS ids, max(id) AS high, \
                      sum(CASE WHEN w LIKE 'old%' AND v = -1 THEN 1 ELSE 0 END) AS kept, \
                      sum(CASE WHEN w LIKE 'old%' AND v = id THEN 1 ELSE 0 END) AS updated, \
                      sum(CASE WHEN w NOT LIKE 'old%' AND v = id THEN 1 ELSE 0 END) AS inserted FROM t"])
            .unwrap();
        let (all, kept) = (self.target + half, self.target - half);
        assert_eq!(
            sums[0],
            json!({"n": all, "ids": all, "high": all - 1, "kept": kept, "updated": half, "inserted": half})
        );
        let join = told.iter().find_map(|line| line.strip_prefix("  join: "));
        join.unwrap_or_else(|| panic!("no join in {told:#?}")).to_owned()
    }
}

const MODES: [&str; 2] = ["merge-on-read", "copy-on-write"];

#[test]
fn a_source_known_to_be_large_is_merged_by_sorting() {
    let sizes = Sizes { memory: "64MB", target: 1_000_000, source: 1_000_000 };
    for mode in MODES {
        let warehouse = Warehouse::new().unwrap();
        let number = |factor| format!("CAST(value * {factor} % 1000003 AS varchar)");
        let new = format!("'row ' || {} || {} || {}", number(31), number(77), number(577));
        sizes.make(&warehouse, mode, "'old'", &new);
        assert_eq!(sizes.merge(&warehouse), "sort-merge join, which spills", "{mode}");
    }
}

/// Its files are small and its rows are not, and so are the target's: only the hash join's want of memory tells.
#[test]
fn a_source_that_turns_out_to_be_large_is_merged_by_sorting() {
    let sizes = Sizes { memory: "100MB", target: 900_000, source: 250_000 };
    for mode in MODES {
        let warehouse = Warehouse::new().unwrap();
        sizes.make(&warehouse, mode, "repeat('old', 40)", "repeat('x', 400)");
        let expected = "sort-merge join, which spills: a hash join had no room in memory";
        assert_eq!(sizes.merge(&warehouse), expected, "{mode}");
    }
}
