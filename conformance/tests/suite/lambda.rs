//! `icecap lambda-local` as AWS's own client sees it, in front of a function that does what it is told.

use std::path::Path;
use std::time::{Duration, Instant};

use aws_sdk_lambda::config::{BehaviorVersion, Credentials, Region, retry::RetryConfig};
use aws_sdk_lambda::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_lambda::operation::invoke::{InvokeError, InvokeOutput};
use aws_sdk_lambda::primitives::Blob;
use aws_sdk_lambda::types::{InvocationType, LogType};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use icecap_conformance::stack::{LambdaService, icecap_binary, is_running, run_within, wait_until};
use serde_json::{Value, json};

const FUNCTION: &str = "probe";
/// For what takes a moment, on a machine that has much else to do.
const SOON: Duration = Duration::from_secs(60);

fn serve(options: &[&str]) -> LambdaService {
    LambdaService::start(FUNCTION, Path::new(env!("CARGO_BIN_EXE_lambda-probe")), options).unwrap()
}

struct Client(aws_sdk_lambda::Client);

impl Client {
    fn of(service: &LambdaService) -> Self {
        let http = aws_smithy_http_client::Builder::new().build_http();
        let config = aws_sdk_lambda::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .http_client(http)
            .endpoint_url(&service.url)
            .region(Region::from_static("us-east-1"))
            .credentials_provider(Credentials::new("local", "local", None, None, "test"))
            .retry_config(RetryConfig::disabled());
        Self(aws_sdk_lambda::Client::from_conf(config.build()))
    }

    async fn invoke(&self, event: Value) -> Result<InvokeOutput, SdkError<InvokeError>> {
        self.send(FUNCTION, event.to_string().into_bytes(), InvocationType::RequestResponse).await
    }

    async fn send(
        &self,
        function: &str,
        event: Vec<u8>,
        kind: InvocationType,
    ) -> Result<InvokeOutput, SdkError<InvokeError>> {
        let call = self.0.invoke().function_name(function).invocation_type(kind).log_type(LogType::Tail);
        call.payload(Blob::new(event)).send().await
    }

    /// What the function answers.
    async fn ask(&self, event: Value) -> Value {
        let answer = self.invoke(event).await.unwrap();
        assert_eq!(answer.function_error(), None, "{answer:?}");
        payload(&answer)
    }

    /// The error that the function or its process ended with.
    async fn fail(&self, event: Value) -> (String, String) {
        let answer = self.invoke(event).await.unwrap();
        assert_eq!((answer.status_code(), answer.function_error()), (200, Some("Unhandled")));
        let error = payload(&answer);
        let text = |name: &str| error[name].as_str().unwrap_or_default().to_owned();
        (text("errorType"), text("errorMessage"))
    }

    /// The code that an invocation is refused with.
    async fn refusal(&self, function: &str, event: Vec<u8>, kind: InvocationType) -> (u16, String) {
        let error = self.send(function, event, kind).await.unwrap_err();
        let status = error.raw_response().unwrap().status().as_u16();
        (status, error.code().unwrap_or_default().to_owned())
    }
}

fn payload(answer: &InvokeOutput) -> Value {
    serde_json::from_slice(answer.payload().unwrap().as_ref()).unwrap()
}

fn log(answer: &InvokeOutput) -> String {
    String::from_utf8(STANDARD.decode(answer.log_result().unwrap()).unwrap()).unwrap()
}

/// What the service says of its function.
fn status(service: &LambdaService) -> Value {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(service.url.trim_start_matches("http://")).unwrap();
    stream.write_all(b"GET /status HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let body = text.split_once("\r\n\r\n").unwrap().1;
    serde_json::from_str::<Value>(body).unwrap()[0].clone()
}

#[tokio::test]
async fn from_zero_to_a_warm_process_and_back_to_zero() {
    // Idle for long enough that the second invocation finds the process of the first on a busy machine too.
    let service = serve(&["--idle-ttl", "5s", "--memory", "512", "--variable", "PROBE=set"]);
    let client = Client::of(&service);
    assert_eq!(status(&service)["cold_starts"], 0);
    let cold = client.invoke(json!({"print": "hello from inside"})).await.unwrap();
    let first = payload(&cold);
    assert_eq!((cold.status_code(), cold.executed_version()), (200, Some("$LATEST")));
    assert!(log(&cold).contains("hello from inside\nEND RequestId: "), "{}", log(&cold));
    assert!(log(&cold).contains("\tMemory Size: 512 MB\t") && log(&cold).contains("\tInit Duration: "));
    let warm = client.invoke(json!({})).await.unwrap();
    let second = payload(&warm);
    assert!(!log(&warm).contains("Init Duration") && !log(&warm).contains("hello"), "{}", log(&warm));
    assert_eq!((&first["count"], &second["count"]), (&json!(1), &json!(2)));
    assert_eq!(first["process"], second["process"]);
    assert_eq!(
        (&first["memory"], &first["zone"], &first["variable"]),
        (&json!("512"), &json!(":UTC"), &json!("set"))
    );
    assert_eq!(first["arn"], "arn:aws:lambda:us-east-1:000000000000:function:probe");
    assert_eq!(first["home_of_icecap"], Value::Null, "the service's own settings reach the function");

    let process = u32::try_from(first["process"].as_u64().unwrap()).unwrap();
    let temporary = first["temporary"].as_str().unwrap().to_owned();
    assert!(Path::new(&temporary).is_dir());
    wait_until("the process has ended", SOON, || !is_running(process)).unwrap();
    wait_until("its folder is gone", SOON, || !Path::new(&temporary).exists()).unwrap();
    let third = client.ask(json!({})).await;
    assert_eq!(third["count"], 1);
    assert_ne!(third["temporary"], json!(temporary));
    assert_eq!((&status(&service)["cold_starts"], &status(&service)["invocations"]), (&json!(2), &json!(3)));
}

#[tokio::test]
async fn what_is_over_the_limit_is_throttled() {
    let service = serve(&["--concurrency", "2"]);
    let client = Client::of(&service);
    let slow = || client.invoke(json!({"sleep_ms": 3000}));
    let late = async {
        while status(&service)["running"] != 2 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        client.refusal(FUNCTION, b"{}".to_vec(), InvocationType::RequestResponse).await
    };
    let (one, two, refused) = tokio::join!(slow(), slow(), late);
    assert_ne!(payload(&one.unwrap())["process"], payload(&two.unwrap())["process"]);
    assert_eq!(refused, (429, "TooManyRequestsException".to_owned()));
    client.ask(json!({})).await;
    let status = status(&service);
    assert_eq!(
        (&status["cold_starts"], &status["throttles"], &status["idle"]),
        (&json!(2), &json!(1), &json!(2))
    );
}

#[tokio::test]
async fn a_process_that_takes_too_long_is_killed_and_replaced() {
    let service = serve(&["--timeout", "5s"]);
    let client = Client::of(&service);
    let before = client.ask(json!({})).await;
    let started = Instant::now();
    let (kind, message) = client.fail(json!({"sleep_ms": 600_000})).await;
    assert_eq!(kind, "Sandbox.Timedout");
    assert!(message.ends_with("Task timed out after 5.00 seconds"), "{message}");
    assert!((5.0..60.0).contains(&started.elapsed().as_secs_f64()));
    let process = u32::try_from(before["process"].as_u64().unwrap()).unwrap();
    wait_until("the process has ended", SOON, || !is_running(process)).unwrap();
    assert_eq!(client.ask(json!({})).await["count"], 1);
}

#[tokio::test]
async fn crashes_errors_and_lack_of_memory_are_told_as_lambda_tells_them() {
    let service = serve(&["--memory", "256"]);
    let client = Client::of(&service);
    let (kind, message) = client.fail(json!({"exit": 3})).await;
    assert_eq!(kind, "Runtime.ExitError");
    assert!(message.ends_with("Runtime exited with error: exit status 3"), "{message}");
    let (_, message) = client.fail(json!({"exit": 0})).await;
    assert!(message.ends_with("Runtime exited without providing a reason"), "{message}");
    let (kind, message) = client.fail(json!({"fail": "the function says no"})).await;
    assert_eq!(message, "the function says no");
    assert_ne!(kind, "Runtime.ExitError");
    let answer = client.invoke(json!({"allocate_mb": 600})).await.unwrap();
    assert!(payload(&answer)["errorMessage"].as_str().unwrap().ends_with("signal: killed"), "{answer:?}");
    assert!(log(&answer).contains("Max Memory Used: 256 MB"), "{}", log(&answer));
    assert_eq!(client.ask(json!({})).await["count"], 1);
}

#[tokio::test]
async fn payloads_are_held_to_lambdas_limits() {
    let service = serve(&[]);
    let client = Client::of(&service);
    let event = |bytes: usize| format!("\"{}\"", "x".repeat(bytes - 2)).into_bytes();
    let all = InvocationType::RequestResponse;
    let taken = client.send(FUNCTION, event(6_291_456), all.clone()).await.unwrap();
    assert_eq!(payload(&taken)["count"], 1);
    assert_eq!(
        client.refusal(FUNCTION, event(6_291_457), all.clone()).await,
        (413, "RequestTooLargeException".to_owned())
    );
    assert_eq!(
        client.refusal(FUNCTION, event(1_048_577), InvocationType::Event).await.1,
        "RequestTooLargeException"
    );
    let large = client.invoke(json!({"respond_bytes": 6_291_556})).await.unwrap();
    assert_eq!(large.payload().unwrap().as_ref().len(), 6_291_556);
    let (kind, message) = client.fail(json!({"respond_bytes": 6_291_557})).await;
    assert_eq!(kind, "Function.ResponseSizeTooLarge");
    assert!(message.contains("6291556 bytes"), "{message}");
    client.ask(json!({})).await;
}

#[tokio::test]
async fn names_bodies_and_kinds_of_invocation() {
    let folder = tempfile::tempdir().unwrap();
    let note = folder.path().join("note");
    let service = serve(&[]);
    let client = Client::of(&service);
    let all = InvocationType::RequestResponse;
    assert_eq!(
        client.refusal("nobody", b"{}".to_vec(), all.clone()).await,
        (404, "ResourceNotFoundException".to_owned())
    );
    assert_eq!(
        client.refusal(FUNCTION, b"{no".to_vec(), all.clone()).await,
        (400, "InvalidRequestContentException".to_owned())
    );
    for name in ["arn:aws:lambda:us-east-1:000000000000:function:probe", "probe:$LATEST"] {
        client.send(name, b"{}".to_vec(), all.clone()).await.unwrap();
    }
    let dry = client.send(FUNCTION, b"{}".to_vec(), InvocationType::DryRun).await.unwrap();
    assert_eq!(dry.status_code(), 204);
    let event = json!({"note": note}).to_string().into_bytes();
    let queued = client.send(FUNCTION, event, InvocationType::Event).await.unwrap();
    assert_eq!(queued.status_code(), 202);
    let lines = || std::fs::read_to_string(&note).unwrap_or_default().lines().count();
    wait_until("the event was delivered", SOON, || lines() == 1).unwrap();
    // One that fails is delivered three times.
    let event = json!({"note": note, "fail": "again"}).to_string().into_bytes();
    client.send(FUNCTION, event, InvocationType::Event).await.unwrap();
    wait_until("the event was delivered again", SOON, || lines() == 4).unwrap();
}

#[tokio::test]
async fn faults_come_when_they_are_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let note = folder.path().join("note");
    let faults = [
        "--fault",
        "duplicate@1",
        "--fault",
        "drop-reply@2",
        "--fault",
        "kill@3+50",
        "--fault",
        "throttle@4",
    ];
    let service = serve(&faults);
    let client = Client::of(&service);
    let lines = || std::fs::read_to_string(&note).unwrap_or_default().lines().count();
    client.ask(json!({"note": note})).await;
    wait_until("it was delivered twice", SOON, || lines() == 2).unwrap();
    let lost = client.invoke(json!({"note": note})).await.unwrap_err();
    assert!(lost.as_service_error().is_none_or(|error| error.code().is_none()), "{lost:?}");
    assert_eq!(lines(), 3, "what was lost is the answer");
    let (kind, message) = client.fail(json!({"sleep_ms": 20_000})).await;
    assert_eq!(kind, "Runtime.ExitError");
    assert!(message.ends_with("signal: killed"), "{message}");
    let refused = client.refusal(FUNCTION, b"{}".to_vec(), InvocationType::RequestResponse).await;
    assert_eq!(refused.0, 429);
    client.ask(json!({})).await;
}

#[tokio::test]
async fn frozen_processes_work_on_when_they_are_asked() {
    let service = serve(&["--freeze"]);
    let client = Client::of(&service);
    let process = client.ask(json!({})).await["process"].as_u64().unwrap();
    let stopped = || {
        let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
        stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'))
    };
    wait_until("the process is frozen", SOON, stopped).unwrap();
    wait_until("it can be had again", SOON, || status(&service)["idle"] == 1).unwrap();
    let second = client.ask(json!({})).await;
    assert_eq!((second["process"].as_u64(), second["count"].as_u64()), (Some(process), Some(2)));
}

#[tokio::test]
async fn a_process_that_does_not_start_is_told() {
    let service = serve(&["--variable", "PROBE_INIT=exit"]);
    let (kind, message) = Client::of(&service).fail(json!({})).await;
    assert_eq!(kind, "Runtime.ExitError");
    assert!(message.ends_with("exit status 7"), "{message}");
}

#[tokio::test]
async fn one_that_never_becomes_ready_runs_out_of_time() {
    let service = serve(&["--variable", "PROBE_INIT=hang", "--timeout", "1s"]);
    let (kind, message) = Client::of(&service).fail(json!({})).await;
    assert_eq!(kind, "Sandbox.Timedout");
    assert!(message.contains("Task timed out after 1.00 seconds"), "{message}");
}

#[test]
fn it_listens_where_nobody_else_comes() {
    let mut command = std::process::Command::new(icecap_binary().unwrap());
    command.args(["lambda-local", "--listen", "0.0.0.0:0", "--function", "f=/bin/true"]);
    let output = run_within(&mut command, "", SOON).unwrap();
    output.fails_with("invalid", "--allow-remote").unwrap();
}

#[tokio::test]
async fn functions_end_with_their_service() {
    let service = serve(&[]);
    let process = Client::of(&service).ask(json!({})).await["process"].as_u64().unwrap();
    let process = u32::try_from(process).unwrap();
    service.kill().unwrap();
    wait_until("the function has ended", SOON, || !is_running(process)).unwrap();
}
