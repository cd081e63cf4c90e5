//! `DELETE FROM t [[AS] a] [WHERE …]`.

use icecap_table::Result;

use super::row_level::{Rest, target};
use crate::sql::ast::Delete;
use crate::sql::cursor::Cursor;

/// What follows `DELETE FROM`.
pub(super) fn delete(cursor: &mut Cursor<'_>) -> Result<Delete> {
    let (table, alias) = target(cursor, &["WHERE", "USING", "RETURNING", "LIMIT", "ORDER"])?;
    let mut rest = Rest::of(cursor)?;
    if rest.is(&["USING"]) {
        return Err(rest.unsupported("DELETE … USING (write WHERE … IN (SELECT …), or MERGE)"));
    }
    let condition = rest.condition()?;
    rest.end("WHERE, AND, OR or the end of the statement")?;
    Ok(Delete { table, alias, condition })
}
