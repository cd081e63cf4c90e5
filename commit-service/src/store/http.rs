//! Every HTTP request to S3: counted, tried again where that may help, its refusals read.
//!
//! All retrying of requests is here, and none in `object_store`, so that each attempt is seen: it is counted, and
//! one whose answer was lost raises the request's [`Doubt`]. A signature holds for a quarter of an hour, which
//! the time allowed here is far below. Only bodies that break off are taken up again by `object_store`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use icecap_table::clock::IdSource;
use icecap_table::storage::RequestCounts;
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService,
    ReqwestConnector,
};

use super::refusal::{Failure, Refusal, What};

/// How long a request is tried in all.
const RETRY_WITHIN: Duration = Duration::from_secs(60);
/// How long a server that cannot even be connected to is tried: it is rather the wrong one than a busy one.
const CONNECT_RETRY_WITHIN: Duration = Duration::from_secs(4);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LAST_PAUSE: Duration = Duration::from_secs(5);
/// Of an answer that is a refusal, no more is read.
const REFUSAL_BYTES: usize = 64 << 10;
/// Answers that may be a success and hold a refusal all the same are read whole, up to this.
const ANSWER_BYTES: usize = 8 << 20;

/// What a request is, as far as counting goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Get,
    Head,
    Put,
    List,
    Delete,
    Multipart,
}

impl Kind {
    fn of(method: &str, query: &str) -> Self {
        let has = |name: &str| {
            query.split('&').any(|pair| pair.split('=').next().is_some_and(|found| found == name))
        };
        match method {
            "HEAD" => Self::Head,
            _ if has("uploadId") || has("uploads") => Self::Multipart,
            "GET" if has("list-type") => Self::List,
            "GET" => Self::Get,
            "DELETE" => Self::Delete,
            "POST" if has("delete") => Self::Delete,
            _ => Self::Put,
        }
    }
}

/// Counts requests.
#[derive(Debug, Default)]
pub(super) struct Meter {
    kinds: [AtomicU64; 6],
    retried: AtomicU64,
    sent: AtomicU64,
    received: AtomicU64,
}

impl Meter {
    pub(super) fn add(&self, kind: Kind) {
        self.kinds[kind as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn counts(&self) -> RequestCounts {
        let kind = |kind: Kind| self.kinds[kind as usize].load(Ordering::Relaxed);
        RequestCounts {
            get: kind(Kind::Get),
            head: kind(Kind::Head),
            put: kind(Kind::Put),
            list: kind(Kind::List),
            delete: kind(Kind::Delete),
            multipart: kind(Kind::Multipart),
            retried: self.retried.load(Ordering::Relaxed),
            bytes_sent: self.sent.load(Ordering::Relaxed),
            bytes_received: self.received.load(Ordering::Relaxed),
        }
    }
}

/// Travels with a request, and is raised when an attempt of it may have had its effect although it failed.
#[derive(Debug, Clone, Default)]
pub(super) struct Doubt(Arc<AtomicBool>);

impl Doubt {
    pub(super) fn is_raised(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    fn raise(&self) {
        self.0.store(true, Ordering::Release);
    }
}

/// Makes the HTTP clients of buckets.
#[derive(Debug)]
pub(super) struct Connector {
    pub(super) meter: Arc<Meter>,
    pub(super) ids: Arc<dyn IdSource>,
}

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let client = ReqwestConnector::default().connect(options)?;
        Ok(HttpClient::new(Service { client, meter: Arc::clone(&self.meter), ids: Arc::clone(&self.ids) }))
    }
}

#[derive(Debug)]
struct Service {
    client: HttpClient,
    meter: Arc<Meter>,
    ids: Arc<dyn IdSource>,
}

/// How an attempt ended, when it did not succeed.
enum Missed {
    /// It fails, now and later.
    For(What),
    /// It may succeed later.
    Passing(What),
}

#[async_trait]
impl HttpService for Service {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let started = Instant::now();
        let kind = Kind::of(request.method().as_str(), request.uri().query().unwrap_or_default());
        let sent = request.body().content_length() as u64;
        let mut attempts = 0;
        loop {
            self.meter.add(kind);
            self.meter.sent.fetch_add(sent, Ordering::Relaxed);
            attempts += 1;
            let (what, may_pass) = match self.attempt(kind, &request).await {
                Ok(response) => return Ok(response),
                Err(Missed::For(what)) => (what, false),
                Err(Missed::Passing(what)) => (what, true),
            };
            let unconnected = matches!(what, What::Lost(HttpErrorKind::Connect, _));
            let bound = if unconnected { CONNECT_RETRY_WITHIN } else { RETRY_WITHIN };
            let pause = self.pause(attempts, &what);
            if !may_pass || started.elapsed() + pause > bound {
                let failure = Failure { what, attempts, took: started.elapsed() };
                // Of this kind, `object_store` tries nothing again.
                return Err(HttpError::new(HttpErrorKind::Unknown, failure));
            }
            if !unconnected && let Some(doubt) = request.extensions().get::<Doubt>() {
                doubt.raise();
            }
            let method = request.method().as_str();
            tracing::debug!(method, path = request.uri().path(), attempts, ?pause, why = ?what, "S3 is asked again");
            self.meter.retried.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(pause).await;
        }
    }
}

impl Service {
    async fn attempt(&self, kind: Kind, request: &HttpRequest) -> Result<HttpResponse, Missed> {
        let lost = |error: &HttpError| What::Lost(error.kind(), root(error));
        let response =
            self.client.execute(request.clone()).await.map_err(|error| Missed::Passing(lost(&error)))?;
        let status = response.status().as_u16();
        let header = |name: &str| Some(response.headers().get(name)?.to_str().ok()?.to_owned());
        if let Some(length) = header("content-length").and_then(|length| length.parse::<u64>().ok())
            && kind != Kind::Head
        {
            self.meter.received.fetch_add(length, Ordering::Relaxed);
        }
        // A POST begins to be answered before it is done: a refusal comes in the body of a success. What comes as one
        // document is read here, so that one that breaks off is asked for again.
        let is_read_whole = request.method().as_str() == "POST" || kind == Kind::List;
        match status {
            200..=299 if is_read_whole => {
                let (parts, body) = response.into_parts();
                let body = read(body.bytes_stream(), ANSWER_BYTES).await;
                let body = body.map_err(|error| Missed::Passing(lost(&error)))?;
                let refusal = Refusal::parse(status, &body);
                match &refusal.code {
                    None => Ok(HttpResponse::from_parts(parts, body.into())),
                    Some(_) => Err(missed(refusal)),
                }
            }
            200..=299 => Ok(response),
            // The store's own business: conditions that do not hold. Their bodies say no more, and may break off.
            304 | 412 | 416 => Ok(HttpResponse::from_parts(response.into_parts().0, Bytes::new().into())),
            _ => {
                let region = header("x-amz-bucket-region");
                let retry_after = header("retry-after").and_then(|after| after.parse().ok());
                let (parts, body) = response.into_parts();
                // What cannot be read of a refusal is not needed either.
                let body = read(body.bytes_stream(), REFUSAL_BYTES).await.unwrap_or_default();
                let mut refusal = Refusal::parse(status, &body);
                refusal.region = region.or(refusal.region);
                refusal.retry_after = retry_after.map(Duration::from_secs);
                // Some servers say so too of keys that they do not know.
                let is_of_object =
                    matches!(refusal.code(), "" | "NoSuchKey" | "NoSuchUpload" | "NoSuchVersion");
                if status == 404 && is_of_object {
                    return Ok(HttpResponse::from_parts(parts, Bytes::new().into()));
                }
                Err(missed(refusal))
            }
        }
    }

    /// A pause with jitter: between nothing and what the number of attempts asks for, but no less than the server.
    fn pause(&self, attempts: u32, what: &What) -> Duration {
        let full = FIRST_PAUSE.saturating_mul(1 << attempts.min(10)).min(LAST_PAUSE);
        let [low, high, ..] = self.ids.uuid().as_u128().to_le_bytes();
        let part = f64::from(u16::from_le_bytes([low, high])) / f64::from(u16::MAX);
        let asked = match what {
            What::Refused(refusal) => refusal.retry_after,
            What::Lost(..) => None,
        };
        full.mul_f64(part).max(asked.unwrap_or_default())
    }
}

fn missed(refusal: Refusal) -> Missed {
    let passing = refusal.is_passing();
    let what = What::Refused(refusal);
    if passing { Missed::Passing(what) } else { Missed::For(what) }
}

/// The innermost cause: what wraps it says that a request failed, which is known.
fn root(error: &HttpError) -> String {
    let mut at: &dyn std::error::Error = error;
    while let Some(cause) = at.source() {
        at = cause;
    }
    at.to_string()
}

async fn read(
    mut body: futures::stream::BoxStream<'static, Result<Bytes, HttpError>>,
    most: usize,
) -> Result<Bytes, HttpError> {
    let mut whole = BytesMut::new();
    while let Some(chunk) = body.next().await {
        let chunk = chunk?;
        whole.extend_from_slice(&chunk[..chunk.len().min(most - whole.len())]);
        if whole.len() == most {
            break;
        }
    }
    Ok(whole.freeze())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_told_apart_by_method_and_query() {
        for (method, query, kind) in [
            ("GET", "", Kind::Get),
            ("GET", "list-type=2&prefix=uploads", Kind::List),
            ("HEAD", "", Kind::Head),
            ("PUT", "", Kind::Put),
            ("PUT", "partNumber=1&uploadId=x", Kind::Multipart),
            ("POST", "uploads=", Kind::Multipart),
            ("POST", "uploadId=x", Kind::Multipart),
            ("DELETE", "uploadId=x", Kind::Multipart),
            ("POST", "delete", Kind::Delete),
            ("DELETE", "", Kind::Delete),
        ] {
            assert_eq!(Kind::of(method, query), kind, "{method} {query}");
        }
    }
}
