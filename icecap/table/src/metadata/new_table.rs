//! The first metadata of a table.

use std::collections::HashMap;

use iceberg::spec::{
    FormatVersion, PrimitiveType, Schema, SortOrder, TableMetadataBuilder, Type, UnboundPartitionSpec,
};
use uuid::Uuid;

use super::text::Text;
use super::{TableDocument, parse};
use crate::error::{Error, Result};

/// What a new table is made of.
#[derive(Debug, Clone)]
pub struct NewTable {
    /// Its identity.
    pub uuid: Uuid,
    /// Its folder.
    pub location: String,
    /// Its columns. The field ids only have to differ: new ones are assigned.
    pub schema: Schema,
    /// Its partition spec, over the schema's field ids.
    pub partition_spec: UnboundPartitionSpec,
    /// Its sort order, over the schema's field ids; none means unsorted.
    pub sort_order: Option<SortOrder>,
    /// Its properties, in Iceberg's names (see [`properties`](crate::properties)).
    pub properties: HashMap<String, String>,
    /// Its format version: 2 or 3.
    pub format_version: FormatVersion,
    /// The time, in milliseconds since the epoch.
    pub now_ms: i64,
}

pub(super) fn create(new: NewTable) -> Result<TableDocument> {
    match new.format_version {
        FormatVersion::V1 => {
            return Err(Error::unsupported("tables of format version 1 are not created: use 2 or 3"));
        }
        FormatVersion::V2 => check_v2_types(&new.schema)?,
        FormatVersion::V3 => {}
    }
    let metadata = TableMetadataBuilder::new(
        new.schema,
        new.partition_spec,
        new.sort_order.unwrap_or_else(SortOrder::unsorted_order),
        new.location,
        new.format_version,
        new.properties,
    )
    .and_then(|builder| builder.assign_uuid(new.uuid).build())
    .map_err(|e| Error::invalid("the table cannot be made so").with_source(e))?
    .metadata;
    let mut raw = parse::model_tree(&metadata)?;
    // The kernel took the wall clock's time.
    raw["last-updated-ms"] = new.now_ms.into();
    TableDocument::of_text(Text::of(&raw)?.to_bytes().into())
}

/// Refuses in version 2 what came with version 3.
fn check_v2_types(schema: &Schema) -> Result<()> {
    let newer = |kind: &Type| {
        matches!(kind, Type::Primitive(PrimitiveType::TimestampNs | PrimitiveType::TimestamptzNs))
    };
    for (id, field) in schema.field_id_to_fields() {
        let name = schema.name_by_field_id(*id).unwrap_or(&field.name);
        if newer(&field.field_type) {
            return Err(Error::invalid(format!(
                "type {} needs format version 3: set the property format-version to 3",
                field.field_type
            ))
            .with("column", name));
        }
        if field.initial_default.is_some() || field.write_default.is_some() {
            return Err(Error::invalid(
                "a column default needs format version 3: set the property format-version to 3",
            )
            .with("column", name));
        }
    }
    Ok(())
}
