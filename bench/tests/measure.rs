//! The measuring process, on programs whose use of the machine is known.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::ffi::{OsStr, OsString};
use std::path::Path;

use icecap_bench::measure::{self, Finished};

fn shell(script: &str) -> icecap_bench::Result<Finished> {
    let scratch = tempfile::tempdir().unwrap();
    let args: [OsString; 2] = ["-c".into(), script.into()];
    measure::run(Path::new(env!("CARGO_BIN_EXE_bench")), OsStr::new("sh"), &args, scratch.path())
}

#[test]
fn waiting_costs_wall_time_and_work_costs_processor_time() {
    let waited = shell("sleep 0.3; echo out; echo err >&2").unwrap();
    assert_eq!((waited.stdout.as_str(), waited.stderr.as_str()), ("out\n", "err\n"));
    assert!(waited.usage.wall_seconds >= 0.3, "{:?}", waited.usage);
    assert!(waited.usage.user_seconds + waited.usage.system_seconds < 0.2, "{:?}", waited.usage);
    assert!((100_000..50_000_000).contains(&waited.usage.peak_rss_bytes), "{:?}", waited.usage);

    let worked = shell("i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done").unwrap();
    assert!(worked.usage.user_seconds > 0.01, "{:?}", worked.usage);
}

#[test]
fn a_failing_program_is_a_failure_with_its_words() {
    let error = shell("echo it broke >&2; exit 3").unwrap_err().to_string();
    assert!(error.starts_with("sh failed (exit status: 3):\n"), "{error}");
    assert!(error.contains("it broke"), "{error}");
}

#[test]
fn a_program_that_is_not_there_is_named() {
    let scratch = tempfile::tempdir().unwrap();
    let bench = Path::new(env!("CARGO_BIN_EXE_bench"));
    let error = measure::run(bench, OsStr::new("/nowhere/x"), &[], scratch.path()).unwrap_err().to_string();
    assert!(error.contains("cannot start /nowhere/x"), "{error}");
}
