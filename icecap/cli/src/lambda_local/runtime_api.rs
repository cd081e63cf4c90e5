//! The Runtime API: what one process asks for its next event at, and answers to.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use icecap_table::{Error, Result};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

/// The largest response of a function, in bytes: Lambda's 6 MB, and a little.
pub(super) const MAX_RESPONSE_BYTES: usize = 6_291_556;
/// The largest body that is read at all.
const MAX_BODY_BYTES: usize = 64 << 20;

/// An invocation as a process gets it.
#[derive(Debug, Clone)]
pub(super) struct Event {
    pub(super) request_id: String,
    pub(super) deadline_ms: i64,
    pub(super) function_arn: String,
    /// JSON.
    pub(super) client_context: Option<String>,
    pub(super) payload: Bytes,
}

/// What a process answered to an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    Response(Bytes),
    Error(Bytes),
    TooLarge(usize),
}

/// The API of one process, on a port of its own.
#[derive(Debug)]
pub(super) struct RuntimeApi {
    pub(super) address: SocketAddr,
    events: mpsc::Sender<Event>,
    shared: Arc<Shared>,
    server: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    events: tokio::sync::Mutex<mpsc::Receiver<Event>>,
    /// How often the next event was asked for.
    polls: watch::Sender<u64>,
    /// What the process said when it could not start.
    init_error: watch::Sender<Option<Bytes>>,
    waiting: Mutex<Option<(String, oneshot::Sender<Answer>)>>,
}

impl RuntimeApi {
    /// Listens on a free loopback port.
    ///
    /// # Errors
    /// `Unavailable` when there is none.
    pub(super) async fn start() -> Result<Self> {
        let failed =
            |error: std::io::Error| Error::unavailable("cannot listen for a function").with_source(error);
        let listener = TcpListener::bind("127.0.0.1:0").await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let (events, receiver) = mpsc::channel(1);
        let shared = Arc::new(Shared {
            events: tokio::sync::Mutex::new(receiver),
            polls: watch::Sender::new(0),
            init_error: watch::Sender::new(None),
            waiting: Mutex::default(),
        });
        let routes = Router::new()
            .route("/2018-06-01/runtime/invocation/next", get(next))
            .route("/2018-06-01/runtime/invocation/{id}/response", post(response))
            .route("/2018-06-01/runtime/invocation/{id}/error", post(error))
            .route("/2018-06-01/runtime/init/error", post(init_error))
            .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
            .with_state(Arc::clone(&shared));
        let server = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, routes).await {
                tracing::warn!(%error, "a function's Runtime API ended");
            }
        });
        Ok(Self { address, events, shared, server })
    }

    /// Gives the process an event; what it answers comes through the receiver.
    pub(super) async fn deliver(&self, event: Event) -> oneshot::Receiver<Answer> {
        let (sender, receiver) = oneshot::channel();
        *self.shared.waiting() = Some((event.request_id.clone(), sender));
        // The receiver lives as long as the server.
        let _ = self.events.send(event).await;
        receiver
    }

    /// Waits until the process has asked for an event so often in all.
    pub(super) async fn polled(&self, times: u64) {
        let mut polls = self.shared.polls.subscribe();
        let _ = polls.wait_for(|count| *count >= times).await;
    }

    /// Waits until the process says that it cannot start; gives its words.
    pub(super) async fn init_failed(&self) -> Bytes {
        let mut said = self.shared.init_error.subscribe();
        match said.wait_for(Option::is_some).await.map(|said| said.clone()) {
            Ok(Some(said)) => said,
            _ => std::future::pending().await,
        }
    }
}

impl Drop for RuntimeApi {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Shared {
    fn waiting(&self) -> MutexGuard<'_, Option<(String, oneshot::Sender<Answer>)>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(&self, id: &str, answer: Answer) -> Response {
        let waiting = self.waiting().take_if(|(expected, _)| expected == id);
        match waiting {
            Some((_, caller)) => {
                let refused = matches!(answer, Answer::TooLarge(_));
                // The caller may have gone.
                let _ = caller.send(answer);
                if refused { StatusCode::PAYLOAD_TOO_LARGE } else { StatusCode::ACCEPTED }.into_response()
            }
            None => (StatusCode::BAD_REQUEST, r#"{"errorType":"InvalidRequestID"}"#).into_response(),
        }
    }
}

async fn next(State(shared): State<Arc<Shared>>) -> Response {
    let mut events = shared.events.lock().await;
    shared.polls.send_modify(|count| *count += 1);
    let Some(event) = events.recv().await else { return StatusCode::GONE.into_response() };
    let mut headers = HeaderMap::new();
    let mut add = |name: &'static str, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    };
    add("content-type", "application/json");
    add("lambda-runtime-aws-request-id", &event.request_id);
    add("lambda-runtime-deadline-ms", &event.deadline_ms.to_string());
    add("lambda-runtime-invoked-function-arn", &event.function_arn);
    add("lambda-runtime-trace-id", &format!("Root=1-{}", event.request_id));
    if let Some(context) = &event.client_context {
        add("lambda-runtime-client-context", context);
    }
    (headers, event.payload).into_response()
}

async fn response(State(shared): State<Arc<Shared>>, Path(id): Path<String>, body: Bytes) -> Response {
    let size = body.len();
    let answer = if size > MAX_RESPONSE_BYTES { Answer::TooLarge(size) } else { Answer::Response(body) };
    shared.answer(&id, answer)
}

async fn error(State(shared): State<Arc<Shared>>, Path(id): Path<String>, body: Bytes) -> Response {
    shared.answer(&id, Answer::Error(body))
}

async fn init_error(State(shared): State<Arc<Shared>>, body: Bytes) -> Response {
    shared.init_error.send_replace(Some(body));
    StatusCode::ACCEPTED.into_response()
}
