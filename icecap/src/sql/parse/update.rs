//! `UPDATE t [[AS] a] SET column = value, … [FROM …] [WHERE …]`.

use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::tokenizer::Token;
use icecap_table::Result;

use super::row_level::{Rest, target};
use crate::sql::ast::Update;
use crate::sql::cursor::Cursor;

/// What follows `UPDATE`.
pub(super) fn update(cursor: &mut Cursor<'_>) -> Result<Update> {
    let (table, alias) = target(cursor, &["SET", "FROM", "WHERE"])?;
    let mut rest = Rest::of(cursor)?;
    rest.expect(&["SET"])?;
    let assignments = rest.assignments()?;
    let mut from = Vec::new();
    if rest.take(&["FROM"]) {
        loop {
            from.push(rest.read(Parser::parse_table_and_joins)?);
            if !rest.take_token(&Token::Comma) {
                break;
            }
        }
    }
    let condition = rest.condition()?;
    rest.end("`,` and another assignment, FROM, WHERE or the end of the statement")?;
    Ok(Update { table, alias, assignments, from, condition })
}
