use icecap_table::ErrorKind;
use icecap_table::iceberg::spec::Transform;
use proptest::prelude::*;

use super::*;
use crate::sql::ast::{ColumnDef, CreateTable, MatchKind, Merge, MergeAction, Name, NamePart, PartitionTerm};
use crate::sql::types::sql_type_name;

fn parse(sql: &str) -> Statement {
    let mut statements = parse_script(sql).unwrap();
    assert_eq!(statements.len(), 1, "{sql}");
    statements.remove(0).statement
}

fn create(sql: &str) -> CreateTable {
    match parse(sql) {
        Statement::CreateTable(create) => *create,
        other => panic!("{other:?}"),
    }
}

fn message(sql: &str) -> String {
    parse_script(sql).unwrap_err().to_string()
}

fn name(parts: &[&str]) -> Name {
    Name(parts.iter().map(|part| NamePart::unquoted(*part)).collect())
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

#[test]
fn drops_namespaces_and_shows() {
    assert_eq!(
        parse("drop table if exists a.t purge"),
        Statement::DropTable { name: name(&["a", "t"]), if_exists: true, purge: true }
    );
    assert_eq!(
        parse("CREATE DATABASE IF NOT EXISTS d COMMENT 'c' LOCATION 's3://b' WITH DBPROPERTIES ('a'='b')"),
        Statement::CreateNamespace {
            name: name(&["d"]),
            if_not_exists: true,
            comment: Some("c".to_owned()),
            location: Some("s3://b".to_owned()),
            properties: vec![("a".to_owned(), "b".to_owned())],
        }
    );
    assert_eq!(
        parse("drop schema d cascade"),
        Statement::DropNamespace { name: name(&["d"]), if_exists: false, cascade: true }
    );
    assert_eq!(parse("show tables"), Statement::ShowTables { namespace: None, pattern: None });
    assert_eq!(
        parse("show tables in a.b 'x*'"),
        Statement::ShowTables { namespace: Some(name(&["a", "b"])), pattern: Some("x*".to_owned()) }
    );
    assert_eq!(
        parse("show tables from a like '%x'"),
        Statement::ShowTables { namespace: Some(name(&["a"])), pattern: Some("%x".to_owned()) }
    );
    assert_eq!(parse("SHOW SCHEMAS LIKE 'a'"), Statement::ShowNamespaces { pattern: Some("a".to_owned()) });
    assert_eq!(
        parse("describe extended a.t"),
        Statement::Describe { name: name(&["a", "t"]), extended: true }
    );
    assert_eq!(parse("desc table t"), Statement::Describe { name: name(&["t"]), extended: false });
    assert_eq!(
        parse("describe extended"),
        Statement::Describe { name: name(&["extended"]), extended: false }
    );
    assert_eq!(message("show tables x"), "line 1:13: expected a pattern in single quotes, found `x`");
    assert_eq!(message("drop table t, u"), "line 1:13: expected the end of the statement, found `,`");
    assert_eq!(message("create foo"), "line 1:8: expected TABLE or DATABASE, found `foo`");
}

#[test]
fn inserts() {
    let Statement::Insert(insert) = parse("insert into table a.t (b, \"C\") values (1, 'x;y'), (2, null)")
    else {
        panic!("no insert")
    };
    assert_eq!(insert.table, name(&["a", "t"]));
    assert_eq!(insert.columns, [NamePart::unquoted("b"), NamePart::quoted("C")]);
    assert!(!insert.by_name);
    assert_eq!(insert.source.to_string(), "VALUES (1, 'x;y'), (2, NULL)");
    for (sql, by_name, source) in [
        ("insert into t by name select 1 as a", true, "SELECT 1 AS a"),
        ("insert into t (select 1)", false, "(SELECT 1)"),
        ("insert into t ((select 1))", false, "((SELECT 1))"),
        ("insert into t with a as (select 1) select * from a", false, "WITH a AS (SELECT 1) SELECT * FROM a"),
        ("insert into t table u", false, "SELECT * FROM u"),
        ("insert into t (a) (values (1))", false, "(VALUES (1))"),
    ] {
        let Statement::Insert(insert) = parse(sql) else { panic!("no insert") };
        assert_eq!((insert.by_name, insert.source.to_string().as_str()), (by_name, source), "{sql}");
    }
    assert_eq!(
        message("insert into t"),
        "line 1:14: expected VALUES or a query, found the end of the statement"
    );
    assert_eq!(
        message("insert into t (a) by name select 1"),
        "line 1:19: BY NAME takes the names from the query: leave out the column list"
    );
    assert_eq!(
        message("insert into t (a.b) values (1)"),
        "line 1:17: INSERT fills whole columns, not fields inside of one"
    );
    for sql in [
        "insert overwrite t select 1",
        "with a as (select 1) insert into t select * from a",
        "insert into t default values",
    ] {
        assert_eq!(parse_script(sql).unwrap_err().kind(), ErrorKind::Unsupported, "{sql}");
    }
}

#[test]
fn queries_keep_their_text_and_place() {
    let statements = parse_script("-- first\nSELECT 1 ;\n\n values (1), (2); table t").unwrap();
    let texts: Vec<_> = statements.iter().map(|statement| statement.text.as_str()).collect();
    assert_eq!(texts, ["SELECT 1", "values (1), (2)", "table t"]);
    assert_eq!(message("select 1;\n  select a +\n )"), "line 3:2: expected an expression, found )");
    assert_eq!(message("select 1;\n  select a b c"), "line 2:14: expected the end of the statement, found c");
    assert_eq!(message("select (1"), "line 1:10: expected ), found the end of the statement");
    assert_eq!(
        message("selec 1"),
        "line 1:1: expected a statement such as SELECT, INSERT INTO, DELETE FROM, UPDATE, MERGE INTO, CREATE TABLE, DROP TABLE, SHOW TABLES or DESCRIBE, found `selec`"
    );
    assert_eq!(message("select 'a"), "line 1:8: a string starts here and is never closed: add '");
}

fn rewritten(sql: &str) -> String {
    let Statement::Query(query) = parse(sql) else { panic!("no query") };
    query.to_string()
}

#[test]
fn spellings_that_sqlparser_refuses_are_rewritten() {
    assert_eq!(
        rewritten(
            "select cast(a as map<string, array<int>>), try_cast(b as array(varchar(3))), c::row(x int)"
        ),
        "SELECT CAST(a AS \"map<string, array<int>>\"), TRY_CAST(b AS \"array<string>\"), c::\"struct<x: int>\""
    );
    assert_eq!(
        rewritten("select cast(cast(a as timestamp(3) with time zone) as date), (select 1 as b)"),
        "SELECT CAST(CAST(a AS \"timestamp with time zone\") AS \"date\"), (SELECT 1 AS b)"
    );
    assert_eq!(
        rewritten("select decimal '1.50', numeric '-7', t.decimal"),
        "SELECT (1.50), (-7.), t.decimal"
    );
    assert_eq!(rewritten("select 1 order by 1 fetch first 5 rows only"), "SELECT 1 ORDER BY 1 LIMIT 5");
    assert_eq!(rewritten("select timestamp as of from t"), "SELECT timestamp AS of FROM t");
    assert_eq!(
        rewritten("select * from t for version as of 5 x, u for system_time as of timestamp '2026-01-01' y"),
        "SELECT * FROM t x FOR SYSTEM_TIME AS OF 5, u y TIMESTAMP AS OF TIMESTAMP '2026-01-01'"
    );
    assert_eq!(rewritten("table t version as of 'b'"), "SELECT * FROM t FOR SYSTEM_TIME AS OF 'b'");
    assert_eq!(
        rewritten("select a at time zone 'UTC' from at join before join changes as c"),
        "SELECT a AT TIME ZONE 'UTC' FROM \"at\" JOIN \"before\" JOIN \"changes\" AS c"
    );
    assert!(message("select cast(a as foo)").starts_with("line 1:18: expected a type"));
    assert_eq!(
        message("select decimal 'x'"),
        "line 1:8: 'x' is no decimal: write digits with at most one point"
    );
}

#[test]
fn what_is_not_done_is_named() {
    for (sql, expected) in [
        ("insert overwrite t select 1", "line 1:1: INSERT OVERWRITE is not supported yet"),
        ("explain (type logical) select 1", "line 1:9: EXPLAIN (…) is not supported yet"),
        ("explain verbose select 1", "line 1:9: EXPLAIN VERBOSE is not supported yet"),
        (
            "explain analyze drop table t",
            "line 1:17: EXPLAIN of a statement that is no query, INSERT, CREATE TABLE … AS, DELETE, UPDATE or MERGE is not supported yet",
        ),
        ("alter table t add columns (a int)", "line 1:15: ALTER TABLE … ADD COLUMNS is not supported yet"),
        ("alter table t create branch b", "line 1:15: ALTER TABLE … CREATE BRANCH is not supported yet"),
        ("create or replace view v as select 1", "line 1:1: CREATE OR REPLACE VIEW is not supported yet"),
        ("show create view t", "line 1:1: SHOW CREATE VIEW is not supported yet"),
        ("select ?", "line 1:8: parameters in a statement are not supported yet"),
        ("select * into u from t", "line 1:1: SELECT INTO is not supported yet"),
        ("select * from t for update", "line 1:1: FOR UPDATE is not supported yet"),
    ] {
        let error = parse_script(sql).unwrap_err();
        assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::Unsupported, expected), "{sql}");
    }
    for sql in [
        "optimize t rewrite data using sort",
        "truncate table t",
        "unload (select 1) to 'x'",
        "prepare a from select 1",
        "begin",
        "execute a",
        "use d",
        "set a = 1",
    ] {
        assert_eq!(parse_script(sql).unwrap_err().kind(), ErrorKind::Unsupported, "{sql}");
    }
    assert_eq!(
        message("select b\"x\""),
        "line 1:8: double quotes name things: write a string in single quotes"
    );
    assert_eq!(rewritten("select \"a\", `b`, 'c'"), "SELECT \"a\", `b`, 'c'");
}

/// Runs on a thread with as little stack as a worker of the engine has.
fn on_a_small_stack(run: impl FnOnce() + Send + 'static) {
    std::thread::Builder::new().stack_size(2 << 20).spawn(run).unwrap().join().unwrap();
}

#[test]
fn nothing_overflows_the_stack() {
    let pieces = [
        "(",
        "((",
        "[",
        "{",
        "array[",
        "array<",
        "map(",
        "map<",
        "struct<",
        "struct(",
        "row(",
        "case when ",
        "case ",
        "not ",
        "- ",
        "+ ",
        "interval ",
        "date ",
        "select ",
        "select (",
        "(select ",
        "from (",
        "select * from (",
        "select * from ((",
        "with a as (",
        "exists (",
        "cast(",
        "cast(a as ",
        "try_cast(",
        "f(",
        "x -> ",
        "(x) -> ",
        "(x, y) -> (",
        "a.b(",
        "f(a.",
        "{'a': ",
        "map {",
        "a[1].",
        "a in (select ",
        "from (((",
        "with a as (with b as (",
        "a in (",
        "a between ",
        "values (",
        "union select ",
        "1 + ",
        "a and ",
        "a or not ",
        "a.",
        "a[",
        "a::",
        "a is null ",
        "1, ",
        "join t ",
        "from t, ",
        "lateral (",
        "unnest(",
        "extract(",
        "substring(",
        "position(",
        "trim(",
        "over (",
        "filter (where ",
        "convert(",
        "if(",
        "'a' 'b' ",
        "collate ",
        "at time zone ",
        "prior ",
        "any(",
        "grouping sets ((",
        "decimal '1' ",
        "::int",
        " union all ",
        "intersect (",
        "tuple(",
        "nullable(",
        "nested(",
    ];
    on_a_small_stack(move || {
        for head in ["select ", "select * from ", "insert into t ", "create table t (a ", "select 1 where "] {
            for piece in pieces {
                for times in [30, 45, 60, 5_000] {
                    let _ = parse_script(&format!("{head}{}1", piece.repeat(times)));
                }
            }
        }
    });
}

#[test]
fn long_statements_parse() {
    on_a_small_stack(|| {
        let condition: Vec<String> = (0..4_000).map(|n| format!("a = {n}")).collect();
        let sql = format!("select * from t where {}", condition.join(" or "));
        let error = parse_script(&sql);
        assert!(error.is_ok() || error.unwrap_err().to_string().contains("at most"), "4000 alternatives");
        let rows: Vec<String> = (0..20_000).map(|n| format!("({n}, 'row {n}', {n}.5)")).collect();
        assert_eq!(parse_script(&format!("insert into t values {}", rows.join(", "))).unwrap().len(), 1);
        let list: Vec<String> = (0..100_000).map(|n| n.to_string()).collect();
        assert_eq!(parse_script(&format!("select a in ({})", list.join(","))).unwrap().len(), 1);
        let deep = format!("select {}1{}", "(".repeat(20), ")".repeat(20));
        assert_eq!(parse_script(&deep).unwrap().len(), 1);
        let sum = vec!["a"; 150].join(" + ");
        assert_eq!(parse_script(&format!("select {sum}")).unwrap().len(), 1);
    });
}

const VALID: &[&str] = &[
    "CREATE TABLE IF NOT EXISTS db.t (id bigint COMMENT 'k', s struct<a:int,b:array<map<string,decimal(10,2)>>>) \
     PARTITIONED BY (month(d), bucket(16, id)) LOCATION 's3://b/p' TBLPROPERTIES ('table_type'='ICEBERG', 'x'=5)",
    "create table t with (table_type='ICEBERG', partitioning=ARRAY['month(d)','bucket(c,16)']) as select 1 with no data",
    "INSERT INTO a.\"t\" (b, c) VALUES (1, 'x''y'), (-2.5e3, NULL), (cast('1' as row(a int)), X'00')",
    "with recursive a as (select 1 union all select * from a where x < 5) select count(*) filter (where b is not null) \
     over (partition by c order by d nulls first rows between 1 preceding and current row) from a join b using (x) \
     left join lateral (select 1) c on true where x in (1, 2) and y like 'a%' group by rollup (a, b) having sum(x) > 1 \
     order by 1 limit 10 offset 5",
    "select case when a then b else c end, a[1], m['k'], s.f.g, x -> x + 1, interval '1' day, date '2024-01-01' \
     from read_csv('a', header => true), unnest(array[1, 2]) as u(v)",
    "show tables in a like '%x'; describe extended t; drop table if exists t purge; create schema s comment 'x'",
];

#[test]
fn athenas_upkeep() {
    let Statement::Optimize { name: table, filter } = parse("OPTIMIZE db.t REWRITE DATA USING BIN_PACK")
    else {
        panic!("no OPTIMIZE")
    };
    assert_eq!((table, filter), (name(&["db", "t"]), None));
    let sql = "optimize `Db`.t rewrite data using bin_pack where d >= date '2026-01-01' and c in ('a', 'b')";
    let Statement::Optimize { filter: Some(filter), .. } = parse(sql) else { panic!("no condition") };
    assert_eq!(filter.to_string(), "SELECT * FROM \"Db\".t WHERE d >= DATE '2026-01-01' AND c IN ('a', 'b')");
    assert_eq!(parse("vacuum db.t"), Statement::Vacuum { name: name(&["db", "t"]) });
    assert!(parse("VACUUM t").may_write());
    for wrong in [
        "OPTIMIZE t",
        "OPTIMIZE t REWRITE DATA",
        "OPTIMIZE t REWRITE DATA USING BIN_PACK d = 1",
        "OPTIMIZE t REWRITE DATA USING BIN_PACK WHERE",
        "OPTIMIZE t REWRITE DATA USING BIN_PACK WHERE a = 1 ORDER BY a",
        "OPTIMIZE t REWRITE DATA USING BIN_PACK WHERE a = 1 GROUP BY a",
        "OPTIMIZE t REWRITE DATA USING BIN_PACK WHERE a = 1 UNION SELECT 1",
        "OPTIMIZE t REWRITE DATA USING BIN_PACK WHERE a = 1 LIMIT 1",
        "OPTIMIZE t REWRITE DATA USING BIN_PACK WHERE a = 1; x",
        "VACUUM",
        "VACUUM t RETAIN 1 HOURS",
    ] {
        assert_eq!(parse_script(wrong).unwrap_err().kind(), ErrorKind::Invalid, "{wrong}");
    }
}

#[test]
fn a_call_takes_times() {
    let Statement::Call { args, .. } = parse(
        "CALL system.expire_snapshots('db.t', older_than => TIMESTAMP '2026-01-31 00:00:00', retain_last => 2)",
    ) else {
        panic!("no CALL")
    };
    assert_eq!(args[1].1, crate::sql::ast::Value::Timestamp("2026-01-31 00:00:00".into()));
}

fn soup() -> impl Strategy<Value = String> {
    let token = prop_oneof![
        prop::sample::select(vec![
            "select",
            "from",
            "where",
            "(",
            ")",
            ",",
            ".",
            "*",
            "'a'",
            "\"b\"",
            "`c`",
            "1",
            "2.5",
            "1e5",
            ";",
            "create",
            "table",
            "insert",
            "into",
            "values",
            "as",
            "with",
            "(select 1)",
            "cast",
            "::",
            "int",
            "array",
            "<",
            ">",
            ">>",
            "[",
            "]",
            "map",
            "struct",
            "row",
            ":",
            "=",
            "=>",
            "->",
            "-",
            "+",
            "not",
            "null",
            "and",
            "or",
            "case",
            "when",
            "then",
            "end",
            "in",
            "is",
            "between",
            "union",
            "all",
            "join",
            "on",
            "using",
            "by",
            "name",
            "partitioned",
            "partition",
            "bucket",
            "month",
            "location",
            "comment",
            "tblproperties",
            "for",
            "version",
            "of",
            "timestamp",
            "interval",
            "date",
            "decimal",
            "order",
            "limit",
            "show",
            "tables",
            "drop",
            "describe",
            "exists",
            "if",
            "{",
            "}",
            "||",
            "!",
            "~",
            "@",
            "#",
            "$",
            "$1",
            "?",
            "--",
            "/*",
            "*/",
            "\n",
            "é",
            "\u{0}",
            "'",
            "over",
            "filter",
            "lateral",
            "unnest",
            "recursive",
            "extract",
            "substring",
            "like",
            "escape",
            "fetch",
            "first",
            "rows",
            "only",
        ]),
        prop::sample::select(vec!["a", "t", "x"]),
    ];
    (
        prop::sample::select(vec!["", "select ", "create table t ", "insert into t ", "with "]),
        prop::collection::vec(token, 0..40),
    )
        .prop_map(|(head, tokens)| format!("{head}{}", tokens.join(" ")))
}

fn mutated() -> impl Strategy<Value = String> {
    let mutation = (any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0..5u8, any::<char>());
    (prop::sample::select(VALID.to_vec()), prop::collection::vec(mutation, 1..6)).prop_map(
        |(sql, mutations)| {
            let mut text: Vec<char> = sql.chars().collect();
            for (from, to, kind, ch) in mutations {
                if text.is_empty() {
                    break;
                }
                let (mut from, mut to) = (from.index(text.len()), to.index(text.len()));
                if from > to {
                    std::mem::swap(&mut from, &mut to);
                }
                to = to.min(from + 12);
                match kind {
                    0 => drop(text.drain(from..to)),
                    1 => text.insert(from, ch),
                    2 => text[from] = ch,
                    3 => {
                        let copy = text[from..to].to_vec();
                        text.splice(to..to, copy);
                    }
                    _ => text.truncate(from),
                }
            }
            text.into_iter().collect()
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn no_soup_of_tokens_makes_it_panic(sql in soup()) {
        let _ = parse_script(&sql);
    }

    #[test]
    fn no_mutation_makes_it_panic(sql in mutated()) {
        let _ = parse_script(&sql);
    }
}

#[test]
fn the_statements_that_are_mutated_are_valid() {
    for sql in VALID {
        parse_script(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
}

fn merge(sql: &str) -> Merge {
    match parse(sql) {
        Statement::Merge(merge) => *merge,
        other => panic!("{other:?}"),
    }
}

#[test]
fn deletes_have_a_target_and_perhaps_a_condition() {
    let Statement::Delete(delete) = parse("delete from db.t") else { panic!() };
    assert_eq!((delete.table, delete.alias, delete.condition), (name(&["db", "t"]), None, None));
    for sql in ["delete from t as \"A\" where a.x > 1", "DELETE FROM t \"A\" WHERE a.x > 1"] {
        let Statement::Delete(delete) = parse(sql) else { panic!() };
        assert_eq!(delete.alias, Some(NamePart::quoted("A")));
        assert_eq!(delete.condition.unwrap().to_string(), "a.x > 1");
    }
    // A word that begins a clause is no alias.
    let Statement::Delete(delete) = parse("delete from t where exists (select 1 from s where s.a = t.a)")
    else {
        panic!()
    };
    assert!(delete.alias.is_none() && delete.condition.is_some());
}

#[test]
fn updates_set_columns_fields_and_defaults() {
    let Statement::Update(update) = parse(
        "update db.t as u set u.a = u.a + 1, s.f.g = default, \"B\" = (select max(x) from y) \
         from s1 join s2 using (k), (values (1)) as v (c) where u.k = s1.k",
    ) else {
        panic!()
    };
    let set: Vec<String> = update
        .assignments
        .iter()
        .map(|one| {
            let value = one.value.as_ref().map_or("DEFAULT".to_owned(), ToString::to_string);
            format!("{} = {value}", one.target)
        })
        .collect();
    assert_eq!(set, ["u.a = u.a + 1", "s.f.g = DEFAULT", "\"B\" = (SELECT max(x) FROM y)"]);
    assert_eq!(update.from.len(), 2);
    assert_eq!(update.condition.unwrap().to_string(), "u.k = s1.k");
    // A column may be called DEFAULT.
    let Statement::Update(update) = parse("update t set a = t.default") else { panic!() };
    assert_eq!(update.assignments[0].value.as_ref().unwrap().to_string(), "t.default");
}

#[test]
fn merges_have_clauses_of_every_kind() {
    let all = merge(
        "merge into db.t as a using (select * from s) as b (x, y) on a.x = b.x and a.y > 1 \
         when matched and b.y is null then delete when matched then update set a.y = b.y, z = default \
         when not matched by target and b.y > 0 then insert (x, t.y) values (b.x, default) \
         when not matched then insert values (b.x, b.y, 1) \
         when not matched by source and a.y = 3 then update set y = 4 when not matched by source then delete",
    );
    assert_eq!((all.table.to_string(), all.alias), ("db.t".to_owned(), Some(NamePart::unquoted("a"))));
    assert_eq!(all.source.to_string(), "(SELECT * FROM s) AS b (x, y)");
    assert_eq!(all.on.to_string(), "a.x = b.x AND a.y > 1");
    let kinds: Vec<_> = all.clauses.iter().map(|clause| (clause.kind, clause.condition.is_some())).collect();
    use MatchKind::{Matched, NotMatched, NotMatchedBySource};
    assert_eq!(
        kinds,
        [
            (Matched, true),
            (Matched, false),
            (NotMatched, true),
            (NotMatched, false),
            (NotMatchedBySource, true),
            (NotMatchedBySource, false)
        ]
    );
    let MergeAction::Insert { columns, values } = &all.clauses[2].action else { panic!() };
    assert_eq!(columns, &[NamePart::unquoted("x"), NamePart::unquoted("y")]);
    assert!(values[0].is_some() && values[1].is_none());
    let stars = merge(
        "MERGE INTO t USING read_parquet('a.parquet') s ON t.id = s.id \
         WHEN MATCHED THEN UPDATE SET * WHEN NOT MATCHED THEN INSERT *",
    );
    assert_eq!(stars.clauses[0].action, MergeAction::UpdateAll);
    assert_eq!(stars.clauses[1].action, MergeAction::InsertAll);
}

#[test]
fn wrong_row_level_statements_are_explained() {
    for (sql, expected) in [
        ("delete t where a = 1", "line 1:8: expected FROM, found `t`"),
        ("delete from t where", "line 1:20: expected an expression, found the end of the statement"),
        ("delete from t for version as of 1", "line 1:15: a version of a table can be read and not changed"),
        ("update t where a = 1", "line 1:10: expected SET, found where"),
        ("update t set a 1", "line 1:16: expected `=`, found 1"),
        (
            "update t set a[1] = 2",
            "line 1:10: setting an element of an array or of a map is not supported yet",
        ),
        ("merge t using s", "line 1:7: expected INTO, found `t`"),
        (
            "merge into t using s on a = b when matched then insert values (1)",
            "line 1:14: WHEN MATCHED updates or deletes: only WHEN NOT MATCHED inserts",
        ),
        (
            "merge into t using s on a = b when not matched by source then update set *",
            "line 1:14: WHEN NOT MATCHED BY SOURCE has no row of the source to take columns from: write UPDATE SET column = value",
        ),
        (
            "merge into t using s on a = b when not matched then insert (a, b) values (1)",
            "line 1:14: INSERT names 2 columns and gives 1 values",
        ),
        (
            "delete from t where a = 1 returning a",
            "line 1:15: RETURNING in a statement that changes rows is not supported yet",
        ),
        (
            "explain (dry run) select 1",
            "line 1:19: a query writes nothing: DRY RUN is for INSERT, CREATE TABLE … AS, DELETE, UPDATE and MERGE",
        ),
    ] {
        assert_eq!(message(sql).to_lowercase(), expected.to_lowercase(), "{sql}");
    }
}

#[test]
fn hostile_depth_is_refused_in_row_level_statements() {
    let deep = format!("{}1{}", "(".repeat(5_000), ")".repeat(5_000));
    let chain = format!("1{}", " + 1".repeat(100_000));
    for piece in [&deep, &chain] {
        for sql in [
            format!("delete from t where {piece} = 1"),
            format!("update t set a = {piece}"),
            format!("merge into t using s on {piece} = 1 when matched then delete"),
            format!("merge into t using s on a = b when matched then update set a = {piece}"),
        ] {
            let error = parse_script(&sql).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid);
        }
    }
}
