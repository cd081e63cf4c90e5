//! Reading Iceberg tables: the table provider, the scan node, and what runs inside it.
//!
//! A scan is planned once ([`IcebergTable`] asks the kernel which files a filter leaves) and then travels as
//! [`IcecapScanExec`]: file slices, columns, predicate. Where it runs, columns are found in each file by
//! field id, row groups and pages are pruned, and slices are shared between partitions.
//!
//! What a table is, and which files a snapshot has, is not decided here but in `icecap_table`.

mod adapter;
mod exec;
mod identify;
mod late;
mod log;
mod message;
pub(crate) mod parquet;
mod predicate;
pub(crate) mod reader;
mod reshape;
mod split;
mod statistics;
mod table;
mod value;

pub use exec::{FILE_COLUMN, IcecapScanExec, POS_COLUMN, full_schema};
pub use log::{PlannedScan, ScanLog};
pub(crate) use message::ScanMessage;
pub use message::{DataFile, FileSlice, ScanInput};
pub use predicate::predicate_of;
pub(crate) use split::{deal, of_part, slices};
pub use table::IcebergTable;
#[cfg(test)]
pub(crate) use table::tests::target as test_target;
pub(crate) use value::{scalar_of_bound, scalar_or_null};

#[cfg(test)]
mod tests;
