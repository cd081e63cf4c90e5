//! The engine: settings and components in, statements run.
//!
//! [`Engine`] is what a process opens once: storage, catalog, commit client, executor. A [`Session`] runs
//! statements in order. How a statement becomes a plan is [`sql`](crate::sql)'s and [`plan`](crate::plan)'s; here
//! the steps are put in order: resolve, plan, begin, write, commit, tell. Nothing here publishes by itself.

mod alter;
mod call;
mod cancel;
mod create;
mod describe;
mod explain;
mod explain_changes;
mod insert;
mod progress;
mod query;
mod races;
mod resolve;
mod row_level;
mod session;
mod settings;
mod show;
mod show_create;
mod summary;
mod tables;
mod upkeep;
mod verify;
mod version;
mod write;
mod writers;

use std::sync::Arc;

use datafusion::execution::SessionState;
use icecap_catalog_fn::Catalog;
use icecap_commit_service::{CommitService, CommitServiceSettings, SqliteStore, store};
use icecap_table::cache::CacheUsage;
use icecap_table::catalog::TableCatalog;
use icecap_table::clock::{Clock, IdSource, SystemClock, SystemIds};
use icecap_table::commit::CommitClient;
use icecap_table::location::{self, Policy};
use icecap_table::storage::{RequestCounts, Storage};

pub use cancel::Cancel;
pub use progress::{Progress, Reading};
pub use races::Races;
pub use session::{Session, StatementResult};
pub use settings::{EngineSettings, Writers};
pub use summary::{Cost, DoneSummary, WriteSummary};
pub use upkeep::{Maintenance, OptimizeRequest, Rewritten, Upkeep, UpkeepIntent, UpkeepWrite, VacuumRequest};
pub use verify::{METADATA_SUFFIX, VerifyReport};

use self::settings::Tier;
use crate::dispatch::{Executor, Meter};
use crate::exchange::EXCHANGE_FOLDER;
use crate::plan::ScanTasks;
use crate::source::SourcePolicy;
use crate::stage::{RetryPolicy, StageRunner};
use crate::worker::{TaskPolicy, WorkerSettings};
use crate::{Error, Result};

/// The namespace of an unqualified name.
pub const DEFAULT_NAMESPACE: &str = "default";

/// Everything that statements run on. Cheap to clone.
#[derive(Clone)]
pub struct Engine {
    parts: Arc<Parts>,
}

#[derive(Clone)]
pub(crate) struct Parts {
    pub(crate) settings: EngineSettings,
    pub(crate) warehouse: String,
    pub(crate) catalog_name: String,
    pub(crate) policy: Policy,
    pub(crate) storage: Storage,
    pub(crate) catalog: Arc<dyn TableCatalog>,
    pub(crate) commit: Arc<dyn CommitClient>,
    pub(crate) executor: Arc<dyn Executor>,
    pub(crate) runner: StageRunner,
    pub(crate) tier: Tier,
    pub(crate) meter: Meter,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) ids: Arc<dyn IdSource>,
    pub(crate) planner: SessionState,
    pub(crate) sources: SourcePolicy,
    pub(crate) progress: Progress,
    pub(crate) maintenance: Option<Arc<dyn Maintenance>>,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("warehouse", &self.parts.warehouse).finish_non_exhaustive()
    }
}

impl Engine {
    /// Opens a warehouse, making it (and its catalog) where it does not exist yet.
    ///
    /// # Errors
    /// `Invalid` for settings that make no sense, `Unsupported` for a catalog or warehouse of a kind that is not
    /// built yet, `Unavailable` when the directory or the catalog file cannot be opened.
    pub async fn open(settings: EngineSettings) -> Result<Self> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let ids: Arc<dyn IdSource> = Arc::new(SystemIds);
        let warehouse = location::to_location(&settings.warehouse)?;
        if !["file:", "s3:"].iter().any(|scheme| warehouse.starts_with(scheme)) {
            return Err(Error::unsupported("a warehouse is a local directory or s3://BUCKET/PREFIX")
                .with("warehouse", warehouse));
        }
        let mut storage = store::storage(Arc::clone(&clock), Arc::clone(&ids));
        if let Some(bytes) = settings.cache_bytes {
            storage = storage.with_cache_bytes(bytes);
        }
        let policy = Policy::new(&warehouse, &settings.allow_location)?;
        let (path, catalog_name) = settings.catalog_file(&warehouse)?;
        let store = SqliteStore::open(&path, &catalog_name, Arc::clone(&clock)).await?;
        let commit = CommitService::new(
            store.clone(),
            storage.clone(),
            Arc::clone(&clock),
            Arc::clone(&ids),
            policy.clone(),
            CommitServiceSettings { timeout: settings.timeout, ..CommitServiceSettings::default() },
        );
        // Over the same storage, whose cache has what was just committed.
        let catalog = Catalog::open(store, storage.clone(), policy.clone()).await?;
        Self::assemble(Components {
            settings,
            warehouse,
            catalog_name,
            policy,
            storage,
            catalog: Arc::new(catalog),
            commit: Arc::new(commit),
            clock,
            ids,
        })
    }

    fn assemble(components: Components) -> Result<Self> {
        let Components { settings, warehouse, catalog_name, policy, storage, catalog, commit, clock, ids } =
            components;
        let threads = settings.threads()?;
        let tier = settings.tier()?;
        let progress = Progress::default();
        let sources = SourcePolicy { allow_read: settings.allow_read.clone() };
        let here = WorkerSettings {
            threads,
            memory_bytes: settings.memory_bytes,
            temp_dir: settings.temp_dir.clone(),
            progress: progress.clone(),
            policy: Some(TaskPolicy {
                warehouse: policy.warehouse(),
                allow_location: policy.allowed(),
                allow_read: settings.allow_read.clone(),
            }),
        };
        let meter = Meter::default();
        let (executor, mut planner) =
            writers::executor(&settings, &warehouse, &storage, here, meter.clone())?;
        if tier.is_distributed() {
            // A plan of one partition has no place where it could be parted.
            planner.config_mut().options_mut().execution.target_partitions = threads.max(2);
            planner.config_mut().set_extension(Arc::new(ScanTasks(tier.tasks.limit())));
        }
        let runner = StageRunner::new(
            Arc::clone(&executor),
            storage.clone(),
            Arc::clone(&ids),
            tier.slots,
            settings.retry(),
        );
        Ok(Self {
            parts: Arc::new(Parts {
                settings,
                warehouse,
                catalog_name,
                policy,
                storage,
                catalog,
                commit,
                executor,
                runner,
                tier,
                meter,
                clock,
                ids,
                planner,
                sources,
                progress,
                maintenance: None,
            }),
        })
    }

    /// The same engine with another executor for its writes, made of the one that it has.
    #[must_use]
    pub fn with_executor(&self, make: impl FnOnce(Arc<dyn Executor>) -> Arc<dyn Executor>) -> Self {
        let mut parts = self.parts.as_ref().clone();
        parts.executor = make(parts.executor);
        parts.runner = parts.runner.with_executor(Arc::clone(&parts.executor));
        Self { parts: Arc::new(parts) }
    }

    /// The same engine with another way to the commit service for its writes, made of the one that it has.
    #[must_use]
    pub fn with_commit(&self, make: impl FnOnce(Arc<dyn CommitClient>) -> Arc<dyn CommitClient>) -> Self {
        let mut parts = self.parts.as_ref().clone();
        parts.commit = make(parts.commit);
        Self { parts: Arc::new(parts) }
    }

    /// The same engine with another way to try tasks again.
    #[must_use]
    pub fn with_retry(&self, policy: RetryPolicy) -> Self {
        let mut parts = self.parts.as_ref().clone();
        parts.runner = parts.runner.with_policy(policy);
        Self { parts: Arc::new(parts) }
    }

    /// How far the running statement is; where several run at once, the one that began last.
    pub fn progress(&self) -> Progress {
        self.parts.progress.clone()
    }

    /// How full the cache of metadata files, manifests and footers is, and how it served.
    pub fn cache_usage(&self) -> CacheUsage {
        self.parts.storage.cache().usage()
    }

    /// What was asked of remote stores (S3) so far: the difference is what a statement cost.
    pub fn requests(&self) -> RequestCounts {
        self.parts.storage.requests()
    }

    /// A session: its statements run one after another, numbered from 0 for their idempotency ids.
    pub fn session(&self) -> Session {
        Session::new(Arc::clone(&self.parts))
    }
}

impl Parts {
    /// The folder of exchange objects.
    pub(crate) fn exchange_folder(&self) -> String {
        format!("{}/{EXCHANGE_FOLDER}", self.warehouse)
    }
}

struct Components {
    settings: EngineSettings,
    warehouse: String,
    catalog_name: String,
    policy: Policy,
    storage: Storage,
    catalog: Arc<dyn TableCatalog>,
    commit: Arc<dyn CommitClient>,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn IdSource>,
}

/// An error of DataFusion's as what it means to an Icecap caller; errors of ours that travelled inside come out
/// as they were.
pub(crate) fn from_datafusion(error: datafusion::error::DataFusionError) -> Error {
    crate::plan::from_datafusion(error)
}
