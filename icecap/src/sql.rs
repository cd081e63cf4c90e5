//! SQL: text to statements, names, types, query planning, and strict store assignment.
//!
//! Nothing here reads a table, a file or a catalog: whoever runs a statement resolves the names that
//! the statements and [`resolve_tables`](resolve::resolve_tables) hand out, and gives the sources back for planning.

pub mod assign;
pub mod ast;
mod cursor;
mod depth;
mod dialect;
mod error;
mod functions;
mod hidden;
pub mod lower;
pub mod names;
mod parse;
pub mod plan;
pub mod resolve;
mod script;
mod semantics;
mod spelling;
pub mod store;
mod tokens;
mod twins;
pub mod types;
mod values;

pub use ast::{
    AlterAction, AlterTable, Assignment, ColumnDef, CreateTable, Delete, Insert, MatchKind, Merge,
    MergeAction, MergeClause, Name, NamePart, ParsedStatement, PartitionTerm, SortTerm, Statement, TableUse,
    TableUseKind, Update, Value, VersionSpec,
};
pub use error::from_datafusion;
pub(crate) use hidden::HIDDEN_MARK;
pub use hidden::{HIDDEN_COLUMNS, mentions_hidden};
pub(crate) use parse::parse_condition;
pub use parse::{parse_columns, parse_name, parse_script, parse_statement};
pub use script::{MAX_STATEMENT_BYTES, StatementText, split_script};
pub use semantics::register as register_functions;
