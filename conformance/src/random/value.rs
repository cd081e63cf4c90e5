//! Columns, their few values, and expressions for new ones.

use super::{Generator, Scope, Sql, sql};

/// A column of the random tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Column {
    Id,
    K,
    X,
    P,
    V,
    D,
    Ts,
    B,
    S,
}

/// The columns as `CREATE TABLE` of Icecap has them.
pub const COLUMNS_OF_ICECAP: &str = "id bigint, k int, x double, p decimal(9,2), v string, d date, ts timestamp, b boolean, s struct<a:int,b:string>";
/// The columns as `CREATE TABLE` of DuckDB has them.
pub const COLUMNS_OF_DUCKDB: &str = "id BIGINT, k INTEGER, x DOUBLE, p DECIMAL(9,2), v VARCHAR, d DATE, ts TIMESTAMP, b BOOLEAN, s STRUCT(a INTEGER, b VARCHAR)";
/// The columns as an Iceberg schema's JSON has them.
pub const SCHEMA: &str = r#"{"fields": [
    {"name": "id", "type": "long"}, {"name": "k", "type": "int"}, {"name": "x", "type": "double"},
    {"name": "p", "type": "decimal(9, 2)"}, {"name": "v", "type": "string"}, {"name": "d", "type": "date"},
    {"name": "ts", "type": "timestamp"}, {"name": "b", "type": "boolean"},
    {"name": "s", "type": {"type": "struct", "fields": [{"name": "a", "type": "int"}, {"name": "b", "type": "string"}]}}]}"#;

impl Column {
    pub(super) const ALL: [Self; 9] =
        [Self::Id, Self::K, Self::X, Self::P, Self::V, Self::D, Self::Ts, Self::B, Self::S];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Id => "id",
            Self::K => "k",
            Self::X => "x",
            Self::P => "p",
            Self::V => "v",
            Self::D => "d",
            Self::Ts => "ts",
            Self::B => "b",
            Self::S => "s",
        }
    }

    /// The type, for a CAST.
    pub(super) fn cast(self) -> &'static str {
        match self {
            Self::Id => "bigint",
            Self::K => "int",
            Self::X => "double",
            Self::P => "decimal(9,2)",
            Self::V => "varchar",
            Self::D => "date",
            Self::Ts => "timestamp",
            Self::B => "boolean",
            Self::S => "struct",
        }
    }

    /// How many of a hundred values are NULL.
    fn nulls(self) -> u32 {
        match self {
            Self::Id => 12,
            Self::X | Self::S => 20,
            _ => 28,
        }
    }
}

impl Generator {
    /// A column's name where this scope is.
    pub(super) fn column(&mut self, scope: &Scope, column: Column) -> Sql {
        if self.partitioned_by.contains(&column) && !["q", "o", "src"].contains(&scope.name.as_str()) {
            self.note("condition on the partition key");
        }
        if scope.bare && self.chance(50) {
            return Sql::same(column.name());
        }
        if scope.name == "@t" {
            self.note("qualified by the table's name");
        }
        Sql::same(format!("{}.{}", scope.name, column.name()))
    }

    /// A value of a column that is not NULL.
    pub(super) fn literal(&mut self, column: Column) -> Sql {
        match column {
            Column::Id => Sql::same(self.below(12).to_string()),
            Column::K => Sql::same(self.below(5).to_string()),
            Column::X => Sql::same(format!("{:.1}e0", self.below(10) as f64 / 2.0 - 1.0)),
            Column::P => Sql::same(format!("{:.2}", self.below(12) as f64 / 4.0 - 0.5)),
            Column::V => Sql::same(format!("'{}'", self.one(&["a", "b", "ab", "", "b c", "ä", "Zz"]))),
            Column::D => {
                let days =
                    ["2025-12-31", "2026-01-01", "2026-01-15", "2026-02-01", "2026-03-31", "1969-12-31"];
                Sql::same(format!("DATE '{}'", self.one(&days)))
            }
            Column::Ts => {
                let times = [
                    "2026-01-01 00:00:00",
                    "2026-01-01 23:59:59.999999",
                    "2026-01-02 12:30:00",
                    "1969-12-31 23:00:00",
                ];
                Sql::same(format!("TIMESTAMP '{}'", self.one(&times)))
            }
            Column::B => Sql::same(*self.one(&["true", "false"])),
            Column::S => {
                let a = self.below(4);
                let b = *self.one(&["x", "y", ""]);
                let a = if self.chance(20) {
                    "CAST(NULL AS int)".to_owned()
                } else {
                    format!("CAST({a} AS int)")
                };
                let b = if self.chance(20) { "CAST(NULL AS varchar)".to_owned() } else { format!("'{b}'") };
                Sql {
                    icecap: format!("named_struct('a', {a}, 'b', {b})"),
                    duckdb: format!("struct_pack(a := {a}, b := {b})"),
                }
            }
        }
    }

    /// A value of a column, which may be NULL.
    pub(super) fn stored(&mut self, column: Column) -> Sql {
        if self.chance(column.nulls()) { Sql::same("NULL") } else { self.literal(column) }
    }

    /// `(…), (…)`: rows of all columns.
    pub(super) fn rows(&mut self, count: usize) -> Sql {
        let rows: Vec<Sql> = (0..count)
            .map(|_| {
                let values: Vec<Sql> = Column::ALL.into_iter().map(|column| self.stored(column)).collect();
                sql!("({})", Sql::joined(&values, ", "))
            })
            .collect();
        Sql::joined(&rows, ", ")
    }

    /// An expression for a column's new value, over the rows of some scopes.
    pub(super) fn value(&mut self, column: Column, scopes: &[Scope]) -> Sql {
        if self.chance(14) {
            self.note("SET NULL");
            return Sql::same("NULL");
        }
        let with_column: Vec<Scope> =
            scopes.iter().filter(|scope| scope.columns.contains(&column)).cloned().collect();
        if with_column.is_empty() || self.chance(22) {
            if column == Column::S {
                self.note("SET struct");
            }
            return self.literal(column);
        }
        let scope = self.one(&with_column).clone();
        let old = self.column(&scope, column);
        match self.below(6) {
            0 => old,
            1 => self.computed(column, &old, &scope),
            2 => {
                self.note("function");
                sql!("coalesce({}, {})", old, self.literal(column))
            }
            3 => {
                self.note("CASE");
                let subqueries = std::mem::replace(&mut self.subqueries, 0);
                let condition = self.simple(scopes);
                self.subqueries = subqueries;
                sql!("CASE WHEN {} THEN {} ELSE {} END", condition, self.literal(column), old)
            }
            4 if self.subqueries > 0 && !matches!(column, Column::S | Column::B) => {
                self.subquery_value(column, &scope)
            }
            _ => self.computed(column, &old, &scope),
        }
    }

    fn subquery_value(&mut self, column: Column, scope: &Scope) -> Sql {
        self.note("SET subquery");
        let (from, name) = (self.beside(), column.name());
        let most = *self.one(&["max", "min"]);
        // The name alone would be the inner table's.
        let outer = scope.name.clone();
        if self.chance(50) && scope.columns.contains(&Column::Id) {
            self.note("correlated scalar subquery");
            return Sql::same(format!("(SELECT {most}(q.{name}) FROM {from} AS q WHERE q.id = {outer}.id)"));
        }
        self.note("scalar subquery");
        Sql::same(format!("(SELECT {most}(q.{name}) FROM {from} AS q)"))
    }

    /// Another table, or the target itself.
    pub(super) fn beside(&mut self) -> &'static str {
        if self.chance(30) {
            self.note("subquery over the target");
            return "@t";
        }
        "@u"
    }

    fn computed(&mut self, column: Column, old: &Sql, scope: &Scope) -> Sql {
        match column {
            Column::Id => {
                self.note("arithmetic");
                let by = *self.one(&["+ 1", "- 1", "+ 10", "* -1"]);
                Sql::same(format!("{} {by}", old.icecap))
            }
            Column::K => {
                self.note("arithmetic");
                let id = if scope.columns.contains(&Column::Id) {
                    self.column(scope, Column::Id)
                } else {
                    old.clone()
                };
                match self.below(3) {
                    0 => sql!("{} + 1", old),
                    1 => sql!("abs({}) % 5", old),
                    _ => sql!("CAST({} AS int)", id),
                }
            }
            Column::X => {
                self.note("arithmetic");
                let by = *self.one(&["+ 0.5e0", "* 2", "- 1"]);
                Sql::same(format!("{} {by}", old.icecap))
            }
            Column::P => {
                self.note("arithmetic");
                sql!("{} + 0.25", old)
            }
            Column::V => {
                self.note("function");
                match self.below(3) {
                    0 => sql!("upper({})", old),
                    1 => sql!("substr({} || 'x', 1, 4)", old),
                    _ => sql!("reverse({})", old),
                }
            }
            Column::D => {
                self.note("arithmetic");
                sql!("CAST({} + INTERVAL '1' DAY AS date)", old)
            }
            Column::Ts => {
                self.note("arithmetic");
                sql!("{} + INTERVAL '1' HOUR", old)
            }
            Column::B => {
                self.note("NOT");
                sql!("NOT {}", old)
            }
            Column::S => {
                self.note("SET struct");
                self.literal(Column::S)
            }
        }
    }
}
