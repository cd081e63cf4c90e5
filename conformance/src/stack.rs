//! A warehouse in a temporary folder or on an S3 server, and the `icecap` command run on it.

mod command;
mod gate;
mod host;
mod invariants;
mod lambda;
mod output;
mod process;
mod proxy;
mod s3;
mod session;
mod warehouse;

pub use command::{host_binary, icecap_binary, run_within, writer_binary};
pub use host::Host;
pub use lambda::{LambdaService, SharedWriters};
pub use output::Output;
pub use process::{children_of, heeds_interrupt, is_running, signal, wait_until};
pub use proxy::{Faults, Proxy};
pub use s3::{REGION, S3Server, storage_at};
pub use session::{Said, Session};
pub use warehouse::{Reading, Warehouse, read_metadata};
