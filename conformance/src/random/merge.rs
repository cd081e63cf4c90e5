//! MERGE statements.

use super::statement::{Kind, Statement};
use super::value::Column;
use super::{Generator, Scope, Sql, sql};

/// The clauses made so far.
#[derive(Default)]
struct Clauses {
    texts: Vec<Sql>,
    /// When a pair of rows is acted on, in DuckDB's words; NULL is no.
    acted: Vec<String>,
}

impl Generator {
    pub(super) fn merge(&mut self) -> Statement {
        self.note("MERGE");
        let (alias, target) = self.target(false);
        let (from, source) = self.source();
        // DuckDB 1.5 fails inside ("Failed to bind column reference") on many subqueries in a MERGE's clauses.
        self.subqueries = 0;
        let on = self.on(&target, &source);
        let mut clauses = Clauses::default();
        let kinds = [self.chance(75), self.chance(60), self.chance(40)];
        let kinds = if kinds == [false; 3] { [true, false, false] } else { kinds };
        if kinds == [true; 3] {
            self.note("all kinds of clauses");
        }
        // The order of clauses of different kinds means nothing, that of clauses of one kind everything.
        let mut order = vec![0, 1, 2];
        while let Some(kind) = (!order.is_empty()).then(|| order.swap_remove(self.below(order.len()))) {
            if kinds[kind] {
                match kind {
                    0 => self.matched(&target, &source, &mut clauses),
                    1 => self.not_matched(&source, &mut clauses),
                    _ => self.by_source(&target, &mut clauses),
                }
            }
        }
        let twice = (!clauses.acted.is_empty()).then(|| {
            let acted: Vec<String> =
                clauses.acted.iter().map(|when| format!("coalesce({when}, false)")).collect();
            format!(
                "SELECT count(*) FROM (SELECT {name}.rowid FROM @t{} JOIN {} ON {} WHERE {} GROUP BY {name}.rowid HAVING count(*) > 1)",
                alias.duckdb,
                from.duckdb,
                on.duckdb,
                acted.join(" OR "),
                name = target.name,
            )
        });
        let clauses = Sql::joined(&clauses.texts, " ");
        let sql = sql!("MERGE INTO @t{} USING {} ON {} {}", alias, from, on, clauses);
        self.done(Kind::Merge, sql, twice)
    }

    fn source(&mut self) -> (Sql, Scope) {
        match self.below(10) {
            0..=2 => {
                self.note("MERGE from a table");
                (Sql::same("@u AS src"), Scope::of("src"))
            }
            3 | 4 => {
                self.note("MERGE from a subquery");
                self.grouped()
            }
            5 => {
                self.note("MERGE from a subquery");
                let condition = self.predicate(&[Scope::of("o")]);
                (sql!("(SELECT o.* FROM @u AS o WHERE {}) AS src", condition), Scope::of("src"))
            }
            6 | 7 => {
                self.note("MERGE from VALUES");
                let columns = [Column::Id, Column::K, Column::V];
                let rows: Vec<Sql> = (0..1 + self.below(5))
                    .map(|_| {
                        let values: Vec<Sql> = columns
                            .into_iter()
                            .map(|column| {
                                sql!("CAST({} AS {})", self.stored(column), Sql::same(column.cast()))
                            })
                            .collect();
                        sql!("({})", Sql::joined(&values, ", "))
                    })
                    .collect();
                let from = sql!("(VALUES {}) AS src(id, k, v)", Sql::joined(&rows, ", "));
                (from, Scope { columns: columns.to_vec(), ..Scope::of("src") })
            }
            _ => {
                self.note("MERGE from the target itself");
                if self.chance(40) {
                    return (Sql::same("@t AS src"), Scope::of("src"));
                }
                self.note("MERGE from a subquery");
                let condition = self.predicate(&[Scope::of("o")]);
                (sql!("(SELECT o.* FROM @t AS o WHERE {}) AS src", condition), Scope::of("src"))
            }
        }
    }

    fn on(&mut self, target: &Scope, source: &Scope) -> Sql {
        let t = &target.name;
        let on = match self.below(12) {
            0..=2 => {
                self.note("ON one key");
                Sql::same(format!("{t}.id = src.id"))
            }
            3..=5 => {
                self.note("ON two keys");
                Sql::same(format!("{t}.id = src.id AND {t}.k = src.k"))
            }
            6..=8 => {
                self.note("ON IS NOT DISTINCT FROM");
                Sql::same(format!("{t}.id IS NOT DISTINCT FROM src.id"))
            }
            9 => {
                self.note("ON one key");
                Sql::same(format!("src.k + 1 = {t}.id"))
            }
            _ => {
                self.note("ON without equality");
                let on = *self.one(&["< src.id - 7", "> src.id + 6", "BETWEEN src.id AND src.id + 1"]);
                return Sql::same(format!("{t}.id {on}"));
            }
        };
        if self.chance(40) {
            self.note("ON key and condition");
            let condition = self.simple(&[target.clone(), source.clone()]);
            return sql!("{} AND {}", on, condition);
        }
        on
    }

    /// ` AND condition`, or nothing for the last clause of its kind; and the condition in DuckDB's words.
    fn and(&mut self, scopes: &[Scope], is_last: bool, feature: &'static str) -> (Sql, String) {
        if is_last && self.chance(60) {
            return (Sql::same(""), "true".to_owned());
        }
        self.note(feature);
        let condition = self.predicate(scopes);
        (sql!(" AND {}", condition), condition.duckdb)
    }

    fn matched(&mut self, target: &Scope, source: &Scope, clauses: &mut Clauses) {
        let count = if self.chance(55) { 1 } else { 2 + self.below(2) };
        if count > 1 {
            self.note("several MATCHED");
        }
        let scopes = [target.clone(), source.clone()];
        for at in 0..count {
            let (and, when) = self.and(&scopes, at + 1 == count, "MATCHED AND");
            let action = match self.below(6) {
                0 | 1 => {
                    self.note("MATCHED DELETE");
                    Sql::same("DELETE")
                }
                2 if source.columns.len() == Column::ALL.len() => {
                    self.note("MATCHED UPDATE SET *");
                    self.note_keys();
                    let all = Column::ALL.map(|column| format!("{0} = src.{0}", column.name()));
                    Sql {
                        icecap: "UPDATE SET *".to_owned(),
                        duckdb: format!("UPDATE SET {}", all.join(", ")),
                    }
                }
                _ => {
                    self.note("MATCHED UPDATE");
                    sql!("UPDATE SET {}", self.assignments(target, &scopes))
                }
            };
            clauses.acted.push(when);
            clauses.texts.push(sql!("WHEN MATCHED{} THEN {}", and, action));
        }
    }

    fn note_keys(&mut self) {
        if !self.partitioned_by.is_empty() {
            self.note("SET partition key");
        }
    }

    fn not_matched(&mut self, source: &Scope, clauses: &mut Clauses) {
        let count = if self.chance(70) { 1 } else { 2 };
        if count > 1 {
            self.note("several NOT MATCHED");
        }
        for at in 0..count {
            let (and, _) = self.and(std::slice::from_ref(source), at + 1 == count, "NOT MATCHED AND");
            let by_target = if self.chance(25) { " BY TARGET" } else { "" };
            let action = if source.columns.len() == Column::ALL.len() && self.chance(45) {
                self.note("NOT MATCHED INSERT *");
                let all = Column::ALL.map(|column| format!("src.{}", column.name())).join(", ");
                Sql { icecap: "INSERT *".to_owned(), duckdb: format!("INSERT VALUES ({all})") }
            } else {
                self.note("NOT MATCHED INSERT (columns)");
                let mut columns = Column::ALL.to_vec();
                while columns.len() > 2 && self.chance(60) {
                    let at = self.below(columns.len());
                    columns.remove(at);
                }
                let values: Vec<Sql> =
                    columns.iter().map(|column| self.value(*column, std::slice::from_ref(source))).collect();
                let names: Vec<&str> = columns.iter().map(|column| column.name()).collect();
                sql!("INSERT ({}) VALUES ({})", Sql::same(names.join(", ")), Sql::joined(&values, ", "))
            };
            clauses.texts.push(sql!("WHEN NOT MATCHED{}{} THEN {}", Sql::same(by_target), and, action));
        }
    }

    fn by_source(&mut self, target: &Scope, clauses: &mut Clauses) {
        let count = if self.chance(70) { 1 } else { 2 };
        for at in 0..count {
            let (and, _) = self.and(std::slice::from_ref(target), at + 1 == count, "BY SOURCE AND");
            let action = if self.chance(45) {
                self.note("BY SOURCE DELETE");
                Sql::same("DELETE")
            } else {
                self.note("BY SOURCE UPDATE");
                sql!("UPDATE SET {}", self.assignments(target, std::slice::from_ref(target)))
            };
            clauses.texts.push(sql!("WHEN NOT MATCHED BY SOURCE{} THEN {}", and, action));
        }
    }
}
