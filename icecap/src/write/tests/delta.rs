//! Rows that go and rows that come, through [`IcebergDeltaExec`] and its encoding.

use datafusion::arrow::array::{ArrayRef, Int32Array, Int64Array, StringArray};
use datafusion::arrow::datatypes::{DataType, Field, Int64Type, Schema as ArrowSchema};
use icecap_table::deletes::PositionSet;
use parquet::basic::Repetition;

use super::*;
use crate::plan::{IcecapCodec, WriteTask, from_datafusion, session_config};
use crate::sql::lower::{DELETE, INSERT, UPDATE};
use crate::{Error, Result};

/// What is done, where, the new `id`, the row's id.
type Row = (i32, Option<(&'static str, i64)>, Option<i64>, Option<i64>);

fn table() -> Table {
    let mut table = Table::new(vec![primitive(1, "id", PrimitiveType::Long)]);
    table.lineage = true;
    table
}

fn batch(rows: &[Row]) -> RecordBatch {
    let column = |name: &str, ty: DataType, nullable| Field::new(name, ty, nullable);
    let schema = ArrowSchema::new(vec![
        column("#action", DataType::Int32, false),
        column("#file", DataType::Utf8, true),
        column("#pos", DataType::Int64, true),
        column("id", DataType::Int64, true),
        column("#row_id", DataType::Int64, true),
        column("#sequence_number", DataType::Int64, true),
    ]);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(rows.iter().map(|row| Some(row.0)).collect::<Int32Array>()),
        Arc::new(rows.iter().map(|row| row.1.map(|place| place.0)).collect::<StringArray>()),
        Arc::new(rows.iter().map(|row| row.1.map(|place| place.1)).collect::<Int64Array>()),
        Arc::new(rows.iter().map(|row| row.2).collect::<Int64Array>()),
        Arc::new(rows.iter().map(|row| row.3).collect::<Int64Array>()),
        Arc::new(rows.iter().map(|_| None::<i64>).collect::<Int64Array>()),
    ];
    RecordBatch::try_new(Arc::new(schema), columns).unwrap()
}

#[derive(Default)]
struct Found {
    files: Vec<StagedFile>,
    positions: BTreeMap<String, PositionSet>,
    acted: ActedRows,
}

/// Runs the node as a worker does: out of a task's bytes, all partitions at once.
async fn delta(table: &Table, partitions: &[Vec<Row>], rows: bool) -> Result<Found> {
    let batches: Vec<Vec<RecordBatch>> = partitions.iter().map(|rows| vec![batch(rows)]).collect();
    let width = if rows { 6 } else { 3 };
    let narrow = |batch: &RecordBatch| batch.project(&(0..width).collect::<Vec<_>>()).unwrap();
    let batches: Vec<Vec<RecordBatch>> =
        batches.iter().map(|batches| batches.iter().map(narrow).collect()).collect();
    let input = MemorySourceConfig::try_new_exec(&batches, batches[0][0].schema(), None).unwrap();
    let root = IcebergDeltaExec::new(input, table.target(), rows, Storage::local())?;
    let codec = IcecapCodec::new(Storage::local());
    let task = WriteTask::single(table.target().write_id, 1, "n", Arc::new(root), &codec)?;
    let state = datafusion::execution::SessionStateBuilder::new()
        .with_config(session_config(2, 100))
        .with_default_features()
        .build();
    let context = state.task_ctx();
    let plan = task.plan(&context, &codec)?;
    assert_eq!(plan.downcast_ref::<IcebergDeltaExec>().unwrap().has_rows(), rows);
    let streams: Vec<_> = (0..plan.properties().output_partitioning().partition_count())
        .map(|partition| plan.execute(partition, Arc::clone(&context)).unwrap())
        .collect();
    let tasks: Vec<_> =
        streams.into_iter().map(|stream| tokio::spawn(stream.try_collect::<Vec<_>>())).collect();
    let mut found = Found::default();
    for task in tasks {
        for batch in task.await.unwrap().map_err(from_datafusion)? {
            let (kinds, payloads) = (batch.column(0).as_string::<i32>(), batch.column(1).as_binary::<i32>());
            for (kind, payload) in kinds.iter().zip(payloads) {
                let payload = payload.unwrap();
                match kind.unwrap() {
                    KIND_DATA => found.files.push(StagedFile::decode(payload)?),
                    KIND_ROWS => found.acted.add(ActedRows::decode(payload)?),
                    KIND_POSITIONS => {
                        let file = FilePositions::decode(payload)?;
                        let twice = found.positions.insert(file.data_file.clone(), file.positions()?);
                        assert!(twice.is_none(), "a file is told once");
                    }
                    other => return Err(Error::bug(other.to_owned())),
                }
            }
        }
    }
    Ok(found)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_are_taken_apart() {
    let table = table();
    let first = vec![
        (DELETE, Some(("a", 3)), None, Some(3)),
        (DELETE, Some(("a", 1)), None, Some(1)),
        (UPDATE, Some(("b", 0)), Some(50), Some(10)),
        (INSERT, None, Some(60), None),
    ];
    let second = vec![(UPDATE, Some(("a", 2)), None, Some(2)), (DELETE, Some(("b", 9)), None, Some(19))];
    let found = delta(&table, &[first, second], true).await.unwrap();
    assert_eq!(found.acted, ActedRows { inserted: 1, updated: 2, deleted: 3 });
    let positions: BTreeMap<&str, Vec<u64>> =
        found.positions.iter().map(|(file, set)| (file.as_str(), set.iter().collect())).collect();
    assert_eq!(positions, BTreeMap::from([("a", vec![1, 2, 3]), ("b", vec![0, 9])]));
    let mut rows = Vec::new();
    for file in &found.files {
        let read = read(file);
        let column = |at: usize| read.column(at).as_primitive::<Int64Type>().iter().collect::<Vec<_>>();
        rows.extend(column(0).into_iter().zip(column(1)).zip(column(2)));
        // The ids are stored under their reserved field ids, and have no metrics that a reader would prune by.
        let schema = open(file).parquet_schema().clone();
        let ids: Vec<i32> = schema.columns().iter().map(|c| c.self_type().get_basic_info().id()).collect();
        assert_eq!(ids, [1, 2_147_483_540, 2_147_483_539]);
        assert_eq!(schema.column(1).self_type().get_basic_info().repetition(), Repetition::OPTIONAL);
        assert_eq!(file.value_counts.keys().copied().collect::<Vec<_>>(), [1]);
        assert_eq!(file.column_sizes.keys().copied().collect::<Vec<_>>(), [1]);
    }
    rows.sort();
    assert_eq!(rows, [((None, Some(2)), None), ((Some(50), Some(10)), None), ((Some(60), None), None)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn positions_alone_write_nothing() {
    let table = table();
    let rows = vec![(DELETE, Some(("a", 3)), None, None), (DELETE, Some(("a", 4)), None, None)];
    let found = delta(&table, &[rows, Vec::new()], false).await.unwrap();
    assert_eq!(found.positions["a"].len(), 2);
    assert_eq!(found.acted, ActedRows { deleted: 2, ..ActedRows::default() });
    assert!(found.files.is_empty() && table.on_disk().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_is_matched_twice_is_an_error() {
    let row = |at| (UPDATE, Some(("a", at)), Some(1), None);
    for partitions in [vec![vec![row(1), row(2), row(1)]], vec![vec![row(1), row(5)], vec![row(2), row(1)]]] {
        let table = table();
        let Err(error) = delta(&table, &partitions, true).await else { panic!("{partitions:?}") };
        assert_eq!(is_matched_twice(&error), Some(("a".to_owned(), 1)));
    }
}

#[tokio::test]
async fn a_table_with_a_column_of_that_name_keeps_no_ids() {
    let mut table = Table::new(vec![primitive(1, "_row_id", PrimitiveType::Long)]);
    table.lineage = true;
    let Err(error) = delta(&table, &[vec![(INSERT, None, Some(1), None)]], true).await else { panic!() };
    assert_eq!(error.kind(), icecap_table::ErrorKind::Unsupported);
}
