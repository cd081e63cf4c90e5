//! What DELETE, UPDATE and MERGE have in common: the target, and what stands behind it up to the end.
//!
//! Behind the target everything is read by sqlparser's parser, word by word where the grammar is ours.

use datafusion::sql::sqlparser::ast::{Expr, Ident, VisitMut};
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::Token;
use icecap_table::{Error, Result};

use super::query::{check, parser};
use crate::sql::ast::{Assignment, Name, NamePart};
use crate::sql::cursor::{Cursor, parser_error};

/// `name [[AS] alias]`; `stops` are the words that are no alias.
pub(super) fn target(cursor: &mut Cursor<'_>, stops: &[&str]) -> Result<(Name, Option<NamePart>)> {
    let name = cursor.name("the name of a table")?;
    for clause in ["FOR", "VERSION", "TIMESTAMP"] {
        if cursor.is_keyword(clause)
            && ["VERSION", "TIMESTAMP", "SYSTEM_TIME", "SYSTEM_VERSION", "AS"]
                .iter()
                .any(|word| cursor.is_keyword_at(1, word))
        {
            return Err(cursor.invalid("a version of a table can be read and not changed"));
        }
    }
    if cursor.take(&["AS"]) {
        return Ok((name, Some(cursor.identifier("an alias of the table")?)));
    }
    let is_alias =
        matches!(cursor.peek(), Some(Token::Word(_))) && !stops.iter().any(|word| cursor.is_keyword(word));
    let alias = if is_alias { Some(cursor.identifier("an alias of the table")?) } else { None };
    Ok((name, alias))
}

/// The rest of a statement.
pub(super) struct Rest<'a> {
    parser: Parser<'static>,
    cursor: Cursor<'a>,
    /// Where the statement's rest begins, for what cannot be told more exactly.
    start: String,
}

impl<'a> Rest<'a> {
    /// Everything from the cursor on.
    pub(super) fn of(cursor: &Cursor<'a>) -> Result<Self> {
        Ok(Self { parser: parser(cursor)?, start: cursor.place(), cursor: cursor.clone() })
    }

    fn error(&self, error: &ParserError) -> Error {
        parser_error(&self.cursor, error)
    }

    fn word(&self, ahead: usize) -> Option<String> {
        match &self.parser.peek_nth_token_ref(ahead).token {
            Token::Word(word) if word.quote_style.is_none() => Some(word.value.to_ascii_uppercase()),
            _ => None,
        }
    }

    /// Whether these words follow.
    pub(super) fn is(&self, words: &[&str]) -> bool {
        words.iter().enumerate().all(|(at, word)| self.word(at).as_deref() == Some(*word))
    }

    /// Takes these words if they follow.
    pub(super) fn take(&mut self, words: &[&str]) -> bool {
        let found = self.is(words);
        if found {
            words.iter().for_each(|_| self.parser.advance_token());
        }
        found
    }

    /// Takes this token if it follows.
    pub(super) fn take_token(&mut self, token: &Token) -> bool {
        self.parser.consume_token(token)
    }

    /// An error saying what was expected here.
    pub(super) fn expected(&self, what: &str) -> Error {
        match self.parser.expected_ref::<()>(what, self.parser.peek_token_ref()) {
            Err(error) => self.error(&error),
            Ok(()) => Error::bug("the parser expects nothing"),
        }
    }

    /// That something at the statement's place is not done.
    pub(super) fn unsupported(&self, what: &str) -> Error {
        Error::unsupported(format!("{}: {what} is not supported yet", self.start))
    }

    /// That something in the statement is wrong.
    pub(super) fn invalid(&self, what: &str) -> Error {
        Error::invalid(format!("{}: {what}", self.start))
    }

    pub(super) fn expect(&mut self, words: &[&str]) -> Result<()> {
        if self.take(words) { Ok(()) } else { Err(self.expected(&words.join(" "))) }
    }

    pub(super) fn expect_token(&mut self, token: &Token) -> Result<()> {
        if self.take_token(token) { Ok(()) } else { Err(self.expected(&format!("`{token}`"))) }
    }

    /// What sqlparser reads here, checked.
    pub(super) fn read<T: VisitMut>(
        &mut self,
        read: impl FnOnce(&mut Parser<'static>) -> std::result::Result<T, ParserError>,
    ) -> Result<T> {
        let mut piece = read(&mut self.parser).map_err(|error| parser_error(&self.cursor, &error))?;
        check(&mut piece, &self.start)?;
        Ok(piece)
    }

    /// An expression.
    pub(super) fn expr(&mut self) -> Result<Expr> {
        self.read(Parser::parse_expr)
    }

    /// An expression, or `None` for `DEFAULT`.
    pub(super) fn value(&mut self) -> Result<Option<Expr>> {
        let ends = matches!(
            self.parser.peek_nth_token_ref(1).token,
            Token::Comma | Token::RParen | Token::EOF | Token::Word(_)
        );
        if ends && self.take(&["DEFAULT"]) {
            return Ok(None);
        }
        self.expr().map(Some)
    }

    /// One identifier.
    pub(super) fn identifier(&mut self, what: &str) -> Result<NamePart> {
        match &self.parser.peek_token_ref().token {
            Token::Word(_) => {}
            _ => return Err(self.expected(what)),
        }
        let Ident { value, quote_style, .. } =
            self.parser.parse_identifier().map_err(|error| self.error(&error))?;
        if value.is_empty() {
            return Err(self.invalid("a name is empty"));
        }
        Ok(NamePart { value, quoted: quote_style.is_some() })
    }

    /// `column = value, …`.
    pub(super) fn assignments(&mut self) -> Result<Vec<Assignment>> {
        let mut assignments = Vec::new();
        loop {
            if matches!(self.parser.peek_token_ref().token, Token::LParen) {
                return Err(self.unsupported("SET (a, b) = (…)"));
            }
            let mut target = vec![self.identifier("the name of a column")?];
            while self.take_token(&Token::Period) {
                target.push(self.identifier("the name of a column or of a field")?);
            }
            if matches!(self.parser.peek_token_ref().token, Token::LBracket) {
                return Err(self.unsupported("setting an element of an array or of a map"));
            }
            self.expect_token(&Token::Eq)?;
            assignments.push(Assignment { target: Name(target), value: self.value()? });
            if !self.take_token(&Token::Comma) {
                return Ok(assignments);
            }
        }
    }

    /// `[WHERE condition]`.
    pub(super) fn condition(&mut self) -> Result<Option<Expr>> {
        if self.take(&["WHERE"]) { self.expr().map(Some) } else { Ok(None) }
    }

    /// The statement ends here.
    pub(super) fn end(&self, what: &str) -> Result<()> {
        for clause in ["RETURNING", "LIMIT", "ORDER"] {
            if self.is(&[clause]) {
                return Err(self.unsupported(&format!("{clause} in a statement that changes rows")));
            }
        }
        match self.parser.peek_token_ref().token {
            Token::EOF => Ok(()),
            _ => Err(self.expected(what)),
        }
    }
}
