//! The statements, as each engine is told them.

use std::path::{Path, PathBuf};

use super::super::plan::{Plan, text_of};
use super::{BenchError, Result, Workload, data};

/// The columns of `lineitem` that a MERGE changes: all but its key.
const VALUES: [&str; 14] = [
    "l_partkey",
    "l_suppkey",
    "l_quantity",
    "l_extendedprice",
    "l_discount",
    "l_tax",
    "l_returnflag",
    "l_linestatus",
    "l_shipdate",
    "l_commitdate",
    "l_receiptdate",
    "l_shipinstruct",
    "l_shipmode",
    "l_comment",
];

const KEY: [&str; 2] = ["l_orderkey", "l_linenumber"];

/// What UPDATE sets, as SQL; and as PyIceberg's script takes it.
const SET: &str = "l_linenumber = l_linenumber + 100, l_comment = 'updated'";
const SET_JSON: &str = r#"{"l_linenumber": 100, "l_comment": "updated"}"#;

/// The month of 84 that a DELETE takes away.
const MONTH: [&str; 2] = ["1995-03-01", "1995-04-01"];

/// A statement on `lineitem`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Statement {
    /// DELETE of the lines of one supplier in twenty: every row group has some.
    Delete { suppliers: u64 },
    /// UPDATE of the same lines.
    Update { suppliers: u64 },
    /// MERGE of a file of changes.
    Merge { changes: PathBuf },
    /// DELETE of one month of a table that is partitioned by month.
    DeletePartition,
}

impl Statement {
    /// The statement of a workload at the plan's scale; makes the changes of a MERGE.
    pub(super) fn of(workload: Workload, plan: &Plan) -> Result<Self> {
        // There are 10,000 suppliers at scale factor 1, each with as many lines.
        let suppliers = (plan.scale * 500.0).round().max(1.0) as u64;
        let merge = |rows: f64| {
            let rows = (plan.scale * rows).round().max(2.0) as u64;
            data::ensure_changes(&plan.cache, plan.scale, rows).map(|changes| Self::Merge { changes })
        };
        match workload {
            Workload::Delete => Ok(Self::Delete { suppliers }),
            Workload::Update => Ok(Self::Update { suppliers }),
            Workload::Merge => merge(1e5),
            Workload::Merge1m => merge(1e6),
            Workload::DeletePartition => Ok(Self::DeletePartition),
            other => Err(BenchError(format!("{} is no row-level statement", other.name()))),
        }
    }

    /// Whether it takes away a whole partition.
    pub(super) fn needs_partitions(&self) -> bool {
        matches!(self, Self::DeletePartition)
    }

    /// Whether it has an aim beside the CTAS of the table.
    pub(super) fn is_beside_ctas(&self) -> bool {
        matches!(self, Self::Delete { .. } | Self::Update { .. })
    }

    /// The file of changes of a MERGE.
    pub(super) fn changes(&self) -> Option<&Path> {
        match self {
            Self::Merge { changes } => Some(changes),
            _ => None,
        }
    }

    /// The statement on a table, for an engine that has `read_parquet`.
    pub(super) fn sql(&self, table: &str) -> Result<String> {
        self.reading(table, |path| format!("read_parquet('{}')", path.replace('\'', "''")))
    }

    /// The statement for Spark.
    pub(super) fn spark_sql(&self, table: &str) -> Result<String> {
        self.reading(table, |path| format!("parquet.`{path}`"))
    }

    fn reading(&self, table: &str, source: impl Fn(&str) -> String) -> Result<String> {
        Ok(match self {
            Self::Delete { suppliers } => format!("DELETE FROM {table} WHERE l_suppkey <= {suppliers}"),
            Self::Update { suppliers } => format!("UPDATE {table} SET {SET} WHERE l_suppkey <= {suppliers}"),
            Self::Merge { changes } => {
                let on = KEY.map(|name| format!("t.{name} = s.{name}")).join(" AND ");
                let set = VALUES.map(|name| format!("{name} = s.{name}")).join(", ");
                let names: Vec<&str> = KEY.into_iter().chain(VALUES).collect();
                format!(
                    "MERGE INTO {table} AS t USING (SELECT * FROM {}) AS s ON {on} WHEN MATCHED THEN UPDATE SET {set} \
                     WHEN NOT MATCHED THEN INSERT ({}) VALUES (s.{})",
                    source(text_of(changes)?),
                    names.join(", "),
                    names.join(", s.")
                )
            }
            Self::DeletePartition => format!(
                "DELETE FROM {table} WHERE l_shipdate >= DATE '{}' AND l_shipdate < DATE '{}'",
                MONTH[0], MONTH[1]
            ),
        })
    }

    /// The arguments of PyIceberg's script: what, a filter, new values. It has no MERGE of this size.
    pub(super) fn for_pyiceberg(&self) -> Option<[String; 3]> {
        let (what, filter) = match self {
            Self::Delete { suppliers } => ("delete", format!("l_suppkey <= {suppliers}")),
            Self::Update { suppliers } => ("update", format!("l_suppkey <= {suppliers}")),
            Self::Merge { .. } => return None,
            Self::DeletePartition => {
                ("delete", format!("l_shipdate >= '{}' and l_shipdate < '{}'", MONTH[0], MONTH[1]))
            }
        };
        Some([what.to_owned(), filter, SET_JSON.to_owned()])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_merge_names_every_column_once() {
        let merge = Statement::Merge { changes: "/x/it's.parquet".into() };
        let sql = merge.sql("t1").unwrap();
        assert!(sql.starts_with(
            "MERGE INTO t1 AS t USING (SELECT * FROM read_parquet('/x/it''s.parquet')) AS s ON "
        ));
        assert!(
            sql.contains("ON t.l_orderkey = s.l_orderkey AND t.l_linenumber = s.l_linenumber WHEN"),
            "{sql}"
        );
        assert_eq!(sql.matches("s.l_comment").count(), 2, "{sql}");
        assert_eq!(sql.matches("s.l_orderkey").count(), 2, "{sql}");
        assert!(merge.spark_sql("t1").unwrap().contains("(SELECT * FROM parquet.`/x/it's.parquet`)"));
        assert_eq!(merge.for_pyiceberg(), None);
    }

    #[test]
    fn all_engines_get_the_same_filter() {
        let delete = Statement::Delete { suppliers: 500 };
        assert_eq!(delete.sql("t").unwrap(), "DELETE FROM t WHERE l_suppkey <= 500");
        assert_eq!(delete.for_pyiceberg().unwrap()[1], "l_suppkey <= 500");
        assert!(delete.is_beside_ctas() && !delete.needs_partitions());
    }
}
