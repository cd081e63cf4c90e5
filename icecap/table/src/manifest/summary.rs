//! What a manifest list says of the partition values in a manifest (spec, "Manifest Lists", `field_summary`).

use std::cmp::Ordering;

use iceberg::spec::{FieldSummary, Literal, PrimitiveLiteral, PrimitiveType, Struct, StructType, Type};

use crate::error::{Error, Result};
use crate::expr::value::Value;

/// Sums up the partition values of a manifest.
pub(super) struct Summaries(Vec<Field>);

struct Field {
    kind: PrimitiveType,
    contains_null: bool,
    contains_nan: bool,
    bounds: Option<(Value, Value)>,
}

impl Summaries {
    /// Nothing yet, for tuples of these types.
    ///
    /// # Errors
    /// `Unsupported` for a field of a nested type.
    pub(super) fn new(types: &StructType) -> Result<Self> {
        let fields = types.fields().iter().map(|field| match field.field_type.as_ref() {
            Type::Primitive(kind) => {
                Ok(Field { kind: kind.clone(), contains_null: false, contains_nan: false, bounds: None })
            }
            _ => Err(Error::unsupported("a partition value is of a nested type").with("field", &field.name)),
        });
        Ok(Self(fields.collect::<Result<_>>()?))
    }

    pub(super) fn add(&mut self, tuple: &Struct) {
        for (field, value) in self.0.iter_mut().zip(tuple.iter()) {
            match value {
                Some(Literal::Primitive(value)) => field.add(value),
                _ => field.contains_null = true,
            }
        }
    }

    /// # Errors
    /// `Bug` for a bound that cannot be serialised.
    pub(super) fn finish(self) -> Result<Vec<FieldSummary>> {
        let cannot = || Error::bug("a bound cannot be encoded");
        let encoded = |kind: &PrimitiveType, value: Value| {
            let datum = value.to_datum(kind).ok_or_else(cannot)?;
            datum.to_bytes().map_err(|error| cannot().with_source(error))
        };
        let summaries = self.0.into_iter().map(|field| {
            let (lower_bound, upper_bound) = match field.bounds {
                Some((lower, upper)) => {
                    (Some(encoded(&field.kind, lower)?), Some(encoded(&field.kind, upper)?))
                }
                None => (None, None),
            };
            let Field { contains_null, contains_nan, .. } = field;
            Ok(FieldSummary { contains_null, contains_nan: Some(contains_nan), lower_bound, upper_bound })
        });
        summaries.collect()
    }
}

impl Field {
    fn add(&mut self, value: &PrimitiveLiteral) {
        // A value of another type is refused where the tuple is encoded.
        let Some(value) = Value::of_literal(value, &self.kind) else { return };
        if value.is_nan() {
            self.contains_nan = true;
            return;
        }
        match &mut self.bounds {
            Some((lower, upper)) => {
                if value.order(lower) == Ordering::Less {
                    *lower = value;
                } else if value.order(upper) == Ordering::Greater {
                    *upper = value;
                }
            }
            None => self.bounds = Some((value.clone(), value)),
        }
    }
}
