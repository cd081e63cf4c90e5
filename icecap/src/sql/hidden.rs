//! The columns that every Iceberg table has and `*` does not show: `_file`, `_pos` and their like.
//!
//! DataFusion knows no hidden columns. So a table gets them only in a query that mentions one, and there each `*`
//! leaves them out by name.

use std::ops::ControlFlow;

use datafusion::common::TableReference;
use datafusion::sql::sqlparser::ast::{
    ExceptSelectItem, Expr, Ident, Join, JoinConstraint, JoinOperator, ObjectName, Query, Select, SelectItem,
    SelectItemQualifiedWildcardKind, TableFactor, Visit, VisitMut, Visitor, VisitorMut,
    WildcardAdditionalOptions,
};
use icecap_table::{Error, Result};

use super::names::folded;

/// Their names.
pub const HIDDEN_COLUMNS: [&str; 6] =
    ["_file", "_pos", "_spec_id", "_partition", "_row_id", "_last_updated_sequence_number"];

/// The key in a field's metadata that says that it is one of them and no column of such a name.
pub(crate) const HIDDEN_MARK: &str = "icecap:hidden";

/// Whether a query mentions one of them.
pub fn mentions_hidden(query: &Query) -> bool {
    struct Mention;
    impl Visitor for Mention {
        type Break = ();

        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
            let parts: &[Ident] = match expr {
                Expr::Identifier(ident) => std::slice::from_ref(ident),
                // `t._pos`, `_partition.day`.
                Expr::CompoundIdentifier(parts) => parts,
                _ => &[],
            };
            let is_hidden = |ident: &Ident| HIDDEN_COLUMNS.contains(&folded(&ident.value).as_str());
            match parts.iter().any(is_hidden) {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        }
    }
    query.visit(&mut Mention).is_break()
}

/// Leaves the hidden columns of tables out of every `*`; `of` says which a table has.
///
/// # Errors
/// `Unsupported` where that needs the names of all columns: a `*` over several such tables that are joined by
/// `USING` or `NATURAL`.
pub(crate) fn hide(query: &mut Query, of: &dyn Fn(&TableReference) -> Vec<&'static str>) -> Result<()> {
    match query.visit(&mut Hide { of }) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(*error),
    }
}

struct Hide<'a> {
    of: &'a dyn Fn(&TableReference) -> Vec<&'static str>,
}

impl VisitorMut for Hide<'_> {
    type Break = Box<Error>;

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<Box<Error>> {
        match self.select(select) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(Box::new(error)),
        }
    }
}

/// What stands in FROM: the name that it goes by, and its hidden columns.
struct Relation {
    name: ObjectName,
    hidden: Vec<&'static str>,
}

impl Hide<'_> {
    fn select(&self, select: &mut Select) -> Result<()> {
        let joins: Vec<&Join> = select.from.iter().flat_map(|from| &from.joins).collect();
        let factors =
            select.from.iter().map(|from| &from.relation).chain(joins.iter().map(|join| &join.relation));
        let relations: Option<Vec<Relation>> = factors.map(|factor| self.relation(factor)).collect();
        let natural = joins.iter().any(|join| joins_by_name(join, true));
        let by_name = joins.iter().any(|join| joins_by_name(join, false));
        let with =
            |relations: &[Relation]| relations.iter().filter(|relation| !relation.hidden.is_empty()).count();
        let refused = || {
            Error::unsupported(format!(
                "a query that mentions {} with * over such a join: name the columns",
                HIDDEN_COLUMNS.join(" or ")
            ))
        };
        let Some(relations) = relations else {
            let star = select.projection.iter().any(|item| matches!(item, SelectItem::Wildcard(_)));
            return if star { Err(refused()) } else { Ok(()) };
        };
        if natural && with(&relations) > 1 {
            return Err(refused());
        }
        let mut projection = Vec::with_capacity(select.projection.len());
        for item in std::mem::take(&mut select.projection) {
            match item {
                SelectItem::Wildcard(options) => match with(&relations) {
                    0 => projection.push(SelectItem::Wildcard(options)),
                    1 => {
                        let hidden: Vec<_> = relations.iter().flat_map(|r| r.hidden.clone()).collect();
                        projection.push(SelectItem::Wildcard(without(options, &hidden)));
                    }
                    _ if by_name => return Err(refused()),
                    _ => projection.extend(relations.iter().map(|relation| {
                        let options = without(options.clone(), &relation.hidden);
                        let kind = SelectItemQualifiedWildcardKind::ObjectName(relation.name.clone());
                        SelectItem::QualifiedWildcard(kind, options)
                    })),
                },
                SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), options) => {
                    let named = |relation: &&Relation| same_name(&relation.name, &name);
                    let hidden = relations.iter().find(named).map(|relation| relation.hidden.as_slice());
                    let options = without(options, hidden.unwrap_or_default());
                    let kind = SelectItemQualifiedWildcardKind::ObjectName(name);
                    projection.push(SelectItem::QualifiedWildcard(kind, options));
                }
                other => projection.push(other),
            }
        }
        select.projection = projection;
        Ok(())
    }

    /// `None` for a join in parentheses.
    fn relation(&self, factor: &TableFactor) -> Option<Relation> {
        let by_alias = |alias: &Ident| ObjectName::from(vec![alias.clone()]);
        match factor {
            TableFactor::Table { name, alias, .. } => {
                let parts: Vec<&str> = name
                    .0
                    .iter()
                    .filter_map(|part| part.as_ident())
                    .map(|ident| ident.value.as_str())
                    .collect();
                let reference = match parts.as_slice() {
                    [table] => TableReference::bare(*table),
                    [schema, table] => TableReference::partial(*schema, *table),
                    [catalog, schema, table] => TableReference::full(*catalog, *schema, *table),
                    _ => return None,
                };
                let hidden = (self.of)(&reference);
                let name = alias.as_ref().map_or_else(|| name.clone(), |alias| by_alias(&alias.name));
                Some(Relation { name, hidden })
            }
            TableFactor::Derived { alias: Some(alias), .. } => {
                Some(Relation { name: by_alias(&alias.name), hidden: Vec::new() })
            }
            _ => None,
        }
    }
}

fn joins_by_name(join: &Join, natural_only: bool) -> bool {
    use JoinOperator as J;
    let (J::Join(constraint)
    | J::Inner(constraint)
    | J::Left(constraint)
    | J::LeftOuter(constraint)
    | J::Right(constraint)
    | J::RightOuter(constraint)
    | J::FullOuter(constraint)) = &join.join_operator
    else {
        return false;
    };
    match constraint {
        JoinConstraint::Natural => true,
        JoinConstraint::Using(_) => !natural_only,
        _ => false,
    }
}

/// Whether a qualifier means a relation: its last parts, in any case.
fn same_name(relation: &ObjectName, qualifier: &ObjectName) -> bool {
    let parts = |name: &ObjectName| -> Vec<String> {
        name.0.iter().filter_map(|part| part.as_ident()).map(|ident| folded(&ident.value)).collect()
    };
    parts(relation).ends_with(&parts(qualifier))
}

fn without(mut options: WildcardAdditionalOptions, hidden: &[&str]) -> WildcardAdditionalOptions {
    let mut names = hidden.iter().map(|name| Ident::with_quote('"', *name));
    match &mut options.opt_except {
        Some(except) => except.additional_elements.extend(names),
        None => {
            if let Some(first_element) = names.next() {
                let additional_elements = names.collect();
                options.opt_except = Some(ExceptSelectItem { first_element, additional_elements });
            }
        }
    }
    options
}
