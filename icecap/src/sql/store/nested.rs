//! Lists, maps and structs, part by part.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, ListArray, MapArray, StructArray, UInt32Array};
use datafusion::arrow::buffer::{NullBuffer, OffsetBuffer};
use datafusion::arrow::compute::take;
use datafusion::arrow::datatypes::{DataType, FieldRef, Fields};
use datafusion::arrow::error::ArrowError;
use icecap_table::{Error, Result};

use super::cast::{arrow_cast, store};
use super::field_mapping;

pub(super) fn list(array: &ArrayRef, element: &FieldRef, path: &str) -> Result<ArrayRef> {
    let array = match array.data_type() {
        DataType::List(_) => Arc::clone(array),
        DataType::LargeList(field)
        | DataType::ListView(field)
        | DataType::LargeListView(field)
        | DataType::FixedSizeList(field, _) => arrow_cast(array, &DataType::List(Arc::clone(field)))?,
        other => return Err(Error::bug(format!("column {path}: {other} is no list"))),
    };
    let list = array.as_list::<i32>();
    let (offsets, values) = live(list.offsets(), list.nulls(), list.values())?;
    let values = store(&values, element, &format!("{path}.element"), None)?;
    let list = ListArray::try_new(Arc::clone(element), offsets, values, list.nulls().cloned());
    Ok(Arc::new(list.map_err(|error| unbuilt(path, error))?))
}

pub(super) fn map(array: &ArrayRef, entries: &FieldRef, sorted: bool, path: &str) -> Result<ArrayRef> {
    let map = array.as_map();
    let DataType::Struct(pair) = entries.data_type() else {
        return Err(Error::bug(format!("column {path}: a map's entries are not a struct")));
    };
    let [key, value] = pair.as_ref() else {
        return Err(Error::bug(format!("column {path}: a map's entries are not pairs")));
    };
    let given: ArrayRef = Arc::new(map.entries().clone());
    let (offsets, given) = live(map.offsets(), map.nulls(), &given)?;
    let given = given.as_struct();
    let [keys, values] = given.columns() else {
        return Err(Error::bug(format!("column {path}: a map's entries are not pairs")));
    };
    let keys = store(keys, key, &format!("{path}.key"), None)?;
    let values = store(values, value, &format!("{path}.value"), None)?;
    let pairs =
        StructArray::try_new(pair.clone(), vec![keys, values], None).map_err(|error| unbuilt(path, error))?;
    let map = MapArray::try_new(Arc::clone(entries), offsets, pairs, map.nulls().cloned(), sorted);
    Ok(Arc::new(map.map_err(|error| unbuilt(path, error))?))
}

pub(super) fn structure(array: &ArrayRef, fields: &Fields, path: &str) -> Result<ArrayRef> {
    let given = array.as_struct();
    let names: Vec<&str> = fields.iter().map(|field| field.name().as_str()).collect();
    let mapping = field_mapping(given.fields(), &names)
        .ok_or_else(|| Error::bug(format!("column {path}: the fields of a struct do not match")))?;
    let children = fields
        .iter()
        .zip(mapping)
        .map(|(field, source)| {
            store(given.column(source), field, &format!("{path}.{}", field.name()), given.nulls())
        })
        .collect::<Result<Vec<_>>>()?;
    let array =
        StructArray::try_new_with_length(fields.clone(), children, given.nulls().cloned(), given.len());
    Ok(Arc::new(array.map_err(|error| unbuilt(path, error))?))
}

/// The elements that lists really hold: none before the first, after the last, or under a NULL.
fn live(
    offsets: &OffsetBuffer<i32>,
    nulls: Option<&NullBuffer>,
    values: &ArrayRef,
) -> Result<(OffsetBuffer<i32>, ArrayRef)> {
    let bug = || Error::bug("the offsets of a list do not ascend");
    let hidden = nulls.is_some_and(|nulls| {
        offsets.windows(2).enumerate().any(|(row, range)| nulls.is_null(row) && range[0] != range[1])
    });
    if !hidden {
        let (first, last) = (offsets.first().copied().unwrap_or(0), offsets.last().copied().unwrap_or(0));
        let start = usize::try_from(first).map_err(|_| bug())?;
        let length = usize::try_from(last - first).map_err(|_| bug())?;
        let moved: Vec<i32> = offsets.iter().map(|offset| offset - first).collect();
        return Ok((OffsetBuffer::new(moved.into()), values.slice(start, length)));
    }
    let mut rows: Vec<u32> = Vec::new();
    let mut lengths: Vec<usize> = Vec::with_capacity(offsets.len());
    for (row, range) in offsets.windows(2).enumerate() {
        if nulls.is_some_and(|nulls| nulls.is_null(row)) {
            lengths.push(0);
            continue;
        }
        let start = u32::try_from(range[0]).map_err(|_| bug())?;
        let end = u32::try_from(range[1]).map_err(|_| bug())?;
        rows.extend(start..end);
        lengths.push((end - start) as usize);
    }
    let values = take(values, &UInt32Array::from(rows), None)
        .map_err(|error| Error::bug("the elements of a list could not be taken").with_source(error))?;
    Ok((OffsetBuffer::from_lengths(lengths), values))
}

fn unbuilt(path: &str, error: ArrowError) -> Error {
    Error::bug(format!("column {path}: a nested value could not be put together")).with_source(error)
}
