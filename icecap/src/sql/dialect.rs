//! The dialect that sqlparser is asked to read: Athena's expressions, without the oddities of others.

use std::any::TypeId;

use datafusion::sql::sqlparser::dialect::{Dialect, GenericDialect};
use datafusion::sql::sqlparser::keywords::Keyword;

/// Icecap's dialect. It passes as `GenericDialect` where sqlparser asks for a dialect by type, because
/// DataFusion plans what that one parses.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct IcecapDialect;

impl Dialect for IcecapDialect {
    fn dialect(&self) -> TypeId {
        TypeId::of::<GenericDialect>()
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
