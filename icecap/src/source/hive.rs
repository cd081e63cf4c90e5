//! Hive-style folders: `year=2024/month=01/` as columns of the files below them.
//!
//! A column's type is found from all its values: whole numbers, dates, else text. `01` is the number 1, as
//! months are written so; longer numbers with zeros in front are text, which would lose them as numbers.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::ScalarValue;
use icecap_table::{Error, Result};

use super::csv::value;
use super::files::Listed;

/// Hive's name for NULL.
const NULL: &str = "__HIVE_DEFAULT_PARTITION__";

/// The columns of folders, and each file's values.
pub(super) type Folders = (Vec<FieldRef>, Vec<Vec<Option<String>>>);

/// `name=value` of a folder's name; `None` when it is no such name.
pub(super) fn folder(name: &str) -> Option<(String, String)> {
    let (name, value) = name.split_once('=')?;
    (!name.is_empty()).then(|| (decoded(name), decoded(value)))
}

/// Percent signs decoded, where what they stand for is text.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let escaped = after.get(..2).filter(|_| *first == b'%');
        let escaped = escaped.and_then(|digits| std::str::from_utf8(digits).ok());
        match escaped.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8(bytes).unwrap_or_else(|_| text.to_owned())
}

/// The columns of files' folders, and each file's values in their order.
///
/// # Errors
/// `Invalid` when the files lie in folders of different names.
pub(super) fn columns(files: &[Listed]) -> Result<Folders> {
    let Some(first) = files.first() else { return Ok((Vec::new(), Vec::new())) };
    let names: Vec<&str> = first.folders.iter().map(|(name, _)| name.as_str()).collect();
    for (at, name) in names.iter().enumerate() {
        if names[..at].contains(name) {
            return Err(Error::invalid(format!(
                "two folders are called {name}= : say hive_partitioning => false"
            ))
            .with("file", first.name()));
        }
    }
    let mut rows: Vec<Vec<Option<String>>> = Vec::with_capacity(files.len());
    for file in files {
        if !file.folders.iter().map(|(name, _)| name.as_str()).eq(names.iter().copied()) {
            return Err(Error::invalid(format!(
                "the file's folders are not called as those of {}: name the folders alike, or say \
                 hive_partitioning => false",
                first.name()
            ))
            .with("file", file.name()));
        }
        rows.push(
            file.folders.iter().map(|(_, value)| Some(value.clone()).filter(|value| value != NULL)).collect(),
        );
    }
    let fields = names.iter().enumerate().map(|(at, name)| {
        let values = || rows.iter().filter_map(|row| row[at].as_deref());
        let ty = if values().next().is_none() {
            DataType::Utf8
        } else if values().all(|text| integer(text).is_some()) {
            DataType::Int64
        } else if values().all(|text| value::date(text).is_some()) {
            DataType::Date32
        } else {
            DataType::Utf8
        };
        Arc::new(Field::new(*name, ty, true))
    });
    Ok((fields.collect(), rows))
}

fn integer(text: &str) -> Option<i64> {
    let padded = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
    if padded { text.parse().ok() } else { value::integer(text) }
}

/// A folder's value in its column's type.
///
/// # Errors
/// `Corrupt` when it is none: the type was found from it.
pub(super) fn scalar(text: Option<&str>, ty: &DataType) -> Result<ScalarValue> {
    let value = match (ty, text) {
        (DataType::Int64, Some(text)) => integer(text).map(|value| ScalarValue::Int64(Some(value))),
        (DataType::Date32, Some(text)) => value::date(text).map(|value| ScalarValue::Date32(Some(value))),
        (DataType::Utf8, Some(text)) => Some(ScalarValue::Utf8(Some(text.to_owned()))),
        (_, None) => ScalarValue::try_from(ty).ok(),
        _ => None,
    };
    value.ok_or_else(|| Error::corrupt(format!("a folder's value is no {ty}: {text:?}")))
}
