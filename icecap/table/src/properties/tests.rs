use super::*;
use crate::error::ErrorKind;

fn pairs(given: &[(&str, &str)]) -> Vec<(String, String)> {
    given.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn settings(given: &[(&str, &str)]) -> Result<WriteSettings> {
    WriteSettings::from_properties(&pairs(given).into_iter().collect())
}

#[test]
fn athenas_properties_become_icebergs() {
    let mapped = map_athena(pairs(&[
        ("table_type", "iceberg"),
        ("is_external", "false"),
        ("Format", "PARQUET"),
        ("write_compression", "SNAPPY"),
        ("write_target_data_file_size_bytes", "1000000"),
        ("optimize_rewrite_min_data_file_size_bytes", "10"),
        ("optimize_rewrite_data_file_threshold", "49"),
        ("vacuum_min_snapshots_to_keep", "3"),
        ("vacuum_max_snapshot_age_seconds", "60"),
        ("vacuum_max_metadata_files_to_keep", "7"),
        ("classification", "parquet"),
        ("format_version", "3"),
        ("location", "s3://b/p/"),
        ("write.delete.mode", "copy-on-write"),
        ("comment", "hello"),
    ]))
    .unwrap();
    assert_eq!(mapped.location.as_deref(), Some("s3://b/p/"));
    assert_eq!(mapped.format_version, Some(FormatVersion::V3));
    let mut properties: Vec<(String, String)> = mapped.properties.into_iter().collect();
    properties.sort();
    let expected = [
        ("comment", "hello"),
        ("history.expire.max-snapshot-age-ms", "60000"),
        ("history.expire.min-snapshots-to-keep", "3"),
        ("optimize_rewrite_data_file_threshold", "49"),
        ("optimize_rewrite_min_data_file_size_bytes", "10"),
        ("write.delete.mode", "copy-on-write"),
        ("write.format.default", "parquet"),
        ("write.merge.mode", "merge-on-read"),
        ("write.metadata.delete-after-commit.enabled", "true"),
        ("write.metadata.previous-versions-max", "7"),
        ("write.parquet.compression-codec", "snappy"),
        ("write.target-file-size-bytes", "1000000"),
        ("write.update.mode", "merge-on-read"),
    ];
    assert_eq!(properties, pairs(&expected));
}

#[test]
fn a_bad_property_is_named() {
    for (key, value, kind) in [
        ("table_type", "HIVE", ErrorKind::Unsupported),
        ("is_external", "true", ErrorKind::Invalid),
        ("format", "orc", ErrorKind::Unsupported),
        ("format", "AVRO", ErrorKind::Unsupported),
        ("format", "json", ErrorKind::Invalid),
        ("write_compression", "zlib", ErrorKind::Invalid),
        ("compression_level", "high", ErrorKind::Invalid),
        ("write_target_data_file_size_bytes", "0", ErrorKind::Invalid),
        ("write_target_data_file_size_bytes", "-5", ErrorKind::Invalid),
        ("write_target_data_file_size_bytes", "99999999999999999999", ErrorKind::Invalid),
        ("optimize_rewrite_delete_file_threshold", "50", ErrorKind::Invalid),
        ("vacuum_max_snapshot_age_seconds", "9223372036854775807", ErrorKind::Invalid),
        ("vacuum_min_snapshots_to_keep", "0", ErrorKind::Invalid),
        ("format_version", "1", ErrorKind::Unsupported),
        ("format-version", "4", ErrorKind::Invalid),
        ("uuid", "x", ErrorKind::Invalid),
        ("location", "", ErrorKind::Invalid),
        ("write.delete.mode", "sometimes", ErrorKind::Invalid),
        ("write.metadata.compression-codec", "zstd", ErrorKind::Invalid),
        ("write.parquet.compression-codec", "lzo", ErrorKind::Invalid),
        ("write.metadata.metrics.default", "truncate(0)", ErrorKind::Invalid),
        ("write.metadata.metrics.column.a", "some", ErrorKind::Invalid),
        ("write.object-storage.enabled", "yes", ErrorKind::Invalid),
        ("write.distribution-mode", "random", ErrorKind::Invalid),
        ("write.format.default", "orc", ErrorKind::Unsupported),
        ("encryption.key-id", "k", ErrorKind::Unsupported),
    ] {
        let error = map_athena(pairs(&[(key, value)])).unwrap_err();
        assert_eq!(error.kind(), kind, "{key}={value}: {error}");
        let shown = error.to_string();
        let native = matches!(key, "compression_level").then_some("write.parquet.compression-level");
        assert!(
            shown.contains(key) || native.is_some_and(|key| shown.contains(key)),
            "{key}={value}: {shown}"
        );
    }
    let twice = map_athena(pairs(&[("format", "parquet"), ("FORMAT", "parquet")])).unwrap_err();
    assert_eq!(twice.kind(), ErrorKind::Invalid);
    let aliased =
        map_athena(pairs(&[("write_compression", "zstd"), ("write.parquet.compression-codec", "gzip")]));
    assert_eq!(aliased.unwrap_err().kind(), ErrorKind::Invalid);
    map_athena(pairs(&[("compression_level", "23")])).unwrap_err();
}

#[test]
fn icebergs_own_spelling_adds_no_defaults() {
    let mapped = map_iceberg(pairs(&[
        ("format-version", "2"),
        ("provider", "ICEBERG"),
        ("location", "/w/t"),
        ("write.data.path", "/w/d"),
        ("my.key", "v"),
    ]))
    .unwrap();
    assert_eq!(mapped.format_version, Some(FormatVersion::V2));
    assert_eq!(mapped.location.as_deref(), Some("/w/t"));
    assert_eq!(mapped.location_values().collect::<Vec<_>>(), [("write.data.path", "/w/d")]);
    assert_eq!(mapped.properties.len(), 2);
    assert_eq!(map_iceberg(pairs(&[("provider", "delta")])).unwrap_err().kind(), ErrorKind::Unsupported);
    map_iceberg(pairs(&[("current-snapshot-id", "1")])).unwrap_err();
}

#[test]
fn writers_get_icebergs_defaults() {
    let defaults = settings(&[]).unwrap();
    assert_eq!(defaults.target_file_size_bytes, 536_870_912);
    assert_eq!(defaults.row_group_bytes, 134_217_728);
    assert_eq!(
        (defaults.page_bytes, defaults.page_rows, defaults.dict_bytes),
        (1_048_576, 20_000, 2_097_152)
    );
    assert_eq!((defaults.codec, defaults.level), (Codec::Zstd, Some(3)));
    assert_eq!(defaults.metrics.mode_of("x", 99), MetricsMode::Truncate(16));
    assert_eq!(defaults.metrics.mode_of("x", 100), MetricsMode::None);
    assert_eq!(defaults.data_location("file:///w/t/"), "file:///w/t/data");
    assert_eq!((defaults.object_storage, defaults.distribution), (false, None));
}

#[test]
fn writers_obey_the_table() {
    let set = settings(&[
        ("write.parquet.compression-codec", "GZIP"),
        ("write.metadata.metrics.default", "counts"),
        ("write.metadata.metrics.column.a.b", "full"),
        ("write.metadata.metrics.column.c", "TRUNCATE( 4 )"),
        ("write.object-storage.enabled", "true"),
        ("write.object-storage.path", "s3://b/spread/"),
        ("write.folder-storage.path", "s3://b/folder"),
        ("write.parquet.bloom-filter-enabled.column.id", "true"),
        ("write.parquet.bloom-filter-fpp.column.id", "0.05"),
        ("write.parquet.bloom-filter-enabled.column.no", "false"),
        ("write.distribution-mode", "hash"),
    ])
    .unwrap();
    assert_eq!((set.codec, set.level), (Codec::Gzip, None));
    assert_eq!(set.metrics.mode_of("a.b", 0), MetricsMode::Full);
    assert_eq!(set.metrics.mode_of("c", 0), MetricsMode::Truncate(4));
    assert_eq!(set.metrics.mode_of("other", 5000), MetricsMode::Counts);
    assert_eq!(set.data_location("s3://b/t"), "s3://b/spread");
    assert_eq!(set.bloom_filters, [("id".to_owned(), BloomFilter { fpp: 0.05 })].into());
    assert_eq!(set.distribution, Some(DistributionMode::Hash));
    let leveled = settings(&[("write.parquet.compression-level", "19")]).unwrap();
    assert_eq!(leveled.level, Some(19));
    let java = settings(&[("write.parquet.compression-level", "null")]).unwrap();
    assert_eq!(java.level, Some(3));
}

#[test]
fn a_change_takes_names_of_athena_and_of_iceberg_and_is_judged_with_what_is_there() {
    let current = HashMap::from([("write.parquet.compression-codec".to_owned(), "zstd".to_owned())]);
    let change = |given: &[(&str, &str)]| {
        map_change(given.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(), &current)
    };
    let mapped = change(&[
        ("VACUUM_MAX_SNAPSHOT_AGE_SECONDS", "2"),
        ("Own.Key", "x"),
        ("format-version", "3"),
        ("write.delete.mode", "copy-on-write"),
    ])
    .unwrap();
    let expected = [
        ("history.expire.max-snapshot-age-ms", "2000"),
        ("Own.Key", "x"),
        ("write.delete.mode", "copy-on-write"),
    ];
    assert_eq!(mapped.properties, expected.map(|(k, v)| (k.to_owned(), v.to_owned())).into());
    assert_eq!(mapped.format_version, Some(FormatVersion::V3));
    // Alone a level of 99 would be nothing; with the codec that is there it is wrong.
    for (given, kind) in [
        (&[("write.parquet.compression-level", "99")][..], ErrorKind::Invalid),
        (&[("location", "file:///x")], ErrorKind::Unsupported),
        (&[("uuid", "x")], ErrorKind::Invalid),
        (&[("sorted_by", "a")], ErrorKind::Invalid),
        (&[("write_compression", "gzip"), ("write.parquet.compression-codec", "gzip")], ErrorKind::Invalid),
        (&[("format", "orc")], ErrorKind::Unsupported),
    ] {
        assert_eq!(change(given).unwrap_err().kind(), kind, "{given:?}");
    }
    let removed = map_removal(&["vacuum_max_metadata_files_to_keep".to_owned(), "a.B".to_owned()]).unwrap();
    assert_eq!(
        removed.into_iter().collect::<Vec<_>>(),
        ["a.B", "write.metadata.delete-after-commit.enabled", "write.metadata.previous-versions-max"]
    );
    assert!(map_removal(&["format-version".to_owned()]).is_err());
}
