//! An upload in parts whose end is certain.
//!
//! When the answer to its completion is lost, S3 says of the next attempt that it knows no such upload: then the
//! object tells. Its name is used once, so one of the same length is ours. When the answer to its beginning was
//! lost, a second one of the same name was begun and stays behind unless it is looked for.

use async_trait::async_trait;
use object_store::path::Path;
use object_store::{MultipartUpload, ObjectStoreExt, PutPayload, PutResult, Result, UploadPart};

use super::bucket::Bucket;
use super::leftover;

#[derive(Debug)]
pub(super) struct Upload {
    bucket: Bucket,
    path: Path,
    inner: Box<dyn MultipartUpload>,
    sent_bytes: u64,
    /// Whether another upload of this name may have been begun.
    may_have_twin: bool,
}

impl Upload {
    pub(super) fn new(
        bucket: Bucket,
        path: Path,
        inner: Box<dyn MultipartUpload>,
        may_have_twin: bool,
    ) -> Self {
        Self { bucket, path, inner, sent_bytes: 0, may_have_twin }
    }

    /// Ends what may be left under this name, once this upload itself has ended.
    async fn end_twin(&mut self) {
        if std::mem::take(&mut self.may_have_twin)
            && let Err(error) = leftover::abort_at(&self.bucket, &self.path).await
        {
            tracing::warn!(bucket = self.bucket.name(), path = %self.path, %error, "an unfinished upload may be left");
        }
    }
}

#[async_trait]
impl MultipartUpload for Upload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        self.sent_bytes += data.content_length() as u64;
        let (bucket, part) = (self.bucket.clone(), self.inner.put_part(data));
        Box::pin(async move { part.await.map_err(|error| bucket.explained(error)) })
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let result = match self.inner.complete().await {
            Ok(result) => result,
            Err(error) => match self.bucket.head(&self.path).await {
                Ok(found) if found.size == self.sent_bytes => {
                    PutResult { e_tag: found.e_tag, version: found.version }
                }
                _ => return Err(self.bucket.explained(error)),
            },
        };
        self.end_twin().await;
        Ok(result)
    }

    async fn abort(&mut self) -> Result<()> {
        let aborted = match self.inner.abort().await {
            // It is gone already: an attempt whose answer was lost.
            Err(object_store::Error::NotFound { .. }) => Ok(()),
            result => result.map_err(|error| self.bucket.explained(error)),
        };
        self.end_twin().await;
        aborted
    }
}
