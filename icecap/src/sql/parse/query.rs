//! Queries: sqlparser's, with what DataFusion would silently leave out refused.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, CastKind, DataType, ExactNumberInfo, Expr, Fetch, GroupByExpr, LimitClause, Query,
    Select, SetExpr, Value, VisitMut, VisitorMut,
};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Word};
use icecap_table::{Error, Result};

use crate::sql::ast::Name;
use crate::sql::cursor::{Cursor, parser_error};
use crate::sql::dialect::IcecapDialect;
use crate::sql::tokens::rewrite;

/// How deep sqlparser may recurse.
const RECURSION_LIMIT: usize = 50;

/// Chains of `AND` or `OR` longer than this are made balanced trees.
const BALANCE_FROM: usize = 8;

/// Parses everything from the cursor on as one query.
///
/// # Errors
/// `Invalid` for wrong SQL; `Unsupported` for what is not done.
pub(crate) fn query(cursor: &mut Cursor<'_>) -> Result<Box<Query>> {
    let tokens = table_as_select(cursor, rewrite(cursor.clone())?);
    parsed(cursor, tokens)
}

/// Parses everything from the cursor on as a condition: the query of all rows of `table` that satisfy it.
///
/// # Errors
/// `Invalid` for wrong SQL, or more than a condition; `Unsupported` for what is not done.
pub(crate) fn rows_where(cursor: &mut Cursor<'_>, table: &Name) -> Result<Box<Query>> {
    let here = cursor.clone();
    if here.is_at_end() {
        return Err(here.expected("a condition"));
    }
    let span = cursor.span();
    let word =
        |text: &str, quote_style, keyword| Token::Word(Word { value: text.to_owned(), quote_style, keyword });
    let mut head = vec![word("SELECT", None, Keyword::SELECT), Token::Mul, word("FROM", None, Keyword::FROM)];
    for (at, part) in table.0.iter().enumerate() {
        if at > 0 {
            head.push(Token::Period);
        }
        head.push(word(&part.value, part.quoted.then_some('"'), Keyword::NoKeyword));
    }
    head.push(word("WHERE", None, Keyword::WHERE));
    let mut tokens = rewrite(cursor.clone())?;
    tokens.splice(0..0, head.into_iter().map(|token| TokenWithSpan::new(token, span)));
    let query = parsed(cursor, tokens)?;
    if is_rows_where(&query) {
        Ok(query)
    } else {
        Err(here.invalid("only a condition may stand behind WHERE here"))
    }
}

/// Whether a query that begins as one of all rows of a table goes on with a condition and nothing else.
fn is_rows_where(query: &Query) -> bool {
    let SetExpr::Select(select) = query.body.as_ref() else { return false };
    let Select { selection, group_by, having, named_window, qualify, from, .. } = select.as_ref();
    let is_ungrouped =
        matches!(group_by, GroupByExpr::Expressions(by, with) if by.is_empty() && with.is_empty());
    selection.is_some()
        && is_ungrouped
        && having.is_none()
        && named_window.is_empty()
        && qualify.is_none()
        && from.len() == 1
        && query.order_by.is_none()
        && query.limit_clause.is_none()
        && query.pipe_operators.is_empty()
}

fn parsed(cursor: &mut Cursor<'_>, tokens: Vec<TokenWithSpan>) -> Result<Box<Query>> {
    let start = cursor.place();
    *cursor = cursor.moved_to(cursor.at() + cursor.rest().len());
    let mut parser =
        Parser::new(&IcecapDialect).with_recursion_limit(RECURSION_LIMIT).with_tokens_with_locations(tokens);
    let mut query = parser.parse_query().map_err(|error| parser_error(cursor, &error))?;
    if parser.peek_token_ref().token != Token::EOF {
        let error = parser.expected_ref::<()>("the end of the statement", parser.peek_token_ref());
        return match error {
            Err(error) => Err(parser_error(cursor, &error)),
            Ok(()) => Err(Error::bug("the parser stopped before the end of a statement")),
        };
    }
    check(&mut *query, &start)?;
    Ok(query)
}

/// Does for a piece of a statement what [`query`] does for a query: refuses what DataFusion would leave out, and makes
/// equal what it reads in one spelling only. `start` is where the statement begins.
///
/// # Errors
/// `Unsupported` for what is not done.
pub(super) fn check(piece: &mut impl VisitMut, start: &str) -> Result<()> {
    match piece.visit(&mut Checks) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(what) => Err(Error::unsupported(format!("{start}: {what} is not supported yet"))),
    }
}

/// A parser of everything from the cursor on.
///
/// # Errors
/// As [`rewrite`].
pub(super) fn parser(cursor: &Cursor<'_>) -> Result<Parser<'static>> {
    let tokens = rewrite(cursor.clone())?;
    Ok(Parser::new(&IcecapDialect).with_recursion_limit(RECURSION_LIMIT).with_tokens_with_locations(tokens))
}

/// `TABLE t` at the head is `SELECT * FROM t`.
fn table_as_select(cursor: &Cursor<'_>, mut tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    if cursor.is_keyword("TABLE") {
        let word =
            |text: &str, keyword| Token::Word(Word { value: text.to_owned(), quote_style: None, keyword });
        let span = cursor.span();
        let select = [word("SELECT", Keyword::SELECT), Token::Mul, word("FROM", Keyword::FROM)];
        tokens.splice(0..1, select.map(|token| TokenWithSpan::new(token, span)));
    }
    tokens
}

/// Refuses clauses that DataFusion would ignore, and makes equal what it reads in one spelling only.
struct Checks;

impl VisitorMut for Checks {
    type Break = Box<str>;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<Self::Break> {
        if !query.locks.is_empty() {
            return ControlFlow::Break("FOR UPDATE".into());
        }
        if query.for_clause.is_some() || query.settings.is_some() || query.format_clause.is_some() {
            return ControlFlow::Break("a FOR, SETTINGS or FORMAT clause".into());
        }
        if let Some(fetch) = query.fetch.take() {
            fetch_as_limit(query, fetch)?;
        }
        match query.body.as_ref() {
            SetExpr::Insert(_) => {
                ControlFlow::Break("WITH before INSERT (write INSERT INTO … WITH …)".into())
            }
            SetExpr::Update(_) => ControlFlow::Break("UPDATE".into()),
            SetExpr::Delete(_) => ControlFlow::Break("DELETE".into()),
            SetExpr::Merge(_) => ControlFlow::Break("MERGE".into()),
            _ => ControlFlow::Continue(()),
        }
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<Self::Break> {
        let refused = if select.into.is_some() {
            "SELECT INTO"
        } else if select.top.is_some() {
            "TOP"
        } else if !select.lateral_views.is_empty() {
            "LATERAL VIEW"
        } else if select.prewhere.is_some() {
            "PREWHERE"
        } else if !select.connect_by.is_empty() {
            "CONNECT BY"
        } else if !select.cluster_by.is_empty()
            || !select.sort_by.is_empty()
            || !select.distribute_by.is_empty()
        {
            "CLUSTER BY, DISTRIBUTE BY or SORT BY"
        } else if select.value_table_mode.is_some() || select.select_modifiers.is_some() {
            "a word between SELECT and its list"
        } else if select.exclude.is_some() {
            "EXCLUDE after the list (write * EXCLUDE (…))"
        } else {
            return ControlFlow::Continue(());
        };
        ControlFlow::Break(refused.into())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Self::Break> {
        balance(expr);
        exponent_as_double(expr);
        ControlFlow::Continue(())
    }
}

/// `FETCH FIRST n ROWS ONLY` is `LIMIT n`.
fn fetch_as_limit(query: &mut Query, fetch: Fetch) -> ControlFlow<Box<str>> {
    if fetch.percent || fetch.with_ties {
        return ControlFlow::Break("FETCH FIRST with PERCENT or WITH TIES".into());
    }
    let one = || Expr::Value(Value::Number("1".to_owned(), false).into());
    let quantity = fetch.quantity.unwrap_or_else(one);
    match &mut query.limit_clause {
        Some(LimitClause::LimitOffset { limit, .. }) if limit.is_none() => *limit = Some(quantity),
        None => {
            query.limit_clause =
                Some(LimitClause::LimitOffset { limit: Some(quantity), offset: None, limit_by: Vec::new() });
        }
        Some(_) => return ControlFlow::Break("FETCH FIRST beside LIMIT".into()),
    }
    ControlFlow::Continue(())
}

/// A number with an exponent is a double, one without a whole number or a decimal.
fn exponent_as_double(expr: &mut Expr) {
    if let Expr::Value(value) = &*expr
        && let Value::Number(digits, _) = &value.value
        && digits.contains(['e', 'E'])
    {
        let text = Expr::Value(Value::SingleQuotedString(digits.to_string()).into());
        *expr = Expr::Cast {
            kind: CastKind::Cast,
            expr: Box::new(text),
            data_type: DataType::Double(ExactNumberInfo::None),
            array: false,
            format: None,
        };
    }
}

/// Makes a long chain of one of `AND` and `OR`, which parses as deep as it is long, a balanced tree.
fn balance(expr: &mut Expr) {
    let Expr::BinaryOp { op: op @ (BinaryOperator::And | BinaryOperator::Or), .. } = expr else { return };
    let op = op.clone();
    let mut length = 0;
    let mut node = &*expr;
    while let Expr::BinaryOp { left, op: other, .. } = node
        && *other == op
    {
        length += 1;
        node = left;
    }
    if length < BALANCE_FROM {
        return;
    }
    let hole = || Expr::Value(Value::Null.into());
    let mut operands = Vec::with_capacity(length + 1);
    let mut node = std::mem::replace(expr, hole());
    loop {
        match node {
            Expr::BinaryOp { left, op: other, right } if other == op => {
                operands.push(*right);
                node = *left;
            }
            first => {
                operands.push(first);
                break;
            }
        }
    }
    operands.reverse();
    while operands.len() > 1 {
        let mut pairs = Vec::with_capacity(operands.len().div_ceil(2));
        let mut rest = operands.into_iter();
        while let Some(left) = rest.next() {
            pairs.push(match rest.next() {
                Some(right) => {
                    Expr::BinaryOp { left: Box::new(left), op: op.clone(), right: Box::new(right) }
                }
                None => left,
            });
        }
        operands = pairs;
    }
    if let Some(balanced) = operands.pop() {
        *expr = balanced;
    }
}
