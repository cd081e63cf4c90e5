//! Random tables and random statements that change them, each in two spellings: Icecap's and DuckDB's.
//!
//! A seed gives the same statements every time. Where DuckDB 1.x lets pass what must fail (two source rows for one target
//! row), the statement brings a query that counts such rows. Values are chosen from few, NULL often among them, so that
//! conditions meet rows; arithmetic stays where both engines are exact. Running and comparing is not done here.

mod coverage;
mod merge;
mod predicate;
mod statement;
mod value;

pub use coverage::{Coverage, FEATURES};
pub use statement::{Kind, Statement};
pub use value::{COLUMNS_OF_DUCKDB, COLUMNS_OF_ICECAP, SCHEMA};

use std::collections::BTreeSet;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use self::value::Column;

/// A text in both spellings. `@t` and `@u` stand for the names of the changed table and of the one beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sql {
    /// As Icecap takes it.
    pub icecap: String,
    /// As DuckDB takes it.
    pub duckdb: String,
}

impl Sql {
    fn same(text: impl Into<String>) -> Self {
        let text = text.into();
        Self { icecap: text.clone(), duckdb: text }
    }

    fn joined(parts: &[Self], between: &str) -> Self {
        let of = |side: fn(&Self) -> &str| parts.iter().map(side).collect::<Vec<_>>().join(between);
        Self { icecap: of(|sql| &sql.icecap), duckdb: of(|sql| &sql.duckdb) }
    }
}

/// Puts parts into the `{}` of a form, in both spellings.
macro_rules! sql {
    ($form:literal $(, $part:expr)* $(,)?) => {
        $crate::random::fill($form, &[$(&$part),*])
    };
}
use sql;

fn fill(form: &str, parts: &[&Sql]) -> Sql {
    let mut filled = Sql::same("");
    for (at, piece) in form.split("{}").enumerate() {
        if let Some(part) = at.checked_sub(1).and_then(|before| parts.get(before)) {
            filled.icecap += &part.icecap;
            filled.duckdb += &part.duckdb;
        }
        filled.icecap += piece;
        filled.duckdb += piece;
    }
    filled
}

/// The partition fields of random tables, of which each table has a list; the columns in them.
pub const PARTITIONINGS: [&[&str]; 14] = [
    &["k"],
    &["bucket(4, id)", "k"],
    &["truncate(1, v)", "b"],
    &["month(d)", "bucket(2, v)"],
    &["day(ts)", "k"],
    &["b", "truncate(2, k)"],
    &["d"],
    &["p", "bucket(3, k)"],
    &["year(d)", "k"],
    &["hour(ts)"],
    &["v", "month(ts)"],
    &["truncate(5, id)", "d"],
    &["id"],
    &["bucket(3, d)", "v"],
];

/// Of a hundred conditions those with a subquery, where there may be one.
const SUBQUERIES: u32 = 34;

/// Makes statements.
pub struct Generator {
    rng: StdRng,
    found: BTreeSet<&'static str>,
    partitioned_by: Vec<Column>,
    /// In how many of a hundred conditions a subquery is used.
    subqueries: u32,
}

/// A table that an expression may use, by its name or alias, and its columns.
#[derive(Debug, Clone)]
struct Scope {
    name: String,
    columns: Vec<Column>,
    /// Whether a column's name alone is enough.
    bare: bool,
}

impl Scope {
    fn of(name: &str) -> Self {
        Self { name: name.to_owned(), columns: Column::ALL.to_vec(), bare: false }
    }
}

impl Generator {
    /// Of a seed, for a table partitioned by these fields.
    pub fn new(seed: u64, fields: &[&str]) -> Self {
        let is_in = |column: &Column| {
            fields
                .iter()
                .any(|field| field.split(|c: char| !c.is_alphanumeric()).any(|word| word == column.name()))
        };
        Self {
            rng: StdRng::seed_from_u64(seed),
            found: BTreeSet::new(),
            partitioned_by: Column::ALL.into_iter().filter(is_in).collect(),
            subqueries: SUBQUERIES,
        }
    }

    /// A statement that helps what is covered least: the best of some.
    pub fn next(&mut self, coverage: &Coverage) -> Statement {
        const TRIED: usize = 80;
        let mut best = self.statement();
        for _ in 1..TRIED {
            let other = self.statement();
            if coverage.worth(&other.features) > coverage.worth(&best.features) {
                best = other;
            }
        }
        best
    }

    fn note(&mut self, feature: &'static str) {
        self.found.insert(feature);
    }

    fn chance(&mut self, percent: u32) -> bool {
        self.rng.random_range(0..100) < percent
    }

    fn below(&mut self, end: usize) -> usize {
        self.rng.random_range(0..end)
    }

    fn one<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        let at = self.below(of.len());
        &of[at]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_statements_and_every_feature_comes() {
        let texts = |seed| {
            let (mut coverage, mut generator) = (Coverage::default(), Generator::new(seed, &["k", "v"]));
            let mut texts = Vec::new();
            for _ in 0..600 {
                let statement = generator.next(&coverage);
                coverage.count(&statement.features);
                texts.push(statement.sql.icecap);
            }
            (texts, coverage)
        };
        let (first, coverage) = texts(7);
        assert_eq!(first, texts(7).0);
        assert_ne!(first, texts(8).0);
        // That one is counted where statements are run.
        let rare: Vec<String> =
            coverage.below(8).into_iter().filter(|rare| !rare.starts_with("two source")).collect();
        assert_eq!(rare, Vec::<String>::new());
    }

    #[test]
    fn a_key_of_the_partitioning_is_known() {
        let generator = Generator::new(1, &["bucket(4, id)", "month(ts)"]);
        assert_eq!(generator.partitioned_by, [Column::Id, Column::Ts]);
    }
}
