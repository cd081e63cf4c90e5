//! A bound on how deep a statement's tree can become, judged on its tokens before anything is parsed.
//!
//! A chain such as `1 + 1 + 1 + …` is a tree as deep as it is long; whatever walks or frees it recurses as
//! deep. Every limit here is far above what people write and far below what a thread's stack holds.

use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};
use icecap_table::{Error, Result};

use super::cursor::place;

/// How deep parentheses and brackets may nest.
const MAX_BRACKETS: usize = 100;
/// How many operators may stand between two commas, those of the enclosing brackets included.
const MAX_OPERATORS: usize = 200;
/// The same for `AND` and `OR`, whose chains are balanced after parsing.
const MAX_LOGICAL: usize = 5_000;
/// How many joins and set operations a query may hold, those of the enclosing brackets included.
const MAX_RELATIONS: usize = 500;
/// What a `<` after `array`, `map` or `struct` counts: sqlparser may read it as a nested type.
const TYPE_WEIGHT: usize = 12;

/// What a word or sign counts after which sqlparser tries two readings: a nest of `n` may be read 2ⁿ times.
const TRIAL_WEIGHT: usize = 25;

const OPERATOR_WORDS: &[&str] = &[
    "NOT", "XOR", "IS", "LIKE", "ILIKE", "SIMILAR", "RLIKE", "REGEXP", "IN", "BETWEEN", "COLLATE", "AT",
    "DIV", "MOD", "OPERATOR", "OVERLAPS", "MEMBER", "GLOB", "MATCH", "NOTNULL", "ISNULL", "PRIOR", "ESCAPE",
    "INTERVAL", "OVER", "WITHIN", "FILTER", "EXISTS", "POSITION",
];
/// Words that end an expression where they follow an operand.
const CLAUSE_WORDS: &[&str] = &[
    "FROM",
    "WHERE",
    "GROUP",
    "HAVING",
    "ORDER",
    "LIMIT",
    "OFFSET",
    "FETCH",
    "QUALIFY",
    "WINDOW",
    "ON",
    "USING",
    "JOIN",
    "UNION",
    "EXCEPT",
    "INTERSECT",
];
const LOGICAL_WORDS: &[&str] = &["AND", "OR"];
const RELATION_WORDS: &[&str] =
    &["JOIN", "UNION", "EXCEPT", "INTERSECT", "MINUS", "LATERAL", "PIVOT", "UNPIVOT"];
const TYPE_WORDS: &[&str] =
    &["ARRAY", "MAP", "STRUCT", "LIST", "NULLABLE", "LOWCARDINALITY", "TUPLE", "NESTED"];

#[derive(Default, Clone, Copy)]
struct Counts {
    operators: usize,
    logical: usize,
    relations: usize,
}

#[derive(Default)]
struct Level {
    /// Whether a `CASE` opened it, so that an `END` closes it.
    case: bool,
    /// Whether the next `AND` belongs to a `BETWEEN`.
    between: bool,
    counts: Counts,
}

/// Refuses a statement whose tree could be too deep.
///
/// # Errors
/// `Invalid` at the token that goes too far.
pub(crate) fn check_depth(tokens: &[TokenWithSpan], origin: (u64, u64)) -> Result<()> {
    let mut levels = vec![Level::default()];
    let mut total = Counts::default();
    let mut previous: Option<&str> = None;
    // Whether an operand ended before this token, so that a word such as AND is an operator and no name.
    let mut operand = false;
    for (at, token) in tokens.iter().enumerate() {
        let refuse = |what: &str| {
            Err(Error::invalid(format!(
                "{}: the statement is nested too deeply: {what}",
                place(origin, token.span.start)
            )))
        };
        let word = match &token.token {
            Token::Word(word) if word.quote_style.is_none() => Some(word.value.as_str()),
            _ => None,
        };
        let is = |words: &[&str]| {
            word.is_some_and(|word| words.iter().any(|other| word.eq_ignore_ascii_case(other)))
        };
        let was = |words: &[&str]| {
            previous.is_some_and(|word| words.iter().any(|other| word.eq_ignore_ascii_case(other)))
        };
        if is(&["INTERVAL"]) && was(&["INTERVAL"]) {
            return refuse("INTERVAL takes a value such as '1', as in INTERVAL '1' DAY");
        }
        if is(&["UNION"]) && opens_names(tokens, at + 1) {
            return refuse("UNION ( is followed by a query");
        }
        let Some(level) = levels.last_mut() else {
            return Err(Error::bug("the depth check lost its last level"));
        };
        match &token.token {
            Token::LParen | Token::LBracket | Token::LBrace => {
                levels.push(Level::default());
            }
            Token::RParen | Token::RBracket | Token::RBrace => {
                // What a CASE without END opened ends here too.
                while levels.len() > 1 {
                    let Some(closed) = levels.pop() else { break };
                    total.subtract(closed.counts);
                    if !closed.case {
                        break;
                    }
                }
            }
            Token::Comma => {
                total.subtract_chain(level.counts);
                level.counts.end_chain();
            }
            _ if operand && level.case && is(&["WHEN", "THEN", "ELSE"]) => {
                total.subtract_chain(level.counts);
                level.counts.end_chain();
            }
            _ if operand && is(CLAUSE_WORDS) => {
                total.subtract_chain(level.counts);
                level.counts.end_chain();
                if is(RELATION_WORDS) {
                    level.counts.relations += 1;
                    total.relations += 1;
                }
            }
            _ if is(&["CASE"]) => levels.push(Level { case: true, ..Level::default() }),
            _ if is(&["END"]) => {
                if level.case
                    && let Some(closed) = levels.pop()
                {
                    total.subtract(closed.counts);
                }
            }
            _ if operand && is(LOGICAL_WORDS) && !(level.between && is(&["AND"])) => {
                // What stands on either side is a chain of its own.
                total.operators -= level.counts.operators;
                level.counts.operators = 0;
                level.counts.logical += 1;
                total.logical += 1;
            }
            _ if is(RELATION_WORDS) => {
                level.counts.relations += 1;
                total.relations += 1;
            }
            Token::Word(_) if !is(OPERATOR_WORDS) && !is(LOGICAL_WORDS) => {}
            Token::Number(..)
            | Token::SingleQuotedString(_)
            | Token::Period
            | Token::SemiColon
            | Token::NationalStringLiteral(_)
            | Token::HexStringLiteral(_)
            | Token::UnicodeStringLiteral(_) => {}
            other => {
                let weight = if *other == Token::Arrow || is(&["POSITION"]) {
                    TRIAL_WEIGHT
                } else if *other == Token::Lt && was(TYPE_WORDS) {
                    TYPE_WEIGHT
                } else {
                    1
                };
                level.counts.operators += weight;
                total.operators += weight;
                level.between = is(&["BETWEEN"]);
            }
        }
        if levels.len() > MAX_BRACKETS {
            return refuse(&format!("at most {MAX_BRACKETS} levels of brackets: move inner parts into WITH"));
        }
        if total.operators > MAX_OPERATORS {
            return refuse(&format!(
                "at most {MAX_OPERATORS} operators in one expression: move parts of it into WITH"
            ));
        }
        if total.logical > MAX_LOGICAL {
            return refuse(&format!(
                "at most {MAX_LOGICAL} of AND and OR in one condition: use IN (…) or a join"
            ));
        }
        if total.relations > MAX_RELATIONS {
            return refuse(&format!("at most {MAX_RELATIONS} joins and set operations in one query"));
        }
        previous = word;
        operand = match &token.token {
            Token::Word(_) => {
                !is(OPERATOR_WORDS) && !is(LOGICAL_WORDS) && !is(&["CASE", "WHEN", "THEN", "ELSE"])
            }
            Token::Number(..)
            | Token::SingleQuotedString(_)
            | Token::HexStringLiteral(_)
            | Token::RParen
            | Token::RBracket
            | Token::RBrace => true,
            // All columns, and not a product.
            Token::Mul => {
                !operand
                    && matches!(
                        tokens.get(at.wrapping_sub(1)).map(|token| &token.token),
                        Some(Token::Comma | Token::Period | Token::Word(_))
                    )
            }
            _ => false,
        };
    }
    Ok(())
}

/// Whether a parenthesis with a name in it follows: sqlparser would read a nested type after UNION.
fn opens_names(tokens: &[TokenWithSpan], at: usize) -> bool {
    let word = match tokens.get(at..at + 2) {
        Some([open, inner]) if open.token == Token::LParen => match &inner.token {
            Token::Word(word) => word,
            _ => return false,
        },
        _ => return false,
    };
    let query = ["SELECT", "WITH", "VALUES", "TABLE"];
    word.quote_style.is_some() || !query.iter().any(|query| word.value.eq_ignore_ascii_case(query))
}

impl Counts {
    fn subtract(&mut self, other: Self) {
        self.operators -= other.operators;
        self.logical -= other.logical;
        self.relations -= other.relations;
    }

    fn subtract_chain(&mut self, other: Self) {
        self.operators -= other.operators;
        self.logical -= other.logical;
    }

    fn end_chain(&mut self) {
        self.operators = 0;
        self.logical = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::super::cursor::Tokens;
    use super::*;

    fn check(sql: &str) -> Result<()> {
        let tokens = Tokens::of(sql).unwrap();
        check_depth(&tokens.list, (1, 1))
    }

    #[test]
    fn wide_statements_pass() {
        check(&format!("values {}", vec!["(1, -2, 'a' || 'b')"; 20_000].join(", "))).unwrap();
        check(&format!("select a in ({})", vec!["-1"; 20_000].join(", "))).unwrap();
        check(&format!("select case {} end", vec!["when a then b"; 20_000].join(" "))).unwrap();
        check(&format!("select {}", vec!["a + b"; 5_000].join(", "))).unwrap();
        check(&format!("select {}", vec!["a"; 4_000].join(" or "))).unwrap();
        check(&format!("select {}", vec!["a = 1 and b <> -2"; 2_000].join(" or "))).unwrap();
        check(&format!("select {}", vec!["a between 1 and 2"; 2_000].join(" or "))).unwrap();
        check(&format!("{} select 1", "select * from t union all ".repeat(400))).unwrap();
        check(&format!("select * from t {}", "join u on t.a = -u.b and t.c = u.c ".repeat(400))).unwrap();
        check(&format!("select case {} end", vec!["when a = 1 or b > 2 then b + 1"; 2_000].join(" ")))
            .unwrap();
    }

    #[test]
    fn deep_statements_are_refused() {
        let refused = |sql: &str| check(sql).unwrap_err().message().contains("nested too deeply");
        assert!(refused(&format!("select {}", vec!["1"; 600].join(" + "))));
        assert!(refused(&format!("select {}", vec!["a"; 6_000].join(" or "))));
        assert!(refused(&format!("select {}1{}", "(".repeat(200), ")".repeat(200))));
        assert!(refused(&format!("select {}", vec!["1"; 600].join(" union all select "))));
        assert!(refused(&format!("select 1, 2 {}", "union select 1, 2 ".repeat(600))));
        assert!(refused(&format!("select {} 1", "- ".repeat(600))));
        assert!(refused(&format!("select {} a", "not ".repeat(600))));
        assert!(refused(&format!("select {} int", "array<".repeat(600))));
        assert!(refused(&format!("select a {}", "between 1 and 2 ".repeat(600))));
        assert!(refused(&format!("select case a {}", "+ when ".repeat(600))));
        assert!(refused(&format!("select a {}", "+ and ".repeat(600))));
        assert!(refused("select interval interval '1'"));
        assert!(refused(&format!("select {}", "case when ".repeat(200))));
        assert!(refused(&format!("select a{}", "::int".repeat(600))));
    }
}
