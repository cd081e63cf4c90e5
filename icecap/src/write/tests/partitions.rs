//! Partitioned tables.

use datafusion::arrow::array::{
    Array, ArrayRef, Date32Array, Int32Array, Int64Array, ListBuilder, StringArray, StringBuilder,
    new_null_array,
};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::Int32Type;
use datafusion::execution::memory_pool::{GreedyMemoryPool, MemoryPool};
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use icecap_table::iceberg::spec::StructType;

use super::*;
use crate::write::exec::ROWS_ENCODED;

fn table() -> Table {
    Table::new(vec![
        primitive(1, "i", PrimitiveType::Int),
        primitive(2, "s", PrimitiveType::String),
        primitive(3, "d", PrimitiveType::Date),
    ])
}

fn rows(
    table: &Table,
    values: impl Iterator<Item = (Option<i32>, Option<&'static str>, Option<i32>)>,
) -> RecordBatch {
    let values: Vec<_> = values.collect();
    let i: ArrayRef = Arc::new(Int32Array::from_iter(values.iter().map(|v| v.0)));
    let s: ArrayRef = Arc::new(StringArray::from_iter(values.iter().map(|v| v.1)));
    let d: ArrayRef = Arc::new(Date32Array::from_iter(values.iter().map(|v| v.2)));
    RecordBatch::try_new(table.arrow_schema(), vec![i, s, d]).unwrap()
}

#[tokio::test]
async fn each_partition_has_its_file_tuple_and_folder() {
    let table = table().partitioned(&[(2, "s", Transform::Identity), (3, "d_month", Transform::Month)]);
    let values = [
        (Some(1), Some("a/b"), Some(0)),
        (Some(2), None, Some(31)),
        (Some(3), Some("a/b"), Some(30)),
        (Some(4), Some(".."), None),
        (Some(5), None, Some(58)),
    ];
    let mut files = table.write(&[vec![rows(&table, values.into_iter())]]).await;
    files.sort_by(|a, b| a.lower_bounds[&1].cmp(&b.lower_bounds[&1]));
    let found: Vec<_> = files
        .iter()
        .map(|file| {
            let path = file.path.strip_prefix(&table.data_location()).unwrap();
            let (folder, _) = path.rsplit_once('/').unwrap();
            (folder.to_owned(), file.partition.clone(), file.record_count, file.spec_id)
        })
        .collect();
    assert_eq!(
        found,
        [
            ("/s=a%2Fb/d_month=1970-01".to_owned(), vec![Some(b"a/b".to_vec()), Some(vec![0; 4])], 2, 5),
            ("/s=null/d_month=1970-02".to_owned(), vec![None, Some(vec![1, 0, 0, 0])], 2, 5),
            ("/s=../d_month=null".to_owned(), vec![Some(b"..".to_vec()), None], 1, 5),
        ]
    );
    // What the location says is where the file is, byte for byte.
    for file in &files {
        assert!(std::path::Path::new(file.path.strip_prefix("file://").unwrap()).is_file());
        assert!(file.path.starts_with(&table.data_location()));
    }
    assert_eq!(read(&files[0]).column(0).as_primitive::<Int32Type>().values(), &[1, 3]);
}

#[tokio::test]
async fn the_object_storage_layout_puts_hashes_first() {
    let table = table()
        .partitioned(&[(1, "i_bucket", Transform::Bucket(4))])
        .with("write.object-storage.enabled", "true");
    let files = table.write(&[vec![rows(&table, [(Some(34), None, None)].into_iter())]]).await;
    let path = files[0].path.strip_prefix(&table.data_location()).unwrap().to_owned();
    let parts: Vec<_> = path.split('/').skip(1).collect();
    assert_eq!(parts.len(), 6);
    assert!(parts[..4].concat().bytes().all(|b| b == b'0' || b == b'1'));
    assert_eq!(parts[4], "i_bucket=3");
}

/// Whether every file holds the rows of its own partition only, and all files together every row once.
fn check(files: &[StagedFile], rows: i32, partitions: i32) {
    let mut seen = vec![false; rows as usize];
    for file in files {
        let partition = i32::from_le_bytes(file.partition[0].clone().unwrap().try_into().unwrap());
        let batch = read(file);
        assert_eq!(batch.num_rows() as u64, file.record_count);
        for value in batch.column(0).as_primitive::<Int32Type>().values() {
            assert_eq!(value % partitions, partition % partitions);
            assert!(!std::mem::replace(&mut seen[*value as usize], true));
        }
    }
    assert!(seen.into_iter().all(|seen| seen));
}

/// Rows spread evenly over `partitions` dates.
fn spread(table: &Table, rows_count: i32, partitions: i32) -> Vec<RecordBatch> {
    let batch = |from: i32| {
        let to = rows_count.min(from + 8192);
        rows(table, (from..to).map(|i| (Some(i), Some("text that takes some room"), Some(i % partitions))))
    };
    (0..rows_count).step_by(8192).map(batch).collect()
}

#[tokio::test]
async fn five_hundred_partitions_at_once() {
    let table = table().partitioned(&[(3, "d", Transform::Identity)]);
    let files = table.write(&[spread(&table, 100_000, 500)]).await;
    assert_eq!(files.len(), 500);
    check(&files, 100_000, 500);
}

#[tokio::test]
async fn five_hundred_partitions_in_little_memory() {
    let mut table = table().partitioned(&[(3, "d", Transform::Identity)]);
    table.memory_bytes = Some(1 << 20);
    let files = table.write(&[spread(&table, 600_000, 500)]).await;
    // What memory could not hold came back from the disk.
    assert_eq!(files.len(), 500);
    check(&files, 600_000, 500);
}

/// More encoders than memory holds: row groups end, files do not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partition_has_one_file_when_memory_holds_its_rows_and_not_its_encoders() {
    const PARTITIONS: i64 = 12;
    let columns = (1..=10).map(|id| primitive(id, &format!("c{id}"), PrimitiveType::Long)).collect();
    let mut table = Table::new(columns).partitioned(&[(1, "c1", Transform::Identity)]);
    table.memory_bytes = Some(36 << 20);
    let batch = |from: i64| {
        let column = |of: i64| -> ArrayRef {
            let value = |row: i64| if of == 0 { row % PARTITIONS } else { row * of % 1000 };
            Arc::new(Int64Array::from_iter_values((from..from + 8192).map(value)))
        };
        RecordBatch::try_new(table.arrow_schema(), (0..10).map(column).collect()).unwrap()
    };
    let inputs: Vec<Vec<_>> =
        (0..2).map(|n| (0..50).map(|at| batch((n * 50 + at) * 8192)).collect()).collect();
    let files = run(table.plan(&inputs, Storage::local())).await.unwrap();
    assert_eq!(files.iter().map(|file| file.record_count).sum::<u64>(), 100 * 8192);
    assert_eq!(files.len() as i64, PARTITIONS);
    let row_groups = files.iter().map(|file| open(file).metadata().num_row_groups());
    assert!(row_groups.max().unwrap() > 1);
}

/// Rows in a sort order: partition by partition, one writer each, in order within each file however little memory
/// there is and however small the files are to be.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_come_in_order_stay_in_order() {
    for (memory_bytes, target) in [(None, "536870912"), (Some(1 << 20), "50000")] {
        let mut table = table()
            .partitioned(&[(3, "d", Transform::Identity)])
            .with("write.target-file-size-bytes", target);
        table.memory_bytes = memory_bytes;
        table.sort_order_id = Some(1);
        let batch = |from: i32| {
            let values = (from..from + 8192).map(|i| (Some(i), Some("text"), Some(i / 60_000)));
            rows(&table, values)
        };
        let inputs: Vec<Vec<_>> =
            (0..2).map(|n| (0..30).map(|at| batch((n * 30 + at) * 8192)).collect()).collect();
        let files = run(table.plan(&inputs, Storage::local())).await.unwrap();
        let mut all = Vec::new();
        for file in &files {
            assert_eq!(file.sort_order_id, Some(1));
            let batch = read(file);
            let values = batch.column(0).as_primitive::<Int32Type>().values().to_vec();
            assert!(values.is_sorted(), "{}", file.path);
            assert!(values.iter().all(|value| value / 60_000 == values[0] / 60_000));
            all.extend(values);
        }
        all.sort_unstable();
        assert_eq!(all, (0..60 * 8192).collect::<Vec<_>>());
        match memory_bytes {
            // 9 partitions, one of which both writers have rows of.
            None => assert_eq!(files.len(), 10),
            Some(_) => assert!(files.len() > 10, "{}", files.len()),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn writers_share_partitions_unless_the_table_says_none() {
    for memory_bytes in [None, Some(1 << 20)] {
        for (mode, of_each) in [(None, 1), (Some("hash"), 1), (Some("range"), 1), (Some("none"), 3)] {
            let mut table = table().partitioned(&[(3, "d", Transform::Identity)]);
            table.memory_bytes = memory_bytes;
            if let Some(mode) = mode {
                table = table.with("write.distribution-mode", mode);
            }
            let batches = spread(&table, 240_000, 70);
            let inputs: Vec<_> = batches.chunks(batches.len().div_ceil(3)).map(<[_]>::to_vec).collect();
            let files = run(table.plan(&inputs, Storage::local())).await.unwrap();
            assert_eq!(files.len(), 70 * of_each, "{mode:?}");
            let mut paths: Vec<_> = files.iter().map(|file| &file.path).collect();
            paths.sort();
            paths.dedup();
            assert_eq!(paths.len(), files.len());
            check(&files, 240_000, 70);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partition_of_most_rows_has_a_file_of_each_writer_at_most() {
    let table = table().partitioned(&[(3, "d", Transform::Identity)]);
    let skewed = |from: i32| {
        let date = |i: i32| if i % 10 == 0 { i % 7 } else { 0 };
        let values = (from..from + 8192).map(move |i| (Some(i), Some("text"), Some(date(i))));
        rows(&table, values)
    };
    let inputs: Vec<Vec<_>> =
        (0..2).map(|n| (0..40).map(|at| skewed((n * 40 + at) * 8192)).collect()).collect();
    let files = run(table.plan(&inputs, Storage::local())).await.unwrap();
    assert!((7..=8).contains(&files.len()), "{}", files.len());
    assert_eq!(files.iter().map(|file| file.record_count).sum::<u64>(), 80 * 8192);
}

/// Nine rows of ten are of one partition: every writer still encodes its part of them, whoever's rows they are.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_partition_of_most_rows_is_encoded_by_every_writer() {
    const WRITERS: usize = 4;
    const ROWS: usize = WRITERS * 60 * 8192;
    let table = table().partitioned(&[(3, "d", Transform::Identity)]);
    let skewed = |from: i32| {
        let date = |i: i32| if i % 10 == 0 { 1 + i % 7 } else { 0 };
        rows(&table, (from..from + 8192).map(move |i| (Some(i), Some("some text"), Some(date(i)))))
    };
    let inputs: Vec<Vec<_>> = (0..WRITERS)
        .map(|writer| (0..60).map(|at| skewed(i32::try_from((writer * 60 + at) * 8192).unwrap())).collect())
        .collect();
    let plan = table.plan(&inputs, Storage::local());
    let files = run(Arc::clone(&plan)).await.unwrap();
    let of_partition =
        |day: i32| files.iter().filter(move |file| file.partition == [Some(day.to_le_bytes().to_vec())]);
    let largest: u64 = of_partition(0).map(|file| file.record_count).sum();
    assert!(largest * 10 >= ROWS as u64 * 9 - 10, "{largest} of {ROWS} rows");
    assert_eq!(files.iter().map(|file| file.record_count).sum::<u64>(), ROWS as u64);
    let mut encoded = [0_usize; WRITERS];
    for metric in plan.metrics().unwrap().iter() {
        if metric.value().name() == ROWS_ENCODED {
            encoded[metric.partition().unwrap()] += metric.value().as_usize();
        }
    }
    assert_eq!(encoded.iter().sum::<usize>(), ROWS, "each row is encoded once");
    // More than the rare partitions have together: so each had a part of the frequent one.
    assert!(encoded.iter().all(|rows| *rows > ROWS / 10), "{encoded:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_writer_that_fails_stops_those_that_wait_for_its_rows() {
    let mut table = table().partitioned(&[(3, "d", Transform::Identity)]);
    table.schema = Arc::new(
        Schema::builder()
            .with_fields([
                NestedField::required(1, "i", Type::Primitive(PrimitiveType::Int)).into(),
                primitive(2, "s", PrimitiveType::String),
                primitive(3, "d", PrimitiveType::Date),
            ])
            .build()
            .unwrap(),
    );
    let nullable = Table::new(vec![
        primitive(1, "i", PrimitiveType::Int),
        primitive(2, "s", PrimitiveType::String),
        primitive(3, "d", PrimitiveType::Date),
    ]);
    let good = rows(&nullable, (0..100).map(|i| (Some(i), None, Some(i % 5))));
    let bad = rows(&nullable, [(None, None, Some(1))].into_iter());
    let plan = table.plan(&[vec![good], vec![bad]], Storage::local());
    let error =
        tokio::time::timeout(std::time::Duration::from_secs(20), run(plan)).await.unwrap().unwrap_err();
    assert!(error.to_string().contains("NULL in a required column"), "{error}");
}

#[tokio::test]
async fn rows_of_every_type_come_back_from_the_disk() {
    let list = icecap_table::iceberg::spec::ListType::new(
        NestedField::list_element(5, Type::Primitive(PrimitiveType::String), false).into(),
    );
    let point = StructType::new(vec![primitive(7, "x", PrimitiveType::Double)]);
    let mut table = Table::new(vec![
        primitive(1, "i", PrimitiveType::Int),
        primitive(2, "s", PrimitiveType::String),
        primitive(3, "d", PrimitiveType::Date),
        NestedField::optional(4, "l", Type::List(list)).into(),
        NestedField::optional(6, "p", Type::Struct(point)).into(),
        primitive(8, "n", PrimitiveType::Decimal { precision: 9, scale: 2 }),
    ])
    .partitioned(&[(3, "d", Transform::Identity)]);
    table.memory_bytes = Some(1 << 20);
    let whole = table.arrow_schema();
    let values = |from: i32| -> RecordBatch {
        let own = Table::new(table.schema.as_struct().fields()[..3].to_vec());
        let flat = rows(&own, (from..from + 8192).map(|i| (Some(i), Some("ä"), Some(i % 300))));
        let mut list = ListBuilder::new(StringBuilder::new());
        for i in 0..8192 {
            list.values().append_value(format!("{i}"));
            list.values().append_null();
            list.append(i % 3 != 0);
        }
        let list: ArrayRef = Arc::new(list.finish());
        let arrays = [
            flat.columns().to_vec(),
            vec![
                cast(&list, whole.field(3).data_type()).unwrap(),
                new_null_array(whole.field(4).data_type(), 8192),
                new_null_array(whole.field(5).data_type(), 8192),
            ],
        ]
        .concat();
        RecordBatch::try_new(Arc::clone(&whole), arrays).unwrap()
    };
    let batches: Vec<_> = (0..60).map(|n| values(n * 8192)).collect();
    let files = table.write(&[batches]).await;
    assert_eq!(files.len(), 300);
    check(&files, 60 * 8192, 300);
    let back = read(&files[0]);
    let ids = back.column(0).as_primitive::<Int32Type>();
    for (row, i) in ids.values().iter().enumerate() {
        let list = back.column(3).as_list::<i32>();
        assert_eq!(list.is_null(row), (i % 8192) % 3 == 0);
        if list.is_valid(row) {
            assert_eq!(list.value(row).as_string::<i32>().value(0), format!("{}", i % 8192));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_memory_pool_is_asked_and_gets_all_back() {
    let table = table().partitioned(&[(3, "d", Transform::Identity)]);
    let pool: Arc<dyn MemoryPool> = Arc::new(GreedyMemoryPool::new(24 << 20));
    let runtime = RuntimeEnvBuilder::new().with_memory_pool(Arc::clone(&pool)).build_arc().unwrap();
    let context = Arc::new(TaskContext::default().with_runtime(runtime));
    let plan = table.plan(&[spread(&table, 400_000, 300)], Storage::local());
    let stream = plan.execute(0, context).unwrap();
    let rows: Vec<_> = stream.try_collect().await.unwrap();
    assert!(rows[0].num_rows() >= 300);
    assert_eq!(pool.reserved(), 0);
}

#[tokio::test]
async fn a_partition_for_every_row_is_bounded_too() {
    let mut table = table().partitioned(&[(1, "i", Transform::Identity)]);
    table.memory_bytes = Some(1 << 20);
    let files = table.write(&[spread(&table, 600, 10)]).await;
    assert_eq!(files.len(), 600);
    assert!(files.iter().all(|file| file.record_count == 1));
}
