//! `icecap_store`: the conversion of a query's column to a table's, failing rather than losing anything.

mod cast;
mod nested;
mod number;
#[cfg(test)]
mod tests;
mod time;

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema};
use datafusion::common::{DataFusionError, Result as DfResult, ScalarValue};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion_proto::protobuf;
use icecap_table::{Error, Result};
use prost::Message;

use super::names;
use super::semantics::{CAST_FUNCTION, OwnCast};
use crate::write::{PARTITION_FUNCTION, PartitionOf};

/// The function's name, in plans and on the wire.
pub const STORE_FUNCTION: &str = "icecap_store";

/// The version of the wire form.
const VERSION: u8 = 1;

/// Converts a value to the type of a table's column, checked.
///
/// NULL in a required column, a number that does not fit, a fraction or digits that would be lost are errors of kind
/// `Invalid` naming the column and the value.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct StoreCast {
    /// The column: its name, type, and whether it takes NULL.
    to: FieldRef,
    signature: Signature,
}

impl StoreCast {
    /// A conversion to the column `to`.
    pub fn new(to: FieldRef) -> Self {
        Self { to, signature: Signature::any(1, Volatility::Immutable) }
    }

    /// The call of this conversion on `expr`.
    pub fn call(self, expr: Expr) -> Expr {
        ScalarUDF::from(self).call(vec![expr])
    }

    /// The column.
    pub fn to(&self) -> &FieldRef {
        &self.to
    }

    /// The conversion as bytes, for a plan that goes to another process.
    ///
    /// # Errors
    /// `Bug` for a type that cannot be encoded; no column of a table has one.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let schema = Schema::new(vec![self.to.as_ref().clone()]);
        let message = protobuf::Schema::try_from(&schema).map_err(|error| {
            Error::bug(format!("the type {} cannot be encoded", self.to.data_type())).with_source(error)
        })?;
        let mut bytes = vec![VERSION];
        bytes.extend(message.encode_to_vec());
        Ok(bytes)
    }

    /// The conversion that [`to_bytes`](Self::to_bytes) wrote.
    ///
    /// # Errors
    /// `Corrupt` for other bytes; `Unsupported` for those of a newer version.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let broken = || Error::corrupt(format!("the bytes of {STORE_FUNCTION} are broken"));
        match bytes.split_first() {
            Some((&VERSION, message)) => {
                let message =
                    protobuf::Schema::decode(message).map_err(|error| broken().with_source(error))?;
                let schema = Schema::try_from(&message).map_err(|error| broken().with_source(error))?;
                match schema.fields().as_ref() {
                    [field] => Ok(Self::new(Arc::clone(field))),
                    _ => Err(broken()),
                }
            }
            Some((version, _)) => {
                Err(Error::unsupported(format!("{STORE_FUNCTION} of version {version} is not supported")))
            }
            None => Err(broken()),
        }
    }
}

/// The bytes of one of our functions, for a codec; nothing for a function that is not ours.
pub fn encode_udf(function: &ScalarUDF) -> Option<Vec<u8>> {
    if let Some(cast) = function.inner().downcast_ref::<OwnCast>() {
        return Some(cast.to_bytes());
    }
    if let Some(partition) = function.inner().downcast_ref::<PartitionOf>() {
        return Some(partition.to_bytes());
    }
    function.inner().downcast_ref::<StoreCast>()?.to_bytes().ok()
}

/// The function that [`encode_udf`] encoded.
///
/// # Errors
/// `Corrupt` for broken bytes; `Unsupported` for a name that is not ours.
pub fn decode_udf(name: &str, bytes: &[u8]) -> Result<Arc<ScalarUDF>> {
    match name {
        STORE_FUNCTION => Ok(Arc::new(ScalarUDF::from(StoreCast::from_bytes(bytes)?))),
        PARTITION_FUNCTION => Ok(Arc::new(ScalarUDF::from(PartitionOf::from_bytes(bytes)?))),
        CAST_FUNCTION => Ok(Arc::new(ScalarUDF::from(OwnCast::from_bytes(bytes)?))),
        _ => Err(Error::unsupported(format!("the function {name} is not supported in a task"))),
    }
}

impl ScalarUDFImpl for StoreCast {
    fn name(&self) -> &str {
        STORE_FUNCTION
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> DfResult<DataType> {
        Ok(self.to.data_type().clone())
    }

    fn return_field_from_args(&self, _arguments: ReturnFieldArgs<'_>) -> DfResult<FieldRef> {
        Ok(Arc::clone(&self.to))
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let outward = |error: Error| DataFusionError::External(Box::new(error));
        let [value] = arguments.args.as_slice() else {
            return Err(DataFusionError::Internal(format!("{STORE_FUNCTION} takes one argument")));
        };
        match value {
            ColumnarValue::Array(array) => {
                Ok(ColumnarValue::Array(cast::store(array, &self.to, self.to.name(), None).map_err(outward)?))
            }
            ColumnarValue::Scalar(scalar) => {
                let stored =
                    cast::store(&scalar.to_array()?, &self.to, self.to.name(), None).map_err(outward)?;
                Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&stored, 0)?))
            }
        }
    }
}

/// Where each target field of a struct comes from: by name when the names are the same but for case and order, by
/// position when the value's fields have no names of their own (`c0`, `c1`, …), else nowhere.
pub(crate) fn field_mapping(from: &Fields, to: &[&str]) -> Option<Vec<usize>> {
    if from.len() != to.len() {
        return None;
    }
    let given: Vec<&str> = from.iter().map(|field| field.name().as_str()).collect();
    let by_name: Option<Vec<usize>> =
        to.iter().map(|name| names::position(name, &given).ok().flatten()).collect();
    if let Some(mut mapping) = by_name.clone() {
        mapping.sort_unstable();
        mapping.dedup();
        if mapping.len() == to.len() {
            return by_name;
        }
    }
    let unnamed = given.iter().enumerate().all(|(at, name)| *name == format!("c{at}") || name.is_empty());
    unnamed.then(|| (0..to.len()).collect())
}

/// Whether two types are the same but for metadata.
pub(crate) fn same_type(one: &DataType, other: &DataType) -> bool {
    let same_field = |one: &Field, other: &Field| {
        one.name() == other.name()
            && one.is_nullable() == other.is_nullable()
            && same_type(one.data_type(), other.data_type())
    };
    match (one, other) {
        (DataType::List(one), DataType::List(other)) => same_field(one, other),
        (DataType::Map(one, a), DataType::Map(other, b)) => a == b && same_field(one, other),
        (DataType::Struct(one), DataType::Struct(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same_field(one, other))
        }
        _ => one == other,
    }
}
