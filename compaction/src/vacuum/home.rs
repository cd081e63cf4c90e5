//! The folders that hold a table's own files. Nothing outside of them is ever deleted: a manifest may name anything.

use icecap_table::Result;
use icecap_table::catalog::LoadedTable;
use icecap_table::location::{Location, Policy};
use icecap_table::properties::LOCATION_PROPERTIES;

/// A table's own folders.
#[derive(Debug, Clone)]
pub(super) struct Home {
    folders: Vec<String>,
    parsed: Vec<Location>,
    policy: Policy,
}

impl Home {
    /// The folders of a table: its location, and where its properties put files.
    ///
    /// # Errors
    /// `Denied` for a folder where no table of this warehouse may lie; `Invalid` for what is no location.
    pub(super) fn of(loaded: &LoadedTable, policy: &Policy) -> Result<Self> {
        let metadata = loaded.document.metadata();
        let properties = LOCATION_PROPERTIES.iter().filter_map(|key| metadata.properties().get(*key));
        let mut home = Self { folders: Vec::new(), parsed: Vec::new(), policy: policy.clone() };
        for folder in std::iter::once(metadata.location()).chain(properties.map(String::as_str)) {
            policy.check(folder)?;
            let parsed = Location::parse(folder)?;
            if !home.parsed.iter().any(|known| *known == parsed || parsed.is_below(known)) {
                home.folders.push(parsed.to_uri().trim_end_matches('/').to_owned());
                home.parsed.push(parsed);
            }
        }
        Ok(home)
    }

    /// The folders, none of which lies in one before it.
    pub(super) fn folders(&self) -> &[String] {
        &self.folders
    }

    /// The table's location. Unlike the other folders no second table can have been put there by its properties.
    pub(super) fn root(&self) -> &str {
        self.folders.first().map_or("", String::as_str)
    }

    /// Whether a file lies in one of them.
    pub(super) fn holds(&self, location: &str) -> bool {
        let Ok(parsed) = Location::parse(location) else { return false };
        self.policy.check_readable(location).is_ok()
            && self.parsed.iter().any(|folder| parsed.is_below(folder))
    }
}
