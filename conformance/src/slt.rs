//! Runs `.slt` files (SQL logic tests) over a [`Driver`], and checks the spec's invariants after every commit.
//!
//! A cell is written as `icecap` prints it in JSON, with NULL as `NULL`, an empty text as `(empty)` and other
//! texts without quotes. `statement count N` is about rows inserted, updated and deleted. A file that says `control substitution on`
//! may use `${data}` (the folder `slt/data`, or its copy on S3), `${warehouse}` and `${beside}` (an empty folder for its own use).

mod layout;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;
use sqllogictest::{DB, DBOutput, DefaultColumnType, Runner, parse_file};

pub use self::layout::{Layout, LayoutDriver, Parting};
use crate::reader::source_folder;
use crate::stack::{Output, Said, Session, Warehouse};
use crate::{Failure, Result};

/// What runs one statement of a file.
pub trait Driver: Send {
    /// Runs a statement; a failure's text begins with `error[<kind>]: `.
    ///
    /// # Errors
    /// When the statement fails, or breaks an invariant.
    fn run(&mut self, sql: &str) -> Result<Answer>;
}

/// What a statement answers.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// A query's rows.
    Rows(Vec<Vec<String>>),
    /// How many rows a write inserted, updated and deleted; 0 for what touches none.
    Done(u64),
}

/// One process of `icecap sql` per statement.
pub struct ProcessDriver {
    warehouse: Warehouse,
    seen: BTreeMap<String, String>,
}

impl ProcessDriver {
    /// On a warehouse of its own.
    ///
    /// # Errors
    /// When there is no room for one.
    pub fn new() -> Result<Self> {
        Ok(Self::with(Warehouse::new()?))
    }

    /// On a given warehouse.
    pub fn with(warehouse: Warehouse) -> Self {
        Self { warehouse, seen: BTreeMap::new() }
    }

    /// The warehouse.
    pub fn warehouse(&self) -> &Warehouse {
        &self.warehouse
    }

    /// Judges the tables whose pointer moved since the last statement.
    fn check_moved(&mut self) -> Result<()> {
        let now = self.warehouse.pointers()?;
        let moved: BTreeMap<_, _> = now
            .iter()
            .filter(|(table, at)| self.seen.get(*table) != Some(at))
            .map(|(t, at)| (t.clone(), at.clone()))
            .collect();
        self.seen = now;
        let broken = self.warehouse.broken_invariants(&moved)?;
        if broken.is_empty() { Ok(()) } else { Err(Failure::new(format!("invariants broken: {broken:#?}"))) }
    }
}

impl Driver for ProcessDriver {
    fn run(&mut self, sql: &str) -> Result<Answer> {
        let output = self.warehouse.run_input(sql)?;
        self.check_moved()?;
        if let Some(line) = output.error_line() {
            return Err(Failure::new(line));
        }
        answer(sql, output)
    }
}

/// One session for all statements. The spec's invariants are checked when its warehouse ends.
struct SessionDriver(Arc<Mutex<Session>>);

impl Driver for SessionDriver {
    fn run(&mut self, sql: &str) -> Result<Answer> {
        let said = self.0.lock().unwrap_or_else(PoisonError::into_inner).run(sql)?;
        match said {
            Said::Rows(rows) => Ok(Answer::Rows(rows.iter().map(cells).collect())),
            Said::Summary(summary) => Ok(Answer::Done(summary["rows_inserted"].as_u64().unwrap_or_default())),
            Said::Error(line) => Err(Failure::new(line)),
        }
    }
}

fn answer(sql: &str, output: Output) -> Result<Answer> {
    answer_of(sql, &output.objects()?)
}

fn answer_of(sql: &str, objects: &[Value]) -> Result<Answer> {
    if is_query(sql) {
        return Ok(Answer::Rows(objects.iter().map(cells).collect()));
    }
    match objects {
        [summary] if summary["statement"].is_string() => {
            let rows = ["rows_inserted", "rows_updated", "rows_deleted"];
            Ok(Answer::Done(rows.iter().filter_map(|key| summary[*key].as_u64()).sum()))
        }
        other => Err(Failure::new(format!("expected one summary, got {other:?}"))),
    }
}

fn is_query(sql: &str) -> bool {
    let lines = sql.lines().map(str::trim).filter(|line| !line.starts_with("--"));
    let head = lines.flat_map(str::split_whitespace).next().unwrap_or_default().to_ascii_lowercase();
    let words = ["select", "with", "values", "table", "show", "describe", "desc", "explain"];
    head.starts_with('(') || words.contains(&head.as_str())
}

fn cells(object: &Value) -> Vec<String> {
    object.as_object().into_iter().flat_map(|object| object.values()).map(cell).collect()
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => "NULL".to_owned(),
        Value::String(text) if text.is_empty() => "(empty)".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Runs a file below `slt/` over a driver.
///
/// # Errors
/// The records that do not behave as the file says, with their lines.
pub fn run_file(name: &str, driver: Box<dyn Driver>, variables: &[(&str, &str)]) -> Result<()> {
    let mut driver = Some(Connection(driver));
    let mut runner = Runner::new(move || {
        let connection = driver.take();
        async move { connection.ok_or_else(|| Problem("a file has one connection".to_owned())) }
    });
    for (variable, path) in variables {
        runner.set_var((*variable).to_owned(), (*path).to_owned());
    }
    let file = source_folder().join("slt").join(name).with_extension("slt");
    let records = parse_file::<DefaultColumnType>(&file).map_err(|error| Failure::new(error.to_string()))?;
    // All of them are run, so that one run shows everything that is wrong.
    let wrong: Vec<String> = records
        .into_iter()
        .filter_map(|record| runner.run(record).err())
        .map(|error| error.to_string())
        .collect();
    match wrong.as_slice() {
        [] => Ok(()),
        wrong => Err(Failure::new(format!("{} records of {name}.slt:\n{}", wrong.len(), wrong.join("\n")))),
    }
}

/// Runs a file below `slt/` over processes, on this warehouse.
///
/// # Errors
/// The records that do not behave as the file says, with their lines.
pub fn run_file_by_processes(name: &str, warehouse: Warehouse) -> Result<()> {
    let variables = variables(&warehouse)?;
    run_file(name, Box::new(ProcessDriver::with(warehouse)), &borrowed(&variables))
}

/// The tables that a file leaves: by name their rows, in order.
pub type Tables = BTreeMap<String, Vec<String>>;

/// Runs a file below `slt/` in one session, on this warehouse.
///
/// # Errors
/// The records that do not behave as the file says, with their lines.
pub fn run_file_in_session(name: &str, warehouse: &Warehouse) -> Result<Tables> {
    let session = Arc::new(Mutex::new(warehouse.session()?));
    let driver = Box::new(SessionDriver(Arc::clone(&session)));
    run_file(name, driver, &borrowed(&variables(warehouse)?))?;
    let mut session = session.lock().unwrap_or_else(PoisonError::into_inner);
    let mut tables = Tables::new();
    for (namespace, table) in warehouse.tables()? {
        let levels = namespace.split('.').chain([table.as_str()]);
        let quoted: Vec<String> = levels.map(|level| format!("\"{}\"", level.replace('"', "\"\""))).collect();
        let mut rows = match session.run(&format!("SELECT * FROM {}", quoted.join(".")))? {
            Said::Rows(rows) => rows.iter().map(Value::to_string).collect(),
            // A table that cannot be read cannot be read on any way.
            other => vec![format!("{other:?}").replace(&warehouse.location(), "${warehouse}")],
        };
        rows.sort_unstable();
        tables.insert(format!("{namespace}.{table}"), rows);
    }
    Ok(tables)
}

/// What a file may name: `${data}` is on S3 where the warehouse is.
fn variables(warehouse: &Warehouse) -> Result<[(&'static str, String); 3]> {
    let data = match warehouse.s3() {
        Ok((server, _)) => server.data(&data_folder())?,
        Err(_) => data_folder().display().to_string(),
    };
    let beside = warehouse.beside().display().to_string();
    Ok([("warehouse", warehouse.location()), ("beside", beside), ("data", data)])
}

fn borrowed<'a>(variables: &'a [(&'static str, String)]) -> Vec<(&'a str, &'a str)> {
    variables.iter().map(|(name, value)| (*name, value.as_str())).collect()
}

fn data_folder() -> PathBuf {
    source_folder().join("slt/data")
}

struct Connection(Box<dyn Driver>);

/// What the runner compares with the text behind `statement error`.
#[derive(Debug)]
struct Problem(String);

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Problem {}

impl DB for Connection {
    type Error = Problem;
    type ColumnType = DefaultColumnType;

    fn run(&mut self, sql: &str) -> std::result::Result<DBOutput<DefaultColumnType>, Problem> {
        match self.0.run(sql).map_err(|failure| Problem(failure.to_string()))? {
            Answer::Done(rows) => Ok(DBOutput::StatementComplete(rows)),
            Answer::Rows(rows) => {
                let width = rows.first().map_or(0, Vec::len);
                Ok(DBOutput::Rows { types: vec![DefaultColumnType::Any; width], rows })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_known_by_its_head() {
        assert!(is_query("-- a remark\n  SELECT 1"));
        assert!(is_query("(SELECT 1)"));
        assert!(is_query("show tables"));
        assert!(!is_query("INSERT INTO t SELECT 1"));
        assert!(!is_query("CREATE TABLE t AS SELECT 1"));
    }

    #[test]
    fn cells_tell_null_from_empty_text() {
        assert_eq!(cell(&Value::Null), "NULL");
        assert_eq!(cell(&serde_json::json!("")), "(empty)");
        assert_eq!(cell(&serde_json::json!([1, "a"])), "[1,\"a\"]");
        assert_eq!(cell(&serde_json::json!("a b")), "a b");
    }
}
