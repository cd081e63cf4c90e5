//! Writing data files: rows in, [`StagedFile`](icecap_table::staged_file::StagedFile)s out.
//!
//! [`IcebergWriteExec`] runs in a worker at the root of a writing stage. Its rows are read beside the encoding
//! (`ahead`), brought to the table's shape (`conform`), sorted out by partition (`transform`, `partition`,
//! `groups`), encoded as Parquet on as many threads as there are (`file`, `column`, `parallel`), sent to storage
//! while they grow (`upload`), and described for the manifest (`metrics`, `bounds`, `nan`). Memory is bounded by `budget`.
//!
//! [`IcebergDeltaExec`] is the root of a stage that deletes and changes rows too: it gathers their positions
//! (`positions`) and gives the new rows to the same writers.
//!
//! Nothing here commits, talks to a catalog, or knows SQL. A staged file is durable when it is reported;
//! its base name begins with its write id, and it lies below the table's data location.

mod ahead;
mod bounds;
mod budget;
mod column;
mod conform;
mod delta;
mod dictionary;
mod exec;
mod file;
mod groups;
mod layout;
mod metrics;
mod nan;
mod order;
mod parallel;
mod parquet_schema;
mod partition;
mod positions;
mod presence;
mod route;
mod slots;
mod spill;
mod target;
mod team;
mod transform;
mod upload;
mod writer;

pub use delta::IcebergDeltaExec;
pub(crate) use delta::is_matched_twice;
pub use exec::{IcebergWriteExec, KIND_DATA};
pub(crate) use order::ordered;
pub(crate) use partition::file_location;
pub(crate) use partition::human::human;
pub(crate) use partition::source_path;
pub(crate) use positions::unite;
pub use positions::{ActedRows, FilePositions, KIND_POSITIONS, KIND_ROWS};
pub(crate) use route::{PARTITION_FUNCTION, PartitionOf, by_partition};
pub use target::{WRITE_TARGET_VERSION, WriteTarget, is_staged_by};
pub(crate) use upload::{PartBuffer, Upload};

#[cfg(test)]
mod tests;
