//! CREATE TABLE, in Athena's and in Spark's spelling.

use icecap_table::ErrorKind;
use icecap_table::iceberg::spec::Transform;

use super::*;
use crate::sql::ast::{ColumnDef, CreateTable, PartitionTerm};
use crate::sql::types::sql_type_name;

fn create(sql: &str) -> CreateTable {
    match parse(sql) {
        Statement::CreateTable(create) => *create,
        other => panic!("{other:?}"),
    }
}

fn columns(columns: &[ColumnDef]) -> Vec<String> {
    columns
        .iter()
        .map(|column| {
            let required = if column.required { " not null" } else { "" };
            let comment = column.comment.as_ref().map(|comment| format!(" '{comment}'")).unwrap_or_default();
            format!("{} {}{required}{comment}", column.name, sql_type_name(&column.ty))
        })
        .collect()
}

fn terms(terms: &[PartitionTerm]) -> Vec<String> {
    terms.iter().map(|term| format!("{}({})", term.transform, term.column)).collect()
}

#[test]
fn athenas_create_table() {
    let table = create(
        "CREATE TABLE IF NOT EXISTS db.`Flights` (id bigint COMMENT 'the key', Name string NOT NULL, \
         `Odd Name` array<struct<a:int>>, d date)
         COMMENT 'all flights'
         PARTITIONED BY (month(d), bucket(16, id), bucket(id, 8), truncate(name, 3), `Odd Name`, hours(d))
         LOCATION 's3://bucket/flights/'
         TBLPROPERTIES ('table_type'='ICEBERG', 'format_version'=3, 'write.parquet.compression-codec'='zstd')",
    );
    assert_eq!(table.name, Name(vec![NamePart::unquoted("db"), NamePart::quoted("Flights")]));
    assert_eq!(table.name.to_string(), "db.\"Flights\"");
    assert_eq!(table.name.normalised(), ["db", "Flights"]);
    assert!(table.if_not_exists && table.athena && table.query.is_none());
    assert_eq!(
        columns(&table.columns),
        ["id bigint 'the key'", "name string not null", "Odd Name array<struct<a: int>>", "d date"]
    );
    assert_eq!(
        terms(&table.partitioning),
        ["month(d)", "bucket[16](id)", "bucket[8](id)", "truncate[3](name)", "identity(Odd Name)", "hour(d)"]
    );
    assert_eq!(table.location.as_deref(), Some("s3://bucket/flights/"));
    assert_eq!(table.comment.as_deref(), Some("all flights"));
    let properties: Vec<_> = table.properties.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    assert_eq!(
        properties,
        [("table_type", "ICEBERG"), ("format_version", "3"), ("write.parquet.compression-codec", "zstd")]
    );
}

#[test]
fn athenas_create_table_as() {
    let table = create(
        "create table t with (table_type = 'ICEBERG', is_external = false, location = 's3://b/p/', \
         format = 'PARQUET', compression_level = 5, partitioning = ARRAY['month(d)', 'bucket(c,16)', 'X']) \
         as with a as (select 1 as c) select * from a with no data",
    );
    assert!(table.athena && !table.with_data);
    assert_eq!(table.location.as_deref(), Some("s3://b/p/"));
    assert_eq!(terms(&table.partitioning), ["month(d)", "bucket[16](c)", "identity(x)"]);
    let keys: Vec<_> = table.properties.iter().map(|(k, v)| format!("{k}={v}")).collect();
    assert_eq!(keys, ["table_type=ICEBERG", "is_external=false", "format=PARQUET", "compression_level=5"]);
    assert_eq!(table.query.unwrap().to_string(), "WITH a AS (SELECT 1 AS c) SELECT * FROM a");
    assert!(create("create table t as (select 1 as a) with data").with_data);
    assert!(create("create table t as values (1)").query.is_some());
}

#[test]
fn sparks_create_table() {
    let table = create(
        "CREATE TABLE a.b.t (id INT NOT NULL, ts TIMESTAMP) USING iceberg OPTIONS ('x'='1') \
         PARTITIONED BY (days(ts), truncate(4, id)) COMMENT 'c' TBLPROPERTIES ('format-version'='2')",
    );
    assert!(!table.athena);
    assert_eq!(table.name, name(&["a", "b", "t"]));
    assert_eq!(
        table.partitioning,
        [
            PartitionTerm { column: "ts".to_owned(), transform: Transform::Day },
            PartitionTerm { column: "id".to_owned(), transform: Transform::Truncate(4) }
        ]
    );
    assert_eq!(table.properties.len(), 2);
    let table = create("create table t using iceberg as select 1 as a");
    assert!(table.query.is_some() && !table.athena && table.with_data);
}

#[test]
fn wrong_create_tables_are_explained() {
    for (sql, expected) in [
        (
            "create table t",
            "line 1:15: expected a list of columns, or AS and a query, found the end of the statement",
        ),
        ("create table t (a)", "line 1:18: expected the type of column a, found `)`"),
        ("create table t (a int, A string)", "line 1:24: the column a is there twice"),
        ("create table t (a int,)", "line 1:23: expected the name of a column, found `)`"),
        ("create table t (a int b int)", "line 1:23: expected `,` and another column, or `)`, found `b`"),
        (
            "create table t (a decimal)",
            "line 1:19: decimal needs its precision and scale, as in decimal(18, 2)",
        ),
        (
            "create table t (a int) partitioned by (a int)",
            "line 1:42: PARTITIONED BY names columns of the list above, without types: write the column there and its name here",
        ),
        (
            "create table t (a int) partitioned by (week(a))",
            "line 1:40: expected a partition transform: year, month, day, hour, bucket(16, column), truncate(10, column) or identity, found `week`",
        ),
        (
            "create table t (a int) partitioned by (bucket(0, a))",
            "line 1:40: bucket takes a number of 1 or more",
        ),
        ("create table t (a int) comment 'x' comment 'y'", "line 1:36: COMMENT is there twice"),
        (
            "create table t (a int) as select 1",
            "line 1:35: a table made from a query takes its columns from the query: leave out the list",
        ),
        (
            "create table t with (partitioning = 'a') as select 1 as a",
            "line 1:16: partitioning is a list, as in partitioning = ARRAY['month(day)']",
        ),
        (
            "create table t with (partitioning = ARRAY['f(a)']) as select 1 as a",
            "line 1:16: in the partition field 'f(a)': line 1:1: expected a partition transform: year, month, day, hour, bucket(16, column), truncate(10, column) or identity, found `f`",
        ),
        (
            "create table t (a int) tblproperties ('a'='b', 'a'='c')",
            "line 1:48: the property a is there twice",
        ),
        ("create table t (a int) tblproperties ('a')", "line 1:42: expected =, found `)`"),
        (
            "create table t (a int) bogus",
            "line 1:24: expected COMMENT, PARTITIONED BY, LOCATION, TBLPROPERTIES, WITH (…), USING iceberg, AS or the end of the statement, found `bogus`",
        ),
        ("create table \"\" (a int)", "line 1:14: a name is empty"),
    ] {
        assert_eq!(message(sql), expected, "{sql}");
    }
    for sql in [
        "create table t (a int default 5)",
        "create table t (a int primary key)",
        "create table t (a int, primary key (a))",
        "create table t (a int) using delta",
        "create table t (a int) tblproperties ('table_type'='hive')",
        "create table t (a int) stored as parquet",
        "create table t like u",
        "create external table t (a int)",
        "create or replace table t as select 1",
        "create table t (a interval)",
    ] {
        assert_eq!(parse_script(sql).unwrap_err().kind(), ErrorKind::Unsupported, "{sql}");
    }
}
