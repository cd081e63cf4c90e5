//! Text to statements: heads are read here, queries and expressions inside by sqlparser.

mod alter;
mod call;
mod create;
mod delete;
mod merge;
mod optimize;
mod query;
mod row_level;
mod show;
#[cfg(test)]
mod tests;
mod update;
mod vacuum;

use datafusion::sql::sqlparser::ast::Query;
use datafusion::sql::sqlparser::tokenizer::Token;
use icecap_table::iceberg::spec::Type;
use icecap_table::{Error, Result};

use super::ast::{Insert, Name, ParsedStatement, Statement};
use super::cursor::{Cursor, Tokens};
use super::depth::check_depth;
use super::script::{StatementText, split_script};
use super::types::type_at;

/// Parses a script: statements that end at `;`.
///
/// # Errors
/// `Invalid` for SQL that is wrong, saying the line and column in the script and what was expected;
/// `Unsupported` for a statement that is not done yet, naming it.
pub fn parse_script(sql: &str) -> Result<Vec<ParsedStatement>> {
    split_script(sql)?.iter().map(parse_statement).collect()
}

/// Parses one statement.
///
/// # Errors
/// As [`parse_script`].
pub fn parse_statement(text: &StatementText<'_>) -> Result<ParsedStatement> {
    let tokens = Tokens::read(text)?;
    check_depth(&tokens.list, tokens.origin())?;
    let statement = statement(&mut tokens.cursor())?;
    Ok(ParsedStatement { text: text.text.to_owned(), statement })
}

/// The dotted name that a text holds, as the argument of a procedure does.
///
/// # Errors
/// `Invalid` when it holds something else.
pub fn parse_name(text: &str) -> Result<Name> {
    let wrong =
        || Error::invalid(format!("{text:?} is no name of a table: write it as in 'namespace.table'"));
    let tokens = Tokens::of(text).map_err(|_| wrong())?;
    let mut cursor = tokens.cursor();
    let name = cursor.name("the name of a table").map_err(|_| wrong())?;
    if cursor.is_at_end() { Ok(name) } else { Err(wrong()) }
}

/// The rows of `table` that satisfy the condition in a text, as a query of all its columns.
///
/// # Errors
/// `Invalid` when it holds something else than a condition.
pub(crate) fn parse_condition(table: &Name, text: &str) -> Result<Box<Query>> {
    let tokens = Tokens::of(text)?;
    check_depth(&tokens.list, tokens.origin())?;
    query::rows_where(&mut tokens.cursor(), table)
}

/// The columns that a text holds, as in `id bigint, at timestamp`: names and types.
///
/// # Errors
/// `Invalid` when it holds something else, or a name twice.
pub fn parse_columns(text: &str) -> Result<Vec<(String, Type)>> {
    let tokens = Tokens::of(text)?;
    check_depth(&tokens.list, tokens.origin())?;
    let mut cursor = tokens.cursor();
    let mut columns: Vec<(String, Type)> = Vec::new();
    let mut next_id = 0;
    loop {
        let here = cursor.clone();
        // Names of fields are as they are written: they are looked for in data.
        let name = cursor.identifier("the name of a column")?.value;
        if columns.iter().any(|(other, _)| *other == name) {
            return Err(here.invalid(&format!("the column {name} is there twice")));
        }
        columns.push((name, type_at(&mut cursor, &mut next_id)?));
        if !cursor.take_token(&Token::Comma) {
            break;
        }
    }
    cursor.expect_end()?;
    Ok(columns)
}

/// Statements that are known and not done yet, by their first words.
const NOT_YET: &[&[&str]] = &[
    &["INSERT", "OVERWRITE"],
    &["ALTER", "DATABASE"],
    &["ALTER"],
    &["CREATE", "VIEW"],
    &["CREATE", "OR", "REPLACE", "VIEW"],
    &["CREATE", "OR", "REPLACE", "TABLE"],
    &["CREATE", "EXTERNAL", "TABLE"],
    &["CREATE", "TEMPORARY"],
    &["CREATE", "FUNCTION"],
    &["CREATE", "BRANCH"],
    &["CREATE", "TAG"],
    &["CREATE", "INDEX"],
    &["CREATE", "ROLE"],
    &["CREATE", "CATALOG"],
    &["REPLACE", "TABLE"],
    &["DROP", "VIEW"],
    &["DROP", "FUNCTION"],
    &["DROP", "INDEX"],
    &["TRUNCATE"],
    &["UNLOAD"],
    &["COPY"],
    &["EXPORT"],
    &["IMPORT"],
    &["PREPARE"],
    &["EXECUTE"],
    &["DEALLOCATE"],
    &["BEGIN"],
    &["START", "TRANSACTION"],
    &["COMMIT"],
    &["ROLLBACK"],
    &["SHOW", "CREATE", "VIEW"],
    &["SHOW", "VIEWS"],
    &["SHOW", "FUNCTIONS"],
    &["SHOW", "CATALOGS"],
    &["SHOW", "SESSION"],
    &["SHOW"],
    &["SET"],
    &["RESET"],
    &["USE"],
    &["ANALYZE"],
    &["REFRESH"],
    &["CACHE"],
    &["COMMENT"],
    &["GRANT"],
    &["REVOKE"],
    &["DENY"],
    &["MSCK"],
    &["REPAIR"],
    &["LOAD"],
    &["RENAME"],
    &["UNDROP"],
    &["ATTACH"],
    &["DETACH"],
    &["PRAGMA"],
    &["KILL"],
    &["LOCK"],
];

fn statement(cursor: &mut Cursor<'_>) -> Result<Statement> {
    if matches!(cursor.peek(), Some(Token::LParen))
        || ["SELECT", "WITH", "VALUES", "TABLE"].iter().any(|word| cursor.is_keyword(word))
    {
        return Ok(Statement::Query(query::query(cursor)?));
    }
    if cursor.take(&["CREATE", "TABLE"]) {
        return Ok(Statement::CreateTable(Box::new(create::create_table(cursor)?)));
    }
    if cursor.is_keyword("CREATE") && is_namespace(cursor, 1) {
        cursor.advance();
        cursor.advance();
        return create::create_namespace(cursor);
    }
    if cursor.take(&["DROP", "TABLE"]) {
        return drop_table(cursor);
    }
    if cursor.is_keyword("DROP") && is_namespace(cursor, 1) {
        cursor.advance();
        cursor.advance();
        return drop_namespace(cursor);
    }
    if cursor.take(&["INSERT", "INTO"]) {
        return insert(cursor);
    }
    if cursor.take(&["DELETE", "FROM"]) {
        return Ok(Statement::Delete(Box::new(delete::delete(cursor)?)));
    }
    if cursor.take(&["UPDATE"]) {
        return Ok(Statement::Update(Box::new(update::update(cursor)?)));
    }
    if cursor.take(&["MERGE", "INTO"]) {
        return Ok(Statement::Merge(Box::new(merge::merge(cursor)?)));
    }
    if cursor.take(&["ALTER", "TABLE"]) {
        return alter::alter_table(cursor);
    }
    if cursor.take(&["CALL"]) {
        return call::call(cursor);
    }
    if cursor.take(&["OPTIMIZE"]) {
        return optimize::optimize(cursor);
    }
    if cursor.take(&["VACUUM"]) {
        return vacuum::vacuum(cursor);
    }
    if cursor.take(&["EXPLAIN"]) {
        return explain(cursor);
    }
    if cursor.take(&["SHOW", "TABLES"]) {
        let namespace = if cursor.take_any(&["IN", "FROM"]) {
            Some(cursor.name("the name of a namespace")?)
        } else {
            None
        };
        let pattern = pattern(cursor)?;
        return Ok(Statement::ShowTables { namespace, pattern });
    }
    if let Some(statement) = show::show(cursor)? {
        return Ok(statement);
    }
    if cursor.is_keyword("SHOW")
        && ["NAMESPACES", "DATABASES", "SCHEMAS"].iter().any(|word| cursor.is_keyword_at(1, word))
    {
        cursor.advance();
        cursor.advance();
        return Ok(Statement::ShowNamespaces { pattern: pattern(cursor)? });
    }
    if cursor.take_any(&["DESCRIBE", "DESC"]) {
        return describe(cursor);
    }
    if let Some(known) = NOT_YET.iter().find(|words| cursor.are_keywords(words)) {
        return Err(Error::unsupported(format!(
            "{}: {} is not supported yet",
            cursor.place(),
            known.join(" ")
        )));
    }
    let missing = match cursor.word_at(0).map(str::to_ascii_uppercase).as_deref() {
        Some("CREATE") => Some("TABLE or DATABASE"),
        Some("DROP") => Some("TABLE or DATABASE"),
        Some("INSERT" | "MERGE") => Some("INTO"),
        Some("DELETE") => Some("FROM"),
        _ => None,
    };
    if let Some(missing) = missing {
        cursor.advance();
        return Err(cursor.expected(missing));
    }
    Err(cursor.expected(
        "a statement such as SELECT, INSERT INTO, DELETE FROM, UPDATE, MERGE INTO, CREATE TABLE, DROP TABLE, SHOW TABLES or DESCRIBE",
    ))
}

fn is_namespace(cursor: &Cursor<'_>, ahead: usize) -> bool {
    ["DATABASE", "SCHEMA", "NAMESPACE"].iter().any(|word| cursor.is_keyword_at(ahead, word))
}

fn drop_table(cursor: &mut Cursor<'_>) -> Result<Statement> {
    let if_exists = cursor.take(&["IF", "EXISTS"]);
    let name = cursor.name("the name of a table")?;
    let purge = cursor.take(&["PURGE"]);
    cursor.expect_end()?;
    Ok(Statement::DropTable { name, if_exists, purge })
}

fn drop_namespace(cursor: &mut Cursor<'_>) -> Result<Statement> {
    let if_exists = cursor.take(&["IF", "EXISTS"]);
    let name = cursor.name("the name of a namespace")?;
    let cascade = cursor.take(&["CASCADE"]);
    if !cascade {
        cursor.take(&["RESTRICT"]);
    }
    cursor.expect_end()?;
    Ok(Statement::DropNamespace { name, if_exists, cascade })
}

/// `['pattern' | LIKE 'pattern']` and the end.
fn pattern(cursor: &mut Cursor<'_>) -> Result<Option<String>> {
    let pattern =
        if cursor.take(&["LIKE"]) || !cursor.is_at_end() { Some(cursor.string("a pattern")?) } else { None };
    cursor.expect_end()?;
    Ok(pattern)
}

fn describe(cursor: &mut Cursor<'_>) -> Result<Statement> {
    // Each of these words may be a table's name too: it is a keyword only when a name follows.
    let keyword = |cursor: &Cursor<'_>, word: &str| {
        cursor.is_keyword(word) && matches!(cursor.peek_at(1), Some(Token::Word(_)))
    };
    for unsupported in ["DATABASE", "SCHEMA", "NAMESPACE", "FUNCTION", "QUERY", "INPUT", "OUTPUT"] {
        if keyword(cursor, unsupported) {
            return Err(Error::unsupported(format!(
                "{}: DESCRIBE {unsupported} is not supported yet",
                cursor.place()
            )));
        }
    }
    if keyword(cursor, "TABLE") {
        cursor.advance();
    }
    let extended = keyword(cursor, "EXTENDED") || keyword(cursor, "FORMATTED");
    if extended {
        cursor.advance();
    }
    let name = cursor.name("the name of a table")?;
    cursor.expect_end()?;
    Ok(Statement::Describe { name, extended })
}

/// What follows `EXPLAIN`.
fn explain(cursor: &mut Cursor<'_>) -> Result<Statement> {
    let refused = |cursor: &Cursor<'_>, what: &str| {
        Err(Error::unsupported(format!("{}: EXPLAIN {what} is not supported yet", cursor.place())))
    };
    let analyze = cursor.take(&["ANALYZE"]);
    let dry_run = matches!(cursor.peek(), Some(Token::LParen))
        && cursor.is_keyword_at(1, "DRY")
        && cursor.is_keyword_at(2, "RUN")
        && matches!(cursor.peek_at(3), Some(Token::RParen));
    if dry_run && analyze {
        return Err(
            cursor.invalid("EXPLAIN ANALYZE runs the statement and DRY RUN does not: write one of them")
        );
    }
    if dry_run {
        (0..4).for_each(|_| cursor.advance());
    }
    for option in ["VERBOSE", "EXTENDED", "FORMATTED", "COST", "CODEGEN", "LOGICAL", "DISTRIBUTED"] {
        if cursor.is_keyword(option) {
            return refused(cursor, option);
        }
    }
    if matches!(cursor.peek(), Some(Token::LParen))
        && ["TYPE", "FORMAT"].iter().any(|word| cursor.is_keyword_at(1, word))
    {
        return refused(cursor, "(…)");
    }
    let here = cursor.clone();
    if cursor.is_keyword("EXPLAIN") {
        return Err(cursor.expected("a query, INSERT INTO, CREATE TABLE … AS, DELETE, UPDATE or MERGE"));
    }
    let statement = statement(cursor)?;
    match &statement {
        Statement::Query(_) if dry_run => {
            return Err(here.invalid(
                "a query writes nothing: DRY RUN is for INSERT, CREATE TABLE … AS, DELETE, UPDATE and MERGE",
            ));
        }
        Statement::Query(_)
        | Statement::Insert(_)
        | Statement::Delete(_)
        | Statement::Update(_)
        | Statement::Merge(_) => {}
        Statement::CreateTable(create) if create.query.is_some() => {}
        _ => {
            return refused(
                &here,
                "of a statement that is no query, INSERT, CREATE TABLE … AS, DELETE, UPDATE or MERGE",
            );
        }
    }
    Ok(Statement::Explain { analyze, dry_run, statement: Box::new(statement) })
}

fn insert(cursor: &mut Cursor<'_>) -> Result<Statement> {
    cursor.take(&["TABLE"]);
    let table = cursor.name("the name of a table")?;
    if cursor.is_keyword("PARTITION") {
        return Err(Error::unsupported(format!(
            "{}: INSERT INTO … PARTITION is not supported yet: give the partition's columns among the values",
            cursor.place()
        )));
    }
    if cursor.are_keywords(&["DEFAULT", "VALUES"]) {
        return Err(Error::unsupported(format!("{}: DEFAULT VALUES is not supported yet", cursor.place())));
    }
    let mut columns = Vec::new();
    let opens_query = ["SELECT", "WITH", "VALUES", "TABLE"].iter().any(|word| cursor.is_keyword_at(1, word))
        || matches!(cursor.peek_at(1), Some(Token::LParen));
    if matches!(cursor.peek(), Some(Token::LParen)) && !opens_query {
        cursor.advance();
        loop {
            columns.push(cursor.identifier("the name of a column")?);
            if matches!(cursor.peek(), Some(Token::Period)) {
                return Err(cursor.invalid("INSERT fills whole columns, not fields inside of one"));
            }
            if !cursor.take_token(&Token::Comma) {
                break;
            }
        }
        cursor.expect_token(&Token::RParen)?;
    }
    let here = cursor.clone();
    let by_name = cursor.take(&["BY", "NAME"]);
    if by_name && !columns.is_empty() {
        return Err(here.invalid("BY NAME takes the names from the query: leave out the column list"));
    }
    if !["SELECT", "WITH", "VALUES", "TABLE"].iter().any(|word| cursor.is_keyword(word))
        && !matches!(cursor.peek(), Some(Token::LParen))
    {
        return Err(cursor.expected("VALUES or a query"));
    }
    let source = query::query(cursor)?;
    Ok(Statement::Insert(Box::new(Insert { table, columns, by_name, source })))
}
