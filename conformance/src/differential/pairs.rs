//! Two statements at once: what comes out is what one after the other gives, in some order.

use serde_json::json;

use super::{Trial, changed};
use crate::canonical::{Rows, difference};
use crate::random::Statement;
use crate::stack::Host;
use crate::{Failure, Result};

/// How two statements at once ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Both took effect.
    Both,
    /// One was refused, and what it would have changed is untouched.
    OneRefused,
    /// Both failed as they should.
    Neither,
}

impl Trial<'_> {
    /// Makes two statements and sends them at once, the second to another process.
    ///
    /// # Errors
    /// When what comes out is that of no order.
    pub fn pair(&mut self, other: &mut Host) -> Result<Ending> {
        if self.rows < super::FEW {
            let insert = self.generator.insert("@t", super::ROWS);
            self.run(&insert).map_err(|failure| self.told(&failure))?;
        }
        let statements = [self.generator.next(&self.coverage), self.generator.next(&self.coverage)];
        self.run_pair(&statements, other).map_err(|failure| self.told(&failure))
    }

    fn run_pair(&mut self, statements: &[Statement; 2], other: &mut Host) -> Result<Ending> {
        let texts = [self.named(&statements[0].sql.icecap), self.named(&statements[1].sql.icecap)];
        self.script.push(format!("-- at once with the next\n{}", texts[0]));
        self.script.push(texts[1].clone());
        self.host.send(&texts[0])?;
        other.send(&texts[1])?;
        let done = [changed(self.host.answer()?), changed(other.answer()?)];
        self.statements += 2;
        statements.iter().for_each(|statement| self.coverage.count(&statement.features));
        for error in done.iter().filter_map(|done| done.as_ref().err()) {
            if !["error[invalid]", "error[conflict]"].iter().any(|kind| error.starts_with(kind)) {
                return Err(Failure::new(format!("a statement fails: {error}")));
            }
        }
        let names: Vec<&str> = self.columns.iter().map(|column| column.name.as_str()).collect();
        let query = format!("SELECT {} FROM {}", names.join(", "), self.table);
        let ours = Rows::from_objects(&self.columns, &self.host.objects(&query)?)?;
        let mut told = String::new();
        for order in [[0, 1], [1, 0]] {
            let table = format!("{}_{}", self.table, order[0]);
            self.ask(&format!("CREATE OR REPLACE TABLE {table} AS FROM {}", self.table))?;
            let mut fits = true;
            for at in order {
                fits &= self.in_order(&statements[at], &done[at], &table)?;
            }
            let theirs = self.rows_of_duckdb(&table)?;
            match difference("Icecap", &ours, &format!("DuckDB, statement {} first", order[0] + 1), &theirs) {
                None if fits => {
                    self.ask(&format!("CREATE OR REPLACE TABLE {} AS FROM {table}", self.table))?;
                    self.rows = ours.len();
                    self.lineage = None;
                    return Ok(match done.iter().filter(|done| done.is_ok()).count() {
                        2 => Ending::Both,
                        1 => Ending::OneRefused,
                        _ => Ending::Neither,
                    });
                }
                None => told += &format!("\nthe rows fit the order {order:?}, the endings do not: {done:?}"),
                Some(difference) => told += &difference,
            }
        }
        Err(Failure::new(format!("two statements at once: {done:?}{told}")))
    }

    /// Runs a statement in DuckDB on a copy of the table, unless it was refused; whether Icecap's ending fits.
    fn in_order(&self, statement: &Statement, done: &super::Done, table: &str) -> Result<bool> {
        if done.as_ref().is_err_and(|error| error.starts_with("error[conflict]")) {
            return Ok(true);
        }
        let named = |text: &str| text.replace("@t", table).replace("@u", &self.beside);
        let twice = statement.twice.as_deref().map(named);
        let text = named(&statement.sql.duckdb);
        let answer = self.oracle.call(&json!({"op": "change", "statement": text, "twice": twice}))?;
        Ok(match done {
            // Not the counts: two deletes of one row may both say that it was theirs.
            Ok(_) => answer["error"].is_null(),
            Err(_) => !answer["error"].is_null(),
        })
    }
}
