//! Deleted rows are left out where a scan reads: nothing above it sees them.
//!
//! Deletion vectors and position deletes become a [`PositionSet`](icecap_table::deletes::PositionSet) of each data
//! file, and that a selection of rows that is made before anything is decoded ([`select`]); page and row-group pruning
//! and late materialisation go on as without it. Equality deletes take rows out of decoded batches ([`equality`]).
//! Whichever task reads a data file reads its delete files too ([`load`]); each is read once per scan.
//!
//! Which delete file applies to which data file was decided when the scan was planned (`icecap_table::scan`).

mod equality;
mod load;
mod position_file;
mod select;
mod source;

pub(super) use load::DeleteLoader;
pub(crate) use load::FileDeletes;
pub use load::deleted_positions;
pub(super) use source::DeletingSource;
