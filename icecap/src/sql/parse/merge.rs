//! `MERGE INTO t [[AS] a] USING source [[AS] s [(columns)]] ON … WHEN …`.

use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::tokenizer::Token;
use icecap_table::Result;

use super::row_level::{Rest, target};
use crate::sql::ast::{MatchKind, Merge, MergeAction, MergeClause};
use crate::sql::cursor::Cursor;

/// What follows `MERGE INTO`.
pub(super) fn merge(cursor: &mut Cursor<'_>) -> Result<Merge> {
    let (table, alias) = target(cursor, &["USING", "WITH", "ON", "WHEN"])?;
    let mut rest = Rest::of(cursor)?;
    if rest.is(&["WITH"]) {
        return Err(rest.unsupported("MERGE … WITH SCHEMA EVOLUTION"));
    }
    rest.expect(&["USING"])?;
    let source = rest.read(Parser::parse_table_factor)?;
    rest.expect(&["ON"])?;
    let on = rest.expr()?;
    let mut clauses: Vec<MergeClause> = Vec::new();
    while rest.take(&["WHEN"]) {
        let clause = clause(&mut rest)?;
        let shadowed = |earlier: &MergeClause| earlier.kind == clause.kind && earlier.condition.is_none();
        if clauses.iter().any(shadowed) {
            return Err(rest.invalid(&format!(
                "a {} without AND takes every row, so nothing is left for the one after it: give it a condition, or put it last",
                words(clause.kind)
            )));
        }
        clauses.push(clause);
    }
    if clauses.is_empty() {
        return Err(rest.expected("WHEN MATCHED or WHEN NOT MATCHED"));
    }
    rest.end("WHEN or the end of the statement")?;
    Ok(Merge { table, alias, source, on, clauses })
}

fn words(kind: MatchKind) -> &'static str {
    match kind {
        MatchKind::Matched => "WHEN MATCHED",
        MatchKind::NotMatched => "WHEN NOT MATCHED",
        MatchKind::NotMatchedBySource => "WHEN NOT MATCHED BY SOURCE",
    }
}

/// What follows `WHEN`.
fn clause(rest: &mut Rest<'_>) -> Result<MergeClause> {
    let kind = if rest.take(&["MATCHED"]) {
        MatchKind::Matched
    } else if rest.take(&["NOT", "MATCHED"]) {
        if rest.take(&["BY", "SOURCE"]) {
            MatchKind::NotMatchedBySource
        } else {
            if rest.take(&["BY"]) {
                rest.expect(&["TARGET"])?;
            }
            MatchKind::NotMatched
        }
    } else {
        return Err(rest.expected("MATCHED or NOT MATCHED"));
    };
    let condition = if rest.take(&["AND"]) { Some(rest.expr()?) } else { None };
    rest.expect(&["THEN"])?;
    Ok(MergeClause { kind, condition, action: action(rest, kind)? })
}

fn action(rest: &mut Rest<'_>, kind: MatchKind) -> Result<MergeAction> {
    if rest.is(&["DO", "NOTHING"]) {
        return Err(rest.unsupported("DO NOTHING (leave the clause out, or add AND to the next ones)"));
    }
    if kind == MatchKind::NotMatched {
        return insert(rest);
    }
    if rest.take(&["DELETE"]) {
        return Ok(MergeAction::Delete);
    }
    if rest.take(&["UPDATE"]) {
        // Spark and Delta write `UPDATE *` too.
        let set = rest.take(&["SET"]);
        if rest.take_token(&Token::Mul) {
            if kind == MatchKind::NotMatchedBySource {
                return Err(rest.invalid(
                    "WHEN NOT MATCHED BY SOURCE has no row of the source to take columns from: write UPDATE SET column = value",
                ));
            }
            return Ok(MergeAction::UpdateAll);
        }
        if !set {
            return Err(rest.expected("SET"));
        }
        return Ok(MergeAction::Update(rest.assignments()?));
    }
    if rest.is(&["INSERT"]) {
        return Err(
            rest.invalid(&format!("{} updates or deletes: only WHEN NOT MATCHED inserts", words(kind)))
        );
    }
    Err(rest.expected("UPDATE SET or DELETE"))
}

fn insert(rest: &mut Rest<'_>) -> Result<MergeAction> {
    if rest.is(&["UPDATE"]) || rest.is(&["DELETE"]) {
        return Err(rest.invalid(
            "WHEN NOT MATCHED has no row of the target: it takes INSERT (WHEN NOT MATCHED BY SOURCE updates and deletes)",
        ));
    }
    rest.expect(&["INSERT"])?;
    if rest.take_token(&Token::Mul) || rest.take(&["ROW"]) {
        return Ok(MergeAction::InsertAll);
    }
    let mut columns = Vec::new();
    if rest.take_token(&Token::LParen) {
        loop {
            let mut column = rest.identifier("the name of a column")?;
            // The target's name may stand before it.
            while rest.take_token(&Token::Period) {
                column = rest.identifier("the name of a column")?;
            }
            columns.push(column);
            if !rest.take_token(&Token::Comma) {
                break;
            }
        }
        rest.expect_token(&Token::RParen)?;
    }
    rest.expect(&["VALUES"])?;
    rest.expect_token(&Token::LParen)?;
    let mut values = Vec::new();
    loop {
        values.push(rest.value()?);
        if !rest.take_token(&Token::Comma) {
            break;
        }
    }
    rest.expect_token(&Token::RParen)?;
    if !columns.is_empty() && columns.len() != values.len() {
        return Err(rest.invalid(&format!(
            "INSERT names {} columns and gives {} values",
            columns.len(),
            values.len()
        )));
    }
    Ok(MergeAction::Insert { columns, values })
}
