//! Ctrl-C and termination: the first asks the running statement to stop; asked for again, the process ends.
//!
//! In the shell every statement starts anew, and Ctrl-C while none runs does nothing. (At the prompt it is a key
//! like any other and clears the line.)

use std::io::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use icecap::engine::Cancel;
use icecap_table::{Error, Result};
use tokio::signal::unix::{SignalKind, signal};

use crate::failure::{Failure, Place};

/// Ctrl-Cs to a statement of the shell after which the process ends in the middle of it.
const PATIENCE: u32 = 3;

/// The statement that runs and how it is stopped.
#[derive(Debug, Clone, Default)]
pub(crate) struct Running(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    interactive: bool,
    place: Option<Place>,
    cancel: Cancel,
    /// Signals that came for this statement (in the shell) or this run.
    asked: u32,
    terminated: bool,
}

/// What a signal leads to.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    Wait,
    /// The person is told that it takes a while.
    Tell,
    End,
}

impl Running {
    /// For a shell, which outlives a cancelled statement.
    pub(crate) fn interactive() -> Self {
        Self(Arc::new(Mutex::new(State { interactive: true, ..State::default() })))
    }

    /// Says which statement runs now; gives what its cancellation is raised by.
    pub(crate) fn start(&self, place: Place) -> Cancel {
        let mut state = self.state();
        state.place = Some(place);
        if state.interactive {
            state.asked = 0;
            state.cancel = Cancel::new();
        }
        state.cancel.clone()
    }

    /// Says that no statement runs now.
    pub(crate) fn stop(&self) {
        self.state().place = None;
    }

    /// Whether the process was asked to end.
    pub(crate) fn is_terminated(&self) -> bool {
        self.state().terminated
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn signalled(&self, terminate: bool) -> Next {
        let mut state = self.state();
        if state.interactive && state.place.is_none() {
            return if terminate { Next::End } else { Next::Wait };
        }
        state.terminated |= terminate;
        state.asked += 1;
        state.cancel.cancel();
        match (state.interactive && !terminate, state.asked) {
            (_, 1) => Next::Wait,
            (true, asked) if asked < PATIENCE => Next::Tell,
            _ => Next::End,
        }
    }
}

/// Watches for SIGINT and SIGTERM. `leave` is called before the process is ended.
///
/// The watcher has a thread of its own, so that it is heard while every worker is busy. It ends with the
/// process.
///
/// # Errors
/// `Unavailable` when the thread or the handlers cannot be set up.
pub(crate) fn watch(
    running: Running,
    token: Option<String>,
    leave: impl Fn() + Send + 'static,
) -> Result<()> {
    let failed = |error: std::io::Error| Error::unavailable("cannot watch for Ctrl-C").with_source(error);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().map_err(failed)?;
    // Handlers are installed before the first statement runs, not when the thread gets its turn.
    let (mut interrupt, mut terminate) = {
        let _inside = runtime.enter();
        (signal(SignalKind::interrupt()).map_err(failed)?, signal(SignalKind::terminate()).map_err(failed)?)
    };
    let watcher = async move {
        loop {
            let terminate = tokio::select! {
                _ = interrupt.recv() => false,
                _ = terminate.recv() => true,
            };
            match running.signalled(terminate) {
                Next::Wait => {}
                Next::Tell => {
                    let _ = writeln!(
                        std::io::stderr(),
                        "still stopping; once more ends icecap in the middle of it"
                    );
                }
                Next::End => {
                    leave();
                    end(&running, token.clone());
                }
            }
        }
    };
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || runtime.block_on(watcher))
        .map(drop)
        .map_err(failed)
}

/// Ends the process in the middle of whatever it does. A write may have been committed: nobody waited.
fn end(running: &Running, token: Option<String>) {
    let place = running.state().place.clone();
    let failure = match place {
        Some(place) if place.writes => Failure::of_statement(
            Error::commit_state_unknown("stopped in the middle of a write"),
            place,
            token,
        ),
        Some(place) => Failure::of_statement(Error::cancelled("stopped"), place, token),
        None => Error::cancelled("stopped").into(),
    };
    failure.tell();
    std::process::exit(i32::from(failure.status()));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> Place {
        Place { number: 1, total: 1, text: "SELECT 1".into(), writes: false }
    }

    #[test]
    fn the_second_signal_ends_a_run() {
        let running = Running::default();
        assert_eq!(running.signalled(false), Next::Wait);
        // What comes next is cancelled too.
        assert!(running.start(place()).is_cancelled());
        assert_eq!(running.signalled(false), Next::End);
    }

    #[test]
    fn every_statement_of_a_shell_starts_anew() {
        let running = Running::interactive();
        assert_eq!(running.signalled(false), Next::Wait);
        let cancel = running.start(place());
        assert!(!cancel.is_cancelled());
        assert_eq!(running.signalled(false), Next::Wait);
        assert!(cancel.is_cancelled());
        assert_eq!(running.signalled(false), Next::Tell);
        running.stop();
        assert!(!running.start(place()).is_cancelled());
        assert!(!running.is_terminated());
        assert_eq!(running.signalled(true), Next::Wait);
        assert!(running.is_terminated());
        running.stop();
        assert_eq!(running.signalled(true), Next::End);
    }
}
