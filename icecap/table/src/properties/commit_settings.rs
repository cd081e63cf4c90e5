//! The table properties that a committer obeys, typed.

use std::collections::HashMap;

use super::{bool_of, positive_of};
use crate::error::Result;

/// How a table wants its manifests and metadata files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommitSettings {
    /// Whether commits merge manifests.
    pub manifest_merge: bool,
    /// How many manifests the one that grows is made of before it is written.
    pub manifest_min_count_to_merge: usize,
    /// The size in bytes that merged manifests have at most.
    pub manifest_target_bytes: u64,
    /// Whether metadata files that leave the metadata log are deleted.
    pub delete_old_metadata: bool,
}

impl CommitSettings {
    /// Reads a table's properties.
    ///
    /// # Errors
    /// `Invalid`, naming the property, for a bad value.
    pub fn from_properties(properties: &HashMap<String, String>) -> Result<Self> {
        let min_count = positive_of(properties, "commit.manifest.min-count-to-merge")?.unwrap_or(100);
        Ok(Self {
            manifest_merge: bool_of(properties, "commit.manifest-merge.enabled")?.unwrap_or(true),
            manifest_min_count_to_merge: usize::try_from(min_count).unwrap_or(usize::MAX),
            manifest_target_bytes: positive_of(properties, "commit.manifest.target-size-bytes")?
                .unwrap_or(8 << 20),
            delete_old_metadata: bool_of(properties, "write.metadata.delete-after-commit.enabled")?
                .unwrap_or(false),
        })
    }
}
