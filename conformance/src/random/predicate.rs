//! Conditions.

use super::value::Column;
use super::{Generator, Scope, Sql, sql};

const COMPARISONS: [&str; 6] = ["=", "<>", "<", "<=", ">", ">="];
const SCALARS: [Column; 8] =
    [Column::Id, Column::K, Column::X, Column::P, Column::V, Column::D, Column::Ts, Column::B];

impl Generator {
    /// A condition over some scopes: a few simple ones put together.
    pub(super) fn predicate(&mut self, scopes: &[Scope]) -> Sql {
        let first = self.simple(scopes);
        match self.below(10) {
            0 | 1 => first,
            2..=4 => {
                self.note("AND");
                sql!("({} AND {})", first, self.simple(scopes))
            }
            5..=7 => {
                self.note("OR");
                sql!("({} OR {})", first, self.simple(scopes))
            }
            8 => {
                self.note("NOT");
                sql!("NOT ({})", first)
            }
            _ => {
                self.note("AND");
                self.note("OR");
                self.note("NOT");
                sql!("({} OR ({} AND NOT ({})))", first, self.simple(scopes), self.simple(scopes))
            }
        }
    }

    /// One condition on what the table is partitioned by, which metadata may decide alone.
    pub(super) fn of_partitions(&mut self, scope: Scope) -> Sql {
        let subqueries = std::mem::replace(&mut self.subqueries, 0);
        let columns = self.partitioned_by.clone();
        let condition = self.simple(&[Scope { columns, ..scope }]);
        self.subqueries = subqueries;
        condition
    }

    /// One condition.
    pub(super) fn simple(&mut self, scopes: &[Scope]) -> Sql {
        let scope = self.one(scopes).clone();
        let usable: Vec<Column> =
            SCALARS.into_iter().filter(|column| scope.columns.contains(column)).collect();
        let keys: Vec<Column> =
            usable.iter().copied().filter(|column| self.partitioned_by.contains(column)).collect();
        // NULL partitions are where engines err.
        let column = if !keys.is_empty() && self.chance(40) { *self.one(&keys) } else { *self.one(&usable) };
        if self.chance(self.subqueries) {
            return self.subquery(&scope);
        }
        let of = self.column(&scope, column);
        match self.below(17) {
            0..=3 => {
                self.note("comparison");
                let comparison = Sql::same(*self.one(&COMPARISONS));
                sql!("{} {} {}", of, comparison, self.literal(column))
            }
            4 => {
                self.note("comparison with NULL");
                let comparison = Sql::same(*self.one(&COMPARISONS));
                sql!("{} {} CAST(NULL AS {})", of, comparison, Sql::same(column.cast()))
            }
            5 | 6 => {
                self.note("IS NULL");
                let is = Sql::same(*self.one(&["IS NULL", "IS NOT NULL"]));
                sql!("{} {}", of, is)
            }
            7 => {
                self.note("IS DISTINCT FROM");
                let is = Sql::same(*self.one(&["IS DISTINCT FROM", "IS NOT DISTINCT FROM"]));
                sql!("{} {} {}", of, is, self.stored_cast(column))
            }
            8 => {
                self.note("BETWEEN");
                let not = Sql::same(*self.one(&["", "NOT "]));
                sql!("{} {}BETWEEN {} AND {}", of, not, self.literal(column), self.literal(column))
            }
            9..=11 => self.list(column, &of),
            12 => {
                let v = if scope.columns.contains(&Column::V) {
                    self.column(&scope, Column::V)
                } else {
                    return sql!("{} IS NOT NULL", of);
                };
                self.note("LIKE");
                let not = Sql::same(*self.one(&["", "NOT "]));
                let pattern = Sql::same(*self.one(&["a%", "%b", "_", "%", "b_c"]));
                sql!("{} {}LIKE '{}'", v, not, pattern)
            }
            13 => self.columns_compared(scopes, &scope),
            14 => {
                self.note("arithmetic");
                let number = if scope.columns.contains(&Column::K) { Column::K } else { Column::Id };
                let number = self.column(&scope, number);
                let rest = self.below(3).to_string();
                sql!("{} % 3 = {}", number, Sql::same(rest))
            }
            15 => {
                self.note("function");
                let comparison = Sql::same(*self.one(&COMPARISONS));
                sql!("coalesce({}, {}) {} {}", of, self.literal(column), comparison, self.literal(column))
            }
            _ if scope.columns.contains(&Column::S) => {
                self.note("field of a struct");
                let s = Sql::same(format!("{}.s", scope.name));
                if self.chance(50) {
                    let comparison = Sql::same(*self.one(&COMPARISONS));
                    let a = Sql::same(self.below(4).to_string());
                    return sql!("{}.a {} {}", s, comparison, a);
                }
                let is = Sql::same(*self.one(&["= 'x'", "IS NULL", "<> 'y'", "IN ('x', '')"]));
                sql!("{}.b {}", s, is)
            }
            _ => {
                self.note("CASE");
                let then = self.literal(Column::B);
                sql!("CASE WHEN {} IS NULL THEN {} ELSE {} > {} END", of, then, of, self.literal(column))
            }
        }
    }

    fn stored_cast(&mut self, column: Column) -> Sql {
        sql!("CAST({} AS {})", self.stored(column), Sql::same(column.cast()))
    }

    fn list(&mut self, column: Column, of: &Sql) -> Sql {
        let mut values: Vec<Sql> = (0..1 + self.below(4)).map(|_| self.literal(column)).collect();
        if self.chance(45) {
            self.note("list with NULL");
            values.push(Sql::same("NULL"));
        }
        let values = Sql::joined(&values, ", ");
        if self.chance(50) {
            self.note("NOT IN list");
            return sql!("{} NOT IN ({})", of, values);
        }
        self.note("IN list");
        sql!("{} IN ({})", of, values)
    }

    fn columns_compared(&mut self, scopes: &[Scope], scope: &Scope) -> Sql {
        self.note("column and column");
        let other = self.one(scopes).clone();
        let comparison = Sql::same(*self.one(&COMPARISONS));
        let number = |scope: &Scope| if scope.columns.contains(&Column::K) { Column::K } else { Column::Id };
        let (left, right) = (self.column(scope, Column::Id), self.column(&other, number(&other)));
        sql!("{} {} {}", left, comparison, right)
    }

    /// A condition with a subquery. The outer column is never written alone: the inner table has one of that name.
    fn subquery(&mut self, scope: &Scope) -> Sql {
        let numbers: Vec<Column> =
            [Column::Id, Column::K].into_iter().filter(|column| scope.columns.contains(column)).collect();
        let outer = *self.one(&numbers);
        let qualified = Scope { bare: false, ..scope.clone() };
        let (of, from) = (self.column(&qualified, outer), Sql::same(self.beside()));
        let inner = Scope::of("q");
        let name = Sql::same(self.one(&["id", "k"]).to_owned());
        let subqueries = std::mem::replace(&mut self.subqueries, 0);
        let condition = if self.chance(60) { self.simple(&[inner]) } else { Sql::same("true") };
        self.subqueries = subqueries;
        let not = self.chance(50);
        match self.below(5) {
            0 | 1 => {
                self.note(if not { "NOT IN subquery" } else { "IN subquery" });
                let not = Sql::same(if not { "NOT " } else { "" });
                sql!("{} {}IN (SELECT q.{} FROM {} AS q WHERE {})", of, not, name, from, condition)
            }
            2 => {
                self.note(if not { "NOT EXISTS" } else { "EXISTS" });
                let not = Sql::same(if not { "NOT " } else { "" });
                sql!(
                    "{}EXISTS (SELECT 1 FROM {} AS q WHERE q.{} = {} AND {})",
                    not,
                    from,
                    name,
                    of,
                    condition
                )
            }
            3 => {
                self.note("scalar subquery");
                let (comparison, most) =
                    (Sql::same(*self.one(&COMPARISONS)), Sql::same(*self.one(&["min", "max", "avg"])));
                sql!("{} {} (SELECT {}(q.k) FROM {} AS q WHERE {})", of, comparison, most, from, condition)
            }
            _ => {
                self.note("correlated scalar subquery");
                let comparison = Sql::same(*self.one(&COMPARISONS));
                if self.chance(40) {
                    return sql!(
                        "(SELECT count(*) FROM {} AS q WHERE q.{} = {}) {} 1",
                        from,
                        name,
                        of,
                        comparison
                    );
                }
                sql!("{} {} (SELECT max(q.id) FROM {} AS q WHERE q.{} = {})", of, comparison, from, name, of)
            }
        }
    }
}
