//! A warehouse in a temporary folder, and the `icecap` command run on it.

mod command;
mod gate;
mod invariants;
mod lambda;
mod output;
mod process;
mod warehouse;

pub use command::{icecap_binary, run_within, writer_binary};
pub use lambda::LambdaService;
pub use output::Output;
pub use process::{children_of, is_running, signal, wait_until};
pub use warehouse::{Reading, Warehouse, read_metadata};
