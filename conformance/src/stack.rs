//! A warehouse in a temporary folder, and the `icecap` command run on it.

mod command;
mod gate;
mod invariants;
mod output;
mod warehouse;

pub use command::{icecap_binary, run_within};
pub use output::Output;
pub use warehouse::{Reading, Warehouse, read_metadata};
