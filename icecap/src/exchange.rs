//! Rows between stages: each producing task stores one object, consumers read ranges of it.
//!
//! An object holds the rows of all partitions that its task produced, as compressed Arrow IPC in blocks of one
//! partition each, then an index. The index also travels in the task's report, so that a consumer is told which
//! ranges are its own ([`ExchangeInput`]) and never lists or looks up anything. Nothing here knows of stages,
//! tasks or attempts beyond the names of objects: who reads what is decided in [`stage`](crate::stage).
//!
//! Objects lie in one folder of the warehouse, named as staged files are. They are deleted when their statement
//! ends, those of unheard attempts too; what comes later, or a lost process leaves behind, is found by its name.

mod exec;
mod format;
mod message;
mod read;
mod write;

pub use exec::ExchangeReadExec;
pub(crate) use exec::{BYTES_READ, REQUESTS};
pub use format::{EXCHANGE_VERSION, FOOTER_TAIL_BYTES, read_index};
pub use message::{Block, ExchangeInput, ExchangeObject, ExchangePiece};
pub(crate) use message::{InputMessage, ObjectMessage};
pub(crate) use write::write_all;

/// The folder of exchanges within a warehouse. No namespace can have this name.
pub const EXCHANGE_FOLDER: &str = ".exchange";

#[cfg(test)]
mod tests;
