use std::io::Write;
use std::path::{Path, PathBuf};

use ::parquet::arrow::ArrowWriter;
use ::parquet::file::properties::WriterProperties;
use datafusion::arrow::array::{
    ArrayRef, Int32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
    TimestampNanosecondArray,
};
use datafusion::arrow::datatypes::DataType;
use datafusion::arrow::util::pretty::pretty_format_batches;
use datafusion::prelude::{SessionConfig, SessionContext};
use icecap_table::ErrorKind;

use super::*;

struct Dir(tempfile::TempDir);

impl Dir {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn csv(&self, name: &str, text: &str) -> Value {
        std::fs::write(self.path(name), text).unwrap();
        Value::String(self.path(name).to_str().unwrap().to_owned())
    }
}

fn named(name: &str, value: Value) -> (Option<String>, Value) {
    (Some(name.to_owned()), value)
}

async fn table(name: &str, args: Vec<(Option<String>, Value)>) -> Result<Arc<dyn TableProvider>> {
    table_function(name, &args, &SourcePolicy::default(), &Storage::local()).await
}

async fn query(table: Arc<dyn TableProvider>, sql: &str) -> Result<String> {
    let context = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(3));
    context.register_table("t", table).unwrap();
    let rows = context.sql(sql).await.map_err(crate::plan::from_datafusion)?;
    let rows = rows.collect().await.map_err(crate::plan::from_datafusion)?;
    Ok(pretty_format_batches(&rows).unwrap().to_string())
}

fn lines(text: &[&str]) -> String {
    text.join("\n")
}

fn types(table: &Arc<dyn TableProvider>) -> Vec<String> {
    table.schema().fields().iter().map(|field| format!("{} {}", field.name(), field.data_type())).collect()
}

#[tokio::test]
async fn csv_types_are_found_and_values_kept() {
    let dir = Dir::new();
    let path = dir.csv(
        "a.csv",
        "i,f,b,d,ts,tz,zip,s\n\
         1,1.5,true,2024-01-02,2024-01-02 03:04:05,2024-01-02T03:04:05Z,01234,\"a,\"\"b\"\"\nc\"\n\
         ,,,,,,,\n\
         -9223372036854775808,2,FALSE,1969-12-31,1969-12-31T23:59:59.999999,2024-01-02T03:04:05+01:00,12345,é\n",
    );
    let table = table("read_csv", vec![(None, path)]).await.unwrap();
    assert_eq!(
        types(&table),
        [
            "i Int64",
            "f Float64",
            "b Boolean",
            "d Date32",
            "ts Timestamp(µs)",
            "tz Timestamp(µs, \"UTC\")",
            "zip Utf8",
            "s Utf8"
        ]
    );
    let rows = query(table, "SELECT i, f, b, d, ts, tz, zip, length(s) AS n, s IS NULL AS null FROM t").await;
    assert_eq!(
        rows.unwrap(),
        lines(&[
            "+----------------------+-----+-------+------------+----------------------------+----------------------+-------+---+-------+",
            "| i                    | f   | b     | d          | ts                         | tz                   | zip   | n | null  |",
            "+----------------------+-----+-------+------------+----------------------------+----------------------+-------+---+-------+",
            "| 1                    | 1.5 | true  | 2024-01-02 | 2024-01-02T03:04:05        | 2024-01-02T03:04:05Z | 01234 | 7 | false |",
            "|                      |     |       |            |                            |                      |       |   | true  |",
            "| -9223372036854775808 | 2.0 | false | 1969-12-31 | 1969-12-31T23:59:59.999999 | 2024-01-02T02:04:05Z | 12345 | 1 | false |",
            "+----------------------+-----+-------+------------+----------------------------+----------------------+-------+---+-------+",
        ])
    );
}

#[tokio::test]
async fn csv_options_change_the_reading() {
    let dir = Dir::new();
    let path = dir.csv("a.tsv", "NA\t'x\ty'\n3\tNA\n4\t\n");
    let args = vec![
        (None, path),
        named("header", Value::Boolean(false)),
        named("delim", Value::String("\t".into())),
        named("quote", Value::String("'".into())),
        named("null", Value::String("NA".into())),
    ];
    let table = table("read_csv", args).await.unwrap();
    assert_eq!(types(&table), ["column0 Int64", "column1 Utf8"]);
    let rows =
        query(table, "SELECT column0, coalesce(column1, 'null') AS s, column1 = '' AS e FROM t ORDER BY 1");
    assert_eq!(
        rows.await.unwrap(),
        lines(&[
            "+---------+------+-------+",
            "| column0 | s    | e     |",
            "+---------+------+-------+",
            "| 3       | null |       |",
            "| 4       |      | true  |",
            "|         | x\ty  | false |",
            "+---------+------+-------+",
        ])
    );
}

#[tokio::test]
async fn compressed_files_and_globs_are_one_table_and_projections_count() {
    let dir = Dir::new();
    dir.csv("a.csv", "\u{feff}x,y\n1,a\n2,b\n");
    let file = std::fs::File::create(dir.path("b.csv.gz")).unwrap();
    // Two gzip members, as `cat a.gz b.gz` makes them.
    let gz = |text: &str| {
        let mut encoder = flate2_encoder(Vec::new());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    };
    let mut file = std::io::BufWriter::new(file);
    file.write_all(&gz("x,y\n3,c\n")).unwrap();
    file.write_all(&gz("4,d\n")).unwrap();
    file.flush().unwrap();
    drop(file);
    let glob = dir.path("*.csv*").to_str().unwrap().to_owned();
    let table = table("read_csv", vec![(None, Value::String(glob))]).await.unwrap();
    let sums =
        query(Arc::clone(&table), "SELECT count(*) AS n, sum(x) AS s, max(y) AS m FROM t").await.unwrap();
    assert!(sums.contains("| 4 | 10 | d |"), "{sums}");
    let count = query(Arc::clone(&table), "SELECT count(*) AS n FROM t").await.unwrap();
    assert!(count.contains("| 4 |"), "{count}");
    let limited = query(table, "SELECT y FROM (SELECT * FROM t LIMIT 3)").await.unwrap();
    assert_eq!(limited.lines().count(), 3 + 4);
}

fn flate2_encoder(out: Vec<u8>) -> flate2::write::GzEncoder<Vec<u8>> {
    flate2::write::GzEncoder::new(out, flate2::Compression::fast())
}

#[tokio::test]
async fn a_value_that_does_not_fit_is_an_error_with_file_and_line() {
    let dir = Dir::new();
    let path = dir.csv("late.csv", "x\n1\n2\nthree\n");
    let args = |rows: &str| vec![(None, path.clone()), named("sample", Value::Number(rows.into()))];
    let sampled = table("read_csv", args("2")).await.unwrap();
    let error = query(sampled, "SELECT sum(x) FROM t").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    let text = error.to_string();
    for part in ["line 4", "\"x\"", "Int64", "\"three\"", "late.csv", "sample => -1"] {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert_eq!(types(&table("read_csv", args("-1")).await.unwrap()), ["x Utf8"]);
}

#[tokio::test]
async fn malformed_csv_is_an_error_naming_the_file() {
    let dir = Dir::new();
    for (name, text, says) in [
        ("ragged.csv", "a,b\n1,2\n3\n", "incorrect number of fields"),
        ("empty.csv", "", "empty"),
        ("twice.csv", "a,a\n1,2\n", "two columns"),
    ] {
        let path = dir.csv(name, text);
        let error = table("read_csv", vec![(None, path)]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
        assert!(error.to_string().contains(says) && error.to_string().contains(name), "{error}");
    }
    std::fs::write(dir.path("latin.csv"), b"a\n\xe9\n").unwrap();
    let path = Value::String(dir.path("latin.csv").to_str().unwrap().to_owned());
    let error = table("read_csv", vec![(None, path)]).await.unwrap_err();
    assert!(error.to_string().contains("UTF-8"), "{error}");
    dir.csv("one.csv", "a,b\n1,2\n");
    dir.csv("two.csv", "a,c\n1,2\n");
    let both = Value::List(
        ["one.csv", "two.csv"].map(|n| Value::String(dir.path(n).to_str().unwrap().to_owned())).to_vec(),
    );
    let error = table("read_csv", vec![(None, both)]).await.unwrap_err();
    assert!(error.to_string().contains("two.csv"), "{error}");
}

fn parquet(path: &Path, columns: Vec<(&str, ArrayRef)>, group_rows: usize) {
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let properties = WriterProperties::builder().set_max_row_group_row_count(Some(group_rows)).build();
    let file = std::fs::File::create(path).unwrap();
    let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

#[tokio::test]
async fn parquet_files_are_read_as_they_are() {
    let dir = Dir::new();
    let path = dir.path("a.parquet");
    parquet(
        &path,
        vec![
            ("i", Arc::new(Int32Array::from_iter_values(0..10_000)) as ArrayRef),
            ("s", Arc::new(StringArray::from_iter_values((0..10_000).map(|n| format!("s{n}"))))),
            ("ns", Arc::new(TimestampNanosecondArray::from_iter_values(0..10_000))),
        ],
        1000,
    );
    let argument = || vec![(None, Value::String(path.to_str().unwrap().to_owned()))];
    let source = table("read_parquet", argument()).await.unwrap();
    assert_eq!(types(&source), ["i Int32", "s Utf8", "ns Timestamp(ns)"]);
    let rows =
        query(Arc::clone(&source), "SELECT count(*) n, sum(i) s, max(s) m FROM t WHERE i >= 9990").await;
    let rows = rows.unwrap();
    assert!(rows.contains("| 10 | 99945 | s9999 |"), "{rows}");
    let plan = query(source, "EXPLAIN SELECT count(*) FROM t").await.unwrap();
    assert!(!plan.contains("SourceScanExec"), "the count is known: {plan}");
}

#[tokio::test]
async fn parquet_files_that_do_not_fit_together_or_are_none_are_errors() {
    let dir = Dir::new();
    let ints = Arc::new(Int32Array::from(vec![1])) as ArrayRef;
    let longs = Arc::new(Int64Array::from(vec![1])) as ArrayRef;
    parquet(&dir.path("a.parquet"), vec![("i", ints)], 10);
    parquet(&dir.path("b.parquet"), vec![("i", longs)], 10);
    let directory = || vec![(None, Value::String(dir.0.path().to_str().unwrap().to_owned()))];
    let error = table("read_parquet", directory()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("b.parquet") && error.to_string().contains("Int64"), "{error}");

    let good = std::fs::read(dir.path("a.parquet")).unwrap();
    std::fs::remove_file(dir.path("b.parquet")).unwrap();
    for (at, bytes) in [b"".to_vec(), b"PAR1".to_vec(), vec![0; 4096], good[..good.len() - 5].to_vec()]
        .into_iter()
        .enumerate()
    {
        let path = dir.path(&format!("bad{at}.parquet"));
        std::fs::write(&path, bytes).unwrap();
        let error = table("read_parquet", vec![(None, Value::String(path.to_str().unwrap().into()))]).await;
        let error = error.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
        assert!(error.to_string().contains(&format!("bad{at}.parquet")), "{error}");
    }
}

#[tokio::test]
async fn a_parquet_file_broken_anywhere_is_an_error_naming_it_or_still_right() {
    let dir = Dir::new();
    let path = dir.path("x.parquet");
    let values = || (0..2000).map(|n| format!("value {}", n % 97));
    parquet(&path, vec![("s", Arc::new(StringArray::from_iter_values(values())) as ArrayRef)], 500);
    let good = std::fs::read(&path).unwrap();
    for at in (0..good.len()).step_by(11) {
        let mut bytes = good.clone();
        bytes[at] ^= 0x55;
        std::fs::write(&path, &bytes).unwrap();
        let argument = vec![(None, Value::String(path.to_str().unwrap().to_owned()))];
        let source = match table("read_parquet", argument).await {
            Ok(source) => source,
            Err(error) => {
                assert!(error.to_string().contains("x.parquet"), "byte {at}: {error}");
                continue;
            }
        };
        if let Err(error) = query(source, "SELECT count(s), min(s) FROM t").await {
            assert_ne!(error.kind(), ErrorKind::Bug, "byte {at}: {error}");
        }
    }
}

#[tokio::test]
async fn int96_timestamps_are_microseconds() {
    use ::parquet::data_type::{Int96, Int96Type};
    use ::parquet::file::writer::SerializedFileWriter;
    use ::parquet::schema::parser::parse_message_type;

    let dir = Dir::new();
    let path = dir.path("a.parquet");
    let schema = Arc::new(parse_message_type("message m { OPTIONAL INT96 t; }").unwrap());
    let file = std::fs::File::create(&path).unwrap();
    let mut writer = SerializedFileWriter::new(file, schema, Arc::default()).unwrap();
    let mut group = writer.next_row_group().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    let mut value = Int96::new();
    // Nanoseconds of the day 1,000, and the Julian day of 1 January 9000, beyond what nanoseconds reach.
    value.set_data(1000, 0, 5_008_221);
    column.typed::<Int96Type>().write_batch(&[value], Some(&[1]), None).unwrap();
    column.close().unwrap();
    group.close().unwrap();
    writer.close().unwrap();
    let argument = vec![(None, Value::String(path.to_str().unwrap().to_owned()))];
    let source = table("read_parquet", argument).await.unwrap();
    let expected = DataType::Timestamp(datafusion::arrow::datatypes::TimeUnit::Microsecond, None);
    assert_eq!(source.schema().field(0).data_type(), &expected);
    let micros = (5_008_221_i64 - 2_440_588) * 86_400_000_000 + 1;
    let context = SessionContext::new();
    let rows = context.read_table(source).unwrap().collect().await.unwrap();
    let column = rows[0].column(0).as_any().downcast_ref::<TimestampMicrosecondArray>().unwrap();
    assert_eq!(column.value(0), micros);
}

/// One large file is no single task's: its row groups are dealt to all of them, each row to one.
#[tokio::test]
async fn one_parquet_file_is_parted_by_its_row_groups() {
    const ROWS: usize = 3_000_000;
    let dir = Dir::new();
    // Numbers that do not compress: some 24 MB.
    let mut state = 1_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state ^ state >> 29).cast_signed()
    };
    let values: Vec<i64> = (0..ROWS).map(|_| next()).collect();
    let sum = values.iter().fold(0_i64, |sum, value| sum.wrapping_add(*value));
    let batch = RecordBatch::try_from_iter([("a", Arc::new(Int64Array::from(values)) as ArrayRef)]).unwrap();
    let properties = WriterProperties::builder()
        .set_max_row_group_row_count(Some(300_000))
        .set_dictionary_enabled(false)
        .build();
    let file = std::fs::File::create(dir.path("a.parquet")).unwrap();
    let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();

    let path = Value::String(dir.path("a.parquet").to_str().unwrap().to_owned());
    let table = table("read_parquet", vec![(None, path)]).await.unwrap();
    let context = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(2));
    let plan = table.scan(&context.state(), None, &[], None).await.unwrap();
    let scan = plan.downcast_ref::<SourceScanExec>().unwrap();
    // A slice has 8 MiB at least.
    assert_eq!((scan.pieces(), plan.properties().partitioning.partition_count()), (2, 2));
    // Whoever is free takes the next slice: a stream that is read alone gets them all.
    let config = crate::plan::session_config(2, 8192);
    let alone = SessionContext::new_with_config(config);
    let stream = Arc::clone(&plan).execute(1, alone.task_ctx()).unwrap();
    let batches = datafusion::physical_plan::common::collect(stream).await.unwrap();
    assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), ROWS);
    for parts in [1, 2, 5] {
        let (mut rows, mut found, mut with_rows) = (0, 0_i64, 0);
        for part in 0..parts {
            let own = Arc::new(scan.part(part, parts).unwrap());
            assert!(own.input().files.len() <= 1);
            let batches = datafusion::physical_plan::collect(own, context.task_ctx()).await.unwrap();
            let own: usize = batches.iter().map(RecordBatch::num_rows).sum();
            rows += own;
            with_rows += usize::from(own > 0);
            for batch in &batches {
                let column = batch.column(0).as_any().downcast_ref::<Int64Array>().unwrap();
                found = column.values().iter().fold(found, |sum, value| sum.wrapping_add(*value));
            }
        }
        assert_eq!((rows, found, with_rows), (ROWS, sum, parts.min(2)), "{parts} parts");
    }
}
