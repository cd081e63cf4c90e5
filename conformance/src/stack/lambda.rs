//! A local Lambda service, `icecap lambda-local`, in front of a real function.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::{S3Server, icecap_binary, writer_binary};
use crate::{Failure, Result};

/// A running service; killed when dropped.
pub struct LambdaService {
    process: Child,
    /// Its address, as a URL.
    pub url: String,
}

/// The service of the real writer function that tests share, and the S3 server that its functions reach.
pub struct SharedWriters {
    service: LambdaService,
    _server: Arc<S3Server>,
}

static SHARED: Mutex<Weak<SharedWriters>> = Mutex::new(Weak::new());

impl SharedWriters {
    /// What `--writers` is told.
    pub const WRITERS: &str = "lambda:icecap-writer";

    /// The service, started if it is not running; it ends with its last user. Its processes stay warm.
    ///
    /// # Errors
    /// When it or the S3 server does not start.
    pub fn get() -> Result<Arc<Self>> {
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(running) = shared.upgrade() {
            return Ok(running);
        }
        let server = S3Server::shared()?;
        let variables = LambdaService::s3_variables(&server.endpoint());
        let options: Vec<&str> = variables.iter().map(String::as_str).collect();
        let service = LambdaService::start("icecap-writer", &writer_binary()?, &options)?;
        let started = Arc::new(Self { service, _server: server });
        *shared = Arc::downgrade(&started);
        Ok(started)
    }

    /// The variables by which AWS's SDK finds it.
    pub fn variables(&self) -> [(&'static str, &str); 4] {
        self.service.variables()
    }
}

impl LambdaService {
    /// The options by which functions reach S3 at `endpoint`.
    pub fn s3_variables(endpoint: &str) -> Vec<String> {
        let variables = S3Server::environment(endpoint).into_iter();
        variables.map(|(name, value)| format!("--variable={name}={value}")).collect()
    }

    /// Serves `program` as the function `name`.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start(name: &str, program: &Path, options: &[&str]) -> Result<Self> {
        let mut command = Command::new(icecap_binary()?);
        command.args(["lambda-local", "--listen", "127.0.0.1:0", "--function"]);
        command.arg(format!("{name}={}", program.display())).args(options);
        for (name, _) in std::env::vars_os() {
            // Neither the settings nor the credentials of whoever runs the tests are the test's.
            if name.to_str().is_some_and(|name| name.starts_with("AWS_") || name.starts_with("ICECAP_")) {
                command.env_remove(name);
            }
        }
        let mut process = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        if let Some(stdout) = process.stdout.take() {
            BufReader::new(stdout).read_line(&mut line)?;
        }
        let service = Self { process, url: line.trim().trim_start_matches("Lambda at ").to_owned() };
        if service.url.starts_with("http://127.0.0.1:") {
            return Ok(service);
        }
        Err(Failure::new(format!("the Lambda service did not start: {line:?}")))
    }

    /// Its process's number.
    pub fn process(&self) -> u32 {
        self.process.id()
    }

    /// The variables by which AWS's SDK finds it.
    pub fn variables(&self) -> [(&'static str, &str); 4] {
        [
            ("AWS_ENDPOINT_URL_LAMBDA", &self.url),
            ("AWS_REGION", "us-east-1"),
            ("AWS_ACCESS_KEY_ID", "local"),
            ("AWS_SECRET_ACCESS_KEY", "local-secret"),
        ]
    }

    /// Ends it at once, as a power cut would.
    ///
    /// # Errors
    /// When it has ended before.
    pub fn kill(mut self) -> Result<()> {
        self.process.kill()?;
        self.process.wait()?;
        Ok(())
    }
}

impl Drop for LambdaService {
    fn drop(&mut self) {
        // Asked to, it ends its functions' processes.
        let _ = Command::new("kill").arg(self.process.id().to_string()).status();
        let _ = self.process.wait();
    }
}
