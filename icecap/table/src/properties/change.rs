//! Properties of a table that exists, set and taken away.

use std::collections::{BTreeSet, HashMap};

use iceberg::spec::TableProperties;

use super::{MappedProperties, athena, expect_iceberg};
use crate::error::{Error, Result};

/// Sorts out what `ALTER TABLE … SET TBLPROPERTIES` gives: Athena's names become Iceberg's, others stay as they are.
/// `current` are the table's properties; together with them the new ones have to be such that writers can obey.
///
/// # Errors
/// `Invalid`, naming the key, for a reserved one, one given twice, or a bad value; `Unsupported` for what cannot be
/// changed or is not done.
pub fn map_change(
    given: Vec<(String, String)>,
    current: &HashMap<String, String>,
) -> Result<MappedProperties> {
    let mut mapped = MappedProperties::default();
    for (key, value) in given {
        let lower = key.to_ascii_lowercase();
        match lower.as_str() {
            "location" => {
                return Err(Error::unsupported(
                    "the location of a table cannot be changed: make another table and copy the rows",
                )
                .with("property", key));
            }
            "sorted_by" | "sort_order" => {
                return Err(Error::invalid(
                    "the sort order is no property: say ALTER TABLE … WRITE ORDERED BY",
                )
                .with("property", key));
            }
            "provider" => expect_iceberg(&key, &value)?,
            known if !athena::in_iceberg(known).is_empty() => athena::map_one(&mut mapped, known, &value)?,
            "format_version" | "table_type" | "is_external" | "classification" => {
                athena::map_one(&mut mapped, &lower, &value)?;
            }
            _ => mapped.set_native(&key, &value)?,
        }
    }
    let mut after = current.clone();
    after.extend(mapped.properties.clone());
    MappedProperties { properties: after, ..MappedProperties::default() }.checked()?;
    Ok(mapped)
}

/// The properties, in Iceberg's names, that `ALTER TABLE … UNSET TBLPROPERTIES` takes away.
///
/// # Errors
/// `Invalid` for one that every table has.
pub fn map_removal(given: &[String]) -> Result<BTreeSet<String>> {
    let mut removed = BTreeSet::new();
    for key in given {
        let lower = key.to_ascii_lowercase();
        if TableProperties::RESERVED_PROPERTIES.contains(&key.as_str())
            || matches!(lower.as_str(), "location" | "provider" | "format_version" | "table_type")
        {
            return Err(
                Error::invalid("property is the table's own and cannot be removed").with("property", key)
            );
        }
        match athena::in_iceberg(&lower) {
            [] => removed.insert(key.clone()),
            names => {
                removed.extend(names.iter().map(|name| (*name).to_owned()));
                true
            }
        };
    }
    Ok(removed)
}
