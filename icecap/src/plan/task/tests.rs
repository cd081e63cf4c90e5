use uuid::Uuid;

use super::*;

fn task() -> WriteTask {
    WriteTask {
        build_id: BUILD_ID.to_owned(),
        write_id: WriteId::new(Uuid::from_u128(0x0123_4567_89ab_7def_8123_4567_89ab_cdef)),
        round: 1,
        stage: 0,
        task: 0,
        attempt: 0,
        plan: vec![1, 2, 3],
        memory_bytes: Some(512),
    }
}

#[test]
fn the_encoding_of_a_single_stage_task_is_frozen() {
    // The build id changes with every release; everything else may change only with the version byte.
    let task = WriteTask { build_id: "build".to_owned(), ..task() };
    let hex: String = task.encode().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(
        hex,
        "010a056275696c64122430313233343536372d383961622d376465662d383132332d3435363738396162636465661801\
         3a030102034080 04"
            .replace(' ', "")
    );
}

#[test]
fn a_task_and_a_report_survive_the_round_trip() {
    assert_eq!(WriteTask::decode(&task().encode()).unwrap(), task());
    let report = TaskReport {
        stage: 1,
        task: 2,
        attempt: 3,
        staged_files: Vec::new(),
        rows_read: 4,
        rows_written: 5,
        bytes_written: 6,
        elapsed_ms: 7,
        peak_memory_bytes: 8,
    };
    assert_eq!(TaskReport::decode(&report.encode()).unwrap(), report);
}

#[test]
fn another_build_or_version_is_refused_with_advice() {
    let other = WriteTask { build_id: "icecap-0.0.0".to_owned(), ..task() };
    let error = WriteTask::decode(&other.encode()).unwrap_err();
    assert_eq!(error.kind(), icecap_table::ErrorKind::Invalid);
    assert!(error.to_string().contains("deploy the same version everywhere"), "{error}");
    let mut newer = task().encode();
    newer[0] = 2;
    assert!(WriteTask::decode(&newer).unwrap_err().to_string().contains("version 2"));
    assert!(WriteTask::decode(&[]).is_err());
    assert!(TaskReport::decode(&[1, 0xff]).is_err());
}
