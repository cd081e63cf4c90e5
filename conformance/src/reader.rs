//! Foreign Iceberg engines, each a long-lived Python process that speaks JSON lines (`readers/reader.py`).

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::stack::S3Server;
use crate::{Failure, Result};

/// Longest wait for an answer. Spark on a busy machine needs half a minute for its first statement.
const ANSWER_WITHIN: Duration = Duration::from_secs(240);

/// A foreign engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Foreign {
    /// Apache Spark with Iceberg's own runtime: the reference.
    Spark,
    /// PyIceberg.
    PyIceberg,
    /// DuckDB with its Iceberg extension.
    DuckDb,
}

impl Foreign {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::PyIceberg, Self::DuckDb, Self::Spark];

    /// The name, as `readers/reader.py` takes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Spark => "spark",
            Self::PyIceberg => "pyiceberg",
            Self::DuckDb => "duckdb",
        }
    }
}

/// A running foreign engine. Ends with its standard input, so with the process that started it.
pub struct Reader {
    foreign: Foreign,
    version: String,
    conversation: Mutex<Conversation>,
}

struct Conversation {
    child: Child,
    requests: ChildStdin,
    answers: Receiver<String>,
    log: PathBuf,
    _scratch: TempDir,
}

impl Reader {
    /// Installs the foreign engines where they are missing, starts one, and waits until it is up.
    ///
    /// # Errors
    /// When it cannot be installed or started; the sentence has what it printed.
    pub fn start(foreign: Foreign) -> Result<Self> {
        install()?;
        let mut conversation = Conversation::open(foreign)?;
        let hello = conversation
            .answer()
            .map_err(|failure| failure.at(format!("{} does not start", foreign.name())))?;
        let version = hello["version"].as_str().unwrap_or("unknown").to_owned();
        Ok(Self { foreign, version, conversation: Mutex::new(conversation) })
    }

    /// Which engine.
    pub fn foreign(&self) -> Foreign {
        self.foreign
    }

    /// The version it says it has.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Asks for one operation of `readers/with_*.py`; requests from many threads wait for one another.
    ///
    /// # Errors
    /// What the engine says, when it fails; or that it is gone.
    pub fn call(&self, request: &Value) -> Result<Value> {
        let mut conversation = self.conversation.lock().unwrap_or_else(PoisonError::into_inner);
        let asked = conversation.ask(request).and_then(|()| conversation.answer());
        asked.map_err(|failure| failure.at(format!("{} {}", self.foreign.name(), request["op"])))
    }

    /// The rows of a table as arrays in column order, from its metadata file alone.
    ///
    /// # Errors
    /// What the engine says, when it cannot read the table.
    pub fn read(&self, metadata_location: &str, snapshot_id: Option<i64>) -> Result<Vec<Value>> {
        let request =
            json!({"op": "read", "metadata_location": metadata_location, "snapshot_id": snapshot_id});
        rows(self.call(&request)?)
    }

    /// The same from an S3 server.
    ///
    /// # Errors
    /// What the engine says, when it cannot read the table.
    pub fn read_s3(&self, metadata_location: &str, server: &S3Server) -> Result<Vec<Value>> {
        rows(self.call(
            &json!({"op": "read", "metadata_location": metadata_location, "s3": server.for_readers()}),
        )?)
    }

    /// The rows of a table as arrays in column order, found through the catalog file.
    ///
    /// # Errors
    /// What the engine says, when it cannot read the table.
    pub fn read_catalog(&self, catalog: &Path, warehouse: &Path, table: &str) -> Result<Vec<Value>> {
        rows(self.call(
            &json!({"op": "read_catalog", "catalog": catalog, "warehouse": warehouse, "table": table}),
        )?)
    }
}

fn rows(mut answer: Value) -> Result<Vec<Value>> {
    match answer["rows"].take() {
        Value::Array(rows) => Ok(rows),
        other => Err(Failure::new(format!("the reader answered {other} for rows"))),
    }
}

impl Conversation {
    fn open(foreign: Foreign) -> Result<Self> {
        let scratch = TempDir::new()?;
        let log = scratch.path().join("stderr.log");
        let mut child = Command::new(cache_folder()?.join("py/bin/python"))
            .arg(source_folder().join("readers/reader.py"))
            .arg(foreign.name())
            // The JVM's scratch files go where they are removed with this process.
            .env("TMPDIR", scratch.path())
            .current_dir(scratch.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(&log)?)
            .spawn()?;
        let gone = || Failure::new("a pipe that was asked for is missing");
        let requests = child.stdin.take().ok_or_else(gone)?;
        let output = child.stdout.take().ok_or_else(gone)?;
        let (sender, answers) = channel();
        std::thread::spawn(move || {
            let lines = BufReader::new(output).lines().map_while(std::result::Result::ok);
            lines.take_while(|line| sender.send(line.clone()).is_ok()).for_each(drop);
        });
        Ok(Self { child, requests, answers, log, _scratch: scratch })
    }

    fn ask(&mut self, request: &Value) -> Result<()> {
        writeln!(self.requests, "{request}").and_then(|()| self.requests.flush()).map_err(|_| self.silence())
    }

    fn answer(&mut self) -> Result<Value> {
        let line = self.answers.recv_timeout(ANSWER_WITHIN).map_err(|_| self.silence())?;
        let mut answer: Value = serde_json::from_str(&line)?;
        match answer["error"].as_str() {
            Some(error) => Err(Failure::new(error)),
            None => Ok(answer["ok"].take()),
        }
    }

    /// No answer: the end of what the process printed says why.
    fn silence(&self) -> Failure {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let tail = lines[lines.len().saturating_sub(20)..].join("\n");
        Failure::new(format!("no answer within {} s; its last words:\n{tail}", ANSWER_WITHIN.as_secs()))
    }
}

impl Drop for Conversation {
    fn drop(&mut self) {
        // Already gone is fine.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The foreign engines of one test binary, each started when it is first asked for.
#[derive(Default)]
pub struct Readers([OnceLock<Result<Reader>>; 3]);

impl Readers {
    /// None started yet.
    pub const fn new() -> Self {
        Self([OnceLock::new(), OnceLock::new(), OnceLock::new()])
    }

    /// The engine, started now if it was not.
    ///
    /// # Errors
    /// Why it did not start, to everyone who asks.
    pub fn get(&self, foreign: Foreign) -> Result<&Reader> {
        self.0[foreign as usize].get_or_init(|| Reader::start(foreign)).as_ref().map_err(Clone::clone)
    }
}

/// `conformance/` in the source tree.
pub fn source_folder() -> &'static Path {
    static FOUND: OnceLock<PathBuf> = OnceLock::new();
    FOUND.get_or_init(|| {
        // Two checkouts may share what Cargo builds: the one whose tests are run counts, not the one that was built.
        let run = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
        let built = Path::new(env!("CARGO_MANIFEST_DIR"));
        run.filter(|run| run.file_name() == built.file_name()).unwrap_or_else(|| built.to_owned())
    })
}

/// Where the tools of the tests are.
///
/// # Errors
/// When there is no home folder either.
pub fn cache_folder() -> Result<PathBuf> {
    let from_home = || std::env::home_dir().map(|home| home.join(".cache/icecap"));
    std::env::var_os("ICECAP_CACHE")
        .map(PathBuf::from)
        .or_else(from_home)
        .ok_or_else(|| Failure::new("neither ICECAP_CACHE nor a home folder is set"))
}

fn install() -> Result<()> {
    let script = source_folder().join("../scripts/setup-readers");
    let run = Command::new(&script).stdin(Stdio::null()).output()?;
    if run.status.success() {
        return Ok(());
    }
    Err(Failure::new(format!("{} failed:\n{}", script.display(), String::from_utf8_lossy(&run.stderr))))
}
