//! The exit criteria for building on `datafusion-distributed`, each a test.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::harness::{Bench, Fault, run, write};
use crate::ErrorKind;
use crate::plan::TaskOutput;

/// The same rows through the plain engine and through eight tasks.
async fn same(bench: &Bench, parted: &crate::engine::Engine, source: &str) -> Vec<String> {
    run(&bench.plain, &format!("CREATE TABLE expected AS {source}")).await.unwrap();
    let summary = write(parted, &format!("CREATE TABLE got AS {source}")).await.unwrap();
    let expected = run(&bench.plain, "SELECT * FROM expected").await.unwrap();
    assert_eq!(run(&bench.plain, "SELECT * FROM got").await.unwrap(), expected);
    assert_eq!(summary.rows_inserted, Some(expected.len() as u64));
    expected
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_by_runs_over_eight_tasks_on_two_slots() {
    let bench = Bench::new().await.with_numbers().await;
    let (parted, spy) = bench.parted(8, |_| None).await;
    let source = "SELECT k, count(*) AS n, sum(v) AS s, min(t) AS t FROM numbers GROUP BY k";
    let rows = same(&bench, &parted, source).await;
    assert_eq!(rows.len(), 30);
    assert!(rows.contains(&"7|100|149200|text 0".to_owned()), "{rows:?}");

    let ran = spy.ran();
    let tasks = |stage| ran.iter().filter(|(task, _)| task.stage == stage).count();
    assert_eq!((tasks(0), tasks(1)), (8, 8));
    assert_eq!(spy.most_at_once.load(Ordering::SeqCst), 2);
    // Each task of the first stage read its own files, all of them together each row once.
    let read: Vec<u64> = ran.iter().map(|(_, report)| report.rows_read).collect();
    assert_eq!(read.iter().sum::<u64>(), 3000);
    assert!(read.iter().all(|rows| *rows < 1000), "{read:?}");
    // A stage is gated: none of its tasks began before all of the one below had a winner.
    let first_of_second = ran.iter().position(|(task, _)| task.stage == 1).unwrap();
    assert!(ran[..first_of_second].iter().filter(|(task, _)| task.stage == 0).count() == 8);
    assert_eq!(bench.files(".exchange"), [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_sides_of_a_hash_join_cross_an_exchange() {
    let bench = Bench::new().await.with_numbers().await;
    let (parted, spy) = bench.parted(8, |_| None).await;
    let source = "SELECT a.v, a.k, b.v AS w FROM numbers a FULL OUTER JOIN
                      (SELECT v, k + 5 AS k FROM numbers WHERE v < 600) b ON a.v = b.v AND a.k = b.k - 5";
    assert_eq!(same(&bench, &parted, source).await.len(), 3000);
    let ran = spy.ran();
    let joins: Vec<_> = ran.iter().filter(|(task, _)| task.inputs.len() == 2).collect();
    assert_eq!(joins.len(), 8);
    let hashed =
        |task: &crate::plan::WriteTask| matches!(task.output, TaskOutput::Exchange { replicate: false, .. });
    assert_eq!(ran.iter().filter(|(task, _)| hashed(task)).count(), 16);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broadcast_is_stored_once_and_read_by_all() {
    let bench = Bench::new().await.with_numbers().await;
    let (parted, spy) = bench.parted(8, |_| None).await;
    let source = "SELECT n.v, m.name FROM numbers n JOIN names m ON n.k = m.k";
    assert_eq!(same(&bench, &parted, source).await.len(), 3000);
    let ran = spy.ran();
    let mut copies = 0;
    for (task, report) in &ran {
        if let TaskOutput::Exchange { replicate, .. } = task.output {
            assert!(replicate, "only the small side crosses an exchange");
            copies += report.exchange.as_ref().unwrap().rows();
        }
    }
    assert_eq!(copies, 30);
    let readers = ran.iter().filter(|(task, _)| !task.inputs.is_empty());
    let read: Vec<u64> = readers.map(|(_, report)| report.exchange_bytes_read).collect();
    assert!(read.len() == 8 && read.iter().all(|bytes| *bytes == read[0] && *bytes > 0), "{read:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_producer_is_reported_and_nothing_hangs_or_stays() {
    let bench = Bench::new().await.with_numbers().await;
    for fault in [Fault::Refused, Fault::Before] {
        let (parted, _) =
            bench.parted(8, move |task| (task.stage == 0 && task.task == 3).then_some(fault)).await;
        let failing = write(&parted, "CREATE TABLE got AS SELECT k, count(*) AS n FROM numbers GROUP BY k");
        let error = tokio::time::timeout(Duration::from_secs(60), failing).await.unwrap().unwrap_err();
        match fault {
            Fault::Refused => {
                assert_eq!(error.kind(), ErrorKind::Invalid);
                assert_eq!(error.to_string(), "the value 7 is out of range");
            }
            _ => {
                assert_eq!(error.kind(), ErrorKind::Unavailable);
                assert!(error.to_string().contains("(stage: 0, task: 3, attempts: 4)"), "{error}");
            }
        }
        assert_eq!(bench.files(".exchange"), [""; 0]);
        assert_eq!(bench.files("/got-"), [""; 0]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_that_is_tried_again_has_one_winner() {
    let bench = Bench::new().await.with_numbers().await;
    // In both stages one first attempt does all its work, and its answer is lost.
    let (parted, spy) =
        bench.parted(8, |task| (task.task == 3 && task.attempt == 0).then_some(Fault::ReplyLost)).await;
    let source = "SELECT k, count(*) AS n FROM numbers GROUP BY k";
    assert_eq!(same(&bench, &parted, source).await.len(), 30);
    let attempts = spy.attempts.lock().unwrap().clone();
    for ((stage, task), count) in attempts {
        assert_eq!(count, if task == 3 { 2 } else { 1 }, "stage {stage}, task {task}");
    }
    // The second stage read the second attempt's object of task 3, and that one only.
    let ran = spy.ran();
    let read: Vec<&String> =
        ran.iter().flat_map(|(task, _)| &task.inputs).flat_map(|i| &i.locations).collect();
    assert!(read.iter().all(|location| !location.contains("-0-3-0-")), "{read:?}");
    assert!(read.iter().any(|location| location.contains("-0-3-1-")), "{read:?}");
    // What the losers left is gone.
    let live = run(&bench.plain, "SELECT DISTINCT _file FROM got").await.unwrap();
    let stored = bench.files("/got-").into_iter().filter(|path| path.ends_with(".parquet")).count();
    assert_eq!(stored, live.len());
    assert_eq!(bench.files(".exchange"), [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partition_is_written_by_one_task_where_that_saves_small_files() {
    let bench = Bench::new().await.with_numbers().await;
    let (parted, spy) = bench.parted(8, |_| None).await;
    let files = |table: &str| format!("SELECT DISTINCT _file FROM {table}");
    for (table, properties, is_routed) in [
        ("together", "", true),
        ("scattered", ", 'write.distribution-mode'='none'", false),
        ("asked", ", 'write.distribution-mode'='hash'", true),
    ] {
        let create = format!(
            "CREATE TABLE {table} (k bigint, v bigint, t varchar) PARTITIONED BY (bucket(4, t), k)
                 TBLPROPERTIES ('table_type'='ICEBERG'{properties})"
        );
        run(&bench.plain, &create).await.unwrap();
        let summary =
            write(&parted, &format!("INSERT INTO {table} SELECT k, v, t FROM numbers")).await.unwrap();
        assert_eq!(summary.rows_inserted, Some(3000));
        let rows = format!("SELECT k, v, t FROM {table}");
        let source = run(&bench.plain, "SELECT k, v, t FROM numbers").await.unwrap();
        assert_eq!(run(&bench.plain, &rows).await.unwrap(), source);
        let partitions = run(&bench.plain, &format!("SHOW PARTITIONS {table}")).await.unwrap().len();
        let written = run(&bench.plain, &files(table)).await.unwrap().len();
        assert!(partitions >= 30, "{partitions}");
        match is_routed {
            true => assert_eq!(written, partitions, "{table}"),
            false => assert!(written > partitions * 4, "{table}: {written} files of {partitions} partitions"),
        }
    }
    let readers = spy.ran().iter().filter(|(task, _)| task.stage == 1 && !task.inputs.is_empty()).count();
    assert_eq!(readers, 16);
    assert_eq!(bench.files(".exchange"), [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_attempt_gets_a_second_one_where_the_policy_says_so() {
    let bench = Bench::new().await.with_numbers().await;
    let (parted, spy) =
        bench.parted(4, |task| (task.task == 1 && task.attempt == 0).then_some(Fault::Hangs)).await;
    let eager = crate::stage::RetryPolicy {
        speculate_after: Some(Duration::from_millis(300)),
        ..crate::stage::RetryPolicy::default()
    };
    let parted = parted.with_retry(eager);
    let source = "SELECT k, count(*) AS n FROM numbers GROUP BY k";
    let rows = tokio::time::timeout(Duration::from_secs(60), same(&bench, &parted, source)).await.unwrap();
    assert_eq!(rows.len(), 30);
    assert_eq!(spy.attempts.lock().unwrap()[&(0, 1)], 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_that_are_no_table_are_parted_too() {
    let bench = Bench::new().await.with_numbers().await;
    let (parted, spy) = bench.parted(8, |_| None).await;
    let folder = bench.folder();
    let parquet = format!(
        "SELECT k, count(*) AS n FROM read_parquet('{folder}/w/default/numbers-*/data/*/*.parquet',
             hive_partitioning => false) GROUP BY k"
    );
    assert_eq!(same(&bench, &parted, &parquet).await.len(), 30);
    let read: Vec<u64> = spy.ran().iter().map(|(_, report)| report.rows_read).collect();
    assert_eq!(read.iter().sum::<u64>(), 3000);
    assert!(read.iter().all(|rows| *rows < 1000), "{read:?}");

    for file in 0..3 {
        let lines: String = (0..100).map(|n| format!("{},{n}\n", file * 100 + n)).collect();
        std::fs::write(format!("{folder}/{file}.csv"), format!("id,n\n{lines}")).unwrap();
    }
    // Fewer files than tasks, and an order that is made after the exchange.
    run(&bench.plain, "DROP TABLE expected; DROP TABLE got").await.unwrap();
    let csv = format!("SELECT id, n FROM read_csv('{folder}/*.csv') WHERE n <> 7 ORDER BY n, id LIMIT 200");
    assert_eq!(same(&bench, &parted, &csv).await.len(), 200);
    assert_eq!(bench.files(".exchange"), [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_statement_that_is_stopped_leaves_nothing() {
    let bench = Bench::new().await.with_numbers().await;
    let (parted, spy) = bench.parted(4, |task| (task.stage == 1).then_some(Fault::Hangs)).await;
    let statement =
        crate::sql::parse_script("CREATE TABLE got AS SELECT k, count(*) AS n FROM numbers GROUP BY k")
            .unwrap()
            .remove(0);
    let cancel = crate::engine::Cancel::new();
    let stop = cancel.clone();
    let stopper = tokio::spawn(async move {
        while !spy.attempts.lock().unwrap().keys().any(|(stage, _)| *stage == 1) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        stop.cancel();
    });
    let session = parted.session();
    let stopped =
        tokio::time::timeout(Duration::from_secs(60), session.run(&statement, &cancel)).await.unwrap();
    assert_eq!(stopped.unwrap_err().kind(), ErrorKind::Cancelled);
    stopper.await.unwrap();
    assert_eq!(bench.files(".exchange"), [""; 0]);
    assert_eq!(bench.files("/got-"), [""; 0]);
}
