//! What a user may set, as plain values.

use std::path::PathBuf;
use std::time::Duration;

use icecap_table::location::Location;

use crate::dispatch::ChildProgram;
use crate::stage::{RetryPolicy, TaskCount};
use crate::{Error, Result};

/// Where a statement's tasks run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Writers {
    /// In this process.
    #[default]
    InProcess,
    /// In child processes of this machine.
    Children {
        /// Children at most.
        slots: usize,
        /// What they are.
        program: ChildProgram,
    },
    /// In a Lambda function.
    Lambda {
        /// Its name, `name:qualifier` or ARN.
        function: String,
    },
}

/// The settings of an [`Engine`](super::Engine).
#[derive(Debug, Clone, Default)]
pub struct EngineSettings {
    /// The warehouse: a local directory (path or `file:///` URI), or `s3://BUCKET/PREFIX`.
    pub warehouse: String,
    /// The catalog: `sqlite:PATH`, with `?name=NAME` for another catalog name; by default `catalog.db` in a local
    /// warehouse, and required with another.
    pub catalog: Option<String>,
    /// Upper bound of the memory that a statement's operators and writers may hold.
    pub memory_bytes: Option<u64>,
    /// Worker threads, and partitions of a plan; by default one per core.
    pub threads: Option<usize>,
    /// Where operators spill; by default the system's.
    pub temp_dir: Option<PathBuf>,
    /// How long one statement may take.
    pub timeout: Option<Duration>,
    /// What metadata files, manifests and Parquet footers that are remembered may take; by default 128 MiB.
    pub cache_bytes: Option<usize>,
    /// Location prefixes outside the warehouse where tables may lie.
    pub allow_location: Vec<String>,
    /// Prefixes that `read_parquet` and `read_csv` are held to; anywhere when absent.
    pub allow_read: Option<Vec<String>>,
    /// Where tasks run.
    pub writers: Writers,
    /// Runs each statement at most once: the same token gives the recorded result.
    pub token: Option<String>,
    /// How many tasks of a write run at once; by default as many as there are children, or one in this process.
    pub slots: Option<usize>,
    /// Parts every write into exactly so many tasks, however small it is: for tests.
    #[doc(hidden)]
    pub tasks: Option<usize>,
}

const MAX_THREADS: usize = 1024;
/// More could not be started by one process.
const MAX_SLOTS: usize = 10_000;
/// Attempts at once where the number of tasks is set and nothing else.
const SLOTS_OF_TESTS: usize = 2;
/// Invocations of a function at once. An account has a thousand, and others use it too.
const SLOTS_OF_A_FUNCTION: usize = 200;

impl EngineSettings {
    /// Settings for a warehouse, everything else by default.
    pub fn new(warehouse: impl Into<String>) -> Self {
        Self { warehouse: warehouse.into(), ..Self::default() }
    }

    pub(crate) fn threads(&self) -> Result<usize> {
        match self.threads {
            Some(0) => Err(Error::invalid("--threads must be at least 1")),
            Some(threads) if threads > MAX_THREADS => {
                Err(Error::invalid(format!("--threads must be at most {MAX_THREADS}")))
            }
            Some(threads) => Ok(threads),
            None => Ok(std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get)),
        }
    }

    /// Whether the catalog is there already. Opening makes one that is not; who only looks asks first.
    ///
    /// # Errors
    /// `Invalid` and `Unsupported` for a catalog that cannot be opened either.
    pub fn has_catalog(&self) -> Result<bool> {
        let warehouse = icecap_table::location::to_location(&self.warehouse)?;
        let (path, _) = self.catalog_file(&warehouse)?;
        Ok(path.is_file())
    }

    /// How writes are parted and run.
    pub(crate) fn tier(&self) -> Result<Tier> {
        let slots = match self.slots {
            Some(slots) if !(1..=MAX_SLOTS).contains(&slots) => {
                return Err(Error::invalid(format!("tasks at once must be from 1 to {MAX_SLOTS}")));
            }
            Some(slots) => slots,
            None => match &self.writers {
                Writers::InProcess if self.tasks.is_some() => SLOTS_OF_TESTS,
                Writers::InProcess => 1,
                Writers::Children { slots, .. } => *slots,
                Writers::Lambda { .. } => SLOTS_OF_A_FUNCTION,
            },
        };
        let tasks = self.tasks.map_or(TaskCount::Slots(slots), |tasks| TaskCount::Exactly(tasks.max(1)));
        Ok(Tier { slots, tasks })
    }

    /// When tasks are tried again. What failed in this process does not pass by waiting.
    pub(crate) fn retry(&self) -> RetryPolicy {
        match (&self.writers, self.tasks) {
            (Writers::InProcess, None) => RetryPolicy::once(),
            _ => RetryPolicy::default(),
        }
    }

    /// Upper bound of the memory that one task may hold: children share what the statement may.
    pub(crate) fn task_memory_bytes(&self) -> Option<u64> {
        match &self.writers {
            Writers::InProcess => self.memory_bytes,
            // A function has a memory of its own.
            Writers::Lambda { .. } => None,
            Writers::Children { slots, .. } => {
                self.memory_bytes.map(|bytes| (bytes / (*slots as u64).max(1)).max(1))
            }
        }
    }

    /// The catalog's file and name.
    pub(crate) fn catalog_file(&self, warehouse: &str) -> Result<(PathBuf, String)> {
        const DEFAULT_NAME: &str = "icecap";
        let Some(uri) = &self.catalog else {
            let root = Location::parse(warehouse)?;
            if root.scheme() != "file" {
                return Err(Error::invalid(
                    "a warehouse on S3 needs to be told its catalog: --catalog sqlite:PATH names a catalog file on a \
                     local disk, made where there is none",
                )
                .with("warehouse", warehouse));
            }
            return Ok((PathBuf::from(root.path()).join("catalog.db"), DEFAULT_NAME.to_owned()));
        };
        let (kind, rest) = uri.split_once(':').ok_or_else(|| {
            Error::invalid("a catalog is given as a URI, such as sqlite:/path/catalog.db")
                .with("catalog", uri)
        })?;
        if kind != "sqlite" {
            return Err(Error::unsupported(format!(
                "catalogs of kind {kind} are not supported yet: use sqlite:PATH"
            )));
        }
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let path = path.strip_prefix("//").unwrap_or(path);
        if path.is_empty() {
            return Err(Error::invalid("the catalog's path is empty").with("catalog", uri));
        }
        let mut name = DEFAULT_NAME.to_owned();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            match pair.split_once('=') {
                Some(("name", value)) if !value.is_empty() => value.clone_into(&mut name),
                _ => {
                    return Err(Error::invalid("unknown catalog option: only name=NAME is known")
                        .with("option", pair));
                }
            }
        }
        Ok((PathBuf::from(path), name))
    }
}

/// How writes are parted and run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tier {
    /// Attempts at once.
    pub(crate) slots: usize,
    /// Tasks of a stage.
    pub(crate) tasks: TaskCount,
}

impl Tier {
    /// Whether writes may be parted at all.
    pub(crate) fn is_distributed(self) -> bool {
        !matches!(self.tasks, TaskCount::Slots(1) | TaskCount::Exactly(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn catalog(uri: &str) -> Result<(PathBuf, String)> {
        let settings = EngineSettings { catalog: Some(uri.into()), ..EngineSettings::new("w") };
        settings.catalog_file("file:///w")
    }

    #[test]
    fn a_catalog_uri_names_a_file_and_perhaps_a_name() {
        assert_eq!(catalog("sqlite:/x/c.db").unwrap(), ("/x/c.db".into(), "icecap".into()));
        assert_eq!(catalog("sqlite:///x/c.db?name=prod").unwrap(), ("/x/c.db".into(), "prod".into()));
        assert_eq!(
            EngineSettings::new("w").catalog_file("file:///w").unwrap(),
            ("/w/catalog.db".into(), "icecap".into())
        );
    }

    #[test]
    fn wrong_catalogs_are_refused_by_kind() {
        use icecap_table::ErrorKind::{Invalid, Unsupported};
        for (uri, kind) in [
            ("c.db", Invalid),
            ("dynamodb:t", Unsupported),
            ("sqlite:", Invalid),
            ("sqlite:c?colour=red", Invalid),
        ] {
            assert_eq!(catalog(uri).unwrap_err().kind(), kind, "{uri}");
        }
    }

    #[test]
    fn a_catalog_is_looked_for_and_not_made() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("c.db");
        let settings = EngineSettings {
            catalog: Some(format!("sqlite:{}", file.display())),
            ..EngineSettings::new(folder.path().to_string_lossy())
        };
        assert!(!settings.has_catalog().unwrap());
        assert!(!file.exists());
        std::fs::write(&file, "").unwrap();
        assert!(settings.has_catalog().unwrap());
    }

    #[test]
    fn a_warehouse_elsewhere_needs_a_catalog() {
        let settings = EngineSettings::new("s3://lake/w");
        let error = settings.catalog_file("s3://lake/w").unwrap_err();
        assert_eq!(error.kind(), icecap_table::ErrorKind::Invalid);
        assert!(error.message().contains("--catalog sqlite:PATH"));
    }

    #[test]
    fn threads_are_bounded() {
        let with = |threads| EngineSettings { threads: Some(threads), ..EngineSettings::new("w") };
        assert!(with(0).threads().is_err());
        assert!(with(100_000).threads().is_err());
        assert_eq!(with(3).threads().unwrap(), 3);
    }
}
