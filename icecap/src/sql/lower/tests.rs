use std::collections::HashMap;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use datafusion::arrow::datatypes::{DataType, Field, Schema as ArrowSchema};
use datafusion::arrow::util::pretty::pretty_format_batches;
use datafusion::common::TableReference;
use datafusion::datasource::{MemTable, provider_as_source};
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::logical_expr::TableSource;
use datafusion::physical_plan::collect;
use icecap_table::ErrorKind;
use icecap_table::iceberg::spec::{NestedField, PrimitiveType, StructType, Type};

use super::*;
use crate::arrow_schema::arrow_schema;
use crate::plan::session::planner_state;
use crate::plan::session_config;
use crate::sql::ast::{Statement, TableUseKind};
use crate::sql::parse_script;
use crate::sql::plan::StatementContext;
use crate::sql::resolve::resolve_tables;

/// `id bigint, name string, s struct<a int, b string>`.
fn schema() -> Schema {
    let optional = |id, name: &str, ty| Arc::new(NestedField::optional(id, name, ty));
    let inner = StructType::new(vec![
        optional(4, "a", Type::Primitive(PrimitiveType::Int)),
        optional(5, "b", Type::Primitive(PrimitiveType::String)),
    ]);
    Schema::builder()
        .with_fields(vec![
            optional(1, "id", Type::Primitive(PrimitiveType::Long)),
            optional(2, "name", Type::Primitive(PrimitiveType::String)),
            optional(3, "s", Type::Struct(inner)),
        ])
        .build()
        .unwrap()
}

/// Rows (1, a), (2, NULL), (NULL, c) at positions 0, 1, 2; `s` is NULL.
fn target() -> RecordBatch {
    let table = arrow_schema(&schema()).unwrap();
    let mut fields: Vec<_> = table.fields().iter().cloned().collect();
    for (name, ty) in [("_file", DataType::Utf8), ("_pos", DataType::Int64), ("_row_id", DataType::Int64)] {
        fields.push(Arc::new(Field::new(name, ty, name == "_row_id")));
    }
    let nothing = datafusion::arrow::array::new_null_array(fields[2].data_type(), 3);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from(vec![Some(1), Some(2), None])),
        Arc::new(StringArray::from(vec![Some("a"), None, Some("c")])),
        nothing,
        Arc::new(StringArray::from(vec!["f"; 3])),
        Arc::new(Int64Array::from(vec![0, 1, 2])),
        Arc::new(Int64Array::from(vec![10, 11, 12])),
    ];
    RecordBatch::try_new(Arc::new(ArrowSchema::new(fields)), columns).unwrap()
}

/// The source: (1, x), (3, y), (NULL, z).
fn source() -> RecordBatch {
    let fields = vec![Field::new("id", DataType::Int64, true), Field::new("name", DataType::Utf8, true)];
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from(vec![Some(1), Some(3), None])),
        Arc::new(StringArray::from(vec!["x", "y", "z"])),
    ];
    RecordBatch::try_new(Arc::new(ArrowSchema::new(fields)), columns).unwrap()
}

fn lowered(sql: &str, schema: &Schema, lineage: bool) -> Result<Lowered> {
    let table = Target { schema, lineage };
    match parse_script(sql)?.remove(0).statement {
        Statement::Delete(statement) => delete(&statement),
        Statement::Update(statement) => update(&statement, table),
        Statement::Merge(statement) => {
            let columns = vec!["id".to_owned(), "name".to_owned()];
            merge(&statement, table, &MergeSource { columns, given: false })
        }
        other => panic!("{other:?}"),
    }
}

/// What a statement does, as a table.
async fn rows(sql: &str, lineage: bool) -> Result<String> {
    let schema = schema();
    let lowered = lowered(sql, &schema, lineage)?;
    let state = planner_state(session_config(1, 100), Arc::new(RuntimeEnv::default()));
    let mut query = lowered.query.clone();
    let mut sources: HashMap<TableReference, Arc<dyn TableSource>> = HashMap::new();
    for table in resolve_tables(&mut query)? {
        let TableUseKind::Table { name, .. } = &table.kind else { panic!("{table:?}") };
        let batch = if name.0[0].value == TARGET { self::target() } else { self::source() };
        let provider = MemTable::try_new(batch.schema(), vec![vec![batch]]).unwrap();
        sources.insert(table.reference, provider_as_source(Arc::new(provider)));
    }
    let plan = StatementContext::new(&state, sources).plan_query(query)?;
    let plan = lowered.finish(plan, Target { schema: &schema, lineage })?;
    let physical = state.create_physical_plan(&plan).await.map_err(from_datafusion)?;
    let batches = collect(physical, state.task_ctx()).await.map_err(from_datafusion)?;
    let text = pretty_format_batches(&batches).unwrap().to_string();
    let mut lines: Vec<&str> = text.lines().filter(|line| line.starts_with('|')).skip(1).collect();
    lines.sort_unstable();
    let cells = lines.iter().map(|line| {
        line.split('|').map(str::trim).filter(|cell| !cell.is_empty()).collect::<Vec<_>>().join(" ")
    });
    // An empty cell is NULL, and left out.
    Ok(cells.collect::<Vec<_>>().join("\n"))
}

async fn error(sql: &str) -> Error {
    rows(sql, true).await.unwrap_err()
}

#[tokio::test]
async fn a_delete_gives_places() {
    assert_eq!(rows("delete from t where name = 'a' or id = 2", false).await.unwrap(), "0 f 0\n0 f 1");
    assert_eq!(rows("delete from db.t where not (db.t.name = 'a')", false).await.unwrap(), "0 f 2");
    assert_eq!(
        rows("delete from t as x where x.id in (select id from s)", false).await.unwrap(),
        "0 f 0",
        "NULL is in nothing"
    );
}

#[tokio::test]
async fn an_update_gives_places_and_new_rows() {
    assert_eq!(
        rows("update t set name = 'n' || name, id = id + 1 where id < 2", false).await.unwrap(),
        "1 f 0 2 na"
    );
    assert_eq!(
        rows("update t as x set x.s.b = x.name, s.a = 7 where id = 1", true).await.unwrap(),
        "1 f 0 1 a {a: 7, b: a} 10",
        "a field of a struct that is NULL makes one; the row's id stays"
    );
    assert_eq!(
        rows("update t set name = s.name from s where s.id = t.id", false).await.unwrap(),
        "1 f 0 1 x"
    );
}

#[tokio::test]
async fn values_are_assigned_strictly() {
    for sql in [
        "update t set id = 'x'",
        "update t set nope = 1",
        "update t set id = 1, t.id = 2",
        "update t set s = 1",
        "update t set s.a = 1, s = null",
        "update t set id.x = 1",
        "update t set id = sum(id)",
    ] {
        assert_eq!(error(sql).await.kind(), ErrorKind::Invalid, "{sql}");
    }
    assert_eq!(error("update t set s.a = 3000000000").await.kind(), ErrorKind::Invalid);
}

#[tokio::test]
async fn a_merge_does_the_first_clause_that_holds() {
    let all = "merge into t using s on t.id = s.id when matched then update set name = s.name \
               when not matched and s.id is null then insert (name) values ('null') \
               when not matched then insert * when not matched by source and t.id = 2 then delete \
               when not matched by source then update set id = -1";
    // The source lacks a column that * wants.
    assert!(error(all).await.message().contains("the source has no column s"));
    let all = all.replace("insert *", "insert (id, name) values (s.id, s.name)");
    assert_eq!(rows(&all, true).await.unwrap(), "0 f 1 11\n1 f 0 1 x 10\n1 f 2 -1 c 12\n2 null\n2 3 y");
    let inserts = "merge into t using s on t.id = s.id when not matched then insert (id) values (s.id)";
    assert_eq!(rows(inserts, true).await.unwrap(), "2\n2 3");
    let deletes = "merge into t using s on t.id = s.id when not matched by source then delete";
    assert_eq!(rows(deletes, true).await.unwrap(), "0 f 1\n0 f 2");
    let pairs = "merge into t using s on t.id < s.id when matched and t.id = 2 then delete \
                 when matched then update set id = s.id";
    // What the columns of a row that goes hold is for nobody.
    assert_eq!(rows(pairs, false).await.unwrap(), "0 f 1 3\n1 f 0 3 a");
}

#[tokio::test]
async fn a_value_is_evaluated_for_the_rows_of_its_clause_only() {
    let guarded = "merge into t using s on t.id = s.id when matched and t.id - 1 <> 0 then \
                   update set id = 100 / (t.id - 1) when matched then update set id = -1 \
                   when not matched then insert (id) values (5)";
    assert_eq!(rows(guarded, false).await.unwrap(), "1 f 0 -1 a\n2 5\n2 5");
    let fails = "merge into t using s on t.id = s.id when matched then update set id = 100 / (t.id - 1)";
    assert_eq!(rows(fails, false).await.unwrap_err().kind(), ErrorKind::Invalid);
}

#[tokio::test]
async fn a_clause_sees_its_own_side() {
    let of_target = "merge into t using s on t.id = s.id when matched then delete \
                     when not matched then insert (id) values (t.id)";
    assert!(error(of_target).await.message().contains("columns of the source only"));
    let of_source = "merge into t using s on t.id = s.id when matched then delete \
                     when not matched by source and s.id = 1 then delete";
    assert!(error(of_source).await.message().contains("columns of the target only"));
    // Where the join has one side only, the other's columns are not there at all.
    let absent = "merge into t using s on t.id = s.id when not matched then insert (id) values (t.id)";
    assert_eq!(error(absent).await.kind(), ErrorKind::Invalid);
}
