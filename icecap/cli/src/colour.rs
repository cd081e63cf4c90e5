//! Colour, where a person sees it: on a terminal that can show it, unless `NO_COLOR` says no.

use std::ffi::OsString;
use std::io::{self, IsTerminal};

/// Whether standard error shows colours.
pub(crate) fn on_stderr() -> bool {
    io::stderr().is_terminal() && wanted(|name| std::env::var_os(name))
}

/// Whether standard output shows colours.
pub(crate) fn on_stdout() -> bool {
    io::stdout().is_terminal() && wanted(|name| std::env::var_os(name))
}

fn wanted(variable: impl Fn(&str) -> Option<OsString>) -> bool {
    let refused = variable("NO_COLOR").is_some_and(|value| !value.is_empty());
    !refused && variable("TERM").is_none_or(|terminal| terminal != "dumb")
}

/// Text in bold cyan.
pub(crate) fn bold_cyan(text: &str) -> String {
    format!("\x1b[1;36m{text}\x1b[0m")
}

/// Text in bold red.
pub(crate) fn bold_red(text: &str) -> String {
    format!("\x1b[1;31m{text}\x1b[0m")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_color_and_dumb_terminals_are_obeyed() {
        let with = |name: &'static str, value: &'static str| {
            wanted(move |asked| (asked == name).then(|| OsString::from(value)))
        };
        assert!(with("TERM", "xterm"));
        assert!(!with("TERM", "dumb"));
        assert!(!with("NO_COLOR", "1"));
        assert!(with("NO_COLOR", ""));
    }
}
