//! Servers that a workload needs, on free ports of this machine, for as long as it runs.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use super::{Plan, RestCatalog};
use crate::{BenchError, Result};

/// Longest wait for a server.
const UP_WITHIN: Duration = Duration::from_secs(30);

/// A shell that ends the server when our end of the pipe closes: also when the bench is killed.
const UNTIL_WE_END: &str = "\"$@\" & server=$!; read -r _; kill $server; wait $server";

/// The key that servers on this machine are reached with.
const KEY: &str = "icecap-bench";
const REGION: &str = "us-east-1";

/// A running process.
struct Server(Child);

impl Server {
    fn start(command: &mut Command, stdout: Stdio) -> Result<Self> {
        let spawned = command.stdin(Stdio::piped()).stdout(stdout).stderr(Stdio::null()).spawn();
        Ok(Self(spawned.map_err(|error| BenchError(format!("cannot start a server: {error}")))?))
    }

    /// Starts one that is up when it takes connections on a port of this machine. `what`: its name in messages.
    fn listening(command: &mut Command, port: u16, what: &str) -> Result<Self> {
        let mut server = Self::start(command, Stdio::null())?;
        let started = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            if started.elapsed() > UP_WITHIN || server.0.try_wait()?.is_some() {
                return Err(BenchError(format!("{what} does not start")));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut pipe) = self.0.stdin.take() {
            let _ = pipe.write_all(b"\n");
        }
        let _ = self.0.wait();
    }
}

fn shell(program: &Path) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", UNTIL_WE_END, "server"]).arg(program);
    command
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// `AWS_` variables with which a process reaches a server of ours, whatever the user's own are.
fn environment(endpoint_variable: &'static str, endpoint: String) -> Vec<(&'static str, String)> {
    vec![
        ("AWS_ACCESS_KEY_ID", KEY.to_owned()),
        ("AWS_SECRET_ACCESS_KEY", KEY.to_owned()),
        ("AWS_REGION", REGION.to_owned()),
        ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
        ("AWS_CONFIG_FILE", "/nonexistent".to_owned()),
        ("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent".to_owned()),
        (endpoint_variable, endpoint),
    ]
}

/// An S3 server that keeps objects as files of a folder.
pub(super) struct S3Server {
    folder: PathBuf,
    port: u16,
    _server: Server,
}

impl S3Server {
    /// Starts versitygw, which `scripts/setup-s3` installs.
    pub(super) fn start(plan: &Plan) -> Result<Self> {
        let program = plan.cache.join("bin/versitygw");
        if !program.exists() {
            let shown = program.display();
            return Err(BenchError(format!("the S3 server (run scripts/setup-s3) is not at {shown}")));
        }
        let folder = plan.fresh("s3-server");
        std::fs::create_dir_all(&folder)?;
        let port = free_port()?;
        let mut command = shell(&program);
        command
            .args(["--port", &format!("127.0.0.1:{port}"), "--region", REGION, "--quiet", "posix"])
            .arg(&folder)
            .envs([("ROOT_ACCESS_KEY", KEY), ("ROOT_SECRET_KEY", KEY)]);
        let server = Server::listening(&mut command, port, &program.display().to_string())?;
        Ok(Self { folder, port, _server: server })
    }

    /// Makes a bucket; gives the folder that it is.
    pub(super) fn new_bucket(&self, name: &str) -> Result<PathBuf> {
        let folder = self.folder.join(name);
        std::fs::create_dir(&folder)?;
        Ok(folder)
    }

    /// Variables with which a process reaches it.
    pub(super) fn environment(&self) -> Vec<(&'static str, String)> {
        environment("AWS_ENDPOINT_URL_S3", format!("http://127.0.0.1:{}", self.port))
    }
}

/// An Iceberg REST catalog, for peers that write through one only.
pub(super) struct RestServer {
    /// Its address.
    pub address: String,
    _server: Option<Server>,
}

impl RestServer {
    /// The catalog of the plan: one that runs, or one that is started for this and ends with it.
    pub(super) fn start(plan: &Plan) -> Result<Self> {
        match &plan.rest_catalog {
            Some(RestCatalog::Address(address)) => {
                Ok(Self { address: address.trim_end_matches('/').to_owned(), _server: None })
            }
            Some(RestCatalog::Command(command)) => {
                let folder = plan.fresh("rest-catalog");
                std::fs::create_dir_all(&folder)?;
                let port = free_port()?;
                let command = (command.replace("{port}", &port.to_string()))
                    .replace("{folder}", &folder.display().to_string());
                // One process, so that it is the one that ends.
                let mut started = shell(Path::new("sh"));
                started.args(["-c", &format!("exec {command}")]);
                let server = Server::listening(&mut started, port, &format!("the REST catalog ({command})"))?;
                Ok(Self { address: format!("http://127.0.0.1:{port}"), _server: Some(server) })
            }
            None => Err(BenchError(
                "DuckDB writes Iceberg tables through a REST catalog: give --rest-catalog or --rest-catalog-command, \
                 or name other peers with --peer"
                    .to_owned(),
            )),
        }
    }
}

/// The name of the function that [`LambdaService`] serves.
pub(super) const FUNCTION: &str = "icecap-writer";

/// `icecap lambda-local` in front of `icecap-writer`.
pub(super) struct LambdaService {
    address: String,
    _stdout: BufReader<ChildStdout>,
    _server: Server,
}

impl LambdaService {
    /// Starts the service; it has no process of the function yet.
    pub(super) fn start(plan: &Plan) -> Result<Self> {
        let function = format!("{FUNCTION}={}", plan.writer.display());
        let mut command = shell(&plan.icecap);
        command.args(["lambda-local", "--listen", "127.0.0.1:0", "--function", &function]);
        let mut server = Server::start(&mut command, Stdio::piped())?;
        let stdout = server.0.stdout.take();
        let mut stdout =
            BufReader::new(stdout.ok_or_else(|| BenchError("lambda-local has no output".to_owned()))?);
        let mut line = String::new();
        stdout.read_line(&mut line)?;
        let address = line.split_whitespace().find(|word| word.starts_with("http://"));
        let address = address
            .ok_or_else(|| BenchError(format!("icecap lambda-local told no address, but {line:?}")))?
            .trim_end_matches(['/', '.'])
            .to_owned();
        Ok(Self { address, _stdout: stdout, _server: server })
    }

    /// Variables with which a process reaches it.
    pub(super) fn environment(&self) -> Vec<(&'static str, String)> {
        environment("AWS_ENDPOINT_URL_LAMBDA", self.address.clone())
    }
}
