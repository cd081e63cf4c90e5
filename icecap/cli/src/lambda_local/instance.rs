//! One process of a function: started, initialised, given one event at a time, killed.

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use axum::body::Bytes;
use icecap_table::{Error, Result};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::process::{Child, Command};

use super::log::{Log, Took};
use super::runtime_api::{Answer, Event, RuntimeApi};
use super::{Limits, ServiceSettings};

/// How long a process may take to ask for its first event before it is started anew.
const INIT_WITHIN: Duration = Duration::from_secs(10);
/// How often a process's memory is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Variables that functions get from this process, besides those that begin with AWS_.
const INHERITED: [&str; 8] = [
    "HOME",
    "PATH",
    "LD_LIBRARY_PATH",
    "RUST_LOG",
    "RUST_BACKTRACE",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "NO_PROXY",
];

/// A running process. Killed when it is dropped, its temporary folder removed.
#[derive(Debug)]
pub(super) struct Instance {
    process: Child,
    number: u32,
    api: RuntimeApi,
    log: Log,
    /// How long it took to start; taken by its first invocation.
    init: Option<Duration>,
    served: u64,
    limits: Limits,
    freeze: bool,
    _temporary: TempDir,
}

/// How an event ended.
#[derive(Debug)]
pub(super) enum Ended {
    Answered(Answer),
    /// The process said that it cannot start.
    InitFailed(Bytes),
    /// It ended by itself, or was killed.
    Exited(ExitStatus),
    /// It had more memory than it may, and was killed.
    OutOfMemory,
    /// It took longer than it may, and was killed.
    TimedOut,
}

impl Instance {
    /// Starts a process.
    ///
    /// # Errors
    /// `Unavailable` when the system starts none.
    pub(super) async fn start(name: &str, program: &Path, settings: &ServiceSettings) -> Result<Self> {
        let failed = |error: std::io::Error| {
            Error::unavailable("a function's process cannot be started")
                .with("program", program.display().to_string())
                .with_source(error)
        };
        let api = RuntimeApi::start().await?;
        let temporary = tempfile::Builder::new().prefix("lambda-local-").tempdir().map_err(failed)?;
        let mut command = Command::new(program);
        command.env_clear();
        command.envs(std::env::vars_os().filter(|(name, _)| {
            name.to_str().is_some_and(|name| name.starts_with("AWS_") || INHERITED.contains(&name))
        }));
        let root = program.parent().unwrap_or(Path::new("/"));
        for (name, value) in [
            ("AWS_LAMBDA_RUNTIME_API", api.address.to_string()),
            ("AWS_LAMBDA_FUNCTION_NAME", name.to_owned()),
            ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST".to_owned()),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", settings.limits.memory_mb.to_string()),
            ("AWS_LAMBDA_LOG_GROUP_NAME", format!("/aws/lambda/{name}")),
            ("AWS_LAMBDA_LOG_STREAM_NAME", "local".to_owned()),
            ("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand".to_owned()),
            ("AWS_EXECUTION_ENV", "AWS_Lambda_provided.al2023".to_owned()),
            ("LAMBDA_TASK_ROOT", root.display().to_string()),
            ("_HANDLER", "bootstrap".to_owned()),
            ("TZ", ":UTC".to_owned()),
            ("TMPDIR", temporary.path().display().to_string()),
        ] {
            command.env(name, value);
        }
        if std::env::var_os("AWS_REGION").is_none() {
            command.env("AWS_REGION", super::function::REGION);
        }
        command.envs(settings.variables.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // A Ctrl-C at the terminal is the service's to judge.
        command.process_group(0).kill_on_drop(true);
        let mut process = command.spawn().map_err(failed)?;
        let number = process.id().unwrap_or_default();
        let log = Log::default();
        if let Some(pipe) = process.stdout.take() {
            log.follow(pipe.into_owned_fd().map_err(failed)?, number).map_err(failed)?;
        }
        if let Some(pipe) = process.stderr.take() {
            log.follow(pipe.into_owned_fd().map_err(failed)?, number).map_err(failed)?;
        }
        tracing::info!(function = name, process = number, "process started");
        Ok(Self {
            process,
            number,
            api,
            log,
            init: None,
            served: 0,
            limits: settings.limits,
            freeze: settings.freeze,
            _temporary: temporary,
        })
    }

    /// Waits until the process asks for its first event. One that does not in time is the caller's to replace.
    pub(super) async fn initialise(&mut self) -> std::result::Result<(), Ended> {
        let started = Instant::now();
        let ended = tokio::select! {
            () = self.api.polled(1) => {
                self.init = Some(started.elapsed());
                return Ok(());
            }
            said = self.api.init_failed() => Ended::InitFailed(said),
            status = self.process.wait() => match status {
                Ok(status) => Ended::Exited(status),
                Err(_) => Ended::TimedOut,
            },
            () = tokio::time::sleep(INIT_WITHIN) => Ended::TimedOut,
        };
        Err(ended)
    }

    /// Gives it an event and waits for what becomes of it; `kill_after` is a fault.
    pub(super) async fn run(&mut self, event: Event, kill_after: Option<Duration>) -> Ended {
        self.signal(Signal::CONT);
        self.log.begin(self.number);
        self.served += 1;
        let answer = self.api.deliver(event).await;
        let number = self.number;
        let kill = async move {
            match kill_after {
                Some(after) => tokio::time::sleep(after).await,
                None => std::future::pending().await,
            }
            tracing::info!(process = number, "killed on demand");
            send(number, Signal::KILL);
            std::future::pending::<()>().await;
        };
        let memory = out_of_memory(number, self.limits.memory_mb);
        let ended = tokio::select! {
            biased;
            Ok(answer) = answer => Ended::Answered(answer),
            status = self.process.wait() => match status {
                Ok(status) => Ended::Exited(status),
                Err(_) => Ended::TimedOut,
            },
            () = memory => Ended::OutOfMemory,
            () = tokio::time::sleep(self.limits.timeout) => Ended::TimedOut,
            () = kill => Ended::TimedOut,
        };
        if !matches!(ended, Ended::Answered(_)) {
            // It has ended already when this fails.
            let _ = self.process.start_kill();
        }
        ended
    }

    /// Stops it until the next event, once it has asked for that; tells whether it has.
    pub(super) async fn freeze(&self) -> bool {
        let asked = tokio::time::timeout(INIT_WITHIN, self.api.polled(self.served + 1)).await.is_ok();
        if asked {
            self.signal(Signal::STOP);
        }
        asked
    }

    /// Whether it has ended.
    pub(super) fn has_ended(&mut self) -> bool {
        !matches!(self.process.try_wait(), Ok(None))
    }

    /// The last lines of what it wrote for an event, as Lambda tells them.
    pub(super) fn log_tail(&self, request_id: &str, took: &Took) -> Vec<u8> {
        self.log.tail(request_id, self.number, took)
    }

    /// How long it took to start, told once.
    pub(super) fn take_init(&mut self) -> Option<Duration> {
        self.init.take()
    }

    /// The most memory that it had, in MB.
    pub(super) fn peak_mb(&self) -> u64 {
        memory_mb(self.number, "VmHWM:").unwrap_or(0)
    }

    fn signal(&self, signal: Signal) {
        if self.freeze {
            send(self.number, signal);
        }
    }
}

fn send(process: u32, signal: Signal) {
    let pid = i32::try_from(process).ok().and_then(Pid::from_raw);
    // A process that is gone needs no signal.
    let _ = pid.map(|pid| kill_process(pid, signal));
}

/// Completes when the process has more memory than it may. Where the system does not tell, it never does.
async fn out_of_memory(process: u32, limit_mb: u64) {
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        if memory_mb(process, "VmRSS:").is_some_and(|mb| mb > limit_mb) {
            return;
        }
    }
}

fn memory_mb(process: u32, field: &str) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib.div_ceil(1024))
}

/// How a process ended, in Lambda's words.
pub(super) fn reason(status: ExitStatus) -> String {
    match (status.signal(), status.code()) {
        (Some(9), _) => "Runtime exited with error: signal: killed".to_owned(),
        (Some(signal), _) => format!("Runtime exited with error: signal: {signal}"),
        (None, Some(0)) => "Runtime exited without providing a reason".to_owned(),
        (None, code) => format!("Runtime exited with error: exit status {}", code.unwrap_or(-1)),
    }
}
