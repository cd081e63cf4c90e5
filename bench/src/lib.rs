//! Workloads and measurements of Icecap against its peers.
//!
//! A workload runs whole processes, one after another, in an order that alternates between the engines, so
//! that a slow minute of the machine hits all of them. What is measured is what a user pays: wall time from
//! process start to exit, processor time, peak memory, bytes and files, with everything synced to disk.
//! Nothing here is linked into Icecap, and nothing of Icecap is linked in here: the binary is run.

pub mod data;
pub mod machine;
pub mod measure;
pub mod profile;
pub mod report;
pub mod rewrite;
pub mod stats;
pub mod workload;
pub mod yardstick;

/// A failure of the bench itself, as a sentence.
#[derive(Debug)]
pub struct BenchError(pub String);

impl std::fmt::Display for BenchError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BenchError {}

macro_rules! from_error {
    ($($source:ty),* $(,)?) => {
        $(impl From<$source> for BenchError {
            fn from(error: $source) -> Self {
                Self(error.to_string())
            }
        })*
    };
}

from_error!(
    std::io::Error,
    serde_json::Error,
    parquet::errors::ParquetError,
    arrow::error::ArrowError,
    rusqlite::Error,
);

/// A result of the bench.
pub type Result<T> = std::result::Result<T, BenchError>;
