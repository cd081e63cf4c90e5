//! Athena's table properties, mapped to Iceberg's.

use super::{MappedProperties, bad, expect_iceberg, set_location};
use crate::error::{Error, Result};

const MERGE_ON_READ: &str = "merge-on-read";

/// Sorts out the properties of a statement in Athena's spelling (`TBLPROPERTIES`, or CTAS's `WITH`).
///
/// Keys are taken without regard to case. Tables made this way write merge-on-read unless they say otherwise,
/// as Athena's do. Keys that have no counterpart in Iceberg are kept under their own names.
///
/// # Errors
/// `Invalid`, naming the key, for a bad value or a key given twice; `Unsupported` for formats other than
/// Parquet and for tables that are not Iceberg's.
pub fn map_athena(given: Vec<(String, String)>) -> Result<MappedProperties> {
    let mut mapped = MappedProperties::default();
    let mut seen = std::collections::HashSet::new();
    for (key, value) in &given {
        let key = key.to_ascii_lowercase();
        if !seen.insert(key.clone()) {
            return Err(Error::invalid("property is given twice").with("property", key));
        }
        map_one(&mut mapped, &key, value)?;
    }
    for statement in ["delete", "update", "merge"] {
        mapped
            .properties
            .entry(format!("write.{statement}.mode"))
            .or_insert_with(|| MERGE_ON_READ.to_owned());
    }
    mapped.checked()
}

/// What a property of Athena's is called in Iceberg; nothing where it is none, or has the same name.
pub(super) fn in_iceberg(key: &str) -> &'static [&'static str] {
    match key {
        "format" => &["write.format.default"],
        "write_compression" => &["write.parquet.compression-codec"],
        "compression_level" => &["write.parquet.compression-level"],
        "write_target_data_file_size_bytes" => &["write.target-file-size-bytes"],
        "vacuum_min_snapshots_to_keep" => &["history.expire.min-snapshots-to-keep"],
        "vacuum_max_snapshot_age_seconds" => &["history.expire.max-snapshot-age-ms"],
        "vacuum_max_metadata_files_to_keep" => {
            &["write.metadata.previous-versions-max", "write.metadata.delete-after-commit.enabled"]
        }
        "optimize_rewrite_min_data_file_size_bytes" => &["optimize_rewrite_min_data_file_size_bytes"],
        "optimize_rewrite_max_data_file_size_bytes" => &["optimize_rewrite_max_data_file_size_bytes"],
        "optimize_rewrite_data_file_threshold" => &["optimize_rewrite_data_file_threshold"],
        "optimize_rewrite_delete_file_threshold" => &["optimize_rewrite_delete_file_threshold"],
        _ => &[],
    }
}

/// Takes one property, its key in lower case.
pub(super) fn map_one(mapped: &mut MappedProperties, key: &str, value: &str) -> Result<()> {
    match key {
        "table_type" => expect_iceberg(key, value),
        "is_external" => match value.to_ascii_lowercase().as_str() {
            "false" => Ok(()),
            _ => Err(bad(key, value, "false for an Iceberg table")),
        },
        "location" => set_location(mapped, value.to_owned()),
        "format" => set_format(mapped, key, value),
        "format_version" => mapped.set_format_version(key, value),
        // Glue's word for the format; it says nothing that the table does not say.
        "classification" => Ok(()),
        "write_compression" => mapped.set("write.parquet.compression-codec", codec(key, value)?),
        "compression_level" => {
            value.trim().parse::<i32>().map_err(|_| bad(key, value, "a whole number"))?;
            mapped.set("write.parquet.compression-level", value.trim())
        }
        "write_target_data_file_size_bytes" => {
            mapped.set("write.target-file-size-bytes", whole(key, value, 1)?.to_string())
        }
        "vacuum_min_snapshots_to_keep" => {
            mapped.set("history.expire.min-snapshots-to-keep", whole(key, value, 1)?.to_string())
        }
        "vacuum_max_snapshot_age_seconds" => {
            let milliseconds =
                whole(key, value, 0)?.checked_mul(1000).filter(|ms| i64::try_from(*ms).is_ok());
            let milliseconds = milliseconds.ok_or_else(|| bad(key, value, "an age in seconds"))?;
            mapped.set("history.expire.max-snapshot-age-ms", milliseconds.to_string())
        }
        "vacuum_max_metadata_files_to_keep" => {
            mapped.set("write.metadata.previous-versions-max", whole(key, value, 1)?.to_string())?;
            mapped.set("write.metadata.delete-after-commit.enabled", "true")
        }
        "optimize_rewrite_min_data_file_size_bytes" | "optimize_rewrite_max_data_file_size_bytes" => {
            mapped.set(key, whole(key, value, 1)?.to_string())
        }
        "optimize_rewrite_data_file_threshold" | "optimize_rewrite_delete_file_threshold" => {
            match whole(key, value, 1)? {
                files @ ..50 => mapped.set(key, files.to_string()),
                _ => Err(bad(key, value, "less than 50")),
            }
        }
        _ => mapped.set_native(key, value),
    }
}

fn set_format(mapped: &mut MappedProperties, key: &str, value: &str) -> Result<()> {
    match value.to_ascii_lowercase().as_str() {
        "parquet" => mapped.set("write.format.default", "parquet"),
        format @ ("orc" | "avro") => {
            Err(Error::unsupported(format!("format {format} is not supported yet: use parquet"))
                .with("property", key))
        }
        _ => Err(bad(key, value, "parquet")),
    }
}

fn codec(key: &str, value: &str) -> Result<&'static str> {
    match value.to_ascii_lowercase().as_str() {
        "zstd" => Ok("zstd"),
        "snappy" => Ok("snappy"),
        "gzip" => Ok("gzip"),
        "lz4" => Ok("lz4"),
        "none" | "uncompressed" => Ok("uncompressed"),
        _ => Err(bad(key, value, "one of zstd, snappy, gzip, lz4, none")),
    }
}

fn whole(key: &str, value: &str, least: u64) -> Result<u64> {
    match value.trim().parse::<u64>() {
        Ok(number) if number >= least => Ok(number),
        _ => Err(bad(key, value, &format!("a whole number of at least {least}"))),
    }
}
