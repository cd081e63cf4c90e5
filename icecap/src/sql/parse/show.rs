//! `SHOW` of what a table is.

use datafusion::sql::sqlparser::tokenizer::Token;
use icecap_table::Result;

use crate::sql::ast::Statement;
use crate::sql::cursor::Cursor;

/// The statement here, when it is one of these.
pub(super) fn show(cursor: &mut Cursor<'_>) -> Result<Option<Statement>> {
    let statement = if cursor.take(&["SHOW", "TBLPROPERTIES"]) {
        let name = cursor.name("the name of a table")?;
        let key = if cursor.take_token(&Token::LParen) {
            let key = cursor.string("the name of a property")?;
            cursor.expect_token(&Token::RParen)?;
            Some(key)
        } else {
            None
        };
        Statement::ShowProperties { name, key }
    } else if cursor.take(&["SHOW", "CREATE", "TABLE"]) {
        Statement::ShowCreateTable { name: cursor.name("the name of a table")? }
    } else if cursor.take(&["SHOW", "COLUMNS"]) {
        if !cursor.take_any(&["IN", "FROM"]) {
            return Err(cursor.expected("IN and the name of a table"));
        }
        let mut name = cursor.name("the name of a table")?;
        if cursor.take_any(&["IN", "FROM"]) {
            let namespace = cursor.name("the name of a namespace")?;
            name.0.splice(0..0, namespace.0);
        }
        Statement::ShowColumns { name }
    } else if cursor.take(&["SHOW", "PARTITIONS"]) {
        Statement::ShowPartitions { name: cursor.name("the name of a table")? }
    } else {
        return Ok(None);
    };
    cursor.expect_end()?;
    Ok(Some(statement))
}
