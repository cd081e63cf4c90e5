use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, Int64Array, ListArray, RecordBatch, StringArray, StringViewArray};
use datafusion::arrow::datatypes::Int64Type;
use datafusion::arrow::util::pretty::pretty_format_batches;
use datafusion::execution::memory_pool::{GreedyMemoryPool, MemoryPool};
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::physical_expr::expressions::lit;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::joins::PartitionMode;
use datafusion::physical_plan::{ExecutionPlan, collect, displayable};
use datafusion::prelude::{SessionConfig, SessionContext};

use super::*;

/// Two tables in several batches, with keys that are in both, in one, several times, and NULL. `s` is the smaller one.
fn context(partitioned: bool, memory: usize) -> SessionContext {
    let pool: Arc<dyn MemoryPool> = Arc::new(GreedyMemoryPool::new(memory));
    let runtime = RuntimeEnvBuilder::new().with_memory_pool(pool).build_arc().unwrap();
    let mut config = SessionConfig::new().with_target_partitions(3).with_batch_size(16);
    let options = &mut config.options_mut().optimizer;
    options.hash_join_single_partition_threshold = if partitioned { 0 } else { usize::MAX };
    options.hash_join_single_partition_threshold_rows = if partitioned { 0 } else { usize::MAX };
    let context = SessionContext::new_with_config_rt(config, runtime);
    for (name, rows, step) in [("s", 100_i64, 3_i64), ("t", 400, 1)] {
        let batches: Vec<RecordBatch> = (0..4)
            .map(|part| {
                let rows = || (0..rows / 4).map(move |row| part * rows / 4 + row);
                let columns: [(&str, ArrayRef); 4] = [
                    (
                        "k",
                        Arc::new(
                            rows().map(|i| (i % 7 != 0).then_some(i * step % 250)).collect::<Int64Array>(),
                        ),
                    ),
                    ("a", Arc::new(rows().map(Some).collect::<Int64Array>())),
                    ("b", Arc::new(Int64Array::from_iter_values(rows().map(|i| i * i % 11)))),
                    (
                        "c",
                        Arc::new(
                            rows()
                                .map(|i| (i % 5 != 0).then(|| format!("{name} {i}")))
                                .collect::<StringArray>(),
                        ),
                    ),
                ];
                RecordBatch::try_from_iter_with_nullable(columns.map(|(name, array)| (name, array, true)))
                    .unwrap()
            })
            .collect();
        let schema = batches[0].schema();
        let table = datafusion::datasource::MemTable::try_new(schema, vec![batches]).unwrap();
        context.register_table(name, Arc::new(table)).unwrap();
    }
    context
}

async fn planned(context: &SessionContext, sql: &str) -> Arc<dyn ExecutionPlan> {
    context.sql(sql).await.unwrap().create_physical_plan().await.unwrap()
}

fn text(plan: &Arc<dyn ExecutionPlan>) -> String {
    displayable(plan.as_ref()).indent(false).to_string()
}

async fn rows(plan: Arc<dyn ExecutionPlan>, context: &SessionContext) -> Vec<String> {
    let batches = collect(plan, context.task_ctx()).await.unwrap();
    let text = pretty_format_batches(&batches).unwrap().to_string();
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

#[tokio::test]
async fn a_join_gives_the_same_rows() {
    let joins = [
        ("LEFT", "s.k = t.k"),
        ("RIGHT", "s.k = t.k"),
        ("FULL", "s.k = t.k"),
        ("INNER", "s.k = t.k"),
        ("LEFT", "s.k = t.k AND s.a < t.a"),
        ("FULL", "s.k = t.k AND s.b <> t.b"),
        ("LEFT", "s.k + s.b = t.k + 1"),
    ];
    for partitioned in [false, true] {
        let context = context(partitioned, usize::MAX);
        for (kind, on) in joins {
            for columns in ["s.*, t.*", "t.c, s.c, t.a, s.k", "t.c, t.b, s.b, s.c"] {
                let sql = format!("SELECT {columns} FROM s {kind} JOIN t ON {on}");
                let plan = planned(&context, &sql).await;
                // Another plan: nodes keep what they have done.
                let lean = lean(planned(&context, &sql).await).unwrap();
                let (before, after) = (text(&plan), text(&lean));
                assert!(
                    before.contains(if partitioned { "mode=Partitioned" } else { "mode=CollectLeft" }),
                    "{before}"
                );
                assert!(after.contains("HoldExec") && after.contains("FetchExec"), "{after}");
                assert_eq!(lean.schema(), plan.schema());
                let (expected, got) = (rows(plan, &context).await, rows(lean, &context).await);
                assert!(expected.len() > 50);
                assert_eq!(got, expected, "{sql}");
            }
        }
    }
}

#[tokio::test]
async fn a_join_over_a_join_too() {
    let context = context(true, usize::MAX);
    let sql = "SELECT x.c, y.c, t.c, x.a FROM s x JOIN s y ON x.k = y.k LEFT JOIN t ON t.k = y.b";
    let plan = planned(&context, sql).await;
    let lean = lean(planned(&context, sql).await).unwrap();
    assert_eq!(text(&lean).matches("FetchExec").count(), 2);
    assert_eq!(rows(lean, &context).await, rows(plan, &context).await);
}

#[tokio::test]
async fn what_hardly_pays_stays() {
    let context = context(false, usize::MAX);
    for sql in [
        "SELECT s.k, s.a, s.b, t.c FROM s JOIN t ON s.k = t.k",
        "SELECT s.k, s.is_there, t.c FROM (SELECT k, true AS is_there FROM s) s RIGHT JOIN t ON s.k = t.k",
        "SELECT t.* FROM t WHERE k IN (SELECT k FROM s)",
        "SELECT t.* FROM t WHERE k NOT IN (SELECT k FROM s)",
    ] {
        let plan = planned(&context, sql).await;
        assert_eq!(text(&lean(Arc::clone(&plan)).unwrap()), text(&plan));
    }
}

#[tokio::test]
async fn what_is_held_counts_as_memory() {
    let of = |memory: usize| async move {
        let context = context(false, memory);
        let plan = lean(planned(&context, "SELECT s.*, t.* FROM s JOIN t ON s.k = t.k").await).unwrap();
        let result = collect(plan, context.task_ctx()).await;
        let reserved = context.runtime_env().memory_pool.reserved();
        (result.map(|_| ()), reserved)
    };
    let (enough, reserved) = of(1 << 20).await;
    enough.unwrap();
    assert_eq!(reserved, 0);
    let (error, _) = of(300).await;
    let error = error.unwrap_err().to_string();
    assert!(error.contains("HeldRows"), "{error}");
}

/// How much of `batches` counts.
fn counted(batches: &[RecordBatch]) -> usize {
    let pool: Arc<dyn MemoryPool> = Arc::new(GreedyMemoryPool::new(usize::MAX));
    let held = Held::default();
    batches.iter().for_each(|batch| _ = held.push(batch, &pool).unwrap());
    pool.reserved()
}

#[test]
fn texts_in_views_and_elements_of_lists_count_once() {
    let texts = StringViewArray::from_iter_values((0..1000).map(|i| format!("{i:1000}")));
    let texts = RecordBatch::try_from_iter([("v", Arc::new(texts) as ArrayRef)]).unwrap();
    let whole = counted(std::slice::from_ref(&texts));
    assert!((1_000_000..2_500_000).contains(&whole), "{whole}");
    let numbers = (0..1000).map(|i| Some((0..100).map(move |j| Some(i + j)).collect::<Vec<_>>()));
    let lists = ListArray::from_iter_primitive::<Int64Type, _, _>(numbers);
    let lists = RecordBatch::try_from_iter([("l", Arc::new(lists) as ArrayRef)]).unwrap();
    for batch in [texts, lists] {
        let slices: Vec<RecordBatch> = (0..100).map(|at| batch.slice(at * 10, 10)).collect();
        let (whole, sliced) = (counted(&[batch]), counted(&slices));
        assert!((whole..whole + whole / 10).contains(&sliced), "{whole} {sliced}");
    }
}

#[test]
fn texts_and_numbers_count_as_far_as_they_are_held() {
    let texts = StringArray::from_iter_values((0..1000).map(|i| format!("{i:1000}")));
    let numbers = Int64Array::from_iter_values(0..1000);
    let columns = [("s", Arc::new(texts) as ArrayRef), ("n", Arc::new(numbers) as ArrayRef)];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let tenth = counted(&[batch.slice(300, 100)]);
    assert!((100_800..102_000).contains(&tenth), "{tenth}");
}

#[tokio::test]
async fn a_build_side_that_is_dealt_out_already_stays_so() {
    let context = context(true, usize::MAX);
    let sql = "SELECT x.*, t.* FROM (SELECT k, min(c) c, max(a) a, sum(b) b FROM s GROUP BY k) x JOIN t ON x.k = t.k";
    let plan = planned(&context, sql).await;
    let lean = lean(planned(&context, sql).await).unwrap();
    assert!(text(&lean).contains("HoldExec"), "{}", text(&lean));
    assert_eq!(rows(lean, &context).await, rows(plan, &context).await);
}

/// What the build side's keys tell is pushed below the other side, by a filter that this side shares: the join that
/// takes the place of another goes on filling it.
#[tokio::test]
async fn the_filter_that_a_join_fills_is_filled_still() {
    for mode in [PartitionMode::CollectLeft, PartitionMode::Partitioned] {
        let context = context(false, usize::MAX);
        let mut told = Vec::new();
        for is_lean in [false, true] {
            let build = planned(&context, "SELECT a, b, c FROM s WHERE a BETWEEN 20 AND 29").await;
            let probe = planned(&context, "SELECT a, c FROM t").await;
            let key = |plan: &Arc<dyn ExecutionPlan>| {
                Arc::new(Column::new_with_schema("a", &plan.schema()).unwrap()) as Arc<dyn PhysicalExpr>
            };
            let on = vec![(key(&build), key(&probe))];
            let filter = Arc::new(DynamicFilterPhysicalExpr::new(vec![key(&probe)], lit(true)));
            let dealt = |plan: Arc<dyn ExecutionPlan>| -> Arc<dyn ExecutionPlan> {
                let by = Partitioning::Hash(vec![key(&plan)], 3);
                Arc::new(RepartitionExec::try_new(plan, by).unwrap())
            };
            let filtered = |plan| Arc::new(FilterExec::try_new(Arc::clone(&filter) as _, plan).unwrap()) as _;
            let (build, probe): (Arc<dyn ExecutionPlan>, Arc<dyn ExecutionPlan>) = match mode {
                PartitionMode::Partitioned => (dealt(build), dealt(filtered(probe))),
                _ => (Arc::new(CoalescePartitionsExec::new(build)), filtered(probe)),
            };
            let join = HashJoinExecBuilder::new(build, probe, on, JoinType::Inner)
                .with_partition_mode(mode)
                .build()
                .unwrap()
                .with_dynamic_filter_expr(Arc::clone(&filter))
                .unwrap();
            let mut join: Arc<dyn ExecutionPlan> = Arc::new(join);
            if is_lean {
                join = lean(join).unwrap();
                assert!(text(&join).contains("FetchExec"), "{}", text(&join));
            }
            let rows = rows(join, &context).await;
            assert_eq!(rows.len(), 10 + 4, "ten rows, a heading and three lines around them");
            told.push(filter.current().unwrap().to_string());
        }
        assert!(told[0].contains("20") && told[0].contains("29"), "{told:?}");
        assert_eq!(told[0], told[1]);
    }
}
