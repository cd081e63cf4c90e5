//! A Lambda function that does what its event says: to see what a Lambda service does with it.

use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use serde_json::{Value, json};

#[tokio::main]
async fn main() -> Result<(), Error> {
    match std::env::var("PROBE_INIT").as_deref() {
        Ok("exit") => std::process::exit(7),
        Ok("hang") => std::thread::sleep(Duration::from_secs(3600)),
        _ => {}
    }
    let count = AtomicU64::new(0);
    run(service_fn(|event: LambdaEvent<Value>| {
        let count = count.fetch_add(1, Ordering::Relaxed) + 1;
        async move { answer(&event, count).await }
    }))
    .await
}

async fn answer(event: &LambdaEvent<Value>, count: u64) -> Result<Value, Error> {
    let asked = &event.payload;
    let number = |name: &str| asked[name].as_u64();
    if let Some(path) = asked["note"].as_str() {
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path)?;
        writeln!(file, "{}", std::process::id())?;
    }
    if let Some(text) = asked["print"].as_str() {
        println!("{text}");
        std::io::stdout().flush()?;
    }
    if let Some(mb) = number("allocate_mb") {
        // Touched, so that it is really had.
        let held = vec![1_u8; usize::try_from(mb << 20)?];
        tokio::time::sleep(Duration::from_secs(5)).await;
        return Ok(json!(held.len()));
    }
    if let Some(ms) = number("sleep_ms") {
        tokio::time::sleep(Duration::from_millis(ms)).await;
    }
    if let Some(status) = number("exit") {
        std::process::exit(i32::try_from(status)?);
    }
    if let Some(text) = asked["fail"].as_str() {
        return Err(text.into());
    }
    if let Some(bytes) = number("respond_bytes") {
        // With the quotes around it.
        return Ok(json!("x".repeat(usize::try_from(bytes)?.saturating_sub(2))));
    }
    Ok(json!({
        "process": std::process::id(),
        "count": count,
        "temporary": std::env::temp_dir(),
        "memory": std::env::var("AWS_LAMBDA_FUNCTION_MEMORY_SIZE")?,
        "zone": std::env::var("TZ")?,
        "arn": event.context.invoked_function_arn,
        "deadline_ms": event.context.deadline,
        "variable": std::env::var("PROBE").ok(),
        "home_of_icecap": std::env::var("ICECAP_WAREHOUSE").ok(),
    }))
}
