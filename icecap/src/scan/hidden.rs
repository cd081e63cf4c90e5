//! The columns that every table has beside its own: of which file and place a row is, and where it came from.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field};
use icecap_table::iceberg::spec::{NestedField, NestedFieldRef, PrimitiveType, StructType, Type};
use icecap_table::{Error, Result};

use crate::arrow_schema::arrow_type;
use crate::sql::{HIDDEN_COLUMNS, HIDDEN_MARK};

/// The hidden column that names a row's data file.
pub const FILE_COLUMN: &str = HIDDEN_COLUMNS[0];
/// The hidden column that counts a row's place in its data file, from 0.
pub const POS_COLUMN: &str = HIDDEN_COLUMNS[1];
/// The hidden column with the id of the partition spec that a row's data file was written under.
pub const SPEC_ID_COLUMN: &str = HIDDEN_COLUMNS[2];
/// The hidden column with the partition tuple of a row's data file.
pub const PARTITION_COLUMN: &str = HIDDEN_COLUMNS[3];
/// The hidden column with the id that a row keeps for life (V3).
pub const ROW_ID_COLUMN: &str = HIDDEN_COLUMNS[4];
/// The hidden column with the sequence number of the commit that last changed a row (V3).
pub const LAST_UPDATED_COLUMN: &str = HIDDEN_COLUMNS[5];

/// The field id of stored row ids (spec, "Reserved field ids").
pub const ROW_ID_FIELD: i32 = 2_147_483_540;
/// The field id of stored sequence numbers of the last update (spec, "Reserved field ids").
pub const LAST_UPDATED_FIELD: i32 = 2_147_483_539;

/// One of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum HiddenColumn {
    File,
    Pos,
    SpecId,
    Partition,
    RowId,
    LastUpdated,
}

impl HiddenColumn {
    /// All of them, in their order after a table's own columns.
    pub(super) const ALL: [Self; 6] =
        [Self::File, Self::Pos, Self::SpecId, Self::Partition, Self::RowId, Self::LastUpdated];

    /// Its name.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::File => FILE_COLUMN,
            Self::Pos => POS_COLUMN,
            Self::SpecId => SPEC_ID_COLUMN,
            Self::Partition => PARTITION_COLUMN,
            Self::RowId => ROW_ID_COLUMN,
            Self::LastUpdated => LAST_UPDATED_COLUMN,
        }
    }

    /// It as a field; `partition` is what [`ScanInput::partition_type`](super::ScanInput::partition_type) says.
    pub(super) fn field(self, partition: &StructType) -> Result<Field> {
        let (data_type, nullable) = match self {
            Self::File => (DataType::Utf8, false),
            Self::Pos => (DataType::Int64, false),
            Self::SpecId => (DataType::Int32, false),
            Self::Partition => (arrow_type(&Type::Struct(partition.clone()))?, false),
            Self::RowId | Self::LastUpdated => (DataType::Int64, true),
        };
        let mark = (HIDDEN_MARK.to_owned(), "true".to_owned());
        Ok(Field::new(self.name(), data_type, nullable).with_metadata([mark].into()))
    }
}

/// The field under which a file may store what the column is derived from, named so that no column of a table is.
///
/// # Errors
/// `Bug` for any other id.
pub(super) fn lineage_field(id: i32) -> Result<NestedFieldRef> {
    if !is_lineage(id) {
        return Err(Error::bug(format!("no stored column of field id {id}")));
    }
    Ok(Arc::new(NestedField::optional(id, format!("icecap:{id}"), Type::Primitive(PrimitiveType::Long))))
}

/// Whether a field id is of a stored row id or sequence number.
pub(super) fn is_lineage(id: i32) -> bool {
    matches!(id, ROW_ID_FIELD | LAST_UPDATED_FIELD)
}
