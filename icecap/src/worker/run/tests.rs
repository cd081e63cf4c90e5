use std::fmt::{self, Formatter};
use std::time::Duration;

use datafusion::arrow::datatypes::{DataType, Field, Schema};
use datafusion::common::Result as DfResult;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, Partitioning, PlanProperties};
use icecap_table::ErrorKind;
use icecap_table::id::WriteId;
use icecap_table::staged_file::FileContent;
use uuid::Uuid;

use super::*;
use crate::plan::to_datafusion;
use crate::worker::fixture::Fixture;

/// What a partition of the test's plan does.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Does {
    Stages,
    Fails,
    Panics,
    Hangs,
}

#[derive(Debug)]
struct Script {
    partitions: Vec<Does>,
    properties: Arc<PlanProperties>,
}

impl Script {
    fn plan(partitions: &[Does]) -> Arc<dyn ExecutionPlan> {
        let schema = Arc::new(Schema::new(vec![
            Field::new("kind", DataType::Utf8, false),
            Field::new("staged_file", DataType::Binary, false),
        ]));
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema),
            Partitioning::UnknownPartitioning(partitions.len()),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        Arc::new(Self { partitions: partitions.to_vec(), properties: Arc::new(properties) })
    }
}

impl DisplayAs for Script {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "Script")
    }
}

fn staged(partition: usize) -> StagedFile {
    StagedFile {
        content: FileContent::Data,
        path: format!("file:///w/{partition}.parquet"),
        record_count: 10,
        file_size_bytes: 100,
        ..blank()
    }
}

fn blank() -> StagedFile {
    StagedFile::decode(&{
        // The shortest message that decodes: version, and nothing set.
        vec![icecap_table::staged_file::STAGED_FILE_VERSION]
    })
    .unwrap_or_else(|_| unreachable!("an empty staged file decodes"))
}

impl ExecutionPlan for Script {
    fn name(&self) -> &'static str {
        "Script"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn with_new_children(
        self: Arc<Self>,
        _: Vec<Arc<dyn ExecutionPlan>>,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> DfResult<TreeNodeRecursion>,
    ) -> DfResult<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn execute(&self, partition: usize, _: Arc<TaskContext>) -> DfResult<SendableRecordBatchStream> {
        let does = self.partitions[partition];
        let schema = self.schema();
        let rows = futures::stream::once(async move {
            match does {
                Does::Stages => {
                    let bytes = staged(partition).encode();
                    let kinds = datafusion::arrow::array::StringArray::from(vec!["data"]);
                    let files = BinaryArray::from_vec(vec![&bytes]);
                    Ok(RecordBatch::try_new(schema, vec![Arc::new(kinds), Arc::new(files)])?)
                }
                Does::Fails => Err(to_datafusion(Error::exhausted("the disk is full"))),
                Does::Panics => panic!("partition {partition} gave up"),
                Does::Hangs => {
                    tokio::time::sleep(Duration::from_secs(600)).await;
                    Err(to_datafusion(Error::bug("it was not stopped")))
                }
            }
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), rows)))
    }
}

async fn run(partitions: &[Does]) -> Result<Vec<StagedFile>> {
    let emitted = run_all(&Script::plan(partitions), &Arc::new(TaskContext::default())).await?;
    Ok(emitted.staged_files)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_partition_reports_in_order() {
    let files = run(&[Does::Stages; 5]).await.unwrap();
    let paths: Vec<_> = files.iter().map(|file| file.path.clone()).collect();
    assert_eq!(paths, (0..5).map(|n| staged(n).path).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_error_stops_the_others_and_keeps_its_kind() {
    let error = run(&[Does::Hangs, Does::Stages, Does::Fails]).await.unwrap_err();
    assert_eq!((error.kind(), error.message()), (ErrorKind::Exhausted, "the disk is full"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_is_a_bug_and_not_the_end() {
    let error = run(&[Does::Hangs, Does::Panics]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Bug);
    assert!(error.to_string().contains("partition 1 gave up"), "{error}");
}

fn worker() -> Worker {
    Worker::new(Storage::local(), WorkerSettings { threads: 2, ..WorkerSettings::default() }).unwrap()
}

#[tokio::test]
async fn bytes_that_are_no_task_are_refused() {
    let error = worker().run_task(b"\x09nonsense").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
}

#[tokio::test]
async fn a_plan_that_ends_in_no_writer_is_a_bug() {
    let codec = IcecapCodec::new(Storage::local());
    let empty =
        datafusion::physical_plan::placeholder_row::PlaceholderRowExec::new(Arc::new(Schema::new(vec![
            Field::new("a", DataType::Int32, true),
        ])));
    let task = WriteTask::single(WriteId::new(Uuid::nil()), 1, "n", Arc::new(empty), &codec).unwrap();
    let error = worker().run_task(&task.encode()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Bug);
}

#[test]
fn a_temporary_directory_that_is_none_is_invalid() {
    let settings = WorkerSettings {
        threads: 1,
        temp_dir: Some(PathBuf::from("/dev/null/spill")),
        ..WorkerSettings::default()
    };
    let error = Worker::new(Storage::local(), settings).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
}

/// A request that was delivered twice, at once too, stages two sets of files with the same rows.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_bytes_twice_are_two_sets_of_files() {
    let table = Fixture::new();
    let task = table.task(3).await;
    let worker = worker();
    let (first, second) = tokio::join!(worker.run_task(&task), worker.run_task(&task));
    let (first, second) =
        (TaskReport::decode(&first.unwrap()).unwrap(), TaskReport::decode(&second.unwrap()).unwrap());
    assert_eq!((first.rows_written, second.rows_written), (3, 3));
    assert_ne!(first.staged_files[0].path, second.staged_files[0].path);
    assert_eq!(table.files().len(), first.staged_files.len() + second.staged_files.len());
}

#[tokio::test]
async fn file_names_carry_the_attempt_of_the_task() {
    let table = Fixture::new();
    let mut task = WriteTask::decode(&table.task(1).await).unwrap();
    task.attempt = 3;
    let report = TaskReport::decode(&worker().run_task(&task.encode()).await.unwrap()).unwrap();
    let name = report.staged_files[0].path.rsplit('/').next().unwrap().to_owned();
    assert!(name.starts_with(&format!("{}-0-0-3-", task.write_id)), "{name}");
}
