//! The process: reads arguments, runs, prints the failure, gives the exit status.

use std::ffi::OsString;
use std::io::{self, IsTerminal, Write};
use std::panic::{self, AssertUnwindSafe};
use std::process::ExitCode;

use icecap_table::Error;
use tracing_subscriber::EnvFilter;

use crate::args::{self, Invocation, SqlCommand};
use crate::failure::Failure;
use crate::output::Format;
use crate::script::Source;
use crate::{colour, lambda_local, run, script, session, shell, verify, writer};

/// Runs the command with these arguments (program name first) on the process's own streams.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    // A panic is a broken invariant, told like any other error; the default hook has said where.
    let outcome = panic::catch_unwind(AssertUnwindSafe(|| start(args))).unwrap_or_else(|_| {
        Err(Error::bug("Icecap stopped at an error of its own: please report it").into())
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.tell();
            ExitCode::from(failure.status())
        }
    }
}

fn start(args: impl IntoIterator<Item = OsString>) -> Result<(), Failure> {
    match args::parse(args)? {
        Invocation::Print(text) => {
            // Help in a pipe that was closed early is help enough.
            let _ = io::stdout().write_all(text.as_bytes());
            Ok(())
        }
        Invocation::Sql(command) => sql(&command),
        Invocation::LambdaLocal(command) => {
            log(command.verbose);
            lambda_local::run(&command)
        }
        Invocation::Writer(command) => {
            log(command.verbose);
            writer::run(&command)
        }
        Invocation::Verify(command) => {
            log(command.verbose);
            verify::run(&command)
        }
    }
}

fn sql(command: &SqlCommand) -> Result<(), Failure> {
    log(command.verbosity);
    if command.session {
        return session::run(command);
    }
    if command.format == Format::Arrow && io::stdout().is_terminal() {
        return Err(Error::invalid(
            "--format arrow writes bytes for programs, and standard output is a terminal: send it to a file \
             (> result.arrows) or through a pipe, or use --format table",
        )
        .into());
    }
    let on_terminal = io::stdin().is_terminal();
    if command.sources.is_empty() && on_terminal && io::stdout().is_terminal() {
        return shell::run(command);
    }
    let stdin = [Source::Stdin];
    let sources = if command.sources.is_empty() { &stdin[..] } else { &command.sources };
    if sources.contains(&Source::Stdin) && on_terminal {
        let _ = writeln!(io::stderr(), "reading SQL from standard input; end it with Ctrl-D");
    }
    let scripts = script::read(sources, &mut io::stdin().lock())?;
    run::run(command, &scripts)
}

/// Sends the log to standard error; without `-v` there is none.
fn log(verbosity: u8) {
    let filter = match verbosity {
        0 => return,
        1 => {
            "warn,icecap=info,icecap_cli=info,icecap_table=info,icecap_commit_service=info,icecap_catalog_fn=info"
        }
        2 => {
            "info,icecap=debug,icecap_cli=debug,icecap_table=debug,icecap_commit_service=debug,icecap_catalog_fn=debug"
        }
        _ => {
            "debug,icecap=trace,icecap_cli=trace,icecap_table=trace,icecap_commit_service=trace,icecap_catalog_fn=trace"
        }
    };
    // A subscriber that is set already (a test's) stays.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(filter))
        .with_writer(io::stderr)
        .with_ansi(colour::on_stderr())
        .try_init();
}
