//! `icecap writer`: a process that runs the tasks of the `icecap` that started it.

use icecap::dispatch::local_pool::serve_stdio;
use icecap::worker::{HostSettings, WorkerHost};
use icecap_table::storage::Storage;

use crate::args::WriterCommand;
use crate::failure::Failure;
use crate::run::runtime;

/// Answers until standard input ends.
///
/// # Errors
/// When the streams break.
pub(crate) fn run(command: &WriterCommand) -> Result<(), Failure> {
    let threads = command.threads.map(usize::from);
    let runtime = runtime(threads)?;
    let settings = HostSettings { threads: threads.unwrap_or(1), memory_bytes: None };
    let host = WorkerHost::new(Storage::local(), settings);
    let outcome = runtime.block_on(serve_stdio(host));
    // Whatever is still at work works for nobody.
    runtime.shutdown_background();
    Ok(outcome?)
}
