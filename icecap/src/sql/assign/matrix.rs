//! Which types may be stored as which.

use datafusion::arrow::datatypes::{DataType, TimeUnit};
use icecap_table::Result;
use icecap_table::iceberg::spec::{PrimitiveType, Type};

use super::refused;
use crate::arrow_schema::arrow_type;
use crate::sql::store::{field_mapping, same_type};

/// How a type fits another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fit {
    /// Stored as it is.
    Same,
    /// Stored after a conversion that is checked at run time.
    Cast,
}

/// How values of `from` fit a column of type `to`.
///
/// # Errors
/// `Invalid`, naming the column and both types, when they do not.
pub(super) fn fit(from: &DataType, to: &Type, path: &str) -> Result<Fit> {
    match from {
        DataType::Null => return Ok(Fit::Cast),
        DataType::Dictionary(_, value) => return fit(value, to, path).map(|_| Fit::Cast),
        DataType::RunEndEncoded(_, value) => return fit(value.data_type(), to, path).map(|_| Fit::Cast),
        _ => {}
    }
    let refuse = || refused(from, to, path);
    match to {
        Type::Primitive(primitive) => primitive_fit(from, primitive).ok_or_else(refuse),
        Type::List(list) => {
            let element = element(from).ok_or_else(refuse)?;
            fit(element, &list.element_field.field_type, &format!("{path}.element"))?;
            whole(from, to)
        }
        Type::Map(map) => {
            let DataType::Map(entries, _) = from else { return Err(refuse()) };
            let DataType::Struct(pair) = entries.data_type() else { return Err(refuse()) };
            let [key, value] = pair.as_ref() else { return Err(refuse()) };
            fit(key.data_type(), &map.key_field.field_type, &format!("{path}.key"))?;
            fit(value.data_type(), &map.value_field.field_type, &format!("{path}.value"))?;
            whole(from, to)
        }
        Type::Struct(fields) => {
            let DataType::Struct(given) = from else { return Err(refuse()) };
            let names: Vec<&str> = fields.fields().iter().map(|field| field.name.as_str()).collect();
            let mapping = field_mapping(given, &names).ok_or_else(refuse)?;
            for (field, source) in fields.fields().iter().zip(mapping) {
                fit(given[source].data_type(), &field.field_type, &format!("{path}.{}", field.name))?;
            }
            whole(from, to)
        }
    }
}

/// A nested value whose parts fit is stored as it is only when it has exactly the column's shape.
fn whole(from: &DataType, to: &Type) -> Result<Fit> {
    Ok(if same_type(from, &arrow_type(to)?) { Fit::Same } else { Fit::Cast })
}

fn element(from: &DataType) -> Option<&DataType> {
    match from {
        DataType::List(field)
        | DataType::LargeList(field)
        | DataType::ListView(field)
        | DataType::LargeListView(field)
        | DataType::FixedSizeList(field, _) => Some(field.data_type()),
        _ => None,
    }
}

fn primitive_fit(from: &DataType, to: &PrimitiveType) -> Option<Fit> {
    let exactly = |wanted: DataType| if *from == wanted { Fit::Same } else { Fit::Cast };
    let numeric = from.is_numeric();
    let timestamp = matches!(from, DataType::Timestamp(..));
    let date = matches!(from, DataType::Date32 | DataType::Date64);
    let time = matches!(from, DataType::Time32(_) | DataType::Time64(_));
    let text = matches!(from, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
    let bytes = matches!(from, DataType::Binary | DataType::LargeBinary | DataType::BinaryView);
    let utc = || Some("UTC".into());
    match to {
        PrimitiveType::Boolean => (*from == DataType::Boolean).then_some(Fit::Same),
        PrimitiveType::Int => numeric.then(|| exactly(DataType::Int32)),
        PrimitiveType::Long => numeric.then(|| exactly(DataType::Int64)),
        PrimitiveType::Float => numeric.then(|| exactly(DataType::Float32)),
        PrimitiveType::Double => numeric.then(|| exactly(DataType::Float64)),
        PrimitiveType::Decimal { precision, scale } => numeric.then(|| {
            let same = matches!(from, DataType::Decimal128(p, s)
                if u32::from(*p) == *precision && i64::from(*s) == i64::from(*scale));
            if same { Fit::Same } else { Fit::Cast }
        }),
        PrimitiveType::Date => (date || timestamp).then(|| exactly(DataType::Date32)),
        PrimitiveType::Time => time.then(|| exactly(DataType::Time64(TimeUnit::Microsecond))),
        PrimitiveType::Timestamp => {
            (date || timestamp).then(|| exactly(DataType::Timestamp(TimeUnit::Microsecond, None)))
        }
        PrimitiveType::Timestamptz => {
            (date || timestamp).then(|| exactly(DataType::Timestamp(TimeUnit::Microsecond, utc())))
        }
        PrimitiveType::TimestampNs => {
            (date || timestamp).then(|| exactly(DataType::Timestamp(TimeUnit::Nanosecond, None)))
        }
        PrimitiveType::TimestamptzNs => {
            (date || timestamp).then(|| exactly(DataType::Timestamp(TimeUnit::Nanosecond, utc())))
        }
        PrimitiveType::String if text => Some(Fit::Same),
        PrimitiveType::String => {
            (numeric || date || time || timestamp || bytes || *from == DataType::Boolean).then_some(Fit::Cast)
        }
        PrimitiveType::Uuid => match from {
            DataType::FixedSizeBinary(16) => Some(Fit::Same),
            _ => text.then_some(Fit::Cast),
        },
        PrimitiveType::Fixed(length) => match from {
            DataType::FixedSizeBinary(given) => {
                (i64::from(*given) == i64::try_from(*length).ok()?).then_some(Fit::Same)
            }
            _ => bytes.then_some(Fit::Cast),
        },
        PrimitiveType::Binary if bytes => Some(Fit::Same),
        PrimitiveType::Binary => matches!(from, DataType::FixedSizeBinary(_)).then_some(Fit::Cast),
    }
}
