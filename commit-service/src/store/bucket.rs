//! One bucket as an `ObjectStore`: opened with its first request, its errors explained, its writes certain.
//!
//! A put that creates only is refused when the object is there. When an earlier attempt of the same put got no
//! answer, that object may be our own: then it is compared, and an equal one is our success.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use object_store::aws::AmazonS3;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetRange, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    ObjectStoreExt, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use tokio::sync::OnceCell;

use super::Shared;
use super::http::{Connector, Doubt, Kind};
use super::refusal::{About, Failure, What, carried, explained, find};
use super::settings::Setup;
use super::upload::Upload;

/// A bucket; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Bucket(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    name: String,
    shared: Arc<Shared>,
    open: OnceCell<Open>,
}

/// What there is once the settings are known.
#[derive(Debug)]
struct Open {
    store: AmazonS3,
    region: String,
    place: String,
}

impl Bucket {
    pub(super) fn new(name: String, shared: Arc<Shared>) -> Self {
        Self(Arc::new(Inner { name, shared, open: OnceCell::new() }))
    }

    pub(super) fn name(&self) -> &str {
        &self.0.name
    }

    pub(super) fn count(&self, kind: Kind) {
        self.0.shared.meter.add(kind);
    }

    pub(super) async fn setup(&self) -> icecap_table::Result<&Setup> {
        self.0.shared.setup().await
    }

    async fn open(&self) -> Result<&Open> {
        let open = || async {
            let setup = self.setup().await?;
            let shared = &self.0.shared;
            let connector = Connector { meter: Arc::clone(&shared.meter), ids: Arc::clone(&shared.ids) };
            let store = setup.client(&self.0.name, connector)?;
            Ok(Open { store, region: setup.region.clone(), place: setup.place() })
        };
        self.0.open.get_or_try_init(open).await.map_err(carried)
    }

    async fn store(&self) -> Result<&AmazonS3> {
        Ok(&self.open().await?.store)
    }

    /// The same error, saying what it means.
    pub(super) fn explained(&self, error: object_store::Error) -> object_store::Error {
        let open = self.0.open.get();
        let about = About {
            bucket: &self.0.name,
            region: open.map_or("", |open| &open.region),
            place: open.map_or("S3", |open| &open.place),
        };
        explained(error, about)
    }

    /// Whether the object there is what `payload` would have made of it.
    async fn is_stored(&self, location: &Path, payload: &PutPayload) -> Result<Option<PutResult>> {
        let found = match self.get(location).await {
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            found => found?,
        };
        let meta = found.meta.clone();
        if meta.size != payload.content_length() as u64 {
            return Ok(None);
        }
        let mut wanted = payload.iter().flat_map(|chunk| chunk.iter());
        let mut stored = found.into_stream();
        while let Some(chunk) = stored.try_next().await? {
            if !chunk.iter().all(|byte| wanted.next() == Some(byte)) {
                return Ok(None);
            }
        }
        Ok(wanted.next().is_none().then_some(PutResult { e_tag: meta.e_tag, version: meta.version }))
    }

    /// A stream of the store's, which is opened first.
    fn streamed<T: Send + 'static>(
        &self,
        begin: impl FnOnce(&AmazonS3) -> BoxStream<'static, Result<T>> + Send + 'static,
    ) -> BoxStream<'static, Result<T>> {
        let (bucket, named) = (self.clone(), self.clone());
        let begun = async move { bucket.store().await.map(begin) };
        stream::once(begun).try_flatten().map_err(move |error| named.explained(error)).boxed()
    }

    /// Answers to HEAD have no body to say why they are refusals: the same is asked by GET.
    async fn why(&self, location: &Path, error: object_store::Error) -> object_store::Error {
        let unexplained = find::<Failure>(&error)
            .is_some_and(|failure| matches!(&failure.what, What::Refused(refusal) if refusal.code.is_none()));
        if !unexplained {
            return error;
        }
        let Ok(store) = self.store().await else { return error };
        let first = GetOptions { range: Some(GetRange::Bounded(0..1)), ..GetOptions::default() };
        match store.get_opts(location, first).await {
            Err(told) if find::<Failure>(&told).is_some() => told,
            _ => error,
        }
    }
}

impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s3://{}", self.0.name)
    }
}

#[async_trait]
impl ObjectStore for Bucket {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        mut options: PutOptions,
    ) -> Result<PutResult> {
        let store = self.store().await?;
        let doubt = Doubt::default();
        options.extensions.insert(doubt.clone());
        let creates = matches!(options.mode, PutMode::Create);
        match store.put_opts(location, payload.clone(), options).await {
            Err(error @ object_store::Error::AlreadyExists { .. }) if creates && doubt.is_raised() => {
                match self.is_stored(location, &payload).await? {
                    Some(ours) => Ok(ours),
                    None => Err(error),
                }
            }
            result => result.map_err(|error| self.explained(error)),
        }
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        mut options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let store = self.store().await?;
        let doubt = Doubt::default();
        options.extensions.insert(doubt.clone());
        let begun = store.put_multipart_opts(location, options).await;
        let upload = begun.map_err(|error| self.explained(error))?;
        Ok(Box::new(Upload::new(self.clone(), location.clone(), upload, doubt.is_raised())))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let head = options.head;
        match self.store().await?.get_opts(location, options).await {
            Err(error) if head => Err(self.explained(self.why(location, error).await)),
            result => result.map_err(|error| self.explained(error)),
        }
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        // Ranges near one another become one request.
        self.store().await?.get_ranges(location, ranges).await.map_err(|error| self.explained(error))
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.streamed(move |store| store.delete_stream(locations))
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let prefix = prefix.cloned();
        self.streamed(move |store| store.list(prefix.as_ref()))
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        let (prefix, offset) = (prefix.cloned(), offset.clone());
        self.streamed(move |store| store.list_with_offset(prefix.as_ref(), &offset))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.store().await?.list_with_delimiter(prefix).await.map_err(|error| self.explained(error))
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.store().await?.copy_opts(from, to, options).await.map_err(|error| self.explained(error))
    }
}
