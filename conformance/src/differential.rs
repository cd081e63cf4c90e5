//! Random statements run by Icecap and by DuckDB side by side, the tables compared row by row after each.
//!
//! A [`Trial`] is one table of one layout in both engines. What must fail, fails in both (DuckDB or the statement's own
//! query says what must); a statement that fails changes nothing; the number of changed rows is the same; in V3 the row
//! ids are judged too (`lineage`). Two statements at once are `pairs`.

mod lineage;
mod pairs;

use serde_json::{Value, json};

use self::lineage::Lineage;
pub use self::pairs::Ending;
use crate::canonical::{Column, Kind, Rows, difference};
use crate::random::{
    COLUMNS_OF_DUCKDB, COLUMNS_OF_ICECAP, Coverage, Generator, Kind as What, SCHEMA, Sql, Statement,
};
use crate::reader::Reader;
use crate::slt::Layout;
use crate::stack::Host;
use crate::{Failure, Result};

/// Rows of an insert at the beginning.
const ROWS: usize = 9;
/// A table with fewer rows gets more of them.
const FEW: usize = 6;

/// A table in both engines.
pub struct Trial<'a> {
    host: &'a mut Host,
    oracle: &'a Reader,
    layout: Layout,
    columns: Vec<Column>,
    table: String,
    beside: String,
    generator: Generator,
    /// What Icecap was told, to repeat it by hand.
    script: Vec<String>,
    rows: usize,
    lineage: Option<Lineage>,
    /// What was covered.
    pub coverage: Coverage,
    /// How many statements changed something or failed as they should.
    pub statements: usize,
    /// How many failed as they should.
    pub refused: usize,
}

/// What Icecap did with a statement: rows inserted, updated and deleted, or the text of its error.
type Done = std::result::Result<[u64; 3], String>;

impl<'a> Trial<'a> {
    /// Makes the table (`name`) and one beside it, with some rows.
    ///
    /// # Errors
    /// When an engine does not do it.
    pub fn new(
        host: &'a mut Host,
        oracle: &'a Reader,
        layout: Layout,
        name: &str,
        fields: &[&str],
        seed: u64,
    ) -> Result<Self> {
        let schema: Value = serde_json::from_str(SCHEMA)?;
        let fields_of = schema["fields"].as_array().cloned().unwrap_or_default();
        let column = |field: &Value| {
            let name = field["name"].as_str().unwrap_or_default().to_owned();
            Ok(Column { name, kind: Kind::parse(&field["type"])? })
        };
        let mut trial = Self {
            host,
            oracle,
            layout,
            columns: fields_of.iter().map(column).collect::<Result<_>>()?,
            table: name.to_owned(),
            beside: format!("{name}_u"),
            generator: Generator::new(seed, fields),
            script: Vec::new(),
            rows: 0,
            lineage: None,
            coverage: Coverage::default(),
            statements: 0,
            refused: 0,
        };
        trial.make(fields)?;
        trial.compare().map_err(|failure| trial.told(&failure))?;
        Ok(trial)
    }

    fn make(&mut self, fields: &[&str]) -> Result<()> {
        let (first, later) = self.layout.statements(&self.table, COLUMNS_OF_ICECAP, fields);
        for statement in &first {
            self.tell(statement)?;
        }
        self.tell(&format!("CREATE TABLE {} ({COLUMNS_OF_ICECAP})", self.beside))?;
        for table in [self.table.clone(), self.beside.clone()] {
            self.ask(&format!("CREATE OR REPLACE TABLE {table} ({COLUMNS_OF_DUCKDB})"))?;
        }
        let mut later = later.into_iter();
        for (table, rows) in [("@t", ROWS), ("@t", ROWS), ("@t", ROWS), ("@u", ROWS)] {
            let insert = self.generator.insert(table, rows);
            self.both(&insert.sql)?;
            self.coverage.count(&insert.features);
            // Each spec has rows.
            if let Some(statement) = later.next() {
                self.tell(&statement)?;
            }
        }
        Ok(())
    }

    /// Makes a statement, runs it in both engines and compares.
    ///
    /// # Errors
    /// What is different, with all statements that led to it.
    pub fn step(&mut self) -> Result<()> {
        let statement = match self.rows {
            rows if rows < FEW => self.generator.insert("@t", ROWS),
            _ => self.generator.next(&self.coverage),
        };
        self.run(&statement).map_err(|failure| self.told(&failure))
    }

    fn run(&mut self, statement: &Statement) -> Result<()> {
        let icecap = self.named(&statement.sql.icecap);
        let duckdb = self.named(&statement.sql.duckdb);
        let twice = statement.twice.as_ref().map(|query| self.named(query));
        let expected = self.oracle.call(&json!({"op": "change", "statement": duckdb, "twice": twice}))?;
        self.script.push(icecap.clone());
        let done = changed(self.host.run(&icecap)?);
        self.coverage.count(&statement.features);
        self.statements += 1;
        match (&done, expected["error"].as_str()) {
            (Ok(rows), None)
                if statement.kind == What::Insert || expected["rows"] == rows.iter().sum::<u64>() => {}
            (Ok(rows), None) => {
                return Err(Failure::new(format!(
                    "Icecap changed {rows:?} rows, DuckDB {}",
                    expected["rows"]
                )));
            }
            (Err(error), Some(why)) if error.starts_with("error[invalid]") => {
                self.refused += 1;
                if why.starts_with("two source rows") {
                    self.coverage.count(&["two source rows for one target row"].into());
                }
            }
            (Err(error), None) => {
                return Err(Failure::new(format!("Icecap fails and DuckDB does not: {error}")));
            }
            (Ok(_), Some(why)) => return Err(Failure::new(format!("Icecap does what must fail: {why}"))),
            (Err(error), Some(why)) => {
                return Err(Failure::new(format!(
                    "Icecap fails with another kind of error than invalid: {error} ({why})"
                )));
            }
        }
        self.compare()?;
        self.judge_lineage(done.unwrap_or_default())
    }

    /// Compares the tables.
    fn compare(&mut self) -> Result<()> {
        let names: Vec<&str> = self.columns.iter().map(|column| column.name.as_str()).collect();
        let names = names.join(", ");
        let objects = self.host.objects(&format!("SELECT {names} FROM {}", self.table))?;
        let ours = Rows::from_objects(&self.columns, &objects)?;
        let theirs = self.rows_of_duckdb(&self.table)?;
        self.rows = ours.len();
        match difference("Icecap", &ours, "DuckDB", &theirs) {
            None => Ok(()),
            Some(difference) => Err(Failure::new(difference)),
        }
    }

    fn rows_of_duckdb(&self, table: &str) -> Result<Rows> {
        let schema: Value = serde_json::from_str(SCHEMA)?;
        let query = format!("SELECT * FROM {table}");
        let answer = self.oracle.call(&json!({"op": "select", "query": query, "schema": schema}))?;
        Rows::from_arrays(&self.columns, answer["rows"].as_array().map_or(&[][..], Vec::as_slice))
    }

    fn judge_lineage(&mut self, done: [u64; 3]) -> Result<()> {
        if self.layout.version < 3 {
            return Ok(());
        }
        let now = Lineage::of(self.host, &self.table)?;
        match self.lineage.replace(now) {
            Some(before) => self.lineage.as_ref().map_or(Ok(()), |now| now.follows(&before, done)),
            None => Ok(()),
        }
    }

    /// Drops the tables.
    ///
    /// # Errors
    /// When an engine does not do it.
    pub fn end(mut self) -> Result<(Coverage, usize, usize)> {
        for table in [self.table.clone(), self.beside.clone()] {
            self.tell(&format!("DROP TABLE {table}"))?;
            self.ask(&format!("DROP TABLE {table}"))?;
        }
        Ok((self.coverage, self.statements, self.refused))
    }

    /// How many rows the table has.
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Whether the table has no rows.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    fn both(&mut self, sql: &Sql) -> Result<()> {
        let (icecap, duckdb) = (self.named(&sql.icecap), self.named(&sql.duckdb));
        self.tell(&icecap)?;
        self.ask(&duckdb)
    }

    fn tell(&mut self, statement: &str) -> Result<()> {
        self.script.push(statement.to_owned());
        self.host.objects(statement).map(drop)
    }

    fn ask(&self, statement: &str) -> Result<()> {
        self.oracle.call(&json!({"op": "sql", "statements": [statement]})).map(drop)
    }

    fn named(&self, text: &str) -> String {
        text.replace("@t", &self.table).replace("@u", &self.beside)
    }

    fn told(&self, failure: &Failure) -> Failure {
        let script = self.script.join(";\n");
        Failure::new(format!("{:?}: {failure}\nafter:\n{script};\n", self.layout))
    }
}

fn changed(answer: std::result::Result<Vec<Value>, String>) -> Done {
    let objects = answer?;
    let of = |key: &str| objects.first().and_then(|summary| summary[key].as_u64()).unwrap_or_default();
    Ok([of("rows_inserted"), of("rows_updated"), of("rows_deleted")])
}
