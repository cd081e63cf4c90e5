//! Looking at processes of this machine.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::{Failure, Result};

/// The processes that a process has started and that still run.
pub fn children_of(process: u32) -> Vec<u32> {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{process}/task")) else { return Vec::new() };
    let children =
        threads.flatten().filter_map(|thread| std::fs::read_to_string(thread.path().join("children")).ok());
    children
        .flat_map(|list| list.split_whitespace().filter_map(|id| id.parse().ok()).collect::<Vec<_>>())
        .collect()
}

/// Whether a process runs. (One that has ended and that nobody has asked about does not.)
pub fn is_running(process: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    // After the name, which may hold anything.
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

/// Whether a process catches SIGINT yet: one that has just begun would end by it without a word.
pub fn heeds_interrupt(process: u32) -> bool {
    const SIGINT: u32 = 2;
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    let caught = caught.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    caught.is_some_and(|mask| mask >> (SIGINT - 1) & 1 == 1)
}

/// Sends a signal (`KILL`, `INT`); one to a process that is gone is nothing.
pub fn signal(process: u32, signal: &str) {
    let _ = Command::new("kill")
        .arg(format!("-{signal}"))
        .arg(process.to_string())
        .stderr(std::process::Stdio::null())
        .status();
}

/// Waits until something holds.
///
/// # Errors
/// When it does not within `limit`.
pub fn wait_until(what: &str, limit: Duration, holds: impl Fn() -> bool) -> Result<()> {
    let started = Instant::now();
    while !holds() {
        if started.elapsed() > limit {
            return Err(Failure::new(format!("after {} s still not: {what}", limit.as_secs_f64())));
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}
