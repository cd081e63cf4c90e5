//! `CREATE TABLE` and `CREATE DATABASE`, in Athena's, Trino's and Spark's spelling.

use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};
use icecap_table::iceberg::spec::Transform;
use icecap_table::{Error, Result};

use super::alter::sort_order;
use super::query::query;
use crate::sql::ast::{ColumnDef, CreateTable, NamePart, PartitionTerm, SortTerm, Statement};
use crate::sql::cursor::{Cursor, Tokens};
use crate::sql::types::type_at;

/// A property's value as written.
pub(super) enum PropertyValue {
    Text(String),
    List(Vec<String>),
}

/// What follows `CREATE TABLE`.
pub(super) fn create_table(cursor: &mut Cursor<'_>) -> Result<CreateTable> {
    let if_not_exists = cursor.take(&["IF", "NOT", "EXISTS"]);
    let mut table = CreateTable {
        name: cursor.name("the name of a table")?,
        if_not_exists,
        columns: Vec::new(),
        partitioning: Vec::new(),
        sort_order: Vec::new(),
        location: None,
        comment: None,
        properties: Vec::new(),
        athena: true,
        query: None,
        with_data: true,
    };
    if cursor.is_keyword("LIKE") {
        return Err(not_yet(cursor, "CREATE TABLE … LIKE"));
    }
    if matches!(cursor.peek(), Some(Token::LParen)) && !opens_query(cursor, 1) {
        table.columns = columns(cursor)?;
    }
    clauses(cursor, &mut table)?;
    if table.query.is_some() && !table.columns.is_empty() {
        return Err(
            cursor.invalid("a table made from a query takes its columns from the query: leave out the list")
        );
    }
    if table.query.is_none() && table.columns.is_empty() {
        return Err(cursor.expected("a list of columns, or AS and a query"));
    }
    Ok(table)
}

fn clauses(cursor: &mut Cursor<'_>, table: &mut CreateTable) -> Result<()> {
    let mut seen: Vec<&'static str> = Vec::new();
    let mut once = |cursor: &Cursor<'_>, clause: &'static str| {
        if seen.contains(&clause) {
            return Err(cursor.invalid(&format!("{clause} is there twice")));
        }
        seen.push(clause);
        Ok(())
    };
    while !cursor.is_at_end() {
        let here = cursor.clone();
        if cursor.take(&["COMMENT"]) {
            once(&here, "COMMENT")?;
            table.comment = Some(cursor.string("the comment")?);
        } else if cursor.take(&["PARTITIONED", "BY"]) {
            once(&here, "PARTITIONED BY")?;
            table.partitioning = terms(cursor)?;
        } else if cursor.take(&["LOCATION"]) {
            once(&here, "LOCATION")?;
            table.location = Some(cursor.string("the location")?);
        } else if cursor.take(&["TBLPROPERTIES"]) {
            once(&here, "TBLPROPERTIES")?;
            let properties = properties(cursor)?;
            set_properties(&here, table, properties, false)?;
        } else if cursor.take(&["OPTIONS"]) {
            once(&here, "OPTIONS")?;
            let properties = properties(cursor)?;
            set_properties(&here, table, properties, false)?;
        } else if cursor.is_keyword("WITH") && matches!(cursor.peek_at(1), Some(Token::LParen)) {
            cursor.advance();
            once(&here, "WITH")?;
            let properties = properties(cursor)?;
            set_properties(&here, table, properties, true)?;
        } else if cursor.take(&["USING"]) {
            once(&here, "USING")?;
            let format = cursor.identifier("iceberg")?;
            if !format.value.eq_ignore_ascii_case("iceberg") {
                return Err(Error::unsupported(format!(
                    "{}: only Iceberg tables are made, not {}: write USING iceberg",
                    here.place(),
                    format.value
                )));
            }
            table.athena = false;
        } else if cursor.take(&["AS"]) || opens_query(cursor, 0) {
            let (query, with_data) = ctas_query(cursor)?;
            table.query = Some(query);
            table.with_data = with_data;
        } else if ["STORED", "ROW", "CLUSTERED", "SKEWED", "CLUSTER"]
            .iter()
            .any(|word| cursor.is_keyword(word))
        {
            let clause = cursor.word_at(0).unwrap_or_default().to_ascii_uppercase();
            return Err(not_yet(cursor, &format!("the clause {clause} of CREATE TABLE")));
        } else {
            return Err(cursor.expected(
                "COMMENT, PARTITIONED BY, LOCATION, TBLPROPERTIES, WITH (…), USING iceberg, AS or the end of the statement",
            ));
        }
    }
    Ok(())
}

fn opens_query(cursor: &Cursor<'_>, ahead: usize) -> bool {
    let mut at = ahead;
    while matches!(cursor.peek_at(at), Some(Token::LParen)) {
        at += 1;
    }
    cursor.is_keyword_at(at, "SELECT")
        || cursor.is_keyword_at(at, "VALUES")
        || (cursor.is_keyword_at(at, "WITH") && !matches!(cursor.peek_at(at + 1), Some(Token::LParen)))
}

/// The query of a CTAS, and whether its rows are stored.
fn ctas_query(cursor: &mut Cursor<'_>) -> Result<(Box<datafusion::sql::sqlparser::ast::Query>, bool)> {
    let rest = cursor.rest();
    let ends_with = |words: &[&str]| {
        rest.len() > words.len()
            && rest[rest.len() - words.len()..].iter().zip(words).all(|(token, word)| is_word(token, word))
    };
    let (tail, with_data) = if ends_with(&["WITH", "NO", "DATA"]) {
        (3, false)
    } else if ends_with(&["WITH", "DATA"]) {
        (2, true)
    } else {
        (0, true)
    };
    let end = cursor.at() + rest.len();
    let mut inner = cursor.until(end - tail);
    let query = query(&mut inner)?;
    *cursor = cursor.moved_to(end);
    Ok((query, with_data))
}

fn is_word(token: &TokenWithSpan, expected: &str) -> bool {
    matches!(&token.token, Token::Word(word) if word.quote_style.is_none() && word.value.eq_ignore_ascii_case(expected))
}

fn not_yet(cursor: &Cursor<'_>, what: &str) -> Error {
    Error::unsupported(format!("{}: {what} is not supported yet", cursor.place()))
}

fn columns(cursor: &mut Cursor<'_>) -> Result<Vec<ColumnDef>> {
    cursor.expect_token(&Token::LParen)?;
    let mut columns: Vec<ColumnDef> = Vec::new();
    let mut next_id = 0;
    loop {
        let here = cursor.clone();
        let constraint = ["PRIMARY", "UNIQUE", "FOREIGN", "CHECK", "CONSTRAINT"]
            .iter()
            .any(|word| cursor.is_keyword(word))
            && (["KEY"].iter().any(|word| cursor.is_keyword_at(1, word))
                || matches!(cursor.peek_at(1), Some(Token::LParen))
                || cursor.is_keyword("CONSTRAINT"));
        if constraint {
            return Err(not_yet(cursor, "a constraint of a table"));
        }
        let name = cursor.identifier("the name of a column")?.normalised();
        if matches!(cursor.peek(), None | Some(Token::Comma | Token::RParen)) {
            return Err(cursor.expected(&format!("the type of column {name}")));
        }
        let ty = type_at(cursor, &mut next_id)?;
        let mut column = ColumnDef { name, ty, required: false, comment: None };
        attributes(cursor, &mut column)?;
        if columns.iter().any(|other| other.name.to_lowercase() == column.name.to_lowercase()) {
            return Err(here.invalid(&format!("the column {} is there twice", column.name)));
        }
        columns.push(column);
        if !cursor.take_token(&Token::Comma) {
            break;
        }
    }
    if !cursor.take_token(&Token::RParen) {
        return Err(cursor.expected("`,` and another column, or `)`"));
    }
    Ok(columns)
}

fn attributes(cursor: &mut Cursor<'_>, column: &mut ColumnDef) -> Result<()> {
    loop {
        if cursor.take(&["NOT", "NULL"]) {
            column.required = true;
        } else if cursor.take(&["NULL"]) {
            column.required = false;
        } else if cursor.take(&["COMMENT"]) {
            column.comment = Some(cursor.string("the comment")?);
        } else if ["DEFAULT", "PRIMARY", "UNIQUE", "REFERENCES", "CHECK", "GENERATED", "WITH"]
            .iter()
            .any(|word| cursor.is_keyword(word))
        {
            let word = cursor.word_at(0).unwrap_or_default().to_ascii_uppercase();
            return Err(not_yet(cursor, &format!("{word} of a column")));
        } else {
            return Ok(());
        }
    }
}

/// `(term, …)`.
fn terms(cursor: &mut Cursor<'_>) -> Result<Vec<PartitionTerm>> {
    cursor.expect_token(&Token::LParen)?;
    let mut terms = Vec::new();
    loop {
        terms.push(term(cursor)?);
        if !cursor.take_token(&Token::Comma) {
            break;
        }
    }
    if !cursor.take_token(&Token::RParen) {
        if matches!(cursor.peek(), Some(Token::Word(_))) {
            return Err(cursor.invalid(
                "PARTITIONED BY names columns of the list above, without types: write the column there and its name here",
            ));
        }
        return Err(cursor.expected("`,` and another partition field, or `)`"));
    }
    Ok(terms)
}

/// A partition field: a column, or a transform of one.
pub(super) fn term(cursor: &mut Cursor<'_>) -> Result<PartitionTerm> {
    let here = cursor.clone();
    if !matches!(cursor.peek_at(1), Some(Token::LParen)) {
        return Ok(PartitionTerm { column: source(cursor)?, transform: Transform::Identity });
    }
    let function =
        cursor.identifier("a column or a transform such as month(column)")?.value.to_ascii_lowercase();
    cursor.expect_token(&Token::LParen)?;
    let term = match function.as_str() {
        "bucket" | "truncate" => {
            let (width, column) = if matches!(cursor.peek(), Some(Token::Number(..))) {
                let width = cursor.number("a number")?;
                cursor.expect_token(&Token::Comma)?;
                (width, source(cursor)?)
            } else {
                let column = source(cursor)?;
                cursor.expect_token(&Token::Comma)?;
                (cursor.number("a number")?, column)
            };
            if width == 0 {
                return Err(here.invalid(&format!("{function} takes a number of 1 or more")));
            }
            let transform =
                if function == "bucket" { Transform::Bucket(width) } else { Transform::Truncate(width) };
            PartitionTerm { column, transform }
        }
        name => {
            let transform = match name {
                "year" | "years" => Transform::Year,
                "month" | "months" => Transform::Month,
                "day" | "days" | "date" => Transform::Day,
                "hour" | "hours" | "date_hour" => Transform::Hour,
                "identity" => Transform::Identity,
                _ => {
                    return Err(here.expected(
                        "a partition transform: year, month, day, hour, bucket(16, column), truncate(10, column) or identity",
                    ));
                }
            };
            PartitionTerm { column: source(cursor)?, transform }
        }
    };
    cursor.expect_token(&Token::RParen)?;
    Ok(term)
}

/// A source column: its name, dotted for a field inside.
fn source(cursor: &mut Cursor<'_>) -> Result<String> {
    let name = cursor.name("the name of a column")?;
    Ok(name.0.iter().map(NamePart::normalised).collect::<Vec<_>>().join("."))
}

/// `('key' = 'value', key = 1, list = ARRAY['a', 'b'])`.
pub(super) fn properties(cursor: &mut Cursor<'_>) -> Result<Vec<(String, PropertyValue)>> {
    cursor.expect_token(&Token::LParen)?;
    let mut properties: Vec<(String, PropertyValue)> = Vec::new();
    loop {
        let here = cursor.clone();
        let key = match cursor.peek() {
            Some(Token::SingleQuotedString(_)) => cursor.string("the name of a property")?,
            _ => {
                let name = cursor.name("the name of a property")?;
                name.0.into_iter().map(|part| part.value).collect::<Vec<_>>().join(".")
            }
        };
        if properties.iter().any(|(other, _)| *other == key) {
            return Err(here.invalid(&format!("the property {key} is there twice")));
        }
        cursor.expect_token(&Token::Eq)?;
        properties.push((key, property_value(cursor)?));
        if !cursor.take_token(&Token::Comma) {
            break;
        }
    }
    cursor.expect_token(&Token::RParen)?;
    Ok(properties)
}

fn property_value(cursor: &mut Cursor<'_>) -> Result<PropertyValue> {
    if cursor.take(&["ARRAY"]) {
        cursor.expect_token(&Token::LBracket)?;
        let mut list = Vec::new();
        if !matches!(cursor.peek(), Some(Token::RBracket)) {
            loop {
                list.push(cursor.string("an element of the list")?);
                if !cursor.take_token(&Token::Comma) {
                    break;
                }
            }
        }
        cursor.expect_token(&Token::RBracket)?;
        return Ok(PropertyValue::List(list));
    }
    if cursor.is_keyword("TRUE") || cursor.is_keyword("FALSE") {
        let value = cursor.word_at(0).unwrap_or_default().to_ascii_lowercase();
        cursor.advance();
        return Ok(PropertyValue::Text(value));
    }
    let minus = cursor.take_token(&Token::Minus);
    match cursor.peek() {
        Some(Token::Number(digits, _)) => {
            cursor.advance();
            Ok(PropertyValue::Text(if minus { format!("-{digits}") } else { digits.clone() }))
        }
        Some(Token::SingleQuotedString(_)) if !minus => Ok(PropertyValue::Text(cursor.string("a value")?)),
        _ => Err(cursor.expected("a value: a string in single quotes, a number, true or false")),
    }
}

/// Puts properties where they belong: in `WITH (…)`, the location and the partitioning are ones too.
fn set_properties(
    here: &Cursor<'_>,
    table: &mut CreateTable,
    properties: Vec<(String, PropertyValue)>,
    with: bool,
) -> Result<()> {
    for (key, value) in properties {
        match (key.to_ascii_lowercase().as_str(), value) {
            ("partitioning" | "partitioned_by", PropertyValue::List(list)) if with => {
                if !table.partitioning.is_empty() {
                    return Err(here.invalid("the partitioning is given twice"));
                }
                for text in list {
                    table.partitioning.push(parse_term(&text).map_err(|error| {
                        here.invalid(&format!("in the partition field '{text}': {}", error.message()))
                    })?);
                }
            }
            ("partitioning" | "partitioned_by", PropertyValue::Text(_)) if with => {
                return Err(here.invalid("partitioning is a list, as in partitioning = ARRAY['month(day)']"));
            }
            ("sorted_by" | "sort_order", value) => {
                if !table.sort_order.is_empty() {
                    return Err(here.invalid("the sort order is given twice"));
                }
                let texts = match value {
                    PropertyValue::List(texts) => texts,
                    PropertyValue::Text(text) => vec![text],
                };
                for text in texts {
                    table.sort_order.extend(parse_sort_order(&text).map_err(|error| {
                        here.invalid(&format!("in the sort order '{text}': {}", error.message()))
                    })?);
                }
            }
            (_, PropertyValue::List(_)) => {
                return Err(here.invalid(&format!("the property {key} takes one value, not a list")));
            }
            ("location", PropertyValue::Text(location)) if with => {
                if table.location.replace(location).is_some() {
                    return Err(here.invalid("the location is given twice"));
                }
            }
            ("table_type", PropertyValue::Text(kind)) if !kind.eq_ignore_ascii_case("iceberg") => {
                return Err(Error::unsupported(format!(
                    "{}: only Iceberg tables are made, not {kind}: write table_type = 'ICEBERG'",
                    here.place()
                )));
            }
            (_, PropertyValue::Text(value)) => {
                if table.properties.iter().any(|(other, _)| *other == key) {
                    return Err(here.invalid(&format!("the property {key} is there twice")));
                }
                table.properties.push((key, value));
            }
        }
    }
    Ok(())
}

fn parse_term(text: &str) -> Result<PartitionTerm> {
    let tokens = Tokens::of(text)?;
    let mut cursor = tokens.cursor();
    let term = term(&mut cursor)?;
    cursor.expect_end()?;
    Ok(term)
}

fn parse_sort_order(text: &str) -> Result<Vec<SortTerm>> {
    let tokens = Tokens::of(text)?;
    let mut cursor = tokens.cursor();
    let terms = sort_order(&mut cursor)?;
    cursor.expect_end()?;
    Ok(terms)
}

/// What follows `CREATE DATABASE`.
pub(super) fn create_namespace(cursor: &mut Cursor<'_>) -> Result<Statement> {
    let if_not_exists = cursor.take(&["IF", "NOT", "EXISTS"]);
    let name = cursor.name("the name of a namespace")?;
    let (mut comment, mut location, mut properties_) = (None, None, Vec::new());
    while !cursor.is_at_end() {
        let here = cursor.clone();
        if comment.is_none() && cursor.take(&["COMMENT"]) {
            comment = Some(cursor.string("the comment")?);
        } else if location.is_none() && cursor.take(&["LOCATION"]) {
            location = Some(cursor.string("the location")?);
        } else if properties_.is_empty()
            && (cursor.take(&["WITH", "DBPROPERTIES"]) || cursor.take(&["WITH", "PROPERTIES"]))
        {
            for (key, value) in properties(cursor)? {
                match value {
                    PropertyValue::Text(value) => properties_.push((key, value)),
                    PropertyValue::List(_) => {
                        return Err(here.invalid(&format!("the property {key} takes one value, not a list")));
                    }
                }
            }
        } else {
            return Err(cursor.expected("COMMENT, LOCATION, WITH DBPROPERTIES or the end of the statement"));
        }
    }
    Ok(Statement::CreateNamespace { name, if_not_exists, comment, location, properties: properties_ })
}
