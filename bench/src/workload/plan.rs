//! What the workloads need to know, and how they start the engines.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::Peer;
use crate::measure::{self, Finished};
use crate::{BenchError, Result};

/// Everything that the workloads need to know.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The bench's own binary.
    pub bench: PathBuf,
    /// The `icecap` binary.
    pub icecap: PathBuf,
    /// The `icecap-writer` binary, for the `lambda` workload.
    pub writer: PathBuf,
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
    /// INSERTs of the `steady` workload.
    pub steady_inserts: usize,
    /// Partitions of the `partitions5000` workload.
    pub partitions: usize,
    /// `--memory` of Icecap where the workload does not say it.
    pub memory: String,
    /// `--threads` of every engine.
    pub threads: usize,
    /// The format version of the tables that row-level statements change.
    pub format_version: u8,
    /// Data files of the `optimize` workload.
    pub small_files: usize,
    /// The engines beside Icecap.
    pub peers: Vec<Peer>,
    /// The Iceberg REST catalog of peers that write through one only.
    pub rest_catalog: Option<RestCatalog>,
    /// Records where Icecap's measured runs spend their time; they are slower then.
    pub profiler: Option<Profiler>,
}

/// An Iceberg REST catalog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RestCatalog {
    /// One that runs at this address.
    Address(String),
    /// One that this command starts, with `{port}` and `{folder}` replaced: where it listens, and a folder for it.
    Command(String),
}

/// How a measured run differs from the usual.
pub(super) struct Call<'a> {
    /// `--threads`.
    pub threads: usize,
    /// Variables of its environment.
    pub environment: &'a [(&'a str, String)],
}

/// How a measured run is recorded.
#[derive(Debug, Clone)]
pub struct Profiler {
    /// The `perf` binary.
    pub perf: PathBuf,
    /// Where each run leaves a `.data` file.
    pub folder: PathBuf,
    /// Samples a second and core.
    pub frequency: u32,
}

impl Plan {
    /// Runs `icecap sql` on a warehouse, as what is measured.
    pub(super) fn icecap(&self, warehouse: &Path, args: &[&str]) -> Result<Finished> {
        self.measured(&Call { threads: self.threads, environment: &[] }, warehouse.as_os_str(), args)
    }

    /// The same in another way than usual.
    pub(super) fn measured(&self, call: &Call<'_>, warehouse: &OsStr, args: &[&str]) -> Result<Finished> {
        let args = self.icecap_args(call.threads, warehouse, args);
        let (program, args) = match &self.profiler {
            None => (self.icecap.as_os_str(), args),
            Some(profiler) => {
                let mut all = profiler.record()?;
                all.push(self.icecap.clone().into());
                all.extend(args);
                (profiler.perf.as_os_str(), all)
            }
        };
        measure::run_in(&self.bench, program, &args, call.environment, &self.scratch)
    }

    /// Runs `icecap sql` to make what a measured run begins with.
    pub(super) fn prepare(&self, warehouse: &Path, args: &[&str]) -> Result<Finished> {
        let args = self.icecap_args(self.threads, warehouse.as_os_str(), args);
        measure::run(&self.bench, self.icecap.as_os_str(), &args, &self.scratch)
    }

    fn icecap_args(&self, threads: usize, warehouse: &OsStr, args: &[&str]) -> Vec<OsString> {
        let mut all: Vec<OsString> = vec!["sql".into(), "--warehouse".into(), warehouse.into()];
        all.extend(["--format".into(), "json".into(), "--threads".into(), threads.to_string().into()]);
        // What is spilled goes to the disk that is measured.
        all.extend(["--temp-dir".into(), self.scratch.clone().into()]);
        all.extend(args.iter().map(OsString::from));
        all
    }

    /// Runs a peer's script; it tells `{"seconds": …}` on its last line.
    pub(super) fn peer(&self, script: &str, args: &[&OsStr]) -> Result<Finished> {
        self.peer_in(script, args, &[])
    }

    /// The same, with variables of its environment set.
    pub(super) fn peer_in(
        &self,
        script: &str,
        args: &[&OsStr],
        environment: &[(&str, String)],
    ) -> Result<Finished> {
        // -B: no compiled scripts in the tree.
        let mut all: Vec<OsString> = vec!["-B".into(), self.scripts.join(script).into()];
        all.push(self.threads.to_string().into());
        all.extend(args.iter().map(OsString::from));
        measure::run_in(&self.bench, self.python.as_os_str(), &all, environment, &self.scratch)
    }

    /// A folder that does not exist yet. What runs leave stays until the end: a file system goes on paying for files
    /// that were removed (ext4 without a journal looks for minutes at each of them before it gives its place away).
    pub(super) fn fresh(&self, name: &str) -> PathBuf {
        (0u32..)
            .map(|number| self.scratch.join(format!("{name}-{number}")))
            .find(|folder| !folder.exists())
            .unwrap_or_else(|| self.scratch.join(name))
    }

    /// Whether an engine is among the peers.
    pub(super) fn has(&self, peer: Peer) -> bool {
        self.peers.contains(&peer)
    }
}

impl Profiler {
    /// The arguments of `perf` before the program: a clock of the kernel, which virtual machines have too, and
    /// copies of the stack, because release builds keep no frame pointers.
    fn record(&self) -> Result<Vec<OsString>> {
        fs::create_dir_all(&self.folder)?;
        let file = (0u32..)
            .map(|number| self.folder.join(format!("{number}.data")))
            .find(|file| !file.exists())
            .unwrap_or_else(|| self.folder.join("data"));
        let mut args: Vec<OsString> = vec!["record".into(), "--quiet".into(), "--output".into(), file.into()];
        args.extend(["--event".into(), "cpu-clock".into()]);
        args.extend(["--freq".into(), self.frequency.to_string().into()]);
        args.extend(["--call-graph".into(), "dwarf,8192".into(), "--".into()]);
        Ok(args)
    }
}

/// `seconds` of each JSON line of a text.
pub(super) fn told_seconds(text: &str) -> Result<Vec<f64>> {
    text.lines()
        .filter(|line| line.starts_with('{'))
        .filter_map(|line| match serde_json::from_str::<Value>(line) {
            Ok(line) => line.get("seconds").and_then(Value::as_f64).map(Ok),
            Err(error) => Some(Err(error.into())),
        })
        .collect()
}

/// A path as SQL text or an argument.
pub(super) fn text_of(path: &Path) -> Result<&str> {
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
}
