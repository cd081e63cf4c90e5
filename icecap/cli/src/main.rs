//! The `icecap` command.

use std::process::ExitCode;

/// Scans and writers take and give back large buffers all the time; the system's allocator would return each of
/// them to the kernel, and have it cleared again.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    icecap_cli::command::main(std::env::args_os())
}
