//! The same `.slt` file on tables of every layout: format, row-level mode, partitioning, order.
//!
//! A file says `CREATE TABLE t (…) PARTITIONED BY (…)` without properties. [`LayoutDriver`] runs it as its [`Layout`] has
//! it; what the statements answer must not depend on that.

use std::collections::BTreeMap;

use super::{Answer, Driver, answer_of};
use crate::stack::{Host, Warehouse};
use crate::{Failure, Result};

/// How tables are partitioned and sorted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parting {
    /// Not at all.
    Plain,
    /// As the file says.
    Partitioned,
    /// The first field at creation, the others after the first rows came.
    Evolved,
    /// Not partitioned, but sorted by the first column, the last values first.
    Sorted,
}

/// A layout of tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// The format version.
    pub version: u8,
    /// Whether changed files are written again instead of getting delete files.
    pub copy_on_write: bool,
    /// How tables are partitioned and sorted.
    pub parting: Parting,
}

impl Layout {
    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> {
        let partings = [Parting::Plain, Parting::Partitioned, Parting::Evolved, Parting::Sorted];
        partings.into_iter().flat_map(|parting| {
            [(2, false), (2, true), (3, false), (3, true)].map(|(version, copy_on_write)| Self {
                version,
                copy_on_write,
                parting,
            })
        })
    }

    /// Its properties, as they stand between the brackets of `TBLPROPERTIES`.
    pub fn properties(&self) -> String {
        let mode = if self.copy_on_write { "copy-on-write" } else { "merge-on-read" };
        format!(
            "'format-version'='{}', 'write.delete.mode'='{mode}', 'write.update.mode'='{mode}', 'write.merge.mode'='{mode}'",
            self.version
        )
    }

    /// The statements that make a table: those before and those after its first rows.
    pub fn statements(&self, table: &str, columns: &str, fields: &[&str]) -> (Vec<String>, Vec<String>) {
        let at_first = match self.parting {
            Parting::Plain | Parting::Sorted => 0,
            Parting::Partitioned => fields.len(),
            // A table of one field begins without any.
            Parting::Evolved => fields.len().saturating_sub(1).min(1),
        };
        let by = match &fields[..at_first] {
            [] => String::new(),
            fields => format!(" PARTITIONED BY ({})", fields.join(", ")),
        };
        let create = format!("CREATE TABLE {table} ({columns}){by} TBLPROPERTIES ({})", self.properties());
        match self.parting {
            Parting::Plain | Parting::Partitioned => (vec![create], Vec::new()),
            Parting::Evolved => {
                let add = |field: &&str| format!("ALTER TABLE {table} ADD PARTITION FIELD {field}");
                (vec![create], fields[at_first..].iter().map(add).collect())
            }
            Parting::Sorted => {
                let first = columns.split_whitespace().next().unwrap_or_default();
                let order = format!("ALTER TABLE {table} WRITE ORDERED BY {first} DESC NULLS LAST");
                (vec![create, order], Vec::new())
            }
        }
    }
}

/// Runs a file's statements in one long-lived engine, its tables made in a layout.
pub struct LayoutDriver {
    // Before the warehouse, whose folder it works in.
    host: Host,
    layout: Layout,
    later: BTreeMap<String, Vec<String>>,
    warehouse: Warehouse,
}

impl LayoutDriver {
    /// On a warehouse; `options` are the host's.
    ///
    /// # Errors
    /// When the engine does not start.
    pub fn new(warehouse: Warehouse, layout: Layout, options: &[&str]) -> Result<Self> {
        Ok(Self { host: Host::start(&warehouse.path(), options)?, layout, later: BTreeMap::new(), warehouse })
    }

    /// The warehouse.
    pub fn warehouse(&self) -> &Warehouse {
        &self.warehouse
    }

    fn run_all(&mut self, statements: &[String]) -> Result<()> {
        for statement in statements {
            self.host.run(statement)?.map_err(|error| Failure::new(format!("{error}\n  in {statement}")))?;
        }
        Ok(())
    }
}

impl Driver for LayoutDriver {
    fn run(&mut self, sql: &str) -> Result<Answer> {
        if let Some(table) = Definition::of(sql) {
            let fields: Vec<&str> = table.fields.iter().map(String::as_str).collect();
            let (now, later) = self.layout.statements(table.name, table.columns, &fields);
            self.later.insert(table.name.to_owned(), later);
            self.run_all(&now)?;
            return Ok(Answer::Done(0));
        }
        let objects = self.host.run(sql)?.map_err(Failure::new)?;
        let answer = answer_of(sql, &objects)?;
        if let Some(table) = sql.strip_prefix("INSERT INTO ").and_then(|rest| rest.split_whitespace().next())
        {
            let later = self.later.remove(table).unwrap_or_default();
            self.run_all(&later)?;
        }
        Ok(answer)
    }
}

/// A `CREATE TABLE name (columns) [PARTITIONED BY (fields)]`.
struct Definition<'a> {
    name: &'a str,
    columns: &'a str,
    fields: Vec<String>,
}

impl<'a> Definition<'a> {
    fn of(sql: &'a str) -> Option<Self> {
        let (name, rest) = sql.strip_prefix("CREATE TABLE ")?.split_once(' ')?;
        let (columns, rest) = bracketed(rest.trim_start())?;
        let fields = match rest.trim_start().strip_prefix("PARTITIONED BY ") {
            Some(fields) => bracketed(fields)?.0,
            None => "",
        };
        Some(Self { name, columns, fields: separated(fields) })
    }
}

/// What stands in the bracket that a text begins with, and what stands behind it.
fn bracketed(text: &str) -> Option<(&str, &str)> {
    let mut depth = 0_usize;
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' if depth == 1 => return Some((&text[1..at], &text[at + 1..])),
            ')' => depth = depth.checked_sub(1)?,
            _ if depth == 0 => return None,
            _ => {}
        }
    }
    None
}

/// The parts between the commas that stand in no bracket.
fn separated(text: &str) -> Vec<String> {
    let (mut parts, mut depth) = (vec![String::new()], 0_i32);
    for c in text.chars() {
        depth += i32::from(c == '(') - i32::from(c == ')');
        match (c, parts.last_mut()) {
            (',', _) if depth == 0 => parts.push(String::new()),
            (c, Some(part)) => part.push(c),
            (_, None) => {}
        }
    }
    parts.iter().map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "CREATE TABLE t (id bigint, p decimal(9,2)) PARTITIONED BY (bucket(4, id), p)";

    fn made(parting: Parting) -> (Vec<String>, Vec<String>) {
        let table = Definition::of(TABLE).unwrap();
        let fields: Vec<&str> = table.fields.iter().map(String::as_str).collect();
        Layout { version: 3, copy_on_write: true, parting }.statements(table.name, table.columns, &fields)
    }

    #[test]
    fn a_table_is_made_in_every_layout() {
        let of = |by: &str| {
            let properties = Layout { version: 3, copy_on_write: true, parting: Parting::Plain }.properties();
            format!("CREATE TABLE t (id bigint, p decimal(9,2)){by} TBLPROPERTIES ({properties})")
        };
        assert_eq!(made(Parting::Plain), (vec![of("")], vec![]));
        assert_eq!(made(Parting::Partitioned), (vec![of(" PARTITIONED BY (bucket(4, id), p)")], vec![]));
        assert_eq!(
            made(Parting::Evolved),
            (
                vec![of(" PARTITIONED BY (bucket(4, id))")],
                vec!["ALTER TABLE t ADD PARTITION FIELD p".to_owned()]
            )
        );
        let order = "ALTER TABLE t WRITE ORDERED BY id DESC NULLS LAST".to_owned();
        assert_eq!(made(Parting::Sorted), (vec![of(""), order], vec![]));
        assert!(Definition::of("CREATE TABLE t AS SELECT 1").is_none());
        assert_eq!(Layout::all().count(), 16);
    }
}
