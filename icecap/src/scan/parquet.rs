//! What runs inside a scan: DataFusion's Parquet source over the table's columns by field id.
//!
//! One source per group of files that have the same constant columns (a partition spec's identity fields):
//! a table that never changed its spec has one. A source's columns are named by field id (see
//! [`super::adapter`]); its batches get the real names back on the way out.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use datafusion::arrow::array::{RecordBatch, RecordBatchOptions};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Schema as ArrowSchema, SchemaRef};
use datafusion::common::config::TableParquetOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::common::{DataFusionError, Result as DfResult, ScalarValue};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::datasource::table_schema::TableSchema;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{PhysicalExpr, conjunction, split_conjunction};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::metrics::MetricsSet;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::{FutureExt, Stream, StreamExt, stream};
use icecap_table::iceberg::spec::NestedField;
use icecap_table::storage::Storage;
use icecap_table::{Error, ErrorKind, Result};
use object_store::ObjectMeta;
use parquet::arrow::RowNumber;

use super::adapter::{FieldIdAdapters, column_name};
use super::message::{DataFile, FileSlice, ScanInput};
use super::reader::{FileHandle, OpenFiles, Readers};
use super::split::deal;
use crate::arrow_schema::arrow_field;
use crate::plan::error::{from_datafusion, to_datafusion};

const FILE_NAME: &str = "icecap:file";
const POS_NAME: &str = "icecap:pos";

/// The sources of a scan.
#[derive(Debug, Clone)]
pub(super) struct ParquetScan {
    sources: Vec<Source>,
    schema: SchemaRef,
}

#[derive(Debug, Clone)]
struct Source {
    exec: Arc<DataSourceExec>,
    open: Arc<OpenFiles>,
}

/// A column of the scan, or one that its predicate needs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Wanted {
    Field(i32),
    File,
    Pos,
}

impl ParquetScan {
    pub(super) fn try_new(
        input: &Arc<ScanInput>,
        storage: &Storage,
        schema: &SchemaRef,
        columns: &[usize],
        filter: Option<(&Arc<dyn PhysicalExpr>, bool)>,
        limit: Option<usize>,
        partitions: usize,
    ) -> Result<Self> {
        let fields = input.schema.as_struct().fields();
        let wanted = |at: usize| match at.checked_sub(fields.len()) {
            None => Wanted::Field(fields[at].id),
            Some(0) => Wanted::File,
            Some(_) => Wanted::Pos,
        };
        let output: Vec<Wanted> = columns.iter().map(|at| wanted(*at)).collect();
        let predicate = filter.and_then(|(predicate, _)| without_position(predicate, fields.len() + 1));
        let late = filter.is_some_and(|(_, late)| late);
        let mut needed = output.clone();
        if let Some(predicate) = &predicate {
            needed.extend(columns_of(predicate)?.into_iter().map(wanted));
        }
        needed.sort();
        needed.dedup();

        let mut groups: BTreeMap<Vec<i32>, Vec<FileSlice>> = BTreeMap::new();
        for slice in &input.slices {
            let file = file_of(input, slice)?;
            let constants = file.constants.keys().copied();
            let constants = constants.filter(|id| needed.contains(&Wanted::Field(*id))).collect();
            groups.entry(constants).or_default().push(slice.clone());
        }
        let sources = groups
            .into_iter()
            .map(|(constants, slices)| {
                let builder = SourceBuilder { input, storage, needed: &needed, constants: &constants, late };
                builder.build(&output, predicate.as_ref(), &wanted, limit, &slices, partitions)
            })
            .collect::<Result<_>>()?;
        Ok(Self { sources, schema: Arc::clone(schema) })
    }

    pub(super) fn execute(
        &self,
        partition: usize,
        context: &Arc<TaskContext>,
    ) -> DfResult<SendableRecordBatchStream> {
        let mut streams = Vec::with_capacity(self.sources.len());
        for source in &self.sources {
            let batches = source.exec.execute(partition, Arc::clone(context))?;
            let schema = Arc::clone(&self.schema);
            streams.push(renamed(batches, schema, Arc::clone(&source.open), partition).boxed());
        }
        Ok(Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), stream::iter(streams).flatten())))
    }

    pub(super) fn metrics(&self) -> MetricsSet {
        let mut all = MetricsSet::new();
        for metric in self.sources.iter().filter_map(|source| source.exec.metrics()) {
            for metric in metric.iter() {
                all.push(Arc::clone(metric));
            }
        }
        all
    }
}

fn file_of<'a>(input: &'a ScanInput, slice: &FileSlice) -> Result<&'a DataFile> {
    input.files.get(slice.file).ok_or_else(|| Error::bug("a slice of a file that is not in the scan"))
}

fn columns_of(expr: &Arc<dyn PhysicalExpr>) -> Result<Vec<usize>> {
    let mut columns = Vec::new();
    expr.apply(|expr| {
        if let Some(column) = expr.downcast_ref::<Column>() {
            columns.push(column.index());
        }
        Ok(TreeNodeRecursion::Continue)
    })
    .map_err(from_datafusion)?;
    Ok(columns)
}

/// The conjuncts that do not look at the row's position, which only the reader knows.
fn without_position(predicate: &Arc<dyn PhysicalExpr>, position: usize) -> Option<Arc<dyn PhysicalExpr>> {
    let kept: Vec<_> = split_conjunction(predicate)
        .into_iter()
        .filter(|part| columns_of(part).is_ok_and(|columns| !columns.contains(&position)))
        .cloned()
        .collect();
    (!kept.is_empty()).then(|| conjunction(kept))
}

struct SourceBuilder<'a> {
    input: &'a Arc<ScanInput>,
    storage: &'a Storage,
    needed: &'a [Wanted],
    constants: &'a [i32],
    late: bool,
}

impl SourceBuilder<'_> {
    fn build(
        &self,
        output: &[Wanted],
        predicate: Option<&Arc<dyn PhysicalExpr>>,
        wanted: &impl Fn(usize) -> Wanted,
        limit: Option<usize>,
        slices: &[FileSlice],
        partitions: usize,
    ) -> Result<Source> {
        let (table, order) = self.table_schema()?;
        let place = |column: &Wanted| {
            order
                .iter()
                .position(|known| known == column)
                .ok_or_else(|| Error::bug("a column is not scanned"))
        };
        let readers = Readers::default();
        let open = readers.open_files();
        let mut source = ParquetSource::new(table.clone())
            .with_parquet_file_reader_factory(Arc::new(readers))
            .with_table_parquet_options(parquet_options())
            .with_pushdown_filters(self.late);
        if let Some(predicate) = predicate {
            let names = table.table_schema();
            let predicate = Arc::clone(predicate)
                .transform(|expr| match expr.downcast_ref::<Column>() {
                    Some(column) => {
                        let at = place(&wanted(column.index())).map_err(to_datafusion)?;
                        Ok(Transformed::yes(Arc::new(Column::new(names.field(at).name(), at)) as _))
                    }
                    None => Ok(Transformed::no(expr)),
                })
                .data()
                .map_err(from_datafusion)?;
            source = source.with_predicate(predicate);
        }
        let adapters = FieldIdAdapters::new(Arc::clone(&self.input.schema), self.input.name_mapping.clone());
        let indices = output.iter().map(place).collect::<Result<Vec<_>>>()?;
        let config = FileScanConfigBuilder::new(ObjectStoreUrl::local_filesystem(), Arc::new(source))
            .with_file_groups(self.file_groups(slices, partitions)?)
            .with_limit(limit)
            .with_expr_adapter(Some(Arc::new(adapters)))
            .with_projection_indices(Some(indices))
            .map_err(from_datafusion)?
            .build();
        Ok(Source { exec: DataSourceExec::from_data_source(config), open })
    }

    /// The source's columns: stored ones, constants, the row number; and which wanted column each is.
    fn table_schema(&self) -> Result<(TableSchema, Vec<Wanted>)> {
        let (mut stored, mut constant, mut order_of_constants) = (Vec::new(), Vec::new(), Vec::new());
        let (mut virtual_columns, mut order) = (Vec::new(), Vec::new());
        for column in self.needed {
            match column {
                Wanted::Field(id) if self.constants.contains(id) => {
                    constant.push(self.inner_field(*id)?);
                    order_of_constants.push(*column);
                }
                Wanted::Field(id) => {
                    stored.push(self.inner_field(*id)?);
                    order.push(*column);
                }
                Wanted::File => {
                    constant.push(Arc::new(Field::new(FILE_NAME, DataType::Utf8, false)));
                    order_of_constants.push(*column);
                }
                Wanted::Pos => virtual_columns.push(Arc::new(
                    Field::new(POS_NAME, DataType::Int64, false).with_extension_type(RowNumber),
                )),
            }
        }
        order.append(&mut order_of_constants);
        order.extend(virtual_columns.iter().map(|_| Wanted::Pos));
        let table = TableSchema::builder(Arc::new(ArrowSchema::new(stored)))
            .with_table_partition_cols(constant)
            .with_virtual_columns(virtual_columns)
            .build();
        Ok((table, order))
    }

    fn field(&self, id: i32) -> Result<&Arc<NestedField>> {
        let fields = self.input.schema.as_struct().fields();
        fields.iter().find(|field| field.id == id).ok_or_else(|| Error::bug("a column is not in the schema"))
    }

    fn inner_field(&self, id: i32) -> Result<FieldRef> {
        // Whether NULL is allowed is checked on the way out, under the column's real name.
        Ok(Arc::new(arrow_field(self.field(id)?)?.with_name(column_name(id)).with_nullable(true)))
    }

    fn file_groups(&self, slices: &[FileSlice], partitions: usize) -> Result<Vec<FileGroup>> {
        let mut handles: BTreeMap<usize, (FileHandle, ObjectMeta, Vec<ScalarValue>)> = BTreeMap::new();
        let mut groups = Vec::with_capacity(partitions);
        for group in deal(slices, &self.input.files, partitions) {
            let mut files = Vec::with_capacity(group.len());
            for slice in group {
                let (handle, meta, constants) = match handles.entry(slice.file) {
                    Entry::Occupied(known) => known.into_mut(),
                    Entry::Vacant(new) => new.insert(self.handle(file_of(self.input, &slice)?)?),
                };
                let mut file = PartitionedFile::new_from_meta(meta.clone())
                    .with_partition_values(constants.clone())
                    .with_extension(handle.clone());
                if let Some((start, end)) = slice.range() {
                    file = file.with_range(start, end);
                }
                files.push(file);
            }
            groups.push(FileGroup::new(files));
        }
        Ok(groups)
    }

    fn handle(&self, file: &DataFile) -> Result<(FileHandle, ObjectMeta, Vec<ScalarValue>)> {
        let (store, path) = self.storage.object_store(&file.path)?;
        let handle = FileHandle {
            record_count: Some(file.record_count),
            drop_arrow_schema: true,
            cache: Some(Arc::clone(self.storage.cache())),
            ..FileHandle::new(file.path.clone(), store)
        };
        let meta = ObjectMeta {
            location: path,
            last_modified: chrono::DateTime::UNIX_EPOCH,
            size: file.file_size_bytes,
            e_tag: None,
            version: None,
        };
        let mut values = Vec::new();
        for column in self.needed {
            match column {
                Wanted::Field(id) if self.constants.contains(id) => values.push(
                    file.constants.get(id).cloned().ok_or_else(|| Error::bug("a file lacks its constant"))?,
                ),
                Wanted::File => values.push(ScalarValue::Utf8(Some(file.path.clone()))),
                _ => {}
            }
        }
        Ok((handle, meta, values))
    }
}

/// How every Parquet file is read: statistics, page index and bloom filters prune; 96-bit timestamps are
/// microseconds, as Iceberg's are.
pub(crate) fn parquet_options() -> TableParquetOptions {
    let mut options = TableParquetOptions::default();
    options.global.coerce_int96 = Some("us".to_owned());
    // A predicate's columns are decoded again for the rows that remain: keeping them costs more than that.
    options.global.max_predicate_cache_size = Some(0);
    options
}

/// The source's batches under the scan's schema, with errors and panics that name their file.
fn renamed(
    batches: SendableRecordBatchStream,
    schema: SchemaRef,
    open: Arc<OpenFiles>,
    partition: usize,
) -> impl Stream<Item = DfResult<RecordBatch>> + Send {
    guarded(batches, Arc::clone(&open), partition).map(move |batch| {
        let (_, columns, rows) = batch?.into_parts();
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(Arc::clone(&schema), columns, &options)
            .map_err(|error| named(error.into(), &open.of(partition)))
    })
}

/// Ends a stream with an error where a decoder fails or panics, naming the files that were being read.
pub(crate) fn guarded(
    batches: SendableRecordBatchStream,
    open: Arc<OpenFiles>,
    partition: usize,
) -> impl Stream<Item = DfResult<RecordBatch>> + Send {
    stream::unfold(Some(batches), move |batches| {
        let open = Arc::clone(&open);
        async move {
            let mut batches = batches?;
            match AssertUnwindSafe(batches.next()).catch_unwind().await {
                Ok(Some(Ok(batch))) => Some((Ok(batch), Some(batches))),
                Ok(Some(Err(error))) => Some((Err(named(error, &open.of(partition))), None)),
                Ok(None) => None,
                Err(_) => {
                    let error = Error::corrupt("a Parquet file could not be decoded: the decoder gave up");
                    Some((Err(to_datafusion(with_files(error, &open.of(partition)))), None))
                }
            }
        }
    })
}

/// What a decoder says is about the stored bytes: a scan computes nothing that a statement asked for.
fn named(error: DataFusionError, files: &[String]) -> DataFusionError {
    let stored =
        matches!(error.find_root(), DataFusionError::ParquetError(_) | DataFusionError::ArrowError(..));
    let error = from_datafusion(error);
    let error = match error.kind() {
        ErrorKind::Invalid if stored => error.with_kind(ErrorKind::Corrupt),
        ErrorKind::Exhausted | ErrorKind::Cancelled => return to_datafusion(error),
        _ => error,
    };
    if error.context().iter().any(|(key, _)| key == "file") {
        return to_datafusion(error);
    }
    to_datafusion(with_files(error, files))
}

fn with_files(error: Error, files: &[String]) -> Error {
    if files.is_empty() { error } else { error.with("file", files.join(" or ")) }
}
