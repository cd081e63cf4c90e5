//! Credentials of AWS's chain as `object_store` takes them.
//!
//! The chain itself remembers nothing: an SSO token or a role's keys would be fetched for every request. They are
//! kept here until shortly before they expire, and fetched by one caller at a time.

use std::error::Error as StdError;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use async_trait::async_trait;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use icecap_table::Error;
use icecap_table::clock::Clock;
use object_store::CredentialProvider;
use object_store::aws::AwsCredential;
use tokio::sync::Mutex;

use super::refusal::carried;

/// Credentials are fetched again when they have no longer than this.
const MARGIN_MS: i64 = 5 * 60 * 1000;

/// A provider of AWS's SDK as one of `object_store`'s.
pub(super) struct AwsChain {
    provider: SharedCredentialsProvider,
    clock: Arc<dyn Clock>,
    held: Mutex<Option<Held>>,
}

struct Held {
    credential: Arc<AwsCredential>,
    /// Since 1970; `None`: never.
    expires_ms: Option<i64>,
}

impl AwsChain {
    pub(super) fn new(provider: SharedCredentialsProvider, clock: Arc<dyn Clock>) -> Self {
        Self { provider, clock, held: Mutex::default() }
    }
}

impl std::fmt::Debug for AwsChain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AwsChain").finish_non_exhaustive()
    }
}

#[async_trait]
impl CredentialProvider for AwsChain {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        let mut held = self.held.lock().await;
        let left = |held: &Held| held.expires_ms.map(|at| at.saturating_sub(self.clock.now_ms()));
        if let Some(held) = held.as_ref()
            && left(held).is_none_or(|left| left > MARGIN_MS)
        {
            return Ok(Arc::clone(&held.credential));
        }
        match self.provider.provide_credentials().await {
            Ok(found) => {
                let credential = Arc::new(AwsCredential {
                    key_id: found.access_key_id().to_owned(),
                    secret_key: found.secret_access_key().to_owned(),
                    token: found.session_token().map(str::to_owned),
                });
                let expires_ms = found
                    .expiry()
                    .and_then(|at| at.duration_since(UNIX_EPOCH).ok())
                    .and_then(|since| i64::try_from(since.as_millis()).ok());
                *held = Some(Held { credential: Arc::clone(&credential), expires_ms });
                Ok(credential)
            }
            Err(error) => match held.as_ref() {
                // Those that are held still work for a while.
                Some(held) if left(held).is_none_or(|left| left > 0) => Ok(Arc::clone(&held.credential)),
                _ => Err(carried(not_loaded(&error))),
            },
        }
    }
}

/// What it means to a user that the chain gives no credentials.
fn not_loaded(error: &CredentialsError) -> Error {
    let why = causes(error);
    match error {
        CredentialsError::CredentialsNotLoaded(_) => Error::denied(
            "no AWS credentials were found: set AWS_PROFILE (after aws sso login, where it uses SSO), or \
             AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or run where there is a role",
        ),
        CredentialsError::ProviderTimedOut(_) => {
            Error::unavailable(format!("AWS credentials could not be fetched in time: {why}"))
        }
        CredentialsError::InvalidConfiguration(_) => Error::invalid(format!(
            "the AWS profile's credentials are not set up rightly (see AWS_PROFILE, ~/.aws/config): {why}"
        )),
        _ => Error::denied(format!(
            "AWS credentials could not be fetched (an SSO session that has ended begins anew with aws sso login): \
             {why}"
        )),
    }
}

/// The sentences of an error and its causes. The SDK's hold names of providers and profiles, never keys.
fn causes(error: &CredentialsError) -> String {
    let mut text = error.to_string();
    let mut at = error.source();
    while let Some(cause) = at {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        at = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use aws_credential_types::Credentials;
    use aws_credential_types::provider::future;
    use icecap_table::ErrorKind;
    use icecap_table::clock::SystemClock;

    use super::super::refusal::told;
    use super::*;

    /// Gives credentials that expire after `lasts`, as often as `times`.
    #[derive(Debug)]
    struct Counting {
        asked: Arc<AtomicUsize>,
        lasts: Duration,
        times: usize,
    }

    impl ProvideCredentials for Counting {
        fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            let asked = self.asked.fetch_add(1, Ordering::SeqCst);
            if asked >= self.times {
                return future::ProvideCredentials::ready(Err(CredentialsError::not_loaded("gone")));
            }
            let now = u64::try_from(SystemClock.now_ms()).unwrap();
            let expires = UNIX_EPOCH + Duration::from_millis(now) + self.lasts;
            let keys = Credentials::new(format!("id{asked}"), "geheim", None, Some(expires), "test");
            future::ProvideCredentials::ready(Ok(keys))
        }
    }

    fn chain(lasts: Duration, times: usize) -> (AwsChain, Arc<AtomicUsize>) {
        let asked = Arc::new(AtomicUsize::new(0));
        let provider = Counting { asked: Arc::clone(&asked), lasts, times };
        (AwsChain::new(SharedCredentialsProvider::new(provider), Arc::new(SystemClock)), asked)
    }

    #[tokio::test]
    async fn credentials_are_kept_until_shortly_before_they_expire() {
        let (lasting, asked) = chain(Duration::from_secs(3600), 9);
        for _ in 0..3 {
            assert_eq!(lasting.get_credential().await.unwrap().key_id, "id0");
        }
        assert_eq!(asked.load(Ordering::SeqCst), 1);
        let (ending, asked) = chain(Duration::from_secs(60), 2);
        for expected in ["id0", "id1", "id1"] {
            // The third time the provider fails, and what is held has not expired.
            assert_eq!(ending.get_credential().await.unwrap().key_id, expected);
        }
        assert_eq!(asked.load(Ordering::SeqCst), 3);
    }

    #[tokio::test]
    async fn that_there_are_none_says_what_to_set() {
        let error = chain(Duration::ZERO, 0).0.get_credential().await.unwrap_err();
        let error = told(&error).unwrap();
        assert_eq!(error.kind(), ErrorKind::Denied);
        assert!(error.message().contains("AWS_PROFILE"), "{error}");
    }
}
