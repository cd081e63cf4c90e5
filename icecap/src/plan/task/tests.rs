use uuid::Uuid;

use super::*;
use crate::exchange::{Block, ExchangeObject, ExchangePiece};
use crate::plan::TaskReport;
use crate::write::{ActedRows, FilePositions};

fn task() -> WriteTask {
    WriteTask {
        build_id: BUILD_ID.to_owned(),
        write_id: WriteId::new(Uuid::from_u128(0x0123_4567_89ab_7def_8123_4567_89ab_cdef)),
        round: 1,
        stage: 2,
        task: 3,
        task_count: 8,
        attempt: 1,
        nonce: "0f".to_owned(),
        plan: vec![1, 2, 3],
        inputs: vec![ExchangeInput {
            stage: 1,
            locations: vec!["a".to_owned()],
            pieces: vec![ExchangePiece { partition: 1, object: 0, blocks: vec![block()] }],
        }],
        output: TaskOutput::Exchange { location: "x".to_owned(), partitions: 4, replicate: true },
        memory_bytes: Some(512),
        deadline_ms: Some(9),
    }
}

fn block() -> Block {
    Block { partition: 7, offset: 300, length: 20, rows: 5, crc32: 0x0102_0304 }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn the_encoding_of_a_task_is_frozen() {
    // The build id changes with every release; everything else may change only with the version byte.
    let task = WriteTask { build_id: "build".to_owned(), ..task() };
    insta::assert_snapshot!(hex(&task.encode()));
    let single = WriteTask {
        stage: 0,
        task: 0,
        task_count: 1,
        attempt: 0,
        inputs: Vec::new(),
        output: TaskOutput::Rows,
        deadline_ms: None,
        ..task
    };
    insta::assert_snapshot!(hex(&single.encode()));
}

fn report() -> TaskReport {
    TaskReport {
        stage: 1,
        task: 2,
        attempt: 3,
        staged_files: Vec::new(),
        positions: Vec::new(),
        acted: ActedRows::default(),
        exchange: Some(ExchangeObject {
            location: "y".to_owned(),
            size_bytes: 400,
            partitions: 8,
            blocks: vec![block()],
        }),
        rows_read: 4,
        rows_written: 5,
        bytes_written: 6,
        elapsed_ms: 7,
        peak_memory_bytes: 8,
        exchange_bytes_read: 9,
        exchange_requests: 11,
        spilled_bytes: 10,
    }
}

#[test]
fn the_encoding_of_a_report_is_frozen() {
    insta::assert_snapshot!(hex(&report().encode()));
}

#[test]
fn a_task_and_a_report_survive_the_round_trip() {
    assert_eq!(WriteTask::decode(&task().encode()).unwrap(), task());
    assert_eq!(TaskReport::decode(&report().encode()).unwrap(), report());
    let plain = TaskReport { exchange: None, ..report() };
    assert_eq!(TaskReport::decode(&plain.encode()).unwrap(), plain);
    let positions = [0, 7, 1 << 33].into_iter().collect();
    let delta = TaskReport {
        positions: vec![FilePositions::new("file:///a", &positions)],
        acted: ActedRows { inserted: 1, updated: 2, deleted: 3 },
        ..report()
    };
    let back = TaskReport::decode(&delta.encode()).unwrap();
    assert_eq!(back, delta);
    assert_eq!(back.positions[0].positions().unwrap(), positions);
}

#[test]
fn what_no_task_or_report_can_be_is_refused() {
    let nonce = |nonce: &str| WriteTask::decode(&WriteTask { nonce: nonce.into(), ..task() }.encode());
    assert!(nonce("../x").is_err() && nonce("").is_err());
    let mut wild = task();
    wild.inputs[0].pieces[0].object = 1;
    assert!(WriteTask::decode(&wild.encode()).is_err());
    let mut wild = report();
    wild.exchange.as_mut().unwrap().blocks[0].offset = u64::MAX;
    assert!(TaskReport::decode(&wild.encode()).is_err());
    for (bytes, is_task) in [(task().encode(), true), (report().encode(), false)] {
        for cut in 0..bytes.len() {
            let mut broken = bytes.clone();
            broken[cut] ^= 0xff;
            match is_task {
                true => drop(WriteTask::decode(&broken)),
                false => drop(TaskReport::decode(&broken)),
            }
        }
    }
}

#[test]
fn another_build_or_version_is_refused_with_advice() {
    let other = WriteTask { build_id: "icecap-0.0.0".to_owned(), ..task() };
    let error = WriteTask::decode(&other.encode()).unwrap_err();
    assert_eq!(error.kind(), icecap_table::ErrorKind::Invalid);
    assert!(error.to_string().contains("deploy the same version everywhere"), "{error}");
    let mut newer = task().encode();
    newer[0] = 3;
    assert!(WriteTask::decode(&newer).unwrap_err().to_string().contains("version 3"));
    assert!(WriteTask::decode(&[]).is_err());
    assert!(TaskReport::decode(&[2, 0xff]).is_err());
}
