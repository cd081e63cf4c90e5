//! `CALL`: a procedure's name and constant arguments.

use datafusion::sql::sqlparser::tokenizer::Token;
use icecap_table::Result;

use crate::sql::ast::{Statement, Value};
use crate::sql::cursor::Cursor;
use crate::sql::names::folded;

/// What follows `CALL`.
pub(super) fn call(cursor: &mut Cursor<'_>) -> Result<Statement> {
    let procedure = cursor.name("the name of a procedure, such as system.register_table")?;
    cursor.expect_token(&Token::LParen)?;
    let mut args: Vec<(Option<String>, Value)> = Vec::new();
    if !cursor.take_token(&Token::RParen) {
        loop {
            let here = cursor.clone();
            let (name, value) = argument(cursor)?;
            if name.is_some() && args.iter().any(|(other, _)| *other == name) {
                return Err(here.invalid("the argument is there twice"));
            }
            if name.is_none() && args.iter().any(|(other, _)| other.is_some()) {
                return Err(here.invalid("an argument without a name stands before those with one"));
            }
            args.push((name, value));
            if !cursor.take_token(&Token::Comma) {
                break;
            }
        }
        cursor.expect_token(&Token::RParen)?;
    }
    cursor.expect_end()?;
    Ok(Statement::Call { procedure, args })
}

fn argument(cursor: &mut Cursor<'_>) -> Result<(Option<String>, Value)> {
    if matches!(cursor.peek_at(1), Some(Token::RArrow)) {
        let name = cursor.identifier("the name of an argument")?;
        cursor.advance();
        return Ok((Some(folded(&name.value)), value(cursor)?));
    }
    Ok((None, value(cursor)?))
}

fn value(cursor: &mut Cursor<'_>) -> Result<Value> {
    for (word, value) in
        [("TRUE", Value::Boolean(true)), ("FALSE", Value::Boolean(false)), ("NULL", Value::Null)]
    {
        if cursor.take(&[word]) {
            return Ok(value);
        }
    }
    if cursor.is_keyword("TIMESTAMP") && matches!(cursor.peek_at(1), Some(Token::SingleQuotedString(_))) {
        cursor.advance();
        return Ok(Value::Timestamp(cursor.string("a time")?));
    }
    let minus = cursor.take_token(&Token::Minus);
    match cursor.peek() {
        Some(Token::Number(digits, _)) => {
            cursor.advance();
            Ok(Value::Number(if minus { format!("-{digits}") } else { digits.clone() }))
        }
        Some(Token::SingleQuotedString(_)) if !minus => Ok(Value::String(cursor.string("a value")?)),
        _ => Err(cursor
            .expected("a value: a string in single quotes, a number, TIMESTAMP '…', true, false or NULL")),
    }
}
