//! Tests of one binary share the machine, except those that measure: they run alone.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

static GATE: Gate =
    Gate { state: Mutex::new(State { shared: 0, alone: false, waiting: 0 }), changed: Condvar::new() };

struct Gate {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    shared: usize,
    alone: bool,
    waiting: usize,
}

/// A place on the machine, given back when dropped.
pub(super) struct Place {
    alone: bool,
}

impl Place {
    /// Beside others; waits while somebody is alone or wants to be. A test holds one place at a time.
    pub(super) fn shared() -> Self {
        let mut state = lock();
        while state.alone || state.waiting > 0 {
            state = GATE.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.shared += 1;
        Self { alone: false }
    }

    /// With nobody else.
    pub(super) fn alone() -> Self {
        let mut state = lock();
        state.waiting += 1;
        while state.alone || state.shared > 0 {
            state = GATE.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.waiting -= 1;
        state.alone = true;
        Self { alone: true }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = lock();
        if self.alone {
            state.alone = false;
        } else {
            state.shared -= 1;
        }
        GATE.changed.notify_all();
    }
}

fn lock() -> MutexGuard<'static, State> {
    GATE.state.lock().unwrap_or_else(PoisonError::into_inner)
}
