//! One form for a value, whichever engine read it, and the comparison of rows as multisets.
//!
//! The twin of `readers/canonical.py`, which documents the form. Driven by the Iceberg type in the table's
//! metadata: `icecap`'s own JSON output and a reader's answer both go through [`Kind::canonical`], so what
//! remains different is a difference of values.

mod kind;
mod rows;

pub use kind::{Column, Kind, columns_of};
pub use rows::{Rows, difference};
