//! Rows through [`IcebergWriteExec`] to files on disk and back.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use datafusion::arrow::array::{AsArray, RecordBatch};
use datafusion::arrow::compute::concat_batches;
use datafusion::arrow::datatypes::SchemaRef as ArrowSchemaRef;
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::execution::TaskContext;
use datafusion::physical_plan::ExecutionPlan;
use futures::TryStreamExt;
use icecap_table::iceberg::spec::{
    FormatVersion, NestedField, NestedFieldRef, PartitionSpec, PrimitiveType, Schema, Transform, Type,
    UnboundPartitionSpec,
};
use icecap_table::id::WriteId;
use icecap_table::staged_file::StagedFile;
use icecap_table::storage::Storage;
use parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use parquet::file::metadata::PageIndexPolicy;
use tempfile::TempDir;

use super::*;
use crate::arrow_schema::arrow_schema;

mod bounds;
mod delta;
mod files;
mod partitions;
mod types;

/// A table in the making: a folder and a schema.
struct Table {
    folder: TempDir,
    schema: Arc<Schema>,
    spec: Arc<PartitionSpec>,
    properties: HashMap<String, String>,
    memory_bytes: Option<u64>,
    lineage: bool,
    sort_order_id: Option<i32>,
}

fn primitive(id: i32, name: &str, ty: PrimitiveType) -> NestedFieldRef {
    NestedField::optional(id, name, Type::Primitive(ty)).into()
}

impl Table {
    fn new(fields: Vec<NestedFieldRef>) -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            schema: Arc::new(Schema::builder().with_fields(fields).build().unwrap()),
            spec: Arc::new(PartitionSpec::unpartition_spec()),
            properties: HashMap::new(),
            memory_bytes: None,
            lineage: false,
            sort_order_id: None,
        }
    }

    fn partitioned(mut self, fields: &[(i32, &str, Transform)]) -> Self {
        let mut builder = UnboundPartitionSpec::builder().with_spec_id(5);
        for (source, name, transform) in fields {
            builder = builder.add_partition_field(*source, *name, *transform).unwrap();
        }
        self.spec = Arc::new(builder.build().bind(self.schema.as_ref().clone()).unwrap());
        self
    }

    fn with(mut self, key: &str, value: &str) -> Self {
        self.properties.insert(key.into(), value.into());
        self
    }

    fn arrow_schema(&self) -> ArrowSchemaRef {
        arrow_schema(&self.schema).unwrap()
    }

    fn data_location(&self) -> String {
        format!("file://{}/data", self.folder.path().display())
    }

    fn target(&self) -> WriteTarget {
        WriteTarget {
            schema: Arc::clone(&self.schema),
            partition_spec: Arc::clone(&self.spec),
            sort_order_id: self.sort_order_id,
            format_version: FormatVersion::V2,
            data_location: self.data_location(),
            properties: self.properties.clone(),
            write_id: WriteId::from_token("test", 0, 0),
            stage: 0,
            task: 1,
            attempt: 2,
            nonce: "n3".into(),
            memory_bytes: self.memory_bytes,
            lineage: self.lineage,
        }
    }

    fn plan(&self, partitions: &[Vec<RecordBatch>], storage: Storage) -> Arc<IcebergWriteExec> {
        let schema =
            partitions.iter().flatten().next().map_or_else(|| self.arrow_schema(), RecordBatch::schema);
        let input = MemorySourceConfig::try_new_exec(partitions, schema, None).unwrap();
        // Every test goes through the encoding, as executors do.
        let target = WriteTarget::decode(&self.target().encode().unwrap()).unwrap();
        Arc::new(IcebergWriteExec::new(input, target, storage).unwrap())
    }

    /// Writes partitions of batches; the files come by input partition.
    async fn write(&self, partitions: &[Vec<RecordBatch>]) -> Vec<StagedFile> {
        run(self.plan(partitions, Storage::local())).await.unwrap()
    }

    async fn write_one(&self, batch: RecordBatch) -> StagedFile {
        let mut files = self.write(&[vec![batch]]).await;
        assert_eq!(files.len(), 1);
        files.remove(0)
    }

    /// All files below the folder, relative to it.
    fn on_disk(&self) -> Vec<String> {
        fn walk(folder: &std::path::Path, found: &mut Vec<String>) {
            let Ok(entries) = std::fs::read_dir(folder) else { return };
            for entry in entries {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    walk(&path, found);
                } else {
                    found.push(path.display().to_string());
                }
            }
        }
        let mut found = Vec::new();
        walk(self.folder.path(), &mut found);
        found.sort();
        found
    }
}

/// Runs all partitions of the plan at once.
async fn run(plan: Arc<IcebergWriteExec>) -> datafusion::error::Result<Vec<StagedFile>> {
    let context = Arc::new(TaskContext::default());
    let partitions = plan.properties().output_partitioning().partition_count();
    let streams: Vec<_> = (0..partitions).map(|p| plan.execute(p, Arc::clone(&context)).unwrap()).collect();
    let tasks: Vec<_> =
        streams.into_iter().map(|stream| tokio::spawn(stream.try_collect::<Vec<_>>())).collect();
    let mut files = Vec::new();
    for task in tasks {
        for batch in task.await.unwrap()? {
            assert!(batch.column(0).as_string::<i32>().iter().all(|kind| kind == Some(KIND_DATA)));
            let staged = batch.column(1).as_binary::<i32>().iter();
            files.extend(staged.map(|file| StagedFile::decode(file.unwrap()).unwrap()));
        }
    }
    Ok(files)
}

fn open(file: &StagedFile) -> ParquetRecordBatchReaderBuilder<std::fs::File> {
    let path = file.path.strip_prefix("file://").unwrap();
    let options = ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Required);
    ParquetRecordBatchReaderBuilder::try_new_with_options(std::fs::File::open(path).unwrap(), options)
        .unwrap()
}

fn read(file: &StagedFile) -> RecordBatch {
    let builder = open(file);
    let schema = Arc::clone(builder.schema());
    let batches: Vec<_> = builder.build().unwrap().map(Result::unwrap).collect();
    concat_batches(&schema, &batches).unwrap()
}

/// The serialised values of a map, by id.
fn bytes<const N: usize>(values: [(i32, &[u8]); N]) -> BTreeMap<i32, Vec<u8>> {
    values.into_iter().map(|(id, value)| (id, value.to_vec())).collect()
}
