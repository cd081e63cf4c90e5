//! Scans of real files: evolution, hidden columns, slices, hostile bytes.

mod deletes;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ::parquet::arrow::ArrowWriter;
use ::parquet::file::metadata::ParquetMetaDataReader;
use ::parquet::file::properties::WriterProperties;
use datafusion::arrow::array::{ArrayRef, Int32Array, Int64Array, RecordBatch, StringArray, StructArray};
use datafusion::arrow::datatypes::{DataType, Field, Fields, Schema as ArrowSchema};
use datafusion::arrow::util::pretty::pretty_format_batches;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{Column, binary, lit};
use datafusion::physical_plan::{ExecutionPlan, collect};
use datafusion::prelude::SessionContext;
use icecap_table::iceberg::spec::{
    Literal, NameMapping, NestedField, PrimitiveType, Schema, StructType, Type,
};
use icecap_table::storage::Storage;
use icecap_table::{ErrorKind, Result};
use itertools::Itertools;

use super::*;
use crate::arrow_schema::FIELD_ID;
use crate::plan::session::BATCH_ROWS;
use crate::plan::{from_datafusion, session_config};

fn id(field: Field, id: i32) -> Field {
    field.with_metadata(HashMap::from([(FIELD_ID.to_owned(), id.to_string())]))
}

fn optional(id: i32, name: &str, ty: PrimitiveType) -> Arc<NestedField> {
    Arc::new(NestedField::optional(id, name, Type::Primitive(ty)))
}

fn schema(fields: Vec<Arc<NestedField>>) -> Arc<Schema> {
    Arc::new(Schema::builder().with_fields(fields).build().unwrap())
}

struct Files {
    dir: tempfile::TempDir,
    files: Vec<DataFile>,
    offsets: Vec<Vec<i64>>,
}

impl Files {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), files: Vec::new(), offsets: Vec::new() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn add(&mut self, columns: Vec<(Field, ArrayRef)>, group_rows: usize) -> &mut DataFile {
        let path = self.path(&format!("{}.parquet", self.files.len()));
        let (rows, offsets) = write(&path, columns, group_rows);
        self.offsets.push(offsets);
        self.files.push(DataFile {
            path: format!("file://{}", path.display()),
            file_size_bytes: std::fs::metadata(&path).unwrap().len(),
            record_count: rows,
            ..DataFile::default()
        });
        self.files.last_mut().unwrap()
    }

    fn input(&self, schema: Arc<Schema>) -> ScanInput {
        let slices = (0..self.files.len()).map(|file| FileSlice { file, start: 0, end: None }).collect();
        ScanInput { files: self.files.clone(), slices, ..ScanInput::new("t".into(), schema) }
    }
}

fn write(path: &Path, columns: Vec<(Field, ArrayRef)>, group_rows: usize) -> (u64, Vec<i64>) {
    let (fields, arrays): (Vec<_>, Vec<_>) = columns.into_iter().unzip();
    let batch = RecordBatch::try_new(Arc::new(ArrowSchema::new(fields)), arrays).unwrap();
    let properties = WriterProperties::builder()
        .set_max_row_group_row_count(Some(group_rows))
        .set_data_page_row_count_limit(group_rows / 4)
        .set_write_batch_size(group_rows / 4)
        .build();
    let file = std::fs::File::create(path).unwrap();
    let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    let footer = ParquetMetaDataReader::new().parse_and_finish(&std::fs::File::open(path).unwrap()).unwrap();
    let offsets = footer.row_groups().iter().map(|group| {
        let column = group.column(0);
        column.dictionary_page_offset().unwrap_or_else(|| column.data_page_offset())
    });
    (batch.num_rows() as u64, offsets.collect())
}

fn scan(input: ScanInput, columns: Vec<usize>, partitions: usize) -> IcecapScanExec {
    IcecapScanExec::try_new(Arc::new(input), Storage::local(), columns, partitions).unwrap()
}

async fn rows(scan: IcecapScanExec) -> Result<Vec<RecordBatch>> {
    let context = SessionContext::new_with_config(session_config(4, BATCH_ROWS));
    collect(Arc::new(scan), context.task_ctx()).await.map_err(from_datafusion)
}

async fn table(scan: IcecapScanExec) -> Vec<String> {
    let text = pretty_format_batches(&rows(scan).await.unwrap()).unwrap().to_string();
    let mut lines: Vec<String> =
        text.lines().filter(|line| line.starts_with('|')).map(str::to_owned).collect();
    lines[1..].sort();
    lines
}

fn longs(values: impl IntoIterator<Item = i64>) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(values))
}

fn ints(values: impl IntoIterator<Item = i32>) -> ArrayRef {
    Arc::new(Int32Array::from_iter_values(values))
}

fn texts(values: &[&str]) -> ArrayRef {
    Arc::new(StringArray::from(values.to_vec()))
}

#[tokio::test]
async fn columns_are_found_by_id_whatever_they_are_called() {
    let mut files = Files::new();
    // Names swapped against the table's, an int since widened, a column since dropped.
    files.add(
        vec![
            (id(Field::new("b", DataType::Int32, false), 1), ints([1, 2])),
            (id(Field::new("gone", DataType::Int32, false), 9), ints([8, 8])),
            (id(Field::new("a", DataType::Utf8, true), 2), texts(&["x", "y"])),
        ],
        100,
    );
    // The table's own layout.
    files.add(
        vec![
            (id(Field::new("a", DataType::Int64, true), 1), longs([3])),
            (id(Field::new("b", DataType::Utf8, true), 2), texts(&["z"])),
            (id(Field::new("c", DataType::Int32, true), 3), ints([7])),
        ],
        100,
    );
    let added = NestedField::optional(3, "c", Type::Primitive(PrimitiveType::Int));
    let schema = schema(vec![
        optional(1, "a", PrimitiveType::Long),
        optional(2, "b", PrimitiveType::String),
        Arc::new(added.with_initial_default(Literal::int(5))),
        optional(4, "d", PrimitiveType::Date),
    ]);
    let all = scan(files.input(Arc::clone(&schema)), vec![0, 1, 2, 3], 2);
    assert_eq!(
        table(all).await,
        ["| a | b | c | d |", "| 1 | x | 5 |   |", "| 2 | y | 5 |   |", "| 3 | z | 7 |   |"]
    );
    let swapped = scan(files.input(schema), vec![1, 0], 2);
    assert_eq!(table(swapped).await, ["| b | a |", "| x | 1 |", "| y | 2 |", "| z | 3 |"]);
}

#[tokio::test]
async fn a_binary_column_that_bears_a_text_columns_name_is_not_read_as_text() {
    let mut files = Files::new();
    let bytes: ArrayRef = Arc::new(datafusion::arrow::array::BinaryArray::from_vec(vec![b"\xff\xfe"]));
    files.add(
        vec![
            (id(Field::new("a", DataType::Binary, true), 2), bytes),
            (id(Field::new("b", DataType::Utf8, true), 1), texts(&["text"])),
        ],
        10,
    );
    let schema =
        schema(vec![optional(1, "a", PrimitiveType::String), optional(2, "b", PrimitiveType::Binary)]);
    assert_eq!(table(scan(files.input(schema), vec![0, 1], 1)).await, ["| a    | b    |", "| text | fffe |"]);
}

#[tokio::test]
async fn nested_fields_are_found_by_id_too() {
    let mut files = Files::new();
    let stored = Fields::from(vec![
        id(Field::new("old", DataType::Int32, true), 11),
        id(Field::new("gone", DataType::Int32, true), 12),
    ]);
    let array: ArrayRef = Arc::new(StructArray::new(stored.clone(), vec![ints([1, 2]), ints([3, 4])], None));
    files.add(vec![(id(Field::new("s", DataType::Struct(stored), true), 1), array)], 10);
    let now = StructType::new(vec![
        optional(13, "added", PrimitiveType::String),
        optional(11, "new", PrimitiveType::Long),
    ]);
    let schema = schema(vec![Arc::new(NestedField::optional(1, "s", Type::Struct(now)))]);
    assert_eq!(
        table(scan(files.input(schema), vec![0], 1)).await,
        ["| s                 |", "| {added: , new: 1} |", "| {added: , new: 2} |"]
    );
}

#[tokio::test]
async fn a_partition_columns_constant_wins_over_the_file() {
    let mut files = Files::new();
    let columns = |values: [i64; 2]| vec![(id(Field::new("a", DataType::Int64, true), 1), longs(values))];
    files.add(columns([1, 2]), 10).constants =
        BTreeMap::from([(2, ScalarValue::Utf8(Some("p".into()))), (3, ScalarValue::Int32(None))]);
    files.add(columns([3, 4]), 10).constants = BTreeMap::from([(2, ScalarValue::Utf8(Some("q".into())))]);
    let both = vec![
        (id(Field::new("a", DataType::Int64, true), 1), longs([5])),
        (id(Field::new("p", DataType::Utf8, true), 2), texts(&["stored"])),
        (id(Field::new("n", DataType::Int32, true), 3), ints([6])),
    ];
    files.add(both, 10);
    let schema = schema(vec![
        optional(1, "a", PrimitiveType::Long),
        optional(2, "p", PrimitiveType::String),
        optional(3, "n", PrimitiveType::Int),
    ]);
    let all = scan(files.input(Arc::clone(&schema)), vec![0, 1, 2], 2);
    assert_eq!(
        table(all).await,
        [
            "| a | p      | n |",
            "| 1 | p      |   |",
            "| 2 | p      |   |",
            "| 3 | q      |   |",
            "| 4 | q      |   |",
            "| 5 | stored | 6 |"
        ]
    );
    // The predicate needs a column that is not given, and prunes a whole file by its constant.
    let input = files.input(Arc::clone(&schema));
    let full = full_schema(&input).unwrap();
    let p: Arc<dyn PhysicalExpr> = Arc::new(Column::new("p", 1));
    let predicate = binary(p, Operator::Eq, lit("q"), &full).unwrap();
    let pruned = scan(input, vec![0], 1).with_predicate(Some(predicate), false).unwrap();
    assert_eq!(table(pruned).await[1..], ["| 3 |", "| 4 |"]);
}

#[tokio::test]
async fn file_and_position_are_right_across_row_groups_slices_and_pruning() {
    let mut files = Files::new();
    for file in 0..2 {
        let column = id(Field::new("a", DataType::Int64, true), 1);
        files.add(vec![(column, longs((0..1000).map(|n| n + file * 1000)))], 100);
    }
    let schema = schema(vec![optional(1, "a", PrimitiveType::Long)]);
    let mut input = files.input(schema);
    input.slices = Vec::new();
    for (file, offsets) in files.offsets.iter().enumerate() {
        assert_eq!(offsets.len(), 10);
        let cut = u64::try_from(offsets[7]).unwrap();
        input.slices.push(FileSlice { file, start: 0, end: Some(cut) });
        input.slices.push(FileSlice { file, start: cut, end: None });
    }
    let full = full_schema(&input).unwrap();
    let a: Arc<dyn PhysicalExpr> = Arc::new(Column::new("a", 0));
    let predicates = [
        None,
        Some(binary(Arc::clone(&a), Operator::Gt, lit(1750_i64), &full).unwrap()),
        Some(binary(a, Operator::Eq, lit(730_i64), &full).unwrap()),
    ];
    let expected = predicates.into_iter().zip([2000, 249, 1]);
    for ((predicate, expected), late) in expected.cartesian_product([false, true]) {
        let scan = scan(input.clone(), vec![1, 0, 2], 3).with_predicate(predicate.clone(), late).unwrap();
        let batches = rows(scan).await.unwrap();
        let mut seen = 0;
        for batch in &batches {
            assert_eq!(batch.schema().field(0).name(), FILE_COLUMN);
            assert_eq!(batch.schema().field(2).name(), POS_COLUMN);
            let file = batch.column(0).as_any().downcast_ref::<StringArray>().unwrap();
            let a = batch.column(1).as_any().downcast_ref::<Int64Array>().unwrap();
            let pos = batch.column(2).as_any().downcast_ref::<Int64Array>().unwrap();
            for row in 0..batch.num_rows() {
                let at = usize::try_from(a.value(row) / 1000).unwrap();
                assert_eq!(file.value(row), files.files[at].path);
                assert_eq!(pos.value(row), a.value(row) % 1000);
                seen += 1;
            }
        }
        let total: usize = batches.iter().map(RecordBatch::num_rows).sum();
        assert_eq!(total, seen);
        if late {
            assert_eq!(seen, expected, "{predicate:?}");
            continue;
        }
        // Pruning keeps whole pages; it may not lose a row.
        assert!(seen >= expected && (predicate.is_none() || seen < 1000), "{seen} rows for {predicate:?}");
    }
}

#[tokio::test]
async fn no_column_at_all_still_counts_rows_and_a_limit_stops() {
    let mut files = Files::new();
    files.add(vec![(id(Field::new("a", DataType::Int64, true), 1), longs(0..1000))], 100);
    let schema = schema(vec![optional(1, "a", PrimitiveType::Long)]);
    let counted = rows(scan(files.input(Arc::clone(&schema)), vec![], 2)).await.unwrap();
    assert_eq!(counted.iter().map(RecordBatch::num_rows).sum::<usize>(), 1000);
    let limited = scan(files.input(schema), vec![0], 1).with_limit(Some(5)).unwrap();
    assert_eq!(rows(limited).await.unwrap().iter().map(RecordBatch::num_rows).sum::<usize>(), 5);
}

#[tokio::test]
async fn files_without_ids_are_read_by_mapping_or_by_name_and_never_guessed() {
    let mut files = Files::new();
    files.add(
        vec![
            (Field::new("old_a", DataType::Int64, true), longs([1])),
            (Field::new("b", DataType::Utf8, true), texts(&["x"])),
        ],
        10,
    );
    let schema = schema(vec![optional(1, "a", PrimitiveType::Long), optional(2, "b", PrimitiveType::String)]);
    let mut input = files.input(Arc::clone(&schema));
    let error = rows(scan(input.clone(), vec![0], 1)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    let text = error.to_string();
    assert!(text.contains("old_a") && text.contains("name-mapping") && text.contains("0.parquet"), "{text}");
    let mapping: NameMapping =
        serde_json::from_str(r#"[{"field-id":1,"names":["a","old_a"]},{"field-id":2,"names":["b"]}]"#)
            .unwrap();
    input.name_mapping = Some(Arc::new(mapping));
    assert_eq!(table(scan(input, vec![0, 1], 1)).await, ["| a | b |", "| 1 | x |"]);

    let mut files = Files::new();
    files.add(vec![(Field::new("b", DataType::Utf8, true), texts(&["y"]))], 10);
    assert_eq!(table(scan(files.input(schema), vec![0, 1], 1)).await, ["| a | b |", "|   | y |"]);
}

#[tokio::test]
async fn a_file_that_is_not_what_the_manifest_says_is_an_error_naming_it() {
    let mut files = Files::new();
    let column = || vec![(id(Field::new("a", DataType::Int64, true), 1), longs(0..100))];
    files.add(column(), 50).record_count = 99;
    let schema = schema(vec![optional(1, "a", PrimitiveType::Long)]);
    let expect = |error: icecap_table::Error, says: &str| {
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
        assert!(error.to_string().contains(says) && error.to_string().contains("0.parquet"), "{error}");
    };
    let wrong = rows(scan(files.input(Arc::clone(&schema)), vec![0], 1)).await.unwrap_err();
    expect(wrong, "100 rows, and 99");
    std::fs::remove_file(files.path("0.parquet")).unwrap();
    let missing = rows(scan(files.input(schema), vec![0], 1)).await.unwrap_err();
    expect(missing, "does not exist");

    let mut files = Files::new();
    files.add(vec![(id(Field::new("a", DataType::Utf8, true), 1), texts(&["x"]))], 10);
    let long = self::schema(vec![optional(1, "a", PrimitiveType::Long)]);
    let wrong = rows(scan(files.input(long), vec![0], 1)).await.unwrap_err();
    expect(wrong, "stored as Utf8");

    let mut files = Files::new();
    let nulls: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None]));
    files.add(vec![(id(Field::new("a", DataType::Int64, true), 1), nulls)], 10);
    let required =
        self::schema(vec![Arc::new(NestedField::required(1, "a", Type::Primitive(PrimitiveType::Long)))]);
    let wrong = rows(scan(files.input(required), vec![0], 1)).await.unwrap_err();
    expect(wrong, "non-nullable");
}

#[tokio::test]
async fn a_data_file_broken_anywhere_is_an_error_or_still_right() {
    let mut files = Files::new();
    let texts: ArrayRef = Arc::new(StringArray::from_iter_values((0..600).map(|n| format!("v{}", n % 50))));
    files.add(vec![(id(Field::new("a", DataType::Utf8, true), 1), texts)], 200);
    let schema = schema(vec![optional(1, "a", PrimitiveType::String)]);
    let path = files.path("0.parquet");
    let good = std::fs::read(&path).unwrap();
    for at in (0..good.len()).step_by(7) {
        let mut bytes = good.clone();
        bytes[at] = bytes[at].wrapping_add(101);
        std::fs::write(&path, &bytes).unwrap();
        if let Err(error) = rows(scan(files.input(Arc::clone(&schema)), vec![0, 2], 2)).await {
            assert_ne!(error.kind(), ErrorKind::Bug, "byte {at}: {error}");
            assert!(error.to_string().contains("0.parquet"), "byte {at}: {error}");
        }
    }
}

#[test]
fn explain_shows_what_is_read() {
    let mut files = Files::new();
    files.add(vec![(id(Field::new("a", DataType::Int64, true), 1), longs(0..10))], 10);
    let schema = schema(vec![optional(1, "a", PrimitiveType::Long)]);
    let size = files.files[0].file_size_bytes;
    let plan: Arc<dyn ExecutionPlan> = Arc::new(scan(files.input(schema), vec![0, 2], 1));
    let text = datafusion::physical_plan::displayable(plan.as_ref()).one_line().to_string();
    assert_eq!(
        text.trim(),
        format!("IcecapScanExec: table=t, files=1, slices=1, bytes={size}, projection=[a, _pos]")
    );
}
