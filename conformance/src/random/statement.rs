//! Statements.

use std::collections::BTreeSet;

use super::value::Column;
use super::{Generator, SUBQUERIES, Scope, Sql, sql};

/// What a statement is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `INSERT INTO`.
    Insert,
    /// `DELETE FROM`.
    Delete,
    /// `UPDATE`.
    Update,
    /// `MERGE INTO`.
    Merge,
}

/// A statement.
#[derive(Debug, Clone)]
pub struct Statement {
    /// What it is.
    pub kind: Kind,
    /// Its text.
    pub sql: Sql,
    /// A query of DuckDB's for one number: how many rows would be changed twice. Above 0 the statement must fail.
    pub twice: Option<String>,
    /// What it uses of the grammar.
    pub features: BTreeSet<&'static str>,
}

impl Generator {
    /// Rows for the changed table (`@t`) or the one beside it (`@u`).
    pub fn insert(&mut self, table: &str, count: usize) -> Statement {
        self.found = BTreeSet::from(["INSERT VALUES"]);
        let sql = sql!("INSERT INTO {} VALUES {}", Sql::same(table), self.rows(count));
        self.done(Kind::Insert, sql, None)
    }

    pub(super) fn statement(&mut self) -> Statement {
        self.found.clear();
        self.subqueries = SUBQUERIES;
        match self.below(20) {
            0 => {
                let count = 1 + self.below(6);
                self.insert("@t", count)
            }
            1..=4 => self.delete(),
            5..=7 => self.update(),
            8..=11 => self.update_from(),
            _ => self.merge(),
        }
    }

    pub(super) fn done(&mut self, kind: Kind, sql: Sql, twice: Option<String>) -> Statement {
        Statement { kind, sql, twice, features: std::mem::take(&mut self.found) }
    }

    /// ` AS a` or nothing, and the scope of the target.
    pub(super) fn target(&mut self, bare: bool) -> (Sql, Scope) {
        if self.chance(50) {
            self.note("alias of the target");
            let alias = *self.one(&[" AS a", " a"]);
            return (Sql::same(alias), Scope { bare, ..Scope::of("a") });
        }
        (Sql::same(""), Scope { bare, ..Scope::of("@t") })
    }

    fn delete(&mut self) -> Statement {
        self.note("DELETE");
        let (alias, scope) = self.target(true);
        if self.chance(20) {
            self.note("DELETE without WHERE");
            return self.done(Kind::Delete, sql!("DELETE FROM @t{}", alias), None);
        }
        let condition = if !self.partitioned_by.is_empty() && self.chance(25) {
            self.note("DELETE by the partition key");
            self.of_partitions(scope)
        } else {
            self.predicate(&[scope])
        };
        self.done(Kind::Delete, sql!("DELETE FROM @t{} WHERE {}", alias, condition), None)
    }

    fn update(&mut self) -> Statement {
        self.note("UPDATE");
        let (alias, scope) = self.target(true);
        let set = self.assignments(&scope, std::slice::from_ref(&scope));
        let condition =
            if self.chance(94) { sql!(" WHERE {}", self.predicate(&[scope])) } else { Sql::same("") };
        self.done(Kind::Update, sql!("UPDATE @t{} SET {}{}", alias, set, condition), None)
    }

    /// `column = value, …` of the target; values are over `scopes`.
    pub(super) fn assignments(&mut self, target: &Scope, scopes: &[Scope]) -> Sql {
        let mut columns = Column::ALL.to_vec();
        let count = if self.chance(40) { 1 } else { 2 + self.below(2) };
        if count > 1 {
            self.note("UPDATE of several columns");
        }
        let mut parts = Vec::with_capacity(count);
        for _ in 0..count {
            let at = self.below(columns.len());
            let column = columns.swap_remove(at);
            if self.partitioned_by.contains(&column) {
                self.note("SET partition key");
            }
            if column == Column::S && self.chance(60) {
                self.note("SET field of a struct");
                let a = format!("CAST({} AS int)", self.below(5));
                parts.push(Sql {
                    icecap: format!("s.a = {a}"),
                    duckdb: format!("s = struct_pack(a := {a}, b := {}.s.b)", target.name),
                });
                continue;
            }
            // DuckDB computes values of a MERGE for rows that no clause takes too: there it would fail more often. The
            // sum is out of range for every row, so that no value at the edge is left behind.
            if column == Column::K && self.found.contains("UPDATE") && self.chance(35) {
                self.note("value out of range");
                parts.push(Sql::same(format!("k = {}.k + 3000000000", target.name)));
                continue;
            }
            let value = self.value(column, scopes);
            parts.push(sql!("{} = {}", Sql::same(column.name()), value));
        }
        Sql::joined(&parts, ", ")
    }

    fn update_from(&mut self) -> Statement {
        self.note("UPDATE");
        let (alias, scope) = self.target(false);
        let (from, source) = if self.chance(50) {
            self.note("UPDATE FROM table");
            (Sql::same("@u AS src"), Scope::of("src"))
        } else {
            self.note("UPDATE FROM subquery");
            self.grouped()
        };
        self.subqueries = 0;
        let scopes = [scope.clone(), source];
        let set = self.assignments(&scope, &scopes);
        let key = *self.one(&[("id", "id"), ("id", "k"), ("k", "id")]);
        let mut condition = Sql::same(format!("{}.{} = src.{}", scope.name, key.0, key.1));
        if self.chance(50) {
            condition = sql!("{} AND {}", condition, self.predicate(&scopes));
        }
        let twice = format!(
            "SELECT count(*) FROM (SELECT {name}.rowid FROM @t{}, {} WHERE {} GROUP BY {name}.rowid HAVING count(*) > 1)",
            alias.duckdb,
            from.duckdb,
            condition.duckdb,
            name = scope.name,
        );
        let sql = sql!("UPDATE @t{} SET {} FROM {} WHERE {}", alias, set, from, condition);
        self.done(Kind::Update, sql, Some(twice))
    }

    /// A source with one row for each `id`, of fewer columns.
    pub(super) fn grouped(&mut self) -> (Sql, Scope) {
        let from = Sql::same(self.beside());
        let condition = if self.chance(60) {
            sql!(" WHERE {}", self.predicate(&[Scope::of("o")]))
        } else {
            Sql::same("")
        };
        let sql = sql!(
            "(SELECT o.id, min(o.k) AS k, max(o.x) AS x, min(o.v) AS v, max(o.d) AS d FROM {} AS o{} GROUP BY o.id) AS src",
            from,
            condition
        );
        let columns = vec![Column::Id, Column::K, Column::X, Column::V, Column::D];
        (sql, Scope { columns, ..Scope::of("src") })
    }
}
