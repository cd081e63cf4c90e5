use std::collections::HashMap;
use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayRef, Float64Array, Int32Array, Int64Array, StringArray, StructArray, TimestampMicrosecondArray,
};
use datafusion::arrow::datatypes::{DataType, Field, Fields, Schema};
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::arrow::util::pretty::pretty_format_batches;
use datafusion::datasource::{MemTable, provider_as_source};
use datafusion::execution::SessionStateBuilder;
use datafusion::logical_expr::LogicalPlan;
use datafusion::prelude::SessionContext;
use icecap_table::ErrorKind;

use super::*;
use crate::sql::ast::{Statement, TableUseKind};
use crate::sql::parse::parse_script;
use crate::sql::resolve::resolve_tables;

fn state() -> SessionState {
    SessionStateBuilder::new().with_default_features().build()
}

fn table(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    let fields: Fields =
        columns.iter().map(|(name, array)| Field::new(*name, array.data_type().clone(), true)).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns.into_iter().map(|(_, array)| array).collect())
        .unwrap()
}

/// The tables that the tests read.
fn batch(name: &str) -> RecordBatch {
    let ids: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
    let texts: ArrayRef = Arc::new(StringArray::from(vec![Some("x"), None]));
    match name {
        // As Icecap makes tables.
        "t" => table(vec![("id", ids), ("name", texts)]),
        // As Spark may have made one.
        "spark" => {
            let inner: ArrayRef = Arc::new(Int32Array::from(vec![7, 8]));
            let fields = Fields::from(vec![Field::new("Inner", DataType::Int32, true)]);
            let nested: ArrayRef = Arc::new(StructArray::new(fields, vec![inner], None));
            table(vec![("Id", ids), ("Nested", nested)])
        }
        "both" => table(vec![("a", Arc::clone(&ids)), ("A", texts)]),
        "d" => {
            let values: ArrayRef = Arc::new(Float64Array::from(vec![0.1, f64::NAN, 1e300]));
            table(vec![("v", values)])
        }
        "ts" => {
            let at: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![0, 1_500_000]));
            table(vec![("at", at)])
        }
        other => panic!("no table {other}"),
    }
}

pub(crate) fn plan(sql: &str) -> Result<LogicalPlan> {
    let Statement::Query(mut query) = parse_script(sql)?.remove(0).statement else { panic!("no query") };
    let mut sources = HashMap::new();
    for found in resolve_tables(&mut query)? {
        let TableUseKind::Table { name, .. } = &found.kind else { panic!("a function") };
        let batch = batch(&name.0.last().unwrap().value.to_lowercase());
        let provider = MemTable::try_new(batch.schema(), vec![vec![batch]]).unwrap();
        sources.insert(found.reference, provider_as_source(Arc::new(provider)));
    }
    StatementContext::new(&state(), sources).plan_query(*query)
}

async fn run(sql: &str) -> Vec<String> {
    let plan = plan(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    let context = SessionContext::new_with_state(state());
    let batches = context.execute_logical_plan(plan).await.unwrap().collect().await.unwrap();
    let text = pretty_format_batches(&batches).unwrap().to_string();
    text.lines()
        .filter(|line| line.starts_with('|'))
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect::<Vec<_>>().join("|"))
        .collect()
}

fn types(sql: &str) -> Vec<String> {
    let plan = plan(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    plan.schema().fields().iter().map(|field| field.data_type().to_string()).collect()
}

fn columns(sql: &str) -> Vec<String> {
    plan(sql).unwrap().schema().fields().iter().map(|field| field.name().clone()).collect()
}

fn message(sql: &str) -> String {
    plan(sql).unwrap_err().to_string()
}

#[tokio::test]
async fn names_match_in_any_case() {
    let expected = ["id", "1", "2"];
    for sql in [
        "select ID from T order by Id",
        "select \"ID\" from t order by 1",
        "select T.`Id` from t order by t.ID",
        "select x.ID from t as X order by id",
        "select ID from (select Id from t) order by id",
        "with C as (select ID from t) select c.id from \"c\" order by C.ID",
        "select id from default.t where DEFAULT.T.ID > 0 order by id",
        "select id from t union select ID from t order by ID",
    ] {
        assert_eq!(run(sql).await, expected, "{sql}");
    }
    assert_eq!(run("select id from Spark order by ID").await, ["Id", "1", "2"]);
    assert_eq!(
        run("select s.ID + 1 as n from spark s where S.id = 1 group by s.Id having max(ID) = 1").await,
        ["n", "2"]
    );
    assert_eq!(run("select nested.inner, SPARK.NESTED.\"INNER\" as b, nested['Inner'] as c from spark order by 2 limit 1").await[1], "7|7|7");
    assert_eq!(run("select * exclude (ID) from spark limit 1").await.len(), 2);
    assert_eq!(
        run("select max(ID) over (partition by Id) as m from spark order by m").await,
        ["m", "1", "2"]
    );
}

#[tokio::test]
async fn tables_that_spell_a_name_differently_can_be_joined() {
    assert_eq!(
        run("select t.ID, s.id as other from t join spark s on t.id = S.ID order by 1").await,
        ["id|other", "1|1", "2|2"]
    );
    assert_eq!(run("select id from t join spark using (ID) order by id").await, ["id", "1", "2"]);
    assert_eq!(
        run("select ID from t where exists (select 1 from spark where spark.id = t.ID and ID = 2)").await,
        ["id", "2"]
    );
}

#[tokio::test]
async fn aliases_keep_their_spelling_and_match_in_any_case() {
    assert_eq!(run("select id as \"Total\" from t order by total").await, ["Total", "1", "2"]);
    assert_eq!(
        run("select \"TOTAL\" as x from (select id as \"Total\" from t) order by 1").await,
        ["x", "1", "2"]
    );
    assert_eq!(run("select name as \"ID\", 5 as five from t where id = 1").await, ["ID|five", "x|5"]);
    assert_eq!(run("select *, 3 as \"ID\" from t where id = 1").await, ["id|name|ID", "1|x|3"]);
    assert_eq!(
        run("select id, name as \"ID\" from t where t.id = 1 order by \"ID\"").await,
        ["id|ID", "1|x"]
    );
    assert_eq!(run("select Id AS Other from t order by OTHER").await, ["other", "1", "2"]);
    assert_eq!(run("with c(\"Key\") as (select 1) select KEY from C").await, ["Key", "1"]);
}

#[tokio::test]
async fn names_that_differ_in_case_only_are_compared_exactly() {
    assert_eq!(run("select a, \"A\" from both where a = 1").await, ["a|A", "1|x"]);
    assert_eq!(run("select A from both where a = 1").await, ["A", "x"]);
    assert_eq!(run("select * from both where a = 1").await, ["a|A", "1|x"]);
    let error = message("select \"Á\", b from t");
    assert!(error.starts_with("column Á does not exist"), "{error}");
}

#[test]
fn what_does_not_exist_is_named() {
    assert_eq!(message("select foo from t"), "column foo does not exist: the columns here are t.id, t.name");
    assert_eq!(message("select id from t, spark"), "column id is ambiguous: write its table before it");
    let error = plan("select frobnicate(id) from t").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.message().starts_with("Invalid function 'frobnicate'"), "{error}");
}

#[test]
fn types_are_those_of_sql() {
    assert_eq!(
        types(
            "select cast(1 as tinyint), cast('a' as varchar(3)), cast('2024-01-01' as timestamp), \
             cast('2024-01-01' as timestamp with time zone), cast(1 as decimal(10,2)), cast('x' as varbinary)"
        ),
        ["Int32", "Utf8", "Timestamp(µs)", "Timestamp(µs, \"UTC\")", "Decimal128(10, 2)", "Binary"]
    );
    assert_eq!(
        types(
            "select 1.50, -0.5, 1e3, decimal '2.', 5, timestamp '2024-01-01 10:00:00.123456', date '2024-01-01', 'a'"
        ),
        [
            "Decimal128(3, 2)",
            "Decimal128(1, 1)",
            "Float64",
            "Decimal128(1, 0)",
            "Int64",
            "Timestamp(µs)",
            "Date32",
            "Utf8"
        ]
    );
    assert_eq!(
        types("select now(), current_timestamp, localtimestamp"),
        ["Timestamp(µs, \"UTC\")", "Timestamp(µs, \"UTC\")", "Timestamp(µs)"]
    );
    assert_eq!(types("select 1, 1, cast(1 as int), (1)"), ["Int64", "Int64", "Int32", "Int64"]);
    assert_eq!(columns("select id, ID, 1, 1 from t"), ["id", "_col1", "Int64(1)", "_col3"]);
    assert_eq!(types("select cast(array[1] as array(int)), cast(null as map<string,int>)").len(), 2);
    assert!(message("select cast(1 as decimal)").contains("decimal needs its precision and scale"));
}

#[tokio::test]
async fn nulls_sort_last_and_functions_of_ours_run() {
    assert_eq!(run("select name from t order by name").await, ["name", "x", ""]);
    assert_eq!(run("select name from t order by name desc").await, ["name", "x", ""]);
    assert_eq!(
        run("select now() > timestamp '2020-01-01' and now() = current_timestamp as ok").await,
        ["ok", "true"]
    );
    assert_eq!(run("select value from generate_series(1, 2)").await, ["value", "1", "2"]);
    assert_eq!(
        run("with recursive n(i) as (select 1 union all select i + 1 from N where I < 3) select I from n order by i").await,
        ["i", "1", "2", "3"]
    );
    assert_eq!(
        run("select at from ts where at = timestamp '1970-01-01 00:00:01.5'").await,
        ["at", "1970-01-01T00:00:01.500"]
    );
    assert_eq!(run("select id from t order by id fetch first row only").await, ["id", "1"]);
}

#[tokio::test]
async fn a_decimal_beside_a_double_is_a_double() {
    assert_eq!(run("select v from d where v = 0.1").await, ["v", "0.1"]);
    assert_eq!(
        run("select count(*) as n from d where v > 0.5").await,
        ["n", "2"],
        "NaN is above every number"
    );
    assert_eq!(run("select v from d where v between 0.05 and 0.5").await, ["v", "0.1"]);
    assert_eq!(run("select v from d where v in (0.1, 7.5)").await, ["v", "0.1"]);
    assert_eq!(run("select v * 2.0 as w from d where v < 1.0").await, ["w", "0.2"]);
    assert_eq!(
        types(
            "select v + 1.5, 2.5 * v, v > 1.5, case when v <= 0.5 then v else 1.5 end, coalesce(v, 2.5) from d"
        ),
        ["Float64", "Float64", "Boolean", "Float64", "Float64"]
    );
    assert_eq!(
        run("select max(v * 0.5) as m from d where v < 1.0 group by v + 1.0 having max(v) < 1.5").await,
        ["m", "0.05"]
    );
    assert_eq!(
        run("select v from d where v = (select max(x) from (values (0.1)) as t(x))").await,
        ["v", "0.1"]
    );
    assert_eq!(run("select v from d where v in (select x from (values (0.1)) as t(x))").await, ["v", "0.1"]);
    assert_eq!(run("select v from d, (values (0.1)) as t(x) where v = x").await, ["v", "0.1"]);
    assert_eq!(run("select v from d join (values (0.1)) as t(x) on v = x").await, ["v", "0.1"]);
    assert_eq!(
        run("select count(*) as n from (select v from d union all select 1.5 union all select 2)").await,
        ["n", "5"]
    );
    assert_eq!(types("select 1.5 as v union all select v from d"), ["Float64"]);
    assert_eq!(
        run("select x from (values (1.5), (cast('NaN' as double)), (null), (1)) as t(x) order by x").await,
        ["x", "1.0", "1.5", "NaN", ""]
    );
    assert_eq!(
        run("select id * 1.5 as w from t order by id").await,
        ["w", "1.5", "3.0"],
        "no double, no change"
    );
}

#[tokio::test]
async fn texts_become_uuids_and_uuids_texts() {
    let id = "f79c3e09-677c-4bbd-a479-3f349cb785e7";
    assert_eq!(run(&format!("select cast(cast(upper('{id}') as uuid) as varchar) as u")).await, ["u", id]);
    assert_eq!(run("select try_cast('x' as uuid) is null as u").await, ["u", "true"]);
    assert_eq!(types(&format!("select cast('{id}' as uuid)")), ["FixedSizeBinary(16)"]);
}

/// The stack of a process's main thread, on which the command runs statements.
const MAIN_STACK_BYTES: usize = 8 << 20;

#[test]
fn long_statements_run_on_a_main_threads_stack() {
    let run_all = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(long_statements());
    };
    std::thread::Builder::new().stack_size(MAIN_STACK_BYTES).spawn(run_all).unwrap().join().unwrap();
}

async fn long_statements() {
    let condition: Vec<String> = (0..2_000).map(|n| format!("id = {n}")).collect();
    let sql = format!("select id from t where {} order by id", condition.join(" or "));
    assert_eq!(run(&sql).await, ["id", "1", "2"]);
    let sum = vec!["id"; 180].join(" + ");
    assert_eq!(run(&format!("select {sum} as n from t order by {sum}")).await, ["n", "180", "360"]);
    assert_eq!(run(&format!("select count(*) as n from t group by {sum}")).await.len(), 3);
    let sql = format!("select count(*) as n from ({})", vec!["select 1 as a"; 200].join(" union all "));
    assert_eq!(run(&sql).await, ["n", "200"]);
}
