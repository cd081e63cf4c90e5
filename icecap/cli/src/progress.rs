//! How far a statement is, on a terminal: rows, rate, time, and an estimate where the sources can say how much
//! there is. In a pipe nothing is shown.

use std::io::{self, IsTerminal, Write};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use icecap::engine::{Progress, Reading};

/// A statement that is done by then shows no progress.
const QUIET: Duration = Duration::from_millis(500);
const EVERY: Duration = Duration::from_millis(100);
/// What takes time with fewer rows than these to read is not the reading.
const WORTH_AN_ESTIMATE: u64 = 10_000;

/// What is shown while a statement runs; taken off the screen when dropped.
///
/// It has a thread of its own, so that it moves while every worker is busy.
pub(crate) struct Shown(Option<(Sender<()>, JoinHandle<()>)>);

impl Shown {
    /// Shows how far `progress` is, when standard error is a terminal and no log is written there.
    pub(crate) fn start(progress: Progress, verbosity: u8) -> Self {
        let dumb = std::env::var_os("TERM").is_some_and(|terminal| terminal == "dumb");
        if verbosity > 0 || dumb || !io::stderr().is_terminal() {
            return Self(None);
        }
        let (stop, stopped) = mpsc::channel::<()>();
        let shower = move || {
            let started = Instant::now();
            let waits = |time| matches!(stopped.recv_timeout(time), Err(RecvTimeoutError::Timeout));
            if !waits(QUIET) {
                return;
            }
            loop {
                if let Some(reading) = progress.reading() {
                    let mut line = line(&reading, started.elapsed());
                    line.truncate(room());
                    draw(&line);
                }
                if !waits(EVERY) {
                    break;
                }
            }
            draw("");
        };
        let thread = std::thread::Builder::new().name("progress".to_owned()).spawn(shower);
        Self(thread.ok().map(|thread| (stop, thread)))
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        if let Some((stop, thread)) = self.0.take() {
            drop(stop);
            // The line is gone before anything else is written.
            let _ = thread.join();
        }
    }
}

/// Puts a line in the place of the one before. Drawn by hand: indicatif fills its line to the terminal's edge, where
/// the `^C` that the terminal shows makes it wrap, and half of it stays behind.
fn draw(line: &str) {
    let mut err = io::stderr().lock();
    let _ = write!(err, "\r\x1b[2K{line}").and_then(|()| err.flush());
}

/// Columns for the line: room is left for what the terminal shows of Ctrl-C, because a line that wraps is not cleared.
fn room() -> usize {
    terminal_size::terminal_size().map_or(80, |(width, _)| usize::from(width.0)).saturating_sub(6)
}

/// What is told of a reading, in ASCII.
fn line(reading: &Reading, elapsed: Duration) -> String {
    let (rows, done) = match reading.rows_written {
        Some(rows) => (rows, "written"),
        None => (reading.rows_read, "read"),
    };
    let seconds = elapsed.as_secs_f64().max(0.001);
    let rate = short(rows as f64 / seconds);
    let mut line = format!("{} rows {done}, {rate} rows/s, {}", short(rows as f64), clock(elapsed));
    if let Some(expected) = reading.rows_expected.filter(|expected| *expected >= WORTH_AN_ESTIMATE) {
        // Files may hold more than was said; nothing is ever more than done.
        let share = (reading.rows_read as f64 / expected as f64).min(1.0);
        line.push_str(&format!(", {:.0} % of about {} read", share * 100.0, short(expected as f64)));
        if (0.01..1.0).contains(&share) {
            let left = Duration::try_from_secs_f64(seconds * (1.0 - share) / share).unwrap_or(Duration::MAX);
            line.push_str(&format!(", {} left", clock(left)));
        }
    }
    line
}

/// A count in three digits or so.
fn short(count: f64) -> String {
    match count {
        _ if count < 1e4 => format!("{count:.0}"),
        _ if count < 1e6 => format!("{:.0}k", count / 1e3),
        _ if count < 1e9 => format!("{:.1}M", count / 1e6),
        _ => format!("{:.1}G", count / 1e9),
    }
}

/// Minutes and seconds, and hours when there are any.
fn clock(time: Duration) -> String {
    let seconds = time.as_secs();
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 { format!("{hours}:{minutes:02}:{seconds:02}") } else { format!("{minutes}:{seconds:02}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_tells_rows_rate_time_and_what_is_left() {
        let reading =
            Reading { rows_read: 1_500_000, rows_expected: Some(6_000_000), rows_written: Some(1_400_000) };
        assert_eq!(
            line(&reading, Duration::from_secs(10)),
            "1.4M rows written, 140k rows/s, 0:10, 25 % of about 6.0M read, 0:30 left"
        );
        let done = Reading { rows_read: 7_000_000, ..reading };
        assert!(line(&done, Duration::from_secs(10)).ends_with(", 100 % of about 6.0M read"));
    }

    #[test]
    fn without_a_total_there_is_no_estimate() {
        let reading = Reading { rows_read: 900, ..Reading::default() };
        assert_eq!(line(&reading, Duration::from_secs(3600)), "900 rows read, 0 rows/s, 1:00:00");
        assert_eq!(line(&Reading::default(), Duration::ZERO), "0 rows read, 0 rows/s, 0:00");
        let just = Reading { rows_expected: Some(u64::MAX), ..reading };
        assert!(!line(&just, Duration::from_secs(1)).contains("left"));
    }
}
