//! Ctrl-C and termination: the first asks the running statement to stop, the second ends the process.

use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

use icecap_table::{Error, Result};
use tokio::signal::unix::{SignalKind, signal};

use crate::failure::{Failure, Place};

/// The statement that runs, for a process that is ended in the middle of it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Running(Arc<Mutex<Option<Place>>>);

impl Running {
    /// Says which statement runs now.
    pub(crate) fn set(&self, place: Option<Place>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = place;
    }

    fn get(&self) -> Option<Place> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Watches for SIGINT and SIGTERM: `cancel` is called at the first, the process ends at the second.
///
/// The watcher has a thread of its own, so that it is heard while every worker is busy. It ends with the
/// process.
///
/// # Errors
/// `Unavailable` when the thread or the handlers cannot be set up.
pub(crate) fn watch(
    running: Running,
    token: Option<String>,
    cancel: impl FnOnce() + Send + 'static,
) -> Result<()> {
    let failed = |error: std::io::Error| Error::unavailable("cannot watch for Ctrl-C").with_source(error);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().map_err(failed)?;
    // Handlers are installed before the first statement runs, not when the thread gets its turn.
    let (mut interrupt, mut terminate) = {
        let _inside = runtime.enter();
        (signal(SignalKind::interrupt()).map_err(failed)?, signal(SignalKind::terminate()).map_err(failed)?)
    };
    let watcher = async move {
        let mut next = async || {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        };
        next().await;
        cancel();
        next().await;
        end(&running, token);
    };
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || runtime.block_on(watcher))
        .map(drop)
        .map_err(failed)
}

/// Ends the process in the middle of whatever it does. A write may have been committed: nobody waited.
fn end(running: &Running, token: Option<String>) {
    let failure = match running.get() {
        Some(place) if place.writes => Failure::of_statement(
            Error::commit_state_unknown("stopped in the middle of a write"),
            place,
            token,
        ),
        Some(place) => Failure::of_statement(Error::cancelled("stopped"), place, token),
        None => Error::cancelled("stopped").into(),
    };
    let _ = writeln!(std::io::stderr(), "{failure}");
    std::process::exit(i32::from(failure.status()));
}
