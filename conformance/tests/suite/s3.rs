//! Tables on S3: read equal by everyone, told clearly where S3 refuses, right through faults, and leaving nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::Duration;

use icecap_conformance::canonical::{Rows, difference};
use icecap_conformance::reader::Foreign;
use icecap_conformance::stack::{Faults, Output, Proxy, S3Server, Warehouse, icecap_binary, run_within};
use rusqlite::OpenFlags;
use serde_json::{Value, json};

use crate::reader;

const WITHIN: Duration = Duration::from_secs(240);

/// A hundred thousand rows without a table.
const ROWS: &str = "WITH d(n) AS (VALUES (0), (1), (2), (3), (4), (5), (6), (7), (8), (9)) \
    SELECT a.n + 10 * b.n + 100 * c.n + 1000 * e.n + 10000 * f.n AS id \
    FROM d a CROSS JOIN d b CROSS JOIN d c CROSS JOIN d e CROSS JOIN d f";

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// Runs statements with further arguments and other variables.
fn run(warehouse: &Warehouse, args: &[&str], variables: &[(&str, &str)], statements: &[&str]) -> Output {
    let mut command = warehouse.command().unwrap();
    command.args(args).envs(variables.iter().copied());
    for statement in statements {
        command.args(["-e", statement]);
    }
    run_within(&mut command, "", WITHIN).unwrap()
}

fn sound(warehouse: &Warehouse) {
    let broken = warehouse.broken_invariants(&warehouse.pointers().unwrap()).unwrap();
    assert!(broken.is_empty(), "{broken:#?}");
}

/// What the uploads that nobody finished would have been; they are gone afterwards.
fn unfinished(warehouse: &Warehouse) -> Vec<String> {
    block_on(warehouse.storage().abort_uploads(&warehouse.location(), "")).unwrap()
}

#[test]
fn pyiceberg_duckdb_and_spark_read_tables_on_s3_equal() {
    let warehouse = Warehouse::on_s3().unwrap();
    let statements = [
        "CREATE TABLE t (id bigint, name string, price decimal(9,2), at timestamp, tags array<string>) USING iceberg \
         PARTITIONED BY (bucket(3, id), name)",
        "INSERT INTO t VALUES (1, 'a b%20c', 1.50, TIMESTAMP '2026-01-02 03:04:05.000006', ARRAY['x', NULL])",
        "INSERT INTO t VALUES (2, 'ü/=é', NULL, NULL, NULL), (3, NULL, -0.01, TIMESTAMP '1969-12-31 23:59:59', ARRAY[])",
        "CREATE TABLE made WITH (table_type='ICEBERG', partitioning=ARRAY['name']) AS SELECT * FROM t",
        "CREATE TABLE three (id bigint) USING iceberg TBLPROPERTIES ('format-version'='3')",
        "INSERT INTO three VALUES (7), (8)",
    ];
    warehouse.run(&statements).unwrap().success().unwrap();
    sound(&warehouse);
    for table in ["default.t", "default.made", "default.three"] {
        let own = warehouse.read(table).unwrap();
        assert_eq!(own.rows.len(), if table == "default.three" { 2 } else { 3 });
        let location = warehouse.metadata_location(table).unwrap();
        assert!(location.starts_with("s3://"), "{location}");
        let (server, _) = warehouse.s3().unwrap();
        for foreign in Foreign::ALL {
            let rows = reader(foreign).read_s3(&location, server).unwrap_or_else(|e| panic!("{table}: {e}"));
            let rows = Rows::from_arrays(&own.columns, &rows).unwrap();
            assert_eq!(difference("icecap", &own.rows, foreign.name(), &rows), None, "{table}");
        }
    }
    let mut verify = Command::new(icecap_binary().unwrap());
    verify.args(["verify", "--json"]);
    warehouse.name(&mut verify);
    let reports = run_within(verify.args(["t", "made", "three"]), "", WITHIN).unwrap().objects().unwrap();
    assert_eq!(reports.len(), 3);
    for report in reports {
        assert_eq!((&report["sound"], &report["violations"]), (&json!(true), &json!([])), "{report:#}");
    }
}

#[test]
fn requests_are_counted_and_told_with_v() {
    let warehouse = Warehouse::on_s3().unwrap();
    warehouse.run(&["CREATE TABLE t (id bigint) USING iceberg"]).unwrap().success().unwrap();
    let output =
        run(&warehouse, &["-v"], &[], &["INSERT INTO t VALUES (1)", "SELECT * FROM t", "SELECT 1 AS n"]);
    let told: Vec<&str> = output.stderr.lines().filter(|line| line.contains("statement ended")).collect();
    assert_eq!(told.len(), 3, "{}", output.stderr);
    // A data file, a manifest, a manifest list, a metadata file; the table is known from the write.
    assert!(told[0].contains("put 4, ") && told[0].contains("retried 0"), "{}", told[0]);
    assert!(told[1].contains("put 0, "), "{}", told[1]);
    assert!(!told[2].contains("s3_requests"), "{}", told[2]);
}

#[test]
fn a_large_file_goes_up_in_parts_and_a_failed_write_leaves_nothing() {
    let warehouse = Warehouse::on_s3().unwrap();
    // Texts that do not compress: some 25 MB in one file.
    let wide = format!(
        "SELECT id, sha256(CAST(id AS varchar)) AS a, sha512(CAST(id AS varchar)) AS b, \
                        sha512(CAST(id + 1 AS varchar)) AS c, sha384(CAST(id AS varchar)) AS d FROM ({ROWS}) AS r"
    );
    let wide = format!("{wide} UNION ALL {wide}");
    let output = run(&warehouse, &["-v", "--threads", "1"], &[], &[&format!("CREATE TABLE big AS {wide}")]);
    let output = output.success().unwrap();
    let told = output.stderr.lines().find(|line| line.contains("statement ended")).unwrap();
    let multipart: u64 = told.split("multipart ").nth(1).unwrap().split(';').next().unwrap().parse().unwrap();
    assert!(multipart >= 4, "{told}");
    assert_eq!(
        warehouse.query(&["SELECT count(*) AS n, count(DISTINCT id) AS i FROM big"]).unwrap(),
        [json!({"n": 200_000, "i": 100_000})]
    );
    sound(&warehouse);
    assert_eq!(unfinished(&warehouse), [""; 0]);
    let before = warehouse.files().unwrap();
    // The last row divides by zero, when the first parts are up.
    let failing =
        format!("CREATE TABLE bad AS SELECT *, 1 / (99999 - id) AS e FROM ({wide}) AS w ORDER BY id");
    run(&warehouse, &["--threads", "1"], &[], &[&failing]).fails_with("invalid", "").unwrap();
    assert_eq!(warehouse.files().unwrap(), before);
    assert_eq!(unfinished(&warehouse), [""; 0]);
    assert_eq!(warehouse.pointers().unwrap().len(), 1);
}

#[test]
fn prefixes_that_are_allowed_hold_on_s3() {
    let warehouse = Warehouse::on_s3().unwrap();
    let (server, bucket) = warehouse.s3().unwrap();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("x.csv"), "a\n1\n2\n").unwrap();
    server.upload(folder.path(), &format!("s3://{bucket}/in")).unwrap();
    server.upload(folder.path(), &format!("s3://{bucket}/input")).unwrap();
    let read = |place: &str| format!("SELECT sum(a) AS s FROM read_csv('s3://{bucket}/{place}')");
    let allowed = format!("s3://{bucket}/in");
    let args = ["--allow-read", allowed.as_str()];
    assert_eq!(run(&warehouse, &args, &[], &[&read("in/*.csv")]).objects().unwrap(), [json!({"s": 3})]);
    run(&warehouse, &args, &[], &[&read("input/x.csv")]).fails_with("denied", "--allow-read").unwrap();
    run(&warehouse, &args, &[], &["SELECT * FROM read_csv('/etc/passwd')"]).fails_with("denied", "").unwrap();
    let create = format!(
        "CREATE TABLE t (a int) LOCATION 's3://{bucket}/other/t' TBLPROPERTIES ('table_type'='ICEBERG')"
    );
    run(&warehouse, &[], &[], &[&create]).fails_with("denied", "--allow-location").unwrap();
    let other = format!("s3://{bucket}/other/");
    run(&warehouse, &["--allow-location", &other], &[], &[&create, "INSERT INTO t VALUES (1)"])
        .success()
        .unwrap();
}

/// A server that gives every request one answer, and is no S3 at all.
fn answering(answer: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(std::result::Result::ok) {
            let mut stream = stream;
            let mut request = [0; 64 << 10];
            let _ = stream.read(&mut request);
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    endpoint
}

fn refusal(status: &str, headers: &str, code: &str, more: &str) -> String {
    let body = format!("<Error><Code>{code}</Code><Message>said the server</Message>{more}</Error>");
    format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
}

#[test]
fn what_s3_refuses_is_told_with_what_to_do_and_without_secrets() {
    let warehouse = Warehouse::on_s3().unwrap();
    let secret = S3Server::secret();
    let token = "a-session-token-that-nobody-sees";
    let moved =
        answering(refusal("301 Moved", "x-amz-bucket-region: eu-west-1\r\n", "PermanentRedirect", ""));
    let skewed = answering(refusal("403 Forbidden", "", "RequestTimeTooSkewed", ""));
    let expired =
        answering(refusal("400 Bad Request", "", "ExpiredToken", &format!("<Token-0>{token}</Token-0>")));
    let signed = answering(refusal(
        "403 Forbidden",
        "",
        "SignatureDoesNotMatch",
        &format!(
            "<StringToSign>{token}</StringToSign><CanonicalRequest>x-amz-security-token:{token}</CanonicalRequest>"
        ),
    ));
    let secure = "https://127.0.0.1:1".to_owned();
    let cases = [
        ("region", vec![("AWS_REGION", "eu-west-3")], "invalid", "AWS_REGION=us-east-1"),
        ("redirect", vec![("AWS_ENDPOINT_URL_S3", &moved)], "invalid", "AWS_REGION=eu-west-1"),
        ("key", vec![("AWS_ACCESS_KEY_ID", "nobody")], "denied", "AWS_ACCESS_KEY_ID"),
        ("secret", vec![("AWS_SECRET_ACCESS_KEY", "wrong-secret-0815")], "denied", "AWS_SECRET_ACCESS_KEY"),
        (
            "no credentials",
            vec![("AWS_ACCESS_KEY_ID", ""), ("AWS_SECRET_ACCESS_KEY", "")],
            "denied",
            "AWS_PROFILE",
        ),
        ("clock", vec![("AWS_ENDPOINT_URL_S3", &skewed)], "denied", "set the clock"),
        (
            "session",
            vec![("AWS_ENDPOINT_URL_S3", &expired), ("AWS_SESSION_TOKEN", token)],
            "denied",
            "aws sso login",
        ),
        (
            "signature",
            vec![("AWS_ENDPOINT_URL_S3", &signed), ("AWS_SESSION_TOKEN", token)],
            "denied",
            "AWS_SECRET_ACCESS_KEY",
        ),
        (
            "unreachable",
            vec![("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:1")],
            "unavailable",
            "AWS_ENDPOINT_URL",
        ),
        ("unreachable, TLS", vec![("AWS_ENDPOINT_URL_S3", &secure)], "unavailable", "AWS_ENDPOINT_URL"),
        ("no URL", vec![("AWS_ENDPOINT_URL_S3", "127.0.0.1")], "invalid", "AWS_ENDPOINT_URL"),
    ];
    for (name, variables, kind, text) in cases {
        for verbosity in ["-v", "-vvv"] {
            let made = run(&warehouse, &[verbosity], &variables, &["CREATE TABLE t AS SELECT 1 AS a"]);
            made.fails_with(kind, text).unwrap_or_else(|failure| panic!("{name}: {failure}"));
            for hidden in [secret, "wrong-secret-0815", token] {
                let all = format!("{}{}", made.stderr, made.stdout);
                assert!(!all.contains(hidden), "{name} {verbosity} tells a secret: {all}");
            }
        }
    }
    assert_eq!(warehouse.pointers().unwrap(), BTreeMap::new());
    // A write that succeeds tells none either.
    let token_free = run(&warehouse, &["-vvv"], &[], &["CREATE TABLE t AS SELECT 1 AS a"]).success().unwrap();
    assert!(!token_free.stderr.contains(secret));
    let elsewhere = "CREATE TABLE u (a int) LOCATION 's3://there-is-no-such-bucket/u' TBLPROPERTIES ('table_type'='ICEBERG')";
    let args = ["--allow-location", "s3://there-is-no-such-bucket"];
    run(&warehouse, &args, &[], &[elsewhere]).fails_with("not-found", "no such bucket").unwrap();
    let mut without = Command::new(icecap_binary().unwrap());
    without.args(["sql", "--warehouse", "s3://lake/w", "-e", "SHOW TABLES"]).env_remove("ICECAP_CATALOG");
    run_within(&mut without, "", WITHIN).unwrap().fails_with("invalid", "--catalog sqlite:PATH").unwrap();
}

/// Ids of writes that the ledger knows.
fn known_writes(warehouse: &Warehouse) -> BTreeSet<String> {
    let catalog =
        rusqlite::Connection::open_with_flags(warehouse.catalog(), OpenFlags::SQLITE_OPEN_READ_WRITE)
            .unwrap();
    let mut ids = catalog.prepare("SELECT write_id FROM icecap_ledger").unwrap();
    let ids = ids.query_map([], |row| row.get::<_, String>(0)).unwrap();
    ids.map(|id| id.unwrap()).collect()
}

/// Data files that no row is in, and uploads that nobody finished: each bears the id of a write that the ledger knows.
fn left_over(warehouse: &Warehouse, tables: &[&str]) -> (usize, usize) {
    let known = known_writes(warehouse);
    let is_known = |file: &&String| {
        let name = file.rsplit('/').next().unwrap();
        known.iter().any(|id| name.starts_with(id))
    };
    let live: BTreeSet<String> = tables
        .iter()
        .flat_map(|table| warehouse.query(&[&format!("SELECT DISTINCT _file FROM {table}")]).unwrap())
        .map(|row| row["_file"].as_str().unwrap().to_owned())
        .collect();
    let all: Vec<String> = block_on(warehouse.storage().list(&warehouse.location())).unwrap();
    let data: Vec<&String> = all.iter().filter(|file| file.ends_with(".parquet")).collect();
    assert!(live.iter().all(|file| data.contains(&file)), "a file that is named is there");
    let left: Vec<&String> = data.into_iter().filter(|file| !live.contains(*file)).collect();
    assert!(left.iter().all(is_known), "{left:?}");
    let open = unfinished(warehouse);
    assert!(open.iter().all(|file| is_known(&file)), "{open:?}");
    (left.len(), open.len())
}

/// Writers killed at any moment, those of files in many parts too: what was reported is there once.
#[test]
fn a_writer_that_is_killed_leaves_only_what_is_known() {
    let warehouse = Warehouse::on_s3().unwrap();
    warehouse.run(&["CREATE TABLE t (id bigint, b binary) USING iceberg"]).unwrap().success().unwrap();
    let wide = format!("SELECT id, sha512(CAST(id AS varchar)) AS b FROM ({ROWS}) AS r");
    let insert = format!("INSERT INTO t {wide} UNION ALL {wide}");
    let started = std::time::Instant::now();
    warehouse.run(&[&insert]).unwrap().success().unwrap();
    let whole = started.elapsed();
    let mut reported = 1;
    for part in [0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 1.0] {
        let mut command = warehouse.command().unwrap();
        command.args(["-e", &insert]).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        std::thread::sleep(whole.mul_f64(part));
        child.kill().unwrap();
        reported += usize::from(child.wait_with_output().unwrap().status.success());
    }
    let rows = warehouse.query(&["SELECT count(*) AS n, count(DISTINCT id) AS i FROM t"]).unwrap();
    let inserts = rows[0]["n"].as_u64().unwrap() / 200_000;
    assert_eq!(
        rows,
        [json!({"n": inserts * 200_000, "i": 100_000})],
        "a statement is there whole or not at all"
    );
    assert!((reported..=8).contains(&usize::try_from(inserts).unwrap()), "{reported} were reported");
    sound(&warehouse);
    let (files, uploads) = left_over(&warehouse, &["t"]);
    println!(
        "{inserts} of 8 committed, {reported} reported; left over: {files} files, {uploads} unfinished uploads"
    );
    warehouse.run(&["INSERT INTO t VALUES (-1, NULL)"]).unwrap().success().unwrap();
}

/// Through storms, lost answers, resets and answers that break off: what was reported is there once, and nothing
/// else; what lies about is known by its write's id.
#[test]
fn faults_of_the_network_and_the_server_change_nothing() {
    let seed = std::env::var("ICECAP_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(20_261_125);
    println!("ICECAP_SEED={seed}");
    let faults = Faults { storm: 0.02, storm_requests: 6, lost_reply: 0.08, reset: 0.05, cut: 0.05 };
    let warehouse = Warehouse::on_s3().unwrap();
    let (server, _) = warehouse.s3().unwrap();
    let proxy = Proxy::start(server.port(), faults, seed).unwrap();
    let direct = server.endpoint();
    let warehouse = warehouse.through(proxy.endpoint());
    let mut expected: Vec<i64> = Vec::new();
    let mut refused = 0;
    warehouse
        .run(&["CREATE TABLE t (id bigint, p int) USING iceberg PARTITIONED BY (p)"])
        .unwrap()
        .success()
        .unwrap();
    for round in 0..12 {
        let ids: Vec<i64> = (0..6).map(|at| round * 10 + at).collect();
        let values: Vec<String> = ids.iter().map(|id| format!("({id}, {})", id % 3)).collect();
        let output = warehouse.run(&[&format!("INSERT INTO t VALUES {}", values.join(", "))]).unwrap();
        match output.status {
            Some(0) => expected.extend(ids),
            // Given up in a storm: then it did not happen.
            Some(1) => {
                assert!(
                    matches!(output.error_kind(), Some("throttled" | "unavailable")),
                    "{}",
                    output.stderr
                );
                println!("refused: {}", output.stderr);
                refused += 1;
            }
            _ => panic!("{}", output.stderr),
        }
    }
    let wide = format!(
        "SELECT id, sha512(CAST(id AS varchar)) AS b, sha512(CAST(id + 1 AS varchar)) AS c FROM ({ROWS}) AS r"
    );
    warehouse.run(&[&format!("CREATE TABLE big AS {wide}")]).unwrap().success().unwrap();
    let done = proxy.done();
    println!("{done:?}; {refused} statements refused");
    assert!(done.slowed > 0 && done.lost_replies > 5 && done.resets > 3 && done.cut > 3, "{done:?}");
    assert!(expected.len() >= 50, "{refused} of 12 statements were refused: {done:?}");

    let warehouse = warehouse.through(direct);
    let rows = warehouse.query(&["SELECT id FROM t ORDER BY id"]).unwrap();
    let ids: Vec<i64> = rows.iter().map(|row| row["id"].as_i64().unwrap()).collect();
    assert_eq!(ids, expected);
    let big =
        warehouse.query(&["SELECT count(*) AS n, count(DISTINCT id) AS i, sum(id) AS s FROM big"]).unwrap();
    assert_eq!(big, [json!({"n": 100_000, "i": 100_000, "s": 4_999_950_000_i64})]);
    sound(&warehouse);
    let (files, uploads) = left_over(&warehouse, &["t", "big"]);
    println!("left over: {files} files, {uploads} unfinished uploads");
    let location = warehouse.metadata_location("default.t").unwrap();
    let (server, _) = warehouse.s3().unwrap();
    let theirs: Vec<Value> = reader(Foreign::PyIceberg).read_s3(&location, server).unwrap();
    assert_eq!(theirs.len(), expected.len());
}
