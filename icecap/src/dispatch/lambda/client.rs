//! AWS's client for Lambda, set up so that one call is one request.

use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region};
use aws_sdk_lambda::primitives::Blob;
use aws_sdk_lambda::types::{InvocationType, LogType};
use aws_smithy_http_client::{Builder, tls};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use icecap_table::{Error, Result};

use super::judge::{Refusal, refusal};

/// A connection that takes longer is given up.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// An answer that takes longer is lost: a function may run for 15 minutes.
const ANSWER_WITHIN: Duration = Duration::from_secs(15 * 60 + 30);
/// The region of endpoints of one's own, which want any.
const ANY_REGION: &str = "us-east-1";

/// Names another server than AWS's.
const ENDPOINT_VARIABLE: &str = "AWS_ENDPOINT_URL_LAMBDA";

/// The client.
#[derive(Debug)]
pub(super) struct LambdaClient(aws_sdk_lambda::Client);

/// What an invocation gave.
#[derive(Debug)]
pub(super) struct Invocation {
    pub(super) payload: Bytes,
    /// Whether the payload is the function's error.
    pub(super) is_error: bool,
    /// The end of its log, where there is one.
    pub(super) log: String,
}

impl LambdaClient {
    /// A client by AWS's chain: region, endpoint and credentials from environment, profile, SSO or role. `local` says
    /// that tables lie on this machine's disk.
    ///
    /// # Errors
    /// `Invalid` without a region, and when functions cannot reach the disk.
    pub(super) async fn load(local: bool) -> Result<Self> {
        let http = Builder::new()
            .tls_provider(tls::Provider::Rustls(tls::rustls_provider::CryptoMode::Ring))
            .build_https();
        let timeouts =
            TimeoutConfig::builder().connect_timeout(CONNECT_WITHIN).read_timeout(ANSWER_WITHIN).build();
        let config = aws_config::defaults(BehaviorVersion::latest())
            .http_client(http)
            // What is tried again is decided above, where attempts are counted.
            .retry_config(RetryConfig::disabled())
            .timeout_config(timeouts)
            // A function that works says nothing for minutes.
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .load()
            .await;
        let mut lambda = aws_sdk_lambda::config::Builder::from(&config);
        let is_aws = config.endpoint_url().is_none() && std::env::var_os(ENDPOINT_VARIABLE).is_none();
        match (config.region(), is_aws) {
            (Some(_), _) => {}
            (None, false) => lambda = lambda.region(Region::from_static(ANY_REGION)),
            (None, true) => {
                return Err(Error::invalid(
                    "no AWS region is set: set AWS_REGION, or a region in the profile",
                ));
            }
        }
        if is_aws && local {
            return Err(Error::invalid(
                "Lambda functions reach no directory of this machine: use --warehouse s3://…, or `icecap lambda-local`",
            ));
        }
        Ok(Self(aws_sdk_lambda::Client::from_conf(lambda.build())))
    }

    /// Invokes the function and waits for its answer.
    pub(super) async fn invoke(
        &self,
        function: &str,
        event: Bytes,
    ) -> std::result::Result<Invocation, Refusal> {
        let sent = self
            .0
            .invoke()
            .function_name(function)
            .invocation_type(InvocationType::RequestResponse)
            .log_type(LogType::Tail)
            .payload(Blob::new(event))
            .send()
            .await;
        let answer = sent.map_err(|error| refusal(function, error))?;
        let log = answer.log_result().and_then(|text| STANDARD.decode(text).ok()).unwrap_or_default();
        Ok(Invocation {
            is_error: answer.function_error().is_some(),
            log: String::from_utf8_lossy(&log).into_owned(),
            payload: answer.payload.map(Blob::into_inner).unwrap_or_default().into(),
        })
    }
}
