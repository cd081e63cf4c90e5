//! By family of statements.

mod catalog;
mod create;
mod hostile;
mod query;
mod row_level;
mod upkeep;

use super::*;
use crate::sql::ast::{Name, NamePart};

fn parse(sql: &str) -> Statement {
    let mut statements = parse_script(sql).unwrap();
    assert_eq!(statements.len(), 1, "{sql}");
    statements.remove(0).statement
}

fn message(sql: &str) -> String {
    parse_script(sql).unwrap_err().to_string()
}

fn name(parts: &[&str]) -> Name {
    Name(parts.iter().map(|part| NamePart::unquoted(*part)).collect())
}
