//! Predicates judged over metadata: which files may hold a matching row, which hold nothing else.
//!
//! One evaluator serves scan planning, metadata-only deletes and conflict filters. It computes, for a file,
//! the set of SQL truth values that a predicate may take over the file's rows (`truth`): the inclusive
//! judgment asks whether that set has "true", the strict one whether it has nothing else. What is known of
//! a column (`facts`) comes from bounds and counts, and from partition values read backwards through
//! their transform (`partition`); the two are joined before the predicate is judged.
//!
//! No row is evaluated here and nothing is read: what files there are is [`scan`](crate::scan)'s to find.

mod facts;
mod filter;
mod judge;
mod metrics;
mod partition;
mod truth;
pub(crate) mod value;

#[cfg(test)]
mod tests;

pub use judge::Judge;
pub use metrics::{FileMetrics, ListedFile, PartitionValue};
