//! Iceberg table semantics and Icecap's wire contracts.
//!
//! Here live the vocabulary ([`id`], [`error`]), the storage seam ([`storage`], [`location`]), table metadata
//! that survives load and store ([`metadata`], [`properties`]), what is remembered of both ([`cache`]), what a scan reads ([`scan`], [`expr`]), which rows are deleted ([`deletes`]), what a
//! commit writes ([`snapshot`], [`validate`]), what a stored table must hold to ([`verify`]), and the versioned messages between engine, writers and commit
//! service ([`staged_file`], [`commit`]).
//!
//! No SQL engine, no Arrow, no AWS client and no pointer store may come in: the commit and catalog functions
//! link this crate and must start fast. Every use of the `iceberg` kernel is in here and in the types that
//! this crate hands out; its `arrow`, `writer` and `scan` modules are used nowhere.

mod avro;
pub mod cache;
pub mod catalog;
pub mod clock;
pub mod commit;
pub mod deletes;
pub mod error;
pub mod expr;
pub mod id;
pub mod location;
mod manifest;
pub mod metadata;
pub mod properties;
pub mod scan;
pub mod snapshot;
pub mod staged_file;
pub mod storage;
#[cfg(feature = "testing")]
pub mod testing;
#[cfg(test)]
mod transforms;
pub mod validate;
pub mod verify;

pub use error::{Applied, Error, ErrorKind, Result, Retry};
pub use iceberg;
