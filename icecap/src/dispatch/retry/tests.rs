use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use datafusion::execution::TaskContext;
use icecap_table::ErrorKind;
use icecap_table::clock::SeededIds;
use icecap_table::id::WriteId;
use uuid::Uuid;

use super::*;
use crate::plan::task::BUILD_ID;

/// Fails with these kinds, one after another, then succeeds; keeps the attempt numbers that it saw.
#[derive(Debug)]
struct Failing {
    kinds: Mutex<Vec<ErrorKind>>,
    seen: Mutex<Vec<u32>>,
}

#[async_trait]
impl Executor for Failing {
    async fn run(&self, task: Bytes, _: Cancel) -> Result<Bytes> {
        self.seen.lock().unwrap().push(WriteTask::decode(&task)?.attempt);
        let mut kinds = self.kinds.lock().unwrap();
        if kinds.is_empty() {
            Ok(Bytes::from_static(b"done"))
        } else {
            Err(Error::new(kinds.remove(0), "no"))
        }
    }

    fn task_context(&self) -> Arc<TaskContext> {
        Arc::default()
    }
}

async fn run(kinds: &[ErrorKind], cancel: &Cancel) -> (Result<Bytes>, Vec<u32>) {
    let executor = Failing { kinds: Mutex::new(kinds.to_vec()), seen: Mutex::default() };
    let task = WriteTask {
        build_id: BUILD_ID.to_owned(),
        write_id: WriteId::new(Uuid::nil()),
        round: 1,
        stage: 0,
        task: 0,
        attempt: 0,
        plan: Vec::new(),
        memory_bytes: None,
    };
    let result = run_with_retries(&executor, task, cancel, &SeededIds::new(7)).await;
    (result, executor.seen.into_inner().unwrap())
}

#[tokio::test]
async fn what_may_pass_is_tried_again_under_a_new_attempt_number() {
    let (result, seen) = run(&[ErrorKind::Unavailable, ErrorKind::Throttled], &Cancel::new()).await;
    assert_eq!(result.unwrap(), "done");
    assert_eq!(seen, [0, 1, 2]);
}

#[tokio::test]
async fn the_number_of_attempts_is_bounded() {
    let (result, seen) = run(&[ErrorKind::Unavailable; 9], &Cancel::new()).await;
    assert_eq!(result.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(seen, [0, 1, 2, 3]);
}

#[tokio::test]
async fn what_fails_for_good_is_tried_once() {
    for kind in ErrorKind::ALL.into_iter().filter(|kind| kind.retry() != Retry::Same) {
        let (result, seen) = run(&[kind], &Cancel::new()).await;
        assert_eq!(result.unwrap_err().kind(), kind);
        assert_eq!(seen, [0], "{kind}");
    }
}

#[tokio::test]
async fn a_cancelled_statement_waits_for_no_pause() {
    let cancel = Cancel::new();
    cancel.cancel();
    let (result, seen) = run(&[ErrorKind::Unavailable], &cancel).await;
    assert_eq!(result.unwrap_err().kind(), ErrorKind::Cancelled);
    assert_eq!(seen, [0]);
}

#[test]
fn pauses_grow_and_heed_the_service() {
    let none = |attempt| pause(attempt, None, 0);
    assert_eq!(none(0), FIRST_PAUSE / 2);
    assert_eq!(none(3), FIRST_PAUSE * 4);
    assert!(pause(0, None, u128::MAX) < FIRST_PAUSE);
    assert_eq!(none(40), LONGEST_PAUSE / 2);
    assert_eq!(pause(0, Some(Duration::from_secs(3)), 0), Duration::from_secs(3));
}
