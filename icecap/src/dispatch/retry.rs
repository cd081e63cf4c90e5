//! One task, tried until an attempt succeeds: by the error's kind, a bounded number of times, with pauses.

use std::time::Duration;

use bytes::Bytes;
use icecap_table::clock::IdSource;
use icecap_table::error::Retry;
use icecap_table::{Error, Result};

use super::Executor;
use crate::engine::Cancel;
use crate::plan::WriteTask;

/// Attempts at one task.
const MAX_ATTEMPTS: u32 = 4;
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(20);

/// Runs a task; tries it again where the error's kind allows the same request again.
///
/// # Errors
/// The last attempt's; `Cancelled` after `cancel`.
pub async fn run_with_retries(
    executor: &dyn Executor,
    mut task: WriteTask,
    cancel: &Cancel,
    ids: &dyn IdSource,
) -> Result<Bytes> {
    loop {
        let error = match executor.run(Bytes::from(task.encode()), cancel.clone()).await {
            Ok(report) => return Ok(report),
            Err(error) => error,
        };
        if error.retry() != Retry::Same || task.attempt + 1 >= MAX_ATTEMPTS {
            return Err(error);
        }
        let pause = pause(task.attempt, error.retry_after(), ids.uuid().as_u128());
        tracing::warn!(stage = task.stage, task = task.task, attempt = task.attempt, %error, ?pause,
            "an attempt failed and is repeated");
        tokio::select! {
            biased;
            () = cancel.cancelled() => return Err(Error::cancelled("the statement was stopped before it committed")),
            () = tokio::time::sleep(pause) => {}
        }
        task.attempt += 1;
    }
}

/// The pause after attempt number `attempt`: doubled each time, and half of it by chance (`random`); at least what
/// the service asked for.
fn pause(attempt: u32, asked: Option<Duration>, random: u128) -> Duration {
    let whole = FIRST_PAUSE.saturating_mul(1 << attempt.min(16)).min(LONGEST_PAUSE);
    let half = whole / 2;
    let by_chance = Duration::from_nanos(u64::try_from(random % half.as_nanos().max(1)).unwrap_or(0));
    (half + by_chance).max(asked.unwrap_or_default().min(LONGEST_PAUSE))
}

#[cfg(test)]
mod tests;
