//! The pass over a query's tokens that turns spellings which sqlparser refuses into ones that it reads.

use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Word};
use icecap_table::{Error, Result};

use super::cursor::Cursor;
use super::types::{sql_type_name, type_at};

/// Rewrites the tokens from the cursor on.
///
/// The type of each cast becomes one quoted word holding its name, so that sqlparser's own type grammar is
/// never asked; `DECIMAL '1.5'` becomes the number. Each spelling of a table's version becomes one of the two that
/// sqlparser reads with an expression behind: see [`version_clause`].
///
/// # Errors
/// `Invalid` for a type that is none; `Unsupported` for parameters.
pub(crate) fn rewrite(mut cursor: Cursor<'_>) -> Result<Vec<TokenWithSpan>> {
    let mut out: Vec<TokenWithSpan> = Vec::with_capacity(cursor.rest().len());
    // For each open parenthesis, whether it is that of a CAST whose type is still to come.
    let mut casts = Vec::new();
    while let Some(token) = cursor.rest().first() {
        refuse(&cursor)?;
        if let Some((length, words)) = version_clause(&cursor) {
            out.extend(words.map(|word| TokenWithSpan::new(Token::make_keyword(word), token.span)));
            (0..length).for_each(|_| cursor.advance());
            continue;
        }
        match &token.token {
            Token::LParen => casts.push(out.last().is_some_and(is_cast)),
            Token::RParen => {
                casts.pop();
            }
            Token::DoubleColon => {
                out.push(token.clone());
                cursor.advance();
                out.push(take_type(&mut cursor)?);
                continue;
            }
            _ => {}
        }
        if casts.last() == Some(&true) && cursor.is_keyword("AS") {
            if let Some(cast) = casts.last_mut() {
                *cast = false;
            }
            out.push(token.clone());
            cursor.advance();
            out.push(take_type(&mut cursor)?);
            continue;
        }
        if let Some(number) = decimal_literal(&cursor, out.last())? {
            out.extend(number);
            cursor.advance();
            cursor.advance();
            continue;
        }
        out.push(if is_plain_name(&cursor) { quoted(token) } else { token.clone() });
        cursor.advance();
    }
    Ok(out)
}

/// Words that sqlparser reads as the head of a special call even where no parenthesis follows.
const CALLS: &[&str] = &[
    "CEIL",
    "CONVERT",
    "EXTRACT",
    "FLOOR",
    "LAMBDA",
    "OVERLAY",
    "SUBSTR",
    "SUBSTRING",
    "TRIM",
    "TRY_CONVERT",
    "USER",
];

/// Words that sqlparser takes for a type, at any depth, where a parenthesis follows.
const TYPES: &[&str] = &["LOWCARDINALITY", "MAP", "NESTED", "NULLABLE", "TUPLE"];

/// Words that sqlparser takes for a table's version in another dialect's spelling.
const VERSIONS: &[&str] = &["AT", "BEFORE", "CHANGES"];

/// Whether a word that could be something special is a name.
fn is_plain_name(cursor: &Cursor<'_>) -> bool {
    let is = |words: &[&str]| words.iter().any(|word| cursor.is_keyword(word));
    if is(VERSIONS) {
        return !cursor.are_keywords(&["AT", "TIME", "ZONE"]);
    }
    if matches!(cursor.peek_at(1), Some(Token::LParen)) { is(TYPES) } else { is(CALLS) }
}

fn quoted(token: &TokenWithSpan) -> TokenWithSpan {
    match &token.token {
        Token::Word(word) => {
            let word = Word {
                value: word.value.to_lowercase(),
                quote_style: Some('"'),
                keyword: Keyword::NoKeyword,
            };
            TokenWithSpan::new(Token::Word(word), token.span)
        }
        _ => token.clone(),
    }
}

fn is_cast(token: &TokenWithSpan) -> bool {
    match &token.token {
        Token::Word(word) if word.quote_style.is_none() => {
            word.value.eq_ignore_ascii_case("CAST") || word.value.eq_ignore_ascii_case("TRY_CAST")
        }
        _ => false,
    }
}

fn take_type(cursor: &mut Cursor<'_>) -> Result<TokenWithSpan> {
    let span = cursor.span();
    let ty = type_at(cursor, &mut 0)?;
    let word = Word { value: sql_type_name(&ty), quote_style: Some('"'), keyword: Keyword::NoKeyword };
    Ok(TokenWithSpan::new(Token::Word(word), span))
}

/// Refuses tokens that no query of ours may hold.
fn refuse(cursor: &Cursor<'_>) -> Result<()> {
    match cursor.peek() {
        Some(
            Token::DoubleQuotedString(_)
            | Token::DoubleQuotedByteStringLiteral(_)
            | Token::DoubleQuotedRawStringLiteral(_),
        ) => return Err(cursor.invalid("double quotes name things: write a string in single quotes")),
        Some(Token::DollarQuotedString(_)) => {
            return Err(cursor.invalid("a string is written in single quotes, with '' for a quote inside"));
        }
        Some(Token::Placeholder(_)) => {
            return Err(Error::unsupported(format!(
                "{}: parameters in a statement are not supported yet",
                cursor.place()
            )));
        }
        _ => {}
    }
    Ok(())
}

/// `FOR SYSTEM_TIME AS OF` stands for every spelling with a version behind, `FOR TIMESTAMP AS OF` (without `FOR`)
/// for every one with a time: sqlparser reads an expression after both. Gives the length of what is replaced.
fn version_clause(cursor: &Cursor<'_>) -> Option<(usize, std::vec::IntoIter<&'static str>)> {
    let clause = |at: usize| {
        let follows = cursor.is_keyword_at(at + 1, "AS") && cursor.is_keyword_at(at + 2, "OF");
        let is = |word| follows && cursor.is_keyword_at(at, word);
        if is("VERSION") || is("SYSTEM_VERSION") {
            Some(vec!["FOR", "SYSTEM_TIME", "AS", "OF"])
        } else if is("TIMESTAMP") || is("SYSTEM_TIME") {
            Some(vec!["TIMESTAMP", "AS", "OF"])
        } else {
            None
        }
    };
    if cursor.is_keyword("FOR") {
        return clause(1).map(|words| (4, words.into_iter()));
    }
    // Without FOR the words may be a column with an alias.
    let is_alias = cursor.is_keyword_at(3, "FROM")
        || matches!(cursor.peek_at(3), None | Some(Token::Comma | Token::RParen | Token::Period));
    clause(0).filter(|_| !is_alias).map(|words| (3, words.into_iter()))
}

/// `DECIMAL '1.5'` as the tokens of the number.
fn decimal_literal(
    cursor: &Cursor<'_>,
    previous: Option<&TokenWithSpan>,
) -> Result<Option<Vec<TokenWithSpan>>> {
    if !cursor.is_keyword("DECIMAL") && !cursor.is_keyword("NUMERIC") {
        return Ok(None);
    }
    let after_name = previous.is_some_and(|token| matches!(token.token, Token::Period));
    let Some(Token::SingleQuotedString(text)) = cursor.peek_at(1) else { return Ok(None) };
    if after_name {
        return Ok(None);
    }
    let number = text.trim();
    let digits = number.strip_prefix(['-', '+']).unwrap_or(number);
    let plain = digits.chars().all(|ch| ch.is_ascii_digit() || ch == '.')
        && digits.chars().filter(|ch| *ch == '.').count() <= 1
        && digits.chars().any(|ch| ch.is_ascii_digit());
    if !plain {
        return Err(cursor.invalid(&format!("'{text}' is no decimal: write digits with at most one point")));
    }
    // A number without a point would be an integer.
    let digits = if digits.contains('.') { digits.to_owned() } else { format!("{digits}.") };
    let at = |token| TokenWithSpan::new(token, cursor.span());
    let mut tokens = vec![at(Token::LParen)];
    if number.starts_with('-') {
        tokens.push(at(Token::Minus));
    }
    tokens.push(at(Token::Number(digits, false)));
    tokens.push(at(Token::RParen));
    Ok(Some(tokens))
}
