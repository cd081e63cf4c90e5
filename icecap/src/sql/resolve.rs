//! Which tables and table functions a query reads.
//!
//! Only names are looked at here: whoever runs the statement finds the tables, and hands their sources to
//! [`StatementContext`](super::plan::StatementContext) under the references given out here.

use std::collections::HashMap;
use std::ops::ControlFlow;

use datafusion::common::TableReference;
use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, ObjectName, ObjectNamePart,
    Query, TableAlias, TableFactor, TableVersion, UnaryOperator, Value as SqlValue, VisitMut, VisitorMut,
};
use icecap_table::{Error, Result};

use super::ast::{Name, NamePart, TableUse, TableUseKind, Value, VersionSpec};
use super::names::folded;

/// How many tables a query may read.
const MAX_TABLES: usize = 1_000;

/// Table functions that DataFusion runs itself.
const NATIVE_FUNCTIONS: &[&str] = &["generate_series", "range"];

/// Finds every table and table function that a query reads, names of `WITH` left out, and rewrites each to a
/// reference that DataFusion can plan. Qualified columns go on to work: a name of up to three parts is kept,
/// anything else gets an alias.
///
/// # Errors
/// `Invalid` for an argument that is not a constant; `Unsupported` for a clause on a table that is not done.
pub fn resolve_tables(query: &mut Query) -> Result<Vec<TableUse>> {
    let mut resolver = Resolver::default();
    match query.visit(&mut resolver) {
        ControlFlow::Continue(()) => Ok(resolver.uses),
        ControlFlow::Break(error) => Err(*error),
    }
}

#[derive(Default)]
struct Resolver {
    scopes: Vec<Scope>,
    uses: Vec<TableUse>,
    /// The name as it was first written and the version, by reference.
    references: HashMap<TableReference, (Name, Option<VersionSpec>)>,
    factors: usize,
}

/// The names of one `WITH`.
struct Scope {
    names: Vec<String>,
    /// How many of their queries have been walked: a name is visible to what follows its query, and to the query
    /// itself in `WITH RECURSIVE`.
    walked: usize,
    recursive: bool,
}

impl Scope {
    fn sees(&self, name: &str) -> bool {
        let visible = (self.walked + usize::from(self.recursive)).min(self.names.len());
        self.names[..visible].iter().any(|other| other == name)
    }
}

type Flow = ControlFlow<Box<Error>>;

fn stop(error: Error) -> Flow {
    ControlFlow::Break(Box::new(error))
}

impl VisitorMut for Resolver {
    type Break = Box<Error>;

    fn pre_visit_query(&mut self, query: &mut Query) -> Flow {
        let mut scope = Scope { names: Vec::new(), walked: 0, recursive: false };
        if let Some(with) = &mut query.with {
            scope.recursive = with.recursive;
            for cte in &mut with.cte_tables {
                let name = folded(&cte.alias.name.value);
                cte.alias.name = quoted(&name);
                scope.names.push(name);
            }
        }
        self.scopes.push(scope);
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _query: &mut Query) -> Flow {
        self.scopes.pop();
        // Queries of WITH are walked first, in order: this was the next of the enclosing one's, if any is left.
        if let Some(outer) = self.scopes.last_mut()
            && outer.walked < outer.names.len()
        {
            outer.walked += 1;
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> Flow {
        self.factors += 1;
        if self.factors > MAX_TABLES {
            return stop(Error::unsupported(format!("a query that reads more than {MAX_TABLES} tables")));
        }
        match self.factor(factor) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => stop(error),
        }
    }
}

impl Resolver {
    fn factor(&mut self, factor: &mut TableFactor) -> Result<()> {
        if let TableFactor::TableFunction { expr: Expr::Function(function), alias } = factor {
            let FunctionArguments::List(list) = &function.args else {
                return Err(Error::invalid("TABLE(…) takes a call of a table function"));
            };
            let (reference, alias) = self.function(&function.name, &list.args, alias.take())?;
            *factor = table(reference, alias);
            return Ok(());
        }
        match factor {
            TableFactor::Table {
                name,
                alias,
                args,
                with_hints,
                version,
                with_ordinality,
                partitions,
                json_path,
                sample,
                index_hints,
            } => {
                let refused = if sample.is_some() {
                    "TABLESAMPLE"
                } else if *with_ordinality {
                    "WITH ORDINALITY"
                } else if !with_hints.is_empty() || !index_hints.is_empty() {
                    "a hint on a table"
                } else if !partitions.is_empty() {
                    "PARTITION (…) after a table"
                } else if json_path.is_some() {
                    "a path after a table"
                } else {
                    let (reference, alias) = match args {
                        Some(args) if args.settings.is_some() => {
                            return Err(Error::unsupported(
                                "SETTINGS of a table function is not supported yet",
                            ));
                        }
                        Some(_) if version.is_some() => {
                            return Err(Error::invalid(format!(
                                "{name}(…) has no versions: VERSION and TIMESTAMP AS OF stand behind a table"
                            )));
                        }
                        Some(args) => {
                            if is_native(name) {
                                return Ok(());
                            }
                            self.function(name, &args.args, alias.take())?
                        }
                        None => {
                            let version = version.take().map(|version| self::version(name, version));
                            self.table(name, version.transpose()?, alias.take())?
                        }
                    };
                    *factor = table(reference, alias);
                    return Ok(());
                };
                Err(Error::unsupported(format!("{refused} is not supported yet (table {name})")))
            }
            TableFactor::Derived { sample: Some(_), .. } => {
                Err(Error::unsupported("TABLESAMPLE is not supported yet"))
            }
            TableFactor::Derived { .. } | TableFactor::NestedJoin { .. } | TableFactor::UNNEST { .. } => {
                Ok(())
            }
            other => {
                let text: String = other.to_string().chars().take(60).collect();
                Err(Error::unsupported(format!("this in FROM is not supported yet: {text}")))
            }
        }
    }

    fn table(
        &mut self,
        name: &ObjectName,
        version: Option<VersionSpec>,
        alias: Option<TableAlias>,
    ) -> Result<(ObjectName, Option<TableAlias>)> {
        let parts = parts(name)?;
        if let [part] = parts.as_slice() {
            let name = folded(&part.value);
            if self.scopes.iter().rev().any(|scope| scope.sees(&name)) {
                if version.is_some() {
                    return Err(Error::invalid(format!(
                        "{name} is a query of WITH and has no versions: put the version behind the table that it reads"
                    )));
                }
                return Ok((ObjectName::from(vec![quoted(&name)]), alias));
            }
        }
        let name = Name(parts);
        let keys: Vec<String> = name.0.iter().map(|part| folded(&part.value)).collect();
        let wanted = match keys.as_slice() {
            [table] => Some(TableReference::bare(table.as_str())),
            [schema, table] => Some(TableReference::partial(schema.as_str(), table.as_str())),
            [catalog, schema, table] => {
                Some(TableReference::full(catalog.as_str(), schema.as_str(), table.as_str()))
            }
            _ => None,
        };
        if let Some(reference) = wanted {
            // Two spellings of a name may be two tables, and versions are tables of their own: only the first
            // keeps the plain reference.
            match self.references.get(&reference) {
                Some((first, of)) if same_spelling(first, &name) && *of == version => {
                    return Ok((object(&keys), alias));
                }
                Some(_) => {}
                None => {
                    self.references.insert(reference.clone(), (name.clone(), version.clone()));
                    self.uses.push(TableUse { reference, kind: TableUseKind::Table { name, version } });
                    return Ok((object(&keys), alias));
                }
            }
        }
        let last = keys.last().cloned().unwrap_or_default();
        let unique = format!("{last}#{}", self.uses.len());
        self.uses.push(TableUse {
            reference: TableReference::bare(unique.as_str()),
            kind: TableUseKind::Table { name, version },
        });
        Ok((object(&[unique]), Some(alias.unwrap_or_else(|| named(&last)))))
    }

    fn function(
        &mut self,
        name: &ObjectName,
        args: &[FunctionArg],
        alias: Option<TableAlias>,
    ) -> Result<(ObjectName, Option<TableAlias>)> {
        let parts = parts(name)?;
        let [part] = parts.as_slice() else {
            return Err(Error::invalid(format!("a table function has a plain name, not {name}")));
        };
        let name = folded(&part.value);
        let args = args.iter().map(|arg| argument(&name, arg)).collect::<Result<Vec<_>>>()?;
        let unique = format!("{name}#{}", self.uses.len());
        let earlier = self
            .uses
            .iter()
            .filter(
                |other| matches!(&other.kind, TableUseKind::Function { name: other, .. } if *other == name),
            )
            .count();
        // Columns may be qualified by the function's name; a second call of it goes by a name of its own.
        let plain = if earlier == 0 { name.clone() } else { format!("{name}_{}", earlier + 1) };
        self.uses.push(TableUse {
            reference: TableReference::bare(unique.as_str()),
            kind: TableUseKind::Function { name, args },
        });
        Ok((object(&[unique]), Some(alias.unwrap_or_else(|| named(&plain)))))
    }
}

/// The version behind a table, as the token pass spells it.
fn version(table: &ObjectName, version: TableVersion) -> Result<VersionSpec> {
    let wrong = |expr: &Expr| {
        let text: String = expr.to_string().chars().take(60).collect();
        Error::invalid(format!(
            "VERSION AS OF takes a snapshot id, or the name of a branch or tag in single quotes, not {text} (table {table})"
        ))
    };
    match version {
        TableVersion::ForSystemTimeAsOf(expr) => match constant(&expr) {
            Some(Value::Number(digits)) => {
                digits.parse().map(VersionSpec::Snapshot).map_err(|_| wrong(&expr))
            }
            Some(Value::String(name)) if !name.is_empty() => Ok(VersionSpec::Reference(name)),
            _ => Err(wrong(&expr)),
        },
        TableVersion::TimestampAsOf(expr) => Ok(VersionSpec::Time(Box::new(expr))),
        other => Err(Error::unsupported(format!(
            "{other} behind table {table} is not supported: write FOR VERSION AS OF or FOR TIMESTAMP AS OF"
        ))),
    }
}

/// Whether two spellings of a name cannot mean different tables.
fn same_spelling(one: &Name, other: &Name) -> bool {
    one.0.iter().map(|part| &part.value).eq(other.0.iter().map(|part| &part.value))
}

fn is_native(name: &ObjectName) -> bool {
    matches!(name.0.as_slice(), [ObjectNamePart::Identifier(ident)]
        if NATIVE_FUNCTIONS.iter().any(|native| ident.value.eq_ignore_ascii_case(native)))
}

fn parts(name: &ObjectName) -> Result<Vec<NamePart>> {
    name.0
        .iter()
        .map(|part| match part {
            ObjectNamePart::Identifier(ident) if ident.quote_style == Some('\'') => Err(Error::invalid(format!(
                "'{0}' is a string, not a table: to read a file write read_parquet('{0}') or read_csv('{0}')",
                ident.value
            ))),
            ObjectNamePart::Identifier(ident) if ident.value.is_empty() => Err(Error::invalid("a name is empty")),
            ObjectNamePart::Identifier(ident) => {
                Ok(NamePart { value: ident.value.clone(), quoted: ident.quote_style.is_some() })
            }
            ObjectNamePart::Function(_) => Err(Error::invalid(format!("{name} is no name of a table"))),
        })
        .collect()
}

pub(super) fn quoted(name: &str) -> Ident {
    Ident::with_quote('"', name)
}

fn object(parts: &[String]) -> ObjectName {
    ObjectName::from(parts.iter().map(|part| quoted(part)).collect::<Vec<_>>())
}

fn named(name: &str) -> TableAlias {
    TableAlias { explicit: true, name: quoted(name), columns: Vec::new(), at: None }
}

fn table(name: ObjectName, alias: Option<TableAlias>) -> TableFactor {
    TableFactor::Table {
        name,
        alias,
        args: None,
        with_hints: Vec::new(),
        version: None,
        with_ordinality: false,
        partitions: Vec::new(),
        json_path: None,
        sample: None,
        index_hints: Vec::new(),
    }
}

fn argument(function: &str, arg: &FunctionArg) -> Result<(Option<String>, Value)> {
    let (name, value) = match arg {
        FunctionArg::Named { name, arg: FunctionArgExpr::Expr(value), .. } => {
            (Some(folded(&name.value)), value)
        }
        // DuckDB's spelling of a named argument.
        FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::BinaryOp {
            left,
            op: BinaryOperator::Eq,
            right,
        })) => match left.as_ref() {
            Expr::Identifier(name) => (Some(folded(&name.value)), right.as_ref()),
            _ => return Err(not_constant(function, arg)),
        },
        FunctionArg::Unnamed(FunctionArgExpr::Expr(value)) => (None, value),
        _ => return Err(not_constant(function, arg)),
    };
    constant(value).map(|value| (name, value)).ok_or_else(|| not_constant(function, arg))
}

fn not_constant(function: &str, arg: &FunctionArg) -> Error {
    let text: String = arg.to_string().chars().take(60).collect();
    Error::invalid(format!(
        "{function} takes constants, such as 'a.csv', header => true or ARRAY['a.csv', 'b.csv'], not {text}"
    ))
}

fn constant(expr: &Expr) -> Option<Value> {
    match expr {
        Expr::Value(value) => match &value.value {
            SqlValue::Null => Some(Value::Null),
            SqlValue::Boolean(value) => Some(Value::Boolean(*value)),
            SqlValue::Number(digits, _) => Some(Value::Number(digits.to_string())),
            SqlValue::SingleQuotedString(text) | SqlValue::UnicodeStringLiteral(text) => {
                Some(Value::String(text.clone()))
            }
            _ => None,
        },
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => match constant(expr)? {
            Value::Number(digits) if !digits.starts_with('-') => Some(Value::Number(format!("-{digits}"))),
            _ => None,
        },
        Expr::Nested(expr) => constant(expr),
        Expr::Array(array) => array.elem.iter().map(constant).collect::<Option<Vec<_>>>().map(Value::List),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::ast::Statement;
    use super::super::parse::parse_script;
    use super::*;

    fn resolve(sql: &str) -> Result<(String, Vec<TableUse>)> {
        let Statement::Query(mut query) = parse_script(sql)?.remove(0).statement else { panic!("no query") };
        let uses = resolve_tables(&mut query)?;
        Ok((query.to_string(), uses))
    }

    /// The names of the tables that are read, in order.
    fn tables(sql: &str) -> Vec<String> {
        let (_, uses) = resolve(sql).unwrap();
        uses.into_iter()
            .map(|table| match table.kind {
                TableUseKind::Table { name, .. } => format!("{name} as {}", table.reference),
                TableUseKind::Function { name, args } => format!("{name}{args:?} as {}", table.reference),
            })
            .collect()
    }

    #[test]
    fn tables_are_found_wherever_they_stand() {
        assert_eq!(
            tables(
                "select (select max(x) from a) from B.b join c using (x) \
                 where y in (select y from d) and exists (select 1 from e) \
                 union all select * from (select * from f) \
                 order by (select 1 from g) limit (select 1 from h)"
            ),
            ["a as a", "B.b as b.b", "c as c", "d as d", "e as e", "f as f", "g as g", "h as h"]
        );
        assert_eq!(tables("values ((select a from t))"), ["t as t"]);
    }

    #[test]
    fn names_of_with_are_no_tables_where_they_are_visible() {
        assert_eq!(tables("with a as (select 1) select * from A, b"), ["b as b"]);
        assert_eq!(tables("with t as (select * from t) select * from t"), ["t as t"]);
        assert_eq!(
            tables("with a as (select * from b), b as (select * from a) select * from a, b"),
            ["b as b"]
        );
        assert_eq!(
            tables("with recursive a as (select 1 union all select * from a) select * from a"),
            [""; 0]
        );
        assert_eq!(
            tables("select * from (with a as (select 1) select * from a) x, a"),
            ["a as a"],
            "a name of an inner WITH ends with its query"
        );
        assert_eq!(
            tables("with a as (with b as (select 1) select * from b) select * from a, b"),
            ["b as b"],
            "an inner WITH does not count as the next name of the outer one"
        );
        assert_eq!(tables("with a as (select 1) select (select 1 from a) from db.a"), ["db.a as db.a"]);
    }

    #[test]
    fn a_table_is_asked_for_once_and_each_spelling_of_its_own() {
        assert_eq!(tables("select * from t, t as u, T"), ["t as t", "T as t#1"]);
        let (sql, _) = resolve("select * from t, T, \"db\".`Ta` x").unwrap();
        assert_eq!(sql, r#"SELECT * FROM "t", "t#1" AS "t", "db"."ta" x"#);
        let (sql, uses) = resolve("select * from a.b.c.d").unwrap();
        assert_eq!(sql, r##"SELECT * FROM "d#0" AS "d""##);
        assert_eq!(uses[0].reference, TableReference::bare("d#0"));
    }

    #[test]
    fn functions_take_constants_by_position_and_by_name() {
        let (sql, uses) = resolve(
            "select * from read_csv('a.csv', Header => true, delim = ';', skip => -1), \
             Read_CSV(ARRAY['a', 'b'], x => null) y, read_csv('c')",
        )
        .unwrap();
        assert_eq!(
            sql,
            r#"SELECT * FROM "read_csv#0" AS "read_csv", "read_csv#1" y, "read_csv#2" AS "read_csv_3""#
        );
        assert_eq!(
            uses[0].kind,
            TableUseKind::Function {
                name: "read_csv".to_owned(),
                args: vec![
                    (None, Value::String("a.csv".to_owned())),
                    (Some("header".to_owned()), Value::Boolean(true)),
                    (Some("delim".to_owned()), Value::String(";".to_owned())),
                    (Some("skip".to_owned()), Value::Number("-1".to_owned())),
                ]
            }
        );
        assert_eq!(
            uses[1].kind,
            TableUseKind::Function {
                name: "read_csv".to_owned(),
                args: vec![
                    (None, Value::List(vec![Value::String("a".to_owned()), Value::String("b".to_owned())])),
                    (Some("x".to_owned()), Value::Null),
                ]
            }
        );
        assert_eq!(tables("select * from table(read_parquet('a'))").len(), 1);
        assert_eq!(tables("select * from generate_series(1, 3)"), [""; 0]);
        let error = resolve("select * from read_csv(lower('A'))").unwrap_err();
        assert_eq!(
            error.to_string(),
            "read_csv takes constants, such as 'a.csv', header => true or ARRAY['a.csv', 'b.csv'], not lower('A')"
        );
    }

    #[test]
    fn what_would_be_ignored_is_refused() {
        let message = |sql| resolve(sql).unwrap_err().to_string();
        assert_eq!(
            message("select * from t tablesample bernoulli (10)"),
            "TABLESAMPLE is not supported yet (table t)"
        );
        assert_eq!(
            message("select * from 'a.parquet'"),
            "'a.parquet' is a string, not a table: to read a file write read_parquet('a.parquet') or read_csv('a.parquet')"
        );
        assert!(message("select * from t, lateral f(t.x)").starts_with("this in FROM is not supported yet"));
    }
}
