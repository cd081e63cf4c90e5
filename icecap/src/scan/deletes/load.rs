//! Reads a scan's delete files, each once, when the first data file asks for it.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::parquet::ParquetAccessPlan;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use futures::StreamExt;
use icecap_table::deletes::{PositionSet, deletion_vector};
use icecap_table::iceberg::spec::{NestedFieldRef, Schema};
use icecap_table::location::Policy;
use icecap_table::scan::{DeleteKind, ScanPlan};
use icecap_table::storage::Storage;
use icecap_table::{Error, ErrorKind, Result};
use tokio::sync::OnceCell;

use super::equality::EqualitySet;
use super::position_file;
use super::select::{Left, left_of};
use crate::arrow_schema::arrow_schema;
use crate::plan::error::from_datafusion;
use crate::scan::message::{DataFile, DeleteSource, FileSlice, ScanInput};
use crate::scan::parquet::ParquetScan;
use crate::scan::reader::FileHandle;

/// Reads the delete files of one scan, where it is executed.
#[derive(Debug)]
pub(in crate::scan) struct DeleteLoader {
    input: Arc<ScanInput>,
    storage: Storage,
    /// What the scan is executed with; known only then.
    execution: OnceLock<Execution>,
    loaded: Vec<OnceCell<Loaded>>,
}

#[derive(Debug)]
struct Execution {
    context: Arc<TaskContext>,
    memory: MemoryReservation,
}

/// A delete file that was read.
#[derive(Debug, Clone)]
enum Loaded {
    /// The positions of the one data file that it is of.
    Vector(Arc<PositionSet>),
    /// Positions by data file (as an index in the scan).
    Positions(Arc<HashMap<usize, Arc<PositionSet>>>),
    Equality(Arc<EqualitySet>),
}

impl DeleteLoader {
    pub(in crate::scan) fn new(input: Arc<ScanInput>, storage: Storage) -> Self {
        let loaded = input.deletes.iter().map(|_| OnceCell::new()).collect();
        Self { input, storage, execution: OnceLock::new(), loaded }
    }

    /// Says what the scan is executed with. The first caller's word counts.
    pub(in crate::scan) fn begin(&self, context: &Arc<TaskContext>) {
        self.execution.get_or_init(|| Execution {
            context: Arc::clone(context),
            memory: MemoryConsumer::new("deletes of a scan").register(context.memory_pool()),
        });
    }

    fn execution(&self) -> Result<&Execution> {
        self.execution.get().ok_or_else(|| Error::bug("delete files are read before the scan is executed"))
    }

    fn reserve(&self, bytes: usize) -> Result<()> {
        self.execution()?.memory.try_grow(bytes).map_err(from_datafusion)
    }

    async fn load(&self, at: usize) -> Result<Loaded> {
        let (Some(source), Some(cell)) = (self.input.deletes.get(at), self.loaded.get(at)) else {
            return Err(Error::bug("a delete file that is not in the scan"));
        };
        let loaded = cell.get_or_try_init(|| async {
            let read = match &source.kind {
                DeleteKind::DeletionVector => self.vector(source).await,
                DeleteKind::PositionDeletes => self.positions(at, source).await,
                DeleteKind::EqualityDeletes { field_ids } => self.equality(source, field_ids).await,
            };
            read.map_err(|error| error.with("delete file", &source.path))
        });
        loaded.await.cloned()
    }

    async fn vector(&self, source: &DeleteSource) -> Result<Loaded> {
        let (offset, length) = source.content_range.unwrap_or_default();
        let range = u64::try_from(offset).ok().zip(u64::try_from(length).ok());
        let range = range.and_then(|(offset, length)| Some((offset, offset.checked_add(length)?)));
        let Some((start, end)) = range.filter(|(_, end)| *end <= source.file_size_bytes) else {
            return Err(Error::corrupt(format!(
                "deletion vector is said to be at {length} bytes from {offset} on of a file of {} bytes",
                source.file_size_bytes
            )));
        };
        if end - start > deletion_vector::MAX_BLOB_BYTES {
            return Err(Error::corrupt(format!("deletion vector of {} bytes is too large", end - start)));
        }
        // Several vectors share one file.
        let name = format!("{}#{start}-{end}", source.path);
        let known = self.storage.cache().get::<PositionSet>(&name);
        if let Some(known) = known.filter(|known| known.len() == source.record_count) {
            return Ok(Loaded::Vector(known));
        }
        self.reserve(usize::try_from(end - start).unwrap_or(usize::MAX))?;
        let blob = self.storage.read_range(&source.path, start..end).await;
        let blob = match blob {
            Ok(blob) => blob,
            Err(error) => return Err(self.why_missing(source, error).await),
        };
        let positions = Arc::new(deletion_vector::decode(&blob, Some(source.record_count))?);
        self.storage.cache().put(&name, Arc::clone(&positions), positions.size_bytes());
        Ok(Loaded::Vector(positions))
    }

    /// A file that is not there, or shorter than the table says, is the table's fault.
    async fn why_missing(&self, source: &DeleteSource, error: Error) -> Error {
        let corrupt = |what: &str| Error::corrupt(what).with("file", &source.path);
        if error.kind() == ErrorKind::NotFound {
            return corrupt("a file that the table names does not exist");
        }
        match self.storage.size(&source.path).await {
            Ok(size) if size < source.file_size_bytes => corrupt("a delete file is shorter than recorded"),
            _ => error,
        }
    }

    async fn positions(&self, at: usize, source: &DeleteSource) -> Result<Loaded> {
        let wanted: HashMap<&str, usize> = self
            .input
            .files
            .iter()
            .enumerate()
            .filter(|(_, file)| file.deletes.contains(&at))
            .map(|(index, file)| (file.path.as_str(), index))
            .collect();
        let schema = position_file::schema()?;
        let mut rows = self.read(source, schema, position_file::predicate(&wanted))?;
        let mut sets = HashMap::new();
        let mut reserved = 0;
        while let Some(batch) = rows.next().await {
            position_file::collect(&batch.map_err(from_datafusion)?, &wanted, &mut sets)?;
            let size = sets.values().map(PositionSet::size_bytes).sum::<usize>();
            self.reserve(size.saturating_sub(reserved))?;
            reserved = reserved.max(size);
        }
        let sets = sets.into_iter().map(|(file, set)| (file, Arc::new(set))).collect();
        Ok(Loaded::Positions(Arc::new(sets)))
    }

    async fn equality(&self, source: &DeleteSource, field_ids: &[i32]) -> Result<Loaded> {
        let fields = field_ids.iter().map(|id| self.input.field(*id));
        let fields: Vec<NestedFieldRef> = fields.collect::<Result<_>>()?;
        let schema = Arc::new(Schema::builder().with_fields(fields).build()?);
        let arrow = arrow_schema(&schema)?;
        let types = arrow.fields().iter().map(|field| field.data_type().clone());
        let mut set = EqualitySet::new(field_ids.to_vec(), types)?;
        let mut rows = self.read(source, schema, None)?;
        while let Some(batch) = rows.next().await {
            let grown = set.add(&batch.map_err(from_datafusion)?).map_err(from_datafusion)?;
            self.reserve(grown)?;
        }
        Ok(Loaded::Equality(Arc::new(set)))
    }

    /// The rows of a delete file in the columns of `schema`.
    fn read(
        &self,
        source: &DeleteSource,
        schema: Arc<Schema>,
        predicate: Option<Arc<dyn PhysicalExpr>>,
    ) -> Result<SendableRecordBatchStream> {
        let file = DataFile {
            path: source.path.clone(),
            file_size_bytes: source.file_size_bytes,
            record_count: source.record_count,
            ..DataFile::default()
        };
        let columns: Vec<usize> = (0..schema.as_struct().fields().len()).collect();
        let input = ScanInput {
            name_mapping: self.input.name_mapping.clone(),
            files: vec![file],
            slices: vec![FileSlice { file: 0, start: 0, end: None }],
            every_column_is_stored: true,
            ..ScanInput::new(self.input.table.clone(), schema)
        };
        let arrow = arrow_schema(&input.schema)?;
        let filter = predicate.as_ref().map(|predicate| (predicate, false));
        let scan = ParquetScan::try_new(&Arc::new(input), &self.storage, &arrow, &columns, filter, None, 1)?;
        scan.execute(0, &self.execution()?.context).map_err(from_datafusion)
    }

    /// The deleted positions of a data file; `None` when there are none.
    async fn positions_of(&self, file: usize) -> Result<Option<Arc<PositionSet>>> {
        let data = self.input.files.get(file).ok_or_else(|| Error::bug("a file that is not in the scan"))?;
        let mut parts: Vec<Arc<PositionSet>> = Vec::new();
        for at in &data.deletes {
            let Some(source) = self.input.deletes.get(*at).filter(|source| !source.is_equality()) else {
                continue;
            };
            let set = match self.load(*at).await? {
                Loaded::Vector(set) => set,
                Loaded::Positions(sets) => match sets.get(&file) {
                    Some(set) => Arc::clone(set),
                    None => continue,
                },
                Loaded::Equality(_) => continue,
            };
            if let Some(last) = set.max().filter(|last| *last >= data.record_count) {
                let rows = data.record_count;
                let error = Error::corrupt(format!("row {last} is deleted of a data file of {rows} rows"));
                return Err(error.with("file", &data.path).with("delete file", &source.path));
            }
            parts.push(set);
        }
        parts.extend(data.extra_deletes.clone());
        let mut parts = parts.into_iter().filter(|set| !set.is_empty());
        let Some(first) = parts.next() else { return Ok(None) };
        let Some(second) = parts.next() else { return Ok(Some(first)) };
        let mut all = PositionSet::clone(&first);
        std::iter::once(second).chain(parts).for_each(|set| all.union_with(&set));
        self.reserve(all.size_bytes())?;
        Ok(Some(Arc::new(all)))
    }

    async fn equality_of(&self, file: usize) -> Result<Vec<Arc<EqualitySet>>> {
        let mut sets = Vec::new();
        for at in self.input.files.get(file).map(|file| file.deletes.as_slice()).unwrap_or_default() {
            if self.input.deletes.get(*at).is_some_and(DeleteSource::is_equality)
                && let Loaded::Equality(set) = self.load(*at).await?
                && !set.is_empty()
            {
                sets.push(set);
            }
        }
        Ok(sets)
    }
}

/// The deletes of one data file, shared by its slices.
#[derive(Debug)]
pub(crate) struct FileDeletes {
    loader: Arc<DeleteLoader>,
    file: usize,
    positions: OnceCell<Option<Arc<PositionSet>>>,
}

/// What is to be read of a slice.
pub(super) enum Prepared {
    /// No row of it.
    Nothing,
    /// Some rows.
    Rows {
        /// Which ones, when not all.
        plan: Option<ParquetAccessPlan>,
        /// What takes further rows out of the batches.
        equality: Vec<Arc<EqualitySet>>,
    },
}

impl FileDeletes {
    pub(in crate::scan) fn new(loader: Arc<DeleteLoader>, file: usize) -> Self {
        Self { loader, file, positions: OnceCell::new() }
    }

    /// Reads what is deleted of the file, and makes it a selection of the slice's rows.
    pub(super) async fn prepare(&self, slice: &PartitionedFile) -> Result<Prepared> {
        let positions = self.positions.get_or_try_init(|| self.loader.positions_of(self.file)).await?;
        let left = match (positions, slice.extension::<FileHandle>()) {
            (None, _) => Left::Everything,
            (Some(deleted), Some(handle)) => {
                let meta = &slice.object_meta;
                let footer = handle.footer(&meta.location, meta.size, None).await;
                let footer = footer.map_err(|error| from_datafusion(error.into()))?;
                left_of(deleted, &footer, slice.range.as_ref())
            }
            (Some(_), None) => return Err(Error::bug("a file slice without its handle")),
        };
        let plan = match left {
            Left::Nothing => return Ok(Prepared::Nothing),
            Left::Everything => None,
            Left::Some(plan) => Some(plan),
        };
        Ok(Prepared::Rows { plan, equality: self.loader.equality_of(self.file).await? })
    }
}

/// The positions that delete files of a plan delete of its data file `file`; equality deletes are left out.
///
/// Delete files are read with the memory of `context`; those that lie where `policy` lets no table's files lie are not.
///
/// # Errors
/// `Denied` for such a file; `Corrupt` for one that is broken; `Exhausted` when its positions are more than memory.
pub async fn deleted_positions(
    storage: &Storage,
    plan: &ScanPlan,
    file: usize,
    policy: Option<&Policy>,
    context: &Arc<TaskContext>,
) -> Result<PositionSet> {
    let data = plan.files.get(file).ok_or_else(|| Error::bug("a file that is not in the plan"))?;
    let mut deletes = Vec::with_capacity(data.deletes.len());
    for at in &data.deletes {
        let delete =
            plan.deletes.get(*at).ok_or_else(|| Error::bug("a delete file that is not in the plan"))?;
        if delete.is_equality() {
            continue;
        }
        policy.map_or(Ok(()), |policy| policy.check_readable(&delete.path))?;
        deletes.push(DeleteSource::of(delete));
    }
    let data = DataFile {
        path: data.path.clone(),
        file_size_bytes: data.file_size_bytes,
        record_count: data.record_count,
        deletes: (0..deletes.len()).collect(),
        ..DataFile::default()
    };
    let input = ScanInput {
        files: vec![data],
        deletes,
        ..ScanInput::new("deletes".to_owned(), Arc::new(Schema::builder().build()?))
    };
    let loader = DeleteLoader::new(Arc::new(input), storage.clone());
    loader.begin(context);
    let positions = loader.positions_of(0).await?;
    Ok(positions.map_or_else(PositionSet::new, Arc::unwrap_or_clone))
}
