//! The parent's side against programs that are no writers. Real children are tested through the command.

use icecap_table::ErrorKind;

use super::*;

fn pool(path: &str, args: &[&str]) -> LocalPool {
    let program = ChildProgram { path: path.into(), args: args.iter().map(OsString::from).collect() };
    let settings = LocalPoolSettings { slots: 1, program, memory_bytes: None, temp_dir: None, policy: None };
    let here = WorkerSettings { threads: 1, ..WorkerSettings::default() };
    LocalPool::new(Storage::local(), here, settings, Meter::default()).unwrap()
}

async fn error_of(path: &str, args: &[&str]) -> Error {
    let pool = pool(path, args);
    // The slot is free again after each failure.
    pool.run(Bytes::new(), Cancel::new()).await.unwrap_err();
    pool.run(Bytes::new(), Cancel::new()).await.unwrap_err()
}

#[tokio::test]
async fn a_program_that_is_not_there_is_named() {
    let error = error_of("/nowhere/icecap", &[]).await;
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains("/nowhere/icecap"), "{error}");
}

#[tokio::test]
async fn a_child_that_dies_may_be_tried_again() {
    let error = error_of("/bin/sh", &["-c", "kill -9 $$"]).await;
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("killed (signal 9"), "{error}");
    let error = error_of("/bin/sh", &["-c", "exit 3"]).await;
    assert!(error.to_string().contains("ended with status 3"), "{error}");
}

#[tokio::test]
async fn a_child_of_another_build_is_refused() {
    let error = error_of("/bin/sh", &["-c", "printf '\\003\\000\\000\\000\\001old'; cat"]).await;
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("\"old\""), "{error}");
}

#[tokio::test]
async fn a_cancelled_run_has_ended_its_child() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("process");
    let script = format!("echo $$ > {}; exec sleep 60", file.display());
    let pool = pool("/bin/sh", &["-c", &script]);
    let cancel = Cancel::new();
    let stop = async {
        while std::fs::read_to_string(&file).unwrap_or_default().trim().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        cancel.cancel();
    };
    let (result, ()) = tokio::join!(pool.run(Bytes::new(), cancel.clone()), stop);
    assert_eq!(result.unwrap_err().kind(), ErrorKind::Cancelled);
    let process = std::fs::read_to_string(&file).unwrap();
    assert!(!std::path::Path::new("/proc").join(process.trim()).exists(), "{process} is alive");
}

#[test]
fn a_pool_needs_a_slot() {
    let program = ChildProgram { path: "x".into(), args: Vec::new() };
    let settings = LocalPoolSettings { slots: 0, program, memory_bytes: None, temp_dir: None, policy: None };
    let here = WorkerSettings { threads: 1, ..WorkerSettings::default() };
    let error = LocalPool::new(Storage::local(), here, settings, Meter::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
}
