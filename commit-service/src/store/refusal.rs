//! What S3's refusals mean to a user, and what to do about them.

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use icecap_table::Error;
use object_store::client::{HttpError, HttpErrorKind};

const STORE: &str = "S3";

/// The longest part of a server's own sentence that is passed on, in characters.
const MESSAGE_CHARS: usize = 200;

/// An answer that is no success. The rest of its body is left behind: it may repeat what was signed, a session's
/// token included.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) status: u16,
    /// S3's code; answers to HEAD have none.
    pub(super) code: Option<String>,
    pub(super) message: Option<String>,
    /// The region that the bucket is in, where the server says it.
    pub(super) region: Option<String>,
    pub(super) retry_after: Option<Duration>,
}

impl Refusal {
    /// Takes what is of use from an answer's body.
    pub(super) fn parse(status: u16, body: &[u8]) -> Self {
        let text = String::from_utf8_lossy(body);
        // Of several (a request that deletes many objects) the first.
        let text = text.find("<Error>").map_or(text.as_ref(), |at| &text[at..]);
        let message = element(text, "Message").map(|message| message.chars().take(MESSAGE_CHARS).collect());
        Self {
            status,
            code: element(text, "Code"),
            message,
            region: element(text, "Region"),
            retry_after: None,
        }
    }

    pub(super) fn code(&self) -> &str {
        self.code.as_deref().unwrap_or_default()
    }

    /// Whether the same request may succeed later.
    pub(super) fn is_passing(&self) -> bool {
        matches!(
            self.code(),
            "SlowDown"
                | "InternalError"
                | "ServiceUnavailable"
                | "RequestTimeout"
                | "OperationAborted"
                | "ConditionalRequestConflict"
        ) || matches!(self.status, 408 | 429 | 500 | 502 | 503 | 504)
    }
}

/// The text of the first element of that name.
fn element(text: &str, name: &str) -> Option<String> {
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    let (inner, _) = rest.split_once(&format!("</{name}>"))?;
    let inner = inner.trim();
    let plain = inner.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&#39;", "'");
    (!inner.is_empty()).then(|| plain.replace("&amp;", "&"))
}

/// Why a request was given up.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) what: What,
    pub(super) attempts: u32,
    pub(super) took: Duration,
}

/// What its last attempt met.
#[derive(Debug)]
pub(super) enum What {
    Refused(Refusal),
    /// No connection, or none that lasted to the end of an answer.
    Lost(HttpErrorKind, String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.what {
            What::Refused(refusal) => write!(f, "HTTP {} {}", refusal.status, refusal.code()),
            What::Lost(_, text) => f.write_str(text),
        }
    }
}

impl StdError for Failure {}

/// What requests were about, for messages.
#[derive(Debug, Clone, Copy)]
pub(super) struct About<'a> {
    pub(super) bucket: &'a str,
    pub(super) region: &'a str,
    pub(super) place: &'a str,
}

/// An error as `object_store` carries it; [`told`] gets it back, and so does the table crate's `store_error`.
pub(super) fn carried(error: Error) -> object_store::Error {
    object_store::Error::Generic { store: STORE, source: Box::new(error) }
}

/// The Icecap error inside.
pub(super) fn told(error: &object_store::Error) -> Option<&Error> {
    find(error)
}

/// The first cause of a type.
pub(super) fn find<'a, T: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a T> {
    let mut at = Some(error);
    while let Some(error) = at {
        if let Some(found) = error.downcast_ref::<T>() {
            return Some(found);
        }
        at = error.source();
    }
    None
}

/// The same error, saying what it means where that is known.
pub(super) fn explained(error: object_store::Error, about: About<'_>) -> object_store::Error {
    if told(&error).is_some() {
        return error;
    }
    if let Some(failure) = find::<Failure>(&error) {
        return carried(explain(failure, about));
    }
    if let Some(lost) = find::<HttpError>(&error) {
        let failure =
            Failure { what: What::Lost(lost.kind(), lost.to_string()), attempts: 1, took: Duration::ZERO };
        return carried(explain(&failure, about));
    }
    error
}

/// What a failure means.
pub(super) fn explain(failure: &Failure, about: About<'_>) -> Error {
    let About { bucket, place, .. } = about;
    let error = match &failure.what {
        What::Refused(refusal) => refused(refusal, failure, about),
        What::Lost(HttpErrorKind::Connect, text) => Error::unavailable(format!(
            "{place} cannot be reached: check the network{}: {text}",
            if place.starts_with("http") { ", and AWS_ENDPOINT_URL" } else { "" }
        )),
        What::Lost(_, text) => {
            Error::unavailable(format!("{place} gave no whole answer{}: {text}", tries(failure)))
        }
    };
    error.with("bucket", bucket)
}

fn tries(failure: &Failure) -> String {
    match failure.attempts {
        0 | 1 => String::new(),
        attempts => format!(" in {attempts} attempts over {:.0} s", failure.took.as_secs_f64()),
    }
}

fn refused(refusal: &Refusal, failure: &Failure, about: About<'_>) -> Error {
    let About { region, place, .. } = about;
    let told = match (&refusal.code, &refusal.message) {
        (Some(code), Some(message)) => format!("{code}: {message}"),
        (Some(code), None) => code.clone(),
        _ => format!("HTTP {}", refusal.status),
    };
    match (refusal.code(), refusal.status) {
        (
            "AuthorizationHeaderMalformed"
            | "PermanentRedirect"
            | "IncorrectRegion"
            | "IllegalLocationConstraintException"
            | "TemporaryRedirect",
            _,
        )
        | (_, 301 | 307) => match &refusal.region {
            Some(right) if right != region => Error::invalid(format!(
                "the bucket is in region {right}, and {region} was asked: set AWS_REGION={right}"
            )),
            _ => Error::invalid(format!(
                "the bucket is not in region {region}: set AWS_REGION to the bucket's ({told})"
            )),
        },
        ("NoSuchBucket", _) => Error::not_found(format!(
            "there is no such bucket at {place}: check its name and the endpoint, or make it first"
        )),
        ("InvalidBucketName", _) => Error::invalid("S3 takes no bucket of this name"),
        // The second is versitygw's.
        ("InvalidAccessKeyId" | "XAdminUserNotFound", _) => Error::denied(format!(
            "the access key id is not known at {place}: check AWS_ACCESS_KEY_ID, or AWS_PROFILE"
        )),
        ("SignatureDoesNotMatch", _) => Error::denied(
            "the secret access key is not the access key id's: check AWS_SECRET_ACCESS_KEY, or the profile's \
             aws_secret_access_key",
        ),
        ("ExpiredToken" | "InvalidToken" | "TokenRefreshRequired", _) => Error::denied(
            "the session of these credentials has ended: sign in again (aws sso login), or renew \
             AWS_SESSION_TOKEN with its keys",
        ),
        ("RequestTimeTooSkewed" | "RequestExpired", _) => Error::denied(
            "this machine's clock is too far from the server's: set the clock (by NTP), and run again",
        ),
        ("SlowDown" | "TooManyRequests" | "RequestLimitExceeded" | "Throttling", _) | (_, 429 | 503) => {
            let error = Error::new(
                icecap_table::ErrorKind::Throttled,
                format!("{place} still asked to slow down{}: run it again later ({told})", tries(failure)),
            );
            match refusal.retry_after {
                Some(after) => error.with_retry_after(after),
                None => error,
            }
        }
        ("QuotaExceeded" | "InsufficientStorage" | "NoSpaceLeft", _) | (_, 507) => {
            Error::exhausted(format!("{place} has no room left ({told})"))
        }
        ("NoSuchKey", _) => Error::not_found(format!("there is no such object ({told})")),
        (_, 401 | 403) => Error::denied(format!(
            "access is denied: the credentials need s3:ListBucket on the bucket and s3:GetObject, s3:PutObject, \
             s3:DeleteObject and s3:AbortMultipartUpload on its objects ({told})"
        )),
        (_, 405 | 501) => Error::unsupported(format!("{place} does not do what is asked ({told})")),
        (_, 500..) => Error::unavailable(format!("{place} failed{} ({told})", tries(failure))),
        (_, 409) => Error::unavailable(format!("another request is in the way{} ({told})", tries(failure))),
        _ => Error::invalid(format!("{place} refused the request ({told})")),
    }
}

#[cfg(test)]
mod tests {
    use icecap_table::ErrorKind;

    use super::*;

    const ABOUT: About<'_> = About { bucket: "lake", region: "us-east-1", place: "AWS in us-east-1" };

    fn of(status: u16, body: &str) -> Error {
        let refusal = Refusal::parse(status, body.as_bytes());
        explain(&Failure { what: What::Refused(refusal), attempts: 1, took: Duration::ZERO }, ABOUT)
    }

    fn answer(code: &str, rest: &str) -> String {
        format!(
            "<?xml version=\"1.0\"?>\n<Error><Code>{code}</Code><Message>Why &amp; how</Message>{rest}</Error>"
        )
    }

    #[test]
    fn each_refusal_says_what_to_do() {
        use ErrorKind::{Denied, Exhausted, Invalid, NotFound, Throttled, Unavailable, Unsupported};
        let region = "<Region>eu-west-1</Region>";
        for (status, code, rest, kind, text) in [
            (400, "AuthorizationHeaderMalformed", region, Invalid, "set AWS_REGION=eu-west-1"),
            (301, "PermanentRedirect", "", Invalid, "set AWS_REGION to the bucket's"),
            (404, "NoSuchBucket", "", NotFound, "check its name and the endpoint"),
            (403, "InvalidAccessKeyId", "", Denied, "AWS_ACCESS_KEY_ID"),
            (403, "SignatureDoesNotMatch", "", Denied, "AWS_SECRET_ACCESS_KEY"),
            (400, "ExpiredToken", "", Denied, "aws sso login"),
            (403, "RequestTimeTooSkewed", "", Denied, "set the clock"),
            (403, "AccessDenied", "", Denied, "s3:PutObject"),
            (503, "SlowDown", "", Throttled, "slow down"),
            (500, "InternalError", "", Unavailable, "InternalError: Why & how"),
            (507, "Full", "", Exhausted, "no room"),
            (501, "NotImplemented", "", Unsupported, "does not do"),
            (400, "EntityTooLarge", "", Invalid, "EntityTooLarge"),
        ] {
            let error = of(status, &answer(code, rest));
            assert_eq!(error.kind(), kind, "{code}: {error}");
            assert!(error.to_string().contains(text), "{code}: {error}");
        }
        assert_eq!(of(403, "").kind(), Denied);
    }

    #[test]
    fn what_was_signed_is_left_behind() {
        let signed = "<StringToSign>AWS4 geheim</StringToSign><CanonicalRequest>x-amz-security-token:geheim\
                      </CanonicalRequest><AWSAccessKeyId>AKIA</AWSAccessKeyId>";
        let error = of(403, &answer("SignatureDoesNotMatch", signed));
        assert!(!format!("{error:?}").contains("geheim") && !format!("{error}").contains("AKIA"), "{error}");
        let refusal = Refusal::parse(403, answer("SignatureDoesNotMatch", signed).as_bytes());
        assert!(!format!("{refusal:?}").contains("geheim"));
    }

    #[test]
    fn what_passes_is_tried_again() {
        for (status, code, passes) in [
            (503, "SlowDown", true),
            (200, "InternalError", true),
            (409, "ConditionalRequestConflict", true),
            (412, "PreconditionFailed", false),
            (403, "AccessDenied", false),
            (404, "NoSuchKey", false),
        ] {
            assert_eq!(Refusal::parse(status, answer(code, "").as_bytes()).is_passing(), passes, "{code}");
        }
    }
}
