//! Whether all engines made the same table: counts and sums of what they left.

use std::ffi::OsStr;
use std::path::Path;

use super::Plan;
use super::answer::{self, Answer};
use super::clone::{Base, Clone};
use super::plan::text_of;
use crate::data::MERGED;
use crate::{BenchError, Result};

/// The answers of the engines so far: one, as long as they agree.
pub(super) struct Check {
    sql: String,
    first: Option<Answer>,
}

impl Check {
    pub(super) fn new() -> Self {
        // Every column that a statement changes, and enough of the others to see a row that is the wrong one.
        let sql = format!(
            "SELECT count(*) AS n, sum(l_orderkey) AS orders, sum(l_partkey) AS parts, sum(l_linenumber) AS lines, \
             sum(l_quantity) AS quantity, sum(l_extendedprice) AS price, sum(l_discount) AS discount, \
             sum(length(l_comment)) AS comments, min(l_shipdate) AS first_day, max(l_receiptdate) AS last_day, \
             sum(CASE WHEN l_comment = 'updated' THEN 1 ELSE 0 END) AS updated, \
             sum(CASE WHEN l_shipinstruct = '{MERGED}' THEN 1 ELSE 0 END) AS merged FROM lineitem"
        );
        Self { sql, first: None }
    }

    /// DuckDB's reading of a metadata file, whoever wrote it. Only where its module is there: with any peer.
    pub(super) fn read_by_duckdb(&mut self, plan: &Plan, metadata_file: &Path, who: &str) -> Result<()> {
        if plan.peers.is_empty() {
            return Ok(());
        }
        let args = [OsStr::new(text_of(metadata_file)?), OsStr::new(&self.sql)];
        let finished = plan.peer("duckdb_check.py", &args)?;
        self.expect(answer::of_peer(&finished.stdout)?, &format!("{who}, as DuckDB reads it"))
    }

    /// Icecap's reading of its own table.
    pub(super) fn read_by_icecap(
        &mut self,
        plan: &Plan,
        base: &Base,
        clone: &Clone,
        who: &str,
    ) -> Result<()> {
        let memory = ["--memory", plan.memory.as_str()];
        let args = [&base.allow()?[..], &memory[..], &["-e", self.sql.as_str()][..]].concat();
        let finished = plan.prepare(&clone.warehouse, &args)?;
        self.expect(answer::of_objects(&finished.stdout)?, &format!("{who}, as Icecap reads it"))
    }

    fn expect(&mut self, answer: Answer, who: &str) -> Result<()> {
        match &self.first {
            None => self.first = Some(answer),
            Some(first) => {
                answer::same(first, &answer)
                    .map_err(|why| BenchError(format!("the table of {who}: {why}")))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_first_who_differs_is_named() {
        let mut check = Check::new();
        let answer = |n: i64| vec![vec![json!(n), json!("1.50")]];
        check.expect(answer(7), "icecap").unwrap();
        check.expect(answer(7), "duckdb").unwrap();
        let error = check.expect(answer(8), "spark").unwrap_err().0;
        assert_eq!(error, "the table of spark: row 0, column 0: 8 beside 7");
    }
}
