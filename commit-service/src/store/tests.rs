//! The client against a server that follows a script: what a network and a busy server do, one after another.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Mutex;

use bytes::Bytes;
use icecap_table::ErrorKind;
use icecap_table::clock::{SystemClock, SystemIds};
use icecap_table::storage::store_error;
use object_store::{ObjectStoreExt, PutMode, PutPayload};

use super::*;

/// What the server does with a request.
enum Step {
    /// Answers with a status, headers (each with its line's end) and a body.
    Answer(&'static str, &'static str, &'static [u8]),
    /// Ends the connection: nobody can tell whether the request had its effect.
    Silence,
}
use Step::{Answer, Silence};

const META: &str = "ETag: \"e\"\r\nLast-Modified: Wed, 25 Nov 2026 10:00:00 GMT\r\n";
const SLOW: Step = Answer("503 Slow Down", "", b"<Error><Code>SlowDown</Code></Error>");
const TAKEN: Step = Answer("412 Precondition Failed", "", b"<Error><Code>PreconditionFailed</Code></Error>");

/// A bucket on a server that follows `script`, and the requests' first lines as they come.
fn scripted(script: Vec<Step>) -> (S3Stores, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&seen);
    std::thread::spawn(move || {
        for (step, stream) in script.into_iter().zip(listener.incoming()) {
            let mut stream = stream.unwrap();
            let request = read_request(&mut stream);
            log.lock().unwrap().push(request.lines().next().unwrap_or_default().to_owned());
            match step {
                Silence => stream.shutdown(Shutdown::Both).unwrap(),
                Answer(status, headers, body) => {
                    let length = body.len();
                    let head = format!(
                        "HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n"
                    );
                    stream.write_all(head.as_bytes()).unwrap();
                    if !request.starts_with("HEAD") {
                        stream.write_all(body).unwrap();
                    }
                }
            }
        }
    });
    let access = S3Access {
        region: "us-east-1".into(),
        endpoint: Some(endpoint),
        key_id: "id".into(),
        secret: "geheim".into(),
        session_token: None,
    };
    (S3Stores::with_access(access, Arc::new(SystemClock), Arc::new(SystemIds)), seen)
}

fn read_request(stream: &mut TcpStream) -> String {
    let mut whole = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let read = stream.read(&mut buffer).unwrap();
        whole.extend_from_slice(&buffer[..read]);
        let text = String::from_utf8_lossy(&whole).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head
            .lines()
            .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ").map(str::to_owned));
        if body.len() >= length.map_or(0, |length| length.parse().unwrap()) || read == 0 {
            return text;
        }
    }
}

async fn create(stores: &S3Stores, body: &'static [u8]) -> object_store::Result<object_store::PutResult> {
    let store = stores.store("lake").unwrap();
    store.put_opts(&Path::from("a/b"), PutPayload::from_static(body), PutMode::Create.into()).await
}

#[tokio::test]
async fn a_put_whose_answer_was_lost_finds_its_own_object() {
    let (stores, seen) = scripted(vec![Silence, SLOW, TAKEN, Answer("200 OK", META, b"mine")]);
    assert_eq!(create(&stores, b"mine").await.unwrap().e_tag.as_deref(), Some("\"e\""));
    let seen = seen.lock().unwrap().clone();
    assert_eq!(
        seen,
        ["PUT /lake/a/b HTTP/1.1"; 3].into_iter().chain(["GET /lake/a/b HTTP/1.1"]).collect::<Vec<_>>()
    );
    let counts = stores.requests();
    assert_eq!((counts.put, counts.get, counts.retried, counts.bytes_sent), (3, 1, 2, 12));
}

#[tokio::test]
async fn an_object_of_somebody_else_is_not_taken_for_ours() {
    for theirs in [b"yours".as_slice(), b"mind", b"mine and more"] {
        let (stores, _) = scripted(vec![Silence, TAKEN, Answer("200 OK", META, theirs)]);
        let error = create(&stores, b"mine").await.unwrap_err();
        assert!(matches!(error, object_store::Error::AlreadyExists { .. }), "{error}");
    }
    // Without doubt nothing is compared: one who is first wins, also with the same bytes.
    let (stores, seen) = scripted(vec![TAKEN, Answer("200 OK", META, b"mine")]);
    assert!(matches!(create(&stores, b"mine").await, Err(object_store::Error::AlreadyExists { .. })));
    assert_eq!(seen.lock().unwrap().len(), 1);
}

const BEGUN: Step = Answer(
    "200 OK",
    "",
    b"<InitiateMultipartUploadResult><Bucket>lake</Bucket><Key>a/b</Key><UploadId>u1</UploadId></InitiateMultipartUploadResult>",
);
const PART: Step = Answer("200 OK", "ETag: \"p\"\r\n", b"");
const NO_UPLOAD: Step = Answer("404 Not Found", "", b"<Error><Code>NoSuchUpload</Code></Error>");

#[tokio::test]
async fn an_upload_whose_completion_was_not_answered_is_looked_for() {
    for (there, fine) in [(b"12345".as_slice(), true), (b"1234", false)] {
        let (stores, _) = scripted(vec![BEGUN, PART, Silence, NO_UPLOAD, Answer("200 OK", META, there)]);
        let store = stores.store("lake").unwrap();
        let mut upload = store.put_multipart(&Path::from("a/b")).await.unwrap();
        upload.put_part(PutPayload::from_static(b"12345")).await.unwrap();
        assert_eq!(upload.complete().await.is_ok(), fine);
        assert_eq!((stores.requests().multipart, stores.requests().head), (4, 1));
    }
}

#[tokio::test]
async fn a_success_that_holds_a_refusal_is_one() {
    let failed = Answer("200 OK", "", b"<Error><Code>InternalError</Code></Error>");
    let done = Answer("200 OK", "", b"<CompleteMultipartUploadResult><Location>l</Location><Bucket>lake</Bucket><Key>a/b</Key><ETag>\"e\"</ETag></CompleteMultipartUploadResult>");
    let (stores, _) = scripted(vec![BEGUN, PART, failed, done]);
    let store = stores.store("lake").unwrap();
    let mut upload = store.put_multipart(&Path::from("a/b")).await.unwrap();
    upload.put_part(PutPayload::from_static(b"1")).await.unwrap();
    upload.complete().await.unwrap();
    assert_eq!(stores.requests().retried, 1);
}

#[tokio::test]
async fn a_beginning_that_was_repeated_leaves_no_twin() {
    let twins = Answer(
        "200 OK",
        "Content-Type: application/xml\r\n",
        b"<ListMultipartUploadsResult><IsTruncated>false</IsTruncated><Upload><Key>a/b</Key><UploadId>u0</UploadId></Upload>\
          <Upload><Key>a/bc</Key><UploadId>u9</UploadId></Upload></ListMultipartUploadsResult>",
    );
    let (stores, seen) = scripted(vec![
        Silence,
        BEGUN,
        Answer("204 No Content", "", b""),
        twins,
        Answer("204 No Content", "", b""),
    ]);
    let store = stores.store("lake").unwrap();
    let mut upload = store.put_multipart(&Path::from("a/b")).await.unwrap();
    upload.abort().await.unwrap();
    let seen = seen.lock().unwrap().clone();
    assert!(seen[4].starts_with("DELETE /lake/a/b?") && seen[4].contains("uploadId=u0"), "{seen:?}");
}

#[tokio::test]
async fn a_refused_look_up_is_explained_by_a_read() {
    let denied = b"<Error><Code>SignatureDoesNotMatch</Code><StringToSign>geheim</StringToSign></Error>";
    let (stores, seen) =
        scripted(vec![Answer("403 Forbidden", "", denied), Answer("403 Forbidden", "", denied)]);
    let error = stores.store("lake").unwrap().head(&Path::from("a")).await.unwrap_err();
    assert!(!format!("{error:?}{error}").contains("geheim"), "{error:?}");
    let error = store_error("look up", "s3://lake/a", error);
    assert_eq!(error.kind(), ErrorKind::Denied);
    assert!(error.message().contains("AWS_SECRET_ACCESS_KEY"), "{error}");
    assert_eq!(seen.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn a_body_that_breaks_off_is_taken_up_again() {
    // The first answer promises ten bytes and gives four; the second has the rest.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let server = std::thread::spawn(move || {
        let answers = [
            format!("HTTP/1.1 200 OK\r\n{META}Content-Length: 10\r\n\r\n0123"),
            format!(
                "HTTP/1.1 206 Partial\r\n{META}Content-Range: bytes 4-9/10\r\nContent-Length: 6\r\n\r\n456789"
            ),
        ];
        answers.map(|answer| {
            let (mut stream, _) = listener.accept().unwrap();
            let request = read_request(&mut stream);
            stream.write_all(answer.as_bytes()).unwrap();
            request
        })
    });
    let access = S3Access {
        region: "r".into(),
        endpoint: Some(endpoint),
        key_id: "id".into(),
        secret: "s".into(),
        session_token: None,
    };
    let stores = S3Stores::with_access(access, Arc::new(SystemClock), Arc::new(SystemIds));
    let found = stores.store("lake").unwrap().get(&Path::from("a")).await.unwrap();
    assert_eq!(found.bytes().await.unwrap(), Bytes::from_static(b"0123456789"));
    let [_, second] = server.join().unwrap();
    assert!(second.to_ascii_lowercase().contains("range: bytes=4-9"), "{second}");
}

#[test]
fn what_is_no_bucket_is_refused() {
    let stores = S3Stores::new(Arc::new(SystemClock), Arc::new(SystemIds));
    for name in ["", "a/b", "a b", "..", "a:80", "a@b", "%41"] {
        assert_eq!(stores.store(name).unwrap_err().kind(), ErrorKind::Invalid, "{name:?}");
    }
    assert!(stores.store("my.bucket-1").is_ok());
}
