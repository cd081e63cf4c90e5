//! What Lambda's answers mean: which failures may pass, and which do not.

use std::time::Duration;

use aws_sdk_lambda::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_sdk_lambda::operation::invoke::InvokeError;
use icecap_table::{Error, ErrorKind};
use serde::Deserialize;

use super::report::Bill;

/// The longest part of a function's own words that is passed on, in characters.
const MESSAGE_CHARS: usize = 1000;

/// Why an invocation gave no answer.
#[derive(Debug)]
pub(super) enum Refusal {
    /// The request was too large; nothing was done.
    TooLarge(Error),
    /// Anything else.
    Failed(Error),
}

/// The meaning of a failed call.
pub(super) fn refusal(function: &str, error: SdkError<InvokeError>) -> Refusal {
    let code = error.code().map(str::to_owned);
    let said = error.message().map(str::to_owned).unwrap_or_default();
    let failed = |kind: ErrorKind, message: &str| {
        let error = Error::new(kind, message.to_owned()).with("function", function);
        if said.is_empty() { error } else { error.with("lambda", said.clone()) }
    };
    let Some(status) = error.raw_response().map(|response| response.status().as_u16()) else {
        return Refusal::Failed(unanswered(function, &error));
    };
    if !matches!(error, SdkError::ServiceError(_)) {
        // The answer began and broke off.
        return Refusal::Failed(
            failed(ErrorKind::Unavailable, "the answer of a Lambda function was lost; it may have run")
                .with_source(DisplayErrorContext(&error).to_string()),
        );
    }
    let code = code.as_deref().unwrap_or_default();
    let error = match (code, status) {
        ("RequestTooLargeException", _) | (_, 413) => {
            return Refusal::TooLarge(failed(ErrorKind::Exhausted, "the request is too large for Lambda"));
        }
        ("TooManyRequestsException" | "EC2ThrottledException" | "ThrottlingException", _) | (_, 429) => {
            let after = match &error {
                SdkError::ServiceError(service) => match service.err() {
                    InvokeError::TooManyRequestsException(inner) => inner.retry_after_seconds(),
                    _ => None,
                },
                _ => None,
            };
            let throttled =
                failed(ErrorKind::Throttled, "Lambda runs as many invocations of the function as it may");
            match after.and_then(|text| text.parse().ok()) {
                Some(seconds) => throttled.with_retry_after(Duration::from_secs(seconds)),
                None => throttled,
            }
        }
        ("ResourceNotFoundException", _) => failed(
            ErrorKind::NotFound,
            "there is no such Lambda function in this region and account: deploy it, or name another with --writers",
        ),
        (
            "AccessDeniedException"
            | "UnrecognizedClientException"
            | "InvalidSignatureException"
            | "ExpiredTokenException"
            | "MissingAuthenticationTokenException",
            _,
        )
        | (_, 401 | 403) => failed(
            ErrorKind::Denied,
            "invoking the Lambda function is not allowed: lambda:InvokeFunction is needed",
        ),
        (_, 400..=499) if !is_passing(code) => {
            failed(ErrorKind::Invalid, "Lambda cannot run the function as it is set up").with("code", code)
        }
        _ => failed(ErrorKind::Unavailable, "Lambda cannot run the function now").with("code", code),
    };
    Refusal::Failed(error)
}

/// Refusals of a function that is being set up, or of what it needs: they pass.
fn is_passing(code: &str) -> bool {
    matches!(
        code,
        "ResourceConflictException"
            | "ResourceNotReadyException"
            | "SnapStartNotReadyException"
            | "ENINotReadyException"
            | "EFSMountTimeoutException"
    )
}

/// The meaning of a call without any answer.
fn unanswered(function: &str, error: &SdkError<InvokeError>) -> Error {
    let text = DisplayErrorContext(error).to_string();
    let made = match error {
        SdkError::TimeoutError(_) => {
            Error::unavailable("a Lambda function did not answer in time; it may be running")
        }
        SdkError::DispatchFailure(_) | SdkError::ConstructionFailure(_) if text.contains("redentials") => {
            Error::denied(
                "no AWS credentials were found to invoke the Lambda function: set AWS_PROFILE, or AWS_ACCESS_KEY_ID \
                 and AWS_SECRET_ACCESS_KEY",
            )
        }
        SdkError::DispatchFailure(failure) if failure.is_user() => {
            Error::invalid("Lambda's endpoint is not usable: see AWS_ENDPOINT_URL_LAMBDA, AWS_ENDPOINT_URL")
        }
        SdkError::DispatchFailure(failure) if failure.is_timeout() || failure.is_io() => {
            Error::unavailable("Lambda was not reached, or its answer was lost; the function may have run")
        }
        SdkError::DispatchFailure(_) => Error::unavailable("Lambda was not reached"),
        SdkError::ConstructionFailure(_) => Error::invalid("this cannot be a Lambda function's name"),
        _ => Error::unavailable("the answer of a Lambda function was lost; it may have run"),
    };
    made.with("function", function).with_source(text)
}

/// What Lambda tells of an invocation that ended badly.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct FunctionError {
    error_type: String,
    error_message: String,
}

/// The meaning of an invocation that ended in an error of the function or of its process. (Errors of tasks are
/// replies.)
pub(super) fn function_error(function: &str, payload: &[u8], bill: &Bill) -> Error {
    let error: FunctionError = serde_json::from_slice(payload).unwrap_or_default();
    let said: String = error.error_message.chars().take(MESSAGE_CHARS).collect();
    let made = match error.error_type.as_str() {
        "Runtime.OutOfMemory" => out_of_memory(),
        "Runtime.ExitError" if bill.is_full() => out_of_memory(),
        "Function.ResponseSizeTooLarge" => Error::exhausted("the answer of a Lambda function was too large"),
        "Sandbox.Timedout" => Error::unavailable("a Lambda function ran out of time: raise its time-out"),
        "Runtime.ExitError" => Error::unavailable("a Lambda function's process ended while it ran a task"),
        _ if said.contains("Task timed out after") => {
            Error::unavailable("a Lambda function ran out of time: raise its time-out")
        }
        _ => Error::unavailable("a Lambda function failed"),
    };
    made.with("function", function).with("type", error.error_type).with("lambda", said)
}

fn out_of_memory() -> Error {
    Error::exhausted(
        "a Lambda function ran out of memory: give it more, or cut the statement into more tasks",
    )
}

#[cfg(test)]
mod tests {
    use aws_sdk_lambda::config::http::HttpResponse;
    use aws_sdk_lambda::error::ErrorMetadata;
    use aws_sdk_lambda::primitives::SdkBody;

    use super::*;

    fn refused(status: u16, code: &str) -> Refusal {
        let response = HttpResponse::new(status.try_into().unwrap(), SdkBody::empty());
        let metadata = ErrorMetadata::builder().code(code).message("so it is").build();
        refusal("f", SdkError::service_error(InvokeError::generic(metadata), response))
    }

    #[test]
    fn refusals_are_judged_by_code_and_status() {
        for (status, code, kind) in [
            (429, "TooManyRequestsException", ErrorKind::Throttled),
            (429, "", ErrorKind::Throttled),
            (404, "ResourceNotFoundException", ErrorKind::NotFound),
            (403, "AccessDeniedException", ErrorKind::Denied),
            (403, "InvalidSignatureException", ErrorKind::Denied),
            (400, "InvalidParameterValueException", ErrorKind::Invalid),
            (409, "ResourceConflictException", ErrorKind::Unavailable),
            (500, "ServiceException", ErrorKind::Unavailable),
            (502, "EC2UnexpectedException", ErrorKind::Unavailable),
            (503, "", ErrorKind::Unavailable),
        ] {
            let Refusal::Failed(error) = refused(status, code) else { panic!("{code} is too large") };
            assert_eq!(error.kind(), kind, "{status} {code}");
            assert!(error.to_string().contains("lambda: so it is"), "{error}");
        }
        assert!(matches!(refused(413, "RequestTooLargeException"), Refusal::TooLarge(_)));
    }

    #[test]
    fn ends_of_processes_may_pass_and_lack_of_memory_does_not() {
        let full = Bill { billed_ms: Some(1), memory_mb: Some(128), peak_mb: Some(128), is_cold: false };
        let some = Bill { peak_mb: Some(90), ..full };
        let kind = |kind: &str, message: &str, bill: &Bill| {
            let payload = serde_json::json!({"errorType": kind, "errorMessage": message}).to_string();
            function_error("f", payload.as_bytes(), bill).kind()
        };
        let killed = "RequestId: 7 Error: Runtime exited with error: signal: killed";
        assert_eq!(kind("Runtime.ExitError", killed, &some), ErrorKind::Unavailable);
        assert_eq!(kind("Runtime.ExitError", killed, &full), ErrorKind::Exhausted);
        assert_eq!(kind("Runtime.OutOfMemory", killed, &some), ErrorKind::Exhausted);
        assert_eq!(kind("Sandbox.Timedout", "x", &some), ErrorKind::Unavailable);
        assert_eq!(kind("", "2026 7 Task timed out after 3.00 seconds", &some), ErrorKind::Unavailable);
        assert_eq!(kind("Function.ResponseSizeTooLarge", "x", &some), ErrorKind::Exhausted);
        assert_eq!(function_error("f", b"no json", &some).kind(), ErrorKind::Unavailable);
    }

    #[test]
    fn silence_may_hide_an_attempt_that_runs() {
        let lost = refusal("f", SdkError::timeout_error("no answer"));
        let Refusal::Failed(error) = lost else { panic!("a time-out is not too large") };
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(error.to_string().contains("it may be running"), "{error}");
    }
}
