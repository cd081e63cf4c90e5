use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, DictionaryArray, Int64Array, ListArray, RecordBatch};
use datafusion::arrow::datatypes::{DataType, Field, Int32Type, Schema, SchemaRef};
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::execution::TaskContext;
use datafusion::physical_plan::{ExecutionPlan, Partitioning};
use futures::TryStreamExt;
use icecap_table::ErrorKind;
use icecap_table::storage::Storage;

use super::*;

fn schema() -> SchemaRef {
    let dictionary = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
    Arc::new(Schema::new(vec![
        Field::new("n", DataType::Int64, true),
        Field::new("d", dictionary, true),
        Field::new("l", DataType::List(Arc::new(Field::new("item", DataType::Int64, true))), true),
    ]))
}

/// Rows `from..to`; the dictionary is another one in each batch.
fn batch(from: i64, to: i64) -> RecordBatch {
    let numbers: Vec<Option<i64>> = (from..to).map(|n| (n % 5 != 0).then_some(n)).collect();
    let texts: Vec<Option<String>> =
        numbers.iter().map(|n| n.map(|n| format!("t{}", n % 11 + from))).collect();
    let words: DictionaryArray<Int32Type> = texts.iter().map(Option::as_deref).collect();
    let lists = numbers.iter().map(|n| n.map(|n| (0..n % 4).map(Some).collect::<Vec<_>>()));
    let lists = ListArray::from_iter_primitive::<datafusion::arrow::datatypes::Int64Type, _, _>(lists);
    let columns: Vec<ArrayRef> = vec![Arc::new(Int64Array::from(numbers)), Arc::new(words), Arc::new(lists)];
    RecordBatch::try_new(schema(), columns).unwrap()
}

fn plan(partitions: &[Vec<RecordBatch>]) -> Arc<dyn ExecutionPlan> {
    MemorySourceConfig::try_new_exec(partitions, schema(), None).unwrap()
}

struct Stored {
    dir: tempfile::TempDir,
    storage: Storage,
    object: ExchangeObject,
}

async fn store(partitions: &[Vec<RecordBatch>]) -> Stored {
    let dir = tempfile::tempdir().unwrap();
    let location = format!("file://{}/x.exchange", dir.path().display());
    let storage = Storage::local();
    let context = Arc::new(TaskContext::default());
    let (object, _) = write_all(&plan(partitions), &context, &storage, location).await.unwrap();
    Stored { dir, storage, object }
}

/// What a consumer with one partition for each of the producer's reads.
fn input_of(object: &ExchangeObject) -> ExchangeInput {
    let piece = |partition| ExchangePiece {
        partition,
        object: 0,
        blocks: object.blocks.iter().filter(|block| block.partition == partition).copied().collect(),
    };
    ExchangeInput {
        stage: 0,
        locations: vec![object.location.clone()],
        pieces: (0..object.partitions).map(piece).collect(),
    }
}

async fn read(stored: &Stored, partition: usize) -> crate::Result<Vec<RecordBatch>> {
    let partitioning = Partitioning::UnknownPartitioning(stored.object.partitions as usize);
    let input = Some(Arc::new(input_of(&stored.object)));
    let exec = ExchangeReadExec::new(0, schema(), partitioning, input, stored.storage.clone());
    let rows = exec.execute(partition, Arc::new(TaskContext::default())).unwrap();
    rows.try_collect().await.map_err(crate::plan::from_datafusion)
}

fn joined(batches: &[RecordBatch]) -> RecordBatch {
    datafusion::arrow::compute::concat_batches(&schema(), batches).unwrap()
}

fn shown(batches: &[RecordBatch]) -> String {
    datafusion::arrow::util::pretty::pretty_format_batches(batches).unwrap().to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_partition_comes_back_in_order() {
    // Enough for several blocks in the first partition; none in the second; slices in the third.
    let first: Vec<_> = (0..60).map(|n| batch(n * 8192, (n + 1) * 8192)).collect();
    let third = vec![batch(0, 100).slice(90, 5), batch(5, 5), batch(1, 4)];
    let partitions = [first, Vec::new(), third];
    let stored = store(&partitions).await;
    assert_eq!(stored.object.partitions, 3);
    assert!(stored.object.blocks.iter().filter(|block| block.partition == 0).count() > 1);
    assert!(stored.object.blocks.iter().all(|block| block.length < 4 << 20));
    for (partition, rows) in partitions.iter().enumerate() {
        let back = read(&stored, partition).await.unwrap();
        assert_eq!(back.iter().map(RecordBatch::num_rows).sum::<usize>(), joined(rows).num_rows());
        if partition != 1 {
            assert_eq!(shown(&[joined(&back)]), shown(&[joined(rows)]));
        }
    }
    assert_eq!(stored.object.rows(), 60 * 8192 + 8);
}

#[tokio::test]
async fn the_index_is_in_the_object_too() {
    let stored = store(&[vec![batch(0, 10)], vec![batch(3, 7)]]).await;
    let index = read_index(&stored.storage, &stored.object.location).await.unwrap();
    assert_eq!(index, stored.object);
    assert_eq!(std::fs::metadata(stored.dir.path().join("x.exchange")).unwrap().len(), index.size_bytes);
}

#[tokio::test]
async fn without_rows_nothing_is_stored() {
    let stored = store(&[vec![batch(3, 3)], Vec::new()]).await;
    assert_eq!((stored.object.size_bytes, stored.object.rows()), (0, 0));
    assert_eq!(std::fs::read_dir(stored.dir.path()).unwrap().count(), 0);
    assert!(read(&stored, 0).await.unwrap().is_empty());
}

#[tokio::test]
async fn damage_is_told_and_not_read() {
    let stored = store(&[vec![batch(0, 1000)]]).await;
    let path = stored.dir.path().join("x.exchange");
    let good = std::fs::read(&path).unwrap();
    let mut bad = good.clone();
    bad[good.len() / 3] ^= 1;
    std::fs::write(&path, &bad).unwrap();
    assert_eq!(read(&stored, 0).await.unwrap_err().kind(), ErrorKind::Corrupt);
    std::fs::write(&path, &good[..good.len() / 2]).unwrap();
    assert!(read(&stored, 0).await.is_err());
    for cut in [0, 5, good.len() - 1] {
        std::fs::write(&path, &good[..cut]).unwrap();
        assert!(read_index(&stored.storage, &stored.object.location).await.is_err());
    }
    let mut bad = good.clone();
    let last = bad.len() - 20;
    bad[last] ^= 1;
    std::fs::write(&path, &bad).unwrap();
    let error = read_index(&stored.storage, &stored.object.location).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    std::fs::remove_file(&path).unwrap();
    assert_eq!(read(&stored, 0).await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn a_plan_that_fails_stores_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let location = format!("file://{}/x.exchange", dir.path().display());
    let input = Arc::new(ExchangeInput {
        stage: 0,
        locations: vec![format!("file://{}/gone", dir.path().display())],
        pieces: vec![ExchangePiece {
            partition: 0,
            object: 0,
            blocks: vec![Block { partition: 0, offset: 0, length: 4, rows: 1, crc32: 0 }],
        }],
    });
    let storage = Storage::local();
    let partitioning = Partitioning::UnknownPartitioning(1);
    let plan: Arc<dyn ExecutionPlan> =
        Arc::new(ExchangeReadExec::new(0, schema(), partitioning, Some(input), storage.clone()));
    let error = write_all(&plan, &Arc::new(TaskContext::default()), &storage, location).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}
