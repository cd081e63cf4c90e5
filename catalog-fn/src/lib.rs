//! The catalog: namespaces, tables, and where each table is now.
//!
//! Finding is here, publishing is the commit service's: both stand on one pointer store. The Iceberg REST
//! side comes into this crate later. No SQL engine may come in.

mod catalog;

pub use catalog::Catalog;
