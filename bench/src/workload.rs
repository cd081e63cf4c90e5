//! The workloads. Each gives its measured runs; what they mean is for [`report`](crate::report).

mod ctas;
mod inserts;
mod start;

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use serde::Serialize;
use serde_json::Value;

use crate::measure::{self, Finished, Usage};
use crate::{BenchError, Result};

/// What can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Workload {
    /// Process start to the first committed one-row INSERT.
    Start,
    /// 200 one-row INSERTs in one process, beside the disk's yardstick.
    Inserts,
    /// CREATE TABLE AS of `lineitem`, beside DuckDB's COPY and PyIceberg's append.
    Ctas,
}

/// An engine that Icecap is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Peer {
    /// DuckDB's `COPY … TO` one plain Parquet file.
    Duckdb,
    /// PyIceberg's append to a new table.
    Pyiceberg,
}

impl Peer {
    fn name(self) -> &'static str {
        match self {
            Self::Duckdb => "duckdb",
            Self::Pyiceberg => "pyiceberg",
        }
    }
}

/// Everything that the workloads need to know.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The bench's own binary.
    pub bench: PathBuf,
    /// The `icecap` binary.
    pub icecap: PathBuf,
    /// The Python with the peers in it.
    pub python: PathBuf,
    /// The folder of the peers' scripts.
    pub scripts: PathBuf,
    /// The cache folder of generated data.
    pub cache: PathBuf,
    /// An empty folder for what the runs write; on the disk that is measured.
    pub scratch: PathBuf,
    /// TPC-H's scale factor.
    pub scale: f64,
    /// Runs of each engine.
    pub repeats: usize,
    /// INSERTs of the `inserts` workload.
    pub inserts: usize,
    /// `--memory` of Icecap's CTAS.
    pub memory: String,
    /// `--threads` of every engine.
    pub threads: usize,
    /// The engines beside Icecap.
    pub peers: Vec<Peer>,
}

/// One run of one engine.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Run {
    /// What the process used; absent for the yardstick, which is no process.
    #[serde(flatten)]
    pub usage: Option<Usage>,
    /// Bytes of data files written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_bytes: Option<u64>,
    /// Data files written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_files: Option<u64>,
    /// Seconds that the engine itself told for each statement.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub statement_seconds: Vec<f64>,
}

/// All runs of one engine in one workload.
#[derive(Debug, Clone, Serialize)]
pub struct Series {
    /// The workload.
    pub workload: &'static str,
    /// The engine: `icecap`, a peer, or `yardstick`.
    pub engine: &'static str,
    /// Its runs, in the order they were made.
    pub runs: Vec<Run>,
}

/// Runs a workload.
///
/// # Errors
/// When a process fails or tells something unreadable: a bench that skips what fails compares nothing.
pub fn run(workload: Workload, plan: &Plan) -> Result<Vec<Series>> {
    match workload {
        Workload::Start => start::run(plan),
        Workload::Inserts => inserts::run(plan),
        Workload::Ctas => ctas::run(plan),
    }
}

impl Plan {
    /// Runs `icecap sql` on a warehouse.
    fn icecap(&self, warehouse: &Path, args: &[&str]) -> Result<Finished> {
        let mut all: Vec<OsString> = vec!["sql".into(), "--warehouse".into(), warehouse.into()];
        all.extend(["--format".into(), "json".into(), "--threads".into(), self.threads.to_string().into()]);
        all.extend(args.iter().map(OsString::from));
        measure::run(&self.bench, self.icecap.as_os_str(), &all, &self.scratch)
    }

    /// Runs a peer's script; it tells `{"seconds": …}` on its last line.
    fn peer(&self, peer: Peer, args: &[&Path]) -> Result<Finished> {
        let script = self.scripts.join(format!("{}_ctas.py", peer.name()));
        // -B: no compiled scripts in the tree.
        let mut all: Vec<OsString> = vec!["-B".into(), script.into(), self.threads.to_string().into()];
        all.extend(args.iter().map(OsString::from));
        measure::run(&self.bench, self.python.as_os_str(), &all, &self.scratch)
    }

    /// A folder that does not exist yet. What runs leave stays until the end: a file system goes on paying for files
    /// that were removed (ext4 without a journal looks for minutes at each of them before it gives its place away).
    fn fresh(&self, name: &str) -> PathBuf {
        (0u32..)
            .map(|number| self.scratch.join(format!("{name}-{number}")))
            .find(|folder| !folder.exists())
            .unwrap_or_else(|| self.scratch.join(name))
    }
}

/// `seconds` of each JSON line of a text.
fn told_seconds(text: &str) -> Result<Vec<f64>> {
    text.lines()
        .filter(|line| line.starts_with('{'))
        .filter_map(|line| match serde_json::from_str::<Value>(line) {
            Ok(line) => line.get("seconds").and_then(Value::as_f64).map(Ok),
            Err(error) => Some(Err(error.into())),
        })
        .collect()
}

/// Bytes and number of the Parquet files below a folder.
fn parquet_files(folder: &Path) -> Result<(u64, u64)> {
    let (mut bytes, mut files) = (0, 0);
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            let (more_bytes, more_files) = parquet_files(&entry.path())?;
            bytes += more_bytes;
            files += more_files;
        } else if entry.path().extension().is_some_and(|extension| extension == "parquet") {
            bytes += entry.metadata()?.len();
            files += 1;
        }
    }
    Ok((bytes, files))
}

/// A path as SQL text or an argument.
fn text_of(path: &Path) -> Result<&str> {
    path.to_str().ok_or_else(|| BenchError(format!("the path {} is not UTF-8", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_read_from_json_lines_only() {
        let text =
            "note\n{\"statement\":\"CREATE_TABLE\",\"table\":\"t\"}\n{\"seconds\":0.25}\n{\"seconds\":1}\n";
        assert_eq!(told_seconds(text).unwrap(), [0.25, 1.0]);
        assert!(told_seconds("{\"seconds\":").is_err());
    }

    #[test]
    fn parquet_files_are_counted_at_every_depth() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("a/b")).unwrap();
        for (name, bytes) in [("x.parquet", 3), ("a/b/y.parquet", 4), ("a/z.avro", 5)] {
            fs::write(folder.path().join(name), vec![0; bytes]).unwrap();
        }
        assert_eq!(parquet_files(folder.path()).unwrap(), (7, 2));
    }
}
