//! The proof of the tier: whole statements on an engine that parts them, through the tasks' bytes.

mod fault;
mod harness;
mod proof;
