//! Files: how many, how large, what they are called, what is left of a failed or cancelled write.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use datafusion::arrow::array::{ArrayRef, Int64Array, StringArray};
use icecap_table::storage::DiskSync;
use parquet::basic::Compression;
use parquet::file::metadata::ParquetMetaData;

use super::*;

fn table() -> Table {
    Table::new(vec![primitive(1, "i", PrimitiveType::Long), primitive(2, "s", PrimitiveType::String)])
}

/// Rows `from..to`, with texts that do not compress well.
fn rows(table: &Table, from: i64, to: i64) -> RecordBatch {
    let text =
        |i: i64| format!("{:032x}", (i as u128 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835));
    let ints: ArrayRef = Arc::new(Int64Array::from_iter_values(from..to));
    let texts: ArrayRef = Arc::new(StringArray::from_iter_values((from..to).map(text)));
    RecordBatch::try_new(table.arrow_schema(), vec![ints, texts]).unwrap()
}

fn metadata(file: &StagedFile) -> Arc<ParquetMetaData> {
    Arc::clone(open(file).metadata())
}

#[tokio::test]
async fn no_rows_make_no_file() {
    let table = table();
    assert_eq!(table.write(&[vec![], vec![rows(&table, 0, 0)]]).await, []);
    assert_eq!(table.on_disk(), Vec::<String>::new());
}

#[tokio::test]
async fn the_metrics_of_a_file_are_exact() {
    let table = table();
    let file = table.write_one(rows(&table, 5, 25)).await;
    let metadata = metadata(&file);
    let group = metadata.row_group(0);
    assert_eq!(
        file.path,
        format!("{}/{}-0-1-2-n3-0-0.parquet", table.data_location(), table.target().write_id)
    );
    assert_eq!((file.spec_id, file.partition.len(), file.record_count), (0, 0, 20));
    assert_eq!(
        file.file_size_bytes,
        std::fs::metadata(file.path.trim_start_matches("file://")).unwrap().len()
    );
    assert_eq!(file.split_offsets, [4]);
    let sizes =
        [(1, group.column(0).compressed_size() as u64), (2, group.column(1).compressed_size() as u64)];
    assert_eq!(file.column_sizes, BTreeMap::from(sizes));
    assert_eq!(file.value_counts, BTreeMap::from([(1, 20), (2, 20)]));
    assert_eq!(file.null_counts, BTreeMap::from([(1, 0), (2, 0)]));
    assert_eq!(file.lower_bounds[&1], 5_i64.to_le_bytes());
    assert_eq!(file.upper_bounds[&1], 24_i64.to_le_bytes());
    let texts: BTreeSet<String> =
        read(&file).column(1).as_string::<i32>().iter().map(|text| text.unwrap().to_owned()).collect();
    assert_eq!(file.lower_bounds[&2], texts.first().unwrap().as_bytes()[..16]);
    let mut upper = texts.last().unwrap().as_bytes()[..16].to_vec();
    *upper.last_mut().unwrap() += 1;
    assert_eq!(file.upper_bounds[&2], upper);
}

#[tokio::test]
async fn the_footer_is_as_iceberg_java_writes_it() {
    let table = table();
    let file = table.write_one(rows(&table, 0, 30_000)).await;
    let metadata = metadata(&file);
    let keys = metadata.file_metadata().key_value_metadata().unwrap();
    let schema: Schema = serde_json::from_str(keys[0].value.as_deref().unwrap()).unwrap();
    assert_eq!((keys[0].key.as_str(), &schema, keys.len()), ("iceberg.schema", table.schema.as_ref(), 1));
    let column = metadata.row_group(0).column(1);
    assert!(matches!(column.compression(), Compression::ZSTD(_)));
    assert_eq!(column.column_descr().self_type().get_basic_info().id(), 2);
    assert!(metadata.column_index().is_some() && metadata.offset_index().is_some());
    // A page has at most 20,000 rows, so there are two.
    assert_eq!(metadata.offset_index().unwrap()[0][0].page_locations().len(), 2);
}

#[tokio::test]
async fn files_roll_at_the_target_size() {
    let table = table().with("write.target-file-size-bytes", "200000");
    let batches = (0..10).map(|at| rows(&table, at * 5000, (at + 1) * 5000)).collect();
    let files = table.write(&[batches]).await;
    assert!((8..=20).contains(&files.len()), "{} files", files.len());
    for file in &files[..files.len() - 1] {
        // Pages that are not full yet count uncompressed, and a small file is mostly such pages.
        assert!((90_000..300_000).contains(&file.file_size_bytes), "{}", file.file_size_bytes);
    }
    let mut values: Vec<i64> = Vec::new();
    for file in &files {
        values
            .extend(read(file).column(0).as_primitive::<datafusion::arrow::datatypes::Int64Type>().values());
    }
    values.sort_unstable();
    assert_eq!(values, (0..50_000).collect::<Vec<_>>());
}

#[tokio::test]
async fn row_groups_end_at_their_size_and_the_splits_are_known() {
    let table = table().with("write.parquet.row-group-size-bytes", "200000");
    let batches = (0..10).map(|at| rows(&table, at * 5000, (at + 1) * 5000)).collect();
    let files = table.write(&[batches]).await;
    assert_eq!(files.len(), 1);
    let metadata = metadata(&files[0]);
    assert!((8..=20).contains(&metadata.num_row_groups()), "{} row groups", metadata.num_row_groups());
    assert_eq!(files[0].split_offsets.len(), metadata.num_row_groups());
    assert!(files[0].split_offsets.is_sorted());
    assert_eq!(files[0].lower_bounds[&1], 0_i64.to_le_bytes());
    assert_eq!(files[0].upper_bounds[&1], 49_999_i64.to_le_bytes());
    assert_eq!(read(&files[0]).num_rows(), 50_000);
}

#[tokio::test]
async fn metrics_modes_are_obeyed() {
    let table = table()
        .with("write.metadata.metrics.column.i", "counts")
        .with("write.metadata.metrics.default", "truncate(20)");
    let file = table.write_one(rows(&table, 0, 3)).await;
    assert!(!file.lower_bounds.contains_key(&1) && file.value_counts.contains_key(&1));
    assert_eq!(file.lower_bounds[&2].len(), 20);
    let table =
        table.with("write.metadata.metrics.default", "full").with("write.metadata.metrics.column.i", "none");
    std::fs::remove_dir_all(table.folder.path().join("data")).unwrap();
    let file = table.write_one(rows(&table, 0, 3)).await;
    assert!(!file.value_counts.contains_key(&1) && file.column_sizes.contains_key(&1));
    assert_eq!(file.upper_bounds[&2].len(), 32);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn one_input_partition_is_encoded_on_all_threads_to_the_same_rows() {
    let table = table();
    let batches: Vec<_> = (0..40).map(|at| rows(&table, at * 5000, (at + 1) * 5000)).collect();
    let files = table.write(std::slice::from_ref(&batches)).await;
    assert_eq!(files.len(), 1);
    let expected = concat_batches(&table.arrow_schema(), &batches).unwrap();
    assert_eq!(read(&files[0]).columns(), expected.columns());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn names_are_unique_over_input_partitions() {
    let table = table();
    let partitions: Vec<_> = (0..7).map(|at| vec![rows(&table, at * 10, at * 10 + 10)]).collect();
    let plan = table.plan(&partitions, Storage::local());
    let files = run(Arc::clone(&plan)).await.unwrap();
    let names: BTreeSet<_> = files.iter().map(|file| file.path.clone()).collect();
    assert_eq!(names.len(), 7);
    assert_eq!(plan.begun_files().into_iter().collect::<BTreeSet<_>>(), names);
    let prefix = format!("{}/{}", table.data_location(), table.target().file_prefix());
    assert!(
        names.iter().all(|name| name.starts_with(&prefix) && is_staged_by(name, table.target().write_id))
    );
}

#[derive(Debug, Default)]
struct CountingSync {
    files: AtomicUsize,
    folders: AtomicUsize,
}

impl DiskSync for CountingSync {
    fn sync_file(&self, file: &std::fs::File) -> std::io::Result<()> {
        self.files.fetch_add(1, Ordering::Relaxed);
        file.sync_all()
    }

    fn sync_directory(&self, _: &std::path::Path) -> std::io::Result<()> {
        self.folders.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

#[tokio::test]
async fn a_row_costs_one_sync_of_its_file_and_one_of_its_folder() {
    let table = table();
    std::fs::create_dir(table.folder.path().join("data")).unwrap();
    let sync = Arc::new(CountingSync::default());
    let storage = Storage::local_with_sync(Arc::clone(&sync) as Arc<dyn DiskSync>);
    run(table.plan(&[vec![rows(&table, 0, 1)]], storage)).await.unwrap();
    let counts = (sync.files.load(Ordering::Relaxed), sync.folders.load(Ordering::Relaxed));
    assert_eq!(counts, (1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_write_leaves_nothing() {
    // Files of several parts, so that uploads are under way when the stream is dropped.
    let table = table().with("write.parquet.row-group-size-bytes", "9000000");
    let batch = rows(&table, 0, 100_000);
    let plan = table.plan(&[vec![batch; 40]], Storage::local());
    let stream = plan.execute(0, Arc::new(TaskContext::default())).unwrap();
    let running = tokio::spawn(stream.try_collect::<Vec<_>>());
    while table.on_disk().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    running.abort();
    assert!(running.await.unwrap_err().is_cancelled());
    for _ in 0..6000 {
        if table.on_disk().is_empty() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("left behind: {:?}", table.on_disk());
}

#[tokio::test]
async fn parquet_properties_reach_the_footer() {
    let codecs = [
        ("snappy", None, Compression::SNAPPY),
        ("gzip", Some("9"), Compression::GZIP(Default::default())),
        ("lz4", None, Compression::LZ4_RAW),
        ("brotli", Some("3"), Compression::BROTLI(Default::default())),
        ("uncompressed", None, Compression::UNCOMPRESSED),
        ("zstd", Some("19"), Compression::ZSTD(Default::default())),
    ];
    for (codec, level, expected) in codecs {
        let mut table = table().with("write.parquet.compression-codec", codec);
        if let Some(level) = level {
            table = table.with("write.parquet.compression-level", level);
        }
        let found =
            metadata(&table.write_one(rows(&table, 0, 100)).await).row_group(0).column(1).compression();
        assert_eq!(std::mem::discriminant(&found), std::mem::discriminant(&expected), "{codec}");
    }
    let size_at = async |level: &str| {
        let table = table().with("write.parquet.compression-level", level);
        table.write_one(rows(&table, 0, 20_000)).await.file_size_bytes
    };
    assert!(size_at("19").await < size_at("1").await);
}

#[tokio::test]
async fn pages_dictionaries_and_bloom_filters_are_as_the_table_says() {
    let pages = async |key: &str, value: &str| {
        let table = table().with(key, value);
        let file = table.write_one(rows(&table, 0, 30_000)).await;
        metadata(&file).offset_index().unwrap()[0][0].page_locations().len()
    };
    // The encoder looks at its limits every thousand rows or so.
    assert!((8..=10).contains(&pages("write.parquet.page-row-limit", "3000").await));
    assert!(pages("write.parquet.page-size-bytes", "10000").await > 10);

    // Few values have a dictionary, unless it may not be that large.
    let table = table();
    let few = |table: &Table| {
        let whole = rows(table, 0, 100);
        let batches: Vec<_> = (0..50).map(|_| whole.clone()).collect();
        concat_batches(&whole.schema(), &batches).unwrap()
    };
    let has_dictionary =
        |file: &StagedFile| metadata(file).row_group(0).column(1).dictionary_page_offset().is_some();
    assert!(has_dictionary(&table.write_one(few(&table)).await));
    let small = self::table().with("write.parquet.dict-size-bytes", "10");
    assert!(!has_dictionary(&small.write_one(few(&small)).await));

    let key = "write.parquet.bloom-filter-enabled.column.s";
    let filtered = self::table().with(key, "true");
    let with = metadata(&filtered.write_one(rows(&filtered, 0, 1000)).await);
    assert_eq!([0, 1].map(|at| with.row_group(0).column(at).bloom_filter_offset().is_some()), [false, true]);
    let bytes = |metadata: &ParquetMetaData| metadata.row_group(0).column(1).bloom_filter_length().unwrap();
    let tiny = self::table().with(key, "true").with("write.parquet.bloom-filter-max-bytes", "64");
    assert!(bytes(&metadata(&tiny.write_one(rows(&tiny, 0, 1000)).await)) < bytes(&with));
}

#[tokio::test]
async fn only_the_first_columns_have_metrics_unless_the_table_asks_for_more() {
    let limit = "write.metadata.metrics.max-inferred-column-defaults";
    let counted = async |table: Table| {
        let file = table.write_one(rows(&table, 0, 10)).await;
        file.value_counts.keys().copied().collect::<Vec<_>>()
    };
    let all = counted(table()).await;
    assert_eq!(counted(table().with(limit, "1")).await, all[..1]);
    assert_eq!(counted(table().with(limit, "1").with("write.metadata.metrics.default", "counts")).await, all);
    let named = table().with(limit, "1").with("write.metadata.metrics.column.s", "full");
    assert_eq!(counted(named).await, all[..2]);
}
