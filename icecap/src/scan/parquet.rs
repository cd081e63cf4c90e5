//! What runs inside a scan: DataFusion's Parquet source over the table's columns by field id.
//!
//! One source per group of files that have the same constant columns (a partition spec's identity fields) and whose
//! equality deletes look at the same columns: a table that never changed its spec has one. A source's columns are
//! named by field id (see [`super::adapter`]); its batches get the real names back on the way out.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use datafusion::arrow::array::{RecordBatch, RecordBatchOptions};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Schema as ArrowSchema, SchemaRef};
use datafusion::common::config::TableParquetOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::common::{Result as DfResult, ScalarValue};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, FileSource, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::datasource::table_schema::TableSchema;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{PhysicalExpr, conjunction, split_conjunction};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::metrics::MetricsSet;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt, stream};
use icecap_table::iceberg::spec::{Schema, Type};
use icecap_table::storage::Storage;
use icecap_table::{Error, Result};
use object_store::ObjectMeta;
use parquet::arrow::RowNumber;

use super::adapter::{FieldIdAdapters, column_name};
use super::columns::{Assembly, Given, Locations, Wanted};
use super::deletes::{DeleteLoader, DeletingSource, FileDeletes};
use super::guard::{guarded, named};
use super::message::{DataFile, FileSlice, ScanInput};
use super::reader::{FileHandle, OpenFiles, Readers};
use super::split::queue;
use crate::arrow_schema::{arrow_field, arrow_type};
use crate::plan::error::{from_datafusion, to_datafusion};

/// The sources of a scan.
#[derive(Debug, Clone)]
pub(super) struct ParquetScan {
    sources: Vec<Source>,
    schema: SchemaRef,
    limit: Option<usize>,
    /// Where rows of some file are deleted.
    deletes: Option<Arc<DeleteLoader>>,
}

#[derive(Debug, Clone)]
struct Source {
    exec: Arc<DataSourceExec>,
    open: Arc<OpenFiles>,
    assembly: Arc<Assembly>,
}

/// What tells the sources of a scan apart.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Group {
    constants: Vec<i32>,
    /// The columns of equality deletes.
    equality: Vec<i32>,
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
        let given = columns.iter().map(|at| Given::of(input, *at)).collect::<Result<Vec<_>>>()?;
        let predicate = filter.and_then(|(predicate, _)| that_prunes(predicate, input));
        let late = filter.is_some_and(|(_, late)| late);
        let asked = sorted(given.iter().flat_map(|given| given.parts()).collect());
        let mut needed = asked.clone();
        if let Some(predicate) = &predicate {
            for at in columns_of(predicate)? {
                needed.extend(Given::of(input, at)?.before_decoding());
            }
        }

        let mut groups: BTreeMap<Group, Vec<FileSlice>> = BTreeMap::new();
        for slice in &input.slices {
            let file = file_of(input, slice)?;
            let equality = input.equality_fields(file);
            let is_needed = |id: &i32| equality.contains(id) || needed.contains(&Wanted::Field(*id));
            let constants = file.constants.keys().copied().filter(is_needed).collect();
            groups.entry(Group { constants, equality }).or_default().push(slice.clone());
        }
        let any_deletes = input.files.iter().any(DataFile::has_deletes);
        let deletes = any_deletes.then(|| Arc::new(DeleteLoader::new(Arc::clone(input), storage.clone())));
        let sources = groups
            .into_iter()
            .map(|(Group { constants, equality }, slices)| {
                let with_equality = |columns: &[Wanted]| {
                    sorted(
                        columns.iter().copied().chain(equality.iter().map(|id| Wanted::Field(*id))).collect(),
                    )
                };
                let builder = SourceBuilder {
                    input,
                    storage,
                    asked: &with_equality(&asked),
                    needed: &with_equality(&needed),
                    constants: &constants,
                    equality: &equality,
                    deletes: deletes.as_ref(),
                    late,
                };
                // A limit is of rows that are left.
                let limit = limit.filter(|_| equality.is_empty());
                builder.build(&given, predicate.as_ref(), limit, &slices, partitions)
            })
            .collect::<Result<_>>()?;
        Ok(Self { sources, schema: Arc::clone(schema), limit, deletes })
    }

    pub(super) fn execute(
        &self,
        partition: usize,
        context: &Arc<TaskContext>,
    ) -> DfResult<SendableRecordBatchStream> {
        if let Some(deletes) = &self.deletes {
            deletes.begin(context);
        }
        let mut streams = Vec::with_capacity(self.sources.len());
        for source in &self.sources {
            let batches = source.exec.execute(partition, Arc::clone(context))?;
            streams.push(assembled(batches, Arc::clone(&self.schema), source, partition).boxed());
        }
        let batches = limited(stream::iter(streams).flatten().boxed(), self.limit);
        Ok(Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), batches)))
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

fn sorted(mut columns: Vec<Wanted>) -> Vec<Wanted> {
    columns.sort_unstable();
    columns.dedup();
    columns
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

/// The conjuncts over what a file stores or is known of it: the rest (a row's position) only the reader knows.
fn that_prunes(predicate: &Arc<dyn PhysicalExpr>, input: &ScanInput) -> Option<Arc<dyn PhysicalExpr>> {
    let prunes = |at: &usize| Given::of(input, *at).is_ok_and(|given| given.before_decoding().is_some());
    let kept: Vec<_> = split_conjunction(predicate)
        .into_iter()
        .filter(|part| columns_of(part).is_ok_and(|columns| columns.iter().all(prunes)))
        .cloned()
        .collect();
    (!kept.is_empty()).then(|| conjunction(kept))
}

struct SourceBuilder<'a> {
    input: &'a Arc<ScanInput>,
    storage: &'a Storage,
    /// The columns of the source's batches.
    asked: &'a [Wanted],
    /// Those and the predicate's.
    needed: &'a [Wanted],
    constants: &'a [i32],
    equality: &'a [i32],
    deletes: Option<&'a Arc<DeleteLoader>>,
    late: bool,
}

impl SourceBuilder<'_> {
    fn build(
        &self,
        given: &[Given],
        predicate: Option<&Arc<dyn PhysicalExpr>>,
        limit: Option<usize>,
        slices: &[FileSlice],
        partitions: usize,
    ) -> Result<Source> {
        let (table, order) = self.table_schema()?;
        let place = |column: &Wanted| {
            let at = order.iter().position(|known| known == column);
            at.ok_or_else(|| Error::bug("a column is not scanned"))
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
                        let given = Given::of(self.input, column.index());
                        let at = given.and_then(|given| {
                            let wanted = given.before_decoding();
                            place(
                                &wanted
                                    .ok_or_else(|| Error::bug("a predicate on a column that is derived"))?,
                            )
                        });
                        let at = at.map_err(to_datafusion)?;
                        Ok(Transformed::yes(Arc::new(Column::new(names.field(at).name(), at)) as _))
                    }
                    None => Ok(Transformed::no(expr)),
                })
                .data()
                .map_err(from_datafusion)?;
            source = source.with_predicate(predicate);
        }
        let mut source: Arc<dyn FileSource> = Arc::new(source);
        if self.deletes.is_some() {
            source = Arc::new(DeletingSource::new(source, self.equality_places()));
        }
        let adapters = FieldIdAdapters::new(self.inner_schema()?, self.input.name_mapping.clone())
            .complete(self.input.every_column_is_stored);
        let indices = self.asked.iter().map(place).collect::<Result<Vec<_>>>()?;
        let config = FileScanConfigBuilder::new(ObjectStoreUrl::local_filesystem(), source)
            .with_file_groups(self.file_groups(slices, partitions)?)
            .with_limit(limit)
            .with_expr_adapter(Some(Arc::new(adapters)))
            .with_projection_indices(Some(indices))
            .map_err(from_datafusion)?
            .build();
        let assembly = Arc::new(Assembly::new(self.input, given, self.asked)?);
        Ok(Source { exec: DataSourceExec::from_data_source(config), open, assembly })
    }

    /// Where the columns of equality deletes are in the source's batches.
    fn equality_places(&self) -> BTreeMap<i32, usize> {
        let place = |id: &i32| self.asked.iter().position(|column| *column == Wanted::Field(*id));
        self.equality.iter().filter_map(|id| Some((*id, place(id)?))).collect()
    }

    /// The table's schema, with further columns that are needed and not in it.
    fn inner_schema(&self) -> Result<Arc<Schema>> {
        let mut fields = self.input.schema.as_struct().fields().to_vec();
        let own = fields.len();
        for column in self.needed {
            if let Wanted::Field(id) = column
                && !fields.iter().any(|field| field.id == *id)
            {
                fields.push(self.input.field(*id)?);
            }
        }
        if fields.len() == own {
            return Ok(Arc::clone(&self.input.schema));
        }
        Ok(Arc::new(Schema::builder().with_fields(fields).build()?))
    }

    /// The source's columns: stored ones, constants, the row number; and which wanted column each is.
    fn table_schema(&self) -> Result<(TableSchema, Vec<Wanted>)> {
        let (mut stored, mut constant, mut virtual_columns) = (Vec::new(), Vec::new(), Vec::new());
        let (mut order, mut order_of_constants) = (Vec::new(), Vec::new());
        for column in self.needed {
            match column {
                Wanted::Field(id) if !self.constants.contains(id) => {
                    stored.push(self.inner_field(*id)?);
                    order.push(*column);
                }
                Wanted::Pos => virtual_columns.push(Arc::new(
                    Field::new("icecap:pos", DataType::Int64, false).with_extension_type(RowNumber),
                )),
                _ => {
                    constant.push(self.constant_field(*column)?);
                    order_of_constants.push(*column);
                }
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

    fn inner_field(&self, id: i32) -> Result<FieldRef> {
        // Whether NULL is allowed is checked on the way out, under the column's real name.
        Ok(Arc::new(
            arrow_field(self.input.field(id)?.as_ref())?.with_name(column_name(id)).with_nullable(true),
        ))
    }

    fn constant_field(&self, column: Wanted) -> Result<FieldRef> {
        let (name, data_type) = match column {
            Wanted::Field(id) => return self.inner_field(id),
            Wanted::File => ("icecap:file", DataType::Utf8),
            Wanted::Index => ("icecap:index", DataType::Int32),
            Wanted::SpecId => ("icecap:spec", DataType::Int32),
            Wanted::Partition => {
                let fields = self.input.partition_type.as_ref().clone();
                ("icecap:partition", arrow_type(&Type::Struct(fields))?)
            }
            Wanted::FirstRowId => ("icecap:first-row", DataType::Int64),
            Wanted::Sequence => ("icecap:sequence", DataType::Int64),
            Wanted::Pos => return Err(Error::bug("a row's position is no constant")),
        };
        Ok(Arc::new(Field::new(name, data_type, true)))
    }

    /// The values of the file's constant columns, in their order.
    fn constants_of(&self, at: usize, file: &DataFile) -> Result<Vec<ScalarValue>> {
        let mut values = Vec::new();
        for column in self.needed {
            values.push(match column {
                Wanted::Field(id) if !self.constants.contains(id) => continue,
                Wanted::Pos => continue,
                Wanted::Field(id) => {
                    let value = file.constants.get(id).cloned();
                    value.ok_or_else(|| Error::bug("a file lacks its constant"))?
                }
                Wanted::File => ScalarValue::Utf8(Some(file.path.clone())),
                Wanted::Index => ScalarValue::Int32(i32::try_from(at).ok()),
                Wanted::SpecId => ScalarValue::Int32(Some(file.spec_id)),
                Wanted::Partition => self.input.partition_of(file)?,
                Wanted::FirstRowId => ScalarValue::Int64(file.first_row_id),
                Wanted::Sequence => ScalarValue::Int64(Some(file.data_sequence_number)),
            });
        }
        Ok(values)
    }

    fn file_groups(&self, slices: &[FileSlice], partitions: usize) -> Result<Vec<FileGroup>> {
        let mut handles: BTreeMap<usize, (FileHandle, ObjectMeta, Vec<ScalarValue>)> = BTreeMap::new();
        let mut groups = Vec::with_capacity(partitions);
        for group in queue(slices, &self.input.files, partitions) {
            let mut files = Vec::with_capacity(group.len());
            for slice in group {
                let (handle, meta, constants) = match handles.entry(slice.file) {
                    Entry::Occupied(known) => known.into_mut(),
                    Entry::Vacant(new) => new.insert(self.handle(slice.file, file_of(self.input, &slice)?)?),
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

    fn handle(&self, at: usize, file: &DataFile) -> Result<(FileHandle, ObjectMeta, Vec<ScalarValue>)> {
        let (store, path) = self.storage.object_store(&file.path)?;
        let loader = self.deletes.filter(|_| file.has_deletes());
        let handle = FileHandle {
            record_count: Some(file.record_count),
            drop_arrow_schema: true,
            cache: Some(Arc::clone(self.storage.cache())),
            deletes: loader.map(|loader| Arc::new(FileDeletes::new(Arc::clone(loader), at))),
            ..FileHandle::new(file.path.clone(), store)
        };
        let meta = ObjectMeta {
            location: path,
            last_modified: chrono::DateTime::UNIX_EPOCH,
            size: file.file_size_bytes,
            e_tag: None,
            version: None,
        };
        Ok((handle, meta, self.constants_of(at, file)?))
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

/// The source's batches as the scan's, with errors and panics that name their file.
fn assembled(
    batches: SendableRecordBatchStream,
    schema: SchemaRef,
    source: &Source,
    partition: usize,
) -> impl Stream<Item = DfResult<RecordBatch>> + Send + use<> {
    let (open, assembly) = (Arc::clone(&source.open), Arc::clone(&source.assembly));
    let mut locations = Locations::default();
    guarded(batches, Arc::clone(&open), partition).map(move |batch| {
        let batch = batch?;
        let columns = assembly
            .columns(&batch, &mut locations)
            .map_err(|error| named(to_datafusion(error), &open.of(partition)))?;
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        RecordBatch::try_new_with_options(Arc::clone(&schema), columns, &options)
            .map_err(|error| named(error.into(), &open.of(partition)))
    })
}

/// The first `limit` rows: each source stops at the limit of its own.
fn limited(
    batches: BoxStream<'static, DfResult<RecordBatch>>,
    limit: Option<usize>,
) -> BoxStream<'static, DfResult<RecordBatch>> {
    let Some(limit) = limit else { return batches };
    stream::unfold((batches, limit), |(mut batches, left)| async move {
        if left == 0 {
            return None;
        }
        match batches.next().await? {
            Ok(batch) => {
                let taken = batch.num_rows().min(left);
                Some((Ok(batch.slice(0, taken)), (batches, left - taken)))
            }
            Err(error) => Some((Err(error), (batches, 0))),
        }
    })
    .boxed()
}
