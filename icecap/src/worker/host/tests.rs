use icecap_table::ErrorKind;

use super::*;
use crate::plan::TaskReport;
use crate::worker::TaskPolicy;
use crate::worker::fixture::Fixture;
use crate::worker::payload::StoredObject;

fn host() -> WorkerHost {
    WorkerHost::new(Storage::local(), HostSettings { threads: 1, memory_bytes: None })
}

async fn answer(host: &WorkerHost, request: &TaskRequest) -> TaskReply {
    TaskReply::decode(&host.answer(request.encode().into(), None).await).unwrap()
}

#[tokio::test]
async fn a_task_is_run_and_the_process_tells_what_it_took() {
    let (table, host) = (Fixture::new(), host());
    let request = TaskRequest::new(Payload::Inline(table.task(5).await.into()));
    for earlier in 0..2 {
        let reply = answer(&host, &request).await;
        assert_eq!((reply.usage.earlier_requests, reply.usage.process), (earlier, std::process::id()));
        assert!(reply.usage.peak_memory_bytes > 1 << 20);
        let Payload::Inline(report) = reply.outcome.unwrap() else { panic!("the report is not inline") };
        assert_eq!(TaskReport::decode(&report).unwrap().rows_written, 5);
    }
    assert_eq!(table.files().len(), 2);
}

#[tokio::test]
async fn tasks_and_reports_go_through_the_store_when_they_are_large() {
    let (table, host) = (Fixture::new(), host());
    let storage = Storage::local();
    let task = table.task(5).await;
    let stored = Payload::store(&storage, format!("{}/task", table.location()), task.into()).await.unwrap();
    let request = TaskRequest {
        inline_bytes: 10,
        reply_folder: Some(format!("{}/replies", table.location())),
        ..TaskRequest::new(stored)
    };
    // Delivered twice, answered twice.
    for _ in 0..2 {
        let report = answer(&host, &request).await.outcome.unwrap();
        assert!(matches!(&report, Payload::Object(object) if object.location.contains("/replies/reply-")));
        let report = report.fetch(&storage).await.unwrap();
        assert_eq!(TaskReport::decode(&report).unwrap().rows_written, 5);
    }
}

#[tokio::test]
async fn every_failure_is_an_answer() {
    let (table, host) = (Fixture::new(), host());
    let nothing = host.answer(Bytes::from_static(b"\x09what"), None).await;
    assert_eq!(TaskReply::decode(&nothing).unwrap().outcome.unwrap_err().kind(), ErrorKind::Corrupt);
    let lost = StoredObject { location: format!("{}/no", table.location()), len: 1, sha256: [0; 32] };
    let reply = answer(&host, &TaskRequest::new(Payload::Object(lost))).await;
    assert_eq!(reply.outcome.unwrap_err().kind(), ErrorKind::NotFound);
    let nowhere = TaskRequest {
        temp_dir: Some("/dev/null/x".into()),
        ..TaskRequest::new(Payload::Inline(table.task(1).await.into()))
    };
    assert_eq!(answer(&host, &nowhere).await.outcome.unwrap_err().kind(), ErrorKind::Invalid);
}

#[tokio::test]
async fn a_task_is_held_to_the_prefixes_of_its_statement() {
    let (table, host) = (Fixture::new(), host());
    let task = table.task(5).await;
    let within = |warehouse: &str| TaskRequest {
        policy: Some(TaskPolicy {
            warehouse: warehouse.to_owned(),
            allow_location: Vec::new(),
            allow_read: None,
        }),
        ..TaskRequest::new(Payload::Inline(task.clone().into()))
    };
    let refused = answer(&host, &within("file:///nowhere")).await.outcome.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Denied);
    assert_eq!(table.files(), [""; 0]);
    let (above, _) = table.location().rsplit_once('/').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    answer(&host, &within(&above)).await.outcome.unwrap();
    assert_eq!(table.files().len(), 1);
}

#[tokio::test]
async fn a_task_out_of_time_says_so() {
    let (table, host) = (Fixture::new(), host());
    let request = TaskRequest::new(Payload::Inline(table.task(5).await.into()));
    let reply = host.answer(request.encode().into(), Some(Duration::ZERO)).await;
    let error = TaskReply::decode(&reply).unwrap().outcome.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Exhausted);
    assert!(error.to_string().contains("did not end within 0.0 s"), "{error}");
}
