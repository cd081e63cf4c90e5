//! Compaction beside statements that change rows: neither keeps the other from ending.

use std::time::Duration;

use icecap::engine::{Engine, EngineSettings, Races};
use icecap_table::ErrorKind;

use crate::gate::{gated, raced, run_one};
use crate::lake::Lake;

const OPTIMIZE: &str = "OPTIMIZE t REWRITE DATA USING BIN_PACK";

/// A table of two partitions with three files of two rows each; ids from 0.
async fn lake_of(version: u8) -> Lake {
    let lake = Lake::new().await;
    lake.run(&format!(
        "CREATE TABLE t (id bigint, p string) PARTITIONED BY (p) TBLPROPERTIES ('table_type'='ICEBERG', \
         'format_version'='{version}', 'optimize_rewrite_data_file_threshold'='2')"
    ))
    .await;
    for file in 0..6 {
        let (id, p) = (file * 2, file % 2);
        lake.run(&format!("INSERT INTO t VALUES ({id}, 'p{p}'), ({}, 'p{p}')", id + 1)).await;
    }
    lake
}

async fn files_of_partitions(lake: &Lake) -> Vec<String> {
    lake.rows("SELECT p, count(DISTINCT _file) FROM t GROUP BY p ORDER BY p").await
}

/// The statement that lost its files to a compaction reads the files in their place, and no other.
#[tokio::test(flavor = "multi_thread")]
async fn a_delete_that_lost_to_a_compaction_reads_what_was_rewritten() {
    for version in [2, 3] {
        let lake = lake_of(version).await;
        let mut hidden = Vec::new();
        let summary = raced(&lake.engine, "DELETE FROM t WHERE id % 2 = 1", 1, async |_| {
            lake.compacted(&format!("{OPTIMIZE} WHERE p = 'p0'")).await;
            for file in lake.rows("SELECT DISTINCT _file FROM t WHERE p = 'p1'").await {
                let file = std::path::PathBuf::from(file.strip_prefix("file://").unwrap());
                std::fs::rename(&file, file.with_extension("hidden")).unwrap();
                hidden.push(file);
            }
        })
        .await
        .unwrap();
        for file in &hidden {
            std::fs::rename(file.with_extension("hidden"), file).unwrap();
        }
        assert_eq!(hidden.len(), 3);
        assert_eq!(summary.races, Some(Races { lost: 1, replanned_files: 1, files: 4 }), "version {version}");
        assert_eq!(summary.rows_deleted, Some(6));
        assert_eq!(lake.rows("SELECT id FROM t ORDER BY id").await, ["0", "2", "4", "6", "8", "10"]);
        lake.verify("t").await;
        lake.age_files(100);
        assert_eq!(lake.counted("VACUUM t", &["orphans_deleted"]).await, [0]);
    }
}

/// Of a compaction that lost, what is not concerned is published; the rest is left as it is.
#[tokio::test(flavor = "multi_thread")]
async fn a_compaction_gives_up_the_files_that_others_changed() {
    for version in [2, 3] {
        let lake = lake_of(version).await;
        let summary = raced(&lake.engine, OPTIMIZE, 1, async |_| {
            lake.run("DELETE FROM t WHERE id = 2").await;
        })
        .await
        .unwrap();
        assert_eq!(summary.races, Some(Races { lost: 1, replanned_files: 0, files: 6 }));
        assert_eq!(summary.data_files, 1);
        assert_eq!(files_of_partitions(&lake).await, ["p0|1", "p1|3"], "version {version}");
        assert_eq!(lake.rows("SELECT count(*), min(id) FROM t WHERE id <> 2").await, ["11|0"]);
        assert_eq!(lake.rows("SELECT count(*) FROM t").await, ["11"]);
        lake.verify("t").await;
        lake.age_files(100);
        assert_eq!(lake.counted("VACUUM t", &["orphans_deleted"]).await, [0]);
        // Nobody is in its way any more.
        lake.run(OPTIMIZE).await;
        assert_eq!(files_of_partitions(&lake).await, ["p0|1", "p1|1"]);
        lake.verify("t").await;
    }
}

/// A compaction that is ready waits for a DELETE under way, which then has no race to lose.
#[tokio::test(flavor = "multi_thread")]
async fn a_compaction_lets_a_delete_under_way_go_first() {
    for version in [2, 3] {
        let lake = lake_of(version).await;
        let (deleter, mut deletes) = gated(&lake.engine);
        let delete = tokio::spawn(async move { run_one(&deleter, "DELETE FROM t WHERE id IN (2, 4)").await });
        let go = deletes.recv().await.unwrap();
        let (compactor, mut compactions) = gated(&lake.engine);
        let compaction = tokio::spawn(async move { run_one(&compactor, OPTIMIZE).await });
        // It would come to its commit while the DELETE stands before its own.
        let early = tokio::time::timeout(Duration::from_secs(1), compactions.recv()).await;
        assert!(early.is_err(), "the compaction did not wait");
        go.send(()).unwrap();
        drop(deletes);
        let deleted = delete.await.unwrap().unwrap();
        assert_eq!((deleted.rows_deleted, deleted.races), (Some(2), None));
        drop(compactions);
        let compacted = compaction.await.unwrap().unwrap();
        assert_eq!(compacted.races, None, "it knew before it asked to be published");
        assert_eq!(lake.rows("SELECT count(*) FROM t").await, ["10"]);
        lake.verify("t").await;
    }
}

/// An `OPTIMIZE` that runs without pause, with something to do each time, starves nobody.
#[tokio::test(flavor = "multi_thread")]
async fn every_delete_ends_beside_compactions_without_a_pause() {
    const DELETES: i64 = 20;
    for version in [2, 3] {
        let lake = Lake::new().await;
        lake.run(&format!(
            "CREATE TABLE t (id bigint, p string) TBLPROPERTIES ('table_type'='ICEBERG', \
             'format_version'='{version}', 'optimize_rewrite_data_file_threshold'='2', \
             'optimize_rewrite_delete_file_threshold'='1')"
        ))
        .await;
        lake.run("INSERT INTO t SELECT value, 'p' FROM generate_series(0, 199)").await;
        lake.run("INSERT INTO t SELECT value, 'p' FROM generate_series(200, 399)").await;
        let settings = EngineSettings::new(lake.path().to_string_lossy());
        let deleter = tokio::spawn(async move {
            let engine = Engine::open(settings).await.unwrap();
            let mut lost = 0;
            for n in 0..DELETES {
                let delete = format!("DELETE FROM t WHERE id % {DELETES} = {n} AND id < 1000");
                let summary = run_one(&engine, &delete).await.unwrap_or_else(|error| panic!("{n}: {error}"));
                assert_eq!(summary.rows_deleted, Some(400 / 20));
                lost += summary.races.map_or(0, |races| races.lost);
            }
            lost
        });
        let (mut rewrites, mut others) = (0, 0);
        while !deleter.is_finished() {
            match lake.try_run(OPTIMIZE).await {
                Ok(_) => rewrites += 1,
                Err(error) if error.kind() == ErrorKind::Conflict => {}
                Err(error) => panic!("{error}"),
            }
            lake.run(&format!("INSERT INTO t VALUES ({}, 'other')", 1000 + others)).await;
            others += 1;
        }
        let lost = deleter.await.unwrap();
        println!(
            "version {version}: {rewrites} compactions beside {DELETES} deletes, which lost {lost} races"
        );
        // Those beside the deletes may have lost every race.
        lake.run(OPTIMIZE).await;
        assert_eq!(lake.rows("SELECT count(*), min(id) FROM t").await, [format!("{others}|1000")]);
        lake.verify("t").await;
    }
}
