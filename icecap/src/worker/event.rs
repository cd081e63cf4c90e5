//! Requests and replies as JSON, which is all that Lambda carries: the same bytes, in base64.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use icecap_table::{Error, Result};
use serde::{Deserialize, Serialize};

/// The version of the wrapping.
const EVENT_VERSION: u32 = 1;

/// An encoded [`TaskRequest`](super::TaskRequest) as a function's event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestEvent {
    version: u32,
    request: String,
}

/// An encoded [`TaskReply`](super::TaskReply) as a function's response.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplyEvent {
    version: u32,
    reply: String,
}

impl RequestEvent {
    /// The event of a request's bytes.
    pub fn new(request: &[u8]) -> Self {
        Self { version: EVENT_VERSION, request: STANDARD.encode(request) }
    }

    /// The request's bytes.
    ///
    /// # Errors
    /// `Corrupt` when it is broken.
    pub fn request(&self) -> Result<Bytes> {
        unwrapped("request", self.version, &self.request)
    }

    /// The event as JSON.
    pub fn json(&self) -> String {
        serde_json::json!({"version": self.version, "request": self.request}).to_string()
    }
}

impl ReplyEvent {
    /// The response of a reply's bytes.
    pub fn new(reply: &[u8]) -> Self {
        Self { version: EVENT_VERSION, reply: STANDARD.encode(reply) }
    }

    /// The reply's bytes of a function's response.
    ///
    /// # Errors
    /// `Corrupt` when it is broken.
    pub fn reply_of(response: &[u8]) -> Result<Bytes> {
        let event: Self = serde_json::from_slice(response).map_err(|error| {
            Error::corrupt("a function answered what is no task reply: is it icecap-writer?")
                .with_source(error)
        })?;
        unwrapped("reply", event.version, &event.reply)
    }
}

fn unwrapped(what: &str, version: u32, text: &str) -> Result<Bytes> {
    if version != EVENT_VERSION {
        return Err(Error::corrupt(format!(
            "a {what} event of version {version}: version {EVENT_VERSION} is known"
        )));
    }
    let bytes = STANDARD.decode(text);
    Ok(bytes
        .map_err(|error| Error::corrupt(format!("a {what} event is no base64")).with_source(error))?
        .into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wrapping_is_frozen() {
        assert_eq!(RequestEvent::new(b"\x01abc").json(), r#"{"version":1,"request":"AWFiYw=="}"#);
        let reply = serde_json::to_string(&ReplyEvent::new(b"\x01abc")).unwrap();
        assert_eq!(reply, r#"{"version":1,"reply":"AWFiYw=="}"#);
        assert_eq!(ReplyEvent::reply_of(reply.as_bytes()).unwrap(), &b"\x01abc"[..]);
        let event: RequestEvent = serde_json::from_str(&RequestEvent::new(b"\x01abc").json()).unwrap();
        assert_eq!(event.request().unwrap(), &b"\x01abc"[..]);
    }

    #[test]
    fn what_is_no_reply_is_corrupt() {
        for text in ["", "null", r#"{"version":2,"reply":""}"#, r#"{"version":1,"reply":"*"}"#] {
            let error = ReplyEvent::reply_of(text.as_bytes()).unwrap_err();
            assert_eq!(error.kind(), icecap_table::ErrorKind::Corrupt, "{text}");
        }
    }
}
