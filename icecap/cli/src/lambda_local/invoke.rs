//! The Invoke API: what clients talk to.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use icecap_table::clock::{IdSource, SystemIds};
use serde_json::{Value, json};

use super::faults::{Fate, Faults};
use super::function::{Function, Invoked, Slot, broken};

/// The largest request that waits for its answer, in bytes: Lambda's 6 MB.
const MAX_REQUEST_BYTES: usize = 6_291_456;
/// The largest request of type Event, in bytes.
const MAX_EVENT_BYTES: usize = 1_048_576;
/// The largest body that is read at all.
const MAX_BODY_BYTES: usize = 64 << 20;

/// Pauses before an event that failed is delivered again. (AWS waits one and two minutes.)
const EVENT_PAUSES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(2)];

/// The functions, and what goes wrong on purpose.
#[derive(Debug)]
pub(super) struct Service {
    functions: BTreeMap<String, Arc<Function>>,
    faults: Faults,
}

impl Service {
    pub(super) fn new(functions: BTreeMap<String, Arc<Function>>, faults: Faults) -> Self {
        Self { functions, faults }
    }

    /// The function of a name, `name:qualifier` or (partial) ARN.
    fn function(&self, name: &str) -> Option<&Arc<Function>> {
        let name = name.split_once("function:").map_or(name, |(_, name)| name);
        self.functions.get(name.split(':').next().unwrap_or_default())
    }
}

/// The routes. `GET /status` is not Lambda's: it tells what runs.
pub(super) fn routes(service: Arc<Service>) -> Router {
    Router::new()
        .route("/2015-03-31/functions/{name}/invocations", post(invoke))
        .route("/status", get(status))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .with_state(service)
}

async fn status(State(service): State<Arc<Service>>) -> Response {
    let functions: Vec<Value> = service.functions.values().map(|function| function.status()).collect();
    (json_type(), Value::from(functions).to_string()).into_response()
}

async fn invoke(
    State(service): State<Arc<Service>>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let Some(function) = service.function(&name) else {
        return error(
            StatusCode::NOT_FOUND,
            "ResourceNotFoundException",
            json!({"Type": "User", "Message": format!("Function not found: {name}")}),
        );
    };
    let kind = header("x-amz-invocation-type").unwrap_or("RequestResponse");
    let limit = if kind == "Event" { MAX_EVENT_BYTES } else { MAX_REQUEST_BYTES };
    if body.len() > limit {
        let message = format!("Request must be smaller than {limit} bytes for the InvokeFunction operation");
        return error(
            StatusCode::PAYLOAD_TOO_LARGE,
            "RequestTooLargeException",
            json!({"Type": "User", "message": message}),
        );
    }
    let body = if body.is_empty() { Bytes::from_static(b"{}") } else { body };
    if serde_json::from_slice::<serde::de::IgnoredAny>(&body).is_err() {
        return error(
            StatusCode::BAD_REQUEST,
            "InvalidRequestContentException",
            json!({"Type": "User", "message": "Could not parse request body into json"}),
        );
    }
    let context = header("x-amz-client-context").and_then(|text| STANDARD.decode(text).ok());
    let context = context.and_then(|bytes| String::from_utf8(bytes).ok());
    match kind {
        "RequestResponse" => {
            let tail = header("x-amz-log-type") == Some("Tail");
            let fate = service.faults.next();
            request_response(function, body, context, fate, tail).await
        }
        "Event" => {
            let id = SystemIds.uuid().to_string();
            tokio::spawn(event(Arc::clone(function), body, context));
            (StatusCode::ACCEPTED, id_header(&id)).into_response()
        }
        "DryRun" => (StatusCode::NO_CONTENT, id_header(&SystemIds.uuid().to_string())).into_response(),
        _ => error(
            StatusCode::BAD_REQUEST,
            "InvalidParameterValueException",
            json!({"Type": "User", "message": format!("{kind} is no invocation type")}),
        ),
    }
}

async fn request_response(
    function: &Arc<Function>,
    body: Bytes,
    context: Option<String>,
    fate: Fate,
    tail: bool,
) -> Response {
    let slot = if fate.throttle {
        function.throttled();
        None
    } else {
        function.slot()
    };
    let Some(slot) = slot else { return throttled() };
    if fate.duplicate {
        duplicate(function, &body, context.clone());
    }
    // In a task of its own: a caller that gives up does not stop the function.
    let invoked = detached(Arc::clone(function), slot, body, context, fate.kill_after).await;
    let invoked = match invoked {
        Ok(invoked) => invoked,
        Err(response) => return response,
    };
    if fate.drop_reply {
        tracing::info!(request = invoked.request_id, "its reply is dropped on demand");
        return lost();
    }
    let mut headers = id_header(&invoked.request_id);
    let mut add = |name: &'static str, value: String| {
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    };
    add("content-type", "application/json".to_owned());
    add("x-amz-executed-version", "$LATEST".to_owned());
    if invoked.is_error {
        add("x-amz-function-error", "Unhandled".to_owned());
    }
    if tail {
        add("x-amz-log-result", STANDARD.encode(&invoked.log));
    }
    (StatusCode::OK, headers, invoked.payload).into_response()
}

async fn detached(
    function: Arc<Function>,
    slot: Slot,
    body: Bytes,
    context: Option<String>,
    kill_after: Option<Duration>,
) -> Result<Invoked, Response> {
    let running = tokio::spawn(async move { function.invoke(slot, body, context, kill_after).await });
    let failed = |body: Value| error(StatusCode::INTERNAL_SERVER_ERROR, "ServiceException", body);
    match running.await {
        Ok(Ok(invoked)) => Ok(invoked),
        Ok(Err(error)) => Err(failed(broken(&error))),
        Err(_) => Err(failed(json!({"Type": "Service", "Message": "the invocation broke off"}))),
    }
}

/// Delivers the same event to a second process; nobody waits for what it answers.
fn duplicate(function: &Arc<Function>, body: &Bytes, context: Option<String>) {
    let (function, body) = (Arc::clone(function), body.clone());
    tokio::spawn(async move {
        let slot = loop {
            match function.slot() {
                Some(slot) => break slot,
                None => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        };
        if let Err(error) = function.invoke(slot, body, context, None).await {
            tracing::warn!(%error, "a duplicate could not be run");
        }
    });
}

/// Runs an event that nobody waits for; twice more when it fails.
async fn event(function: Arc<Function>, body: Bytes, context: Option<String>) {
    let mut pauses = EVENT_PAUSES.into_iter();
    loop {
        if let Some(slot) = function.slot()
            && let Ok(Invoked { is_error: false, .. }) =
                function.invoke(slot, body.clone(), context.clone(), None).await
        {
            return;
        }
        let Some(pause) = pauses.next() else {
            tracing::warn!(function = function.arn(), "an event failed for good");
            return;
        };
        tokio::time::sleep(pause).await;
    }
}

/// The answer that does not arrive: the connection ends in the middle of it.
fn lost() -> Response {
    let broken = futures::stream::once(async {
        Err::<Bytes, _>(std::io::Error::new(std::io::ErrorKind::ConnectionReset, "dropped on demand"))
    });
    Response::new(Body::from_stream(broken))
}

fn throttled() -> Response {
    let mut response = error(
        StatusCode::TOO_MANY_REQUESTS,
        "TooManyRequestsException",
        json!({"Reason": "ReservedFunctionConcurrentInvocationLimitExceeded", "Type": "User",
            "message": "Rate Exceeded."}),
    );
    response.headers_mut().insert("retry-after", HeaderValue::from_static("0"));
    response
}

fn error(status: StatusCode, kind: &'static str, body: Value) -> Response {
    let mut response = (status, json_type(), body.to_string()).into_response();
    response.headers_mut().insert("x-amzn-errortype", HeaderValue::from_static(kind));
    response.headers_mut().extend(id_header(&SystemIds.uuid().to_string()));
    response
}

fn json_type() -> [(&'static str, &'static str); 1] {
    [("content-type", "application/json")]
}

fn id_header(id: &str) -> HeaderMap {
    let value = HeaderValue::from_str(id).ok();
    value.map(|value| (HeaderName::from_static("x-amzn-requestid"), value)).into_iter().collect()
}
