//! Reading Iceberg tables: the table provider, the scan node, and what runs inside it.
//!
//! A scan is planned once ([`IcebergTable`] asks the kernel which files a filter leaves) and then travels as
//! [`IcecapScanExec`]: file slices, columns, predicate. Where it runs, columns are found in each file by
//! field id, row groups and pages are pruned, deleted rows are left out, and slices are shared between partitions.
//!
//! What a table is, and which files a snapshot has, is not decided here but in `icecap_table`.

mod adapter;
mod columns;
mod deletes;
mod exec;
mod guard;
mod hidden;
mod identify;
mod late;
mod log;
mod message;
pub(crate) mod parquet;
mod partition;
mod predicate;
pub(crate) mod reader;
mod reshape;
mod split;
mod statistics;
mod table;
mod value;
mod wire;

pub use deletes::deleted_positions;
pub use exec::{IcecapScanExec, full_schema};
pub(crate) use guard::guarded;
pub use hidden::{
    FILE_COLUMN, LAST_UPDATED_COLUMN, LAST_UPDATED_FIELD, PARTITION_COLUMN, POS_COLUMN, ROW_ID_COLUMN,
    ROW_ID_FIELD, SPEC_ID_COLUMN,
};
pub use log::{PlannedScan, ScanLog};
pub use message::{DataFile, DeleteSource, FileSlice, ScanInput};
pub use predicate::{exact_predicate, predicate_of};
pub(crate) use split::{deal, of_part, slices};
pub use table::IcebergTable;
#[cfg(test)]
pub(crate) use table::tests::target as test_target;
pub(crate) use value::{bytes_of_literal, scalar_of_bound, scalar_or_null};
pub(crate) use wire::ScanMessage;

#[cfg(test)]
mod tests;
