//! `icecap lambda-local`: AWS Lambda's Invoke API and Runtime API in front of real processes of this machine.
//!
//! [`invoke`] is what clients talk to, [`runtime_api`] what the processes talk to; a [`function`] keeps its
//! processes ([`instance`]) and decides which of them gets an invocation; [`faults`] are made on demand. It knows
//! nothing of what the functions do. It checks no signatures: it is for loopback.

mod faults;
mod function;
mod instance;
mod invoke;
mod log;
mod runtime_api;

use std::collections::BTreeMap;
use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use icecap_table::Error;
use tokio::net::TcpListener;

use crate::args::LambdaLocalCommand;
use crate::failure::Failure;
use crate::run::runtime;
pub(crate) use faults::{Faults, Rule};
use function::Function;

/// What a service serves, and how.
#[derive(Debug, Clone)]
pub(crate) struct ServiceSettings {
    /// Functions by name, each with its program.
    pub(crate) functions: Vec<(String, PathBuf)>,
    /// What each function may take.
    pub(crate) limits: Limits,
    /// What goes wrong on purpose.
    pub(crate) faults: Faults,
    /// Variables of the functions' environment, besides those that Lambda sets.
    pub(crate) variables: Vec<(String, String)>,
    /// Stop processes between invocations, as Lambda freezes them.
    pub(crate) freeze: bool,
}

/// What a function may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Invocations at once; more are throttled.
    pub(crate) concurrency: usize,
    /// How long one may take.
    pub(crate) timeout: Duration,
    /// Memory of a process, in MB of 2^20 bytes; one that has more is killed.
    pub(crate) memory_mb: u64,
    /// How long a process may have nothing to do.
    pub(crate) idle_ttl: Duration,
}

/// Serves until Ctrl-C or termination.
///
/// # Errors
/// `Invalid` for an address that others reach, `NotFound` for a program that is not there, `Unavailable` when the
/// address is taken.
pub(crate) fn run(command: &LambdaLocalCommand) -> Result<(), Failure> {
    let settings = command.settings()?;
    let address = command.listen;
    if !address.ip().is_loopback() && !command.allow_remote {
        return Err(Error::invalid(format!(
            "{address} is reached by others, who could run the functions: --allow-remote allows it"
        ))
        .into());
    }
    let runtime = runtime(None)?;
    let outcome = runtime.block_on(serve(address, settings));
    // Processes that are left are killed when their handles go.
    drop(runtime);
    Ok(outcome?)
}

async fn serve(address: SocketAddr, settings: ServiceSettings) -> Result<(), Error> {
    let failed = |what: &str, error: std::io::Error| {
        Error::unavailable(format!("cannot {what}")).with("address", address.to_string()).with_source(error)
    };
    let listener = TcpListener::bind(address).await.map_err(|error| failed("listen", error))?;
    let bound = listener.local_addr().map_err(|error| failed("listen", error))?;
    let mut functions = BTreeMap::new();
    for (name, program) in &settings.functions {
        if !program.is_file() {
            return Err(Error::not_found("a function's program does not exist: build it first")
                .with("function", name)
                .with("program", program.display().to_string()));
        }
        let function = Function::new(name.clone(), program.clone(), &settings);
        functions.insert(name.clone(), Arc::new(function));
    }
    let reapers: Vec<_> =
        functions.values().map(|function| tokio::spawn(Arc::clone(function).reap())).collect();
    let service = Arc::new(invoke::Service::new(functions.clone(), settings.faults));
    // The first line tells the address, for whoever asked for any free port.
    let mut out = std::io::stdout();
    let _ = writeln!(out, "Lambda at http://{bound}").and_then(|()| out.flush());
    let ended = async {
        let terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate());
        let Ok(mut terminate) = terminate else { return std::future::pending().await };
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = terminate.recv() => {}
        }
    };
    let outcome = tokio::select! {
        outcome = async { axum::serve(listener, invoke::routes(service)).await } => {
            outcome.map_err(|error| failed("serve", error))
        }
        () = ended => Ok(()),
    };
    for reaper in reapers {
        reaper.abort();
    }
    for function in functions.values() {
        function.stop();
    }
    outcome
}
