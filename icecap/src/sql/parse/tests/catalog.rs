//! DROP, namespaces, SHOW and DESCRIBE.

use super::*;

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
