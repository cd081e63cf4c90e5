//! SQL: text to statements, names, types, query planning, and strict store assignment.
//!
//! Nothing here reads a table, a file or a catalog: whoever runs a statement resolves the names that
//! the statements and [`resolve`](mod@resolve) hand out, and gives the sources back for planning.

pub mod ast;

pub use ast::{
    ColumnDef, CreateTable, Insert, Name, NamePart, ParsedStatement, PartitionTerm, Statement, TableUse,
    TableUseKind, Value, VersionSpec,
};
