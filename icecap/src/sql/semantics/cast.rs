//! `icecap_cast`: the explicit casts that Arrow has not, or has with another meaning.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, FixedSizeBinaryBuilder, Int64Array, StringBuilder};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Decimal128Type, Field, FieldRef, Float64Type};
use datafusion::arrow::util::display::array_value_to_string;
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

/// The version of the wire form: that byte, one for the kind, one for what a bad value gives, and the target's
/// bits where they are whole numbers, else 0.
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
    TextToUuid,
    /// A UUID to text, with hyphens.
    UuidToText,
    /// A float or decimal to a whole number of so many bits: the nearest, a half away from zero.
    Round(u8),
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
        (from, to)
            if (from.is_floating() && from != DataType::Float16)
                || matches!(from, DataType::Decimal128(..)) =>
        {
            match bits(to) {
                Some(bits) => Kind::Round(bits),
                None => return Ok(expr),
            }
        }
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
        let (kind, bits) = match self.kind {
            Kind::TextToUuid => (0, 0),
            Kind::UuidToText => (1, 0),
            Kind::Round(bits) => (2, bits),
        };
        vec![VERSION, kind, u8::from(self.lenient), bits]
    }

    /// The cast that [`to_bytes`](Self::to_bytes) wrote.
    ///
    /// # Errors
    /// `Corrupt` for other bytes; `Unsupported` for those of a newer version.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        match bytes {
            [VERSION, 0, lenient @ 0..=1, 0] => Ok(Self::new(Kind::TextToUuid, *lenient == 1)),
            [VERSION, 1, lenient @ 0..=1, 0] => Ok(Self::new(Kind::UuidToText, *lenient == 1)),
            [VERSION, 2, lenient @ 0..=1, bits @ (8 | 16 | 32 | 64)] => {
                Ok(Self::new(Kind::Round(*bits), *lenient == 1))
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
            Kind::Round(bits) => round(array, bits, self.lenient),
        }
    }
}

/// The bits of a whole number's type.
fn bits(data_type: &DataType) -> Option<u8> {
    match data_type {
        DataType::Int8 => Some(8),
        DataType::Int16 => Some(16),
        DataType::Int32 => Some(32),
        DataType::Int64 => Some(64),
        _ => None,
    }
}

fn integer(bits: u8) -> DataType {
    match bits {
        8 => DataType::Int8,
        16 => DataType::Int16,
        32 => DataType::Int32,
        _ => DataType::Int64,
    }
}

fn round(array: &ArrayRef, bits: u8, lenient: bool) -> Result<ArrayRef> {
    let limit = 1i128 << (bits - 1);
    let rounded: Vec<Option<i128>> = match array.data_type() {
        DataType::Decimal128(_, scale) => {
            let unit = 10i128.pow(u32::from(scale.max(&0).unsigned_abs()));
            let nearest = |value: i128| {
                let (whole, rest) = (value / unit, (value % unit).unsigned_abs());
                if rest * 2 >= unit.unsigned_abs() { whole + value.signum() } else { whole }
            };
            let values = array.as_primitive::<Decimal128Type>();
            values
                .iter()
                .map(|value| value.map(|value| if unit == 1 { value } else { nearest(value) }))
                .collect()
        }
        _ => {
            let wide = cast(array, &DataType::Float64)
                .map_err(|error| Error::bug("a float as a double").with_source(error))?;
            // A float as a number of 128 bits saturates; NaN is no number, which the limit cannot say.
            let whole = |value: f64| if value.is_nan() { i128::MAX } else { value.round() as i128 };
            wide.as_primitive::<Float64Type>().iter().map(|value| value.map(whole)).collect()
        }
    };
    let mut whole = Vec::with_capacity(rounded.len());
    for (row, value) in rounded.into_iter().enumerate() {
        whole.push(match value {
            Some(value) if (-limit..limit).contains(&value) => i64::try_from(value).ok(),
            Some(_) if !lenient => {
                let shown = array_value_to_string(array, row).unwrap_or_default();
                let name = super::super::assign::type_name(&integer(bits));
                return Err(Error::invalid(format!("overflow: {shown} does not fit into {name}")));
            }
            _ => None,
        });
    }
    let whole: ArrayRef = Arc::new(Int64Array::from(whole));
    cast(&whole, &integer(bits)).map_err(|error| Error::bug("a number in its limits").with_source(error))
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
            Kind::Round(bits) => integer(bits),
        })
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs<'_>) -> DfResult<FieldRef> {
        let nullable = self.lenient || arguments.arg_fields.iter().any(|field| field.is_nullable());
        let field = Field::new(CAST_FUNCTION, self.return_type(&[])?, nullable);
        Ok(Arc::new(match self.kind {
            Kind::TextToUuid => {
                field.with_metadata(HashMap::from([(EXTENSION.to_owned(), UUID_EXTENSION.to_owned())]))
            }
            Kind::UuidToText | Kind::Round(_) => field,
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
