//! Icecap's nodes and functions inside DataFusion's plan encoding.
//!
//! The bytes have no version of their own: they travel in a [`WriteTask`], whose build id
//! both ends must share.

use std::sync::Arc;

use datafusion::arrow::datatypes::Schema;
use datafusion::common::{DataFusionError, Result as DfResult};
use datafusion::execution::TaskContext;
use datafusion::logical_expr::ScalarUDF;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::ExecutionPlan;
use datafusion_proto::physical_plan::from_proto::parse_protobuf_partitioning;
use datafusion_proto::physical_plan::to_proto::serialize_partitioning;
use datafusion_proto::physical_plan::{
    PhysicalExtensionCodec, PhysicalPlanDecodeContext, PhysicalProtoConverterExtension,
};
use datafusion_proto::protobuf::{
    Partitioning as PartitioningMessage, PhysicalExprNode, Schema as SchemaMessage,
};
use icecap_table::Error;
use icecap_table::storage::Storage;
use prost::Message;

use super::error::to_datafusion;
use super::held::{HeldRowsExec, Shelf};
use super::task::WriteTask;
use crate::exchange::{ExchangeInput, ExchangeReadExec};
use crate::scan::{IcecapScanExec, ScanMessage, full_schema};
use crate::source::{SourceMessage, SourceScanExec};
use crate::sql::store::{decode_udf, encode_udf};
use crate::write::{IcebergDeltaExec, IcebergWriteExec, WriteTarget};

/// Encodes Icecap's own nodes and functions; decoded scans and writers use its storage.
#[derive(Debug, Clone)]
pub struct IcecapCodec {
    storage: Storage,
    shelf: Shelf,
    task: Option<Arc<Task>>,
}

/// What a plan's nodes take from the task that carries it: the plan's bytes are the same for every attempt.
#[derive(Debug)]
struct Task {
    inputs: Vec<Arc<ExchangeInput>>,
    stage: u32,
    task: u32,
    attempt: u32,
    nonce: String,
}

#[derive(Clone, PartialEq, Message)]
struct NodeMessage {
    #[prost(oneof = "Node", tags = "1, 2, 3, 4, 5, 6")]
    node: Option<Node>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Node {
    #[prost(message, tag = "1")]
    Scan(ScanMessage),
    #[prost(message, tag = "2")]
    Source(SourceMessage),
    /// A write target in its own versioned encoding; the rows are the node's only input.
    #[prost(bytes, tag = "3")]
    Write(Vec<u8>),
    #[prost(message, tag = "4")]
    ExchangeRead(ExchangeReadMessage),
    #[prost(message, tag = "5")]
    Delta(DeltaMessage),
    /// The place of rows on the executor's shelf.
    #[prost(uint64, tag = "6")]
    Held(u64),
}

#[derive(Clone, PartialEq, Message)]
struct DeltaMessage {
    /// As [`Node::Write`].
    #[prost(bytes = "vec", tag = "1")]
    target: Vec<u8>,
    /// Whether the rows hold the table's columns too.
    #[prost(bool, tag = "2")]
    rows: bool,
}

#[derive(Clone, PartialEq, Message)]
struct ExchangeReadMessage {
    #[prost(uint32, tag = "1")]
    stage: u32,
    /// DataFusion's own encodings of the schema and the partitioning.
    #[prost(bytes = "vec", tag = "2")]
    schema: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    partitioning: Vec<u8>,
}

impl IcecapCodec {
    /// A codec whose decoded nodes read and write through `storage`.
    pub fn new(storage: Storage) -> Self {
        Self { storage, shelf: Shelf::default(), task: None }
    }

    /// A codec whose decoded nodes find held rows on a shelf.
    #[must_use]
    pub fn with_shelf(self, shelf: Shelf) -> Self {
        Self { shelf, ..self }
    }

    /// A codec whose decoded nodes are those of one attempt: readers know their inputs, writers their names.
    #[must_use]
    pub fn for_task(mut self, task: &WriteTask) -> Self {
        self.task = Some(Arc::new(Task {
            inputs: task.inputs.iter().cloned().map(Arc::new).collect(),
            stage: task.stage,
            task: task.task,
            attempt: task.attempt,
            nonce: task.nonce.clone(),
        }));
        self
    }

    fn encode_expr(
        &self,
        expr: &Arc<dyn PhysicalExpr>,
        converter: &dyn PhysicalProtoConverterExtension,
    ) -> DfResult<Vec<u8>> {
        Ok(converter.physical_expr_to_proto(expr, self)?.encode_to_vec())
    }

    fn decode_expr(
        &self,
        bytes: &[u8],
        schema: &Schema,
        context: &TaskContext,
        converter: &dyn PhysicalProtoConverterExtension,
    ) -> DfResult<Arc<dyn PhysicalExpr>> {
        let node = PhysicalExprNode::decode(bytes).map_err(|_| broken("a predicate"))?;
        let context = PhysicalPlanDecodeContext::new(context, self);
        converter.proto_to_physical_expr(&node, schema, &context)
    }

    fn encode_node(
        &self,
        node: &Arc<dyn ExecutionPlan>,
        converter: &dyn PhysicalProtoConverterExtension,
    ) -> DfResult<Node> {
        if let Some(scan) = node.downcast_ref::<IcecapScanExec>() {
            let mut message = ScanMessage::of(scan.input()).map_err(to_datafusion)?;
            message.columns = narrow(scan.columns())?;
            message.predicate = match scan.predicate() {
                Some(predicate) => Some(self.encode_expr(predicate, converter)?),
                None => None,
            };
            message.late = scan.is_late();
            message.limit = scan.fetch().map(|limit| limit as u64);
            message.partitions = narrow(&[scan.partition_count()])?[0];
            return Ok(Node::Scan(message));
        }
        if let Some(scan) = node.downcast_ref::<SourceScanExec>() {
            let predicate = match scan.predicate() {
                Some(predicate) => Some(self.encode_expr(predicate, converter)?),
                None => None,
            };
            return Ok(Node::Source(SourceMessage::of(scan, predicate)?));
        }
        if let Some(write) = node.downcast_ref::<IcebergWriteExec>() {
            return Ok(Node::Write(write.target().encode().map_err(to_datafusion)?));
        }
        if let Some(delta) = node.downcast_ref::<IcebergDeltaExec>() {
            let target = delta.target().encode().map_err(to_datafusion)?;
            return Ok(Node::Delta(DeltaMessage { target, rows: delta.has_rows() }));
        }
        if let Some(held) = node.downcast_ref::<HeldRowsExec>() {
            return Ok(Node::Held(held.place()));
        }
        if let Some(read) = node.downcast_ref::<ExchangeReadExec>() {
            let schema = SchemaMessage::try_from(read.schema().as_ref())?;
            let partitioning = serialize_partitioning(&read.properties().partitioning, self, converter)?;
            return Ok(Node::ExchangeRead(ExchangeReadMessage {
                stage: read.stage(),
                schema: schema.encode_to_vec(),
                partitioning: partitioning.encode_to_vec(),
            }));
        }
        Err(DataFusionError::NotImplemented(format!("the operator {} cannot travel in a task", node.name())))
    }

    fn decode_node(
        &self,
        node: Node,
        inputs: &[Arc<dyn ExecutionPlan>],
        context: &TaskContext,
        converter: &dyn PhysicalProtoConverterExtension,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        match (node, inputs) {
            (Node::Write(target), [rows]) => {
                let target = self.target(&target)?;
                let write = IcebergWriteExec::new(Arc::clone(rows), target, self.storage.clone())
                    .map_err(to_datafusion)?;
                Ok(Arc::new(write))
            }
            (Node::Delta(message), [rows]) => {
                let target = self.target(&message.target)?;
                let delta =
                    IcebergDeltaExec::new(Arc::clone(rows), target, message.rows, self.storage.clone())
                        .map_err(to_datafusion)?;
                Ok(Arc::new(delta))
            }
            (Node::Scan(message), []) => {
                let input = Arc::new(message.input().map_err(to_datafusion)?);
                let columns = message.columns.iter().map(|at| *at as usize).collect();
                let full = full_schema(&input).map_err(to_datafusion)?;
                let partitions = message.partitions as usize;
                let mut scan = IcecapScanExec::try_new(input, self.storage.clone(), columns, partitions)
                    .map_err(to_datafusion)?;
                if let Some(bytes) = &message.predicate {
                    let predicate = self.decode_expr(bytes, &full, context, converter)?;
                    scan = scan.with_predicate(Some(predicate), message.late).map_err(to_datafusion)?;
                }
                if let Some(limit) = message.limit {
                    let limit = usize::try_from(limit).map_err(|_| broken("a limit"))?;
                    scan = scan.with_limit(Some(limit)).map_err(to_datafusion)?;
                }
                Ok(Arc::new(scan))
            }
            (Node::Source(message), []) => {
                let table = message.table().map_err(to_datafusion)?;
                let predicate = match &message.predicate {
                    Some(bytes) => Some(self.decode_expr(bytes, &table.schema, context, converter)?),
                    None => None,
                };
                let scan = message.scan(table, self.storage.clone(), predicate).map_err(to_datafusion)?;
                Ok(Arc::new(scan))
            }
            (Node::Held(place), []) => {
                self.shelf.get(place).ok_or_else(|| broken("rows that are not held in this process"))
            }
            (Node::ExchangeRead(message), []) => self.decode_read(&message, context, converter),
            _ => Err(broken("an operator with the wrong number of inputs")),
        }
    }
}

impl IcecapCodec {
    /// The target of a writer, for this attempt.
    fn target(&self, bytes: &[u8]) -> DfResult<WriteTarget> {
        let mut target = WriteTarget::decode(bytes).map_err(to_datafusion)?;
        if let Some(task) = &self.task {
            (target.stage, target.task, target.attempt) = (task.stage, task.task, task.attempt);
            target.nonce.clone_from(&task.nonce);
        }
        Ok(target)
    }

    fn decode_read(
        &self,
        message: &ExchangeReadMessage,
        context: &TaskContext,
        converter: &dyn PhysicalProtoConverterExtension,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        let schema =
            SchemaMessage::decode(message.schema.as_slice()).map_err(|_| broken("an exchange's schema"))?;
        let schema = Arc::new(Schema::try_from(&schema)?);
        let partitioning = PartitioningMessage::decode(message.partitioning.as_slice())
            .map_err(|_| broken("an exchange's partitioning"))?;
        let decoding = PhysicalPlanDecodeContext::new(context, self);
        let partitioning = parse_protobuf_partitioning(Some(&partitioning), &decoding, &schema, converter)?
            .ok_or_else(|| broken("an exchange's partitioning"))?;
        let input = self
            .task
            .as_ref()
            .and_then(|task| task.inputs.iter().find(|input| input.stage == message.stage))
            .cloned();
        let storage = self.storage.clone();
        Ok(Arc::new(ExchangeReadExec::new(message.stage, schema, partitioning, input, storage)))
    }
}

fn broken(what: &str) -> DataFusionError {
    to_datafusion(Error::corrupt(format!("a task's plan is broken: {what}")))
}

fn narrow(numbers: &[usize]) -> DfResult<Vec<u32>> {
    numbers
        .iter()
        .map(|n| u32::try_from(*n).map_err(|_| to_datafusion(Error::bug("a plan's number is too large"))))
        .collect()
}

impl PhysicalExtensionCodec for IcecapCodec {
    fn try_decode(
        &self,
        buf: &[u8],
        inputs: &[Arc<dyn ExecutionPlan>],
        ctx: &TaskContext,
        proto_converter: &dyn PhysicalProtoConverterExtension,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        let message = NodeMessage::decode(buf).map_err(|_| broken("an operator"))?;
        let node = message.node.ok_or_else(|| broken("an operator of a kind that is not known"))?;
        self.decode_node(node, inputs, ctx, proto_converter)
    }

    fn try_encode(
        &self,
        node: Arc<dyn ExecutionPlan>,
        buf: &mut Vec<u8>,
        proto_converter: &dyn PhysicalProtoConverterExtension,
    ) -> DfResult<()> {
        let node = self.encode_node(&node, proto_converter)?;
        NodeMessage { node: Some(node) }.encode(buf).map_err(|_| broken("an operator that is too large"))
    }

    fn try_decode_udf(&self, name: &str, buf: &[u8]) -> DfResult<Arc<ScalarUDF>> {
        decode_udf(name, buf).map_err(to_datafusion)
    }

    fn try_encode_udf(&self, node: &ScalarUDF, buf: &mut Vec<u8>) -> DfResult<()> {
        // DataFusion's own functions travel by name.
        if let Some(bytes) = encode_udf(node) {
            buf.extend(bytes);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
