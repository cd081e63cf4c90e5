//! `lineitem` by CTAS to an S3 server on this machine, beside DuckDB's COPY to the same server.
//!
//! The server works on the same cores and syncs nothing: what counts is the ratio, and the requests.

use std::ffi::OsStr;

use super::lineitem::{Source, written};
use super::plan::{Call, text_of};
use super::service::S3Server;
use super::turns::in_turns;
use super::{Peer, Plan, Run, Series};
use crate::{BenchError, Result};

pub(super) fn run(plan: &Plan) -> Result<Vec<Series>> {
    let source = Source::ready(plan)?;
    let server = S3Server::start(plan)?;
    let engines = if plan.has(Peer::Duckdb) { &["icecap", "duckdb"][..] } else { &["icecap"] };
    let mut bucket = 0;
    in_turns("s3", plan.repeats, engines, |at| {
        bucket += 1;
        let bucket = format!("bench-{bucket}");
        match at {
            0 => icecap_run(plan, &source, &server, &bucket),
            _ => duckdb_run(plan, &source, &server, &bucket),
        }
    })
}

fn icecap_run(plan: &Plan, source: &Source, server: &S3Server, bucket: &str) -> Result<Run> {
    let folder = server.new_bucket(bucket)?;
    let catalog = plan.fresh("s3-catalog");
    std::fs::create_dir_all(&catalog)?;
    let catalog = format!("sqlite:{}", text_of(&catalog.join("catalog.db"))?);
    let sql = format!("CREATE TABLE lineitem AS SELECT * FROM {}", source.sql()?);
    let environment = server.environment();
    let finished = plan.measured(
        &Call { threads: plan.threads, environment: &environment },
        OsStr::new(&format!("s3://{bucket}/lake")),
        // -v tells the requests.
        &["--catalog", &catalog, "--memory", &plan.memory, "-v", "-e", &sql],
    )?;
    let requests = Requests::told(&finished.stderr)
        .ok_or_else(|| BenchError(format!("icecap -v told no requests:\n{}", finished.stderr)))?;
    Ok(Run {
        requests: Some(requests.count),
        transferred_bytes: Some(requests.bytes),
        ..written(&finished, &folder, source, "icecap")?
    })
}

fn duckdb_run(plan: &Plan, source: &Source, server: &S3Server, bucket: &str) -> Result<Run> {
    let folder = server.new_bucket(bucket)?;
    let to = format!("s3://{bucket}/lineitem.parquet");
    let args = [source.path.as_os_str(), OsStr::new(&to)];
    let finished = plan.peer_in("duckdb_s3.py", &args, &server.environment())?;
    written(&finished, &folder, source, "duckdb")
}

/// What a log line of `icecap -v` tells of a statement's requests.
#[derive(Debug, PartialEq, Eq)]
struct Requests {
    count: u64,
    bytes: u64,
}

impl Requests {
    /// Reads `s3_requests=7 (…; 5 bytes sent, 3 received)` of the last statement.
    fn told(log: &str) -> Option<Self> {
        let (_, told) = log.rsplit_once("s3_requests=")?;
        let (count, rest) = told.split_once(' ')?;
        let (_, bytes) = rest.split_once(')')?.0.rsplit_once("; ")?;
        let (sent, received) = bytes.split_once(" bytes sent, ")?;
        let bytes = sent.parse::<u64>().ok()? + received.strip_suffix(" received")?.parse::<u64>().ok()?;
        Some(Self { count: count.parse().ok()?, bytes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_read_from_the_log() {
        let log = "INFO statement ended number=1 total=1 done=true s3_requests=3 (get 3, head 0, put 0, list 0, \
                   delete 0, multipart 0; retried 1; 5 bytes sent, 20 received)\n{\"seconds\":1}\n";
        assert_eq!(Requests::told(log), Some(Requests { count: 3, bytes: 25 }));
        assert_eq!(Requests::told("INFO statement ended"), None);
    }
}
