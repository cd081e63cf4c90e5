//! The `icecap` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    icecap_cli::command::main(std::env::args_os())
}
