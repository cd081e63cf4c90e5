//! Tokens of one statement, and a cursor over them for the statements that are parsed by hand.

use datafusion::sql::sqlparser::parser::ParserError;
use datafusion::sql::sqlparser::tokenizer::{
    Location, Span, Token, TokenWithSpan, Tokenizer, TokenizerError,
};
use icecap_table::{Error, Result};

use super::ast::{Name, NamePart};
use super::dialect::IcecapDialect;
use super::script::StatementText;

/// The tokens of a statement, white space and comments left out.
#[derive(Debug)]
pub(crate) struct Tokens {
    pub(crate) list: Vec<TokenWithSpan>,
    /// Where the statement starts in its script: token positions count from there.
    origin: (u64, u64),
}

impl Tokens {
    /// The tokens of `statement`.
    pub(crate) fn read(statement: &StatementText<'_>) -> Result<Self> {
        let origin = (statement.line, statement.column);
        let list = Tokenizer::new(&IcecapDialect, statement.text)
            .tokenize_with_location()
            .map_err(|error: TokenizerError| {
                Error::invalid(format!("{}: {}", place(origin, error.location), error.message))
            })?
            .into_iter()
            .filter(|token| !matches!(token.token, Token::Whitespace(_)))
            .collect();
        Ok(Self { list, origin })
    }

    /// The tokens of a piece of SQL that stands on its own, such as a partition term in a string.
    pub(crate) fn of(text: &str) -> Result<Self> {
        Self::read(&StatementText { text, line: 1, column: 1 })
    }

    /// A cursor at the first token.
    pub(crate) fn cursor(&self) -> Cursor<'_> {
        Cursor { tokens: &self.list, at: 0, split: false, origin: self.origin }
    }

    pub(crate) fn origin(&self) -> (u64, u64) {
        self.origin
    }
}

/// `line L:C` of a token in its script.
pub(crate) fn place((line, column): (u64, u64), location: Location) -> String {
    match location.line {
        // sqlparser's mark for "unknown".
        0 => format!("line {line}:{column}"),
        1 => format!("line {line}:{}", column + location.column.saturating_sub(1)),
        below => format!("line {}:{}", line + below - 1, location.column),
    }
}

/// sqlparser's error with its position turned into the script's.
pub(crate) fn parser_error(cursor: &Cursor<'_>, error: &ParserError) -> Error {
    let origin = cursor.origin;
    let text = match error {
        ParserError::ParserError(text) | ParserError::TokenizerError(text) => text.as_str(),
        ParserError::RecursionLimitExceeded => {
            return Error::invalid(format!(
                "line {}:{}: the statement is nested too deeply: split it with WITH",
                origin.0, origin.1
            ));
        }
    };
    let (text, location) = match text.rsplit_once(" at Line: ") {
        Some((before, position)) => {
            let mut numbers = position.split(", Column: ").map(|number| number.trim().parse::<u64>());
            match (numbers.next(), numbers.next()) {
                (Some(Ok(line)), Some(Ok(column))) => (before, Location { line, column }),
                _ => (text, Location { line: 0, column: 0 }),
            }
        }
        None if text.ends_with("found: EOF") => (text, cursor.end()),
        None => (text, Location { line: 0, column: 0 }),
    };
    let text = match text.strip_prefix("Expected: ").or_else(|| text.strip_prefix("Expected ")) {
        Some(rest) => {
            let found = rest.replacen(", found: EOF", ", found the end of the statement", 1);
            format!("expected {}", found.replacen(", found: ", ", found ", 1))
        }
        None => text.to_owned(),
    };
    Error::invalid(format!("{}: {text}", place(origin, location)))
}

/// Reads tokens one by one.
#[derive(Debug, Clone)]
pub(crate) struct Cursor<'a> {
    tokens: &'a [TokenWithSpan],
    at: usize,
    /// Whether the first `>` of a `>>` has been taken.
    split: bool,
    origin: (u64, u64),
}

impl<'a> Cursor<'a> {
    pub(crate) fn at(&self) -> usize {
        self.at
    }

    /// A cursor over the same tokens, at another one.
    pub(crate) fn moved_to(&self, at: usize) -> Self {
        Self { at, split: false, ..self.clone() }
    }

    /// A cursor here over the tokens before `end` only.
    pub(crate) fn until(&self, end: usize) -> Self {
        Self { tokens: self.tokens.get(..end).unwrap_or(self.tokens), ..self.clone() }
    }

    pub(crate) fn peek(&self) -> Option<&'a Token> {
        self.peek_at(0)
    }

    pub(crate) fn peek_at(&self, ahead: usize) -> Option<&'a Token> {
        self.tokens.get(self.at + ahead).map(|token| &token.token)
    }

    pub(crate) fn span(&self) -> Span {
        self.tokens.get(self.at).map_or_else(Span::empty, |token| token.span)
    }

    pub(crate) fn advance(&mut self) {
        self.at += 1;
    }

    pub(crate) fn is_at_end(&self) -> bool {
        self.at >= self.tokens.len()
    }

    /// Everything from here on.
    pub(crate) fn rest(&self) -> &'a [TokenWithSpan] {
        self.tokens.get(self.at..).unwrap_or_default()
    }

    /// The unquoted word `ahead` of here.
    pub(crate) fn word_at(&self, ahead: usize) -> Option<&'a str> {
        match self.peek_at(ahead) {
            Some(Token::Word(word)) if word.quote_style.is_none() => Some(&word.value),
            _ => None,
        }
    }

    pub(crate) fn is_keyword_at(&self, ahead: usize, keyword: &str) -> bool {
        self.word_at(ahead).is_some_and(|word| word.eq_ignore_ascii_case(keyword))
    }

    pub(crate) fn is_keyword(&self, keyword: &str) -> bool {
        self.is_keyword_at(0, keyword)
    }

    /// Whether these keywords follow.
    pub(crate) fn are_keywords(&self, keywords: &[&str]) -> bool {
        keywords.iter().enumerate().all(|(ahead, keyword)| self.is_keyword_at(ahead, keyword))
    }

    /// Takes these keywords if they follow.
    pub(crate) fn take(&mut self, keywords: &[&str]) -> bool {
        let found = self.are_keywords(keywords);
        if found {
            self.at += keywords.len();
        }
        found
    }

    /// Takes one keyword of several.
    pub(crate) fn take_any(&mut self, keywords: &[&str]) -> bool {
        let found = keywords.iter().any(|keyword| self.is_keyword(keyword));
        if found {
            self.advance();
        }
        found
    }

    /// Takes this token if it follows.
    pub(crate) fn take_token(&mut self, token: &Token) -> bool {
        if self.split {
            return false;
        }
        let found = self.peek() == Some(token);
        if found {
            self.advance();
        }
        found
    }

    /// Takes a `>`, which may be half of a `>>`.
    pub(crate) fn take_gt(&mut self) -> bool {
        if self.split {
            self.split = false;
            self.advance();
            return true;
        }
        if self.peek() == Some(&Token::ShiftRight) {
            self.split = true;
            return true;
        }
        self.take_token(&Token::Gt)
    }

    /// # Errors
    /// `Invalid` when this token does not follow.
    pub(crate) fn expect_token(&mut self, token: &Token) -> Result<()> {
        if self.take_token(token) { Ok(()) } else { Err(self.expected(&token.to_string())) }
    }

    /// # Errors
    /// `Invalid` when anything follows.
    pub(crate) fn expect_end(&self) -> Result<()> {
        if self.is_at_end() { Ok(()) } else { Err(self.expected("the end of the statement")) }
    }

    /// A string in single quotes.
    ///
    /// # Errors
    /// `Invalid` when something else follows.
    pub(crate) fn string(&mut self, what: &str) -> Result<String> {
        match self.peek() {
            Some(Token::SingleQuotedString(text) | Token::UnicodeStringLiteral(text)) if !self.split => {
                self.advance();
                Ok(text.clone())
            }
            _ => Err(self.expected(&format!("{what} in single quotes"))),
        }
    }

    /// A whole number.
    ///
    /// # Errors
    /// `Invalid` when something else follows, or a number above 2³¹-1.
    pub(crate) fn number(&mut self, what: &str) -> Result<u32> {
        if let Some(Token::Number(digits, false)) = self.peek()
            && let Ok(number) = digits.parse::<i32>()
        {
            self.advance();
            return Ok(number.unsigned_abs());
        }
        Err(self.expected(what))
    }

    /// One identifier.
    ///
    /// # Errors
    /// `Invalid` when something else follows, or an empty name.
    pub(crate) fn identifier(&mut self, what: &str) -> Result<NamePart> {
        match self.peek() {
            Some(Token::Word(word)) if !self.split => {
                if word.value.is_empty() {
                    return Err(self.invalid("a name is empty"));
                }
                self.advance();
                Ok(NamePart { value: word.value.clone(), quoted: word.quote_style.is_some() })
            }
            _ => Err(self.expected(what)),
        }
    }

    /// A dotted name.
    ///
    /// # Errors
    /// `Invalid` when something else follows.
    pub(crate) fn name(&mut self, what: &str) -> Result<Name> {
        let mut parts = vec![self.identifier(what)?];
        while self.take_token(&Token::Period) {
            parts.push(self.identifier(&format!("the next part of {what}"))?);
        }
        Ok(Name(parts))
    }

    /// An error at this token saying what was expected.
    pub(crate) fn expected(&self, what: &str) -> Error {
        let found = match self.peek() {
            Some(token) => format!("`{}`", shortened(&token.to_string())),
            None => "the end of the statement".to_owned(),
        };
        Error::invalid(format!("{}: expected {what}, found {found}", self.place()))
    }

    /// An error at this token.
    pub(crate) fn invalid(&self, message: &str) -> Error {
        Error::invalid(format!("{}: {message}", self.place()))
    }

    /// `line L:C` of this token, or of the statement's end.
    pub(crate) fn place(&self) -> String {
        let location = match self.tokens.get(self.at) {
            Some(token) => token.span.start,
            None => self.end(),
        };
        place(self.origin, location)
    }

    /// Where the last token ends.
    fn end(&self) -> Location {
        self.tokens.last().map_or(Location { line: 0, column: 0 }, |token| token.span.end)
    }
}

fn shortened(text: &str) -> String {
    const MOST: usize = 40;
    if text.chars().count() <= MOST {
        return text.to_owned();
    }
    text.chars().take(MOST).chain(std::iter::once('…')).collect()
}
