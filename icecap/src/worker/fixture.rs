//! A table's folder, and tasks that write into it, for tests.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::logical_expr::LogicalPlanBuilder;
use datafusion::prelude::lit;
use icecap_table::iceberg::spec::{FormatVersion, NestedField, PartitionSpec, PrimitiveType, Schema, Type};
use icecap_table::id::WriteId;
use icecap_table::storage::Storage;
use tempfile::TempDir;
use uuid::Uuid;

use super::{Worker, WorkerSettings};
use crate::plan::{IcecapCodec, WriteTask};
use crate::write::{IcebergWriteExec, WriteTarget};

/// The folder.
pub(crate) struct Fixture(TempDir);

impl Fixture {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// The folder's location.
    pub(crate) fn location(&self) -> String {
        format!("file://{}", self.0.path().display())
    }

    /// The encoded task that writes so many rows `(id bigint)`.
    pub(crate) async fn task(&self, rows: i64) -> Vec<u8> {
        let field = NestedField::required(1, "id", Type::Primitive(PrimitiveType::Long));
        let target = WriteTarget {
            schema: Arc::new(Schema::builder().with_fields([field.into()]).build().unwrap()),
            partition_spec: Arc::new(PartitionSpec::unpartition_spec()),
            sort_order_id: None,
            format_version: FormatVersion::V2,
            data_location: self.location(),
            properties: HashMap::new(),
            write_id: WriteId::new(Uuid::from_u128(7)),
            stage: 0,
            task: 0,
            attempt: 0,
            nonce: "n".into(),
            memory_bytes: None,
            lineage: false,
        };
        let settings = WorkerSettings { threads: 1, ..WorkerSettings::default() };
        let state = Worker::new(Storage::local(), settings).unwrap().planner_state();
        let values = LogicalPlanBuilder::values((0..rows).map(|id| vec![lit(id)]).collect()).unwrap();
        let plan = state.create_physical_plan(&values.build().unwrap()).await.unwrap();
        let root = IcebergWriteExec::new(plan, target.clone(), Storage::local()).unwrap();
        let codec = IcecapCodec::new(Storage::local());
        WriteTask::single(target.write_id, 1, "n", Arc::new(root), &codec).unwrap().encode()
    }

    /// The names in the folder.
    pub(crate) fn files(&self) -> Vec<String> {
        let names = std::fs::read_dir(self.0.path()).unwrap();
        names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }
}
