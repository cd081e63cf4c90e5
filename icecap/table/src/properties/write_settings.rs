//! The table properties that data file writers obey, typed.

use std::collections::{BTreeMap, HashMap};

use super::{bad, bool_of, number_of, positive_of};
use crate::error::{Error, Result};
use crate::location::join;

/// The default metrics mode keeps this many characters or bytes of a bound.
pub const METRICS_TRUNCATE_DEFAULT: usize = 16;

const MIB: u64 = 1 << 20;
const CODEC: &str = "write.parquet.compression-codec";
const LEVEL: &str = "write.parquet.compression-level";
const METRICS_DEFAULT: &str = "write.metadata.metrics.default";
const METRICS_COLUMN: &str = "write.metadata.metrics.column.";
const BLOOM_ENABLED: &str = "write.parquet.bloom-filter-enabled.column.";
const BLOOM_FPP: &str = "write.parquet.bloom-filter-fpp.column.";

/// A Parquet compression codec.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Codec {
    /// None.
    Uncompressed,
    /// Snappy.
    Snappy,
    /// gzip.
    Gzip,
    /// LZ4.
    Lz4,
    /// Brotli.
    Brotli,
    /// Zstandard, the default.
    Zstd,
}

/// What a manifest says of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricsMode {
    /// Nothing.
    None,
    /// Counts of values, NULLs and NaNs.
    Counts,
    /// Counts, and bounds cut to this many characters (strings) or bytes (binary).
    Truncate(usize),
    /// Counts and whole bounds.
    Full,
}

/// The metrics modes of a table's columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetricsSettings {
    /// The mode of columns that are not named.
    pub default: MetricsMode,
    /// Whether the table itself set the default mode; an inferred one is kept for the first
    /// [`max_inferred_columns`](Self::max_inferred_columns) only.
    pub default_is_explicit: bool,
    /// How many columns get an inferred default; the others have no metrics.
    pub max_inferred_columns: usize,
    /// Modes by full column name (`a.b.c`).
    pub columns: BTreeMap<String, MetricsMode>,
}

impl MetricsSettings {
    /// The mode of the column with this full name, which is number `position` (from 0) of all.
    pub fn mode_of(&self, name: &str, position: usize) -> MetricsMode {
        match self.columns.get(name) {
            Some(mode) => *mode,
            None if self.default_is_explicit || position < self.max_inferred_columns => self.default,
            None => MetricsMode::None,
        }
    }
}

/// How rows are brought to writers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DistributionMode {
    /// As they come.
    None,
    /// By partition.
    Hash,
    /// By range of the partition and sort order.
    Range,
}

/// A column's Parquet bloom filter.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BloomFilter {
    /// The false-positive probability.
    pub fpp: f64,
}

/// How a table wants its data files.
#[derive(Debug, Clone, PartialEq)]
pub struct WriteSettings {
    /// Size in bytes at which a writer begins another file.
    pub target_file_size_bytes: u64,
    /// Size in bytes of a row group, before compression.
    pub row_group_bytes: u64,
    /// Size in bytes of a data page.
    pub page_bytes: u64,
    /// The most rows in a data page.
    pub page_rows: u64,
    /// Size in bytes of a dictionary page.
    pub dict_bytes: u64,
    /// Compression codec.
    pub codec: Codec,
    /// Compression level, where the codec has levels; Zstandard's default is 3.
    pub level: Option<i32>,
    /// Metrics modes.
    pub metrics: MetricsSettings,
    /// Bloom filters by full column name.
    pub bloom_filters: BTreeMap<String, BloomFilter>,
    /// The most bytes of one bloom filter.
    pub bloom_filter_max_bytes: u64,
    /// The folder of data files, when it is not `<table location>/data`.
    pub data_path: Option<String>,
    /// Whether data file names are spread by a hash, for object stores.
    pub object_storage: bool,
    /// How rows are brought to writers; absent where the table does not say.
    pub distribution: Option<DistributionMode>,
}

impl WriteSettings {
    /// Reads a table's properties.
    ///
    /// # Errors
    /// `Invalid`, naming the property, for a bad value; `Unsupported` for another format than Parquet and for
    /// encrypted tables.
    pub fn from_properties(properties: &HashMap<String, String>) -> Result<Self> {
        refuse_unsupported(properties)?;
        let size = |key: &str, default: u64| Ok::<_, Error>(positive_of(properties, key)?.unwrap_or(default));
        let codec = codec(properties)?;
        let object_storage = bool_of(properties, "write.object-storage.enabled")?.unwrap_or(false);
        Ok(Self {
            target_file_size_bytes: size("write.target-file-size-bytes", 512 * MIB)?,
            row_group_bytes: size("write.parquet.row-group-size-bytes", 128 * MIB)?,
            page_bytes: size("write.parquet.page-size-bytes", MIB)?,
            page_rows: size("write.parquet.page-row-limit", 20_000)?,
            dict_bytes: size("write.parquet.dict-size-bytes", 2 * MIB)?,
            codec,
            level: level(properties, codec)?,
            metrics: metrics(properties)?,
            bloom_filters: bloom_filters(properties)?,
            bloom_filter_max_bytes: size("write.parquet.bloom-filter-max-bytes", MIB)?,
            data_path: data_path(properties, object_storage),
            object_storage,
            distribution: distribution(properties)?,
        })
    }

    /// The folder of data files of the table at `table_location`.
    pub fn data_location(&self, table_location: &str) -> String {
        match &self.data_path {
            Some(path) => path.trim_end_matches('/').to_owned(),
            None => join(table_location, "data"),
        }
    }
}

fn refuse_unsupported(properties: &HashMap<String, String>) -> Result<()> {
    for key in ["write.format.default", "write.delete.format.default"] {
        match properties.get(key).map(|format| format.to_ascii_lowercase()) {
            Some(format) if format == "orc" || format == "avro" => {
                return Err(Error::unsupported(format!(
                    "writing {format} is not supported yet: use parquet"
                ))
                .with("property", key));
            }
            Some(format) if format != "parquet" && format != "puffin" => {
                return Err(bad(key, &format, "parquet"));
            }
            _ => {}
        }
    }
    if properties.contains_key("encryption.key-id") {
        return Err(Error::unsupported("writing encrypted tables is not supported yet")
            .with("property", "encryption.key-id"));
    }
    Ok(())
}

fn codec(properties: &HashMap<String, String>) -> Result<Codec> {
    let Some(name) = properties.get(CODEC) else { return Ok(Codec::Zstd) };
    match name.trim().to_ascii_lowercase().as_str() {
        "uncompressed" | "none" => Ok(Codec::Uncompressed),
        "snappy" => Ok(Codec::Snappy),
        "gzip" => Ok(Codec::Gzip),
        "lz4" | "lz4_raw" => Ok(Codec::Lz4),
        "brotli" => Ok(Codec::Brotli),
        "zstd" => Ok(Codec::Zstd),
        _ => Err(bad(CODEC, name, "one of zstd, snappy, gzip, lz4, brotli, uncompressed")),
    }
}

fn level(properties: &HashMap<String, String>, codec: Codec) -> Result<Option<i32>> {
    // Iceberg Java writes the word null for "the codec's own".
    let given = match properties.get(LEVEL).map(String::as_str) {
        Some("null") | None => None,
        Some(_) => number_of::<i32>(properties, LEVEL)?,
    };
    let range = match codec {
        Codec::Zstd => 1..=22,
        Codec::Gzip => 0..=9,
        Codec::Brotli => 0..=11,
        // These have no levels; whatever the property says, there is nothing to set.
        Codec::Uncompressed | Codec::Snappy | Codec::Lz4 => return Ok(None),
    };
    match given {
        None => Ok((codec == Codec::Zstd).then_some(3)),
        Some(level) if range.contains(&level) => Ok(Some(level)),
        Some(level) => {
            Err(bad(LEVEL, &level.to_string(), &format!("between {} and {}", range.start(), range.end())))
        }
    }
}

fn metrics(properties: &HashMap<String, String>) -> Result<MetricsSettings> {
    let default =
        properties.get(METRICS_DEFAULT).map(|mode| metrics_mode(METRICS_DEFAULT, mode)).transpose()?;
    let mut columns = BTreeMap::new();
    for (key, value) in properties {
        if let Some(column) = key.strip_prefix(METRICS_COLUMN) {
            columns.insert(column.to_owned(), metrics_mode(key, value)?);
        }
    }
    Ok(MetricsSettings {
        default: default.unwrap_or(MetricsMode::Truncate(METRICS_TRUNCATE_DEFAULT)),
        default_is_explicit: default.is_some(),
        max_inferred_columns: number_of(properties, "write.metadata.metrics.max-inferred-column-defaults")?
            .unwrap_or(100),
        columns,
    })
}

fn metrics_mode(key: &str, value: &str) -> Result<MetricsMode> {
    let wrong = || bad(key, value, "none, counts, truncate(n) or full");
    let word = value.trim().to_ascii_lowercase();
    match word.as_str() {
        "none" => Ok(MetricsMode::None),
        "counts" => Ok(MetricsMode::Counts),
        "full" => Ok(MetricsMode::Full),
        _ => {
            let length =
                word.strip_prefix("truncate(").and_then(|rest| rest.strip_suffix(')')).ok_or_else(wrong)?;
            match length.trim().parse() {
                Ok(length) if length > 0 => Ok(MetricsMode::Truncate(length)),
                _ => Err(wrong()),
            }
        }
    }
}

fn bloom_filters(properties: &HashMap<String, String>) -> Result<BTreeMap<String, BloomFilter>> {
    let mut filters = BTreeMap::new();
    for key in properties.keys() {
        let Some(column) = key.strip_prefix(BLOOM_ENABLED) else { continue };
        if bool_of(properties, key)? != Some(true) {
            continue;
        }
        let fpp_key = format!("{BLOOM_FPP}{column}");
        let fpp = number_of::<f64>(properties, &fpp_key)?.unwrap_or(0.01);
        if !(fpp > 0.0 && fpp < 1.0) {
            return Err(bad(&fpp_key, &fpp.to_string(), "between 0 and 1"));
        }
        filters.insert(column.to_owned(), BloomFilter { fpp });
    }
    Ok(filters)
}

/// The folder of data files, by the order in which Iceberg looks.
fn data_path(properties: &HashMap<String, String>, object_storage: bool) -> Option<String> {
    let keys: &[&str] = if object_storage {
        &["write.data.path", "write.object-storage.path", "write.folder-storage.path"]
    } else {
        &["write.data.path", "write.folder-storage.path"]
    };
    keys.iter().find_map(|key| properties.get(*key)).cloned()
}

fn distribution(properties: &HashMap<String, String>) -> Result<Option<DistributionMode>> {
    let key = "write.distribution-mode";
    let Some(mode) = properties.get(key) else { return Ok(None) };
    match mode.trim().to_ascii_lowercase().as_str() {
        "none" => Ok(Some(DistributionMode::None)),
        "hash" => Ok(Some(DistributionMode::Hash)),
        "range" => Ok(Some(DistributionMode::Range)),
        _ => Err(bad(key, mode, "none, hash or range")),
    }
}
