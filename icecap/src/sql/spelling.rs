//! Makes names in a query match case-insensitively, which DataFusion's planner does not.
//!
//! DataFusion lowers what is not quoted and then compares exactly. So before planning, every name in the query is
//! rewritten to the spelling of the thing that it means. Where a query gives one name several spellings (a column
//! `Id` of one table, `id` of another), all are renamed to the lower-case one for the time of the query; an alias
//! of the outermost SELECT gets its own spelling back at the end. Only where one row holds two names that differ
//! in case alone are names compared exactly.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::ops::ControlFlow;

use datafusion::arrow::datatypes::{DataType, Fields, SchemaRef};
use datafusion::sql::sqlparser::ast::{
    AccessExpr, ExcludeSelectItem, Expr, Ident, JoinConstraint, JoinOperator, ObjectName, ObjectNamePart,
    OneOrManyWithParens, Query, Select, SelectItem, SelectItemQualifiedWildcardKind, SetExpr, TableAlias,
    TableFactor, TableWithJoins, VisitMut, VisitorMut, WildcardAdditionalOptions,
};
use icecap_table::{Error, Result};

use super::names::folded;
use super::resolve::quoted;

/// The spellings of the names in one query.
#[derive(Debug, Default)]
pub(crate) struct Spelling {
    /// Names of columns and of tables, by folded name.
    names: HashMap<String, BTreeSet<String>>,
    /// Names of fields inside of columns, by folded name.
    fields: HashMap<String, BTreeSet<String>>,
    /// Folded names of tables.
    tables: HashSet<String>,
    /// Folded names that one row holds in several spellings.
    exact: HashSet<String>,
}

/// The aliases of the outermost SELECT that were renamed: output position, counted from the front or from the
/// back, and the name as written.
pub(crate) type Restored = Vec<(Position, String)>;

/// A position in the output of a SELECT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Position {
    FromFront(usize),
    FromBack(usize),
}

impl Spelling {
    /// Reads the names that sources and the query itself define.
    pub(crate) fn of<'a>(query: &mut Query, schemas: impl IntoIterator<Item = &'a SchemaRef>) -> Self {
        let mut spelling = Self::default();
        for schema in schemas {
            spelling.columns(schema.fields());
        }
        // The visitor hands out mutable nodes only; this one changes nothing.
        let _ = query.visit(&mut Definitions { spelling: &mut spelling });
        spelling
    }

    /// What a column of a source, or an alias, is called in the rewritten query.
    pub(crate) fn canonical<'a>(&'a self, name: &'a str) -> std::borrow::Cow<'a, str> {
        let key = folded(name);
        if self.exact.contains(&key) {
            return name.into();
        }
        match self.names.get(&key) {
            Some(spellings) if spellings.len() > 1 => key.into(),
            Some(spellings) => match spellings.first() {
                Some(only) => only.as_str().into(),
                None => name.into(),
            },
            None => name.into(),
        }
    }

    /// Rewrites every name in the query.
    ///
    /// # Errors
    /// `Invalid` for a name that is ambiguous.
    pub(crate) fn rewrite(&self, query: &mut Query) -> Result<Restored> {
        let restored = self.restored(query);
        match query.visit(&mut Rewriter { spelling: self }) {
            ControlFlow::Continue(()) => Ok(restored),
            ControlFlow::Break(error) => Err(*error),
        }
    }

    fn columns(&mut self, fields: &Fields) {
        let mut seen = HashSet::new();
        for field in fields {
            let key = folded(field.name());
            if !seen.insert(key.clone()) {
                self.exact.insert(key.clone());
            }
            self.names.entry(key).or_default().insert(field.name().clone());
            self.nested(field.data_type());
        }
    }

    fn nested(&mut self, data_type: &DataType) {
        match data_type {
            DataType::Struct(fields) => {
                for field in fields {
                    self.fields.entry(folded(field.name())).or_default().insert(field.name().clone());
                    self.nested(field.data_type());
                }
            }
            DataType::List(inner) | DataType::LargeList(inner) | DataType::FixedSizeList(inner, _) => {
                self.nested(inner.data_type());
            }
            DataType::Map(entries, _) => {
                if let DataType::Struct(pair) = entries.data_type() {
                    pair.iter().for_each(|field| self.nested(field.data_type()));
                }
            }
            _ => {}
        }
    }

    fn define(&mut self, ident: &Ident) {
        let name = effective(ident);
        self.names.entry(folded(&name)).or_default().insert(name);
    }

    fn define_table(&mut self, ident: &Ident) {
        self.tables.insert(folded(&ident.value));
        self.define(ident);
    }

    fn alias(&mut self, alias: &TableAlias) {
        self.define_table(&alias.name);
        alias.columns.iter().for_each(|column| self.define(&column.name));
    }

    fn select(&mut self, select: &Select) {
        let mut outputs: HashMap<String, usize> = HashMap::new();
        let mut wildcard = false;
        let mut spelled = Vec::new();
        for item in &select.projection {
            let output = match item {
                SelectItem::ExprWithAlias { alias, .. } => {
                    self.define(alias);
                    if effective(alias) != folded(&alias.value) {
                        spelled.push(folded(&alias.value));
                    }
                    Some(alias)
                }
                SelectItem::UnnamedExpr(Expr::Identifier(ident)) => Some(ident),
                SelectItem::UnnamedExpr(Expr::CompoundIdentifier(idents)) => idents.last(),
                SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..) => {
                    wildcard = true;
                    None
                }
                _ => None,
            };
            if let Some(ident) = output {
                *outputs.entry(folded(&ident.value)).or_default() += 1;
            }
        }
        // Two outputs must not become one: an alias such as "ID" beside a column id keeps its spelling.
        for key in spelled {
            if wildcard || outputs.get(&key).is_some_and(|count| *count > 1) {
                self.exact.insert(key);
            }
        }
        // Names that were found once need no care.
        self.exact.retain(|key| self.names.get(key).is_none_or(|spellings| spellings.len() > 1));
    }

    /// The aliases of the outermost SELECT that the rewriting renames.
    fn restored(&self, query: &Query) -> Restored {
        let mut body = query.body.as_ref();
        let select = loop {
            match body {
                SetExpr::Select(select) => break select,
                SetExpr::Query(query) => body = query.body.as_ref(),
                SetExpr::SetOperation { left, .. } => body = left.as_ref(),
                _ => return Vec::new(),
            }
        };
        let wild =
            |item: &SelectItem| matches!(item, SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..));
        let first_wild = select.projection.iter().position(wild).unwrap_or(usize::MAX);
        let last_wild = select.projection.iter().rposition(wild);
        let length = select.projection.len();
        let mut restored = Vec::new();
        for (at, item) in select.projection.iter().enumerate() {
            let SelectItem::ExprWithAlias { alias, .. } = item else { continue };
            let name = effective(alias);
            if self.canonical(&name) == name {
                continue;
            }
            if at < first_wild {
                restored.push((Position::FromFront(at), name));
            } else if last_wild.is_none_or(|last| at > last) {
                restored.push((Position::FromBack(length - 1 - at), name));
            }
        }
        restored
    }

    /// Rewrites the name of a column or table.
    fn name(&self, ident: &mut Ident) -> Result<()> {
        self.spell(ident, &self.names)
    }

    fn spell(&self, ident: &mut Ident, spellings: &HashMap<String, BTreeSet<String>>) -> Result<()> {
        let key = folded(&ident.value);
        let Some(spellings) = spellings.get(&key) else { return Ok(()) };
        if !self.exact.contains(&key) {
            *ident = requoted(ident, &self.canonical(&ident.value));
            return Ok(());
        }
        if spellings.contains(&ident.value) {
            *ident = requoted(ident, &ident.value);
            return Ok(());
        }
        let names: Vec<&str> = spellings.iter().map(String::as_str).collect();
        Err(Error::invalid(format!(
            "the name {} is ambiguous: {} differ in case only, so write one of them exactly",
            ident.value,
            names.join(" and ")
        )))
    }

    /// Rewrites the name of a field inside a column, or of a column behind its table's name.
    fn after(&self, previous: &str, ident: &mut Ident) -> Result<()> {
        let key = folded(&ident.value);
        let of_table = self.tables.contains(&folded(previous)) && self.names.contains_key(&key);
        match self.fields.get(&key) {
            Some(spellings) if !of_table => {
                if spellings.contains(&ident.value) {
                    *ident = requoted(ident, &ident.value);
                } else if let (Some(only), 1) = (spellings.first(), spellings.len()) {
                    *ident = requoted(ident, only);
                } else {
                    let names: Vec<&str> = spellings.iter().map(String::as_str).collect();
                    return Err(Error::invalid(format!(
                        "the field {} is ambiguous: {} differ in case only, so write one of them exactly",
                        ident.value,
                        names.join(" and ")
                    )));
                }
                Ok(())
            }
            _ => self.name(ident),
        }
    }

    fn compound(&self, idents: &mut [Ident]) -> Result<()> {
        let mut previous: Option<String> = None;
        for ident in idents {
            let written = ident.value.clone();
            match &previous {
                None => self.name(ident)?,
                Some(previous) => self.after(previous, ident)?,
            }
            previous = Some(written);
        }
        Ok(())
    }

    fn object(&self, name: &mut ObjectName) -> Result<()> {
        for part in &mut name.0 {
            if let ObjectNamePart::Identifier(ident) = part {
                self.name(ident)?;
            }
        }
        Ok(())
    }

    fn wildcard(&self, options: &mut WildcardAdditionalOptions) -> Result<()> {
        match &mut options.opt_exclude {
            Some(ExcludeSelectItem::Single(name)) => self.object(name)?,
            Some(ExcludeSelectItem::Multiple(names)) => {
                for name in names {
                    self.object(name)?;
                }
            }
            None => {}
        }
        if let Some(except) = &mut options.opt_except {
            self.name(&mut except.first_element)?;
            for ident in &mut except.additional_elements {
                self.name(ident)?;
            }
        }
        if let Some(replace) = &mut options.opt_replace {
            for item in &mut replace.items {
                self.name(&mut item.column_name)?;
            }
        }
        Ok(())
    }

    fn rewrite_alias(&self, alias: &mut TableAlias) -> Result<()> {
        self.name(&mut alias.name)?;
        for column in &mut alias.columns {
            self.name(&mut column.name)?;
        }
        Ok(())
    }

    fn rewrite_select(&self, select: &mut Select) -> Result<()> {
        for item in &mut select.projection {
            match item {
                SelectItem::ExprWithAlias { alias, .. } => {
                    // A definition is never ambiguous: where spellings are kept apart it keeps its own.
                    let name = effective(alias);
                    *alias = requoted(alias, &self.canonical(&name));
                }
                SelectItem::QualifiedWildcard(kind, options) => {
                    if let SelectItemQualifiedWildcardKind::ObjectName(name) = kind {
                        self.object(name)?;
                    }
                    self.wildcard(options)?;
                }
                SelectItem::Wildcard(options) => self.wildcard(options)?,
                _ => {}
            }
        }
        select.from.iter_mut().try_for_each(|from| self.rewrite_joins(from))
    }

    fn rewrite_joins(&self, from: &mut TableWithJoins) -> Result<()> {
        for join in &mut from.joins {
            let constraint = match &mut join.join_operator {
                JoinOperator::Join(constraint)
                | JoinOperator::Inner(constraint)
                | JoinOperator::Left(constraint)
                | JoinOperator::LeftOuter(constraint)
                | JoinOperator::Right(constraint)
                | JoinOperator::RightOuter(constraint)
                | JoinOperator::FullOuter(constraint)
                | JoinOperator::Semi(constraint)
                | JoinOperator::LeftSemi(constraint)
                | JoinOperator::RightSemi(constraint)
                | JoinOperator::Anti(constraint)
                | JoinOperator::LeftAnti(constraint)
                | JoinOperator::RightAnti(constraint)
                | JoinOperator::CrossJoin(constraint) => constraint,
                _ => continue,
            };
            if let JoinConstraint::Using(names) = constraint {
                for name in names {
                    self.object(name)?;
                }
            }
        }
        Ok(())
    }
}

/// What DataFusion would call it.
fn effective(ident: &Ident) -> String {
    if ident.quote_style.is_some() { ident.value.clone() } else { ident.value.to_ascii_lowercase() }
}

fn requoted(ident: &Ident, name: &str) -> Ident {
    Ident { span: ident.span, ..quoted(name) }
}

fn alias_of(factor: &mut TableFactor) -> Option<&mut TableAlias> {
    match factor {
        TableFactor::Table { alias, .. }
        | TableFactor::Derived { alias, .. }
        | TableFactor::NestedJoin { alias, .. }
        | TableFactor::UNNEST { alias, .. } => alias.as_mut(),
        _ => None,
    }
}

/// Reads what a query defines.
struct Definitions<'a> {
    spelling: &'a mut Spelling,
}

impl VisitorMut for Definitions<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        if let Some(with) = &query.with {
            with.cte_tables.iter().for_each(|cte| self.spelling.alias(&cte.alias));
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        self.spelling.select(select);
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        if let TableFactor::Table { name, .. } = factor {
            for part in &name.0 {
                if let ObjectNamePart::Identifier(ident) = part {
                    self.spelling.define_table(ident);
                }
            }
        }
        if let Some(alias) = alias_of(factor) {
            self.spelling.alias(alias);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::Lambda(lambda) = expr {
            match &lambda.params {
                OneOrManyWithParens::One(param) => self.spelling.define(&param.name),
                OneOrManyWithParens::Many(params) => {
                    params.iter().for_each(|param| self.spelling.define(&param.name))
                }
            }
        }
        ControlFlow::Continue(())
    }
}

struct Rewriter<'a> {
    spelling: &'a Spelling,
}

impl Rewriter<'_> {
    fn done(result: Result<()>) -> ControlFlow<Box<Error>> {
        match result {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(Box::new(error)),
        }
    }
}

impl VisitorMut for Rewriter<'_> {
    type Break = Box<Error>;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<Self::Break> {
        let Some(with) = &mut query.with else { return ControlFlow::Continue(()) };
        Self::done(with.cte_tables.iter_mut().try_for_each(|cte| self.spelling.rewrite_alias(&mut cte.alias)))
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<Self::Break> {
        Self::done(self.spelling.rewrite_select(select))
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<Self::Break> {
        let joins = match factor {
            TableFactor::NestedJoin { table_with_joins, .. } => self.spelling.rewrite_joins(table_with_joins),
            _ => Ok(()),
        };
        let alias = match alias_of(factor) {
            Some(alias) => self.spelling.rewrite_alias(alias),
            None => Ok(()),
        };
        Self::done(joins.and(alias))
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Self::Break> {
        Self::done(match expr {
            Expr::Identifier(ident) => self.spelling.name(ident),
            Expr::CompoundIdentifier(idents) => self.spelling.compound(idents),
            Expr::CompoundFieldAccess { root, access_chain } => {
                let mut previous = match root.as_ref() {
                    Expr::Identifier(ident) => ident.value.clone(),
                    Expr::CompoundIdentifier(idents) => {
                        idents.last().map(|ident| ident.value.clone()).unwrap_or_default()
                    }
                    _ => String::new(),
                };
                access_chain.iter_mut().try_for_each(|access| {
                    if let AccessExpr::Dot(Expr::Identifier(ident)) = access {
                        let written = ident.value.clone();
                        self.spelling.after(&previous, ident)?;
                        previous = written;
                    }
                    Ok(())
                })
            }
            Expr::Lambda(lambda) => {
                let params = match &mut lambda.params {
                    OneOrManyWithParens::One(param) => std::slice::from_mut(param),
                    OneOrManyWithParens::Many(params) => params.as_mut_slice(),
                };
                params.iter_mut().try_for_each(|param| self.spelling.name(&mut param.name))
            }
            _ => Ok(()),
        })
    }
}
