//! `OPTIMIZE`, as Athena writes it.

use icecap_table::{Error, Result};

use super::query;
use crate::sql::ast::Statement;
use crate::sql::cursor::Cursor;

/// What follows `OPTIMIZE`.
pub(super) fn optimize(cursor: &mut Cursor<'_>) -> Result<Statement> {
    let name = cursor.name("the name of a table")?;
    for word in ["REWRITE", "DATA", "USING"] {
        if !cursor.take(&[word]) {
            return Err(cursor.expected("REWRITE DATA USING BIN_PACK"));
        }
    }
    if cursor.is_keyword("SORT") || cursor.is_keyword("ZORDER") {
        return Err(Error::unsupported(format!(
            "{}: OPTIMIZE … USING {} is not supported yet: BIN_PACK keeps the table's sort order",
            cursor.place(),
            cursor.word_at(0).unwrap_or_default().to_ascii_uppercase()
        )));
    }
    if !cursor.take(&["BIN_PACK"]) {
        return Err(cursor.expected("BIN_PACK"));
    }
    let filter = if cursor.take(&["WHERE"]) { Some(query::rows_where(cursor, &name)?) } else { None };
    cursor.expect_end()?;
    Ok(Statement::Optimize { name, filter })
}
