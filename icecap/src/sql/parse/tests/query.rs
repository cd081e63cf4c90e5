//! INSERT and queries, with the spellings that are rewritten.

use icecap_table::ErrorKind;

use super::*;

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
