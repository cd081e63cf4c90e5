//! Random interleavings of writes, faults, zombies and foreign hands, against a model of what must be true.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use icecap_table::clock::{ManualClock, SeededIds};
use proptest::prelude::*;

use super::*;
use crate::pointer::Publisher as _;
use crate::service::{CommitService, CommitServiceSettings, Parts};
use crate::testing::{AlwaysYes, Fault, Faulty};

/// How many different writes a run has.
const WRITES: u32 = 4;

#[derive(Debug, Clone)]
enum Step {
    /// A process begins the write, and remembers its round.
    Begin(u32),
    /// A process whose round this was (perhaps long ago) commits, while this goes wrong.
    Commit(u32, u32, Fault),
    /// Somebody fences the round.
    Abandon(u32, u32),
    /// Time passes; whoever gives no sign of life is dead.
    Sleep,
}

fn step() -> impl Strategy<Value = Step> {
    let fault = prop_oneof![
        4 => Just(Fault::None),
        1 => Just(Fault::LostRequest),
        2 => Just(Fault::LostAnswer),
        2 => Just(Fault::Delayed),
        1 => Just(Fault::Refused),
        1 => Just(Fault::Hangs),
        1 => Just(Fault::HangsAfter),
    ];
    prop_oneof![
        4 => (0..WRITES).prop_map(Step::Begin),
        6 => (0..WRITES, 1..4_u32, fault).prop_map(|(write, round, fault)| Step::Commit(write, round, fault)),
        1 => (0..WRITES, 1..4_u32).prop_map(|(write, round)| Step::Abandon(write, round)),
        2 => Just(Step::Sleep),
    ]
}

async fn run(steps: Vec<Step>) {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::new(1_000_000));
    let world = World::open_with(folder.path(), clock.clone(), Arc::new(SeededIds::new(1))).await.unwrap();
    let document = world.create("t", &[]).await.unwrap();
    let publisher = Arc::new(Faulty::new(Arc::new(world.store.clone()), []));
    let parts = Parts { publisher: publisher.clone(), lease: Arc::new(AlwaysYes), ..world.parts() };
    let service = CommitService::assemble(
        parts,
        CommitServiceSettings { owner: crate::Owner::Remote, ..CommitServiceSettings::default() },
    );
    let mut told: BTreeMap<u32, CommittedTable> = BTreeMap::new();
    let mut fenced: BTreeSet<u32> = BTreeSet::new();
    let mut tell = |write: u32, table: CommittedTable| {
        if let Some(before) = told.insert(write, table.clone()) {
            assert_eq!(before, table, "write {write} was told two outcomes");
        }
    };
    for step in steps {
        match step {
            Step::Begin(write) => match service.begin(world.begin(id(write))).await {
                Ok(Begun::Active { .. }) => assert!(!fenced.contains(&write)),
                Ok(Begun::Committed(mut committed)) => tell(write, committed.tables.remove(0)),
                Err(error) => assert!(
                    matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Fenced),
                    "begin of {write}: {error}"
                ),
            },
            Step::Commit(write, round, fault) => {
                publisher.expect([fault]);
                // The rows tell the rounds apart.
                let request = world.append(id(write), "t", &document, &[u64::from(round)]);
                let commit = service.commit(CommitRequest { round, ..request });
                // What does not hang ends, however busy the machine.
                let hangs = matches!(fault, Fault::Hangs | Fault::HangsAfter);
                let limit = if hangs { Duration::from_millis(400) } else { Duration::from_secs(60) };
                match tokio::time::timeout(limit, commit).await {
                    Err(_) => {}
                    Ok(Ok(outcome)) => tell(write, committed(outcome)),
                    Ok(Err(error)) => assert!(
                        matches!(
                            error.kind(),
                            ErrorKind::Fenced | ErrorKind::Invalid | ErrorKind::Unavailable
                        ),
                        "commit of {write}: {error}"
                    ),
                }
                publisher.expect([]);
            }
            Step::Abandon(write, round) => match service.abandon(id(write), round).await.unwrap() {
                WriteState::Fenced => {
                    fenced.insert(write);
                }
                WriteState::Committed(mut committed) => tell(write, committed.tables.remove(0)),
                WriteState::Active { round: current } => assert_ne!(current, round),
            },
            Step::Sleep => clock.advance_ms(61_000),
        }
    }
    publisher.arrive().await.unwrap();
    let (ids, rows) = history(&world, "t").await;
    let mut in_ledger = BTreeMap::new();
    for write in 0..WRITES {
        match service.outcome(id(write)).await.unwrap() {
            Some(WriteState::Committed(mut committed)) => {
                assert!(!fenced.contains(&write), "write {write} was fenced and is committed");
                in_ledger.insert(write, committed.tables.remove(0));
            }
            _ => assert!(!told.contains_key(&write), "write {write} was told committed and is not"),
        }
    }
    let mut expected: Vec<String> = in_ledger.keys().map(|write| id(*write).to_string()).collect();
    let mut found = ids;
    expected.sort();
    found.sort();
    assert_eq!(found, expected, "the table and the ledger differ");
    assert_eq!(rows, in_ledger.values().map(|table| table.added_rows).sum::<u64>());
    for (write, table) in told {
        assert_eq!(in_ledger[&write], table);
    }
    // What the pointer and every snapshot name is there.
    assert!(world.stray_metadata("t").await.is_ok());
    assert!(world.store.pointer(&world.table("t")).await.unwrap().is_some());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, max_shrink_iters: 40, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_the_table_holds_exactly_what_the_ledger_says(
        steps in proptest::collection::vec(step(), 1..24)
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(run(steps));
    }
}
