//! Rewrites a scan's expressions to a file's own columns, by field id.
//!
//! Inside a scan the table's columns go by [`column_name`], not by their real names: DataFusion's Parquet
//! reader matches some things by name (binary read as text, partition constants), and a column that was
//! renamed or swapped must not be caught by that.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Schema as ArrowSchema, SchemaRef};
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{DataFusionError, Result as DfResult};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{CastExpr, Column, lit};
use datafusion::physical_expr_adapter::{PhysicalExprAdapter, PhysicalExprAdapterFactory};
use icecap_table::Error;
use icecap_table::iceberg::spec::{NameMapping, Schema};

use super::identify::{check_unambiguous, field_id, identify};
use super::reshape::{Reshape, ReshapeExpr, default_of};

/// What every name that a scan gives to a column begins with.
const PREFIX: &str = "icecap:";

/// The name of a table's column inside a scan.
pub(super) fn column_name(field_id: i32) -> String {
    format!("{PREFIX}{field_id}")
}

fn field_id_of(name: &str) -> Option<i32> {
    name.strip_prefix(PREFIX)?.parse().ok()
}

/// Makes one adapter per file.
#[derive(Debug)]
pub(super) struct FieldIdAdapters {
    table: Arc<Schema>,
    mapping: Option<Arc<NameMapping>>,
    complete: bool,
}

impl FieldIdAdapters {
    pub(super) fn new(table: Arc<Schema>, mapping: Option<Arc<NameMapping>>) -> Self {
        Self { table, mapping, complete: false }
    }

    /// The same where each column must be stored in each file, when `complete`.
    pub(super) fn complete(mut self, complete: bool) -> Self {
        self.complete = complete;
        self
    }
}

impl PhysicalExprAdapterFactory for FieldIdAdapters {
    fn create(
        &self,
        _logical_file_schema: SchemaRef,
        physical_file_schema: SchemaRef,
    ) -> DfResult<Arc<dyn PhysicalExprAdapter>> {
        check_unambiguous(physical_file_schema.fields()).map_err(external)?;
        let fields =
            identify(&physical_file_schema, &self.table, self.mapping.as_deref()).map_err(external)?;
        Ok(Arc::new(FieldIdAdapter {
            table: Arc::clone(&self.table),
            file: Arc::new(ArrowSchema::new(fields)),
            complete: self.complete,
        }))
    }
}

fn external(error: Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

#[derive(Debug)]
struct FieldIdAdapter {
    table: Arc<Schema>,
    file: SchemaRef,
    complete: bool,
}

impl PhysicalExprAdapter for FieldIdAdapter {
    fn rewrite(&self, expr: Arc<dyn PhysicalExpr>) -> DfResult<Arc<dyn PhysicalExpr>> {
        expr.transform(|expr| match expr.downcast_ref::<Column>() {
            Some(column) => Ok(Transformed::yes(self.column(column.name()).map_err(external)?)),
            None => Ok(Transformed::no(expr)),
        })
        .data()
    }
}

impl FieldIdAdapter {
    fn column(&self, name: &str) -> Result<Arc<dyn PhysicalExpr>, Error> {
        let Some(id) = field_id_of(name) else {
            // The row number, which the reader itself appends.
            let at = self.file.index_of(name).map_err(|_| Error::bug(format!("no column {name:?}")))?;
            return Ok(Arc::new(Column::new(name, at)));
        };
        let Some(field) = self.table.as_struct().fields().iter().find(|field| field.id == id) else {
            return Err(Error::bug(format!("no field of id {id} in the scanned schema")));
        };
        let Some(at) = self.file.fields().iter().position(|stored| field_id(stored) == Some(id)) else {
            if self.complete {
                return Err(Error::corrupt(format!("column {:?} is missing from the file", field.name)));
            }
            return Ok(lit(default_of(field, &field.name)?));
        };
        let stored = self.file.field(at);
        let column: Arc<dyn PhysicalExpr> = Arc::new(Column::new(stored.name(), at));
        Ok(match Reshape::plan(stored.data_type(), &field.field_type, &field.name)? {
            Reshape::Keep => column,
            // Pruning sees through a cast of DataFusion's own.
            Reshape::Cast(to) => cast(column, to),
            reshape => Arc::new(ReshapeExpr::try_new(column, reshape, field)?),
        })
    }
}

fn cast(column: Arc<dyn PhysicalExpr>, to: DataType) -> Arc<dyn PhysicalExpr> {
    Arc::new(CastExpr::new(column, to, None))
}
