//! Region, endpoint and credentials: AWS's chain, or given ones.

use std::sync::Arc;
use std::time::Duration;

use aws_config::environment::EnvironmentVariableRegionProvider;
use aws_config::imds::region::ImdsRegionProvider;
use aws_config::meta::region::RegionProviderChain;
use aws_config::profile::ProfileFileRegionProvider;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_s3::config::SharedHttpClient;
use aws_smithy_http_client::tls;
use aws_types::service_config::ServiceConfigKey;
use icecap_table::clock::Clock;
use icecap_table::{Error, Result};
use object_store::aws::{AmazonS3, AmazonS3Builder, AwsCredentialProvider, S3ConditionalPut};
use object_store::client::HttpConnector;
use object_store::{BackoffConfig, ClientOptions, RetryConfig};
use url::Url;

use super::credentials::AwsChain;

/// A connection that takes longer is given up.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// A request, its body and its answer included, that takes longer is given up: a part of 8 MiB at 1 Mbit/s.
const ANSWER_WITHIN: Duration = Duration::from_secs(70);
/// How often a body that breaks off is taken up again where it did.
const RESUMED_BODIES: usize = 8;
/// Where requests go that have an endpoint of their own and no region: such servers want any.
const ANY_REGION: &str = "us-east-1";

/// How S3 is reached, given by the caller and not by AWS's chain.
#[derive(Clone, PartialEq, Eq)]
pub struct S3Access {
    /// The region that requests are signed for.
    pub region: String,
    /// Another server than AWS's, `http://` or `https://`; its buckets are addressed by path.
    pub endpoint: Option<String>,
    /// The access key's id.
    pub key_id: String,
    /// The access key's secret.
    pub secret: String,
    /// The session token of temporary credentials.
    pub session_token: Option<String>,
}

impl std::fmt::Debug for S3Access {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = f.debug_struct("S3Access");
        shown.field("region", &self.region).field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

/// The settings, once they are known.
#[derive(Debug)]
pub(super) struct Setup {
    pub(super) region: String,
    pub(super) endpoint: Option<String>,
    credentials: AwsCredentialProvider,
    /// For what `object_store` cannot do.
    pub(super) sdk: aws_sdk_s3::Client,
}

impl Setup {
    /// Takes `access`, or asks AWS's chain: no request is sent but those that find a region or credentials.
    ///
    /// # Errors
    /// `Invalid` when a region is missing or the endpoint is no URL.
    pub(super) async fn load(access: Option<&S3Access>, clock: Arc<dyn Clock>) -> Result<Self> {
        match access {
            Some(access) => Self::given(access, clock),
            None => Self::by_chain(clock).await,
        }
    }

    fn given(access: &S3Access, clock: Arc<dyn Clock>) -> Result<Self> {
        let keys = Credentials::new(
            access.key_id.clone(),
            access.secret.clone(),
            access.session_token.clone(),
            None,
            "icecap",
        );
        let provider = SharedCredentialsProvider::new(keys);
        let sdk = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .http_client(http_client())
            .credentials_provider(provider.clone());
        Self::assemble(access.region.clone(), access.endpoint.clone(), provider, sdk, clock)
    }

    async fn by_chain(clock: Arc<dyn Clock>) -> Result<Self> {
        let http = http_client();
        // The instance's own service is asked for a region last, when nothing says that this is not EC2.
        let chain = RegionProviderChain::first_try(EnvironmentVariableRegionProvider::new())
            .or_else(ProfileFileRegionProvider::new());
        let config = aws_config::defaults(BehaviorVersion::latest())
            .http_client(http.clone())
            .region(chain)
            .load()
            .await;
        let endpoint = endpoint_of(&config);
        let region = match (config.region(), &endpoint) {
            (Some(region), _) => region.to_string(),
            (None, Some(_)) => ANY_REGION.to_owned(),
            (None, None) => region_of_instance(http).await?,
        };
        let provider = config.credentials_provider().ok_or_else(|| {
            Error::bug("AWS's chain gave no provider of credentials, not even one that fails")
        })?;
        let sdk = aws_sdk_s3::config::Builder::from(&config);
        Self::assemble(region, endpoint, provider, sdk, clock)
    }

    fn assemble(
        region: String,
        endpoint: Option<String>,
        provider: SharedCredentialsProvider,
        sdk: aws_sdk_s3::config::Builder,
        clock: Arc<dyn Clock>,
    ) -> Result<Self> {
        if let Some(endpoint) = &endpoint {
            check_endpoint(endpoint)?;
        }
        let sdk = sdk.region(Region::new(region.clone())).force_path_style(endpoint.is_some());
        let sdk = match &endpoint {
            Some(endpoint) => sdk.endpoint_url(endpoint),
            None => sdk,
        };
        Ok(Self {
            region,
            endpoint,
            credentials: Arc::new(AwsChain::new(provider, clock)),
            sdk: aws_sdk_s3::Client::from_conf(sdk.build()),
        })
    }

    /// The client of a bucket, over `connector`, which also retries.
    ///
    /// # Errors
    /// `Invalid` when the settings make none.
    pub(super) fn client(&self, bucket: &str, connector: impl HttpConnector) -> Result<AmazonS3> {
        let options = ClientOptions::new()
            .with_user_agent(user_agent()?)
            .with_connect_timeout(CONNECT_WITHIN)
            .with_timeout(ANSWER_WITHIN);
        let builder = AmazonS3Builder::new()
            .with_bucket_name(bucket)
            .with_region(&self.region)
            .with_credentials(Arc::clone(&self.credentials))
            .with_conditional_put(S3ConditionalPut::ETagMatch)
            .with_disable_tagging(true)
            .with_client_options(options)
            // Requests are retried by the connector; this is about bodies that break off.
            .with_retry(RetryConfig {
                backoff: BackoffConfig::default(),
                max_retries: RESUMED_BODIES,
                retry_timeout: ANSWER_WITHIN,
            })
            .with_http_connector(connector);
        let builder = match &self.endpoint {
            Some(endpoint) => builder
                .with_endpoint(endpoint.trim_end_matches('/'))
                .with_allow_http(endpoint.starts_with("http://"))
                .with_virtual_hosted_style_request(false),
            // A dot in a host's name is not covered by the certificate.
            None => builder.with_virtual_hosted_style_request(!bucket.contains('.')),
        };
        builder.build().map_err(|error| {
            Error::invalid("the settings for S3 make no client").with("bucket", bucket).with_source(error)
        })
    }

    /// Where requests go, for messages.
    pub(super) fn place(&self) -> String {
        self.endpoint.clone().unwrap_or_else(|| format!("AWS in {}", self.region))
    }
}

fn user_agent() -> Result<object_store::HeaderValue> {
    object_store::HeaderValue::from_str(concat!("icecap/", env!("CARGO_PKG_VERSION")))
        .map_err(|error| Error::bug("the program's name is no header").with_source(error))
}

/// The SDK's client for its own requests, with the TLS library that `object_store` has.
fn http_client() -> SharedHttpClient {
    aws_smithy_http_client::Builder::new()
        .tls_provider(tls::Provider::Rustls(tls::rustls_provider::CryptoMode::Ring))
        .build_https()
}

/// `AWS_ENDPOINT_URL_S3`, then `AWS_ENDPOINT_URL`, then what the profile says of either.
fn endpoint_of(config: &SdkConfig) -> Option<String> {
    let key = ServiceConfigKey::builder()
        .service_id("S3")
        .env("AWS_ENDPOINT_URL")
        .profile("endpoint_url")
        .build()
        .ok()?;
    let own = config.service_config().and_then(|service| service.load_config(key));
    own.or_else(|| config.endpoint_url().map(str::to_owned)).filter(|endpoint| !endpoint.is_empty())
}

async fn region_of_instance(http: SharedHttpClient) -> Result<String> {
    let provider = aws_config::provider_config::ProviderConfig::empty().with_http_client(http);
    let instance = ImdsRegionProvider::builder().configure(&provider).build();
    let region = instance.region().await;
    region.map(|region| region.to_string()).ok_or_else(|| {
        Error::invalid(
            "no AWS region is set: set AWS_REGION, or region in the profile; for another server than AWS's set \
             AWS_ENDPOINT_URL",
        )
    })
}

fn check_endpoint(endpoint: &str) -> Result<()> {
    let wrong = |why: &str| Error::invalid(format!("AWS_ENDPOINT_URL (or AWS_ENDPOINT_URL_S3) {why}"));
    // It is not shown where it may hold a password.
    let url = Url::parse(endpoint).map_err(|_| wrong("is no URL such as https://s3.example.com"))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(wrong("holds a user or password, which S3 does not take: use AWS_ACCESS_KEY_ID"));
    }
    let is_web = matches!(url.scheme(), "http" | "https") && url.host_str().is_some_and(|h| !h.is_empty());
    if !is_web || url.query().is_some() || url.fragment().is_some() {
        return Err(wrong("is no URL such as https://s3.example.com").with("endpoint", endpoint));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_a_plain_url() {
        for fine in ["http://127.0.0.1:9000", "https://s3.example.com/", "https://host/base"] {
            check_endpoint(fine).unwrap();
        }
        for wrong in ["127.0.0.1:9000", "ftp://x", "https://", "http://h/?a=b", "s3.example.com"] {
            assert_eq!(
                check_endpoint(wrong).unwrap_err().kind(),
                icecap_table::ErrorKind::Invalid,
                "{wrong}"
            );
        }
        let error = check_endpoint("https://user:geheim@host").unwrap_err();
        assert!(!format!("{error:?}").contains("geheim"));
    }

    #[test]
    fn nothing_secret_is_shown() {
        let access = S3Access {
            region: "eu-west-1".into(),
            endpoint: None,
            key_id: "id".into(),
            secret: "geheim".into(),
            session_token: Some("token".into()),
        };
        assert_eq!(format!("{access:?}"), "S3Access { region: \"eu-west-1\", endpoint: None, .. }");
    }
}
