//! The statements that Icecap runs, as data. Queries and expressions inside are sqlparser's own.

use std::fmt;

use datafusion::common::TableReference;
use datafusion::sql::sqlparser::ast::{Expr, Query, TableFactor, TableWithJoins};
use icecap_table::iceberg::spec::{Transform, Type};
use icecap_table::properties::DistributionMode;

/// One statement of a script.
#[derive(Debug, Clone, PartialEq)]
pub struct ParsedStatement {
    /// The statement as it was written, without the `;` and without surrounding white space.
    pub text: String,
    /// What it says.
    pub statement: Statement,
}

/// A statement.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Statement {
    /// A query: `SELECT`, `WITH`, `VALUES` or `TABLE`.
    Query(Box<Query>),
    /// `CREATE TABLE`, with or without a query.
    CreateTable(Box<CreateTable>),
    /// `DROP TABLE [IF EXISTS] name [PURGE]`.
    DropTable {
        /// The table.
        name: Name,
        /// Whether an absent table is no error.
        if_exists: bool,
        /// Whether the files are removed too.
        purge: bool,
    },
    /// `CREATE {DATABASE | SCHEMA | NAMESPACE}`.
    CreateNamespace {
        /// The namespace.
        name: Name,
        /// Whether an existing namespace is no error.
        if_not_exists: bool,
        /// The comment.
        comment: Option<String>,
        /// Where tables go by default.
        location: Option<String>,
        /// `WITH DBPROPERTIES`, in the order written.
        properties: Vec<(String, String)>,
    },
    /// `DROP {DATABASE | SCHEMA | NAMESPACE} [IF EXISTS] name [RESTRICT | CASCADE]`.
    DropNamespace {
        /// The namespace.
        name: Name,
        /// Whether an absent namespace is no error.
        if_exists: bool,
        /// Whether its tables are dropped with it.
        cascade: bool,
    },
    /// `INSERT INTO`.
    Insert(Box<Insert>),
    /// `SHOW TABLES [{IN | FROM} namespace] [[LIKE] 'pattern']`.
    ShowTables {
        /// The namespace, when one is named.
        namespace: Option<Name>,
        /// Which names: see [`matches_pattern`](crate::sql::names::matches_pattern).
        pattern: Option<String>,
    },
    /// `SHOW {NAMESPACES | DATABASES | SCHEMAS} [[LIKE] 'pattern']`.
    ShowNamespaces {
        /// Which names: see [`matches_pattern`](crate::sql::names::matches_pattern).
        pattern: Option<String>,
    },
    /// `SHOW TBLPROPERTIES name [('key')]`.
    ShowProperties {
        /// The table.
        name: Name,
        /// The only property asked for.
        key: Option<String>,
    },
    /// `SHOW CREATE TABLE name`.
    ShowCreateTable {
        /// The table.
        name: Name,
    },
    /// `SHOW COLUMNS {IN | FROM} name [{IN | FROM} namespace]`.
    ShowColumns {
        /// The table, the namespace before it.
        name: Name,
    },
    /// `SHOW PARTITIONS name`.
    ShowPartitions {
        /// The table.
        name: Name,
    },
    /// `CALL procedure(name => value, …)`.
    Call {
        /// The procedure, such as `system.register_table`.
        procedure: Name,
        /// The arguments: a name (lower-case) for `name => value`, and the value.
        args: Vec<(Option<String>, Value)>,
    },
    /// `EXPLAIN [ANALYZE | (DRY RUN)]` of a query or of a write.
    Explain {
        /// Whether the statement is run: a write then takes effect.
        analyze: bool,
        /// Whether a write is run but for its commit.
        dry_run: bool,
        /// The statement.
        statement: Box<Statement>,
    },
    /// `{DESCRIBE | DESC} [TABLE | EXTENDED | FORMATTED] name`.
    Describe {
        /// The table.
        name: Name,
        /// Whether properties are asked for too (`EXTENDED` or `FORMATTED`).
        extended: bool,
    },
    /// `DELETE FROM`.
    Delete(Box<Delete>),
    /// `UPDATE`.
    Update(Box<Update>),
    /// `MERGE INTO`.
    Merge(Box<Merge>),
    /// `OPTIMIZE name REWRITE DATA USING BIN_PACK [WHERE condition]`.
    Optimize {
        /// The table.
        name: Name,
        /// Which files: `SELECT * FROM name WHERE condition`.
        filter: Option<Box<Query>>,
    },
    /// `VACUUM name`.
    Vacuum {
        /// The table.
        name: Name,
    },
    /// `ALTER TABLE`.
    AlterTable(Box<AlterTable>),
}

impl Statement {
    /// Whether running it may change something.
    pub fn may_write(&self) -> bool {
        match self {
            Self::Query(_)
            | Self::ShowTables { .. }
            | Self::ShowNamespaces { .. }
            | Self::ShowProperties { .. }
            | Self::ShowCreateTable { .. }
            | Self::ShowColumns { .. }
            | Self::ShowPartitions { .. }
            | Self::Describe { .. } => false,
            Self::Explain { analyze, dry_run, statement } => (*analyze || *dry_run) && statement.may_write(),
            Self::CreateTable(_)
            | Self::DropTable { .. }
            | Self::CreateNamespace { .. }
            | Self::DropNamespace { .. }
            | Self::Insert(_)
            | Self::Delete(_)
            | Self::Update(_)
            | Self::Merge(_)
            | Self::Call { .. }
            | Self::Optimize { .. }
            | Self::Vacuum { .. }
            | Self::AlterTable(_) => true,
        }
    }
}

/// A dotted name as it was written, of one part or more.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Name(pub Vec<NamePart>);

/// One part of a dotted name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct NamePart {
    /// The text, quotes removed, case as written.
    pub value: String,
    /// Whether it was quoted, with double quotes or backticks.
    pub quoted: bool,
}

/// `CREATE TABLE`.
#[derive(Debug, Clone, PartialEq)]
pub struct CreateTable {
    /// The table.
    pub name: Name,
    /// Whether an existing table is no error.
    pub if_not_exists: bool,
    /// The columns; empty when a query gives them.
    pub columns: Vec<ColumnDef>,
    /// The partition fields, in order.
    pub partitioning: Vec<PartitionTerm>,
    /// The sort order, of the property `sorted_by`.
    pub sort_order: Vec<SortTerm>,
    /// `LOCATION`, or the `location` property of Athena's CTAS.
    pub location: Option<String>,
    /// The table's comment.
    pub comment: Option<String>,
    /// Properties in the order written, keys as written.
    pub properties: Vec<(String, String)>,
    /// Whether Athena's spelling was used (`TBLPROPERTIES ('table_type'=…)` or `WITH (…)`), so that its
    /// property names mean what Athena means.
    pub athena: bool,
    /// The query of a CTAS.
    pub query: Option<Box<Query>>,
    /// Whether the query's rows are stored: false after `WITH NO DATA`.
    pub with_data: bool,
}

/// A column of `CREATE TABLE`.
#[derive(Debug, Clone, PartialEq)]
pub struct ColumnDef {
    /// The name: lower-case unless quoted.
    pub name: String,
    /// The type; ids inside are placeholders, to be assigned with the table's schema.
    pub ty: Type,
    /// Whether NULL is refused.
    pub required: bool,
    /// The comment.
    pub comment: Option<String>,
}

/// A term of `PARTITIONED BY`.
#[derive(Debug, Clone, PartialEq)]
pub struct PartitionTerm {
    /// The source column as written (lower-case unless quoted), dotted for a nested field.
    pub column: String,
    /// What is done to its value.
    pub transform: Transform,
}

/// A term of a sort order.
#[derive(Debug, Clone, PartialEq)]
pub struct SortTerm {
    /// What is sorted by: a column, or a transform of one.
    pub term: PartitionTerm,
    /// Whether the greatest comes first.
    pub descending: bool,
    /// Whether NULLs come first. Where the statement does not say: yes when ascending, as in Spark and Trino.
    pub nulls_first: bool,
}

/// `ALTER TABLE`.
#[derive(Debug, Clone, PartialEq)]
pub struct AlterTable {
    /// The table.
    pub name: Name,
    /// Whether an absent table is no error.
    pub if_exists: bool,
    /// What is done to it.
    pub action: AlterAction,
}

/// What `ALTER TABLE` does.
#[derive(Debug, Clone, PartialEq)]
pub enum AlterAction {
    /// `ADD PARTITION FIELD term [AS name]`.
    AddPartitionField {
        /// The field.
        term: PartitionTerm,
        /// Its name.
        name: Option<String>,
    },
    /// `DROP PARTITION FIELD name | term`. A name alone stands in the term as a column.
    DropPartitionField(PartitionTerm),
    /// `REPLACE PARTITION FIELD name | term WITH term [AS name]`.
    ReplacePartitionField {
        /// The field that goes; a name alone stands as a column.
        old: PartitionTerm,
        /// The field that comes, at its place.
        new: PartitionTerm,
        /// Its name.
        name: Option<String>,
    },
    /// `WRITE …`.
    Write {
        /// The sort order: empty for none.
        order: Vec<SortTerm>,
        /// How rows come to writers; absent: as before.
        distribution: Option<DistributionMode>,
    },
    /// `SET TBLPROPERTIES (…)`: in the order written, keys as written.
    SetProperties(Vec<(String, String)>),
    /// `UNSET TBLPROPERTIES [IF EXISTS] (…)`: keys as written.
    UnsetProperties(Vec<String>),
}

/// `INSERT INTO`.
#[derive(Debug, Clone, PartialEq)]
pub struct Insert {
    /// The target.
    pub table: Name,
    /// The column list; empty when there is none.
    pub columns: Vec<NamePart>,
    /// Whether source columns find their target by name.
    pub by_name: bool,
    /// The rows.
    pub source: Box<Query>,
}

/// `DELETE FROM`.
#[derive(Debug, Clone, PartialEq)]
pub struct Delete {
    /// The target.
    pub table: Name,
    /// Its alias.
    pub alias: Option<NamePart>,
    /// `WHERE`.
    pub condition: Option<Expr>,
}

/// `UPDATE`.
#[derive(Debug, Clone, PartialEq)]
pub struct Update {
    /// The target.
    pub table: Name,
    /// Its alias.
    pub alias: Option<NamePart>,
    /// `SET`.
    pub assignments: Vec<Assignment>,
    /// `FROM`: what the target is joined with.
    pub from: Vec<TableWithJoins>,
    /// `WHERE`.
    pub condition: Option<Expr>,
}

/// `column = value` of an UPDATE.
#[derive(Debug, Clone, PartialEq)]
pub struct Assignment {
    /// The column as written: perhaps the table before it, perhaps fields behind it.
    pub target: Name,
    /// The value; `None` for `DEFAULT`.
    pub value: Option<Expr>,
}

/// `MERGE INTO`.
#[derive(Debug, Clone, PartialEq)]
pub struct Merge {
    /// The target.
    pub table: Name,
    /// Its alias.
    pub alias: Option<NamePart>,
    /// `USING`.
    pub source: TableFactor,
    /// `ON`.
    pub on: Expr,
    /// The clauses, in order: the first that holds for a row is done.
    pub clauses: Vec<MergeClause>,
}

/// A `WHEN` of a MERGE.
#[derive(Debug, Clone, PartialEq)]
pub struct MergeClause {
    /// Which rows it is about.
    pub kind: MatchKind,
    /// `AND`.
    pub condition: Option<Expr>,
    /// What is done.
    pub action: MergeAction,
}

/// Which rows a clause of a MERGE is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MatchKind {
    /// Pairs of rows.
    Matched,
    /// Rows of the source without a row of the target.
    NotMatched,
    /// Rows of the target without a row of the source.
    NotMatchedBySource,
}

/// What a clause of a MERGE does.
#[derive(Debug, Clone, PartialEq)]
pub enum MergeAction {
    /// `DELETE`.
    Delete,
    /// `UPDATE SET column = value, …`.
    Update(Vec<Assignment>),
    /// `UPDATE SET *`: every column from the source's of the same name.
    UpdateAll,
    /// `INSERT [(columns)] VALUES (values)`; a value is `None` for `DEFAULT`.
    Insert {
        /// The columns; empty for all.
        columns: Vec<NamePart>,
        /// The values.
        values: Vec<Option<Expr>>,
    },
    /// `INSERT *`: every column from the source's of the same name.
    InsertAll,
}

/// A table or table function that a query reads.
#[derive(Debug, Clone, PartialEq)]
pub struct TableUse {
    /// What the rewritten query calls it: under this key its source is given to
    /// [`StatementContext`](crate::sql::plan::StatementContext).
    pub reference: TableReference,
    /// What it is.
    pub kind: TableUseKind,
}

/// What a [`TableUse`] is.
#[derive(Debug, Clone, PartialEq)]
pub enum TableUseKind {
    /// A table.
    Table {
        /// Its name as written.
        name: Name,
        /// The version asked for.
        version: Option<VersionSpec>,
    },
    /// A table function such as `read_parquet('a.parquet')`.
    Function {
        /// The function's name, lower-case.
        name: String,
        /// The arguments: a name (lower-case) for `name => value`, and the value.
        args: Vec<(Option<String>, Value)>,
    },
}

/// A version of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VersionSpec {
    /// A snapshot id.
    Snapshot(i64),
    /// A branch or tag; where there is none of that name, a snapshot id in quotes.
    Reference(String),
    /// The state at a time: an expression without columns.
    Time(Box<Expr>),
}

/// A constant argument of a table function.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `NULL`.
    Null,
    /// `TRUE` or `FALSE`.
    Boolean(bool),
    /// A number as written.
    Number(String),
    /// A string.
    String(String),
    /// `ARRAY['a', 'b']`.
    List(Vec<Value>),
    /// `TIMESTAMP '2026-01-31 12:00:00'`: what stands between the quotes.
    Timestamp(String),
}

impl NamePart {
    /// An unquoted part.
    pub fn unquoted(value: impl Into<String>) -> Self {
        Self { value: value.into(), quoted: false }
    }

    /// A quoted part.
    pub fn quoted(value: impl Into<String>) -> Self {
        Self { value: value.into(), quoted: true }
    }

    /// What a new thing of this name is called: lower-case unless quoted.
    pub fn normalised(&self) -> String {
        if self.quoted { self.value.clone() } else { self.value.to_lowercase() }
    }
}

impl Name {
    /// What a new thing of this name is called, part by part: lower-case unless quoted.
    pub fn normalised(&self) -> Vec<String> {
        self.0.iter().map(NamePart::normalised).collect()
    }
}

impl fmt::Display for NamePart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.quoted {
            write!(f, "\"{}\"", self.value.replace('"', "\"\""))
        } else {
            f.write_str(&self.value)
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, part) in self.0.iter().enumerate() {
            if at > 0 {
                f.write_str(".")?;
            }
            write!(f, "{part}")?;
        }
        Ok(())
    }
}
