//! Errors as they travel: kind, message, fields and cause as text, so that the judgments on the error are the
//! same on both ends. Credentials that got into a text do not travel.

use std::time::Duration;

use icecap_table::{Error, ErrorKind};
use prost::Message;

/// The longest text of a failure that travels, in bytes: a reply must stay small.
const MAX_TEXT_BYTES: usize = 16 * 1024;

/// Query parameters of signed URLs, after which a secret follows.
const SIGNED: [&str; 4] = ["X-Amz-Signature=", "X-Amz-Security-Token=", "X-Amz-Credential=", "Signature="];

/// What takes a secret's place.
const HIDDEN: &str = "***";

#[derive(Clone, PartialEq, Message)]
pub(super) struct FailureMessage {
    /// By name, so that a number can never be taken for another kind.
    #[prost(string, tag = "1")]
    kind: String,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    fields: Vec<FieldMessage>,
    #[prost(uint64, optional, tag = "4")]
    retry_after_ms: Option<u64>,
    #[prost(string, optional, tag = "5")]
    cause: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
struct FieldMessage {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(string, tag = "2")]
    value: String,
}

impl FailureMessage {
    /// The message of an error; `secrets` are texts that must not be in it.
    pub(super) fn of(error: &Error, secrets: &[String]) -> Self {
        let clean = |text: &str| shortened(hide(text, secrets));
        let fields = error.context().iter();
        Self {
            kind: error.kind().as_str().to_owned(),
            message: clean(error.message()),
            fields: fields
                .map(|(key, value)| FieldMessage { key: key.to_string(), value: clean(value) })
                .collect(),
            retry_after_ms: error
                .retry_after()
                .map(|after| u64::try_from(after.as_millis()).unwrap_or(u64::MAX)),
            cause: std::error::Error::source(error).map(|cause| clean(&chain(cause))),
        }
    }

    /// The error of a message. A kind that is not known here is a `Bug`: both ends are of one build.
    pub(super) fn error(self) -> Error {
        let kind = ErrorKind::of_name(&self.kind).unwrap_or(ErrorKind::Bug);
        let mut error = Error::new(kind, self.message);
        for field in self.fields {
            error = error.with(field.key, field.value);
        }
        if let Some(after) = self.retry_after_ms {
            error = error.with_retry_after(Duration::from_millis(after));
        }
        match self.cause {
            Some(cause) => error.with_source(cause),
            None => error,
        }
    }
}

/// The secrets of this process's environment, by which AWS credentials come into it.
pub(super) fn secrets_of_environment() -> Vec<String> {
    let named = ["AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_CONTAINER_AUTHORIZATION_TOKEN"];
    // A short value would be found in innocent text.
    named.into_iter().filter_map(|name| std::env::var(name).ok()).filter(|value| value.len() >= 8).collect()
}

/// A cause and its causes; a text that already holds the next one is not said twice.
fn chain(cause: &(dyn std::error::Error + 'static)) -> String {
    let mut text = cause.to_string();
    let mut at = cause.source();
    while let Some(next) = at {
        let said = next.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        at = next.source();
    }
    text
}

fn hide(text: &str, secrets: &[String]) -> String {
    let mut text = text.to_owned();
    for secret in secrets {
        text = text.replace(secret, HIDDEN);
    }
    for parameter in SIGNED {
        let mut clean = String::with_capacity(text.len());
        let mut rest = text.as_str();
        while let Some(at) = rest.find(parameter) {
            let (before, after) = rest.split_at(at + parameter.len());
            let end = after.find(|c: char| c == '&' || c.is_whitespace() || "\"'<>)".contains(c));
            clean += before;
            clean += HIDDEN;
            rest = &after[end.unwrap_or(after.len())..];
        }
        text = clean + rest;
    }
    text
}

fn shortened(mut text: String) -> String {
    if text.len() > MAX_TEXT_BYTES {
        let end = (0..=MAX_TEXT_BYTES).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(end);
        text.push_str(" …");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn travelled(error: &Error) -> Error {
        let bytes = FailureMessage::of(error, &[]).encode_to_vec();
        FailureMessage::decode(bytes.as_slice()).unwrap().error()
    }

    #[test]
    fn every_kind_keeps_its_judgments() {
        for kind in ErrorKind::ALL {
            let error = Error::new(kind, "no")
                .with("table", "a.b")
                .with_retry_after(Duration::from_millis(1500))
                .with_source(std::io::Error::other("the pipe is shut"));
            let back = travelled(&error);
            assert_eq!((back.kind(), back.retry(), back.applied()), (kind, error.retry(), error.applied()));
            assert_eq!(back.to_string(), error.to_string());
            assert_eq!(back.retry_after(), error.retry_after());
        }
    }

    #[test]
    fn the_encoding_of_a_failure_is_frozen() {
        let error = Error::not_found("gone").with("file", "x").with_source("why".to_owned());
        let bytes = FailureMessage::of(&error, &[]).encode_to_vec();
        let expected: &[u8] = b"\x0a\x09not-found\x12\x04gone\x1a\x09\x0a\x04file\x12\x01x\x2a\x03why";
        assert_eq!(bytes, expected);
    }

    #[test]
    fn an_unknown_kind_is_a_bug() {
        let message = FailureMessage { kind: "odd".into(), ..FailureMessage::default() };
        assert_eq!(message.error().kind(), ErrorKind::Bug);
    }

    #[test]
    fn secrets_and_signatures_stay_behind() {
        let secret = "wJalrXUtnFEMI/K7MDENG".to_owned();
        let error = Error::unavailable(format!("the key {secret} was refused"))
            .with("url", "https://h/k?X-Amz-Signature=abc123&x=1 and more")
            .with_source(format!("again {secret}"));
        let said = FailureMessage::of(&error, &[secret]).error().to_string();
        assert_eq!(
            said,
            "the key *** was refused (url: https://h/k?X-Amz-Signature=***&x=1 and more): again ***"
        );
    }

    #[test]
    fn a_long_text_is_cut() {
        let error = Error::bug("é".repeat(MAX_TEXT_BYTES));
        let said = travelled(&error);
        assert!(said.message().len() <= MAX_TEXT_BYTES + " …".len());
    }
}
