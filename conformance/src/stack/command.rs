//! Where the `icecap` binary is, and how a process is run to its end.

use std::io::Read;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::Output;
use crate::{Failure, Result};

/// How often a running process is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// The binary under test: `$ICECAP_BIN`, or the one beside the test executable in the target folder.
///
/// # Errors
/// When it is not there: it must be built first, Cargo does not build another package's binaries for a test.
pub fn icecap_binary() -> Result<PathBuf> {
    static FOUND: OnceLock<Result<PathBuf>> = OnceLock::new();
    FOUND.get_or_init(|| find("ICECAP_BIN", "icecap", "icecap-cli")).clone()
}

/// The Lambda function under test: `$ICECAP_WRITER_BIN`, or the one beside the test executable.
///
/// # Errors
/// When it is not built.
pub fn writer_binary() -> Result<PathBuf> {
    static FOUND: OnceLock<Result<PathBuf>> = OnceLock::new();
    FOUND.get_or_init(|| find("ICECAP_WRITER_BIN", "icecap-writer", "icecap")).clone()
}

/// The engine as a long-lived process (`examples/engine_host.rs`): `$ICECAP_HOST_BIN`, or the one that Cargo builds
/// with the tests.
///
/// # Errors
/// When it is not built.
pub fn host_binary() -> Result<PathBuf> {
    static FOUND: OnceLock<Result<PathBuf>> = OnceLock::new();
    FOUND
        .get_or_init(|| {
            find("ICECAP_HOST_BIN", "examples/engine_host", "icecap-conformance --example engine_host")
        })
        .clone()
}

fn find(variable: &str, name: &str, package: &str) -> Result<PathBuf> {
    let path = match std::env::var_os(variable) {
        Some(path) => PathBuf::from(path),
        None => {
            let test = std::env::current_exe()?;
            // <target>/<profile>/deps/suite-…
            let profile = test.parent().and_then(|deps| deps.parent());
            profile.ok_or_else(|| Failure::new("the test executable is in no folder"))?.join(name)
        }
    };
    if path.is_file() {
        return Ok(path);
    }
    Err(Failure::new(format!(
        "{} does not exist: build it first (cargo build --profile ci -p {package}), or name it in {variable}",
        path.display()
    )))
}

/// Runs a command to its end with `input` as its standard input.
///
/// # Errors
/// When it cannot be started, or runs longer than `limit` (it is killed then).
pub fn run_within(command: &mut Command, input: &str, limit: Duration) -> Result<Output> {
    let started = Instant::now();
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(
            |error| Failure::from(error).at(format!("cannot start {}", command.get_program().display())),
        )?;
    let stdout = collect(child.stdout.take());
    let stderr = collect(child.stderr.take());
    if let Some(mut stdin) = child.stdin.take() {
        // A process that ends without reading is its own business.
        let _ = std::io::Write::write_all(&mut stdin, input.as_bytes());
    }
    let status = wait(&mut child, started, limit)?;
    let text = |thread: JoinHandle<Vec<u8>>| {
        let bytes = thread.join().map_err(|_| Failure::new("reading a pipe failed"))?;
        String::from_utf8(bytes).map_err(|_| Failure::new("the command printed what is not UTF-8"))
    };
    Ok(Output { status, stdout: text(stdout)?, stderr: text(stderr)?, took: started.elapsed() })
}

fn wait(child: &mut Child, started: Instant, limit: Duration) -> Result<Option<i32>> {
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status.code());
        }
        if started.elapsed() > limit {
            child.kill()?;
            child.wait()?;
            return Err(Failure::new(format!("the command did not end within {} s", limit.as_secs())));
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

fn collect(pipe: Option<impl Read + Send + 'static>) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            // What came before a failure is still worth showing.
            let _ = pipe.read_to_end(&mut bytes);
        }
        bytes
    })
}
