//! Tables that share data files: each engine changes a table of its own, and all of them begin with the same files.
//!
//! A clone is a metadata file of its own, with a location of its own, over the base's manifests and data files. None
//! of the measured statements deletes a file that a snapshot names. Icecap, PyIceberg and Spark find their clone in a
//! SQLite catalog, DuckDB in a REST catalog.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::plan::{Plan, text_of};
use super::service::RestServer;
use super::written::{self, Appeared, appeared, content_files, local_path, metadata_file, snapshots, warm};
use crate::{BenchError, Result};

/// The namespace in the REST catalog.
const NAMESPACE: &str = "icecap_bench";

/// The table that all clones begin as.
pub(super) struct Base {
    /// Its warehouse.
    pub warehouse: PathBuf,
    /// Its metadata file.
    metadata_file: PathBuf,
    /// Its snapshots.
    snapshots: u64,
    /// Clones so far.
    clones: std::cell::Cell<u32>,
}

/// How an engine is told to change rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// Files are written again.
    CopyOnWrite,
    /// Delete files are written.
    MergeOnRead,
}

/// A table over the base's files.
pub(super) struct Clone {
    /// The name in the engine's catalog, as SQL says it.
    pub table: String,
    /// The warehouse with the SQLite catalog; of a REST catalog's table, the folder of the table.
    pub warehouse: PathBuf,
    /// The table's folder.
    pub folder: PathBuf,
    /// Content files before the statement, of the base and of the clone.
    before: BTreeSet<PathBuf>,
}

impl Base {
    /// Makes `default.lineitem` with a statement or a script (`-e`, `-f`), in a warehouse of its own; its files are in
    /// memory then.
    pub(super) fn new(plan: &Plan, name: &str, args: &[&str]) -> Result<Self> {
        let warehouse = plan.fresh(name);
        plan.prepare(&warehouse, &[&["--memory", plan.memory.as_str()], args].concat())?;
        // The other engines need it absolute.
        let warehouse = fs::canonicalize(warehouse)?;
        warm(&warehouse)?;
        let metadata_file = metadata_file(&warehouse, "lineitem")?;
        Ok(Self {
            snapshots: snapshots(&metadata_file)?,
            metadata_file,
            warehouse,
            clones: std::cell::Cell::new(0),
        })
    }

    /// A clone in a new warehouse with a SQLite catalog, which Icecap makes: `default.lineitem`.
    pub(super) fn clone_to_sqlite(&self, plan: &Plan, workload: &str, mode: Mode) -> Result<Clone> {
        let warehouse = plan.fresh(workload);
        let folder = warehouse.join("default/lineitem");
        fs::create_dir_all(folder.join("metadata"))?;
        let mut metadata = written::metadata(&self.metadata_file)?;
        metadata["location"] = json!(format!("file://{}", text_of(&fs::canonicalize(&folder)?)?));
        match metadata["properties"].as_object_mut() {
            Some(all) => all.extend(properties(mode)),
            None => metadata["properties"] = Value::Object(properties(mode)),
        }
        let file = fs::canonicalize(&folder)?.join("metadata/00000-clone.metadata.json");
        fs::write(&file, serde_json::to_vec(&metadata)?)?;
        let register = format!(
            "CALL system.register_table(table => 'default.lineitem', metadata_file => '{}')",
            text_of(&file)?
        );
        plan.prepare(&warehouse, &[&self.allow()?[..], &["-e", register.as_str()]].concat())?;
        let before = self.content(&folder)?;
        Ok(Clone {
            table: "default.lineitem".to_owned(),
            warehouse: fs::canonicalize(warehouse)?,
            folder,
            before,
        })
    }

    /// A clone in a REST catalog, which attaches as `peers`.
    pub(super) fn clone_to_rest(
        &self,
        plan: &Plan,
        rest: &RestServer,
        workload: &str,
        mode: Mode,
    ) -> Result<(Clone, String)> {
        let folder = plan.fresh(workload);
        fs::create_dir_all(&folder)?;
        let folder = fs::canonicalize(folder)?;
        let number = self.clones.replace(self.clones.get() + 1);
        let name = format!("{}_{}_{number}", workload.replace('-', "_"), std::process::id());
        let location = format!("file://{}", text_of(&folder)?);
        let properties = Value::Object(properties(mode)).to_string();
        let args =
            [rest.address.as_str(), text_of(&self.metadata_file)?, NAMESPACE, &name, &location, &properties];
        plan.peer("rest_clone.py", &args.map(OsStr::new))?;
        let before = self.content(&folder)?;
        let table = format!("peers.{NAMESPACE}.{name}");
        Ok((Clone { table, warehouse: folder.clone(), folder, before }, name))
    }

    /// The metadata file that a table of the REST catalog has now.
    pub(super) fn rest_metadata_file(plan: &Plan, rest: &RestServer, name: &str) -> Result<PathBuf> {
        let args = [rest.address.as_str(), NAMESPACE, name];
        let finished = plan.peer("rest_location.py", &args.map(OsStr::new))?;
        let line: Value = serde_json::from_str(finished.stdout.lines().last().unwrap_or_default())?;
        let location = line["metadata_location"].as_str();
        let location =
            location.ok_or_else(|| BenchError(format!("the REST catalog told no location of {name}")))?;
        Ok(local_path(location))
    }

    /// Flags that let Icecap read the base's files.
    pub(super) fn allow(&self) -> Result<[&str; 2]> {
        Ok(["--allow-location", text_of(&self.warehouse)?])
    }

    /// What the statement on a clone wrote, and how many snapshots it made.
    pub(super) fn written(&self, clone: &Clone, metadata_file: &Path) -> Result<(Appeared, u64)> {
        let appeared = appeared(&clone.before, &self.content(&clone.folder)?)?;
        Ok((appeared, snapshots(metadata_file)?.saturating_sub(self.snapshots)))
    }

    /// Content files of the base and of a clone's folder: DuckDB puts delete files beside the data files.
    fn content(&self, folder: &Path) -> Result<BTreeSet<PathBuf>> {
        content_files(&[&self.warehouse, folder])
    }
}

/// Properties by which every engine knows how to change rows, and how to write.
fn properties(mode: Mode) -> Map<String, Value> {
    let mode = match mode {
        Mode::CopyOnWrite => "copy-on-write",
        Mode::MergeOnRead => "merge-on-read",
    };
    let mut properties: Map<String, Value> = ["delete", "update", "merge"]
        .into_iter()
        .map(|statement| (format!("write.{statement}.mode"), json!(mode)))
        .collect();
    properties.insert("write.parquet.compression-codec".to_owned(), json!("zstd"));
    properties.insert("write.parquet.compression-level".to_owned(), json!("3"));
    properties
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_statement_has_its_mode() {
        let properties = properties(Mode::MergeOnRead);
        for statement in ["delete", "update", "merge"] {
            assert_eq!(properties[&format!("write.{statement}.mode")], "merge-on-read");
        }
        assert_eq!(properties["write.parquet.compression-level"], "3");
    }
}
