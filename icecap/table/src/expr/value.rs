//! Values of every primitive type in three ordered domains, and the exact conversions into them.

use std::cmp::Ordering;

use iceberg::spec::{Datum, PrimitiveLiteral, PrimitiveType};

/// A value in the domain in which its column is compared.
///
/// Whole numbers, booleans, days, times and unscaled decimals are [`Int`](Self::Int)s, so a literal out of
/// the column's range needs no special case; strings and byte types compare as unsigned bytes (which is
/// UTF-8's order, and Parquet's for UUIDs). Values of one column are always of one variant.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Int(i128),
    Float(f64),
    Bytes(Vec<u8>),
}

impl Value {
    /// The total order of the domain; `-0.0` is below `0.0`.
    pub(crate) fn order(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Int(a), Self::Int(b)) => a.cmp(b),
            (Self::Float(a), Self::Float(b)) => a.total_cmp(b),
            (Self::Bytes(a), Self::Bytes(b)) => a.cmp(b),
            (Self::Int(_), _) | (Self::Float(_), Self::Bytes(_)) => Ordering::Less,
            (_, Self::Int(_)) | (Self::Bytes(_), Self::Float(_)) => Ordering::Greater,
        }
    }

    /// Whether it is a NaN.
    pub(crate) fn is_nan(&self) -> bool {
        matches!(self, Self::Float(v) if v.is_nan())
    }

    /// A typed value in the domain of a column of type `column`, or `None` where that is not exact.
    pub(crate) fn of_datum(datum: &Datum, column: &PrimitiveType) -> Option<Self> {
        use PrimitiveLiteral as L;
        use PrimitiveType as T;
        match (column, datum.data_type(), datum.literal()) {
            (T::Boolean, T::Boolean, L::Boolean(v)) => Some(Self::Int(i128::from(*v))),
            (T::Int | T::Long, from, literal) => whole(from, literal).map(Self::Int),
            (T::Float | T::Double, from, literal) => float(from, literal).map(Self::Float),
            (T::Decimal { scale, .. }, from, literal) => unscaled(from, literal, *scale).map(Self::Int),
            (T::Date, T::Date, L::Int(v)) => Some(Self::Int(i128::from(*v))),
            (T::Time, T::Time, L::Long(v)) => Some(Self::Int(i128::from(*v))),
            (T::Timestamp | T::Timestamptz | T::TimestampNs | T::TimestamptzNs, from, literal) => {
                instant(from, literal, column).map(Self::Int)
            }
            (T::String, T::String, L::String(v)) => Some(Self::Bytes(v.as_bytes().to_vec())),
            (T::Uuid, T::Uuid, L::UInt128(v)) => Some(Self::Bytes(v.to_be_bytes().to_vec())),
            (T::Binary | T::Fixed(_), T::Binary | T::Fixed(_), L::Binary(v)) => Some(Self::Bytes(v.clone())),
            _ => None,
        }
    }

    /// A value without its type (a partition value of the same type as the column, perhaps from before
    /// the column was widened), or `None` where the two do not fit.
    pub(crate) fn of_literal(literal: &PrimitiveLiteral, column: &PrimitiveType) -> Option<Self> {
        use PrimitiveLiteral as L;
        use PrimitiveType as T;
        match (column, literal) {
            (T::Boolean, L::Boolean(v)) => Some(Self::Int(i128::from(*v))),
            (T::Int | T::Long | T::Date, L::Int(v)) => Some(Self::Int(i128::from(*v))),
            (
                T::Long | T::Time | T::Timestamp | T::Timestamptz | T::TimestampNs | T::TimestamptzNs,
                L::Long(v),
            ) => Some(Self::Int(i128::from(*v))),
            (T::Float | T::Double, L::Float(v)) => Some(Self::Float(f64::from(v.0))),
            (T::Float | T::Double, L::Double(v)) => Some(Self::Float(v.0)),
            (T::Decimal { .. }, L::Int128(v)) => Some(Self::Int(*v)),
            (T::String, L::String(v)) => Some(Self::Bytes(v.as_bytes().to_vec())),
            (T::Uuid, L::UInt128(v)) => Some(Self::Bytes(v.to_be_bytes().to_vec())),
            (T::Uuid | T::Binary | T::Fixed(_), L::Binary(v)) => Some(Self::Bytes(v.clone())),
            _ => None,
        }
    }

    /// The value as a datum of type `column`, or `None` when it does not fit that type.
    pub(crate) fn to_datum(&self, column: &PrimitiveType) -> Option<Datum> {
        use PrimitiveType as T;
        let bytes = match (column, self) {
            (T::Boolean, Self::Int(v)) => vec![u8::try_from(*v).ok()?],
            (T::Int | T::Date, Self::Int(v)) => i32::try_from(*v).ok()?.to_le_bytes().to_vec(),
            (
                T::Long | T::Time | T::Timestamp | T::Timestamptz | T::TimestampNs | T::TimestamptzNs,
                Self::Int(v),
            ) => i64::try_from(*v).ok()?.to_le_bytes().to_vec(),
            (T::Decimal { .. }, Self::Int(v)) => v.to_be_bytes().to_vec(),
            (T::Float, Self::Float(v)) => {
                let narrow = *v as f32;
                if f64::from(narrow).to_bits() != v.to_bits() {
                    return None;
                }
                narrow.to_le_bytes().to_vec()
            }
            (T::Double, Self::Float(v)) => v.to_le_bytes().to_vec(),
            (T::String | T::Uuid | T::Binary | T::Fixed(_), Self::Bytes(v)) => v.clone(),
            _ => return None,
        };
        Datum::try_from_bytes(&bytes, column.clone()).ok()
    }
}

/// Ten to the power of `exponent`, where that fits.
fn power_of_ten(exponent: u32) -> Option<i128> {
    10i128.checked_pow(exponent)
}

fn whole(from: &PrimitiveType, literal: &PrimitiveLiteral) -> Option<i128> {
    match (from, literal) {
        (PrimitiveType::Int, PrimitiveLiteral::Int(v)) => Some(i128::from(*v)),
        (PrimitiveType::Long, PrimitiveLiteral::Long(v)) => Some(i128::from(*v)),
        (PrimitiveType::Decimal { .. }, _) => unscaled(from, literal, 0),
        (PrimitiveType::Float, PrimitiveLiteral::Float(v)) => integral(f64::from(v.0)),
        (PrimitiveType::Double, PrimitiveLiteral::Double(v)) => integral(v.0),
        _ => None,
    }
}

/// A float that is a whole number below 2^53, where floats and integers agree one to one.
fn integral(v: f64) -> Option<i128> {
    (v.fract() == 0.0 && v.abs() < 9_007_199_254_740_992.0).then_some(v as i128)
}

fn float(from: &PrimitiveType, literal: &PrimitiveLiteral) -> Option<f64> {
    match (from, literal) {
        (PrimitiveType::Float, PrimitiveLiteral::Float(v)) => Some(f64::from(v.0)),
        (PrimitiveType::Double, PrimitiveLiteral::Double(v)) => Some(v.0),
        (PrimitiveType::Int | PrimitiveType::Long, _) => {
            let whole = whole(from, literal)?;
            (whole.unsigned_abs() < 1 << 53).then_some(whole as f64)
        }
        _ => None,
    }
}

fn unscaled(from: &PrimitiveType, literal: &PrimitiveLiteral, scale: u32) -> Option<i128> {
    match (from, literal) {
        (PrimitiveType::Decimal { scale: own, .. }, PrimitiveLiteral::Int128(v)) if *own <= scale => {
            v.checked_mul(power_of_ten(scale - own)?)
        }
        (PrimitiveType::Decimal { scale: own, .. }, PrimitiveLiteral::Int128(v)) => {
            let by = power_of_ten(own - scale)?;
            (v % by == 0).then_some(v / by)
        }
        (PrimitiveType::Int | PrimitiveType::Long, _) => {
            whole(from, literal)?.checked_mul(power_of_ten(scale)?)
        }
        _ => None,
    }
}

fn instant(from: &PrimitiveType, literal: &PrimitiveLiteral, column: &PrimitiveType) -> Option<i128> {
    use PrimitiveType as T;
    let zoned = |ty: &PrimitiveType| matches!(ty, T::Timestamptz | T::TimestamptzNs);
    let per_micro = |ty: &PrimitiveType| match ty {
        T::TimestampNs | T::TimestamptzNs => 1000i128,
        _ => 1,
    };
    match (from, literal) {
        // A date promoted to a timestamp, or compared with one: its midnight (the session zone is UTC).
        (T::Date, PrimitiveLiteral::Int(days)) => {
            Some(i128::from(*days) * 86_400_000_000 * per_micro(column))
        }
        (T::Timestamp | T::Timestamptz | T::TimestampNs | T::TimestamptzNs, PrimitiveLiteral::Long(v))
            if zoned(from) == zoned(column) =>
        {
            let nanos = i128::from(*v) * 1000 / per_micro(from);
            let unit = 1000 / per_micro(column);
            (nanos % unit == 0).then_some(nanos / unit)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conversions_are_exact_or_refused() {
        let of = |datum: Datum, column: PrimitiveType| Value::of_datum(&datum, &column);
        assert_eq!(of(Datum::long(1i64 << 40), PrimitiveType::Int), Some(Value::Int(1 << 40)));
        assert_eq!(of(Datum::double(1.5), PrimitiveType::Long), None);
        assert_eq!(of(Datum::double(-3.0), PrimitiveType::Long), Some(Value::Int(-3)));
        assert_eq!(of(Datum::long(i64::MAX), PrimitiveType::Double), None);
        assert_eq!(of(Datum::float(0.1f32), PrimitiveType::Double), Some(Value::Float(f64::from(0.1f32))));
        assert_eq!(of(Datum::string("1"), PrimitiveType::Int), None);
        let decimal = PrimitiveType::Decimal { precision: 9, scale: 2 };
        let of_text = |text| of(Datum::decimal_from_str(text).unwrap(), decimal.clone());
        assert_eq!(of_text("1.5"), Some(Value::Int(150)));
        assert_eq!(of_text("1.500"), Some(Value::Int(150)));
        assert_eq!(of_text("1.505"), None);
        assert_eq!(of(Datum::int(7), decimal.clone()), Some(Value::Int(700)));
    }

    #[test]
    fn instants_keep_their_zone_and_change_their_unit() {
        let of = |datum: Datum, column: PrimitiveType| Value::of_datum(&datum, &column);
        assert_eq!(of(Datum::timestamp_micros(-7), PrimitiveType::TimestampNs), Some(Value::Int(-7000)));
        assert_eq!(of(Datum::timestamp_nanos(7000), PrimitiveType::Timestamp), Some(Value::Int(7)));
        assert_eq!(of(Datum::timestamp_nanos(7001), PrimitiveType::Timestamp), None);
        assert_eq!(of(Datum::timestamp_micros(7), PrimitiveType::Timestamptz), None);
        assert_eq!(of(Datum::date(1), PrimitiveType::Timestamp), Some(Value::Int(86_400_000_000)));
        assert_eq!(of(Datum::date(1), PrimitiveType::TimestampNs), Some(Value::Int(86_400_000_000_000)));
    }

    #[test]
    fn a_value_goes_back_to_a_datum_of_its_column() {
        let there_and_back = |datum: Datum| {
            let column = datum.data_type().clone();
            Value::of_datum(&datum, &column).and_then(|value| value.to_datum(&column))
        };
        for datum in [
            Datum::bool(true),
            Datum::int(i32::MIN),
            Datum::long(i64::MAX),
            Datum::float(-0.0f32),
            Datum::double(f64::INFINITY),
            Datum::date(-1),
            Datum::timestamptz_nanos(5),
            Datum::string("é"),
            Datum::decimal_from_str("-123.45").unwrap(),
            Datum::uuid(uuid::Uuid::from_u128(7)),
            Datum::fixed([1, 2]),
        ] {
            assert_eq!(there_and_back(datum.clone()), Some(datum));
        }
        assert_eq!(Value::Int(1 << 40).to_datum(&PrimitiveType::Int), None);
        assert_eq!(Value::Float(0.1).to_datum(&PrimitiveType::Float), None);
    }
}
