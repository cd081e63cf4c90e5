//! [`FileLayout`]: what all data files of one task have in common.

use std::sync::Arc;

use datafusion::arrow::datatypes::SchemaRef;
use icecap_table::iceberg::spec::{SchemaRef as IcebergSchemaRef, Transform};
use icecap_table::properties::{BloomFilter, Codec, DistributionMode, MetricsMode, WriteSettings};
use icecap_table::storage::Storage;
use icecap_table::{Error, Result};
use parquet::basic::{BrotliLevel, Compression, GzipLevel, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesBuilder};
use parquet::schema::types::{ColumnPath, SchemaDescriptor, TypePtr};

use super::column::leaf_count;
use super::parquet_schema::{Leaf, leaves, parquet_schema};
use super::presence::Count;
use super::target::{WriteTarget, is_lineage_field};
use crate::arrow_schema::arrow_schema;

/// The footer key under which Iceberg Java keeps the table's schema as JSON.
const SCHEMA_KEY: &str = "iceberg.schema";

/// Parquet keeps this many bytes of a text in its own statistics; it holds 16 code points of any kind.
const STATISTICS_BYTES: usize = 64;

/// Values that the encoder takes at a time, between its looks at page and dictionary sizes.
const ENCODE_BATCH_ROWS: usize = 1024;

/// What all data files of one task have in common.
#[derive(Debug)]
pub(crate) struct FileLayout {
    pub(crate) target: WriteTarget,
    /// The schema of the files.
    pub(crate) schema: IcebergSchemaRef,
    pub(crate) settings: WriteSettings,
    pub(crate) storage: Storage,
    pub(crate) parquet_schema: TypePtr,
    pub(crate) arrow_schema: SchemaRef,
    /// The leaf columns in the Parquet schema's order, each with its metrics mode.
    pub(crate) leaves: Vec<(Leaf, MetricsMode)>,
    /// Paths of the leaves, in the same order.
    paths: Vec<ColumnPath>,
    /// Who has a hand in the task's files.
    pub(crate) present: Count,
}

impl FileLayout {
    /// # Errors
    /// For properties, types or a schema that cannot be written.
    pub(crate) fn new(target: WriteTarget, storage: Storage) -> Result<Self> {
        let settings = target.settings()?;
        let schema = target.file_schema()?;
        let parquet_schema = parquet_schema(&schema)?;
        let descriptor = SchemaDescriptor::new(Arc::clone(&parquet_schema));
        let leaves = leaves(&schema, &descriptor)?
            .into_iter()
            .enumerate()
            .map(|(position, leaf)| {
                let mode = match is_lineage_field(leaf.id) {
                    true => MetricsMode::None,
                    false => settings.metrics.mode_of(&leaf.name, position),
                };
                (leaf, mode)
            })
            .collect();
        Ok(Self {
            arrow_schema: arrow_schema(&schema)?,
            schema,
            paths: descriptor.columns().iter().map(|column| column.path().clone()).collect(),
            target,
            settings,
            storage,
            parquet_schema,
            leaves,
            present: Count::default(),
        })
    }

    /// Whether rows are sorted out by partition.
    pub(crate) fn is_partitioned(&self) -> bool {
        self.target.partition_spec.fields().iter().any(|field| field.transform != Transform::Void)
    }

    /// Whether rows come in the table's sort order, partition by partition.
    pub(crate) fn is_sorted(&self) -> bool {
        self.target.is_sorted()
    }

    /// Whether the writers of a task share the table's partitions.
    pub(crate) fn shares_partitions(&self) -> bool {
        // Without a sort order a range is as good as any other way to bring a partition's rows together. With one,
        // rows of two writers in one file would not be in order.
        self.is_partitioned()
            && !self.is_sorted()
            && self.settings.distribution != Some(DistributionMode::None)
    }

    /// The top-level columns that are a leaf themselves: (column, position among the leaves).
    pub(crate) fn flat_columns(&self) -> impl Iterator<Item = (usize, usize)> {
        let mut leaf = 0;
        self.arrow_schema.fields().iter().enumerate().filter_map(move |(column, field)| {
            let position = leaf;
            leaf += leaf_count(field.data_type());
            (!field.data_type().is_nested()).then_some((column, position))
        })
    }

    /// The Parquet properties of a file whose leaf columns of these positions have no dictionary.
    ///
    /// # Errors
    /// `Invalid` for a compression level that the codec does not have.
    pub(crate) fn properties(&self, plain: &[usize]) -> Result<WriterProperties> {
        let settings = &self.settings;
        let schema_json = serde_json::to_string(self.target.schema.as_ref())
            .map_err(|e| Error::bug("a schema has no JSON form").with_source(e))?;
        let size = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        let mut builder = WriterProperties::builder()
            .set_compression(compression(settings)?)
            .set_data_page_size_limit(size(settings.page_bytes))
            .set_data_page_row_count_limit(size(settings.page_rows))
            .set_dictionary_page_size_limit(size(settings.dict_bytes))
            .set_write_batch_size(ENCODE_BATCH_ROWS)
            .set_statistics_enabled(EnabledStatistics::Page)
            .set_statistics_truncate_length(self.statistics_bytes())
            .set_key_value_metadata(Some(vec![KeyValue::new(SCHEMA_KEY.to_owned(), schema_json)]));
        for position in plain {
            if let Some(path) = self.paths.get(*position) {
                builder = builder.set_column_dictionary_enabled(path.clone(), false);
            }
        }
        for ((leaf, _), path) in self.leaves.iter().zip(&self.paths) {
            if let Some(filter) = settings.bloom_filters.get(&leaf.name) {
                builder = bloom_filter(builder, path, *filter, settings.bloom_filter_max_bytes);
            }
        }
        Ok(builder.build())
    }

    /// How much of a value Parquet's statistics have to keep for the bounds that are asked for; `None`: all.
    fn statistics_bytes(&self) -> Option<usize> {
        self.leaves.iter().try_fold(STATISTICS_BYTES, |most, (_, mode)| match mode {
            MetricsMode::Full => None,
            MetricsMode::Truncate(length) => Some(most.max(length.saturating_mul(4))),
            MetricsMode::None | MetricsMode::Counts => Some(most),
        })
    }
}

fn compression(settings: &WriteSettings) -> Result<Compression> {
    let refused = |e: ParquetError| Error::invalid("compression level is out of range").with_source(e);
    let unsigned = |level: i32| u32::try_from(level).unwrap_or_default();
    Ok(match (settings.codec, settings.level) {
        (Codec::Uncompressed, _) => Compression::UNCOMPRESSED,
        (Codec::Snappy, _) => Compression::SNAPPY,
        (Codec::Lz4, _) => Compression::LZ4_RAW,
        (Codec::Gzip, None) => Compression::GZIP(GzipLevel::default()),
        (Codec::Gzip, Some(level)) => {
            Compression::GZIP(GzipLevel::try_new(unsigned(level)).map_err(refused)?)
        }
        (Codec::Brotli, None) => Compression::BROTLI(BrotliLevel::default()),
        (Codec::Brotli, Some(level)) => {
            Compression::BROTLI(BrotliLevel::try_new(unsigned(level)).map_err(refused)?)
        }
        (Codec::Zstd, level) => Compression::ZSTD(ZstdLevel::try_new(level.unwrap_or(3)).map_err(refused)?),
    })
}

/// A filter for as many values as fit its greatest size; the encoder folds it to those that came.
fn bloom_filter(
    builder: WriterPropertiesBuilder,
    path: &ColumnPath,
    filter: BloomFilter,
    max_bytes: u64,
) -> WriterPropertiesBuilder {
    // A split-block filter sets eight bits a value.
    let bits_per_value = -8.0 / (1.0 - filter.fpp.powf(1.0 / 8.0)).ln();
    let values = (max_bytes as f64 * 8.0 / bits_per_value).max(1.0) as u64;
    builder
        .set_column_bloom_filter_enabled(path.clone(), true)
        .set_column_bloom_filter_fpp(path.clone(), filter.fpp)
        .set_column_bloom_filter_max_ndv(path.clone(), values)
}
