//! Runs a child process and says what it used.
//!
//! The kernel counts into a child's peak memory what the forking process held at that moment. So the bench
//! starts itself anew as a small process that does nothing but run the one child and ask what it used.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use serde::{Deserialize, Serialize};
use wait4::Wait4;

use crate::{BenchError, Result};

/// The name of the hidden subcommand that [`child`] serves.
pub const SUBCOMMAND: &str = "measure-child";

/// What one process used, start and exit included.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Usage {
    /// Seconds from start to exit.
    pub wall_seconds: f64,
    /// Seconds of processor time in user mode, over all threads.
    pub user_seconds: f64,
    /// Seconds of processor time in the kernel.
    pub system_seconds: f64,
    /// The greatest resident memory.
    pub peak_rss_bytes: u64,
}

/// A child that ended well.
#[derive(Debug)]
pub struct Finished {
    /// What it used.
    pub usage: Usage,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

/// Runs `program` to its end. `bench` is the bench's own binary.
///
/// # Errors
/// When it cannot be started, or ends with another status than 0; its standard error is in the message.
pub fn run(bench: &Path, program: &OsStr, args: &[OsString], scratch: &Path) -> Result<Finished> {
    run_in(bench, program, args, &[], scratch)
}

/// Like [`run`], with variables of its environment set.
///
/// # Errors
/// As [`run`].
pub fn run_in(
    bench: &Path,
    program: &OsStr,
    args: &[OsString],
    environment: &[(&str, String)],
    scratch: &Path,
) -> Result<Finished> {
    let usage_file = scratch.join("usage.json");
    let _ = fs::remove_file(&usage_file);
    let output = Command::new(bench)
        .arg(SUBCOMMAND)
        .arg(&usage_file)
        .arg(program)
        .args(args)
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .output()
        .map_err(|error| BenchError(format!("cannot start {}: {error}", bench.display())))?;
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    if !output.status.success() {
        let shown = program.to_string_lossy();
        return Err(BenchError(format!("{shown} failed ({}):\n{stderr}", output.status)));
    }
    let usage = serde_json::from_slice(&fs::read(&usage_file)?)?;
    Ok(Finished { usage, stdout: String::from_utf8_lossy(&output.stdout).into_owned(), stderr })
}

/// The measuring process: runs the child on its own streams, writes its [`Usage`] to a file, and gives its
/// exit status.
///
/// # Errors
/// When the child cannot be started or the file not be written.
pub fn child(usage_file: &Path, program: &OsStr, args: &[OsString]) -> Result<i32> {
    let started = Instant::now();
    let ended = Command::new(program)
        .args(args)
        .spawn()
        .and_then(|mut child| child.wait4())
        .map_err(|error| BenchError(format!("cannot start {}: {error}", program.to_string_lossy())))?;
    let usage = Usage {
        wall_seconds: started.elapsed().as_secs_f64(),
        user_seconds: ended.rusage.utime.as_secs_f64(),
        system_seconds: ended.rusage.stime.as_secs_f64(),
        peak_rss_bytes: ended.rusage.maxrss,
    };
    fs::write(usage_file, serde_json::to_vec(&usage)?)?;
    // A child that a signal ended has no status of its own.
    Ok(ended.status.code().unwrap_or(125))
}
