//! A warehouse on the local disk, and what a test asks of it.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use futures::TryStreamExt;
use icecap::engine::{Cancel, Engine, EngineSettings, Session, StatementResult, WriteSummary};
use icecap::sql::parse_script;
use icecap_commit_service::SqliteStore;
use icecap_compaction::Compaction;
use icecap_table::clock::SystemClock;
use icecap_table::{Error, Result};
use tempfile::TempDir;

/// A warehouse with an engine that compacts.
pub struct Lake {
    folder: TempDir,
    pub engine: Engine,
    session: Session,
}

impl Lake {
    pub async fn new() -> Self {
        Self::with(|_| {}).await
    }

    /// With settings changed.
    pub async fn with(change: impl FnOnce(&mut EngineSettings)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut settings = EngineSettings::new(folder.path().to_string_lossy());
        change(&mut settings);
        let engine = Engine::open(settings).await.unwrap().with_maintenance(Arc::new(Compaction));
        let session = engine.session();
        Self { folder, engine, session }
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Runs statements in order; gives the last one's result.
    pub async fn try_run(&self, sql: &str) -> Result<StatementResult> {
        let mut last = Err(Error::invalid("no statement"));
        for statement in parse_script(sql)? {
            last = Ok(self.session.run(&statement, &Cancel::default()).await?);
        }
        last
    }

    pub async fn run(&self, sql: &str) -> StatementResult {
        self.try_run(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// What upkeep counted under a name; 0 when it told none.
    pub async fn counted(&self, sql: &str, names: &[&str]) -> Vec<u64> {
        let StatementResult::Done(done) = self.run(sql).await else { panic!("{sql} is no upkeep") };
        let of = |name: &&str| done.counts.iter().find(|(known, _)| known == name).map_or(0, |(_, n)| *n);
        names.iter().map(of).collect()
    }

    pub async fn written(&self, sql: &str) -> WriteSummary {
        let StatementResult::Written(summary) = self.run(sql).await else { panic!("{sql} is no write") };
        summary
    }

    /// A query's rows, values joined by `|`, in the order of the query.
    pub async fn rows(&self, sql: &str) -> Vec<String> {
        let StatementResult::Rows(stream) = self.run(sql).await else { panic!("{sql} is no query") };
        let batches: Vec<_> = stream.try_collect().await.unwrap();
        let options = FormatOptions::default().with_null("NULL");
        let mut rows = Vec::new();
        for batch in batches {
            let columns: Vec<_> = batch
                .columns()
                .iter()
                .map(|column| ArrayFormatter::try_new(column.as_ref(), &options).unwrap())
                .collect();
            for row in 0..batch.num_rows() {
                let values: Vec<String> =
                    columns.iter().map(|column| column.value(row).to_string()).collect();
                rows.push(values.join("|"));
            }
        }
        rows
    }

    /// Checks a table's metadata and data, whatever else the test is about.
    pub async fn verify(&self, table: &str) {
        let report = self.engine.verify(table, true).await.unwrap();
        assert!(report.is_sound(), "{table}: {:#?}", report.checked.violations);
    }

    /// The only table folder of the namespace `default`.
    pub fn table_folder(&self) -> PathBuf {
        let mut folders: Vec<PathBuf> = std::fs::read_dir(self.path().join("default"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.is_dir())
            .collect();
        assert_eq!(folders.len(), 1, "{folders:?}");
        folders.remove(0)
    }

    /// The names of a table's files that end so, in order.
    pub fn files(&self, ending: &str) -> Vec<String> {
        let mut names = Vec::new();
        let mut folders = vec![self.table_folder()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    let name = path.file_name().unwrap().to_string_lossy().into_owned();
                    names.extend(name.ends_with(ending).then_some(name));
                }
            }
        }
        names.sort();
        names
    }

    /// The manifest lists among a table's files.
    pub fn lists(&self) -> usize {
        self.files(".avro").iter().filter(|name| name.starts_with("snap-")).count()
    }

    /// Puts a file below the table's folder that nothing names, written so many hours ago.
    pub fn stray(&self, name: &str, hours: u64) -> PathBuf {
        let path = self.table_folder().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, "stray").unwrap();
        // The file's own time tells what time it is.
        let now = File::open(&path).unwrap().metadata().unwrap().modified().unwrap();
        set_time(&path, now - Duration::from_secs(hours * 3600));
        path
    }

    /// Makes every file of the table as old as so many hours: what no snapshot names is an orphan then.
    pub fn age_files(&self, hours: u64) {
        let mut folders = vec![self.table_folder()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                match path.is_dir() {
                    true => folders.push(path),
                    false => {
                        // Each was written during the test: its own time tells what time it is.
                        let now = File::open(&path).unwrap().metadata().unwrap().modified().unwrap();
                        set_time(&path, now - Duration::from_secs(hours * 3600));
                    }
                }
            }
        }
    }

    /// Runs `OPTIMIZE` as one that nobody has to wait for: it does not wait for statements under way either.
    pub async fn compacted(&self, sql: &str) -> WriteSummary {
        crate::gate::run_one(&self.engine.with_commit(crate::gate::blind), sql).await.unwrap()
    }

    /// The ledger, as another process sees it.
    pub async fn ledger(&self) -> SqliteStore {
        SqliteStore::open(self.path().join("catalog.db"), "icecap", Arc::new(SystemClock)).await.unwrap()
    }
}

fn set_time(path: &Path, time: SystemTime) {
    OpenOptions::new().write(true).open(path).unwrap().set_modified(time).unwrap();
}
