//! Partitioning: the partition of every row, the tuple that manifests record, and the folder it goes to.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, StructArray, make_array, new_null_array};
use datafusion::arrow::buffer::NullBuffer;
use datafusion::arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int32Type, Int64Type,
    Time64MicrosecondType, TimeUnit, TimestampMicrosecondType, TimestampNanosecondType,
};
use datafusion::arrow::row::{RowConverter, Rows, SortField};
use icecap_table::iceberg::spec::{PartitionSpec, PrimitiveType, Schema, StructType, Transform, Type};
use icecap_table::{Error, Result};

use super::transform::{apply, map_bytes, minimal_twos_complement};

pub(crate) mod human;
mod path;

pub(crate) use path::file_location;

/// One field of the partition tuple.
#[derive(Debug)]
struct Term {
    name: String,
    transform: Transform,
    /// Positions from the schema's top level down to the source.
    source: Vec<usize>,
    result: PrimitiveType,
}

/// Computes partitions of batches of one schema.
#[derive(Debug)]
pub(crate) struct Partitioner {
    terms: Vec<Term>,
    converter: Option<RowConverter>,
}

/// The partitions of a batch's rows.
pub(crate) struct PartitionedRows {
    values: Vec<ArrayRef>,
    rows: Rows,
}

/// What a file of one partition needs to know of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PartitionTuple {
    /// Single-value serialised, in the spec's order.
    pub(crate) values: Vec<Option<Vec<u8>>>,
    /// Its folder below the data location; empty for an unpartitioned table.
    pub(crate) path: String,
}

impl Partitioner {
    /// # Errors
    /// `Corrupt` when the spec does not fit the schema.
    pub(crate) fn new(schema: &Schema, spec: &PartitionSpec) -> Result<Self> {
        let terms = spec
            .fields()
            .iter()
            .map(|field| {
                let wrong = |message: &str| Error::corrupt(message).with("field", field.name.clone());
                let (name, transform) = (field.name.clone(), field.transform);
                if transform == Transform::Void {
                    // Its source may be dropped from the schema; its values are NULL, whatever their type.
                    return Ok(Term { name, transform, source: Vec::new(), result: PrimitiveType::Int });
                }
                let (source, ty) = source_path(schema.as_struct(), field.source_id)
                    .ok_or_else(|| wrong("a partition field's source is not in the schema"))?;
                let Type::Primitive(result) = transform.result_type(ty)? else {
                    return Err(wrong("a partition field is not primitive"));
                };
                Ok(Term { name, transform, source, result })
            })
            .collect::<Result<_>>()?;
        Ok(Self { terms, converter: None })
    }

    /// Whether every row is of one partition, whatever its values.
    pub(crate) fn is_trivial(&self) -> bool {
        self.terms.iter().all(|term| term.transform == Transform::Void)
    }

    /// The one partition of a trivial spec.
    pub(crate) fn trivial(&self) -> PartitionTuple {
        let folders: Vec<_> = self.terms.iter().map(|term| path::segment(&term.name, "null")).collect();
        PartitionTuple { values: vec![None; self.terms.len()], path: path::join(&folders) }
    }

    /// The partitions of the rows of conformed columns.
    ///
    /// # Errors
    /// `Invalid` when a transform is not defined on its column.
    pub(crate) fn partition(&mut self, columns: &[ArrayRef]) -> Result<PartitionedRows> {
        let values = self
            .terms
            .iter()
            .map(|term| match (term.transform, columns.first()) {
                (Transform::Void, Some(any)) => Ok(new_null_array(&DataType::Int32, any.len())),
                _ => apply(term.transform, &source_column(columns, &term.source)?),
            })
            .collect::<Result<Vec<_>>>()?;
        let broken = |e| Error::bug("partition values cannot be compared").with_source(e);
        let converter = match &mut self.converter {
            Some(converter) => converter,
            empty => {
                let fields = values.iter().map(|v| SortField::new(v.data_type().clone())).collect();
                empty.insert(RowConverter::new(fields).map_err(broken)?)
            }
        };
        let rows = converter.convert_columns(&values).map_err(broken)?;
        Ok(PartitionedRows { values, rows })
    }

    /// The partition of row `row`.
    pub(crate) fn tuple(&self, partitioned: &PartitionedRows, row: usize) -> Result<PartitionTuple> {
        let mut folders = Vec::with_capacity(self.terms.len());
        let mut values = Vec::with_capacity(self.terms.len());
        for (term, array) in self.terms.iter().zip(&partitioned.values) {
            folders.push(path::segment(
                &term.name,
                &human::human(term.transform, &term.result, array.as_ref(), row),
            ));
            values.push(single_value(array.as_ref(), row)?);
        }
        Ok(PartitionTuple { values, path: path::join(&folders) })
    }
}

impl PartitionedRows {
    /// Bytes that are equal exactly for rows of one partition.
    pub(crate) fn key(&self, row: usize) -> &[u8] {
        self.rows.row(row).data()
    }
}

/// The way from the top level to a field that is not below a list or map, and its type.
pub(crate) fn source_path(fields: &StructType, id: i32) -> Option<(Vec<usize>, &Type)> {
    for (at, field) in fields.fields().iter().enumerate() {
        if field.id == id {
            return Some((vec![at], &field.field_type));
        }
        if let Type::Struct(children) = field.field_type.as_ref()
            && let Some((below, ty)) = source_path(children, id)
        {
            let mut path = vec![at];
            path.extend(below);
            return Some((path, ty));
        }
    }
    None
}

/// The source column; a field of a NULL struct is NULL.
pub(super) fn source_column(columns: &[ArrayRef], path: &[usize]) -> Result<ArrayRef> {
    let missing = || Error::bug("a partition field's source column is missing");
    let (first, below) = path.split_first().ok_or_else(missing)?;
    let mut array = Arc::clone(columns.get(*first).ok_or_else(missing)?);
    for at in below {
        let parent: &StructArray = array.as_struct_opt().ok_or_else(missing)?;
        let child = parent.columns().get(*at).ok_or_else(missing)?;
        let nulls = NullBuffer::union(parent.nulls(), child.nulls());
        let data = child.to_data().into_builder().nulls(nulls).build();
        array = make_array(data.map_err(|e| missing().with_source(e))?);
    }
    Ok(array)
}

/// A value in Iceberg's binary form (spec, appendix D).
fn single_value(array: &dyn Array, row: usize) -> Result<Option<Vec<u8>>> {
    if array.is_null(row) {
        return Ok(None);
    }
    Ok(Some(match array.data_type() {
        DataType::Boolean => vec![u8::from(array.as_boolean().value(row))],
        DataType::Int32 => array.as_primitive::<Int32Type>().value(row).to_le_bytes().into(),
        DataType::Date32 => array.as_primitive::<Date32Type>().value(row).to_le_bytes().into(),
        DataType::Int64 => array.as_primitive::<Int64Type>().value(row).to_le_bytes().into(),
        DataType::Float32 => array.as_primitive::<Float32Type>().value(row).to_le_bytes().into(),
        DataType::Float64 => array.as_primitive::<Float64Type>().value(row).to_le_bytes().into(),
        DataType::Time64(TimeUnit::Microsecond) => {
            array.as_primitive::<Time64MicrosecondType>().value(row).to_le_bytes().into()
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            array.as_primitive::<TimestampMicrosecondType>().value(row).to_le_bytes().into()
        }
        DataType::Timestamp(TimeUnit::Nanosecond, _) => {
            array.as_primitive::<TimestampNanosecondType>().value(row).to_le_bytes().into()
        }
        DataType::Decimal128(_, _) => {
            let unscaled = array.as_primitive::<Decimal128Type>().value(row);
            minimal_twos_complement(&unscaled.to_be_bytes()).into()
        }
        other => {
            let bytes =
                map_bytes(array.slice(row, 1).as_ref(), |values| values.next().flatten().map(<[u8]>::to_vec));
            bytes.flatten().ok_or_else(|| Error::unsupported(format!("a partition value of type {other}")))?
        }
    }))
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::{Float64Array, Int32Array, StringArray};
    use datafusion::arrow::datatypes::{Field, Fields};
    use icecap_table::iceberg::spec::{NestedField, UnboundPartitionSpec};

    use super::*;

    fn schema() -> Schema {
        let primitive = |id, name: &str, ty| NestedField::optional(id, name, Type::Primitive(ty)).into();
        Schema::builder()
            .with_fields(vec![
                primitive(1, "s", PrimitiveType::String),
                primitive(2, "f", PrimitiveType::Double),
                NestedField::optional(
                    3,
                    "n",
                    Type::Struct(StructType::new(vec![primitive(4, "i", PrimitiveType::Int)])),
                )
                .into(),
            ])
            .build()
            .unwrap()
    }

    fn spec(fields: &[(i32, &str, Transform)]) -> PartitionSpec {
        let mut builder = UnboundPartitionSpec::builder();
        for (source, name, transform) in fields {
            builder = builder.add_partition_field(*source, *name, *transform).unwrap();
        }
        builder.build().bind(schema()).unwrap()
    }

    fn columns() -> Vec<ArrayRef> {
        vec![
            Arc::new(StringArray::from(vec![Some("x"), None, Some("x"), Some("")])),
            Arc::new(Float64Array::from(vec![f64::NAN, 0.0, -f64::NAN, -0.0])),
            Arc::new(StructArray::new(
                Fields::from(vec![Field::new("i", DataType::Int32, true)]),
                vec![Arc::new(Int32Array::from(vec![7, 7, 7, 7]))],
                Some(NullBuffer::from(vec![true, false, true, true])),
            )),
        ]
    }

    #[test]
    fn tuples_keys_and_folders() {
        let fields =
            [(1, "s", Transform::Identity), (2, "f", Transform::Identity), (4, "i", Transform::Truncate(5))];
        let mut partitioner = Partitioner::new(&schema(), &spec(&fields)).unwrap();
        let rows = partitioner.partition(&columns()).unwrap();
        // NaNs of any payload are one partition; an empty string and NULL are two.
        assert_eq!(rows.key(0), rows.key(2));
        assert_ne!(rows.key(1), rows.key(3));
        let tuple = partitioner.tuple(&rows, 0).unwrap();
        assert_eq!(tuple.path, "s=x/f=NaN/i=5");
        assert_eq!(
            tuple.values,
            [Some(b"x".to_vec()), Some(f64::NAN.to_le_bytes().to_vec()), Some(vec![5, 0, 0, 0])]
        );
        let tuple = partitioner.tuple(&rows, 1).unwrap();
        assert_eq!(
            (tuple.path.as_str(), &tuple.values[0], &tuple.values[2]),
            ("s=null/f=0.0/i=null", &None, &None)
        );
        assert_eq!(partitioner.tuple(&rows, 3).unwrap().path, "s=/f=-0.0/i=5");
    }

    #[test]
    fn a_spec_of_dropped_fields_is_one_partition() {
        let partitioner = Partitioner::new(&schema(), &spec(&[(1, "s_void", Transform::Void)])).unwrap();
        assert!(partitioner.is_trivial());
        assert_eq!(partitioner.trivial(), PartitionTuple { values: vec![None], path: "s_void=null".into() });
        let none = Partitioner::new(&schema(), &PartitionSpec::unpartition_spec()).unwrap();
        assert_eq!(none.trivial(), PartitionTuple { values: vec![], path: String::new() });
    }
}
