//! An S3 server of the tests' own: versitygw on a free port, in its own folder, ended with the tests.

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use bytes::Bytes;
use icecap_commit_service::store::{S3Access, S3Stores};
use icecap_table::clock::{SystemClock, SystemIds};
use icecap_table::storage::Storage;
use tempfile::TempDir;

use crate::reader::{cache_folder, source_folder};
use crate::{Failure, Result};

const KEY_ID: &str = "icecap-test";
const SECRET: &str = "icecap-test-secret";
/// The region that the server is in.
pub const REGION: &str = "us-east-1";

/// Longest wait for the server's port.
const UP_WITHIN: Duration = Duration::from_secs(30);
/// Ends with our end of the pipe: also when the tests are killed.
const UNTIL_WE_END: &str = "\"$@\" & server=$!; read -r _; kill $server; wait $server";

/// A running server. Each user of it takes a bucket of its own.
pub struct S3Server {
    process: Child,
    folder: TempDir,
    port: u16,
    buckets: AtomicU32,
    /// Where the files of [`data`](Self::data) are, once they are.
    data: Mutex<Option<String>>,
}

static SHARED: Mutex<Weak<S3Server>> = Mutex::new(Weak::new());

impl S3Server {
    /// The server that the tests share, started if it is not running; it ends with its last user.
    ///
    /// # Errors
    /// When it cannot be installed or does not start.
    pub fn shared() -> Result<Arc<Self>> {
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(running) = shared.upgrade() {
            return Ok(running);
        }
        let started = Arc::new(Self::start()?);
        *shared = Arc::downgrade(&started);
        Ok(started)
    }

    fn start() -> Result<Self> {
        install()?;
        let folder = tempfile::Builder::new().prefix("icecap-s3-").tempdir()?;
        // The port may be taken by somebody else before the server has it: then another is tried.
        for _ in 0..5 {
            let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
            let mut process = Command::new("sh")
                .args(["-c", UNTIL_WE_END, "s3-server"])
                .arg(cache_folder()?.join("bin/versitygw"))
                .args(["--port", &format!("127.0.0.1:{port}"), "--region", REGION, "--quiet", "posix"])
                .arg(folder.path())
                .env("ROOT_ACCESS_KEY", KEY_ID)
                .env("ROOT_SECRET_KEY", SECRET)
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()?;
            if is_up(&mut process, port)? {
                return Ok(Self {
                    process,
                    folder,
                    port,
                    buckets: AtomicU32::new(0),
                    data: Mutex::default(),
                });
            }
        }
        Err(Failure::new("versitygw does not start"))
    }

    /// The address, `http://127.0.0.1:PORT`.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Makes a bucket; answers its name.
    ///
    /// # Errors
    /// When its folder cannot be made.
    pub fn new_bucket(&self) -> Result<String> {
        let bucket = format!("lake-{}", self.buckets.fetch_add(1, Ordering::SeqCst));
        std::fs::create_dir(self.folder.path().join(&bucket))?;
        // A folder that is never empty: this server takes empty ones away, also under another's hands.
        std::fs::create_dir_all(self.folder.path().join(&bucket).join("lasting"))?;
        std::fs::write(self.folder.path().join(&bucket).join("lasting/object"), "")?;
        Ok(bucket)
    }

    /// The location of a folder's files, in a bucket that all tests read: the first call stores them.
    ///
    /// # Errors
    /// When one cannot be stored.
    pub fn data(&self, folder: &Path) -> Result<String> {
        let mut data = self.data.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(location) = data.as_ref() {
            return Ok(location.clone());
        }
        let location = format!("s3://{}/data", self.new_bucket()?);
        self.upload(folder, &location)?;
        Ok(data.insert(location).clone())
    }

    /// The file that an object is.
    pub fn file(&self, bucket: &str, key: &str) -> PathBuf {
        self.folder.path().join(bucket).join(key)
    }

    /// What a process needs to reach the server, or a proxy of it at `endpoint`.
    pub fn environment(endpoint: &str) -> Vec<(&'static str, String)> {
        vec![
            ("AWS_ACCESS_KEY_ID", KEY_ID.to_owned()),
            ("AWS_SECRET_ACCESS_KEY", SECRET.to_owned()),
            ("AWS_REGION", REGION.to_owned()),
            ("AWS_ENDPOINT_URL_S3", endpoint.to_owned()),
            ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
            // Nothing of whoever runs the tests.
            ("AWS_CONFIG_FILE", "/nonexistent".to_owned()),
            ("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent".to_owned()),
        ]
    }

    /// The key's secret: what may be printed nowhere.
    pub fn secret() -> &'static str {
        SECRET
    }

    /// Storage in this process that reaches the server by Icecap's own client.
    pub fn storage(&self) -> Storage {
        storage_at(&self.endpoint())
    }

    /// How foreign readers are told to reach it (`"s3"` of a request).
    pub fn for_readers(&self) -> serde_json::Value {
        serde_json::json!({"endpoint": self.endpoint(), "key_id": KEY_ID, "secret": SECRET, "region": REGION})
    }

    /// Stores the files of a folder below a location.
    ///
    /// # Errors
    /// When one cannot be read or stored.
    pub fn upload(&self, folder: &Path, location: &str) -> Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let storage = self.storage();
        let mut folders = vec![folder.to_owned()];
        while let Some(next) = folders.pop() {
            for entry in std::fs::read_dir(next)? {
                let path = entry?.path();
                if path.is_dir() {
                    folders.push(path);
                    continue;
                }
                let name = path.strip_prefix(folder).map_err(|error| Failure::new(error.to_string()))?;
                let to = format!("{location}/{}", name.display());
                runtime.block_on(storage.put_new(&to, Bytes::from(std::fs::read(&path)?)))?;
            }
        }
        Ok(())
    }
}

/// Storage that reaches an S3 server by Icecap's own client.
pub fn storage_at(endpoint: &str) -> Storage {
    let access = S3Access {
        region: REGION.to_owned(),
        endpoint: Some(endpoint.to_owned()),
        key_id: KEY_ID.to_owned(),
        secret: SECRET.to_owned(),
        session_token: None,
    };
    let stores = S3Stores::with_access(access, Arc::new(SystemClock), Arc::new(SystemIds));
    Storage::local().with_factory("s3", Arc::new(stores))
}

impl Drop for S3Server {
    fn drop(&mut self) {
        // The shell ends the server and then itself, when it reads a line or nothing more.
        if let Some(mut pipe) = self.process.stdin.take() {
            let _ = pipe.write_all(b"\n");
        }
        let _ = self.process.wait();
    }
}

fn is_up(process: &mut Child, port: u16) -> Result<bool> {
    let started = Instant::now();
    while started.elapsed() < UP_WITHIN {
        if TcpStream::connect(("127.0.0.1", port)).is_ok() {
            return Ok(true);
        }
        if process.try_wait()?.is_some() {
            return Ok(false);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    drop(process.stdin.take());
    process.wait()?;
    Ok(false)
}

fn install() -> Result<()> {
    let script = source_folder().join("../scripts/setup-s3");
    let run = Command::new(&script).stdin(Stdio::null()).output()?;
    if run.status.success() {
        return Ok(());
    }
    Err(Failure::new(format!("{} failed:\n{}", script.display(), String::from_utf8_lossy(&run.stderr))))
}
