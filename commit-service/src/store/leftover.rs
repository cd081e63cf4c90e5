//! Uploads that nobody will finish: they are billed, and no listing of objects shows them.

use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::types::MultipartUpload;
use icecap_table::{Error, Result};
use object_store::client::HttpErrorKind;
use object_store::path::Path;
use std::time::Duration;

use super::bucket::Bucket;
use super::http::Kind;
use super::refusal::{About, Failure, Refusal, What, explain};
use super::settings::Setup;

/// Aborts the unfinished uploads below a folder whose base names begin with `base_name`.
pub(super) async fn abort_below(bucket: &Bucket, folder: &Path, base_name: &str) -> Result<Vec<Path>> {
    let prefix = if folder.as_ref().is_empty() { String::new() } else { format!("{folder}/") };
    let is_wanted = |key: &str| key.rsplit('/').next().is_some_and(|name| name.starts_with(base_name));
    abort(bucket, &prefix, is_wanted).await
}

/// Aborts the unfinished uploads of one object.
pub(super) async fn abort_at(bucket: &Bucket, path: &Path) -> Result<Vec<Path>> {
    abort(bucket, path.as_ref(), |key| key == path.as_ref()).await
}

async fn abort(bucket: &Bucket, prefix: &str, is_wanted: impl Fn(&str) -> bool) -> Result<Vec<Path>> {
    let setup = bucket.setup().await?;
    let mut aborted = Vec::new();
    let mut failed = None;
    for upload in list(bucket, setup, prefix).await? {
        let (Some(key), Some(id)) = (upload.key(), upload.upload_id()) else { continue };
        if !is_wanted(key) {
            continue;
        }
        bucket.count(Kind::Multipart);
        let sent =
            setup.sdk.abort_multipart_upload().bucket(bucket.name()).key(key).upload_id(id).send().await;
        match sent {
            Ok(_) => aborted.push(Path::from(key)),
            Err(error) if error.code() == Some("NoSuchUpload") => {}
            Err(error) => failed = Some(meaning(bucket, setup, &error)),
        }
    }
    failed.map_or(Ok(aborted), Err)
}

/// Uploads that were begun and neither completed nor aborted, under names that begin with `prefix`.
async fn list(bucket: &Bucket, setup: &Setup, prefix: &str) -> Result<Vec<MultipartUpload>> {
    let mut found = Vec::new();
    let (mut key, mut id) = (None, None);
    loop {
        bucket.count(Kind::List);
        let page = setup
            .sdk
            .list_multipart_uploads()
            .bucket(bucket.name())
            .prefix(prefix)
            .set_key_marker(key.take())
            .set_upload_id_marker(id.take())
            .send()
            .await
            .map_err(|error| meaning(bucket, setup, &error))?;
        found.extend_from_slice(page.uploads());
        (key, id) =
            (page.next_key_marker().map(str::to_owned), page.next_upload_id_marker().map(str::to_owned));
        if page.is_truncated() != Some(true) || key.is_none() {
            return Ok(found);
        }
    }
}

fn meaning<E: ProvideErrorMetadata>(bucket: &Bucket, setup: &Setup, error: &SdkError<E>) -> Error {
    let what = match error.raw_response() {
        Some(response) => What::Refused(Refusal {
            status: response.status().as_u16(),
            code: error.code().map(str::to_owned),
            message: error.message().map(str::to_owned),
            ..Refusal::default()
        }),
        None => What::Lost(HttpErrorKind::Unknown, "an upload could not be looked for".to_owned()),
    };
    let failure = Failure { what, attempts: 1, took: Duration::ZERO };
    explain(&failure, About { bucket: bucket.name(), region: &setup.region, place: &setup.place() })
}
