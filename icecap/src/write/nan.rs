//! Counts the NaNs of floating-point leaves, wherever they are nested.
//!
//! Parquet's statistics do not know them. A value counts only where a reader finds it: not below a NULL
//! struct, and not in the part of a list's child array that no list refers to.

use std::collections::BTreeMap;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, BooleanBufferBuilder, OffsetSizeTrait};
use datafusion::arrow::buffer::{NullBuffer, OffsetBuffer};
use datafusion::arrow::datatypes::{ArrowPrimitiveType, Float32Type, Float64Type};
use icecap_table::iceberg::spec::{NestedField, PrimitiveType, Type};

/// NaNs by field id. A floating-point field that was seen has an entry, perhaps of zero.
pub(crate) type NanCounts = BTreeMap<i32, u64>;

/// Adds the NaNs of `array`, a conformed column of `field`, to `counts`.
pub(crate) fn count_nans(array: &ArrayRef, field: &NestedField, counts: &mut NanCounts) {
    if has_floats(&field.field_type) {
        count(array, field, None, counts);
    }
}

fn has_floats(ty: &Type) -> bool {
    match ty {
        Type::Primitive(primitive) => matches!(primitive, PrimitiveType::Float | PrimitiveType::Double),
        Type::Struct(fields) => fields.fields().iter().any(|field| has_floats(&field.field_type)),
        Type::List(list) => has_floats(&list.element_field.field_type),
        Type::Map(map) => has_floats(&map.key_field.field_type) || has_floats(&map.value_field.field_type),
    }
}

fn count(array: &ArrayRef, field: &NestedField, visible: Option<&NullBuffer>, counts: &mut NanCounts) {
    match field.field_type.as_ref() {
        Type::Primitive(PrimitiveType::Float) => {
            *counts.entry(field.id).or_default() += leaf::<Float32Type>(array, visible, f32::is_nan);
        }
        Type::Primitive(PrimitiveType::Double) => {
            *counts.entry(field.id).or_default() += leaf::<Float64Type>(array, visible, f64::is_nan);
        }
        Type::Primitive(_) => {}
        Type::Struct(fields) => {
            let Some(array) = array.as_struct_opt() else { return };
            let visible = NullBuffer::union(visible, array.nulls());
            for (child, field) in array.columns().iter().zip(fields.fields()) {
                count(child, field, visible.as_ref(), counts);
            }
        }
        Type::List(list) => {
            let Some(array) = array.as_list_opt::<i32>() else { return };
            let visible = NullBuffer::union(visible, array.nulls());
            let below = visible_children(array.offsets(), visible.as_ref(), array.values().len());
            count(array.values(), &list.element_field, Some(&below), counts);
        }
        Type::Map(map) => {
            let Some(array) = array.as_map_opt() else { return };
            let visible = NullBuffer::union(visible, array.nulls());
            let below = visible_children(array.offsets(), visible.as_ref(), array.keys().len());
            count(array.keys(), &map.key_field, Some(&below), counts);
            count(array.values(), &map.value_field, Some(&below), counts);
        }
    }
}

fn visible_children<O: OffsetSizeTrait>(
    offsets: &OffsetBuffer<O>,
    visible: Option<&NullBuffer>,
    children: usize,
) -> NullBuffer {
    let mut mask = BooleanBufferBuilder::new(children);
    mask.append_n(offsets[0].as_usize(), false);
    for (row, length) in offsets.lengths().enumerate() {
        mask.append_n(length, visible.is_none_or(|visible| visible.is_valid(row)));
    }
    mask.append_n(children - mask.len(), false);
    NullBuffer::new(mask.finish())
}

fn leaf<T: ArrowPrimitiveType>(
    array: &ArrayRef,
    visible: Option<&NullBuffer>,
    is_nan: impl Fn(T::Native) -> bool,
) -> u64 {
    let Some(array) = array.as_primitive_opt::<T>() else { return 0 };
    let count = match NullBuffer::union(visible, array.nulls()) {
        None => array.values().iter().filter(|value| is_nan(**value)).count(),
        Some(valid) => valid.valid_indices().filter(|row| is_nan(array.value(*row))).count(),
    };
    count as u64
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use datafusion::arrow::array::{Float32Array, Float64Array, ListArray, StructArray};
    use datafusion::arrow::datatypes::{DataType, Field, Fields};
    use icecap_table::iceberg::spec::{ListType, StructType};

    use super::*;

    #[test]
    fn only_values_that_a_reader_finds_are_counted() {
        let float = NestedField::optional(2, "f", Type::Primitive(PrimitiveType::Float));
        let outer = NestedField::optional(1, "s", Type::Struct(StructType::new(vec![Arc::new(float)])));
        let child: ArrayRef =
            Arc::new(Float32Array::from(vec![Some(f32::NAN), Some(f32::NAN), Some(1.0), None]));
        let array: ArrayRef = Arc::new(StructArray::new(
            Fields::from(vec![Field::new("f", DataType::Float32, true)]),
            vec![child],
            Some(NullBuffer::from(vec![true, false, true, true])),
        ));
        let mut counts = NanCounts::new();
        count_nans(&array, &outer, &mut counts);
        assert_eq!(counts, BTreeMap::from([(2, 1)]));
        count_nans(&array.slice(1, 3), &outer, &mut counts);
        assert_eq!(counts, BTreeMap::from([(2, 1)]));
    }

    #[test]
    fn lists_are_seen_through_their_offsets() {
        let element = NestedField::list_element(2, Type::Primitive(PrimitiveType::Double), false);
        let field = NestedField::optional(1, "l", Type::List(ListType::new(Arc::new(element))));
        let values: ArrayRef = Arc::new(Float64Array::from(vec![f64::NAN; 6]));
        let array: ArrayRef = Arc::new(ListArray::new(
            Arc::new(Field::new("element", DataType::Float64, true)),
            OffsetBuffer::new(vec![1, 2, 4, 5].into()),
            values,
            Some(NullBuffer::from(vec![true, false, true])),
        ));
        let mut counts = NanCounts::new();
        count_nans(&array, &field, &mut counts);
        assert_eq!(counts, BTreeMap::from([(2, 2)]));
        count_nans(&array.slice(0, 1), &field, &mut counts);
        assert_eq!(counts, BTreeMap::from([(2, 3)]));
    }

    #[test]
    fn a_column_without_floats_has_no_entry() {
        let field = NestedField::optional(1, "i", Type::Primitive(PrimitiveType::Int));
        let array: ArrayRef = Arc::new(datafusion::arrow::array::Int32Array::from(vec![1]));
        let mut counts = NanCounts::new();
        count_nans(&array, &field, &mut counts);
        assert!(counts.is_empty());
    }
}
