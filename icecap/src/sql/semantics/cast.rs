//! `icecap_cast`: the explicit casts that Arrow has not, or has with another meaning.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, FixedSizeBinaryBuilder, StringBuilder};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{DFSchema, DataFusionError, Result as DfResult, ScalarValue};
use datafusion::logical_expr::expr::{Cast, TryCast};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ExprSchemable, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
    Signature, Volatility,
};
use icecap_table::{Error, Result};
use uuid::Uuid;

use crate::arrow_schema::{EXTENSION, UUID_EXTENSION};

/// The function's name, in plans and on the wire.
pub const CAST_FUNCTION: &str = "icecap_cast";

/// The version of the wire form: that byte, one for the kind, one for what a bad value gives.
const VERSION: u8 = 1;

const UUID: DataType = DataType::FixedSizeBinary(16);

/// One of our own casts.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct OwnCast {
    kind: Kind,
    /// `TRY_CAST`: a value that cannot be converted becomes NULL rather than an error.
    lenient: bool,
    signature: Signature,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    /// Text to a UUID.
    TextToUuid = 0,
    /// A UUID to text, with hyphens.
    UuidToText = 1,
}

/// A cast of Arrow's as one of ours, where we have one.
pub(super) fn of_expr(expr: Expr, schema: &DFSchema) -> DfResult<Expr> {
    let (inner, to, lenient) = match &expr {
        Expr::Cast(Cast { expr, field }) => (expr, field.data_type(), false),
        Expr::TryCast(TryCast { expr, field }) => (expr, field.data_type(), true),
        _ => return Ok(expr),
    };
    let kind = match (inner.get_type(schema)?, to) {
        (from, to) if from.is_string() && *to == UUID => Kind::TextToUuid,
        (UUID, DataType::Utf8) => Kind::UuidToText,
        _ => return Ok(expr),
    };
    let function = OwnCast::new(kind, lenient);
    Ok(ScalarUDF::from(function).call(vec![inner.as_ref().clone()]))
}

impl OwnCast {
    fn new(kind: Kind, lenient: bool) -> Self {
        Self { kind, lenient, signature: Signature::any(1, Volatility::Immutable) }
    }

    /// The cast as bytes, for a plan that goes to another process.
    pub fn to_bytes(&self) -> Vec<u8> {
        vec![VERSION, self.kind as u8, u8::from(self.lenient)]
    }

    /// The cast that [`to_bytes`](Self::to_bytes) wrote.
    ///
    /// # Errors
    /// `Corrupt` for other bytes; `Unsupported` for those of a newer version.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        match bytes {
            [VERSION, kind @ 0..=1, lenient @ 0..=1] => {
                let kind = if *kind == 0 { Kind::TextToUuid } else { Kind::UuidToText };
                Ok(Self::new(kind, *lenient == 1))
            }
            [version, ..] if *version > VERSION => {
                Err(Error::unsupported(format!("{CAST_FUNCTION} of version {version} is not supported")))
            }
            _ => Err(Error::corrupt(format!("the bytes of {CAST_FUNCTION} are broken"))),
        }
    }

    fn convert(&self, array: &ArrayRef) -> Result<ArrayRef> {
        match self.kind {
            Kind::TextToUuid => {
                let texts = cast(array, &DataType::Utf8)
                    .map_err(|error| Error::bug("text as text").with_source(error))?;
                let texts = texts.as_string::<i32>();
                let mut out = FixedSizeBinaryBuilder::with_capacity(texts.len(), 16);
                for text in texts {
                    match text.map(|text| Uuid::try_parse(text).map_err(|_| text)) {
                        Some(Ok(uuid)) => out
                            .append_value(uuid.as_bytes())
                            .map_err(|error| Error::bug("a UUID has 16 bytes").with_source(error))?,
                        Some(Err(text)) if !self.lenient => return Err(bad(text)),
                        _ => out.append_null(),
                    }
                }
                Ok(Arc::new(out.finish()))
            }
            Kind::UuidToText => {
                let values = array.as_fixed_size_binary();
                let mut out = StringBuilder::with_capacity(values.len(), values.len() * 36);
                for value in values {
                    out.append_option(
                        value.and_then(|value| Uuid::from_slice(value).ok()).map(|uuid| uuid.to_string()),
                    );
                }
                Ok(Arc::new(out.finish()))
            }
        }
    }
}

fn bad(text: &str) -> Error {
    const MOST: usize = 60;
    let shown: String = text.chars().take(MOST).collect();
    let more = if shown.len() < text.len() { "…" } else { "" };
    Error::invalid(format!("the text '{shown}{more}' is not a UUID: use TRY_CAST for NULL in its place"))
}

impl ScalarUDFImpl for OwnCast {
    fn name(&self) -> &str {
        CAST_FUNCTION
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> DfResult<DataType> {
        Ok(match self.kind {
            Kind::TextToUuid => UUID,
            Kind::UuidToText => DataType::Utf8,
        })
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs<'_>) -> DfResult<FieldRef> {
        let nullable = self.lenient || arguments.arg_fields.iter().any(|field| field.is_nullable());
        let field = Field::new(CAST_FUNCTION, self.return_type(&[])?, nullable);
        Ok(Arc::new(match self.kind {
            Kind::TextToUuid => {
                field.with_metadata(HashMap::from([(EXTENSION.to_owned(), UUID_EXTENSION.to_owned())]))
            }
            Kind::UuidToText => field,
        }))
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let outward = |error: Error| DataFusionError::External(Box::new(error));
        match arguments.args.as_slice() {
            [ColumnarValue::Array(array)] => self.convert(array).map(ColumnarValue::Array).map_err(outward),
            [ColumnarValue::Scalar(scalar)] => {
                let converted = self.convert(&scalar.to_array()?).map_err(outward)?;
                Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&converted, 0)?))
            }
            _ => Err(DataFusionError::Internal(format!("{CAST_FUNCTION} takes one argument"))),
        }
    }
}
