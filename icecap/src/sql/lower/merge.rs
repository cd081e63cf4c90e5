//! MERGE: the join that its clauses need, and for each joined row the first clause that holds.

use datafusion::common::DFSchema;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::expr::{Case, Cast};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, Subquery, lit};
use datafusion::sql::sqlparser::ast::{
    Ident, JoinOperator, SelectItem, TableAlias, TableFactor, WildcardAdditionalOptions,
};
use icecap_table::iceberg::spec::NestedField;
use icecap_table::{Error, Result};

use super::assignment::{self, Assigned};
use super::ast::{self, Items, TargetName};
use super::{
    DELETE, DeltaColumns, INSERT, Kind, Lowered, SOURCE, Target, UPDATE, Values, column, lineage, or_true,
    project, with_column,
};
use crate::sql::ast::{MatchKind, Merge, MergeAction, MergeClause};
use crate::sql::error::from_datafusion;
use crate::sql::hidden::mentions_hidden;
use crate::sql::names;
use crate::sql::resolve::quoted;
use crate::sql::types::cast_target;

/// The column by which a row of the source is known to be there: keys may be NULL.
const PRESENT: &str = "#present";
/// The number of the clause that a row belongs to.
const CLAUSE: &str = "#clause";

/// What a MERGE's source is.
#[derive(Debug, Clone)]
pub struct MergeSource {
    /// Its columns' names, as they are written in the statement: those of its alias where it has a list.
    pub columns: Vec<String>,
    /// Whether its rows are given under [`SOURCE`], with the columns of its query (those before an alias's list
    /// renames them).
    pub given: bool,
}

/// Which join a MERGE is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// Pairs only.
    Inner,
    /// Pairs, and rows of the source.
    SourceOuter,
    /// Pairs, and rows of the target.
    TargetOuter,
    /// Pairs, and rows of both.
    Full,
    /// Rows of the source without a partner.
    SourceOnly,
    /// Rows of the target without a partner.
    TargetOnly,
}

impl Shape {
    fn of(clauses: &[MergeClause]) -> Self {
        let has = |kind| clauses.iter().any(|clause| clause.kind == kind);
        match (has(MatchKind::Matched), has(MatchKind::NotMatched), has(MatchKind::NotMatchedBySource)) {
            (_, true, true) => Self::Full,
            (true, true, false) => Self::SourceOuter,
            (false, true, false) => Self::SourceOnly,
            (true, false, true) => Self::TargetOuter,
            (false, false, true) => Self::TargetOnly,
            (_, false, false) => Self::Inner,
        }
    }

    fn has_target(self) -> bool {
        self != Self::SourceOnly
    }

    fn has_source(self) -> bool {
        self != Self::TargetOnly
    }
}

/// What becomes of the planned query's columns.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    shape: Shape,
    clauses: Vec<Planned>,
}

#[derive(Debug, Clone)]
struct Planned {
    kind: MatchKind,
    condition: Option<usize>,
    action: Action,
}

#[derive(Debug, Clone)]
enum Action {
    Delete,
    Update(Vec<Assigned>),
    Insert(Vec<Assigned>),
}

impl Action {
    fn code(&self) -> i32 {
        match self {
            Self::Delete => DELETE,
            Self::Update(_) => UPDATE,
            Self::Insert(_) => INSERT,
        }
    }
}

pub(super) fn lower(statement: &Merge, table: Target<'_>, source: &MergeSource) -> Result<Lowered> {
    let target = TargetName::new(&statement.table, statement.alias.as_ref());
    let named = SourceName::of(&statement.source)?;
    let mut items = Items::default();
    let mut clauses = Vec::with_capacity(statement.clauses.len());
    for clause in &statement.clauses {
        clauses.push(planned(clause, &target, table, &named, source, &mut items)?);
    }
    let shape = Shape::of(&statement.clauses);
    let rows = clauses.iter().any(|clause| !matches!(clause.action, Action::Delete));
    let (left, right) = (target.factor(), named.factor(&statement.source, source)?);
    let on = statement.on.clone();
    let from = match shape {
        Shape::Inner => ast::joined(left, right, JoinOperator::Inner, on),
        Shape::SourceOuter => ast::joined(left, right, JoinOperator::RightOuter, on),
        Shape::TargetOuter => ast::joined(left, right, JoinOperator::LeftOuter, on),
        Shape::Full => ast::joined(left, right, JoinOperator::FullOuter, on),
        Shape::TargetOnly => ast::joined(left, right, JoinOperator::LeftAnti, on),
        Shape::SourceOnly => ast::joined(right, left, JoinOperator::LeftAnti, on),
    };
    let mut query = ast::select(items.0, vec![from], None)?;
    target.shorten(&mut query);
    named.name.shorten(&mut query);
    let mentions_hidden = mentions_hidden(&query);
    let mut own = Vec::new();
    if shape.has_target() {
        own.extend(target.place(table.lineage && rows));
        if rows {
            own.extend(target.columns(table.schema));
        }
    }
    if shape.has_source() {
        let present = ast::qualified(&named.name.ident, PRESENT);
        own.push(SelectItem::ExprWithAlias { expr: present, alias: quoted(PRESENT) });
    }
    ast::prepend(&mut query, own)?;
    Ok(Lowered {
        query,
        mentions_hidden,
        columns: DeltaColumns { rows, lineage: rows && table.lineage },
        kind: Kind::Merge(Box::new(Plan { shape, clauses })),
    })
}

fn planned(
    clause: &MergeClause,
    target: &TargetName,
    table: Target<'_>,
    named: &SourceName,
    source: &MergeSource,
    items: &mut Items,
) -> Result<Planned> {
    let condition = clause.condition.as_ref().map(|condition| items.add(or_true(Some(condition))));
    let mut of_source = |name: &str| {
        let columns: Vec<&str> = source.columns.iter().map(String::as_str).collect();
        let found = names::find(name, columns.iter().copied())?.ok_or_else(|| {
            Error::invalid(format!(
                "the source has no column {name}, which * takes from it: its columns are {}",
                columns.join(", ")
            ))
        })?;
        Ok(items.add(ast::qualified(&named.name.ident, found)))
    };
    let action = match &clause.action {
        MergeAction::Delete => Action::Delete,
        MergeAction::UpdateAll => Action::Update(assignment::by_name(table.schema, &mut of_source)?),
        MergeAction::InsertAll => Action::Insert(assignment::by_name(table.schema, &mut of_source)?),
        MergeAction::Update(assignments) => {
            Action::Update(assignment::resolve(assignments, target, table.schema, items)?)
        }
        MergeAction::Insert { columns, values } => {
            let values = values.iter().map(|value| value.clone().map(|value| items.add(value))).collect();
            Action::Insert(assignment::inserted(columns, values, table.schema)?)
        }
    };
    Ok(Planned { kind: clause.kind, condition, action })
}

/// The source as the query names it.
struct SourceName {
    name: TargetName,
    columns: Vec<Ident>,
}

impl SourceName {
    fn of(factor: &TableFactor) -> Result<Self> {
        let unnamed = || crate::sql::ast::Name(vec![crate::sql::NamePart::quoted(SOURCE)]);
        let (name, alias) = match factor {
            TableFactor::Table { name, alias, args, .. } => {
                let parts = name.0.iter().filter_map(|part| part.as_ident());
                let parts = parts.map(|ident| crate::sql::NamePart {
                    value: ident.value.clone(),
                    quoted: ident.quote_style.is_some(),
                });
                let written = crate::sql::ast::Name(parts.collect());
                (if args.is_some() && written.0.is_empty() { unnamed() } else { written }, alias)
            }
            TableFactor::Derived { alias, .. }
            | TableFactor::TableFunction { alias, .. }
            | TableFactor::NestedJoin { alias, .. }
            | TableFactor::UNNEST { alias, .. } => (unnamed(), alias),
            other => {
                let text: String = other.to_string().chars().take(60).collect();
                return Err(Error::unsupported(format!(
                    "this as the source of a MERGE is not supported yet: {text}"
                )));
            }
        };
        let part = alias.as_ref().map(|alias| crate::sql::NamePart {
            value: alias.name.value.clone(),
            quoted: alias.name.quote_style.is_some(),
        });
        let columns: Vec<Ident> = match alias {
            Some(alias) => alias.columns.iter().map(|column| column.name.clone()).collect(),
            None => Vec::new(),
        };
        Ok(Self { name: TargetName::new(&name, part.as_ref()), columns })
    }

    /// `(SELECT *, TRUE AS "#present" FROM source) AS name(columns)`.
    fn factor(&self, factor: &TableFactor, source: &MergeSource) -> Result<TableFactor> {
        let mut inner = match source.given {
            true => ast::table(SOURCE, None),
            false => factor.clone(),
        };
        if let TableFactor::Table { alias: Some(TableAlias { columns, .. }), .. }
        | TableFactor::Derived { alias: Some(TableAlias { columns, .. }), .. }
        | TableFactor::TableFunction { alias: Some(TableAlias { columns, .. }), .. } = &mut inner
        {
            // They are given outside, together with the one that is added.
            columns.clear();
        }
        let items = vec![
            SelectItem::Wildcard(WildcardAdditionalOptions::default()),
            SelectItem::ExprWithAlias { expr: ast::boolean(true), alias: quoted(PRESENT) },
        ];
        let subquery = Box::new(ast::select(items, vec![ast::from(inner)], None)?);
        let mut alias = ast::alias(self.name.ident.clone());
        if !self.columns.is_empty() {
            let columns = self.columns.iter().cloned().chain([quoted(PRESENT)]);
            alias.columns = columns.map(ast::column_def).collect();
        }
        Ok(TableFactor::Derived { lateral: false, subquery, alias: Some(alias), sample: None })
    }
}

impl Plan {
    pub(super) fn finish(
        &self,
        input: LogicalPlan,
        mut values: Values,
        columns: DeltaColumns,
        table: Target<'_>,
    ) -> Result<LogicalPlan> {
        let (mut place, mut row_id, mut old) = (Vec::new(), None, Vec::new());
        if self.shape.has_target() {
            place = values.take(2)?;
            if columns.lineage {
                row_id = Some(values.one()?);
            }
            if columns.rows {
                old = values.take(table.schema.as_struct().fields().len())?;
            }
        }
        let present = if self.shape.has_source() { Some(values.one()?) } else { None };
        let values = values.rest();
        self.check(&place, &values, input.schema())?;
        let clause = self.clause(&place, present.as_ref(), &values)?;
        let chosen = LogicalPlanBuilder::from(with_column(input, clause.alias(CLAUSE))?)
            .filter(column(CLAUSE).is_not_null())
            .and_then(LogicalPlanBuilder::build)
            .map_err(from_datafusion)?;
        if place.is_empty() {
            let none = |value: datafusion::common::ScalarValue| Expr::Literal(value, None);
            place = vec![
                none(datafusion::common::ScalarValue::Utf8(None)),
                none(datafusion::common::ScalarValue::Int64(None)),
            ];
            row_id = columns.lineage.then(|| none(datafusion::common::ScalarValue::Int64(None)));
        }
        let codes = self.clauses.iter().map(|clause| Some(lit(clause.action.code()))).collect();
        let mut all = vec![by_clause(codes)];
        all.extend(place);
        if columns.rows {
            all.extend(self.rows(&old, &values, chosen.schema(), table)?);
        }
        all.extend(lineage(row_id));
        project(chosen, all, columns, table)
    }

    /// A clause about rows of one side sees that side only.
    fn check(&self, place: &[Expr], values: &[Expr], schema: &DFSchema) -> Result<()> {
        let target = place.first().and_then(|file| match file {
            Expr::Column(file) => file.relation.clone(),
            _ => None,
        });
        let Some(target) = target else { return Ok(()) };
        for clause in &self.clauses {
            let wrong = match clause.kind {
                MatchKind::Matched => continue,
                MatchKind::NotMatched => true,
                MatchKind::NotMatchedBySource => false,
            };
            let assigned = match &clause.action {
                Action::Delete => &[][..],
                Action::Update(assigned) | Action::Insert(assigned) => assigned,
            };
            for value in clause.condition.into_iter().chain(assigned.iter().filter_map(Assigned::value)) {
                let Some(value) = values.get(value) else { continue };
                for used in columns_of(value)? {
                    let of_target = used.relation.as_ref() == Some(&target);
                    if schema.has_column(&used) && of_target == wrong {
                        let (clause, side) = match clause.kind {
                            MatchKind::NotMatched => ("WHEN NOT MATCHED", "the source"),
                            _ => ("WHEN NOT MATCHED BY SOURCE", "the target"),
                        };
                        return Err(Error::invalid(format!(
                            "{clause} sees columns of {side} only, and not {}",
                            used.flat_name()
                        )));
                    }
                }
            }
        }
        Ok(())
    }

    /// The number of the first clause that holds; NULL when none does.
    fn clause(&self, place: &[Expr], present: Option<&Expr>, values: &[Expr]) -> Result<Expr> {
        let there = |is: &Expr| is.clone().is_not_null();
        let absent = |is: &Expr| is.clone().is_null();
        let mut branches = Vec::with_capacity(self.clauses.len());
        for (number, clause) in self.clauses.iter().enumerate() {
            let mut all: Vec<Expr> = Vec::new();
            let (target, source) = (place.first(), present);
            match (self.shape, clause.kind) {
                (Shape::Inner | Shape::SourceOnly | Shape::TargetOnly, _) => {}
                (Shape::SourceOuter, MatchKind::Matched) => all.extend(target.map(there)),
                (Shape::SourceOuter, _) => all.extend(target.map(absent)),
                (Shape::TargetOuter, MatchKind::Matched) => all.extend(source.map(there)),
                (Shape::TargetOuter, _) => all.extend(source.map(absent)),
                (Shape::Full, MatchKind::Matched) => {
                    all.extend(target.map(there));
                    all.extend(source.map(there));
                }
                (Shape::Full, MatchKind::NotMatched) => all.extend(target.map(absent)),
                (Shape::Full, MatchKind::NotMatchedBySource) => all.extend(source.map(absent)),
            }
            if let Some(condition) = clause.condition {
                let condition = values.get(condition);
                all.push(condition.cloned().ok_or_else(|| Error::bug("a clause lost its condition"))?);
            }
            let number = i32::try_from(number).map_err(|_| Error::invalid("a MERGE of too many clauses"))?;
            branches.push((all.into_iter().reduce(Expr::and), lit(number)));
        }
        // A clause without a condition takes all that is left.
        let mut last = None;
        let mut when = Vec::with_capacity(branches.len());
        for (condition, number) in branches {
            match condition {
                Some(condition) => when.push((Box::new(condition), Box::new(number))),
                None => {
                    last = Some(Box::new(number));
                    break;
                }
            }
        }
        #[cfg(feature = "testing")]
        if icecap_table::testing::is_planted(icecap_table::testing::Mutation::LastClauseWins) {
            when.reverse();
        }
        Ok(match (when.is_empty(), last) {
            (true, Some(last)) => *last,
            (_, last) => Expr::Case(Case::new(None, when, last)),
        })
    }

    /// The new columns: each clause's own, for its own rows.
    fn rows(&self, old: &[Expr], values: &[Expr], schema: &DFSchema, table: Target<'_>) -> Result<Vec<Expr>> {
        let mut by_column: Vec<Vec<Option<Expr>>> =
            table.schema.as_struct().fields().iter().map(|_| Vec::new()).collect();
        for clause in &self.clauses {
            let columns = match &clause.action {
                Action::Delete => None,
                Action::Update(assigned) => {
                    Some(assignment::apply(assigned, old, values, table.schema, schema)?)
                }
                Action::Insert(assigned) => {
                    Some(assignment::new_row(assigned, values, table.schema, schema)?)
                }
            };
            match columns {
                Some(columns) => {
                    by_column.iter_mut().zip(columns).for_each(|(all, column)| all.push(Some(column)));
                }
                None => by_column.iter_mut().for_each(|all| all.push(None)),
            }
        }
        let fields = table.schema.as_struct().fields();
        by_column.into_iter().zip(fields).map(|(exprs, field)| of_one_type(by_clause(exprs), field)).collect()
    }
}

/// The branches of a choice between nested values in one type to the last: a column's own says field ids, those of made
/// values do not, and DataFusion takes both for the same until it has them in one batch.
fn of_one_type(expr: Expr, field: &NestedField) -> Result<Expr> {
    let Expr::Case(mut case) = expr else { return Ok(expr) };
    if !field.field_type.is_primitive() {
        let target = cast_target(&field.field_type)?;
        for (_, value) in &mut case.when_then_expr {
            **value = Expr::Cast(Cast::new(std::mem::take(value), target.clone()));
        }
        case.else_expr = case.else_expr.map(|value| Box::new(Expr::Cast(Cast::new(value, target.clone()))));
    }
    Ok(Expr::Case(case))
}

/// One expression of each clause (`None`: whatever) as one for all rows.
fn by_clause(exprs: Vec<Option<Expr>>) -> Expr {
    let given: Vec<&Expr> = exprs.iter().flatten().collect();
    if let Some((first, rest)) = given.split_first()
        && rest.iter().all(|other| other == first)
        && (exprs.len() == given.len() || matches!(first, Expr::Column(_) | Expr::Literal(..)))
    {
        return (*first).clone();
    }
    let mut when = Vec::with_capacity(exprs.len());
    for (number, expr) in exprs.into_iter().enumerate() {
        if let Some(expr) = expr {
            // A MERGE has fewer clauses than that: they were counted before.
            let number = i32::try_from(number).unwrap_or(i32::MAX);
            when.push((Box::new(column(CLAUSE).eq(lit(number))), Box::new(expr)));
        }
    }
    Expr::Case(Case::new(None, when, None))
}

/// The columns that an expression uses, in its subqueries those of the outside.
fn columns_of(expr: &Expr) -> Result<Vec<datafusion::common::Column>> {
    let mut columns = Vec::new();
    expr.apply(|expr| {
        match expr {
            Expr::Column(column) | Expr::OuterReferenceColumn(_, column) => columns.push(column.clone()),
            Expr::ScalarSubquery(Subquery { outer_ref_columns, .. }) => {
                columns.extend(outer_ref_columns.iter().flat_map(outer));
            }
            Expr::Exists(exists) => columns.extend(exists.subquery.outer_ref_columns.iter().flat_map(outer)),
            Expr::InSubquery(inside) => {
                columns.extend(inside.subquery.outer_ref_columns.iter().flat_map(outer));
            }
            _ => {}
        }
        Ok(TreeNodeRecursion::Continue)
    })
    .map_err(from_datafusion)?;
    Ok(columns)
}

fn outer(expr: &Expr) -> Option<datafusion::common::Column> {
    match expr {
        Expr::OuterReferenceColumn(_, column) | Expr::Column(column) => Some(column.clone()),
        _ => None,
    }
}
