//! The dialect that sqlparser is asked to read: Athena's expressions, without the oddities of others.

use std::any::TypeId;

use datafusion::sql::sqlparser::ast::Expr;
use datafusion::sql::sqlparser::dialect::{Dialect, GenericDialect, Precedence};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};

/// Icecap's dialect. It passes as `GenericDialect` where sqlparser asks for a dialect by type, because
/// DataFusion plans what that one parses.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct IcecapDialect;

impl Dialect for IcecapDialect {
    fn dialect(&self) -> TypeId {
        TypeId::of::<GenericDialect>()
    }

    /// `a IS [NOT] DISTINCT FROM b`, whose `b` ends before AND and OR. sqlparser itself takes all that follows for `b`:
    /// `a IS DISTINCT FROM b OR c` would mean `a IS DISTINCT FROM (b OR c)`.
    fn parse_infix(
        &self,
        parser: &mut Parser<'_>,
        expr: &Expr,
        _precedence: u8,
    ) -> Option<Result<Expr, ParserError>> {
        use Keyword as K;
        let negated = parser.parse_keywords(&[K::IS, K::NOT, K::DISTINCT, K::FROM]);
        if !negated && !parser.parse_keywords(&[K::IS, K::DISTINCT, K::FROM]) {
            return None;
        }
        let (left, right) =
            (Box::new(expr.clone()), parser.parse_subexpr(self.prec_value(Precedence::Is)).map(Box::new));
        Some(right.map(|right| match negated {
            true => Expr::IsNotDistinctFrom(left, right),
            false => Expr::IsDistinctFrom(left, right),
        }))
    }

    /// Words that open an expression of their own. Were they names too, sqlparser would read what follows twice
    /// whenever the first reading fails, and so a nest of `n` of them 2ⁿ times. The token pass quotes those that
    /// stand without a parenthesis, so that a column may be called `floor`.
    fn is_reserved_for_identifier(&self, keyword: Keyword) -> bool {
        use Keyword as K;
        matches!(
            keyword,
            K::ARRAY
                | K::CASE
                | K::CAST
                | K::CEIL
                | K::CONVERT
                | K::EXISTS
                | K::EXTRACT
                | K::FLOOR
                | K::INTERVAL
                | K::LAMBDA
                | K::MAP
                | K::NOT
                | K::OVERLAY
                | K::POSITION
                | K::SAFE_CAST
                | K::STRUCT
                | K::SUBSTR
                | K::SUBSTRING
                | K::TRIM
                | K::TRY_CAST
                | K::TRY_CONVERT
        )
    }

    fn is_delimited_identifier_start(&self, ch: char) -> bool {
        ch == '"' || ch == '`'
    }

    fn is_identifier_start(&self, ch: char) -> bool {
        ch.is_alphabetic() || ch == '_'
    }

    fn is_identifier_part(&self, ch: char) -> bool {
        ch.is_alphanumeric() || ch == '_' || ch == '$'
    }

    fn supports_unicode_string_literal(&self) -> bool {
        true
    }

    fn supports_table_versioning(&self) -> bool {
        true
    }

    fn supports_group_by_expr(&self) -> bool {
        true
    }

    fn supports_left_associative_joins_without_parens(&self) -> bool {
        true
    }

    fn supports_window_function_null_treatment_arg(&self) -> bool {
        true
    }

    fn supports_window_clause_named_window_reference(&self) -> bool {
        true
    }

    fn supports_filter_during_aggregation(&self) -> bool {
        true
    }

    fn supports_select_wildcard_except(&self) -> bool {
        true
    }

    fn supports_select_wildcard_exclude(&self) -> bool {
        true
    }

    fn supports_parens_around_table_factor(&self) -> bool {
        true
    }

    fn supports_values_as_table_factor(&self) -> bool {
        true
    }

    fn supports_lambda_functions(&self) -> bool {
        true
    }

    fn supports_array_typedef_with_brackets(&self) -> bool {
        true
    }

    fn supports_struct_literal(&self) -> bool {
        true
    }

    fn support_map_literal_syntax(&self) -> bool {
        true
    }

    fn supports_dictionary_syntax(&self) -> bool {
        true
    }

    fn allow_extract_single_quotes(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Expr {
        Parser::new(&IcecapDialect).try_with_sql(text).unwrap().parse_expr().unwrap()
    }

    #[test]
    fn is_distinct_from_ends_before_and_and_or() {
        for (text, meant) in [
            ("a IS DISTINCT FROM b OR c", "(a IS DISTINCT FROM b) OR c"),
            ("a IS NOT DISTINCT FROM 1 AND b OR c", "((a IS NOT DISTINCT FROM 1) AND b) OR c"),
            ("x AND a IS DISTINCT FROM b OR c", "(x AND (a IS DISTINCT FROM b)) OR c"),
            ("NOT a IS DISTINCT FROM b AND c", "(NOT (a IS DISTINCT FROM b)) AND c"),
            ("a IS DISTINCT FROM b + 1", "a IS DISTINCT FROM (b + 1)"),
        ] {
            assert_eq!(shape(&parsed(text)), shape(&parsed(meant)), "{text}");
        }
    }

    /// The operators of an expression as a tree.
    fn shape(expr: &Expr) -> String {
        match expr {
            Expr::BinaryOp { left, op, right } => format!("({} {op} {})", shape(left), shape(right)),
            Expr::UnaryOp { op, expr } => format!("({op} {})", shape(expr)),
            Expr::IsDistinctFrom(a, b) => format!("({} is distinct from {})", shape(a), shape(b)),
            Expr::IsNotDistinctFrom(a, b) => format!("({} is not distinct from {})", shape(a), shape(b)),
            Expr::Nested(inner) => shape(inner),
            other => other.to_string(),
        }
    }
}
