use std::path::PathBuf;

use icecap_table::ErrorKind;
use icecap_table::id::WriteId;
use uuid::Uuid;

use super::*;
use crate::dispatch::usage::Outcome;
use crate::plan::TaskReport;
use crate::worker::fixture::Fixture;

fn executor(meter: &Meter) -> InProcess {
    let settings = WorkerSettings { threads: 2, ..WorkerSettings::default() };
    InProcess::new(Storage::local(), settings, meter.clone()).unwrap()
}

#[tokio::test]
async fn a_task_is_run_and_metered() {
    let (table, meter) = (Fixture::new(), Meter::default());
    let task = Bytes::from(table.task(4).await);
    let report = executor(&meter).run(task, Cancel::new()).await.unwrap();
    assert_eq!(TaskReport::decode(&report).unwrap().rows_written, 4);
    let usage = meter.take(WriteId::new(Uuid::from_u128(7)));
    assert_eq!(usage.len(), 1);
    assert_eq!((usage[0].place, usage[0].outcome), (Place::InProcess, Outcome::Succeeded));
}

#[tokio::test]
async fn a_cancelled_task_does_not_start() {
    let cancel = Cancel::new();
    cancel.cancel();
    let error = executor(&Meter::default()).run(Bytes::new(), cancel).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
}

#[test]
fn settings_that_make_no_runtime_are_invalid() {
    let settings = WorkerSettings {
        threads: 1,
        temp_dir: Some(PathBuf::from("/dev/null/spill")),
        ..WorkerSettings::default()
    };
    let error = InProcess::new(Storage::local(), settings, Meter::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
}
