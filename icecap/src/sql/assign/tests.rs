use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::util::pretty::pretty_format_batches;
use datafusion::prelude::SessionContext;
use icecap_table::ErrorKind;
use icecap_table::iceberg::spec::Literal;

use super::*;
use crate::arrow_schema::arrow_schema;
use crate::sql::plan::tests::plan;
use crate::sql::types::{parse_type, sql_type_name};

/// A schema of `name type [not null]` columns.
fn schema(columns: &[(&str, &str)]) -> Schema {
    let fields = columns.iter().enumerate().map(|(at, (name, ty))| {
        let (ty, required) = match ty.strip_suffix(" not null") {
            Some(ty) => (ty, true),
            None => (*ty, false),
        };
        let id = i32::try_from(at).unwrap() + 1;
        // Ids inside of types are placeholders: move them out of the way.
        let Type::Struct(holder) = renumbered(
            Type::Struct(icecap_table::iceberg::spec::StructType::new(vec![Arc::new(NestedField::new(
                0,
                *name,
                parse_type(ty).unwrap(),
                required,
            ))])),
            (at as i32 + 1) * 100,
        ) else {
            panic!()
        };
        let field = holder.fields()[0].as_ref().clone();
        Arc::new(NestedField { id, ..field })
    });
    Schema::builder().with_fields(fields.collect::<Vec<_>>()).build().unwrap()
}

fn renumbered(ty: Type, base: i32) -> Type {
    use icecap_table::iceberg::spec::{ListType, MapType, StructType};
    let again = |field: &NestedField| {
        Arc::new(NestedField {
            id: base + field.id,
            field_type: Box::new(renumbered(field.field_type.as_ref().clone(), base)),
            ..field.clone()
        })
    };
    match &ty {
        Type::Struct(fields) => {
            Type::Struct(StructType::new(fields.fields().iter().map(|field| again(field)).collect()))
        }
        Type::List(list) => Type::List(ListType::new(again(&list.element_field))),
        Type::Map(map) => Type::Map(MapType::new(again(&map.key_field), again(&map.value_field))),
        Type::Primitive(_) => ty,
    }
}

fn assigned(sql: &str, target: &Schema, columns: &[&str], by_name: bool) -> Result<LogicalPlan> {
    let columns: Vec<NamePart> = columns.iter().map(|name| NamePart::unquoted(*name)).collect();
    assign(plan(sql)?, target, &columns, by_name)
}

async fn rows(plan: LogicalPlan) -> Result<Vec<RecordBatch>> {
    let context = SessionContext::new();
    let frame = context.execute_logical_plan(plan).await.map_err(from_datafusion)?;
    frame.collect().await.map_err(from_datafusion)
}

async fn table(sql: &str, target: &Schema, columns: &[&str], by_name: bool) -> Vec<String> {
    let batches = rows(assigned(sql, target, columns, by_name).unwrap()).await.unwrap();
    let text = pretty_format_batches(&batches).unwrap().to_string();
    text.lines()
        .filter(|line| line.starts_with('|'))
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect::<Vec<_>>().join("|"))
        .collect()
}

fn message(sql: &str, target: &Schema, columns: &[&str], by_name: bool) -> String {
    let error = assigned(sql, target, columns, by_name).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    error.to_string()
}

async fn failure(sql: &str, target: &Schema) -> String {
    let error = rows(assigned(sql, target, &[], false).unwrap()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    error.to_string()
}

#[tokio::test]
async fn columns_find_their_targets() {
    let target = schema(&[("a", "int"), ("B", "string"), ("c", "bigint not null")]);
    assert_eq!(table("values (1, 'x', 2)", &target, &[], false).await, ["a|B|c", "1|x|2"]);
    assert_eq!(table("values (2, 1)", &target, &["C", "a"], false).await, ["a|B|c", "1||2"]);
    assert_eq!(table("select 3 as C, 'y' as b", &target, &[], true).await, ["a|B|c", "|y|3"]);
    assert_eq!(
        message("values (1, 'x')", &target, &[], false),
        "the query gives 2 columns and the table has 3 columns: a, B, c. Name the columns to fill in a list after the table's name"
    );
    assert_eq!(
        message("values (1, 'x')", &target, &["c"], false),
        "the query gives 2 columns and the list after the table's name 1 column"
    );
    assert_eq!(message("values (1, 2)", &target, &["c", "C"], false), "the column c is given twice");
    assert_eq!(
        message("values (1, 2)", &target, &["c", "d"], false),
        "the table has no column d: its columns are a, B, c"
    );
    assert_eq!(
        message("select 1 as c, 2 as d", &target, &[], true),
        "the table has no column d: its columns are a, B, c"
    );
    assert_eq!(message("values (1)", &target, &["a"], false), "the column c is required: give it a value");
    assert_eq!(message("select 1 as a", &target, &[], true), "the column c is required: give it a value");
}

#[tokio::test]
async fn columns_that_are_not_given_get_their_write_default() {
    let fields = vec![
        Arc::new(NestedField::optional(
            1,
            "a",
            Type::Primitive(icecap_table::iceberg::spec::PrimitiveType::Int),
        )),
        Arc::new(
            NestedField::required(
                2,
                "b",
                Type::Primitive(icecap_table::iceberg::spec::PrimitiveType::String),
            )
            .with_write_default(Literal::string("none")),
        ),
    ];
    let target = Schema::builder().with_fields(fields).build().unwrap();
    assert_eq!(table("values (1)", &target, &["a"], false).await, ["a|b", "1|none"]);
}

#[test]
fn the_matrix_is_sparks_ansi_one() {
    const TYPES: &[&str] = &[
        "boolean",
        "int",
        "bigint",
        "float",
        "double",
        "decimal(10, 2)",
        "date",
        "time",
        "timestamp",
        "timestamp with time zone",
        "string",
        "binary",
        "uuid",
        "fixed(4)",
    ];
    // What each type takes, beside itself.
    let takes = |to: &str| -> &[&str] {
        match to {
            "int" | "bigint" | "float" | "double" | "decimal(10, 2)" => {
                &["int", "bigint", "float", "double", "decimal(10, 2)"]
            }
            "date" | "timestamp" | "timestamp with time zone" => {
                &["date", "timestamp", "timestamp with time zone"]
            }
            "string" => &[
                "boolean",
                "int",
                "bigint",
                "float",
                "double",
                "decimal(10, 2)",
                "date",
                "time",
                "timestamp",
                "timestamp with time zone",
                "binary",
            ],
            "uuid" => &["string"],
            "binary" => &["uuid", "fixed(4)"],
            "fixed(4)" => &["binary"],
            _ => &[],
        }
    };
    for from in TYPES {
        for to in TYPES {
            let from_type = crate::sql::types::cast_target(&parse_type(from).unwrap()).unwrap();
            let result = fit(&from_type, &parse_type(to).unwrap(), "c");
            if from == to {
                assert_eq!(result.unwrap(), Fit::Same, "{from} to {to}");
            } else if takes(to).contains(from) {
                assert_eq!(result.unwrap(), Fit::Cast, "{from} to {to}");
            } else {
                assert_eq!(result.unwrap_err().kind(), ErrorKind::Invalid, "{from} to {to}");
            }
        }
    }
}

#[tokio::test]
async fn refusals_name_the_column_and_both_types() {
    let target = schema(&[("a", "int")]);
    assert_eq!(
        message("values ('1')", &target, &[], false),
        "column a: string cannot be stored as int: convert it in the query, as in CAST(value AS int)"
    );
    assert_eq!(
        message("select true as x", &target, &[], false),
        "column a: boolean cannot be stored as int: convert it in the query, as in CAST(value AS int)"
    );
    assert_eq!(
        message("values ('2024-01-01')", &schema(&[("d", "date")]), &[], false),
        "column d: string cannot be stored as date: convert it in the query, as in CAST(value AS date)"
    );
    let nested = schema(&[("s", "struct<x: array<int>>")]);
    assert_eq!(
        message("select named_struct('x', array['a']) as s", &nested, &[], false),
        "column s.x.element: string cannot be stored as int: convert it in the query, as in CAST(value AS int)"
    );
}

#[tokio::test]
async fn values_that_do_not_fit_fail_when_they_come() {
    let int = schema(&[("a", "int")]);
    assert_eq!(
        failure("values (1), (3000000000)", &int).await,
        "column a: the value 3000000000 does not fit int"
    );
    assert_eq!(
        failure("values (1.5)", &int).await,
        "column a: the value 1.5 has a fraction, which the column would lose"
    );
    assert_eq!(
        failure("select id from t where id > 1 union all select null", &schema(&[("a", "bigint not null")]))
            .await,
        "column a is required and a value for it is NULL"
    );
    assert_eq!(table("values (1.0), (2)", &int, &[], false).await, ["a", "1", "2"]);
    assert_eq!(
        table("select 1 as a where false", &schema(&[("a", "int not null")]), &[], false).await,
        Vec::<String>::new()
    );
    assert_eq!(
        table("select null as a from t where false", &schema(&[("a", "int not null")]), &[], false).await,
        Vec::<String>::new(),
        "no row, no error"
    );
}

#[tokio::test]
async fn the_output_has_the_tables_types() {
    let target = schema(&[
        ("a", "int not null"),
        ("b", "string"),
        ("c", "decimal(10, 2)"),
        ("d", "timestamp"),
        ("e", "timestamp with time zone"),
        ("f", "struct<x: int, y: array<string>>"),
        ("g", "map<string, bigint>"),
        ("h", "uuid"),
    ]);
    let plan = assigned(
        "select 1, 'x', 1.5, timestamp '2024-01-01 00:00:00', now(), named_struct('Y', array['a'], 'x', 1), \
         map(array['k'], array[1]), '550e8400-e29b-41d4-a716-446655440000'",
        &target,
        &[],
        false,
    )
    .unwrap();
    let expected = arrow_schema(&target).unwrap();
    let batches = rows(plan).await.unwrap();
    for (field, expected) in batches[0].schema().fields().iter().zip(expected.fields()) {
        assert_eq!((field.name(), field.data_type()), (expected.name(), expected.data_type()));
    }
    assert!(!batches[0].schema().field(0).is_nullable());
}

#[test]
fn what_fits_by_its_type_is_a_column_reference() {
    let target = schema(&[("x", "bigint"), ("y", "string")]);
    let plan = assigned("select id, name from t", &target, &[], false).unwrap();
    assert!(!plan.display_indent().to_string().contains("icecap_store"), "{}", plan.display_indent());
    let target = schema(&[("x", "int"), ("y", "string not null")]);
    let plan = assigned("select id, name from t", &target, &[], false).unwrap();
    assert_eq!(plan.display_indent().to_string().matches("icecap_store").count(), 2);
}

fn columns_of(sql: &str) -> Vec<String> {
    let schema = schema_of_query(&plan(sql).unwrap()).unwrap();
    schema
        .as_struct()
        .fields()
        .iter()
        .map(|field| {
            assert!(!field.required);
            format!("{} {}", field.name, sql_type_name(&field.field_type))
        })
        .collect()
}

#[test]
fn a_query_gives_the_schema_of_a_new_table() {
    assert_eq!(
        columns_of(
            "select id as Key, name as \"Name\", now() as at, 1.5 as d, array[1] as l, named_struct('a', 1) as s, \
             cast('2024-01-01' as date) as day from t"
        ),
        [
            "key bigint",
            "Name string",
            "at timestamp with time zone",
            "d decimal(2, 1)",
            "l array<bigint>",
            "s struct<a: bigint>",
            "day date"
        ]
    );
    assert_eq!(columns_of("select * from spark"), ["Id bigint", "Nested struct<`Inner`: int>"]);
    let message = |sql| schema_of_query(&plan(sql).unwrap()).unwrap_err().to_string();
    assert_eq!(
        message("select id, name as \"ID\" from t"),
        "the query gives two columns called id and ID: give one of them another name with AS"
    );
    assert_eq!(
        message("select t.id, u.id from t, t u"),
        "the query gives two columns called id and id: give one of them another name with AS"
    );
    assert!(message("select null as x").contains("cast it in the query"));
}
