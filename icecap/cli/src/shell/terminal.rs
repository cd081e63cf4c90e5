//! The terminal's settings, to put back when the process ends while a line is edited.

use std::io::{self, Write};

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};

/// How the terminal was set when the shell began.
pub(super) struct Terminal(Option<Termios>);

impl Terminal {
    /// The terminal behind standard input.
    pub(super) fn of_stdin() -> Self {
        Self(tcgetattr(io::stdin()).ok())
    }

    /// Puts the settings back, and takes bracketed paste off.
    pub(super) fn restore(&self) {
        if let Some(settings) = &self.0 {
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, settings);
            let _ = io::stderr().write_all(b"\x1b[?2004l\r\n");
        }
    }
}
