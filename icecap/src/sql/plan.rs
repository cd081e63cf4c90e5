//! Queries to logical plans, by DataFusion's planner with our types, names and defaults.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::catalog::TableFunctionArgs;
use datafusion::catalog::cte_worktable::CteWorkTable;
use datafusion::common::config::ConfigOptions;
use datafusion::common::{Column, DFSchema, DataFusionError, TableReference};
use datafusion::datasource::provider_as_source;
use datafusion::execution::SessionState;
use datafusion::logical_expr::planner::{ContextProvider, ExprPlanner, TypePlanner};
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::{
    AggregateUDF, Expr, HigherOrderUDF, LogicalPlan, LogicalPlanBuilder, ScalarUDF,
    TableProviderFilterPushDown, TableSource, WindowUDF,
};
use datafusion::optimizer::simplify_expressions::ExprSimplifier;
use datafusion::sql::planner::{NullOrdering, ParserOptions, PlannerContext, SqlToRel};
use datafusion::sql::sqlparser::ast::{Expr as SqlExpr, Query, Statement};
use icecap_table::{Error, Result};

use super::error::from_datafusion;
use super::functions::own_function;
use super::hidden::{self, HIDDEN_COLUMNS, HIDDEN_MARK};
use super::semantics;
use super::spelling::{Position, Restored, Spelling};
use super::twins::name_twins;
use super::types::IcecapTypes;
use super::values;

/// What one query is planned with: a session's functions, and the sources of the tables that it reads.
pub struct StatementContext<'a> {
    state: &'a SessionState,
    tables: HashMap<TableReference, Arc<dyn TableSource>>,
}

impl<'a> StatementContext<'a> {
    /// A context with `tables` under the references that
    /// [`resolve_tables`](super::resolve::resolve_tables) gave out.
    pub fn new(state: &'a SessionState, tables: HashMap<TableReference, Arc<dyn TableSource>>) -> Self {
        Self { state, tables }
    }

    /// Plans a query whose tables have been resolved.
    ///
    /// # Errors
    /// `Invalid` for a query that is wrong (an unknown column, types that do not fit), `Unsupported` for what is
    /// not done.
    pub fn plan_query(&self, mut query: Query) -> Result<LogicalPlan> {
        hidden::hide(&mut query, &|reference| self.tables.get(reference).map(hidden_of).unwrap_or_default())?;
        let schemas: Vec<SchemaRef> = self.tables.values().map(|source| source.schema()).collect();
        let spelling = Spelling::of(&mut query, &schemas);
        let restored = spelling.rewrite(&mut query)?;
        name_twins(&mut query);
        let tables = self
            .tables
            .iter()
            .map(|(reference, source)| Ok((reference.clone(), spelled(source, &spelling)?)))
            .collect::<Result<HashMap<_, _>>>()?;
        let context = StatementContext { state: self.state, tables };
        let planner = SqlToRel::new_with_options(&context, parser_options());
        values::widen_decimals(&mut query, &planner);
        let plan =
            planner.sql_statement_to_plan(Statement::Query(Box::new(query))).map_err(from_datafusion)?;
        restore(semantics::apply(plan)?, &restored)
    }

    /// Plans an expression without columns as a query of one row.
    ///
    /// # Errors
    /// `Invalid` for a column, or an expression that is wrong.
    pub(crate) fn plan_constant(&self, expr: SqlExpr) -> Result<LogicalPlan> {
        let planner = SqlToRel::new_with_options(self, parser_options());
        let plan = planner
            .sql_to_expr(expr, &DFSchema::empty(), &mut PlannerContext::new())
            .and_then(|expr| LogicalPlanBuilder::empty(true).project([expr])?.build())
            .map_err(from_datafusion)?;
        semantics::apply(plan)
    }
}

/// The hidden columns in a source's schema.
fn hidden_of(source: &Arc<dyn TableSource>) -> Vec<&'static str> {
    let schema = source.schema();
    let is_hidden = |name: &&'static str| {
        schema.field_with_name(name).is_ok_and(|field| field.metadata().contains_key(HIDDEN_MARK))
    };
    HIDDEN_COLUMNS.into_iter().filter(is_hidden).collect()
}

fn parser_options() -> ParserOptions {
    ParserOptions::new()
        .with_parse_float_as_decimal(true)
        .with_enable_ident_normalization(true)
        .with_map_string_types_to_utf8view(false)
        .with_default_null_ordering(NullOrdering::NullsLast)
}

/// The source with its columns called as the query calls them.
fn spelled(source: &Arc<dyn TableSource>, spelling: &Spelling) -> Result<Arc<dyn TableSource>> {
    let schema = source.schema();
    let names: Vec<Cow<'_, str>> =
        schema.fields().iter().map(|field| spelling.canonical(field.name())).collect();
    if names.iter().zip(schema.fields()).all(|(name, field)| *name == field.name().as_str()) {
        return Ok(Arc::clone(source));
    }
    let reference = TableReference::bare("t");
    let columns = schema.fields().iter().zip(&names).map(|(field, name)| {
        Expr::Column(Column::new(Some(reference.clone()), field.name())).alias(name.as_ref())
    });
    let plan = LogicalPlanBuilder::scan(reference.clone(), Arc::clone(source), None)
        .and_then(|scan| scan.project(columns))
        .and_then(LogicalPlanBuilder::build)
        .map_err(from_datafusion)?;
    let fields: Vec<Field> = schema
        .fields()
        .iter()
        .zip(&names)
        .map(|(field, name)| field.as_ref().clone().with_name(name.as_ref()))
        .collect();
    Ok(Arc::new(Renamed { schema: Arc::new(Schema::new(fields)), plan }))
}

/// A source whose columns have other names.
struct Renamed {
    schema: SchemaRef,
    plan: LogicalPlan,
}

impl TableSource for Renamed {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> datafusion::common::Result<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Unsupported; filters.len()])
    }

    fn get_logical_plan(&self) -> Option<Cow<'_, LogicalPlan>> {
        Some(Cow::Borrowed(&self.plan))
    }
}

/// Gives the outermost aliases the spelling back that they were written in.
fn restore(plan: LogicalPlan, restored: &Restored) -> Result<LogicalPlan> {
    if restored.is_empty() {
        return Ok(plan);
    }
    let width = plan.schema().fields().len();
    let mut names: HashMap<usize, &str> = HashMap::new();
    for (position, name) in restored {
        let at = match position {
            Position::FromFront(at) => Some(*at),
            Position::FromBack(back) => width.checked_sub(back + 1),
        };
        if let Some(at) = at.filter(|at| *at < width) {
            names.insert(at, name);
        }
    }
    let columns: Vec<Expr> = plan
        .schema()
        .columns()
        .into_iter()
        .enumerate()
        .map(|(at, column)| match names.get(&at) {
            Some(name) => Expr::Column(column).alias(*name),
            None => Expr::Column(column),
        })
        .collect();
    let unique: HashSet<String> = columns.iter().map(|column| column.schema_name().to_string()).collect();
    if unique.len() != columns.len() {
        return Ok(plan);
    }
    LogicalPlanBuilder::from(plan)
        .project(columns)
        .and_then(LogicalPlanBuilder::build)
        .map_err(from_datafusion)
}

impl ContextProvider for StatementContext<'_> {
    fn get_table_source(&self, name: TableReference) -> datafusion::common::Result<Arc<dyn TableSource>> {
        self.tables.get(&name).map(Arc::clone).ok_or_else(|| {
            DataFusionError::External(Box::new(Error::not_found(format!("table {name} does not exist"))))
        })
    }

    fn get_table_function_source(
        &self,
        name: &str,
        args: Vec<Expr>,
    ) -> datafusion::common::Result<Arc<dyn TableSource>> {
        let name = name.to_lowercase();
        let function = self.state.table_functions().get(&name).ok_or_else(|| {
            DataFusionError::External(Box::new(Error::not_found(format!(
                "table function {name} does not exist"
            ))))
        })?;
        let simplifier = ExprSimplifier::new(
            SimplifyContext::builder().with_config_options(Arc::clone(self.state.config_options())).build(),
        );
        let schema = DFSchema::empty();
        let args = args
            .into_iter()
            .map(|arg| simplifier.coerce(arg, &schema).and_then(|arg| simplifier.simplify(arg)))
            .collect::<datafusion::common::Result<Vec<_>>>()?;
        let provider = function.create_table_provider_with_args(TableFunctionArgs::new(&args, self.state))?;
        Ok(provider_as_source(provider))
    }

    fn create_cte_work_table(
        &self,
        name: &str,
        schema: SchemaRef,
    ) -> datafusion::common::Result<Arc<dyn TableSource>> {
        Ok(provider_as_source(Arc::new(CteWorkTable::new(name, schema))))
    }

    fn get_expr_planners(&self) -> &[Arc<dyn ExprPlanner>] {
        self.state.expr_planners()
    }

    fn get_type_planner(&self) -> Option<Arc<dyn TypePlanner>> {
        Some(Arc::new(IcecapTypes))
    }

    fn get_function_meta(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        own_function(name).or_else(|| self.state.scalar_functions().get(name).cloned())
    }

    fn get_higher_order_meta(&self, name: &str) -> Option<Arc<HigherOrderUDF>> {
        self.state.higher_order_functions().get(name).cloned()
    }

    fn get_aggregate_meta(&self, name: &str) -> Option<Arc<AggregateUDF>> {
        self.state.aggregate_functions().get(name).cloned()
    }

    fn get_window_meta(&self, name: &str) -> Option<Arc<WindowUDF>> {
        self.state.window_functions().get(name).cloned()
    }

    fn get_variable_type(&self, _variable_names: &[String]) -> Option<DataType> {
        None
    }

    fn options(&self) -> &ConfigOptions {
        self.state.config_options()
    }

    fn udf_names(&self) -> Vec<String> {
        self.state.scalar_functions().keys().cloned().collect()
    }

    fn higher_order_function_names(&self) -> Vec<String> {
        self.state.higher_order_functions().keys().cloned().collect()
    }

    fn udaf_names(&self) -> Vec<String> {
        self.state.aggregate_functions().keys().cloned().collect()
    }

    fn udwf_names(&self) -> Vec<String> {
        self.state.window_functions().keys().cloned().collect()
    }
}

#[cfg(test)]
pub(crate) mod tests;
