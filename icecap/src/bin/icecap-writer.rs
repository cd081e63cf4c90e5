//! `icecap-writer`: the Lambda function that runs tasks. It is a bootstrap for `provided.al2023`.
//!
//! Everything that a task needs comes in its request; credentials and region come from the function's role and
//! environment.

use std::time::Duration;

use icecap::worker::{HostSettings, ReplyEvent, RequestEvent, WorkerHost};
use icecap_table::clock::{Clock, SystemClock};
use icecap_table::storage::Storage;
use lambda_runtime::{Error, LambdaEvent, run, service_fn};

/// What is kept of the function's time to clear away and answer.
const RESERVE: Duration = Duration::from_secs(2);
/// Of a hundred bytes of the function's memory, those that operators and writers may hold.
const MEMORY_PERCENT: u64 = 70;

#[tokio::main]
async fn main() -> Result<(), Error> {
    lambda_runtime::tracing::init_default_subscriber();
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
    let memory_mb: Option<u64> =
        std::env::var("AWS_LAMBDA_FUNCTION_MEMORY_SIZE").ok().and_then(|text| text.parse().ok());
    let memory_bytes = memory_mb.map(|mb| (mb << 20) / 100 * MEMORY_PERCENT);
    let host = WorkerHost::new(Storage::local(), HostSettings { threads, memory_bytes });
    run(service_fn(move |event: LambdaEvent<RequestEvent>| {
        let host = host.clone();
        async move {
            let deadline_ms = i64::try_from(event.context.deadline).unwrap_or(i64::MAX);
            let left = deadline_ms.saturating_sub(SystemClock.now_ms());
            let left = Duration::from_millis(u64::try_from(left).unwrap_or(0)).saturating_sub(RESERVE);
            let reply = host.answer(event.payload.request()?, Some(left)).await;
            Ok::<_, Error>(ReplyEvent::new(&reply))
        }
    }))
    .await
}
