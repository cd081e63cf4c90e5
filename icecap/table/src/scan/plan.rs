//! The walk from a snapshot to its files.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use iceberg::expr::Predicate;
use iceberg::spec::{ManifestContentType, ManifestFile, Schema, SchemaRef, Snapshot, TableMetadata};
use tokio::sync::Semaphore;

use super::delete_index::DeleteIndex;
use super::delete_manifest::read_delete_files;
use super::manifest::{Context, plan_manifest};
use super::{DeleteFile, ScanPlan};
use crate::error::{Error, Result};
use crate::expr::Judge;
use crate::location::Policy;
use crate::snapshot::ManifestReader;
use crate::storage::Storage;

/// Manifests that are read at once.
const CONCURRENCY: usize = 16;
/// Bytes of encoded manifests that are in memory at once; parsed they take some ten times as much.
const IN_FLIGHT_KIB: u32 = 32 * 1024;
/// Below this size a manifest is parsed where it was read; above, on a thread for blocking work.
const PARSE_INLINE_BYTES: usize = 32 << 10;

/// Which columns' metrics a plan keeps. Planning itself judges by all of them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum MetricsKept {
    /// Those of every column.
    #[default]
    All,
    /// Those of these field ids; the empty set keeps none. It saves memory on tables of many files.
    Columns(BTreeSet<i32>),
}

impl MetricsKept {
    pub(super) fn keeps(&self, field_id: i32) -> bool {
        match self {
            Self::All => true,
            Self::Columns(ids) => ids.contains(&field_id),
        }
    }
}

/// What to plan.
#[derive(Debug, Clone)]
pub struct ScanRequest<'a> {
    metadata: &'a TableMetadata,
    snapshot: &'a Snapshot,
    schema: SchemaRef,
    filter: Predicate,
    metrics: MetricsKept,
    ignores_deletes: bool,
    policy: Option<Policy>,
}

impl<'a> ScanRequest<'a> {
    /// All files of `snapshot`. Names in a filter are those of the table's current schema when the snapshot
    /// is the current one, else those of the schema that the snapshot was made with.
    ///
    /// # Errors
    /// `Corrupt` when the snapshot names a schema that the table does not have.
    pub fn new(metadata: &'a TableMetadata, snapshot: &'a Snapshot) -> Result<Self> {
        let schema = if metadata.current_snapshot_id() == Some(snapshot.snapshot_id()) {
            metadata.current_schema().clone()
        } else {
            snapshot.schema(metadata)?
        };
        Ok(Self {
            metadata,
            snapshot,
            schema,
            filter: Predicate::AlwaysTrue,
            metrics: MetricsKept::All,
            ignores_deletes: false,
            policy: None,
        })
    }

    /// With the filter's names being those of `schema`. A branch's head needs it: its readers use the
    /// current schema.
    #[must_use]
    pub fn with_schema(mut self, schema: impl Into<Arc<Schema>>) -> Self {
        self.schema = schema.into();
        self
    }

    /// Only files that may have a row for which `filter` is true.
    #[must_use]
    pub fn with_filter(mut self, filter: Predicate) -> Self {
        self.filter = filter;
        self
    }

    /// Keeping these metrics only.
    #[must_use]
    pub fn with_metrics(mut self, metrics: MetricsKept) -> Self {
        self.metrics = metrics;
        self
    }

    /// The data files as they are stored, rows that delete files take out included. For checks of the files
    /// themselves: no query may read a table so.
    #[must_use]
    pub fn ignoring_deletes(mut self) -> Self {
        self.ignores_deletes = true;
        self
    }

    /// Only files that `policy` lets a table name: a manifest may say anything.
    #[must_use]
    pub fn with_policy(mut self, policy: Policy) -> Self {
        self.policy = Some(policy);
        self
    }

    /// Plans.
    ///
    /// # Errors
    /// `Denied` for a manifest list, manifest or wanted file that lies where the policy lets none lie;
    /// `Unsupported` when a wanted file is no plain Parquet file, or a delete file of one is neither that nor a plain
    /// deletion vector; `Corrupt` when its metadata cannot be parsed or is too large to be metadata, or is missing,
    /// or when two deletion vectors are of one data file.
    pub async fn plan(self, storage: &Storage) -> Result<ScanPlan> {
        if self.snapshot.encryption_key_id().is_some() {
            return Err(Error::unsupported("reading encrypted tables is not supported yet"));
        }
        if self.snapshot.manifest_list().is_empty() {
            return Err(Error::unsupported(
                "reading a snapshot without a manifest list is not supported yet",
            )
            .with("snapshot", self.snapshot.snapshot_id().to_string()));
        }
        let judge = Judge::for_table(&self.filter, &self.schema, self.metadata);
        let mut plan = ScanPlan { filter_is_exact: true, ..ScanPlan::default() };
        let (mut wanted, mut wanted_deletes) = (Vec::new(), Vec::new());
        check_place(self.policy.as_ref(), self.snapshot.manifest_list())?;
        let reader = ManifestReader::new(storage);
        for manifest in reader.list(self.metadata, self.snapshot).await?.iter() {
            if !(manifest.has_added_files() || manifest.has_existing_files()) {
                continue;
            }
            if manifest.content == ManifestContentType::Deletes {
                plan.delete_manifests_total += 1;
                // A delete file takes rows from its own partition only, but for those that have none.
                if !self.ignores_deletes && judge.manifest_may_match(manifest) {
                    check_place(self.policy.as_ref(), &manifest.manifest_path)?;
                    wanted_deletes.push(manifest.clone());
                }
                continue;
            }
            plan.manifests_total += 1;
            if judge.manifest_may_match(manifest) {
                check_place(self.policy.as_ref(), &manifest.manifest_path)?;
                wanted.push(manifest.clone());
            } else {
                let files = u64::from(manifest.added_files_count.unwrap_or(0))
                    + u64::from(manifest.existing_files_count.unwrap_or(0));
                plan.files_total += files;
                plan.files_pruned_by_manifest += files;
            }
        }
        plan.manifests_read = wanted.len() as u64;
        plan.delete_manifests_read = wanted_deletes.len() as u64;
        let specs = self.metadata.partition_specs_iter().map(|spec| (spec.spec_id(), spec.clone())).collect();
        let context = Arc::new(Context {
            judge,
            metrics: self.metrics,
            schema: self.schema,
            specs,
            policy: self.policy,
        });
        let in_flight = Semaphore::new(IN_FLIGHT_KIB as usize);
        let data = async {
            let mut parts = futures::stream::iter(wanted)
                .map(|manifest| read_manifest(reader, manifest, &in_flight, &context, plan_manifest))
                .buffered(CONCURRENCY);
            while let Some(part) = parts.try_next().await? {
                plan.append(part);
            }
            Ok::<(), Error>(())
        };
        let deletes = async {
            let mut parts = futures::stream::iter(wanted_deletes)
                .map(|manifest| read_manifest(reader, manifest, &in_flight, &context, read_delete_files))
                .buffered(CONCURRENCY);
            let mut all: Vec<DeleteFile> = Vec::new();
            while let Some(part) = parts.try_next().await? {
                all.extend(part);
            }
            Ok::<_, Error>(all)
        };
        let ((), deletes) = futures::try_join!(data, deletes)?;
        DeleteIndex::new(deletes, &context)?.assign(&mut plan, &context)?;
        Ok(plan)
    }
}

/// Holds a location that a table's metadata names to the policy.
pub(super) fn check_place(policy: Option<&Policy>, location: &str) -> Result<()> {
    policy.map_or(Ok(()), |policy| policy.check_readable(location))
}

/// Reads a manifest and hands it to `parse`, on a thread for blocking work when it is large.
async fn read_manifest<T: Send + 'static>(
    reader: ManifestReader<'_>,
    listed: ManifestFile,
    in_flight: &Semaphore,
    context: &Arc<Context>,
    parse: fn(&ManifestFile, &[u8], &Context) -> Result<T>,
) -> Result<T> {
    let kib = u32::try_from(listed.manifest_length / 1024 + 1).unwrap_or(1).clamp(1, IN_FLIGHT_KIB);
    let _permit = in_flight
        .acquire_many(kib)
        .await
        .map_err(|e| Error::bug("the scan's memory permits were closed").with_source(e))?;
    let bytes = reader.bytes(&listed).await?;
    if bytes.len() <= PARSE_INLINE_BYTES {
        return parse(&listed, &bytes, context);
    }
    let context = context.clone();
    tokio::task::spawn_blocking(move || parse(&listed, &bytes, &context))
        .await
        .map_err(|e| Error::cancelled("the scan was stopped").with_source(e))?
}

impl ScanPlan {
    fn append(&mut self, part: Self) {
        self.files_total += part.files_total;
        self.files_pruned_by_partition += part.files_pruned_by_partition;
        self.files_pruned_by_metrics += part.files_pruned_by_metrics;
        self.filter_is_exact &= part.filter_is_exact;
        for file in part.files {
            self.rows = self.rows.saturating_add(file.record_count);
            self.bytes = self.bytes.saturating_add(file.file_size_bytes);
            self.files.push(file);
        }
    }
}

/// The files of `snapshot` that may have a row for which `filter` is true, as [`ScanRequest`] plans them.
///
/// # Errors
/// As [`ScanRequest::plan`].
pub async fn plan_files(
    storage: &Storage,
    metadata: &TableMetadata,
    snapshot: &Snapshot,
    filter: &Predicate,
) -> Result<ScanPlan> {
    ScanRequest::new(metadata, snapshot)?.with_filter(filter.clone()).plan(storage).await
}
