use std::collections::{BTreeMap, HashMap};

use datafusion::arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use datafusion::arrow::datatypes::{DataType, Field, Schema as ArrowSchema};
use datafusion::arrow::util::pretty::pretty_format_batches;
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::execution::SessionState;
use datafusion::logical_expr::{Expr, Operator};
use datafusion::physical_expr::expressions::{Column, binary, lit};
use datafusion::physical_plan::Partitioning;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::{collect, displayable};
use datafusion::prelude::SessionContext;
use icecap_table::deletes::PositionSet;
use icecap_table::iceberg::spec::{
    FormatVersion, NameMapping, NestedField, PrimitiveType, Schema, StructType, Type, UnboundPartitionSpec,
};
use icecap_table::id::WriteId;
use icecap_table::metadata::{NewTable, TableDocument};
use icecap_table::scan::DeleteKind;
use parquet::arrow::ArrowWriter;
use uuid::Uuid;

use super::*;
use crate::plan::session::{BATCH_ROWS, planner_state};
use crate::plan::{WriteTask, session_config};
use crate::scan::{DataFile, DeleteSource, FileSlice, ScanInput};
use crate::source::{CsvOptions, JsonOptions, SourceFile, SourceFormat, SourceInput, SourceTable};
use crate::sql::store::StoreCast;

fn state() -> SessionState {
    let config = session_config(2, BATCH_ROWS).with_create_default_catalog_and_schema(true);
    planner_state(config, Arc::default())
}

fn round_trip(plan: &Arc<dyn ExecutionPlan>) -> Arc<dyn ExecutionPlan> {
    let codec = IcecapCodec::new(Storage::local());
    let id = WriteId::new(Uuid::nil());
    let task = WriteTask::single(id, 1, "n", Arc::clone(plan), &codec).unwrap();
    let task = WriteTask::decode(&task.encode()).unwrap();
    task.plan(&state().task_ctx(), &codec).unwrap()
}

fn shown(plan: &Arc<dyn ExecutionPlan>) -> String {
    displayable(plan.as_ref()).indent(true).to_string()
}

fn schema() -> Arc<Schema> {
    let primitive = |id, name: &str, ty| Arc::new(NestedField::optional(id, name, Type::Primitive(ty)));
    let fields = vec![
        primitive(1, "id", PrimitiveType::Long),
        primitive(2, "name", PrimitiveType::String),
        primitive(3, "n", PrimitiveType::Decimal { precision: 9, scale: 2 }),
        primitive(4, "at", PrimitiveType::Timestamptz),
        primitive(5, "bin", PrimitiveType::Binary),
        primitive(6, "f", PrimitiveType::Double),
    ];
    Arc::new(Schema::builder().with_schema_id(3).with_fields(fields).build().unwrap())
}

fn input() -> ScanInput {
    let constants = BTreeMap::from([
        (2, ScalarValue::Utf8(Some("é".into()))),
        (3, ScalarValue::Decimal128(Some(-12345), 9, 2)),
        (4, ScalarValue::TimestampMicrosecond(Some(-1), Some("UTC".into()))),
        (5, ScalarValue::Binary(None)),
        (6, ScalarValue::Float64(Some(f64::NAN))),
    ]);
    let mapping: NameMapping = serde_json::from_str(r#"[{"field-id":1,"names":["id","old"]}]"#).unwrap();
    let of_partition = |id, name: &str, ty| Arc::new(NestedField::optional(id, name, Type::Primitive(ty)));
    let delete = |kind, path: &str, content_range| DeleteSource {
        kind,
        path: path.into(),
        file_size_bytes: 7,
        record_count: 3,
        content_range,
    };
    ScanInput {
        name_mapping: Some(Arc::new(mapping)),
        partition_type: Arc::new(StructType::new(vec![
            of_partition(1000, "day", PrimitiveType::Date),
            of_partition(1001, "bucket", PrimitiveType::Int),
        ])),
        dropped: vec![of_partition(77, "icecap:77", PrimitiveType::String)],
        deletes: vec![
            delete(DeleteKind::PositionDeletes, "file:///w/p.parquet", None),
            delete(DeleteKind::DeletionVector, "file:///w/v.puffin", Some((4, 50))),
            delete(DeleteKind::EqualityDeletes { field_ids: vec![1, 77] }, "file:///w/e.parquet", None),
        ],
        files: vec![
            DataFile {
                path: "file:///w/a b%20é.parquet".into(),
                file_size_bytes: 1000,
                record_count: 10,
                spec_id: 7,
                data_sequence_number: 9,
                first_row_id: Some(100),
                constants,
                partition: vec![ScalarValue::Date32(Some(5)), ScalarValue::Int32(None)],
                deletes: vec![1, 2],
                extra_deletes: Some(Arc::new(PositionSet::from_iter([1, 1 << 33]))),
            },
            DataFile {
                path: "file:///w/c.parquet".into(),
                file_size_bytes: 5,
                partition: vec![ScalarValue::Date32(None), ScalarValue::Int32(Some(-3))],
                ..DataFile::default()
            },
        ],
        slices: vec![
            FileSlice { file: 0, start: 0, end: Some(500) },
            FileSlice { file: 0, start: 500, end: None },
            FileSlice { file: 1, start: 0, end: None },
        ],
        ..ScanInput::new("a.b".into(), schema())
    }
}

#[test]
fn a_scan_travels_with_everything_it_has() {
    let full = full_schema(&input()).unwrap();
    let id: Arc<dyn PhysicalExpr> = Arc::new(Column::new("id", 0));
    let predicate = binary(id, Operator::Gt, lit(5_i64), &full).unwrap();
    let scan = IcecapScanExec::try_new(Arc::new(input()), Storage::local(), vec![6, 1, 7, 0, 9, 10], 3)
        .unwrap()
        .with_predicate(Some(predicate), true)
        .unwrap()
        .with_limit(Some(17))
        .unwrap();
    let plan: Arc<dyn ExecutionPlan> = Arc::new(scan);
    let back = round_trip(&plan);
    assert_eq!(shown(&back), shown(&plan));
    assert_eq!(back.schema(), plan.schema());
    let (back, plan) =
        (back.downcast_ref::<IcecapScanExec>().unwrap(), plan.downcast_ref::<IcecapScanExec>().unwrap());
    assert_eq!(back.input().slices, plan.input().slices);
    assert_eq!(back.input().deletes, plan.input().deletes);
    assert_eq!(back.input().partition_type, plan.input().partition_type);
    assert_eq!(back.input().dropped, plan.input().dropped);
    assert_eq!(back.input().schema, plan.input().schema);
    assert_eq!(back.input().name_mapping, plan.input().name_mapping);
    assert_eq!(back.columns(), plan.columns());
    assert_eq!(back.fetch(), Some(17));
    assert!(back.is_late());
    assert_eq!(back.partition_count(), 3);
    assert_eq!(back.predicate().unwrap().to_string(), "id@0 > 5");
    // NaN is not equal to itself.
    let debug = |scan: &IcecapScanExec| format!("{:?}", scan.input().files);
    assert_eq!(debug(back), debug(plan));
}

#[test]
fn a_source_travels_with_every_option() {
    let schema = Arc::new(ArrowSchema::new(vec![
        Field::new("a", DataType::Int64, true),
        Field::new("t", DataType::Timestamp(datafusion::arrow::datatypes::TimeUnit::Nanosecond, None), false),
        Field::new("m", DataType::List(Arc::new(Field::new("element", DataType::Utf8, true))), true),
        Field::new("f", DataType::Utf8, true),
    ]));
    let csv = CsvOptions {
        header: false,
        delimiter: b'|',
        quote: b'\'',
        null: "NA".into(),
        sample_rows: None,
        union_by_name: true,
    };
    let json = JsonOptions { sample_rows: Some(7), is_given: true };
    let file = SourceFile {
        location: "file:///x/y z.csv.gz".into(),
        size_bytes: 10,
        rows: Some(4),
        offsets: vec![4, 900],
        folders: vec![Some("x".into())],
    };
    for format in [
        SourceFormat::Json(json),
        SourceFormat::Json(JsonOptions::default()),
        SourceFormat::Parquet,
        SourceFormat::Csv(csv),
        SourceFormat::Csv(CsvOptions::default()),
    ] {
        let input = SourceInput {
            format,
            schema: Arc::clone(&schema),
            folder_columns: 1,
            files: vec![file.clone()],
            slices: vec![
                FileSlice { file: 0, start: 4, end: Some(8) },
                FileSlice { file: 0, start: 8, end: None },
            ],
        };
        let id: Arc<dyn PhysicalExpr> = Arc::new(Column::new("a", 0));
        let predicate = binary(id, Operator::Gt, lit(5_i64), &schema).unwrap();
        let scan = SourceScanExec::try_new(
            Arc::new(input.clone()),
            Storage::local(),
            vec![2, 0],
            Some(predicate),
            Some(3),
            5,
        )
        .unwrap();
        let plan: Arc<dyn ExecutionPlan> = Arc::new(scan);
        let back = round_trip(&plan);
        assert_eq!(shown(&back), shown(&plan));
        let back = back.downcast_ref::<SourceScanExec>().unwrap();
        assert_eq!(back.input().as_ref(), &input);
        assert_eq!((back.columns(), back.fetch(), back.target_partitions()), (&[2, 0][..], Some(3), 5));
        assert_eq!(back.predicate().unwrap().to_string(), "a@0 > 5");
    }
}

#[test]
fn a_writer_and_a_store_cast_travel() {
    let empty: Arc<dyn ExecutionPlan> =
        Arc::new(datafusion::physical_plan::placeholder_row::PlaceholderRowExec::new(
            crate::arrow_schema::arrow_schema(&schema()).unwrap(),
        ));
    let metadata = NewTable {
        uuid: Uuid::nil(),
        location: "file:///w/t".into(),
        schema: schema().as_ref().clone(),
        partition_spec: UnboundPartitionSpec::builder().build(),
        sort_order: None,
        properties: HashMap::new(),
        format_version: FormatVersion::V2,
        now_ms: 1,
    };
    let document = TableDocument::create(metadata).unwrap();
    let target = crate::scan::test_target(document.metadata(), WriteId::new(Uuid::nil()));
    let field = Arc::new(Field::new("id", DataType::Int64, true));
    let cast = Expr::Column("id".into());
    let cast = StoreCast::new(Arc::clone(&field)).call(cast);
    let context = SessionContext::new_with_state(state());
    let cast = context
        .create_physical_expr(cast, &DFSchema::try_from(empty.schema().as_ref().clone()).unwrap())
        .unwrap();
    let names: Vec<String> = empty.schema().fields().iter().map(|field| field.name().clone()).collect();
    let projected: Vec<(Arc<dyn PhysicalExpr>, String)> = names
        .iter()
        .enumerate()
        .map(|(at, name)| match at {
            0 => (Arc::clone(&cast), name.clone()),
            _ => (Arc::new(Column::new(name, at)) as _, name.clone()),
        })
        .collect();
    let projection = Arc::new(ProjectionExec::try_new(projected, empty).unwrap());
    let plan: Arc<dyn ExecutionPlan> =
        Arc::new(IcebergWriteExec::new(projection, target, Storage::local()).unwrap());
    let back = round_trip(&plan);
    assert_eq!(shown(&back), shown(&plan));
    let (back, plan) =
        (back.downcast_ref::<IcebergWriteExec>().unwrap(), plan.downcast_ref::<IcebergWriteExec>().unwrap());
    let expected = WriteTarget { nonce: "n".into(), ..plan.target().clone() };
    assert_eq!(back.target(), &expected);
}

#[test]
fn a_reader_of_an_exchange_travels_and_finds_its_input_in_the_task() {
    let schema = crate::arrow_schema::arrow_schema(&schema()).unwrap();
    let key: Arc<dyn PhysicalExpr> = Arc::new(Column::new("id", 0));
    for partitioning in [Partitioning::Hash(vec![key], 3), Partitioning::UnknownPartitioning(2)] {
        let storage = Storage::local();
        let plan: Arc<dyn ExecutionPlan> =
            Arc::new(ExchangeReadExec::new(4, Arc::clone(&schema), partitioning, None, storage.clone()));
        let back = round_trip(&plan);
        assert_eq!(shown(&back), shown(&plan));
        assert_eq!(back.schema(), plan.schema());
        assert!(back.downcast_ref::<ExchangeReadExec>().unwrap().input().is_none());
        assert!(back.execute(0, state().task_ctx()).is_err(), "what it reads is not in the task");

        let codec = IcecapCodec::new(storage);
        let mut task = WriteTask::single(WriteId::new(Uuid::nil()), 1, "n", plan, &codec).unwrap();
        let input = |stage| ExchangeInput { stage, ..ExchangeInput::default() };
        task.inputs = vec![input(3), input(4)];
        let back = task.plan(&state().task_ctx(), &codec).unwrap();
        let back = back.downcast_ref::<ExchangeReadExec>().unwrap();
        assert_eq!(back.input().unwrap().stage, 4);
    }
}

#[test]
fn a_writer_takes_its_names_from_the_task() {
    let metadata = NewTable {
        uuid: Uuid::nil(),
        location: "file:///w/t".into(),
        schema: schema().as_ref().clone(),
        partition_spec: UnboundPartitionSpec::builder().build(),
        sort_order: None,
        properties: HashMap::new(),
        format_version: FormatVersion::V2,
        now_ms: 1,
    };
    let document = TableDocument::create(metadata).unwrap();
    let target = crate::scan::test_target(document.metadata(), WriteId::new(Uuid::nil()));
    let empty = Arc::new(EmptyExec::new(crate::arrow_schema::arrow_schema(&schema()).unwrap()));
    let root = Arc::new(IcebergWriteExec::new(empty, target, Storage::local()).unwrap());
    let codec = IcecapCodec::new(Storage::local());
    let mut task = WriteTask::single(WriteId::new(Uuid::nil()), 1, "0a", root, &codec).unwrap();
    (task.stage, task.task, task.attempt) = (2, 3, 1);
    let back = task.plan(&state().task_ctx(), &codec).unwrap();
    let prefix = back.downcast_ref::<IcebergWriteExec>().unwrap().target().file_prefix();
    assert_eq!(prefix, format!("{}-", task.file_prefix()));
    assert!(prefix.ends_with("-2-3-1-0a-"), "{prefix}");
}

#[test]
fn an_empty_relation_travels() {
    let plan: Arc<dyn ExecutionPlan> = Arc::new(EmptyExec::new(full_schema(&input()).unwrap()));
    assert_eq!(round_trip(&plan).schema(), plan.schema());
}

#[test]
fn hostile_bytes_are_refused_and_do_not_panic() {
    let codec = IcecapCodec::new(Storage::local());
    let context = state().task_ctx();
    let scan = IcecapScanExec::try_new(Arc::new(input()), Storage::local(), vec![0], 1).unwrap();
    let task = WriteTask::single(WriteId::new(Uuid::nil()), 1, "n", Arc::new(scan), &codec).unwrap();
    for cut in 0..task.plan.len() {
        let mut broken = task.clone();
        broken.plan.truncate(cut);
        let _ = broken.plan(&context, &codec);
        let mut broken = task.clone();
        broken.plan[cut] ^= 0xff;
        let _ = broken.plan(&context, &codec);
    }
}

/// Runs a query as it was planned and after the round trip; both must say the same.
async fn same_rows(context: &SessionContext, sql: &str) -> String {
    let plan = context.sql(sql).await.unwrap().create_physical_plan().await.unwrap();
    let back = round_trip(&plan);
    let direct = collect(plan, context.task_ctx()).await.unwrap();
    let travelled = collect(back, state().task_ctx()).await.unwrap();
    let (direct, travelled) = (
        pretty_format_batches(&direct).unwrap().to_string(),
        pretty_format_batches(&travelled).unwrap().to_string(),
    );
    assert_eq!(direct, travelled, "{sql}");
    travelled
}

fn context() -> (tempfile::TempDir, SessionContext) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("t.parquet");
    let ids = Arc::new(Int64Array::from_iter_values(0..1000)) as ArrayRef;
    let names =
        Arc::new(StringArray::from_iter_values((0..1000).map(|n| format!("n{}", n % 10)))) as ArrayRef;
    let batch = RecordBatch::try_from_iter([("id", ids), ("name", names)]).unwrap();
    let mut writer =
        ArrowWriter::try_new(std::fs::File::create(&path).unwrap(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    let input = SourceInput {
        format: SourceFormat::Parquet,
        schema: batch.schema(),
        folder_columns: 0,
        files: vec![SourceFile {
            location: format!("file://{}", path.display()),
            size_bytes: std::fs::metadata(&path).unwrap().len(),
            rows: Some(1000),
            offsets: Vec::new(),
            folders: Vec::new(),
        }],
        slices: Vec::new(),
    };
    let context = SessionContext::new_with_state(state());
    let source = |input: &SourceInput| Arc::new(SourceTable::new(input.clone(), Storage::local()));
    let plan = |name: &str| {
        let provider = source(&input);
        context.register_table(name, provider).unwrap();
    };
    plan("t");
    plan("u");
    (dir, context)
}

#[tokio::test]
async fn queries_say_the_same_after_the_round_trip() {
    let (_dir, context) = context();
    for sql in [
        "SELECT 1 AS a, 'x' AS b, NULL AS c",
        "SELECT * FROM (VALUES (1, 'a', 1.50), (2, NULL, 2.25)) AS v(i, s, d)",
        "SELECT count(*) FROM t WHERE id > 990",
        "SELECT id FROM t WHERE id = (SELECT max(id) FROM u)",
        "SELECT count(*), (SELECT min(id) FROM u WHERE id > 5) AS m FROM t WHERE id < (SELECT avg(id) FROM u)",
        "SELECT name, count(*) AS n, sum(id) AS s FROM t GROUP BY name ORDER BY name",
        "SELECT t.id, u.name FROM t JOIN u ON t.id = u.id WHERE u.name = 'n3' ORDER BY t.id DESC LIMIT 5",
        "SELECT id, row_number() OVER (PARTITION BY name ORDER BY id) AS r FROM t ORDER BY id LIMIT 7",
        "SELECT id FROM t WHERE name LIKE 'n1%' AND id IN (1, 11, 500) ORDER BY id",
        "SELECT id FROM t UNION ALL SELECT -id FROM u ORDER BY 1 LIMIT 3",
        "SELECT id FROM t WHERE EXISTS (SELECT 1 FROM u WHERE u.id = t.id + 995) ORDER BY id",
        "SELECT name FROM t WHERE id NOT IN (SELECT id FROM u WHERE id > 1) ORDER BY name",
        "SELECT upper(name) AS n, date_trunc('day', TIMESTAMP '2024-01-02 03:04:05') AS d FROM t LIMIT 1",
        "SELECT id FROM t ORDER BY id DESC LIMIT 3",
    ] {
        same_rows(&context, sql).await;
    }
}
