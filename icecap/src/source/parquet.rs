//! Parquet sources: the schema of the files, and what reads them.

use std::sync::Arc;

use datafusion::arrow::datatypes::{
    DataType, Field, FieldRef, Fields, Schema as ArrowSchema, SchemaRef, TimeUnit,
};
use datafusion::common::{DataFusionError, Result as DfResult};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::parquet::Int96Coercer;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::datasource::table_schema::TableSchema;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::physical_expr::PhysicalExpr;
use futures::{StreamExt, TryStreamExt};
use icecap_table::storage::Storage;
use icecap_table::{Error, Result};
use object_store::ObjectMeta;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::file::metadata::ParquetMetaData;

use super::files::Listed;
use super::hive;
use super::table::{SourceFile, SourceFormat, SourceInput};
use crate::plan::error::from_datafusion;
use crate::scan::parquet::parquet_options;
use crate::scan::reader::{FileHandle, OpenFiles, Readers, read_footer};
use crate::scan::{DataFile, FileSlice, deal, slices};

/// Footers read at once.
const CONCURRENT_FOOTERS: usize = 16;

/// What a scan of `files` reads.
///
/// # Errors
/// `Invalid` naming the first file whose columns are not the first file's; `Corrupt` for what is no Parquet.
/// With `union` files may have different columns: those of a name are one.
pub(super) async fn read(storage: &Storage, files: Vec<Listed>, union: bool) -> Result<SourceInput> {
    let mut read = futures::stream::iter(files)
        .map(|file| async move {
            let mut source = SourceFile::of(file);
            let (store, path) = storage.object_store(&source.location)?;
            let footer = read_footer(&source.location, store, &path, source.size_bytes).await?;
            let schema = schema_of(&footer).map_err(|error| error.with("file", source.location.clone()))?;
            source.rows = u64::try_from(footer.file_metadata().num_rows()).ok();
            source.offsets = footer.row_groups().iter().filter_map(first_byte).collect();
            Ok::<_, Error>((source, schema))
        })
        .buffered(CONCURRENT_FOOTERS);
    let mut schema: Option<(SchemaRef, String)> = None;
    let mut sources = Vec::new();
    while let Some((source, found)) = read.try_next().await? {
        match &mut schema {
            None => schema = Some((found, source.location.clone())),
            Some((known, _)) if union => {
                let merged = merged(known, &found);
                *known = merged.map_err(|error| error.with("file", source.location.clone()))?;
            }
            Some((known, first)) => match same_columns(known, &found) {
                Ok(merged) => *known = merged,
                Err(what) => {
                    return Err(Error::invalid(format!(
                        "the file's columns are not those of {first} ({what}): union_by_name => true reads \
                         them as one"
                    ))
                    .with("file", source.location));
                }
            },
        }
        sources.push(source);
    }
    let (schema, _) = schema.ok_or_else(|| Error::invalid("no file to read"))?;
    Ok(SourceInput::new(SourceFormat::Parquet, schema, sources))
}

fn first_byte(group: &parquet::file::metadata::RowGroupMetaData) -> Option<i64> {
    let column = group.columns().first()?;
    Some(column.dictionary_page_offset().unwrap_or_else(|| column.data_page_offset()))
}

/// The Arrow schema of a file; 96-bit timestamps are microseconds.
fn schema_of(footer: &Arc<ParquetMetaData>) -> Result<SchemaRef> {
    let corrupt = |error: parquet::errors::ParquetError| {
        Error::corrupt("the file's Parquet schema cannot be read").with_source(error)
    };
    let metadata =
        ArrowReaderMetadata::try_new(Arc::clone(footer), ArrowReaderOptions::new()).map_err(corrupt)?;
    let schema = Arc::clone(metadata.schema());
    let coerced = Int96Coercer::new(metadata.parquet_schema(), &schema, &TimeUnit::Microsecond).coerce();
    let schema = coerced.map_or(schema, Arc::new);
    if schema.fields().is_empty() {
        return Err(Error::invalid("the file has no columns"));
    }
    for (at, field) in schema.fields().iter().enumerate() {
        if schema.fields()[..at].iter().any(|known| known.name() == field.name()) {
            return Err(Error::invalid(format!("two columns are named {:?}", field.name())));
        }
    }
    // A field id means something in the table that the file came from, and nothing here.
    Ok(Arc::new(ArrowSchema::new(plain(schema.fields()))))
}

fn plain(fields: &Fields) -> Fields {
    fields.iter().map(|field| Arc::new(plain_field(field))).collect()
}

/// A field without metadata, at any depth.
pub(super) fn plain_field(field: &Field) -> Field {
    let inner = |field: &Arc<Field>| Arc::new(plain_field(field));
    let data_type = match field.data_type() {
        DataType::Struct(fields) => DataType::Struct(plain(fields)),
        DataType::List(element) => DataType::List(inner(element)),
        DataType::LargeList(element) => DataType::LargeList(inner(element)),
        DataType::FixedSizeList(element, size) => DataType::FixedSizeList(inner(element), *size),
        DataType::Map(entries, sorted) => DataType::Map(inner(entries), *sorted),
        DataType::Dictionary(_, value) => value.as_ref().clone(),
        other => other.clone(),
    };
    Field::new(field.name(), data_type, field.is_nullable())
}

/// Both schemas as one, when they differ in nothing but which columns may be NULL.
fn same_columns(known: &SchemaRef, found: &SchemaRef) -> Result<SchemaRef, String> {
    if known.fields().len() != found.fields().len() {
        return Err(format!("{} columns and {}", found.fields().len(), known.fields().len()));
    }
    let mut fields = Vec::with_capacity(known.fields().len());
    for (known, found) in known.fields().iter().zip(found.fields()) {
        if known.name() != found.name() {
            return Err(format!("column {:?} where {:?} should be", found.name(), known.name()));
        }
        if known.data_type() != found.data_type() {
            return Err(format!(
                "column {:?} is {} and {}",
                found.name(),
                found.data_type(),
                known.data_type()
            ));
        }
        let nullable = known.is_nullable() || found.is_nullable();
        fields.push(known.as_ref().clone().with_nullable(nullable));
    }
    Ok(Arc::new(ArrowSchema::new(fields)))
}

/// Both schemas as one: columns of a name are one, of the wider type; what a file lacks is NULL there.
fn merged(known: &SchemaRef, found: &SchemaRef) -> Result<SchemaRef> {
    let mut fields: Vec<Field> = Vec::with_capacity(known.fields().len());
    for field in known.fields() {
        let field = field.as_ref().clone();
        fields.push(match found.field_with_name(field.name()) {
            Err(_) => field.with_nullable(true),
            Ok(other) => {
                let ty = wider(field.data_type(), other.data_type()).ok_or_else(|| {
                    Error::invalid(format!(
                        "column {:?} is {} here and {} in files before, which are not one type",
                        field.name(),
                        other.data_type(),
                        field.data_type()
                    ))
                })?;
                let nullable = field.is_nullable() || other.is_nullable();
                field.with_data_type(ty).with_nullable(nullable)
            }
        });
    }
    let added = found.fields().iter().filter(|field| known.field_with_name(field.name()).is_err());
    fields.extend(added.map(|field| field.as_ref().clone().with_nullable(true)));
    Ok(Arc::new(ArrowSchema::new(fields)))
}

/// The type that holds every value of both, where one of them does.
fn wider(one: &DataType, other: &DataType) -> Option<DataType> {
    const WHOLE: [DataType; 4] = [DataType::Int8, DataType::Int16, DataType::Int32, DataType::Int64];
    const REAL: [DataType; 2] = [DataType::Float32, DataType::Float64];
    if one == other {
        return Some(one.clone());
    }
    [&WHOLE[..], &REAL[..]].into_iter().find_map(|family| {
        let place = |ty: &DataType| family.iter().position(|own| own == ty);
        family.get(place(one)?.max(place(other)?)).cloned()
    })
}

/// The slices of a source's files: those it was given, or all of the files, cut as a table's are.
pub(super) fn source_slices(input: &SourceInput, partitions: usize) -> Vec<FileSlice> {
    if !input.slices.is_empty() {
        return input.slices.clone();
    }
    let offsets: Vec<Vec<i64>> = input.files.iter().map(|file| file.offsets.clone()).collect();
    slices(&data_files(input), &offsets, partitions)
}

pub(super) fn data_files(input: &SourceInput) -> Vec<DataFile> {
    input
        .files
        .iter()
        .map(|file| DataFile { file_size_bytes: file.size_bytes, ..DataFile::default() })
        .collect()
}

/// What reads a source's slices.
#[derive(Debug, Clone)]
pub(super) struct ParquetFiles {
    pub(super) exec: Arc<DataSourceExec>,
    pub(super) open: Arc<OpenFiles>,
}

impl ParquetFiles {
    pub(super) fn try_new(
        input: &SourceInput,
        storage: &Storage,
        slices: &[FileSlice],
        columns: &[usize],
        predicate: Option<&Arc<dyn PhysicalExpr>>,
        limit: Option<usize>,
        partitions: usize,
    ) -> Result<Self> {
        let own = input.file_schema().fields().len();
        let folders: Vec<FieldRef> = input.schema.fields()[own..].to_vec();
        let readers = Readers::default();
        let open = readers.open_files();
        let schema =
            TableSchema::builder(input.file_schema()).with_table_partition_cols(folders.clone()).build();
        let mut source = ParquetSource::new(schema)
            .with_parquet_file_reader_factory(Arc::new(readers))
            .with_table_parquet_options(parquet_options());
        if let Some(predicate) = predicate {
            source = source.with_predicate(Arc::clone(predicate));
        }
        let handles = input
            .files
            .iter()
            .map(|file| {
                let (store, path) = storage.object_store(&file.location)?;
                let meta = ObjectMeta {
                    location: path,
                    last_modified: chrono::DateTime::UNIX_EPOCH,
                    size: file.size_bytes,
                    e_tag: None,
                    version: None,
                };
                let record_count = file.rows;
                let handle = FileHandle { record_count, ..FileHandle::new(file.location.clone(), store) };
                let values = folders
                    .iter()
                    .enumerate()
                    .map(|(at, field)| {
                        hive::scalar(file.folders.get(at).and_then(Option::as_deref), field.data_type())
                    })
                    .collect::<Result<Vec<_>>>()?;
                Ok((handle, meta, values))
            })
            .collect::<Result<Vec<_>>>()?;
        let groups = deal(slices, &data_files(input), partitions)
            .into_iter()
            .map(|group| {
                group
                    .into_iter()
                    .map(|slice| {
                        let (handle, meta, values) = handles
                            .get(slice.file)
                            .ok_or_else(|| Error::bug("a slice of a file that is not in the scan"))?;
                        let file = PartitionedFile::new_from_meta(meta.clone())
                            .with_partition_values(values.clone())
                            .with_extension(handle.clone());
                        Ok(match slice.range() {
                            Some((start, end)) => file.with_range(start, end),
                            None => file,
                        })
                    })
                    .collect::<Result<Vec<_>>>()
                    .map(FileGroup::new)
            })
            .collect::<Result<Vec<_>>>()?;
        let config = FileScanConfigBuilder::new(ObjectStoreUrl::local_filesystem(), Arc::new(source))
            .with_file_groups(groups)
            .with_limit(limit)
            .with_projection_indices(Some(columns.to_vec()))
            .map_err(from_datafusion)?
            .build();
        Ok(Self { exec: DataSourceExec::from_data_source(config), open })
    }
}

/// The columns of a schema that are given.
pub(super) fn project(schema: &SchemaRef, columns: &[usize]) -> DfResult<SchemaRef> {
    schema.project(columns).map(Arc::new).map_err(DataFusionError::from)
}
