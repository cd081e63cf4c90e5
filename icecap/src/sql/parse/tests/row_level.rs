//! DELETE, UPDATE and MERGE.

use icecap_table::ErrorKind;

use super::*;
use crate::sql::ast::{MatchKind, Merge, MergeAction};

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
