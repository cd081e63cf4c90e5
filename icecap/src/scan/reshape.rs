//! From a file's column to the table's: promotion of primitive types, and nested fields found by id.
//!
//! [`Reshape::plan`] compares types once per file; [`Reshape::apply`] runs per batch and only moves array
//! references, but for promoted leaves.

use std::fmt::{self, Display, Formatter};
use std::hash::Hash;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, ListArray, MapArray, RecordBatch, StructArray};
use datafusion::arrow::compute::{CastOptions, cast_with_options};
use datafusion::arrow::datatypes::{DataType, FieldRef, Fields, Schema as ArrowSchema, TimeUnit};
use datafusion::common::{DataFusionError, Result as DfResult, ScalarValue};
use datafusion::logical_expr::ColumnarValue;
use datafusion::physical_expr::PhysicalExpr;
use icecap_table::iceberg::spec::{Literal, NestedField, StructType, Type};
use icecap_table::{Error, Result};

use super::identify::field_id;
use super::value::scalar_or_null;
use crate::arrow_schema::{arrow_field, arrow_type};

/// How a stored array becomes an array of the table's type.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Reshape {
    /// It already is one.
    Keep,
    /// A promotion, or another representation of the same values.
    Cast(DataType),
    /// A struct: each of the table's fields from a child of the file's, or constant.
    Struct(Fields, Vec<Child>),
    /// A list: its element field, and how elements change.
    List(FieldRef, Box<Reshape>),
    /// A map: its entries field, and how keys and values change.
    Map(FieldRef, Box<Reshape>, Box<Reshape>),
}

/// Where a struct's field comes from.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Child {
    /// The file's child of this index.
    Stored(usize, Reshape),
    /// Not in the file: its initial default, or NULL.
    Constant(ScalarValue),
}

impl Reshape {
    /// How a stored field of type `stored` becomes `table`.
    ///
    /// # Errors
    /// `Corrupt` when the stored type is not one that the table's type may have been, naming `path`.
    pub(super) fn plan(stored: &DataType, table: &Type, path: &str) -> Result<Self> {
        let wanted = arrow_type(table)?;
        let mismatch = || {
            Error::corrupt(format!(
                "column {path:?} is stored as {stored}, which is not a type that {table} may have been"
            ))
        };
        match (stored, table) {
            (DataType::Struct(stored), Type::Struct(table)) => {
                Self::plan_struct(stored, table, &wanted, path)
            }
            (DataType::List(element), Type::List(list)) => {
                let inner = Self::plan(
                    element.data_type(),
                    &list.element_field.field_type,
                    &format!("{path}.element"),
                )?;
                let DataType::List(field) = &wanted else { return Err(mismatch()) };
                Ok(if inner == Self::Keep && element.data_type() == field.data_type() && element == field {
                    Self::Keep
                } else {
                    Self::List(Arc::clone(field), Box::new(inner))
                })
            }
            (DataType::Map(entries, _), Type::Map(map)) => {
                let DataType::Struct(pair) = entries.data_type() else { return Err(mismatch()) };
                let [key, value] = pair.as_ref() else { return Err(mismatch()) };
                let key = Self::plan(key.data_type(), &map.key_field.field_type, &format!("{path}.key"))?;
                let value =
                    Self::plan(value.data_type(), &map.value_field.field_type, &format!("{path}.value"))?;
                let DataType::Map(field, _) = &wanted else { return Err(mismatch()) };
                Ok(if *stored == wanted {
                    Self::Keep
                } else {
                    Self::Map(Arc::clone(field), Box::new(key), Box::new(value))
                })
            }
            (_, Type::Primitive(_)) if *stored == wanted => Ok(Self::Keep),
            (_, Type::Primitive(_)) if may_become(stored, &wanted) => Ok(Self::Cast(wanted)),
            _ => Err(mismatch()),
        }
    }

    fn plan_struct(stored: &Fields, table: &StructType, wanted: &DataType, path: &str) -> Result<Self> {
        let DataType::Struct(fields) = wanted else { return Err(Error::bug("a struct is not a struct")) };
        let mut children = Vec::with_capacity(fields.len());
        for known in table.fields() {
            let path = format!("{path}.{}", known.name);
            children.push(match stored.iter().position(|field| field_id(field) == Some(known.id)) {
                Some(at) => Child::Stored(at, Self::plan(stored[at].data_type(), &known.field_type, &path)?),
                None => Child::Constant(default_of(known, &path)?),
            });
        }
        let same = stored == fields
            && children.iter().enumerate().all(|(at, child)| *child == Child::Stored(at, Self::Keep));
        Ok(if same { Self::Keep } else { Self::Struct(fields.clone(), children) })
    }

    /// The array, reshaped.
    pub(super) fn apply(&self, array: &ArrayRef) -> DfResult<ArrayRef> {
        Ok(match self {
            Self::Keep => Arc::clone(array),
            Self::Cast(to) => {
                cast_with_options(array, to, &CastOptions { safe: false, ..CastOptions::default() })?
            }
            Self::Struct(fields, children) => {
                let stored = array.as_struct_opt().ok_or_else(|| unlike(array, "a struct"))?;
                let columns = children
                    .iter()
                    .map(|child| match child {
                        Child::Stored(at, reshape) => reshape.apply(stored.column(*at)),
                        Child::Constant(value) => value.to_array_of_size(stored.len()),
                    })
                    .collect::<DfResult<Vec<_>>>()?;
                let nulls = stored.nulls().cloned();
                Arc::new(StructArray::try_new_with_length(fields.clone(), columns, nulls, stored.len())?)
            }
            Self::List(field, element) => {
                let stored = array.as_list_opt::<i32>().ok_or_else(|| unlike(array, "a list"))?;
                let values = element.apply(stored.values())?;
                let (offsets, nulls) = (stored.offsets().clone(), stored.nulls().cloned());
                Arc::new(ListArray::try_new(Arc::clone(field), offsets, values, nulls)?)
            }
            Self::Map(field, key, value) => {
                let stored = array.as_map_opt().ok_or_else(|| unlike(array, "a map"))?;
                let DataType::Struct(fields) = field.data_type() else { return Err(unlike(array, "a map")) };
                let entries = StructArray::try_new(
                    fields.clone(),
                    vec![key.apply(stored.keys())?, value.apply(stored.values())?],
                    None,
                )?;
                let (offsets, nulls) = (stored.offsets().clone(), stored.nulls().cloned());
                Arc::new(MapArray::try_new(Arc::clone(field), offsets, entries, nulls, false)?)
            }
        })
    }
}

fn unlike(array: &ArrayRef, what: &str) -> DataFusionError {
    DataFusionError::Internal(format!("a column planned as {what} was read as {}", array.data_type()))
}

/// What a field reads as in a file that was written before the field was added.
///
/// # Errors
/// `Corrupt` when the field is required and has no initial default; `Unsupported` for a nested default.
pub(super) fn default_of(field: &NestedField, path: &str) -> Result<ScalarValue> {
    let data_type = arrow_type(&field.field_type)?;
    match (&field.initial_default, &*field.field_type) {
        (Some(default @ Literal::Primitive(_)), Type::Primitive(ty)) => scalar_or_null(Some(default), ty),
        (Some(_), _) => Err(Error::unsupported(format!(
            "column {path:?} has a default of a nested type, which is not supported yet"
        ))),
        (None, _) if field.required => {
            Err(Error::corrupt(format!("required column {path:?} is missing from the file")))
        }
        (None, _) => ScalarValue::try_from(&data_type)
            .map_err(|error| Error::bug(format!("no NULL of type {data_type}: {error}"))),
    }
}

/// Whether a primitive stored as `from` may be read as `to`: Iceberg's promotions, and representations that
/// hold the same values. Nothing that could lose a digit.
fn may_become(from: &DataType, to: &DataType) -> bool {
    use DataType as D;
    use TimeUnit as U;
    match (from, to) {
        (D::Int8 | D::Int16 | D::UInt8 | D::UInt16, D::Int32)
        | (D::Int8 | D::Int16 | D::Int32 | D::UInt8 | D::UInt16 | D::UInt32, D::Int64)
        | (D::Float16, D::Float32)
        | (D::Float16 | D::Float32, D::Float64)
        | (D::Utf8 | D::LargeUtf8 | D::Utf8View | D::Binary | D::LargeBinary | D::BinaryView, D::Utf8)
        | (D::Binary | D::LargeBinary | D::BinaryView | D::FixedSizeBinary(_) | D::Utf8, D::Binary)
        | (D::Time32(_), D::Time64(U::Microsecond))
        | (D::Date32, D::Timestamp(U::Microsecond | U::Nanosecond, None)) => true,
        (
            D::Decimal32(p, s) | D::Decimal64(p, s) | D::Decimal128(p, s) | D::Decimal256(p, s),
            D::Decimal128(q, t),
        ) => s == t && p <= q,
        (D::Timestamp(from, _), D::Timestamp(to, _)) => {
            let digits = |unit: &U| match unit {
                U::Second => 0,
                U::Millisecond => 3,
                U::Microsecond => 6,
                U::Nanosecond => 9,
            };
            digits(from) <= digits(to)
        }
        (D::Dictionary(_, value), to) => **value == *to || may_become(value, to),
        _ => false,
    }
}

/// A file's column as the table's, for a scan's projection.
#[derive(Debug, Clone)]
pub(super) struct ReshapeExpr {
    input: Arc<dyn PhysicalExpr>,
    reshape: Arc<Reshape>,
    field: FieldRef,
}

impl ReshapeExpr {
    /// Reads `input` as the table's `field`.
    ///
    /// # Errors
    /// `Unsupported` for a type without an Arrow counterpart.
    pub(super) fn try_new(
        input: Arc<dyn PhysicalExpr>,
        reshape: Reshape,
        field: &NestedField,
    ) -> Result<Self> {
        Ok(Self { input, reshape: Arc::new(reshape), field: Arc::new(arrow_field(field)?) })
    }
}

impl PartialEq for ReshapeExpr {
    fn eq(&self, other: &Self) -> bool {
        self.input.eq(&other.input) && self.reshape == other.reshape && self.field == other.field
    }
}

impl Eq for ReshapeExpr {}

impl Hash for ReshapeExpr {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.input.hash(state);
        self.reshape.hash(state);
        self.field.hash(state);
    }
}

impl Display for ReshapeExpr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "reshape({} as {})", self.input, self.field.data_type())
    }
}

impl PhysicalExpr for ReshapeExpr {
    fn return_field(&self, _schema: &ArrowSchema) -> DfResult<FieldRef> {
        Ok(Arc::clone(&self.field))
    }

    fn evaluate(&self, batch: &RecordBatch) -> DfResult<ColumnarValue> {
        let array = self.input.evaluate(batch)?.into_array(batch.num_rows())?;
        Ok(ColumnarValue::Array(self.reshape.apply(&array)?))
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.input]
    }

    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn PhysicalExpr>>,
    ) -> DfResult<Arc<dyn PhysicalExpr>> {
        match (children.pop(), children.is_empty()) {
            (Some(input), true) => Ok(Arc::new(Self { input, ..self.as_ref().clone() })),
            _ => Err(DataFusionError::Internal("a reshaped column has exactly one input".to_owned())),
        }
    }

    fn fmt_sql(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.input.fmt_sql(f)
    }
}

/// A field's type and id as one, for comparisons that ignore what does not change a read.
#[cfg(test)]
pub(super) fn with_field_id(
    field: datafusion::arrow::datatypes::Field,
    id: i32,
) -> datafusion::arrow::datatypes::Field {
    field.with_metadata(std::collections::HashMap::from([(
        crate::arrow_schema::FIELD_ID.to_owned(),
        id.to_string(),
    )]))
}

#[cfg(test)]
mod tests;
