//! Tables written by the writer, read by SQL.

use std::collections::HashMap;

use bytes::Bytes;
use datafusion::arrow::util::pretty::pretty_format_batches;
use datafusion::physical_plan::displayable;
use datafusion::prelude::SessionContext;
use icecap_table::iceberg::spec::{
    FormatVersion, Operation, PrimitiveType, Transform, Type, UnboundPartitionField, UnboundPartitionSpec,
};
use icecap_table::id::{TableIdent, WriteId};
use icecap_table::metadata::{NewTable, TableDocument};
use icecap_table::properties::WriteSettings;
use icecap_table::snapshot::{SnapshotRequest, produce};
use uuid::Uuid;

use super::*;
use crate::dispatch::{Executor, InProcess, Meter};
use crate::engine::Cancel;
use crate::plan::session::{BATCH_ROWS, planner_state};
use crate::plan::{IcecapCodec, TaskReport, WriteTask, session_config};
use crate::sql::assign::assign;
use crate::worker::WorkerSettings;
use crate::write::{IcebergWriteExec, WriteTarget};

/// Where a test's only task writes to.
pub(crate) fn target(metadata: &TableMetadata, write_id: WriteId) -> WriteTarget {
    let settings = WriteSettings::from_properties(metadata.properties()).unwrap();
    WriteTarget {
        schema: Arc::clone(metadata.current_schema()),
        partition_spec: Arc::clone(metadata.default_partition_spec()),
        sort_order_id: None,
        format_version: metadata.format_version(),
        data_location: settings.data_location(metadata.location()),
        properties: metadata.properties().clone(),
        write_id,
        stage: 0,
        task: 0,
        attempt: 0,
        nonce: "n".into(),
        memory_bytes: None,
        lineage: false,
    }
}

struct Made {
    _dir: tempfile::TempDir,
    storage: Storage,
    executor: InProcess,
    document: TableDocument,
    writes: u128,
}

impl Made {
    fn new(fields: Vec<(&str, PrimitiveType)>, partitions: &[(usize, Transform)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let names: Vec<&str> = fields.iter().map(|(name, _)| *name).collect();
        let fields = fields.into_iter().enumerate().map(|(at, (name, ty))| {
            Arc::new(NestedField::optional(i32::try_from(at).unwrap() + 1, name, Type::Primitive(ty)))
        });
        let partition_fields = partitions.iter().map(|(at, transform)| UnboundPartitionField {
            source_id: i32::try_from(*at).unwrap() + 1,
            field_id: None,
            name: format!("{}_{at}_part", names[*at]),
            transform: *transform,
        });
        let partition_spec = UnboundPartitionSpec::builder()
            .add_partition_fields(partition_fields.collect::<Vec<_>>())
            .unwrap()
            .build();
        let document = TableDocument::create(NewTable {
            uuid: Uuid::from_u128(7),
            location: format!("file://{}/t", dir.path().display()),
            schema: Schema::builder().with_fields(fields).build().unwrap(),
            partition_spec,
            sort_order: None,
            properties: HashMap::new(),
            format_version: FormatVersion::V2,
            now_ms: 1,
        })
        .unwrap();
        let storage = Storage::local();
        let settings = WorkerSettings { threads: 2, ..WorkerSettings::default() };
        let executor = InProcess::new(storage.clone(), settings, Meter::default()).unwrap();
        Self { _dir: dir, storage, executor, document, writes: 0 }
    }

    fn context(&self) -> SessionContext {
        let config = session_config(2, BATCH_ROWS).with_create_default_catalog_and_schema(true);
        SessionContext::new_with_state(planner_state(config, Arc::default()))
    }

    /// Appends the rows of a query, as a task whose bytes travel.
    async fn append(&mut self, sql: &str) -> &mut Self {
        self.writes += 1;
        let write_id = WriteId::new(Uuid::from_u128(self.writes));
        let metadata = self.document.metadata();
        let context = self.context();
        let rows = context.state().create_logical_plan(sql).await.unwrap();
        let rows = assign(rows, metadata.current_schema(), &[], false).unwrap();
        let rows = context.state().create_physical_plan(&rows).await.unwrap();
        let target = target(metadata, write_id);
        let root = IcebergWriteExec::new(rows, target, self.storage.clone()).unwrap();
        let codec = IcecapCodec::new(self.storage.clone());
        let task = WriteTask::single(write_id, 1, "n", Arc::new(root), &codec).unwrap();
        let report = self.executor.run(Bytes::from(task.encode()), Cancel::new()).await.unwrap();
        let report = TaskReport::decode(&report).unwrap();
        let produced = produce(
            &self.storage,
            SnapshotRequest {
                document: &self.document,
                write_id,
                step: "main",
                reference: "main",
                schema_id: metadata.current_schema_id(),
                operation: Operation::Append,
                added: &report.staged_files,
                removed: &[],
                data_sequence_number: None,
                extra_summary: BTreeMap::new(),
                now_ms: 1000 + i64::try_from(self.writes).unwrap(),
                uuid: Uuid::from_u128(1000 + self.writes),
            },
        )
        .await
        .unwrap();
        let now_ms = 1000 + i64::try_from(self.writes).unwrap();
        self.document = self.document.apply(produced.updates, None, now_ms).unwrap();
        self
    }

    fn table(&self) -> IcebergTable {
        let loaded = LoadedTable {
            ident: TableIdent::new(vec!["ns".into()], "t"),
            metadata_location: "file:///none".into(),
            document: self.document.clone(),
        };
        IcebergTable::new(loaded, self.storage.clone(), None).unwrap()
    }

    async fn query_of(&self, table: IcebergTable, sql: &str) -> Vec<String> {
        let context = self.context();
        context.register_table("t", Arc::new(table)).unwrap();
        let rows = context.sql(sql).await.unwrap().collect().await.unwrap();
        let text = pretty_format_batches(&rows).unwrap().to_string();
        text.lines().filter(|line| line.starts_with('|')).skip(1).map(str::to_owned).collect()
    }

    async fn query(&self, sql: &str) -> Vec<String> {
        self.query_of(self.table(), sql).await
    }

    async fn plan(&self, sql: &str) -> String {
        let context = self.context();
        context.register_table("t", Arc::new(self.table())).unwrap();
        let plan = context.sql(sql).await.unwrap().create_physical_plan().await.unwrap();
        displayable(plan.as_ref()).indent(false).to_string()
    }
}

fn numbers() -> Made {
    use PrimitiveType as T;
    Made::new(vec![("id", T::Long), ("part", T::String), ("x", T::Double)], &[(1, Transform::Identity)])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_written_is_read_with_pruning_and_hidden_columns() {
    let mut made = numbers();
    assert_eq!(made.query("SELECT count(*) FROM t").await, ["| 0        |"]);
    assert_eq!(made.query("SELECT id FROM t WHERE id > 1").await, Vec::<String>::new());
    made.append(
        "SELECT * FROM (VALUES (1, 'a', 1.5::double), (2, 'b', CAST(NULL AS DOUBLE)), (3, NULL, 'NaN'::double))",
    )
    .await;
    made.append("SELECT * FROM (VALUES (4, 'a', -0.0::double), (5, 'c', 7.0::double))").await;
    assert_eq!(
        made.query("SELECT id, part, x FROM t ORDER BY id").await,
        [
            "| 1  | a    | 1.5  |",
            "| 2  | b    |      |",
            "| 3  |      | NaN  |",
            "| 4  | a    | -0.0 |",
            "| 5  | c    | 7.0  |"
        ]
    );
    let plan = made.plan("SELECT id FROM t WHERE part = 'a'").await;
    assert!(plan.contains("IcecapScanExec: table=ns.t, files=2"), "{plan}");
    assert_eq!(made.query("SELECT id FROM t WHERE part = 'a' ORDER BY id").await, ["| 1  |", "| 4  |"]);
    assert_eq!(made.query("SELECT id FROM t WHERE part IS NULL").await, ["| 3  |"]);
    assert_eq!(made.query("SELECT id FROM t WHERE x > 5 ORDER BY id").await, ["| 3  |", "| 5  |"]);
    assert_eq!(made.query("SELECT id FROM t WHERE id = 5").await, ["| 5  |"]);
    let plan = made.plan("SELECT id FROM t WHERE id = 5").await;
    assert!(plan.contains("files=1"), "{plan}");

    assert_eq!(made.table().schema().fields().len(), 3);
    let hidden = made.table().with_metadata_columns(true);
    let rows = made
        .query_of(hidden, "SELECT id, _pos, _file LIKE 'file:///%.parquet' AS f FROM t ORDER BY id")
        .await;
    assert_eq!(rows, (1..=5).map(|id| format!("| {id}  | 0    | true |")).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counts_and_extremes_come_from_metadata_only_when_they_are_exact() {
    let mut made = numbers();
    made.append(
        "SELECT * FROM (VALUES (1, 'a', 1.5::double), (2, NULL, 'NaN'::double), (NULL, 'c', 2.5::double))",
    )
    .await;
    let plan = made.plan("SELECT count(*), count(id), min(id), max(id) FROM t").await;
    assert!(!plan.contains("IcecapScanExec"), "{plan}");
    assert_eq!(
        made.query("SELECT count(*), count(id), min(id), max(id) FROM t").await,
        ["| 3        | 2           | 1         | 2         |"]
    );
    // NaN is the greatest double, and bounds do not know it.
    assert!(made.plan("SELECT max(x) FROM t").await.contains("IcecapScanExec"));
    assert_eq!(made.query("SELECT max(x) FROM t").await, ["| NaN      |"]);
    assert!(made.plan("SELECT count(*) FROM t WHERE id > 1").await.contains("IcecapScanExec"));
    assert_eq!(made.query("SELECT count(*) FROM t WHERE id > 1").await, ["| 1        |"]);
    assert!(made.plan("SELECT count(*) FROM (SELECT id FROM t LIMIT 2)").await.contains("IcecapScanExec"));
    assert_eq!(made.query("SELECT count(*) FROM (SELECT id FROM t LIMIT 2)").await, ["| 2        |"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_filter_gives_the_rows_that_a_full_read_gives() {
    use PrimitiveType as T;
    let fields = vec![
        ("i", T::Int),
        ("d", T::Decimal { precision: 9, scale: 2 }),
        ("day", T::Date),
        ("ts", T::Timestamp),
        ("s", T::String),
        ("f", T::Float),
        ("b", T::Boolean),
    ];
    let mut made = Made::new(fields, &[(0, Transform::Bucket(3)), (2, Transform::Month)]);
    for start in [0, 40, 80] {
        made.append(&format!(
            "SELECT CASE WHEN n % 7 = 0 THEN NULL ELSE n END AS i,
                    CAST(n AS DECIMAL(9, 2)) * 0.25 AS d,
                    DATE '2024-01-01' + CAST(n AS INT) AS day,
                    CAST(DATE '2024-01-01' + CAST(n AS INT) AS TIMESTAMP(6)) AS ts,
                    CASE WHEN n % 5 = 0 THEN NULL ELSE 'name' || n END AS s,
                    CAST(CASE WHEN n % 11 = 0 THEN 'NaN'::double ELSE CAST(n - 60 AS DOUBLE) END AS REAL) AS f,
                    n % 2 = 0 AS b
             FROM (SELECT CAST({start} + row_number() OVER () - 1 AS BIGINT) AS n
                   FROM (VALUES (1), (2), (3), (4), (5)) a, (VALUES (1), (2), (3), (4)) b, (VALUES (1), (2)) c)"
        ))
        .await;
    }
    let all = "(SELECT * FROM t OFFSET 0)";
    for filter in [
        "i = 17",
        "i <> 17",
        "i < 50",
        "i >= 77",
        "i IN (3, 40, 119)",
        "i NOT IN (1, 2)",
        "i IS NULL",
        "i IS NOT NULL",
        "i BETWEEN 39 AND 41",
        "NOT (i > 10)",
        "NOT (i > 10 AND s LIKE 'name1%')",
        "d = 10.25",
        "d < 1",
        "d > 29.5",
        "day = DATE '2024-02-10'",
        "day >= DATE '2024-04-01'",
        "ts < TIMESTAMP '2024-01-03 00:00:00'",
        "ts = TIMESTAMP '2024-03-01 00:00:00'",
        "s LIKE 'name11%'",
        "s NOT LIKE 'name1%'",
        "s = 'name33'",
        "s IS NULL",
        "s > 'name8'",
        "f > 50",
        "f < -59",
        "f = 0",
        "f >= 0 AND f <= 0",
        "f <> 0",
        "f IS NULL",
        "b",
        "NOT b",
        "b AND i < 10",
        "i = 17 OR s = 'name33'",
        "i + 1 = 18",
        "CAST(i AS BIGINT) = 17",
        "CAST(day AS TIMESTAMP) >= TIMESTAMP '2024-04-20 00:00:00'",
    ] {
        let columns = "i, d, day, ts, s, f, b";
        let pruned = made.query(&format!("SELECT {columns} FROM t WHERE {filter} ORDER BY {columns}")).await;
        let full =
            made.query(&format!("SELECT {columns} FROM {all} WHERE {filter} ORDER BY {columns}")).await;
        assert_eq!(pruned, full, "{filter}");
        assert!(pruned.len() < 120, "{filter}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_join_hands_its_keys_down_to_the_scan() {
    let mut made = numbers();
    made.append("SELECT * FROM (VALUES (1, 'a', 1.5::double), (2, 'b', 2.5::double))").await;
    made.append("SELECT * FROM (VALUES (100, 'a', 1.5::double), (200, 'b', 2.5::double))").await;
    assert_eq!(made.query("SELECT t.id FROM t JOIN (VALUES (100)) AS v(k) ON t.id = v.k").await, ["| 100 |"]);
    let subquery = "SELECT id FROM t WHERE id = (SELECT max(id) FROM t WHERE part = 'a')";
    assert_eq!(made.query(subquery).await, ["| 100 |"]);
}
