//! Which rows of data files are deleted: sets of positions, and deletion vectors as Iceberg stores them.
//!
//! [`PositionSet`] is the one type for positions, from a statement's matched rows to the committer's union.
//! [`deletion_vector`] frames it as a blob (spec, "Deletion vectors"), [`puffin`] puts blobs into a file. Bytes in,
//! bytes out: nothing here reads storage, and nothing here knows Parquet. Which delete file concerns which data file
//! is [`crate::scan`]'s to say.

pub mod deletion_vector;
mod position_set;
pub mod puffin;
#[cfg(test)]
mod tests;

pub use position_set::PositionSet;
pub use puffin::PuffinWriter;
