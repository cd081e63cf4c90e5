//! One value of any Arrow type as text.
//!
//! A [`Column`] looks at its array's type once; writing a value then costs a call. JSON keeps the types
//! apart (`NULL` is `null`, decimals are strings), plain text is for CSV, human text for the table.

use std::ops::Range;

use arrow::array::{
    Array, AsArray, BooleanArray, FixedSizeBinaryArray, GenericListArray, GenericListViewArray,
    OffsetSizeTrait,
};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{
    ArrowDictionaryKeyType, ArrowNativeType, ArrowPrimitiveType, DataType, Date32Type, Date64Type,
    Decimal32Type, Decimal64Type, Decimal128Type, Decimal256Type, DecimalType, Field, Float16Type,
    Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, Time32MillisecondType,
    Time32SecondType, Time64MicrosecondType, Time64NanosecondType, TimeUnit, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type,
    UInt32Type, UInt64Type,
};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use icecap_table::{Error, Result};

use super::calendar::{Fraction, Ticks, write_date, write_time, write_timestamp};

/// Who reads the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// A JSON value, quoted where JSON needs it.
    Json,
    /// Bare text for a program.
    Plain,
    /// Bare text for a person.
    Human,
}

type Append<'a> = Box<dyn Fn(usize, Style, &mut String) + 'a>;
type Get<'a, T> = Box<dyn Fn(usize) -> T + 'a>;

enum Kind<'a> {
    Null,
    /// Text that JSON takes without quotes.
    Bare(Append<'a>),
    Float(Get<'a, f64>),
    Float32(Get<'a, f32>),
    /// Text that JSON quotes and that needs no escapes.
    Quoted(Append<'a>),
    /// Text of any characters, made when it is written.
    Escaped(Append<'a>),
    Text(Get<'a, &'a str>),
    Bytes(Get<'a, &'a [u8]>),
    List(Get<'a, Range<usize>>, Box<Column<'a>>),
    Struct(Vec<(&'a str, Column<'a>)>),
    Map {
        range: Get<'a, Range<usize>>,
        keys: Box<Column<'a>>,
        values: Box<Column<'a>>,
        text_keys: bool,
    },
    Indexed(Get<'a, usize>, Box<Column<'a>>),
}

/// The values of one array, ready to be written.
pub struct Column<'a> {
    nulls: Option<NullBuffer>,
    kind: Kind<'a>,
}

impl<'a> Column<'a> {
    /// Prepares an array of `field`.
    ///
    /// # Errors
    /// `Unsupported` for a type that has no text.
    pub fn new(field: &'a Field, array: &'a dyn Array) -> Result<Self> {
        let kind = match array.data_type() {
            DataType::FixedSizeBinary(16) if field.extension_type_name() == Some("arrow.uuid") => {
                uuids(array.as_fixed_size_binary())
            }
            _ => kind_of(array)?,
        };
        Ok(Self { nulls: array.logical_nulls(), kind })
    }

    /// Whether the value is NULL.
    pub fn is_null(&self, row: usize) -> bool {
        matches!(self.kind, Kind::Null) || self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row))
    }

    /// Appends the value; NULL is `null` in JSON, `NULL` for a person, and nothing as plain text.
    pub fn write(&self, row: usize, style: Style, out: &mut String) {
        if self.is_null(row) {
            out.push_str(match style {
                Style::Json => "null",
                Style::Human => "NULL",
                Style::Plain => "",
            });
            return;
        }
        let quoted = |out: &mut String, append: &dyn Fn(&mut String)| {
            if style == Style::Json {
                out.push('"');
                append(out);
                out.push('"');
            } else {
                append(out);
            }
        };
        match &self.kind {
            Kind::Null => {}
            Kind::Bare(append) => append(row, style, out),
            Kind::Quoted(append) => quoted(out, &|out| append(row, style, out)),
            Kind::Float(get) => {
                let value = get(row);
                match special(value) {
                    Some(text) => quoted(out, &|out| out.push_str(text)),
                    None => out.push_str(&serde_json::Value::from(value).to_string()),
                }
            }
            Kind::Float32(get) => {
                let value = get(row);
                match special(f64::from(value)) {
                    Some(text) => quoted(out, &|out| out.push_str(text)),
                    // Through its own shortest text: as a double, 0.1 would be 0.10000000149011612.
                    None => out.push_str(&serde_json::to_string(&value).unwrap_or_default()),
                }
            }
            Kind::Escaped(append) if style == Style::Json => {
                let mut text = String::new();
                append(row, style, &mut text);
                write_json_string(&text, out);
            }
            Kind::Escaped(append) => append(row, style, out),
            Kind::Text(get) if style == Style::Json => write_json_string(get(row), out),
            Kind::Text(get) => out.push_str(get(row)),
            Kind::Bytes(get) if style == Style::Human => write_hex(get(row), out),
            Kind::Bytes(get) => quoted(out, &|out| STANDARD.encode_string(get(row), out)),
            Kind::Indexed(index, values) => values.write(index(row), style, out),
            // Nested values are JSON text in every format.
            Kind::List(range, element) => {
                sequence(range(row), ['[', ']'], out, |at, out| element.write(at, Style::Json, out));
            }
            Kind::Struct(fields) => {
                sequence(0..fields.len(), ['{', '}'], out, |at, out| {
                    let (name, column) = &fields[at];
                    write_json_string(name, out);
                    out.push(':');
                    column.write(row, Style::Json, out);
                });
            }
            Kind::Map { range, keys, values, text_keys: true } => {
                sequence(range(row), ['{', '}'], out, |at, out| {
                    keys.write(at, Style::Json, out);
                    out.push(':');
                    values.write(at, Style::Json, out);
                });
            }
            Kind::Map { range, keys, values, text_keys: false } => {
                sequence(range(row), ['[', ']'], out, |at, out| {
                    out.push('[');
                    keys.write(at, Style::Json, out);
                    out.push(',');
                    values.write(at, Style::Json, out);
                    out.push(']');
                });
            }
        }
    }
}

/// Whether values of this type are numbers: what a table aligns to the right.
pub fn is_number(data_type: &DataType) -> bool {
    match data_type {
        DataType::Dictionary(_, value) => is_number(value),
        other => other.is_numeric(),
    }
}

fn kind_of<'a>(array: &'a dyn Array) -> Result<Kind<'a>> {
    Ok(match array.data_type() {
        DataType::Null => Kind::Null,
        DataType::Boolean => booleans(array.as_boolean()),
        DataType::Int8 => integers::<Int8Type>(array),
        DataType::Int16 => integers::<Int16Type>(array),
        DataType::Int32 => integers::<Int32Type>(array),
        DataType::Int64 => integers::<Int64Type>(array),
        DataType::UInt8 => integers::<UInt8Type>(array),
        DataType::UInt16 => integers::<UInt16Type>(array),
        DataType::UInt32 => integers::<UInt32Type>(array),
        DataType::UInt64 => integers::<UInt64Type>(array),
        DataType::Float16 => {
            let array = array.as_primitive::<Float16Type>();
            Kind::Float32(Box::new(|row| array.value(row).to_f32()))
        }
        DataType::Float32 => {
            let array = array.as_primitive::<Float32Type>();
            Kind::Float32(Box::new(|row| array.value(row)))
        }
        DataType::Float64 => {
            let array = array.as_primitive::<Float64Type>();
            Kind::Float(Box::new(|row| array.value(row)))
        }
        DataType::Decimal32(p, s) => decimals::<Decimal32Type>(array, *p, *s),
        DataType::Decimal64(p, s) => decimals::<Decimal64Type>(array, *p, *s),
        DataType::Decimal128(p, s) => decimals::<Decimal128Type>(array, *p, *s),
        DataType::Decimal256(p, s) => decimals::<Decimal256Type>(array, *p, *s),
        DataType::Utf8 => {
            let array = array.as_string::<i32>();
            Kind::Text(Box::new(|row| array.value(row)))
        }
        DataType::LargeUtf8 => {
            let array = array.as_string::<i64>();
            Kind::Text(Box::new(|row| array.value(row)))
        }
        DataType::Utf8View => {
            let array = array.as_string_view();
            Kind::Text(Box::new(|row| array.value(row)))
        }
        DataType::Binary => {
            let array = array.as_binary::<i32>();
            Kind::Bytes(Box::new(|row| array.value(row)))
        }
        DataType::LargeBinary => {
            let array = array.as_binary::<i64>();
            Kind::Bytes(Box::new(|row| array.value(row)))
        }
        DataType::BinaryView => {
            let array = array.as_binary_view();
            Kind::Bytes(Box::new(|row| array.value(row)))
        }
        DataType::FixedSizeBinary(_) => {
            let array = array.as_fixed_size_binary();
            Kind::Bytes(Box::new(|row| array.value(row)))
        }
        DataType::Date32 => {
            let array = array.as_primitive::<Date32Type>();
            Kind::Quoted(Box::new(|row, _, out| write_date(i64::from(array.value(row)), out)))
        }
        DataType::Date64 => {
            let array = array.as_primitive::<Date64Type>();
            Kind::Quoted(Box::new(|row, _, out| write_date(array.value(row).div_euclid(86_400_000), out)))
        }
        DataType::Time32(TimeUnit::Second) => times::<Time32SecondType>(array, 1),
        DataType::Time32(_) => times::<Time32MillisecondType>(array, 1_000),
        DataType::Time64(TimeUnit::Microsecond) => times::<Time64MicrosecondType>(array, 1_000_000),
        DataType::Time64(_) => times::<Time64NanosecondType>(array, 1_000_000_000),
        DataType::Timestamp(unit, zone) => {
            let zoned = zone.is_some();
            match unit {
                TimeUnit::Second => timestamps::<TimestampSecondType>(array, 1, zoned),
                TimeUnit::Millisecond => timestamps::<TimestampMillisecondType>(array, 1_000, zoned),
                TimeUnit::Microsecond => timestamps::<TimestampMicrosecondType>(array, 1_000_000, zoned),
                TimeUnit::Nanosecond => timestamps::<TimestampNanosecondType>(array, 1_000_000_000, zoned),
            }
        }
        DataType::List(field) => list(array.as_list::<i32>(), field)?,
        DataType::LargeList(field) => list(array.as_list::<i64>(), field)?,
        DataType::ListView(field) => list_view(array.as_list_view::<i32>(), field)?,
        DataType::LargeListView(field) => list_view(array.as_list_view::<i64>(), field)?,
        DataType::FixedSizeList(field, _) => {
            let array = array.as_fixed_size_list();
            let length = array.value_length().as_usize();
            let element = Column::new(field, array.values().as_ref())?;
            Kind::List(Box::new(move |row| row * length..(row + 1) * length), Box::new(element))
        }
        DataType::Struct(fields) => {
            let columns = array.as_struct().columns();
            let pairs = fields
                .iter()
                .zip(columns)
                .map(|(field, column)| Ok((field.name().as_str(), Column::new(field, column.as_ref())?)));
            Kind::Struct(pairs.collect::<Result<_>>()?)
        }
        DataType::Map(entries, _) => map(array, entries)?,
        DataType::Dictionary(key, _) => dictionary(array, key)?,
        other => {
            let formatter = ArrayFormatter::try_new(array, &FALLBACK).map_err(|error| {
                Error::unsupported(format!("a column of type {other} cannot be printed")).with_source(error)
            })?;
            Kind::Escaped(Box::new(move |row, _, out| {
                let _ = std::fmt::Write::write_fmt(out, format_args!("{}", formatter.value(row)));
            }))
        }
    })
}

/// How types without a rule of their own (intervals, durations) are written.
static FALLBACK: FormatOptions<'static> = FormatOptions::new();

fn booleans(array: &BooleanArray) -> Kind<'_> {
    Kind::Bare(Box::new(|row, _, out| out.push_str(if array.value(row) { "true" } else { "false" })))
}

fn integers<T: ArrowPrimitiveType<Native: std::fmt::Display>>(array: &dyn Array) -> Kind<'_> {
    let array = array.as_primitive::<T>();
    Kind::Bare(Box::new(|row, _, out| {
        let _ = std::fmt::Write::write_fmt(out, format_args!("{}", array.value(row)));
    }))
}

fn decimals<T: DecimalType>(array: &dyn Array, precision: u8, scale: i8) -> Kind<'_> {
    let array = array.as_primitive::<T>();
    Kind::Quoted(Box::new(move |row, _, out| {
        out.push_str(&T::format_decimal(array.value(row), precision, scale));
    }))
}

fn fraction(style: Style) -> Fraction {
    if style == Style::Human { Fraction::Short } else { Fraction::Full }
}

fn times<T: ArrowPrimitiveType<Native: Into<i64>>>(array: &dyn Array, per_second: i64) -> Kind<'_> {
    let array = array.as_primitive::<T>();
    Kind::Quoted(Box::new(move |row, style, out| {
        write_time(array.value(row).into(), Ticks(per_second), fraction(style), out);
    }))
}

fn timestamps<T: ArrowPrimitiveType<Native = i64>>(
    array: &dyn Array,
    per_second: i64,
    zoned: bool,
) -> Kind<'_> {
    let array = array.as_primitive::<T>();
    Kind::Quoted(Box::new(move |row, style, out| {
        let separator = if style == Style::Human { ' ' } else { 'T' };
        write_timestamp(array.value(row), Ticks(per_second), separator, fraction(style), out);
        if zoned {
            // Arrow keeps the instant; whatever zone the type names, this is it in UTC.
            out.push('Z');
        }
    }))
}

fn uuids(array: &FixedSizeBinaryArray) -> Kind<'_> {
    Kind::Quoted(Box::new(|row, _, out| match uuid::Uuid::from_slice(array.value(row)) {
        Ok(uuid) => {
            let _ = std::fmt::Write::write_fmt(out, format_args!("{uuid}"));
        }
        Err(_) => write_hex(array.value(row), out),
    }))
}

fn list<'a, O: OffsetSizeTrait>(array: &'a GenericListArray<O>, field: &'a Field) -> Result<Kind<'a>> {
    let element = Column::new(field, array.values().as_ref())?;
    let offsets = array.value_offsets();
    Ok(Kind::List(Box::new(|row| offsets[row].as_usize()..offsets[row + 1].as_usize()), Box::new(element)))
}

fn list_view<'a, O: OffsetSizeTrait>(
    array: &'a GenericListViewArray<O>,
    field: &'a Field,
) -> Result<Kind<'a>> {
    let element = Column::new(field, array.values().as_ref())?;
    let range = |row: usize| {
        let start = array.value_offsets()[row].as_usize();
        start..start + array.value_sizes()[row].as_usize()
    };
    Ok(Kind::List(Box::new(range), Box::new(element)))
}

fn map<'a>(array: &'a dyn Array, entries: &'a Field) -> Result<Kind<'a>> {
    let array = array.as_map();
    let DataType::Struct(pair) = entries.data_type() else {
        return Err(Error::bug("an Arrow map's entries are not a struct"));
    };
    let [key, value] = pair.as_ref() else {
        return Err(Error::bug("an Arrow map's entries are not pairs"));
    };
    let offsets = array.value_offsets();
    Ok(Kind::Map {
        range: Box::new(|row| offsets[row].as_usize()..offsets[row + 1].as_usize()),
        keys: Box::new(Column::new(key, array.keys().as_ref())?),
        values: Box::new(Column::new(value, array.values().as_ref())?),
        text_keys: matches!(key.data_type(), DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View),
    })
}

fn dictionary<'a>(array: &'a dyn Array, key: &DataType) -> Result<Kind<'a>> {
    fn indexed<K: ArrowDictionaryKeyType>(array: &dyn Array) -> Result<Kind<'_>> {
        let array = array.as_dictionary::<K>();
        let keys = array.keys();
        let values =
            Column { nulls: array.values().logical_nulls(), kind: kind_of(array.values().as_ref())? };
        Ok(Kind::Indexed(Box::new(|row| keys.value(row).as_usize()), Box::new(values)))
    }
    match key {
        DataType::Int8 => indexed::<Int8Type>(array),
        DataType::Int16 => indexed::<Int16Type>(array),
        DataType::Int32 => indexed::<Int32Type>(array),
        DataType::Int64 => indexed::<Int64Type>(array),
        DataType::UInt8 => indexed::<UInt8Type>(array),
        DataType::UInt16 => indexed::<UInt16Type>(array),
        DataType::UInt32 => indexed::<UInt32Type>(array),
        _ => indexed::<UInt64Type>(array),
    }
}

fn special(value: f64) -> Option<&'static str> {
    if value.is_nan() {
        Some("NaN")
    } else if value == f64::INFINITY {
        Some("Infinity")
    } else if value == f64::NEG_INFINITY {
        Some("-Infinity")
    } else {
        None
    }
}

fn sequence(range: Range<usize>, brackets: [char; 2], out: &mut String, item: impl Fn(usize, &mut String)) {
    out.push(brackets[0]);
    let first = range.start;
    for at in range {
        if at > first {
            out.push(',');
        }
        item(at, out);
    }
    out.push(brackets[1]);
}

fn write_hex(bytes: &[u8], out: &mut String) {
    out.push_str("0x");
    for byte in bytes {
        let _ = std::fmt::Write::write_fmt(out, format_args!("{byte:02x}"));
    }
}

/// Appends text as a JSON string, quotes included.
pub fn write_json_string(text: &str, out: &mut String) {
    out.push('"');
    let mut from = 0;
    for (at, byte) in text.bytes().enumerate() {
        let escape = match byte {
            b'"' => "\\\"",
            b'\\' => "\\\\",
            b'\n' => "\\n",
            b'\r' => "\\r",
            b'\t' => "\\t",
            0..0x20 => "",
            _ => continue,
        };
        out.push_str(&text[from..at]);
        if escape.is_empty() {
            let _ = std::fmt::Write::write_fmt(out, format_args!("\\u{byte:04x}"));
        } else {
            out.push_str(escape);
        }
        from = at + 1;
    }
    out.push_str(&text[from..]);
    out.push('"');
}

#[cfg(test)]
mod tests;
