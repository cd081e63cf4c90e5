//! Position delete files: Parquet files of (data file, position) pairs (spec, "Position delete files").

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::arrow::array::{AsArray, RecordBatch};
use datafusion::arrow::datatypes::Int64Type;
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{BinaryExpr, Column, lit};
use icecap_table::deletes::PositionSet;
use icecap_table::iceberg::spec::{NestedField, PrimitiveType, Schema, Type};
use icecap_table::{Error, Result};

const PATH_FIELD: i32 = 2_147_483_546;
const POS_FIELD: i32 = 2_147_483_545;
const PATH: &str = "file_path";

/// The columns that are read: data file and position, both required.
pub(super) fn schema() -> Result<Arc<Schema>> {
    let field = |id, name, ty| Arc::new(NestedField::required(id, name, Type::Primitive(ty)));
    let fields =
        vec![field(PATH_FIELD, PATH, PrimitiveType::String), field(POS_FIELD, "pos", PrimitiveType::Long)];
    Ok(Arc::new(Schema::builder().with_fields(fields).build()?))
}

/// Where the rows of the wanted data files are, for pruning: rows are sorted by data file.
pub(super) fn predicate(wanted: &HashMap<&str, usize>) -> Option<Arc<dyn PhysicalExpr>> {
    let (least, greatest) = (wanted.keys().min()?, wanted.keys().max()?);
    let compare = |operator, path: &str| -> Arc<dyn PhysicalExpr> {
        Arc::new(BinaryExpr::new(Arc::new(Column::new(PATH, 0)), operator, lit(path)))
    };
    let (from, to) = (compare(Operator::GtEq, least), compare(Operator::LtEq, greatest));
    Some(Arc::new(BinaryExpr::new(from, Operator::And, to)))
}

/// Adds the batch's positions of wanted data files to their sets; other files' are passed over.
///
/// # Errors
/// `Corrupt` for a negative position.
pub(super) fn collect(
    batch: &RecordBatch,
    wanted: &HashMap<&str, usize>,
    sets: &mut HashMap<usize, PositionSet>,
) -> Result<()> {
    let paths = batch.column(0).as_string::<i32>();
    let positions = batch.column(1).as_primitive::<Int64Type>();
    let mut row = 0;
    while row < batch.num_rows() {
        let path = paths.value(row);
        let mut end = row + 1;
        while end < batch.num_rows() && paths.value(end) == path {
            end += 1;
        }
        if let Some(file) = wanted.get(path) {
            let set = sets.entry(*file).or_default();
            for position in &positions.values()[row..end] {
                let position = u64::try_from(*position).map_err(|_| {
                    Error::corrupt(format!("position {position} of a deleted row is negative"))
                })?;
                set.insert(position);
            }
        }
        row = end;
    }
    Ok(())
}
