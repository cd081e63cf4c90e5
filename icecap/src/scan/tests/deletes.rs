//! Scans of files with deletes: every kind, every way of reading, and delete files that are broken.

use std::collections::BTreeSet;

use icecap_table::deletes::{PositionSet, PuffinWriter};
use icecap_table::iceberg::spec::NestedFieldRef;
use icecap_table::scan::DeleteKind;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;

const PATH_FIELD: i32 = 2_147_483_546;
const POS_FIELD: i32 = 2_147_483_545;

/// Two files of the numbers 0..1000 and 1000..2000 in ten row groups each.
fn numbers() -> (Files, Arc<Schema>) {
    let mut files = Files::new();
    for file in 0..2 {
        let numbers = (0..1000).map(|n| n + file * 1000);
        let text: ArrayRef =
            Arc::new(StringArray::from_iter_values(numbers.clone().map(|n| format!("n{n}"))));
        files.add(
            vec![
                (id(Field::new("a", DataType::Int64, true), 1), longs(numbers)),
                (id(Field::new("b", DataType::Utf8, true), 2), text),
            ],
            100,
        );
    }
    let schema = schema(vec![optional(1, "a", PrimitiveType::Long), optional(2, "b", PrimitiveType::String)]);
    (files, schema)
}

/// What is deleted of a scan's files.
#[derive(Default)]
struct Deletes(Vec<(DeleteSource, Vec<usize>)>);

impl Deletes {
    fn put(&mut self, kind: DeleteKind, path: &Path, of: Vec<usize>) -> &mut DeleteSource {
        let size = std::fs::metadata(path).map_or(0, |meta| meta.len());
        let source = DeleteSource {
            kind,
            path: format!("file://{}", path.display()),
            file_size_bytes: size,
            record_count: 0,
            content_range: None,
        };
        self.0.push((source, of));
        &mut self.0.last_mut().unwrap().0
    }

    /// A deletion vector of one file, after another one in its Puffin file.
    fn vector(&mut self, files: &Files, of: usize, positions: &PositionSet) -> &mut DeleteSource {
        let mut writer = PuffinWriter::new();
        writer.add_deletion_vector("file:///another", &PositionSet::from_iter([1, 2, 3]));
        let range = writer.add_deletion_vector(&files.files[of].path, positions);
        let path = files.path(&format!("v{}.puffin", self.0.len()));
        std::fs::write(&path, writer.finish()).unwrap();
        let source = self.put(DeleteKind::DeletionVector, &path, vec![of]);
        (source.content_range, source.record_count) = (Some(range), positions.len());
        source
    }

    /// A position delete file; rows of other files come along.
    fn positions(&mut self, files: &Files, rows: &[(usize, i64)]) -> &mut DeleteSource {
        let of: BTreeSet<usize> = rows.iter().map(|(file, _)| *file).collect();
        let paths = rows.iter().map(|(file, _)| files.files[*file].path.clone());
        let paths = paths.chain(["file:///another".to_owned()]);
        let columns = vec![
            (
                id(Field::new("file_path", DataType::Utf8, false), PATH_FIELD),
                Arc::new(StringArray::from_iter_values(paths)) as ArrayRef,
            ),
            (
                id(Field::new("pos", DataType::Int64, false), POS_FIELD),
                longs(rows.iter().map(|(_, pos)| *pos).chain([0])),
            ),
        ];
        self.table(files, columns, DeleteKind::PositionDeletes, of.into_iter().collect())
    }

    fn table(
        &mut self,
        files: &Files,
        columns: Vec<(Field, ArrayRef)>,
        kind: DeleteKind,
        of: Vec<usize>,
    ) -> &mut DeleteSource {
        let path = files.path(&format!("d{}.parquet", self.0.len()));
        let (rows, _) = write(&path, columns, 100);
        let source = self.put(kind, &path, of);
        source.record_count = rows;
        source
    }

    fn apply(&self, input: &mut ScanInput) {
        for (at, (source, of)) in self.0.iter().enumerate() {
            input.deletes.push(source.clone());
            of.iter().for_each(|file| input.files[*file].deletes.push(at));
        }
    }
}

async fn values(scan: IcecapScanExec) -> Vec<i64> {
    let batches = rows(scan).await.unwrap();
    let mut values: Vec<i64> = batches
        .iter()
        .flat_map(|batch| batch.column(0).as_any().downcast_ref::<Int64Array>().unwrap().values().to_vec())
        .collect();
    values.sort_unstable();
    values
}

async fn corrupt(input: ScanInput) -> String {
    let error = rows(scan(input, vec![0], 1)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    format!("{error:?}")
}

/// Every slice is read by whoever comes first; `_pos` tells the truth; nothing deleted comes back.
#[tokio::test]
async fn random_positions_are_gone_in_every_slicing() {
    let (files, schema) = numbers();
    for seed in 0..12 {
        let mut random = StdRng::seed_from_u64(seed);
        let mut gone = [PositionSet::new(), PositionSet::new()];
        for set in &mut gone {
            for _ in 0..random.random_range(0..4) {
                let start = random.random_range(0..1000_u64);
                set.insert_range(start..(start + random.random_range(0..300)).min(1000));
            }
            for _ in 0..random.random_range(0..200) {
                set.insert(random.random_range(0..1000));
            }
        }
        let mut input = files.input(Arc::clone(&schema));
        let mut deletes = Deletes::default();
        if seed % 3 == 0 {
            deletes.vector(&files, 0, &gone[0]);
            deletes.vector(&files, 1, &gone[1]);
        } else if seed % 3 == 1 {
            let pairs: Vec<(usize, i64)> = gone
                .iter()
                .enumerate()
                .flat_map(|(file, set)| set.iter().map(move |pos| (file, pos.cast_signed())))
                .collect();
            if !pairs.is_empty() {
                deletes.positions(&files, &pairs);
            }
        } else {
            // One half by a vector, the other in the plan itself.
            for (file, set) in gone.iter().enumerate() {
                let (own, extra): (Vec<_>, Vec<_>) = set.iter().partition(|pos| pos % 2 == 0);
                deletes.vector(&files, file, &own.into_iter().collect());
                input.files[file].extra_deletes = Some(Arc::new(extra.into_iter().collect()));
            }
        }
        deletes.apply(&mut input);
        input.slices = Vec::new();
        for (file, offsets) in files.offsets.iter().enumerate() {
            let cut = u64::try_from(offsets[random.random_range(1..10)]).unwrap();
            input.slices.push(FileSlice { file, start: 0, end: Some(cut) });
            input.slices.push(FileSlice { file, start: cut, end: None });
        }
        let left: Vec<i64> = (0..2000_u64)
            .filter(|n| !gone[usize::try_from(n / 1000).unwrap()].contains(n % 1000))
            .map(u64::cast_signed)
            .collect();
        assert_eq!(values(scan(input.clone(), vec![0], 3)).await, left, "seed {seed}");
        // Positions, and a filter that chooses rows before the rest is decoded.
        let full = full_schema(&input).unwrap();
        let a: Arc<dyn PhysicalExpr> = Arc::new(Column::new("a", 0));
        let predicate = binary(a, Operator::GtEq, lit(650_i64), &full).unwrap();
        let late = scan(input.clone(), vec![0, 1, 3], 2).with_predicate(Some(predicate), true).unwrap();
        let batches = rows(late).await.unwrap();
        let mut seen = Vec::new();
        for batch in &batches {
            let longs = |at: usize| batch.column(at).as_any().downcast_ref::<Int64Array>().unwrap().clone();
            let text = batch.column(1).as_any().downcast_ref::<StringArray>().unwrap();
            for row in 0..batch.num_rows() {
                let value = longs(0).value(row);
                assert_eq!(longs(2).value(row), value % 1000);
                assert_eq!(text.value(row), format!("n{value}"));
                seen.push(value);
            }
        }
        seen.sort_unstable();
        assert_eq!(seen, left.iter().copied().filter(|n| *n >= 650).collect::<Vec<_>>(), "seed {seed}");
        // A limit is of what is left; nothing at all is counted too.
        for limit in [1, 7, 5000] {
            let limited = scan(input.clone(), vec![0], 1).with_limit(Some(limit)).unwrap();
            let given = values(limited).await;
            assert_eq!(given.len(), left.len().min(limit));
            assert!(given.iter().all(|n| left.contains(n)));
        }
        let counted = rows(scan(input.clone(), vec![], 2)).await.unwrap();
        assert_eq!(counted.iter().map(RecordBatch::num_rows).sum::<usize>(), left.len());
        // Parts hold the delete files of their own files, and together they are the whole.
        let whole = scan(input, vec![0], 1);
        let mut parts = Vec::new();
        for part in 0..3 {
            parts.extend(values(whole.part(part, 3).unwrap()).await);
        }
        parts.sort_unstable();
        assert_eq!(parts, left);
    }
}

#[tokio::test]
async fn a_file_that_is_wholly_deleted_is_not_read() {
    let (files, schema) = numbers();
    let mut all = PositionSet::new();
    all.insert_range(0..1000);
    let mut deletes = Deletes::default();
    deletes.vector(&files, 0, &all);
    let mut input = files.input(schema);
    deletes.apply(&mut input);
    assert_eq!(values(scan(input, vec![0], 2)).await, (1000..2000).collect::<Vec<_>>());
}

#[tokio::test]
async fn paths_may_be_dictionaries_and_columns_without_ids() {
    use datafusion::arrow::array::DictionaryArray;
    use datafusion::arrow::datatypes::Int32Type;
    let (files, schema) = numbers();
    let paths: DictionaryArray<Int32Type> = (0..100).map(|_| files.files[1].path.as_str()).collect();
    let kind = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
    let mut deletes = Deletes::default();
    let columns = vec![
        (Field::new("file_path", kind, false), Arc::new(paths) as ArrayRef),
        (Field::new("pos", DataType::Int64, false), longs(500..600)),
    ];
    deletes.table(&files, columns, DeleteKind::PositionDeletes, vec![1]);
    let mut input = files.input(schema);
    deletes.apply(&mut input);
    let left: Vec<i64> = (0..2000).filter(|n| !(1500..1600).contains(n)).collect();
    assert_eq!(values(scan(input, vec![0], 2)).await, left);
}

#[tokio::test]
async fn broken_deletion_vectors_are_told() {
    let (files, schema) = numbers();
    let input = |change: &dyn Fn(&mut DeleteSource, &Path)| {
        let mut deletes = Deletes::default();
        let source = deletes.vector(&files, 0, &PositionSet::from_iter([1, 5]));
        let path = source.path.strip_prefix("file://").unwrap().to_owned();
        change(source, Path::new(&path));
        let mut input = files.input(Arc::clone(&schema));
        deletes.apply(&mut input);
        input
    };
    let told = [
        (corrupt(input(&|source, _| source.record_count = 3)).await, "3 are recorded"),
        (
            corrupt(input(&|source, _| source.content_range = Some((0, 40)))).await,
            "deletion vector is broken",
        ),
        (corrupt(input(&|source, _| source.content_range = Some((-4, 40)))).await, "is said to be at"),
        (corrupt(input(&|source, _| source.content_range = Some((4, 1 << 40)))).await, "is said to be at"),
        (corrupt(input(&|source, _| source.content_range = Some((i64::MAX, 9)))).await, "is said to be at"),
        (corrupt(input(&|_, path| std::fs::remove_file(path).unwrap())).await, "does not exist"),
        (
            corrupt(input(&|source, path| {
                std::fs::write(path, b"PFA1").unwrap();
                source.file_size_bytes = 1000;
            }))
            .await,
            "shorter than recorded",
        ),
    ];
    for (error, what) in told {
        assert!(error.contains(what) && error.contains(".puffin"), "{what}: {error}");
    }
    let mut deletes = Deletes::default();
    deletes.vector(&files, 0, &PositionSet::from_iter([1000]));
    let mut input = files.input(schema);
    deletes.apply(&mut input);
    let error = corrupt(input).await;
    assert!(error.contains("row 1000 is deleted of a data file of 1000 rows"), "{error}");
}

#[tokio::test]
async fn broken_position_delete_files_are_told() {
    let (files, schema) = numbers();
    let path = |count: usize| {
        let paths = std::iter::repeat_n(files.files[0].path.as_str(), count);
        (
            id(Field::new("file_path", DataType::Utf8, true), PATH_FIELD),
            Arc::new(StringArray::from_iter_values(paths)) as ArrayRef,
        )
    };
    let pos = |values: ArrayRef| (id(Field::new("pos", values.data_type().clone(), true), POS_FIELD), values);
    let nulls: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None]));
    for (columns, what) in [
        (vec![path(1), pos(longs([-1]))], "negative"),
        (vec![path(1), pos(longs([1000]))], "row 1000 is deleted"),
        (vec![path(2), pos(nulls)], "non-nullable"),
        (vec![path(1), pos(texts(&["1"]))], "is not a type"),
        (vec![path(1)], "is missing from the file"),
    ] {
        let mut deletes = Deletes::default();
        deletes.table(&files, columns, DeleteKind::PositionDeletes, vec![0]);
        let mut input = files.input(Arc::clone(&schema));
        deletes.apply(&mut input);
        let error = corrupt(input).await;
        assert!(error.contains(what) && error.contains("d0.parquet"), "{what}: {error}");
    }
    // As many rows as recorded; a Parquet file at all; there at all.
    let changed = |change: &dyn Fn(&mut DeleteSource, &Path)| {
        let mut deletes = Deletes::default();
        let source = deletes.positions(&files, &[(0, 1)]);
        let path = source.path.strip_prefix("file://").unwrap().to_owned();
        change(source, Path::new(&path));
        let mut input = files.input(Arc::clone(&schema));
        deletes.apply(&mut input);
        input
    };
    assert!(corrupt(changed(&|source, _| source.record_count = 7)).await.contains("7 are recorded"));
    assert!(corrupt(changed(&|_, path| std::fs::write(path, [7; 900]).unwrap())).await.contains("Parquet"));
    assert!(
        corrupt(changed(&|_, path| std::fs::remove_file(path).unwrap())).await.contains("does not exist")
    );
}

fn keys(field_ids: Vec<i32>) -> DeleteKind {
    DeleteKind::EqualityDeletes { field_ids }
}

#[tokio::test]
async fn equal_values_are_gone_and_null_equals_null() {
    let mut files = Files::new();
    let optional_longs = |values: Vec<Option<i64>>| Arc::new(Int64Array::from(values)) as ArrayRef;
    files.add(
        vec![
            (
                id(Field::new("a", DataType::Int64, true), 1),
                optional_longs(vec![Some(1), None, Some(3), Some(4), None]),
            ),
            (id(Field::new("b", DataType::Utf8, true), 2), texts(&["x", "x", "x", "y", "z"])),
        ],
        100,
    );
    let schema = schema(vec![optional(1, "a", PrimitiveType::Long), optional(2, "b", PrimitiveType::String)]);
    let read = async |deletes: &Deletes, columns: Vec<usize>| {
        let mut input = files.input(Arc::clone(&schema));
        deletes.apply(&mut input);
        table(scan(input, columns, 1)).await
    };
    // An int that the column was before it was widened; a second column that the scan does not give.
    let mut deletes = Deletes::default();
    let narrow: ArrayRef = Arc::new(Int32Array::from(vec![Some(3), None, Some(1)]));
    let columns = vec![
        (id(Field::new("k", DataType::Int32, true), 1), narrow),
        (id(Field::new("b", DataType::Utf8, true), 2), texts(&["x", "x", "y"])),
    ];
    deletes.table(&files, columns, keys(vec![1, 2]), vec![0]);
    assert_eq!(read(&deletes, vec![0]).await, ["| a |", "|   |", "| 1 |", "| 4 |"]);
    assert_eq!(read(&deletes, vec![1]).await, ["| b |", "| x |", "| y |", "| z |"]);
    let mut input = files.input(Arc::clone(&schema));
    deletes.apply(&mut input);
    let counted = rows(scan(input.clone(), vec![], 1)).await.unwrap();
    assert_eq!(counted.iter().map(RecordBatch::num_rows).sum::<usize>(), 3);
    let limited = scan(input, vec![1], 1).with_limit(Some(2)).unwrap();
    assert_eq!(rows(limited).await.unwrap().iter().map(RecordBatch::num_rows).sum::<usize>(), 2);
    // A second delete file on another column, and a vector.
    let columns = vec![(id(Field::new("b", DataType::Utf8, true), 2), texts(&["z", "none"]))];
    deletes.table(&files, columns, keys(vec![2]), vec![0]);
    deletes.vector(&files, 0, &PositionSet::from_iter([3]));
    assert_eq!(read(&deletes, vec![0, 1]).await, ["| a | b |", "| 1 | x |"]);
}

#[tokio::test]
async fn equality_deletes_on_constants_and_dropped_columns() {
    let mut files = Files::new();
    let a = |values: [i64; 2]| (id(Field::new("a", DataType::Int64, true), 1), longs(values));
    files.add(vec![a([1, 2])], 10).constants = BTreeMap::from([(2, ScalarValue::Utf8(Some("p".into())))]);
    files.add(vec![a([3, 4])], 10).constants = BTreeMap::from([(2, ScalarValue::Utf8(Some("q".into())))]);
    let gone = (id(Field::new("old", DataType::Int32, true), 9), ints([7, 8]));
    files.add(vec![a([5, 6]), gone], 10).constants = BTreeMap::from([(2, ScalarValue::Utf8(None))]);
    let schema = schema(vec![optional(1, "a", PrimitiveType::Long), optional(2, "p", PrimitiveType::String)]);
    let mut deletes = Deletes::default();
    let by_constant = vec![(id(Field::new("p", DataType::Utf8, true), 2), texts(&["q"]))];
    deletes.table(&files, by_constant, keys(vec![2]), vec![0, 1, 2]);
    let by_dropped = vec![(id(Field::new("old", DataType::Int32, true), 9), ints([8]))];
    deletes.table(&files, by_dropped, keys(vec![9]), vec![0, 1, 2]);
    let mut input = files.input(schema);
    deletes.apply(&mut input);
    let dropped: NestedFieldRef = optional(9, "icecap:9", PrimitiveType::Int);
    input.dropped = vec![dropped];
    assert_eq!(values(scan(input.clone(), vec![0], 2)).await, [1, 2, 5]);
    // Of a column that nobody knows nothing can be said.
    input.dropped.clear();
    let error = IcecapScanExec::try_new(Arc::new(input), Storage::local(), vec![0], 1).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
}

#[tokio::test]
async fn broken_equality_delete_files_are_told() {
    let (files, schema) = numbers();
    for (columns, what) in [
        (vec![(id(Field::new("b", DataType::Utf8, true), 2), texts(&["n1"]))], "is missing from the file"),
        (vec![(id(Field::new("a", DataType::Utf8, true), 1), texts(&["1"]))], "is not a type"),
    ] {
        let mut deletes = Deletes::default();
        deletes.table(&files, columns, keys(vec![1]), vec![0]);
        let mut input = files.input(Arc::clone(&schema));
        deletes.apply(&mut input);
        let error = corrupt(input).await;
        assert!(error.contains(what) && error.contains("d0.parquet"), "{what}: {error}");
    }
}

#[tokio::test]
async fn deletes_that_are_more_than_memory_are_an_honest_end() {
    use datafusion::execution::memory_pool::GreedyMemoryPool;
    use datafusion::execution::runtime_env::RuntimeEnvBuilder;
    let (files, schema) = numbers();
    let mut deletes = Deletes::default();
    let columns = vec![(id(Field::new("a", DataType::Int64, true), 1), longs(0..900))];
    deletes.table(&files, columns, keys(vec![1]), vec![0]);
    let mut input = files.input(schema);
    deletes.apply(&mut input);
    let pool = Arc::new(GreedyMemoryPool::new(10_000));
    let runtime = RuntimeEnvBuilder::new().with_memory_pool(pool).build_arc().unwrap();
    let context = SessionContext::new_with_config_rt(session_config(1, BATCH_ROWS), runtime);
    let read = collect(Arc::new(scan(input, vec![0], 1)), context.task_ctx()).await;
    let error = from_datafusion(read.unwrap_err());
    assert_eq!(error.kind(), ErrorKind::Exhausted, "{error}");
}

/// Several sources (here: files with and without a constant column) keep one limit.
#[tokio::test]
async fn a_limit_is_of_a_partition_and_not_of_a_source() {
    let mut files = Files::new();
    for at in 0..2 {
        let column = id(Field::new("a", DataType::Int64, true), 1);
        let file = files.add(vec![(column, longs(0..100))], 10);
        if at == 0 {
            file.constants = BTreeMap::from([(1, ScalarValue::Int64(Some(7)))]);
        }
    }
    let schema = schema(vec![optional(1, "a", PrimitiveType::Long)]);
    let limited = scan(files.input(schema), vec![0], 1).with_limit(Some(5)).unwrap();
    assert_eq!(values(limited).await.len(), 5);
}

#[tokio::test]
async fn row_lineage_is_what_is_stored_or_what_the_place_says() {
    let mut files = Files::new();
    let a = |values: [i64; 3]| (id(Field::new("a", DataType::Int64, true), 1), longs(values));
    let stored = |field, values: Vec<Option<i64>>| {
        (
            id(Field::new(format!("_{field}"), DataType::Int64, true), field),
            Arc::new(Int64Array::from(values)) as ArrayRef,
        )
    };
    let file = files.add(vec![a([1, 2, 3])], 10);
    (file.first_row_id, file.data_sequence_number, file.spec_id) = (Some(100), 4, 2);
    let file = files.add(
        vec![
            a([4, 5, 6]),
            stored(ROW_ID_FIELD, vec![Some(7), None, Some(9)]),
            stored(LAST_UPDATED_FIELD, vec![Some(1), Some(2), None]),
        ],
        10,
    );
    (file.first_row_id, file.data_sequence_number) = (Some(200), 5);
    // Of a table that kept no row ids.
    files.add(vec![a([10, 11, 12])], 10).data_sequence_number = 6;
    let schema = schema(vec![optional(1, "a", PrimitiveType::Long)]);
    let mut input = files.input(schema);
    input.partition_type = Arc::new(StructType::new(vec![optional(1000, "p", PrimitiveType::Int)]));
    for (at, file) in input.files.iter_mut().enumerate() {
        file.partition = vec![ScalarValue::Int32((at > 0).then_some(5))];
    }
    input.files[1].extra_deletes = Some(Arc::new(PositionSet::from_iter([1])));
    let full = full_schema(&input).unwrap();
    let names: Vec<&str> = full.fields().iter().map(|field| field.name().as_str()).collect();
    assert_eq!(names[1..], crate::sql::HIDDEN_COLUMNS);
    let read = scan(input.clone(), vec![0, 5, 6, 3, 4], 1);
    assert_eq!(
        table(read).await,
        [
            "| a  | _row_id | _last_updated_sequence_number | _spec_id | _partition |",
            "| 1  | 100     | 4                             | 2        | {p: }      |",
            "| 10 |         |                               | 0        | {p: 5}     |",
            "| 11 |         |                               | 0        | {p: 5}     |",
            "| 12 |         |                               | 0        | {p: 5}     |",
            "| 2  | 101     | 4                             | 2        | {p: }      |",
            "| 3  | 102     | 4                             | 2        | {p: }      |",
            "| 4  | 7       | 1                             | 0        | {p: 5}     |",
            "| 6  | 9       | 5                             | 0        | {p: 5}     |",
        ]
    );
    // Filters on what is derived are the reader's not to use, on a spec's id it may.
    for (at, name, value, left) in [
        (5, ROW_ID_COLUMN, ScalarValue::Int64(Some(9)), 8),
        (3, SPEC_ID_COLUMN, ScalarValue::Int32(Some(2)), 3),
    ] {
        let column: Arc<dyn PhysicalExpr> = Arc::new(Column::new(name, at));
        let predicate = binary(column, Operator::Eq, lit(value), &full).unwrap();
        let read = scan(input.clone(), vec![0], 1).with_predicate(Some(predicate), true).unwrap();
        assert_eq!(values(read).await.len(), left, "{name}");
    }
}

#[tokio::test]
async fn a_table_without_partitions_has_an_empty_tuple() {
    let (files, schema) = numbers();
    let mut input = files.input(schema);
    input.slices.truncate(1);
    let read = scan(input, vec![5, 0], 1).with_limit(Some(2)).unwrap();
    assert_eq!(table(read).await, ["| _partition | a |", "| {}         | 0 |", "| {}         | 1 |"]);
}
