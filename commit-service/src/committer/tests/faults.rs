//! Lost answers, delays, zombies, take-overs, and callers that stop listening at any moment.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use async_trait::async_trait;
use futures::future::BoxFuture;
use icecap_table::iceberg::TableUpdate;
use icecap_table::{Error, Result};
use tokio::sync::Mutex;

use super::*;
use crate::ledger::Owner;
use crate::pointer::{LedgerCommit, Pointer, Publish, Publisher, Swap};
use crate::service::{CommitService, CommitServiceSettings, Parts};
use crate::testing::{AlwaysYes, Fault, Faulty};

pub(super) fn service_over(world: &World, publisher: Arc<dyn Publisher>) -> CommitService {
    let parts = Parts { publisher, lease: Arc::new(AlwaysYes), ..world.parts() };
    CommitService::assemble(
        parts,
        CommitServiceSettings {
            // For a busy machine too; tests that lose every race have a limit of their own.
            timeout: Some(Duration::from_secs(60)),
            ..CommitServiceSettings::default()
        },
    )
}

pub(super) fn faulty(world: &World, faults: &[Fault]) -> (Arc<Faulty>, CommitService) {
    let faulty = Arc::new(Faulty::new(Arc::new(world.store.clone()), faults.iter().copied()));
    (Arc::clone(&faulty), service_over(world, faulty))
}

#[tokio::test]
async fn a_lost_answer_is_found_in_the_ledger() {
    for faults in [
        &[Fault::LostAnswer][..],
        &[Fault::LostRequest],
        &[Fault::LostRequest, Fault::LostRequest, Fault::LostAnswer],
        &[Fault::Delayed],
        &[Fault::Delayed, Fault::LostAnswer],
        &[Fault::LostRequest, Fault::Delayed, Fault::Delayed],
    ] {
        let (_folder, world) = world().await;
        let document = world.create("t", &[]).await.unwrap();
        let (faulty, service) = faulty(&world, faults);
        service.begin(world.begin(id(1))).await.unwrap();
        let outcome = committed(service.commit(world.append(id(1), "t", &document, &[2])).await.unwrap());
        faulty.arrive().await.unwrap();
        assert_eq!(world.store_location("t").await, outcome.metadata_location, "{faults:?}");
        assert_eq!(history(&world, "t").await, (vec![id(1).to_string()], 2), "{faults:?}");
        assert_eq!(world.stray_metadata("t").await.unwrap(), [] as [&str; 0], "{faults:?}");
    }
}

#[tokio::test]
async fn a_create_whose_answer_is_lost_is_not_told_that_its_table_exists() {
    for fault in [Fault::LostAnswer, Fault::Delayed, Fault::LostRequest] {
        let (_folder, world) = world().await;
        let (faulty, service) = faulty(&world, &[fault]);
        let metadata = world.document("t", &[]).unwrap().to_bytes().unwrap().to_vec();
        let change = Change::Create { metadata, files: vec![], snapshot: true };
        service.begin(world.begin(id(1))).await.unwrap();
        let request = world.request(id(1), "t", StatementKind::CreateTable, change);
        let outcome = committed(service.commit(request).await.unwrap());
        faulty.arrive().await.unwrap();
        assert_eq!(world.store_location("t").await, outcome.metadata_location);
        assert_eq!(world.stray_metadata("t").await.unwrap(), [] as [&str; 0]);
    }
}

#[tokio::test]
async fn no_answer_at_all_is_unknown_and_nothing_is_deleted_on_doubt() {
    let (_folder, world) = world().await;
    let document = world.create("t", &[]).await.unwrap();
    let (_, service) = faulty(&world, &[Fault::LostRequest; 4]);
    service.begin(world.begin(id(1))).await.unwrap();
    let request = world.append(id(1), "t", &document, &[2]);
    let error = service.commit(request.clone()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::CommitStateUnknown);
    // Four attempts of a manifest, a list and a metadata file: any of them might still land.
    assert_eq!(world.stray_metadata("t").await.unwrap().len(), 12);
    assert_eq!(committed(service.commit(request).await.unwrap()).added_rows, 2);
    assert_eq!(history(&world, "t").await.1, 2);
}

#[tokio::test]
async fn what_was_refused_before_anything_was_done_is_an_error_and_leaves_nothing() {
    let (_folder, world) = world().await;
    let document = world.create("t", &[]).await.unwrap();
    let (_, service) = faulty(&world, &[Fault::Refused]);
    service.begin(world.begin(id(1))).await.unwrap();
    let request = world.append(id(1), "t", &document, &[2]);
    assert_eq!(service.commit(request.clone()).await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(world.stray_metadata("t").await.unwrap(), [] as [&str; 0]);
    committed(service.commit(request).await.unwrap());
}

#[tokio::test]
async fn a_zombie_never_commits() {
    let (_folder, world) = world().await;
    let document = world.create("t", &[]).await.unwrap();
    // Fenced before it commits.
    let service = world.service();
    service.begin(world.begin(id(1))).await.unwrap();
    assert_eq!(service.abandon(id(1), 1).await.unwrap(), WriteState::Fenced);
    let error = service.commit(world.append(id(1), "t", &document, &[1])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Fenced);
    // Fenced while its swap is under way.
    let (late, slow) = faulty(&world, &[Fault::Delayed; 8]);
    slow.begin(world.begin(id(2))).await.unwrap();
    let request = world.append(id(2), "t", &document, &[1]);
    {
        let mut commit = pin!(slow.commit(request));
        let sent = tokio::time::timeout(Duration::from_millis(1), &mut commit).await;
        assert!(sent.is_err());
        assert_eq!(service.abandon(id(2), 1).await.unwrap(), WriteState::Fenced);
        assert_eq!(commit.await.unwrap_err().kind(), ErrorKind::Fenced);
    }
    late.arrive().await.unwrap();
    assert_eq!(history(&world, "t").await, (vec![], 0));
    assert_eq!(world.stray_metadata("t").await.unwrap(), [] as [&str; 0]);
}

#[tokio::test]
async fn the_successor_of_a_dead_write_commits_and_the_dead_one_does_not() {
    let (_folder, world) = world().await;
    let document = world.create("t", &[]).await.unwrap();
    let zombie = world.service();
    // Its deadline is long past.
    zombie.begin(BeginWriteAt(0).of(&world)).await.unwrap();
    let successor = world.service();
    assert_eq!(successor.begin(world.begin(id(1))).await.unwrap(), Begun::Active { round: 2 });
    let theirs = world.append(id(1), "t", &document, &[1]);
    assert_eq!(zombie.commit(theirs.clone()).await.unwrap_err().kind(), ErrorKind::Fenced);
    let ours = CommitRequest { round: 2, ..world.append(id(1), "t", &document, &[5]) };
    let outcome = committed(successor.commit(ours).await.unwrap());
    assert_eq!(outcome.added_rows, 5);
    assert_eq!(committed(zombie.commit(theirs).await.unwrap()), outcome);
    assert_eq!(history(&world, "t").await, (vec![id(1).to_string()], 5));
}

struct BeginWriteAt(i64);

impl BeginWriteAt {
    fn of(&self, world: &World) -> icecap_table::commit::BeginWrite {
        icecap_table::commit::BeginWrite { deadline_ms: self.0, ..world.begin(id(1)) }
    }
}

/// Polls a future `turns` times, then drops it.
pub(super) async fn stop_after<F: Future>(future: F, turns: usize) -> Option<F::Output> {
    let mut future = pin!(future);
    for _ in 0..turns {
        if let Poll::Ready(value) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return Some(value);
        }
        // What it waits for runs on other threads.
        tokio::time::sleep(Duration::from_millis(4)).await;
    }
    None
}

/// How many steps a commit goes before it is stopped, for the `turns`-th time. On a busy machine it has far more of them:
/// the later ones come in longer strides.
pub(super) fn steps(turns: u32) -> usize {
    (turns + turns.saturating_sub(60) * 20) as usize
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_may_stop_listening_at_any_moment() {
    let (_folder, world) = world().await;
    let document = world.create("t", &[]).await.unwrap();
    let mut expected = Vec::new();
    // One step further each time, until it has run to its end more than once.
    let mut finished = 0;
    for turns in 0..200_u32 {
        if finished == 2 {
            break;
        }
        let service = world.service();
        service.begin(world.begin(id(turns))).await.unwrap();
        let request = world.append(id(turns), "t", &document, &[1]);
        finished += usize::from(stop_after(service.commit(request.clone()), steps(turns)).await.is_some());
        // Another write passes between, and the id is asked again.
        service.begin(world.begin(id(1000 + turns))).await.unwrap();
        committed(service.commit(world.append(id(1000 + turns), "t", &document, &[1])).await.unwrap());
        committed(service.commit(request).await.unwrap());
        expected.extend([id(turns).to_string(), id(1000 + turns).to_string()]);
    }
    assert_eq!(finished, 2, "no commit ran to its end: the turns are too few to cover every step");
    let (mut ids, rows) = history(&world, "t").await;
    ids.sort();
    expected.sort();
    assert_eq!(rows, expected.len() as u64);
    assert_eq!(ids, expected);
}

#[tokio::test]
async fn a_crash_around_the_swap_is_resolved_by_asking_again() {
    for (fault, done) in [(Fault::Hangs, false), (Fault::HangsAfter, true)] {
        let (_folder, world) = world().await;
        let document = world.create("t", &[]).await.unwrap();
        let (_, service) = faulty(&world, &[fault]);
        service.begin(world.begin(id(1))).await.unwrap();
        let request = world.append(id(1), "t", &document, &[2]);
        let crash = async {
            let landed =
                async || matches!(world.service().outcome(id(1)).await, Ok(Some(WriteState::Committed(_))));
            while done && !landed().await {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            tokio::time::sleep(Duration::from_millis(if done { 0 } else { 500 })).await;
        };
        tokio::select! {
            answer = service.commit(request.clone()) => panic!("it was to hang: {answer:?}"),
            () = crash => {}
        }
        assert_eq!(history(&world, "t").await.0.len(), usize::from(done));
        assert_eq!(committed(world.service().commit(request).await.unwrap()).added_rows, 2);
        assert_eq!(history(&world, "t").await, (vec![id(1).to_string()], 2));
    }
}

/// Runs something of others just before each of its first publications.
struct Overtaken {
    inner: Arc<dyn Publisher>,
    before: Mutex<Vec<BoxFuture<'static, ()>>>,
}

impl std::fmt::Debug for Overtaken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Overtaken").finish_non_exhaustive()
    }
}

#[async_trait]
impl Publisher for Overtaken {
    async fn pointer(&self, ident: &TableIdent) -> Result<Option<Pointer>> {
        self.inner.pointer(ident).await
    }

    async fn namespace_exists(&self, namespace: &[String]) -> Result<bool> {
        self.inner.namespace_exists(namespace).await
    }
    async fn namespace_holds(&self, namespace: &[String]) -> Result<Option<String>> {
        self.inner.namespace_holds(namespace).await
    }

    async fn publish(&self, swaps: Vec<Swap>, ledger: Vec<LedgerCommit>) -> Result<Publish> {
        let next = self.before.lock().await.pop();
        if let Some(before) = next {
            before.await;
        }
        self.inner.publish(swaps, ledger).await
    }
}

/// A commit by an engine that knows nothing of ours: new metadata, and one SQL statement.
async fn foreign_commit(world: World, property: String) {
    let base = world.store_location("t").await.unwrap();
    let document = world.load("t").await.unwrap().unwrap();
    let update = TableUpdate::SetProperties { updates: [(property, "theirs".to_owned())].into() };
    let next = document.apply(vec![update], Some(&base), world.clock.now_ms()).unwrap();
    let location = next.next_location(Some(&base), world.ids.uuid());
    world.storage.put_new(&location, next.to_bytes().unwrap()).await.unwrap();
    let raw = rusqlite::Connection::open(world.store.path()).unwrap();
    let changed = raw.execute(
        "UPDATE iceberg_tables SET metadata_location = ?1, previous_metadata_location = ?2, iceberg_type = NULL
         WHERE table_name = 't' AND metadata_location = ?2",
        [&location, &base],
    );
    assert_eq!(changed.unwrap(), 1);
}

#[tokio::test]
async fn a_foreign_commit_in_between_is_kept() {
    let (_folder, world) = world().await;
    let document = world.create("t", &[]).await.unwrap();
    let before: Vec<BoxFuture<'static, ()>> = (0..3)
        .map(|n| Box::pin(foreign_commit(world.clone(), format!("p{n}"))) as BoxFuture<'static, ()>)
        .collect();
    let publisher = Overtaken { inner: Arc::new(world.store.clone()), before: Mutex::new(before) };
    let service = service_over(&world, Arc::new(publisher));
    service.begin(world.begin(id(1))).await.unwrap();
    committed(service.commit(world.append(id(1), "t", &document, &[2])).await.unwrap());
    let now = world.load("t").await.unwrap().unwrap();
    assert_eq!(history(&world, "t").await, (vec![id(1).to_string()], 2));
    for n in 0..3 {
        assert_eq!(now.metadata().properties()[&format!("p{n}")], "theirs");
    }
    assert_eq!(now.metadata().metadata_log().len(), 4);
    assert_eq!(world.stray_metadata("t").await.unwrap(), [] as [&str; 0]);
}

#[tokio::test]
async fn a_write_of_no_files_is_validated_against_the_pointer_that_it_saw() {
    let (_folder, world) = world().await;
    let document = world.create("t", &[]).await.unwrap();
    let dropper = world.clone();
    let drop: BoxFuture<'static, ()> = Box::pin(async move {
        let service = dropper.service();
        service.begin(dropper.begin(id(9))).await.unwrap();
        committed(
            service
                .commit(dropper.request(id(9), "t", StatementKind::DropTable, Change::Drop))
                .await
                .unwrap(),
        );
    });
    let publisher = Overtaken { inner: Arc::new(world.store.clone()), before: Mutex::new(vec![drop]) };
    let service = service_over(&world, Arc::new(publisher));
    service.begin(world.begin(id(1))).await.unwrap();
    let outcome = service.commit(world.append(id(1), "t", &document, &[])).await.unwrap();
    assert_eq!(outcome, CommitOutcome::Conflict { why: "table default.t no longer exists".into() });
}

#[tokio::test]
async fn losing_every_race_ends_in_a_conflict_within_the_time_that_the_table_gives() {
    let (_folder, world) = world().await;
    let document = world.create("t", &[("commit.retry.total-timeout-ms", "60")]).await.unwrap();
    let before: Vec<BoxFuture<'static, ()>> = (0..500)
        .map(|n| Box::pin(foreign_commit(world.clone(), format!("p{}", n % 3))) as BoxFuture<'static, ()>)
        .collect();
    let publisher = Overtaken { inner: Arc::new(world.store.clone()), before: Mutex::new(before) };
    let service = service_over(&world, Arc::new(publisher));
    service.begin(world.begin(id(1))).await.unwrap();
    let outcome = service.commit(world.append(id(1), "t", &document, &[2])).await.unwrap();
    let CommitOutcome::Conflict { why } = outcome else { panic!("{outcome:?}") };
    assert!(
        why.starts_with("other commits to default.t were faster ") && why.contains("within 60 ms"),
        "{why}"
    );
    assert_eq!(history(&world, "t").await.0, [] as [&str; 0]);
    // A conflict is not the end: the write may still commit.
    committed(world.service().commit(world.append(id(1), "t", &document, &[2])).await.unwrap());
}

#[tokio::test]
async fn a_server_does_not_judge_its_clients_by_its_own_life() {
    let (_folder, world) = world().await;
    let reopened = World::open(_folder.path()).await.unwrap();
    let server = CommitService::assemble(
        world.parts(),
        CommitServiceSettings { owner: Owner::Remote, ..CommitServiceSettings::default() },
    );
    server.begin(world.begin(id(1))).await.unwrap();
    drop(server);
    drop(world);
    let error: Error = reopened.service().begin(reopened.begin(id(1))).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
}
