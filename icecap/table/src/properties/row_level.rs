//! How DELETE, UPDATE and MERGE change a table.

use std::collections::HashMap;

use super::bad;
use crate::commit::Isolation;
use crate::error::Result;

/// How rows are taken out of data files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RowLevelMode {
    /// Files with such rows are written again without them.
    CopyOnWrite,
    /// Delete files say which rows are gone.
    MergeOnRead,
}

impl RowLevelMode {
    /// The property's value.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CopyOnWrite => "copy-on-write",
            Self::MergeOnRead => "merge-on-read",
        }
    }
}

/// How many data files a position delete file is about (V2; a deletion vector is always about one).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DeleteGranularity {
    /// One: what is read with a data file is what concerns it.
    File,
    /// All of a partition: fewer files.
    Partition,
}

/// The row-level properties of one command, as Iceberg names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowLevelSettings {
    /// `write.<command>.mode`; copy-on-write when absent.
    pub mode: RowLevelMode,
    /// `write.<command>.isolation-level`; serializable when absent.
    pub isolation: Isolation,
    /// `write.delete.granularity`; a file of each data file when absent.
    pub granularity: DeleteGranularity,
}

impl RowLevelSettings {
    /// Reads the properties of `command`: `delete`, `update` or `merge`.
    ///
    /// # Errors
    /// `Invalid`, naming the property, for a bad value.
    pub fn from_properties(properties: &HashMap<String, String>, command: &str) -> Result<Self> {
        let choose = |key: String, default: &str, choices: [&'static str; 2]| -> Result<bool> {
            let value = properties.get(&key).map_or(default, String::as_str);
            match choices.iter().position(|choice| value.eq_ignore_ascii_case(choice)) {
                Some(at) => Ok(at == 0),
                None => Err(bad(&key, value, &format!("one of {}", choices.join(", ")))),
            }
        };
        let rewrites = choose(
            format!("write.{command}.mode"),
            "copy-on-write",
            [RowLevelMode::CopyOnWrite.as_str(), RowLevelMode::MergeOnRead.as_str()],
        )?;
        let serializable =
            choose(format!("write.{command}.isolation-level"), "serializable", ["serializable", "snapshot"])?;
        let by_file = choose("write.delete.granularity".to_owned(), "file", ["file", "partition"])?;
        Ok(Self {
            mode: if rewrites { RowLevelMode::CopyOnWrite } else { RowLevelMode::MergeOnRead },
            isolation: if serializable { Isolation::Serializable } else { Isolation::Snapshot },
            granularity: if by_file { DeleteGranularity::File } else { DeleteGranularity::Partition },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absent_properties_have_icebergs_defaults() {
        let settings = RowLevelSettings::from_properties(&HashMap::new(), "update").unwrap();
        assert_eq!(
            settings,
            RowLevelSettings {
                mode: RowLevelMode::CopyOnWrite,
                isolation: Isolation::Serializable,
                granularity: DeleteGranularity::File,
            }
        );
    }

    #[test]
    fn each_command_has_its_own() {
        let properties = HashMap::from(
            [("write.merge.mode", "Merge-On-Read"), ("write.delete.isolation-level", "snapshot")]
                .map(|(key, value)| (key.to_owned(), value.to_owned())),
        );
        let of = |command| RowLevelSettings::from_properties(&properties, command).unwrap();
        assert_eq!(of("merge").mode, RowLevelMode::MergeOnRead);
        assert_eq!(of("delete").mode, RowLevelMode::CopyOnWrite);
        assert_eq!(of("delete").isolation, Isolation::Snapshot);
        assert_eq!(of("merge").isolation, Isolation::Serializable);
        let wrong = HashMap::from([("write.delete.mode".to_owned(), "fast".to_owned())]);
        let error = RowLevelSettings::from_properties(&wrong, "delete").unwrap_err();
        assert_eq!(error.message(), "property must be one of copy-on-write, merge-on-read, not 'fast'");
    }
}
