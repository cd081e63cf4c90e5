//! The table properties that `OPTIMIZE` and `VACUUM` obey, typed.

use std::collections::HashMap;

use super::{WriteSettings, bool_of, number_of, positive_of};
use crate::error::{Error, Result};

/// Which snapshots a table keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetentionSettings {
    /// How old a branch's snapshots get, in milliseconds (`history.expire.max-snapshot-age-ms`; Athena's
    /// `vacuum_max_snapshot_age_seconds`). Five days.
    pub max_snapshot_age_ms: i64,
    /// How many snapshots of a branch stay whatever their age (`history.expire.min-snapshots-to-keep`; Athena's
    /// `vacuum_min_snapshots_to_keep`). One.
    pub min_snapshots_to_keep: u64,
    /// How old branches (main excepted) and tags get, in milliseconds (`history.expire.max-ref-age-ms`). For ever.
    pub max_ref_age_ms: i64,
    /// Whether files may be deleted at all (`gc.enabled`): not those of a table that shares them with another.
    pub gc_enabled: bool,
}

const FIVE_DAYS_MS: i64 = 5 * 24 * 60 * 60 * 1000;

impl RetentionSettings {
    /// Reads a table's properties.
    ///
    /// # Errors
    /// `Invalid`, naming the property, for a bad value.
    pub fn from_properties(properties: &HashMap<String, String>) -> Result<Self> {
        let age = |key: &str, default: i64| match number_of::<i64>(properties, key)? {
            Some(age) if age < 0 => {
                Err(Error::invalid(format!("property must be an age in milliseconds, not '{age}'"))
                    .with("property", key))
            }
            age => Ok(age.unwrap_or(default)),
        };
        Ok(Self {
            max_snapshot_age_ms: age("history.expire.max-snapshot-age-ms", FIVE_DAYS_MS)?,
            min_snapshots_to_keep: positive_of(properties, "history.expire.min-snapshots-to-keep")?
                .unwrap_or(1),
            max_ref_age_ms: age("history.expire.max-ref-age-ms", i64::MAX)?,
            gc_enabled: bool_of(properties, "gc.enabled")?.unwrap_or(true),
        })
    }
}

/// Which data files a table wants rewritten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RewriteSettings {
    /// The size that files should have, in bytes (`write.target-file-size-bytes`).
    pub target_bytes: u64,
    /// Below this size a file is too small (`optimize_rewrite_min_data_file_size_bytes`). 0.75 of the target.
    pub min_bytes: u64,
    /// Above this size a file is too large (`optimize_rewrite_max_data_file_size_bytes`). 1.8 of the target.
    pub max_bytes: u64,
    /// So many files are worth being joined, even where they do not fill one (`optimize_rewrite_data_file_threshold`).
    /// Five.
    pub min_files: usize,
    /// A file with so many delete files is worth being rewritten by itself (`optimize_rewrite_delete_file_threshold`).
    /// Two.
    pub min_delete_files: usize,
}

impl RewriteSettings {
    /// Reads a table's properties.
    ///
    /// # Errors
    /// `Invalid`, naming the property, for a bad value.
    pub fn from_properties(properties: &HashMap<String, String>) -> Result<Self> {
        let target_bytes = WriteSettings::from_properties(properties)?.target_file_size_bytes;
        let count = |key: &str, default: usize| {
            let count = positive_of(properties, key)?;
            Ok::<_, Error>(count.map_or(default, |count| usize::try_from(count).unwrap_or(usize::MAX)))
        };
        let min_bytes = positive_of(properties, "optimize_rewrite_min_data_file_size_bytes")?;
        let max_bytes = positive_of(properties, "optimize_rewrite_max_data_file_size_bytes")?;
        let min_bytes = min_bytes.unwrap_or(target_bytes / 4 * 3);
        Ok(Self {
            target_bytes,
            min_bytes,
            max_bytes: max_bytes.unwrap_or((target_bytes / 5).saturating_mul(9)).max(min_bytes),
            min_files: count("optimize_rewrite_data_file_threshold", 5)?,
            min_delete_files: count("optimize_rewrite_delete_file_threshold", 2)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pairs: &[(&str, &str)]) -> HashMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_table_that_says_nothing_keeps_five_days_and_one_snapshot() {
        let settings = RetentionSettings::from_properties(&HashMap::new()).unwrap();
        assert_eq!(settings.max_snapshot_age_ms, 432_000_000);
        assert_eq!((settings.min_snapshots_to_keep, settings.max_ref_age_ms), (1, i64::MAX));
        assert!(settings.gc_enabled);
    }

    #[test]
    fn wrong_values_are_refused_by_name() {
        for (key, value) in [
            ("history.expire.max-snapshot-age-ms", "-1"),
            ("history.expire.min-snapshots-to-keep", "0"),
            ("history.expire.max-ref-age-ms", "old"),
            ("gc.enabled", "perhaps"),
        ] {
            let error = RetentionSettings::from_properties(&of(&[(key, value)])).unwrap_err();
            assert!(error.to_string().contains(key), "{error}");
        }
        let error = RewriteSettings::from_properties(&of(&[("optimize_rewrite_data_file_threshold", "0")]));
        assert!(error.is_err());
    }

    #[test]
    fn sizes_follow_the_target() {
        let settings =
            RewriteSettings::from_properties(&of(&[("write.target-file-size-bytes", "1000")])).unwrap();
        assert_eq!((settings.min_bytes, settings.target_bytes, settings.max_bytes), (750, 1000, 1800));
        assert_eq!((settings.min_files, settings.min_delete_files), (5, 2));
        let own = of(&[
            ("optimize_rewrite_min_data_file_size_bytes", "5000"),
            ("optimize_rewrite_max_data_file_size_bytes", "10"),
            ("optimize_rewrite_data_file_threshold", "3"),
        ]);
        let settings = RewriteSettings::from_properties(&own).unwrap();
        assert_eq!((settings.min_bytes, settings.max_bytes, settings.min_files), (5000, 5000, 3));
    }
}
