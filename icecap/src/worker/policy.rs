//! [`TaskPolicy`]: where a task may read and write, whatever its plan names.

use std::sync::Arc;

use datafusion::physical_plan::ExecutionPlan;
use icecap_table::Result;
use icecap_table::location::Policy;
use prost::Message;

use crate::plan::{TaskOutput, WriteTask};
use crate::scan::IcecapScanExec;
use crate::source::{SourcePolicy, SourceScanExec};
use crate::write::{IcebergDeltaExec, IcebergWriteExec};

/// The locations that a task is held to. They travel in its request and not in its plan: the statement's prefixes
/// hold wherever it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskPolicy {
    /// The warehouse: tables and exchanges lie below it.
    pub warehouse: String,
    /// Prefixes outside it where tables may lie.
    pub allow_location: Vec<String>,
    /// Prefixes that sources are held to; anywhere when absent.
    pub allow_read: Option<Vec<String>>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct PolicyMessage {
    #[prost(string, tag = "1")]
    warehouse: String,
    #[prost(string, repeated, tag = "2")]
    allow_location: Vec<String>,
    #[prost(message, optional, tag = "3")]
    allow_read: Option<PrefixesMessage>,
}

#[derive(Clone, PartialEq, Message)]
struct PrefixesMessage {
    #[prost(string, repeated, tag = "1")]
    prefixes: Vec<String>,
}

impl TaskPolicy {
    /// Refuses a task that would read or write elsewhere. Nothing is looked up in any store.
    ///
    /// # Errors
    /// `Denied`, naming the first location; `Invalid` for what is no location.
    pub fn check(&self, task: &WriteTask, plan: &Arc<dyn ExecutionPlan>) -> Result<()> {
        let tables = Policy::new(&self.warehouse, &self.allow_location)?;
        let sources = SourcePolicy { allow_read: self.allow_read.clone() };
        if let TaskOutput::Exchange { location, .. } = &task.output {
            tables.check_readable(location)?;
        }
        for location in task.inputs.iter().flat_map(|input| &input.locations) {
            tables.check_readable(location)?;
        }
        check_node(plan, &tables, &sources)
    }

    pub(super) fn message(&self) -> PolicyMessage {
        PolicyMessage {
            warehouse: self.warehouse.clone(),
            allow_location: self.allow_location.clone(),
            allow_read: self.allow_read.clone().map(|prefixes| PrefixesMessage { prefixes }),
        }
    }

    pub(super) fn of_message(message: PolicyMessage) -> Self {
        Self {
            warehouse: message.warehouse,
            allow_location: message.allow_location,
            allow_read: message.allow_read.map(|read| read.prefixes),
        }
    }
}

fn check_node(node: &Arc<dyn ExecutionPlan>, tables: &Policy, sources: &SourcePolicy) -> Result<()> {
    if let Some(scan) = node.downcast_ref::<IcecapScanExec>() {
        for location in scan.input().locations() {
            tables.check_readable(location).map_err(|error| error.with("table", &scan.input().table))?;
        }
    } else if let Some(scan) = node.downcast_ref::<SourceScanExec>() {
        for file in &scan.input().files {
            sources.check_file(&file.location)?;
        }
    } else if let Some(write) = node.downcast_ref::<IcebergWriteExec>() {
        tables.check_readable(&write.target().data_location)?;
    } else if let Some(delta) = node.downcast_ref::<IcebergDeltaExec>() {
        tables.check_readable(&delta.target().data_location)?;
    }
    node.children().into_iter().try_for_each(|child| check_node(child, tables, sources))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use datafusion::arrow::datatypes::{DataType, Field, Schema as ArrowSchema};
    use icecap_table::ErrorKind;
    use icecap_table::iceberg::spec::{NestedField, PrimitiveType, Schema, Type};
    use icecap_table::id::WriteId;
    use icecap_table::storage::Storage;
    use uuid::Uuid;

    use super::*;
    use crate::exchange::ExchangeInput;
    use crate::plan::IcecapCodec;
    use crate::scan::{DataFile, FileSlice, ScanInput};
    use crate::source::{SourceFile, SourceFormat, SourceInput};

    fn policy() -> TaskPolicy {
        TaskPolicy {
            warehouse: "file:///lake".into(),
            allow_location: vec!["file:///more".into()],
            allow_read: Some(vec!["/in".into()]),
        }
    }

    fn storage() -> Storage {
        ["s3://lake", "s3://in"].into_iter().fold(Storage::local(), |storage, root| {
            storage.with_store(root, Arc::new(object_store::memory::InMemory::new()))
        })
    }

    fn scan(path: &str) -> Arc<dyn ExecutionPlan> {
        let field = NestedField::required(1, "id", Type::Primitive(PrimitiveType::Long));
        let schema = Arc::new(Schema::builder().with_fields([field.into()]).build().unwrap());
        let input = ScanInput {
            files: vec![DataFile { path: path.into(), ..DataFile::default() }],
            slices: vec![FileSlice { file: 0, start: 0, end: None }],
            ..ScanInput::new("default.t".into(), schema)
        };
        Arc::new(IcecapScanExec::try_new(Arc::new(input), storage(), vec![0], 1).unwrap())
    }

    fn source(location: &str) -> Arc<dyn ExecutionPlan> {
        let file = SourceFile {
            location: location.into(),
            size_bytes: 10,
            rows: None,
            offsets: Vec::new(),
            folders: Vec::new(),
        };
        let input = SourceInput {
            format: SourceFormat::Parquet,
            schema: Arc::new(ArrowSchema::new(vec![Field::new("a", DataType::Int64, true)])),
            folder_columns: 0,
            files: vec![file],
            slices: Vec::new(),
        };
        let scan = SourceScanExec::try_new(Arc::new(input), storage(), vec![0], None, None, 1);
        Arc::new(scan.unwrap())
    }

    fn judged(plan: Arc<dyn ExecutionPlan>, change: impl FnOnce(&mut WriteTask)) -> Result<()> {
        let codec = IcecapCodec::new(Storage::local());
        let id = WriteId::new(Uuid::from_u128(1));
        let mut task = WriteTask::single(id, 1, "n", Arc::clone(&plan), &codec).unwrap();
        change(&mut task);
        policy().check(&task, &plan)
    }

    fn denied(outcome: Result<()>) -> bool {
        outcome.is_err_and(|error| error.kind() == ErrorKind::Denied)
    }

    #[test]
    fn tables_are_read_below_the_warehouse_and_what_is_allowed() {
        for path in ["file:///lake/t/data/x.parquet", "file:///more/x.parquet"] {
            judged(scan(path), |_| {}).unwrap();
        }
        for path in ["file:///lakes/x.parquet", "file:///etc/passwd", "s3://lake/x.parquet"] {
            assert!(denied(judged(scan(path), |_| {})), "{path}");
        }
    }

    #[test]
    fn sources_are_read_below_their_own_prefixes() {
        judged(source("file:///in/a.parquet"), |_| {}).unwrap();
        for location in ["file:///lake/t/data/x.parquet", "file:///inner/a.parquet", "s3://in/a.parquet"] {
            assert!(denied(judged(source(location), |_| {})), "{location}");
        }
    }

    #[test]
    fn exchanges_lie_in_the_warehouse() {
        let plan = || scan("file:///lake/t/data/x.parquet");
        let input = |location: &str| ExchangeInput {
            stage: 0,
            locations: vec![location.to_owned()],
            pieces: Vec::new(),
        };
        judged(plan(), |task| task.inputs = vec![input("file:///lake/.exchange/w/x")]).unwrap();
        assert!(denied(judged(plan(), |task| task.inputs = vec![input("file:///tmp/x")])));
        let output = |location: &str| TaskOutput::Exchange {
            location: location.to_owned(),
            partitions: 1,
            replicate: false,
        };
        judged(plan(), |task| task.output = output("file:///lake/.exchange/w")).unwrap();
        assert!(denied(judged(plan(), |task| task.output = output("file:///tmp"))));
    }

    #[test]
    fn a_policy_survives_the_round_trip() {
        let kinds: BTreeSet<bool> = [None, Some(Vec::new()), Some(vec!["s3://b/in".to_owned()])]
            .into_iter()
            .map(|allow_read| {
                let policy = TaskPolicy { allow_read, ..policy() };
                let bytes = policy.message().encode_to_vec();
                TaskPolicy::of_message(PolicyMessage::decode(&bytes[..]).unwrap()) == policy
            })
            .collect();
        assert_eq!(kinds, BTreeSet::from([true]));
    }
}
