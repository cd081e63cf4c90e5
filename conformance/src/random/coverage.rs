//! How often each feature of the grammar was used.

use std::collections::{BTreeMap, BTreeSet};

/// The features.
pub const FEATURES: [&str; 65] = [
    "DELETE",
    "DELETE without WHERE",
    "DELETE by the partition key",
    "UPDATE",
    "UPDATE of several columns",
    "UPDATE FROM table",
    "UPDATE FROM subquery",
    "MERGE",
    "INSERT VALUES",
    "alias of the target",
    "qualified by the table's name",
    "MERGE from a table",
    "MERGE from a subquery",
    "MERGE from VALUES",
    "MERGE from the target itself",
    "ON one key",
    "ON two keys",
    "ON key and condition",
    "ON without equality",
    "ON IS NOT DISTINCT FROM",
    "MATCHED UPDATE",
    "MATCHED UPDATE SET *",
    "MATCHED DELETE",
    "MATCHED AND",
    "several MATCHED",
    "NOT MATCHED INSERT (columns)",
    "NOT MATCHED INSERT *",
    "NOT MATCHED AND",
    "several NOT MATCHED",
    "BY SOURCE UPDATE",
    "BY SOURCE DELETE",
    "BY SOURCE AND",
    "all kinds of clauses",
    "two source rows for one target row",
    "comparison",
    "comparison with NULL",
    "IS NULL",
    "IS DISTINCT FROM",
    "BETWEEN",
    "IN list",
    "NOT IN list",
    "list with NULL",
    "LIKE",
    "AND",
    "OR",
    "NOT",
    "column and column",
    "arithmetic",
    "function",
    "CASE",
    "field of a struct",
    "condition on the partition key",
    "IN subquery",
    "NOT IN subquery",
    "EXISTS",
    "NOT EXISTS",
    "scalar subquery",
    "correlated scalar subquery",
    "subquery over the target",
    "SET NULL",
    "SET field of a struct",
    "SET struct",
    "SET partition key",
    "SET subquery",
    "value out of range",
];

/// Counts of features.
#[derive(Debug, Clone, Default)]
pub struct Coverage(BTreeMap<&'static str, usize>);

impl Coverage {
    /// Counts a statement's.
    pub fn count(&mut self, features: &BTreeSet<&'static str>) {
        for feature in features {
            *self.0.entry(feature).or_default() += 1;
        }
    }

    /// Adds other counts.
    pub fn add(&mut self, other: &Self) {
        for (feature, count) in &other.0 {
            *self.0.entry(feature).or_default() += count;
        }
    }

    /// How much a statement of these features is worth: the rarer, the more.
    pub fn worth(&self, features: &BTreeSet<&'static str>) -> f64 {
        features.iter().map(|feature| 1.0 / (1.0 + self.of(feature) as f64).powi(12)).sum()
    }

    /// How often a feature was used.
    pub fn of(&self, feature: &str) -> usize {
        self.0.get(feature).copied().unwrap_or_default()
    }

    /// The features that were used less often than that, with their counts.
    pub fn below(&self, least: usize) -> Vec<String> {
        let rare = FEATURES.iter().filter(|feature| self.of(feature) < least);
        rare.map(|feature| format!("{feature}: {}", self.of(feature))).collect()
    }
}
