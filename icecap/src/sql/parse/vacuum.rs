//! `VACUUM`, as Athena writes it.

use icecap_table::Result;

use crate::sql::ast::Statement;
use crate::sql::cursor::Cursor;

/// What follows `VACUUM`.
pub(super) fn vacuum(cursor: &mut Cursor<'_>) -> Result<Statement> {
    let name = cursor.name("the name of a table")?;
    cursor.expect_end()?;
    Ok(Statement::Vacuum { name })
}
