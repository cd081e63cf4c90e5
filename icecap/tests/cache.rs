//! What an engine remembers of files that never change: found again by every statement, and bounded.

// A test's helpers fail by panicking, as the tests do.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use datafusion::arrow::util::pretty::pretty_format_batches;
use futures::TryStreamExt;
use icecap::engine::{Cancel, Engine, EngineSettings, StatementResult};
use icecap::sql::parse_script;
use icecap::{Error, ErrorKind};

async fn open(folder: &Path, cache_bytes: Option<usize>) -> Engine {
    let warehouse = folder.join("warehouse").to_string_lossy().into_owned();
    let settings = EngineSettings { cache_bytes, threads: Some(2), ..EngineSettings::new(warehouse) };
    Engine::open(settings).await.unwrap()
}

/// Runs statements in a session of their own; answers the last one's rows as a table.
async fn run(engine: &Engine, sql: &str) -> Result<String, Error> {
    let session = engine.session();
    let mut shown = String::new();
    for statement in parse_script(sql)? {
        shown = match session.run(&statement, &Cancel::new()).await? {
            StatementResult::Rows(rows) => {
                let batches: Vec<_> = rows.try_collect().await.map_err(icecap::plan::from_datafusion)?;
                pretty_format_batches(&batches).unwrap().to_string()
            }
            _ => String::new(),
        };
    }
    Ok(shown)
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files(&path, found) } else { found.push(path) }
    }
}

/// Takes metadata files, lists and manifests away, and overwrites every Parquet footer: whoever opens one fails.
fn spoil(folder: &Path) -> (usize, usize) {
    let mut all = Vec::new();
    files(folder, &mut all);
    let (mut metadata, mut footers) = (0, 0);
    for path in all {
        let name = path.to_string_lossy().into_owned();
        if name.ends_with(".avro") || name.ends_with(".metadata.json") {
            std::fs::remove_file(&path).unwrap();
            metadata += 1;
        } else if name.ends_with(".parquet") {
            let mut file = std::fs::File::options().read(true).write(true).open(&path).unwrap();
            file.seek(SeekFrom::End(-8)).unwrap();
            let mut tail = [0; 8];
            file.read_exact(&mut tail).unwrap();
            assert_eq!(&tail[4..], b"PAR1");
            let length = i64::from(u32::from_le_bytes(tail[..4].try_into().unwrap())) + 8;
            file.seek(SeekFrom::End(-length)).unwrap();
            file.write_all(&vec![0; usize::try_from(length).unwrap()]).unwrap();
            footers += 1;
        }
    }
    (metadata, footers)
}

const TABLE: &str = "CREATE TABLE t (id bigint, name string) USING iceberg; \
    INSERT INTO t VALUES (1, 'a'), (2, 'b'); INSERT INTO t VALUES (3, 'c');";
const QUERY: &str = "SELECT name, id FROM t WHERE id > 1 ORDER BY id";

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_read_again_opens_no_metadata_no_manifest_and_no_footer() {
    let folder = tempfile::tempdir().unwrap();
    let engine = open(folder.path(), None).await;
    run(&engine, TABLE).await.unwrap();
    let first = run(&engine, QUERY).await.unwrap();
    assert!(first.contains("| b    | 2  |") && first.contains("| c    | 3  |"), "{first}");
    let before = engine.cache_usage();
    assert_eq!(run(&engine, QUERY).await.unwrap(), first);
    let after = engine.cache_usage();
    assert_eq!(after.misses, before.misses, "everything was there");
    // The metadata file, the list, two manifests, two footers.
    assert!(after.hits >= before.hits + 6, "{before:?}, {after:?}");

    let (metadata, footers) = spoil(folder.path());
    assert!(metadata >= 7 && footers == 2, "{metadata} metadata files, {footers} data files");
    assert_eq!(run(&engine, QUERY).await.unwrap(), first, "another session of the same engine");
    // Another engine has a memory of its own.
    let stranger = open(folder.path(), None).await;
    assert_eq!(run(&stranger, QUERY).await.unwrap_err().kind(), ErrorKind::Corrupt);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_committed_is_in_the_cache_of_the_next_statement() {
    let folder = tempfile::tempdir().unwrap();
    let engine = open(folder.path(), None).await;
    run(&engine, TABLE).await.unwrap();
    let before = engine.cache_usage();
    run(&engine, "INSERT INTO t VALUES (4, 'd')").await.unwrap();
    let after = engine.cache_usage();
    assert_eq!(after.misses, before.misses, "metadata and list of the snapshot before are known");
    assert!(after.hits > before.hits);
    // The metadata file that was superseded has left.
    assert_eq!(after.objects, before.objects + 2, "a list and a manifest more");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bound_holds_with_many_files_and_rows_stay_right() {
    const FILES: usize = 300;
    const BOUND: usize = 200_000;
    let folder = tempfile::tempdir().unwrap();
    let engine = open(folder.path(), Some(BOUND)).await;
    let values: Vec<String> = (0..FILES).map(|id| format!("({id}, 'p{id:03}')")).collect();
    let insert = format!("INSERT INTO m VALUES {}", values.join(", "));
    let create = "CREATE TABLE m (id bigint, p string) USING iceberg PARTITIONED BY (p)";
    run(&engine, &format!("{create}; {insert}")).await.unwrap();
    let sum = (FILES * (FILES - 1) / 2).to_string();
    for round in 0..3 {
        let shown = run(&engine, "SELECT sum(id) AS s, count(p) AS n FROM m WHERE id >= 0").await.unwrap();
        assert!(shown.contains(&sum) && shown.contains(&FILES.to_string()), "{round}: {shown}");
        let usage = engine.cache_usage();
        assert!(usage.bytes <= BOUND, "{usage:?}");
        assert!(usage.objects > 20, "{usage:?}");
    }
    let usage = engine.cache_usage();
    // Each round needs all footers, and few of them find room.
    assert!(usage.misses > 2 * FILES as u64, "{usage:?}");
}
