//! The Icecap engine: SQL in, staged files and commit requests out.
//!
//! A statement flows [`sql`] → [`plan`] → [`dispatch`] → [`worker`] → [`write`](mod@write) (reading through [`scan`] and
//! [`source`]) → the commit service. DataFusion plans and runs every query; what a table is, and how a change
//! is published, is not decided here but in `icecap-table` and `icecap-commit-service`.

pub mod arrow_schema;
pub mod dispatch;
pub mod engine;
pub mod exchange;
mod lean_join;
pub mod plan;
pub mod scan;
pub mod source;
pub mod sql;
pub mod stage;
pub mod worker;
pub mod write;

pub use engine::Maintenance;
pub use icecap_table::{Error, ErrorKind, Result};
