//! Table properties: what users write becomes what Iceberg's specification and its engines read.
//!
//! [`map_athena`] and [`map_iceberg`] serve `CREATE TABLE`; [`WriteSettings`] are the typed properties that
//! writers obey.

mod athena;
mod change;
mod commit_settings;
mod row_level;
mod upkeep_settings;
mod write_settings;

use std::collections::HashMap;
use std::str::FromStr;

use iceberg::spec::{FormatVersion, TableProperties};

pub use self::athena::map_athena;
pub use self::change::{map_change, map_removal};
pub use self::commit_settings::CommitSettings;
pub use self::row_level::{DeleteGranularity, RowLevelMode, RowLevelSettings};
pub use self::upkeep_settings::{RetentionSettings, RewriteSettings};
pub use self::write_settings::{
    BloomFilter, Codec, DistributionMode, METRICS_TRUNCATE_DEFAULT, MetricsMode, MetricsSettings,
    WriteSettings,
};
use crate::error::{Error, Result};

/// The properties whose values are locations; each has to pass the location policy whenever it is set.
pub const LOCATION_PROPERTIES: [&str; 4] =
    ["write.data.path", "write.metadata.path", "write.object-storage.path", "write.folder-storage.path"];

/// The properties of a statement, sorted out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MappedProperties {
    /// The table's own properties, in Iceberg's names.
    pub properties: HashMap<String, String>,
    /// The location asked for.
    pub location: Option<String>,
    /// The format version asked for.
    pub format_version: Option<FormatVersion>,
}

impl MappedProperties {
    /// The property values that are locations, with their keys; see [`LOCATION_PROPERTIES`].
    pub fn location_values(&self) -> impl Iterator<Item = (&'static str, &str)> {
        LOCATION_PROPERTIES.iter().filter_map(|key| Some((*key, self.properties.get(*key)?.as_str())))
    }

    fn set(&mut self, key: &str, value: impl Into<String>) -> Result<()> {
        match self.properties.insert(key.to_owned(), value.into()) {
            None => Ok(()),
            Some(_) => Err(Error::invalid("property is set twice").with("property", key)),
        }
    }

    /// Takes a property in Iceberg's own spelling.
    fn set_native(&mut self, key: &str, value: &str) -> Result<()> {
        if key == TableProperties::PROPERTY_FORMAT_VERSION {
            return self.set_format_version(key, value);
        }
        if TableProperties::RESERVED_PROPERTIES.contains(&key) {
            return Err(Error::invalid("property is the table's own and cannot be set").with("property", key));
        }
        self.set(key, value)
    }

    fn set_format_version(&mut self, key: &str, value: &str) -> Result<()> {
        let version = match value.trim() {
            "1" => {
                return Err(Error::unsupported("tables of format version 1 are not created: use 2 or 3")
                    .with("property", key));
            }
            "2" => FormatVersion::V2,
            "3" => FormatVersion::V3,
            other => {
                return Err(Error::invalid(format!("format version must be 2 or 3, not '{other}'"))
                    .with("property", key));
            }
        };
        match self.format_version.replace(version) {
            None => Ok(()),
            Some(_) => Err(Error::invalid("format version is set twice").with("property", key)),
        }
    }

    /// Refuses values that a writer would stumble over later.
    fn checked(self) -> Result<Self> {
        WriteSettings::from_properties(&self.properties)?;
        positive_of(&self.properties, "write.metadata.previous-versions-max")?;
        CommitSettings::from_properties(&self.properties)?;
        RetentionSettings::from_properties(&self.properties)?;
        RewriteSettings::from_properties(&self.properties)?;
        for statement in ["delete", "update", "merge"] {
            one_of(
                &self.properties,
                &format!("write.{statement}.mode"),
                &["copy-on-write", "merge-on-read"],
            )?;
            one_of(
                &self.properties,
                &format!("write.{statement}.isolation-level"),
                &["serializable", "snapshot"],
            )?;
        }
        one_of(&self.properties, "write.delete.granularity", &["file", "partition"])?;
        one_of(&self.properties, "write.metadata.compression-codec", &["none", "gzip", ""])?;
        Ok(self)
    }
}

/// Sorts out properties in Iceberg's own spelling, as Spark's `TBLPROPERTIES` and `OPTIONS` carry them.
///
/// # Errors
/// `Invalid` for a reserved key, a key given twice, or a bad value; `Unsupported` for what Icecap does not do.
pub fn map_iceberg(given: Vec<(String, String)>) -> Result<MappedProperties> {
    let mut mapped = MappedProperties::default();
    for (key, value) in given {
        match key.as_str() {
            "location" => set_location(&mut mapped, value)?,
            "provider" => expect_iceberg(&key, &value)?,
            _ => mapped.set_native(&key, &value)?,
        }
    }
    mapped.checked()
}

fn set_location(mapped: &mut MappedProperties, value: String) -> Result<()> {
    if value.is_empty() {
        return Err(Error::invalid("location is empty").with("property", "location"));
    }
    match mapped.location.replace(value) {
        None => Ok(()),
        Some(_) => Err(Error::invalid("location is set twice").with("property", "location")),
    }
}

fn expect_iceberg(key: &str, value: &str) -> Result<()> {
    if value.eq_ignore_ascii_case("iceberg") {
        return Ok(());
    }
    Err(Error::unsupported(format!("only Iceberg tables are supported, not '{value}'")).with("property", key))
}

/// A bad value of a property, in one sentence for all of them.
fn bad(key: &str, value: &str, expected: &str) -> Error {
    Error::invalid(format!("property must be {expected}, not '{value}'")).with("property", key)
}

fn number_of<T: FromStr>(properties: &HashMap<String, String>, key: &str) -> Result<Option<T>> {
    properties
        .get(key)
        .map(|value| value.trim().parse().map_err(|_| bad(key, value, "a whole number in range")))
        .transpose()
}

fn positive_of(properties: &HashMap<String, String>, key: &str) -> Result<Option<u64>> {
    match number_of::<u64>(properties, key)? {
        Some(0) => Err(bad(key, "0", "greater than zero")),
        other => Ok(other),
    }
}

fn bool_of(properties: &HashMap<String, String>, key: &str) -> Result<Option<bool>> {
    properties
        .get(key)
        .map(|value| match value.trim().to_ascii_lowercase().as_str() {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err(bad(key, value, "true or false")),
        })
        .transpose()
}

fn one_of(properties: &HashMap<String, String>, key: &str, choices: &[&str]) -> Result<()> {
    match properties.get(key) {
        Some(value) if !choices.contains(&value.to_ascii_lowercase().as_str()) => {
            Err(bad(key, value, &format!("one of {}", choices.join(", "))))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
