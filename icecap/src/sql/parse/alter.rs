//! `ALTER TABLE`, in Spark's and in Athena's spelling.

use datafusion::sql::sqlparser::tokenizer::Token;
use icecap_table::properties::DistributionMode;
use icecap_table::{Error, Result};

use super::create::{PropertyValue, properties, term};
use crate::sql::ast::{AlterAction, AlterTable, SortTerm, Statement};
use crate::sql::cursor::Cursor;

/// What may follow the table's name and is not done yet.
const NOT_YET: &[&[&str]] = &[
    &["ADD", "COLUMN"],
    &["ADD", "COLUMNS"],
    &["DROP", "COLUMN"],
    &["DROP", "COLUMNS"],
    &["RENAME", "COLUMN"],
    &["RENAME", "TO"],
    &["ALTER", "COLUMN"],
    &["CHANGE", "COLUMN"],
    &["CHANGE"],
    &["REPLACE", "COLUMNS"],
    &["ADD", "PARTITION"],
    &["DROP", "PARTITION"],
    &["SET", "LOCATION"],
    &["SET", "PROPERTIES"],
    &["SET", "AUTHORIZATION"],
    &["SET", "IDENTIFIER"],
    &["DROP", "IDENTIFIER"],
    &["CREATE", "BRANCH"],
    &["CREATE", "TAG"],
    &["REPLACE", "BRANCH"],
    &["REPLACE", "TAG"],
    &["DROP", "BRANCH"],
    &["DROP", "TAG"],
    &["EXECUTE"],
];

/// What follows `ALTER TABLE`.
pub(super) fn alter_table(cursor: &mut Cursor<'_>) -> Result<Statement> {
    let if_exists = cursor.take(&["IF", "EXISTS"]);
    let name = cursor.name("the name of a table")?;
    let here = cursor.clone();
    let action = if cursor.take(&["ADD", "PARTITION", "FIELD"]) {
        let term = term(cursor)?;
        AlterAction::AddPartitionField { term, name: field_name(cursor)? }
    } else if cursor.take(&["DROP", "PARTITION", "FIELD"]) {
        AlterAction::DropPartitionField(term(cursor)?)
    } else if cursor.take(&["REPLACE", "PARTITION", "FIELD"]) {
        let old = term(cursor)?;
        if !cursor.take(&["WITH"]) {
            return Err(cursor.expected("WITH and the field that takes its place"));
        }
        let new = term(cursor)?;
        AlterAction::ReplacePartitionField { old, new, name: field_name(cursor)? }
    } else if cursor.take(&["WRITE"]) {
        write(cursor)?
    } else if cursor.take(&["SET", "TBLPROPERTIES"]) {
        AlterAction::SetProperties(texts(cursor)?)
    } else if cursor.take(&["UNSET", "TBLPROPERTIES"]) {
        // A property that is not there is no error in Spark either.
        cursor.take(&["IF", "EXISTS"]);
        AlterAction::UnsetProperties(keys(cursor)?)
    } else {
        if let Some(known) = NOT_YET.iter().find(|words| here.are_keywords(words)) {
            let words = known.join(" ");
            return Err(Error::unsupported(format!(
                "{}: ALTER TABLE … {words} is not supported yet",
                here.place()
            )));
        }
        return Err(cursor.expected(
            "ADD, DROP or REPLACE PARTITION FIELD, WRITE, SET TBLPROPERTIES or UNSET TBLPROPERTIES",
        ));
    };
    cursor.expect_end()?;
    Ok(Statement::AlterTable(Box::new(AlterTable { name, if_exists, action })))
}

/// `[AS name]`.
fn field_name(cursor: &mut Cursor<'_>) -> Result<Option<String>> {
    if !cursor.take(&["AS"]) {
        return Ok(None);
    }
    Ok(Some(cursor.identifier("the name of the partition field")?.normalised()))
}

/// `[DISTRIBUTED BY PARTITION] [[LOCALLY] ORDERED BY term, … | UNORDERED]`, in either order, as Spark reads it.
fn write(cursor: &mut Cursor<'_>) -> Result<AlterAction> {
    let mut by_partition = false;
    let mut ordering: Option<(Vec<SortTerm>, Option<DistributionMode>)> = None;
    loop {
        let here = cursor.clone();
        if !by_partition && cursor.take(&["DISTRIBUTED", "BY", "PARTITION"]) {
            by_partition = true;
            continue;
        }
        if ordering.is_none() {
            if cursor.take(&["LOCALLY", "ORDERED", "BY"]) {
                ordering = Some((sort_order(cursor)?, None));
                continue;
            }
            if cursor.take(&["ORDERED", "BY"]) {
                ordering = Some((sort_order(cursor)?, Some(DistributionMode::Range)));
                continue;
            }
            if cursor.take(&["UNORDERED"]) {
                ordering = Some((Vec::new(), Some(DistributionMode::None)));
                continue;
            }
        }
        if cursor.is_at_end() && (by_partition || ordering.is_some()) {
            break;
        }
        return Err(here.expected("ORDERED BY, LOCALLY ORDERED BY, DISTRIBUTED BY PARTITION or UNORDERED"));
    }
    let (order, distribution) = ordering.unwrap_or((Vec::new(), None));
    let distribution = if by_partition { Some(DistributionMode::Hash) } else { distribution };
    Ok(AlterAction::Write { order, distribution })
}

/// `term [ASC | DESC] [NULLS FIRST | NULLS LAST], …`, in parentheses or without.
pub(super) fn sort_order(cursor: &mut Cursor<'_>) -> Result<Vec<SortTerm>> {
    let parenthesised = cursor.take_token(&Token::LParen);
    let mut terms = Vec::new();
    loop {
        let term = term(cursor)?;
        let descending = if cursor.take(&["DESC"]) {
            true
        } else {
            cursor.take(&["ASC"]);
            false
        };
        let nulls_first = if cursor.take(&["NULLS", "FIRST"]) {
            true
        } else if cursor.take(&["NULLS", "LAST"]) {
            false
        } else {
            !descending
        };
        terms.push(SortTerm { term, descending, nulls_first });
        if !cursor.take_token(&Token::Comma) {
            break;
        }
    }
    if parenthesised {
        cursor.expect_token(&Token::RParen)?;
    }
    Ok(terms)
}

/// `('key' = 'value', …)`, every value a text.
fn texts(cursor: &mut Cursor<'_>) -> Result<Vec<(String, String)>> {
    let here = cursor.clone();
    properties(cursor)?
        .into_iter()
        .map(|(key, value)| match value {
            PropertyValue::Text(value) => Ok((key, value)),
            PropertyValue::List(_) => {
                Err(here.invalid(&format!("the property {key} takes one value, not a list")))
            }
        })
        .collect()
}

/// `('key', …)`.
fn keys(cursor: &mut Cursor<'_>) -> Result<Vec<String>> {
    cursor.expect_token(&Token::LParen)?;
    let mut keys = Vec::new();
    loop {
        let key = match cursor.peek() {
            Some(Token::SingleQuotedString(_)) => cursor.string("the name of a property")?,
            _ => {
                let name = cursor.name("the name of a property")?;
                name.0.into_iter().map(|part| part.value).collect::<Vec<_>>().join(".")
            }
        };
        keys.push(key);
        if !cursor.take_token(&Token::Comma) {
            break;
        }
    }
    cursor.expect_token(&Token::RParen)?;
    Ok(keys)
}
