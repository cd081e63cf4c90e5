use std::sync::Arc;

use flate2::Compression;
use flate2::write::DeflateEncoder;
use iceberg::io::{MemoryStorage, OutputFile, Storage as _};
use iceberg::spec::{
    DataContentType, DataFile, DataFileBuilder, DataFileFormat, Datum, FormatVersion, Literal,
    ManifestContentType, ManifestStatus, ManifestWriterBuilder, NestedField, PartitionSpec, PrimitiveType,
    Schema, SchemaRef, Struct, Transform, Type,
};
use std::io::Write;
use uuid::Uuid;

use super::container::Container;
use super::value::{put_bytes, put_long};
use super::*;
use crate::error::ErrorKind;

const HERE: &str = "file:///t/metadata/m0.avro";

/// A value of every type that a partition can have, and names that Avro does not allow.
fn every_type() -> Vec<(&'static str, PrimitiveType, Literal)> {
    use PrimitiveType as P;
    let decimal = |precision, scale| P::Decimal { precision, scale };
    vec![
        ("flag", P::Boolean, Literal::bool(true)),
        ("i", P::Int, Literal::int(i32::MIN)),
        ("l", P::Long, Literal::long(i64::MAX)),
        ("f", P::Float, Literal::float(0.1)),
        ("d", P::Double, Literal::double(0.1)),
        ("day", P::Date, Literal::date(-1)),
        ("time of day", P::Time, Literal::time(86_399_999_999)),
        ("ts", P::Timestamp, Literal::timestamp(-1)),
        ("tz", P::Timestamptz, Literal::timestamptz(i64::MIN)),
        ("ns", P::TimestampNs, Literal::long(1)),
        ("tzns", P::TimestamptzNs, Literal::long(-1)),
        ("7.größe", P::String, Literal::string("ä\u{10ffff}")),
        ("u", P::Uuid, Literal::uuid(Uuid::from_u128(u128::MAX - 1))),
        ("fix", P::Fixed(3), Literal::fixed([0xff, 0, 1])),
        ("fix two", P::Fixed(3), Literal::fixed([1, 2, 3])),
        ("bytes", P::Binary, Literal::binary(vec![0, 0xff])),
        ("dec", decimal(9, 2), Literal::decimal(-1)),
        ("dec_again", decimal(9, 2), Literal::decimal(999_999_999)),
        ("big", decimal(38, 0), Literal::decimal(10i128.pow(38) - 1)),
        ("neg", decimal(38, 0), Literal::decimal(1 - 10i128.pow(38))),
    ]
}

fn table(columns: &[(&str, PrimitiveType)]) -> (SchemaRef, PartitionSpec) {
    let fields = columns
        .iter()
        .zip(1..)
        .map(|((name, kind), id)| Arc::new(NestedField::optional(id, *name, Type::Primitive(kind.clone()))));
    let schema = Arc::new(Schema::builder().with_schema_id(3).with_fields(fields).build().unwrap());
    let mut spec = PartitionSpec::builder(Arc::clone(&schema)).with_spec_id(2);
    for (name, _) in columns {
        spec = spec.add_partition_field(*name, *name, Transform::Identity).unwrap();
    }
    (schema, spec.build().unwrap())
}

fn file(name: &str, partition: Struct) -> DataFileBuilder {
    let mut builder = DataFileBuilder::default();
    builder
        .content(DataContentType::Data)
        .file_path(format!("file:///t/data/{name}.parquet"))
        .file_format(DataFileFormat::Parquet)
        .partition(partition)
        .partition_spec_id(2)
        .record_count(7)
        .file_size_in_bytes(1 << 40);
    builder
}

fn full(partition: Struct) -> DataFile {
    file("full", partition)
        .column_sizes([(1, 10), (2, 20)].into())
        .value_counts([(1, 7), (2, 7)].into())
        .null_value_counts([(1, 0), (2, 7)].into())
        .nan_value_counts([(4, 1)].into())
        .lower_bounds([(1, Datum::bool(false)), (2, Datum::int(-3))].into())
        .upper_bounds([(1, Datum::bool(true)), (2, Datum::int(3))].into())
        .key_metadata(Some(vec![1, 2]))
        .split_offsets(Some(vec![4, 1 << 33]))
        .sort_order_id(0)
        .first_row_id(Some(99))
        .build()
        .unwrap()
}

fn encoder(schema: &SchemaRef, spec: &PartitionSpec) -> ManifestEncoder {
    let content = ManifestContentType::Data;
    ManifestEncoder::new(FormatVersion::V3, content, 11, schema, spec, Uuid::from_u128(5)).unwrap()
}

fn typed() -> (SchemaRef, PartitionSpec, Struct, Struct) {
    let all = every_type();
    let columns: Vec<_> = all.iter().map(|(name, kind, _)| (*name, kind.clone())).collect();
    let (schema, spec) = table(&columns);
    let values = Struct::from_iter(all.iter().map(|(_, _, value)| Some(value.clone())));
    (schema, spec, values, Struct::from_iter(all.iter().map(|_| None)))
}

#[test]
fn every_type_of_partition_value_comes_back_and_so_does_every_field() {
    let (schema, spec, values, nulls) = typed();
    let files = [full(values), file("bare", nulls).build().unwrap()];
    let mut encoder = encoder(&schema, &spec);
    encoder.added(&files[0], None).unwrap();
    encoder.existing(&files[1], 5, 3, None).unwrap();
    encoder.deleted(&files[1], 2, Some(1)).unwrap();
    let (bytes, listed) = encoder.finish(HERE.to_owned()).unwrap();

    let Manifest { entries, header } = Manifest::parse(&bytes, HERE).unwrap();
    let told: Vec<_> = entries
        .iter()
        .map(|entry| (entry.status, entry.snapshot_id, entry.sequence_number, entry.file_sequence_number))
        .collect();
    assert_eq!(
        told,
        [
            (ManifestStatus::Added, Some(11), None, None),
            (ManifestStatus::Existing, Some(5), Some(3), Some(3)),
            (ManifestStatus::Deleted, Some(11), Some(2), Some(1)),
        ]
    );
    assert_eq!(entries[0].data_file, files[0]);
    assert_eq!(entries[1].data_file, files[1]);
    assert_eq!((header.schema(), header.schema_id(), header.partition_spec()), (&schema, 3, &spec));
    assert_eq!((header.format_version(), header.content()), (&FormatVersion::V3, &ManifestContentType::Data));

    assert_eq!((listed.manifest_path.as_str(), listed.manifest_length), (HERE, bytes.len() as i64));
    assert_eq!((listed.partition_spec_id, listed.min_sequence_number), (2, 3));
    assert_eq!(listed.added_files_count, Some(1));
    assert_eq!(listed.existing_rows_count, Some(7));
    assert_eq!(listed.deleted_files_count, Some(1));
    let summaries = listed.partitions.unwrap();
    assert_eq!(summaries.len(), every_type().len());
    assert!(summaries.iter().all(|summary| summary.contains_null && summary.contains_nan == Some(false)));
    assert_eq!(summaries[4].lower_bound.as_deref().map(Vec::as_slice), Some(0.1f64.to_le_bytes().as_slice()));
}

#[test]
fn bounds_of_partition_values_leave_nan_out() {
    let (schema, spec) = table(&[("d", PrimitiveType::Double)]);
    let mut encoder = encoder(&schema, &spec);
    for value in [2.0, f64::NAN, -1.0] {
        encoder
            .added(&file("f", Struct::from_iter([Some(Literal::double(value))])).build().unwrap(), None)
            .unwrap();
    }
    let summary = encoder.finish(HERE.to_owned()).unwrap().1.partitions.unwrap().remove(0);
    assert_eq!((summary.contains_null, summary.contains_nan), (false, Some(true)));
    assert_eq!(summary.lower_bound.unwrap().to_vec(), (-1.0f64).to_le_bytes());
    assert_eq!(summary.upper_bound.unwrap().to_vec(), 2.0f64.to_le_bytes());
}

#[tokio::test]
async fn what_the_kernel_writes_is_read_and_what_is_written_the_kernel_reads() {
    // Types that the kernel encodes as the specification says, and decodes.
    let columns: Vec<_> = every_type()
        .into_iter()
        .filter(|(name, kind, _)| {
            use PrimitiveType as P;
            !matches!(kind, P::Uuid | P::TimestampNs | P::TimestamptzNs)
                && name.chars().all(|ch| ch.is_ascii_alphabetic() || ch == '_')
        })
        .collect();
    let types: Vec<_> = columns.iter().map(|(name, kind, _)| (*name, kind.clone())).collect();
    let (schema, spec) = table(&types);
    let file = full(Struct::from_iter(columns.iter().map(|(_, _, value)| Some(value.clone()))));

    let mut ours = encoder(&schema, &spec);
    ours.added(&file, None).unwrap();
    let (ours, _) = ours.finish(HERE.to_owned()).unwrap();
    let theirs = iceberg::spec::Manifest::parse_avro(&ours).unwrap();
    assert_eq!(theirs.entries()[0].data_file, file);

    let memory = MemoryStorage::new();
    let output = OutputFile::new(Arc::new(memory.clone()), HERE.to_owned());
    let mut writer =
        ManifestWriterBuilder::new(output, Some(11), Arc::clone(&schema), spec.clone()).build_v3_data();
    writer.add_file(file.clone(), -1).unwrap();
    writer.write_manifest_file().await.unwrap();
    let theirs = memory.read(HERE).await.unwrap();
    assert_eq!(Manifest::parse(&theirs, HERE).unwrap(), Manifest::parse(&ours, HERE).unwrap());
}

#[test]
fn a_tuple_of_other_types_is_refused() {
    let (schema, spec) =
        table(&[("f", PrimitiveType::Fixed(3)), ("n", PrimitiveType::Decimal { precision: 4, scale: 0 })]);
    for values in [
        vec![Some(Literal::fixed([1, 2])), None],
        vec![Some(Literal::int(1)), None],
        vec![None, Some(Literal::decimal(40_000))],
        vec![None],
    ] {
        let error =
            encoder(&schema, &spec).added(&file("f", Struct::from_iter(values)).build().unwrap(), None);
        assert_eq!(error.unwrap_err().kind(), ErrorKind::Invalid);
    }
    let mut deletes = file("d", Struct::from_iter([None, None]));
    deletes.content(DataContentType::PositionDeletes);
    assert!(encoder(&schema, &spec).added(&deletes.build().unwrap(), None).is_err());
}

#[test]
fn many_entries_make_several_blocks() {
    let (schema, spec) = table(&[("i", PrimitiveType::Int)]);
    let mut encoder = encoder(&schema, &spec);
    for at in 0..5000 {
        let partition = Struct::from_iter([Some(Literal::int(at))]);
        encoder.added(&file(&format!("f{at}"), partition).build().unwrap(), None).unwrap();
    }
    let (bytes, _) = encoder.finish(HERE.to_owned()).unwrap();
    assert!(Container::open(&bytes).unwrap().blocks().count() > 3);
    let entries = Manifest::parse(&bytes, HERE).unwrap().entries;
    assert_eq!(entries.len(), 5000);
    assert!(entries[4999].file_path().ends_with("f4999.parquet"));
}

fn small() -> Vec<u8> {
    let (schema, spec, values, _) = typed();
    let mut encoder = encoder(&schema, &spec);
    encoder.added(&full(values), None).unwrap();
    encoder.finish(HERE.to_owned()).unwrap().0
}

#[test]
fn broken_bytes_are_corrupt_and_never_a_panic() {
    let whole = small();
    for length in 0..whole.len() {
        // A file cut at the end of its header has no entries.
        if let Err(error) = Manifest::parse(&whole[..length], HERE) {
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{length}");
            assert!(error.to_string().contains(HERE));
        }
    }
    for at in 0..whole.len() {
        for bit in [0x01, 0x80] {
            let mut bytes = whole.clone();
            bytes[at] ^= bit;
            let _ = Manifest::parse(&bytes, HERE);
        }
    }
}

/// A container of one block.
fn container(schema: &str, codec: &str, block: &[u8]) -> Vec<u8> {
    let whole = small();
    let metadata = Container::open(&whole).unwrap().all_metadata().clone();
    let mut bytes = b"Obj\x01".to_vec();
    put_long(&mut bytes, metadata.len() as i64);
    for (key, value) in &metadata {
        put_bytes(&mut bytes, key.as_bytes());
        match key.as_str() {
            "avro.schema" => put_bytes(&mut bytes, schema.as_bytes()),
            "avro.codec" => put_bytes(&mut bytes, codec.as_bytes()),
            _ => put_bytes(&mut bytes, value),
        }
    }
    put_long(&mut bytes, 0);
    bytes.extend([7; 16]);
    put_long(&mut bytes, 1);
    put_bytes(&mut bytes, block);
    bytes.extend([7; 16]);
    bytes
}

fn why(bytes: &[u8]) -> String {
    let error = Manifest::parse(bytes, HERE).unwrap_err();
    std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string)
}

#[test]
fn no_file_makes_much_of_little() {
    let mut deflated = DeflateEncoder::new(Vec::new(), Compression::best());
    deflated.write_all(&vec![0; (64 << 20) + 1]).unwrap();
    let bomb = deflated.finish().unwrap();
    assert!(why(&container("\"null\"", "deflate", &bomb)).contains("larger than any writer"));
    assert!(
        why(&container("\"null\"", "snappy", &[0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0, 0, 0])).contains("larger")
    );
    let mut nulls = Vec::new();
    put_long(&mut nulls, i64::MAX);
    let of_nulls = r#"{"type":"array","items":"null"}"#;
    assert!(why(&container(of_nulls, "null", &nulls)).contains("more values than bytes"));
    let mut laughs = r#"{"type":"record","name":"r0","fields":[]}"#.to_owned();
    for level in 1..30 {
        laughs = format!(
            r#"{{"type":"record","name":"r{level}","fields":[{{"name":"a","type":{laughs}}},{{"name":"b","type":"r{}"}}]}}"#,
            level - 1
        );
    }
    let told = why(&container(&laughs, "null", &[]));
    assert!(told.contains("more values than bytes") || told.contains("nests too deep"), "{told}");
    let unknown = Manifest::parse(&container("\"null\"", "bzip2", &[]), HERE).unwrap_err();
    assert_eq!(unknown.kind(), ErrorKind::Unsupported);
}

#[test]
fn codecs_of_other_writers_are_read() {
    let whole = small();
    let opened = Container::open(&whole).unwrap();
    let schema = String::from_utf8(opened.metadata("avro.schema").unwrap().to_vec()).unwrap();
    let block = opened.blocks().next().unwrap().unwrap().bytes.into_owned();
    let expected = Manifest::parse(&whole, HERE).unwrap().entries;
    let mut snappy = snap::raw::Encoder::new().compress_vec(&block).unwrap();
    snappy.extend(crc32fast::hash(&block).to_be_bytes());
    let zstandard = zstd::encode_all(block.as_slice(), 3).unwrap();
    for (codec, bytes) in [("null", &block), ("snappy", &snappy), ("zstandard", &zstandard)] {
        let parsed = Manifest::parse(&container(&schema, codec, bytes), HERE).unwrap();
        assert_eq!(parsed.entries, expected, "{codec}");
    }
    *snappy.last_mut().unwrap() ^= 1;
    assert!(why(&container(&schema, "snappy", &snappy)).contains("checksum"));
}

#[test]
fn decimals_take_the_fewest_bytes_that_hold_their_precision() {
    let bytes: Vec<usize> = [1, 2, 3, 4, 9, 18, 19, 38].map(schema::decimal_bytes).to_vec();
    assert_eq!(bytes, [1, 1, 2, 2, 4, 8, 9, 16]);
}
