//! Many committers at once: tasks, services, processes; with the lease and with one that always says yes.

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::lease::Lease;
use crate::service::{CommitService, CommitServiceSettings, Parts};
use crate::testing::AlwaysYes;

/// Names the warehouse's folder to a child process.
const FOLDER: &str = "ICECAP_TEST_RACE_FOLDER";
/// Numbers the child.
const CHILD: &str = "ICECAP_TEST_RACE_CHILD";
/// Set when the child takes no lease.
const NO_LEASE: &str = "ICECAP_TEST_RACE_NO_LEASE";

async fn append_some(
    service: &CommitService,
    world: &World,
    document: &TableDocument,
    from: u32,
    count: u32,
) {
    for number in from..from + count {
        assert_eq!(service.begin(world.begin(id(number))).await.unwrap(), Begun::Active { round: 1 });
        let outcome = service.commit(world.append(id(number), "t", document, &[1])).await.unwrap();
        assert_eq!(committed(outcome).added_rows, 1);
    }
}

async fn all_are_there_once(world: &World, numbers: std::ops::Range<u32>) {
    let (mut ids, rows) = history(world, "t").await;
    let mut expected: Vec<String> = numbers.map(|number| id(number).to_string()).collect();
    ids.sort();
    expected.sort();
    assert_eq!(rows, expected.len() as u64);
    assert_eq!(ids, expected);
    assert_eq!(world.stray_metadata("t").await.unwrap(), [] as [&str; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn services_on_one_file_lose_nothing_with_or_without_a_lease() {
    for no_lease in [false, true] {
        let (folder, world) = world().await;
        let document = world.create("t", &[]).await.unwrap();
        let mut running = Vec::new();
        for service_number in 0..3 {
            let world = World::open(folder.path()).await.unwrap();
            let mut parts = world.parts();
            if no_lease {
                parts = Parts { lease: Arc::new(AlwaysYes) as Arc<dyn Lease>, ..parts };
            }
            let service = Arc::new(CommitService::assemble(parts, CommitServiceSettings::default()));
            for task in 0..2 {
                let (world, service, document) = (world.clone(), Arc::clone(&service), document.clone());
                let from = service_number * 6 + task * 3;
                running.push(tokio::spawn(
                    async move { append_some(&service, &world, &document, from, 3).await },
                ));
            }
        }
        for task in running {
            task.await.unwrap();
        }
        all_are_there_once(&world, 0..18).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_id_committed_by_many_at_once_happens_once() {
    let (folder, world) = world().await;
    let document = world.create("t", &[]).await.unwrap();
    world.service().begin(world.begin(id(0))).await.unwrap();
    let request = world.append(id(0), "t", &document, &[1]);
    let mut running = Vec::new();
    for _ in 0..6 {
        let world = World::open(folder.path()).await.unwrap();
        let parts = Parts { lease: Arc::new(AlwaysYes) as Arc<dyn Lease>, ..world.parts() };
        let (service, request) =
            (CommitService::assemble(parts, CommitServiceSettings::default()), request.clone());
        running.push(tokio::spawn(async move { committed(service.commit(request).await.unwrap()) }));
    }
    let outcomes: Vec<CommittedTable> =
        futures::future::join_all(running).await.into_iter().map(Result::unwrap).collect();
    assert!(outcomes.iter().all(|outcome| *outcome == outcomes[0]));
    all_are_there_once(&world, 0..1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn only_one_of_many_creates_wins() {
    let (folder, world) = world().await;
    let mut running = Vec::new();
    for number in 0..6 {
        let world = World::open(folder.path()).await.unwrap();
        running.push(tokio::spawn(async move {
            let parts = Parts { lease: Arc::new(AlwaysYes) as Arc<dyn Lease>, ..world.parts() };
            let service = CommitService::assemble(parts, CommitServiceSettings::default());
            let metadata = world.document("t", &[]).unwrap().to_bytes().unwrap().to_vec();
            let change = Change::Create { metadata, files: vec![], snapshot: false };
            service.begin(world.begin(id(number))).await.unwrap();
            service.commit(world.request(id(number), "t", StatementKind::CreateTable, change)).await.unwrap()
        }));
    }
    let mut won = 0;
    for outcome in futures::future::join_all(running).await {
        match outcome.unwrap() {
            CommitOutcome::Committed(_) => won += 1,
            other => assert_eq!(rejected(other), "assert-create: table default.t exists by now"),
        }
    }
    assert_eq!(won, 1);
    // The losers' metadata files, in folders of their own, are gone.
    let stored = world.storage.list(&format!("{}/default", world.policy.warehouse())).await.unwrap();
    assert_eq!(stored, [world.store_location("t").await.unwrap()]);
}

#[tokio::test]
async fn lease_is_waited_for_only_so_long() {
    let (_folder, world) = world().await;
    let document = world.create("t", &[]).await.unwrap();
    let parts = world.parts();
    let held = parts.lease.acquire(&[], Duration::from_secs(5)).await;
    assert!(held.is_held());
    let other = World::open(_folder.path()).await.unwrap();
    let settings =
        CommitServiceSettings { lease_wait: Duration::from_millis(20), ..CommitServiceSettings::default() };
    let service = CommitService::assemble(other.parts(), settings);
    append_some(&service, &other, &document, 0, 2).await;
    drop(held);
    all_are_there_once(&world, 0..2).await;
}

/// Runs in a process of its own; without its variables it has nothing to do.
#[tokio::test]
async fn child() {
    let (Ok(folder), Ok(number)) = (std::env::var(FOLDER), std::env::var(CHILD)) else { return };
    let world = World::open(std::path::Path::new(&folder)).await.unwrap();
    let document = world.load("t").await.unwrap().unwrap();
    let mut parts = world.parts();
    if std::env::var(NO_LEASE).is_ok() {
        parts = Parts { lease: Arc::new(AlwaysYes), ..parts };
    }
    let service = CommitService::assemble(parts, CommitServiceSettings::default());
    append_some(&service, &world, &document, number.parse::<u32>().unwrap() * 3, 3).await;
}

#[tokio::test]
async fn processes_on_one_file_lose_nothing_with_or_without_a_lease() {
    for no_lease in [false, true] {
        let (folder, world) = world().await;
        world.create("t", &[]).await.unwrap();
        let children: Vec<_> = (0..6)
            .map(|number: u32| {
                let mut command = Command::new(std::env::current_exe().unwrap());
                command.args(["--exact", "committer::tests::race::child", "--test-threads=1"]);
                command.env(FOLDER, folder.path()).env(CHILD, number.to_string());
                if no_lease {
                    command.env(NO_LEASE, "1");
                }
                command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
            })
            .collect();
        for child in children {
            let output = child.wait_with_output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        }
        all_are_there_once(&world, 0..18).await;
    }
}
